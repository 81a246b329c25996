//! The text format 0.0.4 read back strictly: every sample under its own HELP and TYPE, families in one piece, no
//! series twice, escapes undone.

use std::collections::{BTreeMap, BTreeSet};

/// The labels of a series.
pub(crate) type Labels = BTreeMap<String, String>;

/// One line with a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// The name, with the suffix of a histogram's parts.
    pub(crate) name: String,
    /// Without the name.
    pub(crate) labels: Labels,
    /// The value.
    pub(crate) value: f64,
}

/// A whole page.
#[derive(Debug)]
pub(crate) struct Page {
    /// In the order of the page.
    pub(crate) samples: Vec<Sample>,
    /// The type of every family.
    pub(crate) types: BTreeMap<String, String>,
}

impl Page {
    /// Reads a page; panics at its first fault, naming the line.
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut page = Self { samples: Vec::new(), types: BTreeMap::new() };
        let (mut family, mut helped) = (String::new(), BTreeSet::new());
        let mut series = BTreeSet::new();
        for (number, line) in text.lines().enumerate() {
            let fault = |what: &str| -> ! { panic!("line {}: {what}: {line}", number + 1) };
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let name = rest.split(' ').next().unwrap_or_default();
                if !helped.insert(name.to_owned()) {
                    fault("a family in two pieces");
                }
                family = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let Some((name, kind)) = rest.split_once(' ') else { fault("no type") };
                if name != family || page.types.insert(name.to_owned(), kind.to_owned()).is_some() {
                    fault("a type away from its help");
                }
            } else {
                let Some(sample) = parse_sample(line) else { fault("not a sample") };
                let kind = page.types.get(&family).map_or("", String::as_str);
                if !belongs(&sample.name, &family, kind) {
                    fault("a sample outside its family");
                }
                if !series.insert((sample.name.clone(), sample.labels.clone())) {
                    fault("a series twice");
                }
                page.samples.push(sample);
            }
        }
        page
    }

    /// The samples of this name.
    pub(crate) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }
}

/// Whether this is a name of the family.
fn belongs(name: &str, family: &str, kind: &str) -> bool {
    let Some(suffix) = name.strip_prefix(family) else { return false };
    let suffixes: &[&str] = match kind {
        "gauge" | "counter" | "untyped" => &[""],
        "histogram" => &["_bucket", "_sum", "_count"],
        "summary" => &["", "_sum", "_count"],
        _ => &[],
    };
    suffixes.contains(&suffix)
}

/// `name{label="value",…} value`, without a timestamp.
fn parse_sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = unescape(after)?;
            if !is_name(label) || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            rest = after;
            match rest.strip_prefix(',') {
                Some(more) if !more.starts_with('}') => rest = more,
                _ => break,
            }
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.strip_prefix(' ')?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        digits => digits.parse().ok().filter(|value: &f64| value.is_finite())?,
    };
    is_name(name).then(|| Sample { name: name.to_owned(), labels, value })
}

/// A label value up to its closing quote, and what follows.
fn unescape(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                '\\' => '\\',
                '"' => '"',
                'n' => '\n',
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}

fn is_name(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_');
    first && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

#[test]
fn reads_what_is_right() {
    let page = Page::parse("# HELP a A.\n# TYPE a gauge\na{x=\"1\\\\\\\"\\n{},=\",y=\"\"} -1.5\na 2\n");
    let odd: Labels = [("x", "1\\\"\n{},="), ("y", "")].map(|(k, v)| (k.into(), v.into())).into();
    assert_eq!(page.samples[0], Sample { name: "a".into(), labels: odd, value: -1.5 });
    assert_eq!(page.named("a").count(), 2);
}

#[test]
fn refuses_what_is_wrong() {
    let head = "# HELP a A.\n# TYPE a gauge\n";
    let wrong = [
        "a 1",
        "a 1\n",
        &format!("{head}a 1\na 1\n"),
        &format!("{head}a{{x=\"1\",x=\"2\"}} 1\n"),
        &format!("{head}a{{x=\"1\"}} 1 1700000000\n"),
        &format!("{head}a{{x=\"1\",}} 1\n"),
        &format!("{head}a{{x=\"\\t\"}} 1\n"),
        &format!("{head}a{{x=\"1}} 1\n"),
        &format!("{head}a inf\n"),
        &format!("{head}a_total 1\n"),
        &format!("{head}\n"),
        &format!("{head}a 1\n# HELP b B.\n# TYPE b gauge\nb 1\n# HELP a A.\n"),
    ];
    for text in wrong {
        let caught = std::panic::catch_unwind(|| Page::parse(text));
        assert!(caught.is_err(), "accepted: {text}");
    }
}
