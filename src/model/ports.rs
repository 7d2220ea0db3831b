//! `${port.NAME}`: free ports of this machine, by the names that a file gives them. A name keeps its port, also when the file is
//! read again.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

/// So many names have a port.
const MOST: usize = 1000;

/// So often a port is picked anew because another name has it.
const TRIES: usize = 100;

/// Free ports of 127.0.0.1 by name; clones know the same ones.
#[derive(Clone, Debug, Default)]
pub struct Ports(Arc<Mutex<BTreeMap<String, u16>>>);

impl Ports {
    /// The port of this name, picked by the system when the name is first asked for.
    ///
    /// # Errors
    /// When there is no free port, or there are too many names.
    pub fn of(&self, name: &str) -> io::Result<u16> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(port) = known.get(name) {
            return Ok(*port);
        }
        if known.len() >= MOST {
            return Err(io::Error::other(format!("more than {MOST} names of ports")));
        }
        for _ in 0..TRIES {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            if known.values().all(|other| *other != port) {
                known.insert(name.to_owned(), port);
                return Ok(port);
            }
        }
        Err(io::Error::other("the system gives only ports that other names have"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_name_keeps_its_own_port() {
        let ports = Ports::default();
        let first: Vec<u16> = (0..50).map(|n| ports.of(&n.to_string()).unwrap()).collect();
        let again: Vec<u16> = (0..50).map(|n| ports.clone().of(&n.to_string()).unwrap()).collect();
        assert_eq!(first, again);
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 50);
        TcpListener::bind((Ipv4Addr::LOCALHOST, first[0])).unwrap();
        assert!((50..MOST + 1).any(|n| ports.of(&n.to_string()).is_err()));
    }
}
