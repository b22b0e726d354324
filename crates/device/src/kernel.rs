//! The inner loop: double SHA-256 of 80-byte block headers that differ in the nonce.
//!
//! The first 64 bytes of a header do not hold the nonce, so their compression (the midstate) is
//! computed once per header; each nonce then costs two compressions. `sha2` picks the processor's
//! SHA instructions where there are any.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use sha2::digest::consts::U64;
use sha2::digest::generic_array::GenericArray;
use work::{HashRate, Target};

/// Length of a block header in bytes.
pub const HEADER_LEN: usize = 80;

/// Where the nonce stands inside the second 64-byte block of a header.
const NONCE_AT: usize = 76 - 64;

/// Initial state of SHA-256 (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// One 64-byte input block of the compression function.
type Block = GenericArray<u8, U64>;

/// Searches the nonces of one header for hashes that meet a target.
#[derive(Clone)]
pub struct HeaderSearch {
    midstate: [u32; 8],
    /// Bytes 64..80 of the header and the padding of an 80-byte message.
    tail: Block,
    /// The hash of the header and the padding of a 32-byte message.
    second: Block,
    target: Target,
    /// The 64 most significant bits of the target: nearly every hash is dismissed by them.
    top: u64,
}

impl HeaderSearch {
    /// Prepares the search of `header`; the nonce that it carries does not matter.
    pub fn new(header: &[u8; HEADER_LEN], target: Target) -> Self {
        let (first, rest) = header.split_at(64);
        let mut midstate = INITIAL;
        sha2::compress256(&mut midstate, &[*Block::from_slice(first)]);

        let mut tail = Block::default();
        tail[..16].copy_from_slice(rest);
        tail[16] = 0x80;
        tail[56..].copy_from_slice(&(80u64 * 8).to_be_bytes());

        let mut second = Block::default();
        second[32] = 0x80;
        second[56..].copy_from_slice(&(32u64 * 8).to_be_bytes());

        let bytes = target.to_le_bytes();
        let mut top = [0; 8];
        top.copy_from_slice(&bytes[24..]);
        HeaderSearch { midstate, tail, second, target, top: u64::from_le_bytes(top) }
    }

    /// Hashes the header with `count` nonces from `first` on and calls `found` with each nonce whose
    /// hash (as SHA-256 gives it: little-endian as a number) meets the target. Stops at the last nonce
    /// of the header, without wrapping. Returns how many nonces were hashed.
    pub fn run(&mut self, first: u32, count: u32, mut found: impl FnMut(u32, [u8; 32])) -> u32 {
        let count = u64::from(count).min(u64::from(u32::MAX - first) + 1);
        let mut nonce = first;
        for _ in 0..count {
            let state = self.hash(nonce);
            let top = u64::from(state[7].swap_bytes()) << 32 | u64::from(state[6].swap_bytes());
            if top <= self.top {
                let hash = to_bytes(&state);
                if self.target.is_met_by(&hash) {
                    found(nonce, hash);
                }
            }
            nonce = nonce.wrapping_add(1);
        }
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    #[inline]
    fn hash(&mut self, nonce: u32) -> [u32; 8] {
        self.tail[NONCE_AT..NONCE_AT + 4].copy_from_slice(&nonce.to_le_bytes());
        let mut state = self.midstate;
        sha2::compress256(&mut state, std::slice::from_ref(&self.tail));
        for (bytes, word) in self.second.chunks_exact_mut(4).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        let mut state = INITIAL;
        sha2::compress256(&mut state, std::slice::from_ref(&self.second));
        state
    }
}

fn to_bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (bytes, word) in hash.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    hash
}

/// Hashes on `threads` threads for about `duration` and says how many hashes a second that were.
pub fn measure(threads: NonZeroUsize, duration: Duration) -> HashRate {
    let started = Instant::now();
    let hashes: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.get()).map(|_| scope.spawn(|| hash_for(duration))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
    });
    HashRate::new(per_second(hashes, started.elapsed()))
}

fn hash_for(duration: Duration) -> u64 {
    const BATCH: u32 = 1024;
    let started = Instant::now();
    let mut search = HeaderSearch::new(&[0; HEADER_LEN], Target::from_le_bytes([0; 32]));
    let mut hashes = 0;
    while started.elapsed() < duration {
        hashes += u64::from(search.run(0, BATCH, |_, _| ()));
    }
    hashes
}

/// `count` things in `time` are how many a second, rounded down.
pub(crate) fn per_second(count: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    u64::try_from(u128::from(count) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
