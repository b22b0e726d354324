//! SHA-256 by its compression function, for inputs whose length is known beforehand.
//!
//! Every hash of a share has a length that is known when its job is made: merkle nodes have 64 bytes, headers 80, and
//! only the extranonce changes in a coinbase. So padding is laid out once, blocks are compressed where they lie, and
//! nothing is buffered, which took as long again as half of the hashing itself.

use sha2::digest::{consts::U64, generic_array::GenericArray};

/// What the compression function takes at once, in bytes.
pub(crate) const BLOCK: usize = 64;

/// State between blocks: 32 bytes, as words.
pub(crate) type State = [u32; 8];

/// State before the first block (FIPS 180-4, 5.3.3).
pub(crate) const INITIAL: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

type Block = GenericArray<u8, U64>;

/// Takes in whole blocks.
pub(crate) fn compress(state: &mut State, blocks: &[u8]) {
    let (blocks, rest) = blocks.as_chunks::<BLOCK>();
    assert!(rest.is_empty(), "blocks are whole");
    for block in blocks {
        sha2::compress256(state, std::slice::from_ref(Block::from_slice(block)));
    }
}

/// The state after these first blocks.
fn state_after(blocks: &[Block]) -> State {
    let mut state = INITIAL;
    sha2::compress256(&mut state, blocks);
    state
}

/// Appends to a message what makes its blocks whole, with the length at the end.
pub(crate) fn pad(message: &mut Vec<u8>) {
    let bits = 8 * message.len() as u64;
    message.push(0x80);
    message.resize((message.len() + 8).next_multiple_of(BLOCK) - 8, 0);
    message.extend(bits.to_be_bytes());
}

/// Room for a message of `len` bytes, with its padding behind it.
fn padded<const BLOCKS: usize>(len: usize) -> [Block; BLOCKS] {
    let mut blocks = [Block::default(); BLOCKS];
    blocks[len / BLOCK][len % BLOCK] = 0x80;
    blocks[BLOCKS - 1][BLOCK - 8..].copy_from_slice(&(8 * len as u64).to_be_bytes());
    blocks
}

/// Hashes hashes: SHA-256d is SHA-256 of SHA-256.
struct Second([Block; 1]);

impl Second {
    fn new() -> Self {
        Self(padded(32))
    }

    /// The hash of the hash that is `first`.
    fn hash(&mut self, first: &State) -> State {
        write(first, &mut self.0[0]);
        state_after(&self.0)
    }
}

/// Writes a state as a hash: words are big-endian.
fn write(state: &State, out: &mut [u8]) {
    let (words, _) = out.as_chunks_mut();
    for (out, word) in words.iter_mut().zip(state) {
        *out = word.to_be_bytes();
    }
}

fn hash_of(state: &State) -> [u8; 32] {
    let mut hash = [0; 32];
    write(state, &mut hash);
    hash
}

/// SHA-256d of the message whose blocks led to this state.
pub(crate) fn finish_double(first: &State) -> [u8; 32] {
    hash_of(&Second::new().hash(first))
}

/// SHA-256d of a block header.
pub(crate) fn double_of_header(header: &[u8; 80]) -> [u8; 32] {
    let (first, rest) = header.split_at(BLOCK);
    let mut blocks: [Block; 2] = padded(header.len());
    blocks[0].copy_from_slice(first);
    blocks[1][..rest.len()].copy_from_slice(rest);
    finish_double(&state_after(&blocks))
}

/// SHA-256d of `hash ‖ sibling`, and of that and the next sibling, and so on.
pub(crate) fn double_along(hash: [u8; 32], siblings: &[[u8; 32]]) -> [u8; 32] {
    let mut pair: [Block; 2] = padded(BLOCK);
    let mut second = Second::new();
    pair[0][..32].copy_from_slice(&hash);
    for sibling in siblings {
        pair[0][32..].copy_from_slice(sibling);
        let hash = second.hash(&state_after(&pair));
        write(&hash, &mut pair[0]);
    }
    *pair[0].first_chunk().expect("a block is longer than a hash")
}

#[cfg(test)]
mod tests {
    use {
        super::*,
        bitcoin_hashes::{Hash, sha256d},
        proptest::prelude::*,
    };

    fn oracle(message: &[u8]) -> [u8; 32] {
        sha256d::Hash::hash(message).to_byte_array()
    }

    proptest! {
        #[test]
        fn hashes_are_those_of_another_implementation(
            message in proptest::collection::vec(any::<u8>(), 0..300),
            header: [u8; 40],
            hash: [u8; 32],
            siblings in proptest::collection::vec(any::<[u8; 32]>(), 0..5),
        ) {
            let mut blocks = message.clone();
            pad(&mut blocks);
            let mut state = INITIAL;
            compress(&mut state, &blocks);
            prop_assert_eq!(finish_double(&state), oracle(&message));

            let header: [u8; 80] = [header, header].concat().try_into().unwrap();
            prop_assert_eq!(double_of_header(&header), oracle(&header));

            let folded = siblings.iter().fold(hash, |hash, sibling| oracle(&[hash, *sibling].concat()));
            prop_assert_eq!(double_along(hash, &siblings), folded);
        }
    }

    #[test]
    fn every_length_is_padded_right() {
        for len in 0..200 {
            let message = vec![0xa5; len];
            let mut blocks = message.clone();
            pad(&mut blocks);
            assert_eq!(blocks.len() % BLOCK, 0);
            let mut state = INITIAL;
            compress(&mut state, &blocks);
            assert_eq!(finish_double(&state), oracle(&message), "{len} bytes");
        }
    }
}
