//! Whether a request is one that a fault may strike, and which victim it is.
//!
//! Cheap tests come first (method, then the fixed beginning of the path), so that faults which do not match cost next to
//! nothing.

use crate::decision::{Key, Protocol, Subject};
use crate::model::pattern::PathPattern;
use crate::model::{Match, Sticky, Who};
use globset::{Glob, GlobSet, GlobSetBuilder};

/// A compiled `match` and `except`.
#[derive(Debug)]
pub(super) struct Matcher {
    wanted: Option<One>,
    spared: Option<One>,
    /// Health requests are struck too: the rule names a path, or says so.
    health: bool,
}

#[derive(Debug)]
struct One {
    methods: Vec<String>,
    paths: Vec<PathPattern>,
    query: Vec<(String, GlobSet)>,
    headers: Vec<(String, GlobSet)>,
    /// The first of them, as it is written.
    field: Option<(String, Vec<String>)>,
    host: Option<GlobSet>,
    peer: Vec<ipnet::IpNet>,
    caller: Option<GlobSet>,
    body_size: Option<(u64, u64)>,
    upgrade: Vec<String>,
}

impl Matcher {
    pub(super) fn new(who: &Who) -> Result<Self, String> {
        Ok(Self {
            health: who.include_health || who.matches.as_ref().is_some_and(|wanted| !wanted.path.is_empty()),
            wanted: who.matches.as_ref().map(One::new).transpose()?,
            spared: who.except.as_ref().map(One::new).transpose()?,
        })
    }

    /// What the path of every request that is struck begins with, where there is one such beginning.
    pub(super) fn path_prefix(&self) -> &str {
        match self.wanted.as_ref().map(|one| one.paths.as_slice()) {
            Some([path]) => path.prefix(),
            _ => "",
        }
    }

    /// A field that every request that is struck has, with the patterns of which its value is one.
    pub(super) fn field(&self) -> Option<(&str, &[String])> {
        self.wanted
            .as_ref()
            .and_then(|one| one.field.as_ref())
            .map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// Whether health requests are struck too.
    pub(super) fn takes_health(&self) -> bool {
        self.health
    }

    pub(super) fn names_segment(&self, name: &str) -> bool {
        self.wanted.as_ref().is_some_and(|one| one.paths.iter().any(|path| path.names(name)))
    }

    pub(super) fn matches(&self, subject: &dyn Subject) -> bool {
        if let Some(wanted) = &self.wanted
            && !wanted.matches(subject)
        {
            return false;
        }
        if !self.health && subject.is_health() {
            return false;
        }
        !self.spared.as_ref().is_some_and(|spared| spared.matches(subject))
    }

    /// The victim's key; `None` if the request has none (it lacks the header), and then it is spared.
    pub(super) fn key(&self, sticky: &Sticky, subject: &dyn Subject) -> Option<Key> {
        match sticky {
            Sticky::Identity => Some(identity(subject)),
            Sticky::Caller => Some(match subject.caller() {
                Some(caller) => Key::of(caller),
                None => Key::of(subject.peer().to_string().as_bytes()),
            }),
            Sticky::Peer => Some(Key::of(subject.peer().to_string().as_bytes())),
            Sticky::Connection => Some(Key(subject.connection())),
            Sticky::Path => Some(Key::of(subject.path().as_bytes())),
            Sticky::Header(name) => subject.header(name).map(Key::of),
            Sticky::PathSegment(name) => {
                let wanted = self.wanted.as_ref()?;
                let path =
                    wanted.paths.iter().find(|path| path.names(name) && path.matches(subject.path()))?;
                path.segment(name, subject.path()).map(|segment| Key::of(segment.as_bytes()))
            }
        }
    }
}

/// What makes a logical request: the edge's own header, else the trace id, the usual ids, else method, path and query.
fn identity(subject: &dyn Subject) -> Key {
    if let Some(id) = subject.identity() {
        return Key::of(id);
    }
    // version-traceid-spanid-flags: the trace id stays the same over retries
    if let Some(trace) =
        subject.header("traceparent").and_then(|value| value.split(|byte| *byte == b'-').nth(1))
    {
        return Key::of(trace);
    }
    if let Some(id) = subject.header("x-request-id").or_else(|| subject.header("idempotency-key")) {
        return Key::of(id);
    }
    let query = subject.query().unwrap_or_default();
    Key::of([subject.method(), " ", subject.path(), "?", query].concat().as_bytes())
}

impl One {
    fn new(words: &Match) -> Result<Self, String> {
        let pairs = |pairs: &[(String, Vec<String>)]| -> Result<Vec<_>, String> {
            pairs.iter().map(|(name, values)| Ok((name.clone(), globs(values)?))).collect()
        };
        let some = |list: &[String]| if list.is_empty() { Ok(None) } else { globs(list).map(Some) };
        Ok(Self {
            methods: words.method.clone(),
            paths: words.path.iter().map(|path| PathPattern::parse(path)).collect::<Result<_, _>>()?,
            query: pairs(&words.query)?,
            headers: pairs(&words.headers)?,
            field: words.headers.first().cloned(),
            host: some(&words.host)?,
            peer: words.peer.clone(),
            caller: some(&words.caller)?,
            body_size: words.body_size,
            upgrade: words.upgrade.clone(),
        })
    }

    fn matches(&self, subject: &dyn Subject) -> bool {
        if subject.protocol() == Protocol::Http {
            if !self.methods.is_empty() && !self.methods.iter().any(|method| method == subject.method()) {
                return false;
            }
            if !self.paths.is_empty() && !self.paths.iter().any(|path| path.matches(subject.path())) {
                return false;
            }
        }
        (self.peer.is_empty() || self.peer.iter().any(|net| net.contains(&subject.peer())))
            && self.body_size.is_none_or(|(low, high)| {
                subject.body_size().is_some_and(|size| (low..=high).contains(&size))
            })
            && (self.upgrade.is_empty() || self.upgrades(subject))
            && self.host.as_ref().is_none_or(|host| subject.host().is_some_and(|name| host.is_match(name)))
            && self.headers.iter().all(|(name, values)| {
                subject
                    .header(name)
                    .and_then(|value| std::str::from_utf8(value).ok())
                    .is_some_and(|v| values.is_match(v))
            })
            && self.query.iter().all(|(name, values)| has_parameter(subject.query(), name, values))
            && self.caller.as_ref().is_none_or(|callers| match subject.caller() {
                Some(caller) => std::str::from_utf8(caller).is_ok_and(|caller| callers.is_match(caller)),
                None => callers.is_match(subject.peer().to_string()),
            })
    }

    fn upgrades(&self, subject: &dyn Subject) -> bool {
        subject.upgrade().is_some_and(|asked| {
            self.upgrade.iter().any(|wanted| asked.eq_ignore_ascii_case(wanted.as_bytes()))
        })
    }
}

fn has_parameter(query: Option<&str>, name: &str, values: &GlobSet) -> bool {
    query.unwrap_or_default().split('&').any(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        key == name && values.is_match(value)
    })
}

fn globs(texts: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for text in texts {
        set.add(Glob::new(text).map_err(|error| format!("`{text}` is not a glob: {}", error.kind()))?);
    }
    set.build().map_err(|error| error.to_string())
}
