//! A strict parser of text format 0.0.4, for tests alone: it shares nothing with the writer, and refuses what a
//! lenient scraper would let pass.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, PartialEq)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

/// The families of a page, or what is wrong with it.
pub(super) fn parse(page: &str) -> Result<Vec<Family>, String> {
    if !page.is_empty() && !page.ends_with('\n') {
        return Err("the last line does not end".into());
    }
    let mut families: Vec<Family> = Vec::new();
    let mut helped: Option<String> = None;
    let mut seen_names = BTreeSet::new();
    let mut seen_series = BTreeSet::new();
    for line in page.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or(format!("HELP without text: {line}"))?;
            if !seen_names.insert(name.to_owned()) {
                return Err(format!("{name} comes twice"));
            }
            check_help(help)?;
            helped = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or(format!("TYPE without type: {line}"))?;
            if helped.take().as_deref() != Some(name) || !["gauge", "counter", "histogram"].contains(&kind) {
                return Err(format!("TYPE does not follow its HELP, or is none: {line}"));
            }
            families.push(Family { name: name.into(), kind: kind.into(), samples: Vec::new() });
        } else {
            let family = families.last_mut().filter(|_| helped.is_none()).ok_or(format!("no head for: {line}"))?;
            let sample = parse_sample(line)?;
            if !belongs(&sample, family) {
                return Err(format!("not of family {}: {line}", family.name));
            }
            if !seen_series.insert((sample.name.clone(), sample.labels.clone())) {
                return Err(format!("the series comes twice: {line}"));
            }
            family.samples.push(sample);
        }
    }
    match families.iter().find(|family| family.samples.is_empty()) {
        Some(empty) => Err(format!("{} has no samples", empty.name)),
        None => families.iter().try_for_each(check_histogram).map(|()| families),
    }
}

fn belongs(sample: &Sample, family: &Family) -> bool {
    match sample.name.strip_prefix(family.name.as_str()) {
        Some("_bucket") => family.kind == "histogram" && sample.labels.contains_key("le"),
        Some("_sum" | "_count") => family.kind == "histogram",
        Some("") => family.kind != "histogram" && (family.kind == "counter") == family.name.ends_with("_total"),
        _ => false,
    }
}

fn check_help(help: &str) -> Result<(), String> {
    let mut chars = help.chars();
    while let Some(c) = chars.next() {
        if c == '\\' && !matches!(chars.next(), Some('\\' | 'n')) {
            return Err(format!("bad escape in HELP: {help}"));
        }
    }
    Ok(())
}

fn parse_sample(line: &str) -> Result<Sample, String> {
    let fail = |what: &str| format!("{what}: {line}");
    let name_end = line.find(['{', ' ']).ok_or(fail("no value"))?;
    let (name, mut rest) = line.split_at(name_end);
    let first_ok = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    if !name.starts_with(first_ok) || !name.chars().all(|c| first_ok(c) || c.is_ascii_digit()) {
        return Err(fail("bad name"));
    }
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").ok_or(fail("bad label"))?;
            if label.is_empty() || !label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(fail("bad label name"));
            }
            let (value, after) = quoted(after).ok_or(fail("bad label value"))?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err(fail("a label comes twice"));
            }
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}').ok_or(fail("the labels do not end"))?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or(fail("no space before the value"))?;
    let known = matches!(value, "+Inf" | "-Inf" | "NaN");
    if !known && !value.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c)) {
        return Err(fail("bad number"));
    }
    let value = value.parse().map_err(|_| fail("bad number"))?;
    Ok(Sample { name: name.into(), labels, value })
}

/// The value up to the closing quote, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('"' | '\\') => c,
                _ => return None,
            }),
            (_, c) => value.push(c),
        }
    }
}

/// Buckets rise to `+Inf`, which is the count.
fn check_histogram(family: &Family) -> Result<(), String> {
    let mut previous = (f64::NEG_INFINITY, 0.0);
    for sample in family.samples.iter().filter(|_| family.kind == "histogram") {
        if let Some(le) = sample.labels.get("le") {
            let bound: f64 = le.parse().map_err(|_| format!("bad bound {le}"))?;
            if bound <= previous.0 || sample.value < previous.1 {
                return Err(format!("buckets do not rise: {sample:?}"));
            }
            previous = (bound, sample.value);
        } else if sample.name.ends_with("_count") {
            if previous != (f64::INFINITY, sample.value) {
                return Err(format!("the last bucket is not the count: {sample:?}"));
            }
            previous = (f64::NEG_INFINITY, 0.0);
        }
    }
    Ok(())
}

#[test]
fn refuses_what_is_wrong() {
    let head = "# HELP a A.\n# TYPE a gauge\n";
    assert!(parse("").is_ok() && parse(&format!("{head}a{{b=\"\\\\\\\"\\n\"}} -1.5\na 1\n")).is_ok());
    for (body, what) in [
        ("a 1", "the last line"),
        ("a 1\na 2\n", "the series comes twice"),
        ("b 1\n", "not of family"),
        ("a{b=\"1\",b=\"1\"} 1\n", "a label comes twice"),
        ("a{b=\"\\x\"} 1\n", "bad label value"),
        ("a{b=\"1\"}1\n", "no space"),
        ("a{b=\"1\" 1\n", "the labels do not end"),
        ("a one\n", "bad number"),
        ("a inf\n", "bad number"),
        ("a{} 1\n", "bad label"),
        ("a 1\n# HELP a A.\n# TYPE a gauge\na 2\n", "comes twice"),
        ("a 1\n# HELP b B.\nb 1\n", "no head"),
        ("a 1\n# TYPE b gauge\nb 1\n", "TYPE does not follow"),
        ("", "has no samples"),
    ] {
        let error = parse(&format!("{head}{body}")).unwrap_err();
        assert!(error.contains(what), "{body}: {error}");
    }
    assert!(parse("a 1\n").is_err());
}
