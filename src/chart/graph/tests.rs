//! Whatever the system, its picture can be read: nothing lies on anything else, and every word fits.

use super::layout::{Layout, Rect, Sizes, layout};
use super::*;
use crate::chart::tests::{well_formed, words_within};
use proptest::prelude::*;

fn edge(name: &str, from: &str, to: &str) -> Edge {
    Edge { name: name.into(), from: from.into(), to: to.into(), ..Edge::default() }
}

fn overlap(a: &Rect, b: &Rect) -> bool {
    (a.x - b.x).abs() < (a.w + b.w) / 2.0 - 1e-6 && (a.y - b.y).abs() < (a.h + b.h) / 2.0 - 1e-6
}

/// Lines may touch only the boxes at their ends.
fn crossed(layout: &Layout, sizes: &Sizes) -> Option<(usize, usize)> {
    for (n, points) in layout.routes.iter().enumerate() {
        for (place, rect) in layout.boxes.iter().enumerate() {
            let own = sizes.edges[n].0 == place || sizes.edges[n].1 == place;
            let inside = |(x, y): (f64, f64)| {
                (x - rect.x).abs() < rect.w / 2.0 - 1e-6 && (y - rect.y).abs() < rect.h / 2.0 - 1e-6
            };
            // Between two points a line stays between their heights, and bends only where no box is.
            let level = |pair: &[(f64, f64)]| (pair[0].1 - pair[1].1).abs() < 1e-6;
            let middle = |pair: &[(f64, f64)]| (f64::midpoint(pair[0].0, pair[1].0), pair[0].1);
            if !own && points.windows(2).any(|pair| level(pair) && inside(middle(pair))) {
                return Some((n, place));
            }
        }
    }
    None
}

fn sizes() -> impl Strategy<Value = Sizes> {
    (2usize..9).prop_flat_map(|count| {
        let boxes = proptest::collection::vec(76.0..190.0f64, count);
        let edges = proptest::collection::vec((0..count, 0..count, 30.0..170.0f64, 12.0..52.0f64), 1..24);
        (boxes, edges).prop_map(|(boxes, edges)| Sizes { boxes, edges })
    })
}

proptest! {
    #[test]
    fn nothing_lies_on_anything_else(sizes in sizes()) {
        let layout = layout(&sizes);
        let all: Vec<&Rect> = layout.boxes.iter().chain(&layout.labels).collect();
        for (n, a) in all.iter().enumerate() {
            prop_assert!(a.x - a.w / 2.0 >= 0.0 && a.x + a.w / 2.0 <= layout.width, "{a:?}");
            prop_assert!(a.y - a.h / 2.0 >= 0.0 && a.y + a.h / 2.0 <= layout.height, "{a:?}");
            for b in &all[n + 1..] {
                prop_assert!(!overlap(a, b), "{a:?} {b:?}");
            }
        }
        prop_assert_eq!(crossed(&layout, &sizes), None);
    }

    /// An edge begins and ends at its boxes, and goes through its words.
    #[test]
    fn every_edge_joins_its_services(sizes in sizes()) {
        let layout = layout(&sizes);
        for ((from, to, ..), (points, label)) in sizes.edges.iter().zip(layout.routes.iter().zip(&layout.labels)) {
            let on_side = |rect: &Rect, (x, y): (f64, f64)| {
                ((x - rect.x).abs() - rect.w / 2.0).abs() < 1e-6 && (y - rect.y).abs() <= rect.h / 2.0
            };
            prop_assert!(on_side(&layout.boxes[*from], points[0]));
            prop_assert!(on_side(&layout.boxes[*to], points[points.len() - 1]));
            prop_assert!(points.iter().any(|(_, y)| (y - label.y).abs() < 1e-6));
        }
    }

    #[test]
    fn whatever_the_names_it_is_xml_and_its_words_fit(
        names in proptest::collection::vec(any::<String>(), 2..6),
        pairs in proptest::collection::vec((0usize..6, 0usize..6, 0usize..6), 1..8),
    ) {
        let edges = pairs.iter().map(|(from, to, state)| Edge {
            name: names[from % names.len()].repeat(3),
            from: names[from % names.len()].clone(),
            to: names[to % names.len()].clone(),
            state: State::ALL[*state],
            order: (*state < 3).then_some(*state),
            detail: "after 12.5 s".into(),
        });
        let svg = Graph { edges: edges.collect() }.draw().into_string();
        well_formed(&svg);
        words_within(&svg);
    }
}

#[test]
fn a_circle_and_a_service_that_calls_itself_have_their_arrows() {
    let graph = Graph {
        edges: vec![
            edge("front", "web", "shop"),
            edge("stock", "shop", "stock"),
            edge("news", "stock", "shop"),
            edge("again", "shop", "shop"),
        ],
    };
    let svg = graph.draw().into_string();
    let document = well_formed(&svg);
    let document = roxmltree::Document::parse(&document).unwrap();
    let count =
        |class: &str| document.descendants().filter(|node| node.attribute("class") == Some(class)).count();
    assert_eq!((count("service"), count("head"), count("way")), (3, 4, 4));
}

#[test]
fn every_state_has_a_sign_of_its_own() {
    let mut edges: Vec<Edge> = State::ALL
        .into_iter()
        .map(|state| Edge { state, ..edge(state.as_str(), "a", state.as_str()) })
        .collect();
    edges[2].order = Some(1);
    edges[3].order = Some(2);
    let svg = Graph { edges }.draw().into_string();
    for state in State::ALL {
        assert!(svg.contains(&format!("class=\"edge {}\"", state.as_str())), "{svg}");
    }
    for sign in [">1<", ">2<", ">!<", ">?<", ">✓<"] {
        assert!(svg.contains(sign), "{sign}");
    }
    well_formed(&format!("<div>{}</div>", legend(&State::ALL).into_string()));
}

#[test]
fn an_empty_system_is_an_empty_picture() {
    well_formed(&Graph::default().draw().into_string());
}
