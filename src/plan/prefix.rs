//! The beginnings of paths, of one size each, so that many can be looked at side by side.

/// The beginning of the path that a fault wants.
#[derive(Debug)]
pub(super) struct Prefix {
    prefix: [u8; Self::LONGEST],
    length: u8,
}

impl Prefix {
    const LONGEST: usize = 31;

    pub(super) fn new(prefix: &str) -> Self {
        let length = prefix.len().min(Self::LONGEST);
        let mut new = Self { prefix: [0; Self::LONGEST], length: length as u8 };
        new.prefix[..length].copy_from_slice(&prefix.as_bytes()[..length]);
        new
    }

    /// Whether a path begins as the fault wants.
    pub(super) fn lets(&self, path: &[u8]) -> bool {
        path.starts_with(&self.prefix[..usize::from(self.length)])
    }
}
