//! Which service stands in which column: callers before those they call, as far as there are no circles.

/// The column of each of `count` services, and for each edge whether it goes against the direction.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layers {
    pub(super) of: Vec<usize>,
    pub(super) back: Vec<bool>,
}

/// Edges are pairs of services below `count`. One of a service to itself is neither forward nor back.
pub(super) fn layers(count: usize, edges: &[(usize, usize)]) -> Layers {
    let back = against(count, edges);
    let forward: Vec<(usize, usize)> = edges
        .iter()
        .zip(&back)
        .filter(|((from, to), _)| from != to)
        .map(|((from, to), back)| if *back { (*to, *from) } else { (*from, *to) })
        .collect();
    let mut waits = vec![0_usize; count];
    let mut out = vec![Vec::new(); count];
    for (from, to) in forward {
        waits[to] += 1;
        out[from].push(to);
    }
    let mut of = vec![0; count];
    let mut ready: Vec<usize> = (0..count).filter(|node| waits[*node] == 0).collect();
    while let Some(node) = ready.pop() {
        for to in &out[node] {
            of[*to] = of[*to].max(of[node] + 1);
            waits[*to] -= 1;
            if waits[*to] == 0 {
                ready.push(*to);
            }
        }
    }
    Layers { of, back }
}

/// The edges that close a circle, for whoever walks in from the callers that nobody calls.
fn against(count: usize, edges: &[(usize, usize)]) -> Vec<bool> {
    let mut out = vec![Vec::new(); count];
    let mut called = vec![false; count];
    for (n, (from, to)) in edges.iter().enumerate().filter(|(_, (from, to))| from != to) {
        out[*from].push((n, *to));
        called[*to] = true;
    }
    let mut back = vec![false; edges.len()];
    let mut seen = vec![Seen::No; count];
    let roots = (0..count).filter(|node| !called[*node]).chain((0..count).filter(|node| called[*node]));
    for root in roots {
        if seen[root] != Seen::No {
            continue;
        }
        seen[root] = Seen::Open;
        let mut way = vec![(root, 0)];
        while let Some((node, next)) = way.last_mut() {
            match out[*node].get(*next) {
                None => {
                    seen[*node] = Seen::Done;
                    way.pop();
                }
                Some((edge, to)) => {
                    *next += 1;
                    match seen[*to] {
                        Seen::Open => back[*edge] = true,
                        Seen::Done => {}
                        Seen::No => {
                            seen[*to] = Seen::Open;
                            way.push((*to, 0));
                        }
                    }
                }
            }
        }
    }
    back
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    No,
    Open,
    Done,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn callers_stand_before_those_they_call() {
        let got = layers(4, &[(0, 1), (1, 2), (0, 2), (2, 3)]);
        assert_eq!(got, Layers { of: vec![0, 1, 2, 3], back: vec![false; 4] });
        // A circle is cut where it comes back, and a service that calls itself stays where it is.
        let got = layers(3, &[(0, 1), (1, 2), (2, 1), (2, 2)]);
        assert_eq!(got, Layers { of: vec![0, 1, 2], back: vec![false, false, true, false] });
    }

    proptest! {
        #[test]
        fn every_edge_goes_forward_or_is_said_to_go_back(
            edges in proptest::collection::vec((0usize..9, 0usize..9), 0..30)
        ) {
            let got = layers(9, &edges);
            for ((from, to), back) in edges.iter().zip(&got.back) {
                if from != to {
                    let (first, then) = if *back { (*to, *from) } else { (*from, *to) };
                    prop_assert!(got.of[first] < got.of[then]);
                }
            }
        }
    }
}
