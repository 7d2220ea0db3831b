//! What a fault does to bytes: the tables of `bandwidth`, `chunk`, `truncate`, `endless` and `corrupt`.

use super::action::TIME;
use super::words::*;
use super::{Kind, Shape, Word, Wrong, key};
use crate::units::Bytes;

static BYTE_RATE: Word = Word {
    what: "bytes a second",
    pattern: r"^\s*[0-9.]+\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)\s*/\s*(s|m|min|h)\s*$",
    examples: &["64 KiB/s", "1 MB/s", "512 B/s"],
    check: |text| byte_rate(text).map(drop),
};

/// How many bytes a second `"64 KiB/s"` are: at least one.
pub(crate) fn byte_rate(text: &str) -> Result<u64, Wrong> {
    let example = "write one such as `\"64 KiB/s\"`";
    let Some((size, unit)) = text.split_once('/') else {
        let better = format!("write `\"{}/s\"`", text.trim());
        let help = if text.parse::<Bytes>().is_ok() { better.as_str() } else { example };
        return Err(wrong(format!("`{text}` does not say in which time"), help));
    };
    let (size, unit) = (size.trim(), unit.trim());
    if size.to_lowercase().ends_with("bit") {
        return Err(wrong("bandwidth is in bytes here, not in bits", "8 Mbit/s are `\"1 MB/s\"`"));
    }
    if !size.ends_with('B') {
        return Err(wrong(format!("`{text}` does not say of what"), example));
    }
    let size = size.parse::<Bytes>().map_err(|_| wrong(format!("`{size}` is not a size"), example))?;
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err(wrong(format!("`{unit}` is not a time that a rate has"), example)),
    };
    match size.0 / seconds {
        0 => {
            Err(wrong("less than a byte a second", "write at least `\"1 B/s\"`; `hang` lets nothing through"))
        }
        rate => Ok(rate),
    }
}

pub(super) static BANDWIDTH: Shape = Shape {
    name: "bandwidth",
    doc: "Bytes go through no faster, evenly; at least one of `up` and `down`. The lowest of several faults wins.",
    keys: &[
        key(
            "up",
            Kind::Word(&BYTE_RATE),
            r#""64 KiB/s""#,
            "Towards the upstream: bodies of requests; TCP and upgraded connections upward.",
        ),
        key(
            "down",
            Kind::Word(&BYTE_RATE),
            r#""64 KiB/s""#,
            "Towards the caller: bodies of answers; TCP and upgraded connections downward.",
        ),
    ],
    family: None,
    later: &[],
    instead: &[("rate", "down"), ("download", "down"), ("upload", "up"), ("limit", "down")],
};

pub(super) static CHUNK: Shape = Shape {
    name: "chunk",
    doc: "Bytes of the answer (TCP: both ways) come in small pieces. Where an answer is in chunks, these become so small.",
    keys: &[
        key(
            "size",
            Kind::Any(&[Kind::Integer(1, 1 << 40), Kind::Word(&SIZE)]),
            r#""1 KiB""#,
            "The most bytes of a piece.",
        )
        .required(),
        key("delay", TIME, r#""10ms""#, "The pause between two pieces.").default(r#""0s""#),
    ],
    family: None,
    later: &[],
    instead: &[("bytes", "size"), ("average_size", "size"), ("pause", "delay"), ("latency", "delay")],
};

pub(super) static TRUNCATE: Shape = Shape {
    name: "truncate",
    doc: "The answer ends too early: exactly one of `bytes` and `fraction`. Who is answered with less is not hit.",
    keys: &[
        key(
            "bytes",
            Kind::Any(&[Kind::Integer(0, u64::MAX), Kind::Word(&SIZE)]),
            r#""1 KiB""#,
            "After so many bytes of the body (TCP: from the upstream).",
        ),
        key(
            "fraction",
            Kind::Number(0.0, 1.0),
            "0.5",
            "After this share of the announced length. Answers that announce none are not hit. HTTP only.",
        ),
        key(
            "clean",
            Kind::Flag,
            "true",
            "The caller takes it for whole: the length is that of what comes (TCP: FIN). If not, it is cut (TCP: RST).",
        )
        .default("false"),
    ],
    family: None,
    later: &[],
    instead: &[("after", "bytes"), ("after_bytes", "bytes"), ("size", "bytes"), ("percent", "fraction")],
};

pub(super) static ENDLESS: Shape = Shape {
    name: "endless",
    doc: "Behind the real body its last bytes come again and again, until the fault ends or the caller leaves.",
    keys: &[
        key("rate", Kind::Word(&BYTE_RATE), r#""64 KiB/s""#, "How fast they come.").default(r#""16 KiB/s""#)
    ],
    family: None,
    later: &[],
    instead: &[("speed", "rate"), ("bandwidth", "rate")],
};

pub(super) static CORRUPT: Shape = Shape {
    name: "corrupt",
    doc: "The answer is wrong: `bit_flips`, and at most one of the others.",
    keys: &[
        key(
            "bit_flips",
            Kind::Number(0.0, 1.0),
            "0.001",
            "The share of bytes of the body (TCP: from the upstream) in each of which one bit flips. Lengths stay right.",
        ),
        key(
            "malformed_chunk",
            Kind::Flag,
            "true",
            "In the middle of the body stands a line that is no chunk size, then it ends. HTTP/1.1 only.",
        )
        .default("false"),
        key(
            "wrong_length",
            Kind::Flag,
            "true",
            "The announced length is 1 KiB more than what comes. Answers that announce none are not hit. HTTP only.",
        )
        .default("false"),
        key("garbage", Kind::Flag, "true", "In place of the answer come bytes that are no HTTP, then it ends.")
            .default("false"),
    ],
    family: None,
    later: &[],
    instead: &[("flips", "bit_flips"), ("bits", "bit_flips"), ("rate", "bit_flips"), ("share", "bit_flips")],
};
