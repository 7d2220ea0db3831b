//! The forms that texts of the file may have.

use super::Word;
use crate::model::StatusSet;
use crate::units::{Bytes, Comparison, Name, Percent, Rate, Span};
use std::net::SocketAddr;

/// Why a text is wrong, and perhaps what to write.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) label: String,
    pub(crate) help: Option<String>,
}

impl From<String> for Wrong {
    fn from(label: String) -> Self {
        Self { label, help: None }
    }
}

pub(super) fn wrong(label: impl Into<String>, help: impl Into<String>) -> Wrong {
    Wrong { label: label.into(), help: Some(help.into()) }
}

pub(super) static TEXT: Word = Word { what: "text", pattern: "", examples: &[], check: |_| Ok(()) };

pub(super) static NAME: Word = Word {
    what: "a name",
    pattern: r#"^[^"\x00-\x1f]{1,64}$"#,
    examples: &["checkout"],
    check: |text| Ok(text.parse::<Name>().map(drop)?),
};

pub(super) static DURATION: Word = Word {
    what: "a duration",
    pattern: r"^\s*([0-9.]+\s*(ns|us|µs|μs|ms|s|sec|m|min|h|d)\s*)+$",
    examples: &["250ms", "1.5s", "2m", "1h 30m"],
    check: |text| time(text).map(drop),
};

/// A duration; one in whole words is told how to be written.
fn time(text: &str) -> Result<std::time::Duration, Wrong> {
    text.parse::<Span>().map(|span| span.0).map_err(|label| match in_units(text) {
        Some(better) => wrong(label, format!("write `\"{better}\"`")),
        None => Wrong::from(label),
    })
}

/// `1 minute` as `1m`, if that makes a duration.
fn in_units(text: &str) -> Option<Span> {
    const UNITS: [(&str, &str); 8] = [
        ("millis", "ms"),
        ("msec", "ms"),
        ("micros", "us"),
        ("nanos", "ns"),
        ("sec", "s"),
        ("min", "m"),
        ("hour", "h"),
        ("day", "d"),
    ];
    let lower = text.trim().to_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = lower.split_at(digits);
    let (_, unit) = UNITS.iter().find(|(word, _)| unit.trim().starts_with(word))?;
    format!("{number}{unit}").parse().ok()
}

/// A duration above zero.
pub(super) static SOME_TIME: Word = Word {
    what: "a duration",
    pattern: DURATION.pattern,
    examples: &["5s", "250ms", "2m"],
    check: |text| match time(text)?.is_zero() {
        true => Err(wrong("must be longer than nothing", "write a duration above zero, such as `\"5s\"`")),
        false => Ok(()),
    },
};

pub(super) static PERCENT: Word = Word {
    what: "a percentage",
    pattern: r"^\s*[0-9.]+\s*%?\s*$",
    examples: &["5%", "0.5%"],
    check: |text| Ok(text.parse::<Percent>().map(drop)?),
};

pub(super) static RATE: Word = Word {
    what: "a rate",
    pattern: r"^\s*[0-9.]+\s*/\s*(s|m|min|h)\s*$",
    examples: &["50/s", "600/m"],
    check: |text| {
        text.parse::<Rate>().map(drop).map_err(|label| {
            let number = text.trim().trim_end_matches(|c: char| !c.is_ascii_digit()).trim();
            match number.parse::<f64>() {
                Ok(number) if number > 0.0 => wrong(label, format!("write `\"{number}/s\"`")),
                _ => Wrong::from(label),
            }
        })
    },
};

pub(super) static SIZE: Word = Word {
    what: "a size",
    pattern: r"^\s*[0-9.]+\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)?\s*$",
    examples: &["64 KiB", "1 MB", "512 B"],
    check: |text| Ok(text.parse::<Bytes>().map(drop)?),
};

pub(super) static SIZE_LIMIT: Word = Word {
    what: "a comparison of sizes",
    pattern: r"^\s*(<=|>=|<|>|==?).+$",
    examples: &["> 1 MiB", "<= 64 KiB"],
    check: |text| size_bounds(text).map(drop),
};

/// From the number beside a sign to the bounds that both mean.
type Bounds = fn(u64) -> Option<(u64, u64)>;

/// The bounds, inclusive, that `"> 1 MiB"` names.
pub(crate) fn size_bounds(text: &str) -> Result<(u64, u64), Wrong> {
    let trimmed = text.trim();
    let signs: [(&str, Bounds); 6] = [
        ("<=", |n| Some((0, n))),
        (">=", |n| Some((n, u64::MAX))),
        ("==", |n| Some((n, n))),
        ("<", |n| Some((0, n.checked_sub(1)?))),
        (">", |n| Some((n.checked_add(1)?, u64::MAX))),
        ("=", |n| Some((n, n))),
    ];
    let (rest, bounds) =
        signs.iter().find_map(|(sign, f)| Some((trimmed.strip_prefix(sign)?, f))).ok_or_else(|| {
            wrong(
                format!("`{text}` does not say whether more or less is meant"),
                format!("begin with `<`, `<=`, `>` or `>=`: `\"> {trimmed}\"`"),
            )
        })?;
    bounds(rest.parse::<Bytes>()?.0).ok_or_else(|| {
        wrong("no body is smaller than nothing", "write `\"== 0\"` for requests without a body")
    })
}

pub(super) static LIMIT: Word = Word {
    what: "a comparison",
    pattern: r"^\s*(<=|>=|<|>|==?)\s*[0-9.]+.*$",
    examples: &[">= 99%", "< 800ms", "<= 50"],
    check: |text| {
        let turned = [("=>", ">="), ("=<", "<=")];
        let trimmed = text.trim();
        for (wrongly, rightly) in turned {
            if let Some(rest) = trimmed.strip_prefix(wrongly) {
                let help = format!("write `\"{rightly} {}\"`", rest.trim());
                return Err(wrong(format!("`{wrongly}` is not a comparison"), help));
            }
        }
        text.parse::<Comparison>().map(drop).map_err(|label| {
            let sign = trimmed.find(|c: char| !matches!(c, '<' | '>' | '=')).unwrap_or(trimmed.len());
            let (sign, value) = trimmed.split_at(sign);
            match in_units(value) {
                Some(better) if !sign.is_empty() => wrong(label, format!("write `\"{sign} {better}\"`")),
                _ if sign.is_empty() && format!("< {value}").parse::<Comparison>().is_ok() => {
                    wrong("more, or less?", format!("write `\">= {value}\"` or `\"<= {value}\"`"))
                }
                _ => Wrong::from(label),
            }
        })
    },
};

pub(super) static ADDRESS: Word = Word {
    what: "an address with a port",
    pattern: r"^.+:[0-9]{1,5}$",
    examples: &["127.0.0.1:9000", "[::1]:9000"],
    check: |text| address(text).map(drop),
};

/// An address to listen on.
pub(crate) fn address(text: &str) -> Result<SocketAddr, Wrong> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse::<u16>().ok()) {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    if let Ok(port) = text.trim_start_matches([':', '*']).parse::<u16>() {
        return Err(wrong("the address before the port is missing", format!("write `\"127.0.0.1:{port}\"`")));
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Err(wrong(
            "the port is missing",
            "write `\"ADDRESS:PORT\"`; port 0 lets the system pick one",
        ));
    }
    if text.contains("://") {
        return Err(wrong("a listener has an address, not a URL", "write `\"127.0.0.1:9000\"`"));
    }
    Err(wrong(
        format!("`{text}` is not an address with a port"),
        "write an address and a port, such as `\"127.0.0.1:9000\"`; a host name cannot be listened on",
    ))
}

pub(super) static UPSTREAM: Word = Word {
    what: "a URL",
    pattern: r"^(http|tcp)://.+$",
    examples: &["http://127.0.0.1:4000", "tcp://127.0.0.1:5432"],
    check: |text| super::super::edge::upstream(text).map(drop),
};

pub(super) static HEADER: Word = Word {
    what: "the name of a header field",
    pattern: r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
    examples: &["x-request-id"],
    check: |text| match http::HeaderName::from_bytes(text.as_bytes()) {
        Ok(_) => Ok(()),
        Err(_) => Err(wrong(
            format!("`{}` cannot be the name of a header field", text.escape_debug()),
            "use letters, digits and `-`, such as `x-request-id`",
        )),
    },
};

pub(super) static HEADER_VALUE: Word = Word {
    what: "the value of a header field",
    pattern: r"^[^\r\n\x00]*$",
    examples: &["application/json"],
    check: |text| match http::HeaderValue::from_str(text) {
        Ok(_) if text.trim_matches([' ', '\t']) == text => Ok(()),
        _ => Err(wrong(
            "a header value has no line break, no control character and no space at its ends",
            "leave them out",
        )),
    },
};

pub(super) static QUERY_NAME: Word =
    Word { what: "the name of a query parameter", pattern: "", examples: &["user"], check: |_| Ok(()) };

pub(super) static GLOB: Word =
    Word { what: "a glob", pattern: "", examples: &["api.*", "gold"], check: |text| glob(text) };

fn glob(text: &str) -> Result<(), Wrong> {
    match globset::Glob::new(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(wrong(
            format!("`{text}` is not a glob: {}", error.kind()),
            "put `\\\\` before a `[`, `{`, `*` or `?` that is meant as it stands",
        )),
    }
}

pub(super) static PATH: Word = Word {
    what: "a path, as glob or pattern",
    pattern: r"^(/|\*).*$",
    examples: &["/v1/charges/**", "/users/{id}"],
    check: |text| {
        if !text.starts_with('/') && !text.starts_with('*') {
            return Err(wrong("a path begins with `/`", format!("write `\"/{text}\"`")));
        }
        if text.contains('?') && text.contains('=') {
            return Err(wrong("a path has no query", "use `query = { name = \"value\" }` beside it"));
        }
        match crate::model::pattern::PathPattern::parse(text) {
            Ok(_) => Ok(()),
            Err(label) => Err(wrong(
                label,
                "a named segment stands alone between slashes, such as `/users/{id}`; a choice is `{a,b}`",
            )),
        }
    },
};

pub(super) static PLAIN_PATH: Word = Word {
    what: "a path",
    pattern: r"^/\S*$",
    examples: &["/ping"],
    check: |text| match text.starts_with('/') && !text.contains([' ', '?', '#', '\r', '\n']) {
        true => Ok(()),
        false => Err(wrong(
            "not a path",
            "a path begins with `/` and has no space and no query, such as `\"/ping\"`",
        )),
    },
};

pub(super) static TARGET: Word = Word {
    what: "a path, perhaps with a query",
    pattern: r"^/\S*$",
    examples: &["/checkout?n=${n}"],
    check: |text| match text.starts_with('/') && text.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'#')
    {
        true => Ok(()),
        false => Err(wrong(
            "not a path that can be sent",
            "begin with `/` and percent-encode spaces and what is not ASCII, such as `\"/checkout?n=${n}\"`",
        )),
    },
};

pub(super) static METHOD: Word = Word {
    what: "a method",
    pattern: r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
    examples: &["GET", "POST"],
    check: |text| match http::Method::from_bytes(text.as_bytes()) {
        Ok(method) if method == http::Method::CONNECT => {
            Err(wrong("`CONNECT` is never passed on", "use another method"))
        }
        Ok(_) => Ok(()),
        Err(_) => {
            Err(wrong(format!("`{text}` is not a method"), "write one such as `\"GET\"` or `\"POST\"`"))
        }
    },
};

pub(super) static NETWORK: Word = Word {
    what: "a network or an address",
    pattern: r"^[0-9a-fA-F:.]+(/[0-9]{1,3})?$",
    examples: &["10.0.0.0/8", "::1"],
    check: |text| match network(text) {
        Some(_) => Ok(()),
        None => Err(wrong(
            format!("`{text}` is not a network"),
            "write an address, or one with the length of its prefix, such as `\"10.0.0.0/8\"`",
        )),
    },
};

/// A network; an address is one of its own.
pub(crate) fn network(text: &str) -> Option<ipnet::IpNet> {
    text.parse().ok().or_else(|| Some(ipnet::IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))
}

pub(super) static STATUS_SET: Word = Word {
    what: "a status code or class",
    pattern: r"^([1-5][0-9]{2}|[1-5]xx)$",
    examples: &["5xx", "503"],
    check: |text| match status_set(text) {
        Some(_) => Ok(()),
        None => Err(wrong(
            format!("`{text}` is neither a status from 100 to 599 nor a class"),
            "write one such as `503` or `5xx`",
        )),
    },
};

/// `503` or `5xx`.
pub(crate) fn status_set(text: &str) -> Option<StatusSet> {
    let (low, high) = match text.to_ascii_lowercase().strip_suffix("xx") {
        Some(class) => class.parse::<u16>().ok().map(|c| (c * 100, c * 100 + 99))?,
        None => text.parse().ok().map(|code: u16| (code, code))?,
    };
    ((100..600).contains(&low) && text.len() == 3).then_some(StatusSet { low, high })
}

pub(super) static STICKY: Word = Word {
    what: "what makes one victim",
    pattern: r"^(identity|caller|peer|connection|path|header:.+|path:.+)$",
    examples: &["identity", "caller", "peer", "connection", "path", "header:x-user", "path:id"],
    check: |text| super::super::who::sticky(text).map(drop),
};

pub(super) static TTL: Word = Word {
    what: "a duration or `\"forever\"`",
    pattern: "",
    examples: &["5m", "forever"],
    check: |text| {
        if text == "forever" {
            return Ok(());
        }
        let time = time(text)?;
        if time.is_zero() {
            return Err(wrong(
                "must be longer than nothing",
                "write a duration above zero, such as `\"5m\"`",
            ));
        }
        if time > std::time::Duration::from_secs(3600) {
            return Err(wrong(
                "longer than an hour",
                "write at most `\"1h\"`, or `\"forever\"` if that is meant",
            ));
        }
        Ok(())
    },
};

pub(super) static THEN: Word = Word {
    what: "a status, `\"close\"` or `\"reset\"`",
    pattern: "^([2-5][0-9]{2}|close|reset)$",
    examples: &["504", "close", "reset"],
    check: |text| match text {
        "close" | "reset" => Ok(()),
        _ if text.parse::<u16>().is_ok_and(|code| (200..600).contains(&code)) => Ok(()),
        _ => Err(wrong(
            format!("`{text}` is neither a status from 200 to 599 nor a way to cut"),
            "write `\"504\"`, `\"close\"` or `\"reset\"`",
        )),
    },
};
