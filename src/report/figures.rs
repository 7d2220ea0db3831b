//! Figures and words as people read them, in few digits and within a width.

use crate::units::{Span, Unit};
use std::time::Duration;

/// A value of this unit, short.
#[must_use]
pub fn number(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Ratio => share(value),
        Unit::Seconds => seconds(value),
        Unit::PerSecond => format!("{}/s", digits(value)),
        Unit::Count => digits(value),
        Unit::Times => format!("{}x", digits(value)),
    }
}

/// A rate per second as one per hour, with three digits.
#[must_use]
pub fn per_hour(rate: f64) -> String {
    let rate = rate * 3600.0;
    let decimals = match rate.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        v if v >= 0.1 => 2,
        v if v >= 0.01 => 3,
        _ => 5,
    };
    let text = format!("{rate:.decimals$}");
    let text = if decimals == 0 { &text } else { text.trim_end_matches('0').trim_end_matches('.') };
    format!("{text}/h")
}

/// A share in percent; never `100%` or `0%` unless it is.
#[must_use]
pub fn share(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent > 0.0 && percent < 0.01 {
        "<0.01%".into()
    } else if percent < 100.0 && percent > 99.99 {
        ">99.99%".into()
    } else {
        let text = format!("{percent:.2}");
        format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// A duration with three digits at most.
#[must_use]
pub fn seconds(value: f64) -> String {
    match value {
        v if v >= 59.95 => clock(v),
        v if v >= 0.9995 => format!("{}s", digits(v)),
        v => format!("{}ms", digits(v * 1e3)),
    }
}

/// A time of the run, to the second once it is longer than ten.
#[must_use]
pub fn clock(seconds: f64) -> String {
    let step = if seconds >= 9.95 { 1.0 } else { 0.1 };
    let seconds = ((seconds / step).round() * step).max(0.0);
    Span(Duration::try_from_secs_f64(seconds).unwrap_or_default()).to_string()
}

/// Three digits.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    if decimals == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

/// Text of exactly this many columns.
#[must_use]
pub fn fit(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length > width {
        text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
    } else {
        format!("{text}{}", " ".repeat(width - length))
    }
}

/// Lines of at most this many columns, broken at spaces; a longer word has a line of its own.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_digits_and_never_more_than_is_true() {
        for (ratio, text) in [
            (1.0, "100%"),
            (0.999_999, ">99.99%"),
            (0.9999, "99.99%"),
            (0.5, "50%"),
            (0.000_001, "<0.01%"),
            (0.0, "0%"),
        ] {
            assert_eq!(share(ratio), text);
        }
        for (value, text) in [
            (0.0, "0ms"),
            (0.000_41, "0.41ms"),
            (0.012_34, "12.3ms"),
            (0.9994, "999ms"),
            (0.9996, "1s"),
            (1.234, "1.23s"),
            (59.94, "59.9s"),
            (59.96, "1m"),
            (3_725.0, "1h 2m 5s"),
        ] {
            assert_eq!(seconds(value), text);
        }
        for (value, text) in [(0.04, "0s"), (9.94, "9.9s"), (9.96, "10s"), (61.4, "1m 1s"), (-1.0, "0s")] {
            assert_eq!(clock(value), text);
        }
        assert_eq!(number(Unit::PerSecond, 1_234.5), "1234/s");
        assert_eq!(number(Unit::Times, 1.5), "1.5x");
        for (rate, text) in
            [(0.0, "0/h"), (0.01, "0.01/h"), (0.5, "0.5/h"), (0.0012, "0.0012/h"), (12.34, "12.3/h")]
        {
            assert_eq!(per_hour(rate / 3600.0), text);
        }
    }

    #[test]
    fn text_fits_or_is_cut_or_wrapped() {
        assert_eq!(fit("äöü", 5), "äöü  ");
        assert_eq!(fit("checkout", 5), "chec…");
        assert_eq!(wrap("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("longer x", 4), ["longer", "x"]);
    }
}
