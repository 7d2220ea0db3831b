//! From a file to an experiment: parse, replace, hold against the keys, read, and look at the whole.
//!
//! All mistakes are reported together. Where one mistake would cause others, only the first is reported. This and the
//! rooms beside it are the only users of the TOML parser.

use super::around::Surroundings;
use super::keys::{EXPERIMENT, FAULT};
use super::overrides::Overrides;
use super::reader::Reader;
use super::safety::{self, Places};
use super::tree::{Planter, Tree, Value, json};
use super::{
    Experiment, FaultRule, Phases, Ports, Service, Source, conform, content, edge, expect, fault, fill,
    supervised, syntax, traffic,
};
use crate::decision::Protocol;
use crate::problem::{Place, Problem, Problems, Severity};
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

/// A file is no longer than this.
const MOST: u64 = 1 << 20;

/// So many tables of each kind a file may have; every edge is a listener on every worker, and edges are looked at in pairs.
const MOST_TABLES: [(&str, usize); 5] =
    [("service", 100), ("edge", 200), ("fault", 2000), ("expect", 1000), ("guardrail", 1000)];

/// An experiment without errors, and what is worth a look.
#[derive(Debug)]
pub struct Loaded {
    /// The experiment.
    pub experiment: Experiment,
    /// What is worth a look.
    pub warnings: Problems,
}

/// Reads a file.
///
/// # Errors
/// All its mistakes.
pub fn load(path: &Path, overrides: &Overrides<'_>) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    let whole = |label: String, help: &str| {
        let mut problems = Problems::new(&name, "");
        problems.push(Problem::error("this file cannot be read").label(label).help(help));
        problems
    };
    match std::fs::metadata(path) {
        Err(error) => return Err(whole(error.to_string(), "check its name and who may read it")),
        Ok(meta) if meta.is_dir() => return Err(whole("it is a folder".into(), "name a file in it")),
        Ok(meta) if meta.len() > MOST => {
            return Err(whole("it is longer than 1 MiB".into(), "an experiment is a small TOML file"));
        }
        Ok(_) => {}
    }
    let bytes = std::fs::read(path).map_err(|error| whole(error.to_string(), "check who may read it"))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count()
                + 1;
        whole(format!("line {line} is not UTF-8"), "save it as UTF-8")
    })?;
    parse(&text, path, overrides)
}

/// Reads the text of a file; `path` names it in messages, and files with samples are looked for beside it.
///
/// # Errors
/// All its mistakes.
pub fn parse(text: &str, path: &Path, overrides: &Overrides<'_>) -> Result<Loaded, Problems> {
    let mut problems = Problems::new(&path.display().to_string(), text);
    let filled = RefCell::new(Vec::new());
    let env = |name: &str| {
        let value = (overrides.env)(name);
        filled.borrow_mut().extend(value.clone().map(|value| (name.to_owned(), value)));
        value
    };
    let overrides = &Overrides { env: &env, ..overrides.clone() };
    let planter = Planter { source: 0, offset: 0, env: overrides.env, ports: &overrides.ports };
    let (mut tree, holes) = syntax::read(text, &planter, &mut problems);
    let replaced = super::overrides::apply(&mut tree, overrides, &mut problems);
    let mut used = std::mem::take(&mut *filled.borrow_mut());
    used.sort_unstable();
    used.dedup();
    let mut found = problems.clone_texts();
    let mut experiment = read(&mut tree, text, path, (overrides, &replaced), &mut found);
    if let Some(source) = experiment.as_mut().and_then(|experiment| Arc::get_mut(&mut experiment.source)) {
        source.filled = used;
    }
    problems.take_unless(found, |problem| holes.explains(problem));
    match experiment {
        Some(experiment) if !problems.is_fatal() => Ok(Loaded { experiment, warnings: problems }),
        _ => {
            debug_assert!(problems.is_fatal(), "no experiment, and nobody said why");
            if !problems.is_fatal() {
                problems.push(Problem::error("this file cannot be used").help("please report this as a bug"));
            }
            Err(problems)
        }
    }
}

fn read(
    tree: &mut Tree,
    text: &str,
    path: &Path,
    (overrides, replaced): (&Overrides<'_>, &[usize]),
    problems: &mut Problems,
) -> Option<Experiment> {
    let start = Place { source: 0, start: 0, end: text.find('\n').unwrap_or(text.len()) };
    conform::table(tree, &EXPERIMENT, start, problems);
    let top = Reader::new(&EXPERIMENT, tree, start);
    let run = phases(&top, problems);
    let edge_tables = top.tables("edge");
    if top.has("edge") && edge_tables.is_empty() && top.node("edge").is_some() {
        problems.push(
            Problem::error("there is no edge")
                .at(top.place_of("edge"))
                .label("an empty list")
                .help("add a table `[[edge]]` with `name`, `listen` and `upstream`"),
        );
    }
    let too_many: Vec<bool> =
        MOST_TABLES.iter().map(|(key, most)| beyond(&top, key, *most, problems)).collect();
    if too_many.contains(&true) {
        return None;
    }
    let placed: Vec<Option<edge::Placed>> =
        edge_tables.iter().map(|table| edge::read(table, problems)).collect();
    let service_tables = top.tables("service");
    let mut services = supervised::read(&service_tables, path.parent(), problems);
    skip(&mut services, &placed, replaced);
    let named = |table: &Reader<'_>| table.written("name").unwrap_or_default().to_owned();
    let protocol = |placed: &Option<edge::Placed>| placed.as_ref().map(|placed| placed.edge.protocol);
    let around = Surroundings {
        edges: edge_tables.iter().map(named).zip(placed.iter().map(protocol)).collect(),
        services: service_tables.iter().map(named).zip(services.iter().cloned()).collect(),
        phase: Some(run.fault).filter(|phase| !phase.is_zero()),
        folder: Some(path.parent().map(Path::to_path_buf).unwrap_or_default()),
    };
    if !around.edges.is_empty() {
        fill::check(tree, &around, problems);
    }
    supervised::spoken(&service_tables, &around, problems);
    let fault_tables = top.tables("fault");
    let expect_tables = top.tables("expect");
    let guardrail_tables = top.tables("guardrail");
    for (what, tables) in [
        ("service", &service_tables),
        ("edge", &edge_tables),
        ("fault", &fault_tables),
        ("expectation", &expect_tables),
        ("guardrail", &guardrail_tables),
    ] {
        unique(what, tables, problems);
    }
    if run.fault.is_zero() && !fault_tables.is_empty() {
        let place = top.inner("run").map_or(start, |table| table.place_of("fault"));
        problems.push(
            Problem::error("the fault phase has no length")
                .at(place)
                .label("no fault would ever be on")
                .help("write how long, such as `fault = \"30s\"`"),
        );
    }
    let load = top.inner("load").map(|table| traffic::read(&table, &around, &run, problems));
    let faults: Vec<_> = fault_tables.iter().map(|table| fault::read(table, &around, problems)).collect();
    let expects: Vec<_> =
        expect_tables.iter().map(|table| expect::expectation(table, &around, &run, problems)).collect();
    let guardrails: Vec<_> =
        guardrail_tables.iter().map(|table| expect::guardrail(table, &around, &run, problems)).collect();
    expect::distinct(&expect_tables, &expects, problems);
    let places = Places {
        baseline: top.inner("run").map_or(start, |table| table.place_of("baseline")),
        faults: fault_tables
            .iter()
            .map(|table| table.place_of(if table.has("edge") { "edge" } else { "service" }))
            .collect(),
    };
    let sound: Vec<edge::Placed> = placed.into_iter().flatten().collect();
    let complete = sound.len() == edge_tables.len();
    edge_tables.iter().for_each(|table| safety::exposed(table, problems));
    safety::listeners(&sound, problems);
    let elsewhere: Vec<_> = fault_tables.iter().filter_map(|table| table.inner("reroute")).collect();
    if complete {
        let place = |table: &Reader<'_>| table.inner("reroute").map(|inner| inner.place_of("upstream"));
        let led = faults.iter().zip(&fault_tables);
        let led: Vec<_> = led.filter_map(|(rule, table)| Some((rule.as_ref()?, place(table)?))).collect();
        safety::reroutes(&led, &sound, problems);
    }
    if !run.allow_production {
        edge_tables
            .iter()
            .chain(&elsewhere)
            .for_each(|table| safety::production(table, safety::IN_A_FILE, problems));
        safety::asked(&expect_tables, &fault_tables, problems);
        safety::environment(overrides.env, problems);
    }
    let mut experiment = Experiment {
        name: top.parsed("name")?,
        title: top.text("title").map(str::to_owned),
        seed: overrides.seed.or_else(|| top.integer("seed")),
        run,
        services: services.into_iter().collect::<Option<_>>()?,
        edges: sound.into_iter().map(|placed| placed.edge).collect(),
        load: match load {
            Some(load) => Some(load?),
            None => None,
        },
        faults: faults.into_iter().collect::<Option<_>>()?,
        expects: expects.into_iter().collect::<Option<_>>()?,
        guardrails: guardrails.into_iter().collect::<Option<_>>()?,
        source: Arc::new(Source {
            path: path.to_path_buf(),
            text: text.to_owned(),
            filled: Vec::new(),
            set: overrides.set.clone(),
            upstream: overrides.upstream.clone(),
            sha256: Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect(),
        }),
    };
    if complete {
        let place = |rule: usize| fault_tables.get(rule).map_or(start, |table| table.place_of("stale"));
        content::keep(&mut experiment.edges, &experiment.faults, problems, place);
    }
    if complete && !problems.is_fatal() {
        safety::pointless(&experiment, &places, problems);
    }
    complete.then_some(experiment)
}

/// What `--upstream` has put another service in the place of is not started.
fn skip(services: &mut [Option<Service>], edges: &[Option<edge::Placed>], replaced: &[usize]) {
    for edge in replaced.iter().filter_map(|n| Some(&edges.get(*n)?.as_ref()?.edge)) {
        for service in services.iter_mut().flatten().filter(|service| service.name.as_str() == edge.to) {
            service.skipped =
                Some(format!("`--upstream` puts another in its place behind edge `{}`", edge.name));
        }
    }
}

fn phases(top: &Reader<'_>, problems: &mut Problems) -> Phases {
    let run = top.inner_or_empty("run");
    let phases = Phases {
        warmup: run.duration_or_default("warmup"),
        baseline: run.duration_or_default("baseline"),
        fault: run.duration_or_default("fault"),
        recovery: run.duration_or_default("recovery"),
        time_scale: run.number_or_default("time_scale"),
        allow_production: run.flag_or_default("allow_production"),
    };
    if (phases.baseline + phases.fault + phases.recovery).is_zero() {
        problems.push(
            Problem::error("no phase has a length")
                .at(run.place)
                .label("the run would end at once")
                .help("give `fault` at least, such as `fault = \"30s\"`"),
        );
    }
    phases
}

/// Refuses more tables than one experiment may have.
fn beyond(top: &Reader<'_>, key: &'static str, most: usize, problems: &mut Problems) -> bool {
    let found = top.many(key).len();
    if found > most {
        problems.push(
            Problem::error(format!("more `[[{key}]]` than one experiment may have"))
                .at(top.place_of(key))
                .label(format!("{found} of them, and at most {most} are allowed"))
                .help("make several experiments of it"),
        );
    }
    found > most
}

/// Refuses a name that is there twice.
fn unique(what: &str, tables: &[Reader<'_>], problems: &mut Problems) {
    let mut seen: Vec<(&str, Place)> = Vec::new();
    for table in tables {
        let Some(name) = table.text("name") else { continue };
        match seen.iter().find(|(other, _)| *other == name) {
            Some((_, first)) => problems.push(
                Problem::error(format!("{what} `{name}` is there twice"))
                    .at(table.place_of("name"))
                    .label("this name is taken")
                    .related(*first, "the first")
                    .help("give each its own name"),
            ),
            None => seen.push((name, table.place_of("name"))),
        }
    }
}

/// One fault that was not in a file.
#[derive(Clone, Copy, Debug)]
pub enum FaultSource<'a> {
    /// The keys of a `[[fault]]`, as JSON.
    Json(&'a serde_json::Value),
    /// The keys of a `[[fault]]`, as TOML, without the header.
    Toml(&'a str),
}

/// Reads one fault as the API or flags give it, with the same checks as in a file. The edges are those it may name, by
/// their place; there are no services. There is no fault phase that it must fit, and no file is read for it.
///
/// # Errors
/// All its mistakes.
pub fn parse_fault(
    source: FaultSource<'_>,
    edges: &[(String, Protocol)],
) -> Result<(FaultRule, Problems), Problems> {
    parse_fault_on(source, edges, &[])
}

/// Reads one fault as the API or flags give it; it may name these services too. It runs no commands.
///
/// # Errors
/// All its mistakes.
pub fn parse_fault_on(
    source: FaultSource<'_>,
    edges: &[(String, Protocol)],
    services: &[Service],
) -> Result<(FaultRule, Problems), Problems> {
    let (text, name) = match source {
        FaultSource::Toml(text) => (text.to_owned(), "the fault"),
        FaultSource::Json(value) => (value.to_string(), "the fault"),
    };
    let mut problems = Problems::new(name, &text);
    let ports = Ports::default();
    let planter = Planter { source: 0, offset: 0, env: &|_| None, ports: &ports };
    let place = Place { source: 0, start: 0, end: text.len() };
    let mut tree = match source {
        FaultSource::Toml(text) => syntax::read(text, &planter, &mut problems).0,
        FaultSource::Json(value) => match json(value, place).value {
            Value::Table(tree) => tree,
            _ => {
                problems.push(
                    Problem::error("a fault is an object")
                        .at(place)
                        .help("write `{ \"name\": …, \"edge\": … }`"),
                );
                return Err(problems);
            }
        },
    };
    if problems.is_fatal() {
        return Err(problems);
    }
    conform::table(&mut tree, &FAULT, place, &mut problems);
    let around = Surroundings {
        edges: edges.iter().map(|(name, protocol)| (name.clone(), Some(*protocol))).collect(),
        services: services.iter().map(|one| (one.name.to_string(), Some(one.clone()))).collect(),
        phase: None,
        folder: None,
    };
    fill::check(&tree, &around, &mut problems);
    let table = Reader::new(&FAULT, &tree, place);
    let rule = fault::read(&table, &around, &mut problems);
    if let Some(elsewhere) = table.inner("reroute") {
        safety::production(&elsewhere, safety::BY_HAND, &mut problems);
    }
    match rule {
        Some(rule) if !problems.iter().any(|p| p.severity == Severity::Error) => {
            Ok((FaultRule { line: 0, ..rule }, problems))
        }
        _ => Err(problems),
    }
}
