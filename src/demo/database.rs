//! The database look-alike: TCP, a line in, a line out, a few milliseconds each.
//!
//! It greets with `READY` and answers any line with `OK`, but `QUIT`, which closes. It holds a bounded number of
//! connections; one more is told `ERROR too many connections` and closed, as real ones do.

use super::config::{Config, Skewed};
use super::ledger::Ledger;
use super::skewed;
use crate::decision::{Dice, Key};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

const LONGEST_LINE: u64 = 1024;
/// A connection that says nothing for so long is closed; a charge at work says nothing for about 20 s at most.
const IDLE: Duration = Duration::from_secs(60);

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, config: Config, ledger: Arc<Ledger>) {
    let slots = Arc::new(Semaphore::new(config.database_limit));
    let queries = Arc::new(AtomicU64::new(0));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            ledger.note(|seen, _| seen.database_refused += 1);
            // Fresh socket, empty buffer: a line this short never waits.
            let _ = stream.try_write(b"ERROR too many connections\n");
            continue;
        };
        let (ledger, queries) = (ledger.clone(), queries.clone());
        let (seed, time) = (config.seed, config.query_time);
        tokio::spawn(async move {
            ledger.note(|seen, _| {
                seen.database_connections += 1;
                seen.database_most = seen.database_most.max(seen.database_connections);
            });
            let _ = session(stream, seed, time, &queries).await;
            ledger.note(|seen, _| seen.database_connections -= 1);
            drop(slot);
        });
    }
}

async fn session(
    stream: TcpStream,
    seed: u64,
    time: Skewed,
    queries: &AtomicU64,
) -> Result<(), std::io::Error> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"READY\n").await?;
    let mut line = String::new();
    loop {
        line.clear();
        let mut bounded = (&mut stream).take(LONGEST_LINE);
        let read = tokio::time::timeout(IDLE, bounded.read_line(&mut line)).await??;
        if read == 0 || !line.ends_with('\n') || line.trim() == "QUIT" {
            return Ok(());
        }
        let n = queries.fetch_add(1, Ordering::Relaxed);
        let mut dice = Dice::new(seed, Key::of(b"database"), Key(n));
        tokio::time::sleep(skewed(time, &mut dice)).await;
        stream.write_all(b"OK\n").await?;
    }
}
