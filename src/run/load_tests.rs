//! The load against a small server of its own.

use super::*;
use crate::units::Rate;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

fn request(path: &str, weight: u32) -> LoadRequest {
    LoadRequest {
        method: "POST".into(),
        path: path.into(),
        headers: vec![("x-order".into(), "${uuid}".into())],
        body: "{\"n\": ${n}}".into(),
        weight,
    }
}

fn load(rate: f64) -> Load {
    Load {
        edge: 0,
        rate: Rate::per_second(rate).unwrap(),
        requests: vec![request("/checkout?n=${n}", 1)],
        timeout: Duration::from_secs(60),
        max_in_flight: 100,
    }
}

/// What the server saw: a whole request, or how a connection ended.
#[derive(Debug)]
enum Seen {
    Request { connection: usize, text: String },
    End(std::io::Result<usize>),
}

/// Reads requests; answers each if it is told to.
async fn serve(answers: bool) -> (SocketAddr, UnboundedReceiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, seen) = unbounded_channel();
    tokio::spawn(async move {
        for connection in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(attend(stream, connection, answers, tell.clone()));
        }
    });
    (address, seen)
}

async fn attend(mut stream: TcpStream, connection: usize, answers: bool, tell: UnboundedSender<Seen>) {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await {
            Ok(n @ 1..) => text.push_str(std::str::from_utf8(&buffer[..n]).unwrap()),
            end => break drop(tell.send(Seen::End(end))),
        }
        // The body is the only thing with braces, and it is the last of a request.
        if text.ends_with('}') {
            let text = std::mem::take(&mut text);
            let _ = tell.send(Seen::Request { connection, text });
            if answers {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
            }
        }
    }
}

fn begin(load: Load, target: SocketAddr) -> (Running, Arc<Mutex<Vec<Counts>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&told);
    let tell = Box::new(move |counts| teller.lock().unwrap().push(counts));
    (start(Order { load, target, seed: 7, tell }).unwrap(), told)
}

#[tokio::test]
async fn requests_say_what_they_should_on_connections_that_are_kept() {
    let (address, mut seen) = serve(true).await;
    let (mut running, told) = begin(load(500.0), address);
    let began = Instant::now();
    let (mut texts, mut connections) = (Vec::new(), HashSet::new());
    while texts.len() < 100 {
        if let Some(Seen::Request { connection, text }) = seen.recv().await {
            connections.insert(connection);
            texts.push(text);
        }
    }
    running.stop();
    let counts = running.ended().await.unwrap();
    let most = began.elapsed().as_secs_f64() * 500.0 + 50.0;
    assert!((100..most as u64).contains(&counts.sent), "{counts:?}");
    assert_eq!((counts.shed, counts.timed_out), (0, 0));
    assert_eq!(told.lock().unwrap().last(), Some(&counts));
    assert!(connections.len() < 50, "{} connections", connections.len());
    let field = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned)).unwrap()
    };
    let ids: HashSet<String> = texts.iter().map(|text| field(text, "x-request-id")).collect();
    assert_eq!(ids.len(), 100, "a fresh id each");
    let mut numbers: Vec<u64> = Vec::new();
    for text in &texts {
        let id = field(text, "x-request-id");
        assert!(id.len() == 36 && id.as_bytes()[14] == b'4', "{id}");
        assert_eq!(field(text, "x-order"), id);
        assert_eq!(field(text, "host"), address.to_string());
        let n = text.split("\"n\": ").nth(1).unwrap().trim_end_matches('}').parse().unwrap();
        assert!(text.starts_with(&format!("POST /checkout?n={n} HTTP/1.1\r\n")), "{text}");
        numbers.push(n);
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 100);
}

#[tokio::test]
async fn one_that_is_not_answered_in_time_is_given_up_with_a_plain_fin() {
    let (address, mut seen) = serve(false).await;
    let mut load = load(50.0);
    load.timeout = Duration::from_millis(20);
    let (mut running, _) = begin(load, address);
    let mut ends = 0;
    while ends < 3 {
        if let Some(Seen::End(end)) = seen.recv().await {
            assert_eq!(end.unwrap(), 0, "a FIN, not a reset");
            ends += 1;
        }
    }
    running.stop();
    let counts = running.ended().await.unwrap();
    assert!(counts.timed_out >= 3 && counts.timed_out <= counts.sent, "{counts:?}");
}

/// Waits until it is so, and not for ever.
async fn until(so: impl Fn() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap();
}

#[tokio::test]
async fn arrivals_go_on_when_nobody_answers_and_those_beyond_the_bound_are_shed() {
    let (address, mut seen) = serve(false).await;
    let mut load = load(1_000.0);
    load.max_in_flight = 3;
    let (mut running, told) = begin(load, address);
    until(|| told.lock().unwrap().last().is_some_and(|counts| counts.shed >= 10)).await;
    running.stop();
    let counts = running.ended().await.unwrap();
    assert_eq!((counts.sent, counts.timed_out), (3, 0), "it stops though its timeout is a minute");
    let mut requests = 0;
    while let Ok(event) = seen.try_recv() {
        requests += usize::from(matches!(event, Seen::Request { .. }));
    }
    assert_eq!(requests, 3);
}

#[tokio::test]
async fn nobody_there_is_no_reason_to_stop() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (mut running, told) = begin(load(200.0), free);
    until(|| told.lock().unwrap().last().is_some_and(|counts| counts.sent >= 20)).await;
    drop(told);
    running.stop();
    assert!(running.ended().await.unwrap().sent >= 20);
}

#[test]
fn kinds_come_by_weight_and_the_same_seed_chooses_the_same() {
    let requests = [request("/a", 3), request("/b", 1), request("/never", 0)];
    let (words, again) = (Words::new(7, &requests), Words::new(7, &requests));
    let chosen = |words: &Words| -> Vec<String> {
        (0..4_000).map(|n| words.choose(n, &requests).unwrap().path.clone()).collect()
    };
    let paths = chosen(&words);
    assert_eq!(paths, chosen(&again));
    let a = paths.iter().filter(|path| *path == "/a").count();
    assert!((2_850..3_150).contains(&a), "{a}");
    assert!(!paths.contains(&"/never".to_owned()));
    assert_ne!(words.uuid(0), again.uuid(0), "ids are fresh in every run");
}
