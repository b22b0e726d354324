//! Quantities: eHash (what a share earns) and hash rates.

use {
    serde::{Deserialize, Serialize},
    std::{
        fmt::{self, Display, Formatter},
        iter::Sum,
    },
    thiserror::Error,
};

/// An amount of eHash. `2^50` of them are one expected block.
///
/// `u64` holds 16,384 expected blocks. A pool closes an epoch long before that, so sums of credits
/// that are waiting for the ledger cannot come near it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ehash(u64);

impl Ehash {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// `K = 2^50`: the eHash of one expected block, and the most that one share can earn.
    pub const ONE_BLOCK: Self = Self(1 << Self::ONE_BLOCK_LOG2);
    /// log2 of [`Self::ONE_BLOCK`].
    pub const ONE_BLOCK_LOG2: u8 = 50;

    /// An amount of `amount` eHash.
    pub const fn new(amount: u64) -> Self {
        Self(amount)
    }

    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether this is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `self + other`, or `None` if that does not fit.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// `self − other`, or `None` if that is less than nothing.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    /// `self + other`, at most `u64::MAX`.
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `self − other`, at least nothing.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Saturates at `u64::MAX`: a sum that is wrong by wrapping would be money out of nothing.
impl Sum for Ehash {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

impl<'a> Sum<&'a Ehash> for Ehash {
    fn sum<I: Iterator<Item = &'a Ehash>>(amounts: I) -> Self {
        amounts.copied().sum()
    }
}

impl Display for Ehash {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

/// A hash rate in hashes per second.
///
/// The protocol carries it as a 32-bit float; it becomes an integer at the edge, here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HashRate(u64);

/// Why a `nominal_hash_rate` is not a hash rate (MP-41, AM-03).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HashRateError {
    /// NaN or an infinity.
    #[error("nominal_hash_rate is not a finite number; send hashes per second, or 0 if unknown")]
    NotFinite,
    /// Less than zero.
    #[error("nominal_hash_rate is negative; send hashes per second, or 0 if unknown")]
    Negative,
}

impl HashRateError {
    /// The `error_code` of `OpenMiningChannel.Error` and `UpdateChannel.Error` (EC-08, EC-17).
    pub const fn code(&self) -> &'static str {
        "invalid-nominal-hashrate"
    }
}

impl HashRate {
    /// No device is attached, or nobody knows.
    pub const ZERO: Self = Self(0);

    /// `rate` hashes per second.
    pub const fn new(rate: u64) -> Self {
        Self(rate)
    }

    /// Hashes per second.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether no rate is known (MP-39).
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// From the wire's float. Fractions are cut, more than `u64::MAX` saturates.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`as` from a float saturates, which is what is wanted"
    )]
    pub fn from_f32(rate: f32) -> Result<Self, HashRateError> {
        if !rate.is_finite() {
            Err(HashRateError::NotFinite)
        } else if rate < 0.0 {
            Err(HashRateError::Negative)
        } else {
            Ok(Self(rate as u64))
        }
    }

    /// For the wire.
    pub const fn to_f32(self) -> f32 {
        self.0 as f32
    }
}

impl Sum for HashRate {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        rates.fold(Self::ZERO, |sum, rate| Self(sum.0.saturating_add(rate.0)))
    }
}

/// Three digits and a unit: `999 H/s`, `1.25 kH/s`, `12.3 TH/s`, `204 EH/s`.
impl Display for HashRate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s"];
        let mut power = 0;
        let mut unit = 1u64;
        while power + 1 < UNITS.len() && self.0 / unit >= 1000 {
            unit *= 1000;
            power += 1;
        }
        let whole = self.0 / unit;
        let thousandths = self.0 % unit / (unit / 1000).max(1);
        let name = UNITS[power];
        match whole {
            _ if power == 0 => write!(f, "{whole} {name}"),
            0..10 => write!(f, "{whole}.{:02} {name}", thousandths / 10),
            10..100 => write!(f, "{whole}.{} {name}", thousandths / 100),
            _ => write!(f, "{whole} {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_saturate_instead_of_wrapping() {
        assert_eq!(Ehash::ONE_BLOCK.get(), 1_125_899_906_842_624);
        assert_eq!([Ehash::new(u64::MAX), Ehash::new(1)].iter().sum::<Ehash>(), Ehash::new(u64::MAX));
        assert_eq!(Ehash::new(u64::MAX).checked_add(Ehash::new(1)), None);
        assert_eq!(Ehash::new(1).checked_sub(Ehash::new(2)), None);
        assert_eq!(Ehash::new(3).checked_sub(Ehash::new(2)), Some(Ehash::new(1)));
        assert_eq!([HashRate::new(u64::MAX), HashRate::new(1)].into_iter().sum::<HashRate>().get(), u64::MAX);
    }

    // proves: MP-41 AM-03 EC-08 EC-17
    #[test]
    fn a_rate_that_is_no_number_is_refused() {
        for rate in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(HashRate::from_f32(rate), Err(HashRateError::NotFinite));
        }
        assert_eq!(HashRate::from_f32(-1.0), Err(HashRateError::Negative));
        assert_eq!(HashRateError::Negative.code(), "invalid-nominal-hashrate");
        assert_eq!(HashRate::from_f32(-0.0), Ok(HashRate::ZERO));
        assert_eq!(HashRate::from_f32(0.5), Ok(HashRate::ZERO));
        assert_eq!(HashRate::from_f32(1e12), Ok(HashRate::new(999_999_995_904)));
        assert_eq!(HashRate::from_f32(f32::MAX), Ok(HashRate::new(u64::MAX)));
        assert_eq!(HashRate::new(1 << 40).to_f32(), 1_099_511_627_776.0);
    }

    #[test]
    fn rates_are_shown_with_three_digits() {
        #[track_caller]
        fn case(rate: u64, shown: &str) {
            assert_eq!(HashRate::new(rate).to_string(), shown);
        }
        case(0, "0 H/s");
        case(999, "999 H/s");
        case(1000, "1.00 kH/s");
        case(1_259, "1.25 kH/s");
        case(12_345_000_000_000, "12.3 TH/s");
        case(204_000_000_000_000, "204 TH/s");
        case(u64::MAX, "18.4 EH/s");
    }
}
