//! Which exchanges of an edge are attempts of one logical call, and which exchange of a parent edge made it.
//!
//! A shared id goes through all hops, so what has the same id is split by the parent exchange within which it began. Where two
//! parents come into question, or attempts overlap, the chain is not sure, and no count is taken from it.

use crate::analysis::{EdgeTraffic, Traffic};
use crate::telemetry::{Identity, Passed};
use std::collections::HashMap;

/// What ends so close to the end of the run was cut by it.
const CUT: f64 = 0.05;
/// Two events that one brought about lie at most so far apart on the wire, if nothing stalls.
const TOGETHER: f64 = 0.008;
/// An observer sees what happens at two places at most so much out of order.
const OUT_OF_ORDER: f64 = 0.003;
/// Attempts further apart belong to different calls.
const LONGEST_PAUSE: f64 = 60.0;

/// Identity, target, and the parent's edge and place: what one call's attempts have in common.
type Key = (Identity, u32, Option<(usize, u32)>);

/// The exchanges of each edge by their ids.
pub(super) struct Index(Vec<HashMap<Identity, Vec<u32>>>);

impl Index {
    pub(super) fn of(traffic: &Traffic) -> Self {
        Self(
            traffic
                .edges
                .iter()
                .map(|edge| {
                    let mut of: HashMap<Identity, Vec<u32>> = HashMap::new();
                    for (place, passed) in edge.exchanges.iter().enumerate() {
                        of.entry(passed.identity).or_default().push(place as u32);
                    }
                    of
                })
                .collect(),
        )
    }
}

/// The attempts of one logical call, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    pub(super) attempts: Vec<u32>,
    /// The edge and place of the exchange that made it, if ids tell.
    pub(super) parent: Option<(usize, u32)>,
    /// No other reading of the same exchanges is possible.
    pub(super) sure: bool,
}

/// One edge, seen together with those that its caller is called over.
pub(super) struct View<'a> {
    pub(super) traffic: &'a Traffic,
    pub(super) edge: &'a EdgeTraffic,
    pub(super) rows: &'a [Passed],
    /// Edges into the caller.
    pub(super) parents: Vec<usize>,
    /// Ids of this edge are found on parent edges.
    pub(super) linked: bool,
    /// Ids tell logical calls apart.
    pub(super) telling: bool,
    /// What looks like one call may be several, each of another attempt of the caller's own caller.
    pub(super) merged: bool,
    /// The caller gives its own calls up when its caller leaves: it does, it works on, or it did not show.
    pub(super) cancels: Option<bool>,
    pub(super) chains: Vec<Chain>,
    /// The chain of each exchange.
    pub(super) chain_of: Vec<u32>,
    /// When exchanges of parent edges were left, and when those had begun; in the order of the former.
    pub(super) departures: Vec<(f64, f64)>,
}

impl<'a> View<'a> {
    pub(super) fn new(traffic: &'a Traffic, index: &Index, place: usize) -> Self {
        let edge = &traffic.edges[place];
        let rows = edge.exchanges.as_slice();
        let parents: Vec<usize> = (0..traffic.edges.len())
            .filter(|other| *other != place && traffic.edges[*other].to == edge.from)
            .filter(|other| !traffic.edges[*other].tcp)
            .collect();
        let mut departures: Vec<(f64, f64)> = parents
            .iter()
            .flat_map(|parent| &traffic.edges[*parent].exchanges)
            .filter(|passed| passed.left())
            .map(|passed| (passed.ended(), passed.began))
            .collect();
        departures.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut view = Self {
            traffic,
            edge,
            rows,
            parents,
            linked: false,
            telling: false,
            merged: false,
            cancels: None,
            chains: Vec::new(),
            chain_of: vec![u32::MAX; rows.len()],
            departures,
        };
        if !edge.tcp {
            view.linked = view.is_linked(index);
            view.cancels = view.gives_up_with_its_caller(index);
            view.group(index);
            view.telling = view.tells();
            view.merged = view.may_be_merged();
        }
        view
    }

    /// Whether this exchange is a sample: not cut by the end of the run, and nobody stood still meanwhile.
    pub(super) fn whole(&self, passed: &Passed) -> bool {
        passed.ended() < self.traffic.end - CUT && !self.stalled(passed.began, passed.ended())
    }

    /// Whether Brownout or its machine stood still within this time.
    pub(super) fn stalled(&self, from: f64, to: f64) -> bool {
        self.traffic.stalls.iter().any(|stall| stall.0 <= to && from <= stall.1 + 0.1)
    }

    /// Whether the caller itself was changed within this time: it may have been restarted, and begun anew.
    pub(super) fn restarted(&self, from: f64, to: f64) -> bool {
        let within = |at: f64| from <= at && at <= to;
        self.traffic
            .faults
            .iter()
            .filter(|fault| fault.services.contains(&self.edge.from))
            .any(|fault| within(fault.from) || within(fault.to))
    }

    pub(super) fn row(&self, place: u32) -> &Passed {
        &self.rows[place as usize]
    }

    pub(super) fn first(&self, chain: &Chain) -> Option<&Passed> {
        chain.attempts.first().map(|place| self.row(*place))
    }

    pub(super) fn last(&self, chain: &Chain) -> Option<&Passed> {
        chain.attempts.last().map(|place| self.row(*place))
    }

    pub(super) fn parent(&self, chain: &Chain) -> Option<&Passed> {
        let (edge, place) = chain.parent?;
        self.traffic.edges.get(edge)?.exchanges.get(place as usize)
    }

    fn with_id<'i>(&self, index: &'i Index, identity: Identity) -> impl Iterator<Item = (usize, u32)> + 'i {
        let parents = self.parents.clone();
        parents.into_iter().flat_map(move |parent| {
            index.0[parent].get(&identity).into_iter().flatten().map(move |place| (parent, *place))
        })
    }

    fn is_linked(&self, index: &Index) -> bool {
        let shared = |passed: &&Passed| {
            matches!(passed.identity, Identity::Given(_) | Identity::Trace(_))
                && self.with_id(index, passed.identity).next().is_some()
        };
        let step = (self.rows.len() / 500).max(1);
        let tried = self.rows.iter().step_by(step).count();
        let found = self.rows.iter().step_by(step).filter(shared).count();
        tried >= 5 && found * 10 >= tried * 9
    }

    /// Whether calls under way end when the parent exchange is left.
    fn gives_up_with_its_caller(&self, index: &Index) -> Option<bool> {
        if !self.linked {
            return None;
        }
        let (mut cut, mut on) = (0usize, 0usize);
        for passed in self.rows.iter().filter(|passed| self.whole(passed)) {
            let mut parents = self.with_id(index, passed.identity);
            let (Some((edge, place)), None) = (parents.next(), parents.next()) else { continue };
            let parent = &self.traffic.edges[edge].exchanges[place as usize];
            if !parent.left() || parent.ended() > self.traffic.end - CUT {
                continue;
            }
            let after = passed.ended() - parent.ended();
            if passed.began < parent.ended() - OUT_OF_ORDER {
                if passed.left() && (-OUT_OF_ORDER..0.03).contains(&after) {
                    cut += 1;
                } else if after > 0.1 {
                    on += 1;
                }
            } else if passed.began > parent.ended() + 0.05 {
                on += 1;
            }
        }
        match (cut, on) {
            (cut, on) if cut >= 5 && on * 20 <= cut => Some(true),
            (cut, on) if on >= 5 && cut * 4 <= on => Some(false),
            _ => None,
        }
    }

    fn group(&mut self, index: &Index) {
        let mut open: HashMap<Key, usize> = HashMap::new();
        let mut doubtful: Vec<usize> = Vec::new();
        for (place, passed) in self.rows.iter().enumerate() {
            if passed.identity == Identity::None {
                continue;
            }
            let candidates = self.parents_of(index, passed);
            let (parent, sure) = (candidates.last().copied(), !self.linked || candidates.len() == 1);
            let key = (passed.identity, passed.target, parent);
            if candidates.len() > 1 {
                // It may as well go on what another parent began.
                let others = candidates
                    .iter()
                    .filter_map(|other| open.get(&(passed.identity, passed.target, Some(*other))));
                doubtful.extend(others);
            }
            let known = open.get(&key).copied();
            let goes_on = known.is_some_and(|known| {
                let last = self.last(&self.chains[known]);
                last.is_some_and(|last| last.failed && passed.began - last.ended() < LONGEST_PAUSE)
            });
            let chain = match known {
                Some(known) if goes_on => known,
                _ => {
                    open.insert(key, self.chains.len());
                    self.chains.push(Chain { attempts: Vec::new(), parent, sure: true });
                    self.chains.len() - 1
                }
            };
            // What began before the one before had ended is of another call.
            let overlaps = known.is_some_and(|known| {
                self.last(&self.chains[known]).is_some_and(|last| passed.began < last.ended() - OUT_OF_ORDER)
            });
            if overlaps || !sure {
                doubtful.push(chain);
                doubtful.extend(known);
            }
            self.chains[chain].attempts.push(place as u32);
            self.chain_of[place] = chain as u32;
        }
        for chain in doubtful {
            self.chains[chain].sure = false;
        }
    }

    /// Without shared ids: whether further attempts begin where the caller's own caller tries again, so that what looks like one
    /// call may be one for each of its attempts.
    fn may_be_merged(&self) -> bool {
        if self.linked {
            return false;
        }
        let again: Vec<f64> =
            sorted(self.parents.iter().flat_map(|p| repeats(&self.traffic.edges[*p])).collect());
        if again.len() < 3 {
            return false;
        }
        let longest = self.work_before();
        let mut places: Vec<(usize, usize)> = Vec::new();
        for chain in &self.chains {
            for (place, attempt) in chain.attempts.iter().skip(1).enumerate().take(50) {
                if places.len() <= place {
                    places.push((0, 0));
                }
                let began = self.row(*attempt).began;
                let start = again.partition_point(|at| *at < began - longest);
                places[place].0 += usize::from(again.get(start).is_some_and(|at| *at <= began));
                places[place].1 += 1;
            }
        }
        places.iter().any(|(near, all)| *all >= 3 && near * 10 >= all * 7)
    }

    /// How long the caller works at most, on calm days, before it calls.
    pub(super) fn work_before(&self) -> f64 {
        let calm = self.calm();
        let took = sorted(
            self.parents
                .iter()
                .flat_map(|parent| &self.traffic.edges[*parent].exchanges)
                .filter(|passed| !passed.failed && passed.ended() < calm)
                .map(|passed| passed.took)
                .collect(),
        );
        quantile(&took, 0.98).unwrap_or(1.0) + 0.01
    }

    /// The parent exchanges in which this one may have begun.
    fn parents_of(&self, index: &Index, passed: &Passed) -> Vec<(usize, u32)> {
        if !self.linked {
            return Vec::new();
        }
        let within = |(edge, place): &(usize, u32)| {
            let parent = &self.traffic.edges[*edge].exchanges[*place as usize];
            let worked_on = parent.left() && self.cancels != Some(true);
            let until = if worked_on { f64::INFINITY } else { parent.ended() + TOGETHER };
            parent.began <= passed.began + 0.001 && passed.began <= until
        };
        self.with_id(index, passed.identity).filter(within).collect()
    }

    /// Whether ids tell calls apart: on the whole nothing is repeated that had succeeded, or was still under way.
    fn tells(&self) -> bool {
        let (mut repeated, mut all) = (0usize, 0usize);
        let mut last: HashMap<(Identity, u32), &Passed> = HashMap::new();
        for passed in self.rows {
            if !matches!(passed.identity, Identity::Fingerprint(_)) {
                return passed.identity != Identity::None;
            }
            all += 1;
            if let Some(before) = last.insert((passed.identity, passed.target), passed)
                && (!before.failed || passed.began < before.ended() - OUT_OF_ORDER)
            {
                repeated += 1;
            }
        }
        all > 0 && repeated * 20 <= all
    }

    /// Whether the call that this exchange belongs to could have lost its own caller within this time.
    pub(super) fn may_be_deserted(&self, chain: &Chain, from: f64, to: f64) -> bool {
        if self.linked {
            return match self.parent(chain) {
                Some(parent) => parent.left() && self.cancels != Some(false) && parent.ended() < to,
                None => true,
            };
        }
        let Some(first) = self.first(chain) else { return true };
        let start = self.departures.partition_point(|(left, _)| *left < from - TOGETHER);
        self.departures[start..]
            .iter()
            .take_while(|(left, _)| *left <= to)
            .any(|(_, began)| *began <= first.began + 0.001)
    }

    /// Whether this exchange was given up because its caller's caller had left: surely so with ids, else by the time alone.
    pub(super) fn cut_from_above(&self, place: u32) -> bool {
        let passed = self.row(place);
        let at = passed.ended();
        if self.linked {
            let chain = &self.chains[self.chain_of[place as usize] as usize];
            let (Some(id), true) = (chain.parent, chain.sure) else { return self.left_within(at, 0.03) };
            let parent = &self.traffic.edges[id.0].exchanges[id.1 as usize];
            return parent.left() && (-OUT_OF_ORDER..0.09).contains(&(at - parent.ended()));
        }
        self.left_within(at, TOGETHER)
    }

    /// As [`cut_from_above`](Self::cut_from_above), where ids say so.
    pub(super) fn cut_from_above_surely(&self, place: u32) -> bool {
        self.linked && self.row(place).left() && self.cut_from_above(place)
    }

    fn left_within(&self, at: f64, before: f64) -> bool {
        let start = self.departures.partition_point(|(left, _)| *left < at - before);
        self.departures.get(start).is_some_and(|(left, _)| *left <= at + OUT_OF_ORDER)
    }

    /// How likely [`cut_from_above`] says so of a departure at this time by chance alone.
    pub(super) fn by_chance(&self, from: f64, to: f64) -> f64 {
        let start = self.departures.partition_point(|(left, _)| *left < from);
        let stop = self.departures.partition_point(|(left, _)| *left <= to);
        let rate = (stop - start) as f64 / (to - from).max(0.5);
        1.0 - (-rate * (TOGETHER + OUT_OF_ORDER)).exp()
    }
}

/// When failed exchanges of an edge were tried again.
fn repeats(edge: &EdgeTraffic) -> Vec<f64> {
    let mut last: HashMap<(Identity, u32), bool> = HashMap::new();
    edge.exchanges
        .iter()
        .filter(|passed| last.insert((passed.identity, passed.target), passed.failed) == Some(true))
        .map(|passed| passed.began)
        .collect()
}

/// The value at this share of sorted values.
pub(super) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(place).copied()
}

pub(super) fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}
