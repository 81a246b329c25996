//! A file as a tree of values that know where they were written, and the way to one of them.
//!
//! Scalars keep their text: whether `010` is a number is for the reader of a key to say, and a fault shows it as
//! written.

use std::borrow::Cow;
use std::fmt;

/// Where something begins: both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Place {
    /// The first character of a file.
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node<'t> {
    pub(super) value: Value<'t>,
    pub(super) place: Place,
}

/// What YAML's core schema (1.2) takes a node for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'t> {
    Null,
    Boolean(bool),
    Integer(Cow<'t, str>),
    Float(Cow<'t, str>),
    Text(Cow<'t, str>),
    List(Vec<Node<'t>>),
    /// In the order of the file, repeated keys included.
    Map(Vec<Entry<'t>>),
}

/// One key and its value. Keys are text, however they are written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry<'t> {
    pub(super) key: Cow<'t, str>,
    pub(super) key_place: Place,
    pub(super) node: Node<'t>,
}

/// Longer values are cut in messages.
const SHOWN: usize = 80;

impl Node<'_> {
    /// The value for a message, as written where it is a scalar: on one line, not too long, without control
    /// characters.
    pub(super) fn shown(&self) -> String {
        match &self.value {
            Value::Null => "null".to_owned(),
            Value::Boolean(value) => value.to_string(),
            Value::Integer(text) | Value::Float(text) => shorten(text),
            Value::Text(text) => quote(text),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// Text in double quotes on one line.
pub(super) fn quote(text: &str) -> String {
    let short = shorten(text);
    let mut quoted = String::with_capacity(short.len() + 2);
    quoted.push('"');
    for c in short.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() || is_layout(c) => quoted.extend(c.escape_unicode()),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Characters that break a line or turn its direction, so that a value cannot disguise a message.
fn is_layout(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A place in the tree and how it is reached: a list on the stack that becomes text only for a fault.
#[derive(Clone, Copy)]
pub(super) struct At<'a, 't> {
    parent: Option<&'a At<'a, 't>>,
    step: Step<'a>,
    node: Option<&'a Node<'t>>,
    /// Where the key is written, or the item, or else what should hold it.
    pub(super) key_place: Place,
    /// Where the value is written, or else what should hold it.
    pub(super) place: Place,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a, 't> At<'a, 't> {
    /// The top of a file.
    pub(super) fn root(node: &'a Node<'t>) -> Self {
        Self { parent: None, step: Step::Root, node: Some(node), key_place: node.place, place: node.place }
    }

    /// An item that is read without the list around it.
    pub(super) fn item(index: usize, node: &'a Node<'t>) -> Self {
        Self { step: Step::Index(index), ..Self::root(node) }
    }

    /// The value, where there is one.
    pub(super) fn node(&self) -> Option<&'a Node<'t>> {
        self.node
    }

    /// Whether there is a value, `null` not being one.
    pub(super) fn is_written(&self) -> bool {
        self.node.is_some_and(|node| node.value != Value::Null)
    }

    /// What is under a key, written or not.
    pub(super) fn key(&'a self, key: &'a str) -> At<'a, 't> {
        match self.entries().iter().find(|entry| entry.key == key) {
            Some(entry) => self.entry(entry),
            None => {
                Self { parent: Some(self), step: Step::Key(key), node: None, key_place: self.place, place: self.place }
            }
        }
    }

    /// The entries of a mapping, in the order of the file.
    pub(super) fn entries(&self) -> &'a [Entry<'t>] {
        match self.node.map(|node| &node.value) {
            Some(Value::Map(entries)) => entries,
            _ => &[],
        }
    }

    /// What is under a key that is at hand.
    pub(super) fn entry(&'a self, entry: &'a Entry<'t>) -> At<'a, 't> {
        Self {
            parent: Some(self),
            step: Step::Key(&entry.key),
            node: Some(&entry.node),
            key_place: entry.key_place,
            place: entry.node.place,
        }
    }

    /// The item of a list.
    pub(super) fn index(&'a self, index: usize) -> At<'a, 't> {
        let node = match self.node.map(|node| &node.value) {
            Some(Value::List(items)) => items.get(index),
            _ => None,
        };
        let place = node.map_or(self.place, |node| node.place);
        Self { parent: Some(self), step: Step::Index(index), node, key_place: place, place }
    }
}

/// `executions[3].labels.site`; keys that would be misread so stand in brackets and quotes.
impl fmt::Display for At<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}")?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => {
                let plain = !key.is_empty()
                    && key.len() <= SHOWN
                    && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
                let top = self.parent.is_none_or(|parent| matches!(parent.step, Step::Root));
                match (plain, top) {
                    (true, true) => write!(f, "{key}"),
                    (true, false) => write!(f, ".{key}"),
                    (false, _) => write!(f, "[{}]", quote(key)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str, column: u32) -> Node<'_> {
        Node { value: Value::Text(text.into()), place: Place { line: 1, column } }
    }

    #[test]
    fn paths_read_as_they_are_written_in_code() {
        let odd = "a.b\n";
        let entry = Entry { key: odd.into(), key_place: Place { line: 1, column: 7 }, node: text("x", 9) };
        let item = Node { value: Value::Map(vec![entry]), place: Place { line: 1, column: 5 } };
        let root = Node { value: Value::List(vec![item]), place: Place::START };
        let root = At::root(&root);
        let item = root.index(0);
        let odd = item.key(odd);
        assert_eq!(odd.to_string(), r#"[0]["a.b\u{a}"]"#);
        assert_eq!((odd.key_place.column, odd.place.column), (7, 9));
        assert_eq!(item.key("missing").to_string(), "[0].missing");
        assert_eq!(item.key("missing").place.column, 5);
    }

    #[test]
    fn values_are_shown_on_one_line_and_cut() {
        assert_eq!(text("a\n\"b\u{202e}\\", 1).shown(), r#""a\u{a}\"b\u{202e}\\""#);
        assert_eq!(text(&"é".repeat(100), 1).shown(), format!("\"{}…\"", "é".repeat(80)));
    }
}
