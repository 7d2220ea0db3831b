//! Lies about content between a real nginx that compresses and a Python client that checks what it gets.

use super::parts::{Brownout, Service, brownout, curl, free, metric, wait};
use std::fs;
use std::process::Command;

/// Asks so many times; prints the marks, and the JSON inside what must be sound gzip of the length that was said.
const CLIENT: &str = "
import gzip, json, sys, urllib.request
for n in range(int(sys.argv[2])):
    request = urllib.request.Request(sys.argv[1], headers={'Accept-Encoding': 'gzip'})
    with urllib.request.urlopen(request) as answer:
        body = answer.read()
        assert answer.status == 200 and answer.headers['Content-Encoding'] == 'gzip', answer.headers
        if answer.headers['Content-Length']: assert int(answer.headers['Content-Length']) == len(body)
        text = gzip.decompress(body).decode()
        json.loads(text)
        print(answer.headers.get('x-brownout-fault', '-') + ' ' + text)
";

#[test]
#[ignore = "needs nginx and Python"]
fn lies_inside_gzip_older_answers_and_copies() {
    let (nginx, folder, edge) = (Service::nginx(), tempfile::tempdir().unwrap(), free());
    let fault = |name: &str, what: &str| {
        format!("[[fault]]\nname = \"{name}\"\nedge = \"front\"\nmatch = \"all\"\narmed = false\n{what}\n")
    };
    let tables = [
        fault("cheaper", "rewrite = { response = { json = { \"$.price\" = { scale = 0.1 } } } }"),
        fault("old", "stale = { versions = 1 }"),
        fault("twice", "duplicate = { times = 2 }"),
    ];
    let text = format!(
        "name = \"lies\"\nseed = 7\n[[edge]]\nname = \"front\"\nlisten = \"{edge}\"\nupstream = \"{}\"\nrecord = \"1 MiB\"\n{}",
        nginx.url(),
        tables.concat()
    );
    fs::write(folder.path().join("experiment.toml"), text).unwrap();
    let serving = Brownout::start(folder.path(), &["serve", "--admin", "127.0.0.1:0", "experiment.toml"]);
    let admin = serving.address("admin: ").to_string();
    let say = |what: &str, name: &str| {
        let ended = brownout(folder.path(), &["fault", what, name, "--admin", &admin]);
        assert_eq!(ended.code, 0, "{what} {name}");
    };
    let get = |count: usize| -> Vec<(String, String)> {
        let url = format!("http://{edge}/json");
        let out = Command::new("python3").args(["-c", CLIENT, &url, &count.to_string()]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).unwrap();
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect()
    };
    let clean = get(2);
    assert!(
        clean.iter().all(|(mark, text)| mark == "-" && text.contains("\"price\": 100, \"tax\": 1.10")),
        "{clean:?}"
    );
    say("arm", "cheaper");
    let lied = get(2);
    assert!(
        lied.iter().all(|(mark, text)| mark == "cheaper" && text.contains("\"price\": 10, \"tax\": 1.10")),
        "{lied:?}"
    );
    say("heal", "cheaper");
    let before = get(1).remove(0).1;
    say("arm", "old");
    assert_eq!(get(1), [("old".to_owned(), before)]);
    say("heal", "old");
    say("arm", "twice");
    assert_eq!(get(1)[0].0, "twice");
    // every answer of this nginx is another one
    wait("two answers that differ", || {
        let page = curl(&[format!("http://{admin}/metrics")]);
        (metric(&page, "brownout_duplicates_differ_total", &["edge=\"front\""]) == 2.0).then_some(())
    });
}
