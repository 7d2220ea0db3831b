//! The two ends of `brownout fault`: flags as the table that a file would have, and answers as a user reads them.

use super::client::Failed;
use super::fault::Command;
use crate::control::FaultStatus;
use crate::units::Span;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The keys of a new fault, as a `[[fault]]` has them.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "A new fault")]
pub struct New {
    /// Where; may be given several times.
    #[arg(long)]
    pub edge: Vec<String>,
    /// Its name; made from what it does if left out.
    #[arg(long)]
    pub name: Option<String>,
    /// Waits before the upstream is called, such as `200ms`.
    #[arg(long, value_name = "TIME")]
    pub latency: Option<String>,
    /// Never answers, or not for this time.
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "")]
    pub hang: Option<String>,
    /// Cuts the connection: `refuse`, `close`, `reset` or `blackhole`.
    #[arg(long, value_name = "HOW")]
    pub drop: Option<String>,
    /// Answers with this status instead of the upstream.
    #[arg(long, value_name = "STATUS")]
    pub respond: Option<u16>,
    /// Goes to this upstream instead.
    #[arg(long, value_name = "URL")]
    pub reroute: Option<String>,
    /// Of matching requests; any fraction.
    #[arg(long)]
    pub percent: Option<f64>,
    /// Only requests with this method.
    #[arg(long)]
    pub method: Option<String>,
    /// Only requests whose path is like this glob.
    #[arg(long, value_name = "GLOB")]
    pub path: Option<String>,
    /// The same victim every time: `caller`, `peer`, `connection`, `identity` …
    #[arg(long, value_name = "KEY")]
    pub sticky: Option<String>,
    /// Only the first so many matching requests.
    #[arg(long, value_name = "N")]
    pub first: Option<u64>,
    /// At most so many.
    #[arg(long, value_name = "N")]
    pub max: Option<u64>,
    /// Strikes everything on the edge, and means it.
    #[arg(long, conflicts_with_all = ["method", "path"])]
    pub all: bool,
}

impl New {
    /// Whether it names something to be done.
    pub(crate) fn does_something(&self) -> bool {
        self.latency.is_some()
            || self.hang.is_some()
            || self.drop.is_some()
            || self.respond.is_some()
            || self.reroute.is_some()
    }
}

/// The fault as JSON, with the keys of a `[[fault]]`.
pub(crate) fn table(new: &New, ttl: Option<&str>) -> Result<Value, Failed> {
    let hang = new.hang.as_deref().map(|time| if time.is_empty() { json!(true) } else { json!(time) });
    let actions: Vec<(&str, Value)> = [
        ("latency", new.latency.as_ref().map(|time| json!(time))),
        ("hang", hang),
        ("drop", new.drop.as_ref().map(|how| json!(how))),
        ("respond", new.respond.map(|status| json!(status))),
        ("reroute", new.reroute.as_ref().map(|url| json!({ "upstream": url }))),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .collect();
    if actions.is_empty() {
        return Err(Failed::Usage(
            "the fault does nothing: add `--latency 200ms`, `--hang`, `--drop reset` or `--respond 503`"
                .into(),
        ));
    }
    let keys: Vec<&str> = actions.iter().map(|(key, _)| *key).collect();
    let name: String = format!("{} on {}", keys.join(" and "), new.edge.join(" and "));
    let name =
        new.name.clone().unwrap_or_else(|| name.chars().take(64).collect::<String>().trim_end().to_owned());
    let mut matches = Map::new();
    matches.extend(new.method.iter().map(|method| ("method".to_owned(), json!(method))));
    matches.extend(new.path.iter().map(|path| ("path".to_owned(), json!(path))));
    let matches = match (matches.is_empty(), new.all) {
        (false, _) => Some(Value::Object(matches)),
        (true, true) => Some(json!("all")),
        (true, false) => None,
    };
    let rest = [
        ("match", matches),
        ("percent", new.percent.map(|percent| json!(percent))),
        ("sticky", new.sticky.as_ref().map(|key| json!(key))),
        ("first", new.first.map(|n| json!(n))),
        ("max", new.max.map(|n| json!(n))),
        ("ttl", ttl.map(|ttl| json!(ttl))),
    ];
    let mut table = Map::new();
    table.insert("name".into(), json!(name));
    table.insert("edge".into(), if let [edge] = &new.edge[..] { json!(edge) } else { json!(new.edge) });
    table.extend(actions.into_iter().map(|(key, value)| (key.to_owned(), value)));
    table.extend(rest.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    if table.keys().all(|key| !["match", "percent", "sticky", "first", "max"].contains(&key.as_str())) {
        return Err(Failed::Usage(
            "the fault strikes everything on its edge: bound it with `--percent`, `--path`, `--first` …, or write \
             `--all` if that is meant"
                .into(),
        ));
    }
    Ok(Value::Object(table))
}

/// An answer as a user reads it.
pub(crate) fn show(command: &Command, answer: &Value) -> String {
    let one: Option<FaultStatus> = serde_json::from_value(answer.clone()).ok();
    match (command, one) {
        (Command::List, _) => list(answer),
        (Command::Arm(_), Some(fault)) => {
            format!("`{}` is armed on {}; it ends {}", fault.name, fault.places().join(", "), ends(&fault))
        }
        (Command::Arm(_), None) => "armed".into(),
        (Command::Heal { name: Some(name), .. }, Some(fault)) => {
            let did = match fault.services.is_empty() {
                true => format!("{} of {} exchanges were struck", fault.hits, fault.matched),
                false => format!("{} of {} times it was carried out", fault.hits, fault.matched),
            };
            format!("`{name}` is healed: {did}")
        }
        (Command::Heal { name: Some(name), .. }, None) => format!("`{name}` is healed"),
        (Command::Heal { .. }, _) => {
            let healed: Vec<&str> =
                answer["healed"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if healed.is_empty() {
                "no fault was armed".into()
            } else {
                format!("healed: {}", healed.join(", "))
            }
        }
    }
}

fn list(answer: &Value) -> String {
    let faults: Vec<FaultStatus> = serde_json::from_value(answer["faults"].clone()).unwrap_or_default();
    let mut text = String::new();
    if answer["halted"] == true {
        text.push_str("everything is halted: `brownout halt --lift` lets faults be armed again\n");
    }
    if faults.is_empty() {
        return text + "there are no faults";
    }
    let head = ["FAULT", "WHERE", "DOES", "STATE", "BY", "HITS", "MATCHED", "ENDS"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(faults.iter().map(|fault| {
        let state = match (fault.active, fault.armed) {
            (true, _) => "active",
            (false, true) => "armed",
            (false, false) => "off",
        };
        let by = if fault.owner == "none" { "-" } else { &fault.owner };
        [
            fault.name.clone(),
            fault.places().join(","),
            fault.actions.join("+"),
            state.into(),
            by.into(),
            fault.hits.to_string(),
            fault.matched.to_string(),
            if fault.armed { ends(fault) } else { "-".into() },
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn ends(fault: &FaultStatus) -> String {
    match fault.ends_in {
        Some(seconds) if seconds >= 10.0 => {
            format!("in {}", Span(Duration::from_secs(seconds.round() as u64)))
        }
        Some(seconds) => {
            format!("in {}", Span(Duration::from_millis((seconds.max(0.0) * 1e3).round() as u64)))
        }
        None => "when healed".into(),
    }
}
