//! The caller's side of an edge: breaker, pool, attempts, timeout, retries.

use super::engine::{Attempt, Call, CallState, Event, Fuse, Sim};
use super::system::{Jitter, Load};

impl Sim {
    /// A logical call begins.
    pub(super) fn begin(&mut self, edge: usize, work: Option<usize>, root: u64) -> usize {
        let id = self.calls.len();
        self.calls.push(Call {
            edge,
            work,
            root,
            tries: 0,
            state: CallState::Waiting,
            trial: false,
            refusals: 0,
            disturbed: false,
            holds: false,
            began: self.now,
        });
        self.ask(id);
        id
    }

    /// The breaker is asked, then the pool.
    fn ask(&mut self, id: usize) {
        let edge = self.calls[id].edge;
        let Some(switch) = self.system.edges[edge].policy.breaker else { return self.queue(id) };
        match self.edges[edge].fuse {
            Fuse::Closed(_) => self.queue(id),
            Fuse::Open(until) if self.now >= until => {
                self.edges[edge].fuse = Fuse::Trying;
                if self.edges[edge].demanded {
                    self.truth.edges[edge].reopened += 1;
                }
                self.calls[id].trial = true;
                self.queue(id);
            }
            Fuse::Open(_) | Fuse::Trying => {
                self.truth.edges[edge].refused += 1;
                if std::mem::take(&mut self.edges[edge].tripped) && self.edges[edge].failed <= 3 {
                    self.truth.edges[edge].distinct += 1;
                }
                self.calls[id].disturbed = true;
                if let Fuse::Open(until) = self.edges[edge].fuse
                    && until - self.now < 0.1 * switch.open_for
                {
                    self.edges[edge].demanded = true;
                }
                self.calls[id].refusals += 1;
                let times = self.system.edges[edge].policy.retries.times;
                let spent = self.calls[id].tries + self.calls[id].refusals;
                if switch.retried && times.is_none_or(|times| spent <= times) {
                    self.pause(id);
                } else {
                    self.finish(id, false);
                }
            }
        }
    }

    fn queue(&mut self, id: usize) {
        let edge = self.calls[id].edge;
        let Some(pool) = self.system.edges[edge].policy.pool else { return self.send(id) };
        if self.calls[id].holds {
            return self.send(id);
        }
        if self.edges[edge].in_pool < pool.size {
            self.edges[edge].in_pool += 1;
            self.calls[id].holds = true;
            self.send(id);
        } else {
            self.calls[id].state = CallState::Waiting;
            self.edges[edge].waiting.push_back(id);
            self.edges[edge].full_since.get_or_insert(self.now);
            if let Some(wait) = pool.wait {
                let node = self.caller(edge);
                self.after(node, wait, Event::GaveUp(id));
            }
        }
    }

    fn release(&mut self, id: usize) {
        let edge = self.calls[id].edge;
        if !std::mem::take(&mut self.calls[id].holds) {
            return;
        }
        while let Some(next) = self.edges[edge].waiting.pop_front() {
            if self.calls[next].state == CallState::Waiting {
                self.calls[next].holds = true;
                self.send(next);
                if self.edges[edge].waiting.is_empty() {
                    self.note_full(edge);
                }
                return;
            }
        }
        self.edges[edge].in_pool -= 1;
        self.note_full(edge);
    }

    /// A stretch in which the pool was full and calls waited is over.
    pub(super) fn note_full(&mut self, edge: usize) {
        if let Some(since) = self.edges[edge].full_since.take()
            && self.now - since >= 1.0
        {
            self.truth.edges[edge].full += self.now - since;
        }
    }

    fn send(&mut self, id: usize) {
        let edge = self.calls[id].edge;
        let attempt = self.attempts.len();
        self.attempts.push(Attempt {
            call: id,
            trial: self.calls[id].trial,
            open: true,
            began: None,
            held: 0.0,
            hit: false,
            forwarded: None,
            work: None,
            row: None,
        });
        if !self.edges[edge].tripped {
            self.edges[edge].failed = 0;
        }
        let phase = self.phase(self.now);
        self.truth.edges[edge].attempts[phase] += 1;
        self.calls[id].tries += 1;
        if self.calls[id].tries == 1 {
            let phase = self.phase(self.calls[id].began);
            self.truth.edges[edge].logical[phase] += 1;
        }
        self.calls[id].state = CallState::Trying(attempt);
        self.over(None, Event::Seen(attempt));
        if let Some(timeout) = self.system.edges[edge].policy.timeout {
            let node = self.caller(edge);
            self.after(node, timeout, Event::TimedOut(attempt));
        }
    }

    fn phase(&self, at: f64) -> usize {
        let [baseline, fault, _] = self.system.phases;
        usize::from(at >= baseline) + usize::from(at >= baseline + fault)
    }

    pub(super) fn returned(&mut self, id: usize, status: u16) {
        if !std::mem::take(&mut self.attempts[id].open) {
            return;
        }
        if status == 0 || status >= 500 || status == 429 { self.missed(id) } else { self.succeeded(id) }
    }

    pub(super) fn timed_out(&mut self, id: usize) {
        if !std::mem::take(&mut self.attempts[id].open) {
            return;
        }
        self.truth.edges[self.calls[self.attempts[id].call].edge].timeouts += 1;
        self.over(None, Event::Left(id));
        self.missed(id);
    }

    fn succeeded(&mut self, id: usize) {
        let call = self.attempts[id].call;
        let edge = self.calls[call].edge;
        match self.edges[edge].fuse {
            Fuse::Closed(_) => self.edges[edge].fuse = Fuse::Closed(0),
            Fuse::Trying if self.attempts[id].trial => self.edges[edge].fuse = Fuse::Closed(0),
            Fuse::Open(_) | Fuse::Trying => {}
        }
        self.finish(call, true);
    }

    /// An attempt failed.
    fn missed(&mut self, id: usize) {
        let call = self.attempts[id].call;
        let edge = self.calls[call].edge;
        self.edges[edge].failed += 1;
        let policy = &self.system.edges[edge].policy;
        let (switch, times, whole) =
            (policy.breaker, policy.retries.times, policy.pool.is_some_and(|pool| pool.whole));
        let around = switch.is_some_and(|switch| switch.logical && !switch.retried);
        let last = times.is_some_and(|times| self.calls[call].tries + self.calls[call].refusals > times);
        if let Some(switch) = switch {
            if self.attempts[id].trial && self.edges[edge].fuse == Fuse::Trying {
                if last || !around {
                    self.open(edge, switch.open_for);
                    self.calls[call].trial = false;
                }
            } else if !switch.logical || (last && self.calls[call].refusals == 0) {
                self.count_failure(edge);
            }
        }
        if !whole {
            self.release(call);
        }
        if last {
            if !self.calls[call].disturbed {
                self.truth.edges[edge].exhausted += 1;
            }
            self.finish(call, false);
        } else {
            self.pause(call);
        }
    }

    fn count_failure(&mut self, edge: usize) {
        let Some(switch) = self.system.edges[edge].policy.breaker else { return };
        if let Fuse::Closed(failures) = self.edges[edge].fuse {
            if failures + 1 >= switch.failures {
                self.truth.edges[edge].tripped += 1;
                self.edges[edge].tripped = true;
                self.open(edge, switch.open_for);
            } else {
                self.edges[edge].fuse = Fuse::Closed(failures + 1);
            }
        }
    }

    fn open(&mut self, edge: usize, time: f64) {
        self.edges[edge].fuse = Fuse::Open(self.now + time);
        self.edges[edge].demanded = false;
        self.truth.edges[edge].opened += 1;
    }

    fn pause(&mut self, id: usize) {
        let edge = self.calls[id].edge;
        let retries = self.system.edges[edge].policy.retries;
        let nominal = retries.pause((self.calls[id].tries + self.calls[id].refusals).max(1));
        let time = match retries.jitter {
            Jitter::None => nominal,
            Jitter::Tenth => nominal * self.chance.between(0.9, 1.1),
            Jitter::Equal => nominal * self.chance.between(0.5, 1.0),
            Jitter::Full => nominal * self.chance.unit(),
        };
        self.calls[id].state = CallState::Pausing;
        let node = self.caller(edge);
        self.after(node, time, Event::Again(id));
    }

    pub(super) fn again(&mut self, id: usize) {
        if self.calls[id].state != CallState::Pausing {
            return;
        }
        let switch = self.system.edges[self.calls[id].edge].policy.breaker;
        if switch.is_some_and(|switch| switch.logical && !switch.retried) {
            self.queue(id);
        } else {
            self.ask(id);
        }
    }

    pub(super) fn gave_up(&mut self, id: usize) {
        if self.calls[id].state == CallState::Waiting {
            if self.calls[id].trial {
                self.untry(id);
            }
            self.calls[id].disturbed = true;
            self.finish(id, false);
        }
    }

    /// A trial ended without a verdict: the next call is one.
    fn untry(&mut self, id: usize) {
        let edge = self.calls[id].edge;
        if self.edges[edge].fuse == Fuse::Trying {
            self.edges[edge].fuse = Fuse::Open(self.now);
        }
    }

    fn finish(&mut self, id: usize, well: bool) {
        self.calls[id].state = CallState::Done;
        self.release(id);
        let (edge, work) = (self.calls[id].edge, self.calls[id].work);
        if !well {
            self.truth.edges[edge].failed += 1;
        }
        match (work, self.system.load) {
            (Some(work), _) => self.call_over(work, edge, well),
            (None, Load::Users(_, pause)) => {
                let at = self.now + self.chance.between(0.5, 1.5) * pause + 0.001;
                self.at(at, Event::Arrive);
            }
            (None, _) => {}
        }
    }

    /// The work that made this call is given up.
    pub(super) fn abandon(&mut self, id: usize) {
        let state = std::mem::replace(&mut self.calls[id].state, CallState::Done);
        if let CallState::Trying(attempt) = state {
            self.attempts[attempt].open = false;
            self.over(None, Event::Left(attempt));
        }
        if state != CallState::Done {
            if self.calls[id].trial {
                self.untry(id);
            }
            self.release(id);
        }
    }
}
