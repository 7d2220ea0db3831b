//! Real parts for tests: the binary, nginx, the Python service of `examples/`, curl. Each ends with the value that holds it.

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// No wait of a test is longer: machines of CI are slow, but not for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// An address nobody listens on, and that the system gives to no connection meanwhile: it is below those it picks itself.
pub(crate) fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|port| port.parse().ok()).unwrap_or(32_768u16);
    let low = 10_240.min(first / 2);
    let start = (std::process::id() as u16).wrapping_mul(61);
    for _ in low..first {
        // no two callers are given the same
        let port = low + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % (first - low);
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().unwrap();
        }
    }
    panic!("no port is free");
}

/// Asks until there is an answer.
pub(crate) fn wait<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A process and all it started: they end with this value.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        // A group of its own, so that nothing of it outlives the test.
        let child = command.process_group(0).spawn();
        let child =
            child.unwrap_or_else(|e| panic!("{command:?}: {e}: `./check tools` installs what is needed"));
        Self { child }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The exit code, or 128 + the signal as shells tell it.
    pub(crate) fn code(&mut self) -> i32 {
        let status = wait("the end of a process", || self.child.try_wait().unwrap());
        status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// A service that listens.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    /// Where it lives and writes.
    pub(crate) folder: tempfile::TempDir,
    _process: Process,
}

impl Service {
    fn start(address: SocketAddr, folder: tempfile::TempDir, command: &mut Command) -> Self {
        let process = Process::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
        wait("a service to listen", || TcpStream::connect(address).ok());
        Self { address, folder, _process: process }
    }

    /// nginx with `/` (200), `/broken` (500), `/large` (1 MiB) and an access log.
    pub(crate) fn nginx() -> Self {
        Self::nginx_with("")
    }

    /// The same, with further locations; in them, `@` is its folder.
    pub(crate) fn nginx_with(locations: &str) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free());
        let at = folder.path().display();
        fs::write(folder.path().join("large"), vec![b'x'; 1 << 20]).unwrap();
        let locations = locations.replace('@', &at.to_string());
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;
             events {{ worker_connections 1024; }}
             http {{
               access_log {at}/access.log; keepalive_requests 1000000; default_type text/plain;
               client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;
               uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
               server {{
                 listen {address};
                 location / {{ return 200 'hello\\n'; }}
                 location = /broken {{ return 500; }}
                 location = /json {{
                   gzip on; gzip_proxied any; gzip_min_length 0; gzip_types application/json; default_type application/json;
                   return 200 '{{\"price\": 100, \"tax\": 1.10, \"id\": \"$request_id\"}}';
                 }}
                 location = /large {{ root {at}; }}
                 {locations}
               }}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config).unwrap();
        let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let mut command = Command::new(program);
        let log = folder.path().join("start.log");
        command.args([OsStr::new("-e"), log.as_os_str(), OsStr::new("-c"), file.as_os_str()]);
        command.stderr(Stdio::null());
        Self::start(address, folder, &mut command)
    }

    /// The Python service that the README's tour uses.
    pub(crate) fn shop() -> Self {
        Self::python(&fs::read_to_string("examples/shop.py").unwrap())
    }

    /// A Python service; its first argument is its port.
    pub(crate) fn python(source: &str) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free());
        fs::write(folder.path().join("service.py"), source).unwrap();
        let mut command = Command::new("python3");
        command.args(["service.py", &address.port().to_string()]).current_dir(folder.path());
        Self::start(address, folder, &mut command)
    }

    /// PostgreSQL, empty, with a superuser `postgres` who needs no password. It refuses to run as root.
    pub(crate) fn postgres() -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free());
        let data = folder.path().join("data");
        let (at, port) = (data.to_str().unwrap(), address.port().to_string());
        if nix::unistd::Uid::effective().is_root() {
            let owned = Command::new("chown").arg("postgres").arg(folder.path()).status().unwrap();
            assert!(owned.success());
        }
        let made =
            as_postgres("initdb").args(["-D", at, "-U", "postgres", "-A", "trust", "-N"]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let mut command = as_postgres("postgres");
        command.args(["-D", at, "-p", &port, "-k", at, "-h", "127.0.0.1", "-c", "fsync=off"]);
        let service = Self::start(address, folder, command.stderr(Stdio::null()));
        wait("PostgreSQL to be ready", || service.psql(address, "select 1").ok());
        service
    }

    /// What psql prints for a query at an address, or what it complains of.
    pub(crate) fn psql(&self, at: SocketAddr, query: &str) -> Result<String, String> {
        let output = psql(at, query).output().expect("psql: `./check tools` installs it");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Redis, empty.
    pub(crate) fn redis() -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free());
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""]);
        command.current_dir(folder.path());
        Self::start(address, folder, &mut command)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests nginx has logged.
    pub(crate) fn logged(&self) -> usize {
        fs::read_to_string(self.folder.path().join("access.log")).unwrap().lines().count()
    }
}

/// psql, asked for one query.
pub(crate) fn psql(at: SocketAddr, query: &str) -> Command {
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t", "-h", &at.ip().to_string(), "-p", &at.port().to_string()]);
    command.args(["-U", "postgres", "-d", "postgres", "-c", query]);
    command.env("PGCONNECT_TIMEOUT", "25").stdin(Stdio::null());
    command
}

/// A program of PostgreSQL, as a user who may run it.
fn as_postgres(program: &str) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.map(|version| version.path().join("bin").join(program)).filter(|path| path.exists()).max();
    let program = newest.unwrap_or_else(|| program.into());
    if !nix::unistd::Uid::effective().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program).current_dir("/");
    command
}

/// The lines of a stream, as they come.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn follow(&self, stream: impl Read + Send + 'static) -> std::thread::JoinHandle<()> {
        let lines = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                lines.0.lock().unwrap().push(line);
            }
        })
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

/// A running `brownout`, in a folder of its own.
pub(crate) struct Brownout {
    process: Process,
    stdout: Lines,
    stderr: Lines,
    readers: Vec<std::thread::JoinHandle<()>>,
}

/// How a `brownout` ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Brownout {
    pub(crate) fn start<S: AsRef<OsStr>>(folder: &Path, args: &[S]) -> Self {
        Self::start_with(folder, args, &[])
    }

    /// The same, with more in its environment.
    pub(crate) fn start_with<S: AsRef<OsStr>>(folder: &Path, args: &[S], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brownout"));
        command
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Not the settings of whoever runs the tests.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BROWNOUT_")) {
            command.env_remove(name);
        }
        command.env_remove("CI").env_remove("GITHUB_ACTIONS").env_remove("GITHUB_STEP_SUMMARY");
        command.envs(env.iter().copied());
        let mut process = Process::start(&mut command);
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let readers = vec![
            stdout.follow(process.child.stdout.take().unwrap()),
            stderr.follow(process.child.stderr.take().unwrap()),
        ];
        Self { process, stdout, stderr, readers }
    }

    /// Waits for a line on standard error.
    pub(crate) fn says(&self, part: &str) -> String {
        wait(&format!("`{part}` in\n{}", self.stderr.text()), || {
            self.stderr.0.lock().unwrap().iter().find(|line| line.contains(part)).cloned()
        })
    }

    /// The address in a line such as `edge front: 127.0.0.1:9000 → …` or `admin: http://127.0.0.1:8475`.
    pub(crate) fn address(&self, before: &str) -> SocketAddr {
        let line = self.says(before);
        let rest = line.split(before).nth(1).unwrap().trim_start_matches("http://");
        rest.split_whitespace().next().unwrap().parse().unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end as long as a test may wait for anything; whether it has ended.
    pub(crate) fn ends(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        while self.is_running() && Instant::now() < end {
            std::thread::park_timeout(Duration::from_millis(50));
        }
        !self.is_running()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.process.pid(), signal).unwrap();
    }

    pub(crate) fn end(mut self) -> Ended {
        let code = self.process.code();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Ended { code, stdout: self.stdout.text(), stderr: self.stderr.text() }
    }
}

/// Runs `brownout` to its end.
pub(crate) fn brownout<S: AsRef<OsStr>>(folder: &Path, args: &[S]) -> Ended {
    Brownout::start(folder, args).end()
}

/// `report.json` of the one run in a folder.
pub(crate) fn report(folder: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(results(folder).join("report.json")).unwrap()).unwrap()
}

/// The folder of the one run in a folder.
pub(crate) fn results(folder: &Path) -> PathBuf {
    let runs: Vec<_> = fs::read_dir(folder.join("runs")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs[0].clone()
}

/// What curl printed: `-s -S` and the arguments.
pub(crate) fn curl<S: AsRef<OsStr>>(args: &[S]) -> String {
    let output = Command::new("curl").args(["-sS", "--max-time", "20"]).args(args).output();
    let output = output.expect("curl: `./check tools` installs it");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The status that curl sees.
pub(crate) fn status<S: AsRef<OsStr>>(args: &[S]) -> String {
    let mut all: Vec<&OsStr> = ["-o", "/dev/null", "-w", "%{http_code}"].map(OsStr::new).into();
    all.extend(args.iter().map(AsRef::as_ref));
    curl(&all)
}

/// The sum of all series of a metric whose labels contain all of `labels`.
pub(crate) fn metric(scrape: &str, name: &str, labels: &[&str]) -> f64 {
    let of = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    };
    let values = scrape.lines().filter(of).map(|line| line.rsplit(' ').next().unwrap());
    values.map(|value| value.parse::<f64>().unwrap()).sum()
}
