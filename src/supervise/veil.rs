//! Commands as messages show them: what they have from the environment stands there by its name, as the file writes it.
//!
//! `${env.NAME}` of a file is filled in from our own environment, so whatever of a command is a value of ours is taken to be
//! one that must not be shown. Pure: the environment is handed in.

use std::ffi::OsString;

/// Shorter values are no secrets.
const SHORTEST: usize = 4;
/// What everybody may see, and commands are full of.
const KNOWN: [&str; 12] =
    ["HOME", "HOSTNAME", "LANG", "LOGNAME", "OLDPWD", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "USER", "_"];

/// The variables, name and value, whose values stand in a command; the longest first.
pub(super) fn hidden_in(
    argv: &[String],
    vars: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(String, String)> {
    let mut hidden = secrets(vars);
    hidden.retain(|(_, value)| argv.iter().any(|word| word.contains(value.as_str())));
    hidden
}

/// The variables, name and value, whose values must not be shown; the longest first.
pub(super) fn secrets(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<(String, String)> {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let mut hidden: Vec<(String, String)> = vars
        .into_iter()
        .filter_map(text)
        .filter(|(name, value)| {
            value.chars().count() >= SHORTEST
                && !KNOWN.contains(&name.as_str())
                && !["true", "false"].contains(&value.as_str())
        })
        .collect();
    hidden.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.cmp(b)));
    hidden
}

/// The text with names for values.
pub(super) fn veiled(text: &str, hidden: &[(String, String)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        match hidden.iter().find_map(|(name, value)| Some((name, rest.strip_prefix(value.as_str())?))) {
            Some((name, after)) => {
                out.push_str(&format!("${{env.{name}}}"));
                rest = after;
            }
            None => {
                out.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vars(of: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        of.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn values_of_a_command_are_told_by_name() {
        let argv = ["ctl", "--token=hunter22", "/home/me/x", "true", "abc"].map(str::to_owned);
        let env = [
            ("TOKEN", "hunter22"),
            ("PART", "hunter"),
            ("HOME", "/home/me"),
            ("CI", "true"),
            ("SHORT", "abc"),
            ("ELSEWHERE", "not in it"),
        ];
        let hidden = hidden_in(&argv, vars(&env));
        let names: Vec<&str> = hidden.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["TOKEN", "PART"]);
        let shown = argv.map(|word| veiled(&word, &hidden));
        assert_eq!(shown, ["ctl", "--token=${env.TOKEN}", "/home/me/x", "true", "abc"]);
        assert_eq!(veiled("ühunter2hunter22", &hidden), "ü${env.PART}2${env.TOKEN}");
    }

    proptest! {
        /// Names have no letter that values have here, so a value that is found was not taken out.
        #[test]
        fn no_value_is_left(words in prop::collection::vec("[a-c]{0,12}", 1..6), values in prop::collection::vec("[a-c]{4,6}", 0..6)) {
            let env: Vec<(OsString, OsString)> =
                values.iter().enumerate().map(|(n, value)| (format!("N{n}").into(), value.into())).collect();
            let hidden = hidden_in(&words, env);
            for word in &words {
                let shown = veiled(word, &hidden);
                for value in &values {
                    prop_assert!(!shown.contains(value.as_str()), "{shown} has {value}");
                }
            }
        }
    }
}
