//! A histogram of durations: log-linear buckets, 64 to an octave, so that a value read back is within 0.8 % of what was
//! recorded, from 1 µs to 19 hours.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Durations counted by bucket; only buckets that were hit take room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histogram(#[serde(with = "by_number")] BTreeMap<u16, u64>);

const BITS: u32 = 6;

impl Histogram {
    /// How many buckets there are.
    pub const BUCKETS: usize = 31 << BITS;

    /// The bucket of a duration.
    #[must_use]
    pub fn bucket(value: Duration) -> u16 {
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX).min((1 << 36) - 1);
        if micros < 1 << BITS {
            return micros as u16;
        }
        let exponent = 63 - micros.leading_zeros() - BITS;
        (((exponent + 1) << BITS) as u64 + ((micros >> exponent) - (1 << BITS))) as u16
    }

    /// The middle of a bucket, in seconds.
    #[must_use]
    pub fn value(bucket: u16) -> f64 {
        let (row, column) = (u32::from(bucket) >> BITS, u64::from(bucket) & ((1 << BITS) - 1));
        let micros = if row == 0 {
            column as f64
        } else {
            let width = (1u64 << (row - 1)) as f64;
            (column as f64 + f64::from(1u32 << BITS)) * width + (width - 1.0) / 2.0
        };
        micros / 1e6
    }

    /// Counts one duration.
    pub fn record(&mut self, value: Duration) {
        *self.0.entry(Self::bucket(value)).or_default() += 1;
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    /// How many durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The duration, in seconds, below or at which this share (0 to 1) of all lies: the nearest-rank method.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let rank = ((q * total as f64).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        self.0.iter().find_map(|(bucket, count)| {
            seen += count;
            (seen >= rank).then(|| Self::value(*bucket))
        })
    }
}

impl FromIterator<(u16, u64)> for Histogram {
    /// Of counts by bucket, each bucket once.
    fn from_iter<I: IntoIterator<Item = (u16, u64)>>(counts: I) -> Self {
        Self(counts.into_iter().collect())
    }
}

/// Maps with numbers as keys, in a format whose keys are text. Serde's flattening, which events use, does not turn them back
/// into numbers by itself.
pub(crate) mod by_number {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::collections::BTreeMap;

    pub(crate) fn serialize<S: Serializer>(map: &BTreeMap<u16, u64>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(map.iter().map(|(key, value)| (key.to_string(), value)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<u16, u64>, D::Error> {
        let texts = BTreeMap::<String, u64>::deserialize(from)?;
        let number = |(key, value): (String, u64)| match key.parse() {
            Ok(key) => Ok((key, value)),
            Err(_) => Err(D::Error::custom(format!("`{key}` is not a number"))),
        };
        texts.into_iter().map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_within_its_error() {
        for micros in (0..2_000).chain((11..36).map(|n| (1u64 << n) + 12_345 % (1 << n))) {
            let value = Histogram::value(Histogram::bucket(Duration::from_micros(micros))) * 1e6;
            assert!((value - micros as f64).abs() <= micros as f64 * 0.008 + 1e-6, "{micros} {value}");
        }
        assert_eq!(usize::from(Histogram::bucket(Duration::MAX)), Histogram::BUCKETS - 1);
    }

    #[test]
    fn quantiles_by_nearest_rank() {
        let mut h = Histogram::default();
        assert_eq!(h.quantile(0.5), None);
        (1..=100).for_each(|ms| h.record(Duration::from_millis(ms)));
        for (q, ms) in [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (0.999, 100.0), (0.0, 1.0)] {
            let got = h.quantile(q).unwrap() * 1e3;
            assert!((got - ms).abs() <= ms * 0.008, "{q}: {got}");
        }
    }
}
