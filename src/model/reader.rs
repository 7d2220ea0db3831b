//! Typed access to a table that was held against its description: what was reported as wrong reads as absent.

use super::conform;
use super::keys::Shape;
use super::tree::{Node, Tree, Value};
use crate::problem::Place;
use crate::units::{Bytes, Percent, Span};
use std::str::FromStr;
use std::time::Duration;

/// A table and its description.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    shape: &'static Shape,
    tree: &'a Tree,
    /// Its header, or its braces.
    pub(crate) place: Place,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(shape: &'static Shape, tree: &'a Tree, place: Place) -> Self {
        Self { shape, tree, place }
    }

    /// Its keys and values, in file order.
    pub(crate) fn entries(&self) -> &'a [super::tree::Entry] {
        &self.tree.entries
    }

    /// Whether the key was written, right or wrong.
    pub(crate) fn has(&self, key: &'static str) -> bool {
        debug_assert!(self.shape.key(key).is_some(), "`{key}` is not described in {}", self.shape.name);
        self.tree.get(key).is_some()
    }

    /// Whether this key is not there because it was misspelt.
    pub(crate) fn misspelt(&self, key: &'static str) -> bool {
        conform::misspelt(self.tree, self.shape, key)
    }

    /// The place of the key, or of the table if it is not there.
    pub(crate) fn key_place(&self, key: &str) -> Place {
        self.tree.get(key).map_or(self.place, |entry| entry.key_place)
    }

    /// The place of the value, or of the table if it is not there.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        self.tree.get(key).map_or(self.place, |entry| entry.node.place)
    }

    /// The value, unless it is wrong.
    pub(crate) fn node(&self, key: &'static str) -> Option<&'a Node> {
        debug_assert!(self.shape.key(key).is_some(), "`{key}` is not described in {}", self.shape.name);
        self.tree.get(key).map(|entry| &entry.node).filter(|node| !node.broken)
    }

    /// The text as it was written, right or wrong.
    pub(crate) fn written(&self, key: &'static str) -> Option<&'a str> {
        self.tree.get(key)?.node.as_text()
    }

    pub(crate) fn text(&self, key: &'static str) -> Option<&'a str> {
        self.node(key)?.as_text()
    }

    /// A text of the file as one of our quantities.
    pub(crate) fn parsed<T: FromStr>(&self, key: &'static str) -> Option<T> {
        self.text(key)?.parse().ok()
    }

    pub(crate) fn duration(&self, key: &'static str) -> Option<Duration> {
        self.parsed::<Span>(key).map(|span| span.0)
    }

    pub(crate) fn size(&self, key: &'static str) -> Option<u64> {
        self.parsed::<Bytes>(key).map(|bytes| bytes.0).or_else(|| self.integer(key))
    }

    pub(crate) fn percent(&self, key: &'static str) -> Option<Percent> {
        self.number(key).and_then(Percent::new).or_else(|| self.parsed(key))
    }

    pub(crate) fn flag(&self, key: &'static str) -> Option<bool> {
        match self.node(key)?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    pub(crate) fn duration_or_default(&self, key: &'static str) -> Duration {
        self.duration(key).or_else(|| Some(self.default(key)?.parse::<Span>().ok()?.0)).unwrap_or_default()
    }

    pub(crate) fn text_or_default(&self, key: &'static str) -> &'a str {
        self.text(key).or_else(|| self.default(key)).unwrap_or_default()
    }

    pub(crate) fn flag_or_default(&self, key: &'static str) -> bool {
        self.flag(key).unwrap_or_else(|| self.default(key) == Some("true"))
    }

    pub(crate) fn integer_or_default(&self, key: &'static str) -> u64 {
        self.integer(key).or_else(|| self.default(key)?.parse().ok()).unwrap_or_default()
    }

    /// As a count that fits its type, which its description makes sure of.
    pub(crate) fn count_or_default(&self, key: &'static str) -> u32 {
        u32::try_from(self.integer_or_default(key)).unwrap_or(u32::MAX)
    }

    pub(crate) fn number_or_default(&self, key: &'static str) -> f64 {
        self.number(key).or_else(|| self.default(key)?.parse().ok()).unwrap_or_default()
    }

    /// What the description says holds without the key, without quotes.
    fn default(&self, key: &'static str) -> Option<&'static str> {
        let text = self.shape.key(key).and_then(|key| key.default);
        debug_assert!(text.is_some(), "`{key}` has no default in {}", self.shape.name);
        text.map(|text| text.trim_matches('"'))
    }

    pub(crate) fn integer(&self, key: &'static str) -> Option<u64> {
        match self.node(key)?.value {
            Value::Integer(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    pub(crate) fn number(&self, key: &'static str) -> Option<f64> {
        conform::number(self.node(key)?)
    }

    /// One value or a list of them.
    pub(crate) fn many(&self, key: &'static str) -> &'a [Node] {
        self.node(key).map_or(&[], Node::elements)
    }

    pub(crate) fn texts(&self, key: &'static str) -> Vec<String> {
        self.many(key).iter().filter_map(Node::as_text).map(str::to_owned).collect()
    }

    /// A table in it.
    pub(crate) fn table(&self, key: &'static str, shape: &'static Shape) -> Option<Reader<'a>> {
        let node = self.node(key)?;
        Some(Reader::new(shape, node.as_tree()?, node.place))
    }

    /// The table of a key that takes one, by its own description.
    pub(crate) fn inner(&self, key: &'static str) -> Option<Reader<'a>> {
        self.table(key, self.shape.key(key).and_then(|key| key.kind.shape())?)
    }

    /// The table of a key, or an empty one, so that its defaults can be asked for.
    pub(crate) fn inner_or_empty(&self, key: &'static str) -> Reader<'a> {
        static EMPTY: Tree = Tree { entries: Vec::new() };
        let shape = self.shape.key(key).and_then(|key| key.kind.shape()).unwrap_or(self.shape);
        self.inner(key).unwrap_or(Reader::new(shape, &EMPTY, self.place))
    }

    /// The tables of a key that takes several.
    pub(crate) fn tables(&self, key: &'static str) -> Vec<Reader<'a>> {
        let Some(shape) = self.shape.key(key).and_then(|key| key.kind.shape()) else { return Vec::new() };
        let tables = self.many(key).iter().filter_map(|node| Some((node.as_tree()?, node.place)));
        tables.map(|(tree, place)| Reader::new(shape, tree, place)).collect()
    }

    /// A table of keys that the user chose: each with its values.
    pub(crate) fn map(&self, key: &'static str) -> Vec<(String, Vec<String>)> {
        let entries = self.node(key).and_then(Node::as_tree).map_or(&[][..], |tree| &tree.entries);
        entries
            .iter()
            .filter(|entry| !entry.node.broken)
            .map(|entry| {
                let values = entry.node.elements().iter().filter_map(Node::as_text).map(str::to_owned);
                (entry.key.clone(), values.collect())
            })
            .collect()
    }

    /// A table of keys that the user chose: each with each of its values.
    pub(crate) fn pairs(&self, key: &'static str) -> Vec<(String, String)> {
        let all = self.map(key).into_iter();
        all.flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value))).collect()
    }

    /// A table in a list of values, by the description that the key has for tables.
    pub(crate) fn element(&self, key: &'static str, node: &'a Node) -> Option<Reader<'a>> {
        let shape = self.shape.key(key).and_then(|key| key.kind.shape())?;
        Some(Reader::new(shape, node.as_tree()?, node.place))
    }
}
