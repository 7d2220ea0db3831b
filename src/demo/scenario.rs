//! The experiments that come with the binary, each with the settings of the demo system it is run against.

use super::Config;

/// An experiment and the system it is made for.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name, as `brownout demo NAME` takes it.
    pub name: &'static str,
    /// The experiment file. Its upstreams are placeholders: give [`Bound::upstreams`](super::Bound::upstreams) instead.
    pub text: &'static str,
    /// Where the file lies in the repository; for messages.
    pub path: &'static str,
    /// How the services are set.
    pub config: Config,
    /// What there is to see, in a paragraph.
    pub says: &'static str,
    /// The exit code of a run: 0 if every expectation holds, 1 if not.
    pub expected_exit: u8,
}

/// The names of all scenarios; the first is what a plain `brownout demo` runs.
pub const NAMES: [&str; 2] = ["timeout-cut", "patient"];

/// The scenario of this name.
#[must_use]
pub fn scenario(name: &str) -> Option<Scenario> {
    match name {
        "timeout-cut" => Some(Scenario {
            name: "timeout-cut",
            text: include_str!("../../experiments/demo/timeout-cut.toml"),
            path: "experiments/demo/timeout-cut.toml",
            config: Config::timeout_cut(),
            says: "A config change cut the timeout of payments towards its provider from 5 s to 500 ms. All is well \
                   until the provider takes 1 to 2 s, as it often does. Then every call fails and is tried three times \
                   more; each charge keeps one of 50 database connections meanwhile; after about 3 s none is left, \
                   after 4 s the gateway gives up, after 6 s the circuit breaker opens. Product pages, which only need \
                   a price out of the same database, wait for seconds. The pool looks like the cause and is a symptom: \
                   the source is the provider edge.",
            expected_exit: 1,
        }),
        "patient" => Some(Scenario {
            name: "patient",
            text: include_str!("../../experiments/demo/patient.toml"),
            path: "experiments/demo/patient.toml",
            config: Config::patient(),
            says: "The same shop, the same load and the same slow provider, with the timeout as it was before the \
                   change: 5 s. A checkout takes as long as the provider does, 1 to 2 s. Fourteen charges a second keep \
                   about 21 of the 50 database connections busy, so nobody waits for one, nothing is tried twice and \
                   every expectation holds.",
            expected_exit: 0,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::EDGES;

    #[test]
    fn every_name_has_its_scenario() {
        for name in NAMES {
            let scenario = scenario(name).unwrap();
            assert_eq!(scenario.name, name);
            let file: toml::Table = toml::from_str(scenario.text).unwrap();
            assert_eq!(file["name"].as_str(), Some(name));
            let edges: Vec<_> = file["edge"].as_array().unwrap().iter().map(|e| e["name"].as_str()).collect();
            assert_eq!(edges, EDGES.map(Some));
        }
        assert!(scenario("other").is_none());
    }

    /// The two differ in the timeout, and in nothing that is measured: one number decides.
    #[test]
    fn only_the_timeout_differs() {
        let (cut, patient) = (scenario("timeout-cut").unwrap(), scenario("patient").unwrap());
        let restored = Config { provider_timeout: patient.config.provider_timeout, ..cut.config.clone() };
        assert_ne!(cut.config, patient.config);
        assert_eq!(restored, patient.config);
        let body = |text: &str| {
            let mut file: toml::Table = toml::from_str(text).unwrap();
            for key in ["name", "title"] {
                file.remove(key);
            }
            file
        };
        assert_eq!(body(cut.text), body(patient.text));
    }
}
