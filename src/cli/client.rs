//! How commands talk to a running Brownout: one call, one answer, and sentences for what can go wrong.

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The port of the admin address if none is said.
const PORT: u16 = 8475;
/// For connecting.
const CONNECT: Duration = Duration::from_secs(3);
/// For the answer.
const ANSWER: Duration = Duration::from_secs(15);
/// The largest answer.
const BODY: usize = 16 << 20;

/// Whom to talk to, and how to tell what was said.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`, or a URL, of the admin address.
    pub admin: String,
    /// What it wants to know if it is not loopback.
    pub token: Option<String>,
    /// Results are JSON.
    pub json: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The address, or what was asked, is wrong.
    Usage(String),
    /// Nobody answers, or not in a way that is understood.
    Nobody(String),
}

impl Failed {
    /// The exit code that says so.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Nobody(_) => 5,
        }
    }
}

impl Failed {
    /// Tells the user. What is wrong with a fault comes as a whole report, which begins with `error:` itself.
    pub(crate) fn tell(&self, err: &mut dyn std::io::Write) {
        let text = self.to_string();
        let begin = if text.starts_with("error") { "" } else { "error: " };
        let _ = writeln!(err, "{begin}{}", text.trim_end());
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(why) | Self::Nobody(why) => f.write_str(why),
        }
    }
}

impl Target {
    /// Asks.
    ///
    /// # Errors
    /// When nobody answers, or the answer is a refusal.
    pub fn get(&self, path: &str) -> Result<Value, Failed> {
        self.call(Method::GET, path, None)
    }

    /// Tells.
    ///
    /// # Errors
    /// When nobody answers, or the answer is a refusal.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, Failed> {
        self.call(Method::POST, path, Some(body))
    }

    fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failed::Nobody(error.to_string()))?;
        runtime.block_on(self.send(method, path, body))
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failed> {
        let authority = authority(&self.admin)?;
        let nobody = |why: String| {
            Failed::Nobody(format!("nothing answers at `{authority}` ({why}): is `brownout serve` running?"))
        };
        let stream = match timeout(CONNECT, TcpStream::connect(&authority)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(nobody(error.to_string())),
            Err(_) => return Err(nobody("no connection within 3s".into())),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &authority)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = self.token.as_deref().filter(|token| !token.trim().is_empty()) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.trim()));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request
            .body(Full::new(bytes::Bytes::from(body)))
            .map_err(|error| Failed::Usage(format!("this cannot be asked: {error}")))?;
        let exchange = async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, BODY).collect().await.map(|body| body.to_bytes());
            Ok::<_, hyper::Error>((head.status, body))
        };
        match timeout(ANSWER, exchange).await {
            Ok(Ok((status, Ok(body)))) => read(&authority, status, &body),
            Ok(Ok((_, Err(error)))) => Err(nobody(error.to_string())),
            Ok(Err(error)) => Err(nobody(error.to_string())),
            Err(_) => Err(nobody("no answer within 15s".into())),
        }
    }
}

fn read(authority: &str, status: StatusCode, body: &[u8]) -> Result<Value, Failed> {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    if let (true, Some(value)) = (status.is_success(), &value) {
        return Ok(value.clone());
    }
    match value.as_ref().and_then(|value| value["error"].as_str()) {
        Some(error) if status.is_client_error() => Err(Failed::Usage(error.to_owned())),
        Some(error) => Err(Failed::Nobody(error.to_owned())),
        None => Err(Failed::Nobody(format!(
            "`{authority}` answers with status {}, but not as Brownout does: is it the admin address?",
            status.as_u16()
        ))),
    }
}

/// `host:port` of what a user calls the admin address.
fn authority(admin: &str) -> Result<String, Failed> {
    let text = admin.trim().strip_prefix("http://").unwrap_or(admin.trim()).trim_end_matches('/');
    let bare = text.rsplit_once(']').map_or(text, |(_, rest)| rest);
    let text = if bare.contains(':') { text.to_owned() } else { format!("{text}:{PORT}") };
    match text.parse::<http::uri::Authority>() {
        Ok(authority) if !authority.host().is_empty() && authority.port_u16().is_some() => Ok(text),
        _ => Err(Failed::Usage(format!("`{admin}` is not an address, such as `127.0.0.1:{PORT}`"))),
    }
}

/// The path below `/api/v1/faults/` of a fault's name.
#[must_use]
pub fn fault_path(name: &str, what: &str) -> String {
    let mut path = String::from("/api/v1/faults/");
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => path.push(char::from(byte)),
            _ => {
                let _ = write!(path, "%{byte:02X}");
            }
        }
    }
    path + what
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_users_write_them() {
        for (admin, expected) in [
            ("127.0.0.1:9", Some("127.0.0.1:9")),
            ("127.0.0.1", Some("127.0.0.1:8475")),
            ("http://localhost:9/", Some("localhost:9")),
            ("[::1]:9", Some("[::1]:9")),
            ("[::1]", Some("[::1]:8475")),
            ("", None),
            ("here:there", None),
            ("a b:1", None),
        ] {
            assert_eq!(authority(admin).ok().as_deref(), expected, "{admin}");
        }
    }

    #[test]
    fn names_are_safe_in_paths() {
        assert_eq!(
            fault_path("config change/é.%", "/arm"),
            "/api/v1/faults/config%20change%2F%C3%A9%2E%25/arm"
        );
    }
}
