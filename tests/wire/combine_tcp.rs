//! Faults of all kinds at once on TCP edges: whatever is combined, every connection is counted once, and nothing is left.

use super::combine::{Rule, arm, config, counts_fit, filler, heal_after, open_sockets, rules};
use crate::support::{Proxy, Upstream, before_tcp, eventually, panics};
use proptest::prelude::*;

/// What may be done to TCP connections.
const TCP: &[&str] = &[
    "latency = \"5ms\"",
    "latency = { chunk = \"1ms\" }",
    "hang = { for = \"10ms\", then = \"reset\" }",
    "hang = {}",
    "drop = { how = \"close\", after_bytes = 100 }",
    "drop = { how = \"reset\", after = \"10ms\" }",
    "drop = { how = \"blackhole\" }",
    "reroute = { upstream = \"tcp://@\" }",
    "bandwidth = { down = \"1 MB/s\", up = \"1 MB/s\" }",
    "chunk = { size = 300, delay = \"1ms\" }",
    "truncate = { bytes = 300 }",
    "truncate = { bytes = 300, clean = true }",
    "corrupt = { bit_flips = 0.01 }",
    "corrupt = { garbage = true }",
    "freeze = { for = \"10ms\", every = \"40ms\" }",
    "capacity = { max = 1, wait = \"20ms\", then = \"close\" }",
    "capacity = { max = 1, queue = 0, then = \"reset\" }",
    "connections = { max = 1, then = \"reset\" }",
    "connections = { max = 1, then = \"postgres:53300\" }",
    "connections = { max = 1, leak = true }",
    "drop = { how = \"close\", at = \"accept\" }",
];

/// One caller of an edge that echoes: how much it sends, and whether it leaves before it has heard all of it.
fn echoed(proxy: &Proxy, size: usize, leaves: Option<bool>) -> Vec<u8> {
    let mut client = proxy.connect();
    client.send(filler(size));
    match leaves {
        Some(true) => client.reset(),
        Some(false) => {}
        None => match client.half_close().take(size) {
            Ok(got) | Err((got, _)) => return got,
        },
    }
    Vec::new()
}

fn echo() -> Upstream {
    Upstream::serve(|link| {
        while let Some(byte) = link.take(1) {
            if !link.try_send(byte) {
                return;
            }
        }
    })
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn whatever_strikes_connections_each_is_counted_once_and_nothing_is_left(
        rules in rules(TCP, 8),
        callers in proptest::collection::vec((1usize..3000, proptest::option::weighted(0.3, any::<bool>())), 1..6),
    ) {
        let (usual, other, known_panics) = (echo(), echo(), panics());
        let proxy = before_tcp(usual.at).start();
        arm(&proxy, &rules, &other);
        let heard = std::thread::scope(|scope| {
            let call = |(size, leaves): &(usize, Option<bool>)| {
                let (proxy, size, leaves) = (&proxy, *size, *leaves);
                scope.spawn(move || echoed(proxy, size, leaves))
            };
            heal_after(&proxy, callers.iter().map(call).collect())
        });
        let wrong = |rule: &Rule| ["corrupt", "postgres"].iter().any(|kind| rule.keys.contains(kind));
        for ((size, _), got) in callers.iter().zip(&heard) {
            let right = filler(*size).as_bytes().starts_with(got);
            prop_assert!(right || rules.iter().any(wrong), "{}", String::from_utf8_lossy(got));
        }
        proxy.wait_quiet();
        eventually("connections", || {
            proxy.metric("brownout_connections_total", &[]) as usize == callers.len()
        });
        counts_fit(&proxy, &rules);
        for n in 1..=20 {
            prop_assert_eq!(echoed(&proxy, 50 * n, None), filler(50 * n).into_bytes());
        }
        proxy.wait_quiet();
        let ports = [proxy.at.port(), usual.at.port(), other.at.port()];
        drop(proxy);
        eventually("no socket is left", || open_sockets(&ports) == 0);
        prop_assert_eq!(panics(), known_panics);
    }
}
