//! What the wallet remembers beside CDK's tables, in the same database.

use crate::{MintAddress, WalletError};
use bitcoin_hashes::{Hash, sha256};
use cdk_common::database::{Error, WalletDatabase};
use hex::DisplayHex;
use ledger::Epoch;
use std::{collections::BTreeSet, sync::Arc};

const SPACE: &str = "assay";
/// The device's payout key, by which a store knows its seed.
const SEED: &str = "seed";
const MINT: &str = "mint";
const PAGES: &str = "pages";
const RESTORE: &str = "restore";
/// Before an epoch's number.
const EPOCH: &str = "epoch-";

/// CDK's store of a wallet.
pub(crate) type Store = Arc<dyn WalletDatabase<Error> + Send + Sync>;

/// Small notes, each a text under a name.
pub(crate) struct Records(Store);

impl Records {
    pub(crate) fn of(store: &Store) -> Self {
        Self(Arc::clone(store))
    }

    pub(crate) async fn seed(&self) -> Result<Option<String>, WalletError> {
        self.read("", SEED).await
    }

    pub(crate) async fn note_seed(&self, device_key: &str) -> Result<(), WalletError> {
        self.write("", SEED, device_key).await
    }

    pub(crate) async fn mint(&self) -> Result<Option<MintAddress>, WalletError> {
        self.read("", MINT).await?.map(|text| text.parse()).transpose()
    }

    pub(crate) async fn note_mint(&self, mint: &MintAddress) -> Result<(), WalletError> {
        self.write("", MINT, &mint.to_string()).await
    }

    pub(crate) async fn pages(&self) -> Result<Option<String>, WalletError> {
        self.read("", PAGES).await
    }

    pub(crate) async fn note_pages(&self, pages: &str) -> Result<(), WalletError> {
        self.write("", PAGES, pages).await
    }

    /// Whether a restore has begun and not ended.
    pub(crate) async fn restoring(&self) -> Result<bool, WalletError> {
        Ok(self.read("", RESTORE).await?.is_some())
    }

    pub(crate) async fn note_restoring(&self, begun: bool) -> Result<(), WalletError> {
        if begun {
            return self.write("", RESTORE, "begun").await;
        }
        Ok(self.0.kv_remove(SPACE, "", RESTORE).await?)
    }

    /// Epochs that nothing will come of any more: they are closed and all of them is claimed, or they are retired.
    pub(crate) async fn settled(&self, mint: &MintAddress) -> Result<BTreeSet<Epoch>, WalletError> {
        let names = self.0.kv_list(SPACE, &place(mint)).await?;
        Ok(names.iter().filter_map(|name| name.strip_prefix(EPOCH)?.parse().ok().map(Epoch)).collect())
    }

    pub(crate) async fn note_settled(&self, mint: &MintAddress, epoch: Epoch) -> Result<(), WalletError> {
        self.write(&place(mint), &format!("{EPOCH}{epoch}"), "settled").await
    }

    async fn read(&self, place: &str, key: &str) -> Result<Option<String>, WalletError> {
        let value = self.0.kv_read(SPACE, place, key).await?;
        Ok(value.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    async fn write(&self, place: &str, key: &str, value: &str) -> Result<(), WalletError> {
        Ok(self.0.kv_write(SPACE, place, key, value.as_bytes()).await?)
    }
}

/// Keys have few characters to choose from, and an address has others.
fn place(mint: &MintAddress) -> String {
    let digest = sha256::Hash::hash(mint.to_string().as_bytes());
    format!("mint-{:x}", digest.as_byte_array()[..16].as_hex())
}
