//! Answers that say something else, something older, or are asked for twice: rewrite, stale, duplicate.

use super::super::parts::wait;
use super::{Bench, Row, Setup};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

pub(super) const ROWS: &[Row] = &[("rewrite", rewrite), ("stale", stale), ("duplicate", duplicate)];

fn rewrite(setup: Setup) -> Bench {
    let bench = setup.start();
    let price =
        r#"{"price": 1250, "tax": 1.10, "currency": "EUR", "items": [{"price": 50}, {"price": 75.5}]}"#;
    bench.file("price.json", price.as_bytes());
    bench.file("page.html", b"<p>1250 EUR</p>\n<p>and so on</p>\n");
    // the client unpacks what it gets: wrong sums of gzip end it
    let get = |path: &str| bench.client("get", &[path, "a"]);
    let clean = get("/files/price.json");
    assert_eq!(
        (&clean["coding"], &clean["body"], &clean["mark"]),
        (&json!("gzip"), &json!(price), &Value::Null)
    );
    for (name, expected) in [
        (
            "prices without their last digit",
            r#"{"price": 125, "tax": 1.10, "currency": "EUR", "items": [{"price": 5}, {"price": 7.55}]}"#,
        ),
        ("a field that is gone", r#"{"price": 1250, "tax": 1.10, "items": []}"#),
    ] {
        let got = bench.under(name, || get("/files/price.json"));
        assert_eq!(
            (&got["coding"], &got["mark"], &got["status"]),
            (&json!("gzip"), &json!(name), &json!(200))
        );
        assert_eq!(got["body"], expected, "{name}");
    }
    let name = "an error page with status 200";
    let got = bench.under(name, || get("/files/page.html"));
    assert_eq!(
        (&got["status"], &got["type"], &got["mark"]),
        (&json!(200), &json!("text/html"), &json!(name))
    );
    assert_eq!(got["body"], "<h1>we will be back soon</h1>");
    // what the service says that it was asked
    let old = |path: &str| -> Value { serde_json::from_str(get(path)["body"].as_str().unwrap()).unwrap() };
    assert_eq!(old("/v2/orders"), json!({ "path": "/v2/orders", "tenant": "a" }));
    let got = bench.under("the old route", || (old("/v2/orders"), old("/app/orders")));
    assert_eq!(got.0, json!({ "path": "/v1/orders", "tenant": null }));
    assert_eq!(got.1, json!({ "path": "/app/orders", "tenant": "a" }));
    bench
}

fn stale(setup: Setup) -> Bench {
    let bench = setup.start();
    let profile = |tenant: &str| {
        let got = bench.get("/files/profile.json", &["-H", &format!("x-tenant: {tenant}")]);
        assert_eq!(got.ended(), (0, "200"), "{got:?}");
        (got.text(), got.mark().map(str::to_owned))
    };
    let write = |version: &str| bench.file("profile.json", version.as_bytes());
    let real = |text: &str| (text.to_owned(), None);
    let lie = |text: &str, name: &str| (text.to_owned(), Some(name.to_owned()));
    let name = "a replica that lags";
    write("zeroth");
    assert_eq!(profile("c"), real("zeroth"));
    write("first");
    let begun = Instant::now();
    assert_eq!(profile("a"), real("first"));
    bench.under(name, || {
        assert_eq!(profile("c"), real("first"), "nothing is that old");
        wait("five seconds", || (begun.elapsed() >= Duration::from_secs(5)).then_some(()));
        write("second");
        wait("what was said so long ago", || (profile("a") == lie("first", name)).then_some(()));
    });
    assert_eq!(profile("a"), real("second"));
    let name = "the answer before the last one";
    write("third");
    assert_eq!(bench.under(name, || profile("a")), lie("second", name));
    // an answer that only another one has got
    assert_eq!(profile("a"), real("third"));
    write("of b");
    let name = "somebody else's answer";
    assert_eq!(bench.under(name, || profile("b")), lie("third", name));
    assert_eq!(profile("b"), real("of b"));
    bench
}

fn duplicate(setup: Setup) -> Bench {
    let bench = setup.start();
    let copies = |part: &str, expected: usize| {
        wait(&format!("{expected} of {part}"), || (bench.logged(part) >= expected).then_some(()));
    };
    bench.under("a queue that delivers at least once", || {
        let got = bench.get("/?once", &[]);
        assert_eq!((got.ended(), got.text().as_str()), ((0, "200"), "hello\n"));
        copies("GET /?once", 2);
        let post = bench.get("/app/order", &["-d", "an order"]);
        assert!(post.text().contains("\"bytes\": 8,"), "{post:?}");
        copies("POST /app/order", 2);
    });
    let name = "a double click";
    bench.under(name, || {
        let post = bench.get("/app/click", &["-d", "an order"]);
        assert!(post.ended() == (0, "200") && post.text().contains("\"bytes\": 8,"), "{post:?}");
        assert_eq!(post.mark(), Some(name));
        // who waited got the last answer: all were given before
        copies("POST /app/click", 2);
        assert_eq!(bench.get("/?read", &[]).mark(), None);
    });
    assert_eq!(
        bench.metric("brownout_duplicates_differ_total", &[]),
        0.0,
        "who is asked twice says the same"
    );
    let begun = Instant::now();
    bench.under("a job that ran away", || {
        assert_eq!(bench.get("/?job", &[]).ended(), (0, "200"));
        assert_eq!(bench.get("/?other", &[]).ended(), (0, "200"));
        copies("GET /?job", 848);
    });
    assert!(begun.elapsed() >= Duration::from_secs(15), "spread over 20 s: {:?}", begun.elapsed());
    for (part, count) in [
        ("GET /?once", 2),
        ("POST /app/order", 2),
        ("POST /app/click", 2),
        ("GET /?read", 1),
        ("GET /?job", 848),
        ("GET /?other", 1),
    ] {
        assert_eq!(bench.logged(part), count, "{part}");
    }
    bench
}
