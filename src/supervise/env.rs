//! The environment of one process of a service: what is in it, what may be shown of it, and what must not appear in its log.
//!
//! Pure: our own environment is handed in. Names may always be told; a value only if the file lists it as safe to show.

use crate::model::{EnvSwap, Service, is_hidden};
use crate::telemetry::EnvShown;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

/// Shorter values that a service inherits are not masked: there are many that are no secrets, and every other line has them in it.
const LONG: usize = 8;
/// What stands for a hidden value; shorter than any.
const MASK: &str = "***";

/// Every variable of a process.
pub(super) type Vars = BTreeMap<OsString, OsString>;

/// What a process of this service gets: ours or nothing, what the file says, and the swaps in force, in their order.
pub(super) fn vars(ours: &Vars, service: &Service, swaps: &[EnvSwap]) -> Vars {
    let mut vars = if service.clean_env { Vars::new() } else { ours.clone() };
    vars.extend(service.env.iter().map(|(name, value)| (name.into(), value.into())));
    for swap in swaps {
        for name in &swap.unset {
            vars.remove(OsStr::new(name));
        }
        vars.extend(swap.set.iter().map(|(name, value)| (name.into(), value.into())));
    }
    vars
}

/// Names of variables that swaps make another, sorted.
pub(super) fn drifted(ours: &Vars, service: &Service, swaps: &[EnvSwap]) -> Vec<String> {
    let (filed, now) = (vars(ours, service, &[]), vars(ours, service, swaps));
    let touched = swaps.iter().flat_map(|swap| swap.set.iter().map(|(name, _)| name).chain(&swap.unset));
    let names: BTreeSet<&String> = touched.collect();
    names
        .into_iter()
        .filter(|name| filed.get(OsStr::new(name)) != now.get(OsStr::new(name)))
        .cloned()
        .collect()
}

/// What the journal gets of it: what differs from the file, and what the file says may be shown, sorted by name.
pub(super) fn shown(ours: &Vars, service: &Service, swaps: &[EnvSwap]) -> Vec<EnvShown> {
    let now = vars(ours, service, swaps);
    let drifted = drifted(ours, service, swaps);
    let listed = service.show_env.iter().filter(|name| now.contains_key(OsStr::new(name)));
    let names: BTreeSet<&String> = drifted.iter().chain(listed).collect();
    let value = |name: &String| {
        let value = now.get(OsStr::new(name)).filter(|_| service.show_env.contains(name))?;
        Some(value.to_string_lossy().into_owned())
    };
    let shown =
        |name: &String| EnvShown { name: name.clone(), value: value(name), changed: drifted.contains(name) };
    names.into_iter().map(shown).collect()
}

/// Which of these names have these values, by their places.
pub(super) fn holds(vars: &Vars, expected: &[(String, String)]) -> Vec<usize> {
    let holds =
        |(name, value): &(String, String)| vars.get(OsStr::new(name)).is_some_and(|has| **has == **value);
    expected.iter().enumerate().filter(|(_, pair)| holds(pair)).map(|(place, _)| place).collect()
}

/// What must not appear in what a service writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Mask {
    /// The longest first.
    hidden: Vec<String>,
}

impl Mask {
    /// Of what the file sets for a service, and of what it inherits from us, which is handed in.
    pub(super) fn new(service: &Service, inherited: &[(String, String)]) -> Self {
        let mut mask = Self::default();
        mask.hide(&service.env, &service.show_env);
        // Of these there are many that are no secrets: short ones would make logs unreadable.
        let long = inherited.iter().filter(|(_, value)| value.chars().count() >= LONG);
        mask.hide(&long.cloned().collect::<Vec<_>>(), &service.show_env);
        mask
    }

    /// These values must not appear either, but those of variables that may be shown.
    pub(super) fn hide(&mut self, env: &[(String, String)], show: &[String]) {
        let hidden = env.iter().filter(|(name, _)| !show.contains(name));
        // Of a value of several lines, each line is told by itself.
        let lines = hidden.flat_map(|(_, value)| value.lines().chain([value.as_str()])).map(str::trim);
        for line in lines.filter(|line| is_hidden(line)) {
            if !self.hidden.iter().any(|known| known == line) {
                self.hidden.push(line.to_owned());
            }
        }
        self.hidden.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    }

    /// The length of the longest.
    pub(super) fn longest(&self) -> usize {
        self.hidden.first().map_or(0, String::len)
    }

    /// The line without any of them.
    pub(super) fn apply(&self, line: &str) -> String {
        let mut line = line.to_owned();
        // What a replacement leaves may be a hidden value again. Each makes the line shorter, so this ends.
        while let Some(found) = self.hidden.iter().find(|hidden| line.contains(hidden.as_str())) {
            line = line.replace(found.as_str(), MASK);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EnvApply;
    use crate::supervise::testing::service;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn swap(set: &[(&str, &str)], unset: &[&str]) -> EnvSwap {
        EnvSwap {
            set: pairs(set),
            unset: unset.iter().map(|name| (*name).to_owned()).collect(),
            apply: EnvApply::Restart,
            restarts: None,
        }
    }

    fn ours() -> Vars {
        [("PATH", "/bin"), ("MODE", "ours"), ("HOME", "/root")].map(|(n, v)| (n.into(), v.into())).into()
    }

    #[test]
    fn the_file_goes_over_ours_and_swaps_over_the_file_in_their_order() {
        let mut payments = service("payments", "true");
        payments.env = pairs(&[("MODE", "production"), ("KEY", "hunter22")]);
        payments.show_env = vec!["MODE".into(), "PATH".into(), "NONE".into()];
        let all = |clean: bool, swaps: &[EnvSwap]| {
            let mut payments = payments.clone();
            payments.clean_env = clean;
            let text = |(n, v): (&OsString, &OsString)| format!("{}={}", n.display(), v.display());
            vars(&ours(), &payments, swaps).iter().map(text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(all(false, &[]), "HOME=/root KEY=hunter22 MODE=production PATH=/bin");
        assert_eq!(all(true, &[]), "KEY=hunter22 MODE=production");
        let swaps = [
            swap(&[("MODE", "development"), ("NEW", "1")], &["KEY"]),
            swap(&[("MODE", "test")], &["HOME", "GONE"]),
        ];
        assert_eq!(all(false, &swaps), "MODE=test NEW=1 PATH=/bin");
        assert_eq!(all(true, &swaps), "MODE=test NEW=1");

        assert_eq!(drifted(&ours(), &payments, &swaps), ["HOME", "KEY", "MODE", "NEW"]);
        assert_eq!(drifted(&ours(), &payments, &[swap(&[("MODE", "production")], &["GONE"])]), [""; 0]);
        let shown = |swaps: &[EnvSwap]| {
            let text =
                |e: EnvShown| format!("{}={} {}", e.name, e.value.as_deref().unwrap_or("?"), e.changed);
            shown(&ours(), &payments, swaps).into_iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(shown(&[]), ["MODE=production false", "PATH=/bin false"]);
        assert_eq!(
            shown(&swaps),
            ["HOME=? true", "KEY=? true", "MODE=test true", "NEW=? true", "PATH=/bin false"]
        );
        let expected = pairs(&[("MODE", "production"), ("MODE", "test"), ("KEY", ""), ("PATH", "/bin")]);
        assert_eq!(holds(&vars(&ours(), &payments, &[]), &expected), [0, 3]);
        assert_eq!(holds(&vars(&ours(), &payments, &swaps), &expected), [1, 3]);
    }

    #[test]
    fn hidden_values_are_masked() {
        let mut payments = service("payments", "true");
        payments.env =
            pairs(&[("KEY", "hunter22"), ("LONG", "hunter2222"), ("MODE", "production"), ("N", "123")]);
        payments.env.extend(pairs(&[("PEM", "BEGIN\nsecret line\nEND")]));
        payments.show_env = vec!["MODE".into()];
        let mut mask = Mask::new(&payments, &[]);
        mask.hide(&pairs(&[("KEY", "swapped in")]), &payments.show_env);
        for (line, masked) in [
            ("nothing of it", "nothing of it"),
            ("key=hunter22, hunter2222, hunter2", "key=***, ***, hunter2"),
            ("mode production 123", "mode production 123"),
            ("  secret line  swapped in", "  ***  ***"),
            ("hunterhunter2222", "hunter***"),
        ] {
            assert_eq!(mask.apply(line), masked);
        }
    }

    proptest! {
        #[test]
        fn a_hidden_value_never_appears(
            values in vec("[ab*\n ]{0,9}|[a-zäß🦀]{4,8}", 0..6),
            parts in vec((any::<prop::sample::Index>(), "[ab* ]{0,4}"), 0..9),
        ) {
            let env: Vec<_> = values.iter().map(|value| ("N".to_owned(), value.clone())).collect();
            let mut mask = Mask::default();
            mask.hide(&env, &[]);
            let mut line = String::new();
            for (which, between) in parts {
                if !values.is_empty() {
                    line.push_str(&values[which.index(values.len())]);
                }
                line.push_str(&between);
            }
            let masked = mask.apply(&line);
            for part in values.iter().flat_map(|value| value.lines()).map(str::trim).filter(|part| part.chars().count() >= 4) {
                prop_assert!(!masked.contains(part), "{part:?} in {masked:?}");
            }
            prop_assert!(values.iter().any(|value| value.trim().len() >= 4) || masked == line);
        }

        #[test]
        fn what_is_shown_is_what_differs_or_is_listed(
            file in vec(("[A-D]", "[xy]"), 0..4),
            set in vec(("[A-D]", "[xy]"), 0..4),
            unset in vec("[A-D]", 0..3),
            show in vec("[A-D]", 0..3),
        ) {
            let mut one = service("one", "true");
            one.env = file;
            one.show_env = show;
            let swaps = [EnvSwap { set, unset, apply: EnvApply::Restart, restarts: None }];
            let (filed, now) = (vars(&Vars::new(), &one, &[]), vars(&Vars::new(), &one, &swaps));
            let shown = shown(&Vars::new(), &one, &swaps);
            for name in ["A", "B", "C", "D"] {
                let (was, is) = (filed.get(OsStr::new(name)), now.get(OsStr::new(name)));
                let listed = one.show_env.iter().any(|listed| listed == name);
                let entry = shown.iter().find(|entry| entry.name == name);
                prop_assert_eq!(entry.is_some(), was != is || (listed && is.is_some()));
                prop_assert_eq!(entry.is_some_and(|entry| entry.changed), was != is);
                let value = entry.and_then(|entry| entry.value.as_deref());
                prop_assert_eq!(value, is.filter(|_| listed && entry.is_some()).and_then(|is| is.to_str()));
            }
        }
    }
}
