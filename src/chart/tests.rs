//! Pictures are XML, bounded in size, and say what they show.

use super::*;
use crate::model::Phase;
use crate::telemetry::{Origin, Window};
use proptest::prelude::*;
use std::time::Duration;

/// The picture as XML, or the test fails.
#[track_caller]
pub(super) fn well_formed(svg: &str) -> String {
    if let Err(error) = roxmltree::Document::parse(svg) {
        panic!("{error}: {svg}");
    }
    svg.to_owned()
}

/// No word of a picture begins or ends outside of it, as far as can be known without a font.
#[track_caller]
pub(super) fn words_within(svg: &str) {
    let document = roxmltree::Document::parse(svg).unwrap();
    let view: Vec<f64> = document
        .root_element()
        .attribute("viewBox")
        .unwrap()
        .split(' ')
        .map(|number| number.parse().unwrap())
        .collect();
    for node in document.descendants().filter(|node| node.has_tag_name("text")) {
        let (x, y): (f64, f64) =
            (node.attribute("x").unwrap().parse().unwrap(), node.attribute("y").unwrap().parse().unwrap());
        assert!((0.0..=view[2]).contains(&x) && (0.0..=view[3]).contains(&y), "{node:?} in {view:?}");
    }
}

fn window(well: u64, failed: u64, injected: u64, millis: u64) -> Window {
    let mut window = Window {
        phase: Some(Phase::Fault),
        requests: well + failed,
        failed,
        injected,
        in_flight: 3 + failed,
        connections: 5,
        ..Window::default()
    };
    (0..well).for_each(|n| window.durations.record(Duration::from_millis(millis + n)));
    window
}

fn frame(to: f64) -> Frame {
    Frame {
        from: 0.0,
        to,
        phases: vec![
            Band::new("baseline", 0.0, to / 3.0),
            Band::new("fault", to / 3.0, to * 0.6),
            Band::new("recovery", to * 0.6, to),
        ],
        faults: vec![Band::new("the <provider> is slow", to / 3.0, to * 0.6)],
        marks: vec![Mark { at: to * 0.4, sign: "1".into(), name: "first & worst".into() }],
    }
}

fn series(windows: usize) -> Series {
    let mut series = Series::default();
    for n in 1..=windows {
        let bad = n > windows / 3 && n < windows / 2;
        let window = if bad { window(2, 8, 3, 1_000) } else { window(12, 0, 0, 20) };
        series.take(n as f64 * 0.25, &window);
    }
    series
}

fn all(frame: &Frame, series: &Series) -> [String; 3] {
    [
        rate(frame, series, "checkout"),
        latency(frame, series, "checkout"),
        in_flight(frame, series, "checkout"),
    ]
    .map(maud::PreEscaped::into_string)
}

#[test]
fn charts_are_xml_and_say_what_they_show() {
    let svgs = all(&frame(60.0), &series(240));
    for svg in &svgs {
        well_formed(svg);
        words_within(svg);
        assert!(svg.contains("role=\"img\"") && svg.contains("<title>checkout, "), "{svg}");
        assert!(svg.contains("the &lt;provider&gt; is slow"));
    }
    assert!(svgs[0].contains("class=\"area upstream\"") && svgs[0].contains(">failed<"), "{}", svgs[0]);
    assert!(svgs[0].contains("class=\"area injected\"") && svgs[0].contains(">by a fault<"));
    assert!(svgs[1].contains(">100ms<") && svgs[1].contains("log scale"), "{}", svgs[1]);
    assert!(svgs[2].contains("at most 11 in flight and 5 connections open"));
}

#[test]
fn a_run_of_hours_is_no_larger_a_picture_than_one_of_minutes() {
    let mut long = Series::default();
    for n in 1..200_000_u32 {
        long.take(f64::from(n) * 0.25, &window(u64::from(n % 7), u64::from(n % 3), 1, u64::from(n % 900)));
    }
    assert!(long.slices().len() <= Series::MOST);
    for svg in all(&frame(50_000.0), &long) {
        well_formed(&svg);
        assert!(svg.len() < 40_000, "{}", svg.len());
    }
}

#[test]
fn nothing_is_a_picture_too() {
    for svg in all(&frame(60.0), &Series::default()).iter().chain(&all(&Frame::default(), &series(9))) {
        well_formed(svg);
        words_within(svg);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
    assert!(all(&frame(60.0), &Series::default())[1].contains("no duration was measured"));
    well_formed(&patterns().into_string());
}

#[test]
fn lanes_show_what_went_on() {
    let stretches = vec![
        Stretch::Fault(20.0, 36.0, "<slow>".into()),
        Stretch::Ill(22.0, 40.0, "ill".into()),
        Stretch::Well(0.0, 10.0, "process 1".into()),
        Stretch::Odd(10.0, 20.0, "process 2".into()),
        Stretch::Mark(22.0, "1".into(), "onset".into()),
    ];
    let lane =
        Lane { name: "a name that is much too long for the room there is before a lane".into(), stretches };
    let svg = lanes(&frame(60.0), &[lane, Lane::default()]).into_string();
    well_formed(&svg);
    words_within(&svg);
    assert!(
        svg.contains("baseline from 0:00 to 0:20")
            && svg.contains("&lt;slow&gt;")
            && svg.contains("…</text>")
    );
}

#[test]
fn failures_are_told_by_whose_doing_they_are() {
    let mut window = window(10, 6, 2, 5);
    window.abandoned = 2;
    window.by_origin.insert(Origin::Internal, 1);
    let mut series = Series::default();
    series.take(0.25, &window);
    let slice = &series.slices()[0];
    let counts = (slice.well, slice.upstream, slice.client, slice.internal, slice.injected);
    assert_eq!(counts, (10, 3, 2, 1, 2));
    assert!((slice.rate() - 72.0).abs() < 1e-9, "{slice:?}");
}

#[test]
fn two_phases_at_one_moment_are_one_piece() {
    let mut series = Series::default();
    series.take(0.25, &window(10, 0, 0, 5));
    series.take(0.2501, &window(0, 5, 0, 5));
    series.take(0.5, &window(4, 0, 0, 5));
    assert_eq!(series.slices().len(), 2);
    let first = &series.slices()[0];
    assert_eq!((first.all(), first.failed(), first.in_flight), (15, 5, 8));
    assert!((first.highest - 60.0).abs() < 1e-9 && (first.lowest - 60.0).abs() < 1e-9);
}

proptest! {
    /// Merging loses no exchange, no height and no depth.
    #[test]
    fn a_short_series_tells_what_a_long_one_does(
        windows in proptest::collection::vec((0u64..20, 0u64..5, 0u64..3, 1u32..9), 1..300),
        most in 2usize..40,
        scale in 0.1..2.0f64,
    ) {
        let (mut long, mut short) = (Series::new(10_000), Series::new(most));
        let mut t = 0.0;
        for (well, failed, injected, quarters) in windows {
            t += f64::from(quarters) * 0.25;
            let window = window(well, failed, injected, 10);
            long.take(t, &window);
            short.take(t, &window);
        }
        prop_assert!(short.slices().len() <= most);
        let sum = |series: &Series, of: fn(&Slice) -> u64| series.slices().iter().map(of).sum::<u64>();
        let most = |series: &Series, of: fn(&Slice) -> u64| series.slices().iter().map(of).max();
        prop_assert_eq!(sum(&long, Slice::all), sum(&short, Slice::all));
        prop_assert_eq!(sum(&long, Slice::failed), sum(&short, Slice::failed));
        prop_assert_eq!(most(&long, |slice| slice.in_flight), most(&short, |slice| slice.in_flight));
        let high = |series: &Series| series.slices().iter().map(|slice| slice.highest).fold(0.0, f64::max);
        prop_assert!((high(&long) - high(&short)).abs() < 1e-6);
        for pair in short.slices().windows(2) {
            prop_assert!(pair[0].to <= pair[1].from + 1e-9);
        }
        let scaled = short.scaled(scale);
        for (real, told) in short.slices().iter().zip(scaled.slices()) {
            prop_assert!((real.rate() - told.rate()).abs() < 1e-9);
            prop_assert!((real.from - told.from * scale).abs() < 1e-6);
        }
        let within = scaled.within(0.0, f64::INFINITY.min(t / scale), 7);
        prop_assert!(within.len() <= 7);
        prop_assert_eq!(within.iter().map(Slice::all).sum::<u64>(), sum(&long, Slice::all));
    }
}
