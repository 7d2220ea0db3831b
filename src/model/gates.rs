//! Gates: `limit`, `freeze`, `capacity`, `serialize` and `connections`, read and held against each other.

use super::keys::sqlstate;
use super::reader::Reader;
use super::who;
use crate::decision::{self, Cut, Full, Protocol, Rate, Sticky, Then};
use crate::fault::{Capacity, Connections, Fault, Freeze, Limit, Serialize};
use crate::problem::{Problem, Problems};
use crate::units;

/// The gates of a fault, by their keys.
pub(super) fn read(
    table: &Reader<'_>,
    protocols: &[Protocol],
    problems: &mut Problems,
) -> [(&'static str, Option<Fault>); 5] {
    [
        ("limit", limit(table).map(Fault::Limit)),
        ("freeze", freeze(table, problems).map(Fault::Freeze)),
        ("capacity", capacity(table, protocols).map(Fault::Capacity)),
        ("serialize", serialize(table, problems).map(Fault::Serialize)),
        ("connections", connections(table, problems).map(Fault::Connections)),
    ]
}

fn limit(table: &Reader<'_>) -> Option<Limit> {
    let t = table.inner("limit")?;
    let per_second = t.parsed::<units::Rate>("rate")?.get();
    // a cast keeps within its type
    let second = (per_second.ceil() as u32).clamp(1, 1_000_000);
    let burst = t.integer("burst").and_then(|burst| u32::try_from(burst).ok()).unwrap_or(second);
    Some(Limit { rate: Rate { per_second, burst } })
}

fn freeze(table: &Reader<'_>, problems: &mut Problems) -> Option<Freeze> {
    let t = table.inner("freeze")?;
    let (lasts, every) = (t.duration("for")?, t.duration("every"));
    if every.is_some_and(|every| every <= lasts) {
        problems.push(
            Problem::error("this freeze never thaws")
                .at(t.place_of("every"))
                .label("the next begins before this one is over")
                .related(t.place_of("for"), "lasts as long or longer")
                .help("make `every` longer than `for`; for silence without an end there is `hang = true`"),
        );
        return None;
    }
    Some(Freeze { freeze: decision::Freeze { lasts, every } })
}

fn capacity(table: &Reader<'_>, protocols: &[Protocol]) -> Option<Capacity> {
    let t = table.inner("capacity")?;
    let usual = match protocols.contains(&Protocol::Tcp) {
        true => Then::Cut(Cut::Close),
        false => Then::Status(503),
    };
    let then = match (t.integer("then"), t.text("then")) {
        (Some(code), _) => Then::Status(u16::try_from(code).ok()?),
        (None, Some("close")) => Then::Cut(Cut::Close),
        (None, Some("reset")) => Then::Cut(Cut::Reset),
        (None, Some(code)) => Then::Status(code.parse().ok()?),
        (None, None) => usual,
    };
    let capacity = decision::Capacity {
        max: u32::try_from(t.integer("max")?).ok()?,
        queue: t.integer("queue").and_then(|queue| u32::try_from(queue).ok()).unwrap_or(u32::MAX),
        wait: t.duration_or_default("wait"),
        then,
    };
    Some(Capacity { capacity })
}

fn serialize(table: &Reader<'_>, problems: &mut Problems) -> Option<Serialize> {
    let t = table.inner("serialize")?;
    let key = t.text("key").and_then(|text| who::sticky(text).ok());
    if let Some(Sticky::PathSegment(name)) = &key {
        let braces = format!("{{{name}}}");
        let paths = table.inner("match").map(|wanted| wanted.texts("path")).unwrap_or_default();
        let has = |path: &String| path.split('/').any(|segment| segment == braces);
        if paths.is_empty() || !paths.iter().all(has) {
            problems.push(
                Problem::error(format!("`{name}` is not a segment of `match.path`"))
                    .at(t.place_of("key"))
                    .label(format!("there is no `{braces}` to take the value from"))
                    .help(format!("name it there: `match = {{ path = \"/users/{braces}/**\" }}`")),
            );
            return None;
        }
    }
    Some(Serialize { key, hold: t.duration_or_default("hold") })
}

fn connections(table: &Reader<'_>, problems: &mut Problems) -> Option<Connections> {
    let t = table.inner("connections")?;
    let other = table
        .entries()
        .iter()
        .find(|entry| entry.key != "connections" && super::fault::ACTIONS.contains(&entry.key.as_str()));
    if let Some(other) = other {
        problems.push(
            Problem::error("`connections` stands alone")
                .at(other.key_place)
                .label(format!("`{}` is about what is in a connection", other.key))
                .related(table.key_place("connections"), "is about connections")
                .help("make two faults of it"),
        );
        return None;
    }
    let then = match t.text_or_default("then") {
        "refuse" => Full::Refuse,
        "reset" => Full::Reset,
        "close" => Full::Close,
        text => Full::Postgres(sqlstate(text.strip_prefix("postgres:")?)?),
    };
    let max = u32::try_from(t.integer("max")?).ok()?;
    Some(Connections { max, then, leak: t.flag_or_default("leak") })
}
