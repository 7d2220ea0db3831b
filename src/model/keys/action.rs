//! What a fault does: the tables of `latency`, `hang`, `drop`, `respond` and `reroute`, and the laws that durations follow.

use super::words::*;
use super::{Family, Key, Kind, Shape, key};

pub(super) static LATENCY: Shape = Shape {
    name: "latency",
    doc: "A wait: one law, or `before`, `after` and `chunk` apart.",
    keys: &[
        key("before", TIME, r#""300ms""#, "Before the upstream is called (TCP: connected)."),
        key("after", TIME, r#""300ms""#, "After the upstream answered. HTTP only."),
        key("chunk", TIME, r#""20ms""#, "Before each piece of the answer (TCP: of either direction)."),
        UNIFORM,
        NORMAL_KEY,
        LOGNORMAL_KEY,
        PARETO_KEY,
        PERCENTILES_KEY,
        SAMPLES_KEY,
        WAVE_KEY,
        MAX_KEY,
    ],
    family: None,
    later: &[],
    instead: &[("delay", "before"), ("time", "before"), ("jitter", "uniform")],
};

pub(super) const TIME: Kind = Kind::Any(&[Kind::Word(&DURATION), Kind::Table(&LAW)]);

/// A law that durations follow.
static LAW: Shape = Shape {
    name: "a law of chance",
    doc: "How long, drawn for each: exactly one law, and perhaps `max`.",
    keys: &[UNIFORM, NORMAL_KEY, LOGNORMAL_KEY, PARETO_KEY, PERCENTILES_KEY, SAMPLES_KEY, WAVE_KEY, MAX_KEY],
    family: None,
    later: &[],
    instead: &[("jitter", "uniform"), ("gaussian", "normal")],
};

static ONE_TIME: Kind = Kind::Word(&DURATION);
static SAMPLES: &[Kind] = &[Kind::Word(&TEXT), Kind::Many(&ONE_TIME)];

const UNIFORM: Key = key("uniform", Kind::Exactly(2, &ONE_TIME), r#"["1s", "2s"]"#, "Evenly between two.");
const NORMAL_KEY: Key =
    key("normal", Kind::Table(&NORMAL), r#"{ mean = "300ms", stddev = "50ms" }"#, "Normal, cut off at zero.");
const LOGNORMAL_KEY: Key = key(
    "lognormal",
    Kind::Table(&LOGNORMAL),
    r#"{ median = "100ms", p99 = "2s" }"#,
    "Log-normal, as most latencies are.",
);
const PARETO_KEY: Key =
    key("pareto", Kind::Table(&PARETO), r#"{ min = "50ms", shape = 1.5 }"#, "Pareto: a heavy tail.");
const PERCENTILES_KEY: Key = key(
    "percentiles",
    Kind::Table(&PERCENTILES),
    r#"{ p50 = "100ms", p90 = "400ms", p99 = "2s" }"#,
    "Through these points, straight between them; below the lowest it stays, above the highest too.",
);
const SAMPLES_KEY: Key = key(
    "samples",
    Kind::Any(SAMPLES),
    r#"["80ms", "120ms", "3s"]"#,
    "One of these, each as likely: a list, or a file beside this one with one duration a line.",
);
const WAVE_KEY: Key = key(
    "wave",
    Kind::Table(&WAVE),
    r#"{ min = "50ms", max = "500ms", period = "20s" }"#,
    "A sine in time, beginning at `min`.",
);
const MAX_KEY: Key = key("max", Kind::Word(&SOME_TIME), r#""5s""#, "No draw is longer.").default("1 day");

static NORMAL: Shape = Shape {
    name: "normal",
    doc: "The normal law, cut off at zero.",
    keys: &[
        key("mean", Kind::Word(&DURATION), r#""300ms""#, "The mean.").required(),
        key("stddev", Kind::Word(&DURATION), r#""50ms""#, "The standard deviation.").required(),
    ],
    family: None,
    later: &[],
    instead: &[("std", "stddev"), ("sigma", "stddev"), ("avg", "mean")],
};

static LOGNORMAL: Shape = Shape {
    name: "lognormal",
    doc: "The log-normal law.",
    keys: &[
        key("median", Kind::Word(&SOME_TIME), r#""100ms""#, "Half of the draws are shorter.").required(),
        key("p99", Kind::Word(&SOME_TIME), r#""2s""#, "99 of 100 draws are shorter.").required(),
    ],
    family: None,
    later: &[],
    instead: &[("p50", "median"), ("mean", "median")],
};

static PARETO: Shape = Shape {
    name: "pareto",
    doc: "The Pareto law.",
    keys: &[
        key("min", Kind::Word(&SOME_TIME), r#""50ms""#, "The shortest draw.").required(),
        key("shape", Kind::Number(0.01, 100.0), "1.5", "Alpha; the smaller, the heavier the tail.")
            .required(),
    ],
    family: None,
    later: &[],
    instead: &[("alpha", "shape"), ("scale", "min")],
};

static PERCENTILES: Shape = Shape {
    name: "percentiles",
    doc: "Points of a distribution, rising.",
    keys: &[],
    family: Some(&Family {
        name: "p50, p90, p99 …",
        pattern: super::judge::QUANTILES.pattern,
        has: super::judge::is_quantile,
        key: key("pNN", Kind::Word(&DURATION), r#""100ms""#, "So many of 100 (or 1000) draws are shorter."),
    }),
    later: &[],
    instead: &[("median", "p50")],
};

static WAVE: Shape = Shape {
    name: "wave",
    doc: "A sine in time.",
    keys: &[
        key("min", Kind::Word(&DURATION), r#""50ms""#, "At its start.").required(),
        key("max", Kind::Word(&DURATION), r#""500ms""#, "After half a period.").required(),
        key("period", Kind::Word(&SOME_TIME), r#""20s""#, "From start to start.").required(),
    ],
    family: None,
    later: &[],
    instead: &[("every", "period")],
};

pub(super) static HANG: Shape = Shape {
    name: "hang",
    doc: "The exchange is not answered.",
    keys: &[
        key("for", Kind::Word(&SOME_TIME), r#""20s""#, "How long.")
            .default("until the fault ends or the caller leaves"),
        key(
            "then",
            Kind::Any(&[Kind::Integer(200, 599), Kind::Word(&THEN)]),
            r#""504""#,
            "What comes then: a status, `\"close\"` or `\"reset\"`.",
        )
        .default("504; on a TCP edge `\"close\"`"),
        key(
            "at",
            Kind::OneOf(
                &[
                    ("request", "before the upstream is called"),
                    ("headers", "once the upstream has answered"),
                    ("body", "after the head of the answer"),
                ],
                &[],
            ),
            r#""headers""#,
            "Where the exchange stops.",
        )
        .default(r#""request""#),
    ],
    family: None,
    later: &[],
    instead: &[("duration", "for"), ("time", "for"), ("status", "then")],
};

pub(super) const HOW: &[(&str, &str)] = &[
    ("refuse", "the listener itself is closed while the fault is on"),
    ("close", "FIN"),
    ("reset", "a real RST"),
    ("blackhole", "swallowed: no answer and no close"),
];
pub(super) const HOW_LATER: &[&str] = &["goaway"];

pub(super) static DROP: Shape = Shape {
    name: "drop",
    doc: "The connection is refused, closed, reset or swallowed. At most one of `at`, `after_bytes` and `after`.",
    keys: &[
        key("how", Kind::OneOf(HOW, HOW_LATER), r#""reset""#, "In which way.").required(),
        key(
            "at",
            Kind::OneOf(
                &[
                    ("accept", "as soon as the connection is there"),
                    ("request", "once the head of a request is known; the upstream is not called"),
                    ("headers", "once the upstream has answered"),
                ],
                &[],
            ),
            r#""headers""#,
            "When.",
        )
        .default(r#""request""#),
        key(
            "after_bytes",
            Kind::Any(&[Kind::Integer(0, u64::MAX), Kind::Word(&SIZE)]),
            r#""1 KiB""#,
            "After so many bytes of the answer.",
        ),
        key(
            "after",
            Kind::Word(&DURATION),
            r#""2s""#,
            "So long after the answer (TCP: the connection) began.",
        ),
    ],
    family: None,
    later: &[],
    instead: &[("when", "at"), ("bytes", "after_bytes")],
};

pub(super) static RESPOND: Shape = Shape {
    name: "respond",
    doc: "An answer that the upstream never gave.",
    keys: &[
        key("status", Kind::Integer(200, 599), "503", "The status.").required(),
        key(
            "headers",
            Kind::Map(&HEADER, &Kind::Many(&Kind::Word(&HEADER_VALUE))),
            r#"{ retry-after = "1" }"#,
            "Header fields, but not those that frame the answer.",
        )
        .default("{}"),
        key("body", Kind::Word(&TEXT), r#""out of order""#, "The body.").default(r#""""#),
        key(
            "after_upstream",
            Kind::Flag,
            "true",
            "The upstream executes the request first, and the caller is told that it failed.",
        )
        .default("false"),
    ],
    family: None,
    later: &["grpc_status"],
    instead: &[("code", "status"), ("header", "headers")],
};

pub(super) static REROUTE: Shape = Shape {
    name: "reroute",
    doc: "Another upstream answers; what it answers is judged like every answer.",
    keys: &[key(
        "upstream",
        Kind::Many(&Kind::Word(&UPSTREAM)),
        r#""http://127.0.0.1:4001""#,
        "Where instead; it speaks what the edge speaks, several take turns. Connections that are open stay where they are.",
    )
    .required()],
    family: None,
    later: &[],
    instead: &[("to", "upstream"), ("url", "upstream"), ("host", "upstream"), ("target", "upstream")],
};
