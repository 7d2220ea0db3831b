//! The `brownout` binary: words in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(brownout::cli::main())
}
