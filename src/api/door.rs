//! Who may come in: checked for every request, before anything of it is looked up or read.
//!
//! A page in a user's browser can send requests to loopback. It cannot choose `Host` freely (and a name that was rebound
//! to loopback shows there), it cannot hide its `Origin`, and it cannot send JSON without asking first, which is refused.
//! So those three are checked always, and the token where others than this machine's users can connect.

use super::AdminConfig;
use super::routes::Failure;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, SocketAddr};

/// The rules of one admin address.
#[derive(Debug)]
pub(crate) struct Door {
    hosts: Vec<String>,
    /// The digest of the token, where one is needed.
    token: Option<[u8; 32]>,
}

impl Door {
    /// # Errors
    /// When the address is beyond loopback and there is no token.
    pub(crate) fn new(config: &AdminConfig) -> Result<Self, String> {
        let token = config.token.as_deref().filter(|token| !token.trim().is_empty());
        let beyond = !config.listen.ip().to_canonical().is_loopback();
        if beyond && token.is_none() {
            return Err(format!(
                "the admin address `{}` is not loopback, so others could break this system: set a token in \
                 `BROWNOUT_TOKEN`, or listen on `127.0.0.1`",
                config.listen
            ));
        }
        Ok(Self {
            hosts: config.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            token: token.filter(|_| beyond).map(digest),
        })
    }

    /// Lets a request in that came to this address of ours.
    pub(crate) fn check<B>(&self, request: &Request<B>, local: SocketAddr) -> Result<(), Failure> {
        let headers = request.headers();
        let host = self.host(request, local.ip())?;
        origin(headers, &host)?;
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if changes || request.uri().path().starts_with("/api/") {
            self.token(headers)?;
        }
        if changes && !is_json(headers) {
            return Err(Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "calls that change something need `content-type: application/json`",
            ));
        }
        Ok(())
    }

    /// The authority that was called, if it is one of ours.
    fn host<B>(&self, request: &Request<B>, local: IpAddr) -> Result<String, Failure> {
        let mut fields = request.headers().get_all(header::HOST).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return Err(Failure::new(StatusCode::BAD_REQUEST, "there must be one `Host`"));
        };
        let host = field.to_str().unwrap_or_default().to_ascii_lowercase();
        let target = request.uri().authority().map(|target| target.as_str().to_ascii_lowercase());
        for called in std::iter::once(&host).chain(&target) {
            if !self.is_ours(called, local) {
                return Err(Failure::new(
                    StatusCode::FORBIDDEN,
                    format!(
                        "`{}` is not a name of this address: call it by its address, or allow the name with `--admin-host`",
                        called.escape_debug()
                    ),
                ));
            }
        }
        Ok(host)
    }

    fn is_ours(&self, authority: &str, local: IpAddr) -> bool {
        let Some(name) = name_of(authority) else { return false };
        if name == "localhost" || self.hosts.iter().any(|host| host == name || host == authority) {
            return true;
        }
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let is_local = |ip: IpAddr| {
            let ip = ip.to_canonical();
            ip == local.to_canonical() || (ip.is_loopback() && local.to_canonical().is_loopback())
        };
        address.parse().is_ok_and(is_local)
    }

    fn token(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let Some(token) = &self.token else { return Ok(()) };
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let said = match (fields.next(), fields.next()) {
            (Some(field), None) => field.to_str().ok().and_then(|field| field.split_once(' ')),
            _ => None,
        };
        // Digests are of one length and tell nothing by where they differ; all of them is compared nevertheless.
        let right =
            said.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).is_some_and(|(_, said)| {
                let pairs = digest(said.trim()).into_iter().zip(token);
                pairs.fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
            });
        if right {
            return Ok(());
        }
        Err(Failure::new(
            StatusCode::UNAUTHORIZED,
            "this address needs `authorization: Bearer …` with the token of `BROWNOUT_TOKEN`",
        ))
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.trim().as_bytes()).into()
}

/// The host of `host:port`, with the brackets of an IPv6 address.
fn name_of(authority: &str) -> Option<&str> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (name, port) = authority.split_at_checked(end)?;
    let port_is_right = match port.strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    (port_is_right && !name.is_empty()).then_some(name)
}

/// A page may call only the address that it came from.
fn origin(headers: &HeaderMap, host: &str) -> Result<(), Failure> {
    for origin in headers.get_all(header::ORIGIN) {
        let own = origin.to_str().is_ok_and(|origin| {
            let origin = origin.to_ascii_lowercase();
            ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme) == Some(host))
        });
        if !own {
            return Err(Failure::new(
                StatusCode::FORBIDDEN,
                "pages of another origin may not call this address",
            ));
        }
    }
    Ok(())
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    let kind = field.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}
