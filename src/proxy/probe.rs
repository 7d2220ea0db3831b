//! How edges know a request that Brownout makes by itself: by a token that only this process knows.
//!
//! It is told to upstreams by nobody: the field that carries it ends here. A process without probes never looks for it.

use crate::http1::RequestHead;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::OnceLock;

/// The field that carries the token.
pub const HEADER: &str = "x-brownout-probe";

static TOKEN: OnceLock<String> = OnceLock::new();

/// What a probe sends in [`HEADER`]; made by the first who asks.
pub fn token() -> &'static str {
    TOKEN.get_or_init(|| {
        let random = || RandomState::new().hash_one(());
        format!("{:016x}{:016x}", random(), random())
    })
}

/// Whether a request is one of our own.
pub(super) fn is_ours(head: &RequestHead<'_, '_>) -> bool {
    TOKEN.get().is_some_and(|token| head.header(HEADER) == Some(token.as_bytes()))
}
