//! What a thread searches: the headers of one piece of work, each exactly once.
//!
//! The headers of one `ntime` are numbered. A number has the digits, least significant first: version
//! bits (a few), extranonce, block of nonces, version bits (the rest). Thread `t` of `n` takes the
//! numbers `t`, `t + n`, `t + 2n`, …; so no two threads ever share a header, whatever dimensions the
//! channel grants, and every dimension that it grants is used within seconds.
//!
//! `ntime` follows the clock, at most one a second (MD-05, MP-113, MP-117). When all numbers of a thread
//! are used up it starts over, with an `ntime` later than all that it has used.

use std::time::Instant;

use work::{Assignment, Kind, Target, VERSION_ROLLING_MASK};

use crate::kernel::HEADER_LEN;

/// Where the rollable bits of a version begin (BIP323, MP-04), and how many they are.
const VERSION_SHIFT: u32 = VERSION_ROLLING_MASK.trailing_zeros();
const VERSION_BITS: u32 = VERSION_ROLLING_MASK.count_ones();

/// Version bits rolled before the next extranonce is taken.
const VERSION_LOW_BITS: u32 = 4;

/// Nonces of one part, as a power of two: about a twelfth of a second of one thread's work.
const NONCE_BLOCK_BITS: u32 = 20;

/// A job's `ntime` is not carried further ahead of its `min_ntime` than consensus allows a block's time
/// to be ahead of the clock; servers without a clock use this bound (MP-115).
const NTIME_SPAN: u32 = 7200;

/// One job as the search threads see it.
#[derive(Debug, Clone)]
pub struct Work {
    /// Counts the blocks built upon in this device's life: a result for an earlier one is stale, even if
    /// the server uses its job's id again.
    pub tip: u64,
    /// The job with all that is needed to mine it.
    pub assignment: Assignment,
    /// Of the channel.
    pub kind: Kind,
    /// The session's clock: its milliseconds count from here.
    pub clock: Instant,
}

impl Work {
    /// What is worth reporting: shares, and blocks even if the server's target is harder than the
    /// network's, which makes no sense but must not cost a block (MP-137, MP-149).
    pub fn target(&self) -> Target {
        self.assignment.target().max(self.assignment.tip().network_target())
    }

    fn extranonce_size(&self) -> usize {
        match self.kind {
            Kind::Standard => 0,
            Kind::Extended { rollable } => usize::from(rollable),
        }
    }

    fn space(&self) -> Space {
        let rolling = self.assignment.version_rolling_allowed();
        Space {
            version_low_bits: if rolling { VERSION_LOW_BITS } else { 0 },
            version_high_bits: if rolling { VERSION_BITS - VERSION_LOW_BITS } else { 0 },
            extranonces: extranonces(self.extranonce_size()),
            nonce_bits: 32,
            block_bits: NONCE_BLOCK_BITS,
        }
    }

    /// The walk of thread `thread` of `threads` over this work.
    pub fn walk(&self, thread: usize, threads: usize) -> Walk {
        Walk::new(self.space(), *self.assignment.ntimes(0).start(), thread, threads)
    }

    /// The header of a part, with its first nonce, and the extranonce in it.
    pub fn header(&self, part: &Part) -> ([u8; HEADER_LEN], Vec<u8>) {
        let extranonce = extranonce(part.extranonce, self.extranonce_size());
        let root = self.assignment.merkle_root(&extranonce);
        let version = self.rolled_version(part);
        (self.assignment.header(version, &root, part.ntime, part.first_nonce), extranonce)
    }

    /// The complete version field of a part (MP-118). The job's own rollable bits are the starting point,
    /// so that the first header is the job's as it was sent (MP-89, MP-90).
    pub fn rolled_version(&self, part: &Part) -> u32 {
        let version = self.assignment.version();
        let rolled = version ^ (part.version_bits << VERSION_SHIFT);
        debug_assert_eq!(
            (rolled ^ version) & !VERSION_ROLLING_MASK,
            0,
            "only BIP323 bits are rolled (MP-04)"
        );
        rolled
    }

    /// Whole seconds by which `ntime` may be ahead of the job's least at `now` (MP-113, AM-16).
    pub fn elapsed(&self, now: Instant) -> u32 {
        let millis = now.saturating_duration_since(self.clock).as_millis();
        let ntimes = self.assignment.ntimes(u64::try_from(millis).unwrap_or(u64::MAX));
        (ntimes.end() - ntimes.start()).min(NTIME_SPAN)
    }
}

/// The extranonce of a counter's value: the counter big-endian, in exactly the granted length (MP-120,
/// MD-10).
pub(crate) fn extranonce(counter: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    for (byte, value) in bytes.iter_mut().rev().zip(counter.to_le_bytes()) {
        *byte = value;
    }
    bytes
}

/// How many extranonces of `size` bytes there are, as far as a counter of 64 bits reaches.
fn extranonces(size: usize) -> u64 {
    u32::try_from(size * 8).ok().and_then(|bits| 1u64.checked_shl(bits)).unwrap_or(u64::MAX)
}

/// The numbered headers of one `ntime`.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// Version bits rolled first; they are the lower ones.
    pub version_low_bits: u32,
    /// Version bits rolled last.
    pub version_high_bits: u32,
    /// How many extranonces there are; 1 when there is none to roll.
    pub extranonces: u64,
    /// Bits of the nonce that are searched: 32, less in tests.
    pub nonce_bits: u32,
    /// Nonces of one part, as a power of two.
    pub block_bits: u32,
}

impl Space {
    /// How many parts there are.
    fn len(&self) -> u128 {
        let blocks = self.nonce_bits.saturating_sub(self.block_bits);
        u128::from(self.extranonces) << (self.version_low_bits + self.version_high_bits + blocks)
    }

    /// The part with this number: (extranonce, version bits, first nonce).
    fn at(&self, number: u128) -> (u64, u32, u32) {
        debug_assert!(number < self.len());
        let mut rest = number;
        let mut digit = |radix: u128| {
            let value = rest % radix;
            rest /= radix;
            value
        };
        let low = digit(1 << self.version_low_bits);
        let extranonce = digit(u128::from(self.extranonces));
        let block = digit(1 << self.nonce_bits.saturating_sub(self.block_bits));
        let high = digit(1 << self.version_high_bits);
        debug_assert_eq!(rest, 0);
        let narrow = |value: u128| u32::try_from(value).unwrap_or(u32::MAX);
        (
            u64::try_from(extranonce).unwrap_or(u64::MAX),
            narrow(low | high << self.version_low_bits),
            narrow(block << self.block_bits),
        )
    }
}

/// A run of headers for one thread: one version, extranonce and `ntime`, consecutive nonces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Value of the extranonce counter; 0 when there is none.
    pub extranonce: u64,
    /// What is added (as XOR) to the rollable bits of the job's version, shifted down to bit 0.
    pub version_bits: u32,
    /// The header's time, UNIX seconds.
    pub ntime: u32,
    /// First nonce.
    pub first_nonce: u32,
    /// How many nonces.
    pub nonces: u32,
}

/// What a [`Walk`] says next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Search this.
    Search(Part),
    /// All headers that are allowed by now have been searched; ask again in the next second.
    Wait,
    /// Nothing is left, or ever was, for this thread.
    Exhausted,
}

/// One thread's way through the headers of one piece of work.
#[derive(Debug, Clone)]
pub struct Walk {
    space: Space,
    thread: u128,
    threads: u128,
    next: u128,
    min_ntime: u32,
    /// Everything searched in earlier rounds had an earlier `ntime`. `None`: the field has no later value.
    round_from: Option<u32>,
    latest: u32,
}

impl Walk {
    /// The walk of thread `thread` of `threads`, both from the same space.
    pub fn new(space: Space, min_ntime: u32, thread: usize, threads: usize) -> Self {
        assert!(thread < threads, "threads are numbered from 0");
        Walk {
            space,
            thread: thread as u128,
            threads: threads as u128,
            next: thread as u128,
            min_ntime,
            round_from: Some(min_ntime),
            latest: min_ntime,
        }
    }

    /// The next part, `elapsed` seconds after the job's `min_ntime` came into force.
    pub fn next(&mut self, elapsed: u32) -> Step {
        if self.thread >= self.space.len() {
            return Step::Exhausted;
        }
        if self.next >= self.space.len() {
            self.next = self.thread;
            self.round_from = self.latest.checked_add(1);
        }
        let Some(round_from) = self.round_from else { return Step::Exhausted };
        // A clock that steps back must not take the walk back with it.
        let ntime = self.min_ntime.saturating_add(elapsed).max(self.latest);
        if ntime < round_from {
            return Step::Wait;
        }
        let (extranonce, version_bits, first_nonce) = self.space.at(self.next);
        self.next += self.threads;
        self.latest = ntime;
        let nonces = 1 << self.space.block_bits.min(self.space.nonce_bits);
        Step::Search(Part { extranonce, version_bits, ntime, first_nonce, nonces })
    }
}

#[cfg(test)]
pub(crate) mod tests;
