//! `[[service]]`: how a process is started, when it is ready, and what its orchestrator does when it ends.

use super::process::*;
use super::words::*;
use super::{Kind, Shape, key};

/// A process that Brownout supervises, or knows by name.
pub(crate) static SERVICE: Shape = Shape {
    name: "[[service]]",
    doc: "A process that Brownout starts, watches and stops as an orchestrator would. Without `command` it is external: \
          Brownout only knows its name, and changes it through a `hook`. `${edge.NAME}` is filled in with the address of an \
          edge (a URL, or host:port for tcp).",
    keys: &[
        key(
            "name",
            Kind::Word(&NAME),
            r#""payments""#,
            "What faults, expectations, metrics and reports call it.",
        )
        .required(),
        key(
            "command",
            Kind::Many(&Kind::Filled(&ARGUMENT)),
            r#"["node", "payments.js"]"#,
            "The program and its arguments, each a text of its own; no shell reads them.",
        )
        .default("none: it is external"),
        key(
            "cwd",
            Kind::Word(&FOLDER),
            r#""../payments""#,
            "The folder it runs in, seen from the folder of this file.",
        )
        .default("the folder Brownout was called in"),
        key(
            "env",
            Kind::Map(&ENV_NAME, &Kind::Filled(&ENV_VALUE)),
            r#"{ ENVIRONMENT = "production", PROVIDER_URL = "${edge.provider}" }"#,
            "Environment variables beside those it inherits. Their values are shown nowhere.",
        )
        .default("{}"),
        key("clean_env", Kind::Flag, "true", "It inherits nothing of our environment.").default("false"),
        key(
            "show_env",
            Kind::Many(&Kind::Word(&ENV_NAME)),
            r#"["ENVIRONMENT"]"#,
            "Variables whose values may be shown in logs, reports and the API.",
        )
        .default("none"),
        key("user", Kind::Word(&USER), r#""nobody""#, "The user it runs as.").default("the user of Brownout"),
        key("grace", Kind::Word(&SOME_TIME), r#""10s""#, "From SIGTERM to SIGKILL.").default(r#""10s""#),
        key(
            "after",
            Kind::Many(&Kind::Word(&TEXT)),
            r#"["db"]"#,
            "Services that must be ready before it is started.",
        )
        .default("none"),
        key(
            "ready",
            Kind::Table(&READY),
            r#"{ http = "http://127.0.0.1:4000/healthz", within = "20s" }"#,
            "When it is ready.",
        )
        .default("as soon as it runs"),
        key(
            "restart",
            Kind::Any(&[Kind::OneOf(WHEN, &[]), Kind::Table(&RESTART)]),
            r#"{ when = "always", delay = "1s", backoff = 2.0, max_delay = "30s" }"#,
            "What its orchestrator does when it ends by itself, or by a fault.",
        )
        .default(r#""never""#),
    ],
    family: None,
    later: &[],
    instead: &[
        ("cmd", "command"),
        ("run", "command"),
        ("exec", "command"),
        ("args", "command"),
        ("environment", "env"),
        ("workdir", "cwd"),
        ("working_dir", "cwd"),
        ("dir", "cwd"),
        ("depends_on", "after"),
        ("needs", "after"),
        ("health", "ready"),
        ("healthcheck", "ready"),
        ("readiness", "ready"),
        ("stop_timeout", "grace"),
        ("policy", "restart"),
    ],
};

const WHEN: &[(&str, &str)] = &[
    ("always", "however it ended"),
    ("on-failure", "if its exit code was not 0, or a signal ended it"),
    ("never", "not at all"),
];

static READY: Shape = Shape {
    name: "ready",
    doc: "What shows that a service is ready: exactly one of `http`, `tcp`, `log` and `command`. Asked again and again until \
          it is so.",
    keys: &[
        key(
            "http",
            Kind::Filled(&URL),
            r#""http://127.0.0.1:4000/healthz""#,
            "A GET is answered with a status below 400.",
        ),
        key("tcp", Kind::Filled(&HOST_PORT), r#""127.0.0.1:5432""#, "Something accepts connections there."),
        key("log", Kind::Word(&REGEX), r#""listening on .*""#, "A line of its output matches."),
        key(
            "command",
            Kind::Many(&Kind::Filled(&ARGUMENT)),
            r#"["pg_isready", "-q"]"#,
            "A command ends with exit code 0.",
        ),
        key("within", Kind::Word(&SOME_TIME), r#""20s""#, "How long it may take; not scaled.")
            .default(r#""20s""#),
    ],
    family: None,
    later: &[],
    instead: &[
        ("url", "http"),
        ("timeout", "within"),
        ("port", "tcp"),
        ("cmd", "command"),
        ("for", "within"),
    ],
};

static RESTART: Shape = Shape {
    name: "restart",
    doc: "What the orchestrator of a service does when it ends. `delay` and `max_delay` are scaled.",
    keys: &[
        key("when", Kind::OneOf(WHEN, &[]), r#""always""#, "Whether it is started again.").required(),
        key("delay", Kind::Word(&DURATION), r#""1s""#, "After this time.").default(r#""1s""#),
        key(
            "backoff",
            Kind::Number(1.0, 100.0),
            "2.0",
            "Each delay is so many times the one before; back to `delay` once it was ready for a minute.",
        )
        .default("1"),
        key("max_delay", Kind::Word(&DURATION), r#""30s""#, "No delay is longer.").default(r#""30s""#),
    ],
    family: None,
    later: &[],
    instead: &[("policy", "when"), ("factor", "backoff"), ("max", "max_delay"), ("wait", "delay")],
};
