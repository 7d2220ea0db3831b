//! A caller's HTTP/1 connection: heads come in, each is decided upon, one exchange follows another.
//!
//! Invariants: an earlier answer always leaves first; a head that is refused ends the connection, after a 4xx and gracefully
//! (a RST would eat the answer).

pub(super) use super::away::{Away, Left};
use super::edge::EdgeHere;
use super::exchange::{Record, Struck};
use super::forward;
use super::identity::Known;
use super::probe;
use super::reply::{self, Leaving, Trouble};
use super::route::Route;
use super::slot::InForce;
use super::subject;
use crate::decision::{Action, Decision};
use crate::http1::connection::{Conn, Lent, SMALL};
use crate::http1::{self, Framing, Limits, Refused, Version};
use crate::net::{socket, timer, timer::Deadline};
use crate::plan::Stage;
use crate::telemetry::{ConnectionOutcome, Ending, Method, Origin};
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;

/// The most that is read from a caller who is waiting for an answer: pipelined requests.
pub(super) const PIPELINED: usize = SMALL;
/// How long, and how much, is read on before a connection with unread input is closed.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 1 << 20);
/// How often it is looked whether what was written has left before a RST; one or two ticks apart.
const SETTLE: usize = 20;

/// A caller's connection.
#[derive(Debug)]
pub(super) struct Caller {
    pub edge: Rc<EdgeHere>,
    pub conn: Conn,
    pub deadline: Deadline,
    pub peer: IpAddr,
    peer_text: Box<str>,
    pub number: u64,
    pub left: Away,
    /// It said that it sends nothing behind the request that is under way.
    through: bool,
}

/// What becomes of the connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The next request.
    Again,
    /// An orderly end.
    Close(ConnectionOutcome),
    /// A RST.
    Reset(ConnectionOutcome),
}

/// A request that has come: everything about it that is still needed, owned.
#[derive(Debug)]
pub(super) struct Intake {
    pub method: Method,
    pub is_head: bool,
    pub version: Version,
    pub framing: Framing,
    pub keep_alive: bool,
    pub expect: bool,
    pub health: bool,
    /// Which logical request it is an attempt of; taken by its record.
    pub known: Known,
    /// Where it goes.
    pub route: Rc<Route>,
    /// Its head as it came, if it goes elsewhere and may still be called back.
    came: Option<Box<[u8]>>,
    /// The answer carries `Via`.
    pub via: bool,
    /// What it asked to upgrade to, and its head as it came (an open tunnel is decided upon anew when faults are armed).
    pub upgrade: Option<Box<Upgrade>>,
    pub struck: Option<Box<Struck>>,
    /// The head as it goes to the upstream.
    pub out: Lent,
}

/// A request to speak another protocol.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// Which.
    pub asked: Vec<u8>,
    /// The head as it came.
    pub head: Vec<u8>,
    /// The plan that was asked.
    pub in_force: Arc<InForce>,
}

enum Arrived {
    Head(Box<Intake>),
    Refused(Refused),
    Late,
    Idle,
    End(ConnectionOutcome),
}

impl Arrived {
    /// A request without a body whose sender closes after it: nothing more of it can be under way.
    fn is_last(&self) -> bool {
        match self {
            Self::Head(intake) => {
                !intake.keep_alive
                    && intake.upgrade.is_none()
                    && matches!(intake.framing, Framing::None | Framing::Length(0))
            }
            _ => false,
        }
    }
}

/// An address as text. Formatting the usual one costs a tenth of a connection.
fn text_of(peer: IpAddr) -> Box<str> {
    let IpAddr::V4(peer) = peer else { return peer.to_string().into() };
    let mut text = String::with_capacity(15);
    for (place, octet) in peer.octets().into_iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        for (least, unit) in [(100, 100), (10, 10), (0, 1)] {
            if octet >= least {
                text.push(char::from(b'0' + octet / unit % 10));
            }
        }
    }
    text.into()
}

/// Serves a connection to its end.
pub(super) async fn serve(
    edge: Rc<EdgeHere>,
    stream: TcpStream,
    peer: IpAddr,
    number: u64,
) -> ConnectionOutcome {
    let mut caller = Caller {
        conn: Conn::new(stream),
        deadline: Deadline::new(),
        peer,
        peer_text: text_of(peer),
        number,
        left: Away::default(),
        through: false,
        edge,
    };
    let mut fresh = true;
    loop {
        let arrived = caller.head(fresh).await;
        caller.through = arrived.is_last();
        let next = match arrived {
            Arrived::Head(intake) => forward::exchange(&mut caller, intake).await,
            Arrived::Refused(refused) => {
                let why = Trouble::new(
                    refused.status(),
                    "request",
                    format!("the request is refused: {}", refused.reason()),
                );
                Box::pin(caller.turn_away(&why)).await
            }
            Arrived::Late => {
                let why = Trouble::new(408, "request", "the head of the request took too long");
                Box::pin(caller.turn_away(&why)).await;
                Next::Close(ConnectionOutcome::Timeout)
            }
            Arrived::Idle => Next::Close(ConnectionOutcome::Timeout),
            Arrived::End(outcome) => return outcome,
        };
        match next {
            Next::Again => fresh = false,
            Next::Close(outcome) => {
                caller.close().await;
                return outcome;
            }
            Next::Reset(outcome) => {
                socket::reset(caller.conn.into_parts().0);
                return outcome;
            }
        }
    }
}

impl Caller {
    /// Waits for the next head.
    async fn head(&mut self, fresh: bool) -> Arrived {
        let limits = Limits::default();
        let times = self.edge.shared.config.timeout;
        let (mut seen, mut ending) = (0, false);
        // the clock of a head starts at accept, or at its first byte
        let waiting = self.conn.bytes().is_empty() && !fresh;
        self.deadline.set(if waiting { times.idle } else { times.header });
        loop {
            let have = self.conn.bytes().len();
            if have > 0 && http1::is_worth_parsing(self.conn.bytes(), seen, &limits) {
                match self.take_head(&limits) {
                    Ok(Some(intake)) => {
                        self.deadline.clear();
                        return Arrived::Head(intake);
                    }
                    Ok(None) => {}
                    Err(refused) => return Arrived::Refused(refused),
                }
            }
            self.conn.shrink();
            seen = have;
            let (conn, deadline, draining) = (&mut self.conn, &self.deadline, &self.edge.here.draining);
            let ending = &mut ending;
            let read = poll_fn(|cx| {
                if let Poll::Ready(read) = conn.poll_fill(cx, limits.head) {
                    return Poll::Ready(Some(read));
                }
                if have == 0 && draining.get() && !*ending {
                    // a request may be on its way, or here and not seen yet
                    *ending = true;
                    deadline.set(if fresh { LINGER.0 } else { timer::TICK });
                }
                deadline.poll(cx).map(|()| None)
            })
            .await;
            match read {
                Some(Ok(0)) if have == 0 => return Arrived::End(ConnectionOutcome::Ok),
                Some(Ok(0)) => return Arrived::Refused(Refused::Truncated),
                Some(Ok(_)) if have == 0 && (waiting || *ending) => self.deadline.set(times.header),
                Some(Ok(_)) => {}
                Some(Err(error)) if is_reset(&error) => return Arrived::End(ConnectionOutcome::Reset),
                Some(Err(_)) => return Arrived::End(ConnectionOutcome::Error),
                None if have == 0 => return Arrived::Idle,
                None => return Arrived::Late,
            }
        }
    }

    /// Reads the head that has come, asks the plan, and writes the head for the upstream. No waiting in here: what was read is
    /// borrowed throughout.
    fn take_head(&mut self, limits: &Limits) -> Result<Option<Box<Intake>>, Refused> {
        let mut slots = http1::slots();
        let edge = &*self.edge;
        let bytes = self.conn.bytes();
        let Some(head) = http1::parse_request(bytes, &mut slots, limits)? else { return Ok(None) };
        let path = head.path();
        let probe = probe::is_ours(&head);
        let health = probe || edge.shared.config.is_health(path);
        let in_force = edge.shared.slot.load();
        let struck = if in_force.plan.asks(Stage::Exchange) {
            let subject = subject::Request {
                edge,
                head: &head,
                path,
                peer: self.peer,
                connection: self.number,
                health,
            };
            let decision = in_force.plan.decide(&subject, edge.shared.epoch.elapsed(), Stage::Exchange);
            if decision.is_clean() { None } else { Struck::new(decision, (*in_force).clone()) }
        } else {
            None
        };
        let (route, came) = match struck.as_deref().map(|struck| &struck.decision) {
            Some(decision @ Decision { action: Action::Reroute(_, upstreams), .. }) => {
                (edge.elsewhere(upstreams), decision.waits().then(|| bytes[..head.len].into()))
            }
            _ => (edge.next_route(), None),
        };
        let config = &edge.shared.config;
        let mut out = Lent::new();
        route.address(config, &head, &self.peer_text, probe, &mut out.0);
        let intake = Intake {
            method: Method::of(head.method),
            is_head: head.method == "HEAD",
            version: head.version,
            framing: head.framing,
            keep_alive: head.keep_alive,
            expect: head.expect_continue,
            health,
            known: if health { Known::NOTHING } else { Known::of(&head, config.identity.as_deref()) },
            route,
            came,
            via: config.forwarded,
            upgrade: head.upgrade.map(|asked| {
                let (asked, head) = (asked.to_vec(), bytes[..head.len].to_vec());
                Box::new(Upgrade { asked, head, in_force: (*in_force).clone() })
            }),
            struck,
            out,
        };
        let length = head.len;
        self.conn.consume(length);
        Ok(Some(Box::new(intake)))
    }

    /// What took a request elsewhere was healed before it went: it goes where all others go.
    pub(super) fn call_back(&self, intake: &mut Intake) {
        let Some(came) = intake.came.take() else { return };
        let mut slots = http1::slots();
        let Ok(Some(head)) = http1::parse_request(&came, &mut slots, &Limits::default()) else { return };
        intake.route = self.edge.next_route();
        intake.out.0.clear();
        let probe = probe::is_ours(&head);
        intake.route.address(&self.edge.shared.config, &head, &self.peer_text, probe, &mut intake.out.0);
    }

    /// Answers a request that could not be read, and records it.
    async fn turn_away(&mut self, why: &Trouble) -> Next {
        let mut record = Record::begin(&self.edge, Method::Other, false);
        record.exchange.timed = false;
        record.exchange.status = why.status;
        record.outcome(Origin::Client, Ending::Complete);
        let how = Leaving { version: Version::Http11, keep_alive: false, head: false };
        let mut out = Vec::new();
        reply::trouble(why, how, &mut out);
        if self.write_all(&out).await.is_err() {
            record.caller_left();
        }
        Next::Close(ConnectionOutcome::Error)
    }

    /// Writes all of it, within the idle time.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_all(&mut self.conn, &self.deadline, self.edge.shared.config.timeout.idle, bytes).await
    }

    /// No byte of it is known to wait, so that closing it cannot become a RST.
    fn has_sent_nothing(&self) -> bool {
        // without readiness this asks nobody
        self.conn.bytes().is_empty() && !matches!(self.conn.stream().try_read(&mut [0; 1]), Ok(1..))
    }

    /// Stops sending, and reads on for a while what the caller still sends, so that no RST eats the answer.
    pub(super) async fn close(&mut self) {
        if self.through && self.left.is_none() && self.has_sent_nothing() {
            return; // dropping it sends the FIN
        }
        if self.left.is_some() {
            return socket::finish_sending(self.conn.stream());
        }
        close(&mut self.conn, &self.deadline).await;
    }
}

/// Stops sending, and reads on for a while: closing with unread bytes would be a RST, and eat what was sent.
pub(super) async fn close(conn: &mut Conn, deadline: &Deadline) {
    socket::finish_sending(conn.stream());
    deadline.set(LINGER.0);
    let mut read = 0;
    while read < LINGER.1 {
        let have = conn.bytes().len();
        conn.consume(have);
        let more = poll_fn(|cx| match conn.poll_fill(cx, SMALL) {
            Poll::Ready(Ok(count)) => Poll::Ready(count),
            Poll::Ready(Err(_)) => Poll::Ready(0),
            Poll::Pending => deadline.poll(cx).map(|()| 0),
        })
        .await;
        if more == 0 {
            return;
        }
        read += more;
    }
}

/// Waits, within bounds, until what was written has left: a RST would overtake it.
pub(super) async fn settle(conn: &Conn, deadline: &Deadline) {
    for _ in 0..SETTLE {
        if socket::has_sent(conn.stream()) {
            return;
        }
        deadline.set(Duration::from_millis(1));
        poll_fn(|cx| deadline.poll(cx)).await;
    }
}

/// Writes all of it, or fails with `TimedOut` when nothing moves for that long.
pub(super) async fn write_all(
    conn: &mut Conn,
    deadline: &Deadline,
    limit: Duration,
    bytes: &[u8],
) -> io::Result<()> {
    let mut sent = 0;
    deadline.set(limit);
    while sent < bytes.len() {
        sent += poll_fn(|cx| match conn.poll_write(cx, &bytes[sent..]) {
            Poll::Pending => deadline.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
            done => done,
        })
        .await?;
        deadline.set(limit);
    }
    Ok(())
}

/// Whether the other side reset the connection.
pub(super) fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::text_of;

    #[test]
    fn an_address_is_written_as_ever() {
        for text in ["0.0.0.0", "127.0.0.1", "10.9.99.100", "255.205.20.2", "::1", "2001:db8::7"] {
            assert_eq!(&*text_of(text.parse().unwrap()), text);
        }
    }
}
