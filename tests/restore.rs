//! What Brownout starts and does is put back, however it ends: by its keeper, by its next start, by `brownout restore`.

use crate::support::eventually;
use brownout::model::Hook;
use brownout::supervise::{Debt, Ledger, Unpayable, hook, restore};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

const FILE: &str = r#"
    name = "killed"
    [run]
    baseline = "10m"
    fault    = "1s"
    recovery = "1s"
    [[edge]]
    name     = "a"
    listen   = "127.0.0.1:0"
    upstream = "http://127.0.0.1:1"
    [[fault]]
    name    = "f"
    edge    = "a"
    match   = "all"
    respond = { status = 503 }
"#;

/// Leaves its group, its session, its environment, and does not listen; tells the marker when all of that is done.
const TREE: &str = "trap '' TERM HUP INT; setsid sh -c 'echo s >> up; exec sleep 600' & \
    env -i PATH=$PATH sh -c 'echo e >> up; exec sleep 600' & (sh -c 'echo o >> up; exec sleep 600' &) ; \
    while test \"$(cat up 2>/dev/null | wc -l)\" -lt 3; do :; done; echo $BROWNOUT_RUN > id.new; mv id.new id; \
    while :; do sleep 600; done";

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::write(home.path("x.toml"), FILE).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("BROWNOUT_WORKERS", "1").current_dir(self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn done(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = self.command(arguments);
        let Output { status, stdout, stderr } =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }

    /// A run whose command has brought up its whole tree, and the marker of all of it.
    fn run(&self) -> (Child, String) {
        let arguments = ["run", "x.toml", "--admin", "none", "-q", "--", "sh", "-c", TREE];
        let child = self.command(&arguments).process_group(0).spawn().unwrap();
        eventually("the command has told its marker", || self.path("id").exists());
        let id = fs::read_to_string(self.path("id")).unwrap().trim().to_owned();
        assert_eq!(id.len(), 32, "{id}");
        (child, id)
    }

    fn ledgers(&self) -> Vec<PathBuf> {
        match fs::read_dir(self.path(".brownout/ledger")) {
            Ok(folder) => folder.map(|entry| entry.unwrap().path()).collect(),
            Err(_) => Vec::new(),
        }
    }
}

fn processes() -> Vec<u32> {
    let name = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    fs::read_dir("/proc").unwrap().filter_map(|entry| name(entry.ok()?)).collect()
}

fn words(pid: u32, file: &str) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Those that carry the marker, and what stands in the folder of the test: it has no environment to be known by.
fn left(id: &str, folder: &Path) -> Vec<u32> {
    let marker = format!("BROWNOUT_RUN={id}");
    let here = |pid: &u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder);
    processes().into_iter().filter(|pid| words(*pid, "environ").contains(&marker) || here(pid)).collect()
}

fn keeper(id: &str) -> Option<u32> {
    let is = |pid: &u32| {
        let words = words(*pid, "cmdline");
        words.get(1).is_some_and(|word| word == "keeper") && words.iter().any(|word| word == id)
    };
    processes().into_iter().find(is)
}

fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn a_run_that_is_killed_leaves_nothing_its_keeper_sees_to_it() {
    let home = Home::new();
    let (mut run, id) = home.run();
    assert!(left(&id, home.0.path()).len() >= 5, "{:?}", left(&id, home.0.path()));
    let keeper = keeper(&id).unwrap();
    assert!(!words(keeper, "environ").iter().any(|word| word.starts_with("BROWNOUT_RUN=")));
    let open: Vec<PathBuf> = fs::read_dir(format!("/proc/{keeper}/fd"))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap_or_default())
        .collect();
    let pipes = open.iter().filter(|path| path.to_string_lossy().starts_with("pipe:")).count();
    let nothing = open.iter().filter(|path| *path == Path::new("/dev/null")).count();
    assert_eq!((pipes, nothing, open.len()), (1, 2, 3), "{open:?}");
    // It does not listen to what ends others.
    for signal in ["INT", "TERM", "HUP"] {
        assert!(Command::new("kill").args(["-s", signal, &keeper.to_string()]).status().unwrap().success());
    }
    run.kill().unwrap();
    run.wait().unwrap();
    eventually("nothing is left", || left(&id, home.0.path()).is_empty());
    eventually("the keeper ends", || self::keeper(&id).is_none());
    assert_eq!(home.ledgers(), [] as [PathBuf; 0]);
}

#[test]
fn with_its_keeper_killed_too_restore_does_it() {
    let home = Home::new();
    let (mut run, id) = home.run();
    kill(keeper(&id).unwrap());
    eventually("the keeper is waited for", || keeper(&id).is_none());
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(left(&id, home.0.path()).len() >= 4);
    assert_eq!(home.ledgers().len(), 1);

    let (code, out, err) = home.done(&["restore"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.starts_with("put back: the command `sh`: ") && out.ends_with(" processes ended\n"), "{out}");
    assert_eq!(left(&id, home.0.path()), [] as [u32; 0]);
    assert_eq!(home.ledgers(), [] as [PathBuf; 0]);
    let (code, out, _) = home.done(&["restore"]);
    assert_eq!((code, out.as_str()), (Some(0), "there is nothing to put back in `.brownout`\n"));
}

#[test]
fn the_next_start_does_it_first() {
    let home = Home::new();
    let (mut run, id) = home.run();
    kill(keeper(&id).unwrap());
    run.kill().unwrap();
    run.wait().unwrap();
    fs::write(home.path("broken.toml"), "name =").unwrap();
    let (code, _, err) = home.done(&["run", "broken.toml"]);
    assert_eq!(code, Some(2));
    assert!(err.starts_with("put back: the command `sh`: "), "{err}");
    assert_eq!(left(&id, home.0.path()), [] as [u32; 0]);
}

#[test]
fn a_run_that_ends_leaves_no_ledger_and_one_without_a_command_no_state() {
    let home = Home::new();
    let short = ["--set", "run.baseline=100ms", "--set", "run.fault=100ms", "--set", "run.recovery=0s"];
    let run = [&["run", "x.toml", "--admin", "none", "--allow-vacuous"][..], &short].concat();
    let (code, _, err) = home.done(&run);
    assert_eq!(code, Some(0), "{err}");
    assert!(!home.path(".brownout").exists());

    let leaves = "setsid sh -c 'echo $BROWNOUT_RUN > id; exec sleep 600' & while ! test -s id; do :; done";
    let (code, _, err) = home.done(&[&run[..], &["--", "sh", "-c", leaves]].concat());
    assert_eq!(code, Some(0), "{err}");
    let id = fs::read_to_string(home.path("id")).unwrap();
    assert_eq!(left(id.trim(), home.0.path()), [] as [u32; 0]);
    assert_eq!((home.ledgers(), keeper(id.trim())), (Vec::new(), None));
}

#[test]
fn values_of_the_environment_are_told_by_name() {
    let home = Home::new();
    // Its own environment is what a file's `${env.NAME}` is filled in from.
    let secret = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let ledger = Ledger::open(&home.path(".brownout")).unwrap();
    let argv = ["sh", "-c", &format!("echo got {secret}; exit 1")].map(str::to_owned).to_vec();
    let within = Duration::from_secs(60);
    ledger.owe(Debt::Run { fault: "stall".into(), service: "db".into(), argv, within }).unwrap();
    drop(ledger);
    let (code, _, err) = home.done(&["restore"]);
    assert_eq!(code, Some(7));
    let shown = "`sh -c 'echo got ${env.CARGO_MANIFEST_DIR}; exit 1'` ended with exit code 1\n  | got ${env.CARGO_MANIFEST_DIR}\n";
    assert!(err.contains(shown), "{err}");
    let hidden = err.replace(&format!("(cd {secret} "), "");
    assert!(!hidden.contains(&secret), "{err}");
}

#[test]
fn what_cannot_be_put_back_stops_every_start_until_it_is_forgotten() {
    let home = Home::new();
    let ledger = Ledger::open(&home.path(".brownout")).unwrap();
    let argv = ["sh", "-c", "echo it is locked; exit 4"].map(str::to_owned).to_vec();
    let within = Duration::from_secs(60);
    ledger.owe(Debt::Run { fault: "stall".into(), service: "db".into(), argv, within }).unwrap();

    let (code, out, _) = home.done(&["restore"]);
    assert_eq!(code, Some(0), "its owner lives");
    assert!(out.ends_with("left alone: 1 of a Brownout that runs\n"), "{out}");
    ledger.close().unwrap();
    drop(ledger);

    for command in [
        &["restore"][..],
        &["run", "x.toml"],
        &["serve", "x.toml"],
        &["proxy", "--upstream", "http://127.0.0.1:1"],
    ] {
        let (code, _, err) = home.done(command);
        assert_eq!(code, Some(7), "{command:?}: {err}");
        for words in [
            "error: fault `stall` on service `db` could not be undone: `sh -c 'echo it is locked; exit 4'` ended with exit code 4",
            "\n  | it is locked\nby hand: (cd /",
            " && sh -c 'echo it is locked; exit 4')",
        ] {
            assert!(err.contains(words), "{command:?}: {err}");
        }
    }
    assert!(!home.path("runs").exists(), "nothing was started");
    let (code, _, err) = home.done(&["restore", "--forget"]);
    assert_eq!(code, Some(0));
    assert!(err.starts_with("forgotten: fault `stall`"), "{err}");
    assert_eq!(home.ledgers(), [] as [PathBuf; 0]);
}

#[test]
fn a_file_that_cannot_be_understood_is_told_and_one_of_others_is_not_obeyed() {
    let home = Home::new();
    let state = home.path(".brownout");
    let ledger = Ledger::open(&state).unwrap();
    let touch = |name: &str| {
        let argv = vec!["touch".to_owned(), home.path(name).display().to_string()];
        Debt::Run { fault: name.into(), service: "db".into(), argv, within: Duration::from_secs(60) }
    };
    ledger.owe(touch("done")).unwrap();
    drop(ledger);
    let path = home.ledgers().remove(0);
    let whole = fs::read(&path).unwrap();
    let append =
        |bytes: &[u8]| fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(bytes).unwrap();

    // Others could have written it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let restored = restore(&state, Unpayable::Keep);
    assert!(restored.failures[0].text.contains("is not for you alone"), "{restored:?}");
    assert!(path.exists() && !home.path("done").exists());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();

    // What can be read of it is done, and it is kept.
    append(b"what is this\n");
    let restored = restore(&state, Unpayable::Keep);
    assert!(restored.failures[0].text.contains("(line 3 is not an entry)"), "{restored:?}");
    assert_eq!((restored.failures[0].exit, restored.put_back.len()), (7, 1));
    assert!(path.exists() && home.path("done").exists());
    assert!(restore(&state, Unpayable::Keep).put_back.is_empty(), "it is paid");

    // What a crash tore off is not missed.
    fs::remove_file(home.path("done")).unwrap();
    fs::write(&path, whole).unwrap();
    append(b"{\"paid\":{\"id\":1}}");
    let restored = restore(&state, Unpayable::Keep);
    assert_eq!((restored.failures, restored.put_back.len()), (Vec::new(), 1));
    assert!(!path.exists() && home.path("done").exists());

    // A link leads nowhere, and what has another name is not a ledger.
    let link = state.join("ledger").join("0".repeat(32) + ".jsonl");
    std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
    assert_eq!(restore(&state, Unpayable::Keep).failures.len(), 1);
    assert_eq!(restore(&state, Unpayable::Forget).failures.len(), 1);
    assert_eq!(restore(&state, Unpayable::Keep), brownout::supervise::Restored::default());
}

/// Not a test: what [`wherever_it_is_killed`] kills. It owes, starts, applies and undoes without end.
#[test]
#[ignore = "it is started by another test, and never ends"]
fn helper() {
    let Some(home) = std::env::var_os("HELPER_HOME").map(PathBuf::from) else { return };
    let (fault, service) = ("f".parse().unwrap(), "s".parse().unwrap());
    loop {
        let ledger = Ledger::open(&home.join("state")).unwrap();
        ledger.owe(Debt::End { what: "tree".into() }).unwrap();
        let (name, value) = ledger.marker();
        let script = "setsid sleep 600 & (sleep 600 &); exec sleep 600";
        let mut tree = Command::new("sh");
        let mut tree = tree.args(["-c", script]).env(name, value).process_group(0).spawn().unwrap();
        ledger.child(tree.id());
        let argv = |words: [&str; 2]| words.map(str::to_owned).to_vec();
        let on = home.join("on").display().to_string();
        let hook = Hook {
            apply: argv(["touch", &on]),
            undo: ["rm", "-f", &on].map(str::to_owned).to_vec(),
            within: Duration::from_secs(60),
        };
        let (applied, done) = hook::apply(&ledger, &fault, &service, &hook).unwrap();
        done.unwrap();
        println!("{value}");
        applied.undo(&ledger).unwrap();
        ledger.end_all().unwrap();
        tree.wait().unwrap();
        ledger.close().unwrap();
    }
}

fn spin(rounds: u64) {
    (0..rounds).for_each(|_| std::hint::spin_loop());
}

#[test]
fn wherever_it_is_killed() {
    use std::hash::{BuildHasher, Hasher};
    let draw = || std::hash::RandomState::new().build_hasher().finish();
    let home = Home::new();
    let state = home.path("state");
    let (mut applied, mut alive) = (0, 0);
    for round in 0..30 {
        let mut helper = Command::new(std::env::current_exe().unwrap());
        helper
            .args(["--exact", "restore::helper", "--ignored", "--nocapture"])
            .env("HELPER_HOME", home.0.path());
        helper.current_dir(home.0.path()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut helper = helper.spawn().unwrap();
        let mut said = BufReader::new(helper.stdout.take().unwrap());
        eventually("it has begun", || home.path("state/ledger").exists());
        if round % 3 == 0 {
            marker_of(&mut said);
        } else {
            spin(draw() % 3_000_000);
        }
        helper.kill().unwrap();
        helper.wait().unwrap();
        applied += u32::from(home.path("on").exists());
        alive += u32::from(!left("nobody", home.0.path()).is_empty());
        // Whoever puts back may be killed as well, and be two at once.
        let mut others: Vec<Child> = (0..draw() % 3)
            .map(|_| home.command(&["restore", "--state", "state"]).spawn().unwrap())
            .collect();
        spin(draw() % 3_000_000);
        for other in &mut others {
            if draw() % 2 == 0 {
                other.kill().unwrap();
            }
        }
        let restored = restore(&state, Unpayable::Keep);
        assert_eq!((restored.failures, restored.busy), (Vec::new(), 0), "round {round}");
        for mut other in others {
            other.wait().unwrap();
        }
        assert!(!home.path("on").exists(), "round {round}: a hook is left");
        let left = left("nobody", home.0.path());
        let names: Vec<_> = left.iter().map(|pid| words(*pid, "cmdline")).collect();
        assert!(left.is_empty(), "round {round}: {names:?}");
        let ledgers: Vec<_> = fs::read_dir(state.join("ledger")).unwrap().collect();
        assert!(ledgers.is_empty(), "round {round}: {ledgers:?}");
    }
    assert!(applied > 0 && alive > 0, "it was never killed while there was something to put back");
}

/// Reads until it tells a marker: a hook is applied.
fn marker_of(said: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    while said.read_line(&mut line).unwrap() > 0 {
        if line.trim().len() == 32 {
            return line.trim().to_owned();
        }
        line.clear();
    }
    panic!("it ended");
}
