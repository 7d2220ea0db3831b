//! The numbers of the demo system: what an operator of it could have set.
//!
//! Every time is one of the file's seconds; [`Config::scaled`] shortens all of them alike, so that a test need not wait.
//! Knows nothing of sockets.

use std::time::Duration;

/// The settings of all services.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where chance begins: the same seed, the same service times and jitter for the same request.
    pub seed: u64,
    /// When payments gives up one call to the provider. The number that the incident's change cut.
    pub provider_timeout: Duration,
    /// How often payments tries again after a first failed call.
    pub retries: u32,
    /// The pause before the first retry; each further one is twice as long. Ten percent of jitter either way.
    pub backoff: Duration,
    /// How many database connections payments may hold at once.
    pub pool: usize,
    /// How long a unit of work waits for one of them before it fails.
    pub pool_wait: Duration,
    /// After so many failed charges in a row the breaker opens. A charge fails when its last retry has failed.
    pub breaker_after: u32,
    /// How long the breaker stays open before it lets one trial call through.
    pub breaker_open: Duration,
    /// When the shop gives up a call to payments and answers 504.
    pub gateway_timeout: Duration,
    /// How long one line of the database's protocol may take.
    pub query_timeout: Duration,
    /// How many connections the database accepts; further ones are told so and closed.
    pub database_limit: usize,
    /// How long the provider takes: log-normal.
    pub provider_time: Skewed,
    /// How long a query takes: log-normal.
    pub query_time: Skewed,
}

/// A log-normal time by two of its quantiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skewed {
    /// Half of the draws are shorter.
    pub median: Duration,
    /// 99 of 100 draws are shorter.
    pub p99: Duration,
}

impl Config {
    /// After the change: the provider gets 500 ms, once a healthy margin, a tenth of what it had.
    #[must_use]
    pub fn timeout_cut() -> Self {
        Self { provider_timeout: Duration::from_millis(500), ..Self::patient() }
    }

    /// Before the change: the provider gets 5 s. Nothing else differs.
    ///
    /// At 14 charges a second a provider that takes 1.5 s keeps 14 x 1.5 = 21 of the 50 connections busy, so the pool
    /// suffices; it would no longer from 3.5 s on.
    #[must_use]
    pub fn patient() -> Self {
        Self {
            seed: 42,
            provider_timeout: Duration::from_secs(5),
            retries: 3,
            backoff: Duration::from_millis(500),
            pool: 50,
            pool_wait: Duration::from_millis(8_500),
            breaker_after: 10,
            breaker_open: Duration::from_secs(5),
            gateway_timeout: Duration::from_secs(4),
            query_timeout: Duration::from_secs(2),
            database_limit: 60,
            provider_time: Skewed { median: Duration::from_millis(57), p99: Duration::from_millis(90) },
            query_time: Skewed { median: Duration::from_millis(2), p99: Duration::from_millis(5) },
        }
    }

    /// The same system with every time multiplied; 0.2 runs it five times as fast.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        for time in [
            &mut self.provider_timeout,
            &mut self.backoff,
            &mut self.pool_wait,
            &mut self.breaker_open,
            &mut self.gateway_timeout,
            &mut self.query_timeout,
            &mut self.provider_time.median,
            &mut self.provider_time.p99,
            &mut self.query_time.median,
            &mut self.query_time.p99,
        ] {
            *time = time.mul_f64(factor);
        }
        self
    }
}
