"""What `benches/run` and `benches/count` share: processes that are surely ended, configurations, and readings of /proc.

Everything listens on loopback, on ports that were free a moment ago, and lives in one temporary folder.
"""

import atexit
import ctypes
import glob
import http.client
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TICKS = os.sysconf("SC_CLK_TCK")
BODY = '{"id":"ch_3Nv2","object":"charge","amount":4200,"currency":"eur","status":"succeeded","paid":true}\n'
BIG = 64 << 20


class Missing(Exception):
    """A tool that is not there: the part is left out, and said to be."""


def raise_nofile():
    """As many descriptors as we may have; children inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def go_ahead(task=0):
    try:
        os.sched_setscheduler(task, os.SCHED_RR, os.sched_param(10))
        return True
    except (OSError, AttributeError):
        return False


class Proc:
    """A process and its children: what they use."""

    def __init__(self, lab, name, argv, port=None, env=None):
        self.name, self.port, self.argv = name, port, argv
        self.log = os.path.join(lab.folder, f"{name}-{len(lab.procs)}.log")
        with open(self.log, "wb") as log:
            self.popen = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=lab.folder,
                start_new_session=True, preexec_fn=die_with_parent, env={**os.environ, **(env or {})})
        lab.procs.append(self)

    def pids(self):
        found, look = [], [self.popen.pid]
        while look:
            pid = look.pop()
            found.append(pid)
            for path in glob.glob(f"/proc/{pid}/task/*/children"):
                try:
                    with open(path) as file:
                        look += [int(child) for child in file.read().split()]
                except OSError:
                    pass
        return found

    def cpu(self):
        """User and system time of all threads, in seconds: to the nanosecond where the kernel tells it."""
        total = 0.0
        for pid in self.pids():
            try:
                tasks = os.listdir(f"/proc/{pid}/task")
                spent = sum(int(read(f"/proc/{pid}/task/{task}/schedstat").split()[0]) for task in tasks) / 1e9
            except (OSError, IndexError):
                spent = 0
            if not spent:
                fields = read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
                spent = (int(fields[11]) + int(fields[12])) / TICKS
            total += spent
        return total

    def rss(self):
        """Resident bytes."""
        total = 0
        for pid in self.pids():
            for line in read(f"/proc/{pid}/status").splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1]) * 1024
        return total

    def ready(self, path="/", limit=20.0):
        """Waits until it answers 200."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self.popen.poll() is not None:
                break
            try:
                if status(self.port, path) == 200:
                    return self
            except OSError:
                time.sleep(0.01)
        raise RuntimeError(f"{self.name} did not come up: {read(self.log)[-2000:]}")

    def ahead(self):
        """Lets it run ahead of everything else on the machine, where that is allowed: for measures of time."""
        return all(go_ahead(int(task)) for pid in self.pids() for task in os.listdir(f"/proc/{pid}/task"))

    def stop(self, grace=5.0):
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(grace)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)  # children of a master that did not go
        except (ProcessLookupError, PermissionError):
            pass
        self.popen.wait()


def read(path):
    with open(path) as file:
        return file.read()


def status(port, path="/", limit=5.0):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


def which(name):
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if not found:
        raise Missing(f"`{name}` is not installed")
    return found


class Lab:
    """The temporary folder, the processes in it, and how each is configured."""

    def __init__(self, brownout, workers=2, envoy=None):
        self.brownout_path = os.path.abspath(brownout)
        if not os.access(self.brownout_path, os.X_OK):
            sys.exit(f"{brownout} is not there: cargo build --release, or --brownout PATH")
        self.workers, self.envoy_path = workers, envoy
        self.procs = []
        self.folder = tempfile.mkdtemp(prefix="brownout-bench-")
        os.chmod(self.folder, 0o755)
        atexit.register(self.close)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(143))
        self.nofile = raise_nofile()
        self.client = os.path.join(self.folder, "client")
        subprocess.run(["rustc", "-O", "--edition", "2024", "-o", self.client,
                        os.path.join(HERE, "tool", "client.rs")], check=True)
        self.origin = self.start_origin()

    def close(self):
        for proc in reversed(self.procs):
            proc.stop(grace=2.0)
        self.procs = []
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    # --- who is measured ---

    def start_origin(self):
        """One process of nginx: small answers from memory, large ones by sendfile."""
        with open(os.path.join(self.folder, "big"), "wb") as file:
            file.write(os.urandom(1 << 20) * (BIG >> 20))
        port = free_port()
        self.origin_port = port
        return Proc(self, "origin", self.nginx_argv("origin", 0, f"""
            server {{
                listen 127.0.0.1:{port} backlog=4096;
                keepalive_requests 1000000000; keepalive_timeout 3600s;
                default_type application/json;
                location / {{ return 200 '{BODY.strip()}\\n'; }}
                location = /big {{ root {self.folder}; }}
            }}""", "master_process off;"), port).ready()

    def nginx_argv(self, name, workers, http, extra=""):
        config = self.write(f"{name}-{len(self.procs)}.conf", f"""
            daemon off; {extra} pid {self.folder}/{name}-{len(self.procs)}.pid; error_log stderr crit;
            worker_processes {workers or 1}; worker_rlimit_nofile {self.nofile};
            events {{ worker_connections 9000; }}
            http {{
                access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;
                client_body_temp_path {self.folder}/b; proxy_temp_path {self.folder}/p;
                fastcgi_temp_path {self.folder}/f; uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
                {http}
            }}""")
        return [which("nginx"), "-p", self.folder, "-c", config]

    def brownout(self, faults=(), name="brownout", port=None, prefix=(), workers=None, wait=True):
        """Metrics and admin API are always on; `faults` are tables of a file, and without one it is a plain proxy."""
        port = port or free_port()
        admin = f"127.0.0.1:{free_port()}"
        tables = "".join(f"[[fault]]\nname = \"f{n}\"\nedge = \"proxy\"\n{text}\n" for n, text in enumerate(faults))
        if faults:
            file = self.write(f"{name}-{len(self.procs)}.toml", f"""
name = "bench"
[run]
baseline = "1s"
fault = "1s"
recovery = "1s"
[[edge]]
name = "proxy"
listen = "127.0.0.1:{port}"
upstream = "http://127.0.0.1:{self.origin_port}"
max_held = 20000
max_in_flight = 20000
{tables}""")
            argv = [self.brownout_path, "serve", file]
        else:
            argv = [self.brownout_path, "proxy", "--upstream", f"http://127.0.0.1:{self.origin_port}",
                    "--listen", f"127.0.0.1:{port}"]
        argv = [*prefix, *argv, "--admin", admin, "--state", os.path.join(self.folder, "state")]
        env = {"BROWNOUT_WORKERS": str(workers or self.workers)}
        proc = Proc(self, name, argv, port, env)
        proc.admin = admin
        return proc.ready(limit=90.0) if wait else proc

    def haproxy(self, rules="", times="", name="haproxy", wait=True):
        port = free_port()
        config = self.write(f"{name}-{len(self.procs)}.cfg", f"""
global
    nbthread {self.workers}
    maxconn 9900
defaults
    mode http
    option forwardfor
    http-reuse always
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout http-request 5s
    timeout http-keep-alive 60s
    {times}
frontend front
    bind 127.0.0.1:{port}
    {rules}
    default_backend back
backend back
    server origin 127.0.0.1:{self.origin_port}
""")
        proc = Proc(self, name, [which("haproxy"), "-db", "-f", config], port)
        return proc.ready() if wait else proc

    def nginx(self, name="nginx", wait=True):
        port = free_port()
        proc = Proc(self, name, self.nginx_argv(name, self.workers, f"""
            upstream origin {{
                server 127.0.0.1:{self.origin_port}; keepalive 256; keepalive_requests 1000000000;
            }}
            server {{
                listen 127.0.0.1:{port} backlog=4096 reuseport;
                keepalive_requests 1000000000; keepalive_timeout 3600s;
                location / {{
                    proxy_pass http://origin; proxy_http_version 1.1;
                    proxy_set_header Connection ""; proxy_set_header Host $http_host;
                    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                }}
            }}"""), port)
        return proc.ready() if wait else proc

    def envoy(self, delay=None, match=False, name="envoy", wait=True):
        """With its fault filter: a delay for every request (`match`), or one whose header never comes."""
        if not self.envoy_path:
            raise Missing("no Envoy: --envoy PATH, or --envoy pip")
        port = free_port()
        headers = "" if match else "headers: [{name: x-never, string_match: {exact: never}}]"
        config = self.write(f"{name}-{len(self.procs)}.yaml", f"""
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          generate_request_id: false
          use_remote_address: true
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: origin, timeout: 60s}}}}]
          http_filters:
          - name: envoy.filters.http.fault
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
              max_active_faults: 20000
              {headers}
              delay: {{fixed_delay: {delay or '0.050s'}, percentage: {{numerator: 100}}}}
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: origin
    type: STATIC
    connect_timeout: 2s
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {self.origin_port}}}}}}}
""")
        proc = Proc(self, name, [self.envoy_path, "-c", config, "--concurrency", str(self.workers),
                                 "--disable-hot-restart", "-l", "critical"], port)
        return proc.ready(limit=60.0) if wait else proc

    # --- loads; each returns how much was done ---

    def wrk(self, port, seconds, connections=16, fields=()):
        argv = [which("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s"]
        for field in fields:
            argv += ["-H", field]
        out = subprocess.run([*argv, f"http://127.0.0.1:{port}/"], check=True, capture_output=True, text=True,
                             timeout=seconds + 30).stdout
        if "Non-2xx" in out:
            raise RuntimeError(f"answers were not 200:\n{out}")
        done = next(line for line in out.splitlines() if "requests in" in line)
        return int(done.split()[0])

    def ask(self, port, count, connections=1, fields=""):
        subprocess.run([self.client, "ask", str(port), "/", str(count), str(connections), fields], check=True,
                       timeout=600)
        return count

    def drain(self, port, seconds, connections=4):
        out = subprocess.run([self.client, "drain", str(port), "/big", str(seconds), str(connections)], check=True,
                             capture_output=True, text=True, timeout=seconds + 60)
        return int(out.stdout)

    def pace(self, port, rate, seconds, connections=64):
        out = subprocess.run([self.client, "pace", str(port), "/", str(rate), str(seconds), str(connections)],
                             check=True, capture_output=True, text=True, timeout=seconds + 60,
                             preexec_fn=go_ahead)
        return sorted(float(line) for line in out.stdout.split())

    def held(self, proc, count, settle=1.0):
        """Resident bytes for each of `count` requests that a fault holds at once, on a connection each.

        The process is warm before, and everything of a connection counts: what it adds is the difference to idle.
        """
        time.sleep(0.5)
        before = proc.rss()
        sockets = []
        begun = time.monotonic()
        try:
            for _ in range(count):
                one = socket.create_connection(("127.0.0.1", proc.port), timeout=10)
                one.sendall(b"GET /held HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
                sockets.append(one)
            time.sleep(settle)
            after = proc.rss()
            for one in sockets[:: max(1, count // 500)]:
                one.setblocking(False)
                try:
                    got = one.recv(200)
                    raise RuntimeError(f"{proc.name} did not hold: {got!r} after {time.monotonic() - begun:.1f} s")
                except BlockingIOError:
                    pass
        finally:
            for one in sockets:
                one.close()
        return (after - before) / count


def quantile(ordered, share):
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def quartiles(values):
    values = sorted(values)
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
