//! Pictures: from what an edge did to SVG. The report and the live page draw with the same functions.
//!
//! Pure: the same input gives the same text. A picture needs no script, is bounded in size whatever the length of a run,
//! takes its colours from custom properties ([`STYLE`]), and says the same without them: by dashes, shapes and words. Every
//! text in it is escaped, whoever wrote it. A page that shows charts holds [`STYLE`] and [`patterns`] once. Knows nothing of
//! reports, experiments and pages.

mod axis;
mod bars;
mod frame;
mod graph;
mod lanes;
mod series;
mod svg;
mod text;
mod time;

pub use bars::bars;
pub use frame::{Band, Frame, Mark};
pub use graph::{Edge, Graph, State, legend};
pub use lanes::{Lane, Stretch, lanes};
pub use series::{Series, Slice};
pub use svg::patterns;
pub use text::{clock, seconds};
pub use time::{in_flight, latency, rate};

/// The style of all charts: custom properties for light and dark, and the classes that the pictures use.
pub const STYLE: &str = include_str!("style.css");

#[cfg(test)]
mod tests;
