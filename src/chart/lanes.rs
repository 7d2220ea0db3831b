//! The run at a glance: its phases, and below them in lanes what went on meanwhile, all on one time axis.

use super::axis::times;
use super::frame::Frame;
use super::svg::Px;
use super::text::{self, fit};
use super::time::phase_class;
use maud::{Markup, html};

/// One thing over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lane {
    /// What stands before it.
    pub name: String,
    /// When something was.
    pub stretches: Vec<Stretch>,
}

/// A stretch of a lane.
#[derive(Clone, Debug, PartialEq)]
pub enum Stretch {
    /// A fault was in force.
    Fault(f64, f64, String),
    /// An edge was ill.
    Ill(f64, f64, String),
    /// An edge was ill because another was.
    Followed(f64, f64, String),
    /// Something is as it should be: a process that is ready.
    Well(f64, f64, String),
    /// Something is not: a process with another environment, an exposure.
    Odd(f64, f64, String),
    /// A moment, with a sign on it.
    Mark(f64, String, String),
}

const WIDTH: f64 = 1080.0;
const LEFT: f64 = 210.0;
const RIGHT: f64 = 1064.0;
const HEAD: f64 = 26.0;
const LANE: f64 = 24.0;

/// All of it. A frame's own faults and marks are not drawn: they are lanes here.
#[must_use]
pub fn lanes(frame: &Frame, lanes: &[Lane]) -> Markup {
    let foot = HEAD + 6.0 + lanes.len() as f64 * LANE + 4.0;
    let height = foot + 22.0;
    let says = frame
        .phases
        .iter()
        .map(|band| format!("{} from {} to {}", band.name, text::clock(band.from), text::clock(band.to)))
        .collect::<Vec<_>>()
        .join(", ");
    let title = format!("the run over time: {says}");
    let x = |t: f64| LEFT + frame.place(t) * (RIGHT - LEFT);
    html! {
        svg class="chart wide" viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(title) xmlns="http://www.w3.org/2000/svg" {
            title { (title) }
            @for band in &frame.phases {
                @let (from, to) = (x(band.from), x(band.to));
                @if to - from > 0.2 {
                    rect class=(format!("phase {}", phase_class(&band.name))) x=(Px(from)) y="4" width=(Px(to - from)) height=(Px(foot - 4.0)) {}
                    line class="grid" x1=(Px(from)) x2=(Px(from)) y1="4" y2=(Px(foot)) {}
                    @if text::width(&band.name) * 12.0 <= to - from - 4.0 {
                        text class="phase-name" x=(Px(f64::midpoint(from, to))) y="19" { (band.name) }
                    }
                }
            }
            @for (n, lane) in lanes.iter().enumerate() {
                @let middle = HEAD + 6.0 + (n as f64 + 0.5) * LANE;
                line class="grid" x1=(Px(LEFT)) x2=(Px(RIGHT)) y1=(Px(middle)) y2=(Px(middle)) {}
                text class="lane end" x=(Px(LEFT - 10.0)) y=(Px(middle + 4.0)) {
                    title { (lane.name) }
                    (fit(&lane.name, (LEFT - 14.0) / 12.0))
                }
                @for stretch in &lane.stretches { (drawn(stretch, x, middle)) }
            }
            line class="axis" x1=(Px(LEFT)) x2=(Px(RIGHT)) y1=(Px(foot)) y2=(Px(foot)) {}
            @for (t, text) in times(frame.from, frame.to, 11) {
                line class="axis" x1=(Px(x(t))) x2=(Px(x(t))) y1=(Px(foot)) y2=(Px(foot + 4.0)) {}
                text class="tick mid" x=(Px(x(t))) y=(Px(foot + 16.0)) { (text) }
            }
        }
    }
}

fn drawn(stretch: &Stretch, x: impl Fn(f64) -> f64, middle: f64) -> Markup {
    let bar = |class: &str, from: f64, to: f64, name: &str, half: f64| {
        let (from, to) = (x(from), x(to));
        html! {
            rect class=(class) x=(Px(from)) y=(Px(middle - half)) width=(Px((to - from).max(2.0))) height=(Px(half * 2.0)) rx="1.5" {
                title { (name) }
            }
        }
    };
    match stretch {
        Stretch::Fault(from, to, name) => bar("fault-bar", *from, *to, name, 4.0),
        Stretch::Ill(from, to, name) => bar("bar ill", *from, *to, name, 5.0),
        Stretch::Followed(from, to, name) => bar("bar followed", *from, *to, name, 5.0),
        Stretch::Well(from, to, name) => bar("bar well", *from, *to, name, 4.0),
        Stretch::Odd(from, to, name) => bar("bar odd", *from, *to, name, 4.0),
        Stretch::Mark(at, sign, name) => html! {
            g class="mark" {
                title { (name) }
                circle cx=(Px(x(*at))) cy=(Px(middle)) r="8.5" {}
                text x=(Px(x(*at))) y=(Px(middle + 3.8)) { (fit(sign, 1.4)) }
            }
        },
    }
}
