//! Gates under any order of arrivals, leavings and heals.

use super::*;
use proptest::prelude::*;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::Wake;

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn poll(place: &mut Place, now: Duration) -> Option<Duration> {
    match place.poll(&mut Context::from_waker(Waker::noop()), now) {
        Poll::Ready(from) => Some(from),
        Poll::Pending => None,
    }
}

#[test]
fn a_bucket_is_exact_and_tells_when_to_come_back() {
    let (buckets, rate) = (Buckets::default(), Rate { per_second: 10.0, burst: 3 });
    let pass = |at| buckets.take(Key(1), rate, ms(at));
    for _ in 0..3 {
        assert_eq!(pass(1000), Ok(()));
    }
    assert_eq!((pass(1000), pass(1099)), (Err(ms(100)), Err(ms(1))));
    assert_eq!((pass(1100), pass(1100)), (Ok(()), Err(ms(100))));
    assert_eq!(buckets.take(Key(2), rate, ms(1100)), Ok(()), "another key has its own");
    // it fills up, and no further
    let passed = (0..10).filter(|_| pass(60_000).is_ok()).count();
    assert_eq!(passed, 3);
}

#[test]
fn keys_are_bounded_and_further_ones_pass() {
    let (buckets, rate) = (Buckets::default(), Rate { per_second: 1.0, burst: 1 });
    let lanes = Arc::new(Lanes::default());
    let width = Width { max: 1, queue: u32::MAX, hold: ms(50) };
    for key in 0..KEYS as u64 {
        assert!(buckets.take(Key(key), rate, ms(1)).is_ok());
        let Entered::Place(mut place) = lanes.enter(Key(key), width, ms(1)) else { panic!("{key}") };
        assert_eq!(poll(&mut place, ms(1)), Some(ms(1)));
        place.go_in();
    }
    for _ in 0..2 {
        assert!(buckets.take(Key(u64::MAX), rate, ms(1)).is_ok(), "it is spared");
    }
    assert!(buckets.take(Key(5), rate, ms(1)).is_err(), "a known one is not");
    assert!(matches!(lanes.enter(Key(u64::MAX), width, ms(1)), Entered::Spared));
    // once the others are free, their room is taken
    assert!(matches!(lanes.enter(Key(u64::MAX), width, ms(200)), Entered::Place(_)));
    assert_eq!(lanes.count(), (0, 0));
}

#[test]
fn a_row_is_bounded_and_a_turn_not_taken_is_not_held() {
    let lanes = Arc::new(Lanes::default());
    let width = Width { max: 1, queue: 2, hold: ms(200) };
    let enter = |now| match lanes.enter(Key(0), width, now) {
        Entered::Place(mut place) => {
            let turn = poll(&mut place, now);
            Some((place, turn))
        }
        _ => None,
    };
    let (mut first, turn) = enter(ms(0)).unwrap();
    assert_eq!(turn, Some(ms(0)));
    first.go_in();
    let (mut second, turn) = enter(ms(10)).unwrap();
    assert_eq!(turn, None);
    let (mut third, _) = enter(ms(20)).unwrap();
    assert!(enter(ms(30)).is_none(), "two wait");
    drop(first);
    // the second's turn begins when the first has been held for long enough; it leaves before
    assert_eq!(poll(&mut second, ms(50)), Some(ms(200)));
    drop(second);
    assert_eq!(poll(&mut third, ms(60)), Some(ms(200)));
    third.go_in();
    drop(third);
    let (_fourth, turn) = enter(ms(70)).unwrap();
    assert_eq!(turn, Some(ms(400)));
}

/// What a schedule does next: one arrives, the nth who waits leaves, the nth who is inside ends, all look, or all are healed.
#[derive(Clone, Debug)]
enum Step {
    Arrives,
    Leaves(usize),
    Ends(usize),
    Looks(usize),
    Heals,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Arrives),
        1 => (0..20usize).prop_map(Step::Leaves),
        3 => (0..20usize).prop_map(Step::Ends),
        3 => (0..20usize).prop_map(Step::Looks),
        1 => Just(Step::Heals),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_the_bound_and_the_order_hold(
        max in 1..5u32,
        queue in 0..8u32,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let lanes = Arc::new(Lanes::default());
        let width = Width { max, queue, hold: Duration::ZERO };
        // everybody who has come and not gone, in the order of arrival; whether he has gone in
        let mut here: Vec<(Place, bool)> = Vec::new();
        let look = |here: &mut Vec<(Place, bool)>| {
            for (place, inside) in here.iter_mut() {
                if !*inside && poll(place, ms(0)).is_some() {
                    place.go_in();
                    *inside = true;
                }
            }
        };
        for step in steps {
            match step {
                Step::Arrives => {
                    let before = lanes.count();
                    match lanes.enter(Key(0), width, ms(0)) {
                        Entered::Place(place) => here.push((place, false)),
                        Entered::Full => prop_assert_eq!(before, (max, queue as usize)),
                        Entered::Spared => prop_assert!(false),
                    }
                }
                Step::Leaves(n) | Step::Ends(n) => {
                    let inside = matches!(step, Step::Ends(_));
                    let mut places = here.iter().enumerate().filter(|(_, (_, is))| *is == inside);
                    if let Some(place) = places.nth(n).map(|(place, _)| place) {
                        here.remove(place);
                    }
                }
                Step::Looks(n) => {
                    // whoever looks first: only those in front may have gone in
                    if let Some((place, inside)) = here.get_mut(n)
                        && !*inside
                        && poll(place, ms(0)).is_some()
                    {
                        place.go_in();
                        *inside = true;
                    }
                }
                Step::Heals => here.clear(),
            }
            let (inside, waiting) = lanes.count();
            prop_assert!(inside <= max && waiting <= queue as usize);
            prop_assert_eq!(inside as usize + waiting, here.len());
            prop_assert!(waiting == 0 || inside == max, "somebody waits before an open gate");
            prop_assert!(here.iter().filter(|(_, is)| *is).count() <= max as usize);
        }
        look(&mut here);
        // those who came first are inside
        let inside = here.iter().take_while(|(_, is)| *is).count();
        prop_assert_eq!(inside, here.len().min(max as usize));
        prop_assert!(here[inside..].iter().all(|(_, is)| !*is));
        while !here.is_empty() {
            here.remove(0);
            look(&mut here);
        }
        prop_assert_eq!(lanes.count(), (0, 0));
    }
}

struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn who_leaves_on_his_turn_wakes_the_next() {
    let lanes = Arc::new(Lanes::default());
    let width = Width { max: 1, queue: 9, hold: Duration::ZERO };
    let mut places: Vec<Place> = (0..3)
        .map(|_| match lanes.enter(Key(0), width, ms(0)) {
            Entered::Place(place) => place,
            other => panic!("{other:?}"),
        })
        .collect();
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    assert!(places[2].poll(&mut Context::from_waker(&waker), ms(0)).is_pending());
    drop(places.remove(0));
    assert_eq!(woken.0.load(Ordering::Acquire), 0, "the second is first");
    drop(places.remove(0));
    assert_eq!(woken.0.load(Ordering::Acquire), 1);
    assert!(poll(&mut places[0], ms(0)).is_some());
}

#[test]
fn many_threads_are_never_more_inside_than_may_be() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    let lanes = Arc::new(Lanes::default());
    let (inside, most, passed) =
        (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    runtime.block_on(async {
        let tasks: Vec<_> = (0..400u32)
            .map(|n| {
                let (lanes, inside, most, passed) =
                    (lanes.clone(), inside.clone(), most.clone(), passed.clone());
                tokio::spawn(async move {
                    for turn in 0..20u32 {
                        let width = Width { max: 3, queue: u32::MAX, hold: Duration::ZERO };
                        let Entered::Place(mut place) = lanes.enter(Key(u64::from(n % 2)), width, ms(0))
                        else {
                            panic!("there is room")
                        };
                        // now and then somebody leaves while he waits
                        let patient = (n + turn) % 5 > 0;
                        let turn = std::future::poll_fn(|cx| match place.poll(cx, ms(0)) {
                            Poll::Pending if !patient => Poll::Ready(false),
                            polled => polled.map(|_| true),
                        });
                        if turn.await {
                            place.go_in();
                            let now = inside.fetch_add(1, Ordering::AcqRel) + 1;
                            most.fetch_max(now, Ordering::AcqRel);
                            tokio::task::yield_now().await;
                            inside.fetch_sub(1, Ordering::AcqRel);
                            passed.fetch_add(1, Ordering::AcqRel);
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let (most, passed) = (most.load(Ordering::Acquire), passed.load(Ordering::Acquire));
    assert!((1..=6).contains(&most) && passed >= 400 * 16, "{most} {passed}");
    assert_eq!(lanes.count(), (0, 0));
}

#[test]
fn many_threads_get_no_more_than_the_bucket_holds() {
    let (buckets, rate) = (Buckets::default(), Rate { per_second: 100.0, burst: 50 });
    let passed: usize = std::thread::scope(|scope| {
        let take = |n: u64| buckets.take(Key(0), rate, ms(1000 + n)).is_ok();
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(move || (0..2000).filter(|n| take(*n)).count())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!((50..=50 + 200).contains(&passed), "{passed}");
}
