//! What SVG is made of: numbers in one decimal, paths, and the fills that all charts share.

use maud::{Markup, Render, html};
use std::fmt::Write;

/// A number of a picture: one decimal, and always finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Px(pub(super) f64);

impl Render for Px {
    fn render_to(&self, buffer: &mut String) {
        push(buffer, self.0);
    }
}

fn push(text: &mut String, value: f64) {
    let tenths = if value.is_finite() { (value * 10.0).round() } else { 0.0 };
    // Never `-0`, and no `.0`.
    let _ = if tenths % 10.0 == 0.0 {
        write!(text, "{}", (tenths / 10.0) as i64)
    } else {
        write!(text, "{:.1}", tenths / 10.0)
    };
}

/// The data of a path.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Path(String);

impl Path {
    pub(super) fn go(&mut self, command: char, numbers: &[f64]) -> &mut Self {
        self.0.push(command);
        for (n, number) in numbers.iter().enumerate() {
            if n > 0 {
                self.0.push(' ');
            }
            push(&mut self.0, *number);
        }
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// The hatchings that charts refer to: a page that shows charts holds them once, before the first.
#[must_use]
pub fn patterns() -> Markup {
    html! {
        svg class="patterns" width="0" height="0" aria-hidden="true" {
            defs {
                pattern id="hatch-client" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect width="5" height="5" class="client-back" {}
                    rect width="2.4" height="5" class="client-line" {}
                }
                pattern id="hatch-injected" width="4" height="4" patternUnits="userSpaceOnUse" {
                    rect width="4" height="4" class="injected-back" {}
                    circle cx="2" cy="2" r="1.1" class="injected-line" {}
                }
                pattern id="hatch-internal" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)" {
                    rect width="5" height="5" class="internal-back" {}
                    rect width="1.4" height="5" class="internal-line" {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_finite() {
        let mut path = Path::default();
        path.go('M', &[1.04, -0.04]).go('L', &[f64::NAN, 12.0]).go('h', &[-3.25]);
        assert_eq!(path.text(), "M1 0L0 12h-3.3");
        assert_eq!(
            html! { rect x=(Px(1e-9)) y=(Px(2.25)) {} }.into_string(),
            r#"<rect x="0" y="2.3"></rect>"#
        );
    }
}
