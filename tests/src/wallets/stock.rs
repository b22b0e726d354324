//! CDK's wallet as a library, with a seed and nothing else.

use std::sync::Arc;

use cdk::Wallet;
use cdk::nuts::{CurrencyUnit, SecretKey, nut20};
use cdk::wallet::WalletBuilder;
use work::PayoutKey;

/// What a miner is given, of the key that claims.
pub fn payout_key(secret: &SecretKey) -> PayoutKey {
    let x_only = secret.public_key().x_only_public_key();
    PayoutKey::from_bytes(x_only.serialize()).expect("a point's coordinate")
}

/// A seed of a stock wallet, and the payout key that its first quote is locked to.
#[derive(Debug)]
pub struct Holder {
    seed: [u8; 64],
    /// For the miner.
    pub key: PayoutKey,
}

impl Holder {
    /// Another one for each number.
    pub fn new(number: u8) -> Holder {
        let seed = [number; 64];
        let secret = nut20::derive_quote_locking_key(&seed, 0).expect("a key");
        Holder { seed, key: payout_key(&secret) }
    }

    /// The wallet of an epoch's eHash, as it is after its seed was brought back.
    pub async fn of_epoch(&self, mint: &str, epoch: u64) -> Wallet {
        self.wallet(&format!("{mint}/e/{epoch}"), CurrencyUnit::custom(format!("ehash-{epoch}"))).await
    }

    /// The same of satoshi ecash.
    pub async fn of_sat(&self, mint: &str) -> Wallet {
        self.wallet(&format!("{mint}/sat"), CurrencyUnit::Sat).await
    }

    async fn wallet(&self, mint: &str, unit: CurrencyUnit) -> Wallet {
        let store = cdk_sqlite::wallet::memory::empty().await.expect("memory");
        WalletBuilder::new()
            .mint_url(mint.parse().expect("an address"))
            .unit(unit)
            .localstore(Arc::new(store))
            .seed(self.seed)
            .without_rate_limiting()
            .build()
            .expect("a wallet")
    }
}
