//! What is done to the content of requests and answers: changed on their way so that they still look well-formed.
//!
//! Invariants: a fault is hit only if something is another one than it was; lengths and encodings are right; every change is
//! told, without the values of secrets.

use super::coding;
use super::copies;
use super::exchange::{Record, Struck};
use super::fields::Head;
use super::forward::Answer;
use super::h1::{Caller, Intake, Next};
use super::splice;
use super::tee;
use super::upload::Upload;
use super::whole::{self, Came};
use crate::decision::{Changes, Content, FaultRef};
use crate::http1::Framing;
use crate::http1::connection::Conn;
use crate::telemetry::Lie;
use std::sync::Arc;

/// Changes that are told of one exchange; what is beyond is made all the same.
const TOLD: usize = 16;

/// Whether an answer has to be looked at.
pub(super) fn wants_answer(content: Option<&Content>) -> bool {
    content.is_some_and(|content| !content.response.is_empty() || content.older.is_some())
}

/// What was done to a message.
struct Made {
    lies: Vec<(String, Vec<u8>, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

/// Changes what the upstream is to get, whose head is in `intake.out`; `Some`: the exchange is over.
pub(super) async fn request(
    caller: &mut Caller,
    intake: &mut Intake,
    struck: &mut Struck,
    record: &mut Record,
) -> Option<Next> {
    let content = struck.decision.content.take()?;
    let next = change_request(caller, intake, struck, record, &content).await;
    struck.decision.content = Some(content);
    next
}

async fn change_request(
    caller: &mut Caller,
    intake: &mut Intake,
    struck: &mut Struck,
    record: &mut Record,
    content: &Content,
) -> Option<Next> {
    if intake.upgrade.is_some() && content.request.is_empty() {
        return None;
    }
    let bodies = content.request.iter().filter(|(_, changes)| changes.needs_body());
    let bounds = bodies.clone().map(|(_, changes)| changes.max_body);
    let bound = bounds.chain(content.copies.map(|(_, copies)| copies.max_body)).max();
    let mut whole = None;
    if let Some(bound) = bound {
        let wanted = |struck: &Struck| {
            let copied = content.copies.is_some_and(|(by, _)| !struck.is_healed(by));
            copied || bodies.clone().any(|(by, _)| !struck.is_healed(*by))
        };
        match whole::request(caller, intake, record, struck, wanted, bound).await {
            Came::Whole(payload, length) => whole = Some((payload, length)),
            Came::Untouched => {}
            Came::Over(next) => return Some(next),
        }
    }
    let mut head = Head::read(&intake.out.0)?;
    let mut replaced = None;
    let mut touched = false;
    for (by, changes) in content.request.iter().filter(|(_, changes)| !changes.are_none()) {
        if struck.is_healed(*by) {
            continue;
        }
        let body = replaced.as_ref().or(whole.as_ref().map(|(payload, _)| payload));
        let mut made = change(&mut head, body.filter(|body| !body.is_empty()), changes);
        if let Some(new) = &changes.path
            && let Some((was, became)) = head.change_path(intake.route.base(), new)
        {
            made.lies.push(("path".to_owned(), was.into_bytes(), became.into_bytes()));
        }
        touched |= tell(struck, record, *by, &made);
        replaced = made.body.or(replaced);
    }
    let copied = content.copies.filter(|(by, copies)| {
        let fits = whole.as_ref().is_some_and(|(payload, _)| payload.len() <= copies.max_body);
        fits && !struck.is_healed(*by) && intake.upgrade.is_none()
    });
    if let Some((payload, length)) = whole
        && (replaced.is_some() || copied.is_some())
    {
        let body = replaced.unwrap_or(payload);
        if !matches!(intake.framing, Framing::None) {
            head.set_length(body.len());
        }
        head.write(&mut intake.out.0);
        intake.out.0.extend_from_slice(&body);
        if let Some(print) = &mut record.print {
            print.pass(&caller.conn.bytes()[..length]);
        }
        caller.conn.consume(length);
        record.exchange.bytes_up += body.len() as u64;
        (intake.framing, intake.expect) = (Framing::None, false);
    } else if touched {
        head.write(&mut intake.out.0);
    }
    let (by, wish) = copied?;
    copies::send(caller, intake, struck, record, by, wish).await
}

/// Changes what the caller is to get, whose head is in `intake.out` and whose body comes from `up`; `Some`: the exchange is
/// over.
pub(super) async fn answer(
    caller: &mut Caller,
    intake: &mut Intake,
    struck: &mut Struck,
    record: &mut Record,
    upload: &mut Upload,
    up: &mut Conn,
    answer: &mut Answer,
) -> Option<Next> {
    if !wants_answer(struck.decision.content.as_deref()) {
        return None;
    }
    let content = struck.decision.content.take()?;
    let live = |struck: &Struck, by: &FaultRef| !struck.is_healed(*by);
    let bodies = content.response.iter().filter(|(_, changes)| changes.needs_body());
    let has_body = !matches!(answer.framing, Framing::None);
    let mut whole = None;
    let older = content.older.as_ref().filter(|(by, _)| live(struck, by));
    let bounds = bodies.clone().map(|(_, changes)| changes.max_body);
    if let Some(bound) = bounds.chain(older.map(|_| tee::MOST)).max().filter(|_| has_body) {
        let wanted = |struck: &Struck| {
            bodies.clone().map(|(by, _)| by).chain(older.map(|(by, _)| by)).any(|by| live(struck, by))
        };
        match whole::answer(caller, upload, up, answer, struck, wanted, bound).await {
            Came::Whole(payload, length) => whole = Some((payload, length)),
            Came::Untouched => {}
            Came::Over(next) => return Some(next),
        }
    }
    let mut head = Head::read(&intake.out.0)?;
    let (mut replaced, mut touched) = (None, false);
    let real = whole.as_ref().map(|(payload, _)| payload.as_slice()).or((!has_body).then_some(&[][..]));
    if let (Some(real), Some(mut tee)) = (real, record.tee.take()) {
        // what it really answered is looked at here, and what passes later is not
        tee.payload(real);
        // an answer without a body has no place for one
        let room = has_body || intake.is_head;
        let found = older
            .filter(|(by, _)| room && live(struck, by))
            .and_then(|(by, older)| tee.older(&caller.edge, older).map(|found| (*by, found)))
            .filter(|(_, found)| !matches!(found.status, 204 | 205));
        if let Some((by, found)) = found {
            struck.hit(by, "stale", record);
            told(struck, record, by, "answer", real, &found.body);
            head.become_like(&found.head);
            answer.status = found.status;
            replaced = Some(found.body.to_vec()).filter(|_| has_body);
            (touched, struck.outcome_is_ours) = (true, true);
        }
        tee.end(&caller.edge);
    }
    for (by, changes) in &content.response {
        if !live(struck, by) {
            continue;
        }
        let body = replaced.as_ref().or(whole.as_ref().map(|(payload, _)| payload));
        let mut made = change(&mut head, body.filter(|body| !body.is_empty()), changes);
        if let Some(status) = changes.status.filter(|status| *status != answer.status) {
            let was = answer.status.to_string().into_bytes();
            made.lies.push(("status".to_owned(), was, status.to_string().into_bytes()));
            head.set_status(status);
            answer.status = status;
            if !has_body && !intake.is_head {
                head.set_length(0);
            }
            struck.outcome_is_ours = true;
        }
        touched |= tell(struck, record, *by, &made);
        replaced = made.body.or(replaced);
    }
    if let (Some(body), Some((_, length))) = (&replaced, whole) {
        up.replace(length, body);
        answer.framing = Framing::Length(body.len() as u64);
        answer.returning = answer.framing;
        head.set_length(body.len());
    }
    if touched {
        head.write(&mut intake.out.0);
    }
    None
}

/// Changes fields and body of a message.
fn change(head: &mut Head, body: Option<&Vec<u8>>, changes: &Changes) -> Made {
    let mut lies = Vec::new();
    let changed = body.and_then(|body| change_body(head, body, changes, &mut lies));
    head.change(&changes.fields, |name, was, became| {
        let secret = ["authorization", "cookie", "set-cookie", "x-api-key"].contains(&name);
        let shown = |value: &[u8]| match value {
            [] => Vec::new(),
            _ if secret => b"***".to_vec(),
            _ => value.to_vec(),
        };
        lies.push((format!("header:{name}"), shown(was), shown(became)));
    });
    Made { lies, body: changed }
}

fn change_body(
    head: &Head,
    body: &[u8],
    changes: &Changes,
    lies: &mut Vec<(String, Vec<u8>, Vec<u8>)>,
) -> Option<Vec<u8>> {
    if !changes.needs_body() || body.len() > changes.max_body {
        return None;
    }
    let (coding, mut plain) = coding::decode(head.get("content-encoding"), body, changes.max_body)?;
    let mut made = Vec::new();
    let json = splice::is_json(&plain);
    if json {
        for (path, edit) in &changes.json {
            if let Some((new, told)) = splice::change(&plain, path, edit, TOLD) {
                plain = new;
                made.extend(told.into_iter().map(|one| (one.place, one.was, one.became)));
            }
        }
    }
    for edit in &changes.text {
        let Some(found) = edit.find.find(&plain) else { continue };
        let mut became = Vec::new();
        let was = found.as_bytes().to_vec();
        if let Some(groups) = edit.find.captures(&plain) {
            groups.expand(edit.with.as_bytes(), &mut became);
        }
        let new = edit.find.replace_all(&plain, edit.with.as_bytes()).into_owned();
        let most = changes.max_body.saturating_mul(4);
        if new != plain && new.len() <= most && (!json || splice::is_json(&new)) {
            plain = new;
            made.push(("text".to_owned(), was, became));
        }
    }
    if made.is_empty() {
        return None;
    }
    let packed = coding::encode(coding, plain)?;
    lies.extend(made);
    Some(packed)
}

/// Counts and writes down what was done; `false` if it was nothing.
fn tell(struck: &mut Struck, record: &mut Record, by: FaultRef, made: &Made) -> bool {
    if made.lies.is_empty() {
        return false;
    }
    struck.hit(by, "rewrite", record);
    for (place, was, became) in &made.lies {
        told(struck, record, by, place, was, became);
    }
    true
}

/// Writes one lie down.
pub(super) fn told(
    struck: &Struck,
    record: &mut Record,
    by: FaultRef,
    place: &str,
    was: &[u8],
    became: &[u8],
) {
    let Some(fault) = struck.fault(by).map(Arc::clone) else { return };
    if record.exchange.lies.len() < TOLD {
        record.exchange.lies.push(Lie::new(fault.name().clone(), place, was, became));
    }
}
