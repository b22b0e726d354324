//! What a wallet holds: eHash of epochs, and satoshi ecash.

use crate::address::{MintAddress, SAT, epoch_of_unit, split, unit};
use cdk::{mint_url::MintUrl, nuts::CurrencyUnit};
use ledger::Epoch;
use serde::Serialize;
use std::{fmt, str::FromStr};

/// Something that the wallet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub enum Holding {
    /// eHash of an epoch.
    Epoch(Epoch),
    /// Satoshi ecash.
    Sat,
}

impl Holding {
    /// Where the mint has it.
    pub(crate) fn address(self, mint: &MintAddress) -> MintUrl {
        match self {
            Self::Epoch(epoch) => mint.of_epoch(epoch),
            Self::Sat => mint.of_sat(),
        }
    }

    /// What a mint has at an address.
    pub(crate) fn at(mint: &MintAddress, url: &MintUrl) -> Option<Self> {
        let sat = || (mint.of_sat() == *url).then_some(Self::Sat);
        mint.epoch_of(url).map(Self::Epoch).or_else(sat)
    }

    /// The address of the mint that has it at an address.
    pub(crate) fn mint_at(self, url: &MintUrl) -> Option<String> {
        match self {
            Self::Epoch(_) => split(url).map(|(base, _)| base),
            Self::Sat => url.to_string().strip_suffix(SAT).map(str::to_owned),
        }
    }

    /// The epoch that it is eHash of.
    pub(crate) fn epoch(self) -> Option<Epoch> {
        match self {
            Self::Epoch(epoch) => Some(epoch),
            Self::Sat => None,
        }
    }

    /// What has this unit.
    pub(crate) fn of_unit(unit: &CurrencyUnit) -> Option<Self> {
        match unit {
            CurrencyUnit::Sat => Some(Self::Sat),
            other => epoch_of_unit(&other.to_string()).map(Self::Epoch),
        }
    }

    /// Its unit.
    pub fn unit(self) -> CurrencyUnit {
        match self {
            Self::Epoch(epoch) => unit(epoch),
            Self::Sat => CurrencyUnit::Sat,
        }
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch(epoch) => write!(f, "eHash of epoch {epoch}"),
            Self::Sat => f.write_str("satoshi ecash"),
        }
    }
}

impl From<Holding> for String {
    fn from(holding: Holding) -> String {
        holding.unit().to_string()
    }
}

impl FromStr for Holding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = || text.parse().map(|number| Self::Epoch(Epoch(number)));
        match text {
            "sat" => Ok(Self::Sat),
            _ => number().map_err(|_| "write an epoch's number, or `sat`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holdings_are_read() {
        assert_eq!("7".parse(), Ok(Holding::Epoch(Epoch(7))));
        assert_eq!("sat".parse(), Ok(Holding::Sat));
        for bad in ["", "-1", "ehash-7", "SAT", "4294967296"] {
            assert!(bad.parse::<Holding>().is_err(), "{bad}");
        }
    }

    #[test]
    fn units_and_addresses_lead_back() {
        let mint: MintAddress = "http://127.0.0.1:3338".parse().unwrap();
        for holding in [Holding::Sat, Holding::Epoch(Epoch(0)), Holding::Epoch(Epoch(7))] {
            assert_eq!(Holding::of_unit(&holding.unit()), Some(holding));
            let url = holding.address(&mint);
            assert_eq!(Holding::at(&mint, &url), Some(holding));
            assert_eq!(holding.mint_at(&url), Some(mint.to_string()));
        }
        assert_eq!(Holding::of_unit(&CurrencyUnit::Usd), None);
        assert_eq!(Holding::at(&mint, &"http://127.0.0.1:3338/usd".parse().unwrap()), None);
    }
}
