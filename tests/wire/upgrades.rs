//! WebSockets and other upgrades, and raw connections that were upgraded.

use crate::support::{End, Upstream, before, ms};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: raw\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n";

#[test]
fn a_websocket_goes_through() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                    // speaks first
                    socket.send(Message::text("hello")).await.unwrap();
                    while let Some(Ok(message)) = socket.next().await {
                        if message.is_text() || message.is_binary() {
                            socket.send(message).await.unwrap();
                        }
                    }
                });
            }
        });
        let proxy = before(at).start();
        let stream = tokio::net::TcpStream::connect(proxy.at).await.unwrap();
        let (mut socket, answer) =
            tokio_tungstenite::client_async(format!("ws://{}/chat?a=b", proxy.at), stream).await.unwrap();
        assert_eq!(answer.status(), 101);
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
        for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
            let message = Message::binary(crate::support::noise(size));
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message, "{size}");
        }
        socket.send(Message::Ping("p".into())).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("p".into()));
        socket.close(None).await.unwrap();
        while let Some(message) = socket.next().await {
            assert!(message.unwrap().is_close());
        }
        drop(socket);
        proxy.wait_count(1, "101", "upstream");
        proxy.wait_quiet();
        // an open one is cut when a fault comes
        let stream = tokio::net::TcpStream::connect(proxy.at).await.unwrap();
        let (mut socket, _) =
            tokio_tungstenite::client_async(format!("ws://{}/chat", proxy.at), stream).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
        let begun = tokio::time::Instant::now();
        proxy
            .arm("cut", "match = { upgrade = \"websocket\" }\ndrop = { how = \"reset\", after = \"100ms\" }");
        assert!(socket.next().await.unwrap().is_err());
        assert!(begun.elapsed() >= ms(100));
        assert_eq!(proxy.hits("cut"), 1);
    });
}

#[test]
fn the_first_bytes_of_both_sides_are_not_lost() {
    // both speak at once, in the packet of the head
    let upstream = Upstream::serve(|link| {
        assert!(link.head().unwrap().contains("Connection: Upgrade\r\nUpgrade: raw\r\n"));
        link.send(format!("{SWITCH}first from below"));
        assert_eq!(link.take(16).unwrap(), b"first from above");
        link.send("!");
        link.end();
    });
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    client.send(format!("{ASK}first from above"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("upgrade")), (101, Some("raw")));
    assert_eq!(client.take(17).unwrap(), b"first from below!");
    client.half_close();
    upstream.wait_end(End::Fin);
    assert_eq!(client.rest(), (Vec::new(), End::Fin));
    proxy.wait_count(1, "101", "upstream");
    proxy.wait_quiet();
}

#[test]
fn halves_end_apart_and_a_reset_ends_both() {
    // the upstream ends its half first
    let upstream = Upstream::serve(|link| {
        link.head();
        link.send(SWITCH).half_close();
        link.take(4);
        link.end();
    });
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    assert_eq!(client.send(ASK).answer().status, 101);
    assert_eq!(client.rest(), (Vec::new(), End::Fin));
    client.send("more").half_close();
    upstream.wait_got(0, "more");
    upstream.wait_end(End::Fin);
    proxy.wait_quiet();
    // the upstream resets
    let upstream = Upstream::serve(|link| {
        link.head();
        link.send(SWITCH);
        link.take(1);
        link.reset();
    });
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    assert_eq!(client.send(ASK).answer().status, 101);
    client.send("x");
    assert_eq!(client.rest().1, End::Reset);
    proxy.wait_quiet();
    // the caller resets
    let upstream = Upstream::serve(|link| {
        link.head();
        link.send(SWITCH);
        link.end();
    });
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    assert_eq!(client.send(ASK).answer().status, 101);
    client.reset();
    upstream.wait_end(End::Reset);
    proxy.wait_quiet();
}

#[test]
fn an_upgrade_that_is_turned_down_is_an_answer_like_any_other() {
    let upstream = Upstream::answering("HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\nno");
    let proxy = before(upstream.at).start();
    let mut client = proxy.connect();
    for _ in 0..3 {
        let answer = client.send(ASK).answer();
        assert_eq!((answer.status, answer.text()), (400, "no"));
    }
    assert_eq!(upstream.connections(), 1);
}
