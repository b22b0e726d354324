//! eHash of a mature epoch, or satoshi ecash, becomes bitcoin.

use crate::{EhashWallet, Holding, WalletError, address, balance::PoolEpoch};
use bitcoin::{Address, address::NetworkUnchecked};
use cdk::{
    Amount, Wallet,
    amount::SplitTarget,
    nuts::{MeltQuoteState, PaymentMethod, nut00::KnownMethod},
};
use ledger::Epoch;
use serde::Serialize;
use std::{collections::HashMap, str::FromStr, time::Duration};
use work::Ehash;

/// How long a payment is waited for. A mint gathers payouts for minutes; then it is told that it is under way.
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(100);

/// For what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedeemTo {
    /// Satoshi ecash of the same mint.
    Ecash,
    /// Bitcoin at an address, whose network the mint checks.
    Address(String),
}

/// What was redeemed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redeemed {
    /// Of what.
    pub of: Holding,
    /// How much of it went, fees included; while the payment is under way, what is set aside for it.
    pub spent: u64,
    /// What arrives, in satoshi.
    pub sats: u64,
    /// `paid`, or `pending` while the mint gathers payouts.
    pub state: String,
    /// The output that pays, once there is one.
    pub outpoint: Option<String>,
}

impl EhashWallet {
    /// Redeems `amount` of a holding, or all of it.
    ///
    /// # Errors
    /// When there is not as much, the epoch is not mature, or the mint cannot be reached. What was begun and not ended is
    /// carried to its end at the next call of anything: nothing is paid twice.
    pub async fn redeem(
        &self,
        of: Holding,
        to: &RedeemTo,
        amount: Option<u64>,
    ) -> Result<Redeemed, WalletError> {
        let wallet = self.of_holding(of).await?;
        wallet.finalize_pending_melts().await?;
        let has = u64::from(wallet.total_balance().await?);
        let amount = amount.unwrap_or(has);
        if amount == 0 || amount > has {
            return Err(WalletError::TooLittle { of, has, wanted: amount });
        }
        match (of, to) {
            (Holding::Epoch(epoch), RedeemTo::Ecash) => self.to_ecash(&wallet, epoch, amount).await,
            (Holding::Sat, RedeemTo::Ecash) => Err(WalletError::EcashAlready),
            (_, RedeemTo::Address(address)) => self.to_address(&wallet, of, address, amount, has).await,
        }
    }

    /// What there is of satoshi ecash; what was paid for and not fetched comes first.
    ///
    /// # Errors
    /// When the mint cannot be reached.
    pub(crate) async fn sats(&self) -> Result<u64, WalletError> {
        let wallet = self.of_holding(Holding::Sat).await?;
        wallet.mint_unissued_quotes().await?;
        wallet.finalize_pending_melts().await?;
        Ok(wallet.total_balance().await?.into())
    }

    async fn to_ecash(&self, wallet: &Wallet, epoch: Epoch, amount: u64) -> Result<Redeemed, WalletError> {
        let of = Holding::Epoch(epoch);
        let page = self.page_of(epoch).await?;
        let worth = page.worth(Ehash::new(amount)).map_or(0, |worth| worth.get() / 1000);
        // The mint has the words for an epoch that is not mature: it is asked at least.
        let sat = self.of_holding(Holding::Sat).await?;
        let bolt11 = PaymentMethod::Known(KnownMethod::Bolt11);
        let invoice = sat.mint_quote(bolt11.clone(), Some(Amount::from(worth.max(1))), None, None).await?;
        let quote = wallet.melt_quote(bolt11, invoice.request.clone(), None, None).await?;
        if worth == 0 {
            return Err(WalletError::Worthless { of, amount });
        }
        let melted = wallet.prepare_melt(&quote.id, HashMap::new()).await?.confirm().await?;
        sat.mint(&invoice.id, SplitTarget::default(), None).await?;
        let spent = u64::from(melted.amount()) + u64::from(melted.fee_paid());
        Ok(Redeemed { of, spent, sats: worth, state: "paid".into(), outpoint: None })
    }

    /// What the fee takes comes out of the amount, if there is not more than that.
    async fn to_address(
        &self,
        wallet: &Wallet,
        of: Holding,
        address: &str,
        amount: u64,
        has: u64,
    ) -> Result<Redeemed, WalletError> {
        let options = wallet.quote_onchain_melt_options(address, Amount::from(amount), None).await?;
        let cheapest = |options: Vec<cdk::wallet::MeltQuote>| {
            let none = || WalletError::Refused("it offers no fee for a payout".into());
            options.into_iter().min_by_key(|option| option.fee_reserve).ok_or_else(none)
        };
        let mut option = cheapest(options)?;
        let reserve = u64::from(option.fee_reserve);
        if amount.saturating_add(reserve) > has {
            let rest = has.checked_sub(reserve).filter(|rest| *rest > 0);
            let rest = rest.ok_or(WalletError::TooLittle { of, has, wanted: reserve })?;
            let options = wallet.quote_onchain_melt_options(address, Amount::from(rest), None).await?;
            option = cheapest(options)?;
        }
        let sats = match of {
            Holding::Sat => u64::from(option.amount),
            Holding::Epoch(epoch) => {
                let worth = self.page_of(epoch).await?.worth(Ehash::new(option.amount.into()));
                worth.map_or(0, |worth| worth.get() / 1000)
            }
        };
        let quote = wallet.select_onchain_melt_quote(option).await?;
        wallet.prepare_melt(&quote.id, HashMap::new()).await?.confirm_prefer_async().await?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let now = wallet.check_melt_quote_status(&quote.id).await?;
            let paid = now.state == MeltQuoteState::Paid;
            if paid || tokio::time::Instant::now() >= deadline {
                wallet.finalize_pending_melts().await?;
                let spent = has.saturating_sub(wallet.total_balance().await?.into());
                let state = if paid { "paid" } else { "pending" };
                return Ok(Redeemed { of, spent, sats, state: state.into(), outpoint: now.payment_proof });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn page_of(&self, epoch: Epoch) -> Result<PoolEpoch, WalletError> {
        let url = format!("{}/v1/ehash/epochs/{epoch}", self.mint()?);
        address::page(&url).await
    }
}

impl FromStr for RedeemTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "ecash" {
            return Ok(Self::Ecash);
        }
        match Address::<NetworkUnchecked>::from_str(text) {
            Ok(_) => Ok(Self::Address(text.to_owned())),
            Err(_) => Err("write `ecash`, or a Bitcoin address".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        assert_eq!("ecash".parse(), Ok(RedeemTo::Ecash));
        let address = "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x";
        assert_eq!(address.parse(), Ok(RedeemTo::Address(address.into())));
        for bad in ["", "Ecash", "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6y"] {
            assert!(bad.parse::<RedeemTo>().is_err(), "{bad}");
        }
    }
}
