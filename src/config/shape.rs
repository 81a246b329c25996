//! Whether a tree has the shape of the schema: the keys, the types of their values, what must be there. All faults
//! are reported; what is sound is passed on.

use std::collections::HashMap;
use std::fmt;

use serde_json::{Map, Number, Value as Json};

use super::fault::Faults;
use super::tree::{At, Entry, Place, Value};

/// What the schema says about the type of a value.
#[derive(Debug)]
pub(super) enum Shape {
    /// Text, what to call it in a message, and whether it may be a secret.
    Text(String, Secret),
    Boolean,
    Integer,
    Number,
    List(Box<Shape>),
    /// A mapping from any key.
    Map(Box<Shape>),
    /// A mapping from known keys.
    Object(Vec<Field>),
}

/// Whether a value must not be shown (`writeOnly` in the schema).
pub(super) type Secret = bool;

#[derive(Debug)]
pub(super) struct Field {
    name: String,
    required: bool,
    shape: Shape,
}

impl Shape {
    /// Reads the shape off a schema, or off one of its definitions. `None` where the schema says something that no
    /// shape here stands for.
    pub(super) fn of(schema: &Json, definition: Option<&str>) -> Option<Self> {
        let part = match definition {
            Some(name) => &schema["$defs"][name],
            None => schema,
        };
        Self::of_part(part, schema)
    }

    fn of_part(part: &Json, schema: &Json) -> Option<Self> {
        if let Some(name) = part["$ref"].as_str() {
            return Self::of(schema, Some(name.strip_prefix("#/$defs/")?));
        }
        if let Some(choices) = part["anyOf"].as_array() {
            return Self::of_part(choices.iter().find(|choice| choice["type"] != "null")?, schema);
        }
        let kind = match &part["type"] {
            Json::Array(kinds) => kinds.iter().find(|kind| *kind != "null")?,
            kind => kind,
        };
        Some(match kind.as_str()? {
            "string" => {
                let name = part["title"].as_str().unwrap_or("text");
                Self::Text(name.to_owned(), part["writeOnly"] == true)
            }
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "array" => Self::List(Box::new(Self::of_part(&part["items"], schema)?)),
            "object" => match part["properties"].as_object() {
                None => Self::Map(Box::new(Self::of_part(&part["additionalProperties"], schema)?)),
                Some(properties) => {
                    let required = part["required"].as_array();
                    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|n| n == name));
                    let field = |(name, part): (&String, &Json)| {
                        let shape = Self::of_part(part, schema)?;
                        Some(Field { name: name.clone(), required: is_required(name), shape })
                    };
                    let mut fields: Vec<Field> = properties.iter().map(field).collect::<Option<_>>()?;
                    // Messages list them: the same whatever the order of the schema.
                    fields.sort_by(|a, b| a.name.cmp(&b.name));
                    Self::Object(fields)
                }
            },
            _ => return None,
        })
    }

    /// What of a value has this shape, every fault reported. Parts that have not are left out; items of lists, which
    /// are known by their index, become `null`.
    pub(super) fn read(&self, at: &At<'_, '_>, faults: &mut Faults) -> Option<Json> {
        let node = at.node()?;
        match (self, &node.value) {
            (Self::Text(..), Value::Text(text)) => Some(Json::from(text.as_ref())),
            (Self::Boolean, Value::Boolean(value)) => Some(Json::from(*value)),
            (Self::Integer, Value::Integer(text)) => {
                let number = integer(text);
                if number.is_none() {
                    faults.value(at, "must be a whole number that fits 64 bits, without leading zeros");
                }
                number.map(Json::from)
            }
            (Self::Number, Value::Integer(text) | Value::Float(text)) => {
                let number = text.parse().ok().and_then(Number::from_f64);
                if number.is_none() {
                    faults.value(at, "must be a decimal number, and finite");
                }
                number.map(Json::Number)
            }
            (Self::List(item), Value::List(nodes)) => {
                Some((0..nodes.len()).map(|index| item.read(&at.index(index), faults).unwrap_or(Json::Null)).collect())
            }
            (Self::Map(item), Value::Map(entries)) => {
                let mut read = Map::new();
                let mut seen = Seen::new(entries);
                for (index, entry) in entries.iter().enumerate() {
                    let at = at.entry(entry);
                    if seen.is_first(index, &at, faults)
                        && let Some(value) = item.read(&at, faults)
                    {
                        read.insert(entry.key.clone().into_owned(), value);
                    }
                }
                Some(Json::Object(read))
            }
            (Self::Object(fields), Value::Map(entries)) => Some(Self::read_object(fields, entries, at, faults)),
            _ => {
                self.refuse(at, &node.value, faults);
                None
            }
        }
    }

    fn read_object(fields: &[Field], entries: &[Entry<'_>], at: &At<'_, '_>, faults: &mut Faults) -> Json {
        let mut read = Map::new();
        let mut seen = Seen::new(entries);
        for (index, entry) in entries.iter().enumerate() {
            let at = at.entry(entry);
            if !seen.is_first(index, &at, faults) {
                continue;
            }
            let Some(field) = fields.iter().find(|field| field.name == entry.key) else {
                faults.key(&at, unknown_key(&entry.key, fields));
                continue;
            };
            // An empty optional key is one with its lines commented out.
            if (at.is_written() || field.required)
                && let Some(value) = field.shape.read(&at, faults)
            {
                read.insert(field.name.clone(), value);
            }
        }
        for field in fields.iter().filter(|field| field.required) {
            if entries.iter().all(|entry| entry.key != field.name) {
                faults.key(&at.key(&field.name), "this key is required");
            }
        }
        Json::Object(read)
    }

    fn refuse(&self, at: &At<'_, '_>, value: &Value<'_>, faults: &mut Faults) {
        let plain = matches!(value, Value::Boolean(_) | Value::Integer(_) | Value::Float(_));
        let rule = match self {
            Self::Text(name, _) if plain && name == "text" => "must be text: put it in quotes".to_owned(),
            Self::Text(name, _) => format!("must be {name}"),
            Self::Boolean => "must be true or false".to_owned(),
            Self::Integer => "must be a whole number".to_owned(),
            Self::Number => "must be a number".to_owned(),
            Self::List(_) => "must be a list".to_owned(),
            Self::Map(_) => "must be a mapping".to_owned(),
            Self::Object(fields) => format!("must be a mapping with the keys {}", names(fields)),
        };
        match self {
            Self::Text(_, true) => faults.hidden(at, rule),
            _ => faults.value(at, rule),
        }
    }
}

/// Which keys a mapping has had.
struct Seen<'a> {
    entries: &'a [Entry<'a>],
    /// Empty for the small mappings, where looking through the entries before is faster.
    places: HashMap<&'a str, Place>,
}

impl<'a> Seen<'a> {
    const SMALL: usize = 16;

    fn new(entries: &'a [Entry<'a>]) -> Self {
        Self { entries, places: HashMap::new() }
    }

    /// Whether the key of an entry comes for the first time; a fault if not. To be asked of each in turn.
    fn is_first(&mut self, index: usize, at: &At<'_, '_>, faults: &mut Faults) -> bool {
        let entry = &self.entries[index];
        let before = if self.entries.len() <= Self::SMALL {
            self.entries[..index].iter().find(|before| before.key == entry.key).map(|before| before.key_place)
        } else {
            let before = self.places.get(&*entry.key).copied();
            self.places.entry(&entry.key).or_insert(entry.key_place);
            before
        };
        if let Some(first) = before {
            faults.key(at, format_args!("this key is already at line {}, column {}", first.line, first.column));
        }
        before.is_none()
    }
}

/// YAML 1.2's integers. A leading zero is octal to older parsers, so it is none.
fn integer(text: &str) -> Option<i64> {
    if let Some(octal) = text.strip_prefix("0o") {
        return i64::from_str_radix(octal, 8).ok();
    }
    if let Some(hexadecimal) = text.strip_prefix("0x") {
        return i64::from_str_radix(hexadecimal, 16).ok();
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.len() > 1 && digits.starts_with('0') { None } else { text.parse().ok() }
}

fn names(fields: &[Field]) -> String {
    fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Found only for the faults that are kept, since the search takes time.
fn unknown_key(key: &str, fields: &[Field]) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        if key == "<<" {
            return f.write_str("merge keys are not part of YAML 1.2; an alias (*name) can stand for a whole value");
        }
        match did_you_mean(key, fields.iter().map(|field| field.name.as_str())) {
            Some(name) => write!(f, "unknown key, did you mean {name}?"),
            None => write!(f, "unknown key, the keys here are {}", names(fields)),
        }
    })
}

/// The name that is meant, perhaps.
pub(super) fn did_you_mean<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // The distance takes quadratic time; no name is that long.
    if written.len() > 100 {
        return None;
    }
    let folded = written.to_ascii_lowercase().replace('-', "_");
    let distance = |name: &str| match folded.len() >= 3 && (name.starts_with(&folded) || folded.starts_with(name)) {
        true => 1,
        false => strsim::osa_distance(&folded, name),
    };
    let candidates = names.map(|name| (distance(name), name));
    let (distance, name) = candidates.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + name.len() / 5).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_close_by_are_suggested() {
        let names = ["interval", "timeout", "max_staleness", "executions", "execution_files"];
        let suggest = |written: &str| did_you_mean(written, names.into_iter());
        assert_eq!(suggest("intervall"), Some("interval"));
        assert_eq!(suggest("Timeout"), Some("timeout"));
        assert_eq!(suggest("max-staleness"), Some("max_staleness"));
        assert_eq!(suggest("maxStaleness"), Some("max_staleness"));
        assert_eq!(suggest("execution"), Some("executions"));
        assert_eq!(suggest("time"), Some("timeout"));
        assert_eq!(suggest("colour"), None);
        assert_eq!(suggest(""), None);
        assert_eq!(suggest(&"x".repeat(1_000_000)), None);
    }

    #[test]
    fn integers_are_decimal_or_say_so() {
        let cases = [("7", Some(7)), ("-7", Some(-7)), ("+7", Some(7)), ("0x1F", Some(31)), ("0o17", Some(15))];
        let bad = [("010", None), ("-01", None), ("9223372036854775808", None), ("0x10000000000000000", None)];
        for (text, number) in cases.into_iter().chain(bad) {
            assert_eq!(integer(text), number, "{text}");
        }
    }
}
