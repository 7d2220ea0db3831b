//! Gates: the tables of `limit`, `freeze`, `capacity`, `serialize` and `connections`.

use super::words::*;
use super::{Kind, Shape, Word, key};

pub(super) static LIMIT: Shape = Shape {
    name: "limit",
    doc: "A token bucket: over it 429 with `Retry-After`. With `sticky`, each victim has one of its own.",
    keys: &[
        key("rate", Kind::Word(&RATE), r#""10/s""#, "So many pass in a time.").required(),
        key("burst", Kind::Integer(1, 1_000_000), "20", "So many pass at once, after a pause.")
            .default("as many as pass in a second, at least 1"),
    ],
    family: None,
    later: &[],
    instead: &[("rps", "rate"), ("per_second", "rate"), ("max", "burst"), ("size", "burst")],
};

pub(super) static FREEZE: Shape = Shape {
    name: "freeze",
    doc: "Nothing moves on the edge, nothing is lost, and then all goes on at once.",
    keys: &[
        key("for", Kind::Word(&SOME_TIME), r#""700ms""#, "How long; not scaled.").required(),
        key("every", Kind::Word(&SOME_TIME), r#""5s""#, "Again, from start to start; not scaled.")
            .default("once, when the fault is armed"),
    ],
    family: None,
    later: &[],
    instead: &[("time", "for"), ("duration", "for"), ("period", "every"), ("interval", "every")],
};

pub(super) static CAPACITY: Shape = Shape {
    name: "capacity",
    doc: "So many exchanges (TCP: connections) at a time; the next ones wait in a row: the exhausted pool.",
    keys: &[
        key("max", Kind::Integer(1, 1_000_000), "50", "So many at a time, each until its answer has ended.")
            .required(),
        key("queue", Kind::Integer(0, 1_000_000), "100", "So many wait.")
            .default("as many as the edge's `max_held` allows"),
        key("wait", Kind::Word(&DURATION), r#""8s""#, "Each waits at most so long.").default(r#""30s""#),
        key(
            "then",
            Kind::Any(&[Kind::Integer(200, 599), Kind::Word(&THEN)]),
            r#""close""#,
            "What those get who waited for too long, or for whom there is no room to wait: a status, `\"close\"` or `\"reset\"`.",
        )
        .default("503; on a TCP edge `\"close\"`"),
    ],
    family: None,
    later: &[],
    instead: &[("size", "max"), ("limit", "max"), ("timeout", "wait"), ("status", "then"), ("pending", "queue")],
};

pub(super) static SERIALIZE: Shape = Shape {
    name: "serialize",
    doc: "One at a time: the next waits until the answer of the one before has ended.",
    keys: &[
        key(
            "key",
            Kind::Word(&STICKY),
            r#""path:id""#,
            "What those share that wait for each other; who has no such key waits for nobody.",
        )
        .default("everything"),
        key("hold", Kind::Word(&DURATION), r#""200ms""#, "Each keeps the others out for at least this long.")
            .default(r#""0s""#),
    ],
    family: None,
    later: &[],
    instead: &[("by", "key"), ("per", "key"), ("sticky", "key"), ("time", "hold"), ("for", "hold")],
};

pub(super) static CONNECTIONS: Shape = Shape {
    name: "connections",
    doc: "The edge has so many connections, those that were open before included, and no more.",
    keys: &[
        key("max", Kind::Integer(0, 1_000_000), "170", "At most so many at a time.").required(),
        key(
            "then",
            Kind::Word(&FULL),
            r#""postgres:53300""#,
            "What the next one gets: `\"refuse\"` (a RST as soon as it is there: the listener stays open for others), \
             `\"reset\"`, `\"close\"`, or `\"postgres:\"` and an SQLSTATE (TCP): PostgreSQL's own error.",
        )
        .default(r#""refuse""#),
        key("leak", Kind::Flag, "true", "Connections that have closed stay counted until the fault is healed.")
            .default("false"),
    ],
    family: None,
    later: &[],
    instead: &[("limit", "max"), ("how", "then"), ("error", "then"), ("leaks", "leak")],
};

static FULL: Word = Word {
    what: "what a connection gets for which there is no room",
    pattern: "^(refuse|reset|close|postgres:[0-9A-Z]{5})$",
    examples: &["refuse", "reset", "close", "postgres:53300"],
    check: |text| match (text, text.strip_prefix("postgres:")) {
        ("refuse" | "reset" | "close", _) => Ok(()),
        (_, Some(code)) if sqlstate(code).is_some() => Ok(()),
        (_, Some(code)) => Err(wrong(
            format!("`{code}` is not an SQLSTATE"),
            "write five digits or capital letters, such as `\"postgres:53300\"`",
        )),
        ("postgres", _) => Err(wrong("the SQLSTATE is missing", "write `\"postgres:53300\"`")),
        _ => Err(wrong(
            format!("`{text}` does not say what the connection gets"),
            "write `\"refuse\"`, `\"reset\"`, `\"close\"` or `\"postgres:53300\"`",
        )),
    },
};

/// Five digits or capital letters.
pub(crate) fn sqlstate(text: &str) -> Option<[u8; 5]> {
    let code: [u8; 5] = text.as_bytes().try_into().ok()?;
    code.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()).then_some(code)
}
