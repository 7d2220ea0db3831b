//! What a fault does to services: the tables of `env`, `process` and `hook`.

use super::process::*;
use super::words::*;
use super::{Kind, Shape, key};

pub(super) static ENV: Shape = Shape {
    name: "env",
    doc: "Another environment for a service that Brownout runs. It is put back when the fault ends.",
    keys: &[
        key(
            "set",
            Kind::Map(&ENV_NAME, &Kind::Filled(&ENV_VALUE)),
            r#"{ PROVIDER_TIMEOUT_MS = "500" }"#,
            "Variables with other values.",
        ),
        key("unset", Kind::Many(&Kind::Word(&ENV_NAME)), r#"["FORCE_ENVIRONMENT"]"#, "Variables taken out."),
        key(
            "apply",
            Kind::OneOf(
                &[
                    ("restart", "the service is restarted with it, and again to put it back"),
                    ("next_restart", "it comes back drifted when it is next started, whyever"),
                ],
                &[],
            ),
            r#""next_restart""#,
            "When it takes hold.",
        )
        .default(r#""restart""#),
        key("restarts", Kind::Integer(1, 10_000), "1", "For so many starts of the service.")
            .default("for as long as the fault lasts"),
    ],
    family: None,
    later: &[],
    instead: &[
        ("add", "set"),
        ("remove", "unset"),
        ("delete", "unset"),
        ("when", "apply"),
        ("incarnations", "restarts"),
    ],
};

pub(super) static PROCESS: Shape = Shape {
    name: "process",
    doc: "A signal, a pause or a restart: exactly one of `kill`, `pause` and `restart`. Without `every` or `at` it is done \
          once; with `times`, again whenever the service is ready.",
    keys: &[
        key("kill", Kind::Word(&SIGNAL), r#""KILL""#, "This signal to the service and all it started."),
        key(
            "pause",
            Kind::Word(&SOME_TIME),
            r#""700ms""#,
            "Stopped in its tracks for this time; not scaled.",
        ),
        key(
            "restart",
            Kind::Flag,
            "true",
            "SIGTERM, SIGKILL after the grace time of the service, and a new start.",
        ),
        key(
            "down",
            Kind::Word(&SOME_TIME),
            r#""16m""#,
            "It is kept down for this time, scaled; then it is started again.",
        )
        .default("as its `restart` says"),
        key("times", Kind::Integer(1, 10_000), "3", "At most so often while the fault is armed.")
            .default("once, or once for each time of `every` and `at`"),
    ],
    family: None,
    later: &[],
    instead: &[
        ("signal", "kill"),
        ("stop", "pause"),
        ("freeze", "pause"),
        ("for", "down"),
        ("count", "times"),
    ],
};

pub(super) static HOOK: Shape = Shape {
    name: "hook",
    doc: "Commands of yours, for what Brownout does not run itself. `undo` is always run in the end, also if `apply` failed, \
          and by the next start if Brownout was killed: it must do no harm when run twice.",
    keys: &[
        key(
            "apply",
            Kind::Many(&Kind::Filled(&ARGUMENT)),
            r#"["kubectl", "set", "env", "deploy/api", "TIMEOUT_MS=500"]"#,
            "Brings it about; ends with exit code 0.",
        )
        .required(),
        key(
            "undo",
            Kind::Many(&Kind::Filled(&ARGUMENT)),
            r#"["kubectl", "set", "env", "deploy/api", "TIMEOUT_MS-"]"#,
            "Takes it back.",
        )
        .required(),
        key("within", Kind::Word(&SOME_TIME), r#""60s""#, "How long each may take; not scaled.")
            .default(r#""60s""#),
    ],
    family: None,
    later: &[],
    instead: &[
        ("command", "apply"),
        ("run", "apply"),
        ("revert", "undo"),
        ("restore", "undo"),
        ("timeout", "within"),
    ],
};
