//! What the tasks of a supervisor tell its loop.

use super::child::Exit;

/// What tasks tell the actor.
#[derive(Debug)]
pub(super) enum Note {
    Ready {
        unit: usize,
        incarnation: u32,
    },
    Exited {
        unit: usize,
        incarnation: u32,
        exit: Exit,
    },
    /// A hook was applied, or could not be.
    Hooked {
        id: u64,
        done: Result<(), String>,
    },
    /// The hooks of a fault on a service were undone (whether there were any), or could not be.
    Unhooked {
        id: u64,
        done: Result<bool, String>,
    },
    /// Nothing of ours runs any more, or cannot be ended.
    Ended(Result<usize, String>),
}
