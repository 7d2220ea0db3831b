//! The events that everything else is a reading of. One line of the journal is one [`Stamped`] event.

use super::lies::Lie;
use super::services::{Did, Saw};
use super::{EdgeId, Identity, Passed, Window};
use crate::model::Phase;
use crate::units::Name;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;

/// One exchange that has ended: a request and its answer, or a connection of a TCP edge.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The edge.
    pub edge: EdgeId,
    /// The phase in which its head came (TCP: in which it was accepted).
    pub phase: Phase,
    /// When its head had come.
    pub began: Instant,
    /// From its head to the last byte, or to the moment at which the caller left.
    pub took: Duration,
    /// From sending to the upstream to the end of its answer; `None` if it was not called or did not answer.
    pub upstream_took: Option<Duration>,
    /// Whether `took` is a sample for percentiles (no stream, no upgrade, not TCP).
    pub timed: bool,
    /// The method.
    pub method: Method,
    /// The status that the caller was sent; 0 if none.
    pub status: u16,
    /// Whose doing the outcome is.
    pub origin: Origin,
    /// How it ended.
    pub ending: Ending,
    /// Whether it failed by the rule of the edge.
    pub failed: bool,
    /// A health request: not judged, not numbered.
    pub health: bool,
    /// For how long the upstream worked on after the caller had left, if its answer came then: for nobody.
    pub zombie: Option<Duration>,
    /// Which logical request it is an attempt of.
    pub identity: Identity,
    /// A hash of method and target.
    pub target: u32,
    /// Seconds that the answer's `Retry-After` asked to wait.
    pub retry_after: Option<f32>,
    /// Payload bytes towards the upstream.
    pub bytes_up: u64,
    /// Payload bytes towards the caller.
    pub bytes_down: u64,
    /// The injected delay that was asked for, before and after the upstream.
    pub asked: Duration,
    /// The injected delay as it came about.
    pub waited: Duration,
    /// The faults that struck it; no allocation when there are none.
    pub hits: Vec<Hit>,
    /// What was made of its content; no allocation when nothing was.
    pub lies: Vec<Lie>,
}

/// A fault that struck an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The fault's name.
    pub fault: Name,
    /// What it did.
    pub action: std::borrow::Cow<'static, str>,
}

/// Whose doing an outcome is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The caller's: a malformed request, a caller that left.
    Client,
    /// The upstream's: its answer, or its silence.
    Upstream,
    /// A fault's.
    Injected,
    /// Brownout's own: a limit reached, draining, a bug.
    Internal,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Client, Self::Upstream, Self::Injected, Self::Internal];

    /// As metrics and reports write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Injected => "injected",
            Self::Internal => "internal",
        }
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The answer was delivered whole (TCP: both sides closed).
    Complete,
    /// The answer began and was not delivered whole.
    Incomplete,
    /// No answer was sent at all.
    Unanswered,
    /// The caller left before the answer was delivered.
    CallerLeft,
}

/// Request methods as metrics tell them apart: a caller cannot make new series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    Other,
    /// A connection of a TCP edge.
    Tcp,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Delete,
        Self::Options,
        Self::Patch,
        Self::Other,
        Self::Tcp,
    ];

    /// The method of this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// As metrics write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Other => "OTHER",
            Self::Tcp => "TCP",
        }
    }
}

/// What the report of a run is made with, beside its events: the file, and what was said beside it. It holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// The text of the file, line for line, without values that must not be told.
    pub text: String,
    /// `--set`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<(String, String)>,
    /// `--upstream`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<(Option<String>, String)>,
    /// What is filled in for `${env.NAME}`, instead of the values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filled: Vec<(String, String)>,
    /// The run's own name.
    pub run: String,
    /// When the user's command ran: `all`, `fault` or `each`.
    pub during: String,
    /// `--allow-vacuous`.
    #[serde(default)]
    pub allow_vacuous: bool,
    /// `--expect-exit`.
    #[serde(default)]
    pub expect_exit: Option<u8>,
}

/// Something that happened. Times are in seconds from the start of the run (or of the process in `serve`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run (or a serving process) began.
    Started {
        /// The experiment's name.
        name: String,
        /// Of Brownout.
        version: String,
        /// The file.
        file: String,
        /// Of the file's text.
        sha256: String,
        /// How it was called.
        argv: Vec<String>,
        /// The seed in force.
        seed: u64,
        /// Wall-clock time, RFC 3339.
        at: String,
        /// Name, from and to of each edge, in the order of their ids.
        edges: Vec<(String, String, String)>,
        /// What its report is made with, if that can be told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recipe: Option<Box<Recipe>>,
    },
    /// A phase began.
    Phase {
        /// Which.
        phase: Phase,
    },
    /// A fault is in force.
    Armed {
        /// Its name.
        fault: Name,
        /// The edges it is on.
        edges: Vec<u16>,
        /// The services it is about.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        services: Vec<Name>,
        /// Who armed it.
        owner: String,
    },
    /// A fault is not in force any more; the counts are those of all its armings so far.
    Healed {
        /// Its name.
        fault: Name,
        /// Why: `end`, `ttl`, `schedule`, `hand`, `halt`, `guardrail`, `reload`.
        why: String,
        /// Exchanges that passed its matchers.
        matched: u64,
        /// Of these, the ones chosen.
        selected: u64,
        /// Of these, the ones in which someone could see it.
        hits: u64,
        /// 99 % of its delays were late by at most this many seconds.
        delay_error_p99: Option<f64>,
    },
    /// One exchange that a fault struck.
    Struck {
        /// The edge.
        edge: u16,
        /// The phase of its head.
        phase: Phase,
        /// When its head came.
        began: f64,
        /// How long it took.
        took: f64,
        /// The method.
        method: Method,
        /// The status sent; 0 if none.
        status: u16,
        /// Whose doing the outcome is.
        origin: Origin,
        /// How it ended.
        ending: Ending,
        /// The faults.
        hits: Vec<Hit>,
        /// What was made of its content.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lies: Vec<Lie>,
    },
    /// So many more exchanges were struck than the journal takes lines for.
    Unwritten {
        /// How many.
        struck: u64,
    },
    /// What an edge did within a window that ends at this event's time.
    Window(Window),
    /// Exchanges of an edge that ended within a window: what the analysis reads.
    Passed {
        /// The edge.
        edge: u16,
        /// Only one logical request in so many is kept; 1: all of them.
        one_in: u32,
        /// They.
        exchanges: Vec<Passed>,
    },
    /// Brownout, or the machine it is on, stood still until now.
    Stalled {
        /// For how many seconds.
        seconds: f64,
    },
    /// The built-in load: arrivals so far, and those not sent because too many were out.
    Load {
        /// Arrivals that were sent.
        sent: u64,
        /// Arrivals that were not.
        shed: u64,
        /// Requests that the load gave up after its timeout.
        timed_out: u64,
    },
    /// The command of the user began or ended.
    Command {
        /// What was called.
        argv: Vec<String>,
        /// Its exit code, once it ended.
        exit: Option<i32>,
        /// It had to be stopped at the end of the run.
        stopped: bool,
    },
    /// Something in the life of a service.
    Service {
        /// The service.
        service: Name,
        /// Its how manyth process this is, from 1; 0 before the first.
        incarnation: u32,
        /// What.
        #[serde(flatten)]
        did: Did,
    },
    /// A deed on a service was carried out, or could not be.
    Deed {
        /// The fault.
        fault: Name,
        /// The service.
        service: Name,
        /// `env`, `process` or `hook`.
        action: String,
        /// Whether it was verified.
        done: bool,
        /// What was done, or why it could not be.
        text: String,
    },
    /// A deed was taken back, or could not be.
    Undone {
        /// The fault.
        fault: Name,
        /// The service.
        service: Name,
        /// `env`, `process` or `hook`.
        action: String,
        /// Whether it was verified.
        done: bool,
        /// What was done; if it could not be: why, and how to do it by hand.
        text: String,
    },
    /// A probe was answered.
    Probe {
        /// The expectation it belongs to.
        probe: Name,
        /// How.
        saw: Saw,
        /// How long the answer took, in seconds.
        took: f64,
        /// What was wrong, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// A guardrail was breached.
    Guardrail {
        /// Its name.
        name: Name,
        /// The key that was breached.
        key: String,
        /// What was observed; infinite is written as `null`.
        #[serde(deserialize_with = "infinite_if_null")]
        observed: f64,
    },
    /// Something a reader of the report should know.
    Warning {
        /// In words.
        text: String,
    },
    /// Something could not be done, and the run is not what it should have been.
    Trouble {
        /// The exit code that says so.
        exit: u8,
        /// In words.
        text: String,
    },
    /// The user asked to stop.
    Interrupted {
        /// The signal's name.
        signal: String,
    },
    /// The run is over.
    Finished,
}

/// JSON has no infinity: serde writes `null` for it.
fn infinite_if_null<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::INFINITY))
}

/// An event and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Seconds from the start.
    pub t: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Histogram;
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;

    /// Times and values are kept to the microsecond, so that text and number are the same thing.
    fn seconds() -> impl Strategy<Value = f64> {
        (0u64..10_000_000_000).prop_map(|micros| micros as f64 / 1e6)
    }

    fn phase() -> impl Strategy<Value = Phase> {
        prop::sample::select(&Phase::ALL[..])
    }

    fn name() -> impl Strategy<Value = Name> {
        "[a-zäß🦀\\\\{}'=,]([a-z /.:äß🦀\\\\{}'=,-]{0,20}[a-z])?".prop_map(|text| text.parse().unwrap())
    }

    fn hit() -> impl Strategy<Value = Hit> {
        (name(), "[a-z]{1,9}").prop_map(|(fault, action)| Hit { fault, action: action.into() })
    }

    fn lie() -> impl Strategy<Value = Lie> {
        (name(), any::<String>(), any::<String>()).prop_map(|(fault, was, became)| Lie {
            fault,
            place: "$.a".into(),
            was,
            became,
        })
    }

    fn histogram() -> impl Strategy<Value = Histogram> {
        vec(any::<u32>(), 0..9).prop_map(|values| {
            let mut histogram = Histogram::default();
            values.into_iter().for_each(|micros| histogram.record(Duration::from_micros(micros.into())));
            histogram
        })
    }

    fn window() -> impl Strategy<Value = Window> {
        let by_status = || btree_map(any::<u16>(), any::<u64>(), 0..5);
        let by_origin = btree_map(prop::sample::select(&Origin::ALL[..]), any::<u64>(), 0..4);
        let maps = (by_status(), by_status(), by_origin, histogram(), histogram());
        (any::<u16>(), option::of(phase()), any::<[u64; 13]>(), maps).prop_map(|(edge, phase, n, maps)| {
            Window {
                edge,
                phase,
                requests: n[0],
                failed: n[1],
                injected: n[2],
                injected_failed: n[3],
                health: n[4],
                in_flight: n[5],
                connections: n[6],
                abandoned: n[7],
                zombie: n[8],
                duplicates_differ: n[8] / 2,
                logical: n[11],
                retries: n[12],
                bytes_up: n[9],
                bytes_down: n[10],
                by_status: maps.0,
                injected_by_status: maps.1,
                by_origin: maps.2,
                durations: maps.3,
                injected_durations: maps.4,
            }
        })
    }

    fn struck() -> impl Strategy<Value = Event> {
        let endings = [Ending::Complete, Ending::Incomplete, Ending::Unanswered, Ending::CallerLeft];
        let how = (
            prop::sample::select(&Method::ALL[..]),
            prop::sample::select(&Origin::ALL[..]),
            prop::sample::select(endings.to_vec()),
        );
        let what = (vec(hit(), 0..4), vec(lie(), 0..3));
        (any::<u16>(), phase(), seconds(), seconds(), any::<u16>(), how, what).prop_map(
            |(edge, phase, began, took, status, (method, origin, ending), (hits, lies))| Event::Struck {
                edge,
                phase,
                began,
                took,
                method,
                status,
                origin,
                ending,
                hits,
                lies,
            },
        )
    }

    fn passed() -> impl Strategy<Value = Passed> {
        let identity = prop_oneof![
            Just(Identity::None),
            any::<u64>().prop_map(Identity::Given),
            any::<u64>().prop_map(Identity::Trace),
            any::<u64>().prop_map(Identity::Fingerprint),
        ];
        let endings = [Ending::Complete, Ending::Incomplete, Ending::Unanswered, Ending::CallerLeft];
        let how = (
            prop::sample::select(&Origin::ALL[..]),
            prop::sample::select(endings.to_vec()),
            any::<[bool; 3]>(),
            any::<u16>(),
        );
        let times = (seconds(), seconds(), option::of(seconds()), option::of(seconds()), seconds());
        (times, how, identity, any::<u32>(), option::of(0u32..100_000)).prop_map(
            |(
                (began, took, zombie, upstream, held),
                (origin, ending, flags, status),
                identity,
                target,
                wait,
            )| {
                Passed {
                    began,
                    took,
                    zombie,
                    upstream,
                    held,
                    status,
                    origin,
                    ending,
                    failed: flags[0],
                    timed: flags[1],
                    hit: flags[2],
                    identity,
                    target,
                    retry_after: wait.map(|wait| wait as f32 / 4.0),
                }
            },
        )
    }

    fn event() -> impl Strategy<Value = Event> {
        let text = || any::<String>();
        let names = vec((text(), text(), text()), 0..3);
        let started = (text(), text(), text(), text(), vec(text(), 0..3), any::<u64>(), text(), names);
        prop_oneof![
            started.prop_map(|(name, version, file, sha256, argv, seed, at, edges)| Event::Started {
                version,
                file,
                sha256,
                argv,
                seed,
                at,
                recipe: Some(Box::new(Recipe {
                    text: name.clone(),
                    expect_exit: Some(6),
                    ..Recipe::default()
                })),
                name,
                edges
            }),
            phase().prop_map(|phase| Event::Phase { phase }),
            (name(), vec(any::<u16>(), 0..3), text()).prop_map(|(fault, edges, owner)| Event::Armed {
                fault,
                edges,
                services: Vec::new(),
                owner
            }),
            (name(), text(), any::<[u64; 3]>(), option::of(seconds())).prop_map(|(fault, why, n, p99)| {
                Event::Healed { fault, why, matched: n[0], selected: n[1], hits: n[2], delay_error_p99: p99 }
            }),
            struck(),
            any::<u64>().prop_map(|struck| Event::Unwritten { struck }),
            window().prop_map(Event::Window),
            (any::<u16>(), 0u32..20, vec(passed(), 0..5)).prop_map(|(edge, step, exchanges)| Event::Passed {
                edge,
                one_in: 1 << step,
                exchanges
            }),
            seconds().prop_map(|seconds| Event::Stalled { seconds }),
            any::<[u64; 3]>().prop_map(|n| Event::Load { sent: n[0], shed: n[1], timed_out: n[2] }),
            (vec(text(), 0..3), option::of(any::<i32>()), any::<bool>())
                .prop_map(|(argv, exit, stopped)| Event::Command { argv, exit, stopped }),
            (name(), text(), prop_oneof![seconds(), Just(f64::INFINITY)])
                .prop_map(|(name, key, observed)| Event::Guardrail { name, key, observed }),
            text().prop_map(|text| Event::Warning { text }),
            text().prop_map(|signal| Event::Interrupted { signal }),
            Just(Event::Finished),
        ]
    }

    proptest! {
        #[test]
        fn every_event_comes_back_from_its_line(t in seconds(), event in event()) {
            let stamped = Stamped { t, event };
            let line = serde_json::to_string(&stamped).unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<Stamped>(&line).unwrap(), stamped, "{}", line);
        }
    }

    #[test]
    fn a_line_says_what_the_format_says() {
        let mut window = Window { phase: Some(Phase::Fault), ..Window::default() };
        window.by_status.insert(503, 2);
        window.durations.record(Duration::from_millis(1));
        let line = serde_json::to_value(Stamped { t: 1.25, event: Event::Window(window) }).unwrap();
        assert_eq!(line["t"], 1.25);
        assert_eq!(line["event"], "window");
        assert_eq!(line["phase"], "fault");
        assert_eq!(line["by_status"]["503"], 2);
        assert_eq!(line["durations"].as_object().unwrap().len(), 1);
    }
}
