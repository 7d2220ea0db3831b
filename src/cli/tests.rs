//! Commands that talk to a running Brownout, against a real admin address.

use super::client::Target;
use super::{fault, halt};
use crate::api::tests::{Site, site};
use clap::Parser;
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

#[derive(Parser, Debug)]
enum Line {
    Fault(fault::Args),
    Halt(halt::Args),
}

struct Said {
    exit: u8,
    out: String,
    err: String,
}

fn target(site: &Site) -> Target {
    Target { admin: format!("http://{}/", site.handle.addr()), token: None, json: false }
}

fn run(target: &Target, line: &[&str]) -> Said {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = match Line::try_parse_from([&["brownout"], line].concat()) {
        Ok(Line::Fault(args)) => fault::run(&args, target, &mut out, &mut err),
        Ok(Line::Halt(args)) => halt::run(&args, target, &mut out, &mut err),
        Err(error) => {
            let _ = write!(err, "{error}");
            2
        }
    };
    Said { exit, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

#[test]
fn flags_are_the_table_that_a_file_would_have() {
    for (line, expected) in [
        (
            "fault arm --edge checkout --latency 200ms --percent 10 --ttl 1m --name x",
            json!({ "name": "x", "edge": "checkout", "latency": "200ms", "percent": 10.0, "ttl": "1m" }),
        ),
        (
            "fault arm --edge a --edge b --drop reset --path /v1/** --method POST",
            json!({
                "name": "drop on a and b", "edge": ["a", "b"], "drop": "reset",
                "match": { "method": "POST", "path": "/v1/**" },
            }),
        ),
        (
            "fault arm --edge a --hang --all",
            json!({ "name": "hang on a", "edge": "a", "hang": true, "match": "all" }),
        ),
        (
            "fault arm --edge a --hang 5s --respond 503 --sticky peer --first 2 --max 9",
            json!({
                "name": "hang and respond on a", "edge": "a", "hang": "5s", "respond": 503,
                "sticky": "peer", "first": 2, "max": 9,
            }),
        ),
    ] {
        let Ok(Line::Fault(fault::Args { command: fault::Command::Arm(arm) })) =
            Line::try_parse_from([&["brownout"], &words(line)[..]].concat())
        else {
            panic!("{line}")
        };
        assert_eq!(super::fault_table::table(&arm.new, arm.ttl.as_deref()), Ok(expected), "{line}");
    }
}

#[test]
fn what_is_wrong_is_told_and_is_exit_2() {
    let site = site(&[]);
    for (line, says) in [
        ("fault", "Usage"),
        ("fault arm", "which fault?"),
        ("fault heal", "required"),
        ("fault heal x --all", "cannot be used with"),
        ("fault arm x --edge checkout", "cannot be used with"),
        ("fault arm x --latency 1s", "cannot be used with"),
        ("fault arm --latency 1s", "--edge checkout"),
        ("fault arm --edge checkout --percent 5", "the fault does nothing"),
        ("fault arm --edge checkout --drop reset", "strikes everything on its edge"),
        ("fault arm --edge chekout --drop reset --all", "there is no edge `chekout`"),
        ("fault arm none", "there is no fault `none`"),
        ("fault heal none", "there is no fault `none`"),
        ("fault arm --edge checkout --drop reset --all --ttl 2h", "at most 1h"),
        ("halt --up", "unexpected argument"),
    ] {
        let said = run(&target(&site), &words(line));
        assert!(said.exit == 2 && said.out.is_empty(), "{line}: {} {}", said.exit, said.out);
        assert!(said.err.contains(says), "{line}: {}", said.err);
        assert!(said.err.matches("error: ").count() <= 1, "{line}: {}", said.err);
    }
}

#[test]
fn arm_list_heal_halt() {
    let site = site(&[]);
    let target = target(&site);
    let said = run(&target, &["fault", "list"]);
    assert_eq!(said.exit, 0, "{}", said.err);
    assert_eq!(
        said.out,
        "FAULT        WHERE     DOES     STATE  BY  HITS  MATCHED  ENDS\n\
         of the file  checkout  latency  off    -   1     3        -\n"
    );
    let said = run(&target, &["fault", "arm", "of the file", "--ttl", "90s"]);
    assert_eq!((said.exit, &*said.out), (0, "`of the file` is armed on checkout; it ends in 1m 30s\n"));
    let said = run(&target, &words("fault arm --edge checkout --latency 1s --percent 5 --ttl forever"));
    assert_eq!(
        (said.exit, &*said.out),
        (0, "`latency on checkout` is armed on checkout; it ends when healed\n")
    );
    let said = run(&target, &words("fault arm --edge checkout --latency 1s --percent 5"));
    assert!(said.exit == 2 && said.err.contains("armed already"), "{}", said.err);
    let said = run(&target, &["fault", "heal", "of the file"]);
    assert_eq!((said.exit, &*said.out), (0, "`of the file` is healed: 1 of 3 exchanges were struck\n"));
    assert_eq!(run(&target, &words("fault heal --all")).out, "healed: latency on checkout\n");
    assert_eq!(run(&target, &words("fault heal --all")).out, "no fault was armed\n");
    assert!(run(&target, &["halt"]).out.starts_with("halted: "));
    assert!(run(&target, &["fault", "list"]).out.starts_with("everything is halted"));
    let said = run(&target, &["fault", "arm", "of the file"]);
    assert!(said.exit == 5 && said.err.contains("--lift"), "{}", said.err);
    assert!(run(&target, &["halt", "--lift"]).out.starts_with("lifted"));
    let said = run(&Target { json: true, ..target }, &["fault", "list"]);
    let listed: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&listed["halted"], &listed["faults"][0]["name"]), (&json!(false), &json!("of the file")));
}

#[test]
fn an_address_where_nobody_answers_is_exit_5() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = silent.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        use std::io::Read;
        let (mut stream, _) = silent.accept().unwrap();
        let _ = stream.read(&mut [0; 512]);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let _ = stream.read(&mut [0; 512]);
    });
    for (admin, exit, says) in [
        (&*closed, 5, "is `brownout serve` running?"),
        (&*other, 5, "not as Brownout does"),
        ("no address", 2, "is not an address"),
    ] {
        let target = Target { admin: admin.into(), token: Some("t".into()), json: false };
        let said = run(&target, &["halt"]);
        assert_eq!(said.exit, exit, "{admin} {}", said.err);
        assert!(said.err.starts_with("error: ") && said.err.contains(says), "{admin}: {}", said.err);
    }
    answering.join().unwrap();
}
