//! The Cashu unit of an epoch.

use cdk::nuts::CurrencyUnit;
use ledger::Epoch;
use std::{fmt, str::FromStr};
use work::Ehash;

/// What the name of every unit begins with; the epoch's number follows.
const PREFIX: &str = "ehash-";

/// The unit `ehash-<n>`: eHash of epoch `n`. Of one epoch it is fungible, of two it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochUnit(pub Epoch);

/// A unit that is no epoch's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unit `{0}` is no epoch's: eHash of epoch 7 has the unit `ehash-7`")]
pub struct NoEpochUnit(pub String);

impl EpochUnit {
    /// As CDK has it.
    pub fn to_cashu(self) -> CurrencyUnit {
        CurrencyUnit::custom(self.to_string())
    }

    /// The amounts that tokens have: powers of two up to a whole epoch's eHash, which is no more than one block's.
    pub fn amounts() -> Vec<u64> {
        (0..=Ehash::ONE_BLOCK_LOG2).map(|power| 1 << power).collect()
    }
}

impl fmt::Display for EpochUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0.get())
    }
}

impl FromStr for EpochUnit {
    type Err = NoEpochUnit;

    fn from_str(text: &str) -> Result<Self, NoEpochUnit> {
        let number = text.strip_prefix(PREFIX).and_then(|number| number.parse().ok());
        let unit = number.map(|number| Self(Epoch(number)));
        // One spelling alone: "ehash-07" would be another unit to a wallet.
        unit.filter(|unit| unit.to_string() == text).ok_or_else(|| NoEpochUnit(text.to_owned()))
    }
}

impl TryFrom<&CurrencyUnit> for EpochUnit {
    type Error = NoEpochUnit;

    fn try_from(unit: &CurrencyUnit) -> Result<Self, NoEpochUnit> {
        unit.to_string().parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_epochs_are_one_to_one() {
        for number in [0, 7, u32::MAX] {
            let unit = EpochUnit(Epoch(number));
            assert_eq!(EpochUnit::try_from(&unit.to_cashu()), Ok(unit));
            assert_eq!(unit.to_string().parse(), Ok(unit));
        }
        for foreign in [
            "",
            "sat",
            "ehash-",
            "ehash-07",
            "ehash-+7",
            "ehash--7",
            "ehash-4294967296",
            "EHASH-7",
            "ehash-7 ",
        ] {
            assert_eq!(foreign.parse::<EpochUnit>(), Err(NoEpochUnit(foreign.into())));
        }
    }

    #[test]
    fn an_epoch_fits_one_token() {
        let amounts = EpochUnit::amounts();
        assert_eq!((amounts[0], amounts.last()), (1, Some(&Ehash::ONE_BLOCK.get())));
        // CDK binds amounts as signed numbers.
        assert!(amounts.iter().all(|amount| i64::try_from(*amount).is_ok()));
    }
}
