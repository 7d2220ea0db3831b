//! Where a run writes: `runs/<time>-<name>/`, or the folder that `--out` names.

use crate::report::{Report, html, json, junit, markdown};
use crate::units::Name;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a run writes.
const FILES: [&str; 6] = [JOURNAL, "report.json", "report.html", "report.md", "junit.xml", SCORECARD];

/// The journal of a run, in its folder.
pub const JOURNAL: &str = "journal.jsonl";
/// What several runs write beside their folders.
pub const SCORECARD: &str = "scorecard.json";

/// Makes the folder of a run that begins now. `out` is the folder itself, and what an earlier run wrote there goes;
/// without it, a new one below `runs`.
///
/// # Errors
/// When it cannot be made.
pub fn folder(out: Option<&Path>, name: &Name, now: SystemTime) -> io::Result<PathBuf> {
    if let Some(out) = out {
        std::fs::create_dir_all(out)?;
        for file in FILES {
            match std::fs::remove_file(out.join(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        return Ok(out.to_owned());
    }
    let time: String = humantime::format_rfc3339_seconds(now)
        .to_string()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .replace('T', "-")
        .replace('Z', "");
    std::fs::create_dir_all("runs")?;
    let base = format!("{time}-{}", file_name(name.as_str()));
    // Another run may have begun in the same second.
    (1..1000)
        .map(|n| Path::new("runs").join(if n == 1 { base.clone() } else { format!("{base}-{n}") }))
        .find_map(|path| match std::fs::create_dir(&path) {
            Ok(()) => Some(Ok(path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
            Err(error) => Some(Err(error)),
        })
        .unwrap_or_else(|| Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("runs/{base}"))))
}

/// A name as a file may be called everywhere.
#[must_use]
pub fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let text: String = name.chars().map(plain).collect();
    match text.trim_start_matches('.') {
        "" => "run".into(),
        text => text.to_owned(),
    }
}

/// Writes `report.json`, `report.html`, `report.md` and `junit.xml`.
///
/// # Errors
/// When one cannot be written.
pub fn write(folder: &Path, report: &Report) -> io::Result<()> {
    for (name, text) in [
        ("report.json", json::render(report)),
        ("report.html", html::render(report)),
        ("report.md", markdown::render(report)),
        ("junit.xml", junit::render(report)),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, text)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

/// Writes `scorecard.json` of several runs: into `out`, or beside their folders. Returns where.
///
/// # Errors
/// When it cannot be written.
pub fn write_scorecard(out: Option<&Path>, reports: &[Report]) -> io::Result<PathBuf> {
    let path = out.unwrap_or(Path::new("runs")).join(SCORECARD);
    std::fs::write(&path, json::render_scorecard(reports))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_files() {
        for (name, file) in [
            ("timeout-cut", "timeout-cut"),
            ("config change", "config-change"),
            ("../etc/passwd", "-etc-passwd"),
            ("..", "run"),
        ] {
            assert_eq!(file_name(name), file);
        }
    }
}
