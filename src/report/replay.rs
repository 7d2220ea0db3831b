//! The command that repeats a run.

/// The command line that does the same again: the same words, with the seed that was in force.
#[must_use]
pub fn replay(argv: &[String], seed: u64) -> String {
    let words = argv.get(1..).unwrap_or_default();
    let ours = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let (ours, command) = words.split_at(ours);
    let mut out = vec!["brownout".to_owned()];
    let mut skip = false;
    for word in ours {
        if std::mem::take(&mut skip) {
            continue;
        }
        skip = word == "--seed";
        if !skip && !word.starts_with("--seed=") {
            out.push(quote(word));
        }
    }
    out.extend(["--seed".to_owned(), seed.to_string()]);
    out.extend(command.iter().map(|word| quote(word)));
    out.join(" ")
}

/// A word as a shell reads it back.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_repeated_word_for_word_with_its_seed() {
        for (argv, command) in [
            (vec!["/usr/bin/brownout", "run", "a.toml"], "brownout run a.toml --seed 42"),
            (vec!["brownout", "run", "--seed", "7", "a.toml"], "brownout run a.toml --seed 42"),
            (vec!["brownout", "run", "--seed=7", "my file.toml"], "brownout run 'my file.toml' --seed 42"),
            (
                vec!["brownout", "run", "a.toml", "--", "sh", "-c", "echo it's --seed 3"],
                r"brownout run a.toml --seed 42 -- sh -c 'echo it'\''s --seed 3'",
            ),
        ] {
            let argv: Vec<String> = argv.into_iter().map(str::to_owned).collect();
            assert_eq!(replay(&argv, 42), command);
        }
    }
}
