//! Whole systems of Python services whose habits are known, through the binary: what a run says of them is held against the truth.
//!
//! `systems/run.py` makes any number of random ones (see its header); here are four whose findings do not hang on a machine's
//! mood. Asserted is what cannot flap: nothing is claimed that is not so, and the source is named.

use super::parts::Process;
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};

/// A latency in front of a caller with retries, a hang, an injected failure, and a service that falls ill by itself.
const SEEDS: [u32; 4] = [SLOW, SILENT, FAILING, ILL];
const SLOW: u32 = 11;
const SILENT: u32 = 57;
const FAILING: u32 = 2;
const ILL: u32 = 4;

#[test]
#[ignore = "with real parts (python3), a minute: ./check real"]
fn what_a_run_says_of_systems_whose_truth_is_known_is_so() {
    let folder = tempfile::tempdir().unwrap();
    let seeds = SEEDS.map(|seed| seed.to_string());
    let mut command = Command::new("python3");
    command
        .args(["-I", "-S", "tests/real/systems/run.py", env!("CARGO_BIN_EXE_brownout")])
        .arg(folder.path());
    command.args(&seeds).args(["--side-by-side", "2", "--phases", "6", "8", "7"]);
    let log = folder.path().join("told");
    command.stdin(Stdio::null()).stdout(fs::File::create(&log).unwrap());
    let mut python = Process::start(&mut command);
    while python.is_running() {
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    let all = fs::read_to_string(&log).unwrap();
    assert_eq!(python.code(), 0, "{all}");
    let mut counted = 0;
    for seed in SEEDS {
        let score = fs::read_to_string(folder.path().join(seed.to_string()).join("score.json")).unwrap();
        let told: Value = serde_json::from_str(&score).unwrap();
        let told = told.as_array().unwrap();
        if told.is_empty() {
            // Its services stood still for so long that their own log is no truth.
            continue;
        }
        counted += 1;
        let named = told.iter().any(|one| one[0] == "source" && one[2] == "right");
        assert!(named, "the source of {seed}: {told:#?}\n{all}");
    }
    assert!(counted > 0, "the machine stood still in every run: {all}");
}
