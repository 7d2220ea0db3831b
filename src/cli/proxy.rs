//! `brownout proxy --upstream URL …`: one edge and its faults from flags, no file.

use super::fault_table::{New, table};
use super::serve::{self, Live};
use super::{USAGE, fail};
use crate::decision::Protocol;
use crate::model::{FaultSource, Loaded, Overrides, parse, parse_fault};
use std::path::Path;
use std::time::Duration;

/// The name of the only edge.
const EDGE: &str = "proxy";
/// How long faults last if nobody says.
const LIFE: Duration = Duration::from_secs(3600);

/// The arguments of `brownout proxy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where requests go, such as http://127.0.0.1:4000 or tcp://127.0.0.1:5432
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// Where it listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    listen: String,
    /// The listen address may be beyond loopback
    #[arg(long)]
    expose: bool,
    /// The upstream may look like production
    #[arg(long)]
    allow_production: bool,
    /// When the faults heal by themselves: 1h, or `forever`
    #[arg(long, value_name = "TIME", default_value = "1h")]
    ttl: String,
    /// The same seed strikes the same requests
    #[arg(long, value_name = "N", env = "BROWNOUT_SEED")]
    seed: Option<u64>,
    #[command(flatten)]
    new: New,
    #[command(flatten)]
    live: Live,
}

/// Proxies until it is told to stop.
pub fn main(args: &Args) -> u8 {
    let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
    let file = format!(
        "name = \"proxy\"\n[run]\nbaseline = \"1s\"\nfault = \"1s\"\nrecovery = \"1s\"\nallow_production = {}\n\
         [[edge]]\nname = \"{EDGE}\"\nlisten = {}\nupstream = {}\nexpose = {}\n",
        args.allow_production,
        text(&args.listen),
        text(&args.upstream),
        args.expose,
    );
    let overrides = Overrides { seed: args.seed, ..Overrides::default() };
    let mut experiment = match parse(&file, Path::new("(flags)"), &overrides) {
        Ok(Loaded { experiment, .. }) => experiment,
        Err(problems) => {
            anstream::eprint!("{}", problems.render(super::loading::color()));
            return USAGE;
        }
    };
    let protocol = experiment.edges.first().map_or(Protocol::Http, |edge| edge.protocol);
    if args.new.does_something() {
        let new = New { edge: vec![EDGE.to_owned()], ..args.new.clone() };
        let fault = match table(&new, Some(&args.ttl)) {
            Ok(fault) => fault,
            Err(failed) => return fail(failed.exit(), &failed.to_string()),
        };
        match parse_fault(FaultSource::Json(&fault), &[(EDGE.to_owned(), protocol)]) {
            Ok((rule, _)) => experiment.faults.push(rule),
            Err(problems) => {
                anstream::eprint!("{}", problems.render(super::loading::color()));
                return USAGE;
            }
        }
    }
    serve::live(&args.live, &experiment, args.seed, |rule| serve::life(rule, LIFE), None)
}
