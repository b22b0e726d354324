//! The mint's one secret, and what is derived from it.

use crate::EpochUnit;
use bitcoin::secp256k1::SecretKey;
use bitcoin_hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use cdk_common::QuoteId;
use std::fmt;
use work::PayoutKey;

/// What the seed is used for, each apart from the others.
const KEYSETS: &[u8] = b"assay mint keysets";
const QUOTES: &[u8] = b"assay mint quotes";
const SAT_KEYSETS: &[u8] = b"assay sat mint keysets";
const INVOICE_KEY: &[u8] = b"assay invoice key";
const PREIMAGES: &[u8] = b"assay invoice preimages";
const FINGERPRINT: &[u8] = b"assay mint fingerprint";

/// The mint's secret. Whoever has it can issue ecash; without it, none that was issued can be redeemed.
#[derive(Clone)]
pub struct MintSeed([u8; 32]);

impl MintSeed {
    /// 32 bytes from the system's randomness, kept by the caller.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Of which CDK derives the keysets' keys.
    pub(crate) fn keysets(&self) -> [u8; 32] {
        self.derive(KEYSETS, &[])
    }

    /// The same for the sat mint.
    pub(crate) fn sat_keysets(&self) -> [u8; 32] {
        self.derive(SAT_KEYSETS, &[])
    }

    /// What tells one seed from another, and nothing else of it.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.derive(FINGERPRINT, &[])
    }

    /// The key that signs the mint's invoices.
    pub(crate) fn invoice_key(&self) -> SecretKey {
        SecretKey::from_slice(&self.derive(INVOICE_KEY, &[])).expect("one seed in 2^128 makes no key")
    }

    /// The preimage of an invoice, from the secret that stands in it.
    pub(crate) fn preimage(&self, payment_secret: &[u8; 32]) -> [u8; 32] {
        self.derive(PREIMAGES, &[payment_secret])
    }

    /// The id of a key's quote in an epoch: the same at each asking, and unknown to whoever has not asked.
    pub(crate) fn quote_id(&self, unit: EpochUnit, key: &PayoutKey) -> QuoteId {
        let digest = self.derive(QUOTES, &[&unit.0.get().to_le_bytes(), key.as_bytes()]);
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        QuoteId::UUID(uuid::Builder::from_random_bytes(id).into_uuid())
    }

    fn derive(&self, purpose: &[u8], of: &[&[u8]]) -> [u8; 32] {
        let mut engine = HmacEngine::<sha256::Hash>::new(&self.0);
        // Fixed lengths after the purpose, so that no two inputs come to the same bytes.
        engine.input(&[u8::try_from(purpose.len()).expect("purposes are short")]);
        engine.input(purpose);
        of.iter().for_each(|part| engine.input(part));
        Hmac::from_engine(engine).to_byte_array()
    }
}

impl fmt::Debug for MintSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MintSeed(secret)")
    }
}

impl Drop for MintSeed {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::Epoch;

    fn key(hex: &str) -> PayoutKey {
        hex.parse().unwrap()
    }

    #[test]
    fn quote_ids_differ_by_seed_epoch_and_key() {
        let keys = [
            key("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
            key("c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5"),
        ];
        let mut ids = Vec::new();
        for seed in [MintSeed::from_bytes([1; 32]), MintSeed::from_bytes([2; 32])] {
            for epoch in [0, 1] {
                for key in &keys {
                    let id = seed.quote_id(EpochUnit(Epoch(epoch)), key);
                    assert_eq!(id, seed.quote_id(EpochUnit(Epoch(epoch)), key));
                    ids.push(id.to_string());
                }
            }
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 8);
        assert_eq!(format!("{:?}", MintSeed::from_bytes([7; 32])), "MintSeed(secret)");
    }
}
