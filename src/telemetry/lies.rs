//! What was made of the content of an exchange: what was, and what became of it.
//!
//! Bounded; secrets are masked by whoever makes one.

use crate::units::Name;
use serde::{Deserialize, Serialize};

/// No more of a value is told.
const MOST: usize = 256;

/// One change to a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lie {
    /// The fault that made it.
    pub fault: Name,
    /// Where: `status`, `path`, `header:NAME`, a path into JSON, `text` or `answer`.
    pub place: String,
    /// What stood there, at most 256 bytes of it.
    pub was: String,
    /// What stands there now, at most 256 bytes of it.
    pub became: String,
}

impl Lie {
    /// A change, cut to what is told.
    #[must_use]
    pub fn new(fault: Name, place: &str, was: &[u8], became: &[u8]) -> Self {
        Self { fault, place: cut(place.as_bytes()), was: cut(was), became: cut(became) }
    }

    /// The memory it takes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.place.len() + self.was.len() + self.became.len()
    }
}

fn cut(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]).into_owned();
    while text.len() > MOST {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_256_bytes_are_told() {
        let long = "é".repeat(500);
        let lie = Lie::new("f".parse().unwrap(), "$.a", long.as_bytes(), &[0xff; 500]);
        assert!(lie.was.len() <= MOST && lie.became.len() <= MOST, "{lie:?}");
        assert!(lie.was.starts_with("éé") && lie.bytes() > 500);
    }
}
