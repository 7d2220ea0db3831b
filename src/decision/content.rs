//! What is done to the content of an exchange: lies that look like good answers, and requests sent more than once.
//!
//! Values only: how a body is found, decoded and written again is the data path's business.

use super::FaultRef;
use std::sync::Arc;
use std::time::Duration;

/// Everything that is done to the content of one exchange.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Changes to the request, one after the other.
    pub request: Vec<(FaultRef, Arc<Changes>)>,
    /// Changes to the answer, one after the other.
    pub response: Vec<(FaultRef, Arc<Changes>)>,
    /// The same request sent more than once.
    pub copies: Option<(FaultRef, Copies)>,
    /// An older answer in place of the one that came.
    pub older: Option<(FaultRef, Arc<Older>)>,
}

/// Changes to one message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// To its header fields.
    pub fields: Fields,
    /// To the path of a request.
    pub path: Option<NewPath>,
    /// The status of an answer.
    pub status: Option<u16>,
    /// To a JSON body, in this order.
    pub json: Vec<(JsonPath, JsonEdit)>,
    /// To the text of a body, in this order.
    pub text: Vec<TextEdit>,
    /// Longer bodies are passed on untouched.
    pub max_body: usize,
}

impl Changes {
    /// Whether the whole body must be seen.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        !self.json.is_empty() || !self.text.is_empty()
    }

    /// Whether it changes nothing at all.
    #[must_use]
    pub fn are_none(&self) -> bool {
        !self.needs_body() && self.fields.are_none() && self.path.is_none() && self.status.is_none()
    }
}

/// Changes to header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// In place of whatever stood there.
    pub set: Vec<(String, String)>,
    /// Taken out.
    pub remove: Vec<String>,
    /// Only in place of what stood there.
    pub replace: Vec<(String, String)>,
}

impl Fields {
    /// Whether none is changed.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty() && self.replace.is_empty()
    }
}

/// Another path for a request; its query stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewPath {
    /// This one.
    Whole(String),
    /// Another beginning: `/a` is the beginning of `/a` and `/a/b`, not of `/ab`.
    Prefix {
        /// What it must begin with.
        from: String,
        /// What it begins with then.
        to: String,
    },
}

/// A path into JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    /// As it was written.
    pub text: String,
    /// Its steps.
    pub steps: Vec<JsonStep>,
}

/// One step of a path into JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonStep {
    /// Into an object.
    Name(String),
    /// Into an array.
    Place(usize),
    /// Into every element of an array.
    Every,
}

/// What is done to a value of JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonEdit {
    /// A number times this.
    Scale(f64),
    /// This value, as JSON.
    Set(String),
    /// `null`.
    Null,
    /// The value is not there any more.
    Remove,
    /// The empty value of its kind: `0`, `""`, `[]`, `{}` or `false`.
    Empty,
}

/// What is found is written anew.
#[derive(Clone, Debug)]
pub struct TextEdit {
    /// What is looked for.
    pub find: regex::bytes::Regex,
    /// What stands there then; `$1` is the first group.
    pub with: String,
}

impl PartialEq for TextEdit {
    fn eq(&self, other: &Self) -> bool {
        self.find.as_str() == other.find.as_str() && self.with == other.with
    }
}

/// The same request sent more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// How often beside the caller's own.
    pub times: u32,
    /// At most so many at once; 1: one after the other.
    pub concurrency: u32,
    /// Spread over this time.
    pub over: Duration,
    /// The caller gets the answer to the last of them, not to the first.
    pub last: bool,
    /// Longer requests are sent once.
    pub max_body: usize,
}

/// An older answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Older {
    /// Which of those that are known.
    pub by: Age,
    /// Another caller's, not this caller's own.
    pub other: bool,
    /// What makes two requests the same, beside method and path.
    pub key: Vec<KeyPart>,
    /// What must differ in another caller's request.
    pub differs: Vec<KeyPart>,
}

/// How old an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// What was answered this long ago.
    Time(Duration),
    /// So many different answers ago.
    Versions(u32),
    /// The latest.
    Latest,
}

/// A part of what makes two requests the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// The query.
    Query,
    /// A header field, in lower case.
    Header(String),
}
