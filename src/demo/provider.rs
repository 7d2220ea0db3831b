//! The payment provider look-alike: `POST /v1/charges`, a few dozen milliseconds, and an `idempotency-key` is charged once.

use super::config::Config;
use super::http::{Call, IDEMPOTENCY_KEY, OnLeave, Reply};
use super::ledger::Ledger;
use super::{http, skewed};
use crate::decision::{Dice, Key};
use ::http::{Method, StatusCode};
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

/// Keys that are remembered; the oldest is forgotten for a new one.
const MOST_KEYS: usize = 65_536;

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, config: Config, ledger: Arc<Ledger>) {
    let known = Arc::new(Mutex::new(Known::default()));
    http::serve(listener, OnLeave::GoOn, move |call| {
        let (config, ledger, known) = (config.clone(), ledger.clone(), known.clone());
        async move {
            match (&call.method, call.path.as_str()) {
                (&Method::POST, "/v1/charges") => charge(&call, &config, &ledger, &known).await,
                (&Method::GET, "/healthz") => Reply(StatusCode::OK, "{}".into()),
                _ => Reply::not_found(),
            }
        }
    })
    .await;
}

async fn charge(call: &Call, config: &Config, ledger: &Ledger, known: &Mutex<Known>) -> Reply {
    ledger.note(|seen, _| seen.provider_requests += 1);
    let Some(key) = call.header(&IDEMPOTENCY_KEY) else {
        return Reply::failed(StatusCode::BAD_REQUEST, "no idempotency-key");
    };
    let id = Key::of(key.as_bytes()).0;
    tokio::time::sleep(skewed(
        config.provider_time,
        &mut Dice::new(config.seed, Key::of(b"provider"), Key(id)),
    ))
    .await;
    let new = known.lock().unwrap_or_else(PoisonError::into_inner).add(id);
    if new {
        ledger.note(|seen, _| seen.provider_charges += 1);
    }
    Reply(StatusCode::OK, format!("{{\"id\":\"ch_{id:016x}\",\"replayed\":{}}}", !new))
}

/// The keys already charged.
#[derive(Default)]
struct Known {
    keys: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Known {
    /// Whether the key is new.
    fn add(&mut self, key: u64) -> bool {
        let new = self.keys.insert(key);
        if new {
            self.order.push_back(key);
            if self.order.len() > MOST_KEYS
                && let Some(oldest) = self.order.pop_front()
            {
                self.keys.remove(&oldest);
            }
        }
        new
    }
}
