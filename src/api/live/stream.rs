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
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
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
