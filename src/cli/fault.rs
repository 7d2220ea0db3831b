//! `brownout fault`: shows, arms and heals the faults of a running Brownout.

use super::client::{Failed, Target, fault_path};
use super::fault_table::{New, show, table};
use serde_json::{Map, Value, json};
use std::io::Write;

/// Shows, arms and heals the faults of a running Brownout.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do with faults.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Shows all faults, armed or not.
    List,
    /// Arms a fault of the file by its name, or a new one: `fault arm --edge checkout --latency 200ms --percent 10`.
    Arm(Box<Arm>),
    /// Heals a fault, or all of them.
    Heal {
        /// The fault.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        name: Option<String>,
        /// Heals every fault.
        #[arg(long)]
        all: bool,
    },
}

/// A fault of the file, or a new one.
#[derive(clap::Args, Debug, Default)]
pub struct Arm {
    /// A fault of the file.
    #[arg(value_name = "NAME", conflicts_with = "New")]
    pub fault: Option<String>,
    /// When it heals by itself: at most `1h`, or `forever`.
    #[arg(long, value_name = "TIME")]
    pub ttl: Option<String>,
    /// The keys of a new fault.
    #[command(flatten)]
    pub new: New,
}

/// Does it; 0 if done, 2 if it was refused, 5 if nobody answers.
pub fn run(args: &Args, target: &Target, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let done = match &args.command {
        Command::List => target.get("/api/v1/faults"),
        Command::Arm(arm) => send(arm, target),
        Command::Heal { name: Some(name), .. } => target.post(&fault_path(name, "/heal"), &json!({})),
        Command::Heal { .. } => target.post("/api/v1/heal", &json!({})),
    };
    match done {
        Ok(answer) => {
            let text = if target.json { answer.to_string() } else { show(&args.command, &answer) };
            if writeln!(out, "{}", text.trim_end()).is_err() { 5 } else { 0 }
        }
        Err(failed) => {
            failed.tell(err);
            failed.exit()
        }
    }
}

fn send(arm: &Arm, target: &Target) -> Result<Value, Failed> {
    if let Some(name) = &arm.fault {
        let mut body = Map::new();
        body.extend(arm.ttl.iter().map(|ttl| ("ttl".to_owned(), json!(ttl))));
        return target.post(&fault_path(name, "/arm"), &Value::Object(body));
    }
    if arm.new.edge.is_empty() {
        return Err(Failed::Usage(
            "which fault? Name one of the file, or say what a new one does: `--edge checkout --latency 200ms --percent 10`"
                .into(),
        ));
    }
    target.post("/api/v1/faults", &table(&arm.new, arm.ttl.as_deref())?)
}
