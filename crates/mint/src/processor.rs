//! What CDK knows as the payment backend of every unit.
//!
//! Nothing comes in through it: quotes of eHash are made and paid by [`crate::quotes`], in front of CDK's routes, and
//! invoices of the sat mint are paid by redemptions alone. What goes out, goes through the [`Redeemer`]. CDK tells wallets
//! nothing of a backend's reasons; those are told by [`crate::gate`], which asks for the same terms before.

use crate::redemption::{Asked, Progress, Redeemer, Redemption, RedemptionError, Settled, Terms, Way};
use async_trait::async_trait;
use bitcoin::Amount as Sats;
use bitcoin::hex::DisplayHex;
use cdk::{
    Amount,
    cdk_payment::{
        CreateIncomingPaymentResponse, Error, Event, IncomingPaymentOptions, MakePaymentResponse,
        MintPayment, OnchainSettings, OutgoingPaymentOptions, PaymentIdentifier, PaymentQuoteResponse,
        SettingsResponse, WaitPaymentResponse,
    },
    nuts::{CurrencyUnit, MeltQuoteState, nut30::MeltQuoteOnchainFeeOption},
};
use cdk_common::{QuoteId, payment::Bolt11Settings};
use futures::Stream;
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::broadcast::error::RecvError;

/// The method by which eHash comes to be: shares that a pool credited.
pub(crate) const METHOD: &str = "ehash";
/// The one fee option of a payout.
const FEE_INDEX: u32 = 0;

/// The backend of one mint's units.
pub(crate) struct Backend {
    /// None when the pool's rewards go elsewhere.
    redeemer: Option<Arc<Redeemer>>,
    /// Whether it is the sat mint's.
    is_sat: bool,
    listened_to: AtomicBool,
}

impl Backend {
    /// Of all epochs.
    pub(crate) fn of_epochs(redeemer: Option<Arc<Redeemer>>) -> Self {
        Self { redeemer, is_sat: false, listened_to: AtomicBool::default() }
    }

    /// Of satoshi.
    pub(crate) fn of_sat(redeemer: Arc<Redeemer>) -> Self {
        Self { redeemer: Some(redeemer), is_sat: true, listened_to: AtomicBool::default() }
    }

    fn redeemer(&self) -> Result<&Arc<Redeemer>, Error> {
        self.redeemer.as_ref().ok_or(Error::UnsupportedPaymentOption)
    }
}

#[async_trait]
impl MintPayment for Backend {
    type Err = Error;

    async fn get_settings(&self) -> Result<SettingsResponse, Error> {
        let nothing = Bolt11Settings { mpp: false, amountless: false, invoice_description: true };
        Ok(SettingsResponse {
            unit: "sat".to_owned(),
            bolt11: self.redeemer.as_ref().map(|_| nothing),
            bolt12: None,
            onchain: self.redeemer.as_ref().map(|_| OnchainSettings::default()),
            custom: HashMap::from([(METHOD.to_owned(), String::new())]),
        })
    }

    async fn create_incoming_payment_request(
        &self,
        options: IncomingPaymentOptions,
    ) -> Result<CreateIncomingPaymentResponse, Error> {
        match options {
            IncomingPaymentOptions::Bolt11(options) if self.is_sat => {
                self.redeemer()?.invoices().create(options)
            }
            _ => Err(Error::UnsupportedPaymentOption),
        }
    }

    async fn get_payment_quote(
        &self,
        unit: &CurrencyUnit,
        options: OutgoingPaymentOptions,
    ) -> Result<PaymentQuoteResponse, Error> {
        let redeemer = self.redeemer()?;
        let (asked, quote) = asked(&options)?;
        let terms = redeemer.terms(unit, &asked).await.map_err(backend)?;
        let reserve = redeemer.reserve(unit, &terms).await.map_err(backend)?;
        let onchain = terms.script.is_some();
        let estimated_blocks = onchain.then_some(u32::from(crate::redemption::CONFIRM_WITHIN));
        let fee_options = estimated_blocks.map(|estimated_blocks| {
            vec![MeltQuoteOnchainFeeOption {
                fee_index: FEE_INDEX,
                fee_reserve: reserve.into(),
                estimated_blocks,
            }]
        });
        Ok(PaymentQuoteResponse {
            request_lookup_id: Some(PaymentIdentifier::QuoteId(quote)),
            amount: Amount::new(terms.amount, unit.clone()),
            fee: Amount::new(reserve, unit.clone()),
            state: MeltQuoteState::Unpaid,
            extra_json: None,
            estimated_blocks,
            fee_options,
        })
    }

    async fn make_payment(
        &self,
        unit: &CurrencyUnit,
        options: OutgoingPaymentOptions,
    ) -> Result<MakePaymentResponse, Error> {
        let redeemer = self.redeemer()?;
        let (asked, quote) = asked(&options)?;
        let terms = redeemer.terms(unit, &asked).await.map_err(backend)?;
        let redemption = redemption(unit, &options, &quote, &terms)?;
        let progress = redeemer.redeem(&redemption, terms.rate).await.map_err(backend)?;
        let proof = match &options {
            OutgoingPaymentOptions::Bolt11(options) => {
                let invoices = redeemer.invoices();
                Some(invoices.preimage(&options.bolt11).to_lower_hex_string())
            }
            _ => redeemer.outpoint(&redemption),
        };
        Ok(answer(PaymentIdentifier::QuoteId(quote), unit, progress, proof))
    }

    async fn wait_payment_event(&self) -> Result<Pin<Box<dyn Stream<Item = Event> + Send>>, Error> {
        self.listened_to.store(true, Ordering::Release);
        let Some(redeemer) = &self.redeemer else { return Ok(Box::pin(futures::stream::pending())) };
        let is_sat = self.is_sat;
        let news = futures::stream::unfold(redeemer.listen(), move |mut news| async move {
            loop {
                match news.recv().await {
                    // Both mints hear of all redemptions.
                    Ok(settled) if is_sat == (settled.unit == CurrencyUnit::Sat) => {
                        if let Some(event) = event(settled) {
                            return Some((event, news));
                        }
                    }
                    // What was missed, CDK finds when a wallet asks.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        Ok(Box::pin(news))
    }

    fn is_payment_event_stream_active(&self) -> bool {
        self.listened_to.load(Ordering::Acquire)
    }

    fn cancel_payment_event_stream(&self) {
        self.listened_to.store(false, Ordering::Release);
    }

    /// What there is to be paid in was paid before CDK asks.
    async fn check_incoming_payment_status(
        &self,
        _: &PaymentIdentifier,
    ) -> Result<Vec<WaitPaymentResponse>, Error> {
        Ok(Vec::new())
    }

    /// After a crash: what is in the book goes on; anything else never will.
    async fn check_outgoing_payment(
        &self,
        identifier: &PaymentIdentifier,
    ) -> Result<MakePaymentResponse, Error> {
        let PaymentIdentifier::QuoteId(quote) = identifier else {
            return Err(Error::UnsupportedPaymentOption);
        };
        let redeemer = self.redeemer()?;
        let (redemption, progress) = redeemer.outcome(&quote.to_string()).await.map_err(backend)?;
        let unit = redemption.as_ref().map_or(CurrencyUnit::Sat, |redemption| redemption.unit.clone());
        let proof = redemption.and_then(|redemption| redeemer.outpoint(&redemption));
        Ok(answer(identifier.clone(), &unit, progress, proof))
    }
}

/// What CDK's options ask for, and for which quote.
fn asked(options: &OutgoingPaymentOptions) -> Result<(Asked, QuoteId), Error> {
    match options {
        OutgoingPaymentOptions::Bolt11(options) if options.melt_options.is_none() => {
            Ok((Asked::Invoice(options.bolt11.clone()), options.quote_id.clone()))
        }
        OutgoingPaymentOptions::Onchain(options) => {
            let (address, amount) = (options.address.clone(), options.amount.value());
            Ok((Asked::Address { address, amount }, options.quote_id.clone()))
        }
        _ => Err(Error::UnsupportedPaymentOption),
    }
}

/// The redemption that a quote's terms make.
fn redemption(
    unit: &CurrencyUnit,
    options: &OutgoingPaymentOptions,
    quote: &QuoteId,
    terms: &Terms,
) -> Result<Redemption, Error> {
    let (way, target, reserve) = match options {
        OutgoingPaymentOptions::Bolt11(options) => (Way::Ecash, options.bolt11.payment_hash().to_string(), 0),
        OutgoingPaymentOptions::Onchain(options) => {
            let reserve = options.max_fee_amount.as_ref().map_or(0, Amount::value);
            (Way::Onchain, options.address.clone(), reserve)
        }
        _ => return Err(Error::UnsupportedPaymentOption),
    };
    let fee = if reserve == 0 { Sats::ZERO } else { terms.rate.worth(reserve) };
    let (unit, amount, sats) = (unit.clone(), terms.amount, terms.sats);
    Ok(Redemption { quote: quote.to_string(), unit, way, target, amount, reserve, sats, fee })
}

fn answer(
    identifier: PaymentIdentifier,
    unit: &CurrencyUnit,
    progress: Progress,
    proof: Option<String>,
) -> MakePaymentResponse {
    let (status, spent) = match progress {
        Progress::Begun => (MeltQuoteState::Pending, 0),
        Progress::Paid { spent, .. } => (MeltQuoteState::Paid, spent),
        Progress::Refused => (MeltQuoteState::Failed, 0),
    };
    let total_spent = Amount::new(spent, unit.clone());
    MakePaymentResponse { payment_lookup_id: identifier, payment_proof: proof, status, total_spent }
}

fn event(settled: Settled) -> Option<Event> {
    let Settled { quote, unit, spent, proof } = settled;
    let quote_id: QuoteId = quote.parse().ok()?;
    let identifier = PaymentIdentifier::QuoteId(quote_id.clone());
    let progress = Progress::Paid { spent, fee: Sats::ZERO };
    Some(Event::PaymentSuccessful { quote_id, details: answer(identifier, &unit, progress, proof) })
}

fn backend(error: impl Into<RedemptionError>) -> Error {
    let error: RedemptionError = error.into();
    tracing::debug!(%error, "a redemption goes no further now");
    Error::Backend(Box::new(error))
}
