//! What a thread searches: the headers of one piece of work, each exactly once.
//!
//! The headers of one `ntime` are numbered. A number has the digits, least significant first: version
//! bits (a few), extranonce, block of nonces, version bits (the rest). Thread `t` of `n` takes the
//! numbers `t`, `t + n`, `t + 2n`, …; so no two threads ever share a header, whatever dimensions the
//! channel grants, and every dimension that it grants is used within seconds.
//!
//! `ntime` follows the clock, at most one a second (MD-05, MP-113, MP-117). When all numbers of a thread
//! are used up it starts over, with an `ntime` later than all that it has used.

use std::time::{Duration, Instant};

use work::Target;

use crate::kernel::HEADER_LEN;

/// The bits of `version` that may be rolled (BIP323, MP-04).
pub const VERSION_MASK: u32 = 0x1fff_ffe0;
const VERSION_SHIFT: u32 = 5;
const VERSION_BITS: u32 = 24;

/// Version bits rolled before the next extranonce is taken.
const VERSION_LOW_BITS: u32 = 4;

/// Nonces of one assignment, as a power of two: about an eighth of a second of one thread's work.
const NONCE_BLOCK_BITS: u32 = 20;

/// A job's `ntime` is not carried further ahead of its `min_ntime` than consensus allows a block's time
/// to be ahead of the clock; servers without a clock use this bound (MP-115).
const NTIME_SPAN: u64 = 7200;

/// Where the merkle root of a header comes from.
#[derive(Debug, Clone)]
pub enum Root {
    /// One root for the whole job (standard channel).
    Fixed([u8; 32]),
    /// One root per extranonce (extended channel).
    Rolled(Coinbase),
}

/// What the merkle roots of an extended job are computed from.
#[derive(Debug, Clone)]
pub struct Coinbase {
    /// The coinbase transaction up to and with the channel's `extranonce_prefix`.
    pub prefix: Box<[u8]>,
    /// Length of the rolled extranonce in bytes, as granted by the server.
    pub extranonce_size: usize,
    /// The coinbase transaction after the extranonce.
    pub suffix: Box<[u8]>,
    /// Sibling hashes from the coinbase up.
    pub merkle_path: Box<[[u8; 32]]>,
}

impl Coinbase {
    /// The extranonce of a counter's value: the counter big-endian, in exactly the granted length
    /// (MP-120, MD-10).
    pub fn extranonce(&self, counter: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.extranonce_size];
        for (byte, value) in bytes.iter_mut().rev().zip(counter.to_le_bytes()) {
            *byte = value;
        }
        bytes
    }

    /// The merkle root with this extranonce (MP-94).
    pub fn merkle_root(&self, extranonce: &[u8]) -> [u8; 32] {
        merkle_root(&[&self.prefix, extranonce, &self.suffix], &self.merkle_path)
    }

    /// How many extranonces there are, as far as a counter of 64 bits reaches.
    fn extranonces(&self) -> u64 {
        u32::try_from(self.extranonce_size * 8)
            .ok()
            .and_then(|bits| 1u64.checked_shl(bits))
            .unwrap_or(u64::MAX)
    }
}

/// Folds the transaction made of `coinbase`'s parts with the siblings in `path` (MP-94).
pub fn merkle_root(coinbase: &[&[u8]], path: &[[u8; 32]]) -> [u8; 32] {
    path.iter().fold(sha256d(coinbase), |root, sibling| sha256d(&[&root, sibling]))
}

fn sha256d(parts: &[&[u8]]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    let mut first = Sha256::new();
    for part in parts {
        first.update(part);
    }
    Sha256::digest(first.finalize()).into()
}

/// One job as the search threads see it.
#[derive(Debug, Clone)]
pub struct Work {
    /// Chosen by the session; comes back with what is found.
    pub id: u64,
    /// The job's version.
    pub version: u32,
    /// Whether the bits of [`VERSION_MASK`] may be changed.
    pub version_rolling: bool,
    /// The hash of the block that this work builds on, as in the header.
    pub prev_hash: [u8; 32],
    /// The compact network target, as in the header.
    pub nbits: u32,
    /// The first `ntime` that may be used (MP-80).
    pub min_ntime: u32,
    /// When the message arrived that supplied `min_ntime`: `ntime` advances from there.
    pub received: Instant,
    /// Hashes that meet it are reported.
    pub target: Target,
    /// The merkle root or what it is made of.
    pub root: Root,
}

impl Work {
    fn space(&self) -> Space {
        Space {
            version_low_bits: if self.version_rolling { VERSION_LOW_BITS } else { 0 },
            version_high_bits: if self.version_rolling { VERSION_BITS - VERSION_LOW_BITS } else { 0 },
            extranonces: match &self.root {
                Root::Fixed(_) => 1,
                Root::Rolled(coinbase) => coinbase.extranonces(),
            },
            nonce_bits: 32,
            block_bits: NONCE_BLOCK_BITS,
        }
    }

    /// The walk of thread `thread` of `threads` over this work.
    pub fn walk(&self, thread: usize, threads: usize) -> Walk {
        Walk::new(self.space(), self.min_ntime, thread, threads)
    }

    /// The header of an assignment, with its first nonce, and the extranonce in it.
    pub fn header(&self, part: &Assignment) -> ([u8; HEADER_LEN], Vec<u8>) {
        let (root, extranonce) = match &self.root {
            Root::Fixed(root) => (*root, Vec::new()),
            Root::Rolled(coinbase) => {
                let extranonce = coinbase.extranonce(part.extranonce);
                (coinbase.merkle_root(&extranonce), extranonce)
            }
        };
        let mut header = [0; HEADER_LEN];
        header[..4].copy_from_slice(&self.rolled_version(part).to_le_bytes());
        header[4..36].copy_from_slice(&self.prev_hash);
        header[36..68].copy_from_slice(&root);
        header[68..72].copy_from_slice(&part.ntime.to_le_bytes());
        header[72..76].copy_from_slice(&self.nbits.to_le_bytes());
        header[76..].copy_from_slice(&part.first_nonce.to_le_bytes());
        (header, extranonce)
    }

    /// The complete version field of an assignment (MP-118). The job's own rollable bits are the
    /// starting point, so that the first header is the job's as it was sent (MP-89, MP-90).
    pub fn rolled_version(&self, part: &Assignment) -> u32 {
        let rolled = self.version ^ (part.version_bits << VERSION_SHIFT);
        debug_assert_eq!((rolled ^ self.version) & !VERSION_MASK, 0, "only BIP323 bits are rolled (MP-04)");
        rolled
    }

    /// Whole seconds by which `ntime` may be ahead of `min_ntime` at `now` (MP-113, AM-16).
    pub fn elapsed(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.received).as_secs().min(NTIME_SPAN);
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    /// How long after `now` the next second begins.
    pub fn next_second(&self, now: Instant) -> Duration {
        let into = now.saturating_duration_since(self.received).subsec_nanos();
        Duration::from_nanos(1_000_000_000 - u64::from(into))
    }
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
    /// Nonces of one assignment, as a power of two.
    pub block_bits: u32,
}

impl Space {
    /// How many assignments there are.
    fn len(&self) -> u128 {
        let blocks = self.nonce_bits.saturating_sub(self.block_bits);
        u128::from(self.extranonces) << (self.version_low_bits + self.version_high_bits + blocks)
    }

    /// The assignment with this number: (extranonce, version bits, first nonce).
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
pub struct Assignment {
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
    Search(Assignment),
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

    /// The next assignment, `elapsed` seconds after the job's `min_ntime` came into force.
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
        Step::Search(Assignment { extranonce, version_bits, ntime, first_nonce, nonces })
    }
}

#[cfg(test)]
mod tests;
