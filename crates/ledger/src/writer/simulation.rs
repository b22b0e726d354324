//! A ledger that a test drives: the code of the real writer, without its thread and clock.

use super::{GROUP_MAX, LedgerHandle, OpenError, Options, Request, Running, Writer};
use crate::{Params, State, store::Store};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// A ledger without a thread. Whoever waits for it through its handle makes it work meanwhile. Dropping it between two
/// turns is what a crash of the process is to its store.
pub struct VirtualLedger<S> {
    desk: Arc<Mutex<Desk<S>>>,
    running: Running,
}

struct Desk<S> {
    /// Gone after a crash.
    writer: Option<Writer<S>>,
    /// Of the last turn.
    now: Instant,
}

impl<S: Store> VirtualLedger<S> {
    /// Opens the ledger in `store`, or creates it with these parameters.
    ///
    /// # Errors
    /// As [`super::Ledger::open`].
    pub fn open(
        store: S,
        params: Params,
        options: Options,
        now: Instant,
    ) -> Result<(Self, LedgerHandle), OpenError> {
        params.validate()?;
        let (writer, running, requests) = Writer::open(store, params, options, now)?;
        let desk = Arc::new(Mutex::new(Desk { writer: Some(writer), now }));
        let mut handle = LedgerHandle::new(requests, running.clone(), PathBuf::new());
        let inline = Arc::downgrade(&desk);
        handle.inline = Some(Arc::new(move || {
            // Whoever waits after a crash is told by the queue that nobody listens.
            let Some(desk) = inline.upgrade() else { return };
            let now = lock(&desk).now;
            while turn(&desk, now, GROUP_MAX) {}
        }));
        Ok((Self { desk, running }, handle))
    }

    /// When there is something to do: at once, or when the tick allows. `None`: nothing waits.
    pub fn next_turn(&self) -> Option<Instant> {
        let desk = lock(&self.desk);
        let writer = desk.writer.as_ref()?;
        if writer.queue.is_empty() {
            return None;
        }
        Some(writer.due().map_or(desk.now, |due| due.max(desk.now)))
    }

    /// One group of at most `most` requests becomes durable, or fails, whether the tick allows it or not. Returns false
    /// if there was nothing to do.
    pub fn turn(&self, now: Instant, most: usize) -> bool {
        lock(&self.desk).now = now;
        turn(&self.desk, now, most.clamp(1, GROUP_MAX))
    }

    /// What the writer does when nothing came for a while.
    pub fn idle(&self, now: Instant) {
        let mut desk = lock(&self.desk);
        desk.now = now;
        if let Some(writer) = &mut desk.writer {
            writer.fold_if_behind();
        }
    }

    /// The books in memory; none while they have to be read back after a failed commit.
    pub fn books<T>(&self, look: impl FnOnce(&State) -> T) -> Option<T> {
        let desk = lock(&self.desk);
        desk.writer.as_ref()?.books.as_ref().map(|books| look(&books.state))
    }

    /// The process dies: nobody is told anything any more, except that nobody listens.
    pub fn crash(self) {
        self.running.flag.store(false, std::sync::atomic::Ordering::Release);
        let writer = lock(&self.desk).writer.take();
        drop(writer);
    }
}

// Requests are taken under the lock, and so is the commit; whoever is told may hand in more, which only queues it.
fn turn<S: Store>(desk: &Mutex<Desk<S>>, now: Instant, most: usize) -> bool {
    let mut desk = lock(desk);
    let Some(writer) = &mut desk.writer else { return false };
    let group: Vec<Request> = writer.queue.try_iter().take(most).collect();
    if group.is_empty() {
        return false;
    }
    writer.turn(group, || now);
    true
}

// A panic in a commit is the test's failure, which it should tell.
fn lock<S>(desk: &Mutex<Desk<S>>) -> MutexGuard<'_, Desk<S>> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}
