//! The user's command: `brownout run FILE -- CMD`.
//!
//! It is a process group of its own, so that a signal meant for it meets all of it and none of us. Whatever is left of the
//! group when its leader ends is killed, and so is all of it when this is dropped: never an orphan.

use crate::model::fill_in;
use crate::problem::nearest;
use crate::supervise::group::{self, Group};
use nix::sys::signal::Signal;
use std::io;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A command under way. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    pid: u32,
    group: Arc<Group>,
    ended: oneshot::Receiver<i32>,
}

impl Running {
    /// The number of its process, which leads its group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks all of it to end.
    pub fn terminate(&self) {
        self.group.signal(Signal::SIGTERM);
        // A stopped process would not hear it.
        self.group.signal(Signal::SIGCONT);
    }

    /// Ends all of it.
    pub fn kill(&self) {
        self.group.signal(Signal::SIGKILL);
    }

    /// Its exit code; 128 and more: the signal that ended it.
    pub async fn ended(&mut self) -> i32 {
        (&mut self.ended).await.unwrap_or(128)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a command. Its output goes to our standard error: standard output is for results.
///
/// # Errors
/// When it cannot be started.
pub fn start(argv: &[String], env: &[(String, String)]) -> io::Result<Running> {
    let (program, args) =
        argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command"))?;
    // Reading from a terminal would stop a group in the background.
    let stdin = if io::stdin().is_terminal() { Stdio::null() } else { Stdio::inherit() };
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    let mut command = Command::new(program);
    command.args(args).envs(env.iter().map(|(name, value)| (name, value))).stdin(stdin).stdout(stderr);
    spawn(command)
}

/// Starts a command of which nothing is read or shown.
///
/// # Errors
/// When it cannot be started.
pub(super) fn start_quietly(argv: &[String], env: &[(String, String)]) -> io::Result<Running> {
    let (program, args) =
        argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command"))?;
    let mut command = Command::new(program);
    command.args(args).envs(env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    spawn(command)
}

fn spawn(mut command: Command) -> io::Result<Running> {
    let child = command.process_group(0).spawn()?;
    let group = Arc::new(Group::led_by(child.id()));
    let (tell, ended) = oneshot::channel();
    let running = Running { pid: child.id(), group: Arc::clone(&group), ended };
    let name = "command".to_owned();
    std::thread::Builder::new().name(name).spawn(move || {
        let _ = tell.send(group.wait(child).map_or(128, group::code));
    })?;
    Ok(running)
}

/// What a command knows of Brownout: the admin address and each edge's.
#[must_use]
pub fn environment(admin: Option<SocketAddr>, edges: &[(String, String)]) -> Vec<(String, String)> {
    let admin = admin.map(|address| ("BROWNOUT_ADMIN".to_owned(), format!("http://{address}")));
    let edges = edges.iter().map(|(name, url)| {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        (format!("BROWNOUT_EDGE_{}", name.chars().map(plain).collect::<String>()), url.clone())
    });
    admin.into_iter().chain(edges).collect()
}

/// Fills `${edge.NAME}` into the words of a command; every other `${...}` is the command's own.
///
/// # Errors
/// A sentence for the user, if there is no such edge.
pub fn fill(argv: &[String], edges: &[(String, String)]) -> Result<Vec<String>, String> {
    argv.iter().map(|word| fill_word(word, edges)).collect()
}

pub(super) fn fill_word(word: &str, edges: &[(String, String)]) -> Result<String, String> {
    let mut unknown = None;
    let out = fill_in(word, |name| match edges.iter().find(|(edge, _)| edge == name) {
        Some((_, url)) => url.clone(),
        None => {
            unknown.get_or_insert_with(|| name.to_owned());
            String::new()
        }
    });
    let Some(name) = unknown else { return Ok(out) };
    let near = nearest(&name, edges.iter().map(|(edge, _)| edge.as_str()))
        .map_or_else(String::new, |edge| format!(": did you mean `${{edge.{edge}}}`?"));
    Err(format!("there is no edge for `${{edge.{name}}}`{near}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn edges() -> Vec<(String, String)> {
        vec![("check-out".into(), "http://127.0.0.1:1".into()), ("db".into(), "127.0.0.1:2".into())]
    }

    #[tokio::test]
    async fn its_exit_code_and_its_environment() {
        let env = environment("127.0.0.1:8475".parse().ok(), &edges());
        let script = r#"test "$BROWNOUT_ADMIN $BROWNOUT_EDGE_CHECK_OUT" = "http://127.0.0.1:8475 http://127.0.0.1:1" && exit 7"#;
        assert_eq!(start(&sh(script), &env).unwrap().ended().await, 7);
        assert_eq!(start(&sh("kill -9 $$"), &[]).unwrap().ended().await, 137);
        assert!(start(&["/no/such/command".into()], &[]).is_err());
        assert!(start(&[], &[]).is_err());
    }

    #[tokio::test]
    async fn sigterm_meets_the_whole_group_and_sigkill_those_that_do_not_listen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        let mut polite = start(&sh("sleep 600 & wait"), &[]).unwrap();
        polite.terminate();
        assert_eq!(polite.ended().await, 143);

        let script = format!("trap '' TERM; : > {}; while :; do sleep 600; done", path.display());
        let mut deaf = start(&sh(&script), &[]).unwrap();
        while !path.exists() {
            tokio::task::yield_now().await;
        }
        deaf.kill();
        assert_eq!(deaf.ended().await, 137);
    }

    #[tokio::test]
    async fn what_it_leaves_behind_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}", path.display());
        assert_eq!(start(&sh(&script), &[]).unwrap().ended().await, 0);
        let pid: i32 = std::fs::read_to_string(&path).unwrap().trim().parse().unwrap();
        // Killed before the end was told; it dies when the kernel gets to it, and its new parent reaps it.
        let dead = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        let limit = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        while !dead() && tokio::time::Instant::now() < limit {
            tokio::task::yield_now().await;
        }
        assert!(dead());
    }

    #[test]
    fn edges_are_filled_in() {
        let filled = |word: &str| fill(&[word.to_owned()], &edges()).map(|words| words.concat());
        assert_eq!(
            filled("${edge.check-out}/x ${edge.db} $HOME ${n}").unwrap(),
            "http://127.0.0.1:1/x 127.0.0.1:2 $HOME ${n}"
        );
        assert_eq!(filled("${edge.unclosed").unwrap(), "${edge.unclosed");
        let error = filled("${edge.checkout}").unwrap_err();
        assert!(error.contains("did you mean `${edge.check-out}`?"), "{error}");
    }
}
