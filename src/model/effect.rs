//! Every bound in effect, whether the file says it or not: what `brownout check -v` shows.

use super::{
    Ask, Deed, EnvApply, Experiment, HostPolicy, On, ProcessWhat, ReadyCheck, RestartWhen, Service, Ttl,
};
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
        for service in &self.services {
            let name = service.name.as_str();
            let values = of_service(service, self);
            all.extend(values.into_iter().map(|(key, value)| format!("service.{name}.{key}{value}")));
        }
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
            say(
                "record",
                edge.record.map_or_else(|| "no answers are kept".into(), |most| format!("{most} B")),
            );
            say("header_control", edge.header_control.to_string());
            say("expose", edge.expose.to_string());
        }
        if let Some(load) = &self.load {
            all.push(format!("load.rate = \"{}\"", load.rate));
            all.push(format!("load.timeout = \"{}\"", Span(load.timeout)));
            all.push(format!("load.max_in_flight = {}", load.max_in_flight));
        }
        for fault in &self.faults {
            let name = fault.name.as_str();
            match fault.deeds.as_slice() {
                [] => all.push(format!("fault.\"{name}\".percent = {}", fault.who.percent.get())),
                deeds => all.extend(deeds.iter().map(|deed| format!("fault.\"{name}\".{}", of_deed(deed)))),
            }
            all.push(match fault.ttl {
                Some(Ttl::For(time)) => format!("fault.\"{name}\".ttl = \"{}\"", Span(time)),
                Some(Ttl::Forever) => format!("fault.\"{name}\".ttl = \"forever\""),
                None => format!("fault.\"{name}\".ttl: 5m by hand, 1h in `serve`"),
            });
        }
        for expectation in &self.expects {
            let On::Probe(probe) = &expectation.on else { continue };
            let asks = match &probe.ask {
                Ask::Http(_) => "http",
                Ask::Tcp(_) => "tcp",
                Ask::Command(_) => "command",
            };
            let (every, timeout, most) = (Span(probe.every), Span(probe.timeout), Span(probe.max_exposure));
            let tolerates = if probe.tolerate_unreachable { "\"unreachable\"" } else { "nothing" };
            all.push(format!(
                "expect.\"{}\": {asks}, every = \"{every}\", timeout = \"{timeout}\", tolerate = {tolerates}, max_exposure = \"{most}\"",
                expectation.name
            ));
        }
        for guardrail in &self.guardrails {
            let (lasts, window) = (Span(guardrail.lasts), Span(guardrail.window));
            all.push(format!("guardrail.\"{}\": for = \"{lasts}\", window = \"{window}\"", guardrail.name));
        }
        all
    }
}

/// What is in effect for a service, each with its key. Of commands only the program is shown, and of variables only the
/// names, unless the file says that a value may be shown.
fn of_service(service: &Service, experiment: &Experiment) -> Vec<(&'static str, String)> {
    let text = |value: &str| format!(" = \"{value}\"");
    let span = |time| format!(" = \"{}\"", Span(time));
    let Some(program) = service.command.first() else {
        return vec![("command", ": none, it is external".into())];
    };
    if let Some(reason) = &service.skipped {
        return vec![("command", format!(": not started, {reason}"))];
    }
    let more = match service.command.len() - 1 {
        0 => String::new(),
        1 => ", and 1 argument".into(),
        n => format!(", and {n} arguments"),
    };
    let env = service.env.iter().map(|(name, value)| match service.show_env.contains(name) {
        true => format!("{name} = \"{value}\""),
        false => format!("{name} = (hidden)"),
    });
    let after = service.after.iter().filter_map(|n| experiment.services.get(*n)).map(|one| one.name.as_str());
    let mut all = vec![
        ("command", format!(": \"{program}\"{more}")),
        (
            "cwd",
            match &service.cwd {
                Some(folder) => text(&folder.display().to_string()),
                None => ": the folder Brownout was called in".into(),
            },
        ),
        ("clean_env", format!(" = {}", service.clean_env)),
        ("env", format!(" = {{ {} }}", env.collect::<Vec<_>>().join(", ")).replace("{  }", "{}")),
        ("user", service.user.as_deref().map_or_else(|| ": the user of Brownout".into(), text)),
        ("grace", span(service.grace)),
        ("after", format!(" = [{}]", after.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "))),
    ];
    match &service.ready {
        None => all.push(("ready", ": as soon as it runs".into())),
        Some(ready) => {
            let check = match &ready.check {
                ReadyCheck::Http(_) => "http",
                ReadyCheck::Tcp(_) => "tcp",
                ReadyCheck::Log(_) => "log",
                ReadyCheck::Command(_) => "command",
            };
            all.push(("ready", format!(": by {check}, within = \"{}\"", Span(ready.within))));
        }
    }
    let restart = service.restart;
    match restart.when {
        RestartWhen::Never => all.push(("restart", text("never"))),
        when => {
            all.push((
                "restart.when",
                text(if when == RestartWhen::Always { "always" } else { "on-failure" }),
            ));
            all.push(("restart.delay", span(restart.delay)));
            all.push(("restart.backoff", format!(" = {}", restart.backoff)));
            all.push(("restart.max_delay", span(restart.max_delay)));
        }
    }
    all
}

/// What a deed does, without any value of a variable.
fn of_deed(deed: &Deed) -> String {
    match deed {
        Deed::Env(swap) => {
            let apply = if swap.apply == EnvApply::Restart { "restart" } else { "next_restart" };
            let lasts = swap
                .restarts
                .map_or_else(|| ": for as long as it lasts".to_owned(), |restarts| format!(" = {restarts}"));
            format!("env: apply = \"{apply}\", restarts{lasts}")
        }
        Deed::Process(process) => {
            let what = match process.what {
                ProcessWhat::Kill(signal) => {
                    format!("kill = \"{}\"", signal.as_str().trim_start_matches("SIG"))
                }
                ProcessWhat::Pause(time) => format!("pause = \"{}\"", Span(time)),
                ProcessWhat::Restart => "restart = true".to_owned(),
            };
            let down = process.down.map_or_else(String::new, |time| format!(", down = \"{}\"", Span(time)));
            let times =
                process.times.map_or_else(|| ": once a turn".to_owned(), |times| format!(" = {times}"));
            format!("process: {what}{down}, times{times}")
        }
        Deed::Hook(hook) => format!("hook: within = \"{}\"", Span(hook.within)),
    }
}
