//! A connection of a TCP edge: one exchange from accept to the end of both sides.

use super::act::{self, Released};
use super::asker::Asker;
use super::deliver::cut_to_next;
use super::edge::EdgeHere;
use super::exchange::Record;
use super::gate::{self, Stopped};
use super::h1::{self, Left, Next};
use super::tunnel;
use crate::decision::{Action, Cut, Then};
use crate::http1::connection::Conn;
use crate::net::{socket, timer::Deadline};
use crate::plan::Stage;
use crate::telemetry::{ConnectionOutcome, Ending, Method, Origin};
use std::net::IpAddr;
use std::rc::Rc;
use tokio::net::TcpStream;

/// Serves a connection to its end.
pub(super) async fn serve(
    edge: Rc<EdgeHere>,
    stream: TcpStream,
    peer: IpAddr,
    number: u64,
) -> ConnectionOutcome {
    let mut record = Record::begin(&edge, Method::Tcp, false);
    record.exchange.timed = false;
    let mut conn = Conn::new(stream);
    let next = carry(&edge, &mut conn, peer, number, &mut record).await;
    drop(record);
    match next {
        Next::Reset(outcome) => {
            socket::reset(conn.into_parts().0);
            outcome
        }
        Next::Close(outcome) => {
            if matches!(outcome, ConnectionOutcome::Injected | ConnectionOutcome::Timeout) {
                h1::close(&mut conn, &Deadline::new()).await;
            }
            outcome
        }
        Next::Again => ConnectionOutcome::Ok,
    }
}

async fn carry(edge: &Rc<EdgeHere>, conn: &mut Conn, peer: IpAddr, number: u64, record: &mut Record) -> Next {
    if !record.take_permit() {
        record.outcome(Origin::Internal, Ending::Unanswered);
        return Next::Reset(ConnectionOutcome::RefusedLimit);
    }
    let asker = Asker { peer, connection: number, head: None, health: false };
    let in_force = edge.shared.slot.get();
    let mut struck = if in_force.plan.asks(Stage::Exchange) { asker.ask(edge, &in_force, &[]) } else { None };
    let mut elsewhere = None;
    if let Some(struck) = struck.as_deref_mut() {
        let mut released = match gate::pass(edge, conn, struck, record).await {
            Ok(()) => Released::Over,
            Err(Stopped::Full(then)) => {
                record.outcome(Origin::Injected, Ending::Unanswered);
                return cut_to_next(match then {
                    Then::Cut(cut) => cut,
                    Then::Status(_) => Cut::Close,
                });
            }
            Err(Stopped::Left(left)) => Released::Left(left),
            Err(Stopped::Limited(_) | Stopped::TooMany) => Released::TooMany,
        };
        let delays = std::mem::take(&mut struck.decision.delays);
        if !delays.is_empty() && released == Released::Over {
            released = act::delay(edge, conn, struck, &delays, record).await;
        }
        let mut origin = Origin::Client;
        if matches!(released, Released::Over | Released::Healed) {
            match std::mem::take(&mut struck.decision.action) {
                Action::Cut(by, cut) if !struck.is_healed(by) => {
                    struck.hit(by, super::shape::cut_action(cut), record);
                    record.outcome(Origin::Injected, Ending::Unanswered);
                    return cut_to_next(cut);
                }
                Action::Reroute(by, upstreams) if !struck.is_healed(by) => {
                    struck.hit(by, "reroute", record);
                    elsewhere = Some(edge.elsewhere(&upstreams));
                }
                Action::Hang(by, wish) if !struck.is_healed(by) => {
                    origin = Origin::Injected;
                    struck.hit(by, "hang", record);
                    released = act::hang(edge, conn, struck, by, wish.time, record).await;
                    if released == Released::Over {
                        record.outcome(Origin::Injected, Ending::Unanswered);
                        return cut_to_next(match wish.then {
                            Then::Cut(cut) => cut,
                            Then::Status(_) => Cut::Close,
                        });
                    }
                }
                Action::Blackhole(by) if !struck.is_healed(by) => {
                    origin = Origin::Injected;
                    struck.hit(by, "blackhole", record);
                    released = act::hang(edge, conn, struck, by, None, record).await;
                    if released == Released::Healed {
                        record.outcome(Origin::Injected, Ending::Unanswered);
                        return Next::Close(ConnectionOutcome::Injected);
                    }
                }
                _ => {}
            }
        }
        match released {
            Released::Over | Released::Healed => {}
            Released::Left(left) => {
                record.outcome(origin, Ending::CallerLeft);
                return match left {
                    Left::Fin if origin == Origin::Injected => Next::Close(ConnectionOutcome::Injected),
                    Left::Fin => Next::Close(ConnectionOutcome::Ok),
                    Left::Reset => Next::Reset(ConnectionOutcome::Reset),
                };
            }
            Released::TooMany => {
                record.outcome(Origin::Internal, Ending::Unanswered);
                return Next::Reset(ConnectionOutcome::RefusedLimit);
            }
        }
    }
    let deadline = Deadline::new();
    let route = elsewhere.unwrap_or_else(|| edge.next_route());
    let up = match route.connect(&edge.shared.config, &deadline).await {
        Ok(up) => up,
        Err(why) => {
            tracing::warn!("{}", why.text);
            record.outcome(Origin::Upstream, Ending::Unanswered);
            return Next::Reset(ConnectionOutcome::Error);
        }
    };
    let (next, _) = tunnel::relay(edge, conn, up, &asker, in_force, struck, record).await;
    next
}
