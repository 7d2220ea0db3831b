//! The thread that accepts and answers, with a bound on everything a caller can use up.

use super::door::Door;
use super::live;
use super::routes::{Desk, Failure, router};
use super::{AdminConfig, AdminState, Levers};
use crate::telemetry::Telemetry;
use axum::Router;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at once.
const CONNECTIONS: usize = 128;
/// From accept, or from the end of an answer, to the end of a head.
const HEAD: Duration = Duration::from_secs(10);
/// From a head to its answer, the body of the request included.
const ANSWER: Duration = Duration::from_secs(10);
/// A connection is closed after this time, when its answer is out; a reader that is slow, a little later.
const LIFE: Duration = Duration::from_secs(120);
/// What is left to answers under way when the connection, or the server, is to end.
const GRACE: Duration = Duration::from_secs(1);
/// A pause after an error of accept, such as no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// The running admin address. Dropping it closes the address.
#[derive(Debug)]
pub struct AdminHandle {
    addr: SocketAddr,
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

impl AdminHandle {
    /// Where it listens, with the real port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes it: answers under way have a second, then the thread is gone.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for AdminHandle {
    fn drop(&mut self) {
        self.end();
    }
}

pub(crate) fn start(
    config: AdminConfig,
    levers: Arc<dyn Levers>,
    telemetry: Arc<Telemetry>,
    state: Arc<AdminState>,
) -> io::Result<AdminHandle> {
    let door = Door::new(&config).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
    let told = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("the admin address `{}` cannot be opened: {error}", config.listen),
        )
    };
    let listener = std::net::TcpListener::bind(config.listen).map_err(told)?;
    listener.set_nonblocking(true).map_err(told)?;
    let addr = listener.local_addr().map_err(told)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = CancellationToken::new();
    let (live, reader) =
        live::start(Arc::clone(&levers), Arc::clone(&telemetry), Arc::clone(&state), stop.clone())?;
    let site = Arc::new(Site {
        door,
        router: router(Arc::new(Desk { levers, telemetry, state, live, since: Instant::now() })),
        stop: stop.clone(),
    });
    let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
        runtime.block_on(async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => site.serve(listener).await,
                Err(error) => tracing::error!("the admin address cannot be served: {error}"),
            }
        });
    })?;
    Ok(AdminHandle { addr, stop, threads: vec![reader, thread] })
}

struct Site {
    door: Door,
    router: Router,
    stop: CancellationToken,
}

impl Site {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let tasks = TaskTracker::new();
        let accepting = async {
            while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let site = Arc::clone(&self);
                        tasks.spawn(async move {
                            site.connection(stream).await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!("the admin address: {error}");
                        sleep(PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            () = self.stop.cancelled() => {}
        }
        drop(listener);
        tasks.close();
        let _ = timeout(GRACE * 2, tasks.wait()).await;
    }

    async fn connection(&self, stream: TcpStream) {
        let Ok(local) = stream.local_addr() else { return };
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| self.answer(request, local));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(32 << 10)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            _ = &mut connection => return,
            () = self.stop.cancelled() => {}
            () = sleep(LIFE) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = timeout(GRACE, connection).await;
    }

    async fn answer(&self, request: Request<Incoming>, local: SocketAddr) -> Result<Response, Infallible> {
        let mut response = match self.door.check(&request, local) {
            Err(failure) => failure.into_response(),
            Ok(()) => {
                match timeout(ANSWER, TowerToHyperService::new(self.router.clone()).call(request)).await {
                    Ok(Ok(response)) => response,
                    Ok(Err(never)) => match never {},
                    Err(_) => {
                        Failure::new(StatusCode::REQUEST_TIMEOUT, "the request did not come whole in time")
                            .into_response()
                    }
                }
            }
        };
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::REFERRER_POLICY, "no-referrer"),
            (
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                 frame-ancestors 'none'",
            ),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }
}
