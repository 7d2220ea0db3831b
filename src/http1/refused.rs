//! Why bytes are refused: one word per reason, its status and its sentence.
//!
//! Invariant: every refusal of this codec is one of these, and all of them end the connection: after a
//! refusal nobody knows where the next message starts. Must not know: who sent the bytes. The caller
//! does, and turns what an upstream did wrong into an answer of its own instead of [`Refused::status`].

use std::fmt;

/// Why bytes are refused. One variant per reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Refused {
    /// A line ends with a bare LF or CR.
    LineEnd,
    /// More than one empty line, or one that is not CRLF, stands before the request line.
    EmptyLine,
    /// The method is not a token.
    Method,
    /// CONNECT, which a reverse proxy does not serve.
    Connect,
    /// The target holds something else than visible ASCII, or a fragment.
    TargetBytes,
    /// The target is neither origin-form, absolute-form with http or https, nor `*` for OPTIONS.
    TargetForm,
    /// The authority in the target is empty, malformed or carries user information.
    Authority,
    /// The target is longer than the limit.
    TargetTooLong,
    /// The version is not of the form `HTTP/d.d`.
    Version,
    /// The version is well formed, but neither HTTP/1.0 nor HTTP/1.1.
    UnsupportedVersion,
    /// The status line is malformed.
    StatusLine,
    /// The status code is not between 100 and 599.
    StatusCode,
    /// A field name is empty, not a token, or not followed at once by a colon (folded lines too).
    FieldName,
    /// A field value holds control bytes.
    FieldValue,
    /// The head is longer than the limit.
    HeadTooLarge,
    /// There are more fields than the limit.
    TooManyFields,
    /// Both Content-Length and Transfer-Encoding.
    LengthAndCoding,
    /// More than one Content-Length.
    ManyLengths,
    /// Content-Length is not one plain decimal number below 2^63.
    BadLength,
    /// Transfer-Encoding is anything but one plain `chunked`.
    BadCoding,
    /// Transfer-Encoding in an HTTP/1.0 message.
    CodingInHttp10,
    /// A name that some readers take for a framing field (`Content_Length`).
    Lookalike,
    /// More than one Host.
    ManyHosts,
    /// An HTTP/1.1 request without Host.
    NoHost,
    /// Host is not a host with an optional port.
    BadHost,
    /// Connection is not a list of tokens, or names more fields than anybody needs.
    BadConnection,
    /// Expect is anything but one plain `100-continue`.
    BadExpect,
    /// TRACE with a body.
    TraceBody,
    /// A 1xx or 204 answer that announces a body.
    BodyNotAllowed,
    /// A 101 answer that does not name, by Upgrade and Connection, what it switches to.
    BadSwitch,
    /// A chunk size is missing, not hexadecimal, or too large.
    ChunkSize,
    /// A chunk extension is empty, too long, or holds bytes it may not.
    ChunkExtension,
    /// A chunk's data is not followed by CRLF.
    ChunkEnd,
    /// A trailer field is malformed.
    BadTrailer,
    /// A trailer field that frames, routes or authorises.
    ForbiddenTrailer,
    /// The trailers are longer or more than the limit.
    TrailersTooLarge,
    /// The body ended before its framing says so.
    Truncated,
}

impl Refused {
    /// The status of the answer to a client that sent such bytes.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            Self::HeadTooLarge | Self::TooManyFields | Self::TrailersTooLarge => 431,
            Self::UnsupportedVersion => 505,
            _ => 400,
        }
    }

    /// What is wrong, in a short sentence in lower case.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::LineEnd => "a line does not end with CRLF",
            Self::EmptyLine => "more than one empty line before the request",
            Self::Method => "the method is not a token",
            Self::Connect => "CONNECT is not served here",
            Self::TargetBytes => "the target holds bytes that do not belong there",
            Self::TargetForm => "the target is not a path or an http address",
            Self::Authority => "the host in the target is not valid",
            Self::TargetTooLong => "the target is too long",
            Self::Version => "the version is malformed",
            Self::UnsupportedVersion => "only HTTP/1.0 and HTTP/1.1 are spoken here",
            Self::StatusLine => "the status line is malformed",
            Self::StatusCode => "the status code is not between 100 and 599",
            Self::FieldName => "a field name is malformed",
            Self::FieldValue => "a field value holds control bytes",
            Self::HeadTooLarge => "the head is too large",
            Self::TooManyFields => "there are too many fields",
            Self::LengthAndCoding => "both `content-length` and `transfer-encoding`",
            Self::ManyLengths => "more than one `content-length`",
            Self::BadLength => "`content-length` is not a plain number",
            Self::BadCoding => "`transfer-encoding` is not one plain `chunked`",
            Self::CodingInHttp10 => "`transfer-encoding` in HTTP/1.0",
            Self::Lookalike => "a field name imitates a framing field",
            Self::ManyHosts => "more than one `host`",
            Self::NoHost => "`host` is missing",
            Self::BadHost => "`host` is not valid",
            Self::BadConnection => "`connection` is not a short list of tokens",
            Self::BadExpect => "`expect` is not one plain `100-continue`",
            Self::TraceBody => "TRACE with a body",
            Self::BodyNotAllowed => "a body is announced where none may be",
            Self::BadSwitch => "a 101 does not name what it switches to",
            Self::ChunkSize => "a chunk size is malformed",
            Self::ChunkExtension => "a chunk extension is malformed or too long",
            Self::ChunkEnd => "a chunk does not end with CRLF",
            Self::BadTrailer => "a trailer field is malformed",
            Self::ForbiddenTrailer => "a trailer field may not frame, route or authorise",
            Self::TrailersTooLarge => "the trailers are too large",
            Self::Truncated => "the body ended too early",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Refused {}
