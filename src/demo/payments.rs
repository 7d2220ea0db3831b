//! Payments: the victim. Each charge takes a database connection and keeps it while it calls the provider, with a timeout,
//! retries and a circuit breaker. Prices come out of the same pool.
//!
//! Each of these habits is sensible alone. Together they turn a provider that is slower than the timeout into a pool without
//! a free connection. All by hand, because they are what the demo is about.

use super::breaker::{Admission, Breaker};
use super::config::Config;
use super::http::{Call, Client, Failure, IDEMPOTENCY_KEY, OnLeave, REQUEST_ID, Reply};
use super::ledger::Ledger;
use super::pool::{NoSession, Pool};
use super::{Wiring, http};
use crate::decision::{Dice, Key};
use ::http::{Method, StatusCode};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Work at once, that of callers who left included.
const MOST_WORK: usize = 2_000;

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, config: Config, wiring: &Wiring, ledger: Arc<Ledger>) {
    let payments = Arc::new(Payments {
        pool: Pool::new(&config, &wiring.database, ledger.clone()),
        provider: Client::new(&wiring.provider),
        breaker: Mutex::new(Breaker::new(config.breaker_after, config.breaker_open)),
        work: Semaphore::new(MOST_WORK),
        config,
        ledger,
    });
    http::serve(listener, OnLeave::GoOn, move |call| {
        let payments = payments.clone();
        async move { payments.respond(call).await }
    })
    .await;
}

struct Payments {
    config: Config,
    pool: Pool,
    provider: Client,
    breaker: Mutex<Breaker>,
    work: Semaphore,
    ledger: Arc<Ledger>,
}

impl Payments {
    async fn respond(&self, call: Call) -> Reply {
        let Ok(_working) = self.work.try_acquire() else {
            return Reply::failed(StatusCode::SERVICE_UNAVAILABLE, "too much work");
        };
        match (&call.method, call.path.as_str()) {
            (&Method::POST, "/charges") => {
                self.ledger.note(|seen, _| seen.charges += 1);
                let reply = self.charge(&call).await;
                if !reply.0.is_success() {
                    self.ledger.note(|seen, _| seen.charges_failed += 1);
                }
                reply
            }
            (&Method::GET, "/prices") => self.prices().await,
            (&Method::GET, "/healthz") => Reply(StatusCode::OK, "{}".into()),
            _ => Reply::not_found(),
        }
    }

    async fn prices(&self) -> Reply {
        let mut session = match self.pool.session().await {
            Ok(session) => session,
            Err(why) => return why.into(),
        };
        if session.query("SELECT prices").await.is_err() {
            return NoSession::Broken.into();
        }
        session.finish().await;
        Reply(StatusCode::OK, "{\"prices\":[1900,2900,4900]}".into())
    }

    async fn charge(&self, call: &Call) -> Reply {
        let Some(id) = call.header(&REQUEST_ID) else {
            return Reply::failed(StatusCode::BAD_REQUEST, "no x-request-id");
        };
        let mut session = match self.pool.session().await {
            Ok(session) => session,
            Err(why) => return why.into(),
        };
        if session.query(&format!("BEGIN {id}")).await.is_err() {
            return NoSession::Broken.into();
        }
        let paid = self.ask_provider(id).await;
        if session.query(if paid { "COMMIT" } else { "ROLLBACK" }).await.is_err() {
            return NoSession::Broken.into();
        }
        session.finish().await;
        if paid {
            Reply(StatusCode::OK, "{\"paid\":true}".into())
        } else {
            Reply::failed(StatusCode::BAD_GATEWAY, "the provider did not answer")
        }
    }

    /// Calls the provider until it answers, or the retries are used up.
    async fn ask_provider(&self, id: &str) -> bool {
        let key = format!("charge-{id}");
        let mut calls = 0;
        for attempt in 0..=self.config.retries {
            if attempt > 0 {
                tokio::time::sleep(self.pause(attempt, &key)).await;
            }
            let admission = self.breaker().ask(Instant::now());
            if admission == Admission::Refused {
                self.ledger.note(|seen, _| seen.breaker_refused += 1);
                continue;
            }
            calls += 1;
            if self.call_provider(id, &key).await {
                self.breaker().call_succeeded(admission);
                return true;
            }
            if admission == Admission::Trial {
                self.breaker().trial_failed(Instant::now());
            }
        }
        if calls > self.config.retries && self.breaker().charge_failed(Instant::now()) {
            self.ledger.note(|seen, now| {
                seen.breaker_opened += 1;
                seen.first.breaker_open.get_or_insert(now);
            });
        }
        false
    }

    async fn call_provider(&self, id: &str, key: &str) -> bool {
        self.ledger.note(|seen, _| seen.provider_calls += 1);
        let headers = [(REQUEST_ID, id), (IDEMPOTENCY_KEY, key)];
        let answer =
            self.provider.call(Method::POST, "/v1/charges", &headers, self.config.provider_timeout).await;
        if matches!(answer, Err(Failure::Timeout)) {
            self.ledger.note(|seen, now| {
                seen.provider_timeouts += 1;
                seen.first.provider_timeout.get_or_insert(now);
            });
        }
        answer.is_ok_and(|Reply(status, _)| status.is_success())
    }

    /// The pause before this attempt: doubling, with ten percent of jitter either way.
    fn pause(&self, attempt: u32, key: &str) -> Duration {
        let mut dice = Dice::new(self.config.seed, Key::of(key.as_bytes()), Key(u64::from(attempt)));
        let doubled = self.config.backoff * 2u32.saturating_pow(attempt - 1).min(1 << 10);
        doubled.mul_f64(0.9 + 0.2 * dice.unit())
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<NoSession> for Reply {
    fn from(why: NoSession) -> Self {
        Self::failed(
            StatusCode::SERVICE_UNAVAILABLE,
            match why {
                NoSession::Exhausted => "no database connection became free",
                NoSession::Broken => "the database connection failed",
            },
        )
    }
}
