//! What the API is, in the words of OpenAPI.

use serde_json::{Map, Value, json};

/// One call: method, path, what it does, whether it has a body, and the statuses it may answer with.
type Call = (&'static str, &'static str, &'static str, Option<&'static str>, &'static [u16]);

const CALLS: &[Call] = &[
    ("get", "/healthz", "Brownout is alive.", None, &[200]),
    ("get", "/readyz", "All listeners are bound and all services ready.", None, &[200, 503]),
    ("get", "/metrics", "Metrics in Prometheus's text format.", None, &[200]),
    ("get", "/api/v1/status", "Version, experiment, phase, and whether everything is halted.", None, &[200]),
    ("get", "/api/v1/edges", "All edges, with their real ports.", None, &[200]),
    ("get", "/api/v1/faults", "All faults, armed or not, with their counts.", None, &[200]),
    ("post", "/api/v1/faults", "Arm a fault by hand.", Some("Fault"), &[201, 400, 409, 413, 422, 503]),
    ("get", "/api/v1/faults/{name}", "One fault.", None, &[200, 404]),
    ("delete", "/api/v1/faults/{name}", "Heal a fault.", None, &[200, 404]),
    (
        "post",
        "/api/v1/faults/{name}/arm",
        "Arm a fault of the file.",
        Some("Life"),
        &[200, 400, 404, 409, 413, 422, 503],
    ),
    ("post", "/api/v1/faults/{name}/heal", "Heal a fault.", None, &[200, 404]),
    ("post", "/api/v1/heal", "Heal all faults.", None, &[200]),
    ("post", "/api/v1/halt", "Heal everything; nothing can be armed until this is lifted.", None, &[200]),
    ("delete", "/api/v1/halt", "Lift the halt.", None, &[200]),
    ("post", "/api/v1/halt/lift", "Lift the halt.", None, &[200]),
    (
        "get",
        "/api/v1/live",
        "The live page's pieces as they change, as Server-Sent Events.",
        None,
        &[200, 503],
    ),
    ("get", "/api/v1/openapi.json", "This description.", None, &[200]),
];

fn says(status: u16) -> &'static str {
    match status {
        200 => "as asked",
        201 => "armed",
        400 => "the body is not a JSON object",
        404 => "there is no such fault",
        409 => "a fault of this name is armed already",
        413 => "the body is larger than 1 MiB",
        422 => "the fault, or its ttl, is not a right one",
        _ => "not ready, or everything is halted",
    }
}

/// The description, as `/api/v1/openapi.json` gives it.
pub(crate) fn description() -> Value {
    let mut paths = Map::new();
    for (method, path, summary, body, statuses) in CALLS {
        let responses: Map<_, _> = statuses
            .iter()
            .map(|status| (status.to_string(), json!({ "description": says(*status) })))
            .chain(std::iter::once(("default".into(), json!({ "$ref": "#/components/responses/Error" }))))
            .collect();
        let mut call = json!({ "summary": summary, "responses": responses });
        if path.contains("{name}") {
            let name =
                json!({ "name": "name", "in": "path", "required": true, "schema": { "type": "string" } });
            call["parameters"] = json!([name]);
        }
        if let Some(schema) = body {
            let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
            call["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } });
        }
        let entry = paths.entry((*path).to_owned()).or_insert_with(|| json!({}));
        entry[*method] = call;
    }
    let ttl = json!({
        "type": "string",
        "description": "such as `30s`; 5 minutes if left out, at most `1h`, or `forever`",
        "examples": ["30s", "forever"],
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Brownout",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The admin API of a running Brownout. Calls that change something need \
                `content-type: application/json`. Beyond loopback, everything below `/api/` needs the bearer token.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": { "Error": {
                "description": "what went wrong",
                "content": { "application/json": { "schema": {
                    "type": "object",
                    "required": ["error"],
                    "properties": { "error": { "type": "string" } },
                } } },
            } },
            "schemas": {
                "Fault": {
                    "type": "object",
                    "description": "A fault as a `[[fault]]` table of an experiment says it, and its ttl.",
                    "required": ["edge"],
                    "properties": {
                        "name": { "type": "string" },
                        "edge": { "description": "the name of an edge, or a list of names" },
                        "ttl": ttl,
                    },
                    "additionalProperties": true,
                },
                "Life": { "type": "object", "properties": { "ttl": ttl }, "additionalProperties": false },
            },
        },
        "security": [{}, { "token": [] }],
    })
}
