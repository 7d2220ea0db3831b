//! The shop: the gateway in front. `POST /checkout` charges, `GET /products` shows prices; both need payments, and
//! neither waits for it longer than the gateway timeout.

use super::config::Config;
use super::http::{Call, Client, Failure, OnLeave, REQUEST_ID, Reply};
use super::ledger::Ledger;
use super::{Wiring, http};
use crate::decision::{Dice, Key};
use ::http::{Method, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, config: Config, wiring: &Wiring, ledger: Arc<Ledger>) {
    let shop = Arc::new(Shop {
        payments: Client::new(&wiring.payments),
        config,
        ledger,
        unnamed: AtomicU64::new(0),
    });
    http::serve(listener, OnLeave::Stop, move |call| {
        let shop = shop.clone();
        async move { shop.respond(call).await }
    })
    .await;
}

struct Shop {
    config: Config,
    payments: Client,
    ledger: Arc<Ledger>,
    unnamed: AtomicU64,
}

impl Shop {
    async fn respond(&self, call: Call) -> Reply {
        match (&call.method, call.path.as_str()) {
            (&Method::POST, "/checkout") => {
                self.ledger.note(|seen, _| seen.checkouts += 1);
                self.ask_payments(&call, Method::POST, "/charges").await
            }
            (&Method::GET, "/products") => {
                self.ledger.note(|seen, _| seen.products += 1);
                self.ask_payments(&call, Method::GET, "/prices").await
            }
            (&Method::GET, "/healthz") => Reply(StatusCode::OK, "{}".into()),
            _ => Reply::not_found(),
        }
    }

    async fn ask_payments(&self, call: &Call, method: Method, path: &str) -> Reply {
        let id = call.header(&REQUEST_ID).map_or_else(|| self.name(), str::to_owned);
        match self.payments.call(method, path, &[(REQUEST_ID, &id)], self.config.gateway_timeout).await {
            Ok(reply) => reply,
            Err(Failure::Timeout) => {
                self.ledger.note(|seen, now| {
                    seen.gateway_timeouts += 1;
                    seen.first.gateway_timeout.get_or_insert(now);
                });
                Reply::failed(StatusCode::GATEWAY_TIMEOUT, "payments did not answer in time")
            }
            Err(Failure::Transport) => Reply::failed(StatusCode::BAD_GATEWAY, "payments cannot be reached"),
        }
    }

    /// A name for a request that came without one.
    fn name(&self) -> String {
        let n = self.unnamed.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}", Dice::new(self.config.seed, Key::of(b"shop"), Key(n)).bits())
    }
}
