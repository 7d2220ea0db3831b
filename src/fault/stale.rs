//! `stale`: an older answer that the upstream really gave, in place of the one that it gave just now.

use super::{Apply, Moment};
use crate::decision::{Decision, Dice, Older, Protocol};
use std::sync::Arc;

/// Answers with the past.
#[derive(Clone, Debug, PartialEq)]
pub struct Stale {
    /// Which past.
    pub older: Arc<Older>,
}

impl Apply for Stale {
    fn apply(&self, moment: &Moment, _dice: &mut Dice, decision: &mut Decision) {
        let content = decision.content.get_or_insert_default();
        content.older.get_or_insert_with(|| (moment.by, self.older.clone()));
    }

    fn fits(&self, protocol: Protocol) -> Result<(), String> {
        match protocol {
            Protocol::Http => Ok(()),
            Protocol::Tcp => {
                Err("a tcp edge knows no answers that could be kept: make its upstream `http://`".into())
            }
        }
    }

    fn action(&self) -> &'static str {
        "stale"
    }
}
