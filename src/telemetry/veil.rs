//! What must not be told: values that stand in texts of events are replaced before anybody reads them. Pure.

use super::event::Event;
use super::services::Did;

/// What stands in place of a hidden value.
const MASK: &str = "***";

/// Values that are never told.
#[derive(Debug, Default)]
pub(crate) struct Veil {
    /// The longest first.
    hidden: Vec<String>,
}

impl Veil {
    /// These are not told either.
    pub(crate) fn hide(&mut self, values: impl IntoIterator<Item = String>) {
        self.hidden.extend(values.into_iter().filter(|value| !value.is_empty()));
        self.hidden.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.hidden.dedup();
    }

    /// The text without any of them.
    pub(crate) fn cover(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            match self.hidden.iter().find_map(|value| rest.strip_prefix(value.as_str())) {
                Some(after) => {
                    out.push_str(MASK);
                    rest = after;
                }
                None => {
                    out.push(next);
                    rest = &rest[next.len_utf8()..];
                }
            }
        }
        out
    }

    /// The event without any of them.
    pub(crate) fn over(&self, mut event: Event) -> Event {
        if self.hidden.is_empty() {
            return event;
        }
        let text = match &mut event {
            Event::Service { did, .. } => match did {
                Did::NotReady { text } | Did::NotStarted { text } => text,
                Did::Log { line, .. } => line,
                _ => return event,
            },
            Event::Deed { text, .. }
            | Event::Undone { text, .. }
            | Event::Probe { text: Some(text), .. }
            | Event::Warning { text }
            | Event::Trouble { text, .. } => text,
            _ => return event,
        };
        *text = self.cover(text);
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_of_events_are_covered() {
        let mut veil = Veil::default();
        veil.hide(["secret".into(), "secret-of-mine".into(), String::new()]);
        let trouble = |text: &str| Event::Trouble { exit: 5, text: text.into() };
        assert_eq!(veil.over(trouble("a secret-of-mine, secret")), trouble("a ***, ***"));
        let probe = |text: &str| Event::Probe {
            probe: "p".parse().unwrap(),
            saw: super::super::services::Saw::Wrong,
            took: 0.0,
            text: Some(text.into()),
        };
        assert_eq!(veil.over(probe("`$.x` is \"secret\"")), probe("`$.x` is \"***\""));
        assert_eq!(Veil::default().over(trouble("secret")), trouble("secret"));
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_told(values in proptest::collection::vec("[a-c]{1,4}", 1..4), text in "[a-d]{0,30}") {
            let mut veil = Veil::default();
            veil.hide(values.clone());
            let told = veil.cover(&text);
            for value in &values {
                prop_assert!(!told.contains(value.as_str()), "{told} tells {value}");
            }
        }
    }
}
