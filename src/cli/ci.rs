//! What a run tells the CI system it runs in: annotations at the lines of the file, and a summary of the step.
//!
//! Both go where GitHub asks for them by environment variables, and nowhere without. Failing to tell it fails no run.

use crate::report::{Report, github, markdown};
use std::io::Write;
use std::path::Path;

/// Tells it: annotations on standard error, because results stand on standard output.
pub(super) fn tell(reports: &[Report], env: &dyn Fn(&str) -> Option<String>, err: &mut dyn Write) {
    if env("GITHUB_ACTIONS").as_deref() == Some("true") {
        for report in reports {
            let file = in_repository(&report.file, env("GITHUB_WORKSPACE").as_deref());
            let _ = err.write_all(github::annotations(report, &file).as_bytes());
        }
    }
    if let Some(path) = env("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
        let summary = std::fs::File::options().append(true).create(true).open(&path);
        let told = summary.and_then(|mut file| writeln!(file, "{}", markdown::render_all(reports)));
        if let Err(error) = told {
            let _ = writeln!(err, "warning: the step summary `{path}` could not be written: {error}");
        }
    }
}

/// A file as the repository knows it: from its root.
fn in_repository(file: &str, root: Option<&str>) -> String {
    let whole = std::path::absolute(file).ok();
    let inner = root.and_then(|root| Some(whole?.strip_prefix(Path::new(root)).ok()?.display().to_string()));
    match inner {
        Some(inner) if !file.is_empty() => inner,
        _ => file.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_from_the_root_of_the_repository() {
        assert_eq!(in_repository("/repo/chaos/a.toml", Some("/repo")), "chaos/a.toml");
        assert_eq!(in_repository("/elsewhere/a.toml", Some("/repo")), "/elsewhere/a.toml");
        assert_eq!(in_repository("a.toml", None), "a.toml");
        assert_eq!(in_repository("", Some("/repo")), "");
    }
}
