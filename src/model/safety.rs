//! What makes a whole file unsafe or pointless, though each part of it is right.

use super::edge::Placed;
use super::keys::address;
use super::loops::{Way, way_back};
use super::reader::Reader;
use super::{
    Deed, EnvApply, Experiment, FaultRule, On, Phase, ProcessDeed, ProcessWhat, RestartWhen, Service,
};
use crate::fault::Fault;
use crate::problem::{Place, Problem, Problems};
use std::net::SocketAddr;

/// Words that name production in a host name or an environment.
const PRODUCTION: [&str; 3] = ["prod", "production", "live"];

/// Variables of the environment that say where we are.
const ENVIRONMENTS: [&str; 3] = ["ENVIRONMENT", "APP_ENV", "DEPLOY_ENV"];

/// Refuses a listener that other machines can reach, unless that is meant.
pub(crate) fn exposed(table: &Reader<'_>, problems: &mut Problems) {
    let Some(listen) = table.text("listen").and_then(|text| address(text).ok()) else { return };
    if listen.ip().is_loopback() || table.flag("expose") == Some(true) {
        return;
    }
    problems.push(
        Problem::error("this edge can be reached from other machines")
            .at(table.place_of("listen"))
            .label(match listen.ip().is_unspecified() {
                true => "listens on all addresses",
                false => "is not a loopback address",
            })
            .help(format!(
                "listen on `127.0.0.1:{}`, or add `expose = true` if this is meant",
                listen.port()
            )),
    );
}

/// Refuses edges that collide, and edges that forward to themselves.
pub(crate) fn listeners(edges: &[Placed], problems: &mut Problems) {
    for (n, placed) in edges.iter().enumerate() {
        let edge = &placed.edge;
        let before = edges.iter().take(n);
        if let Some(other) = before.into_iter().find(|other| collide(other.edge.listen, edge.listen)) {
            problems.push(
                Problem::error(format!(
                    "edges `{}` and `{}` listen on one address",
                    other.edge.name, edge.name
                ))
                .at(placed.listen)
                .label("taken")
                .related(other.listen, format!("by `{}`", other.edge.name))
                .help("give each its own port; port 0 lets the system pick one"),
            );
        }
    }
    let ways = ways(edges);
    for n in 0..edges.len() {
        if let Some(path) =
            way_back(n, edges.iter().skip(n).take(1).flat_map(|placed| &placed.edge.upstreams), &ways)
        {
            // Every edge of a loop is on it: say it once.
            if path.iter().min() != Some(&n) {
                continue;
            }
            let names = names(&path, edges);
            let (Some(placed), Some(first)) = (edges.get(n), names.first()) else { continue };
            let label = match names.len() {
                1 => "this is where the edge itself listens".to_owned(),
                _ => format!("leads back: {} → {first}", names.join(" → ")),
            };
            problems.push(
                Problem::error(format!("edge {first} forwards to itself"))
                    .at(placed.upstream)
                    .label(label)
                    .related(placed.listen, "listens here")
                    .help("name the address of the service behind it"),
            );
        }
    }
}

fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let anywhere =
        |a: SocketAddr, b: SocketAddr| a.ip().is_unspecified() && (a.is_ipv4() == b.is_ipv4() || a.is_ipv6());
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || anywhere(one, other) || anywhere(other, one))
}

/// Refuses faults that lead an edge back to itself.
pub(crate) fn reroutes(faults: &[(&FaultRule, Place)], edges: &[Placed], problems: &mut Problems) {
    let mut ways = ways(edges);
    for (rule, _) in faults {
        for (edge, upstream) in rule.edges.iter().flat_map(|edge| rule.elsewhere().map(move |to| (edge, to)))
        {
            ways.get_mut(*edge).into_iter().for_each(|way| way.to.push(upstream));
        }
    }
    for (rule, place) in faults {
        let back = rule.edges.iter().find_map(|edge| way_back(*edge, rule.elsewhere(), &ways));
        let Some(back) = back else { continue };
        let names = names(&back, edges);
        let (Some(first), Some(placed)) = (names.first(), back.first().and_then(|n| edges.get(*n))) else {
            continue;
        };
        problems.push(
            Problem::error(format!("`{}` leads edge {first} back to itself", rule.name))
                .at(*place)
                .label(match names.len() {
                    1 => "this is where the edge itself listens".to_owned(),
                    _ => format!("leads back: {} → {first}", names.join(" → ")),
                })
                .related(placed.listen, "listens here")
                .help("name the address of another service"),
        );
    }
}

fn ways(edges: &[Placed]) -> Vec<Way<'_>> {
    edges
        .iter()
        .map(|placed| Way { listen: placed.edge.listen, to: placed.edge.upstreams.iter().collect() })
        .collect()
}

fn names(back: &[usize], edges: &[Placed]) -> Vec<String> {
    back.iter().filter_map(|n| edges.get(*n)).map(|placed| format!("`{}`", placed.edge.name)).collect()
}

/// Refuses an upstream that is named like production.
pub(crate) fn production(table: &Reader<'_>, help: &'static str, problems: &mut Problems) {
    for node in table.many("upstream") {
        let Some((upstream, _)) = node.as_text().and_then(|text| super::edge::upstream(text).ok()) else {
            continue;
        };
        if let Some(word) = production_word(&upstream.host) {
            problems.push(
                Problem::error("this upstream looks like production")
                    .at(node.place)
                    .label(format!("`{word}` is in its name"))
                    .help(help),
            );
        }
    }
}

/// What to do about an upstream that is named like production.
pub(crate) const IN_A_FILE: &str =
    "point it at a test system, or write `allow_production = true` under `[run]` if this is meant";
/// The same for a fault that is not in a file.
pub(crate) const BY_HAND: &str = "point it at a test system, or arm by its name a fault of a file that says `allow_production = true` under `[run]`";

/// Refuses what Brownout itself would ask of production, or do to it: probes, and hooks. What the services of the file are given
/// is their own matter: they run on this machine.
pub(crate) fn asked(expects: &[Reader<'_>], faults: &[Reader<'_>], problems: &mut Problems) {
    for table in expects {
        let inner = table.inner("http");
        let url = inner.as_ref().map_or(table.node("http"), |inner| inner.node("url"));
        for node in [url, table.node("tcp")].into_iter().flatten() {
            let text = node.as_text().unwrap_or_default();
            let rest = text.strip_prefix("http://").unwrap_or(text);
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
            // An edge's name is not a host.
            if let Some(word) = production_word(host).filter(|_| !host.starts_with("${")) {
                problems.push(
                    Problem::error("this probe looks at production")
                        .at(node.place)
                        .label(format!("`{word}` is in its name"))
                        .help(IN_A_FILE),
                );
            }
        }
    }
    for hook in faults.iter().filter_map(|table| table.inner("hook")) {
        for node in ["apply", "undo"].into_iter().flat_map(|key| hook.many(key)) {
            let text = node.as_text().unwrap_or_default();
            // `NAME=production` is a value that a test system is given; `--context=production` is a place.
            let named = !text.contains('=') || text.starts_with('-');
            if let Some(word) = production_word(text).filter(|_| named) {
                problems.push(
                    Problem::error("this hook looks like production")
                        .at(node.place)
                        .label(format!("`{word}` is in this word"))
                        .help(IN_A_FILE),
                );
            }
        }
    }
}

/// Refuses an environment that is named like production.
pub(crate) fn environment(env: super::overrides::Lookup<'_>, problems: &mut Problems) {
    for name in ENVIRONMENTS {
        if let Some(word) = env(name).as_deref().and_then(production_word) {
            problems.push(
                Problem::error("this environment looks like production")
                    .label(format!("`{word}` in the environment variable `{name}`"))
                    .help(
                        "run it elsewhere, or write `allow_production = true` under `[run]` if this is meant",
                    ),
            );
        }
    }
}

/// The word of a host name or environment that names production, if there is one.
fn production_word(text: &str) -> Option<&'static str> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    let lower = text.to_lowercase();
    let words =
        lower.split(|c: char| !c.is_alphanumeric()).map(|w| w.trim_end_matches(|c: char| c.is_numeric()));
    words.into_iter().find_map(|word| PRODUCTION.into_iter().find(|known| *known == word))
}

/// Warns of what would teach nothing.
pub(crate) fn pointless(experiment: &Experiment, places: &Places, problems: &mut Problems) {
    if experiment.faults.is_empty() {
        if experiment.expects.iter().any(|expectation| matches!(expectation.on, On::Probe(_))) {
            return;
        }
        problems.push(
            Problem::warning("there is no fault")
                .label("nothing will go wrong, so the run shows only how the system does by itself")
                .help("add a `[[fault]]`"),
        );
        return;
    }
    if experiment.faults.iter().all(|fault| !fault.armed) {
        problems.push(
            Problem::warning("no fault is armed by the run")
                .label("all of them say `armed = false` and wait for the API")
                .help("take `armed = false` out of one, unless this is meant"),
        );
    }
    if experiment.expects.is_empty() {
        problems.push(
            Problem::warning("there is no expectation")
                .label("the run can show what happens, but nothing can fail")
                .help("add an `[[expect]]` on the edge at which users would notice"),
        );
    }
    if experiment.run.baseline.is_zero() && !experiment.expects.is_empty() {
        problems.push(
            Problem::warning("there is no baseline")
                .at(places.baseline)
                .label("nothing shows that the system was well before the faults")
                .help("set `baseline = \"10s\"` under `[run]`"),
        );
    }
    for (fault, place) in experiment.faults.iter().zip(&places.faults) {
        never_restarted(fault, *place, experiment, problems);
        if hides_behind_itself(fault, experiment) {
            problems.push(
                Problem::warning(format!("`{}` and every expectation stand on the same edge", fault.name))
                    .at(*place)
                    .label("its answers and cuts are left out of every judgement here, its delays count as the upstream's")
                    .help(
                        "expect something of an edge nearer to the users, judge the recovery, or say \
                         `include_injected = true`",
                    ),
            );
        }
    }
}

/// Warns of a drift that waits for a restart which never comes.
fn never_restarted(fault: &FaultRule, place: Place, experiment: &Experiment, problems: &mut Problems) {
    let waits = |deed: &Deed| matches!(deed, Deed::Env(swap) if swap.apply == EnvApply::NextRestart);
    if !fault.deeds.iter().any(waits) {
        return;
    }
    let again = |service: &Service| {
        service.restart.when != RestartWhen::Never
            || experiment.faults.iter().filter(|other| other.services.contains(&service.name)).any(|other| {
                other.deeds.iter().any(|deed| match deed {
                    Deed::Process(ProcessDeed { what, down, .. }) => {
                        *what == ProcessWhat::Restart || down.is_some()
                    }
                    Deed::Env(swap) => swap.apply == EnvApply::Restart,
                    Deed::Hook(_) => false,
                })
            })
    };
    for service in experiment.services.iter().filter(|one| fault.services.contains(&one.name) && !again(one))
    {
        problems.push(
            Problem::warning(format!("`{}` never takes hold of service `{}`", fault.name, service.name))
                .at(place)
                .label("waits for a restart, and nothing restarts the service")
                .help("give the service `restart = \"always\"`, restart it by a `process` fault, or write `apply = \"restart\"`"),
        );
    }
}

/// Whether nothing is expected anywhere that this fault could spread to.
fn hides_behind_itself(fault: &FaultRule, experiment: &Experiment) -> bool {
    let same = |edge: &usize| fault.edges.contains(edge);
    // What another upstream answers is judged like any other answer.
    let own = fault.actions.iter().any(|action| !matches!(action, Fault::Reroute(_)));
    own && !experiment.expects.is_empty()
        && !fault.edges.is_empty()
        && experiment.expects.iter().all(|e| {
            e.edge().is_some_and(|edge| same(&edge))
                && !e.include_injected
                && !e.phases.contains(&Phase::Recovery)
        })
}

/// Where things stand, for what is found out late.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// `run.baseline`.
    pub(crate) baseline: Place,
    /// The edge of each fault.
    pub(crate) faults: Vec<Place>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_production() {
        for host in
            ["prod", "db.prod.example.com", "payments-production", "LIVE.example.com", "prod1", "eu-prod-2.x"]
        {
            assert!(production_word(host).is_some(), "{host}");
        }
        for host in
            ["127.0.0.1", "product", "products.example.com", "delivery", "alive", "preprod", "non_produ"]
        {
            assert!(production_word(host).is_none(), "{host}");
        }
    }
}
