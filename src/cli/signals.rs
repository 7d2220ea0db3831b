//! What the system tells the process.

use crate::run::Stop;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, channel};

/// Ctrl-C and SIGTERM, one after the other as they come.
///
/// # Errors
/// When the system gives no handler.
pub(super) fn stops() -> std::io::Result<Receiver<Stop>> {
    all(&[(SignalKind::interrupt(), Stop::Interrupt), (SignalKind::terminate(), Stop::Terminate)])
}

fn all(signals: &[(SignalKind, Stop)]) -> std::io::Result<Receiver<Stop>> {
    let (sender, receiver) = channel(4);
    for &(kind, stop) in signals {
        let mut signal = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                if sender.send(stop).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

/// The same, and SIGHUP as SIGTERM: a run whose terminal is gone.
///
/// # Errors
/// When the system gives no handler.
pub(super) fn ends() -> std::io::Result<Receiver<Stop>> {
    all(&[
        (SignalKind::interrupt(), Stop::Interrupt),
        (SignalKind::terminate(), Stop::Terminate),
        (SignalKind::hangup(), Stop::Terminate),
    ])
}

/// SIGHUP: read the file again.
///
/// # Errors
/// When the system gives no handler.
pub(super) fn reload() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// SIGUSR1: heal everything.
///
/// # Errors
/// When the system gives no handler.
pub(super) fn halt() -> std::io::Result<Signal> {
    signal(SignalKind::user_defined1())
}
