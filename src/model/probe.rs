//! Probes: what Brownout asks by itself, and what must come back.

use super::around::{Surroundings, places};
use super::fill;
use super::keys::regex;
use super::reader::Reader;
use super::supervised::{command, only_one, scalar};
use super::{Ask, HttpAsk, Probe, edge};
use crate::decision::Protocol;
use crate::problem::{Place, Problem, Problems};

/// What a probe asks.
pub(crate) const ASKS: [&str; 3] = ["http", "tcp", "command"];

/// What is said of probes beside.
pub(crate) const MANNERS: [&str; 4] = ["every", "timeout", "tolerate", "max_exposure"];

/// Reads the probe of an expectation that has one.
pub(crate) fn read(table: &Reader<'_>, around: &Surroundings, problems: &mut Problems) -> Option<Probe> {
    let ask = match only_one(table, &ASKS, "what the probe asks", problems)? {
        "http" => Ask::Http(Box::new(http(table, around, problems)?)),
        "tcp" => {
            no_edge(table, "tcp", problems);
            let at = table.text("tcp")?;
            speaks(at, Protocol::Tcp, around, table.place_of("tcp"), problems);
            Ask::Tcp(at.to_owned())
        }
        _ => {
            no_edge(table, "command", problems);
            Ask::Command(command(table, "command", problems)?)
        }
    };
    Some(Probe {
        ask,
        every: table.duration_or_default("every"),
        timeout: table.duration_or_default("timeout"),
        tolerate_unreachable: table.text("tolerate").is_some(),
        max_exposure: table.duration_or_default("max_exposure"),
    })
}

fn no_edge(table: &Reader<'_>, key: &str, problems: &mut Problems) {
    if table.has("edge") {
        let name = table.text("edge").unwrap_or("NAME");
        problems.push(
            Problem::error(format!("`edge` has no meaning beside `{key}`"))
                .at(table.key_place("edge"))
                .label("only `http` asks through an edge")
                .help(format!("write its address where it is needed: `${{edge.{name}}}`")),
        );
    }
}

/// Refuses the address of an edge that speaks another protocol.
pub(crate) fn speaks(
    text: &str,
    protocol: Protocol,
    around: &Surroundings,
    place: Place,
    problems: &mut Problems,
) {
    for name in fill::names(text) {
        let known = around.edges.iter().find(|(edge, _)| edge == name).and_then(|(_, protocol)| *protocol);
        let (label, help) = match (known, protocol) {
            (Some(Protocol::Http), Protocol::Tcp) => {
                ("is filled in with a URL", "use `http` instead of `tcp`")
            }
            (Some(Protocol::Tcp), Protocol::Http) => {
                ("is filled in with host:port", "use `tcp` instead of `http`")
            }
            _ => continue,
        };
        problems.push(
            Problem::error(format!("edge `{name}` speaks another protocol"))
                .at(place)
                .label(label)
                .help(help),
        );
    }
}

fn http(table: &Reader<'_>, around: &Surroundings, problems: &mut Problems) -> Option<HttpAsk> {
    let plain = |edge, url: &str| HttpAsk {
        edge,
        url: url.to_owned(),
        method: "GET".to_owned(),
        headers: Vec::new(),
        status: Vec::new(),
        text: None,
        json: Vec::new(),
    };
    if let Some(url) = table.text("http") {
        speaks(url, Protocol::Http, around, table.place_of("http"), problems);
        no_edge(table, "http = \"URL\"", problems);
        return Some(plain(None, url));
    }
    let t = table.inner("http")?;
    let asked = match only_one(&t, &["path", "url"], "what the probe asks for", problems)? {
        "url" => {
            let url = t.text("url")?;
            speaks(url, Protocol::Http, around, t.place_of("url"), problems);
            for place in [&t, table].into_iter().filter(|t| t.has("edge")).map(|t| t.key_place("edge")) {
                problems.push(
                    Problem::error("`edge` has no meaning beside `url`")
                        .at(place)
                        .label("the URL says where to ask")
                        .help("take it out, or write `path` instead of `url`"),
                );
            }
            plain(None, url)
        }
        _ => plain(Some(through(table, &t, around, problems)?), t.text("path")?),
    };
    if t.has("json") && t.has("method") && t.text("method").is_some_and(|m| m.eq_ignore_ascii_case("HEAD")) {
        problems.push(
            Problem::error("an answer to HEAD has no body")
                .at(t.key_place("json"))
                .label("there is nothing to look at")
                .help("use another `method`"),
        );
    }
    let json = t.node("json").and_then(|node| node.as_tree());
    Some(HttpAsk {
        method: t.text_or_default("method").to_ascii_uppercase(),
        headers: t.pairs("headers"),
        status: t.many("status").iter().filter_map(edge::status).collect(),
        text: t.text("text").and_then(regex),
        json: json.map_or_else(Vec::new, |tree| {
            let entries = tree.entries.iter().filter(|entry| !entry.node.broken);
            entries.filter_map(|entry| Some((entry.key.clone(), scalar(&entry.node)?))).collect()
        }),
        ..asked
    })
}

/// The edge through which a path is asked for: of the table, or of the expectation.
fn through(
    table: &Reader<'_>,
    inner: &Reader<'_>,
    around: &Surroundings,
    problems: &mut Problems,
) -> Option<usize> {
    if let (Some(one), Some(other)) = (inner.text("edge"), table.text("edge"))
        && one != other
    {
        problems.push(
            Problem::error("two edges for one probe")
                .at(inner.place_of("edge"))
                .label("which of them?")
                .related(table.place_of("edge"), "the other")
                .help("keep one"),
        );
        return None;
    }
    let from = if inner.has("edge") { inner } else { table };
    if !from.has("edge") {
        problems.push(
            Problem::error("the edge of this probe is missing")
                .at(inner.place_of("path"))
                .label("a path is asked for through an edge")
                .help("add `edge = \"NAME\"`, or write the whole `url`"),
        );
        return None;
    }
    let names: Vec<&str> = around.edges.iter().map(|(edge, _)| edge.as_str()).collect();
    let nodes = if names.is_empty() { &[][..] } else { from.many("edge") };
    let (place, _) = places("edge", nodes, &names, problems).first().copied()?;
    if around.edges.get(place)?.1? == Protocol::Tcp {
        problems.push(
            Problem::error("a tcp edge answers no HTTP request")
                .at(from.place_of("edge"))
                .label("its upstream is `tcp://`")
                .help("probe it with `tcp = \"${edge.NAME}\"`, or name an edge whose upstream is `http://`"),
        );
        return None;
    }
    Some(place)
}

/// What a probe is called without a name: what it asks, without a query.
pub(crate) fn name(table: &Reader<'_>, probe: &Probe) -> String {
    let plain = |url: &str| url.split(['?', '#']).next().unwrap_or_default().to_owned();
    match &probe.ask {
        Ask::Http(ask) => {
            let edge = table.inner("http").and_then(|t| t.text("edge")).or_else(|| table.text("edge"));
            let what = plain(&ask.url);
            let rest = what.strip_prefix("http://").unwrap_or(&what);
            match edge {
                Some(edge) => format!("{edge}: {} {rest}", ask.method),
                None => format!("{} {rest}", ask.method),
            }
        }
        Ask::Tcp(at) => format!("tcp {at}"),
        Ask::Command(words) => {
            let program = words.first().map_or("", |word| word.rsplit('/').next().unwrap_or(word));
            format!("command {program}")
        }
    }
}
