//! The server's side: workers, their queue, a request's work, its session with the database and its calls.

use super::engine::{Event, Sim, Step, Work};
use super::system::Harm;
use crate::telemetry::{Ending, Identity, Origin, Passed};

impl Sim {
    /// A request reaches its service.
    pub(super) fn reached(&mut self, attempt: usize) {
        let call = self.attempts[attempt].call;
        let service = self.system.edges[self.calls[call].edge].to;
        let id = self.works.len();
        self.works.push(Work {
            service,
            attempt,
            root: self.calls[call].root,
            step: Step::Queued,
            next: 0,
            calls: Vec::new(),
            failed: false,
            stumbled: false,
            gone: false,
            session: None,
        });
        self.attempts[attempt].work = Some(id);
        let made = &self.system.services[service];
        match made.workers {
            Some(workers) if self.busy[service] >= workers => {
                if self.queues[service].len() >= made.queue {
                    self.works[id].step = Step::Over;
                    self.over(None, Event::Answered(attempt, 503));
                } else {
                    self.queues[service].push_back(id);
                }
            }
            _ => self.start(id),
        }
    }

    fn start(&mut self, id: usize) {
        let service = self.works[id].service;
        self.busy[service] += 1;
        self.works[id].step = Step::Before;
        let made = &self.system.services[service];
        let mut time = self.chance.lognormal(made.median, made.sigma);
        let ill = self.system.illness;
        if let Some(ill) =
            ill.filter(|ill| ill.service == service && self.now >= ill.from && self.now < ill.to)
        {
            match ill.what {
                Harm::Latency(low, high) => time += self.chance.between(low, high),
                Harm::Hang => time += (ill.to - self.now).max(0.0),
                Harm::Error(_) | Harm::Drop => self.works[id].failed = true,
            }
        }
        // Most of it before the calls.
        self.after(service, time * 0.8, Event::Worked(id));
    }

    pub(super) fn worked(&mut self, id: usize) {
        match self.works[id].step {
            Step::Before if self.works[id].failed => self.respond(id, 500),
            Step::Before => self.take_session(id),
            Step::After(status) => self.respond(id, status),
            Step::Queued | Step::Session | Step::Calling | Step::Over => {}
        }
    }

    /// A connection to the database, if this service needs one. Its pool is the pool of the TCP edge.
    fn take_session(&mut self, id: usize) {
        let Some(edge) = self.system.services[self.works[id].service].session else { return self.call(id) };
        let Some(pool) = self.system.edges[edge].policy.pool else { return self.hold(id, edge) };
        if self.edges[edge].in_pool < pool.size {
            self.edges[edge].in_pool += 1;
            self.hold(id, edge);
        } else if self.edges[edge].waiting.len() > 2_000 {
            self.respond(id, 503);
        } else {
            self.works[id].step = Step::Session;
            self.edges[edge].waiting.push_back(id);
            self.edges[edge].full_since.get_or_insert(self.now);
        }
    }

    fn hold(&mut self, id: usize, edge: usize) {
        let lag = self.chance.between(0.000_1, 0.001);
        self.works[id].session = Some((edge, self.now + lag));
        self.call(id);
    }

    fn give_session(&mut self, id: usize) {
        let Some((edge, began)) = self.works[id].session.take() else { return };
        let took = (self.now + self.chance.between(0.000_05, 0.000_1) - began).max(1e-4);
        self.edges[edge].rows.push(Passed {
            began,
            took,
            zombie: None,
            upstream: None,
            held: 0.0,
            status: 0,
            origin: Origin::Upstream,
            ending: Ending::Complete,
            failed: false,
            timed: false,
            hit: false,
            identity: Identity::None,
            target: 0,
            retry_after: None,
        });
        while let Some(next) = self.edges[edge].waiting.pop_front() {
            if self.works[next].step == Step::Session {
                self.works[next].step = Step::Before;
                self.hold(next, edge);
                if self.edges[edge].waiting.is_empty() {
                    self.note_full(edge);
                }
                return;
            }
        }
        if self.system.edges[edge].policy.pool.is_some() {
            self.edges[edge].in_pool -= 1;
        }
        self.note_full(edge);
    }

    /// The next call, or all of them at once.
    fn call(&mut self, id: usize) {
        self.works[id].step = Step::Calling;
        let service = self.works[id].service;
        let (root, together) = (self.works[id].root, self.system.services[service].together);
        loop {
            let calls = &self.system.services[service].calls;
            let Some(edge) = calls.get(self.works[id].next).copied() else { break };
            self.works[id].next += 1;
            if !self.chance.chance(self.system.edges[edge].share) {
                continue;
            }
            self.works[id].calls.push(usize::MAX);
            let place = self.works[id].calls.len() - 1;
            let call = self.begin(edge, Some(id), root);
            self.works[id].calls[place] = call;
            if !together {
                return;
            }
        }
        self.all_called(id);
    }

    fn all_called(&mut self, id: usize) {
        let work = &self.works[id];
        let pending = work.calls.iter().any(|call| {
            self.calls.get(*call).is_none_or(|call| call.state != super::engine::CallState::Done)
        });
        let made = &self.system.services[work.service];
        if work.step == Step::Calling && work.next >= made.calls.len() && !pending {
            let status = if work.failed { 502 } else { 200 };
            let time = made.median * 0.2;
            let service = work.service;
            self.works[id].step = Step::After(status);
            self.after(service, time, Event::Worked(id));
        }
    }

    /// A call of this work is over.
    pub(super) fn call_over(&mut self, id: usize, edge: usize, well: bool) {
        if self.works[id].step != Step::Calling {
            return;
        }
        if !well {
            self.works[id].stumbled = true;
            if self.system.edges[edge].policy.fallback {
                self.truth.edges[edge].covered += 1;
            } else {
                self.works[id].failed = true;
            }
        }
        // A call that failed at once is still being put down by `call`.
        if self.works[id].calls.last() == Some(&usize::MAX) {
            if let Some(last) = self.works[id].calls.last_mut() {
                *last = self.calls.len() - 1;
            }
            if self.system.services[self.works[id].service].together {
                return;
            }
        }
        let together = self.system.services[self.works[id].service].together;
        if !together && !self.works[id].failed {
            self.call(id);
        } else if !together {
            self.works[id].next = usize::MAX;
            self.all_called(id);
        } else {
            self.all_called(id);
        }
    }

    fn respond(&mut self, id: usize, status: u16) {
        let attempt = self.works[id].attempt;
        self.over(None, Event::Answered(attempt, status));
        self.leave(id);
    }

    /// The work is over; its worker takes the next.
    fn leave(&mut self, id: usize) {
        let step = std::mem::replace(&mut self.works[id].step, Step::Over);
        if step == Step::Over {
            return;
        }
        self.give_session(id);
        if step == Step::Queued {
            return;
        }
        let service = self.works[id].service;
        self.busy[service] -= 1;
        while let Some(next) = self.queues[service].pop_front() {
            if self.works[next].step == Step::Queued {
                self.start(next);
                return;
            }
        }
    }

    /// The service sees that its caller left.
    pub(super) fn gone(&mut self, id: usize) {
        self.works[id].gone = true;
        if self.system.services[self.works[id].service].cancels && self.works[id].step != Step::Over {
            for call in self.works[id].calls.clone() {
                if call < self.calls.len() {
                    self.abandon(call);
                }
            }
            self.leave(id);
        }
    }
}
