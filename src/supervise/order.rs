//! What a supervisor is told, and the handle by which it is told.

use super::actor::Board;
use super::unit::ServiceStatus;
use crate::model::{Deed, Service, SinceMoment};
use crate::units::Name;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// A service as the supervisor gets it: every `${edge.NAME}` is filled in.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The service, as the file has it, filled in.
    pub service: Service,
    /// Names and values that expectations hold against its environment; told by their place.
    pub expected_env: Vec<(String, String)>,
}

/// How a deed repeats and what time means for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Real time is the file's time multiplied by this, for `down` and restart delays.
    pub scale: f64,
    /// Its fault has a timeline (`at`, `schedule.every`), which repeats it; otherwise `times` does.
    pub timeline: bool,
}

/// Something that a service cannot do, or that cannot be done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code that says so: 1 if the service failed under a fault, 5 if it never was ready, 7 if it cannot be put back.
    pub exit: u8,
    /// In words, with the tail of its own log.
    pub text: String,
}

/// What is called whenever a service starts or is ready.
pub type Watch = Box<dyn Fn(&Name, SinceMoment) + Send + Sync>;

/// What is called once for each service on which a deed was verified.
pub type Hit = Arc<dyn Fn() + Send + Sync>;

/// What a supervisor can be told.
pub enum Order {
    /// Start all services that are ours, in their order, and wait until all are ready.
    BringUp(oneshot::Sender<Result<(), Failure>>),
    /// Carry these deeds out on these services. Another `Apply` of the same fault is its next turn.
    Apply {
        /// The fault.
        fault: Name,
        /// The services.
        services: Vec<Name>,
        /// What is done to each, in this order.
        deeds: Arc<[Deed]>,
        /// How it repeats.
        pace: Pace,
        /// Told for each service on which all of it was verified.
        hit: Hit,
    },
    /// Take a fault's deeds back.
    Undo {
        /// The fault.
        fault: Name,
    },
    /// Answer when every `Apply` and `Undo` so far is carried out, or has failed, with the failures since the last such answer.
    Settle(oneshot::Sender<Vec<Failure>>),
    /// Answer at once, with the failures since the last such answer, or that to `Settle`.
    Failures(oneshot::Sender<Vec<Failure>>),
    /// Take everything back and stop all services, in the reverse of their order; the answer is what could not be put back, and
    /// what else has failed since the last `Settle`. Nothing is applied from then on.
    PutDown(oneshot::Sender<Vec<Failure>>),
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BringUp(_) => f.write_str("BringUp"),
            Self::Apply { fault, services, deeds, pace, .. } => f
                .debug_struct("Apply")
                .field("fault", fault)
                .field("services", services)
                .field("deeds", deeds)
                .field("pace", pace)
                .finish(),
            Self::Undo { fault } => f.debug_struct("Undo").field("fault", fault).finish(),
            Self::Settle(_) => f.write_str("Settle"),
            Self::Failures(_) => f.write_str("Failures"),
            Self::PutDown(_) => f.write_str("PutDown"),
        }
    }
}

/// The handle of a supervisor. Dropping the last one ends everything it started, at once.
#[derive(Clone, Debug)]
pub struct Supervisor {
    // Goes before `_thread`, which ends when the last of these has gone.
    orders: mpsc::UnboundedSender<Order>,
    services: Arc<[Name]>,
    board: Board,
    _thread: Option<Arc<Thread>>,
}

/// The thread of a supervisor: whoever drops the last handle waits until nothing of it is left.
#[derive(Debug)]
struct Thread(Option<JoinHandle<()>>);

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(thread) =
            self.0.take().filter(|thread| thread.thread().id() != std::thread::current().id())
        {
            let _ = thread.join();
        }
    }
}

impl Supervisor {
    /// A handle, and the other end of it.
    #[must_use]
    pub fn handle(services: Vec<Name>) -> (Self, mpsc::UnboundedReceiver<Order>) {
        let (orders, received) = mpsc::unbounded_channel();
        (Self { orders, services: services.into(), board: Board::default(), _thread: None }, received)
    }

    /// Whoever drops the last handle waits for this thread.
    pub(super) fn with_thread(self, thread: JoinHandle<()>) -> Self {
        Self { _thread: Some(Arc::new(Thread(Some(thread)))), ..self }
    }

    /// Where the other end shows how its services are.
    pub(super) fn board(&self) -> Board {
        Arc::clone(&self.board)
    }

    /// How the services are now, in the order of the file.
    #[must_use]
    pub fn status(&self) -> Vec<ServiceStatus> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The services it knows, external ones too.
    #[must_use]
    pub fn services(&self) -> &[Name] {
        &self.services
    }

    /// Tells it something. Orders are carried out in their order; those to one that has ended are lost, and their answers
    /// never come.
    pub fn tell(&self, order: Order) {
        // Nobody there: it has put everything down already.
        let _ = self.orders.send(order);
    }

    /// Nobody is at the other end: it has died of a bug of ours, and left what it started.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.orders.is_closed()
    }

    /// Starts everything and waits until all of it is ready.
    ///
    /// # Errors
    /// When a service cannot be started or is never ready: exit code 5.
    pub async fn bring_up(&self) -> Result<(), Failure> {
        let (tell, told) = oneshot::channel();
        self.tell(Order::BringUp(tell));
        told.await.unwrap_or_else(|_| Err(Failure { exit: 70, text: "the supervisor has ended".into() }))
    }

    /// Waits until every deed so far is carried out or taken back, or has failed; the failures since this was last asked.
    pub async fn settle(&self) -> Vec<Failure> {
        let (tell, told) = oneshot::channel();
        self.tell(Order::Settle(tell));
        told.await.unwrap_or_else(|_| gone())
    }

    /// What has failed since this, or how all settled, was last asked; waits for nothing.
    pub async fn failures(&self) -> Vec<Failure> {
        let (tell, told) = oneshot::channel();
        self.tell(Order::Failures(tell));
        told.await.unwrap_or_default()
    }

    /// Takes everything back, stops all services, and tells what could not be put back.
    pub async fn put_down(&self) -> Vec<Failure> {
        let (tell, told) = oneshot::channel();
        self.tell(Order::PutDown(tell));
        told.await.unwrap_or_else(|_| gone())
    }
}

/// Nobody knows whether anything was carried out or taken back.
fn gone() -> Vec<Failure> {
    vec![Failure { exit: 70, text: "the supervisor has ended".into() }]
}
