//! A few bars: counts by kind.

use super::svg::Px;
use super::text::width;
use maud::{Markup, html};

const BAR: f64 = 34.0;
const TALL: f64 = 30.0;

/// A bar a kind, with its count over it and its name under it. Small enough to stand in a table.
#[must_use]
pub fn bars(bars: &[(String, u64)], says: &str) -> Markup {
    let most = bars.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1) as f64;
    let slot = bars.iter().map(|(_, count)| width(&count.to_string()) * 9.0 + 6.0).fold(BAR, f64::max);
    let wide = slot * bars.len() as f64;
    let told: Vec<String> = bars.iter().map(|(name, count)| format!("{name}: {count}")).collect();
    let title = format!("{says}: {}", told.join(", "));
    html! {
        svg class="chart bars" width=(Px(wide)) height="56" viewBox=(format!("0 0 {wide:.0} 56")) role="img" aria-label=(title)
            xmlns="http://www.w3.org/2000/svg" {
            title { (title) }
            @for (n, (name, count)) in bars.iter().enumerate() {
                @let height = if *count == 0 { 0.0 } else { (*count as f64 / most * TALL).max(1.0) };
                @let middle = (n as f64 + 0.5) * slot;
                text class="mid" x=(Px(middle)) y=(Px(40.0 - height - 2.5)) { (count) }
                rect class="count" x=(Px(middle - 10.0)) y=(Px(40.0 - height)) width="20" height=(Px(height)) {}
                text class="mid name" x=(Px(middle)) y="52" { (name) }
            }
            line class="axis" x1="0" x2=(Px(wide)) y1="40" y2="40" {}
        }
    }
}
