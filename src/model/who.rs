//! Whom a fault strikes: `match`, `except`, the numbers and `sticky`.

use super::keys::{Wrong, network, size_bounds};
use super::reader::Reader;
use super::{Match, Sticky, Who};
use crate::decision::Protocol;
use crate::problem::{Problem, Problems, nearest, one_of};
use crate::units::Percent;

/// Reads whom a fault strikes. `edges` are the protocols of its edges.
pub(crate) fn read(table: &Reader<'_>, protocols: &[Protocol], problems: &mut Problems) -> Who {
    let who = Who {
        matches: matcher(table, "match", protocols, problems),
        except: matcher(table, "except", protocols, problems),
        percent: table.percent("percent").unwrap_or(Percent::ALL),
        sticky: table.text("sticky").and_then(|text| sticky(text).ok()),
        first: table.integer("first"),
        after: table.integer_or_default("after"),
        every: table.integer_or_default("every"),
        max: table.integer("max"),
        include_health: table.flag_or_default("include_health"),
    };
    let bounds = ["match", "percent", "sticky", "first", "max"];
    if !bounds.into_iter().any(|key| table.has(key)) {
        problems.push(
            Problem::error("nothing bounds this fault")
                .at(table.place)
                .label("it would strike every exchange of its edge")
                .help(
                    "bound it with `match`, `percent`, `sticky`, `first` or `max`; or, if that is meant, write \
                     `match = \"all\"`",
                ),
        );
    }
    if who.percent.get() == 0.0 {
        problems.push(
            Problem::warning("this fault strikes nobody")
                .at(table.place_of("percent"))
                .label("0 % of what matches")
                .help("raise it, or write `armed = false` to keep the fault for later"),
        );
    }
    check_sticky(table, &who, protocols, problems);
    who
}

fn check_sticky(table: &Reader<'_>, who: &Who, protocols: &[Protocol], problems: &mut Problems) {
    let Some(sticky) = &who.sticky else { return };
    let place = table.place_of("sticky");
    let knows_requests = !matches!(sticky, Sticky::Peer | Sticky::Connection | Sticky::Caller);
    if knows_requests && protocols.contains(&Protocol::Tcp) {
        problems.push(
            Problem::error("a tcp edge knows no requests to stick to")
                .at(place)
                .label("this needs HTTP")
                .help("use `sticky = \"peer\"` or `\"connection\"`"),
        );
    }
    if let Sticky::PathSegment(name) = sticky {
        let braces = format!("{{{name}}}");
        let has = |path: &String| path.split('/').any(|segment| segment == braces);
        if !who.matches.as_ref().is_some_and(|m| !m.path.is_empty() && m.path.iter().all(has)) {
            problems.push(
                Problem::error(format!("`{name}` is not a segment of `match.path`"))
                    .at(place)
                    .label(format!("there is no `{braces}` to take the value from"))
                    .help(format!("name it there: `match = {{ path = \"/users/{braces}/**\" }}`")),
            );
        }
    }
}

/// A matcher; `None` for `"all"`, if it is absent, or if it says nothing.
fn matcher(
    table: &Reader<'_>,
    key: &'static str,
    protocols: &[Protocol],
    problems: &mut Problems,
) -> Option<Match> {
    let inner = table.inner(key)?;
    if inner.entries().is_empty() {
        problems.push(
            Problem::error(format!("`{key}` is empty")).at(inner.place).label("says nothing").help(
                match key {
                    "match" => "say what to match; or, if everything is meant, write `match = \"all\"`",
                    _ => "say what to spare, or take it out",
                },
            ),
        );
        return None;
    }
    if protocols.contains(&Protocol::Tcp) {
        for entry in inner.entries().iter().filter(|entry| entry.key != "peer" && !entry.node.broken) {
            problems.push(
                Problem::error(format!("`{}` cannot be seen on a tcp edge", entry.key))
                    .at(entry.key_place)
                    .label("a connection of which only the peer is known")
                    .help("use `peer`, or make a fault of its own for the tcp edge"),
            );
        }
    }
    let body_size = body_size(&inner, problems);
    Some(Match {
        method: inner.texts("method").iter().map(|method| method.to_ascii_uppercase()).collect(),
        path: inner.texts("path"),
        query: inner.map("query"),
        headers: inner.map("headers").into_iter().map(|(name, v)| (name.to_ascii_lowercase(), v)).collect(),
        host: inner.texts("host").iter().map(|host| host.to_ascii_lowercase()).collect(),
        peer: inner.texts("peer").iter().filter_map(|text| network(text)).collect(),
        caller: inner.texts("caller"),
        body_size,
        upgrade: inner.texts("upgrade").iter().map(|name| name.to_ascii_lowercase()).collect(),
    })
}

fn body_size(table: &Reader<'_>, problems: &mut Problems) -> Option<(u64, u64)> {
    if let Some(text) = table.text("body_size") {
        return size_bounds(text).ok();
    }
    let inner = table.inner("body_size")?;
    let (min, max) = (inner.size("min").unwrap_or(0), inner.size("max").unwrap_or(u64::MAX));
    if min > max {
        problems.push(
            Problem::error("no body has this size")
                .at(inner.place_of("min"))
                .label("`min` is above `max`")
                .help("exchange them"),
        );
        return None;
    }
    Some((min, max))
}

/// `"caller"`, `"header:x-user"`, `"path:id"` and the others.
pub(crate) fn sticky(text: &str) -> Result<Sticky, Wrong> {
    const WORDS: [&str; 7] =
        ["identity", "caller", "peer", "connection", "path", "header:NAME", "path:SEGMENT"];
    let wrong = |label: String, help: String| Err(Wrong { label, help: Some(help) });
    match text.split_once(':') {
        Some(("header", name)) => match http::HeaderName::from_bytes(name.trim().as_bytes()) {
            Ok(name) => Ok(Sticky::Header(name.as_str().to_owned())),
            Err(_) => wrong(
                format!("`{name}` cannot be the name of a header field"),
                "write `\"header:x-user\"`".into(),
            ),
        },
        Some(("path", name)) if !name.is_empty() && !name.contains(['/', '{', '}']) => {
            Ok(Sticky::PathSegment(name.to_owned()))
        }
        Some(("path", _)) => wrong(
            "the name of the segment is missing".into(),
            "write `\"path:id\"`, with `{id}` in `match.path`".into(),
        ),
        _ => match text {
            "identity" => Ok(Sticky::Identity),
            "caller" => Ok(Sticky::Caller),
            "peer" => Ok(Sticky::Peer),
            "connection" => Ok(Sticky::Connection),
            "path" => Ok(Sticky::Path),
            _ => wrong(
                format!("`{text}` does not say what makes one victim"),
                match nearest(text, WORDS) {
                    Some(near) => format!("did you mean `\"{near}\"`?"),
                    None => format!("write {}", one_of(WORDS)),
                },
            ),
        },
    }
}
