//! Every file of `experiments/faults/` between real servers and real clients: what the client saw of each of its faults.

mod answers;
mod bytes;
mod content;
mod gates;

use super::parts::{Brownout, Service, brownout, curl, metric, wait};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// A file, and the test of each of its faults.
type Row = (&'static str, fn(Setup) -> Bench);

const FAMILIES: [&[Row]; 4] = [answers::ROWS, bytes::ROWS, gates::ROWS, content::ROWS];

const FOLDER: &str = "experiments/faults";

/// What nginx serves and passes on beside what it always does.
const LOCATIONS: &str = "
    location /files/ {
        root @; gzip on; gzip_proxied any; gzip_min_length 0; gzip_types application/json;
        types { application/json json; text/html html; application/octet-stream bin; }
    }
    location ~ ^/(app|ws|events|reports|accounts|v1|v2)(/|$) {
        proxy_pass http://PYTHON; proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off;
        client_max_body_size 8m; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;
    }";

/// What a row may change before it starts.
struct Setup {
    file: &'static str,
    sets: Vec<String>,
}

impl Setup {
    /// Another value for a key, as `--set` takes it.
    fn set(mut self, key: &str, value: &str) -> Self {
        self.sets.extend(["--set".to_owned(), format!("{key}={value}")]);
        self
    }

    /// Another upstream for the edge `database`.
    fn database(mut self, service: &Service) -> Self {
        self.sets.extend(["--upstream".to_owned(), format!("database=tcp://{}", service.address)]);
        self
    }

    /// The file is served, all of its faults healed, and each strikes all it matches.
    fn start(self) -> Bench {
        let python = Service::python(include_str!("faults/service.py"));
        let nginx = Service::nginx_with(&LOCATIONS.replace("PYTHON", &python.address.to_string()));
        fs::create_dir(nginx.folder.path().join("files")).unwrap();
        let path = Path::new(FOLDER).canonicalize().unwrap().join(format!("{}.toml", self.file));
        let table: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        let named = |key: &str| -> Vec<&toml::Table> {
            table[key].as_array().unwrap().iter().map(|one| one.as_table().unwrap()).collect()
        };
        let name = |one: &toml::Table| one["name"].as_str().unwrap().to_owned();
        let mut args = ["serve", "--admin", "127.0.0.1:0"].map(String::from).to_vec();
        args.push(path.to_str().unwrap().to_owned());
        let mut set = |key: String| args.extend(["--set".to_owned(), key]);
        set("seed=7".to_owned());
        for edge in named("edge") {
            set(format!("edge.{}.listen=127.0.0.1:0", name(edge)));
        }
        for fault in named("fault") {
            set(format!("fault.\"{}\".armed=false", name(fault)));
            if fault.contains_key("percent") {
                set(format!("fault.\"{}\".percent=100", name(fault)));
            }
            if fault.get("schedule").is_some_and(|schedule| schedule.get("from").is_some()) {
                set(format!("fault.\"{}\".schedule.from=0s", name(fault)));
            }
        }
        args.extend(self.sets);
        args.extend(["--upstream".to_owned(), nginx.url()]);
        let folder = tempfile::tempdir().unwrap();
        let brownout = Brownout::start(folder.path(), &args);
        let front = brownout.address(&format!("edge {}: ", name(named("edge")[0])));
        let database = named("edge").iter().any(|edge| name(edge) == "database");
        let database = database.then(|| brownout.address("edge database: "));
        let admin = brownout.address("admin: ");
        let faults = named("fault").into_iter().map(name).collect();
        let untold = Mutex::new(faults);
        Bench { nginx, python, folder, _brownout: brownout, front, database, admin, untold }
    }
}

/// `brownout serve` of a file, in front of nginx.
struct Bench {
    nginx: Service,
    python: Service,
    folder: tempfile::TempDir,
    _brownout: Brownout,
    front: SocketAddr,
    database: Option<SocketAddr>,
    admin: SocketAddr,
    /// The faults that nothing was asserted of yet.
    untold: Mutex<BTreeSet<String>>,
}

/// What curl saw.
#[derive(Debug)]
struct Got {
    code: i32,
    status: String,
    size: usize,
    seconds: f64,
    head: String,
    body: Vec<u8>,
}

impl Got {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn field(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    fn mark(&self) -> Option<&str> {
        self.field("x-brownout-fault")
    }

    /// curl's exit code and the status.
    fn ended(&self) -> (i32, &str) {
        (self.code, &self.status)
    }
}

impl Bench {
    fn say(&self, what: &str, fault: &str) {
        let admin = self.admin.to_string();
        let ended = brownout(self.folder.path(), &["fault", what, fault, "--admin", &admin]);
        assert_eq!(ended.code, 0, "{what} {fault}: {ended:?}");
    }

    fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        metric(&curl(&[format!("http://{}/metrics", self.admin)]), name, labels)
    }

    fn hits(&self, fault: &str) -> f64 {
        self.metric("brownout_faults_injected_total", &[&format!("fault=\"{fault}\"")])
    }

    fn arm(&self, fault: &str) {
        assert!(self.untold.lock().unwrap().remove(fault), "`{fault}` is in the file, and once in its test");
        self.say("arm", fault);
    }

    /// Heals what has struck somebody.
    fn heal(&self, fault: &str) {
        wait(&format!("a hit of `{fault}`"), || (self.hits(fault) > 0.0).then_some(()));
        self.say("heal", fault);
    }

    /// What is seen while a fault is in force.
    fn under<T>(&self, fault: &str, see: impl FnOnce() -> T) -> T {
        self.arm(fault);
        let seen = see();
        self.heal(fault);
        seen
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.front)
    }

    /// Asks the edge with curl.
    fn get(&self, path: &str, more: &[&str]) -> Got {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "25", "-o", "body", "-D", "head"]);
        command.args(["-w", "%{http_code} %{size_download} %{time_total}"]).args(more).arg(self.url(path));
        let output = command.current_dir(folder.path()).output().expect("curl: `./check tools` installs it");
        let told = String::from_utf8(output.stdout).unwrap();
        let told: Vec<&str> = told.split(' ').collect();
        let read = |name: &str| fs::read(folder.path().join(name)).unwrap_or_default();
        Got {
            code: output.status.code().unwrap(),
            status: told[0].to_owned(),
            size: told[1].parse().unwrap(),
            seconds: told[2].parse().unwrap(),
            head: String::from_utf8_lossy(&read("head")).into_owned(),
            body: read("body"),
        }
    }

    /// So many at once.
    fn crowd(&self, count: usize, path: &str, more: &[&str]) -> Vec<Got> {
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..count).map(|_| scope.spawn(|| self.get(path, more))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        })
    }

    /// Puts a file where nginx serves it.
    fn file(&self, name: &str, content: &[u8]) {
        fs::write(self.nginx.folder.path().join("files").join(name), content).unwrap();
    }

    /// How many lines of nginx's log have a text.
    fn logged(&self, part: &str) -> usize {
        let log = fs::read_to_string(self.nginx.folder.path().join("access.log")).unwrap();
        log.lines().filter(|line| line.contains(part)).count()
    }

    /// What the Python service has seen, asked behind the edge's back.
    fn stats(&self, key: &str) -> u64 {
        let text = curl(&[format!("{}/app/stats", self.python.url())]);
        serde_json::from_str::<Value>(&text).unwrap()[key].as_u64().unwrap()
    }

    /// Starts one of the clients of `client.py` at the edge.
    fn spawn(&self, what: &str, args: &[&str]) -> Child {
        let mut command = Command::new("python3");
        command.args(["-c", include_str!("faults/client.py"), what, &self.front.to_string()]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("python3: `./check tools` installs it")
    }

    /// What such a client saw.
    fn client(&self, what: &str, args: &[&str]) -> Value {
        told(self.spawn(what, args))
    }
}

/// What a client of `client.py` says at its end.
fn told(client: Child) -> Value {
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// How a stream ended for a client, and how many messages came.
fn came(told: &Value) -> (&str, u64) {
    assert_eq!(told["sound"], true, "{told}");
    (told["end"].as_str().unwrap(), told["came"].as_u64().unwrap())
}

/// redis-cli at an address: what it printed.
fn redis(at: SocketAddr, args: &[&str]) -> String {
    let mut command = Command::new("redis-cli");
    command.args(["-h", "127.0.0.1", "-p", &at.port().to_string()]).args(args).stdin(Stdio::null());
    let output = command.output().expect("redis-cli: `./check tools` installs it");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim_end().to_owned()
}

/// Bytes that no compression and no accident leaves as they are.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..length).map(next).collect()
}

/// All files of a family beside each other.
fn family(rows: &'static [Row]) {
    std::thread::scope(|scope| {
        for (file, test) in rows {
            scope.spawn(move || {
                let bench = test(Setup { file, sets: Vec::new() });
                let untold = bench.untold.lock().unwrap();
                assert!(untold.is_empty(), "{file}.toml: nothing is asserted of {untold:?}");
            });
        }
    });
}

#[test]
fn each_file_has_a_test_with_real_parts() {
    let files = fs::read_dir(FOLDER).unwrap().map(|file| file.unwrap().path());
    let files: BTreeSet<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let rows: Vec<String> = FAMILIES.concat().iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(rows.len(), rows.iter().collect::<BTreeSet<_>>().len(), "each once: {rows:?}");
    assert_eq!(files, rows.into_iter().collect());
}

#[test]
#[ignore = "with real parts (nginx, python3, Redis, curl): ./check real"]
fn answers_are_late_missing_cut_false_or_from_elsewhere() {
    family(answers::ROWS);
}

#[test]
#[ignore = "with real parts (nginx, python3, Redis, curl): ./check real"]
fn bytes_are_slow_few_endless_or_wrong() {
    family(bytes::ROWS);
}

#[test]
#[ignore = "with real parts (nginx, python3, PostgreSQL, Redis, curl): ./check real"]
fn gates_turn_away_and_let_wait() {
    family(gates::ROWS);
}

#[test]
#[ignore = "with real parts (nginx, python3, curl): ./check real"]
fn content_is_another_older_or_asked_for_twice() {
    family(content::ROWS);
}
