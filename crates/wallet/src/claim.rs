//! Claiming: what the pool credited becomes tokens.
//!
//! Each epoch is asked for three keys: the device's, the epoch's own, and that of the epoch before, since a miner changes
//! keys only after it has seen that an epoch is over. Everything may end at any point and be done again: a quote is the
//! same at each asking, CDK writes what it is about to sign before it asks for signatures, and finishes it the next time.

use crate::{
    EhashWallet, Holding, KeyOf, WalletError,
    address::{Answer, unit},
    tokens::ehash,
};
use cdk::{
    Amount, MintQuoteRequest, MintQuoteResponse, Wallet,
    amount::SplitTarget,
    nuts::{MintQuoteCustomRequest, PaymentMethod},
    wallet::MintQuote,
};
use ledger::Epoch;
use serde::Serialize;
use work::Ehash;

/// The method by which eHash is issued.
const METHOD: &str = "ehash";

/// What was claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Claimed {
    /// The newest epoch of the mint.
    pub newest: Option<Epoch>,
    /// How many epochs were asked: those that are closed and claimed are not, any more.
    pub asked: usize,
    /// Epochs that something came of.
    pub epochs: Vec<EpochClaim>,
    /// Epochs that could not be asked.
    pub refused: Vec<EpochRefusal>,
}

/// What came of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EpochClaim {
    /// Its number.
    pub epoch: Epoch,
    /// How much.
    pub claimed: Ehash,
}

/// An epoch that the mint did not serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EpochRefusal {
    /// Its number.
    pub epoch: Epoch,
    /// In the mint's words.
    pub reason: String,
    /// Whether it is asked again the next time: a retired epoch is not.
    pub again: bool,
}

/// A key's quote in an epoch, as the mint has it.
pub(crate) struct Due {
    key: KeyOf,
    quote: MintQuoteResponse<String>,
    /// What the pool credited, as far as it is on the quote.
    pub credited: Ehash,
    /// What of it was issued.
    pub issued: Ehash,
}

impl Due {
    /// What can be claimed.
    pub(crate) fn open(&self) -> Ehash {
        self.credited.saturating_sub(self.issued)
    }
}

impl Claimed {
    /// All of it, of whatever epoch.
    pub fn total(&self) -> Ehash {
        self.epochs.iter().map(|epoch| epoch.claimed).sum()
    }
}

impl EhashWallet {
    /// Claims all that is credited to this wallet's keys. Doing it again claims what has come since.
    ///
    /// # Errors
    /// When the mint cannot be reached. What was claimed before stays claimed.
    pub async fn claim(&self) -> Result<Claimed, WalletError> {
        // Before the quotes: what is older than this epoch has all of its credit.
        let newest = self.mint()?.newest().await?;
        let mut epochs = self.unsettled(newest).await?;
        let mut claimed = Claimed { newest, asked: epochs.len(), ..Claimed::default() };
        // What was left half done elsewhere is ended, too.
        epochs.extend(self.unfinished().await?.into_iter().filter_map(Holding::epoch));
        epochs.sort_unstable();
        epochs.dedup();
        for epoch in epochs {
            match self.claim_epoch(epoch, newest).await {
                Ok(Ehash::ZERO) => {}
                Ok(amount) => claimed.epochs.push(EpochClaim { epoch, claimed: amount }),
                Err(error @ (WalletError::Unreachable { .. } | WalletError::Store(_))) => return Err(error),
                Err(error) => {
                    let again = !self.records.settled(self.mint()?).await?.contains(&epoch);
                    claimed.refused.push(EpochRefusal { epoch, reason: error.to_string(), again });
                }
            }
        }
        Ok(claimed)
    }

    /// Epochs that something may come of, the oldest first: it retires first.
    pub(crate) async fn unsettled(&self, newest: Option<Epoch>) -> Result<Vec<Epoch>, WalletError> {
        let settled = self.records.settled(self.mint()?).await?;
        Ok(up_to(newest).filter(|epoch| !settled.contains(epoch)).collect())
    }

    async fn claim_epoch(&self, epoch: Epoch, newest: Option<Epoch>) -> Result<Ehash, WalletError> {
        let mint = self.mint()?;
        if let Answer::Nothing(words) = mint.asks_for(epoch).await? {
            // It was open once, as a later one is, so it is retired.
            self.records.note_settled(mint, epoch).await?;
            return Err(WalletError::Refused(words));
        }
        let before = self.held(epoch).await?;
        let wallet = self.of_epoch(epoch).await?;
        for due in self.due(&wallet, epoch).await? {
            self.fetch(&wallet, epoch, &due).await?;
        }
        let ended = !self.unfinished().await?.contains(&Holding::Epoch(epoch));
        if ended && newest.is_some_and(|newest| epoch < newest) {
            self.records.note_settled(mint, epoch).await?;
        }
        Ok(self.held(epoch).await?.saturating_sub(before))
    }

    /// The quotes of this wallet's keys in an epoch, brought up to what the pool credited.
    pub(crate) async fn due(&self, wallet: &Wallet, epoch: Epoch) -> Result<Vec<Due>, WalletError> {
        let before = epoch.get().checked_sub(1).map(|number| KeyOf::Epoch(Epoch(number)));
        let keys = [Some(KeyOf::Device), Some(KeyOf::Epoch(epoch)), before];
        let mut due = Vec::new();
        for key in keys.into_iter().flatten() {
            let request = MintQuoteRequest::Custom {
                method: PaymentMethod::Custom(METHOD.to_owned()),
                request: MintQuoteCustomRequest {
                    amount: None,
                    unit: unit(epoch),
                    description: None,
                    pubkey: Some(self.phrase.secret_key(key)?.public_key()),
                    extra: serde_json::Value::Null,
                },
            };
            let quote = wallet.mint_connector().post_mint_quote(request).await?;
            let MintQuoteResponse::Custom { response, .. } = &quote else {
                return Err(WalletError::Refused("it answers with a quote of another method".into()));
            };
            let [credited, issued] = [response.amount_paid, response.amount_issued].map(ehash);
            due.push(Due { key, quote, credited, issued });
        }
        Ok(due)
    }

    /// Mints what a quote has.
    async fn fetch(&self, wallet: &Wallet, epoch: Epoch, due: &Due) -> Result<(), WalletError> {
        let id = due.quote.quote();
        if self.store.get_mint_quote(id).await?.is_none() {
            if due.credited == due.issued {
                return Ok(());
            }
            let quote = MintQuote::new(
                id.to_owned(),
                self.mint()?.of_epoch(epoch),
                PaymentMethod::Custom(METHOD.to_owned()),
                None,
                unit(epoch),
                due.quote.request().to_owned(),
                due.quote.expiry().unwrap_or(u64::from(u32::MAX)),
                Some(self.phrase.secret_key(due.key)?),
            );
            self.store.add_mint_quote(quote).await?;
        }
        let quote = wallet.check_mint_quote(id).await?;
        if quote.amount_mintable() > Amount::ZERO {
            wallet.mint(id, SplitTarget::default(), None).await?;
        }
        Ok(())
    }
}

/// All epochs of a mint.
pub(crate) fn up_to(newest: Option<Epoch>) -> impl Iterator<Item = Epoch> {
    newest.into_iter().flat_map(|newest| (0..=newest.get()).map(Epoch))
}
