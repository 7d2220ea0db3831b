//! The picture: what goes where in the room there is. Pure; the more room, the more of it.

use super::{Row, SHOWN, Service, Stands, View};
use crate::analysis::{Onset, Recovered, Turn};
use crate::model::Phase;
use crate::report::figures::{clock, fit, number, seconds, share};
use crate::report::told;
use crate::units::Unit;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

/// The heights of a column, from a trickle to the most.
const COLUMNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// A second in which more than this share failed is shown as a bad one.
const BAD: f64 = 0.1;
/// Less room than this is told in a line.
const NARROW: u16 = 40;
/// With as much room, edges are told with both their ends.
const WIDE: u16 = 100;

/// Draws the view into this part of a buffer.
pub fn draw(view: &View, area: Rect, buffer: &mut Buffer) {
    let mut page = Page { area, used: 0, buffer };
    page.line(head(view, area.width));
    page.line(standing(view, area.width));
    if area.width < NARROW {
        return;
    }
    page.gap();
    edges(view, &mut page);
    let services = view.services.iter().map(service).collect::<Vec<_>>();
    // of what happened, a third at least; it is given up first where there is next to no room
    let log = if page.left() < 10 { 0 } else { page.left() / 3 };
    let room = page.left().saturating_sub(log);
    let spread = spread(view, area.width >= WIDE);
    let (mut shown, services) = divide(room, spread, services);
    if !shown.is_empty() {
        page.gap();
        page.title("how it spreads");
        shown.drain(..).for_each(|line| page.line(line));
    }
    if !services.is_empty() {
        page.gap();
        page.title("services");
        services.into_iter().for_each(|line| page.line(line));
    }
    if page.left() >= 3 {
        page.gap();
        page.title("what happened");
        let from = view.lines.len().saturating_sub(usize::from(page.left()));
        for (t, text) in view.lines.iter().skip(from) {
            let time = format!("{:>8}  ", clock(*t));
            page.line(Line::from(vec![time.dim(), Span::raw(text.clone())]));
        }
    }
}

/// The lines that go into this room, each list with a title and a gap; what spreads comes first.
fn divide<'l>(room: u16, spread: Vec<Line<'l>>, services: Vec<Line<'l>>) -> (Vec<Line<'l>>, Vec<Line<'l>>) {
    let room = usize::from(room);
    let first = if spread.is_empty() { 0 } else { spread.len().min(room.saturating_sub(2)) };
    let taken = if first == 0 { 0 } else { first + 2 };
    let second = services.len().min(room.saturating_sub(taken + 2));
    let head = |mut lines: Vec<Line<'l>>, count: usize| {
        lines.truncate(count);
        lines
    };
    (head(spread, first), head(services, second))
}

/// Lines from the top down, each cut to the width.
struct Page<'b> {
    area: Rect,
    used: u16,
    buffer: &'b mut Buffer,
}

impl Page<'_> {
    fn left(&self) -> u16 {
        self.area.height.saturating_sub(self.used)
    }

    fn line(&mut self, line: Line<'_>) {
        if self.left() > 0 {
            line.render(Rect { y: self.area.y + self.used, height: 1, ..self.area }, self.buffer);
            self.used += 1;
        }
    }

    fn gap(&mut self) {
        self.used = self.used.saturating_add(1).min(self.area.height);
    }

    fn title(&mut self, text: &'static str) {
        self.line(Line::from(text.to_uppercase()).style(Style::new().add_modifier(Modifier::BOLD).dim()));
    }
}

fn head(view: &View, width: u16) -> Line<'_> {
    let admin = view.admin.map_or_else(String::new, |admin| format!("http://{admin}  "));
    let right = format!("{admin}seed {}  {}", view.seed, clock(view.now / view.scale));
    let title = view.title.as_deref().map_or_else(String::new, |title| format!("  {title}"));
    let room = usize::from(width).saturating_sub(right.chars().count() + 2 + view.name.chars().count());
    Line::from(vec![
        Span::raw(view.name.clone()).bold(),
        Span::raw(fit(&title, room)),
        "  ".into(),
        right.dim(),
    ])
}

/// The phase with its bar, and what is in force.
fn standing(view: &View, width: u16) -> Line<'_> {
    let Some((phase, from)) = view.phase.filter(|(phase, _)| *phase != Phase::Idle) else {
        return Line::from(if view.phase.is_some() { "ending" } else { "starting" });
    };
    let elapsed = ((view.now - from) / view.scale).max(0.0);
    let style = Style::new().fg(colour(phase)).add_modifier(Modifier::BOLD);
    let mut spans = vec![Span::styled(fit(phase.as_str(), 10), style)];
    match view.lengths.iter().find(|(other, _)| *other == phase).map(|(_, length)| length.as_secs_f64()) {
        Some(length) if length > 0.0 => {
            let cells = usize::from(width / 4).clamp(6, 40);
            let done = ((elapsed / length).min(1.0) * cells as f64) as usize;
            spans.push(Span::styled("█".repeat(done), style));
            spans.push("░".repeat(cells - done).dim());
            spans.push(format!("  {}/{}", clock(elapsed.min(length).floor()), clock(length)).into());
        }
        _ => spans.push(format!("services are being changed, {}", clock(elapsed.floor())).into()),
    }
    if !view.active.is_empty() {
        spans.push("  in force: ".dim());
        spans.push(view.active.join(", ").yellow());
    }
    Line::from(spans)
}

fn colour(phase: Phase) -> Color {
    match phase {
        Phase::Fault | Phase::Apply => Color::Yellow,
        Phase::Recovery | Phase::Restore => Color::Cyan,
        Phase::Idle | Phase::Warmup | Phase::Baseline => Color::Green,
    }
}

fn edges(view: &View, page: &mut Page<'_>) {
    let width = usize::from(page.area.width);
    // rate, success, p95, open, in flight, and the blanks between
    let figures = 8 + 9 + 9 + 7;
    let longest = view.edges.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(4);
    let name = longest.min(24.max(width / 4));
    let state = 9;
    let columns = width.saturating_sub(name + figures + 2 + 1 + state).min(SHOWN);
    let titles = format!("{}{:>8}{:>9}{:>9}{:>7}", fit("EDGE", name), "RATE", "SUCCESS", "P95", "OPEN");
    let minute = if columns >= 8 { format!("  {}", fit("LAST MINUTE", columns)) } else { String::new() };
    page.line(Line::from(format!("{titles}{minute} STATE")).style(Style::new().bold().dim()));
    if view.edges.is_empty() {
        page.line("no edges".into());
    }
    // half of the page at most: what spreads matters more than the last quiet edge
    let room = usize::from(page.left() / 2).max(1);
    let hidden = view.edges.len().saturating_sub(room);
    for row in view.edges.iter().take(if hidden > 0 { room.saturating_sub(1) } else { room }) {
        let (recent, time) = row.recent(view.now);
        let all = recent.requests + recent.injected;
        let failed = recent.failed + recent.injected_failed;
        let well =
            if all == 0 { "–".to_owned() } else { share((all - failed.min(all)) as f64 / all as f64) };
        let p95 = recent.durations.quantile(0.95).map_or_else(|| "–".to_owned(), seconds);
        let rate = number(Unit::PerSecond, (all as f64 / time).round());
        let is_bad = all > 0 && failed as f64 > BAD * all as f64;
        let mut spans = vec![Span::raw(fit(&row.name, name)), format!("{rate:>8}").into()];
        let well = Span::raw(format!("{well:>9}"));
        spans.push(if is_bad { well.red().bold() } else { well });
        spans.push(format!("{p95:>9}{:>7}", row.in_flight.max(row.connections)).into());
        if columns >= 8 {
            spans.push("  ".into());
            spans.extend(minute_of(row, view.now, columns));
        }
        spans.push(" ".into());
        spans.push(state_of(view, row));
        page.line(Line::from(spans));
    }
    if hidden > 0 {
        page.line(Line::from(format!("and {} more", hidden + 1)).dim());
    }
}

/// The last seconds of an edge, a column each; seconds in which many failed are red.
fn minute_of(row: &Row, now: f64, columns: usize) -> Vec<Span<'static>> {
    let count = |window: &crate::telemetry::Window| window.requests + window.injected;
    let most = row.seconds.iter().map(|(_, window)| count(window)).max().unwrap_or(0).max(1);
    let last = now.max(0.0) as u64;
    let of = |back: usize| {
        let second = last.checked_sub(back as u64)?;
        row.seconds.iter().find(|(other, _)| *other == second).map(|(_, window)| window)
    };
    let column = |back: usize| match of(back) {
        Some(window) if count(window) > 0 => {
            let height = (count(window) * 8).div_ceil(most).clamp(1, 8) as usize - 1;
            let failed = (window.failed + window.injected_failed) as f64;
            let column = Span::raw(COLUMNS[height].to_string());
            if failed > BAD * count(window) as f64 { column.red() } else { column.green() }
        }
        _ => Span::raw(" "),
    };
    (0..columns).rev().map(column).collect()
}

fn state_of(view: &View, row: &Row) -> Span<'static> {
    let findings = &view.findings;
    let back = findings.recovery.iter().find(|back| back.edge == row.name).map(|back| back.state);
    match findings.cascade.iter().find(|onset| onset.edge == row.name) {
        Some(_) if back == Some(Recovered::Recovered) => "recovered".cyan(),
        Some(onset) if onset.source => "SOURCE".red().bold(),
        Some(_) => "ill".yellow(),
        None if row.seconds.is_empty() => "silent".dim(),
        None => "calm".green(),
    }
}

/// The cascade and its turns, the earliest first.
fn spread(view: &View, wide: bool) -> Vec<Line<'static>> {
    let route = |name: &str| {
        let row = view.edges.iter().find(|row| wide && row.name == name);
        row.map_or_else(String::new, |row| format!(" ({} → {})", row.from, row.to))
    };
    let line = |onset: &Onset| {
        let name = Span::raw(onset.edge.clone());
        let name = if onset.source { name.red().bold() } else { name.yellow() };
        let why = match (&onset.after, onset.source) {
            (_, true) => ", the source".to_owned(),
            (Some(after), false) => format!(", after {after}"),
            (None, false) => String::new(),
        };
        Line::from(vec![
            format!("{:>8}  ", format!("+{:.1}s", onset.at / view.scale)).dim(),
            name,
            route(&onset.edge).dim(),
            why.into(),
            format!(": {}", told::symptom(onset)).into(),
        ])
    };
    let turn = |turn: &Turn| {
        let at = format!("{:>8}  ", format!("+{:.1}s", turn.at / view.scale)).dim();
        Line::from(vec![
            at,
            Span::raw(turn.edge.clone()).yellow(),
            format!(": {}", told::turned(turn)).into(),
        ])
    };
    let mut all: Vec<(f64, Line<'static>)> =
        view.findings.cascade.iter().map(|onset| (onset.at, line(onset))).collect();
    all.extend(view.findings.turns.iter().map(|one| (one.at, turn(one))));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.into_iter().map(|(_, line)| line).collect()
}

fn service(service: &Service) -> Line<'static> {
    let stands = match service.stands {
        Stands::Starting => "starting".yellow(),
        Stands::Ready => "ready".green(),
        Stands::Paused => "paused".yellow(),
        Stands::Down => "down".red().bold(),
    };
    let mut spans = vec![Span::raw(format!("{}  ", service.name)), stands];
    if service.incarnation > 1 {
        spans.push(format!("  process {}", service.incarnation).dim());
    }
    if !service.drift.is_empty() {
        spans.push(format!("  differs in {}", service.drift.join(", ")).yellow());
    }
    Line::from(spans)
}
