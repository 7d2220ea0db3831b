//! `[load]`: what Brownout sends itself.

use super::around::Surroundings;
use super::reader::Reader;
use super::{Load, LoadRequest, Phases};
use crate::decision::Protocol;
use crate::problem::{Problem, Problems, nearest};
use crate::units::{Rate, Span};

/// Reads the load.
pub(crate) fn read(
    table: &Reader<'_>,
    around: &Surroundings,
    phases: &Phases,
    problems: &mut Problems,
) -> Option<Load> {
    let edge = around.find(table, problems).first().copied();
    if let Some((_, Protocol::Tcp)) = edge {
        problems.push(
            Problem::error("load cannot be sent to a tcp edge")
                .at(table.place_of("edge"))
                .label("`[load]` speaks HTTP")
                .help("make its upstream `http://`, or bring your own load: `brownout run FILE -- COMMAND`"),
        );
    }
    if table.has("request") && table.has("requests") {
        problems.push(
            Problem::error("`request` and `requests` both say what is sent")
                .at(table.key_place("requests"))
                .label("which of them?")
                .related(table.key_place("request"), "the first")
                .help("keep one"),
        );
    }
    let requests = match (table.inner("request"), table.tables("requests")) {
        (Some(one), _) => vec![request(&one, problems)],
        (None, all) if !all.is_empty() => all.iter().map(|one| request(one, problems)).collect(),
        _ => vec![request(&table.inner_or_empty("request"), problems)],
    };
    let rate: Rate = table.parsed("rate")?;
    enough(table, rate, phases, problems);
    Some(Load {
        edge: edge?.0,
        rate,
        requests,
        timeout: table.duration_or_default("timeout"),
        max_in_flight: table.count_or_default("max_in_flight"),
    })
}

/// Every phase sees some of the load, and not more than a machine can send.
fn enough(table: &Reader<'_>, rate: Rate, phases: &Phases, problems: &mut Problems) {
    let all = [("baseline", phases.baseline), ("fault", phases.fault), ("recovery", phases.recovery)];
    let scarce = all
        .into_iter()
        .find(|(_, time)| !time.is_zero() && time.as_secs_f64() * phases.time_scale * rate.get() < 1.0);
    if let Some((phase, time)) = scarce {
        problems.push(
            Problem::error("a load without traffic")
                .at(table.place_of("rate"))
                .label(format!("less than one request in the {phase} phase of {}", Span(time)))
                .help("raise the rate, or make the phase longer"),
        );
    }
    if rate.get() > 100_000.0 {
        problems.push(
            Problem::error("more load than can be sent")
                .at(table.place_of("rate"))
                .label("at most 100000/s")
                .help("lower it; for more, bring your own load: `brownout run FILE -- COMMAND`"),
        );
    }
}

fn request(table: &Reader<'_>, problems: &mut Problems) -> LoadRequest {
    framing(table, problems);
    for key in ["path", "body"] {
        if let Some(text) = table.text(key) {
            known(text, table.place_of(key), problems);
        }
    }
    let mut headers = Vec::new();
    for (name, values) in table.map("headers") {
        for value in values {
            known(&value, table.place_of("headers"), problems);
            headers.push((name.clone(), value));
        }
    }
    LoadRequest {
        method: table.text_or_default("method").to_ascii_uppercase(),
        path: table.text_or_default("path").to_owned(),
        headers,
        body: table.text_or_default("body").to_owned(),
        weight: table.count_or_default("weight"),
    }
}

/// Only `${n}` and `${uuid}` are filled in; another is probably a slip.
fn known(text: &str, place: crate::problem::Place, problems: &mut Problems) {
    let references = text.split("${").skip(1).filter_map(|rest| rest.split_once('}'));
    for (name, _) in references.filter(|(name, _)| !matches!(*name, "n" | "uuid")) {
        let help = match nearest(name, ["n", "uuid"]) {
            Some(near) if name.len() > 1 => format!("did you mean `${{{near}}}`?"),
            _ => "only `${n}`, `${uuid}` and `${env.NAME}` are".into(),
        };
        problems.push(
            Problem::warning(format!("`${{{}}}` is not filled in", name.escape_debug()))
                .at(place)
                .label("sent as it stands")
                .help(help),
        );
    }
}

/// Header fields that frame a message are ours.
pub(crate) fn framing(table: &Reader<'_>, problems: &mut Problems) {
    const OURS: [&str; 8] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let Some(headers) = table.node("headers").and_then(super::tree::Node::as_tree) else { return };
    for (n, entry) in headers.entries.iter().enumerate() {
        if OURS.contains(&entry.key.to_ascii_lowercase().as_str()) {
            problems.push(
                Problem::error(format!("`{}` cannot be set", entry.key))
                    .at(entry.key_place)
                    .label("it frames the message, and Brownout does that")
                    .help("take it out"),
            );
        }
        let before = headers.entries.iter().take(n);
        if let Some(other) = before.into_iter().find(|other| other.key.eq_ignore_ascii_case(&entry.key)) {
            problems.push(
                Problem::error(format!("`{}` is there twice", entry.key))
                    .at(entry.key_place)
                    .label("upper and lower case are the same")
                    .related(other.key_place, "the first")
                    .help("keep one"),
            );
        }
    }
}
