//! The top of the file, `[run]`, `[[edge]]` and `[load]`.

use super::words::*;
use super::{Kind, Shape, key};

/// A whole experiment.
pub(crate) static EXPERIMENT: Shape = Shape {
    name: "the file",
    doc: "One file is one experiment. Only `name` and one `[[edge]]` are required.",
    keys: &[
        key(
            "name",
            Kind::Word(&NAME),
            r#""timeout-cut""#,
            "What the experiment is called in reports and folders.",
        )
        .required(),
        key("title", Kind::Word(&TEXT), r#""Checkout survives a slow provider""#, "What it asks, in a line."),
        key("seed", Kind::Integer(0, i64::MAX as u64), "42", "The same seed strikes the same requests.")
            .default("drawn anew for each run and printed"),
        key("run", Kind::Table(&RUN), "{ fault = \"60s\" }", "How long each phase lasts."),
        key(
            "service",
            Kind::Tables(&super::service::SERVICE),
            "[]",
            "A process that Brownout starts, watches and makes fail.",
        ),
        key("edge", Kind::Tables(&EDGE), "[]", "A listener in front of an upstream; at least one.")
            .required(),
        key(
            "load",
            Kind::Table(&LOAD),
            "{ edge = \"checkout\", rate = \"50/s\" }",
            "Load that Brownout makes itself.",
        ),
        key("fault", Kind::Tables(&super::FAULT), "[]", "What goes wrong."),
        key("expect", Kind::Tables(&super::judge::EXPECT), "[]", "What must hold."),
        key("guardrail", Kind::Tables(&super::judge::GUARDRAIL), "[]", "What stops the run."),
    ],
    family: None,
    later: &[],
    instead: &[
        ("services", "service"),
        ("process", "service"),
        ("edges", "edge"),
        ("proxy", "edge"),
        ("proxies", "edge"),
        ("faults", "fault"),
        ("toxic", "fault"),
        ("toxics", "fault"),
        ("expectation", "expect"),
        ("expectations", "expect"),
        ("expects", "expect"),
        ("assert", "expect"),
        ("guardrails", "guardrail"),
        ("phases", "run"),
        ("duration", "run"),
        ("baseline", "run"),
        ("recovery", "run"),
        ("phase", "run"),
        ("description", "title"),
    ],
};

pub(crate) static RUN: Shape = Shape {
    name: "[run]",
    doc: "The phases: `warmup`, `baseline`, `fault`, `recovery`, in this order.",
    keys: &[
        key(
            "baseline",
            Kind::Word(&DURATION),
            r#""20s""#,
            "No faults. The expectations must hold here first, or nothing can be learned.",
        )
        .default(r#""10s""#),
        key("fault", Kind::Word(&DURATION), r#""60s""#, "The faults are on.").default(r#""30s""#),
        key("recovery", Kind::Word(&DURATION), r#""30s""#, "The faults are off: does the system come back by itself?")
            .default(r#""15s""#),
        key("warmup", Kind::Word(&DURATION), r#""5s""#, "Traffic before anything is measured.").default(r#""0s""#),
        key(
            "time_scale",
            Kind::Number(0.0001, 1000.0),
            "0.1",
            "Real time is the file's time multiplied by this. Scales phases and schedules, not latencies and timeouts.",
        )
        .default("1"),
        key(
            "allow_production",
            Kind::Flag,
            "true",
            "You know that an upstream or the environment is named like production, and mean it.",
        )
        .default("false"),
    ],
    family: None,
    later: &["log_dir"],
    instead: &[("duration", "fault"), ("steady", "baseline"), ("steady_state", "baseline"), ("cooldown", "recovery"), ("warm_up", "warmup")],
};

pub(crate) static EDGE: Shape = Shape {
    name: "[[edge]]",
    doc: "One listener in front of one upstream: an arrow in your architecture diagram.",
    keys: &[
        key("name", Kind::Word(&NAME), r#""checkout""#, "What faults, expectations, metrics and reports call it.").required(),
        key(
            "listen",
            Kind::Word(&ADDRESS),
            r#""127.0.0.1:9000""#,
            "Where callers connect. Port 0 lets the system pick one. Beyond loopback only with `expose = true`.",
        )
        .required(),
        key(
            "upstream",
            Kind::Many(&Kind::Word(&UPSTREAM)),
            r#""http://127.0.0.1:4000""#,
            "Where it forwards to: `http://` or `tcp://`, several take turns. Names are resolved for each connection.",
        )
        .required(),
        key("from", Kind::Word(&TEXT), r#""web""#, "Who calls, for the picture and the analysis.").default(r#""client""#),
        key("to", Kind::Word(&TEXT), r#""payments""#, "Who is called.").default("the edge's name"),
        key(
            "identity",
            Kind::Table(&IDENTITY),
            r#"{ header = "idempotency-key" }"#,
            "What makes two requests one logical request.",
        )
        .default("trace id, `x-request-id`, `idempotency-key` or a fingerprint"),
        key("timeout", Kind::Table(&TIMEOUT), r#"{ upstream = "10s" }"#, "The limit of each wait."),
        key("max_connections", Kind::Integer(1, 1_000_000), "1000", "At most this many connections from callers.").default("10000, or as many as the system allows descriptors for"),
        key(
            "max_in_flight",
            Kind::Integer(1, 1_000_000),
            "500",
            "At most this many requests at once; further ones get 503.",
        )
        .default("10000"),
        key(
            "max_held",
            Kind::Integer(1, 1_000_000),
            "500",
            "At most this many requests held by faults at once; further ones get 503.",
        )
        .default("10000"),
        key(
            "host",
            Kind::OneOf(&[("keep", "the caller's"), ("upstream", "the upstream's own")], &[]),
            r#""upstream""#,
            "Which Host the upstream sees.",
        )
        .default(r#""keep""#),
        key("forwarded", Kind::Flag, "false", "Add X-Forwarded-For, -Proto, -Host and Via.").default("true"),
        key(
            "success",
            Kind::Many(&STATUS),
            r#"["2xx", "3xx"]"#,
            "The statuses that count as success, instead of the usual rule.",
        )
        .default("below 500, and not 429"),
        key("caller", Kind::Table(&CALLER), r#"{ header = "x-service" }"#, "What names the caller.")
            .default("the peer address"),
        key(
            "health",
            Kind::Many(&Kind::Word(&PLAIN_PATH)),
            r#"["/ping"]"#,
            "Paths of health checks beside `/health`, `/healthz`, `/livez` and `/readyz`: faults spare them.",
        ),
        key("stealth", Kind::Flag, "true", "Injected answers are not marked as such.").default("false"),
        key(
            "record",
            Kind::Word(&SIZE),
            r#""64 MiB""#,
            "Room for answers that are kept, so that `stale` has some to give: the oldest make room. HTTP only.",
        )
        .default("no answers are kept"),
        key(
            "header_control",
            Kind::Flag,
            "true",
            "A request may ask for a fault of this edge: `x-brownout-fault`, `x-envoy-fault-*`, or `brownout` in `baggage`.",
        )
        .default("false"),
        key("expose", Kind::Flag, "true", "Listening beyond loopback is meant.").default("false"),
    ],
    family: None,
    later: &["tls", "upstream_tls"],
    instead: &[
        ("url", "upstream"),
        ("target", "upstream"),
        ("backend", "upstream"),
        ("upstreams", "upstream"),
        ("address", "listen"),
        ("bind", "listen"),
        ("port", "listen"),
        ("timeouts", "timeout"),
    ],
};

pub(super) static STATUS: Kind = Kind::Any(&[Kind::Word(&STATUS_SET), Kind::Integer(100, 599)]);

static IDENTITY: Shape = Shape {
    name: "identity",
    doc: "What makes two requests one logical request.",
    keys: &[key("header", Kind::Word(&HEADER), r#""idempotency-key""#, "The header field.").required()],
    family: None,
    later: &[],
    instead: &[],
};

static CALLER: Shape = Shape {
    name: "caller",
    doc: "What names the caller.",
    keys: &[key("header", Kind::Word(&HEADER), r#""x-service""#, "The header field.").required()],
    family: None,
    later: &[],
    instead: &[],
};

pub(crate) static TIMEOUT: Shape = Shape {
    name: "timeout",
    doc: "Every wait of an edge has a limit.",
    keys: &[
        key("header", Kind::Word(&SOME_TIME), r#""5s""#, "Until the head of a request is complete.")
            .default(r#""5s""#),
        key("connect", Kind::Word(&SOME_TIME), r#""2s""#, "For connecting to the upstream.")
            .default(r#""2s""#),
        key(
            "upstream",
            Kind::Word(&SOME_TIME),
            r#""30s""#,
            "For the upstream to answer, and from piece to piece of its answer.",
        )
        .default(r#""30s""#),
        key("idle", Kind::Word(&SOME_TIME), r#""60s""#, "For a connection on which nothing moves.")
            .default(r#""60s""#),
    ],
    family: None,
    later: &[],
    instead: &[
        ("request", "upstream"),
        ("response", "upstream"),
        ("read", "upstream"),
        ("headers", "header"),
    ],
};

pub(crate) static LOAD: Shape = Shape {
    name: "[load]",
    doc: "An open-model load: arrivals at a fixed rate, whatever the answers do. `${n}` (a counter) and `${uuid}` are filled in.",
    keys: &[
        key("edge", Kind::Word(&TEXT), r#""checkout""#, "The edge it calls.").required(),
        key("rate", Kind::Word(&RATE), r#""50/s""#, "Arrivals.").required(),
        key(
            "request",
            Kind::Table(&LOAD_REQUEST),
            r#"{ method = "POST", path = "/checkout?n=${n}", body = "{}" }"#,
            "What is sent.",
        )
        .default("`GET /`"),
        key(
            "requests",
            Kind::Tables(&LOAD_REQUEST),
            r#"[{ path = "/", weight = 3 }, { path = "/cart", weight = 1 }]"#,
            "Several kinds of requests, each with its weight.",
        ),
        key("timeout", Kind::Word(&SOME_TIME), r#""10s""#, "When a request is given up.").default(r#""10s""#),
        key(
            "max_in_flight",
            Kind::Integer(1, 100_000),
            "1000",
            "At most this many at once; an arrival beyond is counted as shed.",
        )
        .default("1000"),
    ],
    family: None,
    later: &[],
    instead: &[("rps", "rate"), ("qps", "rate"), ("concurrency", "max_in_flight")],
};

pub(crate) static LOAD_REQUEST: Shape = Shape {
    name: "request",
    doc: "One kind of request of the load.",
    keys: &[
        key("method", Kind::Word(&METHOD), r#""POST""#, "The method.").default(r#""GET""#),
        key("path", Kind::Word(&TARGET), r#""/checkout?n=${n}""#, "The path and query.").default(r#""/""#),
        key(
            "headers",
            Kind::Map(&HEADER, &Kind::Word(&HEADER_VALUE)),
            r#"{ content-type = "application/json" }"#,
            "Header fields.",
        )
        .default("{}"),
        key("body", Kind::Word(&TEXT), r#""{}""#, "The body.").default(r#""""#),
        key("weight", Kind::Integer(1, 1_000_000), "3", "How often, beside the others.").default("1"),
    ],
    family: None,
    later: &[],
    instead: &[("url", "path"), ("target", "path")],
};
