//! The forms of texts that are about processes and probes: commands, variables, signals, URLs.

use super::Word;
use super::words::wrong;
use crate::model::fill;
use nix::sys::signal::Signal;
use std::str::FromStr as _;

use super::Wrong;

/// What no program can be given.
fn no_nul(text: &str) -> Result<(), Wrong> {
    match text.contains('\0') {
        true => Err(wrong("a NUL cannot be handed to a process", "take it out")),
        false => Ok(()),
    }
}

pub(super) static ARGUMENT: Word =
    Word { what: "a word of a command", pattern: "", examples: &["node"], check: no_nul };

pub(super) static ENV_VALUE: Word = Word {
    what: "the value of an environment variable",
    pattern: "",
    examples: &["production"],
    check: no_nul,
};

pub(super) static ENV_NAME: Word = Word {
    what: "the name of an environment variable",
    pattern: r"^[A-Za-z_][A-Za-z0-9_.-]*$",
    examples: &["ENVIRONMENT"],
    check: |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        match text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            true => Ok(()),
            false => Err(wrong(
                format!("`{}` cannot be the name of an environment variable", text.escape_debug()),
                "use letters, digits and `_`, such as `ENVIRONMENT`",
            )),
        }
    },
};

pub(super) static FOLDER: Word = Word {
    what: "a folder",
    pattern: r"^.+$",
    examples: &["../payments"],
    check: |text| match text.is_empty() {
        true => Err(wrong("no folder has an empty name", "write `\".\"` for the folder of this file")),
        false => no_nul(text),
    },
};

pub(super) static USER: Word = Word {
    what: "the name of a user",
    pattern: r"^[^\s:]+$",
    examples: &["nobody"],
    check: |text| match text.is_empty()
        || text.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':')
    {
        true => Err(wrong(
            format!("`{}` cannot be the name of a user", text.escape_debug()),
            "write one of this machine, such as `\"nobody\"`",
        )),
        false => Ok(()),
    },
};

pub(super) static SIGNAL: Word = Word {
    what: "a signal",
    pattern: r"^(SIG)?[A-Z0-9]+$",
    examples: &["KILL", "TERM", "SIGSEGV"],
    check: |text| match signal(text) {
        Some(Signal::SIGSTOP | Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU) => Err(wrong(
            format!("`{text}` stops a process, and nothing would let it go on"),
            "use `pause = \"700ms\"` instead of `kill`",
        )),
        Some(Signal::SIGCONT) => {
            Err(wrong("nothing was stopped", "use `pause = \"700ms\"`, which goes on by itself"))
        }
        Some(_) => Ok(()),
        None => Err(wrong(
            format!("`{}` is not a signal", text.escape_debug()),
            "write one such as `\"KILL\"`, `\"TERM\"`, `\"SEGV\"` or `\"HUP\"`",
        )),
    },
};

/// A signal, with or without `SIG`.
pub(crate) fn signal(text: &str) -> Option<Signal> {
    let upper = text.trim().to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    Signal::from_str(&name).ok()
}

pub(super) static URL: Word =
    Word { what: "a URL", pattern: r"^http://.+$", examples: &["http://127.0.0.1:4000/healthz"], check: url };

fn url(text: &str) -> Result<(), Wrong> {
    let filled = fill::with(text, |_| "http://127.0.0.1:1".to_owned());
    if filled.starts_with("https://") {
        return Err(wrong(
            "this version does not speak `https://` yet",
            "use `http://`, or `tcp` or `command`",
        ));
    }
    let Some(rest) = filled.strip_prefix("http://") else {
        let help = match text.starts_with('/') {
            true => format!("write the whole URL, such as `\"http://127.0.0.1:4000{text}\"`"),
            false => "write one such as `\"http://127.0.0.1:4000/healthz\"`".to_owned(),
        };
        return Err(wrong("does not begin with `http://`", help));
    };
    if rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
        return Err(wrong("a user and password in the URL are never sent", "use `headers`"));
    }
    if rest.contains('#') {
        return Err(wrong("a fragment is never sent", "leave out what begins with `#`"));
    }
    match filled.parse::<http::Uri>() {
        Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) && uri.port_u16() != Some(0) => Ok(()),
        _ => Err(wrong(
            "not a URL that can be asked",
            "percent-encode spaces and what is not ASCII, such as `\"http://127.0.0.1:4000/healthz\"`",
        )),
    }
}

pub(super) static HOST_PORT: Word = Word {
    what: "a host with a port",
    pattern: r"^.+:[0-9]{1,5}$",
    examples: &["127.0.0.1:5432", "db:5432"],
    check: host_port,
};

fn host_port(text: &str) -> Result<(), Wrong> {
    let filled = fill::with(text, |_| "127.0.0.1:1".to_owned());
    if let Some((_, rest)) = filled.split_once("://") {
        return Err(wrong(
            "a host and a port, not a URL",
            format!("write `\"{}\"`", rest.trim_end_matches('/')),
        ));
    }
    let plain = |host: &str| {
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match inner {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
            }
        }
    };
    match filled.rsplit_once(':') {
        Some((host, port)) if plain(host) && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
        _ => Err(wrong(
            format!("`{}` is not a host with a port", text.escape_debug()),
            "write one such as `\"127.0.0.1:5432\"`",
        )),
    }
}

pub(super) static REGEX: Word = Word {
    what: "a regular expression",
    pattern: "",
    examples: &["listening on .*"],
    check: |text| match regex(text) {
        Some(_) => Ok(()),
        None => Err(wrong(
            format!("`{}` is not a regular expression", text.escape_debug()),
            "put a backslash before what is meant as it stands: `\\\\(`; single quotes spare the second one",
        )),
    },
};

/// A regular expression of a bounded size.
pub(crate) fn regex(text: &str) -> Option<regex::Regex> {
    regex::RegexBuilder::new(text).size_limit(1 << 20).build().ok()
}

pub(super) static JSON_PATH: Word = Word {
    what: "a path in JSON",
    pattern: r"^\$",
    examples: &["$.mode", "$.items[0].price"],
    check: |text| match crate::model::jsonpath::steps(text) {
        Some(_) => Ok(()),
        None => Err(wrong(
            format!("`{}` is not a plain path in JSON", text.escape_debug()),
            "begin with `$`, then names and places, such as `\"$.items[0].price\"`",
        )),
    },
};

pub(super) static SINCE: Word = Word {
    what: "a moment in the life of a service",
    pattern: r"^(start|ready):.+$",
    examples: &["start:api", "ready:api"],
    check: |text| match text.split_once(':') {
        Some(("start" | "ready", name)) if !name.trim().is_empty() => Ok(()),
        _ => Err(wrong(
            format!("`{}` is neither a start nor a readiness", text.escape_debug()),
            "write `\"start:SERVICE\"` or `\"ready:SERVICE\"`",
        )),
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let right = |word: &Word, texts: &[&str]| {
            texts.iter().for_each(|text| assert!((word.check)(text).is_ok(), "{}: {text}", word.what));
        };
        let refused = |word: &Word, texts: &[&str]| {
            texts.iter().for_each(|text| assert!((word.check)(text).is_err(), "{}: {text}", word.what));
        };
        right(&SIGNAL, &["KILL", "SIGTERM", "hup", "SIGSEGV", "USR1"]);
        refused(&SIGNAL, &["", "9", "SIGNAL", "STOP", "SIGCONT", "SIGSIGKILL"]);
        right(&URL, &["http://x", "http://[::1]:1/a?b=c", "${edge.web}/a", "${edge.web}"]);
        refused(
            &URL,
            &[
                "",
                "x",
                "/a",
                "https://x",
                "http://",
                "http://u:p@x/",
                "http://x/a b",
                "http://x/#a",
                "http://:1/",
            ],
        );
        right(&HOST_PORT, &["db:1", "127.0.0.1:65535", "[::1]:5", "${edge.db}"]);
        refused(
            &HOST_PORT,
            &["", "db", "db:0", ":5", "http://db:1", "::1:5", "a b:5", "db:65536", "${edge.db}:1"],
        );
        right(&ENV_NAME, &["A", "_x", "spring.datasource.url", "A-B"]);
        refused(&ENV_NAME, &["", "1A", "A=B", "A B", "Ä", "a\0"]);
        right(&SINCE, &["start:api", "ready:a b"]);
        refused(&SINCE, &["", "api", "start:", "stop:api", "start: "]);
        right(&REGEX, &["", "a.*", "^x$"]);
        refused(&REGEX, &["(", "a{1000}{1000}{1000}"]);
    }
}
