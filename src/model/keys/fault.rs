//! `[[fault]]`: where, who, when and what.

use super::action::{DROP, HANG, HOW, HOW_LATER, LATENCY, REROUTE, RESPOND};
use super::bytes::{BANDWIDTH, CHUNK, CORRUPT, ENDLESS, TRUNCATE};
use super::content::{DUPLICATE, REWRITE, STALE};
use super::deed::{ENV, HOOK, PROCESS};
use super::gates::{CAPACITY, CONNECTIONS, FREEZE, LIMIT, SERIALIZE};
use super::process::SINCE;
use super::words::*;
use super::{Kind, Shape, key};

/// A fault.
pub(crate) static FAULT: Shape = Shape {
    name: "[[fault]]",
    doc: "A named rule: where, who, when and what. At least one action: those from `latency` to `duplicate` on an `edge`, \
          or `env`, `process` and `hook` on a `service`.",
    keys: &[
        key(
            "name",
            Kind::Word(&NAME),
            r#""provider is slow""#,
            "What metrics, reports and marked answers call it.",
        )
        .required(),
        key(
            "edge",
            Kind::Many(&Kind::Word(&TEXT)),
            r#""provider""#,
            "Where: the edge, or a list. Either this or `service`.",
        ),
        key(
            "service",
            Kind::Many(&Kind::Word(&TEXT)),
            r#""payments""#,
            "Where: the service, or a list; for `env`, `process` and `hook`.",
        ),
        key(
            "match",
            Kind::Any(&[Kind::OneOf(&[("all", "everything, on purpose")], &[]), Kind::Table(&MATCH)]),
            r#"{ method = "POST", path = "/v1/charges/**" }"#,
            "Who: what a request must be like. Keys and-ed, lists or-ed. A fault that nothing bounds must say `\"all\"`.",
        ),
        key(
            "except",
            Kind::Table(&EXCEPT),
            r#"{ path = "/v1/refunds/**" }"#,
            "Who is spared; the same keys as `match`.",
        ),
        key(
            "percent",
            Kind::Any(&[Kind::Number(0.0, 100.0), Kind::Word(&PERCENT)]),
            "5",
            "How many of the matching requests (TCP: connections; with `sticky`: victims), any fraction.",
        )
        .default("100"),
        key(
            "sticky",
            Kind::Word(&STICKY),
            r#""caller""#,
            "The same victim every time; all numbers then count for each of them.",
        ),
        key("first", Kind::Integer(1, u64::MAX), "2", "Only the first so many."),
        key("after", Kind::Integer(0, u64::MAX), "100", "Not the first so many.").default("0"),
        key("every", Kind::Integer(1, u64::MAX), "3", "Every so manyth.").default("1"),
        key("max", Kind::Integer(1, u64::MAX), "10", "At most so many hits."),
        key("include_health", Kind::Flag, "true", "Strike health checks too.").default("false"),
        key(
            "schedule",
            Kind::Table(&SCHEDULE),
            r#"{ from = "10s", for = "5s", every = "20s" }"#,
            "When, by the clock.",
        )
        .default("the whole fault phase"),
        key(
            "at",
            Kind::Many(&Kind::Any(&[Kind::Word(&DURATION), Kind::Table(&AT)])),
            r#"["0s", { from = "19s", for = "3s" }]"#,
            "When, as a list of times; each arms anew. Without `for`, up to the next.",
        ),
        key("armed", Kind::Flag, "false", "Arm it with the fault phase; `false` waits for the API.")
            .default("true"),
        key(
            "ttl",
            Kind::Any(&[Kind::Word(&TTL)]),
            r#""5m""#,
            "When it ends by itself if armed by hand or in `serve`: at most `\"1h\"`, or `\"forever\"`.",
        )
        .default("5m by hand, 1h in `serve`"),
        key("optional", Kind::Flag, "true", "A run in which it hits nothing is not vacuous.")
            .default("false"),
        key(
            "latency",
            Kind::Any(&[Kind::Word(&DURATION), Kind::Table(&LATENCY)]),
            r#"{ uniform = ["1s", "2s"] }"#,
            "What: wait. A duration or a law, or `before`, `after` and `chunk` apart.",
        ),
        key(
            "hang",
            Kind::Any(&[Kind::Flag, Kind::Word(&SOME_TIME), Kind::Table(&HANG)]),
            r#"{ for = "20s", then = "504" }"#,
            "What: do not answer. `true` hangs until the fault ends or the caller leaves.",
        ),
        key(
            "drop",
            Kind::Any(&[Kind::OneOf(HOW, HOW_LATER), Kind::Table(&DROP)]),
            r#"{ how = "reset", at = "headers" }"#,
            "What: cut the connection.",
        ),
        key(
            "respond",
            Kind::Any(&[Kind::Integer(200, 599), Kind::Table(&RESPOND)]),
            r#"{ status = 503, headers = { retry-after = "1" } }"#,
            "What: answer in the upstream's place.",
        ),
        key(
            "reroute",
            Kind::Table(&REROUTE),
            r#"{ upstream = "http://127.0.0.1:4001" }"#,
            "What: go to another upstream, such as the old version or the instance that has drifted.",
        ),
        key(
            "bandwidth",
            Kind::Table(&BANDWIDTH),
            r#"{ down = "64 KiB/s" }"#,
            "What: bytes go through no faster.",
        ),
        key(
            "chunk",
            Kind::Table(&CHUNK),
            r#"{ size = "1 KiB", delay = "10ms" }"#,
            "What: bytes come in small pieces, with a pause between them.",
        ),
        key(
            "truncate",
            Kind::Table(&TRUNCATE),
            r#"{ fraction = 0.5, clean = true }"#,
            "What: the answer ends too early.",
        ),
        key(
            "endless",
            Kind::Table(&ENDLESS),
            r#"{ rate = "16 KiB/s" }"#,
            "What: the body of the answer never ends.",
        ),
        key("corrupt", Kind::Table(&CORRUPT), r#"{ bit_flips = 0.001 }"#, "What: the answer is wrong."),
        key(
            "limit",
            Kind::Table(&LIMIT),
            r#"{ rate = "10/s", burst = 20 }"#,
            "What: let so many through in a time. HTTP only.",
        ),
        key(
            "freeze",
            Kind::Table(&FREEZE),
            r#"{ for = "700ms", every = "5s" }"#,
            "What: nothing moves for a while, nothing is lost, and then all goes on at once.",
        ),
        key(
            "capacity",
            Kind::Table(&CAPACITY),
            r#"{ max = 50, queue = 100, wait = "8s" }"#,
            "What: let so many through at a time, and the others wait.",
        ),
        key(
            "serialize",
            Kind::Table(&SERIALIZE),
            r#"{ key = "path", hold = "200ms" }"#,
            "What: let one through at a time. HTTP only.",
        ),
        key(
            "connections",
            Kind::Table(&CONNECTIONS),
            r#"{ max = 170, then = "postgres:53300" }"#,
            "What: so many connections and no more. Decided when one is accepted: sees only the peer.",
        ),
        key(
            "rewrite",
            Kind::Table(&REWRITE),
            r#"{ response = { json = { "$.price" = { scale = 0.1 } } } }"#,
            "What: change the request or the answer, so that it still looks well-formed.",
        ),
        key(
            "stale",
            Kind::Table(&STALE),
            r#"{ age = "10m" }"#,
            "What: give an older answer that the upstream really gave, or one that another caller got.",
        ),
        key(
            "duplicate",
            Kind::Table(&DUPLICATE),
            r#"{ times = 1 }"#,
            "What: send the same request more than once.",
        ),
        key(
            "env",
            Kind::Table(&ENV),
            r#"{ set = { PROVIDER_TIMEOUT_MS = "500" }, unset = ["FORCE_ENVIRONMENT"] }"#,
            "What: another environment for a service.",
        ),
        key(
            "process",
            Kind::Table(&PROCESS),
            r#"{ kill = "KILL", down = "16m" }"#,
            "What: kill, pause or restart a service.",
        ),
        key(
            "hook",
            Kind::Table(&HOOK),
            r#"{ apply = ["./drift.sh", "on"], undo = ["./drift.sh", "off"] }"#,
            "What: a command, for a service that Brownout does not run itself.",
        ),
    ],
    family: None,
    later: &["tls"],
    instead: &[
        ("delay", "latency"),
        ("slow", "latency"),
        ("lag", "latency"),
        ("throttle", "bandwidth"),
        ("slicer", "chunk"),
        ("limit_data", "truncate"),
        ("abort", "respond"),
        ("error", "respond"),
        ("status", "respond"),
        ("fail", "respond"),
        ("redirect", "reroute"),
        ("upstream", "reroute"),
        ("timeout", "hang"),
        ("blackhole", "drop"),
        ("reset", "drop"),
        ("reset_peer", "drop"),
        ("kill", "process"),
        ("pause", "process"),
        ("restart", "process"),
        ("signal", "process"),
        ("set", "env"),
        ("unset", "env"),
        ("services", "service"),
        ("command", "hook"),
        ("apply", "hook"),
        ("undo", "hook"),
        ("probability", "percent"),
        ("percentage", "percent"),
        ("toxicity", "percent"),
        ("rate", "percent"),
        ("edges", "edge"),
        ("target", "edge"),
        ("on", "edge"),
        ("proxy", "edge"),
        ("where", "match"),
        ("when", "schedule"),
        ("duration", "schedule"),
        ("for", "schedule"),
        ("enabled", "armed"),
        ("path", "match"),
        ("method", "match"),
        ("headers", "match"),
        ("unless", "except"),
        ("limit_hits", "max"),
    ],
};

macro_rules! matcher {
    ($name:literal, $doc:literal) => {
        Shape {
            name: $name,
            doc: $doc,
            keys: &[
                key("method", Kind::Many(&Kind::Word(&METHOD)), r#"["POST", "PUT"]"#, "The method."),
                key(
                    "path",
                    Kind::Many(&Kind::Word(&PATH)),
                    r#""/v1/charges/**""#,
                    "The path: a glob (`/**` matches zero segments too), or a pattern such as `/users/{id}`.",
                ),
                key(
                    "query",
                    Kind::Map(&QUERY_NAME, &Kind::Many(&Kind::Word(&GLOB))),
                    r#"{ plan = "gold*" }"#,
                    "Query parameters, each with a glob of its value; all must be there.",
                ),
                key(
                    "headers",
                    Kind::Map(&HEADER, &Kind::Many(&Kind::Word(&GLOB))),
                    r#"{ x-tenant = ["a", "b"] }"#,
                    "Header fields, each with a glob of its value; all must be there.",
                ),
                key(
                    "host",
                    Kind::Many(&Kind::Word(&GLOB)),
                    r#""api.*""#,
                    "The host that the caller asked for.",
                ),
                key(
                    "peer",
                    Kind::Many(&Kind::Word(&NETWORK)),
                    r#""10.0.0.0/8""#,
                    "The network of the caller's address.",
                ),
                key(
                    "caller",
                    Kind::Many(&Kind::Word(&GLOB)),
                    r#""web-*""#,
                    "The caller, as the edge's `caller` names it.",
                ),
                key(
                    "body_size",
                    Kind::Any(&[Kind::Word(&SIZE_LIMIT), Kind::Table(&BODY_SIZE)]),
                    r#""> 1 MiB""#,
                    "The declared size of the body.",
                ),
                key(
                    "upgrade",
                    Kind::Many(&Kind::Word(&METHOD)),
                    r#""websocket""#,
                    "What the request asks to upgrade to.",
                ),
            ],
            family: None,
            later: &["grpc"],
            instead: &[
                ("url", "path"),
                ("uri", "path"),
                ("header", "headers"),
                ("ip", "peer"),
                ("verb", "method"),
                ("size", "body_size"),
            ],
        }
    };
}

pub(crate) static MATCH: Shape = matcher!("match", "What a request must be like: keys and-ed, lists or-ed.");
static EXCEPT: Shape = matcher!("except", "What is spared: keys and-ed, lists or-ed.");

static BODY_SIZE: Shape = Shape {
    name: "body_size",
    doc: "The declared size of the body, both bounds included.",
    keys: &[
        key("min", Kind::Word(&SIZE), r#""1 KiB""#, "The smallest.").default(r#""0 B""#),
        key("max", Kind::Word(&SIZE), r#""1 MiB""#, "The largest."),
    ],
    family: None,
    later: &[],
    instead: &[],
};

static SCHEDULE: Shape = Shape {
    name: "schedule",
    doc: "On and off by the clock, counted from the start of the fault phase or from a moment in the life of a service.",
    keys: &[
        key("from", Kind::Word(&DURATION), r#""10s""#, "On for the first time.").default(r#""0s""#),
        key("for", Kind::Word(&SOME_TIME), r#""5s""#, "How long it is on.")
            .default("to the end of the phase"),
        key(
            "every",
            Kind::Word(&SOME_TIME),
            r#""20s""#,
            "On again, from start to start. Needs `for` on an edge.",
        ),
        key(
            "ramp",
            Kind::Any(&[Kind::Word(&SOME_TIME), Kind::Table(&RAMP)]),
            r#""30s""#,
            "Not all at once: the percent rises over this time; `{ dose = \"30s\" }`: the delay.",
        ),
        key(
            "since",
            Kind::Word(&SINCE),
            r#""ready:api""#,
            "Counted from each start of a service, or from each time it is ready, instead.",
        )
        .default("the start of the fault phase"),
    ],
    family: None,
    later: &[],
    instead: &[("start", "from"), ("duration", "for"), ("period", "every"), ("interval", "every")],
};

static RAMP: Shape = Shape {
    name: "ramp",
    doc: "What rises.",
    keys: &[key("dose", Kind::Word(&SOME_TIME), r#""30s""#, "The delay rises over this time.").required()],
    family: None,
    later: &[],
    instead: &[],
};

static AT: Shape = Shape {
    name: "at",
    doc: "One time at which a fault is armed.",
    keys: &[
        key("from", Kind::Word(&DURATION), r#""19s""#, "On.").required(),
        key("for", Kind::Word(&SOME_TIME), r#""3s""#, "How long.")
            .default("to the next, or the end of the phase"),
    ],
    family: None,
    later: &[],
    instead: &[],
};
