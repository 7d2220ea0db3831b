//! Which faults of a plan can strike a request at all, found by its path and its fields instead of by asking each fault.
//!
//! So that a request costs the same whether a fault or a hundred are armed that are not meant for it. It leaves out only
//! faults that would not match; whoever is found is still asked. Knows nothing of percentages and ordinals.

use super::matcher::Matcher;
use crate::decision::Subject;

/// Faults that can be told apart here; those beyond are always found.
const FAULTS: usize = 512;
const WORDS: usize = FAULTS / 64;
/// Names of fields that are looked up; what wants another is found if its path is right.
const FIELDS: usize = 16;

/// Places of faults.
type Set = [u64; WORDS];
/// Faults by what they want, in order.
type Wants = Vec<(Vec<u8>, Set)>;

/// What the faults of a plan want.
#[derive(Debug, Default)]
pub(super) struct Index {
    faults: usize,
    /// Those that may strike any path.
    anywhere: Set,
    /// The fixed beginnings of the paths of all others: of each length, in order.
    beginnings: Vec<(usize, Wants)>,
    /// Those that want a field: its name, and who wants which value of it.
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    name: String,
    /// All that want this field.
    wanted: Set,
    /// Those to whom this very value will do, in order.
    values: Wants,
    /// Those that have a pattern for it.
    patterns: Set,
}

fn with(set: &mut Set, place: usize) {
    if let Some(word) = set.get_mut(place / 64) {
        *word |= 1 << (place % 64);
    }
}

/// The entry of this key in a list that is in order.
fn entry<'l>(list: &'l mut Wants, key: &[u8]) -> &'l mut Set {
    let place = match list.binary_search_by(|(known, _)| known.as_slice().cmp(key)) {
        Ok(place) => place,
        Err(place) => {
            list.insert(place, (key.to_owned(), Set::default()));
            place
        }
    };
    &mut list[place].1
}

fn look<'l>(list: &'l [(Vec<u8>, Set)], key: &[u8]) -> Option<&'l Set> {
    let place = list.binary_search_by(|(known, _)| known.as_slice().cmp(key)).ok()?;
    list.get(place).map(|(_, set)| set)
}

impl Index {
    pub(super) fn new<'m>(faults: impl Iterator<Item = &'m Matcher>) -> Self {
        let mut index = Self::default();
        for (place, matcher) in faults.enumerate() {
            index.faults = place + 1;
            match matcher.path_prefix() {
                "" => with(&mut index.anywhere, place),
                prefix => {
                    let of = |(length, _): &(usize, Vec<_>)| length.cmp(&prefix.len());
                    let at = index.beginnings.binary_search_by(of).unwrap_or_else(|at| {
                        index.beginnings.insert(at, (prefix.len(), Vec::new()));
                        at
                    });
                    with(entry(&mut index.beginnings[at].1, prefix.as_bytes()), place);
                }
            }
            // all of a fault's fields must be there, so one of them is enough to leave it out
            if let Some((name, values)) = matcher.field() {
                index.want(place, name, values);
            }
        }
        index
    }

    fn want(&mut self, place: usize, name: &str, values: &[String]) {
        let known = self.fields.iter().position(|field| field.name == name);
        let at = match known {
            Some(at) => at,
            None if self.fields.len() < FIELDS => {
                let (wanted, patterns) = (Set::default(), Set::default());
                self.fields.push(Field { name: name.to_owned(), wanted, values: Vec::new(), patterns });
                self.fields.len() - 1
            }
            None => return,
        };
        let field = &mut self.fields[at];
        with(&mut field.wanted, place);
        let is_pattern = |value: &String| value.contains(['*', '?', '[', ']', '{', '}', '\\', '!']);
        if values.iter().any(is_pattern) {
            with(&mut field.patterns, place);
        } else {
            values.iter().for_each(|value| with(entry(&mut field.values, value.as_bytes()), place));
        }
    }

    /// The faults that can strike this request, in order.
    pub(super) fn find(&self, path: &[u8], subject: &dyn Subject) -> Found {
        let words = self.faults.div_ceil(64).min(WORDS);
        let mut set = Set::default();
        set[..words].copy_from_slice(&self.anywhere[..words]);
        for (length, beginnings) in &self.beginnings {
            let Some(start) = path.get(..*length) else { break };
            if let Some(more) = look(beginnings, start) {
                set[..words].iter_mut().zip(more).for_each(|(word, more)| *word |= more);
            }
        }
        for field in &self.fields {
            if set[..words].iter().zip(&field.wanted).all(|(word, wanted)| word & wanted == 0) {
                continue;
            }
            let given = subject.header(&field.name);
            let fitting = given.and_then(|value| look(&field.values, value));
            for (place, word) in set[..words].iter_mut().enumerate() {
                let patterns = if given.is_some() { field.patterns[place] } else { 0 };
                *word &= !field.wanted[place] | patterns | fitting.map_or(0, |fitting| fitting[place]);
            }
        }
        Found { set, word: 0, beyond: FAULTS, faults: self.faults }
    }

    /// All faults, in order.
    pub(super) fn all(&self) -> Found {
        Found { set: Set::default(), word: WORDS, beyond: 0, faults: self.faults }
    }
}

/// Faults to be asked, in order.
pub(super) struct Found {
    set: Set,
    word: usize,
    /// From here on all of them.
    beyond: usize,
    faults: usize,
}

impl Iterator for Found {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while let Some(word) = self.set.get_mut(self.word) {
            if *word != 0 {
                let bit = word.trailing_zeros() as usize;
                *word &= *word - 1;
                return Some(self.word * 64 + bit);
            }
            self.word += 1;
            if self.word * 64 >= self.faults {
                self.word = WORDS;
            }
        }
        let place = self.beyond;
        self.beyond += 1;
        (place < self.faults).then_some(place)
    }
}
