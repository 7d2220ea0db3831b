//! Probes against real sockets and commands.

use super::*;
use crate::model::{HttpAsk, StatusSet};
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(30);

fn name() -> Name {
    "playground is closed".parse().unwrap()
}

fn http(url: String, status: &[u16], text: Option<&str>, json: &[(&str, serde_json::Value)]) -> Ask {
    Ask::Http(Box::new(HttpAsk {
        edge: None,
        url,
        method: "GET".into(),
        headers: vec![("x-test".into(), "1".into())],
        status: status.iter().map(|&code| StatusSet { low: code, high: code }).collect(),
        text: text.map(|text| regex::Regex::new(text).unwrap()),
        json: json.iter().map(|(path, value)| ((*path).into(), value.clone())).collect(),
    }))
}

fn probe(ask: Ask, timeout: Duration) -> Probe {
    Probe {
        ask,
        every: Duration::from_millis(10),
        timeout,
        tolerate_unreachable: true,
        max_exposure: Duration::ZERO,
    }
}

/// What a probe says, as it says it.
struct Told(tokio::sync::mpsc::UnboundedReceiver<Event>);

impl Told {
    async fn next(&mut self) -> (Saw, String) {
        match tokio::time::timeout(LIMIT, self.0.recv()).await.expect("a probe says something") {
            Some(Event::Probe { probe, saw, took, text }) => {
                assert_eq!(probe, name());
                assert!(took >= 0.0);
                (saw, text.unwrap_or_default())
            }
            other => panic!("{other:?}"),
        }
    }
}

fn begin(probe: Probe, edges: &[SocketAddr]) -> (Running, Told) {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let publish: Publish = Arc::new(move |event| {
        let _ = tell.send(event);
    });
    (start(vec![(name(), probe)], edges, 1.0, None, publish).unwrap(), Told(told))
}

/// Gives each connection the next of these answers (the last for ever), and keeps the heads of requests.
async fn serve(answers: Vec<&'static str>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = heads.clone();
    tokio::spawn(async move {
        let mut turn = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answers[turn.min(answers.len() - 1)];
            turn += 1;
            let kept = kept.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                        return;
                    }
                    head.push(byte[0]);
                }
                kept.lock().unwrap().push(String::from_utf8(head).unwrap());
                if answer == "never" {
                    std::future::pending::<()>().await;
                }
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (address, heads)
}

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
const OPEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{\"mode\":\"development\"}";
const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"mode\":";
const HALF_A_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Le";

#[tokio::test]
async fn it_sees_what_comes_and_says_what_is_wrong() {
    let mode = |value: &str| vec![("$.mode", serde_json::json!(value))];
    for (answer, status, text, json, saw, words) in [
        (NOT_FOUND, &[404][..], None, vec![], Saw::Right, ""),
        (OPEN, &[404], None, vec![], Saw::Wrong, "status 200, expected 404"),
        (NOT_FOUND, &[], None, vec![], Saw::Wrong, "status 404, expected below 400"),
        (OPEN, &[], Some("devel.*t"), vec![], Saw::Right, ""),
        (OPEN, &[], Some("prod"), vec![], Saw::Wrong, "`prod` is not in the body"),
        (OPEN, &[200], None, mode("development"), Saw::Right, ""),
        (OPEN, &[], None, mode("x"), Saw::Wrong, "`$.mode` is \"development\", expected \"x\""),
        (NOT_FOUND, &[404], None, mode("x"), Saw::Wrong, "the body is not JSON"),
        (HALF, &[], Some("mode"), vec![], Saw::Unreachable, "the answer broke off: "),
        (HALF_A_HEAD, &[], None, vec![], Saw::Unreachable, "the answer broke off: "),
    ] {
        let (address, heads) = serve(vec![answer]).await;
        let ask = http(format!("http://{address}/graphql"), status, text, &json);
        let (running, mut told) = begin(probe(ask, LIMIT), &[]);
        let (seen, why) = told.next().await;
        assert_eq!(seen, saw, "{why}");
        assert!(why.starts_with(words) && why.is_empty() == words.is_empty(), "{why}");
        drop(running);
        let head = heads.lock().unwrap()[0].to_ascii_lowercase();
        assert!(head.starts_with("get /graphql http/1.1\r\n"), "{head}");
        assert!(head.contains("user-agent: brownout-probe\r\n") && head.contains("x-test: 1\r\n"), "{head}");
        assert!(!head.contains(HEADER), "only edges are told: {head}");
    }
}

#[tokio::test]
async fn each_question_has_a_connection_of_its_own() {
    let (address, heads) = serve(vec![NOT_FOUND, OPEN, NOT_FOUND]).await;
    let (running, mut told) = begin(probe(http(format!("http://{address}/"), &[404], None, &[]), LIMIT), &[]);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(told.next().await.0);
    }
    assert_eq!(seen, [Saw::Right, Saw::Wrong, Saw::Right]);
    drop(running);
    assert!(heads.lock().unwrap().len() >= 3);
}

#[tokio::test]
async fn silence_ends_with_the_timeout_and_one_is_out_at_a_time() {
    let (address, heads) = serve(vec!["never"]).await;
    let timeout = Duration::from_millis(50);
    let began = Instant::now();
    let (running, mut told) = begin(probe(http(format!("http://{address}/"), &[], None, &[]), timeout), &[]);
    for _ in 0..3 {
        assert_eq!(told.next().await, (Saw::Unreachable, "no answer within 50ms".into()));
    }
    let most = began.elapsed().as_millis() / timeout.as_millis() + 1;
    drop(running);
    assert!(heads.lock().unwrap().len() as u128 <= most + 1, "one after another");
    let mut strict = probe(http(format!("http://{address}/"), &[], None, &[]), timeout);
    strict.tolerate_unreachable = false;
    let (_running, mut told) = begin(strict, &[]);
    assert_eq!(told.next().await.0, Saw::Wrong);
}

#[tokio::test]
async fn who_refuses_cannot_be_reached() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (_running, mut told) = begin(probe(Ask::Tcp(address.to_string()), LIMIT), &[]);
    assert_eq!(told.next().await.0, Saw::Right);
    drop(listener);
    let refused = loop {
        if let (Saw::Unreachable, why) = told.next().await {
            break why;
        }
    };
    assert_eq!(refused, format!("{address} refuses connections"));
    let ask = http(format!("http://{address}/"), &[], None, &[]);
    let (_running, mut told) = begin(probe(ask, LIMIT), &[]);
    assert_eq!(told.next().await, (Saw::Unreachable, format!("{address} refuses connections")));
}

fn sh(script: &str) -> Ask {
    Ask::Command(["sh", "-c", script].map(str::to_owned).to_vec())
}

#[tokio::test]
async fn commands_are_right_when_they_end_well() {
    for (script, limit, saw, words) in [
        ("exit 0", LIMIT, Saw::Right, ""),
        ("exit 3", LIMIT, Saw::Wrong, "`sh` ended with exit code 3"),
        ("kill -9 $$", LIMIT, Saw::Wrong, "`sh` was ended by signal 9"),
        ("sleep 100", Duration::from_millis(50), Saw::Unreachable, "no answer within 50ms"),
    ] {
        let (_running, mut told) = begin(probe(sh(script), limit), &[]);
        assert_eq!(told.next().await, (saw, words.into()), "{script}");
    }
}

#[tokio::test]
async fn what_cannot_be_run_breaks_the_run() {
    for ask in
        [sh("exit 127"), sh("exit 126"), Ask::Command(vec!["/no/such/program".into()]), Ask::Tcp("x".into())]
    {
        let (mut running, _told) = begin(probe(ask, LIMIT), &[]);
        let why = tokio::time::timeout(LIMIT, running.broken()).await.unwrap();
        assert!(why.starts_with("probe `playground is closed`: "), "{why}");
    }
    let mut bad = probe(http("https://a/".into(), &[], None, &[]), LIMIT);
    let publish: Publish = Arc::new(|_| {});
    assert!(start(vec![(name(), bad.clone())], &[], 1.0, None, publish.clone()).is_err());
    bad.ask = Ask::Tcp("127.0.0.1:1".into());
    let mut fine = start(vec![(name(), bad)], &[], 1.0, None, publish).unwrap();
    let never = tokio::time::timeout(Duration::from_millis(20), fine.broken()).await;
    assert!(never.is_err(), "that nobody is there is no fault of the probe");
}

#[tokio::test]
async fn nothing_is_told_after_its_end() {
    let (address, _) = serve(vec!["never"]).await;
    let (running, mut told) = begin(probe(http(format!("http://{address}/"), &[], None, &[]), LIMIT), &[]);
    drop(running);
    assert_eq!(told.0.recv().await, None);
}

#[tokio::test]
async fn an_edge_with_nobody_behind_it_is_silence_and_not_a_wrong_answer() {
    const NOBODY: &str =
        "HTTP/1.1 502 Bad Gateway\r\nx-brownout-error: connect\r\nContent-Length: 2\r\n\r\nno";
    const MALFORMED: &str =
        "HTTP/1.1 502 Bad Gateway\r\nx-brownout-error: answer\r\nContent-Length: 2\r\n\r\nno";
    for (answer, through_edge, saw, words) in [
        (NOBODY, true, Saw::Unreachable, "nobody answers behind the edge (connect)"),
        (MALFORMED, true, Saw::Wrong, "status 502, expected 404"),
        // what says so and is no edge of ours says it for itself
        (NOBODY, false, Saw::Wrong, "status 502, expected 404"),
    ] {
        let (address, _) = serve(vec![answer]).await;
        let edges = if through_edge { vec![address] } else { vec![] };
        let ask = http(format!("http://{address}/graphql"), &[404], None, &[]);
        let (_running, mut told) = begin(probe(ask, LIMIT), &edges);
        assert_eq!(told.next().await, (saw, words.to_owned()));
    }
}
