//! `[[expect]]` and `[[guardrail]]`.

use super::probe::HTTP;
use super::process::*;
use super::words::*;
use super::{Family, Kind, Shape, key};

/// `p50` to `p999`: the share of exchanges, from 0 to 1.
pub(crate) fn quantile(key: &str) -> Option<f64> {
    let digits = key.strip_prefix('p')?;
    if !(2..=4).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u32 = digits.parse().ok()?;
    let plain = digits.len() == 2 || !digits.ends_with('0');
    (number > 0 && plain).then(|| f64::from(number) / 10f64.powi(digits.len() as i32))
}

pub(super) fn is_quantile(key: &str) -> bool {
    quantile(key).is_some()
}

pub(super) static QUANTILES: Family = Family {
    name: "p50 … p999",
    pattern: "^p([0-9]{2}|[0-9]{1,3}[1-9])$",
    has: is_quantile,
    key: key(
        "pNN",
        Kind::Word(&LIMIT),
        r#""< 800ms""#,
        "The duration below which so many of 100 (or 1000) exchanges stay.",
    ),
};

macro_rules! judge {
    ($name:literal, $doc:literal, $later:expr, $instead:expr, [$($own:expr),* $(,)?]) => {
        Shape {
            name: $name,
            doc: $doc,
            keys: &[
                $($own,)*
                key("success_rate", Kind::Word(&LIMIT), r#"">= 99%""#, "Exchanges that did not fail, of all."),
                key("error_rate", Kind::Word(&LIMIT), r#""< 1%""#, "Failed exchanges, of all."),
                key(
                    "status_rate",
                    Kind::Map(&STATUS_SET, &Kind::Word(&LIMIT)),
                    r#"{ "503" = "< 1%", 5xx = "< 2%" }"#,
                    "Exchanges with these statuses, of all; also `status_rate.503 = \"< 1%\"`. HTTP only.",
                ),
                key("rate", Kind::Word(&LIMIT), r#""> 40/s""#, "Exchanges per second."),
                key("in_flight", Kind::Word(&LIMIT), r#""<= 200""#, "The most at once."),
                key("open_connections", Kind::Word(&LIMIT), r#""<= 50""#, "The most connections from callers at once."),
                key(
                    "duplicates_differ",
                    Kind::Word(&LIMIT),
                    r#""<= 0""#,
                    "Answers to copies of a request (`duplicate`) that were not the answer to the request itself. HTTP only.",
                ),
                key("include_injected", Kind::Flag, "true", "What Brownout did itself counts too.").default("false"),
            ],
            family: Some(&QUANTILES),
            later: $later,
            instead: $instead,
        }
    };
}

pub(crate) static EXPECT: Shape = judge!(
    "[[expect]]",
    "What must hold: limits on what is measured on an `edge` or a `service`, each of them one check; or what a probe, a request \
     that Brownout makes by itself, must see.",
    &[],
    &[
        ("retries", "amplification"),
        ("attempts", "amplification"),
        ("connections", "open_connections"),
        ("recovery", "recovers_within"),
        ("recovers", "recovers_within"),
        ("source", "onset_source"),
        ("onset", "onset_source"),
        ("order", "onset_order"),
        ("versus", "vs"),
        ("compare", "vs"),
        ("availability", "success_rate"),
        ("errors", "error_rate"),
        ("latency", "p99"),
        ("median", "p50"),
        ("phases", "phase"),
        ("status", "status_rate"),
        ("uptime", "up"),
        ("crashes", "crash_rate"),
        ("url", "http"),
        ("probe", "http"),
        ("interval", "every"),
        ("exposure", "max_exposure"),
    ],
    [
        key("name", Kind::Word(&NAME), r#""checkout stays available""#, "What reports call it.")
            .default("where and what is measured"),
        key("edge", Kind::Word(&TEXT), r#""checkout""#, "Where it is measured: an edge."),
        key("service", Kind::Word(&TEXT), r#""payments""#, "Where it is measured: a service."),
        key(
            "up",
            Kind::Word(&LIMIT),
            r#"">= 99%""#,
            "The share of the time during which the service was ready."
        ),
        key("restarts", Kind::Word(&LIMIT), r#""<= 1""#, "How often the service was started again."),
        key("downtime", Kind::Word(&LIMIT), r#""< 30s""#, "For how long the service was not ready, in all."),
        key("crash_rate", Kind::Word(&LIMIT), r#""< 0.01/h""#, "How often the service ended by itself."),
        key(
            "env",
            Kind::Map(&ENV_NAME, &Kind::Word(&ENV_VALUE)),
            r#"{ ENVIRONMENT = "production" }"#,
            "Variables that the service must have run with all the time; also `env.ENVIRONMENT = \"production\"`.",
        ),
        key(
            "http",
            Kind::Any(&[Kind::Filled(&URL), Kind::Table(&HTTP)]),
            r#"{ edge = "web", path = "/graphql", status = 404 }"#,
            "A probe: this request must be answered so.",
        ),
        key(
            "tcp",
            Kind::Filled(&HOST_PORT),
            r#""127.0.0.1:5432""#,
            "A probe: something must accept connections there."
        ),
        key(
            "command",
            Kind::Many(&Kind::Filled(&ARGUMENT)),
            r#"["./is-closed.sh"]"#,
            "A probe: this command must end with exit code 0.",
        ),
        key("every", Kind::Word(&SOME_TIME), r#""5s""#, "From one probe to the next.").default(r#""1s""#),
        key("timeout", Kind::Word(&SOME_TIME), r#""500ms""#, "How long one probe may take; not scaled.")
            .default(r#""2s""#),
        key(
            "tolerate",
            Kind::OneOf(&[("unreachable", "that nobody answers is neither right nor wrong")], &[]),
            r#""unreachable""#,
            "What a probe may see beside what it must see.",
        )
        .default("nothing"),
        key(
            "max_exposure",
            Kind::Word(&DURATION),
            r#""5m""#,
            "How long a probe may see something wrong at a stretch."
        )
        .default(r#""0s""#),
        key(
            "amplification",
            Kind::Any(&[Kind::Word(&LIMIT), Kind::Table(&AMPLIFICATION)]),
            r#""<= 1.5x""#,
            "Attempts per logical request: what retries make of the traffic. HTTP only.",
        ),
        key(
            "recovers_within",
            Kind::Word(&SOME_TIME),
            r#""15s""#,
            "After heal the edge must be back within this time, and stay so: for at least 5 s and to the end, failures within a \
             point of the baseline and p95 within 1.5 times of it + 20 ms. Judged in the recovery.",
        ),
        key(
            "onset_source",
            Kind::Many(&Kind::Word(&TEXT)),
            r#""provider""#,
            "The edges that must have fallen ill by themselves, not by what is below them; `\"none\"`: no edge may fall ill.",
        ),
        key(
            "onset_order",
            Kind::Many(&Kind::Word(&TEXT)),
            r#"["provider", "database", "checkout"]"#,
            "The edges that must have fallen ill, in this order; others may come between.",
        ),
        key(
            "vs",
            Kind::OneOf(&[("baseline", "the same edge before the faults")], &[]),
            r#""baseline""#,
            "What every limit of this expectation is a multiple of: `p99 = \"<= 1.5x\"`.",
        )
        .default("nothing: limits are what they say"),
        key(
            "phase",
            Kind::Many(&Kind::OneOf(
                &[
                    ("baseline", "before the faults"),
                    ("fault", "under faults"),
                    ("recovery", "after the faults")
                ],
                &[],
            )),
            r#"["fault", "recovery"]"#,
            "In which phases it is judged.",
        )
        .default(r#""fault""#),
        key(
            "baseline",
            Kind::Flag,
            "false",
            "It must hold in the baseline first; if not, nothing can be learned.",
        )
        .default("true"),
    ]
);

pub(crate) static AMPLIFICATION: Shape = Shape {
    name: "amplification",
    doc: "Attempts on this edge for each logical request on another.",
    keys: &[
        key("per", Kind::Word(&TEXT), r#""checkout""#, "The edge whose logical requests are counted.")
            .required(),
        key("is", Kind::Word(&LIMIT), r#""<= 1.5x""#, "The limit.").required(),
    ],
    family: None,
    later: &[],
    instead: &[("edge", "per"), ("limit", "is")],
};

/// What only a whole run can tell, and no guardrail.
pub(crate) const OF_WHOLE_RUNS: [(&str, &str); 5] = [
    ("amplification", "limit the `rate` of the edge instead, such as `rate = \"> 200/s\"`"),
    ("recovers_within", "make an `[[expect]]` of it"),
    ("onset_source", "make an `[[expect]]` of it"),
    ("onset_order", "make an `[[expect]]` of it"),
    ("vs", "a guardrail has limits of its own, such as `error_rate = \"> 50%\"`"),
];

pub(crate) static GUARDRAIL: Shape = judge!(
    "[[guardrail]]",
    "What ends the fault phase: any of its limits, true throughout `for`, heals everything at once.",
    &["service", "restarts", "downtime", "up"],
    &[("connections", "open_connections"), ("errors", "error_rate"), ("duration", "for"), ("latency", "p99")],
    [
        key("name", Kind::Word(&NAME), r#""too many errors""#, "What reports call it.")
            .default("the edge and what is measured"),
        key("edge", Kind::Word(&TEXT), r#""checkout""#, "Where it is measured.").required(),
        key("for", Kind::Word(&DURATION), r#""10s""#, "Breached when true throughout this time.")
            .default(r#""10s""#),
        key("window", Kind::Word(&SOME_TIME), r#""5s""#, "Over which each value is taken.")
            .default(r#""5s""#),
    ]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_keys() {
        for (key, q) in
            [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("p05", 0.05), ("p995", 0.995), ("p9999", 0.9999)]
        {
            assert_eq!(quantile(key), Some(q), "{key}");
        }
        for key in ["p", "p5", "p100", "p00", "p990", "p99999", "pxx", "p-1", "99", "p000"] {
            assert_eq!(quantile(key), None, "{key}");
        }
    }
}
