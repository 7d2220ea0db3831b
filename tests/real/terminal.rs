//! On a terminal: a screen while it runs, and the terminal as it was, however it ends.

use super::parts::{Service, wait};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// The other screen of a terminal, and the cursor: on, off.
const SCREEN: [&str; 2] = ["\x1b[?1049h", "\x1b[?1049l"];
const CURSOR: [&str; 2] = ["\x1b[?25l", "\x1b[?25h"];

/// Brownout on a terminal of its own, made by `script`.
struct Terminal {
    script: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: std::thread::JoinHandle<()>,
}

impl Terminal {
    fn start(folder: &Path, args: &str) -> Self {
        let line = format!("stty cols 80 rows 24; exec {} {args}", env!("CARGO_BIN_EXE_brownout"));
        let mut command = Command::new("script");
        command.args(["-qefc", &line, "/dev/null"]).current_dir(folder);
        command
            .env("TERM", "xterm-256color")
            .env_remove("CI")
            .env_remove("NO_COLOR")
            .env_remove("BROWNOUT_COLOR");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut script = command.spawn().expect("script, of util-linux");
        let (mut stdout, shown) = (script.stdout.take().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let kept = shown.clone();
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut piece) {
                kept.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        Self { script, shown, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    fn shows(&self, part: &str) {
        wait(part, || self.text().contains(part).then_some(()));
    }

    fn types(&mut self, keys: &str) {
        self.script.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// The exit code, and all that was written.
    fn end(mut self) -> (Option<i32>, String) {
        let status = wait("the end", || self.script.try_wait().unwrap());
        self.reader.join().unwrap();
        (status.code(), String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned())
    }
}

fn is_given_back(text: &str) -> bool {
    [SCREEN, CURSOR].iter().all(|[on, off]| text.rfind(on).is_some() && text.rfind(on) < text.rfind(off))
}

fn experiment(folder: &Path, fault: &str) -> Service {
    let nginx = Service::nginx();
    let text = format!(
        "name = \"real\"\n[run]\nbaseline = \"1s\"\nfault = \"{fault}\"\nrecovery = \"1s\"\n\
         [[edge]]\nname = \"front\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{}\"\n\
         [load]\nedge = \"front\"\nrate = \"50/s\"\n\
         [[fault]]\nname = \"late\"\nedge = \"front\"\npercent = 30\nlatency = \"50ms\"\n\
         [[expect]]\nedge = \"front\"\nsuccess_rate = \">= 99%\"\n",
        nginx.url()
    );
    std::fs::write(folder.join("x.toml"), text).unwrap();
    nginx
}

#[test]
#[ignore = "with real parts (nginx): ./check real"]
fn a_run_is_a_screen_and_leaves_the_terminal_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let _nginx = experiment(folder.path(), "2s");
    let (code, text) = Terminal::start(folder.path(), "run --admin none x.toml").end();
    assert_eq!(code, Some(0), "{text}");
    assert!(is_given_back(&text), "{text}");
    // of later pictures only what differs is written
    for part in ["MINUTE", "front", "baseline", "HAPPENED"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let after = text.rsplit(SCREEN[1]).next().unwrap();
    for part in ["armed: late", "healed: late", "PASSED"] {
        assert!(after.contains(part), "what happened can still be read: {after}");
    }

    for args in
        ["run --admin none --no-tui x.toml", "run --admin none -q x.toml", "run --admin none x.toml -- true"]
    {
        let folder = tempfile::tempdir().unwrap();
        let _nginx = experiment(folder.path(), "1s");
        let (_, text) = Terminal::start(folder.path(), args).end();
        assert!(!text.contains(SCREEN[0]), "{args}: {text}");
    }
}

#[test]
#[ignore = "with real parts (nginx): ./check real"]
fn ctrl_c_gives_the_terminal_back_once_and_twice() {
    for times in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let _nginx = experiment(folder.path(), "10m");
        let mut terminal = Terminal::start(folder.path(), "run --admin none x.toml");
        terminal.shows(SCREEN[0]);
        terminal.shows("armed");
        (0..times).for_each(|_| terminal.types("\x03"));
        let (code, text) = terminal.end();
        assert_eq!(code, Some(130), "{text}");
        assert!(is_given_back(&text), "{text}");
    }
}
