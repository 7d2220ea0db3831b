//! The command line: one file a command. Words in, exit code out.

pub mod check;
mod ci;
pub mod client;
mod colour;
pub mod compare;
pub mod demo;
mod door;
pub mod explain;
pub mod fault;
mod fault_table;
pub mod halt;
mod loading;
mod owing;
pub mod proxy;
mod reload;
pub mod report;
pub mod restore;
pub mod run;
pub mod schema;
pub mod serve;
mod signals;
pub mod stage;
mod supervision;
#[cfg(test)]
mod tests;
mod wrong;

use clap::{CommandFactory, Parser, Subcommand};
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

/// What went wrong before a command could say so itself.
const USAGE: u8 = 2;
const ENVIRONMENT: u8 = 5;

/// A chaos proxy: break the edges of a system on purpose, and see how far it falls and whether it comes back.
#[derive(Debug, Parser)]
#[command(name = "brownout", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows a real cascade: embedded services, load and an experiment in one process
    Demo(demo::Args),
    /// Runs experiments to a verdict
    Run(Box<run::Args>),
    /// Proxies one upstream, with faults from flags and no file
    Proxy(Box<proxy::Args>),
    /// Proxies the edges of a file for as long as it lives; faults can be armed and healed
    Serve(serve::Args),
    /// Shows, arms and heals the faults of a running Brownout
    Fault(Remote<fault::Args>),
    /// Heals everything in a running Brownout, and keeps it so until it is lifted
    Halt(Remote<halt::Args>),
    /// Puts back what a Brownout left that was killed: ends what it started, undoes its hooks
    Restore(restore::Args),
    /// Waits for the end of a Brownout, and puts back what it leaves
    #[command(hide = true)]
    Keeper(restore::KeeperArgs),
    /// Looks at experiment files without starting anything
    Check(Local<check::Args>),
    /// Shows who would be struck, without opening a socket
    Explain(Local<explain::Args>),
    /// Tells an old run again, from its journal alone
    Report(report::Args),
    /// Holds two runs against each other: before a change, and after it
    Compare(compare::Args),
    /// Prints the JSON Schema of experiment files, for editors
    Schema(schema::Args),
    /// Prints completions for a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Prints the manual page
    Man,
}

/// A command that talks to a running Brownout.
#[derive(Debug, clap::Args)]
pub struct Remote<A: clap::Args> {
    #[command(flatten)]
    args: A,
    /// The admin address of the one to talk to
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        env = "BROWNOUT_ADMIN",
        default_value = "127.0.0.1:8475"
    )]
    admin: String,
    /// How results are written
    #[arg(long, global = true, value_enum, default_value_t = run::Format::Human, env = "BROWNOUT_FORMAT")]
    format: run::Format,
}

impl<A: clap::Args> Remote<A> {
    fn target(&self) -> client::Target {
        client::Target {
            admin: self.admin.clone(),
            token: std::env::var("BROWNOUT_TOKEN").ok().filter(|token| !token.is_empty()),
            json: self.format == run::Format::Json,
        }
    }
}

/// A command that only looks at files.
#[derive(Debug, clap::Args)]
pub struct Local<A: clap::Args> {
    #[command(flatten)]
    args: A,
    #[command(flatten)]
    file: loading::Flags,
    /// How results are written
    #[arg(long, value_enum, default_value_t = run::Format::Human, env = "BROWNOUT_FORMAT")]
    format: run::Format,
    /// Say more
    #[arg(short, long)]
    verbose: bool,
}

/// Parses the words and does what they say. The exit codes are those of FORMAT §5 of the documentation.
#[must_use]
pub fn main() -> u8 {
    crate::supervise::keeper::known();
    let argv: Vec<String> = loading::told(std::env::args());
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { USAGE } else { 0 };
        }
    };
    log();
    let mut out = anstream::AutoStream::auto(io::stdout());
    let mut err = anstream::AutoStream::auto(io::stderr());
    match cli.command {
        Command::Demo(args) => demo::main(&args, argv),
        Command::Run(args) => run_files(*args, argv),
        Command::Proxy(args) => proxy::main(&args),
        Command::Serve(args) => serve::main(&args),
        Command::Fault(remote) => fault::run(&remote.args, &remote.target(), &mut out, &mut err),
        Command::Halt(remote) => halt::run(&remote.args, &remote.target(), &mut out, &mut err),
        Command::Restore(args) => restore::run(&args, &mut out, &mut err),
        Command::Keeper(args) => restore::keep(&args),
        Command::Check(local) => {
            let flags = check::Flags {
                set: local.file.set(),
                upstream: local.file.upstreams(),
                seed: local.file.seed,
                json: local.format == run::Format::Json,
                verbose: local.verbose,
                color: loading::color(),
                env: &loading::env,
            };
            check::run(&local.args, &flags, &mut out, &mut err)
        }
        Command::Explain(local) => explain::run(&local.args, &local.file, local.format, &mut out, &mut err),
        Command::Report(args) => report::run(&args, &mut out),
        Command::Compare(args) => compare::run(&args, &mut out),
        Command::Schema(args) => schema::run(&args, &mut out, &mut err),
        Command::Completions { shell } => {
            // It panics when nobody reads to the end, so not straight into a pipe.
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "brownout", &mut text);
            let _ = out.write_all(&text);
            0
        }
        Command::Man => match clap_mangen::Man::new(Cli::command()).render(&mut out) {
            Ok(()) => 0,
            Err(_) => ENVIRONMENT,
        },
    }
}

fn run_files(args: run::Args, argv: Vec<String>) -> u8 {
    let plan = match run::plan(args, argv) {
        Ok(plan) => plan,
        Err(text) => return fail(USAGE, &text),
    };
    if let Err(code) = restore::first(&plan.state) {
        return code;
    }
    let files = match run::files(&plan.paths) {
        Ok(files) => files,
        Err(text) => return fail(USAGE, &text),
    };
    let flags = loading::Flags::of(&plan.set, &plan.upstream, plan.seed);
    let Some(experiments) = flags.load_all(&files, plan.quiet) else { return USAGE };
    in_runtime(async {
        let mut signals = signals::ends()?;
        let before = std::cell::RefCell::new(None::<Arc<stage::Standing>>);
        Ok(run::execute(&plan, &experiments, &mut signals, async |experiment, setting| {
            // the kill switch latches over all runs of a folder
            if before.borrow().as_ref().is_some_and(|before| before.control.is_halted()) {
                let text = "the kill switch was used in the run before".to_owned();
                return Err(run::StartError { exit: crate::report::Exit::Environment, text });
            }
            let standing = Arc::new(stage::bring_up(experiment, setting)?);
            *before.borrow_mut() = Some(standing.clone());
            Ok(standing as Arc<dyn crate::run::Stage>)
        })
        .await)
    })
}

/// Runs what is not the data path: on a runtime of its own, on this thread.
fn in_runtime(work: impl Future<Output = io::Result<u8>>) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(ENVIRONMENT, &format!("no runtime: {error}")),
    };
    let code = runtime.block_on(work);
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match code {
        Ok(code) => code,
        Err(error) => fail(ENVIRONMENT, &error.to_string()),
    }
}

/// Says what is wrong.
fn fail(code: u8, text: &str) -> u8 {
    let mut err = anstream::AutoStream::auto(io::stderr());
    let _ = writeln!(err, "error: {text}");
    code
}

/// Warnings of the data path go to standard error; `BROWNOUT_LOG` says which.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("BROWNOUT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .try_init();
}
