//! What a unit is worth in satoshi: for eHash fixed when its epoch becomes redeemable, for satoshi always one.

use bitcoin::Amount;
use ledger::Msats;
use work::Ehash;

/// Millisatoshi in a satoshi.
const MSATS: u128 = 1000;

/// The value of a unit. All of it is exact; what does not come out even is rounded so that the mint stays solvent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// A satoshi is a satoshi.
    Sat,
    /// All `size` eHash of an epoch are worth its `pot`.
    Epoch {
        /// What the epoch's blocks have brought it.
        pot: Msats,
        /// `Q`, all eHash of the epoch.
        size: Ehash,
    },
}

impl Rate {
    /// `⌊pot · amount / Q⌋`, in whole satoshi: what `amount` of the unit buys.
    pub fn worth(&self, amount: u64) -> Amount {
        match self {
            Self::Sat => Amount::from_sat(amount),
            Self::Epoch { pot, size } => {
                let worth = u128::from(pot.get()) * u128::from(amount) / u128::from(size.get()) / MSATS;
                // More than all of the epoch buys more than its pot; such an amount cannot exist, and buys nothing more.
                Amount::from_sat(u64::try_from(worth).unwrap_or(u64::MAX))
            }
        }
    }

    /// The least amount of the unit that is worth so much; `None` if no amount is.
    pub fn price(&self, sats: Amount) -> Option<u64> {
        match self {
            Self::Sat => Some(sats.to_sat()),
            Self::Epoch { pot, size } => {
                let owed = u128::from(sats.to_sat()).checked_mul(MSATS)?.checked_mul(size.get().into())?;
                let pot = u128::from(pot.get());
                (pot > 0).then(|| owed.div_ceil(pot)).and_then(|price| u64::try_from(price).ok())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn epoch(pot: u64, size: u64) -> Rate {
        Rate::Epoch { pot: Msats::new(pot), size: Ehash::new(size) }
    }

    #[test]
    fn prices_and_worths() {
        let case = |rate: Rate, amount, worth, sats, price| {
            assert_eq!(rate.worth(amount), Amount::from_sat(worth), "{rate:?}");
            assert_eq!(rate.price(Amount::from_sat(sats)), price, "{rate:?}");
        };
        case(Rate::Sat, 7, 7, 7, Some(7));
        // A thousand eHash a satoshi.
        case(epoch(1_000_000, 1_000_000), 7_999, 7, 7, Some(7_000));
        // Nothing divides.
        case(epoch(3_000, 3_499_999), 1_166_666, 0, 1, Some(1_166_667));
        case(epoch(3_000, 3_499_999), 1_166_667, 1, 3, Some(3_499_999));
        // Epochs that no block paid.
        case(epoch(0, 1 << 47), 1 << 47, 0, 1, None);
        case(epoch(0, 1 << 47), 0, 0, 0, None);
        // More than there is.
        case(epoch(1, 1 << 50), 1 << 50, 0, 2_100_000_000_000_000, None);
    }

    proptest! {
        /// What is paid for an amount buys that amount, and one less does not.
        #[test]
        fn a_price_is_the_least(pot in 1..=Msats::MAX_MONEY.get(), q in 0..=16_u32, sats in 1..=21_000_000_u64) {
            let rate = epoch(pot, 1 << (50 - q));
            let sats = Amount::from_sat(sats);
            if let Some(price) = rate.price(sats) {
                prop_assert!(rate.worth(price) >= sats);
                prop_assert!(rate.worth(price - 1) < sats);
            }
        }

        /// However an epoch's eHash is split, its parts never buy more than its pot.
        #[test]
        fn parts_never_exceed_the_pot(
            pot in 0..=Msats::MAX_MONEY.get(), q in 0..=16_u32, cuts in prop::collection::vec(0..=(1_u64 << 50), 0..20),
        ) {
            let size = 1_u64 << (50 - q);
            let mut cuts: Vec<u64> = cuts.into_iter().map(|cut| cut % (size + 1)).chain([0, size]).collect();
            cuts.sort_unstable();
            let rate = epoch(pot, size);
            let paid: u64 = cuts.windows(2).map(|part| rate.worth(part[1] - part[0]).to_sat()).sum();
            prop_assert!(paid * 1000 <= pot);
        }
    }
}
