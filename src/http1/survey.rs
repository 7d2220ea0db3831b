//! One pass over the fields of a head: what frames it, what it says about the connection, what stays here.
//!
//! Invariants: each field is looked at once; the marks are bits, so nothing is allocated; line ends are
//! checked here, because the parser takes a bare LF. Must not know: requests from responses.

use httparse::Header;

use super::Refused;
use super::framing::parse_length;
use super::head::offset;
use super::names::{Name, classify, elements, is_end_to_end, is_token};

/// More names than this in `Connection` are refused: each is compared with every field.
const MAX_NAMED: u32 = 32;

/// What the fields of a head say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Survey<'b> {
    /// Fields that never go on as they are: hop by hop, named by `Connection`, or written anew by us.
    pub(super) skip: u128,
    /// Fields not of the form `name: value CRLF`.
    pub(super) odd: u128,
    /// `X-Forwarded-For`.
    pub(super) forwarded_for: u128,
    /// Host; also part of `skip`.
    pub(super) hosts: u128,
    /// Expect; also part of `skip`.
    pub(super) expects: u128,
    pub(super) host: Option<&'b [u8]>,
    pub(super) expect: Option<&'b [u8]>,
    pub(super) upgrade: Option<&'b [u8]>,
    pub(super) many_upgrades: bool,
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) wants_upgrade: bool,
    pub(super) trailers: bool,
    pub(super) forwarded_host: bool,
    pub(super) forwarded_proto: bool,
    /// `Connection` names fields that we have to look for.
    names_fields: bool,
}

impl<'b> Survey<'b> {
    /// Looks at all fields of `head`, which `fields` were taken from.
    pub(super) fn new(head: &'b [u8], fields: &[Header<'b>]) -> Result<Self, Refused> {
        let mut survey = Self::default();
        let mut connections = 0u128;
        for (at, field) in fields.iter().enumerate() {
            let bit = 1u128 << at;
            if check_line(head, field)? {
                survey.odd |= bit;
            }
            match classify(field.name.as_bytes()) {
                Name::Other => {}
                Name::Host => {
                    survey.hosts |= bit;
                    survey.host = survey.host.or(Some(field.value));
                }
                Name::ContentLength => {
                    survey.skip |= bit;
                    if survey.length.is_some() {
                        return Err(Refused::ManyLengths);
                    }
                    survey.length = Some(parse_length(field.value)?);
                }
                Name::TransferEncoding => {
                    survey.skip |= bit;
                    if survey.chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Refused::BadCoding);
                    }
                    survey.chunked = true;
                }
                Name::Connection => {
                    survey.skip |= bit;
                    connections |= bit;
                    survey.connection(field.value)?;
                }
                Name::Te => {
                    survey.skip |= bit;
                    survey.trailers |= elements(field.value).any(|one| one.eq_ignore_ascii_case(b"trailers"));
                }
                Name::Upgrade => {
                    survey.skip |= bit;
                    survey.many_upgrades = survey.upgrade.is_some();
                    survey.upgrade = Some(field.value);
                }
                Name::Expect => {
                    survey.expects |= bit;
                    survey.expect = Some(field.value);
                }
                Name::ForwardedFor => survey.forwarded_for |= bit,
                Name::ForwardedHost => survey.forwarded_host = true,
                Name::ForwardedProto => survey.forwarded_proto = true,
                Name::Hop => survey.skip |= bit,
                Name::Lookalike => return Err(Refused::Lookalike),
            }
        }
        if survey.length.is_some() && survey.chunked {
            return Err(Refused::LengthAndCoding);
        }
        if survey.names_fields {
            survey.strip_named(fields, connections)?;
        }
        Ok(survey)
    }

    /// The fields that are not in `skip`.
    pub(super) fn rest<'h>(fields: &'h [Header<'b>], skip: u128) -> impl Iterator<Item = &'h Header<'b>> {
        fields.iter().enumerate().filter(move |(at, _)| skip >> at & 1 == 0).map(|(_, field)| field)
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), Refused> {
        for option in elements(value) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => self.close = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.wants_upgrade = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                _ if is_token(option) => self.names_fields = true,
                _ => return Err(Refused::BadConnection),
            }
        }
        Ok(())
    }

    /// Marks what `Connection` names, but for fields that are meant for the recipient.
    fn strip_named(&mut self, fields: &[Header<'_>], mut connections: u128) -> Result<(), Refused> {
        let mut named = 0;
        while connections != 0 {
            let at = connections.trailing_zeros() as usize;
            connections &= connections - 1;
            for option in elements(fields[at].value) {
                if is_known(option) || is_end_to_end(option) {
                    continue;
                }
                named += 1;
                if named > MAX_NAMED {
                    return Err(Refused::BadConnection);
                }
                for (at, field) in fields.iter().enumerate() {
                    if field.name.as_bytes().eq_ignore_ascii_case(option) {
                        self.skip |= 1u128 << at;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Options that are handled for themselves.
fn is_known(option: &[u8]) -> bool {
    matches!(classify(option), Name::Te | Name::Upgrade | Name::Hop) || option.eq_ignore_ascii_case(b"close")
}

/// Checks that the line of a field ends with CRLF; says whether it is odd.
#[inline]
fn check_line(head: &[u8], field: &Header<'_>) -> Result<bool, Refused> {
    let value = offset(head, field.value.as_ptr());
    let mut end = value + field.value.len();
    let colon = offset(head, field.name.as_ptr()) + field.name.len();
    let mut odd = value != colon + 2 || head.get(colon + 1) != Some(&b' ');
    while let Some(b' ' | b'\t') = head.get(end) {
        odd = true;
        end += 1;
    }
    if head.get(end) == Some(&b'\r') { Ok(odd) } else { Err(Refused::LineEnd) }
}
