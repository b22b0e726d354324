//! All chance of a run, from its seed.

use rand::{Rng, RngCore, SeedableRng, rngs::StdRng, seq::SliceRandom};

/// A source of chance that a seed fixes.
pub struct Chance(StdRng);

impl Chance {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A source of its own, so that what one part draws does not change what another gets.
    pub fn fork(&mut self) -> Self {
        Self::new(self.0.next_u64())
    }

    /// A number for seeding something else.
    pub fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Keys are drawn from it.
    pub fn keys(&mut self) -> &mut StdRng {
        &mut self.0
    }

    /// Of `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.gen_range(low..=high)
    }

    /// An index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        self.0.gen_range(0..len)
    }

    /// True in so many of a thousand cases.
    pub fn permille(&mut self, share: u32) -> bool {
        share > 0 && self.0.gen_range(0..1000) < share
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    /// Another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        items.shuffle(&mut self.0);
    }

    /// Bytes of no meaning.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
