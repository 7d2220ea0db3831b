//! The picture of a system: services as boxes, edges as arrows from left to right, each marked by how it is.

mod draw;
mod layers;
mod layout;

pub use draw::legend;

/// A system.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Its edges; its services are whom these name.
    pub edges: Vec<Edge>,
}

/// An edge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edge {
    /// Its name.
    pub name: String,
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// How it is.
    pub state: State,
    /// Of those that fell ill: its place in the order, from 1.
    pub order: Option<usize>,
    /// A few words under it; may be empty.
    pub detail: String,
}

/// How an edge is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// As on the baseline.
    #[default]
    Calm,
    /// Not as on the baseline, and nobody can say yet what it is.
    Ill,
    /// Ill, and none below it was before.
    Source,
    /// Ill, because of one below it.
    Symptom,
    /// Nothing can be said of it.
    Unjudged,
    /// It was ill, and is as before.
    Recovered,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Calm, Self::Ill, Self::Source, Self::Symptom, Self::Unjudged, Self::Recovered];

    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Ill => "ill",
            Self::Source => "source",
            Self::Symptom => "symptom",
            Self::Unjudged => "unjudged",
            Self::Recovered => "recovered",
        }
    }
}

#[cfg(test)]
mod tests;
