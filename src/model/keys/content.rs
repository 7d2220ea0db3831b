//! What faults do to content: the tables of `rewrite`, `stale` and `duplicate`.

use super::words::*;
use super::{Key, Kind, Shape, Word, key};
use crate::model::content;

static JSON_PATH: Word = Word {
    what: "a path into JSON",
    pattern: r"^\$.*$",
    examples: &["$.price", "$.items[*].price", "$['a.b'][0]"],
    check: |text| match content::json_path(text) {
        Some(_) => Ok(()),
        None => Err(wrong(
            format!("`{}` is not a plain path into JSON", text.escape_debug()),
            "write one such as `$.price`, `$.items[0].price` or `$.items[*].price`",
        )),
    },
};

static REGEX: Word = Word {
    what: "a regular expression",
    pattern: "",
    examples: &["EUR", "[0-9]+"],
    check: |text| match content::text_regex(text) {
        Ok(_) if text.is_empty() => Err(wrong("finds nothing", "write what is to be found")),
        Ok(_) => Ok(()),
        Err(why) => Err(wrong(why, "put `\\\\` before a sign that is meant as it stands")),
    },
};

static KEY_PART: Word = Word {
    what: "`query` or a header field",
    pattern: "^(query|header:.+)$",
    examples: &["query", "header:x-tenant"],
    check: |text| match content::key_part(text) {
        Some(_) => Ok(()),
        None => Err(wrong(
            format!("`{}` is no part of a request's key", text.escape_debug()),
            "write `\"query\"` or `\"header:x-tenant\"`; method and path are always in it",
        )),
    },
};

const MAX_BODY: Key = key(
    "max_body",
    Kind::Word(&SIZE),
    r#""256 KiB""#,
    "Longer bodies are passed on untouched; at most 16 MiB.",
)
.default(r#""1 MiB""#);

pub(super) static REWRITE: Shape = Shape {
    name: "rewrite",
    doc: "A request or an answer is changed on its way, and still looks well-formed: lengths, encodings and JSON stay right; \
          `etag`, `content-md5` and `digest` stay as they are.",
    keys: &[
        key(
            "request",
            Kind::Table(&REWRITE_REQUEST),
            r#"{ path = { from = "/v2", to = "/v1" } }"#,
            "What is done to the request.",
        ),
        key(
            "response",
            Kind::Table(&REWRITE_RESPONSE),
            r#"{ json = { "$.price" = { scale = 0.1 } } }"#,
            "What is done to the answer.",
        ),
        MAX_BODY,
    ],
    family: None,
    later: &[],
    instead: &[("answer", "response"), ("body", "response"), ("json", "response"), ("headers", "response")],
};

const HEADERS: Key = key(
    "headers",
    Kind::Table(&FIELDS),
    r#"{ set = { cache-control = "max-age=600" }, remove = ["etag"] }"#,
    "Header fields: `set`, `remove`, or `replace` where they are.",
);
const JSON: Key = key(
    "json",
    Kind::Map(&JSON_PATH, &ONE_CHANGE),
    r#"{ "$.price" = { scale = 0.1 }, "$.items[*].sku" = "null" }"#,
    "Values of a JSON body, by their paths: `{ scale = 0.1 }`, `{ set = … }`, `\"null\"`, `\"remove\"` or `\"empty\"`.",
);
static CHANGES: &[Kind] = &[Kind::OneOf(JSON_WORDS, &[]), Kind::Table(&JSON_CHANGE)];
static ONE_CHANGE: Kind = Kind::Any(CHANGES);
static ONE_TEXT: Kind = Kind::Table(&TEXT_EDIT);
const JSON_WORDS: &[(&str, &str)] = &[
    ("null", "`null` stands there"),
    ("remove", "the value is not there any more"),
    ("empty", "the empty value of its kind stands there: 0, \"\", [], {} or false"),
];
const TEXT_EDITS: Key = key(
    "text",
    Kind::Many(&ONE_TEXT),
    r#"[{ find = "EUR", with = "USD" }]"#,
    "Text of a body, by regular expressions, one after the other. A change that makes valid JSON invalid is not made.",
);

static REWRITE_REQUEST: Shape = Shape {
    name: "rewrite.request",
    doc: "Changes to a request.",
    keys: &[
        HEADERS,
        key(
            "path",
            Kind::Any(&[Kind::Word(&PLAIN_PATH), Kind::Table(&NEW_PREFIX)]),
            r#"{ from = "/v2", to = "/v1" }"#,
            "Another path, or another beginning of it; the query stays.",
        ),
        JSON,
        TEXT_EDITS,
    ],
    family: None,
    later: &[],
    instead: &[("header", "headers"), ("body", "json"), ("url", "path")],
};

static REWRITE_RESPONSE: Shape = Shape {
    name: "rewrite.response",
    doc: "Changes to an answer.",
    keys: &[HEADERS, key("status", Kind::Integer(200, 599), "200", "Another status."), JSON, TEXT_EDITS],
    family: None,
    later: &[],
    instead: &[("header", "headers"), ("body", "json"), ("code", "status")],
};

static FIELDS: Shape = Shape {
    name: "rewrite.headers",
    doc: "Changes to header fields; not to those that frame a message or are for one hop only.",
    keys: &[
        key(
            "set",
            Kind::Map(&HEADER, &Kind::Word(&HEADER_VALUE)),
            r#"{ cache-control = "max-age=600" }"#,
            "These fields, in place of what stood there.",
        )
        .default("{}"),
        key("remove", Kind::Many(&Kind::Word(&HEADER)), r#"["etag"]"#, "These are taken out."),
        key(
            "replace",
            Kind::Map(&HEADER, &Kind::Word(&HEADER_VALUE)),
            r#"{ content-type = "text/html" }"#,
            "As `set`, but only where the field is.",
        )
        .default("{}"),
    ],
    family: None,
    later: &[],
    instead: &[("add", "set"), ("delete", "remove"), ("unset", "remove")],
};

static NEW_PREFIX: Shape = Shape {
    name: "rewrite.path",
    doc: "Another beginning of a path, by whole segments.",
    keys: &[
        key("from", Kind::Word(&PLAIN_PATH), r#""/v2""#, "What it must begin with.").required(),
        key("to", Kind::Word(&PLAIN_PATH), r#""/v1""#, "What it begins with then.").required(),
    ],
    family: None,
    later: &[],
    instead: &[("prefix", "from"), ("with", "to")],
};

pub(crate) static JSON_CHANGE: Shape = Shape {
    name: "rewrite.json",
    doc: "One change to a value: `scale` or `set`.",
    keys: &[
        key("scale", Kind::Number(-1e9, 1e9), "0.1", "A number times this."),
        key("set", Kind::Scalar, "0", "This value."),
    ],
    family: None,
    later: &[],
    instead: &[("value", "set"), ("factor", "scale"), ("multiply", "scale")],
};

static TEXT_EDIT: Shape = Shape {
    name: "rewrite.text",
    doc: "What is found is written anew.",
    keys: &[
        key("find", Kind::Word(&REGEX), r#""EUR ([0-9]+)""#, "What is looked for.").required(),
        key("with", Kind::Word(&TEXT), r#""USD $1""#, "What stands there then; `$1` is the first group.")
            .required(),
    ],
    family: None,
    later: &[],
    instead: &[("regex", "find"), ("replace", "with"), ("to", "with")],
};

pub(super) static STALE: Shape = Shape {
    name: "stale",
    doc: "An older answer that the upstream really gave. Needs the edge's `record`, where such answers are kept.",
    keys: &[
        key("age", Kind::Word(&SOME_TIME), r#""10m""#, "What was answered so long ago. Either this or `versions`."),
        key("versions", Kind::Integer(1, 64), "1", "So many different answers ago.").default("1, of one's own"),
        key(
            "from",
            Kind::OneOf(
                &[("self", "an answer to the same request"), ("other", "an answer to another caller's request")],
                &[],
            ),
            r#""other""#,
            "Whose answer.",
        )
        .default(r#""self""#),
        key(
            "key",
            Kind::Many(&Kind::Word(&KEY_PART)),
            r#"["query", "header:x-tenant"]"#,
            "What makes two requests the same, beside method and path.",
        )
        .default(r#"["query", "header:authorization", "header:cookie", "header:x-tenant"]"#),
        key(
            "ignore",
            Kind::Many(&Kind::Word(&KEY_PART)),
            r#""header:x-tenant""#,
            "Parts of `key` that do not count: the cache that forgot them. With `from = \"other\"`: what tells callers apart.",
        )
        .default("nothing; with `from = \"other\"` all header fields of `key`"),
    ],
    family: None,
    later: &[],
    instead: &[("version", "versions"), ("older", "age"), ("by", "age")],
};

pub(super) static DUPLICATE: Shape = Shape {
    name: "duplicate",
    doc: "The same request reaches the upstream more than once; answers that differ are counted.",
    keys: &[
        key("times", Kind::Integer(1, 10_000), "3", "How often beside the caller's own.").default("1"),
        key(
            "concurrency",
            Kind::Integer(1, 10_000),
            "3",
            "At most so many at once; 1: one after the other, behind the caller's own.",
        )
        .default("1"),
        key("over", Kind::Word(&DURATION), r#""2s""#, "Spread over this time.").default(r#""0s""#),
        key(
            "respond_with",
            Kind::OneOf(
                &[
                    ("first", "the caller's own goes first, and its answer is the caller's"),
                    ("last", "the caller's own goes when all others were answered"),
                ],
                &[],
            ),
            r#""last""#,
            "Which answer the caller gets.",
        )
        .default(r#""first""#),
        MAX_BODY,
    ],
    family: None,
    later: &[],
    instead: &[("count", "times"), ("copies", "times"), ("n", "times"), ("parallel", "concurrency")],
};
