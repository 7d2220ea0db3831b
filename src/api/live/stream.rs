//! `/api/v1/live`: the page's pieces as they change, as Server-Sent Events.
//!
//! A viewer has a seat, one event on its way, and no queue: what it is too slow for, it gets together with what comes later. One
//! that takes nothing for [`SLOW`] is dropped. A stream ends by itself before its connection would; the page then asks again and is
//! told everything anew.

use super::{Live, VIEWERS};
use crate::api::routes::Failure;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame as Part;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout};

/// A stream ends after this time; shorter than a connection of the admin address lives.
const LIFE: Duration = Duration::from_secs(100);
/// A viewer that takes nothing for this long is dropped.
const SLOW: Duration = Duration::from_secs(5);
/// While nothing changes, something is said so often.
const ALIVE: Duration = Duration::from_secs(2);

/// Gives a viewer a seat, and what there is to see.
pub(crate) fn stream(live: &Live) -> Result<Response, Failure> {
    let Ok(seat) = Arc::clone(&live.seats).try_acquire_owned() else {
        return Err(Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{VIEWERS} look already: close one of the pages"),
        ));
    };
    let mut frames = live.frames.clone();
    // What was rendered for others is not older than a beat; what was rendered for nobody may be.
    frames.mark_unchanged();
    live.looked.notify_one();
    let (sender, receiver) = channel(1);
    tokio::spawn(async move {
        let _seat = seat;
        tell(&mut frames, &sender).await;
    });
    // The next stream begins on a connection that has all of its life before it.
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CONNECTION, "close")];
    Ok((headers, Body::new(Events(receiver))).into_response())
}

async fn tell(frames: &mut tokio::sync::watch::Receiver<Arc<super::Frame>>, sender: &Sender<Bytes>) {
    let end = Instant::now() + LIFE;
    let mut told = 0;
    loop {
        let (event, goes_on) = match timeout(ALIVE, frames.changed()).await {
            Err(_) => (Bytes::from_static(b": alive\n\n"), true),
            // The reader has ended; it may have left something.
            Ok(changed) => {
                let frame = Arc::clone(&frames.borrow_and_update());
                let news = frame.since(told);
                let fresh = frame.number > told;
                told = frame.number;
                (if fresh { news } else { Bytes::new() }, changed.is_ok())
            }
        };
        if !event.is_empty() && !matches!(timeout(SLOW, sender.send(event)).await, Ok(Ok(()))) {
            return;
        }
        if !goes_on || Instant::now() >= end {
            let bye: &[u8] =
                if goes_on { b"event: again\ndata: {}\n\n" } else { b"event: end\ndata: {}\n\n" };
            let _ = timeout(SLOW, sender.send(Bytes::copy_from_slice(bye))).await;
            return;
        }
    }
}

/// What a viewer is sent.
struct Events(Receiver<Bytes>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Part<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Part::data(event))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Frame;
    use super::super::frame::Top;
    use super::*;
    use tokio::sync::watch;

    fn frame(number: u64) -> Arc<Frame> {
        let piece = |n: u64| vec![("story".to_owned(), n.to_string())];
        Arc::new((1..=number).fold(Frame::default(), |frame, n| frame.next(Top::default(), piece(n))))
    }

    fn text(event: &Bytes) -> &str {
        std::str::from_utf8(event).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_takes_nothing_is_dropped() {
        let (frames, mut viewer) = watch::channel(frame(0));
        let (sender, mut receiver) = channel(1);
        let telling = tokio::spawn(async move { tell(&mut viewer, &sender).await });
        let began = Instant::now();
        frames.send_replace(frame(1));
        telling.await.unwrap();
        assert!((SLOW..SLOW + 2 * ALIVE).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert!(text(&receiver.recv().await.unwrap()).contains("\"1\""), "what it had taken is whole");
        assert_eq!(receiver.recv().await, None, "and nothing was kept for it beside");
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_is_late_gets_the_newest_and_not_what_lay_between() {
        let (frames, mut viewer) = watch::channel(frame(0));
        let (sender, mut receiver) = channel(1);
        tokio::spawn(async move { tell(&mut viewer, &sender).await });
        frames.send_replace(frame(1));
        assert!(text(&receiver.recv().await.unwrap()).contains("id: 1\n"));
        (2..=9).for_each(|number| drop(frames.send_replace(frame(number))));
        let next = receiver.recv().await.unwrap();
        assert!(text(&next).contains("id: 9\n") && text(&next).contains("\"story\":\"9\""), "{next:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_says_that_it_lives_and_ends_before_its_connection_does() {
        let (_frames, mut viewer) = watch::channel(frame(0));
        let (sender, mut receiver) = channel(1);
        tokio::spawn(async move { tell(&mut viewer, &sender).await });
        let began = Instant::now();
        let mut told = Vec::new();
        while let Some(event) = receiver.recv().await {
            told.push(text(&event).to_owned());
        }
        assert!((LIFE..=LIFE + ALIVE).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert_eq!(told.pop().unwrap(), "event: again\ndata: {}\n\n");
        assert!(told.len() >= 49 && told.iter().all(|event| event == ": alive\n\n"));
    }
}
