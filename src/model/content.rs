//! Reads the faults that lie about content: `rewrite`, `stale` and `duplicate`.

use super::jsonpath::{self, Step};
use super::keys::JSON_CHANGE;
use super::reader::Reader;
use super::tree::{Node, Value};
use super::{Edge, FaultRule};
use crate::decision::{
    Age, Changes, Copies, Fields, JsonEdit, JsonPath, JsonStep, KeyPart, NewPath, Older, TextEdit,
};
use crate::fault::{Duplicate, Fault, Rewrite, Stale};
use crate::problem::{Problem, Problems};
use std::sync::Arc;

/// No fault sees bodies that are longer.
const MOST: u64 = 16 << 20;
/// What tells callers apart unless a fault says otherwise.
const CALLERS: [&str; 3] = ["authorization", "cookie", "x-tenant"];

/// A plain path into JSON, in which `[*]` stands for every element.
pub(crate) fn json_path(text: &str) -> Option<JsonPath> {
    let mut steps = Vec::new();
    for (n, part) in text.split("[*]").enumerate() {
        if n > 0 {
            steps.push(JsonStep::Every);
        }
        let rooted = if n == 0 { part.to_owned() } else { format!("${part}") };
        steps.extend(jsonpath::steps(&rooted)?.into_iter().map(|step| match step {
            Step::Name(name) => JsonStep::Name(name.to_owned()),
            Step::Place(place) => JsonStep::Place(place),
        }));
    }
    Some(JsonPath { text: text.to_owned(), steps })
}

/// A regular expression over the bytes of a body.
pub(crate) fn text_regex(text: &str) -> Result<regex::bytes::Regex, String> {
    let built = regex::bytes::RegexBuilder::new(text).size_limit(1 << 20).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "is too large a regular expression".to_owned(),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("is not a regular expression: {last}")
        }
    })
}

/// `query` or `header:x-tenant`.
pub(crate) fn key_part(text: &str) -> Option<KeyPart> {
    if text == "query" {
        return Some(KeyPart::Query);
    }
    let name = text.strip_prefix("header:")?;
    http::HeaderName::from_bytes(name.as_bytes()).ok().map(|name| KeyPart::Header(name.as_str().to_owned()))
}

/// Reads `rewrite`.
pub(super) fn rewrite(table: &Reader<'_>, problems: &mut Problems) -> Option<Rewrite> {
    let t = table.inner("rewrite")?;
    let max_body = max_body(&t, problems);
    let mut read = |key| {
        let changes = changes(&t.inner(key)?, key == "response", max_body, problems);
        Some(Arc::new(changes))
    };
    let rewrite = Rewrite { request: read("request"), response: read("response") };
    if [&rewrite.request, &rewrite.response].into_iter().flatten().all(|changes| changes.are_none()) {
        // what was wrong in it is told already
        if t.entries().iter().filter(|entry| entry.key != "max_body").all(|entry| is_bare(&entry.node)) {
            problems.push(
                Problem::error("a rewrite of nothing")
                    .at(table.place_of("rewrite"))
                    .label("changes neither the request nor the answer")
                    .help("add a change, such as `response = { json = { \"$.price\" = { scale = 0.1 } } }`"),
            );
        }
        return None;
    }
    Some(rewrite)
}

/// A table with nothing in it but tables with nothing in them.
fn is_bare(node: &Node) -> bool {
    !node.broken && node.as_tree().is_some_and(|tree| tree.entries.iter().all(|entry| is_bare(&entry.node)))
}

fn max_body(t: &Reader<'_>, problems: &mut Problems) -> usize {
    let size = t.size("max_body").unwrap_or(1 << 20);
    if size > MOST {
        problems.push(
            Problem::error("a body that is too long to be kept")
                .at(t.place_of("max_body"))
                .label("more than 16 MiB for one exchange")
                .help("write at most `\"16 MiB\"`"),
        );
    }
    usize::try_from(size.min(MOST)).unwrap_or(usize::MAX)
}

fn changes(t: &Reader<'_>, answers: bool, max_body: usize, problems: &mut Problems) -> Changes {
    let path = if answers { None } else { new_path(t, problems) };
    let status = if answers { t.integer("status").and_then(|code| u16::try_from(code).ok()) } else { None };
    if let Some(code @ (204 | 205 | 304)) = status {
        problems.push(
            Problem::error(format!("an answer {code} has no body"))
                .at(t.place_of("status"))
                .label("the body that came would break the connection")
                .help("use another status"),
        );
    }
    Changes { fields: fields(t, problems), path, status, json: json(t, problems), text: text(t), max_body }
}

fn new_path(t: &Reader<'_>, problems: &mut Problems) -> Option<NewPath> {
    if let Some(path) = t.text("path") {
        return ascii(path, t, problems).then(|| NewPath::Whole(path.to_owned()));
    }
    let p = t.inner("path")?;
    let (from, to) = (p.text("from")?, p.text("to")?);
    if from == to {
        problems.push(
            Problem::error("a path that stays as it is")
                .at(p.place_of("to"))
                .label("the same as `from`")
                .help("write another one"),
        );
        return None;
    }
    let (from, to) = (from.trim_end_matches('/'), to.trim_end_matches('/'));
    ascii(to, t, problems).then(|| NewPath::Prefix { from: from.to_owned(), to: to.to_owned() })
}

fn ascii(path: &str, t: &Reader<'_>, problems: &mut Problems) -> bool {
    let good = path.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if !good {
        problems.push(
            Problem::error("a path that cannot be sent")
                .at(t.place_of("path"))
                .label("has a sign that is not ASCII")
                .help("percent-encode it"),
        );
    }
    good
}

fn fields(t: &Reader<'_>, problems: &mut Problems) -> Fields {
    let Some(t) = t.inner("headers") else { return Fields::default() };
    let mut refuse = |name: &str, place| {
        let ours = matches!(
            name.to_ascii_lowercase().as_str(),
            "connection"
                | "content-encoding"
                | "content-length"
                | "expect"
                | "host"
                | "http2-settings"
                | "keep-alive"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "proxy-connection"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
        );
        if ours {
            problems.push(
                Problem::error(format!("`{name}` cannot be rewritten"))
                    .at(place)
                    .label("it frames or routes the message, and Brownout does that")
                    .help("take it out"),
            );
        }
    };
    for key in ["set", "replace"] {
        let Some(tree) = t.node(key).and_then(Node::as_tree) else { continue };
        tree.entries.iter().for_each(|entry| refuse(&entry.key, entry.key_place));
    }
    for node in t.many("remove") {
        refuse(node.as_text().unwrap_or_default(), node.place);
    }
    let lower = |(name, value): (String, String)| (name.to_ascii_lowercase(), value);
    Fields {
        set: t.pairs("set").into_iter().map(lower).collect(),
        remove: t.texts("remove").iter().map(|name| name.to_ascii_lowercase()).collect(),
        replace: t.pairs("replace").into_iter().map(lower).collect(),
    }
}

fn json(t: &Reader<'_>, problems: &mut Problems) -> Vec<(JsonPath, JsonEdit)> {
    let Some(tree) = t.node("json").and_then(Node::as_tree) else { return Vec::new() };
    let entries = tree.entries.iter().filter(|entry| !entry.node.broken);
    entries.filter_map(|entry| Some((json_path(&entry.key)?, json_edit(&entry.node, problems)?))).collect()
}

fn json_edit(node: &Node, problems: &mut Problems) -> Option<JsonEdit> {
    match node.as_text() {
        Some("null") => return Some(JsonEdit::Null),
        Some("remove") => return Some(JsonEdit::Remove),
        Some("empty") => return Some(JsonEdit::Empty),
        Some(_) => return None,
        None => {}
    }
    let t = Reader::new(&JSON_CHANGE, node.as_tree()?, node.place);
    match (t.number("scale"), t.node("set")) {
        (Some(factor), None) if !t.has("set") => Some(JsonEdit::Scale(factor)),
        (None, Some(value)) if !t.has("scale") => {
            let value = match &value.value {
                Value::Text(text) => serde_json::Value::from(text.as_str()),
                Value::Integer(number) => serde_json::Value::from(i64::try_from(*number).ok()?),
                Value::Float(number) => serde_json::Value::from(*number),
                Value::Flag(flag) => serde_json::Value::from(*flag),
                _ => return None,
            };
            Some(JsonEdit::Set(value.to_string()))
        }
        _ => {
            if !t.entries().iter().any(|entry| entry.node.broken) {
                problems.push(
                    Problem::error("one change for one value")
                        .at(node.place)
                        .label("`scale` or `set`?")
                        .help("write `{ scale = 0.1 }` or `{ set = 5 }`, or one of \"null\", \"remove\" and \"empty\""),
                );
            }
            None
        }
    }
}

fn text(t: &Reader<'_>) -> Vec<TextEdit> {
    let edits = t.many("text").iter().filter_map(|node| t.element("text", node));
    let read = |t: Reader<'_>| {
        Some(TextEdit { find: text_regex(t.text("find")?).ok()?, with: t.text("with")?.to_owned() })
    };
    edits.filter_map(read).collect()
}

/// Reads `stale`.
pub(super) fn stale(table: &Reader<'_>, problems: &mut Problems) -> Option<Stale> {
    let t = table.inner("stale")?;
    if t.has("age") && t.has("versions") {
        problems.push(
            Problem::error("`age` and `versions` both say how old")
                .at(t.key_place("versions"))
                .label("which of them?")
                .related(t.key_place("age"), "the first")
                .help("keep one"),
        );
        return None;
    }
    let other = t.text("from") == Some("other");
    let by = match (t.duration("age"), t.integer("versions")) {
        (Some(time), _) => Age::Time(time),
        (None, Some(versions)) => Age::Versions(u32::try_from(versions).ok()?),
        (None, None) if other => Age::Latest,
        (None, None) => Age::Versions(1),
    };
    let parts = |key| t.texts(key).iter().filter_map(|text| key_part(text)).collect::<Vec<_>>();
    let mut key = parts("key");
    if !t.has("key") {
        key.push(KeyPart::Query);
        key.extend(CALLERS.iter().map(|name| KeyPart::Header((*name).to_owned())));
    }
    let mut ignored = parts("ignore");
    if other && !t.has("ignore") {
        ignored = key.iter().filter(|part| **part != KeyPart::Query).cloned().collect();
    }
    if other && ignored.is_empty() {
        problems.push(
            Problem::error("nothing tells callers apart")
                .at(table.place_of("stale"))
                .label("an answer of which other?")
                .help("name what does: `ignore = [\"header:x-tenant\"]`"),
        );
        return None;
    }
    key.retain(|part| !ignored.contains(part));
    Some(Stale {
        older: Arc::new(Older { by, other, key, differs: if other { ignored } else { Vec::new() } }),
    })
}

/// Reads `duplicate`.
pub(super) fn duplicate(table: &Reader<'_>, problems: &mut Problems) -> Option<Duplicate> {
    let t = table.inner("duplicate")?;
    let copies = Copies {
        times: t.count_or_default("times"),
        concurrency: t.count_or_default("concurrency"),
        over: t.duration_or_default("over"),
        last: t.text("respond_with") == Some("last"),
        max_body: max_body(&t, problems),
    };
    Some(Duplicate { copies })
}

/// The header fields by which answers on an edge are told apart, if the file has faults that ask for them; `None`: nothing
/// is kept.
pub(super) fn recorded(edge: usize, faults: &[FaultRule]) -> Option<Arc<[String]>> {
    let on = faults.iter().filter(|rule| rule.edges.contains(&edge)).flat_map(|rule| &rule.actions);
    let stale: Vec<_> = on
        .filter_map(|action| match action {
            Fault::Stale(stale) => Some(&stale.older),
            _ => None,
        })
        .collect();
    if stale.is_empty() {
        return None;
    }
    let mut names: Vec<String> = CALLERS.iter().map(|name| (*name).to_owned()).collect();
    for part in stale.iter().flat_map(|older| older.key.iter().chain(&older.differs)) {
        if let KeyPart::Header(name) = part
            && !names.contains(name)
        {
            names.push(name.clone());
        }
    }
    Some(names.into())
}

/// What tells callers apart where no file says so: for faults armed by hand.
#[must_use]
pub fn usual_callers() -> Arc<[String]> {
    CALLERS.iter().map(|name| (*name).to_owned()).collect()
}

/// Tells each edge what of its answers must be kept; a `stale` on an edge that keeps nothing is a mistake.
pub(super) fn keep(
    edges: &mut [Edge],
    faults: &[FaultRule],
    problems: &mut Problems,
    place: impl Fn(usize) -> crate::problem::Place,
) {
    for (n, edge) in edges.iter_mut().enumerate() {
        edge.recorded = recorded(n, faults);
        if edge.recorded.is_some() && edge.record.is_none() {
            let asks = |rule: &FaultRule| {
                rule.edges.contains(&n) && rule.actions.iter().any(|action| matches!(action, Fault::Stale(_)))
            };
            let Some(rule) = faults.iter().position(asks) else { continue };
            problems.push(
                Problem::error(format!("edge `{}` keeps no answers", edge.name))
                    .at(place(rule))
                    .label("`stale` has none to give")
                    .help("add `record = \"64 MiB\"` to the edge"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_every_element() {
        let steps = |text| json_path(text).map(|path| path.steps);
        let name = |name: &str| JsonStep::Name(name.to_owned());
        assert_eq!(steps("$"), Some(vec![]));
        assert_eq!(steps("$.a[*].b"), Some(vec![name("a"), JsonStep::Every, name("b")]));
        assert_eq!(steps("$[*][*]"), Some(vec![JsonStep::Every, JsonStep::Every]));
        assert_eq!(steps("$.a[1][*]"), Some(vec![name("a"), JsonStep::Place(1), JsonStep::Every]));
        for wrong in ["", "a", "$.*", "$.a[*]b", "$..a", "$.a[", "[*]"] {
            assert_eq!(steps(wrong), None, "{wrong}");
        }
    }
}
