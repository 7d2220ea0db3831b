//! The built-in load: an open model, as users are. Arrivals follow a fixed schedule whatever the answers do.
//!
//! It has a thread of its own. The n-th request is due at n / rate; after a stall all that are due are sent at once, up to
//! `max_in_flight`, and the rest is counted as shed, never sent late. A request that is not answered within its timeout is
//! given up as a caller gives up: with a plain FIN.

use super::client::{Client, GaveUp};
use crate::decision::{Dice, Key};
use crate::model::{Load, LoadRequest};
use bytes::Bytes;
use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long requests that are out at the end may still take.
const GRACE: Duration = Duration::from_secs(2);
/// How often the load says where it stands.
const TOLD: Duration = Duration::from_secs(1);

/// Where the load stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Arrivals that were sent.
    pub sent: u64,
    /// Arrivals that were not, because too many were out.
    pub shed: u64,
    /// Requests given up after their timeout.
    pub timed_out: u64,
}

/// What a load needs.
pub struct Order {
    /// What is sent, and how often.
    pub load: Load,
    /// The address of the edge.
    pub target: SocketAddr,
    /// Chooses between kinds of requests.
    pub seed: u64,
    /// Told once a second and at the end.
    pub tell: Box<dyn Fn(Counts) + Send>,
}

/// A load under way. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    stop: CancellationToken,
    ended: oneshot::Receiver<Counts>,
}

impl Running {
    /// No further arrivals. What is out is waited for, up to a short grace.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Its end; `None` if its thread died.
    pub async fn ended(&mut self) -> Option<Counts> {
        (&mut self.ended).await.ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts the load on a thread of its own.
///
/// # Errors
/// If there is no thread or no runtime to be had.
pub fn start(order: Order) -> std::io::Result<Running> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = CancellationToken::new();
    let (tell_end, ended) = oneshot::channel();
    let token = stop.clone();
    std::thread::Builder::new().name("load".into()).spawn(move || {
        let counts = tokio::task::LocalSet::new().block_on(&runtime, drive(order, token));
        let _ = tell_end.send(counts);
    })?;
    Ok(Running { stop, ended })
}

async fn drive(order: Order, stop: CancellationToken) -> Counts {
    let Order { load, target, seed, tell } = order;
    let counts = Rc::new(RefCell::new(Counts::default()));
    let client = Rc::new(Client::new(reachable(target)));
    let words = Words::new(seed, &load.requests);
    let tracker = TaskTracker::new();
    let give_up = CancellationToken::new();
    let rate = load.rate.get();
    let began = Instant::now();
    let mut due = 0_u64;
    let mut second = tokio::time::interval(TOLD);
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    second.tick().await;
    loop {
        let next = began + Duration::try_from_secs_f64(due as f64 / rate).unwrap_or(Duration::MAX / 4);
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = second.tick() => tell(*counts.borrow()),
            () = tokio::time::sleep_until(next) => {
                let elapsed = began.elapsed().as_secs_f64();
                let all = ((elapsed * rate).floor() as u64 + 1).max(due + 1);
                let room = u64::from(load.max_in_flight).saturating_sub(tracker.len() as u64);
                let sent = room.min(all - due);
                {
                    let mut counts = counts.borrow_mut();
                    counts.sent += sent;
                    counts.shed += all - due - sent;
                }
                for n in due..due + sent {
                    let request = words.request(n, &load.requests, client.authority());
                    let (client, counts) = (Rc::clone(&client), Rc::clone(&counts));
                    let (give_up, timeout) = (give_up.clone(), load.timeout);
                    tokio::task::spawn_local(tracker.track_future(async move {
                        let Some(request) = request else { return };
                        let wait = async {
                            tokio::select! {
                                () = tokio::time::sleep(timeout) => GaveUp::TimedOut,
                                () = give_up.cancelled() => GaveUp::Stopped,
                            }
                        };
                        if client.send(request, wait).await == Err(GaveUp::TimedOut) {
                            counts.borrow_mut().timed_out += 1;
                        }
                    }));
                }
                due = all;
            }
        }
    }
    tracker.close();
    if tokio::time::timeout(GRACE, tracker.wait()).await.is_err() {
        give_up.cancel();
        let _ = tokio::time::timeout(GRACE, tracker.wait()).await;
    }
    let counts = *counts.borrow();
    tell(counts);
    counts
}

/// An address to call for one to listen on.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// What requests say.
struct Words {
    choice: u64,
    /// Other in every run: an id that came back would be a retry.
    salt: u64,
    weight: u64,
}

impl Words {
    fn new(seed: u64, requests: &[LoadRequest]) -> Self {
        let salt = std::hash::RandomState::new().build_hasher().finish();
        Self { choice: seed, salt, weight: requests.iter().map(|r| u64::from(r.weight)).sum() }
    }

    /// The n-th request, from 0; `None` if it cannot be said in HTTP.
    fn request(
        &self,
        n: u64,
        requests: &[LoadRequest],
        authority: &str,
    ) -> Option<http::Request<http_body_util::Full<Bytes>>> {
        let chosen = self.choose(n, requests)?;
        let uuid = self.uuid(n);
        let fill = |text: &str| text.replace("${n}", &(n + 1).to_string()).replace("${uuid}", &uuid);
        let has = |name: &str| chosen.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let body = fill(&chosen.body);
        let mut request = http::Request::builder().method(chosen.method.as_str()).uri(fill(&chosen.path));
        for (name, value) in &chosen.headers {
            request = request.header(name, fill(value));
        }
        for (name, value) in
            [("host", authority), ("x-request-id", uuid.as_str()), ("user-agent", "brownout")]
        {
            if !has(name) {
                request = request.header(name, value);
            }
        }
        request.body(http_body_util::Full::new(body.into())).ok()
    }

    fn choose<'r>(&self, n: u64, requests: &'r [LoadRequest]) -> Option<&'r LoadRequest> {
        if self.weight == 0 {
            return requests.first();
        }
        let drawn = Dice::new(self.choice, Key::of(b"[load]"), Key(n)).unit() * self.weight as f64;
        let mut below = 0.0;
        requests
            .iter()
            .find(|request| {
                below += f64::from(request.weight);
                drawn < below
            })
            .or(requests.last())
    }

    /// A version 4 UUID.
    fn uuid(&self, n: u64) -> String {
        let mut dice = Dice::new(self.salt, Key::of(b"x-request-id"), Key(n));
        let (high, low) = (dice.bits(), dice.bits());
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(0b11 << 62)) | (0b10 << 62);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
