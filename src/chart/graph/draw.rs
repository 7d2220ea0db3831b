//! From places to SVG: boxes, arrows, words, and a sign on each edge that needs no colour.

use super::layout::{Layout, Rect, Sizes, layout};
use super::{Edge, Graph, State};
use crate::chart::svg::{Path, Px};
use crate::chart::text::{fit, width};
use maud::{Markup, html};

const NAME: f64 = 13.0;
const SMALL: f64 = 11.0;
/// The widest a name, and the words of an edge, may be.
const BOX: f64 = 190.0;
const WORDS: f64 = 170.0;
/// Wider than this, a picture keeps its size.
const LONG: f64 = 1_300.0;

impl Graph {
    /// The picture, in its own size: as wide as the system is deep.
    #[must_use]
    pub fn draw(&self) -> Markup {
        let names = self.names();
        let place = |name: &str| names.iter().position(|other| *other == name).unwrap_or(0);
        let sizes = Sizes {
            boxes: names.iter().map(|name| (width(name) * NAME * 1.06 + 26.0).clamp(76.0, BOX)).collect(),
            edges: self
                .edges
                .iter()
                .map(|edge| {
                    let (w, h) = words(edge);
                    (place(&edge.from), place(&edge.to), w, h)
                })
                .collect(),
        };
        let places = layout(&sizes);
        let title = self.says();
        let class = if places.width > LONG { "chart graph long" } else { "chart graph" };
        html! {
            svg class=(class) width=(Px(places.width)) height=(Px(places.height)) role="img" aria-label=(title)
                viewBox=(format!("0 0 {:.0} {:.0}", places.width.ceil(), places.height.ceil())) xmlns="http://www.w3.org/2000/svg" {
                title { (title) }
                // Who is ill lies on top.
                @for ill in [false, true] {
                    @for (n, edge) in self.edges.iter().enumerate().filter(|(_, edge)| is_ill(edge.state) == ill) {
                        (drawn(edge, &places, n))
                    }
                }
                @for (name, rect) in names.iter().zip(&places.boxes) { (service(name, rect)) }
            }
        }
    }

    /// Whom the edges name, in their order.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for edge in &self.edges {
            for name in [edge.from.as_str(), edge.to.as_str()] {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    fn says(&self) -> String {
        let edge = |edge: &Edge| {
            let order = edge.order.map_or_else(String::new, |order| format!(", number {order}"));
            format!("{} from {} to {}: {}{order}", edge.name, edge.from, edge.to, edge.state.as_str())
        };
        format!("the system: {}", self.edges.iter().map(edge).collect::<Vec<_>>().join("; "))
    }
}

fn is_ill(state: State) -> bool {
    matches!(state, State::Ill | State::Source | State::Symptom)
}

/// An edge that is called like its service needs not say it twice.
fn called(edge: &Edge) -> &str {
    if edge.name == edge.to { "" } else { &edge.name }
}

/// How much room the words of an edge take: its name over it, its sign on it, its detail under it.
fn words(edge: &Edge) -> (f64, f64) {
    let name = width(called(edge)) * SMALL * 1.06;
    let detail = width(&edge.detail) * SMALL;
    let half = match (called(edge).is_empty(), edge.detail.is_empty(), sign(edge).is_some()) {
        (true, true, false) => 6.0,
        (true, true, true) => 11.0,
        (_, _, false) => 17.0,
        (_, _, true) => 26.0,
    };
    (name.max(detail).clamp(26.0, WORDS) + 6.0, half * 2.0)
}

fn sign(edge: &Edge) -> Option<String> {
    match (edge.order, edge.state) {
        (Some(order), _) => Some(order.to_string()),
        (None, State::Ill | State::Source | State::Symptom) => Some("!".into()),
        (None, State::Unjudged) => Some("?".into()),
        (None, State::Recovered) => Some("✓".into()),
        (None, State::Calm) => None,
    }
}

fn service(name: &str, rect: &Rect) -> Markup {
    html! {
        g class="service" {
            title { (name) }
            rect x=(Px(rect.x - rect.w / 2.0)) y=(Px(rect.y - rect.h / 2.0)) width=(Px(rect.w)) height=(Px(rect.h)) rx="5" {}
            text x=(Px(rect.x)) y=(Px(rect.y + 4.5)) { (fit(name, (rect.w - 22.0) / NAME / 1.06 + 0.01)) }
        }
    }
}

fn drawn(edge: &Edge, places: &Layout, n: usize) -> Markup {
    let (Some(label), Some(points)) = (places.labels.get(n), places.routes.get(n)) else { return html! {} };
    let (line, head) = arrow(points);
    let sign = sign(edge);
    let (above, below) = if sign.is_some() { (13.0, 21.0) } else { (5.0, 14.0) };
    let room = |size: f64| (label.w - 6.0) / size + 0.01;
    html! {
        g class=(format!("edge {}", edge.state.as_str())) {
            title { (format!("{}: {} → {}, {}", edge.name, edge.from, edge.to, edge.state.as_str())) }
            path class="way" d=(line.text()) {}
            path class="head" d=(head.text()) {}
            @if !called(edge).is_empty() {
                text class="name" x=(Px(label.x)) y=(Px(label.y - above)) { (fit(called(edge), room(SMALL * 1.06))) }
            }
            @if !edge.detail.is_empty() {
                text class="detail" x=(Px(label.x)) y=(Px(label.y + below)) { (fit(&edge.detail, room(SMALL))) }
            }
            @if let Some(sign) = &sign {
                circle cx=(Px(label.x)) cy=(Px(label.y)) r="9" {}
                text class="sign" x=(Px(label.x)) y=(Px(label.y + 4.0)) { (sign) }
            }
        }
    }
}

/// A line that bends between two columns only, and the head at its end.
fn arrow(points: &[(f64, f64)]) -> (Path, Path) {
    let (mut line, mut head) = (Path::default(), Path::default());
    let [(x, y), rest @ ..] = points else { return (line, head) };
    line.go('M', &[*x, *y]);
    let mut before = (*x, *y);
    let tip = rest.last().copied().unwrap_or(before);
    let leftward = points.len() > 1 && points[points.len() - 2].0 > tip.0 + 0.05
        || points
            .iter()
            .rev()
            .find(|point| (point.0 - tip.0).abs() > 0.05)
            .is_some_and(|point| point.0 > tip.0);
    let back = if leftward { 7.0 } else { -7.0 };
    for (n, (x, y)) in rest.iter().copied().enumerate() {
        // The line ends in the foot of the head.
        let x = if n + 1 == rest.len() { x + back * 0.8 } else { x };
        if (y - before.1).abs() < 0.05 {
            line.go('H', &[x]);
        } else {
            let middle = f64::midpoint(before.0, x);
            line.go('C', &[middle, before.1, middle, y, x, y]);
        }
        before = (x, y);
    }
    head.go('M', &[tip.0, tip.1]).go('l', &[back, -4.5]).go('v', &[9.0]).go('Z', &[]);
    (line, head)
}

/// What the signs of these states mean.
#[must_use]
pub fn legend(states: &[State]) -> Markup {
    let says = |state: State| match state {
        State::Calm => "as on the baseline",
        State::Ill => "ill",
        State::Source => "source: fell ill by itself, number = order of onset",
        State::Symptom => "symptom: followed one below it",
        State::Unjudged => "nothing can be said",
        State::Recovered => "was ill, is as before",
    };
    let sample = |state: State| match state {
        State::Source | State::Symptom => Some("n"),
        State::Ill => Some("!"),
        State::Unjudged => Some("?"),
        State::Recovered => Some("✓"),
        State::Calm => None,
    };
    html! {
        ul class="states" {
            @for state in states.iter().copied() {
                li {
                    svg class="chart graph" width="40" height="20" viewBox="0 0 40 20" aria-hidden="true" xmlns="http://www.w3.org/2000/svg" {
                        g class=(format!("edge {}", state.as_str())) {
                            path class="way" d="M1 10H33" {}
                            path class="head" d="M39 10l-7 -4.5v9Z" {}
                            @if let Some(sign) = sample(state) {
                                circle cx="17" cy="10" r="8" {}
                                text class="sign" x="17" y="14" { (sign) }
                            }
                        }
                    }
                    (says(state))
                }
            }
        }
    }
}
