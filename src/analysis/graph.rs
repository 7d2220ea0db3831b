//! Who calls whom: the edges of a system as a graph. It may have rings, shared services and parts without a connection.

use super::Traffic;
use std::collections::HashMap;

/// The edges next to each edge.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Of each edge, the edges that its service calls.
    calls: Vec<Vec<usize>>,
    /// Of each edge, the edges into its caller.
    called_by: Vec<Vec<usize>>,
    /// Of each edge, the others of its caller.
    beside: Vec<Vec<usize>>,
}

impl Graph {
    pub(super) fn of(traffic: &Traffic) -> Self {
        let mut from: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut to: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, edge) in traffic.edges.iter().enumerate() {
            from.entry(&edge.from).or_default().push(place);
            to.entry(&edge.to).or_default().push(place);
        }
        let others = |of: Option<&Vec<usize>>, own: usize| -> Vec<usize> {
            of.map(|all| all.iter().copied().filter(|other| *other != own).collect()).unwrap_or_default()
        };
        let mut graph = Self::default();
        for (place, edge) in traffic.edges.iter().enumerate() {
            graph.calls.push(others(from.get(edge.to.as_str()), place));
            graph.called_by.push(others(to.get(edge.from.as_str()), place));
            graph.beside.push(others(from.get(edge.from.as_str()), place));
        }
        graph
    }

    /// The edges below one, level by level.
    pub(super) fn below(&self, edge: usize) -> Vec<Vec<usize>> {
        levels(&self.calls, edge)
    }

    /// The edges above one, level by level.
    pub(super) fn above(&self, edge: usize) -> Vec<Vec<usize>> {
        levels(&self.called_by, edge)
    }

    /// The other edges of its caller.
    pub(super) fn beside(&self, edge: usize) -> Vec<usize> {
        self.beside.get(edge).cloned().unwrap_or_default()
    }
}

/// What is reached over `next`, each edge once, at its shortest distance.
fn levels(next: &[Vec<usize>], edge: usize) -> Vec<Vec<usize>> {
    let mut seen = vec![false; next.len()];
    let mut levels: Vec<Vec<usize>> = Vec::new();
    let mut level = vec![edge];
    if let Some(seen) = seen.get_mut(edge) {
        *seen = true;
    }
    while !level.is_empty() {
        let mut further = Vec::new();
        for other in level.iter().filter_map(|edge| next.get(*edge)).flatten() {
            if let Some(seen) = seen.get_mut(*other).filter(|seen| !**seen) {
                *seen = true;
                further.push(*other);
            }
        }
        level.clone_from(&further);
        if !further.is_empty() {
            levels.push(further);
        }
    }
    levels
}
