//! The clients that `benches/run` and `benches/count` need beside `wrk`: exact numbers of requests, bytes counted to the
//! last one, and an open loop with time stamps. Standard library only: `rustc -O --edition 2024 client.rs`.
//!
//!     client ask   PORT PATH COUNT CONNECTIONS [FIELDS]   COUNT requests in all, one after another on each connection
//!                                                         (a new one where the answer ends it)
//!     client drain PORT PATH SECONDS CONNECTIONS          downloads for so long; prints the bytes
//!     client pace  PORT PATH RATE SECONDS CONNECTIONS     open loop; prints a line per answer: µs from write to first byte
//!
//! Anything but a 200 with a Content-Length ends it with a failure: a benchmark of errors is none.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| args[place].parse::<f64>().expect("a number");
    let (port, path) = (number(1) as u16, args[2].as_str());
    match args[0].as_str() {
        "ask" => ask(port, path, number(3) as u64, number(4) as u64, args.get(5).map_or("", String::as_str)),
        "drain" => drain(port, path, number(3), number(4) as usize),
        "pace" => pace(port, path, number(3), number(4), number(5) as usize),
        other => panic!("unknown command {other}"),
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    stream
}

fn request(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: bench.example\r\n{}\r\n", fields.replace("\\r\\n", "\r\n")).into_bytes()
}

/// Reads a head; returns the length of the body and how much of it came with the head.
fn head(stream: &mut TcpStream, buffer: &mut [u8]) -> (u64, u64) {
    let (length, have, _) = head_and_end(stream, buffer);
    (length, have)
}

/// The same, and whether the connection ends after it.
fn head_and_end(stream: &mut TcpStream, buffer: &mut [u8]) -> (u64, u64, bool) {
    let mut have = 0;
    loop {
        let read = stream.read(&mut buffer[have..]).expect("an answer in time");
        assert!(read > 0, "closed without an answer");
        have += read;
        if let Some(end) = buffer[..have].windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            assert!(text.starts_with("http/1.1 200"), "not a 200: {text}");
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).expect("a length");
            let ends = text.lines().any(|line| line == "connection: close");
            return (length.trim().parse().expect("a length"), (have - end - 4) as u64, ends);
        }
    }
}

/// Reads the rest of a body, or as much of it as comes before `stop`.
fn rest(stream: &mut TcpStream, buffer: &mut [u8], mut left: u64, stop: &AtomicBool, count: &AtomicU64) {
    while left > 0 && !stop.load(Relaxed) {
        let read = stream.read(buffer).expect("the body in time") as u64;
        assert!(read > 0, "the body was cut");
        left -= read.min(left);
        count.fetch_add(read, Relaxed);
    }
}

fn ask(port: u16, path: &str, count: u64, connections: u64, fields: &str) {
    let (never, bytes) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for place in 0..connections {
            let share = count / connections + u64::from(place < count % connections);
            let (never, bytes) = (&never, &bytes);
            scope.spawn(move || {
                let (mut stream, text, mut buffer) = (connect(port), request(path, fields), vec![0; 16384]);
                for number in 0..share {
                    stream.write_all(&text).expect("write");
                    let (length, have, ends) = head_and_end(&mut stream, &mut buffer);
                    rest(&mut stream, &mut buffer, length - have, never, bytes);
                    if ends && number + 1 < share {
                        stream = connect(port);
                    }
                }
            });
        }
    });
}

fn drain(port: u16, path: &str, seconds: f64, connections: usize) {
    let (stop, bytes) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..connections {
            let (stop, bytes) = (&stop, &bytes);
            scope.spawn(move || {
                let (mut stream, text, mut buffer) = (connect(port), request(path, ""), vec![0; 256 * 1024]);
                while !stop.load(Relaxed) {
                    stream.write_all(&text).expect("write");
                    let (length, have) = head(&mut stream, &mut buffer);
                    bytes.fetch_add(have, Relaxed);
                    rest(&mut stream, &mut buffer, length - have, stop, bytes);
                }
            });
        }
        thread::sleep(Duration::from_secs_f64(seconds));
        stop.store(true, Relaxed);
    });
    println!("{}", bytes.load(Relaxed));
}

fn pace(port: u16, path: &str, rate: f64, seconds: f64, connections: usize) {
    let total = (rate * seconds) as usize;
    let threads: Vec<_> = (0..connections)
        .map(|_| (connect(port), request(path, ""), vec![0u8; 16384]))
        .collect();
    let begun = Instant::now() + Duration::from_millis(20);
    let all: Vec<Vec<f64>> = thread::scope(|scope| {
        let running: Vec<_> = threads
            .into_iter()
            .enumerate()
            .map(|(place, (mut stream, text, mut buffer))| {
                scope.spawn(move || {
                    let (never, bytes) = (AtomicBool::new(false), AtomicU64::new(0));
                    let mut took = Vec::new();
                    for number in (place..total).step_by(connections) {
                        let at = begun + Duration::from_secs_f64(number as f64 / rate);
                        thread::sleep(at.saturating_duration_since(Instant::now()));
                        let sent = Instant::now();
                        stream.write_all(&text).expect("write");
                        let (length, have) = head(&mut stream, &mut buffer);
                        took.push(sent.elapsed().as_secs_f64() * 1e6);
                        rest(&mut stream, &mut buffer, length - have, &never, &bytes);
                    }
                    took
                })
            })
            .collect();
        running.into_iter().map(|one| one.join().expect("a thread")).collect()
    });
    let text: String = all.iter().flatten().map(|micros| format!("{micros:.1}\n")).collect();
    print!("{text}");
}
