//! `[[service]]`: how a process is started, when it is ready, what its orchestrator does.

use super::around::{Surroundings, places};
use super::keys::regex;
use super::probe::speaks;
use super::reader::Reader;
use super::tree::{Node, Value};
use super::{Ready, ReadyCheck, Restart, RestartWhen, Service};
use crate::decision::Protocol;
use crate::problem::{Problem, Problems};
use crate::units::Span;
use std::path::Path;

/// Reads all services; `None` for each whose name or command is wrong, which is then reported.
pub(crate) fn read(
    tables: &[Reader<'_>],
    folder: Option<&Path>,
    problems: &mut Problems,
) -> Vec<Option<Service>> {
    let names: Vec<&str> = tables.iter().map(|table| table.written("name").unwrap_or_default()).collect();
    let all: Vec<_> = tables.iter().map(|table| service(table, (tables, &names), folder, problems)).collect();
    for (n, (table, service)) in tables.iter().zip(&all).enumerate() {
        let Some(service) = service else { continue };
        if let Some(way) = circle(n, &all).filter(|way| way.iter().min() == Some(&n)) {
            let words: Vec<String> =
                way.iter().filter_map(|n| names.get(*n)).map(|name| format!("`{name}`")).collect();
            let first = format!("`{}`", service.name);
            problems.push(
                Problem::error("services that wait for each other")
                    .at(table.place_of("after"))
                    .label(match way.len() {
                        1 => "waits for itself".to_owned(),
                        _ => format!("comes back: {} → {first}", words.join(" → ")),
                    })
                    .help("take one `after` out, or none of them is ever started"),
            );
        }
    }
    all
}

/// Refuses addresses of edges that speak something else than is asked of them.
pub(crate) fn spoken(tables: &[Reader<'_>], around: &Surroundings, problems: &mut Problems) {
    for ready in tables.iter().filter_map(|table| table.inner("ready")) {
        for (key, protocol) in [("http", Protocol::Http), ("tcp", Protocol::Tcp)] {
            if let Some(text) = ready.text(key) {
                speaks(text, protocol, around, ready.place_of(key), problems);
            }
        }
    }
}

/// The services on a way from this one back to it.
fn circle(start: usize, all: &[Option<Service>]) -> Option<Vec<usize>> {
    let mut seen = vec![start];
    let mut ways = vec![vec![start]];
    while let Some(way) = ways.pop() {
        let Some(last) = way.last().and_then(|n| all.get(*n)?.as_ref()) else { continue };
        for next in &last.after {
            if *next == start {
                return Some(way);
            }
            if !seen.contains(next) {
                seen.push(*next);
                let mut longer = way.clone();
                longer.push(*next);
                ways.push(longer);
            }
        }
    }
    None
}

fn service(
    table: &Reader<'_>,
    (tables, names): (&[Reader<'_>], &[&str]),
    folder: Option<&Path>,
    problems: &mut Problems,
) -> Option<Service> {
    let written = table.has("command");
    let command = command(table, "command", problems);
    let mut after = Vec::new();
    if is_external(table) {
        external(table, problems);
    } else {
        after = places("service", table.many("after"), names, problems);
    }
    for (n, place) in &after {
        if tables.get(*n).is_some_and(is_external) {
            problems.push(
                Problem::error(format!("service `{}` is external", names.get(*n).unwrap_or(&"")))
                    .at(*place)
                    .label("Brownout does not know when it is ready")
                    .help("take it out here, or give it a `command`"),
            );
        }
    }
    let ready = table.inner("ready").and_then(|inner| ready(&inner, problems));
    let restart = restart(table, problems);
    let name = table.parsed("name")?;
    Some(Service {
        name,
        command: if written { command? } else { Vec::new() },
        cwd: table.text("cwd").map(|cwd| folder.map_or_else(|| cwd.into(), |folder| folder.join(cwd))),
        clean_env: table.flag_or_default("clean_env"),
        env: table.pairs("env"),
        user: table.text("user").map(str::to_owned),
        grace: table.duration_or_default("grace"),
        after: after.into_iter().map(|(n, _)| n).collect(),
        show_env: table.texts("show_env"),
        ready,
        restart,
        skipped: None,
        line: problems.line_column(table.place).0,
    })
}

/// Whether it has no command, and was not meant to have one.
fn is_external(table: &Reader<'_>) -> bool {
    !table.has("command") && !table.misspelt("command")
}

/// What says something about a process of ours.
fn external(table: &Reader<'_>, problems: &mut Problems) {
    let ours = ["cwd", "env", "clean_env", "show_env", "user", "grace", "after", "ready", "restart"];
    for key in ours.into_iter().filter(|key| table.has(key)) {
        problems.push(
            Problem::error(format!("`{key}` has no meaning for an external service"))
                .at(table.key_place(key))
                .label("without `command`, Brownout does not start it")
                .help("add its `command`, or take this out and change it with a `hook`"),
        );
    }
}

/// A command of at least a program; a whole line of a shell is refused.
pub(crate) fn command(table: &Reader<'_>, key: &'static str, problems: &mut Problems) -> Option<Vec<String>> {
    let node = table.node(key)?;
    let words = table.texts(key);
    let program = words.first().map_or("", |word| word.trim());
    if let (Value::Text(text), true) = (&node.value, program.contains(char::is_whitespace)) {
        let list: Vec<String> = text.split_whitespace().map(|word| format!("\"{word}\"")).collect();
        let help = match text.contains(['"', '\'', '\\', '|', '>', '<', '&', ';', '$', '*']) {
            true => "write a list of words, or `[\"sh\", \"-c\", \"…\"]`".to_owned(),
            false => format!("write `{key} = [{}]`", list.join(", ")),
        };
        problems.push(
            Problem::error(format!("`{key}` is a list of words"))
                .at(node.place)
                .label("no shell takes this line apart")
                .help(help),
        );
        return None;
    }
    if program.is_empty() {
        problems.push(
            Problem::error(format!("`{key}` names no program"))
                .at(node.place)
                .label("its first word is empty")
                .help("write the program and its arguments, such as `[\"node\", \"payments.js\"]`"),
        );
        return None;
    }
    Some(words)
}

fn ready(table: &Reader<'_>, problems: &mut Problems) -> Option<Ready> {
    only_one(table, &["http", "tcp", "log", "command"], "what shows that it is ready", problems)?;
    let check = if let Some(url) = table.text("http") {
        ReadyCheck::Http(url.to_owned())
    } else if let Some(at) = table.text("tcp") {
        ReadyCheck::Tcp(at.to_owned())
    } else if let Some(text) = table.text("log") {
        ReadyCheck::Log(regex(text)?)
    } else {
        ReadyCheck::Command(command(table, "command", problems)?)
    };
    Some(Ready { check, within: table.duration_or_default("within") })
}

/// Exactly one of these keys is there; if it is not so, or that one is wrong, this is reported and nothing comes back.
pub(crate) fn only_one(
    table: &Reader<'_>,
    keys: &[&'static str],
    what: &str,
    problems: &mut Problems,
) -> Option<&'static str> {
    let mut written: Vec<&'static str> = keys.iter().copied().filter(|key| table.has(key)).collect();
    written.sort_by_key(|key| table.key_place(key).start);
    match written.as_slice() {
        [one] => table.node(one).map(|_| *one),
        [] => {
            if !table.entries().iter().any(|entry| entry.node.broken) {
                problems.push(
                    Problem::error(format!("{what} is missing"))
                        .at(table.place)
                        .label("says nothing")
                        .help(format!("add one of {}", crate::problem::all_of(keys.iter().copied()))),
                );
            }
            None
        }
        [one, other, ..] => {
            problems.push(
                Problem::error(format!("`{one}` and `{other}` are two answers to one question: {what}"))
                    .at(table.key_place(other))
                    .label("which of them?")
                    .related(table.key_place(one), "the first")
                    .help("keep one"),
            );
            None
        }
    }
}

fn restart(table: &Reader<'_>, problems: &mut Problems) -> Restart {
    let when = |text: Option<&str>| match text {
        Some("always") => RestartWhen::Always,
        Some("on-failure") => RestartWhen::OnFailure,
        _ => RestartWhen::Never,
    };
    let Some(inner) = table.inner("restart") else {
        return Restart { when: when(table.text("restart")), ..Restart::default() };
    };
    let restart = Restart {
        when: when(inner.text("when")),
        delay: inner.duration_or_default("delay"),
        backoff: inner.number_or_default("backoff"),
        max_delay: inner.duration("max_delay").unwrap_or_else(|| {
            inner.duration_or_default("max_delay").max(inner.duration_or_default("delay"))
        }),
    };
    if restart.delay > restart.max_delay {
        problems.push(
            Problem::error("`delay` is longer than `max_delay`")
                .at(inner.place_of("delay"))
                .label(format!("never more than {}", Span(restart.max_delay)))
                .help("make `max_delay` longer"),
        );
    }
    for key in ["delay", "backoff", "max_delay"] {
        if restart.when == RestartWhen::Never && inner.text("when").is_some() && inner.has(key) {
            problems.push(
                Problem::error(format!("`{key}` never counts"))
                    .at(inner.key_place(key))
                    .label("with `when = \"never\"` there is no restart")
                    .help("take it out, or write `when = \"always\"`"),
            );
        }
    }
    restart
}

/// A JSON value for a text, number or flag of the file.
pub(crate) fn scalar(node: &Node) -> Option<serde_json::Value> {
    match &node.value {
        Value::Text(text) => Some(text.as_str().into()),
        Value::Flag(flag) => Some((*flag).into()),
        Value::Integer(number) => match i64::try_from(*number) {
            Ok(number) => Some(number.into()),
            Err(_) => u64::try_from(*number).ok().map(Into::into),
        },
        Value::Float(number) => serde_json::Number::from_f64(*number).map(serde_json::Value::Number),
        _ => None,
    }
}
