//! A file as a tree of values that know their places, whatever it came from: TOML, a flag, or JSON by the admin API.
//!
//! Tables keep the order of the file. `${env.VAR}` and `${port.NAME}` are filled in here. Knows no key and no meaning.

use super::ports::Ports;
use crate::problem::{Place, Problem, Problems};
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The value.
    pub(crate) value: Value,
    /// Its place.
    pub(crate) place: Place,
    /// Something about it was reported; readers take it as absent.
    pub(crate) broken: bool,
}

/// Any value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i128),
    Float(f64),
    Flag(bool),
    Date,
    List(Vec<Node>),
    Table(Tree),
}

/// A table: its entries in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn new(value: Value, place: Place) -> Self {
        Self { value, place, broken: false }
    }

    /// What a user would call this kind of value.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Text(_) => "text",
            Value::Integer(_) => "a number",
            Value::Float(_) => "a number with a fraction",
            Value::Flag(_) => "`true` or `false`",
            Value::Date => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// The elements of a list, or the value itself as the only one.
    pub(crate) fn elements(&self) -> &[Self] {
        match &self.value {
            Value::List(list) => list,
            _ => std::slice::from_ref(self),
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_tree(&self) -> Option<&Tree> {
        match &self.value {
            Value::Table(tree) => Some(tree),
            _ => None,
        }
    }

    pub(crate) fn as_tree_mut(&mut self) -> Option<&mut Tree> {
        match &mut self.value {
            Value::Table(tree) => Some(tree),
            _ => None,
        }
    }
}

impl Tree {
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.key == key)
    }

    /// Puts a value in place of what the key had.
    pub(crate) fn set(&mut self, key: &str, key_place: Place, node: Node) {
        let entry = Entry { key: key.to_owned(), key_place, node };
        match self.get_mut(key) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
    }
}

/// Reads the values of one text.
pub(crate) struct Planter<'a> {
    /// The number of the text.
    pub(crate) source: u32,
    /// Added to every place: the value is a part of its text.
    pub(crate) offset: usize,
    /// Looks up an environment variable.
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    /// Knows free ports by name.
    pub(crate) ports: &'a Ports,
}

impl Planter<'_> {
    fn place(&self, range: Range<usize>) -> Place {
        Place { source: self.source, start: range.start + self.offset, end: range.end + self.offset }
    }

    pub(crate) fn table(&self, table: &DeTable<'_>, problems: &mut Problems) -> Tree {
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref().to_string(),
                key_place: self.place(key.span()),
                node: self.node(value.get_ref(), value.span(), problems),
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_place);
        Tree { entries }
    }

    pub(crate) fn node(&self, value: &DeValue<'_>, range: Range<usize>, problems: &mut Problems) -> Node {
        let place = self.place(range);
        let value = match value {
            DeValue::String(text) => return self.text(text, place, problems),
            DeValue::Integer(number) => {
                match i128::from_str_radix(&number.as_str().replace('_', ""), number.radix()) {
                    Ok(number) => Value::Integer(number),
                    Err(_) => Value::Float(f64::INFINITY),
                }
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(list) => {
                Value::List(list.iter().map(|v| self.node(v.get_ref(), v.span(), problems)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table, problems)),
        };
        Node::new(value, place)
    }

    /// A text, with `${env.VAR}` and `${port.NAME}` filled in.
    pub(crate) fn text(&self, text: &str, place: Place, problems: &mut Problems) -> Node {
        let mut filled = String::new();
        let mut rest = text;
        let mut broken = false;
        while let Some(start) = rest.find("${") {
            let Some(length) = rest[start..].find('}') else { break };
            let (before, reference) = (&rest[..start], &rest[start + 2..start + length]);
            filled.push_str(before);
            let whole = &rest[start..=start + length];
            if let Some(name) = reference.strip_prefix("env.") {
                match (self.env)(name) {
                    Some(value) => {
                        problems.hide(&value, whole);
                        filled.push_str(&value);
                    }
                    None => {
                        broken = true;
                        problems.push(
                            Problem::error(format!("environment variable `{name}` is not set"))
                                .at(place)
                                .label(format!("`{whole}` cannot be filled in"))
                                .help(format!("set it before the start: `{name}=… brownout …`")),
                        );
                    }
                }
            } else if let Some(name) = reference.strip_prefix("port.") {
                match self.port(name, whole, place, problems) {
                    Some(port) => filled.push_str(&port.to_string()),
                    None => broken = true,
                }
            } else {
                filled.push_str(whole);
            }
            rest = &rest[start + length + 1..];
        }
        filled.push_str(rest);
        Node { value: Value::Text(filled), place, broken }
    }
}

impl Planter<'_> {
    fn port(&self, name: &str, whole: &str, place: Place, problems: &mut Problems) -> Option<u16> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            problems.push(
                Problem::error(format!("`{}` names no port", whole.escape_debug()))
                    .at(place)
                    .label("its name has only letters, digits, `-` and `_`")
                    .help("write one such as `${port.api}`"),
            );
            return None;
        }
        match self.ports.of(name) {
            Ok(port) => Some(port),
            Err(error) => {
                problems.push(
                    Problem::error(format!("there is no free port for `{whole}`"))
                        .at(place)
                        .label(error.to_string())
                        .help("write a port instead, or close what is not needed"),
                );
                None
            }
        }
    }
}

/// A JSON value; all of it has one place, and nothing in it is filled in. `null` is as if it were not there.
pub(crate) fn json(value: &serde_json::Value, place: Place) -> Node {
    use serde_json::Value as Json;
    let value = match value {
        Json::Null => Value::Text(String::new()),
        Json::Bool(flag) => Value::Flag(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Integer(i128::from(number)),
            (None, Some(number)) => Value::Integer(i128::from(number)),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(list) => Value::List(list.iter().map(|value| json(value, place)).collect()),
        Json::Object(map) => {
            let entries = map.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| Entry {
                key: key.clone(),
                key_place: place,
                node: json(value, place),
            });
            Value::Table(Tree { entries: entries.collect() })
        }
    };
    Node::new(value, place)
}
