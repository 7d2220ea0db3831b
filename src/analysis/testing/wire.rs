//! The proxy on every edge: what it does to an exchange, and what it notes down of it.

use super::chance::Chance;
use super::engine::{Event, Sim};
use super::system::{Harm, Ids};
use crate::telemetry::{Ending, Identity, Origin, Passed};

impl Sim {
    pub(super) fn seen(&mut self, id: usize) {
        let edge = self.calls[self.attempts[id].call].edge;
        self.attempts[id].began = Some(self.now);
        self.attempts[id].row = Some(self.edges[edge].rows.len());
        let row = self.row(id);
        self.edges[edge].rows.push(row);
        let healed = self.system.phases[0] + self.system.phases[1];
        let on = self.now >= self.system.phases[0] && self.now < healed;
        let fault = self.system.faults.iter().find(|fault| fault.edge == edge).copied();
        let struck = fault.filter(|fault| on && self.chance.chance(fault.share));
        let Some(fault) = struck else { return self.over(None, Event::Forward(id)) };
        self.attempts[id].hit = true;
        match fault.what {
            Harm::Latency(low, high) => {
                let until = (self.now + self.chance.between(low, high)).min(healed.max(self.now));
                self.attempts[id].held = until - self.now;
                self.at(until, Event::Forward(id));
            }
            Harm::Hang => {
                self.attempts[id].held = healed - self.now;
                self.at(healed, Event::Forward(id));
            }
            Harm::Error(status) => self.ended(id, status, Origin::Injected, Ending::Complete),
            Harm::Drop => self.ended(id, 0, Origin::Injected, Ending::Unanswered),
        }
    }

    pub(super) fn row(&mut self, id: usize) -> Passed {
        let call = &self.calls[self.attempts[id].call];
        let place = call.edge as u64;
        let mixed = |n: u64| Chance::new(n).bits();
        let target = mixed(0x00e0 + place) as u32;
        let (identity, target) = match self.system.ids {
            Ids::Call => (Identity::Given(mixed(self.attempts[id].call as u64 + (place << 40))), target),
            Ids::Request => (Identity::Given(mixed(call.root)), target),
            Ids::Trace => (Identity::Trace(mixed(call.root)), target),
            Ids::Unlike => {
                let hash = mixed(call.root ^ (place << 40));
                (Identity::Fingerprint(hash), target ^ hash as u32)
            }
            Ids::Alike(kinds) => (Identity::Fingerprint(mixed((call.root % kinds) ^ (place << 40))), target),
        };
        Passed {
            began: self.now,
            took: 0.0,
            zombie: None,
            upstream: None,
            held: 0.0,
            status: 0,
            origin: Origin::Upstream,
            ending: Ending::Unanswered,
            failed: true,
            timed: true,
            hit: false,
            identity,
            target,
            retry_after: None,
        }
    }

    pub(super) fn forward(&mut self, id: usize) {
        if self.attempts[id].open || self.attempts[id].held == 0.0 {
            self.attempts[id].forwarded = Some(self.now);
            let to = self.system.edges[self.calls[self.attempts[id].call].edge].to;
            self.over(Some(to), Event::Reach(id));
        }
    }

    pub(super) fn answered(&mut self, id: usize, status: u16) {
        self.ended(id, status, Origin::Upstream, Ending::Complete);
    }

    /// Notes an end down, if the caller is still there, and tells it.
    pub(super) fn ended(&mut self, id: usize, status: u16, origin: Origin, ending: Ending) {
        let attempt = &self.attempts[id];
        let (Some(row), Some(began)) = (attempt.row, attempt.began) else { return };
        let edge = self.calls[attempt.call].edge;
        let upstream = attempt.forwarded.map(|at| self.now - at);
        let (held, hit) = (attempt.held, attempt.hit);
        let passed = &mut self.edges[edge].rows[row];
        if passed.took > 0.0 {
            if passed.ending == Ending::CallerLeft && passed.zombie.is_none() {
                passed.zombie = Some(self.now - passed.began - passed.took);
                passed.upstream = upstream;
            }
            return;
        }
        passed.took = (self.now - began).max(1e-5);
        passed.upstream = upstream.filter(|_| origin == Origin::Upstream);
        passed.status = status;
        passed.origin = origin;
        passed.ending = ending;
        passed.failed = status >= 500 || status == 429 || status == 0;
        passed.held = held.min(passed.took);
        passed.hit = hit;
        let caller = self.caller(edge);
        self.over(Some(caller), Event::Returned(id, status));
    }

    pub(super) fn left(&mut self, id: usize) {
        let attempt = &self.attempts[id];
        let (Some(row), Some(began)) = (attempt.row, attempt.began) else { return };
        let edge = self.calls[attempt.call].edge;
        let (held, hit, work) = (attempt.held, attempt.hit, attempt.work);
        let passed = &mut self.edges[edge].rows[row];
        if passed.took > 0.0 {
            return;
        }
        passed.took = (self.now - began).max(1e-5);
        passed.ending = Ending::CallerLeft;
        passed.origin = Origin::Client;
        passed.held = held.min(passed.took);
        passed.hit = hit;
        if let Some(work) = work {
            let service = self.works[work].service;
            self.over(Some(service), Event::Gone(work));
        }
    }

    /// The end of the run: whatever is under way is cut.
    pub(super) fn cut(&mut self) {
        for edge in 0..self.edges.len() {
            let (mut under_way, ended): (Vec<Passed>, Vec<Passed>) =
                std::mem::take(&mut self.edges[edge].rows).into_iter().partition(|row| row.took == 0.0);
            for row in &mut under_way {
                row.took = (self.now - row.began).max(1e-5);
                row.ending = Ending::CallerLeft;
                row.origin = Origin::Client;
            }
            self.edges[edge].rows = ended;
            self.edges[edge].cut = under_way;
            self.note_full(edge);
        }
    }
}
