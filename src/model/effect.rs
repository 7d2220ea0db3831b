//! Every bound in effect, whether the file says it or not: what `brownout check -v` shows.

use super::{Experiment, HostPolicy, Ttl};
use crate::units::Span;

impl Experiment {
    /// One line for each value in effect, as the file would write it.
    #[must_use]
    pub fn in_effect(&self) -> Vec<String> {
        let run = &self.run;
        let mut all = vec![match self.seed {
            Some(seed) => format!("seed = {seed}"),
            None => "seed: drawn anew for each run".into(),
        }];
        let phases = [
            ("warmup", run.warmup),
            ("baseline", run.baseline),
            ("fault", run.fault),
            ("recovery", run.recovery),
        ];
        all.extend(phases.iter().map(|(phase, time)| format!("run.{phase} = \"{}\"", Span(*time))));
        all.push(format!("run.time_scale = {}", run.time_scale));
        for edge in &self.edges {
            let name = edge.name.as_str();
            let mut say = |key: &str, value: String| all.push(format!("edge.{name}.{key} = {value}"));
            let limits = edge.timeout;
            for (key, time) in [
                ("timeout.header", limits.header),
                ("timeout.connect", limits.connect),
                ("timeout.upstream", limits.upstream),
                ("timeout.idle", limits.idle),
            ] {
                say(key, format!("\"{}\"", Span(time)));
            }
            say(
                "max_connections",
                edge.max_connections.map_or_else(
                    || "10000, or as many as the system allows descriptors for".into(),
                    |most| most.to_string(),
                ),
            );
            say("max_in_flight", edge.max_in_flight.to_string());
            say("max_held", edge.max_held.to_string());
            let host = if edge.host == HostPolicy::Keep { "keep" } else { "upstream" };
            say("host", format!("\"{host}\""));
            say("forwarded", edge.forwarded.to_string());
            say("stealth", edge.stealth.to_string());
            say("expose", edge.expose.to_string());
        }
        if let Some(load) = &self.load {
            all.push(format!("load.rate = \"{}\"", load.rate));
            all.push(format!("load.timeout = \"{}\"", Span(load.timeout)));
            all.push(format!("load.max_in_flight = {}", load.max_in_flight));
        }
        for fault in &self.faults {
            let name = fault.name.as_str();
            all.push(format!("fault.\"{name}\".percent = {}", fault.who.percent.get()));
            all.push(match fault.ttl {
                Some(Ttl::For(time)) => format!("fault.\"{name}\".ttl = \"{}\"", Span(time)),
                Some(Ttl::Forever) => format!("fault.\"{name}\".ttl = \"forever\""),
                None => format!("fault.\"{name}\".ttl: 5m by hand, 1h in `serve`"),
            });
        }
        for guardrail in &self.guardrails {
            let (lasts, window) = (Span(guardrail.lasts), Span(guardrail.window));
            all.push(format!("guardrail.\"{}\": for = \"{lasts}\", window = \"{window}\"", guardrail.name));
        }
        all
    }
}
