//! What keys a file may have: one static description, from which the reader, the JSON Schema and the reference are made.
//!
//! A key that does not stand here does not exist; a key that stands here is in all three. Holds no value of any file and
//! no rule that looks at more than one key.

mod action;
mod bytes;
mod content;
mod deed;
mod experiment;
mod fault;
mod gates;
mod judge;
mod probe;
mod process;
mod service;
mod words;

pub(crate) use bytes::byte_rate;
pub(crate) use content::JSON_CHANGE;
pub(crate) use experiment::EXPERIMENT;
pub(crate) use fault::FAULT;
pub(crate) use gates::sqlstate;
pub(crate) use judge::{GUARDRAIL, OF_WHOLE_RUNS, quantile};
pub(crate) use process::{regex, signal};
pub(crate) use words::{Wrong, address, network, size_bounds, status_set};

/// A table of the file.
#[derive(Debug)]
pub(crate) struct Shape {
    /// As messages call it, such as `[run]`.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) doc: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [Key],
    /// Keys that follow a rule, such as `p50` to `p999`.
    pub(crate) family: Option<&'static Family>,
    /// Words of the format that this version does not have.
    pub(crate) later: &'static [&'static str],
    /// What people write who know other tools, and what it is called here.
    pub(crate) instead: &'static [(&'static str, &'static str)],
}

/// One key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    /// The key.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) kind: Kind,
    /// An example of its value, as TOML.
    pub(crate) example: &'static str,
    /// What it does, in a sentence.
    pub(crate) doc: &'static str,
    /// What holds without it, in words or as TOML.
    pub(crate) default: Option<&'static str>,
    /// The table is nothing without it.
    pub(crate) required: bool,
}

/// Keys that follow a rule.
#[derive(Debug)]
pub(crate) struct Family {
    /// As the reference calls them.
    pub(crate) name: &'static str,
    /// The rule, as a regular expression.
    pub(crate) pattern: &'static str,
    /// The rule.
    pub(crate) has: fn(&str) -> bool,
    /// What all of them take.
    pub(crate) key: Key,
}

/// What a key takes.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A text of some form.
    Word(&'static Word),
    /// A text of some form in which `${edge.NAME}` is filled in once the edges listen.
    Filled(&'static Word),
    /// One of these words, each with its meaning; and words that a later version will have.
    OneOf(&'static [(&'static str, &'static str)], &'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number between two.
    Integer(u64, u64),
    /// A number between two.
    Number(f64, f64),
    /// A text, a number, `true` or `false`.
    Scalar,
    /// One or a list.
    Many(&'static Kind),
    /// A list of exactly so many.
    Exactly(usize, &'static Kind),
    /// A table with known keys.
    Table(&'static Shape),
    /// A list of tables with known keys.
    Tables(&'static Shape),
    /// A table whose keys the user chooses.
    Map(&'static Word, &'static Kind),
    /// Any of these; the first whose type fits counts.
    Any(&'static [Kind]),
}

/// A text of some form.
#[derive(Debug)]
pub(crate) struct Word {
    /// What a user calls it, such as `a duration`.
    pub(crate) what: &'static str,
    /// A regular expression for editors; the empty one says nothing.
    pub(crate) pattern: &'static str,
    /// Examples, without quotes.
    pub(crate) examples: &'static [&'static str],
    /// The judge.
    pub(crate) check: fn(&str) -> Result<(), Wrong>,
}

impl Shape {
    /// The description of a key.
    pub(crate) fn key(&self, name: &str) -> Option<&Key> {
        let family = || self.family.filter(|family| (family.has)(name)).map(|family| &family.key);
        self.keys.iter().find(|key| key.name == name).or_else(family)
    }
}

const fn key(name: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key { name, kind, example, doc, default: None, required: false }
}

impl Key {
    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }
}

impl Kind {
    /// The description of the table that it takes, alone or among others.
    pub(crate) fn shape(&self) -> Option<&'static Shape> {
        match self {
            Self::Table(shape) | Self::Tables(shape) => Some(shape),
            Self::Many(kind) => kind.shape(),
            Self::Any(kinds) => kinds.iter().find_map(Self::shape),
            _ => None,
        }
    }

    /// What it takes, in words.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Word(word) | Self::Filled(word) => match word.examples {
                [] => word.what.to_owned(),
                [one, ..] => format!("{} such as `\"{one}\"`", word.what),
            },
            Self::OneOf(words, _) => {
                let words: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                crate::problem::one_of(words.iter().map(String::as_str))
            }
            Self::Flag => "`true` or `false`".into(),
            Self::Scalar => "a text, a number, `true` or `false`".into(),
            Self::Integer(low, high) if *high >= i64::MAX as u64 => format!("a whole number from {low}"),
            Self::Integer(low, high) => format!("a whole number from {low} to {high}"),
            Self::Number(low, f64::MAX) => format!("a number from {low}"),
            Self::Number(low, high) => format!("a number from {low} to {high}"),
            Self::Many(kind) => format!("{}, or a list of them", kind.describe()),
            Self::Exactly(count, kind) => format!("a list of {count}, each {}", kind.describe()),
            Self::Table(shape) if shape.name.starts_with('[') => format!("a table `{}`", shape.name),
            Self::Table(_) => "a table".into(),
            Self::Tables(shape) => format!("a list of tables `{}`", shape.name),
            Self::Map(word, kind) => format!("a table of {} to {}", word.what, kind.describe()),
            Self::Any(kinds) => {
                let words: Vec<String> = kinds.iter().map(Self::describe).collect();
                words.join(", or ")
            }
        }
    }
}
