//! The search threads and the board on which they find their work.
//!
//! Hashing takes no lock: a thread looks at one atomic number every few thousand hashes, half a
//! millisecond or so, and goes to the board only when that number has changed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{SendTimeoutError, Sender};
use work::HashRate;

use crate::kernel::{HeaderSearch, per_second};
use crate::search::{Part, Step, Work};

/// Hashes between two looks at the board.
const STEP: u32 = 4096;

/// Steps per second under a throttle, so that a slow device still works evenly.
const THROTTLED_STEPS_PER_SECOND: u64 = 50;

/// How often a thread that has searched all that is allowed by now looks at the clock.
const RETRY: Duration = Duration::from_millis(100);

/// A throttled thread that fell behind (the machine was busy) catches up by no more than this.
const CATCH_UP: Duration = Duration::from_millis(250);

/// A header that met the target of its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// [`Work::tip`] of the work searched.
    pub tip: u64,
    /// Id of its job.
    pub job_id: u32,
    /// The complete version field.
    pub version: u32,
    /// The header's time.
    pub ntime: u32,
    /// The header's nonce.
    pub nonce: u32,
    /// The extranonce, of exactly the granted length; empty on standard channels.
    pub extranonce: Vec<u8>,
    /// The header's hash, little-endian as a number.
    pub hash: [u8; 32],
}

/// Holds the work that is to be done now.
#[derive(Debug, Default)]
pub struct Board {
    /// Changes with every change of the state below.
    generation: AtomicU64,
    state: Mutex<BoardState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct BoardState {
    work: Option<Arc<Work>>,
    stopped: bool,
}

/// What a thread sees on the board.
enum Order {
    Search(Arc<Work>),
    Rest,
    Stop,
}

impl Board {
    /// Replaces the work; `None` lets the threads rest (MP-98, MD-06).
    pub fn post(&self, work: Option<Work>) {
        self.change(|state| state.work = work.map(Arc::new));
    }

    fn stop(&self) {
        self.change(|state| state.stopped = true);
    }

    fn change(&self, change: impl FnOnce(&mut BoardState)) {
        let mut state = self.lock();
        change(&mut state);
        self.generation.fetch_add(1, Ordering::Release);
        drop(state);
        self.changed.notify_all();
    }

    /// A panicked thread leaves the board in order: the state is only ever assigned to.
    fn lock(&self) -> MutexGuard<'_, BoardState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn read(&self) -> (u64, Order) {
        let state = self.lock();
        let order = match (&state.work, state.stopped) {
            (_, true) => Order::Stop,
            (Some(work), false) => Order::Search(Arc::clone(work)),
            (None, false) => Order::Rest,
        };
        (self.generation(), order)
    }

    /// Waits until the board's generation is not `seen` any more, at most `timeout`.
    fn wait(&self, seen: u64, timeout: Option<Duration>) {
        let state = self.lock();
        let unchanged = |_: &mut BoardState| self.generation() == seen;
        match timeout {
            Some(timeout) => drop(self.changed.wait_timeout_while(state, timeout, unchanged)),
            None => drop(self.changed.wait_while(state, unchanged)),
        }
    }
}

/// The search threads of a device.
#[derive(Debug)]
pub struct Crew {
    board: Arc<Board>,
    counters: Vec<Arc<AtomicU64>>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    /// Starts `threads` threads that report to `found`; together they do not exceed `limit`.
    ///
    /// # Errors
    /// The system's reason why a thread could not be started.
    pub fn start<T>(threads: usize, limit: Option<HashRate>, found: &Sender<T>) -> std::io::Result<Crew>
    where
        T: From<Found> + Send + 'static,
    {
        let board = Arc::new(Board::default());
        let mut crew = Crew { board, counters: Vec::new(), threads: Vec::new() };
        for index in 0..threads {
            let hashes = Arc::new(AtomicU64::new(0));
            let searcher = Searcher {
                index,
                threads,
                limit: limit.map(|limit| (limit.get() / threads as u64).max(1)),
                board: Arc::clone(&crew.board),
                found: found.clone(),
                hashes: Arc::clone(&hashes),
            };
            // If this fails, dropping the crew stops the threads that have been started.
            let thread =
                std::thread::Builder::new().name(format!("search-{index}")).spawn(move || searcher.run())?;
            crew.counters.push(hashes);
            crew.threads.push(thread);
        }
        Ok(crew)
    }

    /// The board, for posting work.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Hashes done so far by all threads.
    pub fn hashes(&self) -> u64 {
        self.counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.board.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a search thread had panicked");
            }
        }
    }
}

struct Searcher<T> {
    index: usize,
    threads: usize,
    /// Hashes a second of this thread.
    limit: Option<u64>,
    board: Arc<Board>,
    found: Sender<T>,
    hashes: Arc<AtomicU64>,
}

impl<T: From<Found>> Searcher<T> {
    fn run(self) {
        loop {
            let (seen, order) = self.board.read();
            match order {
                Order::Stop => return,
                Order::Rest => self.board.wait(seen, None),
                Order::Search(work) => self.search(&work, seen),
            }
        }
    }

    /// Walks `work` until the board changes.
    fn search(&self, work: &Work, seen: u64) {
        let mut walk = work.walk(self.index, self.threads);
        let mut pace = Pace::new(self.limit, Instant::now());
        while self.board.generation() == seen {
            let now = Instant::now();
            match walk.next(work.elapsed(now)) {
                Step::Search(part) => self.part(work, &part, seen, &mut pace),
                Step::Wait => self.board.wait(seen, Some(RETRY)),
                Step::Exhausted => self.board.wait(seen, None),
            }
        }
    }

    fn part(&self, work: &Work, part: &Part, seen: u64, pace: &mut Pace) {
        let (header, extranonce) = work.header(part);
        let version = work.rolled_version(part);
        let mut search = HeaderSearch::new(&header, work.target());
        let mut done = 0;
        while done < part.nonces && self.board.generation() == seen {
            let step = pace.step.min(part.nonces - done);
            let mut hits = Vec::new();
            let hashed = search.run(part.first_nonce + done, step, |nonce, hash| hits.push((nonce, hash)));
            self.hashes.fetch_add(u64::from(hashed), Ordering::Relaxed);
            done += step;
            for (nonce, hash) in hits {
                let extranonce = extranonce.clone();
                let (tip, job_id) = (work.tip, work.assignment.job_id());
                let found = Found { tip, job_id, version, ntime: part.ntime, nonce, extranonce, hash };
                if !self.report(found) {
                    return;
                }
            }
            if let Some(pause) = pace.pause(hashed, Instant::now()) {
                self.board.wait(seen, Some(pause));
            }
        }
    }

    /// Hands over what was found. Waits while the queue is full, but not on a device that rests: there
    /// nobody takes it. Answers whether there is any use in reporting more.
    fn report(&self, found: Found) -> bool {
        let mut found = T::from(found);
        loop {
            match self.found.send_timeout(found, Duration::from_millis(20)) {
                Ok(()) => return true,
                Err(SendTimeoutError::Disconnected(_)) => return false,
                Err(SendTimeoutError::Timeout(back)) => found = back,
            }
            if !matches!(self.board.read().1, Order::Search(_)) {
                return false;
            }
        }
    }
}

/// Keeps a thread to its share of the device's limit.
struct Pace {
    limit: Option<u64>,
    step: u32,
    started: Instant,
    done: u64,
}

impl Pace {
    fn new(limit: Option<u64>, now: Instant) -> Self {
        let step = limit
            .map_or(u64::from(STEP), |limit| (limit / THROTTLED_STEPS_PER_SECOND).clamp(1, u64::from(STEP)));
        Pace { limit, step: u32::try_from(step).unwrap_or(STEP), started: now, done: 0 }
    }

    /// How long to pause after `hashed` more hashes.
    fn pause(&mut self, hashed: u32, now: Instant) -> Option<Duration> {
        let limit = self.limit?;
        self.done += u64::from(hashed);
        let due = Duration::from_micros(self.done.saturating_mul(1_000_000) / limit);
        let elapsed = now.saturating_duration_since(self.started);
        if elapsed > due + CATCH_UP {
            self.started = now;
            self.done = 0;
        }
        due.checked_sub(elapsed).filter(|pause| !pause.is_zero())
    }
}

/// The hash rate over the last seconds, from a counter that only grows.
#[derive(Debug)]
pub struct RateWindow {
    span: Duration,
    samples: std::collections::VecDeque<(Instant, u64)>,
}

impl RateWindow {
    /// A window of `span`, fed with one sample a second or so; it keeps no more than 64.
    pub fn new(span: Duration) -> Self {
        RateWindow { span, samples: std::collections::VecDeque::new() }
    }

    /// Adds the counter's value now.
    pub fn sample(&mut self, now: Instant, hashes: u64) {
        while self.samples.len() >= 64
            || self.samples.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= self.span)
        {
            self.samples.pop_front();
        }
        self.samples.push_back((now, hashes));
    }

    /// Forgets the past, as after a pause.
    pub fn clear(&mut self) {
        self.samples.clear();
    }

    /// The rate between the oldest and the newest sample; none before the second sample.
    pub fn rate(&self) -> Option<HashRate> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let time = last.0.saturating_duration_since(first.0);
        (!time.is_zero()).then(|| HashRate::new(per_second(last.1.saturating_sub(first.1), time)))
    }

    /// How much time the samples cover.
    pub fn covered(&self) -> Duration {
        match (self.samples.front(), self.samples.back()) {
            (Some(first), Some(last)) => last.0.saturating_duration_since(first.0),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests;
