//! When a fault is on: a pure function of the time since it was armed.

use crate::model::When;
use std::time::Duration;

/// What a fault's clock says at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// It is on.
    pub on: bool,
    /// How often it was armed anew before: each entry of `at` does.
    pub arming: usize,
    /// Which turn of `every` it is, from 0; always 0 without.
    pub turn: u64,
    /// When to look again, on the same clock; `None`: nothing changes any more.
    pub next: Option<Duration>,
}

impl Reading {
    /// Off, until something else happens than time.
    pub const OFF: Self = Self { on: false, arming: 0, turn: 0, next: None };
}

/// Reads the clock of a fault, in the file's time since it was armed.
#[must_use]
pub fn read(when: &When, elapsed: Duration) -> Reading {
    if !when.at.is_empty() {
        let place = when.at.iter().rposition(|at| at.from <= elapsed);
        let following = when.at.get(place.map_or(0, |place| place + 1)).map(|at| at.from);
        let Some(place) = place else { return Reading { next: following, ..Reading::OFF } };
        let at = &when.at[place];
        let end = at.lasts.map(|lasts| at.from + lasts);
        let on = end.is_none_or(|end| elapsed < end);
        let next = match (on, end, following) {
            (true, Some(end), Some(following)) => Some(end.min(following)),
            (true, Some(end), None) => Some(end),
            (_, _, following) => following,
        };
        return Reading { on, arming: place, turn: 0, next };
    }
    let Some(schedule) = &when.schedule else { return Reading { on: true, ..Reading::OFF } };
    let Some(since) = elapsed.checked_sub(schedule.from) else {
        return Reading { next: Some(schedule.from), ..Reading::OFF };
    };
    let every = schedule.every.filter(|every| !every.is_zero());
    let turn = every.map_or(0, |every| since.as_nanos() / every.as_nanos());
    let start =
        schedule.from + every.map_or(Duration::ZERO, |every| every * u32::try_from(turn).unwrap_or(u32::MAX));
    let following = every.map(|every| start + every);
    let end = schedule.lasts.map(|lasts| start + lasts);
    let on = end.is_none_or(|end| elapsed < end);
    let next = match (on, end) {
        (true, Some(end)) => Some(following.map_or(end, |following| end.min(following))),
        // on all the time, turn by turn
        (true, None) => following,
        (false, _) => following,
    };
    Reading { on, arming: 0, turn: u64::try_from(turn).unwrap_or(u64::MAX), next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{At, Schedule};

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_clock_of_a_fault() {
        let always = When::default();
        let once = When {
            schedule: Some(Schedule { from: s(5), lasts: Some(s(10)), ..Schedule::default() }),
            at: vec![],
        };
        let again = When {
            schedule: Some(Schedule {
                from: s(5),
                lasts: Some(s(2)),
                every: Some(s(10)),
                ..Schedule::default()
            }),
            at: vec![],
        };
        let listed = When {
            schedule: None,
            at: vec![
                At { from: s(1), lasts: Some(s(2)) },
                At { from: s(10), lasts: None },
                At { from: s(20), lasts: Some(s(1)) },
            ],
        };
        let turns = When {
            schedule: Some(Schedule { from: s(5), every: Some(s(10)), ..Schedule::default() }),
            at: vec![],
        };
        for (name, when, at, on, place_or_turn, next) in [
            ("always", &always, 0, true, 0, None),
            ("turns", &turns, 4, false, 0, Some(5)),
            ("turns", &turns, 5, true, 0, Some(15)),
            ("turns", &turns, 37, true, 3, Some(45)),
            ("once", &once, 0, false, 0, Some(5)),
            ("once", &once, 5, true, 0, Some(15)),
            ("once", &once, 15, false, 0, None),
            ("again", &again, 6, true, 0, Some(7)),
            ("again", &again, 7, false, 0, Some(15)),
            ("again", &again, 15, true, 1, Some(17)),
            ("again", &again, 118, false, 11, Some(125)),
            ("listed", &listed, 0, false, 0, Some(1)),
            ("listed", &listed, 1, true, 0, Some(3)),
            ("listed", &listed, 3, false, 0, Some(10)),
            ("listed", &listed, 12, true, 1, Some(20)),
            ("listed", &listed, 20, true, 2, Some(21)),
            ("listed", &listed, 30, false, 2, None),
        ] {
            let reading = read(when, s(at));
            let place = reading.arming.max(usize::try_from(reading.turn).unwrap());
            assert_eq!(
                (reading.on, place, reading.next),
                (on, place_or_turn, next.map(s)),
                "{name} at {at}s"
            );
        }
    }

    #[test]
    fn every_reading_leads_on() {
        let again = When {
            schedule: Some(Schedule {
                from: s(3),
                lasts: Some(s(2)),
                every: Some(s(7)),
                ..Schedule::default()
            }),
            at: vec![],
        };
        let (mut now, mut on) = (Duration::ZERO, Duration::ZERO);
        while now < s(700) {
            let reading = read(&again, now);
            let next = reading.next.unwrap();
            assert!(next > now);
            on += if reading.on { next - now } else { Duration::ZERO };
            now = next;
        }
        assert!((on.as_secs_f64() - 200.0).abs() < 2.1, "{on:?}");
    }
}
