//! What a probe asks by HTTP, and what must come back.

use super::process::*;
use super::words::*;
use super::{Kind, Shape, key};

pub(super) static HTTP: Shape = Shape {
    name: "http",
    doc: "An HTTP request that Brownout makes by itself, and what must come back. Exactly one of `url` and `path`.",
    keys: &[
        key(
            "path",
            Kind::Word(&TARGET),
            r#""/graphql""#,
            "The path and query, through `edge`: of this table, or of the expectation.",
        ),
        key("edge", Kind::Word(&TEXT), r#""web""#, "The edge through which `path` is asked for.")
            .default("the `edge` of the expectation"),
        key("url", Kind::Filled(&URL), r#""http://127.0.0.1:4000/graphql""#, "The whole URL."),
        key("method", Kind::Word(&METHOD), r#""POST""#, "The method.").default(r#""GET""#),
        key(
            "headers",
            Kind::Map(&HEADER, &Kind::Word(&HEADER_VALUE)),
            r#"{ accept = "application/json" }"#,
            "Header fields.",
        )
        .default("{}"),
        key(
            "status",
            Kind::Many(&super::experiment::STATUS),
            r#"[404, "3xx"]"#,
            "The status must be one of these.",
        )
        .default("below 400"),
        key(
            "json",
            Kind::Map(&JSON_PATH, &Kind::Scalar),
            r#"{ "$.mode" = "production", "$.items[0].price" = 5 }"#,
            "Values that must stand in the JSON of the body, each under its path.",
        ),
        key("text", Kind::Word(&REGEX), r#""version: 2\\.""#, "The body must match."),
    ],
    family: None,
    later: &[],
    instead: &[
        ("uri", "url"),
        ("target", "path"),
        ("header", "headers"),
        ("body", "text"),
        ("code", "status"),
        ("matches", "text"),
        ("contains", "text"),
    ],
};
