//! Attempts and logical requests, over times that are told.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const SECOND: u64 = 1_000_000;

/// An attempt from one time to another, in seconds.
fn attempt(began: f64, ended: f64, failed: bool) -> Known {
    let at = |seconds: f64| (seconds * SECOND as f64) as u64;
    let (began, ended) = (at(began), at(ended));
    Known { began, ended, failed: if failed { NonZeroU64::new(ended) } else { None } }
}

#[test]
fn what_repeats_is_a_retry_and_what_only_looks_alike_is_one_after_a_failure() {
    use Attempt::{First, Retry};
    for (what, any, attempts, counted) in [
        (
            "an id",
            true,
            &[(0.0, 1.0, false), (2.0, 3.0, false), (4.0, 5.0, true)][..],
            &[First, Retry, Retry][..],
        ),
        ("an id, much later", true, &[(0.0, 1.0, true), (61.5, 62.0, false)], &[First, First]),
        (
            "an id, late",
            true,
            &[(0.0, 1.0, true), (60.5, 62.0, false), (121.0, 122.0, false)],
            &[First, Retry, Retry],
        ),
        ("alike", false, &[(0.0, 1.0, false), (2.0, 3.0, false)], &[First, First]),
        (
            "failed",
            false,
            &[(0.0, 1.0, true), (1.5, 2.0, true), (3.0, 4.0, false), (5.0, 6.0, false)],
            &[First, Retry, Retry, First],
        ),
        (
            "well after all",
            false,
            &[(0.0, 1.0, true), (62.0, 63.0, false), (64.0, 65.0, false)],
            &[First, First, First],
        ),
        ("side by side", false, &[(0.0, 1.0, true), (0.5, 1.5, false)], &[First, First]),
        ("told late", false, &[(1.2, 1.3, false), (0.0, 1.0, true)], &[First, Retry]),
        ("known to the caller first", false, &[(0.0, 1.0, true), (0.999, 1.5, false)], &[First, Retry]),
    ] {
        let mut of = Attempts::new();
        let got: Vec<_> =
            attempts.iter().map(|(a, b, failed)| of.attempt(7, any, attempt(*a, *b, *failed))).collect();
        assert_eq!(got, counted, "{what}");
        assert_eq!(of.forgot_after(), None);
    }
}

#[test]
fn the_latest_are_remembered_and_what_is_repeated_stays_longer() {
    let mut of = Attempts { most: 100, ..Attempts::new() };
    for n in 0..1_000u32 {
        let at = f64::from(n) / 100.0;
        assert_eq!(of.attempt(u64::from(n), true, attempt(at, at, false)), Attempt::First);
        of.attempt(0, true, attempt(at, at, false));
        assert!(of.known.len() <= 100 && of.order.len() == of.known.len());
    }
    assert_eq!(of.attempt(0, true, attempt(10.0, 10.0, false)), Attempt::Retry);
    assert_eq!(of.attempt(950, true, attempt(10.0, 10.0, false)), Attempt::Retry);
    assert_eq!(of.attempt(500, true, attempt(10.0, 10.0, false)), Attempt::First);
    let after = of.forgot_after().unwrap();
    assert!((0.9..=1.1).contains(&after.as_secs_f64()), "{after:?}");
    assert_eq!(of.forgot_after(), None, "told once");
}

proptest! {
    /// Against a list of everything that ever came.
    #[test]
    fn it_counts_as_the_words_say(
        steps in prop::collection::vec((0u64..5, any::<bool>(), 0u64..40, 0u64..20, any::<bool>()), 1..60),
    ) {
        let mut of = Attempts::new();
        let mut all: HashMap<u64, Vec<Known>> = HashMap::new();
        let mut now = 0;
        for (id, any, wait, took, fails) in steps {
            let key = id * 2 + u64::from(any);
            let (began, ended) = (now + wait * SECOND, now + (wait + took) * SECOND);
            now = ended;
            let fresh = Known { began, ended, failed: if fails { NonZeroU64::new(ended.max(1)) } else { None } };
            let before = all.entry(key).or_default();
            let soon = before.last().is_some_and(|last: &Known| began <= last.ended + 60 * SECOND);
            let again = soon && (any || before.last().is_some_and(|last| last.failed.is_some()));
            if !again {
                before.clear();
            }
            before.push(fresh);
            let expected = if again { Attempt::Retry } else { Attempt::First };
            prop_assert_eq!(of.attempt(key, any, fresh), expected);
            prop_assert_eq!(of.order.len(), of.known.len());
        }
    }
}
