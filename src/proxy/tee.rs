//! What an upstream really answered, looked at while it passes: for copies that are compared, and for answers that are kept.
//!
//! Invariants: nothing waits for it; no more than [`MOST`] is kept; only an answer that passed whole counts.

use super::edge::EdgeHere;
use super::fields::Head;
use super::store::{Found, Key};
use crate::decision::Older;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Longer answers are not kept.
pub(super) const MOST: usize = 1 << 20;

/// A status and a body, in so few bytes that they can be compared.
pub(super) type Sum = [u8; 32];

/// A sum under way.
#[derive(Clone, Debug)]
pub(super) struct Summed(Sha256);

impl Summed {
    pub(super) fn new(status: u16) -> Self {
        Self(Sha256::new().chain_update(status.to_be_bytes()))
    }

    pub(super) fn add(&mut self, payload: &[u8]) {
        self.0.update(payload);
    }

    pub(super) fn sum(&self) -> Sum {
        self.0.clone().finalize().into()
    }
}

/// One answer on its way.
#[derive(Debug, Default)]
pub(super) struct Tee {
    /// Who compares it with those of copies.
    copies: Option<oneshot::Sender<Sum>>,
    /// Under which key it is kept.
    key: Option<Key>,
    answer: Option<(u16, Head, Summed)>,
    body: Vec<u8>,
}

impl Tee {
    pub(super) fn for_copies(copies: oneshot::Sender<Sum>) -> Self {
        Self { copies: Some(copies), ..Self::default() }
    }

    /// It is kept, too.
    pub(super) fn keep(&mut self, key: Key) {
        self.key = Some(key);
    }

    /// The answer begins.
    pub(super) fn begin(&mut self, status: u16, head: &[u8]) {
        let Some(head) = Head::read(head) else { return };
        if !(200..300).contains(&status) || status == 206 {
            self.key = None;
        }
        // nobody wants it
        if self.key.is_some() || self.copies.is_some() {
            self.answer = Some((status, head.without_framing(), Summed::new(status)));
        }
    }

    /// Payload passes.
    pub(super) fn payload(&mut self, bytes: &[u8]) {
        let Some((_, _, sum)) = &mut self.answer else { return };
        sum.add(bytes);
        if self.key.is_none() {
            return;
        }
        if self.body.len() + bytes.len() > MOST {
            (self.key, self.body) = (None, Vec::new());
            if self.copies.is_none() {
                self.answer = None;
            }
        } else {
            self.body.extend_from_slice(bytes);
        }
    }

    /// An older answer than this one, which is whole.
    pub(super) fn older(&self, edge: &EdgeHere, older: &Older) -> Option<Found> {
        let store = edge.shared.store.as_ref()?;
        let (_, _, sum) = self.answer.as_ref()?;
        store.find(self.key.as_ref()?, older, &sum.sum(), Instant::now())
    }

    /// It has passed whole.
    pub(super) fn end(self, edge: &EdgeHere) {
        let Some((status, head, sum)) = self.answer else { return };
        let sum = sum.sum();
        if let Some(copies) = self.copies {
            let _ = copies.send(sum);
        }
        if let (Some(key), Some(store)) = (self.key, &edge.shared.store) {
            let (bytes, entries) = store.keep(key, status, head, self.body, sum, Instant::now());
            edge.recorder.stored(bytes, entries);
        }
    }
}
