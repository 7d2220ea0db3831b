//! Reading experiment files for commands: the flags that change a file, and its mistakes shown.

use crate::model::{Experiment, Loaded, Overrides, Ports, load};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The flags that change what a file says.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Another value for a key of the file, such as run.fault=10s
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set_words: Vec<String>,
    /// Another upstream for an edge (without EDGE: for the first)
    #[arg(long = "upstream", value_name = "[EDGE=]URL")]
    upstream_words: Vec<String>,
    /// The same seed strikes the same requests
    #[arg(long, value_name = "N", env = "BROWNOUT_SEED")]
    pub seed: Option<u64>,
    #[arg(skip)]
    given: Option<Given>,
    /// A file that is read again keeps its ports.
    #[arg(skip)]
    ports: Ports,
}

#[derive(Clone, Debug, Default)]
struct Given {
    set: Vec<(String, String)>,
    upstream: Vec<(Option<String>, String)>,
}

impl Flags {
    /// What was read from words already.
    pub fn of(set: &[(String, String)], upstream: &[(Option<String>, String)], seed: Option<u64>) -> Self {
        let given = Some(Given { set: set.to_vec(), upstream: upstream.to_vec() });
        Self { seed, given, ..Self::default() }
    }

    /// `--set`, in pairs. A word without `=` sets nothing, and the file says so.
    pub fn set(&self) -> Vec<(String, String)> {
        let words = self.set_words.iter().map(|word| {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            (key.trim().to_owned(), value.to_owned())
        });
        self.given.iter().flat_map(|given| given.set.clone()).chain(words).collect()
    }

    /// `--upstream`, in pairs.
    pub fn upstreams(&self) -> Vec<(Option<String>, String)> {
        let words = self.upstream_words.iter().map(|word| super::run::upstream(word));
        self.given.iter().flat_map(|given| given.upstream.clone()).chain(words).collect()
    }

    /// Reads a file; its mistakes and warnings go to standard error.
    pub fn load(&self, path: &Path, quiet: bool) -> Option<Experiment> {
        let overrides = Overrides {
            set: self.set(),
            upstream: self.upstreams(),
            seed: self.seed,
            env: &env,
            ports: self.ports.clone(),
        };
        let mut err = anstream::AutoStream::auto(std::io::stderr());
        match load(path, &overrides) {
            Ok(Loaded { experiment, warnings }) => {
                if !quiet {
                    let _ = write!(err, "{}", warnings.render(color()));
                }
                Some(experiment)
            }
            Err(problems) => {
                let _ = write!(err, "{}", problems.render(color()));
                None
            }
        }
    }

    /// Reads all files, and shows the mistakes of all of them; `None` if one has any.
    pub fn load_all(&self, paths: &[PathBuf], quiet: bool) -> Option<Vec<Experiment>> {
        let read: Vec<Option<Experiment>> = paths.iter().map(|path| self.load(path, quiet)).collect();
        read.into_iter().collect()
    }
}

/// Looks an environment variable up.
pub(super) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether messages are in colour.
pub(super) fn color() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// How Brownout was called, as journals and reports tell it: a `--set` of an environment variable without its value.
pub(super) fn told(args: impl Iterator<Item = String>) -> Vec<String> {
    let mut after_set = false;
    args.map(|arg| {
        let set = match after_set {
            true => Some(arg.as_str()),
            false => arg.strip_prefix("--set="),
        };
        let key = set.and_then(|set| set.split_once('=')).map(|(key, _)| key);
        let hide = key.is_some_and(|key| key.split('.').any(|word| word == "env"));
        let told = match (hide, key) {
            (true, Some(key)) if after_set => format!("{key}=***"),
            (true, Some(key)) => format!("--set={key}=***"),
            _ => arg.clone(),
        };
        after_set = arg == "--set";
        told
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn no_value_of_an_environment_is_told() {
        let args = [
            "brownout",
            "run",
            "--set",
            "service.api.env.TOKEN=abc",
            "--set=fault.x.env.set.KEY=d=e",
            "--set",
            "run.fault=1s",
        ];
        let said = told(args.into_iter().map(str::to_owned));
        let wanted = [
            "brownout",
            "run",
            "--set",
            "service.api.env.TOKEN=***",
            "--set=fault.x.env.set.KEY=***",
            "--set",
            "run.fault=1s",
        ];
        assert_eq!(said, wanted);
    }
}
