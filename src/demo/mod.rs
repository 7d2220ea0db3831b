//! The demo: a small shop that goes down with its payment provider, so that there is something to see within a minute.
//!
//! ```text
//! client ─checkout─► shop ─payments─► payments ─provider─► provider
//!                                         └─────database─► database
//! ```
//! Four services on loopback, on a thread and runtime of their own; each arrow is an edge of the experiment. Services need the
//! addresses of edges and edges those of services, so it begins in two steps: [`bind`] opens all listeners and tells
//! [where](Bound::upstreams) they are, the caller puts edges in front, and [`Bound::start`] is told where these listen.
//!
//! The room knows nothing of the proxy: its services speak HTTP and TCP to whatever address they were given. What they know of
//! themselves ([`Running::observed`]) is for tests; the verdict of the demo is read on the wire.

mod breaker;
mod config;
mod database;
mod http;
mod ledger;
mod payments;
mod pool;
mod provider;
mod scenario;
mod shop;

#[cfg(test)]
mod cascade;

pub use config::{Config, Skewed};
pub use ledger::{Firsts, Observed};
pub use scenario::{NAMES, Scenario, scenario};

use crate::decision::{Dice, Distribution, Law};
use ledger::Ledger;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The edges of the demo's experiments, each named for what stands behind it.
pub const EDGES: [&str; 4] = ["checkout", "payments", "provider", "database"];

/// Where the services listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The gateway, behind the edge `checkout`.
    pub shop: SocketAddr,
    /// Behind the edge `payments`.
    pub payments: SocketAddr,
    /// Behind the edge `provider`.
    pub provider: SocketAddr,
    /// Behind the edge `database`; TCP.
    pub database: SocketAddr,
}

/// How each service reaches the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wiring {
    /// What the shop calls: a base URL.
    pub payments: String,
    /// What payments calls: a base URL.
    pub provider: String,
    /// Where payments finds its database: `host:port`.
    pub database: String,
}

impl Wiring {
    /// Through edges that listen at these addresses.
    #[must_use]
    pub fn through(payments: SocketAddr, provider: SocketAddr, database: SocketAddr) -> Self {
        Self {
            payments: format!("http://{payments}"),
            provider: format!("http://{provider}"),
            database: database.to_string(),
        }
    }

    /// Straight from service to service, with nothing between.
    #[must_use]
    pub fn direct(services: &Addresses) -> Self {
        Self::through(services.payments, services.provider, services.database)
    }
}

/// The services with their listeners open, not yet serving.
#[derive(Debug)]
pub struct Bound {
    shop: TcpListener,
    payments: TcpListener,
    provider: TcpListener,
    database: TcpListener,
    addresses: Addresses,
}

/// Opens a listener on loopback for every service.
///
/// # Errors
/// When the system has no port to give.
pub fn bind() -> io::Result<Bound> {
    let open = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        listener.local_addr().map(|address| (listener, address))
    };
    let (shop, payments, provider, database) = (open()?, open()?, open()?, open()?);
    Ok(Bound {
        addresses: Addresses {
            shop: shop.1,
            payments: payments.1,
            provider: provider.1,
            database: database.1,
        },
        shop: shop.0,
        payments: payments.0,
        provider: provider.0,
        database: database.0,
    })
}

impl Bound {
    /// Where the services listen.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The upstream of every edge, in the order of [`EDGES`], as `--upstream EDGE=URL` takes it.
    #[must_use]
    pub fn upstreams(&self) -> [(&'static str, String); 4] {
        let at = self.addresses;
        let [checkout, payments, provider, database] = EDGES;
        [
            (checkout, format!("http://{}", at.shop)),
            (payments, format!("http://{}", at.payments)),
            (provider, format!("http://{}", at.provider)),
            (database, format!("tcp://{}", at.database)),
        ]
    }

    /// Serves, on a thread of its own, until stopped or dropped.
    ///
    /// # Errors
    /// When the system gives no thread or no runtime.
    pub fn start(self, config: Config, wiring: Wiring) -> io::Result<Running> {
        let stop = CancellationToken::new();
        let ledger = Arc::new(Ledger::new());
        let (ready, started) = mpsc::channel();
        let (token, book) = (stop.clone(), ledger.clone());
        let thread = std::thread::Builder::new().name("demo".into()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            runtime.block_on(self.serve(config, wiring, book, token, ready));
            runtime.shutdown_background();
        })?;
        let running = Running { stop, ledger, thread: Some(thread) };
        started.recv().unwrap_or_else(|_| Err(io::Error::other("the demo's thread ended at once")))?;
        Ok(running)
    }

    async fn serve(
        self,
        config: Config,
        wiring: Wiring,
        ledger: Arc<Ledger>,
        stop: CancellationToken,
        ready: mpsc::Sender<io::Result<()>>,
    ) {
        let adopt = tokio::net::TcpListener::from_std;
        let listeners = (|| {
            Ok((adopt(self.shop)?, adopt(self.payments)?, adopt(self.provider)?, adopt(self.database)?))
        })();
        let (shop, payments, provider, database) = match listeners {
            Ok(listeners) => listeners,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        let services = async {
            tokio::join!(
                shop::serve(shop, config.clone(), &wiring, ledger.clone()),
                payments::serve(payments, config.clone(), &wiring, ledger.clone()),
                provider::serve(provider, config.clone(), ledger.clone()),
                database::serve(database, config.clone(), ledger.clone()),
            )
        };
        let _ = stop.run_until_cancelled(services).await;
    }
}

/// The demo system, serving. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    stop: CancellationToken,
    ledger: Arc<Ledger>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// What the services know of themselves: for tests, never for a verdict.
    #[must_use]
    pub fn observed(&self) -> Observed {
        self.ledger.read()
    }

    /// Stops every service and cuts what is under way. Returns when the thread has ended.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One draw of a skewed time.
fn skewed(time: Skewed, dice: &mut Dice) -> Duration {
    let law = Law::LogNormal { median: time.median.as_secs_f64(), p99: time.p99.as_secs_f64() };
    Distribution { law, max: Some(time.p99 * 4) }.draw(dice, Duration::ZERO)
}
