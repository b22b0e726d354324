//! All connections of a run, and the threads that serve them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use engine::client::{Client, ClientConfig};
use mio::{Poll, Waker};

use crate::board::{Board, Books};
use crate::plan::Fleet;
use crate::report::SetUp;
use crate::worker::{Envelope, Order, Parts, WAKER, Worker};
use crate::{Stopped, SwarmError};

/// How often the owner looks at what the workers do.
pub(crate) const LOOK: Duration = Duration::from_millis(5);

struct Thread {
    orders: Sender<Envelope>,
    waker: Waker,
    handle: Option<JoinHandle<()>>,
}

/// See the module.
pub(crate) struct Crowd {
    pub fleet: Arc<Fleet>,
    pub board: Arc<Board>,
    /// Of the pool.
    pub address: SocketAddr,
    threads: Vec<Thread>,
}

impl Crowd {
    /// Checks that the pool is there and who it says it is, and starts the threads. No connection is made yet.
    pub(crate) fn start(fleet: &Fleet, submits: bool) -> Result<Self, SwarmError> {
        let address = {
            let mut config = ClientConfig::new(fleet.pool.trust);
            (config.connect_timeout, config.handshake_timeout) = (fleet.patience, fleet.patience);
            Client::connect_host((fleet.pool.host.as_str(), fleet.pool.port), &config)
                .and_then(|client| Ok(client.peer()?))
                .map_err(|error| SwarmError::Pool { pool: fleet.pool.host_port(), error })?
        };
        let (fleet, board, epoch) = (Arc::new(fleet.clone()), Arc::new(Board::default()), Instant::now());
        let mut threads = Vec::with_capacity(fleet.threads);
        for index in 0..fleet.threads {
            let poll = Poll::new().map_err(SwarmError::Thread)?;
            let waker = Waker::new(poll.registry(), WAKER).map_err(SwarmError::Thread)?;
            let (sender, orders) = unbounded();
            let (fleet, board) = (Arc::clone(&fleet), Arc::clone(&board));
            let worker = Worker::new(Parts { index, fleet, board, address, submits, epoch, poll, orders });
            let handle = std::thread::Builder::new()
                .name(format!("swarm {index}"))
                .spawn(move || worker.work())
                .map_err(SwarmError::Thread)?;
            threads.push(Thread { orders: sender, waker, handle: Some(handle) });
        }
        Ok(Self { fleet, board, address, threads })
    }

    /// Gives every worker an order of its own, and waits until all have taken it.
    pub(crate) fn order(&self, mut order: impl FnMut(usize) -> Order) -> Result<(), SwarmError> {
        let taken: Vec<Receiver<()>> = self
            .threads
            .iter()
            .enumerate()
            .map(|(index, thread)| {
                let (taken, answer) = bounded(1);
                // A worker that is gone is found out by the answer that does not come.
                let _ = thread.orders.send(Envelope { order: order(index), taken });
                let _ = thread.waker.wake();
                answer
            })
            .collect();
        taken.iter().try_for_each(|answer| answer.recv().map_err(|_| SwarmError::WorkerGone))
    }

    /// Sets up all connections with so many channels each.
    pub(crate) fn connect(&self, channels: usize, stopped: Stopped<'_>) -> Result<SetUp, SwarmError> {
        let before = Instant::now();
        self.order(|_| Order::Connect(channels))?;
        self.until_settled(before, stopped)
    }

    /// Opens more channels, until each connection has so many.
    pub(crate) fn open(&self, channels: usize, stopped: Stopped<'_>) -> Result<SetUp, SwarmError> {
        let before = Instant::now();
        self.order(|_| Order::Open(channels))?;
        self.until_settled(before, stopped)
    }

    /// Waits until every connection is ready or gone. Connections that fail are counted, and no error unless all do.
    fn until_settled(&self, since: Instant, stopped: Stopped<'_>) -> Result<SetUp, SwarmError> {
        let all = self.fleet.connections as u64;
        self.until(stopped, |books| books.ready as u64 + books.gone() >= all)?;
        let mut books = self.board.books();
        if books.ready == 0 {
            let mut reasons = books.failed.clone();
            reasons.merge(&books.lost);
            return Err(SwarmError::NoConnection(reasons.by_reason()));
        }
        let set_up = SetUp::new(&books, since);
        books.set_up = Default::default();
        Ok(set_up)
    }

    /// Looks at the books until `done`.
    pub(crate) fn until(
        &self,
        stopped: Stopped<'_>,
        mut done: impl FnMut(&mut Books) -> bool,
    ) -> Result<(), SwarmError> {
        loop {
            if done(&mut self.board.books()) {
                return Ok(());
            }
            if stopped() {
                return Err(SwarmError::Interrupted);
            }
            if self.threads.iter().any(|thread| thread.handle.as_ref().is_none_or(JoinHandle::is_finished)) {
                return Err(SwarmError::WorkerGone);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Closes all connections and forgets them.
    pub(crate) fn disconnect(&self) -> Result<(), SwarmError> {
        self.order(|_| Order::Disconnect)?;
        *self.board.books() = Books::default();
        Ok(())
    }

    /// Why connections ended, and what else went wrong.
    pub(crate) fn troubles(&self) -> BTreeMap<String, u64> {
        self.board.books().troubles()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for thread in &self.threads {
            let (taken, _) = bounded(1);
            let _ = thread.orders.send(Envelope { order: Order::Quit, taken });
            let _ = thread.waker.wake();
        }
        for handle in self.threads.iter_mut().filter_map(|thread| thread.handle.take()) {
            // A worker that panicked has said so.
            let _ = handle.join();
        }
    }
}
