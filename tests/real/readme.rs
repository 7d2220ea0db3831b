//! The README's tour, word for word: every command of it is run, and prints what the README shows.
//!
//! `…` in a line stands for anything, a line of `…` for any lines. Ports are replaced by free ones, or two tests on one
//! machine would meet.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the tour listens on, and how the script knows that it does.
const PORTS: [&str; 3] = ["8080", "9000", "8475"];

struct Step {
    command: String,
    shown: Vec<String>,
}

/// The commands of the `console` blocks below `## Five minutes`, each with what is shown below it.
fn tour(readme: &str) -> Vec<Step> {
    let begin = readme.find("## Five minutes").expect("a tour");
    let section = &readme[begin + 3..];
    let section = &section[..section.find("\n## ").expect("something after the tour")];
    let mut steps: Vec<Step> = Vec::new();
    for block in section.split("```console\n").skip(1) {
        for line in block[..block.find("```").expect("the end of a block")].lines() {
            match line.strip_prefix("$ ") {
                Some(command) => steps.push(Step { command: command.to_owned(), shown: Vec::new() }),
                None => steps.last_mut().expect("a command first").shown.push(line.to_owned()),
            }
        }
    }
    steps
}

/// Whether the lines are as shown.
fn alike(shown: &[String], lines: &[&str]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "…" => (0..=lines.len()).any(|skip| alike(rest, &lines[skip..])),
        Some((first, rest)) => {
            lines.first().is_some_and(|line| line_alike(first, line)) && alike(rest, &lines[1..])
        }
    }
}

fn line_alike(shown: &str, line: &str) -> bool {
    // Header fields end in CR, and nobody sees spaces at an end.
    let (shown, line) = (shown.trim_end(), line.trim_end());
    let mut parts = shown.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut open = false;
    for part in parts {
        open = true;
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        open &= part.is_empty();
    }
    open || rest.is_empty()
}

fn copy(from: &Path, to: &Path, change: &dyn Fn(&str) -> String) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target, change);
        } else {
            fs::write(target, change(&fs::read_to_string(entry.path()).unwrap())).unwrap();
        }
    }
}

/// Each command, then a mark; `$?` goes on to the next. What was put in the background is waited for until it listens.
fn script(steps: &[Step], ports: &[String]) -> String {
    let mut script = String::new();
    for step in steps {
        script += &step.command;
        script += "\nstatus=$?\n";
        if step.command.ends_with('&') {
            let port = if step.command.starts_with("brownout") { &ports[2] } else { &ports[0] };
            script += &format!(
                "for i in $(seq 200); do curl -s -o /dev/null http://127.0.0.1:{port}/health && break; sleep 0.1; done\n"
            );
        }
        script += "echo; echo '=== next'; (exit $status)\n";
    }
    script
}

#[test]
#[ignore = "with real parts (curl, python3): ./check real"]
fn the_tour_of_the_readme_does_what_it_shows() {
    let folder = tempfile::tempdir().unwrap();
    let sockets: Vec<_> = PORTS.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<_> = sockets.iter().map(|s| s.local_addr().unwrap().port().to_string()).collect();
    drop(sockets);
    let with_ports = |text: &str| {
        PORTS.iter().zip(&ports).fold(text.to_owned(), |text, (from, to)| {
            text.replace(&format!("127.0.0.1:{from}"), &format!("127.0.0.1:{to}"))
                .replace(&format!("shop.py {from}"), &format!("shop.py {to}"))
        })
    };
    for name in ["examples", "experiments"] {
        copy(Path::new(name), &folder.path().join(name), &with_ports);
    }
    let steps = tour(&with_ports(&fs::read_to_string("README.md").unwrap()));
    assert!(steps.len() > 15, "the tour has only {} commands", steps.len());

    let binary = Path::new(env!("CARGO_BIN_EXE_brownout")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    fs::write(folder.path().join("tour.sh"), script(&steps, &ports)).unwrap();
    let child = Command::new("bash")
        .args(["-c", "exec 2>&1; . ./tour.sh"])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("BROWNOUT_ADMIN", format!("127.0.0.1:{}", ports[2]))
        .env_remove("CI")
        .env_remove("GITHUB_ACTIONS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("bash");
    let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let output = child.wait_with_output().unwrap();
    // Whatever the tour left behind, should it have stopped half way.
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);

    let output = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<&str> = output.split("\n=== next\n").collect();
    let mut wrong = String::new();
    for (step, printed) in steps.iter().zip(printed.iter().chain(std::iter::repeat(&""))) {
        let lines: Vec<&str> = printed.trim_end_matches('\n').lines().collect();
        if !alike(&step.shown, &lines) {
            let (shown, lines) = (step.shown.join("\n"), lines.join("\n"));
            wrong +=
                &format!("\n$ {}\n--- the README shows\n{shown}\n--- it printed\n{lines}\n", step.command);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Links to files of the repository lead somewhere.
#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    let mut pages = vec!["README.md".into(), "CONTRIBUTING.md".into(), "CHANGELOG.md".into()];
    for folder in ["docs", "dashboards", "benches"] {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let files = entries.map(|entry| entry.unwrap().path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for (at, _) in text.match_indices("](") {
            let link = text[at + 2..].split([')', '#', ' ']).next().unwrap_or_default();
            let target = page.parent().unwrap().join(link);
            if !link.is_empty() && !link.contains(':') && !target.exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn what_is_shown_is_compared_as_it_reads() {
    let alike = |shown: &str, printed: &str| {
        let shown: Vec<String> = shown.lines().map(str::to_owned).collect();
        alike(&shown, &printed.lines().collect::<Vec<_>>())
    };
    assert!(alike("0.3…", "0.304"));
    assert!(alike("a …ms b", "a 250ms b"));
    assert!(alike("…\nb\n…", "x\ny\nb"));
    assert!(alike("a\n…", "a"));
    assert!(!alike("a", "a\nb"));
    assert!(!alike("a", ""));
    assert!(!alike("a …ms b", "a 250ms bc"));
    assert!(!alike("0.3…", "0.4"));
}
