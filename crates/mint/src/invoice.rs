//! Invoices of the sat mint's own. They look like any other and are signed by a key of the mint's, but no Lightning node
//! stands behind them: they are how a wallet tells a redemption where satoshi ecash shall go.

use crate::MintSeed;
use bitcoin::{Network, secp256k1::Secp256k1};
use bitcoin_hashes::{Hash, sha256};
use cdk::{
    cdk_payment::{Bolt11IncomingPaymentOptions, CreateIncomingPaymentResponse, Error, PaymentIdentifier},
    lightning_invoice::{Bolt11Invoice, Currency, InvoiceBuilder, PaymentSecret},
    nuts::CurrencyUnit,
    util::unix_time,
};
use std::time::Duration;

/// How long an invoice is good when the wallet does not say.
const EXPIRY: Duration = Duration::from_secs(3600);
/// Nothing is routed, so nothing times out on the way; nodes expect some number.
const CLTV_DELTA: u64 = 18;

/// Makes invoices.
pub(crate) struct Invoices {
    seed: MintSeed,
    currency: Currency,
}

impl Invoices {
    pub(crate) fn new(seed: MintSeed, network: Network) -> Self {
        let currency = match network {
            Network::Bitcoin => Currency::Bitcoin,
            Network::Signet => Currency::Signet,
            Network::Regtest => Currency::Regtest,
            _ => Currency::BitcoinTestnet,
        };
        Self { seed, currency }
    }

    /// A new invoice.
    pub(crate) fn create(
        &self,
        options: Bolt11IncomingPaymentOptions,
    ) -> Result<CreateIncomingPaymentResponse, Error> {
        let Bolt11IncomingPaymentOptions { description, amount, unix_expiry } = options;
        if *amount.unit() != CurrencyUnit::Sat {
            return Err(Error::UnsupportedUnit);
        }
        let msats =
            amount.value().checked_mul(1000).filter(|msats| *msats > 0).ok_or(Error::AmountMismatch)?;
        let mut secret = [0; 32];
        getrandom(&mut secret)?;
        let payment_hash = sha256::Hash::hash(&self.seed.preimage(&secret));
        let now = unix_time();
        let expiry = unix_expiry.unwrap_or(now + EXPIRY.as_secs());
        let left = Duration::from_secs(expiry.checked_sub(now).ok_or(Error::InvalidExpiry)?);
        let (key, secp) = (self.seed.invoice_key(), Secp256k1::signing_only());
        let invoice = InvoiceBuilder::new(self.currency.clone())
            .description(description.unwrap_or_default())
            .payment_hash(payment_hash)
            .payment_secret(PaymentSecret(secret))
            .amount_milli_satoshis(msats)
            .duration_since_epoch(Duration::from_secs(now))
            .expiry_time(left)
            .min_final_cltv_expiry_delta(CLTV_DELTA)
            .build_signed(|hash| secp.sign_ecdsa_recoverable(hash, &key))
            .map_err(|error| Error::Custom(format!("no such invoice: {error}")))?;
        Ok(CreateIncomingPaymentResponse {
            request_lookup_id: PaymentIdentifier::PaymentHash(payment_hash.to_byte_array()),
            request: invoice.to_string(),
            expiry: Some(expiry),
            extra_json: None,
        })
    }

    /// What proves that one of these invoices was paid.
    pub(crate) fn preimage(&self, invoice: &Bolt11Invoice) -> [u8; 32] {
        self.seed.preimage(&invoice.payment_secret().0)
    }
}

fn getrandom(bytes: &mut [u8; 32]) -> Result<(), Error> {
    use rand::{RngCore, rngs::OsRng};
    OsRng
        .try_fill_bytes(bytes)
        .map_err(|error| Error::Custom(format!("the system gives no randomness: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cdk::Amount;

    #[test]
    fn an_invoice_says_what_was_asked_and_its_preimage_fits() {
        let invoices = Invoices::new(MintSeed::from_bytes([7; 32]), Network::Regtest);
        let options = Bolt11IncomingPaymentOptions {
            description: Some("ehash".into()),
            amount: Amount::new(21, CurrencyUnit::Sat),
            unix_expiry: None,
        };
        let made = invoices.create(options.clone()).unwrap();
        let invoice: Bolt11Invoice = made.request.parse().unwrap();
        assert_eq!(invoice.amount_milli_satoshis(), Some(21_000));
        assert!(!invoice.is_expired());
        let hash = sha256::Hash::hash(&invoices.preimage(&invoice));
        assert_eq!(made.request_lookup_id, PaymentIdentifier::PaymentHash(hash.to_byte_array()));
        assert_eq!(invoice.payment_hash().as_byte_array(), hash.as_byte_array());
        let again = invoices.create(options.clone()).unwrap();
        assert_ne!(again.request_lookup_id, made.request_lookup_id);
        let nothing = Bolt11IncomingPaymentOptions { amount: Amount::new(0, CurrencyUnit::Sat), ..options };
        assert!(invoices.create(nothing).is_err());
    }
}
