//! Upstreams that do exactly what a test says, and remember every byte they got.

use super::{Client, End, PATIENCE, eventually};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// An upstream; one thread for each connection.
pub(crate) struct Upstream {
    pub(crate) at: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// What each connection got, in the order in which they were accepted.
    got: Mutex<Vec<Vec<u8>>>,
    /// How each ended, as far as its script looked.
    ends: Mutex<Vec<(usize, End)>>,
    whole: AtomicUsize,
    heads: AtomicUsize,
    ticks: Mutex<usize>,
    ticked: Condvar,
    gone: AtomicBool,
}

/// One connection of an upstream.
pub(crate) struct Link {
    pub(crate) number: usize,
    client: Client,
    seen: Arc<Seen>,
}

/// An answer with a length.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

impl Upstream {
    /// Runs the script for each connection.
    pub(crate) fn serve(script: impl Fn(&mut Link) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let (shared, script) = (seen.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if shared.gone.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { return };
                shared.got.lock().unwrap().push(Vec::new());
                let (seen, script) = (shared.clone(), script.clone());
                std::thread::spawn(move || {
                    // a script that lost its test has nobody to tell
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        script(&mut Link { number, client: Client::of(stream), seen });
                    }));
                });
            }
        });
        Self { at, seen }
    }

    /// Reads whole requests and answers each with the same bytes.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::serve(move |link| {
            while link.request().is_some() {
                link.send(&answer);
            }
        })
    }

    /// Answers each request with its own bytes.
    pub(crate) fn echoing() -> Self {
        Self::serve(|link| {
            while let Some(request) = link.request() {
                link.send(ok(&String::from_utf8_lossy(&request)));
            }
        })
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.seen.got.lock().unwrap().len()
    }

    /// What lets scripts go on that wait for a [`Link::tick`].
    pub(crate) fn ticker(&self) -> Ticker {
        Ticker(self.seen.clone())
    }

    #[track_caller]
    pub(crate) fn wait_heads(&self, count: usize) {
        eventually(&format!("{count} heads"), || self.seen.heads.load(Ordering::Acquire) >= count);
    }

    /// How many whole requests came.
    pub(crate) fn requests(&self) -> usize {
        self.seen.whole.load(Ordering::Acquire)
    }

    /// What a connection got so far.
    pub(crate) fn got(&self, number: usize) -> String {
        let got = self.seen.got.lock().unwrap();
        got.get(number).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    }

    /// How many bytes each connection got.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.seen.got.lock().unwrap().iter().map(Vec::len).collect()
    }

    /// How connections ended, in the order in which they did.
    pub(crate) fn ends(&self) -> Vec<End> {
        self.seen.ends.lock().unwrap().iter().map(|(_, end)| *end).collect()
    }

    #[track_caller]
    pub(crate) fn wait_end(&self, end: End) {
        eventually(&format!("an upstream connection ends with {end:?}"), || self.ends().contains(&end));
    }

    #[track_caller]
    pub(crate) fn wait_requests(&self, count: usize) {
        eventually(&format!("{count} requests"), || self.requests() == count);
    }

    #[track_caller]
    pub(crate) fn wait_got(&self, number: usize, text: &str) {
        eventually(&format!("the upstream gets {text:?}"), || self.got(number).contains(text));
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.seen.gone.store(true, Ordering::Release);
        let _ = std::net::TcpStream::connect(self.at);
    }
}

impl Link {
    fn note<T: AsRef<[u8]>>(&self, got: Result<T, (T, End)>) -> Option<T> {
        let (bytes, end) = match got {
            Ok(bytes) => (bytes, None),
            Err((bytes, end)) => (bytes, Some(end)),
        };
        self.seen.got.lock().unwrap()[self.number].extend_from_slice(bytes.as_ref());
        match end {
            None => Some(bytes),
            Some(end) => {
                self.seen.ends.lock().unwrap().push((self.number, end));
                None
            }
        }
    }

    /// A head, as text.
    pub(crate) fn head(&mut self) -> Option<String> {
        let got = self.client.until(b"\r\n\r\n");
        let head = self.note(got).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        self.seen.heads.fetch_add(usize::from(head.is_some()), Ordering::AcqRel);
        head
    }

    /// Waits for a [`Ticker::tick`]; `None` if none comes.
    pub(crate) fn tick(&mut self) -> Option<()> {
        let ticks = self.seen.ticks.lock().unwrap();
        let (mut ticks, _) =
            self.seen.ticked.wait_timeout_while(ticks, PATIENCE, |ticks| *ticks == 0).unwrap();
        *ticks = ticks.checked_sub(1)?;
        Some(())
    }

    pub(crate) fn stream(&self) -> &std::net::TcpStream {
        self.client.stream()
    }

    /// So many bytes.
    pub(crate) fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let got = self.client.take(count);
        self.note(got)
    }

    /// Everything up to and with these bytes.
    pub(crate) fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        let got = self.client.until(end);
        self.note(got)
    }

    /// A whole request: its head and its body.
    pub(crate) fn request(&mut self) -> Option<Vec<u8>> {
        let head = self.head()?;
        let mut all = head.clone().into_bytes();
        let lower = head.to_ascii_lowercase();
        if let Some((_, rest)) = lower.split_once("\r\ncontent-length: ") {
            all.extend(self.take(rest.split("\r\n").next().unwrap().parse().unwrap())?);
        } else if lower.contains("\r\ntransfer-encoding: chunked\r\n") {
            loop {
                let line = self.until(b"\r\n")?;
                let size = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
                let size = usize::from_str_radix(size.split(';').next().unwrap().trim(), 16).unwrap();
                all.extend(line);
                if size > 0 {
                    all.extend(self.take(size + 2)?);
                    continue;
                }
                loop {
                    let line = self.until(b"\r\n")?;
                    let last = line == b"\r\n";
                    all.extend(line);
                    if last {
                        break;
                    }
                }
                break;
            }
        }
        self.seen.whole.fetch_add(1, Ordering::AcqRel);
        Some(all)
    }

    /// Reads to the end, and notes how it ended.
    pub(crate) fn end(&mut self) -> End {
        let (bytes, end) = self.client.rest();
        self.note::<Vec<u8>>(Err((bytes, end)));
        end
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.client.send(bytes);
        self
    }

    /// Sends; whether all was taken.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.client.try_send(bytes)
    }

    /// Sends nothing more.
    pub(crate) fn half_close(&mut self) -> &mut Self {
        self.client.half_close();
        self
    }

    /// Ends with a RST when the script does.
    pub(crate) fn reset(&mut self) {
        socket2::SockRef::from(self.client.stream()).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}

/// Lets waiting scripts go on, one step a tick.
pub(crate) struct Ticker(Arc<Seen>);

impl Ticker {
    pub(crate) fn tick(&self) {
        *self.0.ticks.lock().unwrap() += 1;
        self.0.ticked.notify_one();
    }
}

/// A door that is opened once, from another thread.
#[derive(Clone, Default)]
pub(crate) struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open.
    #[track_caller]
    pub(crate) fn wait(&self) {
        let guard = self.0.0.lock().unwrap();
        let (open, _) = self.0.1.wait_timeout_while(guard, PATIENCE, |open| !*open).unwrap();
        assert!(*open, "nobody opened the door");
    }
}
