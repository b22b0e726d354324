//! The wallet's directory: made once, opened by one at a time.

use crate::{
    Holding, KeyOf, MintAddress, SeedPhrase, WalletError,
    records::{Records, Store},
    seed,
};
use cdk::{mint_url::MintUrl, nuts::CurrencyUnit, wallet::WalletBuilder};
use cdk_common::wallet::{KeysetLoadPolicy, SendSagaState, WalletSagaState};
use cdk_sqlite::WalletSqliteDatabase;
use ledger::Epoch;
use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// CDK's store.
const STORE_FILE: &str = "wallet.sqlite";
/// Held by whoever works here.
const LOCK_FILE: &str = "wallet.lock";

/// An opened wallet. While it lives, nobody else opens its directory.
pub struct EhashWallet {
    pub(crate) directory: PathBuf,
    pub(crate) phrase: SeedPhrase,
    pub(crate) store: Store,
    pub(crate) records: Records,
    mint: Option<MintAddress>,
    _lock: File,
}

/// Where to find mint and pool, kept for later.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The mint.
    pub mint: Option<MintAddress>,
    /// The pool's pages.
    pub pages: Option<String>,
}

impl EhashWallet {
    /// Makes a wallet with a new seed. Its words are told here and never again.
    ///
    /// # Errors
    /// When there is one in `directory` already, or a store that has lost its seed.
    pub async fn init(directory: &Path, places: &Places) -> Result<SeedPhrase, WalletError> {
        make_directory(directory)?;
        let lock = lock(directory)?;
        if SeedPhrase::find(directory)?.is_some() {
            return Err(WalletError::Exists(directory.into()));
        }
        if directory.join(STORE_FILE).exists() {
            return Err(WalletError::SeedMissing(directory.join(seed::FILE)));
        }
        let phrase = SeedPhrase::generate()?;
        phrase.store(directory)?;
        let wallet = Self::attach(directory, phrase, lock).await?;
        wallet.note(places).await?;
        wallet.note_seed().await?;
        Ok(wallet.phrase)
    }

    /// Opens the wallet in `directory`; `mint` takes the place of the one that is kept.
    ///
    /// # Errors
    /// When there is none, another program works on it, or seed and store do not fit each other.
    pub async fn open(directory: &Path, mint: Option<MintAddress>) -> Result<Self, WalletError> {
        let mut wallet = Self::open_any(directory).await?;
        if wallet.records.restoring().await? {
            return Err(WalletError::RestoreUnfinished(directory.into()));
        }
        if mint.is_some() {
            wallet.mint = mint;
        }
        Ok(wallet)
    }

    async fn open_any(directory: &Path) -> Result<Self, WalletError> {
        let store = directory.join(STORE_FILE);
        let phrase = match SeedPhrase::find(directory)? {
            Some(phrase) => phrase,
            None if store.exists() => return Err(WalletError::SeedMissing(directory.join(seed::FILE))),
            None => return Err(WalletError::NoWallet(directory.into())),
        };
        if !store.exists() {
            return Err(WalletError::StoreMissing(store));
        }
        let lock = lock(directory)?;
        let wallet = Self::attach(directory, phrase, lock).await?;
        // One that was begun, or emptied: with it, secrets would be used twice.
        match wallet.records.seed().await? {
            Some(_) => Ok(wallet),
            None => Err(WalletError::StoreMissing(store)),
        }
    }

    /// Opens what there is of the wallet with these words, or makes one, and marks it as not restored yet. Without words,
    /// those that are kept; with the same words, a file of them that is gone comes back.
    pub(crate) async fn begin_restore(
        directory: &Path,
        words: Option<SeedPhrase>,
        places: &Places,
    ) -> Result<Self, WalletError> {
        let wallet = match (SeedPhrase::find(directory)?, words) {
            (None, None) => return Err(WalletError::NoWallet(directory.into())),
            (Some(kept), Some(words)) if kept != words => {
                return Err(WalletError::OtherWords(directory.into()));
            }
            (Some(words), _) | (None, Some(words)) => {
                make_directory(directory)?;
                Self::attach(directory, words, lock(directory)?).await
            }
        };
        let wallet = wallet.map_err(|error| match error {
            WalletError::OtherSeed { .. } => WalletError::OtherWords(directory.into()),
            other => other,
        })?;
        // Before the words are there: with them, an empty store would look like a whole wallet.
        wallet.records.note_restoring(true).await?;
        wallet.note_seed().await?;
        wallet.phrase.store(directory)?;
        wallet.note(places).await?;
        let mint = match &places.mint {
            Some(mint) => Some(mint.clone()),
            None => wallet.records.mint().await?,
        };
        Ok(Self { mint, ..wallet })
    }

    /// Opens the store, and makes it when there is none.
    async fn attach(directory: &Path, phrase: SeedPhrase, lock: File) -> Result<Self, WalletError> {
        let path = directory.join(STORE_FILE);
        // Made here, as SQLite would let everybody read it: tokens are money.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| WalletError::Files { path: path.clone(), source })?;
        let store: Store = Arc::new(WalletSqliteDatabase::new(path).await?);
        let records = Records::of(&store);
        let key = phrase.payout_key(KeyOf::Device)?.to_string();
        match records.seed().await? {
            Some(of) if of != key => return Err(WalletError::OtherSeed { path: directory.join(seed::FILE) }),
            _ => {}
        }
        let mint = records.mint().await?;
        Ok(Self { directory: directory.into(), phrase, store, records, mint, _lock: lock })
    }

    /// Has the store know its seed, by a key that is no secret.
    async fn note_seed(&self) -> Result<(), WalletError> {
        self.records.note_seed(&self.phrase.payout_key(KeyOf::Device)?.to_string()).await
    }

    /// Keeps what is given.
    async fn note(&self, places: &Places) -> Result<(), WalletError> {
        if let Some(mint) = &places.mint {
            self.records.note_mint(mint).await?;
        }
        if let Some(pages) = &places.pages {
            self.records.note_pages(pages).await?;
        }
        Ok(())
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The mint that this wallet works with.
    ///
    /// # Errors
    /// When none was named.
    pub fn mint(&self) -> Result<&MintAddress, WalletError> {
        self.mint.as_ref().ok_or(WalletError::NoMint)
    }

    /// CDK's wallet of an epoch.
    pub(crate) async fn of_epoch(&self, epoch: Epoch) -> Result<cdk::Wallet, WalletError> {
        self.of_holding(Holding::Epoch(epoch)).await
    }

    /// CDK's wallet of a holding. What an earlier run left half done there is brought to its end first.
    pub(crate) async fn of_holding(&self, of: Holding) -> Result<cdk::Wallet, WalletError> {
        let unfinished = self.unfinished().await?.contains(&of);
        let wallet = self.at(of.address(self.mint()?), of.unit()).await?;
        if unfinished {
            // A swap that was cut off can leave what it spent beside what it made.
            let held = wallet.get_unspent_proofs().await?;
            wallet.check_proofs_spent(held).await?;
        }
        Ok(wallet)
    }

    /// CDK's wallet of an address, with what an earlier run left half done brought to its end.
    async fn at(&self, url: MintUrl, unit: CurrencyUnit) -> Result<cdk::Wallet, WalletError> {
        let wallet = WalletBuilder::new()
            .mint_url(url)
            .unit(unit)
            .localstore(Arc::clone(&self.store))
            .seed(*self.phrase.bytes())
            // It limits itself to twenty requests a minute, for mints that would not bear more.
            .without_rate_limiting()
            .build()?;
        // CDK stores a keyset and then its keys. Killed in between, it would ever after believe that it has both.
        if wallet.keysets(KeysetLoadPolicy::CacheOnly).await.is_err() {
            wallet.keysets(KeysetLoadPolicy::Refresh).await?;
        }
        wallet.recover_incomplete_sagas().await?;
        Ok(wallet)
    }

    /// Where something was begun and not ended. Tokens that are on their way to somebody are not among it.
    pub(crate) async fn unfinished(&self) -> Result<Vec<Holding>, WalletError> {
        let mint = self.mint()?;
        let sagas = self.store.get_incomplete_sagas().await?;
        let halfway = sagas
            .iter()
            .filter(|saga| !matches!(saga.state, WalletSagaState::Send(SendSagaState::TokenCreated)));
        Ok(halfway.filter_map(|saga| Holding::at(mint, &saga.mint_url)).collect())
    }
}

fn make_directory(directory: &Path) -> Result<(), WalletError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| WalletError::Files { path: directory.into(), source })
}

fn lock(directory: &Path) -> Result<File, WalletError> {
    let path = directory.join(LOCK_FILE);
    let files = |source: io::Error| WalletError::Files { path: path.clone(), source };
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(files)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(WalletError::Busy(directory.into())),
        Err(TryLockError::Error(source)) => Err(files(source)),
    }
}
