//! Proves the demo without Brownout: a slow provider takes the shop down with the cut timeout, and does not with the old one.
//!
//! A forwarder in front of the provider delays and counts; it stands where Brownout's edge will. Five times as fast as the
//! demo itself; but the faster, the more a busy machine distorts, so a run that a stall has spoilt is repeated slower.

use super::http::{Client, REQUEST_ID, Reply};
use super::{Addresses, Config, Observed, Running, Wiring, bind};
use crate::decision::{Dice, Key};
use ::http::{Method, StatusCode};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

/// Real time for one of the demo's seconds: first try, second try, last try.
const SCALES: [f64; 3] = [0.2, 0.5, 1.0];

/// A run whose heartbeat came later than this may be spoilt.
const STALL: Duration = Duration::from_millis(10);

/// One at a time: they measure.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Runs until a judgement holds, slower each time; a run without a stall is final, and so is the last.
async fn judged<F: Future<Output = Result<(), String>>>(run: impl Fn(f64) -> F) {
    let _alone = ALONE.lock().await;
    for scale in SCALES {
        let worst = Arc::new(Mutex::new(Duration::ZERO));
        let seen = worst.clone();
        let heart = tokio::spawn(async move {
            loop {
                let due = Instant::now() + Duration::from_millis(5);
                tokio::time::sleep_until(due).await;
                let mut worst = seen.lock().unwrap();
                *worst = worst.max(due.elapsed());
            }
        });
        let verdict = run(scale).await;
        heart.abort();
        let late = *worst.lock().unwrap();
        let Err(why) = verdict else { return };
        println!("at scale {scale}, with a stall of {late:?}: {why}");
        assert!(late > STALL && scale < 1.0, "{why}");
    }
}

/// What must hold, and what it means if it does not.
macro_rules! hold {
    ($condition:expr, $meaning:literal) => {
        let holds: bool = $condition;
        if !holds {
            return Err(format!("not so: {} ({})", $meaning, stringify!($condition)));
        }
    };
}

/// A forwarder that is slow when told to, and counts attempts by idempotency key while it is.
#[derive(Clone)]
struct SlowLine {
    ill: watch::Sender<bool>,
    attempts: Arc<Mutex<HashMap<String, u32>>>,
    scale: f64,
}

impl SlowLine {
    async fn start(provider: SocketAddr, scale: f64) -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let line = Self { ill: watch::Sender::new(false), attempts: Arc::default(), scale };
        let accepting = line.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let (client, _) = listener.accept().await.unwrap();
                let line = accepting.clone();
                tokio::spawn(async move { line.forward(client, provider, n).await });
            }
        });
        (line, address)
    }

    /// One piece read is one request: they are small and never sent ahead.
    async fn forward(&self, client: TcpStream, provider: SocketAddr, n: u64) -> std::io::Result<()> {
        let mut dice = Dice::new(1, Key::of(b"line"), Key(n));
        let (mut client, mut answers) = client.into_split();
        let (mut upstream_answers, mut upstream) = TcpStream::connect(provider).await?.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut upstream_answers, &mut answers).await });
        let mut ill = self.ill.subscribe();
        let mut piece = vec![0; 4096];
        loop {
            let read = client.read(&mut piece).await?;
            if read == 0 {
                return Ok(());
            }
            if *ill.borrow_and_update() {
                self.count(&piece[..read]);
                let delay = Duration::from_secs_f64((1.0 + dice.unit()) * self.scale);
                let mut more = [0; 1];
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    _ = ill.changed() => {}
                    _ = client.read(&mut more) => return Ok(()), // the caller left
                }
            }
            upstream.write_all(&piece[..read]).await?;
        }
    }

    fn count(&self, request: &[u8]) {
        let text = String::from_utf8_lossy(request);
        let key = text.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).unwrap();
        *self.attempts.lock().unwrap().entry(key.to_owned()).or_default() += 1;
    }
}

/// What became of one request of the load.
#[derive(Clone, Copy, Debug)]
struct Sample {
    checkout: bool,
    ok: bool,
    took: Duration,
}

/// What became of all requests that began in one phase.
struct Phase {
    samples: Vec<Sample>,
    scale: f64,
}

impl Phase {
    fn share_ok(&self) -> f64 {
        self.samples.iter().filter(|s| s.ok).count() as f64 / self.samples.len() as f64
    }

    /// Of the product pages, in the demo's seconds.
    fn products(&self, quantile: f64) -> f64 {
        let mut took: Vec<_> = self.samples.iter().filter(|s| !s.checkout).map(|s| s.took).collect();
        took.sort();
        took[((took.len() - 1) as f64 * quantile) as usize].as_secs_f64() / self.scale
    }
}

/// The services with the slow line in front of the provider, and a shopper.
struct Stage {
    running: Running,
    line: SlowLine,
    shop: Client,
    began: Instant,
    scale: f64,
}

impl Stage {
    async fn with(config: Config, scale: f64) -> Self {
        let bound = bind().unwrap();
        let services: Addresses = bound.addresses();
        let (line, slow) = SlowLine::start(services.provider, scale).await;
        let wiring = Wiring::through(services.payments, slow, services.database);
        let began = Instant::now();
        let running = bound.start(config.scaled(scale), wiring).unwrap();
        Self { running, line, shop: Client::new(&format!("http://{}", services.shop)), began, scale }
    }

    /// Open-loop load, as the experiments have it, for so many of the demo's seconds.
    async fn drive(&self, name: &str, seconds: f64) -> Phase {
        let scaled = |seconds: f64| Duration::from_secs_f64(seconds * self.scale);
        let mut ticks = tokio::time::interval(scaled(1.0 / 32.0));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let end = Instant::now() + scaled(seconds);
        let mut sent = Vec::new();
        while Instant::now() < end {
            ticks.tick().await;
            let n = sent.len();
            let (shop, checkout, id) = (self.shop.clone(), n * 4 % 9 < 4, format!("{name}-{n}"));
            let patience = scaled(10.0);
            sent.push(tokio::spawn(async move {
                let (method, path) =
                    if checkout { (Method::POST, "/checkout") } else { (Method::GET, "/products") };
                let start = Instant::now();
                let answer = shop.call(method, path, &[(REQUEST_ID, &id)], patience).await;
                let ok = matches!(answer, Ok(Reply(StatusCode::OK, _)));
                Sample { checkout, ok, took: start.elapsed() }
            }));
        }
        let mut samples = Vec::new();
        for request in sent {
            samples.push(request.await.unwrap());
        }
        let phase = Phase { samples, scale: self.scale };
        println!(
            "{name}: {:.1} % ok, products p50 {:.2} s p99 {:.2} s",
            phase.share_ok() * 100.0,
            phase.products(0.5),
            phase.products(0.99)
        );
        phase
    }

    fn fall_ill(&self) -> Duration {
        self.line.ill.send_replace(true);
        self.began.elapsed()
    }

    fn heal(&self) {
        self.line.ill.send_replace(false);
    }

    fn observed(&self) -> Observed {
        self.running.observed()
    }
}

#[tokio::test]
async fn a_cut_timeout_takes_the_shop_down() {
    judged(cut).await;
}

async fn cut(scale: f64) -> Result<(), String> {
    let stage = Stage::with(Config::timeout_cut(), scale).await;
    let healthy = stage.drive("healthy", 8.0).await;
    let ill_at = stage.fall_ill();
    let ill = stage.drive("ill", 25.0).await;
    let seen = stage.observed();
    let attempts = stage.line.attempts.lock().unwrap().clone();
    stage.heal();
    stage.drive("healing", 10.0).await;
    let healed = stage.drive("healed", 8.0).await;
    let after = stage.observed();

    // Never happened counts as happened too late.
    let onset = |first: Option<Duration>| {
        first.map_or(f64::INFINITY, |at| (at.as_secs_f64() - ill_at.as_secs_f64()) / scale)
    };
    let (timeout, pool) = (onset(seen.first.provider_timeout), onset(seen.first.pool_exhausted));
    let (gateway, breaker) = (onset(seen.first.gateway_timeout), onset(seen.first.breaker_open));
    let all: u32 = attempts.values().sum();
    let most = attempts.values().max().copied().unwrap_or(0);
    let full = attempts.values().filter(|n| **n == 4).count();
    println!("onset: provider {timeout:.2} pool {pool:.2} gateway {gateway:.2} breaker {breaker:.2}");
    println!("attempts {all} / {}, most {most}, of four {full}\n{seen:?}\n{after:?}", attempts.len());

    hold!(healthy.share_ok() > 0.99, "the steady state holds");
    hold!(0.4 < timeout && timeout < pool && pool < gateway && gateway < breaker, "this order of onset");
    hold!(breaker < 9.0, "the breaker opens in the first seconds");
    hold!(most == 4, "one call and three retries, never more");
    hold!(full >= 10, "the ten charges that opened the breaker made every retry");
    hold!(seen.pool_most == 50, "the pool is exhausted and never exceeded");
    hold!(seen.gateway_timeouts > 20, "the gateway gives up");
    hold!(seen.breaker_opened >= 1 && seen.breaker_refused > 50, "the breaker holds calls back");
    hold!((0.15..0.70).contains(&ill.share_ok()), "a share of all requests fails");
    hold!(ill.samples.iter().filter(|s| s.checkout).all(|s| !s.ok), "no checkout gets through");
    hold!(ill.products(0.5) > 0.5, "who only needs the database waits too");
    hold!(healed.share_ok() > 0.99 && healed.products(0.99) < 0.5, "it comes back by itself");
    hold!(after.pool_in_use < 10, "the pool is free again");
    hold!(after.provider_charges <= after.charges, "nobody is charged twice");
    stage.running.stop();
    Ok(())
}

#[tokio::test]
async fn a_patient_timeout_holds() {
    judged(patient).await;
}

async fn patient(scale: f64) -> Result<(), String> {
    let stage = Stage::with(Config::patient(), scale).await;
    let healthy = stage.drive("healthy", 5.0).await;
    stage.fall_ill();
    let ill = stage.drive("ill", 20.0).await;
    let attempts = stage.line.attempts.lock().unwrap().clone();
    stage.heal();
    let healed = stage.drive("healed", 5.0).await;
    let seen = stage.observed();
    println!("{seen:?}");
    hold!(healthy.share_ok() > 0.99, "the steady state holds");
    hold!(ill.share_ok() > 0.99 && healed.share_ok() > 0.99, "nothing fails");
    hold!(attempts.len() > 200 && attempts.values().all(|n| *n == 1), "nothing is tried twice");
    hold!(seen.pool_most < 50 && seen.gateway_timeouts == 0 && seen.breaker_opened == 0, "nobody waits");
    Ok(())
}

/// Stopping is prompt, though requests are under way and nobody reads their answers.
#[tokio::test]
async fn it_stops_at_once() {
    let stage = Stage::with(Config::timeout_cut(), 1.0).await;
    stage.fall_ill();
    let call = tokio::spawn({
        let shop = stage.shop.clone();
        async move {
            shop.call(Method::POST, "/checkout", &[(REQUEST_ID, "last")], Duration::from_secs(20))
                .await
                .is_ok()
        }
    });
    let asked = tokio::time::timeout(Duration::from_secs(10), async {
        while stage.observed().provider_calls == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    asked.await.unwrap();
    let Stage { running, .. } = stage;
    tokio::task::spawn_blocking(move || running.stop()).await.unwrap();
    assert!(!call.await.unwrap(), "the connection was cut, not left hanging");
}
