//! What a journal holds so that its report can be made again from it alone: the file without its secrets, and what was said
//! beside it.
//!
//! Written when a run begins and read when it is reported again. What stands in the journal was read back before it was
//! written: it either judges the same, or is not there. Knows nothing of files.

use super::services::service_of;
use super::{During, Terms};
use crate::model::{
    Ask, Experiment, Mask, On, Overrides, Ports, ServiceMetric, is_hidden, is_secret_key, masked, masks,
    parse,
};
use crate::problem::Problems;
use crate::telemetry::Recipe;
use std::path::Path;

/// What is filled in for a variable whose value must not be told; the first with which the file says the same.
const STAND_INS: [&str; 6] = ["127.0.0.1", "stand-in", "http://127.0.0.1:9", "127.0.0.1:9", "9", "1s"];
/// More variables, or more parts to be taken out one by one, are not tried.
const MOST: usize = 64;
const HIDDEN: &str = "***";

/// The recipe of a run; `None` if its file cannot be told.
#[must_use]
pub fn recipe(experiment: &Experiment, terms: &Terms, seed: u64) -> Option<Recipe> {
    let source = &experiment.source;
    if source.filled.len() > MOST {
        return None;
    }
    let during = match terms.during {
        During::All => "all",
        During::Fault => "fault",
        During::Each => "each",
    };
    let hide = |(key, value): &(String, String)| {
        let value = if is_secret_key(key) { HIDDEN.to_owned() } else { value.clone() };
        (key.clone(), value)
    };
    let wanted = essence(experiment);
    let base = Recipe {
        text: source.text.clone(),
        set: source.set.iter().map(hide).collect(),
        upstream: source.upstream.clone(),
        filled: Vec::new(),
        run: terms.run.clone(),
        during: during.into(),
        allow_vacuous: terms.allow_vacuous,
        expect_exit: terms.expect_exit,
    };
    let same = |recipe: &Recipe, values: &[(String, String)]| {
        let found = parsed(recipe, &source.path, seed, &|name| value(values, name));
        found.is_ok_and(|found| essence(&found) == wanted)
    };
    // 1. without what must not be told in any case, and all at once without what may be left
    let all = masks(experiment);
    let (must, may): (Vec<Mask>, Vec<Mask>) = all.iter().cloned().partition(|mask| mask.must);
    let told = |masks: &[Mask]| Recipe { text: masked(&source.text, masks), ..base.clone() };
    let mut best = told(&all);
    if !same(&best, &source.filled) {
        let mut masks = must;
        best = told(&masks);
        if !same(&best, &source.filled) || may.len() > MOST {
            return None;
        }
        for mask in may {
            masks.push(mask);
            let next = told(&masks);
            if same(&next, &source.filled) {
                best = next;
            } else {
                masks.pop();
            }
        }
    }
    // 2. something for each variable, or nothing if only its value will do
    let mut values = source.filled.clone();
    for n in 0..values.len() {
        let (name, own) = values[n].clone();
        let open = (!is_hidden(&own)).then_some(own.as_str());
        let candidates = open.into_iter().chain(STAND_INS);
        let found = candidates.map(str::to_owned).find(|candidate| {
            values[n].1.clone_from(candidate);
            same(&best, &values)
        });
        match found {
            Some(found) => best.filled.push((name, found)),
            None => values[n].1 = own,
        }
    }
    Some(best)
}

fn value(values: &[(String, String)], name: &str) -> Option<String> {
    values.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

/// The experiment and the terms of a recipe. Variables that it has no value for are asked for.
///
/// # Errors
/// What is wrong with the file: above all a variable that is not there.
pub fn again(
    recipe: &Recipe,
    path: &Path,
    seed: u64,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Experiment, Terms), Problems> {
    let unknown =
        |name: &str| value(&recipe.filled, name).or_else(|| asked(recipe, name).then(|| env(name))?);
    let experiment = parsed(recipe, path, seed, &unknown)?;
    let during = match recipe.during.as_str() {
        "fault" => During::Fault,
        "each" => During::Each,
        _ => During::All,
    };
    let terms = Terms {
        run: recipe.run.clone(),
        allow_vacuous: recipe.allow_vacuous,
        expect_exit: recipe.expect_exit,
        during,
    };
    Ok((experiment, terms))
}

/// Whether the file itself names the variable: others are none of its business, such as those that tell production.
fn asked(recipe: &Recipe, name: &str) -> bool {
    let word = format!("${{env.{name}}}");
    let beside = recipe.set.iter().map(|(_, value)| value).chain(recipe.upstream.iter().map(|(_, url)| url));
    recipe.text.contains(&word) || beside.into_iter().any(|text| text.contains(&word))
}

fn parsed(
    recipe: &Recipe,
    path: &Path,
    seed: u64,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Experiment, Problems> {
    let overrides = Overrides {
        set: recipe.set.clone(),
        upstream: recipe.upstream.clone(),
        seed: Some(seed),
        env,
        ports: Ports::default(),
    };
    parse(&recipe.text, path, &overrides).map(|loaded| loaded.experiment)
}

/// All of an experiment that a report is made of, in a form that can be compared.
fn essence(experiment: &Experiment) -> String {
    use std::fmt::Write;
    let mut text = format!("{:?} {:?} {:?}", experiment.name, experiment.title, experiment.run);
    for edge in &experiment.edges {
        let _ = write!(text, "\nedge {:?} {:?} {:?} {:?}", edge.name, edge.from, edge.to, edge.protocol);
    }
    for (place, service) in experiment.services.iter().enumerate() {
        let (env, known) = (experiment.expected_env(place), service.command.is_empty());
        let env: Vec<&str> = env.into_iter().map(|(name, _)| name).collect();
        let _ = write!(text, "\nservice {:?} {:?} {known} {env:?}", service.name, service.skipped);
    }
    for rule in &experiment.faults {
        let actions: Vec<_> = rule.actions.iter().map(|fault| fault.as_apply().action()).collect();
        let deeds: Vec<_> = rule.deeds.iter().map(crate::model::Deed::action).collect();
        let _ = write!(
            text,
            "\nfault {:?} {:?} {:?} {} {} {actions:?} {deeds:?}",
            rule.name, rule.edges, rule.services, rule.optional, rule.line
        );
    }
    for expectation in &experiment.expects {
        let _ = write!(
            text,
            "\nexpect {:?} {:?} {:?} {} {} {}",
            expectation.name,
            expectation.phases,
            expectation.versus,
            expectation.include_injected,
            expectation.baseline,
            expectation.line
        );
        let _ = match &expectation.on {
            On::Edge { edge, checks } => write!(text, " {edge} {checks:?}"),
            On::Spread(checks) => write!(text, " {checks:?}"),
            On::Service { service, checks } => {
                let wanted = experiment.expected_env(*service);
                checks.iter().try_for_each(|check| match &check.metric {
                    ServiceMetric::Env { name, value } => {
                        let place = wanted.iter().position(|pair| *pair == (name.as_str(), value.as_str()));
                        write!(text, " {service} {name} {place:?} {}", check.line)
                    }
                    metric => write!(text, " {service} {metric:?} {:?} {}", check.limit, check.line),
                })
            }
            On::Probe(probe) => {
                let kind = match &probe.ask {
                    Ask::Http(_) => "http",
                    Ask::Tcp(_) => "tcp",
                    Ask::Command(_) => "command",
                };
                write!(text, " {kind} {:?} {:?}", service_of(experiment, probe), probe.max_exposure)
            }
        };
    }
    for rail in &experiment.guardrails {
        let _ = write!(text, "\nguardrail {:?} {} {:?} {:?}", rail.name, rail.edge, rail.checks, rail.lasts);
    }
    text
}

#[cfg(test)]
#[path = "recipe_tests.rs"]
mod tests;
