//! The rules of the admin address, tried over real sockets: each a table.

use super::door::Door;
use super::*;
use crate::control::{FaultStatus, Refusal};
use crate::decision::Protocol;
use crate::model::{Overrides, When, Who, parse as parse_experiment};
use crate::units::Span;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::PoisonError;

const EDGE: &str = "checkout";

/// An experiment with two edges and three phases.
pub(crate) fn experiment() -> Experiment {
    let file = "name = \"timeout-cut\"\n[run]\nbaseline = \"20s\"\nfault = \"60s\"\nrecovery = \"30s\"\n\
        [[edge]]\nname = \"checkout\"\nlisten = \"127.0.0.1:0\"\nupstream = \"http://127.0.0.1:1\"\n\
        [[edge]]\nname = \"provider\"\nlisten = \"127.0.0.1:0\"\nupstream = \"http://127.0.0.1:2\"\n\
        [[fault]]\nname = \"slow\"\nedge = \"provider\"\nmatch = \"all\"\nlatency = \"1s\"\n\
        [[expect]]\nname = \"stays up\"\nedge = \"checkout\"\nsuccess_rate = \">= 99%\"\n";
    let parsed = parse_experiment(file, std::path::Path::new("t.toml"), &Overrides::default());
    parsed.map_err(|problems| problems.render(false)).unwrap().experiment
}

/// A control that remembers what it was told.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) armed: Mutex<Vec<(String, Option<Duration>)>>,
    halted: Mutex<bool>,
    unready: Mutex<bool>,
}

fn get<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Levers for Fake {
    fn faults(&self) -> Vec<FaultStatus> {
        let armed = get(&self.armed);
        let names = armed.iter().map(|(name, life)| (name.clone(), true, *life));
        let file = (!armed.iter().any(|(name, _)| name == "of the file"))
            .then(|| ("of the file".into(), false, None));
        names
            .chain(file)
            .map(|(name, armed, life)| FaultStatus {
                name,
                edges: vec![EDGE.into()],
                services: Vec::new(),
                owner: if armed { "hand" } else { "none" }.into(),
                armed,
                active: armed,
                actions: vec!["latency".into()],
                matched: 3,
                selected: 2,
                hits: 1,
                ends_in: life.map(|life| life.as_secs_f64()),
            })
            .collect()
    }

    fn edges(&self) -> Vec<EdgeStatus> {
        vec![EdgeStatus {
            id: 0,
            name: EDGE.into(),
            listen: ([127, 0, 0, 1], 9000).into(),
            protocol: Protocol::Http,
            upstreams: vec!["127.0.0.1:4000".into()],
            from: "web".into(),
            to: "payments".into(),
        }]
    }

    fn arm(&self, rule: FaultRule, life: Option<Duration>) -> Result<(), Refusal> {
        let name = rule.name.to_string();
        if *get(&self.halted) {
            return Err(Refusal::Halted);
        }
        let mut armed = get(&self.armed);
        if armed.iter().any(|(known, _)| *known == name) {
            return Err(Refusal::Taken(name));
        }
        armed.push((name, life));
        Ok(())
    }

    fn arm_named(&self, name: &str, life: Option<Duration>) -> Result<(), Refusal> {
        if *get(&self.halted) {
            return Err(Refusal::Halted);
        }
        if name != "of the file" {
            return Err(Refusal::NoSuchFault(name.into()));
        }
        get(&self.armed).push((name.into(), life));
        Ok(())
    }

    fn heal(&self, name: &str) -> Result<(), Refusal> {
        let mut armed = get(&self.armed);
        let place = armed.iter().position(|(known, _)| known == name);
        armed.remove(place.ok_or_else(|| Refusal::NoSuchFault(name.into()))?);
        Ok(())
    }

    fn heal_all(&self) {
        get(&self.armed).clear();
    }

    fn halt(&self) {
        self.heal_all();
        *get(&self.halted) = true;
    }

    fn lift(&self) {
        *get(&self.halted) = false;
    }

    fn is_halted(&self) -> bool {
        *get(&self.halted)
    }

    fn is_ready(&self) -> bool {
        !*get(&self.unready)
    }
}

/// Knows `name`, `edge` and `ttl`.
fn parse(table: Value, edges: &[EdgeStatus]) -> Result<(FaultRule, Option<Ttl>), String> {
    let edge = table["edge"].as_str().ok_or("`edge` is missing")?;
    let place = edges
        .iter()
        .position(|known| known.name == edge)
        .ok_or(format!("error: there is no edge `{edge}`\n\n"))?;
    let ttl = match table["ttl"].as_str() {
        Some("forever") => Some(Ttl::Forever),
        Some(text) => Some(Ttl::For(text.parse::<Span>()?.0)),
        None => None,
    };
    let rule = FaultRule {
        name: table["name"].as_str().unwrap_or("by hand").parse()?,
        edges: vec![place],
        services: Vec::new(),
        who: Who::default(),
        when: When::default(),
        armed: true,
        ttl,
        optional: false,
        actions: Vec::new(),
        deeds: Vec::new(),
        line: 0,
    };
    Ok((rule, ttl))
}

pub(crate) struct Site {
    pub(crate) handle: AdminHandle,
    pub(crate) fake: Arc<Fake>,
    pub(crate) telemetry: Arc<Telemetry>,
}

pub(crate) fn site(hosts: &[&str]) -> Site {
    open(AdminConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        token: None,
    })
}

pub(crate) fn open(config: AdminConfig) -> Site {
    let fake = Arc::new(Fake::default());
    let telemetry = Telemetry::new();
    let state = AdminState {
        experiment: Mutex::new(Some("timeout-cut".into())),
        parse_fault: Box::new(parse),
        ttl_of: Box::new(|name| (name == "of the file").then_some(Ttl::For(Duration::from_secs(7)))),
        course: Course::Serve(Vec::new()),
    };
    let levers: Arc<dyn Levers> = fake.clone();
    let handle = server::start(config, levers, telemetry.clone(), Arc::new(state)).unwrap();
    Site { handle, fake, telemetry }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}", self.body))
    }

    fn error(&self) -> String {
        assert!(self.head.contains("content-type: application/json"), "{}", self.head);
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

impl Site {
    /// Sends these bytes and reads to the end.
    fn raw(&self, bytes: &[u8]) -> Answer {
        let port = self.handle.addr().port();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// A request with exactly these header lines, beside what ends the connection.
    fn with(&self, target: &str, headers: &[&str], body: &str) -> Answer {
        let port = self.handle.addr().port().to_string();
        let lines: String =
            headers.iter().map(|line| format!("{}\r\n", line.replace("PORT", &port))).collect();
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let text = format!("{target} HTTP/1.1\r\n{lines}{length}connection: close\r\n\r\n{body}");
        self.raw(text.as_bytes())
    }

    fn call(&self, target: &str, body: &str) -> Answer {
        self.with(target, &["host: localhost:PORT", "content-type: application/json"], body)
    }
}

#[test]
fn only_its_own_names_are_answered() {
    let site = site(&["Chaos.Internal", "other:1234"]);
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:PORT", 200),
        ("localhost:1", 200),
        ("127.0.0.1:PORT", 200),
        ("127.9.9.9", 200),
        ("[::1]:PORT", 200),
        ("chaos.internal", 200),
        ("chaos.internal:PORT", 200),
        ("other:1234", 200),
        ("other", 403),
        ("evil.example", 403),
        ("evil.example:PORT", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("192.168.1.1", 403),
        ("0.0.0.0", 403),
        ("[::1", 403),
        ("localhost:80:80", 403),
        ("localhost:x", 403),
        ("user@localhost", 403),
        ("", 403),
    ] {
        for path in ["/healthz", "/metrics", "/api/v1/status", "/", "/page.js", "/nowhere"] {
            let answer = site.with(&format!("GET {path}"), &[&format!("host: {host}")], "");
            let expected = if path == "/nowhere" && status == 200 { 404 } else { status };
            assert_eq!(answer.status, expected, "{host} {path}");
        }
    }
    assert_eq!(site.with("GET /healthz", &[], "").status, 400);
    assert_eq!(site.with("GET /healthz", &["host: localhost", "host: localhost"], "").status, 400);
    assert_eq!(site.with("GET http://evil.example/healthz", &["host: localhost"], "").status, 403);
    let refused =
        site.with("POST /api/v1/halt", &["host: evil.example", "content-type: application/json"], "");
    assert_eq!((refused.status, site.fake.is_halted()), (403, false));
    assert!(refused.error().contains("--admin-host"));
}

#[test]
fn pages_of_other_origins_are_refused() {
    let site = site(&[]);
    for (origin, status) in [
        (None, 200),
        (Some("http://localhost:PORT"), 200),
        (Some("http://LocalHost:PORT"), 200),
        (Some("https://localhost:PORT"), 200),
        (Some("null"), 403),
        (Some(""), 403),
        (Some("http://localhost:1"), 403),
        (Some("http://localhost"), 403),
        (Some("http://127.0.0.1:PORT"), 403),
        (Some("http://evil.example"), 403),
        (Some("http://localhost:PORT.evil.example"), 403),
        (Some("localhost:PORT"), 403),
    ] {
        let origin = origin.map(|origin| format!("origin: {origin}"));
        let mut headers = vec!["host: localhost:PORT", "content-type: application/json"];
        headers.extend(origin.as_deref());
        for call in ["GET /metrics", "GET /api/v1/faults", "POST /api/v1/heal", "DELETE /api/v1/halt"] {
            assert_eq!(site.with(call, &headers, "").status, status, "{origin:?} {call}");
        }
    }
    let preflight =
        ["host: localhost:PORT", "origin: http://evil.example", "access-control-request-method: POST"];
    let answer = site.with("OPTIONS /api/v1/halt", &preflight, "");
    assert_eq!(answer.status, 403);
    assert!(!answer.head.contains("access-control-allow"));
}

#[test]
fn calls_that_change_something_are_json() {
    let site = site(&[]);
    for call in [
        "POST /api/v1/faults",
        "POST /api/v1/faults/of%20the%20file/arm",
        "POST /api/v1/faults/x/heal",
        "DELETE /api/v1/faults/x",
        "POST /api/v1/heal",
        "POST /api/v1/halt",
        "DELETE /api/v1/halt",
        "POST /api/v1/halt/lift",
        "PUT /nowhere",
    ] {
        for kind in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
            Some("multipart/form-data"),
            Some("text/plain; application/json"),
            Some("application/jsonp"),
        ] {
            let kind = kind.map(|kind| format!("content-type: {kind}"));
            let mut headers = vec!["host: localhost"];
            headers.extend(kind.as_deref());
            let answer = site.with(call, &headers, "{\"edge\":\"checkout\"}");
            assert_eq!(answer.status, 415, "{call} {kind:?}");
            assert!(answer.error().contains("application/json"));
        }
    }
    assert!(!site.fake.is_halted() && get(&site.fake.armed).is_empty());
    let headers = ["host: localhost", "content-type: Application/JSON; charset=utf-8"];
    assert_eq!(site.with("POST /api/v1/halt", &headers, "").status, 200);
}

#[test]
fn no_get_changes_anything() {
    let site = site(&[]);
    for (path, status) in [
        ("/api/v1/heal", 405),
        ("/api/v1/halt", 405),
        ("/api/v1/halt/lift", 405),
        ("/api/v1/faults/of%20the%20file/arm", 405),
        ("/api/v1/faults/of%20the%20file/heal", 405),
        ("/api/v1/faults/of%20the%20file", 200),
        ("/api/v1/faults/none", 404),
        ("/api/v1/nowhere", 404),
        ("/nowhere", 404),
    ] {
        let answer = site.call(&format!("GET {path}"), "");
        assert_eq!(answer.status, status, "{path}");
        if status != 200 {
            assert!(!answer.error().is_empty());
        }
        assert_eq!(site.call(&format!("HEAD {path}"), "").status, status, "{path}");
    }
    assert!(!site.fake.is_halted() && get(&site.fake.armed).is_empty());
}

#[test]
fn beyond_loopback_the_token_opens_the_door() {
    let token = |token: Option<&str>| AdminConfig {
        listen: ([0, 0, 0, 0], 0).into(),
        hosts: Vec::new(),
        token: token.map(str::to_owned),
    };
    for missing in [None, Some(""), Some("  ")] {
        let error = Door::new(&token(missing)).unwrap_err();
        assert!(error.contains("BROWNOUT_TOKEN") && error.contains("127.0.0.1"), "{error}");
    }
    let site = open(token(Some("s3cret")));
    for (field, status) in [
        (None, 401),
        (Some("Bearer s3cret"), 200),
        (Some("bearer s3cret"), 200),
        (Some("Bearer s3cre"), 401),
        (Some("Bearer s3crets"), 401),
        (Some("Bearer"), 401),
        (Some("Bearer "), 401),
        (Some("Basic s3cret"), 401),
        (Some("s3cret"), 401),
    ] {
        let field = field.map(|field| format!("authorization: {field}"));
        let mut headers = vec!["host: localhost", "content-type: application/json"];
        headers.extend(field.as_deref());
        for call in ["POST /api/v1/heal", "DELETE /api/v1/halt", "GET /api/v1/faults", "GET /api/v1/status"] {
            let answer = site.with(call, &headers, "");
            assert_eq!(answer.status, status, "{call} {field:?}");
            assert_eq!(answer.head.contains("www-authenticate: bearer"), status == 401);
        }
        for call in ["GET /healthz", "GET /readyz", "GET /metrics", "GET /", "GET /page.js", "GET /page.css"]
        {
            assert_eq!(site.with(call, &headers, "").status, 200, "{call} {field:?}");
        }
    }
    assert_eq!(site.with("GET /healthz", &["host: 10.1.2.3"], "").status, 403);
}

#[test]
fn a_fault_lives_as_long_as_it_may() {
    let site = site(&[]);
    let minutes = |n: u64| Some(Duration::from_secs(n * 60));
    for (ttl, status, life) in [
        (None, 201, minutes(5)),
        (Some("30s"), 201, Some(Duration::from_secs(30))),
        (Some("1h"), 201, minutes(60)),
        (Some("forever"), 201, None),
        (Some("61m"), 422, None),
        (Some("0s"), 422, None),
        (Some("soon"), 422, None),
    ] {
        let mut table = json!({ "name": "slow", "edge": EDGE });
        if let Some(ttl) = ttl {
            table["ttl"] = ttl.into();
        }
        let answer = site.call("POST /api/v1/faults", &table.to_string());
        assert_eq!(answer.status, status, "{ttl:?} {}", answer.body);
        if status == 201 {
            assert_eq!(*get(&site.fake.armed), [("slow".to_owned(), life)]);
            assert_eq!(answer.json()["name"], "slow");
            let healed = site.call("DELETE /api/v1/faults/slow", "").json();
            assert_eq!(
                (&healed["name"], &healed["armed"], &healed["ends_in"]),
                (&json!("slow"), &json!(false), &json!(null))
            );
        }
        assert!(get(&site.fake.armed).is_empty());
    }
    for (body, status, life) in [
        ("", 200, Some(Duration::from_secs(7))),
        ("{}", 200, Some(Duration::from_secs(7))),
        ("{\"ttl\":\"30s\"}", 200, Some(Duration::from_secs(30))),
        ("{\"ttl\":\"forever\"}", 200, None),
        ("{\"ttl\":\"2h\"}", 422, None),
        ("{\"ttl\":30}", 422, None),
        ("{\"percent\":30}", 422, None),
        ("{", 400, None),
        ("[]", 400, None),
    ] {
        let answer = site.call("POST /api/v1/faults/of%20the%20file/arm", body);
        assert_eq!(answer.status, status, "{body} {}", answer.body);
        if status == 200 {
            assert_eq!(*get(&site.fake.armed), [("of the file".to_owned(), life)]);
            assert_eq!(answer.json()["armed"], true);
            assert_eq!(site.call("POST /api/v1/faults/of%20the%20file/heal", "").json()["armed"], false);
        } else {
            assert!(!answer.error().is_empty());
        }
    }
}

#[test]
fn refusals_have_their_status() {
    let site = site(&[]);
    let table = "{\"name\":\"slow\",\"edge\":\"checkout\"}";
    for (call, body, status, says) in [
        ("POST /api/v1/faults", "{\"edge\":\"chekout\"}", 422, "there is no edge `chekout`"),
        ("POST /api/v1/faults", "not json", 400, "not JSON"),
        ("POST /api/v1/faults", "\"text\"", 400, "a JSON object"),
        ("POST /api/v1/faults/none/arm", "", 404, "there is no fault `none`"),
        ("POST /api/v1/faults/none/heal", "", 404, "there is no fault `none`"),
        ("DELETE /api/v1/faults/none", "", 404, "there is no fault `none`"),
        ("POST /api/v1/faults", table, 201, ""),
        ("POST /api/v1/faults", table, 409, "armed already"),
        ("POST /api/v1/halt", "", 200, ""),
        ("POST /api/v1/halt", "", 200, ""),
        ("POST /api/v1/faults", table, 503, "halted"),
        ("POST /api/v1/faults/of%20the%20file/arm", "", 503, "halted"),
        ("POST /api/v1/heal", "", 200, ""),
        ("DELETE /api/v1/halt", "", 200, ""),
        ("POST /api/v1/faults", table, 201, ""),
        ("POST /api/v1/halt", "", 200, ""),
        ("POST /api/v1/halt/lift", "", 200, ""),
        ("PATCH /api/v1/faults", "", 405, "method"),
    ] {
        let answer = site.call(call, body);
        assert_eq!(answer.status, status, "{call} {body} {}", answer.body);
        if !says.is_empty() {
            assert!(answer.error().contains(says), "{}", answer.body);
        }
    }
    assert!(!site.fake.is_halted() && get(&site.fake.armed).is_empty());
}

#[test]
fn it_tells_what_there_is() {
    let site = site(&[]);
    let status = site.call("GET /api/v1/status", "").json();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&status["experiment"], &status["phase"]), (&json!("timeout-cut"), &json!("idle")));
    assert_eq!((&status["halted"], &status["ready"]), (&json!(false), &json!(true)));
    assert!(status["uptime"].as_f64().unwrap() >= 0.0);
    site.telemetry.set_phase(crate::model::Phase::Fault);
    assert_eq!(site.call("GET /api/v1/status", "").json()["phase"], "fault");
    let edges = site.call("GET /api/v1/edges", "").json();
    assert_eq!(
        (&edges["edges"][0]["name"], &edges["edges"][0]["listen"]),
        (&json!(EDGE), &json!("127.0.0.1:9000"))
    );
    let faults = site.call("GET /api/v1/faults", "").json();
    assert_eq!((&faults["faults"][0]["armed"], &faults["faults"][0]["hits"]), (&json!(false), &json!(1)));
    let metrics = site.call("GET /metrics", "");
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"));
    assert!(metrics.body.contains("brownout_build_info{"));
    let page = site.call("GET /", "");
    assert!(page.head.contains("content-type: text/html") && page.body.contains("id=\"halt\""));
    for (path, kind) in
        [("/page.js", "text/javascript"), ("/page.css", "text/css"), ("/icon.svg", "image/svg+xml")]
    {
        let part = site.call(&format!("GET {path}"), "");
        assert!(part.status == 200 && part.head.contains(&format!("content-type: {kind}")), "{path}");
        assert!(part.head.contains("x-content-type-options: nosniff"));
        assert!(page.body.contains(path), "{path} is not asked for");
    }
    assert_eq!(site.call("GET /readyz", "").status, 200);
    *get(&site.fake.unready) = true;
    assert_eq!(site.call("GET /readyz", "").status, 503);
    assert_eq!(site.call("GET /healthz", "").status, 200);
    let described = site.call("GET /api/v1/openapi.json", "").json();
    // A stream has no end that could be waited for here: `live_tests` reads it.
    let streams = |path: &str| path == "/api/v1/live";
    for (path, calls) in described["paths"].as_object().unwrap().iter().filter(|(path, _)| !streams(path)) {
        for method in calls.as_object().unwrap().keys() {
            let target = format!("{} {}", method.to_uppercase(), path.replace("{name}", "none"));
            let answer = site.call(&target, "");
            assert_ne!(answer.status, 405, "{target} is described, but not there");
            assert!(answer.status != 404 || path.contains("{name}"), "{target}");
        }
    }
}

#[test]
fn bodies_and_heads_have_a_bound() {
    let site = site(&[]);
    let padding = |size: usize| format!("{{\"edge\":\"checkout\",\"x\":\"{}\"}}", "x".repeat(size));
    assert_eq!(site.call("POST /api/v1/faults", &padding((1 << 20) - 100)).status, 201);
    assert_eq!(site.call("POST /api/v1/faults", &padding(1 << 20)).status, 413);
    let chunked = ["host: localhost", "content-type: application/json", "transfer-encoding: chunked"];
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
    let head = format!("POST /api/v1/faults HTTP/1.1\r\n{}\r\n\r\n", chunked.join("\r\n"));
    assert_eq!(site.raw(format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes()).status, 413);
    let long = format!("x-long: {}", "x".repeat(1_000_000));
    let status = site.with("GET /healthz", &["host: localhost", &long], "").status;
    assert_eq!(status, 431);
}

#[test]
fn connections_have_a_bound_and_the_rest_waits_for_its_turn() {
    let site = site(&[]);
    let idle: Vec<_> =
        (0..200).map(|_| TcpStream::connect(("127.0.0.1", site.handle.addr().port())).unwrap()).collect();
    drop(idle);
    assert_eq!(site.call("GET /healthz", "").status, 200);
}

#[test]
fn it_stops_at_once_whoever_is_connected() {
    let site = site(&[]);
    let addr = site.handle.addr();
    let mut idle = TcpStream::connect(addr).unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).unwrap();
    site.handle.stop();
    idle.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).unwrap();
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn a_port_that_is_taken_is_told() {
    let site = site(&[]);
    let config = AdminConfig { listen: site.handle.addr(), hosts: Vec::new(), token: None };
    let state = AdminState {
        experiment: Mutex::default(),
        parse_fault: Box::new(parse),
        ttl_of: Box::new(|_| None),
        course: Course::Serve(Vec::new()),
    };
    let error =
        server::start(config, site.fake.clone(), site.telemetry.clone(), Arc::new(state)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&site.handle.addr().to_string()));
}
