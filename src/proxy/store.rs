//! Answers that an upstream really gave, kept so that `stale` has some to give.
//!
//! Invariants: never more bytes or entries than allowed, the ones that were not used for longest make room; what identifies a
//! caller is kept as a hash; the lock is held for a few steps and never over a wait. Asked only on edges that keep answers.

use super::fields::Head;
use super::tee::Sum;
use crate::decision::{Age, KeyPart, Older};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// At most so many answers on an edge.
const ENTRIES: usize = 10_000;
/// At most so many for one method and path.
const VERSIONS: usize = 256;
/// What an answer costs beside its bytes.
const OVERHEAD: usize = 512;

type Hash = [u8; 16];

/// What a request asked for, and who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Method, path, and what the caller can read: an answer in another coding is not an older one.
    place: Hash,
    query: Hash,
    /// The values of the header fields that tell callers apart, by their names.
    callers: Vec<(Arc<str>, Hash)>,
}

impl Key {
    /// The key of a request; only GET, HEAD and POST have one.
    pub(super) fn of(request: &[u8], names: &[String]) -> Option<Self> {
        let head = Head::read(request)?;
        if !matches!(head.method(), "GET" | "HEAD" | "POST") {
            return None;
        }
        let (path, query) = head.target();
        let value = |name: &String| head.get(name).map_or([0; 16], |value| hash(&[value]));
        Some(Self {
            place: {
                let reads = ["accept", "accept-encoding", "accept-language"];
                let [any, coding, language] = reads.map(|name| head.get(name).unwrap_or_default());
                let parts: [&[u8]; 9] = [
                    head.method().as_bytes(),
                    b" ",
                    path.as_bytes(),
                    b"\n",
                    any,
                    b"\n",
                    coding,
                    b"\n",
                    language,
                ];
                hash(&parts)
            },
            query: hash(&[query.as_bytes()]),
            callers: names.iter().map(|name| (Arc::from(name.as_str()), value(name))).collect(),
        })
    }

    fn part(&self, part: &KeyPart) -> Option<Hash> {
        match part {
            KeyPart::Query => Some(self.query),
            KeyPart::Header(name) => {
                self.callers.iter().find(|(known, _)| **known == **name).map(|(_, value)| *value)
            }
        }
    }

    /// Whether the answer to that request is one that may be given to this.
    fn takes(&self, other: &Self, older: &Older) -> bool {
        let same = |part: &KeyPart| self.part(part).is_some_and(|mine| other.part(part) == Some(mine));
        older.key.iter().all(same) && (!older.other || older.differs.iter().any(|part| !same(part)))
    }
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut sum = Sha256::new();
    parts.iter().for_each(|part| sum.update(part));
    let mut short = [0; 16];
    short.copy_from_slice(&sum.finalize()[..16]);
    short
}

/// An answer that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub status: u16,
    pub head: Arc<Head>,
    pub body: Arc<[u8]>,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    sum: Sum,
    /// When the upstream answered so for the first time.
    since: Instant,
    answer: Found,
    used: u64,
    bytes: usize,
}

/// The answers of an edge.
#[derive(Debug)]
pub(super) struct Store {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Oldest first.
    places: HashMap<Hash, Vec<Entry>>,
    /// By when they were used last.
    order: BTreeMap<u64, Hash>,
    clock: u64,
    bytes: usize,
}

impl Store {
    pub(super) fn new(most: u64) -> Self {
        Self { most: usize::try_from(most).unwrap_or(usize::MAX), kept: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an answer; tells by how many bytes and answers there are more now.
    pub(super) fn keep(
        &self,
        key: Key,
        status: u16,
        head: Head,
        body: Vec<u8>,
        sum: Sum,
        now: Instant,
    ) -> (i64, i64) {
        let mut kept = self.lock();
        let (bytes, entries) = (kept.bytes, kept.order.len());
        kept.keep(key, Found { status, head: Arc::new(head), body: body.into() }, sum, now);
        while kept.bytes > self.most || kept.order.len() > ENTRIES {
            if !kept.drop_oldest() {
                break;
            }
        }
        (kept.bytes as i64 - bytes as i64, kept.order.len() as i64 - entries as i64)
    }

    /// An older answer than the one that has this sum.
    pub(super) fn find(&self, key: &Key, older: &Older, current: &Sum, now: Instant) -> Option<Found> {
        let mut kept = self.lock();
        let tick = kept.tick();
        let kept = &mut *kept;
        let entries = kept.places.get_mut(&key.place)?;
        let mut newest_first = entries.iter_mut().rev().filter(|entry| key.takes(&entry.key, older));
        let entry = match older.by {
            Age::Latest => newest_first.find(|entry| entry.sum != *current),
            Age::Time(age) => newest_first
                .find(|entry| now.saturating_duration_since(entry.since) >= age)
                .filter(|entry| entry.sum != *current),
            Age::Versions(versions) => {
                let (mut last, mut left) = (*current, versions);
                newest_first.find(|entry| {
                    if entry.sum != last {
                        (last, left) = (entry.sum, left.saturating_sub(1));
                    }
                    left == 0
                })
            }
        }?;
        if entry.sum == *current {
            return None;
        }
        kept.order.remove(&std::mem::replace(&mut entry.used, tick));
        kept.order.insert(tick, key.place);
        Some(entry.answer.clone())
    }
}

impl Kept {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn keep(&mut self, key: Key, answer: Found, sum: Sum, now: Instant) {
        let tick = self.tick();
        let entries = self.places.entry(key.place).or_default();
        // answered as before: nothing new
        if let Some(last) = entries.iter_mut().rev().find(|entry| entry.key == key)
            && last.sum == sum
        {
            self.order.remove(&std::mem::replace(&mut last.used, tick));
            self.order.insert(tick, key.place);
            return;
        }
        if entries.len() >= VERSIONS {
            let gone = entries.remove(0);
            self.order.remove(&gone.used);
            self.bytes -= gone.bytes;
        }
        let bytes = answer.body.len() + answer.head.bytes() + OVERHEAD;
        self.bytes += bytes;
        self.order.insert(tick, key.place);
        entries.push(Entry { key, sum, since: now, answer, used: tick, bytes });
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((used, place)) = self.order.pop_first() else { return false };
        if let Some(entries) = self.places.get_mut(&place) {
            if let Some(at) = entries.iter().position(|entry| entry.used == used) {
                self.bytes -= entries.remove(at).bytes;
            }
            if entries.is_empty() {
                self.places.remove(&place);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn key(path: &str, tenant: &str) -> Key {
        let request = format!("GET {path} HTTP/1.1\r\nX-Tenant: {tenant}\r\n\r\n");
        Key::of(request.as_bytes(), &["x-tenant".to_owned()]).unwrap()
    }

    fn older(by: Age, other: bool) -> Older {
        let tenant = KeyPart::Header("x-tenant".into());
        let (key, differs) =
            if other { (vec![KeyPart::Query], vec![tenant]) } else { (vec![KeyPart::Query, tenant], vec![]) };
        Older { by, other, key, differs }
    }

    fn keep(store: &Store, key: Key, body: &str, now: Instant) -> (i64, i64) {
        let head = Head::read(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n").unwrap();
        store.keep(key, 200, head, body.as_bytes().to_vec(), sum(body), now)
    }

    fn sum(body: &str) -> Sum {
        Sha256::digest(body).into()
    }

    fn found(store: &Store, key: &Key, older: &Older, current: &str, now: Instant) -> Option<String> {
        let found = store.find(key, older, &sum(current), now)?;
        Some(String::from_utf8_lossy(&found.body).into_owned())
    }

    #[test]
    fn versions_ages_and_others() {
        let store = Store::new(1 << 20);
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        for (second, body) in [(0, "one"), (10, "one"), (20, "two"), (30, "two"), (40, "three")] {
            keep(&store, key("/a?x", "t"), body, at(second));
        }
        keep(&store, key("/a?x", "u"), "of u", at(41));
        keep(&store, key("/a?y", "t"), "y", at(42));
        let (mine, now) = (key("/a?x", "t"), at(60));
        for (by, other, current, body) in [
            (Age::Versions(1), false, "three", Some("two")),
            (Age::Versions(2), false, "three", Some("one")),
            (Age::Versions(3), false, "three", None),
            (Age::Versions(1), false, "four", Some("three")),
            (Age::Time(Duration::from_secs(15)), false, "four", Some("three")),
            (Age::Time(Duration::from_secs(15)), false, "three", None),
            (Age::Time(Duration::from_secs(25)), false, "three", Some("two")),
            (Age::Time(Duration::from_secs(55)), false, "three", Some("one")),
            (Age::Time(Duration::from_secs(61)), false, "three", None),
            (Age::Latest, true, "three", Some("of u")),
            (Age::Latest, true, "of u", None),
        ] {
            assert_eq!(
                found(&store, &mine, &older(by, other), current, now).as_deref(),
                body,
                "{by:?} {other}"
            );
        }
        assert!(Key::of(b"PUT /a HTTP/1.1\r\n\r\n", &[]).is_none());
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room_and_sizes_add_up() {
        let now = Instant::now();
        // what one takes, head and all
        let (one, _) = keep(&Store::new(1 << 20), key("/0", "t"), "body", now);
        assert!(one > OVERHEAD as i64 + 4);
        let store = Store::new(10 * one.unsigned_abs());
        let (mut bytes, mut entries) = (0, 0);
        for n in 0..30 {
            let (more, one) = keep(&store, key(&format!("/{n}"), "t"), "body", now);
            (bytes, entries) = (bytes + more, entries + one);
            // the first is used all the time
            let first = found(&store, &key("/0", "t"), &older(Age::Versions(1), false), "other", now);
            assert_eq!(first.as_deref(), Some("body"), "{n}");
        }
        assert_eq!((bytes, entries), (10 * one, 10));
        for n in 0..2 * VERSIONS {
            keep(&store, key("/v", "t"), &format!("{n:04}"), now);
        }
        assert_eq!(store.lock().order.len(), 10);
        let kept = store.lock();
        assert_eq!(kept.bytes, kept.places.values().flatten().map(|entry| entry.bytes).sum::<usize>());
    }
}
