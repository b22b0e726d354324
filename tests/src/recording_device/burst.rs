//! A device that finds its shares beforehand, and then sends them as fast as the pool answers: full load for the pool
//! on a machine whose processors it shares with its miners.

use std::io::Result;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::channel::Share;
use super::{Kind, Record, STRIDE, Session};
use crate::assay::Addresses;

/// Shares that may be unanswered at a time, over all channels: some commits' worth.
const WINDOW: usize = 8192;

/// Shares of one channel that leave together.
const BATCH: usize = 16;

/// So little that the pool hands out its easiest target.
const NOMINAL_HASH_RATE: f32 = 1.0;

/// A connection with its shares at hand.
pub struct Burst {
    pool: Addresses,
    kind: Kind,
    channels: u32,
    shares: usize,
}

/// What became of a burst.
#[derive(Debug)]
pub struct Fired {
    /// The device's books.
    pub record: Record,
    /// Shares that left.
    pub sent: u64,
    /// From the first share that left to the last answer that came.
    pub took: Duration,
}

impl Burst {
    /// A device that is going to send about `shares` shares over `channels` channels.
    pub fn new(pool: &Addresses, kind: Kind, channels: u32, shares: usize) -> Burst {
        Burst { pool: pool.clone(), kind, channels, shares }
    }

    /// Connects, finds the shares, waits for `go`, and sends them until all are answered or the connection ends.
    ///
    /// Shares that are blocks are kept back: a new tip would make the others worthless.
    pub fn fire(self, go: impl FnOnce()) -> Fired {
        let record = Mutex::new(Record::default());
        let (mut sent, mut took) = (0, Duration::ZERO);
        let outcome = self.session(&record, go, &mut sent, &mut took);
        let mut record = record.into_inner().expect("not poisoned");
        // An end of the connection is what the tests are about; it must not come before the first share.
        if let (Err(error), 0) = (&outcome, sent) {
            record.faults.push(format!("no share was sent: {error}"));
        }
        Fired { record, sent, took }
    }

    fn session(
        &self,
        record: &Mutex<Record>,
        go: impl FnOnce(),
        sent: &mut u64,
        took: &mut Duration,
    ) -> Result<()> {
        let opened = Session::open(&self.pool, self.kind, (self.channels, NOMINAL_HASH_RATE), record);
        let prepared = opened.map(|(session, keys)| {
            let mut session = session;
            let stock = session.stock_up(self.shares / keys.len().max(1));
            (session, keys, stock)
        });
        // Whoever waits for the go must not wait for ever.
        go();
        let (mut session, keys, stock) = prepared?;
        let started = Instant::now();
        let mut left: Vec<_> = stock.iter().map(|shares| shares.chunks(BATCH)).collect();
        while !left.is_empty() || session.unanswered() > 0 {
            for (turn, batches) in left.iter_mut().enumerate() {
                for share in batches.next().unwrap_or_default() {
                    session.queue(turn, share);
                    *sent += 1;
                }
            }
            session.link.flush()?;
            if left.iter().all(|batches| batches.len() == 0) {
                left.clear();
            }
            session.receive(&keys, false)?;
            *took = started.elapsed();
            while session.unanswered() > if left.is_empty() { 0 } else { WINDOW } {
                session.receive(&keys, true)?;
                *took = started.elapsed();
            }
        }
        Ok(())
    }
}

impl Session<'_> {
    /// Finds `shares` shares for each channel.
    fn stock_up(&mut self, shares: usize) -> Vec<Vec<Share>> {
        let channels = self.channels.iter_mut();
        let stock = channels.map(|(channel, _)| {
            let mut found = Vec::with_capacity(shares);
            while found.len() < shares {
                found.extend(channel.search(STRIDE).into_iter().filter(|share| !share.is_block));
            }
            found
        });
        stock.collect()
    }

    fn unanswered(&self) -> usize {
        self.channels.iter().map(|(channel, _)| channel.unanswered()).sum()
    }
}
