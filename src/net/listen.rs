//! Listeners: one per worker on the same address, and the address kept while nobody listens.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;

/// What is received and not read yet stays in the kernel up to about twice this; without it, autotuning lets a slow reader
/// hold 32 MiB.
pub const RECEIVE_BUFFER: usize = 256 * 1024;

/// An address that is ours, whether anybody listens on it or not.
///
/// Holds a bound socket that does not listen: the port cannot be taken by others, connections are refused until a listener
/// is made.
#[derive(Debug)]
pub struct Address {
    kept: Socket,
    at: SocketAddr,
}

impl Address {
    /// Takes an address; port 0 lets the system pick one.
    ///
    /// # Errors
    /// When it is taken by another process or is not an address of this machine.
    pub fn take(wanted: SocketAddr) -> io::Result<Self> {
        // Without SO_REUSEPORT first: with it, another Brownout on the same port would go unnoticed.
        if wanted.port() != 0 {
            let probe = socket(wanted)?;
            probe.set_reuse_address(true)?;
            probe.bind(&wanted.into())?;
            probe.listen(1)?;
        }
        let kept = socket(wanted)?;
        kept.set_reuse_address(true)?;
        kept.set_reuse_port(true)?;
        kept.bind(&wanted.into())?;
        let at = kept.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { kept, at })
    }

    /// The address, with its real port.
    #[must_use]
    pub fn at(&self) -> SocketAddr {
        self.at
    }

    /// A listener on it, beside those of other workers.
    ///
    /// # Errors
    /// As the system says.
    pub fn listen(&self) -> io::Result<std::net::TcpListener> {
        let listener = socket(self.at)?;
        listener.set_reuse_address(true)?;
        listener.set_reuse_port(true)?;
        listener.set_recv_buffer_size(RECEIVE_BUFFER)?;
        listener.set_nonblocking(true)?;
        listener.bind(&self.at.into())?;
        listener.listen(4096)?;
        debug_assert!(self.kept.local_addr().is_ok());
        Ok(listener.into())
    }
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_kept_address_refuses_until_somebody_listens() {
        let address = Address::take("127.0.0.1:0".parse().unwrap()).unwrap();
        let refused = TcpStream::connect(address.at()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let one = address.listen().unwrap();
        let two = address.listen().unwrap();
        TcpStream::connect(address.at()).unwrap();
        drop((one, two));
        assert!(TcpStream::connect(address.at()).is_err());
    }

    #[test]
    fn a_port_that_another_listens_on_is_not_taken() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = Address::take(other.local_addr().unwrap()).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let ours = Address::take("127.0.0.1:0".parse().unwrap()).unwrap();
        let _listener = ours.listen().unwrap();
        assert_eq!(Address::take(ours.at()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
