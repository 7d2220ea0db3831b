//! What goes wrong with services while Brownout serves, said once: it comes as an event, and explained by the supervisor.

use crate::supervise::Failure;
use crate::units::Name;
use std::collections::VecDeque;

/// So many are remembered.
const MOST: usize = 100;

/// What the supervisor explained, and whose event has not come yet.
#[derive(Debug, Default)]
pub(super) struct Wrong(VecDeque<String>);

impl Wrong {
    /// Failures that the supervisor explains, to be said in its words.
    pub(super) fn explained(&mut self, failures: Vec<Failure>) -> Vec<String> {
        let texts: Vec<String> = failures.into_iter().map(|failure| failure.text).collect();
        self.0.extend(texts.iter().cloned());
        self.0.drain(..self.0.len().saturating_sub(MOST));
        texts
    }

    /// An event that tells of a failure; what is to be said of it, if nobody explained it.
    pub(super) fn told(&mut self, fault: &Name, service: &Name, text: &str) -> Option<String> {
        match self.0.iter().position(|said| said.contains(text)) {
            Some(place) => {
                self.0.remove(place);
                None
            }
            None => Some(format!("fault `{fault}` on service `{service}`: {text}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_said_once() {
        let mut wrong = Wrong::default();
        let name = |text: &str| text.parse::<Name>().unwrap();
        let failure = |text: &str| Failure { exit: 1, text: text.into() };
        let lines =
            wrong.explained(vec![failure("`api` did not end\nthe end of its output:\n  x"), failure("b")]);
        assert_eq!(lines.len(), 2);
        assert_eq!(wrong.told(&name("f"), &name("api"), "did not end"), None);
        let again = wrong.told(&name("f"), &name("api"), "did not end");
        assert_eq!(again.unwrap(), "fault `f` on service `api`: did not end");
        wrong.explained((0..2 * MOST).map(|_| failure("c")).collect());
        assert_eq!(wrong.0.len(), MOST);
    }
}
