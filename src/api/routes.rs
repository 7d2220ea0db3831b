//! What can be called, and what it answers. Who may call is checked before, by the [`door`](super::door).

use super::live::{self, Live};
use super::{AdminState, DEFAULT_TTL, LONGEST_TTL, Levers, openapi};
use crate::control::{FaultStatus, Refusal};
use crate::model::Ttl;
use crate::telemetry::Telemetry;
use crate::units::Span;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The largest body of a request.
const BODY: usize = 1 << 20;

/// What all routes share.
pub(crate) struct Desk {
    pub(crate) levers: Arc<dyn Levers>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) state: Arc<AdminState>,
    pub(crate) live: Live,
    pub(crate) since: Instant,
}

type Shared = State<Arc<Desk>>;

/// Why a call failed: a status, and `{ "error": "…" }`.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) error: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }

    fn invalid(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::NoSuchFault(_) => StatusCode::NOT_FOUND,
            Refusal::Taken(_) => StatusCode::CONFLICT,
            Refusal::Halted => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, refusal.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "error": self.error }))).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

type Answer = Result<Response, Failure>;

/// All routes.
pub(crate) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/page.css", get(style))
        .route("/page.js", get(script))
        .route("/icon.svg", get(icon))
        .route("/api/v1/live", get(live_events))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status))
        .route("/api/v1/edges", get(edges))
        .route("/api/v1/faults", get(faults).post(arm))
        .route("/api/v1/faults/{name}", get(fault).delete(heal))
        .route("/api/v1/faults/{name}/arm", post(arm_named))
        .route("/api/v1/faults/{name}/heal", post(heal))
        .route("/api/v1/heal", post(heal_all))
        .route("/api/v1/halt", post(halt).delete(lift))
        .route("/api/v1/halt/lift", post(lift))
        .route("/api/v1/openapi.json", get(async || Json(openapi::description())))
        .fallback(unknown)
        .method_not_allowed_fallback(async || {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not know that method")
        })
        .with_state(desk)
}

async fn unknown() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "there is nothing here: see `/api/v1/openapi.json`")
}

/// The shell: it tells nothing, so it needs no token. What it shows comes from `/api/v1/live`.
async fn page() -> Html<String> {
    Html(include_str!("page/page.html").replace("<!-- patterns -->", &crate::chart::patterns().into_string()))
}

async fn style() -> Response {
    let style = format!("{}{}", crate::chart::STYLE, include_str!("page/page.css"));
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], style).into_response()
}

async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("page/page.js")).into_response()
}

async fn icon() -> Response {
    ([(header::CONTENT_TYPE, "image/svg+xml")], include_str!("page/icon.svg")).into_response()
}

async fn live_events(State(desk): Shared) -> Answer {
    live::stream(&desk.live)
}

async fn readyz(State(desk): Shared) -> Answer {
    if desk.levers.is_ready() {
        return Ok("ready\n".into_response());
    }
    Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "not all listeners are bound and services ready"))
}

async fn metrics(State(desk): Shared) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], desk.telemetry.gather()).into_response()
}

async fn status(State(desk): Shared) -> Json<Value> {
    let experiment = desk.state.experiment.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "experiment": experiment,
        "phase": desk.telemetry.phase(),
        "ready": desk.levers.is_ready(),
        "halted": desk.levers.is_halted(),
        "uptime": desk.since.elapsed().as_secs_f64(),
    }))
}

async fn edges(State(desk): Shared) -> Json<Value> {
    Json(json!({ "edges": desk.levers.edges() }))
}

async fn faults(State(desk): Shared) -> Json<Value> {
    Json(json!({ "halted": desk.levers.is_halted(), "faults": desk.levers.faults() }))
}

async fn fault(State(desk): Shared, Path(name): Path<String>) -> Answer {
    let status = find(&desk, &name).ok_or(Refusal::NoSuchFault(name))?;
    Ok(Json(status).into_response())
}

async fn arm(State(desk): Shared, body: Body) -> Answer {
    let table = object(body).await?;
    let edges = desk.levers.edges();
    let (rule, ttl) = (desk.state.parse_fault)(table, &edges).map_err(Failure::invalid)?;
    let name = rule.name.to_string();
    desk.levers.arm(rule, life(ttl)?)?;
    Ok((StatusCode::CREATED, Json(find(&desk, &name))).into_response())
}

async fn arm_named(State(desk): Shared, Path(name): Path<String>, body: Body) -> Answer {
    let table = object(body).await?;
    let unknown = table.as_object().and_then(|table| table.keys().find(|key| *key != "ttl"));
    if let Some(key) = unknown {
        return Err(Failure::invalid(format!(
            "`{key}` cannot be said here: a fault of the file takes only `ttl`"
        )));
    }
    let ttl = match table.get("ttl") {
        None => (desk.state.ttl_of)(&name),
        Some(Value::String(text)) => Some(read_ttl(text)?),
        Some(_) => return Err(Failure::invalid("`ttl` is a text, such as `\"30s\"` or `\"forever\"`")),
    };
    desk.levers.arm_named(&name, life(ttl)?)?;
    Ok(Json(find(&desk, &name)).into_response())
}

async fn heal(State(desk): Shared, Path(name): Path<String>) -> Answer {
    let before = find(&desk, &name);
    desk.levers.heal(&name)?;
    // One that was armed by hand is not known any more.
    let gone = before.map(|fault| FaultStatus { armed: false, active: false, ends_in: None, ..fault });
    Ok(Json(find(&desk, &name).or(gone)).into_response())
}

async fn heal_all(State(desk): Shared) -> Json<Value> {
    let armed: Vec<_> =
        desk.levers.faults().into_iter().filter(|fault| fault.armed).map(|fault| fault.name).collect();
    desk.levers.heal_all();
    Json(json!({ "healed": armed }))
}

async fn halt(State(desk): Shared) -> Json<Value> {
    desk.levers.halt();
    Json(json!({ "halted": desk.levers.is_halted() }))
}

async fn lift(State(desk): Shared) -> Json<Value> {
    desk.levers.lift();
    Json(json!({ "halted": desk.levers.is_halted() }))
}

fn find(desk: &Desk, name: &str) -> Option<FaultStatus> {
    desk.levers.faults().into_iter().find(|fault| fault.name == name)
}

/// A body that is a JSON object; none at all is an empty one.
async fn object(body: Body) -> Result<Value, Failure> {
    let bytes = to_bytes(body, BODY).await.map_err(|_| {
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 1 MiB, or did not come whole")
    })?;
    if bytes.trim_ascii().is_empty() {
        return Ok(json!({}));
    }
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}")))?;
    if value.is_object() {
        return Ok(value);
    }
    Err(Failure::new(StatusCode::BAD_REQUEST, "the body must be a JSON object"))
}

fn read_ttl(text: &str) -> Result<Ttl, Failure> {
    if text == "forever" {
        return Ok(Ttl::Forever);
    }
    text.parse::<Span>()
        .map(|span| Ttl::For(span.0))
        .map_err(|error| Failure::invalid(format!("`ttl`: {error}")))
}

/// How long a fault armed by hand may last: everything but `"forever"`, which has to be written, has an end.
fn life(ttl: Option<Ttl>) -> Result<Option<Duration>, Failure> {
    match ttl {
        None => Ok(Some(DEFAULT_TTL)),
        Some(Ttl::Forever) => Ok(None),
        Some(Ttl::For(time)) if time > LONGEST_TTL => {
            Err(Failure::invalid(format!("`ttl` is {}: at most 1h, or write `\"forever\"`", Span(time))))
        }
        Some(Ttl::For(time)) if time.is_zero() => {
            Err(Failure::invalid("`ttl` is zero: the fault would never be on"))
        }
        Some(Ttl::For(time)) => Ok(Some(time)),
    }
}
