//! Reads what a fault does to bytes: `bandwidth`, `chunk`, `truncate`, `endless`, `corrupt`.

use super::around::Surroundings;
use super::keys::byte_rate;
use super::law;
use super::reader::Reader;
use crate::decision::{Distribution, Length};
use crate::fault::{BadFrame, Bandwidth, Chunk, Corrupt, Endless, Truncate};
use crate::problem::{Problem, Problems};
use std::time::Duration;

fn rate(table: &Reader<'_>, key: &'static str) -> Option<u64> {
    byte_rate(table.text(key)?).ok()
}

/// A table that names none of the things it is for, and nothing wrong either.
fn nothing(t: &Reader<'_>, what: &str, label: &str, help: &str, problems: &mut Problems) {
    if !t.entries().iter().any(|entry| entry.node.broken) {
        problems.push(Problem::error(what).at(t.place).label(label).help(help));
    }
}

pub(super) fn bandwidth(table: &Reader<'_>, problems: &mut Problems) -> Option<Bandwidth> {
    let t = table.inner("bandwidth")?;
    if !t.has("up") && !t.has("down") {
        nothing(
            &t,
            "a bandwidth without a bound",
            "nobody would notice",
            "add `down = \"64 KiB/s\"`, `up`, or both",
            problems,
        );
        return None;
    }
    Some(Bandwidth { up: rate(&t, "up"), down: rate(&t, "down") })
}

pub(super) fn chunk(table: &Reader<'_>, around: &Surroundings, problems: &mut Problems) -> Option<Chunk> {
    let t = table.inner("chunk")?;
    let delay = law::read(&t, "delay", &around.folder, problems);
    let size = t.size("size")?;
    if size == 0 {
        problems.push(
            Problem::error("pieces of nothing")
                .at(t.place_of("size"))
                .label("nothing would ever come")
                .help("write at least `\"1 B\"`; `hang` lets nothing through"),
        );
        return None;
    }
    Some(Chunk { size, delay: delay.unwrap_or_else(|| Distribution::fixed(Duration::ZERO)) })
}

pub(super) fn truncate(table: &Reader<'_>, problems: &mut Problems) -> Option<Truncate> {
    let t = table.inner("truncate")?;
    let clean = t.flag_or_default("clean");
    match (t.has("bytes"), t.has("fraction")) {
        (true, true) => {
            problems.push(
                Problem::error("`fraction` and `bytes` both say where to cut")
                    .at(t.key_place("fraction"))
                    .label("which of them?")
                    .related(t.key_place("bytes"), "the first")
                    .help("keep one"),
            );
            None
        }
        (true, false) => Some(Truncate { after: Length::Bytes(t.size("bytes")?), clean }),
        (false, true) => {
            let fraction = t.number("fraction")?;
            if fraction >= 1.0 {
                problems.push(
                    Problem::error("the whole body is not cut")
                        .at(t.place_of("fraction"))
                        .label("nobody would notice")
                        .help("write less than 1, such as `0.5`"),
                );
                return None;
            }
            Some(Truncate { after: Length::Fraction(fraction), clean })
        }
        (false, false) => {
            nothing(
                &t,
                "it is not said where to cut",
                "neither `bytes` nor `fraction`",
                "add `bytes = \"1 KiB\"` or `fraction = 0.5`",
                problems,
            );
            None
        }
    }
}

pub(super) fn endless(table: &Reader<'_>) -> Option<Endless> {
    let t = table.inner("endless")?;
    Some(Endless { rate: byte_rate(t.text_or_default("rate")).ok()? })
}

pub(super) fn corrupt(table: &Reader<'_>, problems: &mut Problems) -> Option<Corrupt> {
    let t = table.inner("corrupt")?;
    let frames = [
        ("malformed_chunk", BadFrame::MalformedChunk),
        ("wrong_length", BadFrame::WrongLength),
        ("garbage", BadFrame::Garbage),
    ];
    let mut written = frames.into_iter().filter(|(key, _)| t.flag_or_default(key));
    let frame = written.next();
    if let (Some((one, _)), Some((other, _))) = (frame, written.next()) {
        problems.push(
            Problem::error(format!("`{one}` and `{other}` both break the frame"))
                .at(t.key_place(other))
                .label("a caller can meet only one of them")
                .related(t.key_place(one), "the first")
                .help("make two faults of it, each with its `percent`"),
        );
        return None;
    }
    if let Some((key, BadFrame::Garbage)) = frame
        && t.has("bit_flips")
    {
        problems.push(
            Problem::error("no bit can flip in what does not come")
                .at(t.key_place("bit_flips"))
                .label("nobody would notice")
                .related(t.key_place(key), "comes in place of the answer")
                .help("make two faults of it, each with its `percent`"),
        );
        return None;
    }
    let bit_flips = t.number("bit_flips").filter(|share| *share > 0.0);
    if bit_flips.is_none() && frame.is_none() {
        nothing(
            &t,
            "nothing is corrupted",
            "nobody would notice",
            "add one of `bit_flips = 0.001`, `malformed_chunk = true`, `wrong_length = true` and `garbage = true`",
            problems,
        );
        return None;
    }
    Some(Corrupt { bit_flips, frame: frame.map(|(_, frame)| frame) })
}
