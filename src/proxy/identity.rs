//! Which logical request a request is an attempt of, read from its head, and from its body if nothing in the head tells.
//!
//! Invariants: the hashes have no key and never change, so that journals of two runs can be compared, and are the same on
//! every edge; nothing is kept of what was hashed. Knows nothing of what repetitions mean.

use crate::http1::{Body, Framing, RequestHead};
use crate::telemetry::Identity;

/// So much of a body is part of a fingerprint.
const BODY: usize = 64 << 10;

/// What is known of a request from its head.
#[derive(Debug)]
pub(super) struct Known {
    pub identity: Identity,
    /// A hash of method and target.
    pub target: u32,
    /// Its body makes a difference.
    pub print: Option<Box<Print>>,
}

impl Known {
    /// Nothing that could be repeated.
    pub(super) const NOTHING: Self = Self { identity: Identity::None, target: 0, print: None };

    /// Reads it from a head. `named` is the field that the edge says is the identity.
    pub(super) fn of(head: &RequestHead<'_, '_>, named: Option<&str>) -> Self {
        let mut mixer = Mixer { state: hash(head.method.as_bytes()), ..Mixer::default() };
        mixer.write(head.target.as_bytes());
        let whole = mixer.value();
        let target = (whole >> 32) as u32;
        if let Some(identity) = said(head, named) {
            return Self { identity, target, print: None };
        }
        let print = match head.framing {
            Framing::None | Framing::Length(0) => None,
            framing => Some(Box::new(Print { mixer, body: Body::new(framing), left: BODY, seen: 0 })),
        };
        Self { identity: Identity::Fingerprint(whole), target, print }
    }
}

/// What the head says of it: the edge's own field, the trace, then the usual ids.
fn said(head: &RequestHead<'_, '_>, named: Option<&str>) -> Option<Identity> {
    let (mut own, mut trace, mut request, mut key) = (None, None, None, None);
    for field in head.fields {
        let (name, value) = (field.name, Some(field.value).filter(|value| !value.is_empty()));
        match name.len() {
            11 if is(name, b"traceparent") => trace = trace.or(value),
            12 if is(name, b"x-request-id") => request = request.or(value),
            15 if is(name, b"idempotency-key") => key = key.or(value),
            _ => {}
        }
        if named.is_some_and(|named| name.eq_ignore_ascii_case(named)) {
            own = own.or(value);
        }
    }
    let given = |value| Identity::Given(hash(value));
    let trace = || trace.and_then(trace_id).map(|id| Identity::Trace(hash(id)));
    own.map(given).or_else(trace).or_else(|| request.or(key).map(given))
}

/// Whether a name is this one, which is in lower case: bytes side by side. No other byte of a name becomes a letter or `-` by
/// its sixth bit.
fn is<const N: usize>(name: &str, known: &[u8; N]) -> bool {
    let Some(name) = name.as_bytes().first_chunk::<N>() else { return false };
    name.iter().zip(known).fold(0, |any, (a, b)| any | ((a | 0x20) ^ b)) == 0
}

/// The trace id of a valid `traceparent`: version, trace id, parent id and flags (W3C Trace Context).
fn trace_id(value: &[u8]) -> Option<&[u8]> {
    let (known, rest) = value.split_first_chunk::<55>()?;
    let [a, b, d1, id @ .., d2, p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, pa, pb, pc, pd, pe, pf, d3, f0, f1] =
        known;
    let parent = [*p0, *p1, *p2, *p3, *p4, *p5, *p6, *p7, *p8, *p9, *pa, *pb, *pc, *pd, *pe, *pf];
    let whole = match [*a, *b] {
        [b'f', b'f'] => false,
        [b'0', b'0'] => rest.is_empty(),
        _ => matches!(rest, [] | [b'-', ..]),
    };
    let dashes = [*d1, *d2, *d3] == [b'-'; 3];
    let hex = is_hex(&[*a, *b]) & is_hex(&[*f0, *f1]) & is_hex(&parent) & is_hex(id);
    (whole && dashes && hex && *id != [b'0'; 32] && parent != [b'0'; 16]).then_some(id)
}

/// Whether these are digits as `traceparent` has them: in lower case. Without a branch, so that they are looked at side by side.
fn is_hex<const N: usize>(bytes: &[u8; N]) -> bool {
    let wrong = |byte: u8| u8::from(byte.wrapping_sub(b'0') > 9) & u8::from(byte.wrapping_sub(b'a') > 5);
    bytes.iter().fold(0, |any, byte| any | wrong(*byte)) == 0
}

/// A fingerprint under way: method and target, and what has come of the body.
#[derive(Debug)]
pub(super) struct Print {
    mixer: Mixer,
    body: Body,
    /// Bytes of the body that may still be part of it.
    left: usize,
    /// Bytes at the front of the caller's buffer that were looked at and not passed.
    seen: usize,
}

impl Print {
    /// Looks at what stands in the caller's buffer, and will pass later.
    pub(super) fn look(&mut self, bytes: &[u8]) {
        let taken = self.take(bytes.get(self.seen..).unwrap_or_default());
        self.seen += taken;
    }

    /// These bytes pass: the next ones of the body, with their framing.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        let known = self.seen.min(bytes.len());
        self.seen -= known;
        self.take(&bytes[known..]);
    }

    /// The payload among these bytes counts; how many of them belong to the body.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while self.left > 0 && at < bytes.len() {
            let Ok(step) = self.body.next(&bytes[at..]) else { break };
            let data = &bytes[at..][step.data];
            let data = &data[..data.len().min(self.left)];
            self.mixer.write(data);
            self.left -= data.len();
            at += step.consumed;
            if step.done || step.consumed == 0 {
                break;
            }
        }
        at
    }

    /// The identity, as far as it is known.
    pub(super) fn identity(&self) -> Identity {
        Identity::Fingerprint(self.mixer.value())
    }
}

/// A hash of some bytes.
fn hash(bytes: &[u8]) -> u64 {
    let mut mixer = Mixer::default();
    mixer.write(bytes);
    mixer.value()
}

/// A hash of bytes that come in pieces; how they were cut makes no difference.
#[derive(Clone, Debug, Default)]
struct Mixer {
    state: u64,
    /// Bytes that do not make a word yet, the first one lowest.
    tail: u64,
    length: u64,
}

impl Mixer {
    fn write(&mut self, bytes: &[u8]) {
        let have = (self.length % 8) as usize;
        self.length += bytes.len() as u64;
        let mut rest = bytes;
        if have > 0 {
            let fill = rest.len().min(8 - have);
            self.tail |= word(&rest[..fill]) << (8 * have);
            if have + fill < 8 {
                return;
            }
            self.stir(self.tail);
            rest = &rest[fill..];
        }
        let (words, tail) = rest.as_chunks::<8>();
        for whole in words {
            self.stir(u64::from_le_bytes(*whole));
        }
        self.tail = word(tail);
    }

    /// Takes in a word: the step of MurmurHash2 for 64 bits.
    fn stir(&mut self, word: u64) {
        const M: u64 = 0xc6a4_a793_5bd1_e995;
        let word = word.wrapping_mul(M);
        self.state = (self.state ^ (word ^ (word >> 47)).wrapping_mul(M)).wrapping_mul(M);
    }

    /// What came so far, as a number: the finalizer of SplitMix64.
    fn value(&self) -> u64 {
        let mut all = self.clone();
        all.stir(self.tail);
        let mut z = all.state ^ self.length.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Fewer than eight bytes as a number, the first one lowest.
fn word(bytes: &[u8]) -> u64 {
    let (mut word, mut shift, mut rest) = (0, 0, bytes);
    if let Some((four, more)) = rest.split_first_chunk::<4>() {
        (word, shift, rest) = (u64::from(u32::from_le_bytes(*four)), 32, more);
    }
    if let Some((two, more)) = rest.split_first_chunk::<2>() {
        word |= u64::from(u16::from_le_bytes(*two)) << shift;
        (shift, rest) = (shift + 16, more);
    }
    rest.first().map_or(word, |last| word | u64::from(*last) << shift)
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
