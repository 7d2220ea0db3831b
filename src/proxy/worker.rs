//! The workers: a thread each, with a runtime, listeners, pools, timers and counters of its own.
//!
//! Invariants: a connection takes its permit before anything else; running out of descriptors stops accepting for 100 ms, it
//! never spins; draining accepts what the system has accepted already, so that nobody is reset.

use super::edge::{EdgeHere, EdgeShared};
use super::exchange::{Record, Struck};
use super::room::{self, Counted};
use super::{act, h1, route, tcp};
use crate::decision::{Action, Cut, Protocol};
use crate::http1::connection::Conn;
use crate::net::listen::Address;
use crate::net::{socket, timer};
use crate::plan::Stage;
use crate::telemetry::{ConnectionOutcome, Ending, Method, Origin, Recorder, Telemetry};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Poll, ready};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// After an accept that failed for lack of descriptors or memory.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Numbers connections, process-wide.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// What all tasks of a worker see.
#[derive(Debug, Default)]
pub(super) struct Here {
    /// No new requests: answers close their connections, idle ones are closed.
    pub draining: Cell<bool>,
    /// Connections being served.
    open: Cell<usize>,
}

enum Order {
    Open(Arc<EdgeShared>, Arc<Address>, std::sync::mpsc::Sender<io::Result<()>>),
    Close(Arc<EdgeShared>),
    Drain,
}

/// The edges of a worker.
type Edges = Rc<RefCell<Vec<Door>>>;

/// An edge, and where its callers come in.
struct Door {
    edge: Rc<EdgeHere>,
    address: Arc<Address>,
    listener: Listener,
    /// Ends accepting.
    closing: CancellationToken,
}

/// The listener of an edge; none while a fault has closed it. An edge that is opened anew on the address of another one
/// takes over its listener: closing one listener of several resets those who were on their way to it.
type Listener = Rc<RefCell<Option<Rc<TcpListener>>>>;

/// All workers.
#[derive(Debug)]
pub struct Workers {
    orders: Vec<mpsc::UnboundedSender<Order>>,
    threads: Vec<JoinHandle<()>>,
    done: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts so many workers.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made.
    pub fn start(count: usize, telemetry: &Arc<Telemetry>) -> io::Result<Self> {
        let mut workers = Self { orders: Vec::new(), threads: Vec::new(), done: Arc::default() };
        for number in 0..count.max(1) {
            let (orders, inbox) = mpsc::unbounded_channel();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().event_interval(61).build()?;
            let (telemetry, done) = (telemetry.clone(), workers.done.clone());
            let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let tasks = tokio::task::LocalSet::new();
                // in a task: the future of a LocalSet is polled at every turn, whoever was woken
                let work = tasks.spawn_local(work(number, inbox, telemetry.worker()));
                if let Err(error) = tasks.block_on(&runtime, work)
                    && let Ok(panic) = error.try_into_panic()
                {
                    std::panic::resume_unwind(panic);
                }
                drop(tasks);
                // a look-up of a name that still blocks is not waited for
                runtime.shutdown_background();
                done.fetch_add(1, Ordering::Release);
            })?;
            workers.orders.push(orders);
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.orders.len()
    }

    /// Opens an edge on all of them; returns when every listener listens.
    ///
    /// # Errors
    /// The first listener's that cannot.
    pub fn open(&self, edge: &Arc<EdgeShared>, address: &Arc<Address>) -> io::Result<()> {
        let (answers, inbox) = std::sync::mpsc::channel();
        for orders in &self.orders {
            let _ = orders.send(Order::Open(edge.clone(), address.clone(), answers.clone()));
        }
        drop(answers);
        inbox.iter().collect()
    }

    /// Closes an edge: no new connections, those that are open go on until they end.
    pub fn close(&self, edge: &Arc<EdgeShared>) {
        for orders in &self.orders {
            let _ = orders.send(Order::Close(edge.clone()));
        }
    }

    /// Stops accepting, lets what is under way end, and returns whether all of it did within `grace`.
    pub fn drain(mut self, grace: Duration) -> bool {
        for orders in &self.orders {
            let _ = orders.send(Order::Drain);
        }
        let begun = tokio::time::Instant::now();
        while self.done.load(Ordering::Acquire) < self.orders.len() && begun.elapsed() < grace {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let all = self.done.load(Ordering::Acquire) == self.orders.len();
        if all {
            for thread in self.threads.drain(..) {
                let _ = thread.join();
            }
        }
        all
    }
}

async fn work(number: usize, mut inbox: mpsc::UnboundedReceiver<Order>, recorder: Recorder) {
    let here = Rc::new(Here::default());
    let edges: Edges = Rc::default();
    tokio::task::spawn_local(timer::start());
    let recorder = Rc::new(recorder);
    tokio::task::spawn_local(ticking(edges.clone(), recorder.clone()));
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Open(shared, address, answer) => {
                let edge = EdgeHere::new(shared.clone(), recorder.edge(shared.id), here.clone(), number);
                let closing = CancellationToken::new();
                let same = |door: &Door| Arc::ptr_eq(&door.address, &address);
                let taken_over = edges
                    .borrow()
                    .iter()
                    .rfind(|door| same(door))
                    .and_then(|door| door.listener.borrow().clone());
                let (listening, listened) = match taken_over.map_or_else(|| listen(&address), Ok) {
                    Ok(listener) => (Some(listener), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                let listener = Rc::new(RefCell::new(listening));
                tokio::task::spawn_local(accepting(
                    edge.clone(),
                    address.clone(),
                    listener.clone(),
                    closing.clone(),
                ));
                edges.borrow_mut().push(Door { edge, address, listener, closing });
                let _ = answer.send(listened);
            }
            Order::Close(gone) => edges.borrow_mut().retain(|door| {
                let other = !Arc::ptr_eq(&door.edge.shared, &gone);
                if !other {
                    door.closing.cancel();
                }
                other
            }),
            Order::Drain => break,
        }
    }
    here.draining.set(true);
    edges.borrow().iter().for_each(|door| door.closing.cancel());
    timer::wake_all();
    // what was accepted is served to its end
    tokio::task::yield_now().await;
    let mut idle = 0;
    while idle < 3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        idle = if here.open.get() == 0 { idle + 1 } else { 0 };
    }
    edges.borrow_mut().clear();
    recorder.tick();
}

fn listen(address: &Address) -> io::Result<Rc<TcpListener>> {
    Ok(Rc::new(TcpListener::from_std(address.listen()?)?))
}

/// Looks over deadlines, hands over what was recorded, and tends the pools.
async fn ticking(edges: Edges, recorder: Rc<Recorder>) {
    let mut ticks = tokio::time::interval(timer::TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let every = (route::TICK.as_millis() / timer::TICK.as_millis()) as u32;
    let mut count = 0u32;
    loop {
        ticks.tick().await;
        timer::tick();
        recorder.tick();
        count = count.wrapping_add(1);
        if count.is_multiple_of(every) {
            let edges: Vec<_> = edges.borrow().iter().map(|door| door.edge.clone()).collect();
            edges.iter().for_each(|edge| edge.tick());
        }
    }
}

/// Why no more is accepted for now.
enum Accepting {
    /// The edge is closed.
    Over,
    /// Another plan is in force.
    Retired,
    /// The system has no descriptor or no memory.
    Failed(io::Error),
}

/// Accepts connections of one edge, and closes its listener for as long as a fault says so.
async fn accepting(
    edge: Rc<EdgeHere>,
    address: Arc<Address>,
    listener: Listener,
    closing: CancellationToken,
) {
    loop {
        let in_force = edge.shared.slot.get();
        edge.overtakes.set(in_force.plan.overtakes());
        let refusing = in_force.plan.refuses();
        let listening = listener.borrow().is_some();
        match (refusing, listening) {
            (Some(by), true) => {
                listener.replace(None);
                let closed = edge.shared.refusing.fetch_add(1, Ordering::AcqRel) + 1;
                if closed == edge.shared.workers
                    && let Some(fault) = in_force.plan.fault(by)
                {
                    fault.refused();
                }
            }
            (None, false) => {
                let again = listen(&address).ok();
                let opened = again.is_some();
                listener.replace(again);
                if opened {
                    edge.shared.refusing.fetch_sub(1, Ordering::AcqRel);
                } else {
                    tokio::time::sleep(EXHAUSTED).await;
                    continue;
                }
            }
            _ => {}
        }
        let current = listener.borrow().clone();
        let mut over = pin!(closing.cancelled());
        let mut retired = pin!(in_force.retired.cancelled());
        // one wait for many connections
        let event = poll_fn(|cx| {
            if over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Accepting::Over);
            }
            if retired.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Accepting::Retired);
            }
            let Some(listener) = &current else { return Poll::Pending };
            loop {
                match ready!(listener.poll_accept(cx)) {
                    Ok((stream, peer)) => take(&edge, stream, peer),
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => return Poll::Ready(Accepting::Failed(error)),
                }
            }
        })
        .await;
        match event {
            Accepting::Over => break,
            Accepting::Retired => {}
            Accepting::Failed(error) => {
                tracing::warn!("edge `{}` cannot accept: {error}", edge.shared.config.name);
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
    // what the system has accepted already would be reset
    let last = listener.take().and_then(Rc::into_inner).and_then(|listener| listener.into_std().ok());
    while let Some(Ok((stream, peer))) = last.as_ref().map(std::net::TcpListener::accept) {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            take(&edge, stream, peer);
        }
    }
}

/// Errors that say nothing about the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Serves a connection in a task of its own.
fn take(edge: &Rc<EdgeHere>, stream: TcpStream, peer: SocketAddr) {
    edge.recorder.opened();
    if !edge.connections.take() {
        edge.recorder.closed(ConnectionOutcome::RefusedLimit);
        return socket::reset(stream);
    }
    socket::tune(&stream);
    let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed) + 1;
    let open = Open::new(edge.clone());
    tokio::task::spawn_local(async move {
        let outcome = serve(&open, stream, peer, number).await;
        open.outcome.set(outcome);
    });
}

/// A connection that counts as open until it is dropped.
struct Open {
    edge: Rc<EdgeHere>,
    counted: Counted,
    outcome: Cell<ConnectionOutcome>,
}

impl Open {
    fn new(edge: Rc<EdgeHere>) -> Self {
        edge.here.open.set(edge.here.open.get() + 1);
        Self { counted: Counted::new(edge.clone()), edge, outcome: Cell::new(ConnectionOutcome::Error) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.edge.here.open.set(self.edge.here.open.get() - 1);
        self.edge.connections.give_back();
        self.edge.recorder.closed(self.outcome.get());
    }
}

async fn serve(open: &Open, mut stream: TcpStream, peer: SocketAddr, number: u64) -> ConnectionOutcome {
    let edge = open.edge.clone();
    let peer = peer.ip().to_canonical();
    if edge.shared.slot.load().plan.asks(Stage::Accept) {
        match Box::pin(room::arrive(&edge, &open.counted, stream, peer, number)).await {
            Ok((taken, None)) => stream = taken,
            Ok((taken, Some(struck))) => return Box::pin(at_accept(edge, taken, struck)).await,
            Err(outcome) => return outcome,
        }
    }
    open.counted.add();
    if edge.shared.config.protocol == Protocol::Tcp {
        // on the heap: the connections of HTTP edges have no room for it
        return Box::pin(tcp::serve(edge, stream, peer, number)).await;
    }
    h1::serve(edge, stream, peer, number).await
}

/// A connection that a fault takes before a byte of it is read. It has no exchange: it is an injected connection.
async fn at_accept(edge: Rc<EdgeHere>, stream: TcpStream, mut struck: Box<Struck>) -> ConnectionOutcome {
    let mut conn = Conn::new(stream);
    let mut record = Record::begin(&edge, Method::Other, false);
    record.exchange.timed = false;
    record.outcome(Origin::Injected, Ending::Unanswered);
    match std::mem::take(&mut struck.decision.action) {
        Action::Cut(by, cut) => {
            struck.hit(by, super::shape::cut_action(cut), &mut record);
            drop(record);
            if cut == Cut::Reset {
                socket::reset(conn.into_parts().0);
            } else {
                h1::close(&mut conn, &timer::Deadline::new()).await;
            }
        }
        Action::Blackhole(by) => {
            struck.hit(by, "blackhole", &mut record);
            act::hang(&edge, &mut conn, &struck, by, None, &mut record).await;
        }
        _ => {}
    }
    ConnectionOutcome::Injected
}
