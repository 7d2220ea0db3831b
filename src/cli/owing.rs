//! The undo ledger of a stage and its keeper: opened when something must be put back, and not before.

use crate::supervise::keeper::{self, Keeper};
use crate::supervise::{Debt, Ledger};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What a stage owes.
#[derive(Debug)]
pub(super) struct Owing {
    state: PathBuf,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    /// Before the keeper: whoever drops both lets the lock go first.
    ledger: Arc<Ledger>,
    keeper: Option<Keeper>,
}

impl Owing {
    /// Nothing yet; it would stand in this state folder.
    pub(super) fn new(state: PathBuf) -> Self {
        Self { state, open: Mutex::new(None) }
    }

    /// The ledger, which is opened if need be.
    pub(super) fn ledger(&self) -> io::Result<Arc<Ledger>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*open {
            return Ok(Arc::clone(&open.ledger));
        }
        let ledger = Arc::new(Ledger::open(&self.state)?);
        let keeper = keeper::start(&ledger, &self.state)
            .inspect_err(|error| {
                tracing::warn!("no keeper ({error}): if this is killed, its next start puts things back");
            })
            .ok();
        *open = Some(Open { ledger: Arc::clone(&ledger), keeper });
        Ok(ledger)
    }

    /// The ledger, if there is one.
    pub(super) fn opened(&self) -> Option<Arc<Ledger>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map(|open| Arc::clone(&open.ledger))
    }

    /// Nobody is left who could undo what is owed: the keeper does, as if Brownout had been killed, once it has ended.
    pub(super) fn leave(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(left)) = open.as_ref().map(|open| open.ledger.end_all()) {
            tracing::warn!("{left}");
        }
    }

    /// The last thing: ends whatever is left of what was started, and closes the ledger. What is still owed stays, for
    /// the next start. The error is a sentence for the user.
    pub(super) fn close(&self) -> Result<(), String> {
        let Some(Open { ledger, keeper }) = self.open.lock().unwrap_or_else(PoisonError::into_inner).take()
        else {
            return Ok(());
        };
        let ended = ledger.end_all();
        let owed = ledger.owed();
        let closed = ledger.close().map_err(|error| error.to_string());
        if let Some(keeper) = keeper {
            keeper.dismiss();
        }
        ended?;
        closed?;
        match owed.iter().find_map(|(_, debt)| match debt {
            Debt::Run { fault, .. } => Some(fault),
            Debt::End { .. } => None,
        }) {
            Some(fault) => Err(format!("fault `{fault}` is not undone: `brownout restore` tries again")),
            None => Ok(()),
        }
    }
}
