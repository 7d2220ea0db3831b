//! Charts over time of one edge: how many and how they ended, how long they took, how many at once. Small, and all alike in
//! their time axis, so that they can be read against each other.

use super::axis::{Axis, Kind, times};
use super::frame::Frame;
use super::series::{Series, Slice};
use super::svg::{Path, Px};
use super::text::{self, digits, fit, seconds};
use maud::{Markup, html};

/// The picture.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 136.0;
/// The part of it in which the values are.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 352.0;
const TOP: f64 = 30.0;
const FOOT: f64 = 116.0;
/// So many pieces are drawn of gauges, and of rates and latencies, which jump about where few exchanges make a piece.
const FINE: usize = 300;
const COARSE: usize = 120;
/// The shortest of these, in seconds.
const SHORT: f64 = 0.75;
/// A piece that is longer than this, in seconds, may hide a peak: it is drawn beside.
const HIDES: f64 = 5.0;
/// A line goes on over a gap of this many pieces.
const BRIDGE: f64 = 3.5;

/// Requests (or connections) per second, with the share that failed at the foot, by whose doing.
#[must_use]
pub fn rate(frame: &Frame, series: &Series, edge: &str) -> Markup {
    let slices = series.within(frame.from, frame.to, coarse(frame));
    let peaks = slices.iter().any(|slice| slice.seconds > HIDES);
    let peak = |slice: &Slice| if peaks { slice.highest } else { slice.rate() };
    let highest = slices.iter().map(peak).fold(0.0, f64::max);
    let (all, failed, injected) = slices.iter().fold((0, 0, 0), |(all, failed, injected), slice| {
        (all + slice.all(), failed + slice.failed(), injected + slice.injected)
    });
    let says = match all {
        0 => "nothing came".to_owned(),
        _ => format!(
            "{all} in all, at most {} per second, {failed} failed, {injected} answered by a fault",
            digits(highest)
        ),
    };
    let axis = Axis::over(Kind::Count, slices.iter().map(peak));
    // Each layer is drawn from the foot, the widest first: what stands lower hides what is behind it.
    type Layer = (&'static str, &'static str, fn(&Slice) -> u64);
    let layers: [Layer; 5] = [
        ("well", "answered", |slice| slice.well),
        ("injected", "by a fault", |slice| slice.injected),
        ("internal", "by Brownout", |slice| slice.internal),
        ("client", "caller left", |slice| slice.client),
        ("upstream", "failed", |slice| slice.upstream),
    ];
    let seen = |layer: &Layer| slices.iter().any(|slice| layer.2(slice) > 0);
    let area = |n: usize| {
        let height = |slice: &Slice| {
            let count: u64 = layers[n..].iter().map(|layer| layer.2(slice)).sum();
            axis.place(count as f64 / slice.seconds.max(0.02))
        };
        steps(frame, &slices, height, Shape::Area)
    };
    let body = html! {
        @for (n, layer) in layers.iter().enumerate() {
            @if seen(layer) { path class=(format!("area {}", layer.0)) d=(area(n).text()) {} }
        }
        @if peaks {
            path class="envelope" d=(steps(frame, &slices, |slice| axis.place(slice.highest), Shape::Line).text()) {}
        }
    };
    let keys: Vec<Key> = layers
        .iter()
        .skip(1)
        .rev()
        .filter(|layer| seen(layer))
        .map(|layer| Key { class: layer.0, text: layer.1, mark: Swatch::Box })
        .collect();
    picture(frame, &axis, Words { edge, what: "rate", unit: "per second", says: &says }, &keys, &body)
}

/// Half of the durations, 95 % and 99 % of them lie below these lines.
#[must_use]
pub fn latency(frame: &Frame, series: &Series, edge: &str) -> Markup {
    let slices = series.within(frame.from, frame.to, coarse(frame));
    let of = |q: f64| slices.iter().filter_map(move |slice| slice.durations.quantile(q));
    let axis = Axis::over(Kind::Seconds, of(0.5).chain(of(1.0)));
    let highest = of(0.99).fold(0.0, f64::max);
    let says = match slices.iter().any(|slice| slice.durations.count() > 0) {
        true => format!("99 percent within {} or less at the worst moment", seconds(highest)),
        false => "no duration was measured".to_owned(),
    };
    let line =
        |q: f64| joined(frame, &slices, |slice| slice.durations.quantile(q).map(|value| axis.place(value)));
    let worst = steps_where(frame, &slices, |slice| {
        Some((axis.place(slice.durations.quantile(0.5)?), axis.place(slice.durations.quantile(1.0)?)))
    });
    let body = html! {
        @if !worst.is_empty() { path class="spread" d=(worst.text()) {} }
        @for (class, q) in [("p99", 0.99), ("p95", 0.95), ("p50", 0.5)] {
            @let path = line(q);
            @if !path.is_empty() { path class=(format!("line {class}")) d=(path.text()) {} }
        }
    };
    let keys = [("p50", "p50"), ("p95", "p95"), ("p99", "p99")].map(|(class, text)| Key {
        class,
        text,
        mark: Swatch::Line,
    });
    let unit = if axis.is_log() { "log scale" } else { "" };
    picture(frame, &axis, Words { edge, what: "latency", unit, says: &says }, &keys, &body)
}

/// How many exchanges were in flight at once, and how many connections were open.
#[must_use]
pub fn in_flight(frame: &Frame, series: &Series, edge: &str) -> Markup {
    let slices = series.within(frame.from, frame.to, FINE);
    let most = |of: fn(&Slice) -> u64| slices.iter().map(of).max().unwrap_or(0);
    let (flying, open) = (most(|slice| slice.in_flight), most(|slice| slice.connections));
    let says = format!("at most {flying} in flight and {open} connections open");
    let axis = Axis::over(Kind::Count, [flying as f64, open as f64].into_iter());
    let body = html! {
        @if flying > 0 {
            path class="area flying" d=(steps(frame, &slices, |slice| axis.place(slice.in_flight as f64), Shape::Area).text()) {}
        }
        @if open > 0 {
            path class="line open" d=(steps(frame, &slices, |slice| axis.place(slice.connections as f64), Shape::Line).text()) {}
        }
    };
    let keys = [
        Key { class: "flying", text: "in flight", mark: Swatch::Box },
        Key { class: "open", text: "connections", mark: Swatch::Line },
    ];
    picture(frame, &axis, Words { edge, what: "at once", unit: "", says: &says }, &keys, &body)
}

/// The words of a picture.
struct Words<'a> {
    edge: &'a str,
    what: &'a str,
    unit: &'a str,
    says: &'a str,
}

/// An entry of the legend.
struct Key {
    class: &'static str,
    text: &'static str,
    mark: Swatch,
}

enum Swatch {
    Box,
    Line,
}

/// How many pieces there are where they must not be too short.
fn coarse(frame: &Frame) -> usize {
    ((frame.length() / SHORT) as usize).clamp(8, COARSE)
}

fn x(frame: &Frame, t: f64) -> f64 {
    LEFT + frame.place(t) * (RIGHT - LEFT)
}

fn y(place: f64) -> f64 {
    FOOT - place * (FOOT - TOP)
}

/// The frame around the values: what it shows, axes, phases, faults, marks.
fn picture(frame: &Frame, axis: &Axis, words: Words<'_>, keys: &[Key], body: &Markup) -> Markup {
    let title = format!("{}, {}: {}", words.edge, words.what, words.says);
    html! {
        svg class="chart" viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) xmlns="http://www.w3.org/2000/svg" {
            title { (title) }
            text class="what" x="0" y="10" {
                (words.what)
                @if !words.unit.is_empty() { tspan class="unit" dx="4" { (words.unit) } }
            }
            (legend(keys))
            (phases(frame))
            @for (value, text) in axis.ticks() {
                line class="grid" x1=(Px(LEFT)) x2=(Px(RIGHT)) y1=(Px(y(axis.place(value)))) y2=(Px(y(axis.place(value)))) {}
                text class="tick end" x=(Px(LEFT - 5.0)) y=(Px(y(axis.place(value)) + 3.5)) { (text) }
            }
            (body)
            (faults(frame))
            (time_axis(frame))
            (marks(frame))
        }
    }
}

fn legend(keys: &[Key]) -> Markup {
    // From the right edge to the left.
    let mut at = RIGHT;
    let placed: Vec<(f64, &Key)> = keys
        .iter()
        .rev()
        .map(|key| {
            at -= text::width(key.text) * 10.0 + 22.0;
            (at, key)
        })
        .collect();
    html! {
        @for (at, key) in placed {
            @match key.mark {
                Swatch::Box => rect class=(format!("area {}", key.class)) x=(Px(at + 8.0)) y="2.5" width="9" height="8" {},
                Swatch::Line => path class=(format!("line {}", key.class)) d=(format!("M{} 6.5h12", at + 5.0)) {},
            }
            text class="key" x=(Px(at + 20.0)) y="10" { (key.text) }
        }
    }
}

/// The phases behind the values, with their names over them where there is room.
fn phases(frame: &Frame) -> Markup {
    html! {
        @for band in &frame.phases {
            @let (from, to) = (x(frame, band.from), x(frame, band.to));
            @if to - from > 0.2 {
                rect class=(format!("phase {}", phase_class(&band.name))) x=(Px(from)) y=(Px(TOP - 12.0)) width=(Px(to - from))
                    height=(Px(FOOT - TOP + 12.0)) {}
                @if text::width(&band.name) * 9.5 <= to - from - 4.0 {
                    text class="phase-name" x=(Px(f64::midpoint(from, to))) y=(Px(TOP - 3.5)) { (band.name) }
                }
            }
        }
    }
}

/// Only phases that are known have a class of their own: no name gets into it.
pub(super) fn phase_class(name: &str) -> &'static str {
    match name {
        "fault" => "fault",
        "baseline" => "baseline",
        "recovery" => "recovery",
        _ => "other",
    }
}

/// Bars along the foot: when some fault was in force.
fn faults(frame: &Frame) -> Markup {
    html! {
        @for band in &frame.faults {
            @let (from, to) = (x(frame, band.from), x(frame, band.to));
            rect class="fault-bar" x=(Px(from)) y=(Px(FOOT)) width=(Px((to - from).max(1.0))) height="3" {
                title { (format!("fault: {}", band.name)) }
            }
        }
    }
}

fn time_axis(frame: &Frame) -> Markup {
    html! {
        line class="axis" x1=(Px(LEFT)) x2=(Px(RIGHT)) y1=(Px(FOOT)) y2=(Px(FOOT)) {}
        @for (t, text) in times(frame.from, frame.to, 6) {
            @let half = text::width(&text) * 5.0;
            line class="axis" x1=(Px(x(frame, t))) x2=(Px(x(frame, t))) y1=(Px(FOOT)) y2=(Px(FOOT + 4.0)) {}
            text class="tick mid" x=(Px(x(frame, t).min(WIDTH - half))) y=(Px(FOOT + 14.0)) { (text) }
        }
    }
}

fn marks(frame: &Frame) -> Markup {
    html! {
        @for mark in frame.marks.iter().filter(|mark| mark.at >= frame.from && mark.at <= frame.to) {
            @let at = x(frame, mark.at);
            g class="mark" {
                title { (mark.name) }
                line x1=(Px(at)) x2=(Px(at)) y1=(Px(TOP - 5.0)) y2=(Px(FOOT)) {}
                circle cx=(Px(at)) cy=(Px(TOP - 5.0)) r="6.5" {}
                text x=(Px(at)) y=(Px(TOP - 1.5)) { (fit(&mark.sign, 1.4)) }
            }
        }
    }
}

enum Shape {
    Area,
    Line,
}

/// A stair over all pieces; it falls to the foot where nothing was.
fn steps(frame: &Frame, slices: &[Slice], place: impl Fn(&Slice) -> f64, shape: Shape) -> Path {
    let mut path = Path::default();
    let mut last = None;
    for slice in slices {
        let (from, to, height) = (x(frame, slice.from), x(frame, slice.to), y(place(slice)));
        match last {
            None => path.go('M', &[from, FOOT]),
            Some(ended) if from - ended > 0.4 => path.go('V', &[FOOT]).go('H', &[from]),
            Some(_) => &mut path,
        }
        .go('V', &[height])
        .go('H', &[to]);
        last = Some(to);
    }
    if last.is_some() {
        path.go('V', &[FOOT]);
        if matches!(shape, Shape::Area) {
            path.go('Z', &[]);
        }
    }
    path
}

/// Boxes between two values, for the pieces that have them.
fn steps_where(frame: &Frame, slices: &[Slice], places: impl Fn(&Slice) -> Option<(f64, f64)>) -> Path {
    let mut path = Path::default();
    for slice in slices {
        if let Some((low, high)) = places(slice).filter(|(low, high)| high - low > 0.01) {
            path.go('M', &[x(frame, slice.from), y(low)])
                .go('V', &[y(high)])
                .go('H', &[x(frame, slice.to)])
                .go('V', &[y(low)])
                .go('Z', &[]);
        }
    }
    path
}

/// A line through the middles of the pieces that have a value; a long gap stays one.
fn joined(frame: &Frame, slices: &[Slice], place: impl Fn(&Slice) -> Option<f64>) -> Path {
    let bridge = (RIGHT - LEFT) / coarse(frame) as f64 * BRIDGE;
    let mut path = Path::default();
    let mut last: Option<f64> = None;
    for slice in slices {
        let Some(height) = place(slice).map(y) else { continue };
        let at = x(frame, f64::midpoint(slice.from, slice.to));
        match last {
            Some(before) if at - before <= bridge => path.go('L', &[at, height]),
            // A point that stays alone is still seen.
            _ => path.go('M', &[at, height]).go('h', &[0.1]),
        };
        last = Some(at);
    }
    path
}
