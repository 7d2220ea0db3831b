//! The real program, in a process of its own: what it costs can be read from the system.

use super::{Client, eventually};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// A running `brownout proxy`.
pub(crate) struct Process {
    child: Child,
    pub(crate) at: SocketAddr,
    pub(crate) admin: SocketAddr,
    _home: tempfile::TempDir,
}

impl Process {
    /// Starts it before an upstream, with further arguments.
    pub(crate) fn before(upstream: SocketAddr, arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_brownout"))
            .args(["proxy", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--upstream", &format!("http://{upstream}")])
            .args(arguments)
            .env_clear()
            .env("BROWNOUT_WORKERS", "2")
            .current_dir(home.path())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let (mut at, mut admin, mut said) = (None, None, String::new());
        while at.is_none() || admin.is_none() {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it did not start: {said}");
            if let Some(rest) = line.strip_prefix("edge proxy: ") {
                at = rest.split(' ').next().unwrap().parse().ok();
            } else if let Some(rest) = line.strip_prefix("admin: http://") {
                admin = rest.split(' ').next().unwrap().parse().ok();
            }
            said.push_str(&line);
        }
        std::thread::spawn(move || lines.lines().map_while(Result::ok).count());
        Self { child, at: at.unwrap(), admin: admin.unwrap(), _home: home }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.at)
    }

    /// The sum of a metric's series.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let answer = Client::connect(self.admin)
            .send(format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin))
            .answer();
        super::sum(answer.text(), name, labels)
    }

    #[track_caller]
    pub(crate) fn wait_metric(&self, name: &str, value: f64) {
        eventually(&format!("{name} is {value}"), || self.metric(name, &[]) == value);
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.id())).unwrap()
    }

    /// Resident memory, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.proc("statm").split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }

    /// Processor time so far, in ticks of 10 ms.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = self.proc("stat");
        let after = stat.rsplit(") ").next().unwrap();
        after.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Lets it have so many descriptors from now on.
    pub(crate) fn limit_descriptors(&self, most: usize) {
        let done = Command::new("prlimit")
            .args([format!("--pid={}", self.id()), format!("--nofile={most}:")])
            .status()
            .unwrap();
        assert!(done.success());
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.id() as i32), signal).unwrap();
    }

    /// Its exit code, once it has ended.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
