//! Time, per worker: limits that are cheap and coarse, and delays that are exact.
//!
//! A [`Deadline`] costs a store to set: one tick a worker looks over all of them ten times a second, so that no wait has a
//! timer of its own (and tokio's earliest timer stays the tick, which saves a system call each time). It fires late by at
//! most two ticks. A [`sleep_until`] is a heap behind one timerfd: late by what the kernel takes, never early; tokio's wheel
//! rounds up to the next millisecond. Off Linux, and on threads without [`start`], it is tokio's.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// How often deadlines are looked over.
pub const TICK: Duration = Duration::from_millis(100);

thread_local! {
    static NOW: Cell<u32> = const { Cell::new(0) };
    static WAITS: RefCell<Waits> = const { RefCell::new(Waits { slots: Vec::new(), free: Vec::new() }) };
    static DELAYS: RefCell<Delays> = const { RefCell::new(Delays::new()) };
}

struct Waits {
    slots: Vec<Wait>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Wait {
    /// The tick at which it fires; 0: not set.
    at: u32,
    waker: Option<Waker>,
}

/// A limit on a wait. Made once per connection, set for each wait.
#[derive(Debug)]
pub struct Deadline(u32);

impl Default for Deadline {
    fn default() -> Self {
        Self::new()
    }
}

impl Deadline {
    /// A deadline that is not set.
    #[must_use]
    pub fn new() -> Self {
        WAITS.with_borrow_mut(|waits| {
            if let Some(free) = waits.free.pop() {
                return Self(free);
            }
            waits.slots.push(Wait::default());
            Self(waits.slots.len() as u32 - 1)
        })
    }

    /// Fires after this time (and up to two ticks), unless set again before.
    pub fn set(&self, after: Duration) {
        let ticks = after.as_millis().div_ceil(TICK.as_millis());
        let at = NOW.get().saturating_add(u32::try_from(ticks).unwrap_or(u32::MAX - 1)).saturating_add(1);
        WAITS.with_borrow_mut(|waits| waits.slots[self.0 as usize].at = at);
    }

    /// Does not fire any more.
    pub fn clear(&self) {
        WAITS.with_borrow_mut(|waits| waits.slots[self.0 as usize].at = 0);
    }

    /// Ready once it has fired.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        WAITS.with_borrow_mut(|waits| {
            let wait = &mut waits.slots[self.0 as usize];
            if wait.at != 0 && wait.at <= NOW.get() {
                return Poll::Ready(());
            }
            match &wait.waker {
                Some(waker) if waker.will_wake(cx.waker()) => {}
                _ => wait.waker = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
    }

    /// The future's output, or `None` when the time was over first.
    pub async fn limit<F: Future>(&self, time: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        self.set(time);
        let done = poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(cx).map(|()| None),
        })
        .await;
        self.clear();
        done
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let place = self.0;
        // a thread that ends drops its locals in any order
        let _ = WAITS.try_with(|waits| {
            let mut waits = waits.borrow_mut();
            waits.slots[place as usize] = Wait::default();
            waits.free.push(place);
        });
    }
}

/// Looks over the deadlines of this thread; called every [`TICK`].
pub fn tick() {
    NOW.set(NOW.get() + 1);
    let now = NOW.get();
    let mut due = Vec::new();
    WAITS.with_borrow_mut(|waits| {
        due.extend(
            waits
                .slots
                .iter_mut()
                .filter(|wait| wait.at != 0 && wait.at <= now)
                .filter_map(|w| w.waker.take()),
        );
    });
    due.into_iter().for_each(Waker::wake);
}

/// A timerfd that tokio can wait for.
#[cfg(target_os = "linux")]
struct Timer(nix::sys::timerfd::TimerFd);

#[cfg(target_os = "linux")]
impl std::os::fd::AsRawFd for Timer {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsFd;
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(target_os = "linux")]
impl std::os::fd::AsFd for Timer {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Wakes everybody who waits with a deadline, to look at something else that has changed.
pub fn wake_all() {
    let wakers: Vec<_> =
        WAITS.with_borrow_mut(|waits| waits.slots.iter_mut().filter_map(|w| w.waker.take()).collect());
    wakers.into_iter().for_each(Waker::wake);
}

struct Delays {
    queue: BTreeMap<(Instant, u64), Waker>,
    last: u64,
    armed: Option<Instant>,
    #[cfg(target_os = "linux")]
    fd: Option<std::rc::Rc<tokio::io::unix::AsyncFd<Timer>>>,
}

impl Delays {
    const fn new() -> Self {
        Self {
            queue: BTreeMap::new(),
            last: 0,
            armed: None,
            #[cfg(target_os = "linux")]
            fd: None,
        }
    }
}

/// Gives this thread its exact timer. To be awaited for ever, beside what the thread does.
#[cfg(target_os = "linux")]
pub async fn start() {
    use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
    let Ok(fd) = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)
    else {
        return;
    };
    #[expect(
        deprecated,
        reason = "its successor is unsafe; `Timer` owns its descriptor for as long as it lives"
    )]
    let Ok(fd) = tokio::io::unix::AsyncFd::new(Timer(fd)) else { return };
    let fd = std::rc::Rc::new(fd);
    DELAYS.with_borrow_mut(|delays| delays.fd = Some(fd.clone()));
    loop {
        let Ok(mut ready) = fd.readable().await else { return };
        let _ = ready.get_inner().0.wait();
        ready.clear_ready();
        drop(ready);
        let mut due = Vec::new();
        DELAYS.with_borrow_mut(|delays| {
            delays.armed = None;
            let now = Instant::now();
            while let Some(first) = delays.queue.first_entry() {
                if first.key().0 > now {
                    break;
                }
                due.push(first.remove());
            }
            delays.arm();
        });
        due.into_iter().for_each(Waker::wake);
    }
}

#[cfg(target_os = "linux")]
impl Delays {
    fn arm(&mut self) {
        use nix::sys::timerfd::{Expiration, TimerSetTimeFlags};
        let (Some((&(at, _), _)), Some(fd)) = (self.queue.first_key_value(), &self.fd) else { return };
        if self.armed.is_some_and(|armed| armed <= at) {
            return;
        }
        let wait = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        if fd.get_ref().0.set(Expiration::OneShot(wait.into()), TimerSetTimeFlags::empty()).is_ok() {
            self.armed = Some(at);
        }
    }
}

/// Gives this thread its exact timer. Here that is tokio's.
#[cfg(not(target_os = "linux"))]
pub async fn start() {
    std::future::pending().await
}

/// Waits until this moment: never less, and as little more as the system can.
pub async fn sleep_until(at: Instant) {
    #[cfg(target_os = "linux")]
    if DELAYS.with_borrow(|delays| delays.fd.is_some()) {
        return Exact { at, key: None }.await;
    }
    tokio::time::sleep_until(at).await;
}

#[cfg(target_os = "linux")]
struct Exact {
    at: Instant,
    key: Option<(Instant, u64)>,
}

#[cfg(target_os = "linux")]
impl Future for Exact {
    type Output = ();
    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        let this = &mut *self;
        DELAYS.with_borrow_mut(|delays| {
            let key = *this.key.get_or_insert_with(|| {
                delays.last += 1;
                (this.at, delays.last)
            });
            delays.queue.insert(key, cx.waker().clone());
            delays.arm();
        });
        Poll::Pending
    }
}

#[cfg(target_os = "linux")]
impl Drop for Exact {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let _ = DELAYS.try_with(|delays| delays.borrow_mut().queue.remove(&key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, future)
    }

    #[test]
    fn delays_are_never_early_and_come_in_order() {
        run(async {
            tokio::task::spawn_local(start());
            tokio::task::yield_now().await;
            let begun = Instant::now();
            let order = std::rc::Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = [30u64, 10, 20, 10]
                .into_iter()
                .map(|millis| {
                    let order = order.clone();
                    tokio::task::spawn_local(async move {
                        sleep_until(begun + Duration::from_millis(millis)).await;
                        assert!(begun.elapsed() >= Duration::from_millis(millis));
                        order.borrow_mut().push(millis);
                    })
                })
                .collect();
            let forgotten = sleep_until(begun + Duration::from_secs(3600));
            assert!(tokio::time::timeout(Duration::from_millis(1), forgotten).await.is_err());
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(*order.borrow(), [10, 10, 20, 30]);
            assert!(DELAYS.with_borrow(|delays| delays.queue.is_empty()), "a dropped delay leaves the queue");
        });
    }

    #[test]
    fn a_deadline_fires_by_ticks_and_not_when_cleared() {
        run(async {
            let deadline = Deadline::new();
            let ticking = tokio::task::spawn_local(async {
                loop {
                    tick();
                    tokio::task::yield_now().await;
                }
            });
            assert_eq!(deadline.limit(Duration::from_millis(500), std::future::pending::<()>()).await, None);
            assert_eq!(deadline.limit(Duration::from_millis(500), async { 7 }).await, Some(7));
            let second = Deadline::new();
            assert_ne!(deadline.0, second.0);
            let place = second.0;
            drop(second);
            assert_eq!(Deadline::new().0, place, "places are used again");
            ticking.abort();
        });
    }
}
