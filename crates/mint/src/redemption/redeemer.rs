//! Moves the money of redemptions: into invoices of the sat mint, and to addresses by the on-chain wallet.

use super::{
    Asked, BookError, NoTerms, Progress, Rate, Redemption, RedemptionBook, Terms, Way,
    terms::{price, rate, to_address, to_invoice},
};
use crate::{Books, invoice::Invoices};
use bitcoin::{Amount, FeeRate, Network, Txid, hex::FromHex};
use cdk::{
    Mint,
    cdk_payment::{PaymentIdentifier, WaitPaymentResponse},
    nuts::CurrencyUnit,
};
use cdk_common::mint::MintQuote;
use onchain::{OnchainError, OnchainWallet, Payout, PayoutId, PayoutStatus};
use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
};
use tokio::sync::{Notify, broadcast};

/// Blocks within which payouts should be in one.
pub(crate) const CONFIRM_WITHIN: u16 = 6;
/// Redemptions looked at in one round of payouts; the next round takes the others.
const ROUND: u32 = 2_000;
/// Called before and after each step of a redemption that changes something, with its name: tests stop there.
pub type Steps = Arc<dyn Fn(&'static str) + Send + Sync>;

/// Redemptions told of before somebody listens. Whoever misses one finds it out by asking.
const NEWS: usize = 1_024;

/// Why a redemption goes on later. It is in the book, and nothing is lost.
#[derive(Debug, thiserror::Error)]
pub enum RedemptionError {
    /// There are no terms.
    #[error(transparent)]
    Terms(#[from] NoTerms),
    /// The book.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The wallet.
    #[error(transparent)]
    Onchain(#[from] OnchainError),
    /// CDK's part.
    #[error("the sat mint: {0}")]
    Mint(#[from] cdk::Error),
    /// The sat mint's database.
    #[error("the sat mint's database: {0}")]
    Database(#[from] cdk_common::database::Error),
    /// The sat mint lost a quote.
    #[error("the sat mint does not know the invoice {0} that redemption pays")]
    NoInvoice(String),
    /// A number that is none.
    #[error("`{0}` is in the book, and no payment hash")]
    BadTarget(String),
    /// Nobody waited for a task.
    #[error("the mint is stopping")]
    Stopped,
}

/// A redemption that is paid for.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    /// Its melt quote.
    pub quote: String,
    /// What it was of.
    pub unit: CurrencyUnit,
    /// What it took of that.
    pub spent: u64,
    /// The preimage, or the output.
    pub proof: Option<String>,
}

/// Both mints' redemptions.
pub(crate) struct Redeemer {
    books: Arc<dyn Books>,
    book: Arc<RedemptionBook>,
    wallet: OnchainWallet,
    network: Network,
    /// Where the node cannot tell.
    fallback: FeeRate,
    invoices: Invoices,
    sat: OnceLock<Arc<Mint>>,
    news: broadcast::Sender<Settled>,
    asked: Notify,
    steps: Option<Steps>,
}

impl Redeemer {
    pub(crate) fn new(
        books: Arc<dyn Books>,
        book: Arc<RedemptionBook>,
        wallet: OnchainWallet,
        network: Network,
        fallback: FeeRate,
        invoices: Invoices,
        steps: Option<Steps>,
    ) -> Self {
        let (news, _) = broadcast::channel(NEWS);
        let (sat, asked) = (OnceLock::new(), Notify::new());
        Self { books, book, wallet, network, fallback, invoices, sat, news, asked, steps }
    }

    /// The mint whose invoices are paid. To be told before anything is redeemed.
    pub(crate) fn serve(&self, sat: Arc<Mint>) {
        let first = self.sat.set(sat).is_ok();
        assert!(first, "there is one sat mint");
    }

    fn step(&self, name: &'static str) {
        if let Some(steps) = &self.steps {
            steps(name);
        }
    }

    /// Redemptions as they are paid for.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Settled> {
        self.news.subscribe()
    }

    /// Returns when there is a payout to be made.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// The sat mint's invoices.
    pub(crate) fn invoices(&self) -> &Invoices {
        &self.invoices
    }

    fn sat(&self) -> &Arc<Mint> {
        self.sat.get().expect("the sat mint is there before anything is redeemed")
    }

    /// What a redemption would be worth and cost.
    pub(crate) async fn terms(&self, unit: &CurrencyUnit, asked: &Asked) -> Result<Terms, NoTerms> {
        let (books, of) = (Arc::clone(&self.books), unit.clone());
        let rate = tokio::task::spawn_blocking(move || rate(&*books, &of)).await;
        let rate = rate.map_err(|_| NoTerms::Database("the mint is stopping".into()))??;
        match asked {
            Asked::Address { address, amount } => to_address(rate, unit, address, *amount, self.network),
            Asked::Invoice(invoice) => {
                let terms = to_invoice(rate, unit, invoice)?;
                let quote = self.invoice(&invoice.to_string()).await;
                let quote = quote.map_err(|error| NoTerms::Database(error.to_string()))?;
                let quote = quote.ok_or(NoTerms::Foreign)?;
                if quote.amount_paid().value() > 0 {
                    return Err(NoTerms::InvoicePaid);
                }
                Ok(terms)
            }
        }
    }

    async fn invoice(&self, request: &str) -> Result<Option<MintQuote>, cdk_common::database::Error> {
        self.sat().localstore().get_mint_quote_by_request(request).await
    }

    /// How much of the unit has to be set aside for a transaction's fee.
    pub(crate) async fn reserve(&self, unit: &CurrencyUnit, terms: &Terms) -> Result<u64, NoTerms> {
        let Some(script) = terms.script.clone() else { return Ok(0) };
        let (wallet, sats, fallback) = (self.wallet.clone(), terms.sats, self.fallback);
        let estimate = move || {
            let rate = wallet.fee_rate(CONFIRM_WITHIN)?.unwrap_or(fallback);
            wallet.estimate(&script, sats, rate)
        };
        let fee = tokio::task::spawn_blocking(estimate).await;
        let fee = fee.map_err(|_| NoTerms::Database("the mint is stopping".into()))??;
        price(terms.rate, unit, fee)
    }

    /// Begins a redemption, and carries it as far as it goes by itself.
    pub(crate) async fn redeem(
        &self,
        redemption: &Redemption,
        rate: Rate,
    ) -> Result<Progress, RedemptionError> {
        self.step("before a redemption is begun");
        let begun = self.book.begin(redemption, rate)?;
        self.step("after a redemption is begun");
        let progress = match begun {
            Progress::Begun => self.carry_on(redemption).await?,
            other => other,
        };
        self.step("before CDK hears of a redemption");
        Ok(progress)
    }

    /// What became of a redemption: if it was begun, it goes on; if it was not, it never will be.
    pub(crate) async fn outcome(
        &self,
        quote: &str,
    ) -> Result<(Option<Redemption>, Progress), RedemptionError> {
        match self.book.decide(quote)? {
            (Some(redemption), Progress::Begun) => {
                let progress = self.carry_on(&redemption).await?;
                Ok((Some(redemption), progress))
            }
            decided => Ok(decided),
        }
    }

    /// The output that pays a redemption, once there is one.
    pub(crate) fn outpoint(&self, redemption: &Redemption) -> Option<String> {
        let id = PayoutId::new(&redemption.quote).ok()?;
        let payout = self.wallet.payout(&id).ok()??;
        output(&payout).map(|(outpoint, _)| outpoint.to_string())
    }

    async fn carry_on(&self, redemption: &Redemption) -> Result<Progress, RedemptionError> {
        match redemption.way {
            Way::Ecash => self.pay_invoice(redemption).await,
            Way::Onchain => {
                let (wallet, of, network) = (self.wallet.clone(), redemption.clone(), self.network);
                let noted = tokio::task::spawn_blocking(move || request(&wallet, &of, network)).await;
                noted.map_err(|_| RedemptionError::Stopped)??;
                self.step("after a payout is requested");
                self.asked.notify_one();
                Ok(Progress::Begun)
            }
        }
    }

    /// Credits the invoice's quote under the redemption's id: a second time is none.
    async fn pay_invoice(&self, redemption: &Redemption) -> Result<Progress, RedemptionError> {
        let Redemption { quote, target, amount, sats, .. } = redemption;
        let invoice = <[u8; 32]>::from_hex(target).map_err(|_| RedemptionError::BadTarget(target.clone()))?;
        let identifier = PaymentIdentifier::PaymentHash(invoice);
        let payment = WaitPaymentResponse {
            payment_identifier: identifier.clone(),
            payment_amount: cdk::Amount::new(sats.to_sat(), CurrencyUnit::Sat),
            payment_id: quote.clone(),
        };
        self.step("before an invoice is paid");
        self.sat().pay_mint_quote_for_request_id(payment).await?;
        self.step("after an invoice is paid");
        let paid = self.sat().localstore().get_mint_quote_by_request_lookup_id(&identifier).await?;
        let is_paid = paid.is_some_and(|paid| paid.payment_ids().contains(&quote));
        if !is_paid {
            return Err(RedemptionError::NoInvoice(target.clone()));
        }
        self.book.settle(quote, *amount, Amount::ZERO)?;
        self.step("after an invoice is settled");
        Ok(Progress::Paid { spent: *amount, fee: Amount::ZERO })
    }

    /// One round of payouts: all that wait are put into a transaction, sent, and told of. Blocks for some disk writes.
    pub(crate) fn pay_out(&self) -> Result<(), RedemptionError> {
        let waiting = self.book.under_way(Way::Onchain, ROUND)?;
        if waiting.is_empty() {
            return Ok(());
        }
        let mut requested = false;
        for redemption in &waiting {
            let payout = request(&self.wallet, redemption, self.network)?;
            requested |= payout.status == PayoutStatus::Requested;
        }
        if requested {
            self.step("before payouts are signed");
            let rate = self.wallet.fee_rate(CONFIRM_WITHIN)?.unwrap_or(self.fallback);
            let batch = self.wallet.build_batch(rate)?;
            if let Some(txid) = batch.txid {
                tracing::info!(%txid, payouts = batch.signed.len(), fee = %batch.fee, "redemptions paid on the chain");
            }
            self.step("after payouts are signed");
        }
        let refused = self.send()?;
        self.step("after payouts are sent");
        for redemption in &waiting {
            let Some(payout) = self.wallet.payout(&PayoutId::new(&redemption.quote)?)? else { continue };
            if let Some((outpoint, fee)) =
                output(&payout).filter(|(outpoint, _)| !refused.contains(&outpoint.txid))
            {
                self.settle(redemption, outpoint.to_string(), fee)?;
            }
        }
        Ok(())
    }

    /// Sends what no block holds, also what was signed before a crash. Returns what the node does not take: it is sent again
    /// until it does, and nobody is told that it was paid before.
    fn send(&self) -> Result<HashSet<Txid>, RedemptionError> {
        let mut refused = HashSet::new();
        for sent in self.wallet.broadcast_pending()? {
            if let Err(error) = sent.outcome {
                tracing::warn!(txid = %sent.txid, %error, "payouts wait: the node does not take their transaction");
                refused.insert(sent.txid);
            }
        }
        Ok(refused)
    }

    fn settle(&self, redemption: &Redemption, outpoint: String, fee: Amount) -> Result<(), RedemptionError> {
        let rate = match &redemption.unit {
            CurrencyUnit::Sat => Rate::Sat,
            unit => rate(&*self.books, unit)?,
        };
        // What was set aside was the price of a fee at least as high.
        let price =
            rate.price(fee).filter(|price| *price <= redemption.reserve).unwrap_or(redemption.reserve);
        let spent = redemption.amount + price;
        self.book.settle(&redemption.quote, spent, fee)?;
        self.step("after a payout is settled");
        let (quote, unit) = (redemption.quote.clone(), redemption.unit.clone());
        // CDK finds it out by itself when nobody listens.
        let _ = self.news.send(Settled { quote, unit, spent, proof: Some(outpoint) });
        Ok(())
    }
}

/// Asks the wallet for a payout, or finds that it was asked before.
fn request(
    wallet: &OnchainWallet,
    redemption: &Redemption,
    network: Network,
) -> Result<Payout, RedemptionError> {
    let terms =
        to_address(Rate::Sat, &CurrencyUnit::Sat, &redemption.target, redemption.sats.to_sat(), network)?;
    let script = terms.script.expect("an address has a script");
    Ok(wallet.request(&PayoutId::new(&redemption.quote)?, &script, redemption.sats, redemption.fee)?)
}

/// The output that pays a payout, and its part of the fee.
fn output(payout: &Payout) -> Option<(bitcoin::OutPoint, Amount)> {
    match payout.status {
        PayoutStatus::Signed { outpoint, fee_paid } | PayoutStatus::Confirmed { outpoint, fee_paid, .. } => {
            Some((outpoint, fee_paid))
        }
        PayoutStatus::Requested | PayoutStatus::Withdrawn => None,
    }
}
