//! What is done to the bytes of a tunnel: the slow way of one direction, for tunnels on which a fault does more than wait.
//!
//! Invariants: a piece stays in the sender's buffer until it has left, so that a slow receiver costs no memory; a fault that is
//! healed has no say over the next piece, and does not hold this one.

use super::exchange::{Lease, Record, Struck};
use super::meter::{Meter, Pause};
use super::reframe::noise;
use super::tunnel::{Grip, Moved, Way};
use crate::decision::{Bytes, Cut, Dice, End, Length, Shape};
use crate::http1::connection::Conn;
use std::task::{Context, Poll, ready};
use tokio::time::Instant;

/// What one decision does to the bytes of one direction.
pub(super) struct Mangle {
    pub meter: Meter,
    /// After so many bytes it ends.
    stop: Option<(Lease, u64, Cut)>,
    /// Something else comes, once.
    noise: Option<(Lease, Dice)>,
}

impl Mangle {
    /// `None` if nothing is done to them.
    pub(super) fn take(shape: &mut Shape, struck: &Struck) -> Option<Box<Self>> {
        let bytes: Box<Bytes> = shape.bytes.take()?;
        let meter = Meter::new(&bytes, struck);
        let (mut stop, mut noise) = (None, None);
        if let Some((by, end)) = bytes.end
            && let Some(lease) = struck.lease(by)
        {
            match end {
                End::Truncate(Length::Bytes(at), clean) => {
                    stop = Some((lease, at, if clean { Cut::Close } else { Cut::Reset }));
                }
                End::Garbage(dice) => noise = Some((lease, dice)),
                // these are about messages, and here there are none
                End::Truncate(Length::Fraction(_), _)
                | End::Endless(_)
                | End::MalformedChunk
                | End::WrongLength => {}
            }
        }
        (!meter.is_empty() || stop.is_some() || noise.is_some())
            .then(|| Box::new(Self { meter, stop, noise }))
    }
}

/// The piece of one direction that is on its way.
#[derive(Default)]
pub(super) struct Piece {
    /// So many bytes of the sender's buffer were charged.
    charged: usize,
    /// They as they leave, once they may.
    out: Vec<u8>,
    /// So many of those have left.
    sent: usize,
    pause: Pause,
    /// What comes behind it.
    then: Option<Cut>,
    /// The receiver gets what the sender did not say.
    pub touched: bool,
}

/// Moves a piece of what is in the sender's buffer; `None` if nobody does anything to bytes that go this way.
pub(super) fn poll_piece(
    cx: &mut Context<'_>,
    way: &mut Way,
    (from, to): (&mut Conn, &mut Conn),
    grips: &mut [Grip],
    upward: bool,
    record: &mut Record,
) -> Option<Poll<Moved>> {
    if way.piece.charged == 0 && way.piece.out.is_empty() {
        if !grips.iter_mut().any(|grip| grip.way(upward).1.is_some()) {
            return None;
        }
        if let Some(cut) = choose(way, from.bytes().len(), grips, upward, record) {
            return Some(Poll::Ready(Moved::Cut(cut)));
        }
    }
    Some(poll_write(cx, way, (from, to), grips, upward, record))
}

/// Chooses how much goes next, and charges it; or the end of all.
fn choose(
    way: &mut Way,
    available: usize,
    grips: &mut [Grip],
    upward: bool,
    record: &mut Record,
) -> Option<Cut> {
    let mut length = available;
    let mut ends = None;
    for grip in &mut *grips {
        let (shaper, mangle, struck) = grip.way(upward);
        let Some(mangle) = mangle else { continue };
        if let Some((by, dice)) = mangle.noise.take().filter(|(by, _)| by.is_on()) {
            struck.hit(by.by, "corrupt", record);
            way.piece.out = noise(&dice);
            way.piece.then = Some(Cut::Close);
            way.piece.touched = true;
            return None;
        }
        length = mangle.meter.limit(length);
        if let Some((by, at, cut)) = mangle.stop.as_ref().filter(|(by, ..)| by.is_on()) {
            let room = at.saturating_sub(shaper.passed);
            if room == 0 {
                struck.hit(by.by, "truncate", record);
                ends = Some(*cut);
            }
            length = length.min(usize::try_from(room).unwrap_or(usize::MAX));
        }
    }
    for grip in &mut *grips {
        let (shaper, _, struck) = grip.way(upward);
        if length > 0
            && let Some((left, cut)) = shaper.cut_in_bytes(struck, length as u64, record)
        {
            length = left;
            ends = Some(cut);
        }
    }
    if length == 0 {
        return Some(ends.unwrap_or(Cut::Close));
    }
    way.piece.charged = length;
    let now = Instant::now();
    let mut slowest: Option<(f64, &mut Mangle, &mut Struck)> = None;
    for grip in &mut *grips {
        let (_, Some(mangle), struck) = grip.way(upward) else { continue };
        let rate = mangle.meter.charge(length, now);
        mangle.meter.tell(struck, record);
        if let Some(rate) = rate
            && slowest.as_ref().is_none_or(|(other, ..)| rate < *other)
        {
            slowest = Some((rate, mangle, struck));
        }
    }
    if let Some((_, mangle, struck)) = slowest {
        mangle.meter.binds();
        mangle.meter.tell(struck, record);
    }
    None
}

/// Writes what was chosen, in its time.
fn poll_write(
    cx: &mut Context<'_>,
    way: &mut Way,
    (from, to): (&mut Conn, &mut Conn),
    grips: &mut [Grip],
    upward: bool,
    record: &mut Record,
) -> Poll<Moved> {
    let piece = &mut way.piece;
    if piece.out.is_empty() {
        let mangles = grips.iter_mut().filter_map(|grip| grip.way(upward).1);
        ready!(piece.pause.poll(cx, mangles.filter_map(|mangle| mangle.meter.until()).max()));
        piece.out.extend_from_slice(&from.bytes()[..piece.charged]);
        for grip in &mut *grips {
            let (_, Some(mangle), struck) = grip.way(upward) else { continue };
            mangle.meter.flip(&mut piece.out);
            mangle.meter.tell(struck, record);
            piece.touched |= mangle.meter.touched;
        }
    }
    match ready!(to.poll_write(cx, &piece.out[piece.sent..])) {
        Ok(count) => {
            piece.sent += count;
            way.bytes += count as u64;
            if piece.sent == piece.out.len() {
                from.consume(piece.charged);
                for grip in grips {
                    grip.way(upward).0.passed += piece.charged as u64;
                }
                piece.out.clear();
                (piece.sent, piece.charged) = (0, 0);
                if let Some(cut) = piece.then.take() {
                    return Poll::Ready(Moved::Cut(cut));
                }
            }
            if from.bytes().is_empty() {
                way.free = false;
            }
            Poll::Ready(Moved::Bytes)
        }
        Err(_) => Poll::Ready(Moved::ToBroke),
    }
}
