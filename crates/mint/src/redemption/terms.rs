//! What a redemption is worth and costs, or why there is none, in words for whoever asked.

use super::Rate;
use crate::{Books, BooksError, EpochUnit, unit::NoEpochUnit};
use bitcoin::{Address, Amount, Network, ScriptBuf, address::NetworkUnchecked};
use cdk::{lightning_invoice::Bolt11Invoice, nuts::CurrencyUnit};
use ledger::{Epoch, EpochState, Outlook};
use onchain::OnchainError;
use std::str::FromStr;

/// Minutes between blocks, for those who wait.
const BLOCK_MINUTES: u32 = 10;

/// What somebody wants for their ecash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// That an invoice of the mint's own is paid.
    Invoice(Bolt11Invoice),
    /// That so much of the unit goes to an address.
    Address {
        /// The address.
        address: String,
        /// How much of the unit.
        amount: u64,
    },
}

/// The terms of one redemption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The unit's value.
    pub rate: Rate,
    /// How much of the unit it takes, without a transaction's fee.
    pub amount: u64,
    /// What arrives.
    pub sats: Amount,
    /// Where, if it is on the chain.
    pub script: Option<ScriptBuf>,
}

/// Why ecash is not redeemed.
#[derive(Debug, thiserror::Error)]
pub enum NoTerms {
    /// More than there is.
    #[error("{sats} are more than all of `{unit}` is worth")]
    Much {
        /// The unit.
        unit: String,
        /// What it would have to be worth.
        sats: Amount,
    },
    /// Another unit.
    #[error(transparent)]
    Unit(#[from] NoEpochUnit),
    /// The pool keeps its rewards itself.
    #[error(
        "this mint redeems nothing: the pool's rewards go to an address of its operator's own; ask the operator"
    )]
    Nowhere,
    /// The number of no epoch.
    #[error("epoch {0} is not open yet")]
    NotOpen(Epoch),
    /// Before maturity.
    #[error("epoch {epoch} is {state} and not redeemable yet: {when}")]
    Early {
        /// The epoch.
        epoch: Epoch,
        /// How far it is.
        state: &'static str,
        /// When it will be.
        when: String,
    },
    /// After its end.
    #[error("epoch {0} is retired: what was not redeemed in time went to later epochs")]
    Retired(Epoch),
    /// After its time.
    #[error(
        "epoch {epoch} could be redeemed until block {until}: what was not redeemed in time goes to later epochs"
    )]
    Expired {
        /// The epoch.
        epoch: Epoch,
        /// The height.
        until: u32,
    },
    /// An epoch that no block paid.
    #[error("eHash of epoch {0} is worth nothing: the pool found no block while the epoch collected")]
    Worthless(Epoch),
    /// Less than a node would relay.
    #[error("{amount} of `{unit}` are worth {sats}: too little to be sent")]
    Little {
        /// The unit.
        unit: String,
        /// How much of it.
        amount: u64,
        /// What it is worth.
        sats: Amount,
    },
    /// No address of this network.
    #[error("`{0}` is no Bitcoin address of this network")]
    Address(String),
    /// An invoice of somebody else's.
    #[error(
        "the invoice is none of this mint's: it pays no Lightning; make one with the satoshi mint (its address ends with /sat), \
         or redeem to a Bitcoin address"
    )]
    Foreign,
    /// An invoice that does not say how much.
    #[error("the invoice must be for a whole number of satoshi")]
    InvoiceAmount,
    /// An invoice that is done with.
    #[error("the invoice is paid already")]
    InvoicePaid,
    /// The wallet's part.
    #[error("{}", words(.0))]
    Onchain(#[from] OnchainError),
    /// The ledger's.
    #[error("the pool's books cannot be read at present; try again later")]
    Books(#[from] BooksError),
    /// The sat mint's.
    #[error("the mint's database cannot be used at present; try again later")]
    Database(String),
}

/// What of the wallet's troubles a stranger is told.
fn words(error: &OnchainError) -> String {
    match error {
        OnchainError::Dust { .. } | OnchainError::NoAddress | OnchainError::TooMuch { .. } => {
            error.to_string()
        }
        OnchainError::Funds { .. } => {
            "the mint has not enough coins that may be spent at present; try again after the next blocks"
                .to_owned()
        }
        OnchainError::WatchOnly => {
            "this mint's coins are not spent by itself: ask the operator, or redeem to satoshi ecash"
                .to_owned()
        }
        _ => "the mint's wallet cannot be used at present; try again later".to_owned(),
    }
}

/// What a unit is worth now.
pub(crate) fn rate(books: &dyn Books, unit: &CurrencyUnit) -> Result<Rate, NoTerms> {
    if *unit == CurrencyUnit::Sat {
        return Ok(Rate::Sat);
    }
    let EpochUnit(epoch) = EpochUnit::try_from(unit)?;
    let outlook = books.outlook(epoch)?.ok_or(NoTerms::NotOpen(epoch))?;
    match outlook.info.state {
        EpochState::Open | EpochState::Accruing | EpochState::Settling => Err(early(&outlook)),
        EpochState::Retired => Err(NoTerms::Retired(epoch)),
        EpochState::Redeemable | EpochState::Frozen if outlook.info.pot == ledger::Msats::ZERO => {
            Err(NoTerms::Worthless(epoch))
        }
        EpochState::Redeemable | EpochState::Frozen => match outlook.info.redeemable_until {
            Some(until) if outlook.info.has_expired(outlook.tip) => Err(NoTerms::Expired { epoch, until }),
            _ => Ok(Rate::Epoch { pot: outlook.info.pot, size: outlook.info.size }),
        },
    }
}

fn early(outlook: &Outlook) -> NoTerms {
    let Outlook { info, params, open_epoch, collects_until, .. } = outlook;
    let when = match (info.state, outlook.blocks_to_go()) {
        (EpochState::Settling, Some(blocks)) => {
            let minutes = blocks.saturating_mul(BLOCK_MINUTES);
            format!("its last block is final in {blocks} blocks, about {}", duration(minutes))
        }
        _ => format!(
            "blocks found until epoch {collects_until} closes still pay it (epoch {open_epoch} is open now), and each needs \
             {} confirmations",
            params.maturity
        ),
    };
    NoTerms::Early { epoch: info.epoch, state: info.state.name(), when }
}

fn duration(minutes: u32) -> String {
    match minutes {
        0..120 => format!("{minutes} minutes"),
        120..2880 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}

/// The terms of a redemption to an address.
pub(crate) fn to_address(
    rate: Rate,
    unit: &CurrencyUnit,
    address: &str,
    amount: u64,
    network: Network,
) -> Result<Terms, NoTerms> {
    let bad = || NoTerms::Address(address.to_owned());
    let script = Address::<NetworkUnchecked>::from_str(address)
        .ok()
        .and_then(|address| address.require_network(network).ok())
        .ok_or_else(bad)?
        .script_pubkey();
    let sats = rate.worth(amount);
    if sats < script.minimal_non_dust() {
        return Err(NoTerms::Little { unit: unit.to_string(), amount, sats });
    }
    Ok(Terms { rate, amount, sats, script: Some(script) })
}

/// The terms of a redemption to an invoice.
pub(crate) fn to_invoice(rate: Rate, unit: &CurrencyUnit, invoice: &Bolt11Invoice) -> Result<Terms, NoTerms> {
    let msats = invoice.amount_milli_satoshis().filter(|msats| *msats > 0 && msats % 1000 == 0);
    let sats = Amount::from_sat(msats.ok_or(NoTerms::InvoiceAmount)? / 1000);
    let amount = price(rate, unit, sats)?;
    Ok(Terms { rate, amount, sats, script: None })
}

/// What so many satoshi cost of a unit.
pub(crate) fn price(rate: Rate, unit: &CurrencyUnit, sats: Amount) -> Result<u64, NoTerms> {
    let whole = match rate {
        Rate::Sat => u64::MAX,
        Rate::Epoch { size, .. } => size.get(),
    };
    let price = rate.price(sats).filter(|price| *price <= whole);
    price.ok_or_else(|| NoTerms::Much { unit: unit.to_string(), sats })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::{Msats, Params};
    use work::Ehash;

    fn outlook(state: EpochState, final_at: Option<u32>) -> Outlook {
        let epoch = Epoch(5);
        let info = ledger::EpochInfo {
            epoch,
            state,
            size: Ehash::new(1 << 47),
            credited: Ehash::new(1 << 47),
            pot: Msats::ZERO,
            swept: Msats::ZERO,
            redeemable_until: None,
        };
        let params = Params::default();
        Outlook { info, params, open_epoch: Epoch(7), tip: Some(1000), collects_until: Epoch(21), final_at }
    }

    #[test]
    fn early_birds_are_told_when() {
        let case = |state, final_at, expected: &[&str]| {
            let text = early(&outlook(state, final_at)).to_string();
            expected.iter().for_each(|part| assert!(text.contains(part), "{text}"));
        };
        case(
            EpochState::Open,
            None,
            &["epoch 5 is open", "until epoch 21 closes", "epoch 7 is open now", "100"],
        );
        case(EpochState::Accruing, Some(1050), &["epoch 5 is accruing", "until epoch 21 closes"]);
        case(EpochState::Settling, Some(1050), &["epoch 5 is settling", "in 50 blocks, about 8 hours"]);
        case(EpochState::Settling, Some(1005), &["about 50 minutes"]);
        case(EpochState::Settling, Some(2000), &["about 6 days"]);
    }

    #[test]
    fn no_price_is_beyond_the_epoch() {
        let rate = Rate::Epoch { pot: Msats::new(1_000_000), size: Ehash::new(1_000_000) };
        let unit = EpochUnit(Epoch(5)).to_cashu();
        assert_eq!(price(rate, &unit, Amount::from_sat(1_000)).unwrap(), 1_000_000);
        let error = price(rate, &unit, Amount::from_sat(1_001)).unwrap_err().to_string();
        assert!(error.contains("more than all of `ehash-5`"), "{error}");
        assert_eq!(
            price(Rate::Sat, &CurrencyUnit::Sat, Amount::MAX_MONEY).unwrap(),
            Amount::MAX_MONEY.to_sat()
        );
    }

    #[test]
    fn addresses_are_of_the_network_and_amounts_above_dust() {
        let rate = Rate::Epoch { pot: Msats::new(1_000_000), size: Ehash::new(1_000_000) };
        let unit = EpochUnit(Epoch(5)).to_cashu();
        let case = |address: &str, amount, network, expected: Option<&str>| {
            let got = to_address(rate, &unit, address, amount, network).map(|terms| terms.sats.to_sat());
            match expected {
                None => assert_eq!(got.unwrap(), amount / 1000),
                Some(words) => {
                    let error = got.unwrap_err().to_string();
                    assert!(error.contains(words), "{error}");
                }
            }
        };
        let regtest = "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x";
        case(regtest, 294_000, Network::Regtest, None);
        case(regtest, 293_999, Network::Regtest, Some("too little"));
        case(regtest, 294_000, Network::Bitcoin, Some("no Bitcoin address of this network"));
        case("rubbish", 294_000, Network::Regtest, Some("`rubbish` is no Bitcoin address"));
    }
}
