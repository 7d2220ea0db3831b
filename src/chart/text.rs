//! Texts of pictures: how wide they are, about, and figures in few digits.

/// How wide a text is at a size of one, about, and rather too wide than too narrow: fonts differ.
pub(super) fn width(text: &str) -> f64 {
    text.chars().map(glyph).sum()
}

fn glyph(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '\'' | '.' | ',' | ':' | ';' | '|' | '!' => 0.32,
        ' ' | 'f' | 't' | 'r' | '-' | '/' | '(' | ')' | '[' | ']' | 'I' => 0.42,
        'm' | 'M' | '@' | '%' => 0.96,
        'w' => 0.84,
        'W' => 1.0,
        '→' => 1.0,
        c if c.is_ascii_uppercase() => 0.74,
        c if c.is_ascii() => 0.61,
        // The scripts of the West that stand between ASCII and the broad ones.
        '\u{a0}'..='\u{52f}' => 0.7,
        '–' | '…' | '≤' | '≥' => 0.8,
        _ => 1.1,
    }
}

/// A text that is at most this wide at a size of one, cut with `…` if need be.
pub(super) fn fit(text: &str, most: f64) -> String {
    // What turns the direction of a text, or breaks it, has no place in a label.
    let clean: String =
        text.chars().map(|c| if c.is_control() || is_invisible(c) { ' ' } else { c }).collect();
    if width(&clean) <= most {
        return clean;
    }
    let room = most - width("…");
    let mut used = 0.0;
    let kept: String = clean
        .chars()
        .take_while(|c| {
            used += glyph(*c);
            used <= room
        })
        .collect();
    format!("{}…", kept.trim_end())
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Three digits at most, without zeros at the end.
pub(super) fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    if decimals == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

/// A duration, short: `340ms`, `1.5s`, `2m`.
#[must_use]
pub fn seconds(value: f64) -> String {
    match value {
        v if !v.is_finite() => "–".into(),
        v if v.abs() >= 119.5 => format!("{}m", digits(v / 60.0)),
        v if v.abs() >= 0.9995 => format!("{}s", digits(v)),
        v if v.abs() < 1e-6 => "0ms".into(),
        v => format!("{}ms", digits(v * 1e3)),
    }
}

/// A time of a run, short: `0:05`, `12:30`, `1:02:00`.
#[must_use]
pub fn clock(seconds: f64) -> String {
    let whole = if seconds.is_finite() { seconds.max(0.0).round() as u64 } else { 0 };
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}
