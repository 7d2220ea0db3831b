//! `brownout halt`: the kill switch of a running Brownout.

use super::client::{Failed, Target};
use serde_json::json;
use std::io::Write;

/// Heals every fault of a running Brownout at once; nothing can be armed until it is lifted.
#[derive(clap::Args, Debug, Default)]
pub struct Args {
    /// Lifts the halt: faults can be armed again.
    #[arg(long)]
    pub lift: bool,
}

/// Halts, or lifts; 0 if done, 5 if nobody answers.
pub fn run(args: &Args, target: &Target, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let path = if args.lift { "/api/v1/halt/lift" } else { "/api/v1/halt" };
    let says = match target.post(path, &json!({})) {
        Ok(answer) if answer["halted"] == args.lift => {
            let failed = Failed::Nobody(format!("it answered `{answer}`: the switch did not move"));
            failed.tell(err);
            return failed.exit();
        }
        Ok(answer) if target.json => answer.to_string(),
        Ok(_) if args.lift => "lifted: faults can be armed again".into(),
        Ok(_) => {
            "halted: every fault is healed, and none can be armed until `brownout halt --lift`".to_owned()
        }
        Err(failed) => {
            failed.tell(err);
            return failed.exit();
        }
    };
    if writeln!(out, "{says}").is_err() { 5 } else { 0 }
}
