//! Where everything stands. Services stand in every other column, the words of an edge in the one behind its caller, and an
//! edge that is longer goes through the columns between at a height of its own: so nothing can lie on anything else.

use super::layers::layers;

/// What is to be placed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sizes {
    /// Width of each service's box.
    pub(super) boxes: Vec<f64>,
    /// Of each edge: from and to, places in `boxes`, and width and height of its words.
    pub(super) edges: Vec<(usize, usize, f64, f64)>,
}

/// Where it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) boxes: Vec<Rect>,
    /// Of each edge.
    pub(super) labels: Vec<Rect>,
    /// Of each edge: the points it goes through, from its caller on.
    pub(super) routes: Vec<Vec<(f64, f64)>>,
}

/// A box by its middle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

/// Between two columns, where lines bend.
const GAP: f64 = 26.0;
/// Between two things of one column.
const AIR: f64 = 16.0;
/// Between two lines that meet a box.
const PORT: f64 = 16.0;
/// The least height of a box.
const BOX: f64 = 40.0;
/// What an edge takes where it only goes through.
const THREAD: f64 = 8.0;
const MARGIN: f64 = 8.0;
/// So often all columns are put in order, and so often moved.
const ROUNDS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Service(usize),
    Words(usize),
    Thread,
}

struct Node {
    what: What,
    column: usize,
    w: f64,
    h: f64,
    y: f64,
}

struct Net {
    nodes: Vec<Node>,
    /// Neighbours to the left, and to the right.
    left: Vec<Vec<usize>>,
    right: Vec<Vec<usize>>,
    /// The nodes of each edge, from left to right, its ends included.
    chains: Vec<Vec<usize>>,
    columns: Vec<Vec<usize>>,
}

/// Places everything.
pub(super) fn layout(sizes: &Sizes) -> Layout {
    let pairs: Vec<(usize, usize)> = sizes.edges.iter().map(|(from, to, ..)| (*from, *to)).collect();
    let found = layers(sizes.boxes.len(), &pairs);
    let mut net = net(sizes, &found.of);
    net.order();
    net.settle();
    let (places, width) = net.across();
    let height = net.lift();
    let rect = |node: usize| {
        let node = &net.nodes[node];
        Rect { x: places[node.column].0 + places[node.column].1 / 2.0, y: node.y, w: node.w, h: node.h }
    };
    let mut layout = Layout {
        width,
        height,
        boxes: vec![Rect::default(); sizes.boxes.len()],
        labels: vec![Rect::default(); sizes.edges.len()],
        routes: Vec::new(),
    };
    for (n, node) in net.nodes.iter().enumerate() {
        match node.what {
            What::Service(place) => layout.boxes[place] = rect(n),
            What::Words(place) => layout.labels[place] = rect(n),
            What::Thread => {}
        }
    }
    layout.routes = net
        .chains
        .iter()
        .enumerate()
        .map(|(edge, _)| {
            let mut points = net.route(edge, &rect, &places);
            if found.back[edge] {
                points.reverse();
            }
            points
        })
        .collect();
    layout
}

fn net(sizes: &Sizes, layer: &[usize]) -> Net {
    let service = |(place, w): (usize, &f64)| Node {
        what: What::Service(place),
        column: layer[place] * 2,
        w: *w,
        h: BOX,
        y: 0.0,
    };
    let mut nodes: Vec<Node> = sizes.boxes.iter().enumerate().map(service).collect();
    let mut chains = Vec::new();
    for (edge, (from, to, w, h)) in sizes.edges.iter().enumerate() {
        let back = layer[*from] > layer[*to];
        let (first, last) = if back { (*to, *from) } else { (*from, *to) };
        let (begin, end) = (layer[first] * 2, layer[last] * 2);
        // The words stand next to the caller.
        let words = if back { end - 1 } else { begin + 1 };
        let mut chain = vec![first];
        for column in begin + 1..end.max(begin + 2) {
            let (what, w, h) =
                if column == words { (What::Words(edge), *w, *h) } else { (What::Thread, 0.0, THREAD) };
            nodes.push(Node { what, column, w, h, y: 0.0 });
            chain.push(nodes.len() - 1);
        }
        if first != last {
            chain.push(last);
        }
        chains.push(chain);
    }
    let mut columns = vec![Vec::new(); nodes.iter().map(|node| node.column + 1).max().unwrap_or(0)];
    let (mut left, mut right) = (vec![Vec::new(); nodes.len()], vec![Vec::new(); nodes.len()]);
    for chain in &chains {
        for pair in chain.windows(2) {
            right[pair[0]].push(pair[1]);
            left[pair[1]].push(pair[0]);
        }
    }
    for (n, node) in nodes.iter_mut().enumerate() {
        columns[node.column].push(n);
        if matches!(node.what, What::Service(_)) {
            // One that calls itself has two lines on its right.
            let itself = chains.iter().filter(|chain| chain.len() == 2 && chain[0] == n).count();
            let lines = left[n].len().max(right[n].len() + itself) as f64;
            node.h = BOX.max((lines - 1.0) * PORT + 20.0);
        }
    }
    Net { nodes, left, right, chains, columns }
}

impl Net {
    /// Puts each column in the order of the neighbours, from the left and from the right in turns.
    fn order(&mut self) {
        let mut place = vec![0.0; self.nodes.len()];
        for column in &self.columns {
            for (n, node) in column.iter().enumerate() {
                place[*node] = n as f64;
            }
        }
        let count = self.columns.len();
        for round in 0..ROUNDS {
            let rightward = round % 2 == 0;
            for step in 1..count {
                let at = if rightward { step } else { count - 1 - step };
                let beside = if rightward { &self.left } else { &self.right };
                let mean = |node: &usize| mean(beside[*node].iter().map(|other| place[*other]));
                let mut keyed: Vec<(f64, usize)> = self.columns[at]
                    .iter()
                    .enumerate()
                    .map(|(n, node)| (mean(node).unwrap_or(n as f64), *node))
                    .collect();
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
                self.columns[at] = keyed.into_iter().map(|(_, node)| node).collect();
                for (n, node) in self.columns[at].iter().enumerate() {
                    place[*node] = n as f64;
                }
            }
        }
    }

    /// Moves everything as near to the height of its neighbours as the order leaves room for.
    fn settle(&mut self) {
        for column in &self.columns {
            let mut y = 0.0;
            for node in column {
                self.nodes[*node].y = y + self.nodes[*node].h / 2.0;
                y += self.nodes[*node].h + AIR;
            }
        }
        let count = self.columns.len();
        for round in 0..ROUNDS {
            for step in 0..count {
                let at = if round % 2 == 0 { step } else { count - 1 - step };
                let wish = |node: &usize| {
                    let (left, right) = (&self.left[*node], &self.right[*node]);
                    let y = |other: &usize| self.nodes[*other].y;
                    let near = match round {
                        0 => mean(left.iter().map(y)),
                        1 => mean(right.iter().map(y)),
                        _ => mean(left.iter().chain(right).map(y)),
                    };
                    near.unwrap_or(self.nodes[*node].y)
                };
                let wishes: Vec<f64> = self.columns[at].iter().map(wish).collect();
                let heights: Vec<f64> = self.columns[at].iter().map(|node| self.nodes[*node].h).collect();
                for (node, y) in self.columns[at].iter().zip(apart(&wishes, &heights)) {
                    self.nodes[*node].y = y;
                }
            }
        }
    }

    /// The left side and the width of each column, and the width of all.
    fn across(&self) -> (Vec<(f64, f64)>, f64) {
        let mut at = MARGIN;
        let mut places = Vec::new();
        for column in &self.columns {
            let width = column.iter().map(|node| self.nodes[*node].w).fold(0.0, f64::max);
            places.push((at, width));
            at += width + GAP;
        }
        (places, (at - GAP).max(MARGIN) + MARGIN)
    }

    /// Moves all down below the upper margin, and says how high it is.
    fn lift(&mut self) -> f64 {
        let top = self.nodes.iter().map(|node| node.y - node.h / 2.0).fold(f64::INFINITY, f64::min);
        let foot = self.nodes.iter().map(|node| node.y + node.h / 2.0).fold(f64::NEG_INFINITY, f64::max);
        if self.nodes.is_empty() {
            return MARGIN * 2.0;
        }
        self.nodes.iter_mut().for_each(|node| node.y += MARGIN - top);
        foot - top + MARGIN * 2.0
    }

    /// The height at which an edge meets a box, among all that meet it on this side.
    fn port(&self, node: usize, chain: usize, rightside: bool, returning: bool) -> f64 {
        let mut lines: Vec<(f64, usize, bool)> = Vec::new();
        for (n, other) in self.chains.iter().enumerate() {
            let beside = if rightside {
                (other.first() == Some(&node)).then(|| other[1])
            } else {
                (other.len() > 2 && other.last() == Some(&node)).then(|| other[other.len() - 2])
            };
            if let Some(beside) = beside {
                lines.push((self.nodes[beside].y, n, false));
                if other.len() == 2 {
                    lines.push((self.nodes[beside].y, n, true));
                }
            }
        }
        lines.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        let place = lines.iter().position(|(_, n, back)| *n == chain && *back == returning).unwrap_or(0);
        self.nodes[node].y + (place as f64 - (lines.len().max(1) - 1) as f64 / 2.0) * PORT
    }

    fn route(&self, edge: usize, rect: &impl Fn(usize) -> Rect, places: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let chain = &self.chains[edge];
        let first = chain[0];
        let start = rect(first);
        let column_end = |node: usize| {
            let (x, w) = places[self.nodes[node].column];
            (x, x + w)
        };
        let y = self.port(first, edge, true, false);
        let mut points = vec![(start.x + start.w / 2.0, y), (column_end(first).1, y)];
        for node in &chain[1..] {
            let (left, right) = column_end(*node);
            let at = rect(*node);
            match self.nodes[*node].what {
                What::Service(_) => {
                    let y = self.port(*node, edge, false, false);
                    points.extend([(left, y), (at.x - at.w / 2.0, y)]);
                }
                // To itself: no further than to the sign on it.
                What::Words(_) if chain.len() == 2 => points.extend([(left, at.y), (at.x, at.y)]),
                What::Words(_) | What::Thread => points.extend([(left, at.y), (right, at.y)]),
            }
        }
        if chain.len() == 2 {
            // To itself: out to its words, and back.
            let y = self.port(first, edge, true, true);
            points.extend([(column_end(first).1, y), (start.x + start.w / 2.0, y)]);
        }
        points
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// The heights nearest to the wished ones (least squares) at which things of these heights stand in this order, apart. Pools
/// of neighbours that want to be in each other's place move as one.
fn apart(wishes: &[f64], heights: &[f64]) -> Vec<f64> {
    let mut offset = 0.0;
    let offsets: Vec<f64> = heights
        .iter()
        .enumerate()
        .map(|(n, height)| {
            if n > 0 {
                offset += (heights[n - 1] + height) / 2.0 + AIR;
            }
            offset
        })
        .collect();
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (wish, offset) in wishes.iter().zip(&offsets) {
        let mut pool = (wish - offset, 1);
        while let Some((before, count)) = pools.pop_if(|(before, _)| *before > pool.0) {
            let all = count + pool.1;
            pool = ((before * count as f64 + pool.0 * pool.1 as f64) / all as f64, all);
        }
        pools.push(pool);
    }
    let bases = pools.into_iter().flat_map(|(base, count)| std::iter::repeat_n(base, count));
    bases.zip(offsets).map(|(base, offset)| base + offset).collect()
}
