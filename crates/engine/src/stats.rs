//! Counters of the engine, written by one thread each and read by any.

use {
    crate::{
        admission::{bucket::Nanos, nanos},
        close::Close,
        limits::Refusal,
    },
    std::{
        sync::{
            Arc,
            atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        },
        time::Instant,
    },
};

/// Counts since the engine started, of one shard or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections not let in, by [`Refusal::ALL`]. Counted for the engine, not per shard.
    pub refused: [u64; Refusal::ALL.len()],
    /// Connections that are open now, handshakes under way and lingering ones included.
    pub open: u64,
    /// Handshakes that succeeded.
    pub handshakes: u64,
    /// Connections that ended before their handshake was done.
    pub handshakes_failed: u64,
    /// Frames received and handed to the handler.
    pub frames_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Bytes read from sockets.
    pub bytes_in: u64,
    /// Bytes written to sockets.
    pub bytes_out: u64,
    /// Bytes kept for peers now: parts of frames, and output that was not read.
    pub buffered: u64,
    /// Connections ended, by [`Close::LABELS`].
    pub closed: [u64; Close::LABELS.len()],
}

impl Stats {
    /// How many connections were refused for this reason.
    #[must_use]
    pub fn refused_for(&self, why: Refusal) -> u64 {
        Refusal::ALL.iter().position(|refusal| *refusal == why).map_or(0, |index| self.refused[index])
    }

    /// How many connections ended for the reason with this label (see [`Close::label`]).
    #[must_use]
    pub fn closed_for(&self, label: &str) -> u64 {
        Close::LABELS.iter().position(|known| *known == label).map_or(0, |index| self.closed[index])
    }

    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.open += other.open;
        self.handshakes += other.handshakes;
        self.handshakes_failed += other.handshakes_failed;
        self.frames_in += other.frames_in;
        self.frames_out += other.frames_out;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.buffered += other.buffered;
        for (sum, count) in self.refused.iter_mut().zip(other.refused) {
            *sum += count;
        }
        for (sum, count) in self.closed.iter_mut().zip(other.closed) {
            *sum += count;
        }
    }
}

/// What a shard shows to other threads. It counts in a plain [`Stats`] of its own and publishes that
/// once a turn, so that counting costs nothing on the path of a share.
#[derive(Default)]
pub(crate) struct Published {
    accepted: AtomicU64,
    open: AtomicU64,
    handshakes: AtomicU64,
    handshakes_failed: AtomicU64,
    frames_in: AtomicU64,
    frames_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    buffered: AtomicU64,
    closed: [AtomicU64; Close::LABELS.len()],
    /// Connections given to this shard and not ended: what the acceptor balances by.
    pub(crate) assigned: AtomicUsize,
    /// When the round under way began, in nanoseconds of the board; 0 between two.
    round_began: AtomicU64,
    /// How long the last whole round took.
    last_round: AtomicU64,
}

impl Published {
    /// The shard has been told who has something to say now. A round lasts until all of them are served.
    pub(crate) fn begin_round(&self, now: Nanos) {
        if self.round_began.load(Relaxed) == 0 {
            self.round_began.store(now.max(1), Relaxed);
        }
    }

    /// Everybody is served.
    pub(crate) fn end_round(&self, now: Nanos) {
        let began = self.round_began.swap(0, Relaxed);
        self.last_round.store(now.saturating_sub(began), Relaxed);
    }

    /// How long the last whole round took.
    pub(crate) fn last_round(&self) -> Nanos {
        self.last_round.load(Relaxed)
    }

    /// How long a connection that has something to say waits for this shard.
    pub(crate) fn lag(&self, now: Nanos) -> Nanos {
        match self.round_began.load(Relaxed) {
            0 => 0,
            began => now.saturating_sub(began).max(self.last_round.load(Relaxed)),
        }
    }

    pub(crate) fn publish(&self, stats: &Stats) {
        self.accepted.store(stats.accepted, Relaxed);
        self.open.store(stats.open, Relaxed);
        self.handshakes.store(stats.handshakes, Relaxed);
        self.handshakes_failed.store(stats.handshakes_failed, Relaxed);
        self.frames_in.store(stats.frames_in, Relaxed);
        self.frames_out.store(stats.frames_out, Relaxed);
        self.bytes_in.store(stats.bytes_in, Relaxed);
        self.bytes_out.store(stats.bytes_out, Relaxed);
        self.buffered.store(stats.buffered, Relaxed);
        for (shown, count) in self.closed.iter().zip(stats.closed) {
            shown.store(count, Relaxed);
        }
    }

    fn read(&self) -> Stats {
        let mut stats = Stats {
            accepted: self.accepted.load(Relaxed),
            open: self.open.load(Relaxed),
            handshakes: self.handshakes.load(Relaxed),
            handshakes_failed: self.handshakes_failed.load(Relaxed),
            frames_in: self.frames_in.load(Relaxed),
            frames_out: self.frames_out.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            buffered: self.buffered.load(Relaxed),
            ..Stats::default()
        };
        for (count, shown) in stats.closed.iter_mut().zip(&self.closed) {
            *count = shown.load(Relaxed);
        }
        stats
    }
}

/// All counters of an engine.
pub(crate) struct Board {
    start: Instant,
    pub(crate) shards: Vec<Published>,
    pub(crate) refused: [AtomicU64; Refusal::ALL.len()],
}

impl Board {
    pub(crate) fn new(shards: u16) -> Arc<Self> {
        let shards = (0..shards).map(|_| Published::default()).collect();
        Arc::new(Self { start: Instant::now(), shards, refused: Default::default() })
    }

    pub(crate) fn now(&self) -> Nanos {
        nanos(self.start.elapsed())
    }

    pub(crate) fn refuse(&self, why: Refusal) {
        if let Some(index) = Refusal::ALL.iter().position(|refusal| *refusal == why) {
            self.refused[index].fetch_add(1, Relaxed);
        }
    }
}

/// Reads an engine's counters from any thread, also after the engine has stopped.
#[derive(Clone)]
pub struct StatsReader(pub(crate) Arc<Board>);

impl StatsReader {
    /// The counts of all shards together.
    #[must_use]
    pub fn read(&self) -> Stats {
        let mut sum = Stats::default();
        for shard in &self.0.shards {
            sum.add(&shard.read());
        }
        for (count, shown) in sum.refused.iter_mut().zip(&self.0.refused) {
            *count = shown.load(Relaxed);
        }
        sum
    }

    /// The counts of one shard; `None` if there is no such shard.
    #[must_use]
    pub fn shard(&self, index: u16) -> Option<Stats> {
        self.0.shards.get(usize::from(index)).map(Published::read)
    }
}
