//! `[[fault]]`: where, who, when and what, read together because they must fit each other.

use super::around::Surroundings;
use super::bytes;
use super::conform::missing;
use super::content;
use super::deed::{self, DEEDS};
use super::law;
use super::reader::Reader;
use super::tree::Value;
use super::when::{self, Ground};
use super::{FaultRule, Ttl, When, Who, who};
use crate::decision::{self, Answer, Cut, Protocol, Then};
use crate::fault::{Drop, DropAt, Fault, Hang, HangWhere, How, Latency, Reroute, Respond};
use crate::problem::{Problem, Problems, all_of};
use crate::units::Span;
use std::sync::Arc;

/// The actions that this version has.
pub(crate) const ACTIONS: [&str; 18] = [
    "latency",
    "hang",
    "drop",
    "respond",
    "reroute",
    "bandwidth",
    "chunk",
    "truncate",
    "endless",
    "corrupt",
    "limit",
    "freeze",
    "capacity",
    "serialize",
    "connections",
    "rewrite",
    "stale",
    "duplicate",
];

/// Reads one fault.
pub(crate) fn read(table: &Reader<'_>, around: &Surroundings, problems: &mut Problems) -> Option<FaultRule> {
    let ground = ground(table, problems)?;
    let when = when::read(table, ground, around, problems);
    if ground == Ground::Services {
        let (services, deeds) = deed::read(table, around, problems);
        let rule = rule(table, Who::default(), when, problems)?;
        return Some(FaultRule { services, deeds, ..rule });
    }
    deed::not_here(table, problems);
    let edges = around.find(table, problems);
    let protocols: Vec<Protocol> = edges.iter().map(|(_, protocol)| *protocol).collect();
    let who = who::read(table, &protocols, problems);
    let actions = actions(table, &protocols, around, problems);
    for (key, action) in &actions {
        let misfit = edges.iter().find_map(|(index, protocol)| {
            Some((around.edges.get(*index)?.0.as_str(), action.as_apply().fits(*protocol).err()?))
        });
        if let Some((edge, reason)) = misfit {
            let (label, help) = reason.split_once(": ").unwrap_or((&reason, "leave it out"));
            problems.push(
                Problem::error(format!("`{key}` does not fit edge `{edge}`"))
                    .at(table.place_of(key))
                    .label(label)
                    .help(help),
            );
        }
        if action.refuses() {
            refuse(table, problems);
        } else if action.as_apply().at_accept() {
            at_accept(table, key, problems);
        }
    }
    if !ACTIONS.into_iter().chain(DEEDS).any(|key| table.has(key))
        && !table.entries().iter().any(|entry| entry.node.broken)
    {
        problems.push(
            Problem::error("this fault does nothing")
                .at(table.place)
                .label("no action")
                .help(format!("add at least one of {}", all_of(ACTIONS))),
        );
    }
    Some(FaultRule {
        edges: edges.into_iter().map(|(index, _)| index).collect(),
        actions: actions.into_iter().map(|(_, action)| action).collect(),
        ..rule(table, who, when, problems)?
    })
}

/// Whether it is on edges or on services.
fn ground(table: &Reader<'_>, problems: &mut Problems) -> Option<Ground> {
    match (table.has("edge"), table.has("service")) {
        (true, false) => Some(Ground::Edges),
        (false, true) => Some(Ground::Services),
        (true, true) => {
            problems.push(
                Problem::error("a fault is on edges or on services")
                    .at(table.key_place("service"))
                    .label("which of them?")
                    .related(table.key_place("edge"), "the other")
                    .help("make two faults of it"),
            );
            None
        }
        (false, false) => {
            let ground = match DEEDS.into_iter().any(|key| table.has(key)) {
                true => Ground::Services,
                false => Ground::Edges,
            };
            let (key, example) = match ground {
                Ground::Services => ("service", "payments"),
                Ground::Edges => ("edge", "provider"),
            };
            if !table.misspelt("edge") && !table.misspelt("service") {
                let help = format!("add `{key} = \"{example}\"`");
                problems.push(missing("[[fault]]", key, table.place).help(help));
            }
            Some(ground)
        }
    }
}

/// What faults of all kinds have.
fn rule(table: &Reader<'_>, who: Who, when: When, problems: &Problems) -> Option<FaultRule> {
    Some(FaultRule {
        name: table.parsed("name")?,
        edges: Vec::new(),
        services: Vec::new(),
        who,
        when,
        armed: table.flag_or_default("armed"),
        ttl: table.text("ttl").and_then(|text| match text {
            "forever" => Some(Ttl::Forever),
            _ => text.parse::<Span>().ok().map(|span| Ttl::For(span.0)),
        }),
        optional: table.flag_or_default("optional"),
        actions: Vec::new(),
        deeds: Vec::new(),
        line: problems.line_column(table.place).0,
    })
}

/// The actions in the order in which the file has them: the first that takes an exchange wins.
fn actions(
    table: &Reader<'_>,
    protocols: &[Protocol],
    around: &Surroundings,
    problems: &mut Problems,
) -> Vec<(&'static str, Fault)> {
    let all = [
        ("latency", latency(table, around, problems).map(Fault::Latency)),
        ("hang", hang(table, protocols, problems).map(Fault::Hang)),
        ("drop", cut(table, problems).map(Fault::Drop)),
        ("respond", respond(table, problems).map(Fault::Respond)),
        ("reroute", reroute(table, problems).map(Fault::Reroute)),
        ("bandwidth", bytes::bandwidth(table, problems).map(Fault::Bandwidth)),
        ("chunk", bytes::chunk(table, around, problems).map(Fault::Chunk)),
        ("truncate", bytes::truncate(table, problems).map(Fault::Truncate)),
        ("endless", bytes::endless(table).map(Fault::Endless)),
        ("corrupt", bytes::corrupt(table, problems).map(Fault::Corrupt)),
        ("rewrite", content::rewrite(table, problems).map(Fault::Rewrite)),
        ("stale", content::stale(table, problems).map(Fault::Stale)),
        ("duplicate", content::duplicate(table, problems).map(Fault::Duplicate)),
    ];
    let all = all.into_iter().chain(super::gates::read(table, protocols, problems));
    let mut actions: Vec<_> = all.filter_map(|(key, action)| Some((key, action?))).collect();
    actions.sort_by_key(|(key, _)| {
        let place = table.key_place(key);
        (place.source, place.start)
    });
    actions
}

fn latency(table: &Reader<'_>, around: &Surroundings, problems: &mut Problems) -> Option<Latency> {
    let latency = match table.duration("latency") {
        Some(time) => Latency { before: Some(decision::Distribution::fixed(time)), ..Latency::default() },
        None => {
            let t = table.inner("latency")?;
            let apart = ["before", "after", "chunk"].into_iter().find(|key| t.has(key));
            match apart {
                Some(key) if law::has_law(&t) || t.has("max") => {
                    problems.push(
                        Problem::error(format!("`{key}` stands beside a law for the whole"))
                            .at(t.key_place(key))
                            .label("one or the other")
                            .help(format!(
                                "put the law under it: `latency = {{ {key} = {{ uniform = … }} }}`"
                            )),
                    );
                    return None;
                }
                Some(_) => Latency {
                    before: law::read(&t, "before", &around.folder, problems),
                    after: law::read(&t, "after", &around.folder, problems),
                    chunk: law::read(&t, "chunk", &around.folder, problems),
                },
                None => {
                    Latency { before: Some(law::law(&t, &around.folder, problems)?), ..Latency::default() }
                }
            }
        }
    };
    let all = [&latency.before, &latency.after, &latency.chunk];
    if all.into_iter().flatten().all(law::is_nothing) && all.into_iter().any(Option::is_some) {
        problems.push(
            Problem::error("a latency of nothing")
                .at(table.place_of("latency"))
                .label("nobody would notice")
                .help("write a duration above zero, such as `\"300ms\"`"),
        );
    }
    Some(latency)
}

fn hang(table: &Reader<'_>, protocols: &[Protocol], problems: &mut Problems) -> Option<Hang> {
    let usual = match protocols.contains(&Protocol::Tcp) {
        true => Then::Cut(Cut::Close),
        false => Then::Status(504),
    };
    let plain = |time| Hang { at: HangWhere::Request, hang: decision::Hang { time, then: usual } };
    match &table.node("hang")?.value {
        Value::Flag(true) => return Some(plain(None)),
        Value::Flag(false) => {
            problems.push(
                Problem::error("`hang = false` does nothing")
                    .at(table.place_of("hang"))
                    .label("no hang")
                    .help("take it out, or write `hang = true`"),
            );
            return None;
        }
        Value::Text(text) => return Some(plain(Some(text.parse::<Span>().ok()?.0))),
        _ => {}
    }
    let t = table.inner("hang")?;
    if t.has("then") && !t.has("for") {
        problems.push(
            Problem::error("`then` never comes")
                .at(t.key_place("then"))
                .label("there is no `for` after which it could")
                .help("add `for = \"20s\"`, or take `then` out"),
        );
    }
    let then = match (t.integer("then"), t.text("then")) {
        (Some(code), _) => Then::Status(u16::try_from(code).ok()?),
        (None, Some("close")) => Then::Cut(Cut::Close),
        (None, Some("reset")) => Then::Cut(Cut::Reset),
        (None, Some(code)) => Then::Status(code.parse().ok()?),
        (None, None) => usual,
    };
    let at = match t.text("at") {
        Some("headers") => HangWhere::Headers,
        Some("body") => HangWhere::Body,
        _ => HangWhere::Request,
    };
    if at == HangWhere::Body && t.has("then") && matches!(then, Then::Status(_)) {
        problems.push(
            Problem::error("a status cannot follow a head")
                .at(t.place_of("then"))
                .label("the status was sent before the body hung")
                .help("use `then = \"close\"` or `\"reset\"`"),
        );
        return None;
    }
    let then = match (at, then) {
        (HangWhere::Body, Then::Status(_)) => Then::Cut(Cut::Close),
        _ => then,
    };
    Some(Hang { at, hang: decision::Hang { time: t.duration("for"), then } })
}

fn cut(table: &Reader<'_>, problems: &mut Problems) -> Option<Drop> {
    let how = |text: &str| match text {
        "refuse" => How::Refuse,
        "close" => How::Close,
        "reset" => How::Reset,
        _ => How::Blackhole,
    };
    if let Some(text) = table.text("drop") {
        return Some(Drop { how: how(text), at: DropAt::Request });
    }
    let t = table.inner("drop")?;
    let times = ["at", "after_bytes", "after"];
    let mut written = times.into_iter().filter(|key| t.has(key));
    if let (Some(one), Some(other)) = (written.next(), written.next()) {
        problems.push(
            Problem::error(format!("`{other}` and `{one}` both say when to drop"))
                .at(t.key_place(other))
                .label("which of them?")
                .related(t.key_place(one), "the first")
                .help("keep one"),
        );
        return None;
    }
    let how = how(t.text("how")?);
    if how == How::Refuse
        && let Some(key) = times.into_iter().find(|key| t.has(key))
    {
        problems.push(
            Problem::error("`refuse` closes the listener: there is no connection yet")
                .at(t.key_place(key))
                .label(format!("`{key}` has no meaning here"))
                .help("take it out, or use `how = \"close\"` or `\"reset\"`"),
        );
        return None;
    }
    let at = match (t.text("at"), t.size("after_bytes"), t.duration("after")) {
        (Some("accept"), ..) => DropAt::Accept,
        (Some("headers"), ..) => DropAt::Headers,
        (_, Some(bytes), _) => DropAt::AfterBytes(bytes),
        (.., Some(time)) => DropAt::After(time),
        _ => DropAt::Request,
    };
    Some(Drop { how, at })
}

fn respond(table: &Reader<'_>, problems: &mut Problems) -> Option<Respond> {
    let (status, t) = match (table.integer("respond"), table.inner("respond")) {
        (Some(status), _) => (status, None),
        (None, t) => (t?.integer("status")?, t),
    };
    let status = u16::try_from(status).ok()?;
    let Some(t) = t else {
        let answer = Answer { status, headers: Vec::new(), body: Vec::new() };
        return Some(Respond { answer: Arc::new(answer), after_upstream: false });
    };
    super::traffic::framing(&t, problems);
    let body = t.text("body").unwrap_or_default();
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        problems.push(
            Problem::error(format!("an answer {status} has no body"))
                .at(t.place_of("body"))
                .label("would break the connection")
                .help("take it out, or use another status"),
        );
    }
    let fields = t.map("headers").into_iter();
    let headers =
        fields.flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)));
    let answer = Answer { status, headers: headers.collect(), body: body.as_bytes().to_vec() };
    Some(Respond { answer: Arc::new(answer), after_upstream: t.flag_or_default("after_upstream") })
}

fn reroute(table: &Reader<'_>, problems: &mut Problems) -> Option<Reroute> {
    let (upstreams, protocol) = super::edge::upstreams(&table.inner("reroute")?, "fault", problems)?;
    Some(Reroute { protocol, upstreams: upstreams.into() })
}

/// `refuse` closes the listener itself, so it cannot choose.
fn refuse(table: &Reader<'_>, problems: &mut Problems) {
    let choosers = ["match", "except", "percent", "sticky", "first", "after", "every", "max"];
    for key in choosers.into_iter().filter(|key| table.has(key)) {
        let all = match key {
            "match" => table.text("match") == Some("all"),
            "percent" => table.percent("percent").is_none_or(|percent| percent.get() >= 100.0),
            _ => false,
        };
        if !all {
            problems.push(
                Problem::error(format!("`refuse` cannot choose, so `{key}` has no meaning"))
                    .at(table.key_place(key))
                    .label("the listener is closed for everybody")
                    .related(table.place_of("drop"), "refuses")
                    .help(format!(
                        "take `{key}` out and write `match = \"all\"`; or use `how = \"reset\"`, which can choose"
                    )),
            );
        }
    }
}

/// What is decided at accept sees only the peer.
fn at_accept(table: &Reader<'_>, action: &'static str, problems: &mut Problems) {
    // `drop` may also come later; `connections` may not
    let or_later = |words: String| match action {
        "drop" => format!("{words}, or `at = \"request\"`"),
        _ => words,
    };
    for key in ["match", "except"] {
        let Some(inner) = table.inner(key) else { continue };
        for entry in inner.entries().iter().filter(|entry| entry.key != "peer" && !entry.node.broken) {
            problems.push(
                Problem::error(format!("`{}` is not known at `accept`", entry.key))
                    .at(entry.key_place)
                    .label("no request has been read yet")
                    .related(table.place_of(action), "strikes at `accept`")
                    .help(or_later(format!("use only `{key}.peer`"))),
            );
        }
    }
    if !matches!(table.text("sticky"), None | Some("peer" | "connection")) {
        problems.push(
            Problem::error("no request is known at `accept`")
                .at(table.place_of("sticky"))
                .label("only the peer and the connection are")
                .help(or_later("use `sticky = \"peer\"` or `\"connection\"`".into())),
        );
    }
}
