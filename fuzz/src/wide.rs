//! Whole numbers of 512 bits for the models, kept as simple as can be: they check code that is not.

use bitcoin::hashes::{Hash, sha256d};
use std::cmp::Ordering;
use work::Target;

const DIGITS: usize = 16;

/// A number below 2^512, as digits of 32 bits, the lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wide([u32; DIGITS]);

impl Wide {
    /// 0.
    pub const ZERO: Self = Self([0; DIGITS]);
    /// 1.
    pub const ONE: Self = Self::small(1);

    const fn small(number: u32) -> Self {
        let mut digits = [0; DIGITS];
        digits[0] = number;
        Self(digits)
    }

    /// The number that 32 bytes, the lowest first, stand for.
    pub fn from_le_bytes(bytes: &[u8; 32]) -> Self {
        let mut wide = Self::ZERO;
        for (index, byte) in bytes.iter().enumerate() {
            wide.0[index / 4] |= u32::from(*byte) << (8 * (index % 4));
        }
        wide
    }

    /// A target as a number.
    pub fn of(target: &Target) -> Self {
        Self::from_le_bytes(&target.to_le_bytes())
    }

    /// The sum, which must fit.
    #[must_use]
    pub fn plus(mut self, other: Self) -> Self {
        let mut carry = 0;
        for (digit, more) in self.0.iter_mut().zip(other.0) {
            let sum = u64::from(*digit) + u64::from(more) + carry;
            (*digit, carry) = split(sum);
        }
        assert_eq!(carry, 0, "a sum of more than 512 bits");
        self
    }

    /// One more.
    #[must_use]
    pub fn plus_one(self) -> Self {
        self.plus(Self::ONE)
    }

    /// The product, which must fit.
    #[must_use]
    pub fn times(self, factor: u128) -> Self {
        let mut product = Self::ZERO;
        for place in 0..4 {
            let [a, b, c, d, ..] = (factor >> (32 * place)).to_le_bytes();
            let digit = u64::from(u32::from_le_bytes([a, b, c, d]));
            let mut carry = 0;
            for index in 0..DIGITS {
                let Some(slot) = product.0.get_mut(index + place) else {
                    assert!(digit == 0 || self.0[index] == 0, "a product of more than 512 bits");
                    continue;
                };
                let sum = u64::from(*slot) + digit * u64::from(self.0[index]) + carry;
                (*slot, carry) = split(sum);
            }
            assert_eq!(carry, 0, "a product of more than 512 bits");
        }
        product
    }
}

fn split(sum: u64) -> (u32, u64) {
    let [a, b, c, d, ..] = sum.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), sum >> 32)
}

impl PartialOrd for Wide {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Wide {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

/// SHA-256 twice.
pub fn sha256d(bytes: &[u8]) -> [u8; 32] {
    sha256d::Hash::hash(bytes).to_byte_array()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_added_multiplied_and_compared() {
        let max = Wide::from_le_bytes(&[0xff; 32]);
        assert!(max < max.plus_one() && Wide::ZERO < Wide::ONE);
        assert_eq!(max.plus_one().0[8], 1);
        assert_eq!(max.times(3), max.plus(max).plus(max));
        assert_eq!(Wide::ONE.times(u128::MAX).plus_one(), Wide::ONE.times(1 << 64).times(1 << 64));
        assert_eq!(max.times(u128::MAX).plus(max), max.times(1 << 64).times(1 << 64));
    }
}
