//! `brownout serve FILE`: the edges of a file for as long as it lives, its faults armed, more through the API.
//!
//! A changed file is read again; a broken one keeps the old one in force and says why. Guardrails are judged all the time.

use super::loading::Flags;
use super::reload::{as_started, reload};
use super::run::Admin;
use super::stage::{self, Standing};
use super::wrong::Wrong;
use super::{ENVIRONMENT, USAGE, fail, in_runtime, signals};
use crate::api::{Course, DEFAULT_TTL, LONGEST_TTL};
use crate::control::{Owner, Refusal};
use crate::model::{Experiment, FaultRule, Guardrail, Ttl};
use crate::report::Exit;
use crate::run::guard::Guards;
use crate::run::progress::lived;
use crate::run::{Stage, Stop};
use crate::supervise::Failure;
use crate::telemetry::Event;
use anstream::eprintln;
use notify::RecursiveMode;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Interval, MissedTickBehavior};

/// How often guardrails and the halt file are looked at.
const BEAT: Duration = Duration::from_millis(50);
/// How often the supervisor is asked what has failed.
const ASK: Duration = Duration::from_secs(1);
/// Changes of a file that come this close together are one.
const SETTLED: Duration = Duration::from_millis(200);

/// The arguments of `brownout serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The experiment file; its phases, load and expectations are left aside
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub(super) flags: Flags,
    #[command(flatten)]
    pub(super) live: Live,
}

/// What every long-lived command is told.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "While it serves")]
pub struct Live {
    /// The admin address, or `none`
    #[arg(long, value_name = "ADDR", env = "BROWNOUT_ADMIN")]
    admin: Option<String>,
    /// Another name by which the admin address may be called
    #[arg(long, value_name = "NAME")]
    admin_host: Vec<String>,
    /// The state folder: what must be put back stands in it, and a file `halt` in it heals everything
    #[arg(long, value_name = "DIR", env = "BROWNOUT_STATE", default_value = ".brownout")]
    state: PathBuf,
    /// Say only what goes wrong
    #[arg(short, long)]
    quiet: bool,
}

/// Serves until it is told to stop.
pub fn main(args: &Args) -> u8 {
    let Some(experiment) = args.flags.load(&args.file, args.live.quiet) else { return USAGE };
    let lives = |rule: &FaultRule| life(rule, LONGEST_TTL);
    live(&args.live, &experiment, args.flags.seed, lives, Some((&args.file, &args.flags)))
}

/// How long a fault lasts that nobody gave an end: the default, unless the file says.
pub(super) fn life(rule: &FaultRule, default: Duration) -> Option<Duration> {
    match rule.ttl {
        Some(Ttl::For(time)) => Some(time),
        Some(Ttl::Forever) => None,
        None => Some(default.max(DEFAULT_TTL)),
    }
}

/// Stands, arms, and stays until a signal comes.
pub(super) fn live(
    live: &Live,
    experiment: &Experiment,
    seed: Option<u64>,
    lives: impl Fn(&FaultRule) -> Option<Duration>,
    file: Option<(&Path, &Flags)>,
) -> u8 {
    let admin = match live.admin.as_deref() {
        None => Admin::Default,
        Some("none") => Admin::None,
        Some(text) => match text.parse() {
            Ok(address) => Admin::At(address),
            Err(_) => return fail(USAGE, &format!("`{text}` is not an address, such as 127.0.0.1:8475")),
        },
    };
    let seed = seed.or(experiment.seed).unwrap_or_else(super::run::draw);
    let hosts = live.admin_host.clone();
    if let Err(code) = super::restore::first(&live.state) {
        return code;
    }
    let ours = experiment.services.iter().filter(|service| service.is_ours());
    let course = Course::Serve(ours.map(|service| service.name.to_string()).collect());
    let standing = match stage::stand(experiment, seed, admin, hosts, &live.state, course) {
        Ok(standing) => standing,
        Err(error) => return fail(error.exit.code(), &error.text),
    };
    // what serves has no phases that could be scaled: its schedules and restart delays are as the file says
    if let Err(error) = standing.supervise(experiment, 1.0) {
        let _ = standing.close();
        return fail(error.exit.code(), &error.text);
    }
    let standing = Arc::new(standing);
    in_runtime(async {
        let mut told = Told::new()?;
        // so that `touch` works when it has to
        let _ = std::fs::create_dir_all(&live.state);
        standing.control.watch_halt_file(live.state.join("halt"));
        let code = match up(&standing, experiment, &lives, &mut told).await {
            Ok(true) => {
                if !live.quiet {
                    hello(&standing, seed, &lives, experiment);
                }
                attend(&standing, live, experiment, &lives, file, &mut told).await
            }
            Ok(false) => 0,
            Err(failed) => fail(failed.exit, &failed.text),
        };
        Ok(tokio::select! {
            code = down(&standing, code) => code,
            // a second signal does not wait for anybody; the keeper puts back what is left
            stop = told.stops.recv() => std::process::exit(if stop == Some(Stop::Interrupt) { 130 } else { 143 }),
        })
    })
}

/// Callers first, and then the services that they are in the middle of; the exit code.
async fn down(standing: &Arc<Standing>, code: u8) -> u8 {
    let mut exits = vec![Exit::of(code)];
    let stopping = standing.clone();
    let _ = spawn_blocking(move || stopping.stop()).await;
    if !standing.is_unsupervised() {
        for failure in standing.put_down().await {
            let exit = Exit::of(fail(failure.exit, &failure.text));
            // a deed that failed meanwhile is no reason to leave as one who failed
            exits.extend(Some(exit).filter(|exit| matches!(exit, Exit::NotRestored | Exit::Bug)));
        }
    } else if code != Exit::Bug.code() {
        exits.push(Exit::of(unsupervised()));
    }
    let closing = standing.clone();
    if let Ok(Err(text)) = spawn_blocking(move || closing.close()).await {
        exits.push(Exit::of(fail(Exit::NotRestored.code(), &text)));
    }
    Exit::weightiest(exits).code()
}

fn unsupervised() -> u8 {
    fail(
        Exit::Bug.code(),
        "the supervisor of the services has died, which is a bug of ours: they are ended, and the keeper undoes the rest",
    )
}

/// What the system tells; from when this is made, no signal ends Brownout by itself.
struct Told {
    stops: mpsc::Receiver<Stop>,
    hangup: Signal,
    halt: Signal,
}

impl Told {
    fn new() -> std::io::Result<Self> {
        Ok(Self { stops: signals::stops()?, hangup: signals::reload()?, halt: signals::halt()? })
    }
}

/// The kill switch, by signal.
fn halt(standing: &Standing) {
    standing.control.halt();
    eprintln!("SIGUSR1: everything is healed and stays so until `brownout halt --lift`");
}

/// The kill switch, by file.
fn halt_if_told(standing: &Standing) {
    if let Some(file) = standing.control.halts_by_file() {
        standing.control.halt();
        eprintln!(
            "{} is there: everything is healed and stays so until `brownout halt --lift`",
            file.display()
        );
    }
}

fn beat() -> Interval {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    beat
}

/// Brings the services up, and arms the faults; `false` if it is told to stop meanwhile. What is halted stays unarmed.
async fn up(
    standing: &Standing,
    experiment: &Experiment,
    lives: &impl Fn(&FaultRule) -> Option<Duration>,
    told: &mut Told,
) -> Result<bool, Failure> {
    let (mut bringing, mut beat) = (standing.bring_up(), beat());
    loop {
        tokio::select! {
            up = &mut bringing => break up?,
            _ = told.stops.recv() => return Ok(false),
            _ = told.halt.recv() => halt(standing),
            _ = beat.tick() => halt_if_told(standing),
        }
    }
    halt_if_told(standing);
    for rule in experiment.faults.iter().filter(|rule| rule.armed && experiment.skips(rule).is_none()) {
        let armed = standing
            .filled(rule)
            .and_then(|filled| standing.control.arm(filled, Owner::File, lives(rule), 1.0));
        match armed {
            Ok(()) => {}
            Err(Refusal::Halted) => {
                eprintln!(
                    "the faults of the file are not armed, because everything is halted: `brownout halt --lift`, and then \
                     `brownout fault arm NAME`"
                );
                break;
            }
            Err(refusal) => {
                let text = format!("fault `{}` cannot be armed: {refusal}", rule.name);
                return Err(Failure { exit: USAGE, text });
            }
        }
    }
    Ok(true)
}

fn hello(
    standing: &Standing,
    seed: u64,
    lives: &impl Fn(&FaultRule) -> Option<Duration>,
    experiment: &Experiment,
) {
    for edge in standing.control.edges() {
        eprintln!("edge {}: {} → {}", edge.name, edge.listen, edge.upstreams.join(", "));
    }
    let faults = standing.control.faults();
    for rule in &experiment.faults {
        if let Some(why) = experiment.skips(rule) {
            eprintln!("fault {}: skipped: {why}", rule.name);
            continue;
        }
        let armed = faults.iter().any(|fault| fault.armed && fault.name == rule.name.as_str());
        match (armed, lives(rule)) {
            (false, _) => {
                eprintln!("fault {}: not armed (`brownout fault arm \"{}\"`)", rule.name, rule.name)
            }
            (true, Some(time)) => {
                eprintln!("fault {}: armed, heals in {}", rule.name, crate::units::Span(time))
            }
            (true, None) => eprintln!("fault {}: armed until healed", rule.name),
        }
    }
    if let Some(admin) = standing.admin {
        eprintln!("admin: http://{admin}   seed: {seed}");
    }
}

/// Everything that can happen meanwhile; the exit code.
async fn attend(
    standing: &Standing,
    live: &Live,
    experiment: &Experiment,
    lives: &impl Fn(&FaultRule) -> Option<Duration>,
    file: Option<(&Path, &Flags)>,
    told: &mut Told,
) -> u8 {
    let mut events = standing.telemetry.subscribe_to_windows();
    let mut guards = watch_rails(standing, &experiment.guardrails);
    let started = as_started(standing, experiment);
    let mut text = file.and_then(|(path, _)| std::fs::read(path).ok()).unwrap_or_default();
    let (changed, mut changes) = mpsc::channel(1);
    let _watcher = file.and_then(|(path, _)| watch(path, changed));
    let (mut beat, mut wrong) = (beat(), Wrong::default());
    let mut ask = tokio::time::interval(ASK);
    loop {
        tokio::select! {
            stop = told.stops.recv() => {
                if !live.quiet {
                    eprintln!("{}: healed; what is under way is let end (again: leaves at once)", stop.map_or("", |stop| stop.as_str()));
                }
                return Exit::Passed.code();
            }
            _ = told.hangup.recv() => guards = reload(standing, live.quiet, lives, file, &started).unwrap_or(guards),
            // reading a file is an event of its folder too: only other words are another file
            Some(()) = changes.recv() => if let Some(now) = file.and_then(|(path, _)| std::fs::read(path).ok()) && now != text {
                text = now;
                guards = reload(standing, live.quiet, lives, file, &started).unwrap_or(guards);
            },
            _ = told.halt.recv() => halt(standing),
            Some(event) = events.recv() => {
                match &event.event {
                    Event::Window(window) => guards.take(event.t, window),
                    Event::Armed { fault, owner, .. } if !live.quiet => eprintln!("armed: {fault} (by {owner})"),
                    Event::Service { service, incarnation, did } if !live.quiet => {
                        if let Some(line) = lived(service, *incarnation, did) {
                            eprintln!("{line}");
                        }
                    }
                    Event::Deed { done: false, fault, service, text, .. }
                    | Event::Undone { done: false, fault, service, text, .. } => {
                        let explained = wrong.explained(standing.failures().await);
                        let lines = explained.into_iter().chain(wrong.told(fault, service, text));
                        lines.for_each(|line| eprintln!("error: {line}"));
                    }
                    Event::Healed { fault, why, matched, hits, .. } if !live.quiet => {
                        eprintln!("healed: {fault} ({why}; {matched} matched, {hits} hit)");
                    }
                    _ => {}
                }
            }
            _ = ask.tick() => {
                let explained = wrong.explained(standing.failures().await);
                explained.into_iter().for_each(|line| eprintln!("error: {line}"));
            }
            _ = beat.tick() => {
                if standing.is_unsupervised() {
                    return unsupervised();
                }
                halt_if_told(standing);
                if let Some(breach) = guards.look(standing.now()) {
                    standing.control.heal_all(None, "guardrail");
                    eprintln!("guardrail `{}`: {} is {:.4}: everything is healed", breach.name, breach.key, breach.observed);
                    standing.publish(Event::Guardrail { name: breach.name, key: breach.key, observed: breach.observed });
                    guards = Guards::new(&rails(&guards), standing.now());
                }
            }
        }
    }
}

fn rails(guards: &Guards) -> Vec<Guardrail> {
    guards.rules().cloned().collect()
}

pub(super) fn watch_rails(standing: &Standing, rules: &[Guardrail]) -> Guards {
    let edges = standing.control.edges();
    let rules: Vec<Guardrail> = rules
        .iter()
        .map(|rule| {
            standing.telemetry.guardrail_known(&rule.name);
            // windows number edges as they first came, the file as they stand in it
            let edge = edges.get(rule.edge).map_or(usize::MAX, |edge| usize::from(edge.id));
            Guardrail { edge, ..rule.clone() }
        })
        .collect();
    Guards::new(&rules, standing.now())
}

/// Tells when a file has changed. The folder is watched: editors replace files.
fn watch(path: &Path, changed: mpsc::Sender<()>) -> Option<impl Sized + use<>> {
    let path = std::path::absolute(path).ok()?;
    let (folder, name) = (path.parent()?.to_owned(), path.file_name()?.to_owned());
    let tell = move |events: notify_debouncer_mini::DebounceEventResult| {
        let ours = |event: &notify_debouncer_mini::DebouncedEvent| event.path.file_name() == Some(&name);
        if events.is_ok_and(|events| events.iter().any(ours)) {
            let _ = changed.try_send(());
        }
    };
    let watching = notify_debouncer_mini::new_debouncer(SETTLED, tell).and_then(|mut debouncer| {
        debouncer.watcher().watch(&folder, RecursiveMode::NonRecursive)?;
        Ok(debouncer)
    });
    match watching {
        Ok(debouncer) => Some(debouncer),
        Err(error) => {
            let _ = fail(
                ENVIRONMENT,
                &format!("changes of the file are not seen ({error}): send SIGHUP instead"),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Overrides, parse};
    use crate::supervise::Supervisor;

    #[tokio::test]
    async fn a_dead_supervisor_is_noticed() {
        let file = "name = \"t\"\n[[edge]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nupstream = \"http://127.0.0.1:9\"\n";
        let overrides = Overrides::default();
        let experiment =
            parse(file, Path::new("t.toml"), &overrides).map_err(|p| p.render(false)).unwrap().experiment;
        let state = tempfile::tempdir().unwrap();
        let course = Course::Serve(Vec::new());
        let standing = stage::stand(&experiment, 7, Admin::None, Vec::new(), state.path(), course).unwrap();
        let standing = Arc::new(standing);
        let (supervisor, orders) = Supervisor::handle(Vec::new());
        standing.supervised_by(supervisor);
        drop(orders);
        let live = Live { admin: None, admin_host: Vec::new(), state: state.path().to_owned(), quiet: true };
        let mut told = Told::new().unwrap();
        let code = attend(&standing, &live, &experiment, &|_| None, None, &mut told).await;
        assert_eq!(code, 70);
        assert_eq!(down(&standing, code).await, 70);
        assert_eq!(down(&standing, 0).await, 70, "also if it died at the last moment");
    }
}
