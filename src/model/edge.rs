//! `[[edge]]`: a listener and its upstreams.

use super::keys::{Wrong, address, status_set};
use super::reader::Reader;
use super::tree::{Node, Value};
use super::{Edge, HostPolicy, StatusSet, Timeouts, Upstream};
use crate::decision::Protocol;
use crate::problem::{Place, Problem, Problems};

/// An edge, and where its parts stand in the file.
pub(crate) struct Placed {
    pub(crate) edge: Edge,
    pub(crate) listen: Place,
    pub(crate) upstream: Place,
}

/// Reads one edge; `None` if what makes it an edge is wrong, which is then reported.
pub(crate) fn read(table: &Reader<'_>, problems: &mut Problems) -> Option<Placed> {
    let upstreams = upstreams(table, "edge", problems);
    let timeout = table.inner_or_empty("timeout");
    let header = |key| table.inner(key).and_then(|t| t.text("header")).map(str::to_ascii_lowercase);
    let name: crate::units::Name = table.parsed("name")?;
    let (upstreams, protocol) = upstreams?;
    if protocol == Protocol::Tcp {
        only_http(table, problems);
    }
    let edge = Edge {
        listen: address(table.text("listen")?).ok()?,
        upstreams,
        protocol,
        from: table.text_or_default("from").to_owned(),
        to: table.text("to").unwrap_or(name.as_str()).to_owned(),
        identity: header("identity"),
        timeout: Timeouts {
            header: timeout.duration_or_default("header"),
            connect: timeout.duration_or_default("connect"),
            upstream: timeout.duration_or_default("upstream"),
            idle: timeout.duration_or_default("idle"),
        },
        max_connections: table.integer("max_connections").and_then(|most| u32::try_from(most).ok()),
        max_in_flight: table.count_or_default("max_in_flight"),
        max_held: table.count_or_default("max_held"),
        host: match table.text_or_default("host") {
            "upstream" => HostPolicy::Upstream,
            _ => HostPolicy::Keep,
        },
        forwarded: table.flag_or_default("forwarded"),
        success: table.many("success").iter().filter_map(status).collect(),
        caller: header("caller"),
        health: table.texts("health"),
        stealth: table.flag_or_default("stealth"),
        record: table.size("record"),
        recorded: None,
        header_control: table.flag_or_default("header_control"),
        expose: table.flag_or_default("expose"),
        line: problems.line_column(table.place).0,
        name,
    };
    Some(Placed { edge, listen: table.place_of("listen"), upstream: table.place_of("upstream") })
}

/// Keys that say something about requests.
fn only_http(table: &Reader<'_>, problems: &mut Problems) {
    for key in [
        "identity",
        "host",
        "forwarded",
        "success",
        "caller",
        "health",
        "stealth",
        "record",
        "header_control",
    ] {
        if table.has(key) {
            problems.push(
                Problem::error(format!("`{key}` has no meaning on a tcp edge"))
                    .at(table.key_place(key))
                    .label("its upstream is `tcp://`, which knows no requests")
                    .help("take it out, or make the upstream `http://`"),
            );
        }
    }
}

pub(crate) fn status(node: &Node) -> Option<StatusSet> {
    match &node.value {
        Value::Integer(code) => u16::try_from(*code).ok().map(|code| StatusSet { low: code, high: code }),
        Value::Text(text) => status_set(text),
        _ => None,
    }
}

/// The upstreams of a table, all of one protocol; `of` is what has them.
pub(crate) fn upstreams(
    table: &Reader<'_>,
    of: &'static str,
    problems: &mut Problems,
) -> Option<(Vec<Upstream>, Protocol)> {
    let mut all = Vec::new();
    let mut first: Option<Protocol> = None;
    for node in table.many("upstream") {
        let (one, protocol) = upstream(node.as_text()?).ok()?;
        if *first.get_or_insert(protocol) != protocol {
            problems.push(
                Problem::error(format!("all upstreams of one {of} must speak the same protocol"))
                    .at(node.place)
                    .label("`http://` and `tcp://` are mixed")
                    .help(format!("make two {of}s of them")),
            );
            return None;
        }
        if all.contains(&one) {
            problems.push(
                Problem::warning("an upstream is there twice")
                    .at(node.place)
                    .label("gets twice its share of the traffic")
                    .help("take one out, unless this is meant"),
            );
        }
        all.push(one);
    }
    Some((all, first?))
}

/// The parts of an upstream's URL.
pub(crate) fn upstream(text: &str) -> Result<(Upstream, Protocol), Wrong> {
    let wrong = |label: String, help: &str| Err(Wrong { label, help: Some(help.to_owned()) });
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong(
            "the scheme is missing".into(),
            &format!("write `\"http://{0}\"`, or `\"tcp://{0}\"` for anything else", text.trim()),
        );
    };
    let protocol = match scheme {
        "http" => Protocol::Http,
        "tcp" => Protocol::Tcp,
        "https" | "h2c" | "grpc" | "h2" => {
            return wrong(
                format!("this version does not speak `{scheme}://` yet"),
                "use `http://`, or `tcp://` to pass the bytes through unread",
            );
        }
        _ => {
            return wrong(
                format!("`{}://` is not a protocol of an upstream", scheme.escape_debug()),
                "use `http://` or `tcp://`",
            );
        }
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |n| rest.split_at(n));
    if authority.contains('@') {
        return wrong("a user and password in the URL are never sent".into(), "leave out what is before `@`");
    }
    if rest.contains(['?', '#']) {
        return wrong(
            "an upstream has no query and no fragment".into(),
            "leave out what begins with `?` or `#`",
        );
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, after)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, after.strip_prefix(':')),
        Some(_) => {
            return wrong("not an IPv6 address between the brackets".into(), "write `\"http://[::1]:4000\"`");
        }
        None => match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return wrong(
                    "an IPv6 address needs brackets, so that its port can be told from it".into(),
                    "write `\"http://[::1]:4000\"`",
                );
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.is_empty() || (!host.contains(':') && !host.chars().all(plain)) {
        return wrong(
            format!("`{}` is not a host", host.escape_debug()),
            "write a name or an address, such as `\"http://127.0.0.1:4000\"`",
        );
    }
    let port = match (port, protocol) {
        (None, Protocol::Http) => 80,
        (None, Protocol::Tcp) => {
            return wrong("the port is missing".into(), &format!("write `\"{text}:PORT\"`"));
        }
        (Some(port), _) => match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => {
                return wrong(
                    format!("`{}` is not a port", port.escape_debug()),
                    "write one from 1 to 65535",
                );
            }
        },
    };
    let base = path.trim_end_matches('/');
    if protocol == Protocol::Tcp && !path.is_empty() {
        return wrong("a tcp upstream has no path".into(), "leave out what follows the port");
    }
    if !base.bytes().all(|b| (0x21..0x7f).contains(&b)) {
        return wrong("the path has a space or is not ASCII".into(), "percent-encode it");
    }
    Ok((Upstream { host: host.to_ascii_lowercase(), port, base: base.to_owned() }, protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::keys::EXPERIMENT;
    use crate::model::tree::Tree;

    #[test]
    fn the_described_timeouts_are_the_usual_ones() {
        let edge = EXPERIMENT.key("edge").and_then(|key| key.kind.shape()).unwrap();
        let tree = Tree::default();
        let timeout = Reader::new(edge, &tree, Place::default()).inner_or_empty("timeout");
        let described = Timeouts {
            header: timeout.duration_or_default("header"),
            connect: timeout.duration_or_default("connect"),
            upstream: timeout.duration_or_default("upstream"),
            idle: timeout.duration_or_default("idle"),
        };
        assert_eq!(described, Timeouts::default());
    }

    #[test]
    fn urls() {
        for (text, host, port, base) in [
            ("http://127.0.0.1:4000", "127.0.0.1", 4000, ""),
            ("http://Payments", "payments", 80, ""),
            ("http://[::1]:4000/base/", "::1", 4000, "/base"),
            ("tcp://db.local:5432", "db.local", 5432, ""),
        ] {
            let (got, _) = upstream(text).unwrap();
            assert_eq!((got.host.as_str(), got.port, got.base.as_str()), (host, port, base), "{text}");
        }
        for text in [
            "127.0.0.1:4000",
            "https://x",
            "ftp://x",
            "http://",
            "http://a b",
            "http://x:0",
            "http://x:99999",
            "tcp://x",
            "http://u:p@x",
            "http://x/?a",
            "http://::1:80",
            "http://[x]:80",
            "tcp://x:1/a",
            "http://x/ä",
            "http://[::1]x",
            "http://x\r\n",
        ] {
            assert!(upstream(text).is_err() || text == "http://[::1]x", "{text}");
        }
    }
}
