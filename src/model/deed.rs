//! What a fault does to services: `env`, `process` and `hook`, and on which services they can be done.

use super::around::Surroundings;
use super::fault::ACTIONS;
use super::keys::signal;
use super::reader::Reader;
use super::supervised::{command, only_one};
use super::tree::Value;
use super::{Deed, EnvApply, EnvSwap, Hook, ProcessDeed, ProcessWhat, RestartWhen, Service};
use crate::problem::{Place, Problem, Problems, all_of};
use crate::units::Name;
use nix::sys::signal::Signal;

/// What can be done to services.
pub(crate) const DEEDS: [&str; 3] = ["env", "process", "hook"];

/// Keys that choose among exchanges, and what to use instead.
const CHOOSERS: [(&str, &str); 9] = [
    ("match", "take it out"),
    ("except", "take it out"),
    ("percent", "take it out; `schedule` and `at` say when"),
    ("sticky", "take it out"),
    ("first", "take it out; `process = { times = … }` says how often"),
    ("after", "take it out; `schedule = { from = … }` says when"),
    ("every", "take it out; `schedule = { every = … }` says how often"),
    ("max", "take it out; `process = { times = … }` says how often"),
    ("include_health", "take it out"),
];

/// Reads the services and what is done to them, in the order of the file.
pub(crate) fn read(
    table: &Reader<'_>,
    around: &Surroundings,
    problems: &mut Problems,
) -> (Vec<Name>, Vec<Deed>) {
    let services = around.services(table, problems);
    for (key, help) in CHOOSERS.into_iter().filter(|(key, _)| table.has(key)) {
        problems.push(
            Problem::error(format!("`{key}` has no meaning on a service"))
                .at(table.key_place(key))
                .label("a service is struck as a whole, not request by request")
                .help(help),
        );
    }
    for key in ACTIONS.into_iter().filter(|key| table.has(key)) {
        problems.push(
            Problem::error(format!("`{key}` strikes exchanges, not services"))
                .at(table.key_place(key))
                .label("this fault is on a service")
                .help("make a fault of its own on an `edge`; on a service there are `env`, `process` and `hook`"),
        );
    }
    let all = [
        ("env", env(table, problems).map(Deed::Env)),
        ("process", process(table, problems).map(Deed::Process)),
        ("hook", hook(table, around, problems).map(Deed::Hook)),
    ];
    let mut deeds: Vec<_> = all.into_iter().filter_map(|(key, deed)| Some((key, deed?))).collect();
    deeds.sort_by_key(|(key, _)| (table.key_place(key).source, table.key_place(key).start));
    if !DEEDS.into_iter().any(|key| table.has(key))
        && !ACTIONS.into_iter().any(|key| table.has(key))
        && !table.entries().iter().any(|entry| entry.node.broken)
    {
        problems.push(
            Problem::error("this fault does nothing")
                .at(table.place)
                .label("no action")
                .help(format!("add at least one of {}", all_of(DEEDS))),
        );
    }
    for (_, service, place) in &services {
        for (key, deed) in &deeds {
            fits(key, deed, service, (table.key_place(key), *place), problems);
        }
    }
    let names = services.into_iter().map(|(_, service, _)| service.name.clone()).collect();
    (names, deeds.into_iter().map(|(_, deed)| deed).collect())
}

/// Refuses deeds on an edge.
pub(crate) fn not_here(table: &Reader<'_>, problems: &mut Problems) {
    for key in DEEDS.into_iter().filter(|key| table.has(key)) {
        problems.push(
            Problem::error(format!("`{key}` is done to a service, not to an edge"))
                .at(table.key_place(key))
                .label("this fault is on an edge")
                .help("make a fault of its own with `service = \"NAME\"` instead of `edge`"),
        );
    }
}

/// Whether this can be done to this service, and would do something.
fn fits(key: &str, deed: &Deed, service: &Service, (at, named): (Place, Place), problems: &mut Problems) {
    let name = &service.name;
    if service.command.is_empty() && !matches!(deed, Deed::Hook(_)) {
        problems.push(
            Problem::error(format!("`{key}` cannot be done to service `{name}`"))
                .at(at)
                .label("it is external: Brownout does not start it")
                .related(named, "named here")
                .help("give the service a `command`, or use `hook = { apply = […], undo = […] }`"),
        );
        return;
    }
    match deed {
        Deed::Process(ProcessDeed { what: ProcessWhat::Kill(signal), down: None, .. })
            if service.restart.when == RestartWhen::Never && ends(*signal) =>
        {
            problems.push(
                Problem::warning(format!("service `{name}` stays down"))
                    .at(at)
                    .label("nothing starts it again before the fault ends")
                    .help(
                        "give the service `restart = \"always\"`, or say for how long: `down = \"30s\"`; unless this is meant",
                    ),
            );
        }
        Deed::Env(swap)
            if swap.unset.is_empty() && swap.set.iter().all(|pair| service.env.contains(pair)) =>
        {
            problems.push(
                Problem::warning(format!("this changes nothing of service `{name}`"))
                    .at(at)
                    .label("it has these values already")
                    .help("set another value"),
            );
        }
        _ => {}
    }
}

/// Whether a process that does nothing about it ends by this signal, as it is meant to.
fn ends(signal: Signal) -> bool {
    !matches!(
        signal,
        Signal::SIGHUP
            | Signal::SIGUSR1
            | Signal::SIGUSR2
            | Signal::SIGWINCH
            | Signal::SIGCHLD
            | Signal::SIGURG
    )
}

fn env(table: &Reader<'_>, problems: &mut Problems) -> Option<EnvSwap> {
    let t = table.inner("env")?;
    let (set, unset) = (t.pairs("set"), t.texts("unset"));
    if set.is_empty() && unset.is_empty() {
        if !t.entries().iter().any(|entry| entry.node.broken) {
            problems.push(
                Problem::error("this changes nothing of the environment")
                    .at(t.place)
                    .label("neither `set` nor `unset` names a variable")
                    .help("add `set = { NAME = \"value\" }` or `unset = [\"NAME\"]`"),
            );
        }
        return None;
    }
    for node in t.many("unset") {
        let Some(name) = node.as_text() else { continue };
        if let Some((name, _)) = set.iter().find(|(other, _)| other == name) {
            problems.push(
                Problem::error(format!("`{name}` is both set and unset"))
                    .at(node.place)
                    .label("taken out")
                    .related(t.place_of("set"), "and set here")
                    .help("take one of them out"),
            );
        }
    }
    let apply = match t.text_or_default("apply") {
        "next_restart" => EnvApply::NextRestart,
        _ => EnvApply::Restart,
    };
    let restarts = t.integer("restarts").and_then(|n| u32::try_from(n).ok());
    Some(EnvSwap { set, unset, apply, restarts })
}

fn process(table: &Reader<'_>, problems: &mut Problems) -> Option<ProcessDeed> {
    let t = table.inner("process")?;
    let what = match only_one(&t, &["kill", "pause", "restart"], "what is done to the process", problems)? {
        "kill" => ProcessWhat::Kill(signal(t.text("kill")?)?),
        "pause" => ProcessWhat::Pause(t.duration("pause")?),
        _ if matches!(t.node("restart")?.value, Value::Flag(false)) => {
            problems.push(
                Problem::error("`restart = false` does nothing")
                    .at(t.place_of("restart"))
                    .label("no restart")
                    .help("write `restart = true`, `kill = \"KILL\"` or `pause = \"700ms\"`"),
            );
            return None;
        }
        _ => ProcessWhat::Restart,
    };
    let stays_up = match what {
        ProcessWhat::Pause(_) => Some("`pause`"),
        ProcessWhat::Kill(signal) if !ends(signal) => Some("a signal that does not end it"),
        _ => None,
    };
    if let (Some(what), true) = (stays_up, t.has("down")) {
        problems.push(
            Problem::error(format!("`down` has no meaning beside {what}"))
                .at(t.key_place("down"))
                .label("the process does not end")
                .help("take it out, or use `kill = \"KILL\"`"),
        );
        return None;
    }
    let times = t.integer("times").and_then(|n| u32::try_from(n).ok());
    Some(ProcessDeed { what, down: t.duration("down"), times })
}

fn hook(table: &Reader<'_>, around: &Surroundings, problems: &mut Problems) -> Option<Hook> {
    let t = table.inner("hook")?;
    if around.folder.is_none() {
        problems.push(
            Problem::error("a fault that is armed by hand runs no commands")
                .at(table.key_place("hook"))
                .label("only a file may name commands")
                .help("write it into the experiment file, with `armed = false`, and arm it by its name"),
        );
        return None;
    }
    let (apply, undo) = (command(&t, "apply", problems), command(&t, "undo", problems));
    Some(Hook { apply: apply?, undo: undo?, within: t.duration_or_default("within") })
}
