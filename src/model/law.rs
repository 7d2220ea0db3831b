//! How long: a duration, or a law of chance that draws one.

use super::keys::quantile;
use super::reader::Reader;
use super::tree::{Node, Value};
use crate::decision::{Distribution, Law};
use crate::problem::{Place, Problem, Problems, one_of};
use crate::units::Span;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where files with samples are looked for; nowhere for a fault that came over the network.
pub(crate) type Folder = Option<PathBuf>;

/// A file with samples is no longer than this, and has no more samples.
const MOST_BYTES: u64 = 4 << 20;
const MOST_SAMPLES: usize = 100_000;

/// The laws, as keys.
pub(crate) const LAWS: [&str; 7] =
    ["uniform", "normal", "lognormal", "pareto", "percentiles", "samples", "wave"];

/// A duration or a law under this key.
pub(crate) fn read(
    table: &Reader<'_>,
    key: &'static str,
    folder: &Folder,
    problems: &mut Problems,
) -> Option<Distribution> {
    match table.duration(key) {
        Some(time) => Some(Distribution::fixed(time)),
        None => law(&table.inner(key)?, folder, problems),
    }
}

/// The one law of this table, with its `max`.
pub(crate) fn law(table: &Reader<'_>, folder: &Folder, problems: &mut Problems) -> Option<Distribution> {
    let laws: Vec<_> = table.entries().iter().filter(|entry| LAWS.contains(&entry.key.as_str())).collect();
    match laws.as_slice() {
        [] => {
            if !table.entries().iter().any(|entry| entry.node.broken) {
                problems.push(
                    Problem::error("how long to wait is missing")
                        .at(table.place)
                        .label("no law of chance")
                        .help(format!("write a duration such as `\"300ms\"`, or one of {}", one_of(LAWS))),
                );
            }
            return None;
        }
        [one, other, ..] => {
            problems.push(
                Problem::error("two laws for one duration")
                    .at(other.key_place)
                    .label("which of them?")
                    .related(one.key_place, "the first")
                    .help("keep one"),
            );
            return None;
        }
        [_] => {}
    }
    let law = uniform(table, problems)
        .or_else(|| normal(table))
        .or_else(|| lognormal(table, problems))
        .or_else(|| {
            let t = table.inner("pareto")?;
            Some(Law::Pareto { min: seconds(&t, "min")?, shape: t.number("shape")? })
        })
        .or_else(|| percentiles(table, problems))
        .or_else(|| samples(table, folder, problems))
        .or_else(|| wave(table, problems))?;
    Some(Distribution { law, max: table.duration("max") })
}

fn seconds(table: &Reader<'_>, key: &'static str) -> Option<f64> {
    table.duration(key).map(|time| time.as_secs_f64())
}

fn span(node: &Node) -> Option<f64> {
    node.as_text()?.parse::<Span>().ok().map(|span| span.0.as_secs_f64())
}

fn disorder(place: Place, label: &str, help: &str) -> Problem {
    Problem::error("a law that cannot be drawn from").at(place).label(label).help(help)
}

fn uniform(table: &Reader<'_>, problems: &mut Problems) -> Option<Law> {
    let [low, high] = table.node("uniform")?.elements() else { return None };
    let (from, to) = (span(low)?, span(high)?);
    if from > to {
        problems.push(disorder(low.place, "longer than the second", "write the shorter one first"));
        return None;
    }
    Some(Law::Uniform(from, to))
}

fn normal(table: &Reader<'_>) -> Option<Law> {
    let t = table.inner("normal")?;
    Some(Law::Normal { mean: seconds(&t, "mean")?, stddev: seconds(&t, "stddev")? })
}

fn lognormal(table: &Reader<'_>, problems: &mut Problems) -> Option<Law> {
    let t = table.inner("lognormal")?;
    let (median, p99) = (seconds(&t, "median")?, seconds(&t, "p99")?);
    if p99 < median {
        let label = "shorter than the median";
        problems.push(disorder(
            t.place_of("p99"),
            label,
            "99 of 100 draws cannot be shorter than half of them",
        ));
        return None;
    }
    Some(Law::LogNormal { median, p99 })
}

fn percentiles(table: &Reader<'_>, problems: &mut Problems) -> Option<Law> {
    let t = table.inner("percentiles")?;
    let mut points: Vec<(f64, f64, Place)> = t
        .entries()
        .iter()
        .filter(|entry| !entry.node.broken)
        .filter_map(|entry| Some((quantile(&entry.key)?, span(&entry.node)?, entry.node.place)))
        .collect();
    if points.len() < t.entries().len() {
        return None;
    }
    if points.is_empty() {
        problems.push(disorder(
            t.place,
            "no points",
            "write at least one: `{ p50 = \"100ms\", p99 = \"2s\" }`",
        ));
        return None;
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    for pair in points.windows(2) {
        if let [before, after] = pair
            && after.1 < before.1
        {
            problems.push(
                disorder(after.2, "shorter than a lower percentile", "percentiles rise: exchange the values")
                    .related(before.2, "the lower percentile"),
            );
            return None;
        }
    }
    Some(Law::Percentiles(points.iter().map(|(q, value, _)| (*q, *value)).collect()))
}

fn wave(table: &Reader<'_>, problems: &mut Problems) -> Option<Law> {
    let t = table.inner("wave")?;
    let (min, max, period) = (seconds(&t, "min")?, seconds(&t, "max")?, seconds(&t, "period")?);
    if min > max {
        problems.push(disorder(t.place_of("min"), "longer than `max`", "exchange them"));
        return None;
    }
    Some(Law::Wave { min, max, period })
}

fn samples(table: &Reader<'_>, folder: &Folder, problems: &mut Problems) -> Option<Law> {
    let node = table.node("samples")?;
    let values: Vec<f64> = match &node.value {
        Value::List(list) => list.iter().filter_map(span).collect(),
        Value::Text(file) => match read_samples(file, folder.as_deref()) {
            Ok(values) => values,
            Err(reason) => {
                problems.push(
                    Problem::error("samples that cannot be read")
                        .at(node.place)
                        .label(reason)
                        .help("name a text file beside this one with one duration a line, such as `12.5ms`"),
                );
                return None;
            }
        },
        _ => return None,
    };
    Some(Law::Samples(Arc::from(values)))
}

fn read_samples(file: &str, folder: Option<&Path>) -> Result<Vec<f64>, String> {
    let folder = folder.ok_or("a fault that is armed by hand reads no files; write the samples as a list")?;
    let path = folder.join(file);
    let meta = std::fs::metadata(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
    if !meta.is_file() || meta.len() > MOST_BYTES {
        return Err(format!("`{}` is not a plain file of at most 4 MiB", path.display()));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
    let mut values = Vec::new();
    for (n, line) in text.lines().enumerate().map(|(n, line)| (n + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let time: Span = line.parse().map_err(|reason| format!("line {n}: {reason}"))?;
        values.push(time.0.as_secs_f64());
        if values.len() > MOST_SAMPLES {
            return Err(format!("more than {MOST_SAMPLES} samples"));
        }
    }
    if values.is_empty() { Err("there is no sample in it".into()) } else { Ok(values) }
}

/// A fixed wait of nothing does nothing.
pub(crate) fn is_nothing(law: &Distribution) -> bool {
    law.law == Law::Fixed(0.0) || law.max == Some(Duration::ZERO)
}

/// Whether this shape is one of laws; for the reader of `latency`, which may be a law itself.
pub(crate) fn has_law(table: &Reader<'_>) -> bool {
    table.entries().iter().any(|entry| LAWS.contains(&entry.key.as_str()))
}
