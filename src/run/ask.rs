//! One question of a probe: asked once, on a connection of its own, and answered in words.
//!
//! Nothing is kept alive: a reused connection that died meanwhile would lie about the service. What an answer says is read
//! up to a bound. Knows nothing of how often, or why, it is asked.

use super::command;
use crate::model::{HttpAsk, StatusSet, json_at};
use crate::telemetry::Saw;
use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::uri::Scheme;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// So much of a body is looked at.
const BODY: usize = 1 << 20;
/// How long a body that nobody looks at is read on, so that an answer is not cut short for nothing.
const LINGER: Duration = Duration::from_millis(250);
/// The troubles for which an edge answers itself because the service behind it does not.
const SILENT: [&str; 4] = ["connect", "connect-timeout", "closed", "timeout"];
/// A value or a text in a message is no longer.
const SHOWN: usize = 80;

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// What must be.
    Right,
    /// Something else: what.
    Wrong(String),
    /// Nobody answers: why.
    Unreachable(String),
    /// It cannot be asked at all: why. That is no fault of who is asked.
    Impossible(String),
}

impl Answer {
    /// As events tell it. Where silence is not tolerated, it is wrong.
    pub(super) fn told(self, tolerate_unreachable: bool) -> Result<(Saw, Option<String>), String> {
        match self {
            Self::Right => Ok((Saw::Right, None)),
            Self::Wrong(why) => Ok((Saw::Wrong, Some(why))),
            Self::Unreachable(why) if tolerate_unreachable => Ok((Saw::Unreachable, Some(why))),
            Self::Unreachable(why) => Ok((Saw::Wrong, Some(why))),
            Self::Impossible(why) => Err(why),
        }
    }
}

/// A request that is ready to be sent.
#[derive(Debug)]
pub(super) struct HttpQuestion {
    host: String,
    port: u16,
    request: http::Request<Empty<Bytes>>,
    ask: HttpAsk,
    /// It goes through an edge of ours.
    marked: bool,
}

impl HttpQuestion {
    /// Makes one. `edges` are the addresses of the edges, in the order of the file; what goes to one of them carries `mark`,
    /// a field by which edges know it.
    pub(super) fn new(ask: HttpAsk, edges: &[SocketAddr], mark: (&str, &str)) -> Result<Self, String> {
        let url = match ask.edge {
            Some(place) => {
                let edge =
                    edges.get(place).ok_or_else(|| format!("the edge of `{}` does not stand", ask.url))?;
                format!("http://{edge}{}", ask.url)
            }
            None => ask.url.clone(),
        };
        let uri: http::Uri = url.parse().map_err(|error| format!("`{url}` is not a URL: {error}"))?;
        if uri.scheme() != Some(&Scheme::HTTP) {
            return Err(format!("`{url}` cannot be asked: write a URL that begins with `http://`"));
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(80);
        let mut request = http::Request::builder()
            .method(ask.method.as_str())
            .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(USER_AGENT, "brownout-probe")
            .header(CONNECTION, "close");
        let known = |name: &str| ask.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !known("host") {
            request = request.header(HOST, uri.authority().map_or("", |authority| authority.as_str()));
        }
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        let address = host.parse().ok().map(|ip| SocketAddr::new(ip, port));
        let marked = address.is_some_and(|address| edges.contains(&address));
        if marked {
            request = request.header(mark.0, mark.1);
        }
        let request =
            request.body(Empty::new()).map_err(|error| format!("`{url}` cannot be asked: {error}"))?;
        Ok(Self { host, port, request, ask, marked })
    }

    /// Asks.
    pub(super) async fn ask(&self) -> Answer {
        match self.exchange().await {
            Ok(answer) => answer,
            Err(why) => Answer::Unreachable(why),
        }
    }

    async fn exchange(&self) -> Result<Answer, String> {
        let stream = connect(&self.host, self.port).await?;
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| broke_off(&error))?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let answer = sender.send_request(self.request.clone()).await.map_err(|error| broke_off(&error))?;
        let own = answer.headers().get("x-brownout-error").and_then(|kind| kind.to_str().ok());
        if let Some(kind) = own.filter(|kind| self.marked && SILENT.contains(kind)) {
            // The edge answers for a service that does not.
            return Err(format!("nobody answers behind the edge ({kind})"));
        }
        if let Some(wrong) = self.status(answer.status().as_u16()) {
            return Ok(Answer::Wrong(wrong));
        }
        let mut body = answer.into_body();
        if self.ask.text.is_none() && self.ask.json.is_empty() {
            let read_on = Limited::new(body, BODY).collect();
            let _ = tokio::time::timeout(LINGER, read_on).await;
            return Ok(Answer::Right);
        }
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broke_off(&error))?;
            if let Some(data) = frame.data_ref() {
                read.extend_from_slice(&data[..data.len().min(BODY - read.len())]);
            }
            if read.len() == BODY {
                break;
            }
        }
        Ok(self.body(&read).map_or(Answer::Right, Answer::Wrong))
    }

    /// What is wrong with a status.
    fn status(&self, status: u16) -> Option<String> {
        let expected = match self.ask.status.as_slice() {
            [] if status < 400 => return None,
            [] => "below 400".to_owned(),
            sets if sets.iter().any(|set| set.contains(status)) => return None,
            sets => sets.iter().map(|set| show_set(*set)).collect::<Vec<_>>().join(" or "),
        };
        Some(format!("status {status}, expected {expected}"))
    }

    /// What is wrong with a body.
    fn body(&self, body: &[u8]) -> Option<String> {
        if let Some(text) = &self.ask.text
            && !text.is_match(&String::from_utf8_lossy(body))
        {
            return Some(format!("`{}` is not in the body", cut(text.as_str())));
        }
        if self.ask.json.is_empty() {
            return None;
        }
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return Some(if body.len() == BODY {
                "the body is longer than 1 MiB: too long to be read as JSON".into()
            } else {
                "the body is not JSON".into()
            });
        };
        self.ask.json.iter().find_map(|(path, expected)| match json_at(path, &value) {
            None => Some(format!("`{}` is not in the body", cut(path))),
            Some(seen) if is_same(seen, expected) => None,
            Some(seen) => Some(format!(
                "`{}` is {}, expected {}",
                cut(path),
                cut(&seen.to_string()),
                cut(&expected.to_string())
            )),
        })
    }
}

/// Asks whether something accepts connections at `host:port`.
pub(super) async fn tcp(address: &str) -> Answer {
    let Some((host, port)) =
        address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)))
    else {
        return Answer::Impossible(format!("`{address}` is not `host:port`"));
    };
    match connect(host.trim_matches(['[', ']']), port).await {
        Ok(_) => Answer::Right,
        Err(why) => Answer::Unreachable(why),
    }
}

/// Runs a command, all of which ends with the question.
pub(super) async fn run(argv: &[String], env: &[(String, String)]) -> Answer {
    let name = argv.first().map_or("", String::as_str);
    let mut running = match command::start_quietly(argv, env) {
        Ok(running) => running,
        Err(error) => return Answer::Impossible(format!("the command `{name}` cannot be started: {error}")),
    };
    match running.ended().await {
        0 => Answer::Right,
        code @ (126 | 127) => Answer::Impossible(format!(
            "the command `{name}` cannot run (exit code {code}): see that it exists and may be executed"
        )),
        code @ 129.. => Answer::Wrong(format!("`{name}` was ended by signal {}", code - 128)),
        code => Answer::Wrong(format!("`{name}` ended with exit code {code}")),
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port)).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{host}:{port} refuses connections"),
        _ => format!("{host}:{port} cannot be reached: {error}"),
    })
}

fn broke_off(error: &hyper::Error) -> String {
    format!("the answer broke off: {error}")
}

fn show_set(set: StatusSet) -> String {
    match (set.low, set.high) {
        (low, high) if low == high => low.to_string(),
        (low, high) if low % 100 == 0 && high == low + 99 => format!("{}xx", low / 100),
        (low, high) => format!("{low} to {high}"),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() > SHOWN {
        text.chars().take(SHOWN).chain(['…']).collect()
    } else {
        text.to_owned()
    }
}

/// JSON knows one kind of number.
fn is_same(seen: &Value, expected: &Value) -> bool {
    match (seen.as_f64(), expected.as_f64()) {
        (Some(seen), Some(expected)) => seen == expected,
        _ => seen == expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_knows_one_kind_of_number() {
        assert!(is_same(&json!(2.0), &json!(2)));
        assert!(!is_same(&json!("2"), &json!(2)));
        assert!(is_same(&json!(null), &json!(null)));
    }

    #[test]
    fn what_cannot_be_asked_is_said_before_it_is() {
        let ask = |url: &str, method: &str, edge| HttpAsk {
            edge,
            url: url.into(),
            method: method.into(),
            headers: vec![],
            status: vec![],
            text: None,
            json: vec![],
        };
        for (url, method, edge, why) in [
            ("https://a/", "GET", None, "`http://`"),
            ("/x", "GET", None, "`http://`"),
            ("/x", "GET", Some(1), "does not stand"),
            ("http://a/", "G T", None, "cannot be asked"),
            ("http://a b/", "GET", None, "is not a URL"),
        ] {
            let refused = HttpQuestion::new(ask(url, method, edge), &[], ("a", "b")).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn only_edges_are_told_who_asks() {
        let ask = |url: &str, edge| HttpAsk {
            edge,
            url: url.into(),
            method: "GET".into(),
            headers: vec![("Host".into(), "shop.example".into())],
            status: vec![],
            text: None,
            json: vec![],
        };
        let edges = ["127.0.0.1:9000".parse().unwrap()];
        for (url, edge, told) in [
            ("/x", Some(0), true),
            ("http://127.0.0.1:9000/x", None, true),
            ("http://127.0.0.1:9001/x", None, false),
            ("http://elsewhere:9000/x", None, false),
        ] {
            let question = HttpQuestion::new(ask(url, edge), &edges, ("x-token", "t")).unwrap();
            assert_eq!(question.request.headers().get("x-token").is_some(), told, "{url}");
            assert_eq!(question.request.headers().get_all(HOST).iter().count(), 1, "{url}");
            assert_eq!(question.request.uri(), "/x");
        }
    }

    #[test]
    fn silence_is_wrong_unless_tolerated() {
        let silence = || Answer::Unreachable("why".into());
        assert_eq!(silence().told(true), Ok((Saw::Unreachable, Some("why".into()))));
        assert_eq!(silence().told(false), Ok((Saw::Wrong, Some("why".into()))));
        assert!(Answer::Impossible(String::new()).told(true).is_err());
    }

    #[test]
    fn statuses_are_written_as_in_the_file() {
        for (low, high, text) in [(404, 404, "404"), (400, 499, "4xx"), (200, 204, "200 to 204")] {
            assert_eq!(show_set(StatusSet { low, high }), text);
        }
    }
}
