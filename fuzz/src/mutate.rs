//! Mutations as fuzzers make them, from a seed: for the test, which knows no coverage.

/// Values at which lengths, counts and versions go wrong.
const TELLING: [u8; 10] = [0, 1, 2, 3, 0x1f, 0x20, 0x7f, 0x80, 0xfe, 0xff];

/// A small generator (splitmix64). Its sequence is part of the test, so it is no crate's to change.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        usize::try_from(self.next() % bound).expect("less than a usize")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Changes `data` in a few places; `other` is an input to take parts of. At most `max_len` bytes are left.
pub fn mutate(data: &mut Vec<u8>, other: &[u8], max_len: usize, rng: &mut Rng) {
    for _ in 0..=rng.below(4) {
        let at = rng.below(data.len());
        let len = rng.below(data.len().saturating_sub(at).min(32) + 1);
        match rng.below(9) {
            0 if !data.is_empty() => data[at] ^= 1 << rng.below(8),
            1 if !data.is_empty() => data[at] = rng.byte(),
            2 if !data.is_empty() => data[at] = TELLING[rng.below(TELLING.len())],
            3 if !data.is_empty() => {
                let step = if rng.below(2) == 0 { 1 } else { 255 };
                data[at] = data[at].wrapping_add(step);
            }
            4 => drop(data.drain(at..at + len)),
            5 => {
                let copy = data[at..at + len].to_vec();
                let to = rng.below(data.len() + 1);
                data.splice(to..to, copy);
            }
            6 => {
                let byte = rng.byte();
                let count = rng.below(16) + 1;
                data.splice(at..at, std::iter::repeat_n(byte, count));
            }
            7 => {
                let from = rng.below(other.len());
                let part = &other[from..];
                let part = &part[..rng.below(part.len() + 1)];
                data.splice(at.., part.iter().copied());
            }
            _ => data.truncate(rng.below(data.len() + 1)),
        }
        data.truncate(max_len);
    }
}
