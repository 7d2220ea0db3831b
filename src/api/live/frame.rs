//! One rendering of the page, and what changed since another.
//!
//! Each piece knows in which rendering it changed last, so that whoever missed some gets what he missed and no more. What
//! changed since the one before is written once, for all who saw that. Pure.

use super::render::Piece;
use bytes::Bytes;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A rendering.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// Its number, from 1; 0: nothing was rendered yet.
    pub(super) number: u64,
    top: Top,
    pieces: BTreeMap<String, (u64, Arc<str>)>,
    /// What changed since the one before, written for the wire.
    news: Bytes,
}

/// What is said with every event.
#[derive(Clone, Debug, Default)]
pub(super) struct Top {
    /// The title of the window.
    pub(super) title: String,
    /// There are phases, and expectations.
    pub(super) runs: bool,
    /// The places of the edges, in their order.
    pub(super) edges: Vec<String>,
}

impl Frame {
    /// The rendering after this.
    pub(super) fn next(&self, top: Top, pieces: Vec<Piece>) -> Self {
        let number = self.number + 1;
        let pieces = pieces.into_iter().map(|(id, text)| {
            let kept = self.pieces.get(&id).filter(|(_, before)| **before == *text).cloned();
            (id, kept.unwrap_or_else(|| (number, text.into())))
        });
        let mut next = Self { number, top, pieces: pieces.collect(), news: Bytes::new() };
        next.news = next.written(self.number);
        next
    }

    /// What changed since the rendering of this number, as an event of the stream; since 0: all of it.
    pub(super) fn since(&self, number: u64) -> Bytes {
        if number + 1 == self.number && number > 0 { self.news.clone() } else { self.written(number) }
    }

    fn written(&self, since: u64) -> Bytes {
        let changed: BTreeMap<&str, &str> = self
            .pieces
            .iter()
            .filter(|(_, (number, _))| *number > since)
            .map(|(id, (_, text))| (id.as_str(), text.as_ref()))
            .collect();
        let data = json!({
            "title": self.top.title,
            "runs": self.top.runs,
            "edges": self.top.edges,
            "pieces": changed,
        });
        // JSON has no line breaks of its own, so this is one line.
        format!("event: frame\nid: {}\ndata: {data}\n\n", self.number).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(id: &str, text: &str) -> Piece {
        (id.into(), text.into())
    }

    fn data(bytes: &Bytes) -> serde_json::Value {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(text.ends_with("\n\n") && text.trim_end().lines().count() == 3, "{text}");
        serde_json::from_str(text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap()).unwrap()
    }

    #[test]
    fn whoever_missed_some_gets_what_he_missed_and_no_more() {
        let one = Frame::default().next(Top::default(), vec![piece("a", "1"), piece("b", "1\n2")]);
        let two = one.next(Top::default(), vec![piece("a", "2"), piece("b", "1\n2")]);
        let three = two.next(Top::default(), vec![piece("a", "2"), piece("b", "1\n2"), piece("c", "1")]);
        for (since, expected) in [
            (0, json!({ "a": "2", "b": "1\n2", "c": "1" })),
            (1, json!({ "a": "2", "c": "1" })),
            (2, json!({ "c": "1" })),
            (3, json!({})),
        ] {
            assert_eq!(data(&three.since(since))["pieces"], expected, "{since}");
        }
    }
}
