//! YAML text to a located tree: the only room that names the YAML crate.
//!
//! YAML 1.2 with the core schema, so `yes` and `on` are text. What a configuration has no use for and an attacker has
//! is refused here: several documents, deep nesting, aliases that multiply, tags, merge keys (plain unknown keys to
//! us), keys that are not text. JSON is read too, being YAML. Messages never quote the text, which may hold secrets.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_yaml::granit_parser::{Event, Marker, Options, Parser, ScalarStyle, Span, StrInput, Tag};

use super::tree::{Entry, Node, Place, Value};

/// Lists and mappings within each other. The configuration needs five.
const DEPTH: usize = 32;
/// Values in one tree: a million executions with labels and an interval of their own, and some.
const NODES: usize = 10_000_000;
/// Values that anchors and aliases may copy, all together.
const COPIES: usize = 100_000;

/// Why a text is not YAML, or not YAML that this program reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct YamlError {
    pub(super) place: Place,
    pub(super) rule: String,
}

/// Reads a whole text. One without any value is [`Value::Null`].
pub(super) fn tree(text: &str) -> Result<Node<'_>, YamlError> {
    let mut reader = Reader::new(text);
    let root = match reader.begin()? {
        Some((event, span)) => reader.node(event, span, 0)?,
        None => return Ok(Node { value: Value::Null, place: Place::START }),
    };
    reader.end()?;
    Ok(root)
}

/// Reads a text that is one list, item by item, so that a million items need the memory of one. Where the text is
/// something else, returns that.
pub(super) fn items<'t>(text: &'t str, mut each: impl FnMut(usize, &Node<'t>)) -> Result<Option<Node<'t>>, YamlError> {
    let mut reader = Reader::new(text);
    let other = match reader.begin()? {
        None => return Ok(None),
        Some((Event::SequenceStart(..), _)) => {
            for index in 0.. {
                let (event, span) = reader.next()?;
                if matches!(event, Event::SequenceEnd) {
                    break;
                }
                reader.nodes = 0;
                let item = reader.node(event, span, 1)?;
                each(index, &item);
            }
            None
        }
        Some((event, span)) => Some(reader.node(event, span, 0)?),
    };
    reader.end()?;
    Ok(other)
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, (Node<'t>, usize)>,
    nodes: usize,
    copies: usize,
    last: Place,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut options = Options::default();
        options.emit_comments = false;
        options.flow_nesting_limit = DEPTH;
        options.block_nesting_limit = DEPTH;
        let parser = Parser::new_from_str_with_options(text, options);
        Self { parser, anchors: HashMap::new(), nodes: 0, copies: 0, last: Place::START }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), YamlError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                self.last = place(&span.start);
                Ok((event, span))
            }
            Some(Err(error)) => {
                Err(YamlError { place: place(error.marker()), rule: format!("not YAML: {}", error.kind()) })
            }
            None => Err(self.refuse("not YAML: the text ends too early")),
        }
    }

    /// The first event of the document's value.
    fn begin(&mut self) -> Result<Option<(Event<'t>, Span)>, YamlError> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(..), _) => {}
                (Event::StreamEnd, _) => return Ok(None),
                event => return Ok(Some(event)),
            }
        }
    }

    fn end(&mut self) -> Result<(), YamlError> {
        loop {
            match self.next()?.0 {
                Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(()),
                _ => return Err(self.refuse("a second document begins here; a file holds one")),
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node<'t>, YamlError> {
        let at = place(&span.start);
        let before = self.nodes;
        self.nodes += 1;
        if self.nodes > NODES {
            return Err(self.refuse("the file holds too many values"));
        }
        if depth > DEPTH {
            return Err(self.refuse("lists and mappings are nested too deeply"));
        }
        let (value, anchor) = match event {
            Event::Alias(id) => return self.copy(id),
            Event::Scalar(text, style, anchor, tag) => (self.scalar(text, style, tag.as_deref())?, anchor),
            Event::SequenceStart(_, anchor, tag) => {
                self.untagged(tag.as_deref())?;
                (Value::List(self.list(depth)?), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.untagged(tag.as_deref())?;
                (Value::Map(self.map(depth)?), anchor)
            }
            _ => return Err(self.refuse("not YAML: a value is missing")),
        };
        let node = Node { value, place: at };
        if anchor != 0 {
            let weight = self.nodes - before;
            self.charge(weight)?;
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node<'t>>, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry<'t>>, YamlError> {
        let mut entries = Vec::new();
        loop {
            let (key, key_place) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (Event::Scalar(key, _, 0, None), span) => (key, place(&span.start)),
                _ => return Err(self.refuse("a key must be plain text")),
            };
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            entries.push(Entry { key, key_place, node });
        }
    }

    fn scalar(&self, text: Cow<'t, str>, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value<'t>, YamlError> {
        if tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str")) {
            return Ok(Value::Text(text));
        }
        self.untagged(tag)?;
        Ok(if style == ScalarStyle::Plain { plain(text) } else { Value::Text(text) })
    }

    fn untagged(&self, tag: Option<&Tag>) -> Result<(), YamlError> {
        if tag.is_some() { Err(self.refuse("tags (!name) have no meaning here, but for !!str")) } else { Ok(()) }
    }

    fn copy(&mut self, id: usize) -> Result<Node<'t>, YamlError> {
        let Some((_, weight)) = self.anchors.get(&id) else {
            return Err(self.refuse("an alias (*name) cannot stand inside its own anchor"));
        };
        let weight = *weight;
        self.charge(weight)?;
        // What the copy holds counts for an anchor around it.
        self.nodes += weight.saturating_sub(1);
        Ok(self.anchors[&id].0.clone())
    }

    fn charge(&mut self, weight: usize) -> Result<(), YamlError> {
        self.copies = self.copies.saturating_add(weight);
        if self.copies > COPIES {
            return Err(self.refuse("anchors and aliases copy too many values"));
        }
        Ok(())
    }

    fn refuse(&self, rule: &str) -> YamlError {
        YamlError { place: self.last, rule: rule.to_owned() }
    }
}

fn place(marker: &Marker) -> Place {
    let bounded = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: bounded(marker.line()).max(1), column: bounded(marker.col()).saturating_add(1) }
}

/// The core schema of YAML 1.2.2, chapter 10.3.2.
fn plain(text: Cow<'_, str>) -> Value<'_> {
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Boolean(true),
        "false" | "False" | "FALSE" => Value::Boolean(false),
        number if is_integer(number) => Value::Integer(text),
        number if is_float(number) => Value::Float(text),
        _ => Value::Text(text),
    }
}

fn is_integer(text: &str) -> bool {
    let digits = |digits: &str, allowed: fn(&u8) -> bool| !digits.is_empty() && digits.bytes().all(|b| allowed(&b));
    if let Some(octal) = text.strip_prefix("0o") {
        return digits(octal, |b| (b'0'..=b'7').contains(b));
    }
    if let Some(hexadecimal) = text.strip_prefix("0x") {
        return digits(hexadecimal, u8::is_ascii_hexdigit);
    }
    digits(text.strip_prefix(['-', '+']).unwrap_or(text), u8::is_ascii_digit)
}

fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    // Rust's grammar for numbers is YAML's, but for its words, and for a dot alone, which it refuses too.
    unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (u32, u32, String) {
        let error = tree(text).expect_err("refused");
        (error.place.line, error.place.column, error.rule)
    }

    fn kind(text: &str) -> &'static str {
        match tree(text).expect("YAML").value {
            Value::Null => "null",
            Value::Boolean(_) => "boolean",
            Value::Integer(_) => "integer",
            Value::Float(_) => "float",
            Value::Text(_) => "text",
            Value::List(_) => "list",
            Value::Map(_) => "map",
        }
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let cases = [
            ("null", "~ null NULL"),
            ("boolean", "true False TRUE"),
            ("integer", "0 -7 +12 0o17 0xfF 010 123456789012"),
            ("float", "1.5 .5 1. 1e9 07e4 -1.5E-3 .inf -.INF .nan"),
            (
                "text",
                "yes no on off y 1_000 0b1 1:30 inf nan infinity . .. -.nan 1e 0x - 2026-01-01 '1' \"true\" a.b 5m",
            ),
        ];
        for (expected, texts) in cases {
            for text in texts.split(' ').filter(|text| *text != "-") {
                assert_eq!(kind(text), expected, "{text}");
            }
        }
        assert_eq!(kind("!!str 12"), "text");
        for empty in ["", "\u{feff}", "# only a comment\n", "---\n", "---\n...\n", "\n\n"] {
            assert_eq!(kind(empty), "null", "{empty:?}");
        }
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        let text = "a: 1\nlist:\n  - x: é\n    \"y\": [1,  zwei]\n";
        let root = tree(text).expect("YAML");
        let Value::Map(top) = &root.value else { panic!("a map") };
        let Value::List(list) = &top[1].node.value else { panic!("a list") };
        let Value::Map(item) = &list[0].value else { panic!("a map") };
        let Value::List(flow) = &item[1].node.value else { panic!("a list") };
        let places: Vec<(u32, u32)> =
            [root.place, top[0].node.place, top[1].key_place, list[0].place, item[1].key_place, flow[1].place]
                .map(|place| (place.line, place.column))
                .into();
        assert_eq!(places, [(1, 1), (1, 4), (2, 1), (3, 5), (4, 5), (4, 15)]);
        assert_eq!(tree(&format!("\u{feff}{text}")), Ok(root.clone()), "a byte order mark changes nothing");
        let windows = text.replace('\n', "\r\n");
        assert_eq!(tree(&windows), Ok(root.clone()), "nor do Windows line ends");
    }

    #[test]
    fn aliases_copy_within_bounds() {
        let root = tree("a: &x {n: 1}\nb: *x\n").expect("YAML");
        let Value::Map(top) = &root.value else { panic!("a map") };
        assert_eq!(top[0].node, top[1].node);

        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let inner = format!("*a{}", i - 1);
            bomb += &format!("a{i}: &a{i} [{}]\n", vec![inner; 10].join(", "));
        }
        assert_eq!(error(&bomb).2, "anchors and aliases copy too many values");
        assert_eq!(error("a: &a [*a]").2, "an alias (*name) cannot stand inside its own anchor");
        assert_eq!(error("a: *b").2, "not YAML: while parsing node, found unknown anchor");
    }

    #[test]
    fn hostile_texts_are_refused_where_they_go_wrong() {
        let cases = [
            ("a: 1\n---\nb: 2\n", (2, 1, "a second document begins here; a file holds one")),
            ("a: !!binary aGk=\n", (1, 13, "tags (!name) have no meaning here, but for !!str")),
            ("? [a]\n: b\n", (1, 3, "a key must be plain text")),
        ];
        for (text, (line, column, rule)) in cases {
            assert_eq!(error(text), (line, column, rule.to_owned()), "{text}");
        }
        for deep in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000)] {
            assert!(error(&deep).2.contains("recursion limit"), "{}", error(&deep).2);
        }
    }

    #[test]
    fn a_list_is_read_item_by_item() {
        let mut seen = Vec::new();
        let end = items(r#"[{"a": "\ud83d\ude00"}, 2]"#, |index, node| seen.push((index, node.shown())));
        assert_eq!(end, Ok(None));
        assert_eq!(seen, [(0, "a mapping".to_owned()), (1, "2".to_owned())]);
        assert!(matches!(items("a: 1", |_, _| panic!("no list")), Ok(Some(Node { value: Value::Map(_), .. }))));
        assert_eq!(items("", |_, _| panic!("no list")), Ok(None));
        assert!(items("- 1\n---\n- 2\n", |_, _| ()).is_err());
    }
}
