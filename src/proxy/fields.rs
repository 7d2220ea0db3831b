//! A head as text that can be changed: its first line and its fields.
//!
//! Only exchanges whose content a fault changes come through here. Takes heads that the codec wrote, and writes heads that the
//! codec would take.

use crate::decision::{Fields, NewPath};

/// A head taken apart.
#[derive(Clone, Debug)]
pub(super) struct Head {
    start: String,
    fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// Takes a head apart, which ends with its empty line.
    pub(super) fn read(head: &[u8]) -> Option<Self> {
        let text = head.strip_suffix(b"\r\n\r\n")?;
        let mut lines =
            text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let start = String::from_utf8(lines.next()?.to_vec()).ok()?;
        let field = |line: &[u8]| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = String::from_utf8(line.get(..colon)?.to_vec()).ok()?;
            Some((name, line.get(colon + 1..)?.trim_ascii().to_vec()))
        };
        Some(Self { start, fields: lines.map(field).collect::<Option<_>>()? })
    }

    /// Writes it in place of what is there.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.start.as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in &self.fields {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let fields = self.fields.iter().map(|(name, value)| name.len() + value.len() + 64);
        self.start.len() + fields.sum::<usize>()
    }

    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &value[..])
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.fields.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    pub(super) fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.fields.push((name.to_owned(), value.to_vec()));
    }

    /// Only this framing, for a body of this length.
    pub(super) fn set_length(&mut self, length: usize) {
        self.remove("transfer-encoding");
        self.set("content-length", length.to_string().as_bytes());
    }

    /// The method of a request.
    pub(super) fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The target of a request: its path, and its query with the `?`.
    pub(super) fn target(&self) -> (&str, &str) {
        let target = self.start.split(' ').nth(1).unwrap_or_default();
        target.split_at(target.find('?').unwrap_or(target.len()))
    }

    pub(super) fn set_status(&mut self, status: u16) {
        let reason = http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
        self.start = format!("HTTP/1.1 {status} {}", reason.unwrap_or_default());
    }

    /// Takes the request elsewhere below `base`, where its upstream lives; tells the path before and after if it differs.
    pub(super) fn change_path(&mut self, base: &str, new: &NewPath) -> Option<(String, String)> {
        let (path, query) = self.target();
        let was = path.strip_prefix(base)?.to_owned();
        let became = match new {
            NewPath::Whole(path) => path.clone(),
            NewPath::Prefix { from, to } => {
                let rest = was
                    .strip_prefix(from.as_str())
                    .filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
                let path = format!("{to}{rest}");
                if path.is_empty() { "/".to_owned() } else { path }
            }
        };
        if became == was || was == "*" {
            return None;
        }
        self.start = format!("{} {base}{became}{query} HTTP/1.1", self.method());
        Some((was, became))
    }

    /// Changes fields; tells the name, and the value before and after, of each that is another one now.
    pub(super) fn change(&mut self, changes: &Fields, mut told: impl FnMut(&str, &[u8], &[u8])) {
        for name in &changes.remove {
            if let Some(was) = self.get(name).map(<[u8]>::to_vec) {
                told(name, &was, b"");
                self.remove(name);
            }
        }
        let present = |head: &Self, name: &str| head.get(name).is_some();
        let replaced: Vec<_> = changes.replace.iter().filter(|(name, _)| present(self, name)).collect();
        for (name, value) in replaced.into_iter().chain(&changes.set) {
            let same = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).count() == 1;
            let was = self.get(name).map(<[u8]>::to_vec);
            if !same || was.as_deref() != Some(value.as_bytes()) {
                told(name, &was.unwrap_or_default(), value.as_bytes());
                self.set(name, value.as_bytes());
            }
        }
    }

    /// What frames a message or its connection, taken out.
    pub(super) fn without_framing(mut self) -> Self {
        for name in ["content-length", "transfer-encoding", "connection", "keep-alive"] {
            self.remove(name);
        }
        self
    }

    /// Puts another head in place of this one, but for what frames the message and its connection.
    pub(super) fn become_like(&mut self, other: &Self) {
        let own = ["content-length", "transfer-encoding", "connection", "keep-alive"];
        self.fields.retain(|(name, _)| own.iter().any(|known| name.eq_ignore_ascii_case(known)));
        self.start.clone_from(&other.start);
        let own = std::mem::take(&mut self.fields);
        self.fields = other.fields.iter().cloned().chain(own).collect();
    }
}

/// Takes out the fields by which a request asks for faults; `baggage` travels on.
pub(super) fn strip_control(out: &mut Vec<u8>) {
    let Some(mut head) = Head::read(out) else { return };
    let before = head.fields.len();
    head.fields.retain(|(name, _)| {
        let name = name.to_ascii_lowercase();
        name != "x-brownout-fault" && !name.starts_with("x-envoy-fault-")
    });
    if head.fields.len() < before {
        head.write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn paths_move_by_whole_segments_below_their_base() {
        let prefix = |from: &str, to: &str| NewPath::Prefix { from: from.into(), to: to.into() };
        for (target, base, new, out) in [
            ("/v2/a?x=1", "", prefix("/v2", "/v1"), Some("/v1/a?x=1")),
            ("/v2", "", prefix("/v2", ""), Some("/")),
            ("/v22", "", prefix("/v2", "/v1"), None),
            ("/base/v2/a", "/base", prefix("/v2", "/v1"), Some("/base/v1/a")),
            ("/a?b", "", NewPath::Whole("/c".into()), Some("/c?b")),
            ("/a", "", NewPath::Whole("/a".into()), None),
            ("*", "", NewPath::Whole("/a".into()), None),
        ] {
            let mut changed = head(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let did = changed.change_path(base, &new);
            assert_eq!(did.is_some(), out.is_some(), "{target}");
            let (path, query) = changed.target();
            assert_eq!(format!("{path}{query}"), out.unwrap_or(target));
        }
    }

    #[test]
    fn only_what_differs_is_told() {
        let mut changed = head("HTTP/1.1 200 OK\r\nETag: x\r\nA: 1\r\nB: 2\r\nB: 3\r\n\r\n");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let changes = Fields {
            set: vec![pair("a", "1"), pair("b", "2"), pair("new", "n")],
            remove: vec!["etag".into(), "gone".into()],
            replace: vec![pair("c", "x"), pair("a", "1")],
        };
        let mut told = Vec::new();
        changed.change(&changes, |name, _, _| told.push(name.to_owned()));
        assert_eq!(told, ["etag", "b", "new"]);
        let mut out = Vec::new();
        changed.write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "HTTP/1.1 200 OK\r\nA: 1\r\nb: 2\r\nnew: n\r\n\r\n");
    }
}
