//! `rewrite`: a request or an answer is changed on its way, and still looks well-formed.
//!
//! Validators of the content (`etag`, `content-md5`, `digest`) are left as they are: they are part of the lie.

use super::{Apply, Moment};
use crate::decision::{Changes, Decision, Dice, Protocol};
use std::sync::Arc;

/// Changes content; at least one of the two is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rewrite {
    /// What is done to the request.
    pub request: Option<Arc<Changes>>,
    /// What is done to the answer.
    pub response: Option<Arc<Changes>>,
}

impl Apply for Rewrite {
    fn apply(&self, moment: &Moment, _dice: &mut Dice, decision: &mut Decision) {
        let content = decision.content.get_or_insert_default();
        content.request.extend(self.request.iter().map(|changes| (moment.by, changes.clone())));
        content.response.extend(self.response.iter().map(|changes| (moment.by, changes.clone())));
    }

    fn fits(&self, protocol: Protocol) -> Result<(), String> {
        match protocol {
            Protocol::Http => Ok(()),
            Protocol::Tcp => {
                Err("a tcp edge knows no messages: use `corrupt` or `truncate` for its bytes".into())
            }
        }
    }

    fn action(&self) -> &'static str {
        "rewrite"
    }
}
