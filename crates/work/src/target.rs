//! Targets, and what a share at a target is worth.
//!
//! Integers only: a credit decides money, and a target decides credits.

use {
    crate::units::{Ehash, HashRate},
    ruint::aliases::{U256, U512},
    std::{
        fmt::{self, Debug, Display, Formatter},
        ops::Add,
    },
    thiserror::Error,
};

/// A 256-bit target: a hash meets it if, read as a little-endian integer, it is not above it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(U256);

/// Why a compact target (`nbits`) is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CompactError {
    /// Its sign bit is set.
    #[error("nbits {0:#010x} is negative")]
    Negative(u32),
    /// It does not fit into 256 bits.
    #[error("nbits {0:#010x} does not fit into 256 bits")]
    Overflow(u32),
    /// No hash could meet it.
    #[error("nbits {0:#010x} is zero: no hash could meet it")]
    Zero(u32),
}

impl Target {
    /// Met by every hash.
    pub const MAX: Self = Self(U256::MAX);
    /// Met by no hash but zero. Never sent (MP-148).
    pub const ZERO: Self = Self(U256::ZERO);
    /// Difficulty 1 as miners count it, `0xffff · 2^208` (AM-18).
    pub const DIFFICULTY_1: Self = Self(U256::from_limbs([0, 0, 0, 0xffff_0000]));
    /// The easiest rung of the ladder: the last on which a share earns anything, 1 eHash.
    pub const LAST_RUNG: u8 = Ehash::ONE_BLOCK_LOG2;

    /// From its wire form (ENC-06).
    pub const fn from_le_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_le_bytes(bytes))
    }

    /// Its wire form (ENC-06).
    pub const fn to_le_bytes(self) -> [u8; 32] {
        self.0.to_le_bytes()
    }

    /// The target that a header's `nbits` stands for, as Bitcoin Core reads it.
    pub fn from_compact(nbits: u32) -> Result<Self, CompactError> {
        let size = nbits >> 24;
        let mantissa = nbits & 0x007f_ffff;
        let word = if size < 3 { mantissa >> (8 * (3 - size)) } else { mantissa };
        if word == 0 {
            return Err(CompactError::Zero(nbits));
        }
        if nbits & 0x0080_0000 != 0 {
            return Err(CompactError::Negative(nbits));
        }
        let shift = 8 * size.saturating_sub(3);
        if word.ilog2() + shift >= 256 {
            return Err(CompactError::Overflow(nbits));
        }
        Ok(Self(U256::from(word) << shift))
    }

    /// Whether a hash, in the byte order in which SHA-256d gives it, meets this target (ENC-06).
    pub fn is_met_by(&self, hash_le: &[u8; 32]) -> bool {
        U256::from_le_bytes(*hash_le) <= self.0
    }

    /// Rung `k` of the ladder on which vardiff moves: `((Tn + 1) << k) − 1`, at most [`Self::MAX`].
    /// Up to where that limit cuts, a share on it earns exactly `2^50 >> k`.
    pub fn ladder(network: Self, k: u8) -> Self {
        let Some(parts) = network.0.checked_add(U256::ONE) else { return Self::MAX };
        if parts.bit_len() + usize::from(k) > 256 {
            return Self::MAX;
        }
        Self((parts << usize::from(k)) - U256::ONE)
    }

    /// The largest `k` whose rung is not above `wanted`, of those on which the credit is exact and not
    /// zero. A target harder than the network's makes no sense and gives 0 (MP-149).
    pub fn ladder_step(network: Self, wanted: Self) -> u8 {
        if wanted <= network {
            return 0;
        }
        // wanted > network, so neither sum can be zero.
        let bits_of = |target: Self| target.0.checked_add(U256::ONE).map_or(257, |parts| parts.bit_len());
        let step = bits_of(wanted) - bits_of(network);
        let step = u8::try_from(step).unwrap_or(u8::MAX).min(Self::LAST_RUNG);
        if Self::is_rung(network, step) && Self::ladder(network, step) <= wanted { step } else { step - 1 }
    }

    /// Whether rung `k` is not cut short by the size of a target.
    fn is_rung(network: Self, k: u8) -> bool {
        let parts = U512::from(network.0) + U512::ONE;
        parts << usize::from(k) <= U512::ONE << 256usize
    }

    /// What a share at target `share` earns under a job with target `network`:
    /// `⌊2^50 · (Tn + 1) / (Ts + 1)⌋`, the chance that it is a block, and at most one block.
    pub fn credit(share: Self, network: Self) -> Ehash {
        if share <= network {
            return Ehash::ONE_BLOCK;
        }
        let parts = U512::from(network.0) + U512::ONE;
        let credit = (parts << usize::from(Ehash::ONE_BLOCK_LOG2)) / (U512::from(share.0) + U512::ONE);
        Ehash::new(credit.saturating_to::<u64>().min(Ehash::ONE_BLOCK.get()))
    }

    /// What a share on rung `k` of a job with fee weight `m` earns: `⌊m · 2^50 / 2^(k + 16)⌋`.
    pub fn weighted_credit(weight: FeeWeight, k: u8) -> Ehash {
        let credit =
            (u128::from(weight.0) << Ehash::ONE_BLOCK_LOG2) >> (u32::from(k) + FeeWeight::LOG2).min(127);
        Ehash::new(u64::try_from(credit).expect("a weight is at most 2^16, so this is at most 2^50"))
    }

    /// Hashes it takes on average to meet this target: `⌊2^256 / (T + 1)⌋`, at most `u128::MAX`.
    pub fn expected_hashes(&self) -> u128 {
        ((U512::ONE << 256usize) / (U512::from(self.0) + U512::ONE)).saturating_to()
    }

    /// The target at which `rate` finds `shares_per_minute`. Unknown rates (0) give [`Self::MAX`],
    /// which whoever asks limits as it sees fit (MP-39).
    pub fn for_hash_rate(rate: HashRate, shares_per_minute: u32) -> Self {
        Self::for_expected_hashes(u128::from(rate.get()) * 60 / u128::from(shares_per_minute.max(1)))
    }

    /// The easiest target that takes `hashes` on average to meet; 0 and 1 give [`Self::MAX`].
    pub fn for_expected_hashes(hashes: u128) -> Self {
        if hashes <= 1 {
            return Self::MAX;
        }
        let parts: U256 = ((U512::ONE << 256usize) / U512::from(hashes)).saturating_to();
        Self(parts - U256::ONE)
    }

    /// Its difficulty as miners count it (AM-18).
    pub fn difficulty(&self) -> Difficulty {
        if self.0.is_zero() {
            return Difficulty(u128::MAX);
        }
        let fixed = (U512::from(Self::DIFFICULTY_1.0) << Difficulty::FRACTION_BITS) / U512::from(self.0);
        Difficulty(fixed.saturating_to())
    }

    /// This target made `√2` times easier, near enough to round to the nearest rung.
    pub(crate) fn eased_by_half_a_rung(self) -> Self {
        let parts = U512::from(self.0) + U512::ONE;
        Self(((parts * U512::from(181)) >> 7usize).saturating_to::<U256>().saturating_sub(U256::ONE))
    }
}

/// Big-endian hex, as block explorers show targets.
impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:064x}", self.0)
    }
}

impl Debug for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// A difficulty with 64 bits before and 64 behind the point, rounded down, so that sums of
/// difficulties below 1 are not lost (MP-132).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Difficulty(u128);

impl Difficulty {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// Difficulty 1.
    pub const ONE: Self = Self(1 << Self::FRACTION_BITS);
    const FRACTION_BITS: usize = 64;

    /// The whole part.
    pub const fn whole(self) -> u64 {
        (self.0 >> Self::FRACTION_BITS) as u64
    }

    /// The part behind the point, in units of 2^-64.
    #[expect(clippy::cast_possible_truncation, reason = "the low 64 bits are the fraction")]
    pub const fn fraction(self) -> u64 {
        self.0 as u64
    }

    /// From its two parts.
    pub const fn from_parts(whole: u64, fraction: u64) -> Self {
        Self(((whole as u128) << Self::FRACTION_BITS) | fraction as u128)
    }
}

/// Saturates.
impl Add for Difficulty {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Whole from 1,000 on, otherwise with 3 significant digits: `83124`, `12.5`, `0.00232`.
impl Display for Difficulty {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let whole = self.whole();
        let mut digits = match whole {
            1000.. => return write!(f, "{whole}"),
            100.. => 0,
            10.. => 1,
            1.. => 2,
            0 => 3,
        };
        let mut rest = self.fraction();
        while whole == 0 && rest != 0 && digits < 22 {
            let Some(more) = rest.checked_mul(10) else { break };
            rest = more;
            digits += 1;
        }
        write!(f, "{whole}")?;
        if digits > 0 {
            write!(f, ".")?;
        }
        let mut rest = u128::from(self.fraction());
        for _ in 0..digits {
            rest *= 10;
            write!(f, "{}", rest >> Self::FRACTION_BITS)?;
            rest &= u128::from(u64::MAX);
        }
        Ok(())
    }
}

/// How much of the reference block's reward a declared job's block would bring, in 2^-16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeeWeight(u32);

impl FeeWeight {
    const LOG2: u32 = 16;
    /// The whole reward.
    pub const FULL: Self = Self(1 << Self::LOG2);

    /// `⌊2^16 · (subsidy + job_fees) / (subsidy + reference_fees)⌋`, at most [`Self::FULL`]; all in
    /// satoshi.
    pub fn new(subsidy: u64, job_fees: u64, reference_fees: u64) -> Self {
        let job = u128::from(subsidy) + u128::from(job_fees);
        let reference = (u128::from(subsidy) + u128::from(reference_fees)).max(1);
        let weight = (job << Self::LOG2) / reference;
        u32::try_from(weight).map_or(Self::FULL, |weight| Self(weight).min(Self::FULL))
    }

    /// In 2^-16.
    pub const fn get(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests;
