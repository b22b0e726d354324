//! What CDK knows as the payment backend of every epoch's unit.
//!
//! Nothing comes in through it: quotes are made and paid by [`crate::quotes`], in front of CDK's routes. It is there
//! because CDK asks a backend at every quote, and it refuses whatever has come past the layer.

use crate::EpochUnit;
use async_trait::async_trait;
use cdk::cdk_payment::{
    CreateIncomingPaymentResponse, Error, Event, IncomingPaymentOptions, MakePaymentResponse, MintPayment,
    OutgoingPaymentOptions, PaymentIdentifier, PaymentQuoteResponse, SettingsResponse, WaitPaymentResponse,
};
use cdk::nuts::{CurrencyUnit, MeltQuoteState};
use futures::Stream;
use std::{
    collections::HashMap,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
};

/// The method by which eHash comes to be: shares that a pool credited.
pub(crate) const METHOD: &str = "ehash";

/// The one backend of all epochs.
#[derive(Default)]
pub(crate) struct ShareProcessor {
    listened_to: AtomicBool,
}

#[async_trait]
impl MintPayment for ShareProcessor {
    type Err = Error;

    async fn get_settings(&self) -> Result<SettingsResponse, Error> {
        Ok(SettingsResponse {
            unit: EpochUnit(ledger::Epoch::ZERO).to_string(),
            bolt11: None,
            bolt12: None,
            onchain: None,
            custom: HashMap::from([(METHOD.to_owned(), String::new())]),
        })
    }

    async fn create_incoming_payment_request(
        &self,
        _: IncomingPaymentOptions,
    ) -> Result<CreateIncomingPaymentResponse, Error> {
        Err(Error::UnsupportedPaymentOption)
    }

    async fn get_payment_quote(
        &self,
        _: &CurrencyUnit,
        _: OutgoingPaymentOptions,
    ) -> Result<PaymentQuoteResponse, Error> {
        Err(Error::UnsupportedPaymentOption)
    }

    async fn make_payment(
        &self,
        _: &CurrencyUnit,
        _: OutgoingPaymentOptions,
    ) -> Result<MakePaymentResponse, Error> {
        Err(Error::UnsupportedPaymentOption)
    }

    async fn wait_payment_event(&self) -> Result<Pin<Box<dyn Stream<Item = Event> + Send>>, Error> {
        self.listened_to.store(true, Ordering::Release);
        Ok(Box::pin(futures::stream::pending()))
    }

    fn is_payment_event_stream_active(&self) -> bool {
        self.listened_to.load(Ordering::Acquire)
    }

    fn cancel_payment_event_stream(&self) {
        self.listened_to.store(false, Ordering::Release);
    }

    /// What the ledger has beyond the quote was paid before CDK asks.
    async fn check_incoming_payment_status(
        &self,
        _: &PaymentIdentifier,
    ) -> Result<Vec<WaitPaymentResponse>, Error> {
        Ok(Vec::new())
    }

    /// No payment ever leaves, so none can be under way.
    async fn check_outgoing_payment(
        &self,
        identifier: &PaymentIdentifier,
    ) -> Result<MakePaymentResponse, Error> {
        Ok(MakePaymentResponse {
            payment_lookup_id: identifier.clone(),
            payment_proof: None,
            status: MeltQuoteState::Unknown,
            total_spent: cdk::Amount::new(0, CurrencyUnit::Sat),
        })
    }
}
