//! When a process is ready: something is asked over and over until the answer is the right one.
//!
//! Ends only when it is; whoever waits ends it when its process has. Knows nothing of what becomes of the answer.

use super::child;
use super::env::Vars;
use super::ledger::Ledger;
use super::output::Awaited;
use crate::model::{ReadyCheck, Service};
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use nix::sys::signal::Signal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// From one try to the next.
const EVERY: Duration = Duration::from_millis(100);
/// How long a try may take.
const TRY: Duration = Duration::from_secs(1);
/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(10);

/// Why a process was not ready when it was last looked at, in words.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubt(Arc<Mutex<Option<String>>>);

impl Doubt {
    fn set(&self, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// The last one.
    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What it takes to look.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) service: Arc<Service>,
    pub(super) vars: Arc<Vars>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) awaited: Option<Arc<Awaited>>,
    pub(super) doubt: Doubt,
}

impl Look {
    /// Waits until the check comes out well.
    pub(super) async fn until_ready(self, check: &ReadyCheck) {
        if let ReadyCheck::Log(regex) = check {
            self.doubt.set(format!("no line of its output matches `{regex}`"));
            match &self.awaited {
                Some(awaited) => awaited.seen.notified().await,
                None => std::future::pending().await,
            }
            return;
        }
        loop {
            let answer = match check {
                ReadyCheck::Http(url) => in_time(http(url)).await.map_err(|why| format!("`{url}`: {why}")),
                ReadyCheck::Tcp(address) => {
                    in_time(tcp(address)).await.map_err(|why| format!("`{address}`: {why}"))
                }
                ReadyCheck::Command(argv) => {
                    self.command(argv).await.map_err(|why| format!("`{}` {why}", argv.join(" ")))
                }
                ReadyCheck::Log(_) => Ok(()),
            };
            match answer {
                Ok(()) => return,
                Err(why) => self.doubt.set(why),
            }
            sleep(EVERY).await;
        }
    }

    /// A command with the service's environment ends with 0.
    async fn command(&self, argv: &[String]) -> Result<(), String> {
        let leader = child::start(&self.service, argv, &self.vars, false, &self.ledger);
        let leader = leader.map_err(|error| format!("cannot be started: {error}"))?;
        let ends = EndsWith(Arc::clone(&leader.group));
        let exit = timeout(COMMAND, leader.ended).await;
        drop(ends);
        match exit {
            Err(_) => Err(format!("took longer than {} s", COMMAND.as_secs())),
            Ok(exit) => match exit.unwrap_or_default() {
                child::Exit { code: Some(0), .. } => Ok(()),
                child::Exit { code: Some(code), .. } => Err(format!("ended with {code}")),
                child::Exit { signal, .. } => {
                    Err(format!("was ended by {}", signal.map_or("a signal", Signal::as_str)))
                }
            },
        }
    }
}

/// A group that ends when nobody waits for it any more.
struct EndsWith(Arc<super::group::Group>);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.signal(Signal::SIGKILL);
    }
}

async fn in_time(answer: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    timeout(TRY, answer).await.unwrap_or_else(|_| Err(format!("no answer within {} s", TRY.as_secs())))
}

async fn tcp(address: &str) -> Result<(), String> {
    TcpStream::connect(address).await.map(drop).map_err(|error| error.to_string())
}

/// A GET is answered with a status below 400.
async fn http(url: &str) -> Result<(), String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("{error}"))?;
    if uri.scheme().is_some_and(|scheme| *scheme != http::uri::Scheme::HTTP) {
        return Err("only `http://` is looked at: use `tcp` or `command`".into());
    }
    let authority = uri.authority().ok_or("it has no host")?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let shake = hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream));
    let (mut sender, connection) = shake.await.map_err(|error| error.to_string())?;
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let request = http::Request::get(path).header("host", authority.as_str()).header("connection", "close");
    let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    // Driven here, so that it ends with this look; the answer may have come with its end.
    let answer = tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    };
    let answer = answer.map_err(|error| error.to_string())?;
    let status = answer.status();
    if status.as_u16() < 400 { Ok(()) } else { Err(format!("answered {}", status.as_u16())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::testing::{ledger, service, until};
    use std::cell::Cell;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::Notify;

    fn look() -> (tempfile::TempDir, Look) {
        let (state, ledger) = ledger();
        let look = Look {
            service: Arc::new(service("one", "true")),
            vars: Arc::new(std::env::vars_os().collect()),
            ledger: Arc::new(ledger),
            awaited: None,
            doubt: Doubt::default(),
        };
        (state, look)
    }

    const BOUND: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn http_waits_for_a_status_below_400() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/healthz?x=1", listener.local_addr().unwrap());
        let asked = Cell::new(0);
        let serve = async {
            let answers = [
                "",
                "HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n",
                "nonsense\r\n\r\n",
                "HTTP/1.1 302 ok\r\n\r\n",
            ];
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                assert!(head.starts_with("GET /healthz?x=1 HTTP/1.1\r\nhost: 127.0.0.1:"), "{head}");
                stream.write_all(answer.as_bytes()).await.unwrap();
                asked.set(asked.get() + 1);
            }
            std::future::pending::<()>().await;
        };
        let (_state, look) = look();
        let doubt = look.doubt.clone();
        let check = ReadyCheck::Http(url.clone());
        tokio::select! {
            () = look.until_ready(&check) => {}
            () = serve => {}
            () = sleep(BOUND) => panic!("never ready: {doubt:?}"),
        }
        assert_eq!(asked.get(), 4);
        assert!(doubt.get().unwrap().starts_with(&format!("`{url}`: ")), "{doubt:?}");
        assert!(http("https://localhost/").await.unwrap_err().contains("use `tcp` or `command`"));
    }

    #[tokio::test]
    async fn tcp_waits_for_a_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let (_state, look) = look();
        let doubt = look.doubt.clone();
        let check = ReadyCheck::Tcp(address.clone());
        let ready = look.until_ready(&check);
        let listen = async {
            until("it has looked", || doubt.get().is_some()).await;
            let _listener = TcpListener::bind(&address).await.unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = ready => {}
            () = listen => {}
            () = sleep(BOUND) => panic!("never ready"),
        }
        assert!(doubt.get().unwrap().contains("refused"), "{doubt:?}");
    }

    #[tokio::test]
    async fn a_command_is_run_until_it_ends_with_0() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("count");
        let script = format!("echo x >> {0}; test $(wc -l < {0}) = 3", path.display());
        let (_state, look) = look();
        let doubt = look.doubt.clone();
        let check = ReadyCheck::Command(["sh", "-c", &script].map(str::to_owned).to_vec());
        timeout(BOUND, look.clone().until_ready(&check)).await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\nx\nx\n");
        assert!(doubt.get().unwrap().ends_with("ended with 1"), "{doubt:?}");
        let gone = look.command(&["/no/such".into()]).await.unwrap_err();
        assert!(gone.starts_with("cannot be started"), "{gone}");
    }

    #[tokio::test]
    async fn a_line_is_waited_for() {
        let (_state, mut look) = look();
        let regex = regex::Regex::new("up").unwrap();
        let awaited = Arc::new(Awaited { regex: regex.clone(), seen: Notify::new() });
        look.awaited = Some(Arc::clone(&awaited));
        let doubt = look.doubt.clone();
        assert!(
            timeout(Duration::ZERO, look.clone().until_ready(&ReadyCheck::Log(regex.clone()))).await.is_err()
        );
        assert_eq!(doubt.get().unwrap(), "no line of its output matches `up`");
        awaited.seen.notify_one();
        timeout(BOUND, look.until_ready(&ReadyCheck::Log(regex))).await.unwrap();
    }
}
