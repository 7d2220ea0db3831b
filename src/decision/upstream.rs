//! Where an exchange goes.

/// Where an edge forwards to, or a fault takes an exchange instead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// A host name (resolved per connection) or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// A path put before every request's path; empty, or `/base` without a slash at its end.
    pub base: String,
}

impl Upstream {
    /// `host:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}
