//! `brownout restore`: puts back what a dead Brownout left; and what every other command does about it before it begins.

use super::fail;
use crate::supervise::{Restored, Unpayable, keeper, restore};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The exit code when something could not be put back.
const NOT_RESTORED: u8 = 7;

/// The arguments of `brownout restore`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The state folder
    #[arg(long, value_name = "DIR", env = "BROWNOUT_STATE", default_value = ".brownout")]
    state: PathBuf,
    /// Drops what cannot be put back, once it is told
    #[arg(long)]
    forget: bool,
}

/// The arguments of `brownout keeper`.
#[derive(Debug, clap::Args)]
pub struct KeeperArgs {
    /// The state folder
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The one whose end it waits for
    #[arg(long, value_name = "ID")]
    run: Option<String>,
}

/// Puts back; 0 if all of it is, 7 if not.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let unpayable = if args.forget { Unpayable::Forget } else { Unpayable::Keep };
    let Restored { put_back, failures, busy } = restore(&args.state, unpayable);
    let mut says: Vec<String> = put_back.iter().map(|thing| format!("put back: {thing}")).collect();
    if says.is_empty() && failures.is_empty() {
        says.push(format!("there is nothing to put back in `{}`", args.state.display()));
    }
    if busy > 0 {
        says.push(format!("left alone: {busy} of a Brownout that runs"));
    }
    // Nobody to read it is nobody to tell: it is put back.
    let _ = writeln!(out, "{}", says.join("\n"));
    for failure in &failures {
        let word = if args.forget { "forgotten" } else { "error" };
        let _ = writeln!(err, "{word}: {}", failure.text);
    }
    if failures.is_empty() || args.forget { 0 } else { NOT_RESTORED }
}

/// Before anything is started: puts back what a dead one left.
///
/// # Errors
/// The exit code, if that is not possible: nothing may be started.
pub(super) fn first(state: &Path) -> Result<(), u8> {
    let Restored { put_back, failures, .. } = restore(state, Unpayable::Keep);
    for thing in put_back {
        anstream::eprintln!("put back: {thing}");
    }
    if failures.is_empty() {
        return Ok(());
    }
    for failure in failures {
        let _ = fail(failure.exit, &failure.text);
    }
    let state = state.to_string_lossy();
    let state = shlex::try_quote(&state).unwrap_or_default();
    let text = format!(
        "nothing was started, because the above was not put back: do it by hand, then `brownout restore --state {state} \
         --forget`"
    );
    Err(fail(NOT_RESTORED, &text))
}

/// Watches a Brownout, and puts back what it leaves.
pub fn keep(args: &KeeperArgs) -> u8 {
    keeper::keep(&args.state, args.run.as_deref());
    0
}
