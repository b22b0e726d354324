//! A search for proof of work over the nonce of a block header, fast enough for a signet: one SHA-256
//! compression for the header's second half and one for the outer hash.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use bitcoin::Target;
use bitcoin::block::Header;
use bitcoin::consensus::encode::serialize;
use sha2::digest::generic_array::GenericArray;

/// The initial state of SHA-256.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// How many nonces a thread tries between looks at what the others have found.
const STRIDE: u32 = 1 << 16;

/// A header of which only the nonce is still open.
#[derive(Clone, Debug)]
pub struct Search {
    midstate: [u32; 8],
    second_half: [u8; 64],
}

impl Search {
    /// Prepares the search over the nonces of `header` (80 bytes as they are hashed).
    pub fn new(header: &[u8; 80]) -> Search {
        let mut midstate = INITIAL;
        compress(&mut midstate, header[..64].try_into().expect("64 bytes"));
        let mut second_half = [0; 64];
        second_half[..16].copy_from_slice(&header[64..]);
        second_half[16] = 0x80;
        second_half[62..].copy_from_slice(&640_u16.to_be_bytes());
        Search { midstate, second_half }
    }

    /// The double hash with `nonce`, in the order in which it is hashed (little endian as a number).
    pub fn hash(&mut self, nonce: u32) -> [u8; 32] {
        self.second_half[12..16].copy_from_slice(&nonce.to_le_bytes());
        let mut inner = self.midstate;
        compress(&mut inner, &self.second_half);
        let mut block = [0; 64];
        write_words(&inner, &mut block);
        block[32] = 0x80;
        block[62..].copy_from_slice(&256_u16.to_be_bytes());
        let mut outer = INITIAL;
        compress(&mut outer, &block);
        let mut hash = [0; 32];
        write_words(&outer, &mut hash);
        hash
    }

    /// The first nonce in `nonces` whose hash is at most `target`.
    pub fn find(&mut self, target: Target, nonces: std::ops::Range<u32>) -> Option<u32> {
        let top = u32::from_be_bytes(target.to_be_bytes()[..4].try_into().expect("four bytes"));
        nonces.into_iter().find(|nonce| {
            let hash = self.hash(*nonce);
            let hash_top = u32::from_le_bytes(hash[28..].try_into().expect("four bytes"));
            hash_top <= top && Target::from_le_bytes(hash) <= target
        })
    }
}

/// Searches all nonces of `header` on two threads for its own target and sets the nonce. `false` when there is none.
pub fn solve(header: &mut Header) -> bool {
    let bytes: [u8; 80] = serialize(header).try_into().expect("a header is 80 bytes");
    let (target, search, done) = (header.target(), Search::new(&bytes), AtomicBool::new(false));
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        for parity in 0..2 {
            let (mut search, sender, done) = (search.clone(), sender.clone(), &done);
            scope.spawn(move || {
                for stride in (parity..u32::MAX / STRIDE).step_by(2) {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    if let Some(nonce) = search.find(target, stride * STRIDE..(stride + 1) * STRIDE) {
                        done.store(true, Ordering::Relaxed);
                        // The receiver outlives the scope.
                        let _ = sender.send(nonce);
                        return;
                    }
                }
            });
        }
    });
    drop(sender);
    let found = receiver.recv().ok();
    header.nonce = found.unwrap_or(header.nonce);
    found.is_some()
}

fn compress(state: &mut [u32; 8], block: &[u8; 64]) {
    sha2::compress256(state, std::slice::from_ref(GenericArray::from_slice(block)));
}

fn write_words(words: &[u32; 8], bytes: &mut [u8]) {
    for (word, four) in words.iter().zip(bytes.chunks_exact_mut(4)) {
        four.copy_from_slice(&word.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::Network;
    use bitcoin::blockdata::constants::genesis_block;
    use bitcoin::hashes::Hash;

    use super::*;

    #[test]
    fn hashes_are_those_of_bitcoin() {
        let header = genesis_block(Network::Signet).header;
        let bytes: [u8; 80] = serialize(&header).try_into().expect("80 bytes");
        let mut search = Search::new(&bytes);
        assert_eq!(search.hash(header.nonce), header.block_hash().to_byte_array());
        assert_eq!(search.find(header.target(), header.nonce - 5..header.nonce + 5), Some(header.nonce));
        assert_eq!(search.find(header.target(), header.nonce + 1..header.nonce + 5), None);
    }
}
