//! The bounded database connections of payments: at most so many at once, first come, first served, with a limit to the wait.
//!
//! One unit of work is one session: a fresh connection, closed at its end, as behind a session pooler. So what the pool
//! does is there to be seen on the wire.

use super::config::Config;
use super::ledger::Ledger;
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

const LONGEST_LINE: u64 = 1024;

/// Hands out sessions.
pub(super) struct Pool {
    permits: Arc<Semaphore>,
    size: usize,
    wait: Duration,
    query: Duration,
    database: String,
    ledger: Arc<Ledger>,
}

/// Why there was no session.
#[derive(Debug)]
pub(super) enum NoSession {
    /// None became free in time.
    Exhausted,
    /// The database did not let us in.
    Broken,
}

impl Pool {
    /// Sessions with the database at this `host:port`.
    pub(super) fn new(config: &Config, database: &str, ledger: Arc<Ledger>) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(config.pool)),
            size: config.pool,
            wait: config.pool_wait,
            query: config.query_timeout,
            database: database.to_owned(),
            ledger,
        }
    }

    /// Waits for a session. The caller holds it until it is finished or dropped.
    pub(super) async fn session(&self) -> Result<Session, NoSession> {
        let asked = Instant::now();
        let permit = tokio::time::timeout(self.wait, self.permits.clone().acquire_owned()).await;
        let waited = asked.elapsed();
        let Ok(Ok(permit)) = permit else {
            self.ledger.note(|seen, _| {
                seen.pool_gave_up += 1;
                seen.pool_longest_wait = seen.pool_longest_wait.max(waited);
            });
            return Err(NoSession::Exhausted);
        };
        self.ledger.note(|seen, now| {
            seen.pool_in_use += 1;
            seen.pool_most = seen.pool_most.max(seen.pool_in_use);
            seen.pool_longest_wait = seen.pool_longest_wait.max(waited);
            if seen.pool_in_use == self.size {
                seen.first.pool_exhausted.get_or_insert(now);
            }
        });
        let taken = Taken { _permit: permit, ledger: self.ledger.clone() };
        let stream = tokio::time::timeout(self.query, TcpStream::connect(self.database.as_str()));
        let Ok(Ok(stream)) = stream.await else { return Err(NoSession::Broken) };
        let _ = stream.set_nodelay(true);
        let mut session = Session { stream: BufReader::new(stream), query: self.query, _taken: taken };
        session.expect("READY").await.map_err(|_| NoSession::Broken)?;
        Ok(session)
    }
}

/// One connection, for one unit of work. Its fields are dropped in this order: the socket is closed before its place in
/// the pool is given back, so nobody ever sees one too many.
pub(super) struct Session {
    stream: BufReader<TcpStream>,
    query: Duration,
    _taken: Taken,
}

impl Session {
    /// One line to the database, and its `OK`.
    pub(super) async fn query(&mut self, line: &str) -> Result<(), Error> {
        let line = format!("{line}\n");
        tokio::time::timeout(self.query, self.stream.write_all(line.as_bytes())).await??;
        self.expect("OK").await
    }

    /// Says goodbye and waits until the database has closed.
    pub(super) async fn finish(mut self) {
        let goodbye = async {
            self.stream.write_all(b"QUIT\n").await?;
            self.stream.read_u8().await
        };
        let _ = tokio::time::timeout(self.query, goodbye).await;
    }

    async fn expect(&mut self, wanted: &str) -> Result<(), Error> {
        let mut line = String::new();
        let mut bounded = (&mut self.stream).take(LONGEST_LINE);
        tokio::time::timeout(self.query, bounded.read_line(&mut line)).await??;
        if line.trim() == wanted { Ok(()) } else { Err(Error::from(ErrorKind::InvalidData)) }
    }
}

/// A place in the pool, counted.
struct Taken {
    _permit: OwnedSemaphorePermit,
    ledger: Arc<Ledger>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.ledger.note(|seen, _| seen.pool_in_use -= 1);
    }
}
