//! `brownout explain`: who would be struck, by the very code that decides, without opening a socket.

use super::loading::Flags;
use super::run::Format;
use crate::decision::{Action, Decision, Freeze, Lets, Protocol, Subject};
use crate::model::{Edge, Experiment};
use crate::plan::{Armed, Compiled, Plan, Stage};
use serde_json::json;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The arguments of `brownout explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The experiment file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What is asked: a method and a path
    #[arg(long, value_name = "'METHOD PATH'", default_value = "GET /")]
    pub request: String,
    /// A header field of the request; an `n` in braces in its value is the number of the request
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// How many requests
    #[arg(short, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub n: u64,
    /// The edge; without it, every edge of the file
    #[arg(long)]
    pub edge: Option<String>,
    /// How long after the faults were armed
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub at: crate::units::Span,
}

/// Shows it; 0, or 2 if the file is broken.
pub fn run(args: &Args, flags: &Flags, format: Format, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let Some(experiment) = flags.load(&args.file, true) else { return 2 };
    if let Some(name) = &args.edge
        && !experiment.edges.iter().any(|edge| edge.name.as_str() == name)
    {
        let _ = writeln!(err, "error: there is no edge `{name}` in {}", args.file.display());
        return 2;
    }
    match show(args, &experiment, flags.seed.or(experiment.seed).unwrap_or(0), format, out) {
        Ok(()) => 0,
        Err(_) => 5,
    }
}

fn show(
    args: &Args,
    experiment: &Experiment,
    seed: u64,
    format: Format,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut all = Vec::new();
    for (place, edge) in experiment.edges.iter().enumerate() {
        if args.edge.as_ref().is_some_and(|name| edge.name.as_str() != name) {
            continue;
        }
        let plan = plan(experiment, place, seed, args.at.0);
        let asked: Vec<Decision> = (1..=args.n)
            .map(|n| plan.decide(&Asked::new(args, edge, n), args.at.0, Stage::Exchange))
            .collect();
        if format == Format::Json {
            let rows: Vec<_> = asked
                .iter()
                .enumerate()
                .map(|(n, d)| json!({ "n": n + 1, "does": words(&plan, d) }))
                .collect();
            all.push(json!({ "edge": edge.name.as_str(), "requests": rows }));
            continue;
        }
        let struck = asked.iter().filter(|decision| !decision.is_clean()).count();
        writeln!(out, "edge `{}`, seed {seed}, {}: {struck} of {} struck", edge.name, args.request, args.n)?;
        if let Some(fault) = plan.refuses().and_then(|by| plan.fault(by)) {
            writeln!(out, "  `{}` closes the listener: nobody can connect", fault.name())?;
        }
        for (n, decision) in asked.iter().enumerate() {
            let does = words(&plan, decision);
            writeln!(
                out,
                "  {:>6}  {}",
                n + 1,
                if does.is_empty() { "–".to_owned() } else { does.join("; ") }
            )?;
        }
    }
    if format == Format::Json {
        let services: Vec<_> = on_services(experiment)
            .map(|(fault, services, does)| json!({ "fault": fault, "services": services, "does": does }))
            .collect();
        writeln!(out, "{:#}", json!({ "seed": seed, "edges": all, "services": services }))?;
        return Ok(());
    }
    for (fault, services, does) in on_services(experiment) {
        let services: Vec<String> = services.iter().map(|name| format!("`{name}`")).collect();
        let (on, does) = (services.join(", "), does.join(", "));
        writeln!(out, "fault `{fault}` is on {on} ({does}): it strikes no request")?;
    }
    Ok(())
}

/// The faults that are on services: each with their names, and what it does to them.
fn on_services(experiment: &Experiment) -> impl Iterator<Item = (&str, Vec<&str>, Vec<&'static str>)> {
    experiment.faults.iter().filter(|rule| rule.armed && !rule.deeds.is_empty()).map(|rule| {
        let services = rule.services.iter().map(crate::units::Name::as_str).collect();
        (rule.name.as_str(), services, rule.deeds.iter().map(crate::model::Deed::action).collect())
    })
}

/// The faults of an edge as they are this long after the fault phase began.
fn plan(experiment: &Experiment, edge: usize, seed: u64, at: Duration) -> Plan {
    let on = experiment.faults.iter().filter(|rule| rule.armed && rule.edges.contains(&edge));
    Plan::new(
        on.filter(|rule| crate::plan::timeline::read(&rule.when, at).on)
            .filter_map(|rule| {
                let protocols = [experiment.edges.get(edge)?.protocol];
                let compiled = Compiled::new(rule, seed, &protocols, 1.0, Arc::default()).ok()?;
                Some(Arc::new(Armed::new(Arc::new(compiled), Duration::ZERO)))
            })
            .collect(),
    )
}

/// What a gate does, in words; who is let through depends on the others.
fn gate_words(lets: &Lets) -> String {
    use crate::units::Span;
    match lets {
        Lets::Rate(rate) => {
            let per_second = crate::units::Rate::per_second(rate.per_second);
            let pass = per_second.map_or_else(String::new, |rate| rate.to_string());
            format!("passes a limit of {pass}, {} at once", rate.burst)
        }
        Lets::Thawed(Freeze { lasts, every: None }) => format!("freezes once for {}", Span(*lasts)),
        Lets::Thawed(Freeze { lasts, every: Some(every) }) => {
            format!("freezes for {} every {}", Span(*lasts), Span(*every))
        }
        Lets::Some(capacity) => format!("waits until fewer than {} are inside", capacity.max),
        Lets::One(_) => "waits until nobody is inside".into(),
    }
}

/// What a decision does, in words.
fn words(plan: &Plan, decision: &Decision) -> Vec<String> {
    let name = |by| plan.fault(by).map_or_else(String::new, |fault| fault.name().to_string());
    let span =
        |time: Duration| crate::units::Span(Duration::from_micros(time.as_micros() as u64)).to_string();
    let mut does = Vec::new();
    for gate in &decision.gates {
        does.push(format!("{}: {}", name(gate.by), gate_words(&gate.lets)));
    }
    for delay in &decision.delays {
        does.push(format!("{}: waits {}", name(delay.by), span(delay.time)));
    }
    match &decision.action {
        Action::Forward => {}
        Action::Reroute(by, to) => {
            let to: Vec<String> = to.iter().map(crate::decision::Upstream::authority).collect();
            does.push(format!("{}: goes to {}", name(*by), to.join(" or ")));
        }
        Action::Respond(by, answer) => does.push(format!("{}: answers {}", name(*by), answer.status)),
        Action::Hang(by, hang) => {
            let time = hang.time.map_or_else(|| "until healed".to_owned(), span);
            does.push(format!("{}: hangs {time}", name(*by)));
        }
        Action::Cut(by, cut) => does.push(format!("{}: cuts ({cut:?})", name(*by)).to_lowercase()),
        Action::Blackhole(by) => does.push(format!("{}: swallows it", name(*by))),
    }
    if let Some(content) = decision.content.as_deref() {
        does.extend(content.request.iter().map(|(by, _)| format!("{}: rewrites the request", name(*by))));
        if let Some((by, copies)) = content.copies {
            does.push(format!("{}: sends it {} times more", name(by), copies.times));
        }
        if let Some((by, _)) = content.older {
            does.push(format!("{}: gives an older answer, if one is known", name(by)));
        }
        does.extend(content.response.iter().map(|(by, _)| format!("{}: rewrites the answer", name(*by))));
    }
    for delay in &decision.after.delays {
        does.push(format!("{}: holds the answer back for {}", name(delay.by), span(delay.time)));
    }
    if let Some((by, answer)) = &decision.after.respond {
        does.push(format!("{}: answers {} after the upstream has executed it", name(*by), answer.status));
    }
    if let Some((by, at, _)) = &decision.after.hang {
        does.push(format!("{}: hangs before the {at:?}", name(*by)).to_lowercase());
    }
    if let Some((by, cut)) = &decision.after.cut {
        does.push(format!("{}: cuts ({cut:?}) instead of answering", name(*by)));
    }
    for shape in [&decision.down, &decision.up] {
        for piece in &shape.piece {
            does.push(format!("{}: waits before each piece", name(piece.by)));
        }
        if let Some((by, bytes, cut)) = shape.cut_bytes {
            does.push(format!("{}: cuts ({cut:?}) after {}", name(by), crate::units::Bytes(bytes)));
        }
        if let Some((by, time, cut)) = shape.cut_time {
            does.push(format!("{}: cuts ({cut:?}) after {}", name(by), span(time)));
        }
        if let Some(bytes) = &shape.bytes {
            does.extend(of_bytes(bytes, name));
        }
    }
    does
}

/// What is done to bytes, in words.
fn of_bytes(
    bytes: &crate::decision::Bytes,
    name: impl Fn(crate::decision::FaultRef) -> String,
) -> Vec<String> {
    use crate::decision::{End, Length};
    let size = |bytes: u64| crate::units::Bytes(bytes).to_string();
    let rates =
        bytes.rates.iter().map(|(by, rate)| format!("{}: lets {}/s through", name(*by), size(*rate as u64)));
    let pieces =
        bytes.pieces.iter().map(|one| format!("{}: sends pieces of {}", name(one.by), size(one.size)));
    let flips =
        bytes.flips.iter().map(|one| format!("{}: flips bits in {} of the bytes", name(one.by), one.share));
    let end = bytes.end.iter().map(|(by, end)| {
        let what = match end {
            End::Truncate(Length::Bytes(bytes), _) => format!("ends the answer after {}", size(*bytes)),
            End::Truncate(Length::Fraction(share), _) => {
                format!("ends the answer after {share} of its length")
            }
            End::Endless(rate) => format!("goes on for ever at {}/s", size(*rate as u64)),
            End::MalformedChunk => "sends a malformed chunk".into(),
            End::WrongLength => "announces a wrong length".into(),
            End::Garbage(_) => "sends garbage".into(),
        };
        format!("{}: {what}", name(*by))
    });
    rates.chain(pieces).chain(flips).chain(end).collect()
}

/// The n-th request that is asked about.
struct Asked<'a> {
    edge: &'a Edge,
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    headers: Vec<(String, String)>,
    n: u64,
}

impl<'a> Asked<'a> {
    fn new(args: &'a Args, edge: &'a Edge, n: u64) -> Self {
        let (method, target) = args.request.split_once(' ').unwrap_or(("GET", args.request.as_str()));
        let (path, query) = match target.trim().split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target.trim(), None),
        };
        let field = |line: &String| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.trim().to_owned(), value.trim().replace("%n", &n.to_string()))
        };
        Self { edge, method, path, query, headers: args.headers.iter().map(field).collect(), n }
    }
}

impl Subject for Asked<'_> {
    fn protocol(&self) -> Protocol {
        self.edge.protocol
    }
    fn method(&self) -> &str {
        self.method
    }
    fn path(&self) -> &str {
        self.path
    }
    fn query(&self) -> Option<&str> {
        self.query
    }
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_bytes())
    }
    fn host(&self) -> Option<&str> {
        self.header("host").and_then(|host| std::str::from_utf8(host).ok())
    }
    fn peer(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }
    fn connection(&self) -> u64 {
        self.n
    }
    fn body_size(&self) -> Option<u64> {
        Some(0)
    }
    fn upgrade(&self) -> Option<&[u8]> {
        self.header("upgrade")
    }
    fn is_health(&self) -> bool {
        self.edge.is_health(self.path)
    }
    fn caller(&self) -> Option<&[u8]> {
        self.edge.caller.as_deref().and_then(|name| self.header(name))
    }
    fn identity(&self) -> Option<&[u8]> {
        self.edge.identity.as_deref().and_then(|name| self.header(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn faults_on_services_strike_no_request() {
        let explained = |format| {
            let args = Args {
                file: "tests/golden/accepted/services.toml".into(),
                request: "GET /".into(),
                headers: Vec::new(),
                n: 3,
                edge: Some("provider".into()),
                at: "0s".parse().unwrap(),
            };
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let code = run(&args, &Flags::of(&[], &[], None), format, &mut out, &mut err);
            assert_eq!((code, err.as_slice()), (0, &[][..]));
            String::from_utf8(out).unwrap()
        };
        let text = explained(Format::Human);
        assert!(text.contains("0 of 3 struck"), "{text}");
        assert!(text.contains("fault `drift` is on `api` (env, process): it strikes no request"), "{text}");
        let json: Value = serde_json::from_str(&explained(Format::Json)).unwrap();
        let pause = json!({ "fault": "pause", "services": ["api", "db"], "does": ["process"] });
        assert_eq!(json["services"][1], pause);
    }
}
