//! How many connections the system has descriptors for.

use super::StartError;
use crate::model::Edge;

/// Connections of callers that an edge takes if neither the file nor the system says less.
const CONNECTIONS: u32 = 10_000;

/// Raises the limit of descriptors, and tells how many connections an edge takes whose file does not say: two descriptors
/// each. Refuses what was asked for and cannot be.
pub(super) fn share_descriptors(edges: &[Edge]) -> Result<u32, StartError> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let asked: u64 = edges.iter().filter_map(|edge| edge.max_connections).map(u64::from).sum();
    let needed = 2 * asked + 64;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(CONNECTIONS) };
    if soft < hard {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    if hard < needed {
        return Err(StartError {
            line: 0,
            text: format!(
                "{asked} connections need {needed} descriptors, and the system allows {hard}: `ulimit -n {needed}`, or lower `max_connections`"
            ),
        });
    }
    let open = edges.iter().filter(|edge| edge.max_connections.is_none()).count().max(1) as u64;
    let share = hard.saturating_sub(needed) / 2 / open;
    Ok(u32::try_from(share).unwrap_or(u32::MAX).clamp(16, CONNECTIONS))
}
