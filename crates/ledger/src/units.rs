//! Quantities of the books: epochs, satoshi, millisatoshi.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Number of an epoch, counted from zero. Each epoch holds exactly `Q` eHash and is one Cashu unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The first epoch of a ledger.
    pub const ZERO: Epoch = Epoch(0);

    /// The number itself.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The epoch after this one; `None` after the last that a `u32` can count.
    pub fn next(self) -> Option<Epoch> {
        self.0.checked_add(1).map(Epoch)
    }

    /// The epoch `n` further on, or the last that a `u32` can count.
    pub fn saturating_add(self, n: u32) -> Epoch {
        Epoch(self.0.saturating_add(n))
    }

    /// Position in a list of all epochs.
    pub(crate) fn index(self) -> usize {
        usize::try_from(self.0).expect("a usize holds 32 bits on every platform this is built for")
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! amount {
    ($name:ident, $unit:literal, $max:expr, $doc:literal) => {
        #[doc = $doc]
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Nothing.
            pub const ZERO: $name = $name(0);
            /// All the bitcoin there will ever be. No single reward is larger.
            pub const MAX_MONEY: $name = $name($max);

            /// This many.
            pub const fn new(amount: u64) -> $name {
                $name(amount)
            }

            /// How many.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The sum, unless it overflows.
            pub fn checked_add(self, other: $name) -> Option<$name> {
                self.0.checked_add(other.0).map($name)
            }

            /// The difference, unless it would be negative.
            pub fn checked_sub(self, other: $name) -> Option<$name> {
                self.0.checked_sub(other.0).map($name)
            }

            /// The product, unless it overflows.
            pub fn checked_mul(self, times: u64) -> Option<$name> {
                self.0.checked_mul(times).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{} ", $unit), self.0)
            }
        }
    };
}

amount!(Sats, "sat", 2_100_000_000_000_000, "Satoshi: what the chain counts in.");
amount!(Msats, "msat", 2_100_000_000_000_000_000, "Millisatoshi: what the books count in.");

impl Sats {
    /// The same amount in millisatoshi, unless it overflows.
    pub fn to_msats(self) -> Option<Msats> {
        self.0.checked_mul(1000).map(Msats)
    }
}

impl Msats {
    /// Millisatoshi of an amount in satoshi, unless it overflows.
    pub fn from_sats(sats: u64) -> Option<Msats> {
        Sats(sats).to_msats()
    }

    /// Whole satoshi in this amount, rounded down.
    pub fn to_sats_floor(self) -> Sats {
        Sats(self.0 / 1000)
    }

    /// `floor(self · numerator / denominator)`, exactly; `None` when the denominator is zero or the result
    /// does not fit.
    pub fn mul_div_floor(self, numerator: u64, denominator: u64) -> Option<Msats> {
        let product = u128::from(self.0) * u128::from(numerator);
        product.checked_div(u128::from(denominator)).and_then(|q| u64::try_from(q).ok()).map(Msats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_refuse_to_wrap() {
        assert_eq!(Msats::new(1).checked_sub(Msats::new(2)), None);
        assert_eq!(Msats::new(u64::MAX).checked_add(Msats::new(1)), None);
        assert_eq!(Sats::new(u64::MAX / 999).to_msats(), None);
        assert_eq!(Sats::MAX_MONEY.to_msats(), Some(Msats::MAX_MONEY));
        assert_eq!(Epoch(u32::MAX).next(), None);
    }

    #[test]
    fn amounts_say_their_unit() {
        assert_eq!(Sats::new(21).to_string(), "21 sat");
        assert_eq!(Msats::new(1999).to_string(), "1999 msat");
        assert_eq!(Msats::new(1999).to_sats_floor(), Sats::new(1));
        assert_eq!(Epoch(7).to_string(), "7");
    }

    #[test]
    fn proportions_are_exact_and_rounded_down() {
        let pot = Msats::new(19_472_062_685);
        assert_eq!(pot.mul_div_floor(157_286_400, 1 << 47), Some(Msats::new(21_761)));
        assert_eq!(Msats::new(u64::MAX).mul_div_floor(u64::MAX, u64::MAX), Some(Msats::new(u64::MAX)));
        assert_eq!(Msats::new(u64::MAX).mul_div_floor(2, 1), None);
        assert_eq!(pot.mul_div_floor(1, 0), None);
    }
}
