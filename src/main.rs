//! The `brownout` binary: words in, exit code out.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// A thread or a task of ours has panicked.
static BUG: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        BUG.store(true, Ordering::Relaxed);
        usual(panic);
    }));
    let code = std::panic::catch_unwind(brownout::cli::main).unwrap_or(70);
    ExitCode::from(if BUG.load(Ordering::Relaxed) { 70 } else { code })
}
