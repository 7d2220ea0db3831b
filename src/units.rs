//! The quantities users write, each a type that cannot hold a wrong value.
//!
//! Every type parses what a user writes (`"250ms"`, `"64 KiB"`, `"50/s"`, `">= 99%"`) and displays it the same way.
//! A parse error is a sentence for the user: what is wrong and an example of what is right.
//! Knows nothing of files, lines or spans.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A share of something, 0 to 100, any fraction.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    /// All of it.
    pub const ALL: Self = Self(100.0);

    /// A percentage; `None` outside 0 to 100.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        (0.0..=100.0).contains(&value).then_some(Self(value))
    }

    /// As a number from 0 to 100.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// As a ratio from 0 to 1.
    #[must_use]
    pub fn ratio(self) -> f64 {
        self.0 / 100.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for Percent {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim().trim_end_matches('%').trim_end();
        number
            .parse()
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| format!("`{text}` is not a percentage from 0 to 100, such as `5` or `\"0.5%\"`"))
    }
}

/// A length of time: `"250ms"`, `"1.5s"`, `"2m"`, `"1h 30m"`; at most 365 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Span(pub Duration);

impl Span {
    const MAX: f64 = 365.0 * 86_400.0;
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not a duration, such as `\"250ms\"`, `\"1.5s\"`, `\"2m\"` or `\"1h 30m\"`")
        };
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut seconds = 0.0;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .ok_or_else(|| format!("`{text}` has no unit: write `\"{text}ms\"` or `\"{text}s\"`"))?;
            let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = rest[digits..].trim_start();
            let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
            let scale = match &rest[..letters] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" | "sec" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3_600.0,
                "d" => 86_400.0,
                _ => return Err(wrong()),
            };
            seconds += number * scale;
            rest = rest[letters..].trim_start();
        }
        if !(0.0..=Self::MAX).contains(&seconds) {
            return Err(format!("`{text}` is longer than 365 days"));
        }
        Ok(Self(Duration::from_nanos((seconds * 1e9).round() as u64)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let seconds = self.0.as_secs();
        if nanos == 0 {
            write!(f, "0s")
        } else if nanos < 1_000_000 {
            write!(f, "{}us", trim(nanos as f64 / 1e3))
        } else if nanos < 1_000_000_000 {
            write!(f, "{}ms", trim(nanos as f64 / 1e6))
        } else if seconds < 60 || !nanos.is_multiple_of(1_000_000_000) {
            write!(f, "{}s", trim(nanos as f64 / 1e9))
        } else {
            let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
            let text: Vec<String> =
                parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
            write!(f, "{}", text.join(" "))
        }
    }
}

/// Up to three decimals, none that say nothing.
fn trim(value: f64) -> String {
    // No minus before a nothing.
    let text = format!("{:.3}", value + 0.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// How often: `"50/s"`, `"600/m"`, `"10/h"`; kept per second, above zero.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// A rate per second; `None` unless above zero and finite.
    #[must_use]
    pub fn per_second(value: f64) -> Option<Self> {
        (value > 0.0 && value.is_finite()).then_some(Self(value))
    }

    /// Events per second.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a rate, such as `\"50/s\"` or `\"600/m\"`");
        let (number, unit) = text.trim().split_once('/').ok_or_else(wrong)?;
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        let scale = match unit.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        Self::per_second(number / scale).ok_or_else(|| format!("`{text}` is not above zero"))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&per(self.0))
    }
}

/// A rate per second; what is rare, per hour.
fn per(second: f64) -> String {
    match second {
        rare if rare > 0.0 && rare < 0.01 => format!("{}/h", trim(rare * 3600.0)),
        often => format!("{}/s", trim(often)),
    }
}

/// A number of bytes: `"64 KiB"`, `"1.5 MB"`, `"512"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a size, such as `\"64 KiB\"`, `\"1 MB\"` or `\"512 B\"`");
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let number: f64 = trimmed[..digits].parse().map_err(|_| wrong())?;
        let scale: f64 = match trimmed[digits..].trim_start() {
            "" | "B" => 1.0,
            "kB" | "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "KiB" => 1024.0,
            "MiB" => 1048576.0,
            "GiB" => 1073741824.0,
            _ => return Err(wrong()),
        };
        let bytes = number * scale;
        if bytes > 1e15 {
            return Err(format!("`{text}` is more than a petabyte"));
        }
        Ok(Self(bytes.round() as u64))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (scale, unit) in [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 >= scale {
                return write!(f, "{} {unit}", trim(self.0 as f64 / scale as f64));
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// The name of an edge, a fault, an experiment: 1 to 64 characters, no control characters, no `"` and no surrounding space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(std::sync::Arc<str>);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a name cannot be empty".into());
        }
        if text.chars().count() > 64 {
            return Err(format!("`{text}` is longer than 64 characters"));
        }
        if text.trim() != text || text.chars().any(|c| c.is_control() || c == '"') {
            return Err(format!(
                "`{}` has a quote, a control character or a space at an end",
                text.escape_debug()
            ));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How an observed value is held against a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Op {
    /// `<`
    #[serde(rename = "<")]
    Less,
    /// `<=`
    #[serde(rename = "<=")]
    AtMost,
    /// `>`
    #[serde(rename = ">")]
    More,
    /// `>=`
    #[serde(rename = ">=")]
    AtLeast,
    /// `==`
    #[serde(rename = "==")]
    Equal,
}

impl Op {
    /// Whether `observed op limit` holds.
    #[must_use]
    pub fn holds(self, observed: f64, limit: f64) -> bool {
        match self {
            Self::Less => observed < limit,
            Self::AtMost => observed <= limit,
            Self::More => observed > limit,
            Self::AtLeast => observed >= limit,
            Self::Equal => (observed - limit).abs() <= f64::EPSILON * limit.abs().max(1.0),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
        })
    }
}

/// What a limit is measured in; the number beside it is in the base unit named here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A ratio, 0 to 1; written in percent.
    Ratio,
    /// Seconds; written as a duration.
    Seconds,
    /// Events per second.
    PerSecond,
    /// A plain count.
    Count,
    /// A multiple of something else, written `1.5x`.
    Times,
}

/// A limit in a user's words: `">= 99%"`, `"< 800ms"`, `"<= 1.5x"`, `"> 40/s"`, `"<= 50"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// How to compare.
    pub op: Op,
    /// Against what, in the base unit of `unit`.
    pub limit: f64,
    /// The unit.
    pub unit: Unit,
}

impl Comparison {
    /// Whether the observed value, in the base unit, keeps the limit.
    #[must_use]
    pub fn holds(&self, observed: f64) -> bool {
        self.op.holds(observed, self.limit)
    }

    /// A value of this unit as a user reads it.
    #[must_use]
    pub fn show(unit: Unit, value: f64) -> String {
        match unit {
            Unit::Ratio => format!("{}%", trim(value * 100.0)),
            Unit::Seconds => Span(Duration::from_secs_f64(value.clamp(0.0, Span::MAX))).to_string(),
            Unit::PerSecond => per(value),
            Unit::Count => trim(value),
            Unit::Times => format!("{}x", trim(value)),
        }
    }
}

impl FromStr for Comparison {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let t = text.trim();
        let (op, rest) = [
            ("<=", Op::AtMost),
            (">=", Op::AtLeast),
            ("==", Op::Equal),
            ("<", Op::Less),
            (">", Op::More),
            ("=", Op::Equal),
        ]
        .into_iter()
        .find_map(|(sign, op)| t.strip_prefix(sign).map(|rest| (op, rest.trim())))
        .ok_or_else(|| {
            format!(
                "`{text}` is not a comparison: begin with `<`, `<=`, `>`, `>=` or `==`, such as `\">= 99%\"`"
            )
        })?;
        let wrong = || {
            format!("`{rest}` is not a value to compare with, such as `99%`, `800ms`, `50/s`, `1.5x` or `50`")
        };
        let (limit, unit) = if let Some(number) = rest.strip_suffix('%') {
            (number.trim().parse::<f64>().map_err(|_| wrong())? / 100.0, Unit::Ratio)
        } else if let Some(number) = rest.strip_suffix('x') {
            (number.trim().parse().map_err(|_| wrong())?, Unit::Times)
        } else if let Ok(number) = rest.parse::<f64>() {
            (number, Unit::Count)
        } else if let Some((number, "s" | "m" | "min" | "h")) =
            rest.split_once('/').map(|(n, per)| (n.trim(), per.trim()))
            && number.parse() == Ok(0.0)
        {
            (0.0, Unit::PerSecond)
        } else if rest.contains('/') {
            (rest.parse::<Rate>().map_err(|_| wrong())?.get(), Unit::PerSecond)
        } else {
            (rest.parse::<Span>().map_err(|_| wrong())?.0.as_secs_f64(), Unit::Seconds)
        };
        if !limit.is_finite() || limit < 0.0 {
            return Err(wrong());
        }
        Ok(Self { op, limit, unit })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.op, Self::show(self.unit, self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, nanos) in [
            ("250ms", 250_000_000),
            ("1.5s", 1_500_000_000),
            ("2m", 120_000_000_000),
            ("1h 30m", 5_400_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("0s", 0),
            ("10us", 10_000),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().0.as_nanos(), nanos, "{text}");
        }
        for text in ["", "5", "ms", "-1s", "5 parsecs", "1..5s", "400d", "nan s", "1s5"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        assert_eq!(Span(Duration::from_millis(90_000)).to_string(), "1m 30s");
        assert_eq!(Span(Duration::from_micros(1500)).to_string(), "1.5ms");
    }

    #[test]
    fn comparisons() {
        let c: Comparison = ">= 99%".parse().unwrap();
        assert_eq!((c.op, c.unit), (Op::AtLeast, Unit::Ratio));
        assert!(c.holds(0.99) && !c.holds(0.989));
        assert_eq!(c.to_string(), ">= 99%");
        assert_eq!("< 800ms".parse::<Comparison>().unwrap().limit, 0.8);
        assert_eq!("<= 1.5x".parse::<Comparison>().unwrap().unit, Unit::Times);
        assert_eq!("> 40/s".parse::<Comparison>().unwrap().unit, Unit::PerSecond);
        assert_eq!("<= 50".parse::<Comparison>().unwrap().unit, Unit::Count);
        let rare: Comparison = "< 0.01/h".parse().unwrap();
        assert_eq!((rare.unit, rare.to_string().as_str()), (Unit::PerSecond, "< 0.01/h"));
        assert!(!"<= 0/h".parse::<Comparison>().unwrap().holds(0.01));
        for text in ["99%", ">= ", "< soon", "<> 5", "< -5", "< nan"] {
            assert!(text.parse::<Comparison>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_rates_percents_and_names() {
        assert_eq!("64 KiB".parse::<Bytes>().unwrap().0, 65_536);
        assert_eq!("512".parse::<Bytes>().unwrap().0, 512);
        assert_eq!(Bytes(65_536).to_string(), "64 KiB");
        assert!("64 KB/s".parse::<Bytes>().is_err());
        assert_eq!("600/m".parse::<Rate>().unwrap().get(), 10.0);
        assert!("0/s".parse::<Rate>().is_err());
        assert_eq!("0.5%".parse::<Percent>().unwrap().get(), 0.5);
        assert!("101".parse::<Percent>().is_err() && "NaN".parse::<Percent>().is_err());
        assert!("config change".parse::<Name>().is_ok());
        assert!(
            " x".parse::<Name>().is_err() && "".parse::<Name>().is_err() && "a\nb".parse::<Name>().is_err()
        );
    }
}
