//! The HTTP that all services share: a bounded server loop and one way to call.

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// The header that all hops of one user request share.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header that all attempts of one charge share.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const MOST_CONNECTIONS: usize = 1024;
const LARGEST_BODY: usize = 64 * 1024;
const CONNECT: Duration = Duration::from_secs(2);
/// Longer than any proxy keeps an idle connection, so that it is never us who close one just as it is used again.
const IDLE: Duration = Duration::from_secs(120);

/// A request, read to its end.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
}

impl Call {
    /// The value of a header field, if it is there and is text.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What a service answers: a status and a JSON text.
pub(super) struct Reply(pub(super) StatusCode, pub(super) String);

impl Reply {
    /// A failure and its reason.
    pub(super) fn failed(status: StatusCode, reason: &str) -> Self {
        Self(status, format!("{{\"error\":\"{reason}\"}}"))
    }

    /// Nothing here.
    pub(super) fn not_found() -> Self {
        Self::failed(StatusCode::NOT_FOUND, "no such path")
    }
}

/// Whether a caller that leaves stops the work on its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnLeave {
    /// The work stops.
    Stop,
    /// The work goes on, for nobody.
    GoOn,
}

/// Serves until it is dropped. `respond` is bounded in time by what it does.
pub(super) async fn serve<R, F>(listener: TcpListener, on_leave: OnLeave, respond: R)
where
    R: Fn(Call) -> F + Clone + Send + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    while let Ok(permit) = permits.clone().acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let respond = respond.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, on_leave, respond.clone()));
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE)
                .half_close(on_leave == OnLeave::GoOn)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(permit);
        });
    }
}

async fn answer<R, F>(
    request: Request<Incoming>,
    on_leave: OnLeave,
    respond: R,
) -> Result<Response<Full<Bytes>>, Infallible>
where
    R: Fn(Call) -> F,
    F: Future<Output = Reply> + Send + 'static,
{
    let (head, body) = request.into_parts();
    let read = tokio::time::timeout(CONNECT, Limited::new(body, LARGEST_BODY).collect()).await;
    let Reply(status, text) = if matches!(read, Ok(Ok(_))) {
        let call = Call { method: head.method, path: head.uri.path().to_owned(), headers: head.headers };
        let work = respond(call);
        match on_leave {
            OnLeave::Stop => work.await,
            OnLeave::GoOn => tokio::spawn(work).await.unwrap_or_else(|_| {
                Reply::failed(StatusCode::INTERNAL_SERVER_ERROR, "the work ended before its time")
            }),
        }
    } else {
        Reply::failed(StatusCode::BAD_REQUEST, "the body did not arrive, or is too large")
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
}

/// How a service calls another.
#[derive(Clone)]
pub(super) struct Client {
    inner: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    base: String,
}

/// Why a call brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It took too long.
    Timeout,
    /// The connection failed, or what came was no HTTP.
    Transport,
}

impl Client {
    /// Calls what listens at this base URL.
    pub(super) fn new(base: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let inner = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .build(connector);
        Self { inner, base: base.trim_end_matches('/').to_owned() }
    }

    /// One call, with its answer read to the end, all within the time. Giving up closes the connection.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        within: Duration,
    ) -> Result<Reply, Failure> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Full::default()).map_err(|_| Failure::Transport)?;
        let exchange = async {
            let response = self.inner.request(request).await.map_err(|_| Failure::Transport)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST_BODY).collect().await;
            let bytes = body.map_err(|_| Failure::Transport)?.to_bytes();
            Ok(Reply(status, String::from_utf8_lossy(&bytes).into_owned()))
        };
        tokio::time::timeout(within, exchange).await.map_err(|_| Failure::Timeout)?
    }
}
