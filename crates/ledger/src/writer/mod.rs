//! One thread that writes, and the handle that everybody else has.
//!
//! The writer takes all that waits in its queue, applies it, and makes it durable in one transaction with one fsync;
//! then it completes each request. While one fsync runs the next requests gather, so the group grows with the
//! load. A fast disk would keep it small, and fill the journal with rows that are larger than the credits in them: so
//! groups keep a tick's distance, and a request that comes later than that is committed at once. Nothing is
//! acknowledged before it is durable, and the state in memory never stays ahead of the disk: after a failed commit it
//! is thrown away and read back.

mod books;
mod handle;
#[cfg(feature = "simulation")]
pub mod simulation;
mod summary;

#[cfg(test)]
mod tests;

use crate::{
    Params, ParamsDifference, ParamsError, Refusal, StoreError,
    store::{SqliteStore, Store},
};
use books::Books;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use handle::{Answer, Request};
pub use handle::{LedgerHandle, Receipt};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
pub use summary::{BlockCounts, EpochCounts, Summary};
use thiserror::Error;
use work::Ehash;

/// Requests in one group: bounds what a failing disk makes shards send again, and the time of one transaction.
const GROUP_MAX: usize = 1024;
/// Longest commit that is not told to operators as a disk that does not answer.
const HANGING: Duration = Duration::from_secs(5);
/// A tick that is not due for longer than this is not slept through, as a group may be full before.
const NAP_MAX: Duration = Duration::from_millis(10);
/// How long the queue must be empty before the tables are brought up to date.
const IDLE: Duration = Duration::from_millis(200);

/// Why a ledger cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// It cannot be read, or another process has it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The parameters are out of bounds.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The ledger has other parameters.
    #[error(
        "epochs.{} is {} in the configuration, but this ledger has {}: parameters are a promise to the holders \
         of open epochs and only change for future epochs; put {} back, or schedule the change with `assay ledger change`",
        .0.field, .0.right, .0.left, .0.left
    )]
    ParamsDiffer(ParamsDifference),
    /// The system gave no thread.
    #[error("cannot start the ledger's writer: {0}")]
    Thread(std::io::Error),
}

/// Why a request was not done.
#[derive(Clone, Debug, Error)]
pub enum LedgerError {
    /// The event is wrong. Nothing changed, and the same will be refused again.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk failed. The whole group was not acknowledged; the same batches may be sent again in the same order,
    /// and those which did reach the disk are told apart then.
    #[error(transparent)]
    Disk(Arc<StoreError>),
    /// The ledger was closed, or its writer stopped at an invariant that did not hold.
    #[error(
        "the ledger's writer has stopped: restart the pool; if it stops again, run `assay ledger verify`"
    )]
    Stopped,
}

/// How the writer goes about it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Least time from one commit's start to the next's, unless a group is full before. A request that comes later than
    /// that after the last commit does not wait. Zero: as fast as the disk syncs.
    pub tick: Duration,
    /// Requests that may wait. One more blocks its sender.
    pub queue: usize,
    /// Credits in the tail after which the tables are brought up to date: bounds the time that opening takes.
    pub fold_rows: usize,
    /// Age of the tail after which they are.
    pub fold_age: Duration,
}

impl Default for Options {
    fn default() -> Options {
        let (tick, fold_age) = (Duration::from_millis(5), Duration::from_secs(10));
        Options { tick, queue: 4096, fold_rows: 1 << 15, fold_age }
    }
}

/// An open ledger: owns the writer's thread. Dropping it does what [`Ledger::close`] does.
#[derive(Debug)]
pub struct Ledger {
    requests: Sender<Request>,
    running: Running,
    thread: Option<JoinHandle<Result<(), LedgerError>>>,
}

impl Ledger {
    /// Opens the ledger at `path`, or creates it with these parameters.
    ///
    /// # Errors
    /// When another process has it, when it has other parameters, or when it cannot be read.
    pub fn open(path: impl AsRef<Path>, params: Params) -> Result<(Ledger, LedgerHandle), OpenError> {
        Ledger::open_with(path, params, Options::default())
    }

    /// As [`Ledger::open`], with other options.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open_with(
        path: impl AsRef<Path>,
        params: Params,
        options: Options,
    ) -> Result<(Ledger, LedgerHandle), OpenError> {
        params.validate()?;
        let store = SqliteStore::open(path.as_ref())?;
        Ledger::start(store, path.as_ref().to_path_buf(), params, options)
    }

    fn start(
        store: impl Store,
        path: PathBuf,
        params: Params,
        options: Options,
    ) -> Result<(Ledger, LedgerHandle), OpenError> {
        let (writer, running, requests) = Writer::open(store, params, options, Instant::now())?;
        tracing::info!("opened the ledger at {}", path.display());
        let handle = LedgerHandle::new(requests.clone(), running.clone(), path);
        let ends = EndOfWriter(running.clone());
        let run = move || {
            let _ends = ends;
            writer.run()
        };
        let thread = thread::Builder::new().name("ledger".into()).spawn(run);
        let thread = Some(thread.map_err(OpenError::Thread)?);
        Ok((Ledger { requests, running, thread }, handle))
    }

    /// Whether the writer is there. It ends when the ledger is closed, and at an invariant that does not hold; then
    /// nothing is journalled any more, and the process should end.
    pub fn is_running(&self) -> bool {
        self.running.is_running()
    }

    /// Finishes what waits in the queue, brings the tables up to date and ends the writer. Requests that come
    /// later fail as [`LedgerError::Stopped`].
    ///
    /// # Errors
    /// When the tables could not be brought up to date: nothing is lost, as opening replays the tail.
    pub fn close(mut self) -> Result<(), LedgerError> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), LedgerError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        // Fails only if the writer is gone, which joining it tells.
        let _ = self.requests.send(Request::Stop);
        thread.join().unwrap_or(Err(LedgerError::Stopped))
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!("closing the ledger: {error}");
        }
    }
}

/// What the writer shows to others.
#[derive(Clone, Debug)]
struct Running {
    summary: Arc<Mutex<Summary>>,
    flag: Arc<AtomicBool>,
    /// Since when a commit is under way.
    committing: Arc<Mutex<Option<Instant>>>,
}

impl Running {
    fn is_running(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    fn max_batch_credit(&self) -> Ehash {
        lock(&self.summary).max_batch_credit
    }

    fn summary(&self) -> Summary {
        let running = self.is_running();
        let mut summary = Summary { running, ..lock(&self.summary).clone() };
        let committing = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = committing.map(|since| since.elapsed()).filter(|taken| *taken > HANGING) {
            let text = format!("the disk does not answer: a commit has taken {} s so far", taken.as_secs());
            summary.disk_error.get_or_insert(text);
        }
        summary
    }
}

/// Dropped as the last thing that the writer's thread does, however it ends.
struct EndOfWriter(Running);

impl Drop for EndOfWriter {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("{}", LedgerError::Stopped);
            lock(&self.0.summary).disk_error = Some(LedgerError::Stopped.to_string());
        }
        self.0.flag.store(false, Ordering::Release);
    }
}

/// A writer that panicked has nothing to add, and whoever looks at the summary must see that it did.
fn lock(summary: &Mutex<Summary>) -> MutexGuard<'_, Summary> {
    summary.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Writer<S> {
    store: S,
    /// `None` after a failed commit, until they are read back.
    books: Option<Books>,
    options: Options,
    queue: Receiver<Request>,
    summary: Arc<Mutex<Summary>>,
    committing: Arc<Mutex<Option<Instant>>>,
    last_commit: Option<Instant>,
}

impl<S: Store> Writer<S> {
    /// Recovers or creates the books, and makes the queue.
    fn open(
        mut store: S,
        params: Params,
        options: Options,
        now: Instant,
    ) -> Result<(Self, Running, Sender<Request>), OpenError> {
        let books = match Books::recover(&mut store, now)? {
            Some(books) => books,
            None => Books::create(&mut store, params)?,
        };
        // A change that is scheduled may stand in the configuration before it is in force.
        let current = books.state.params_of(books.state.open_epoch());
        if let (Some(difference), Some(_)) =
            (current.difference(&params), books.state.params_scheduled().difference(&params))
        {
            return Err(OpenError::ParamsDiffer(difference));
        }
        tracing::debug!(
            rows = books.head.sequence,
            epoch = books.state.open_epoch().get(),
            "books recovered"
        );
        let summary = Arc::new(Mutex::new(Summary::of(&books)));
        let running = Running { summary, flag: Arc::default(), committing: Arc::default() };
        running.flag.store(true, Ordering::Release);
        let (requests, queue) = bounded(options.queue.max(1));
        let (summary, committing) = (Arc::clone(&running.summary), Arc::clone(&running.committing));
        let writer =
            Self { store, books: Some(books), options, queue, summary, committing, last_commit: None };
        Ok((writer, running, requests))
    }

    fn run(mut self) -> Result<(), LedgerError> {
        loop {
            self.nap();
            let group = match self.queue.try_recv().or_else(|_| self.queue.recv_timeout(IDLE)) {
                Ok(first) => self.gather(first),
                Err(RecvTimeoutError::Timeout) => {
                    self.fold_if_behind();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if self.turn(group, Instant::now) {
                break;
            }
        }
        // Whoever is still in the queue came after the end.
        while let Ok(request) = self.queue.try_recv() {
            request.fail(LedgerError::Stopped);
        }
        match &mut self.books {
            Some(books) => {
                books.commit(&mut self.store, &[], true).map_err(|e| LedgerError::Disk(Arc::new(e)))
            }
            None => Ok(()),
        }
    }

    /// All that comes until the tick allows a commit: what waits already, if it does so now.
    fn gather(&self, first: Request) -> Vec<Request> {
        let mut group = vec![first];
        // Who closes the ledger does not wait for a tick.
        while group.len() < GROUP_MAX && !matches!(group.last(), Some(Request::Stop)) {
            let next = self.queue.try_recv().or_else(|_| match self.due() {
                Some(due) if Instant::now() < due => self.queue.recv_deadline(due),
                Some(_) | None => Err(RecvTimeoutError::Timeout),
            });
            match next {
                Ok(request) => group.push(request),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        group
    }

    /// Sleeps until the tick allows a commit, if that is soon: to be woken for each request costs more than all that a
    /// request is.
    fn nap(&self) {
        let left = self.due().map(|due| due.saturating_duration_since(Instant::now()));
        if let Some(left) = left.filter(|left| *left <= NAP_MAX) {
            thread::sleep(left);
        }
    }

    /// When the tick allows the next commit; at once if there was none yet.
    fn due(&self) -> Option<Instant> {
        self.last_commit.and_then(|last| last.checked_add(self.options.tick))
    }

    /// One transaction. Returns whether to stop.
    fn turn(&mut self, group: Vec<Request>, clock: impl Fn() -> Instant) -> bool {
        let now = clock();
        let read_back = self.books.is_none();
        let mut books = match self.books.take().map_or_else(|| self.read_back(now), Ok) {
            Ok(books) => books,
            Err(error) => return self.fail(group, error),
        };
        let (mut rows, mut answers) = (Vec::new(), Vec::new());
        let (mut fold, mut stop) = (false, false);
        for request in group {
            match request {
                Request::Event { event, done } => {
                    let result = books.apply(&event, &mut rows, &mut fold, now);
                    answers.push(Answer::Tell(done, result));
                }
                // Answered from the state after the group, as that is what will be durable.
                Request::Ask(question) => answers.push(Answer::Ask(question)),
                Request::Stop => stop = true,
            }
        }
        fold |= books.is_tail_long(&self.options, now);
        if !rows.is_empty() {
            self.last_commit = Some(now);
        }
        self.committing(Some(Instant::now()));
        let committed = books.commit(&mut self.store, &rows, fold);
        self.committing(None);
        if let Err(error) = committed {
            let error = self.note_failure(error);
            for answer in answers {
                answer.fail(LedgerError::Disk(Arc::clone(&error)));
            }
            return stop;
        }
        self.show(&books, !rows.is_empty(), read_back);
        let pause = self.due().map_or(Duration::ZERO, |due| due.saturating_duration_since(clock()));
        for answer in answers {
            answer.give(&books.state, pause);
        }
        self.books = Some(books);
        stop
    }

    /// Shows since when a commit is under way.
    fn committing(&self, since: Option<Instant>) {
        *self.committing.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn fold_if_behind(&mut self) {
        let Some(mut books) = self.books.take() else { return };
        if books.changes.is_empty() {
            self.books = Some(books);
            return;
        }
        match books.commit(&mut self.store, &[], true) {
            Ok(()) => self.books = Some(books),
            Err(error) => {
                self.note_failure(error);
            }
        }
    }

    /// The books as the disk has them, after a commit that failed.
    fn read_back(&mut self, now: Instant) -> Result<Books, StoreError> {
        let books = Books::recover(&mut self.store, now)?;
        books.ok_or_else(|| StoreError::Missing { path: "the journal".into() })
    }

    fn fail(&mut self, group: Vec<Request>, error: StoreError) -> bool {
        let error = self.note_failure(error);
        let mut stop = false;
        for request in group {
            stop |= matches!(request, Request::Stop);
            request.fail(LedgerError::Disk(Arc::clone(&error)));
        }
        stop
    }

    fn note_failure(&mut self, error: StoreError) -> Arc<StoreError> {
        let mut summary = lock(&self.summary);
        if summary.disk_error.is_none() {
            tracing::error!("{error}");
        }
        summary.disk_error = Some(error.to_string());
        Arc::new(error)
    }

    fn show(&self, books: &Books, wrote: bool, read_back: bool) {
        let mut summary = lock(&self.summary);
        if wrote && summary.disk_error.is_some() {
            tracing::info!("the ledger can be written again");
        }
        summary.update(books, wrote, read_back);
    }
}
