//! A mint keeps to its seed and its database.

use crate::rig;
use assay_mint::{Books, Database, EhashMint, LedgerBooks, MintConfig, MintError, MintSeed};
use ledger::{Ledger, Params};
use std::{path::Path, sync::Arc};
use tempfile::TempDir;

async fn open(dir: &Path, database: &str, seed: u8, has_run: bool) -> Result<(), MintError> {
    let config = MintConfig { has_run, ..rig::config(Database::File(dir.join(database))) };
    let books: Arc<dyn Books> = Arc::new(LedgerBooks::open(dir.join("ledger.db")).unwrap());
    EhashMint::open(&config, &MintSeed::from_bytes([seed; 32]), books, None).await?.stop().await
}

#[tokio::test]
async fn a_database_belongs_to_its_seed_and_is_missed() {
    let dir = TempDir::new().unwrap();
    let (books, handle) = Ledger::open(dir.path().join("ledger.db"), Params::default()).unwrap();
    open(dir.path(), "mint.db", 1, false).await.unwrap();
    open(dir.path(), "mint.db", 1, true).await.unwrap();
    let other = open(dir.path(), "mint.db", 2, true).await.unwrap_err();
    assert!(matches!(other, MintError::OtherSeed), "{other}");
    // An empty database would give out again what was claimed.
    let gone = open(dir.path(), "another.db", 1, true).await.unwrap_err();
    assert!(matches!(gone, MintError::Forgotten), "{gone}");
    drop(handle);
    books.close().unwrap();
}
