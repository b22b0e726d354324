//! A keyset for every epoch, opened as the pool opens the epoch.
//!
//! An epoch has one keyset for its whole life: a second would make the first inactive, and with it every token that was
//! issued. So whoever opens looks first, under a lock, and a crash between any two steps leaves a keyset that the next
//! start finds.

use crate::{Books, EpochUnit, MintError};
use cdk::{Mint, nuts::CurrencyUnit};
use ledger::{Epoch, EpochState};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Mutex;

/// Opens epochs, and knows which are.
pub struct Epochs {
    mint: Arc<Mint>,
    books: Arc<dyn Books>,
    /// The first epoch that has not been looked at.
    next: Mutex<Epoch>,
    /// The newest that has a keyset.
    newest: RwLock<Option<Epoch>>,
}

impl Epochs {
    pub(crate) fn new(mint: Arc<Mint>, books: Arc<dyn Books>) -> Self {
        Self { mint, books, next: Mutex::new(Epoch::ZERO), newest: RwLock::new(None) }
    }

    /// The newest epoch with a keyset.
    pub fn newest(&self) -> Option<Epoch> {
        *self.newest.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the epoch has a keyset.
    pub fn is_open(&self, unit: EpochUnit) -> bool {
        self.is_open_unit(&unit.to_cashu())
    }

    pub(crate) fn is_open_unit(&self, unit: &CurrencyUnit) -> bool {
        self.mint.get_active_keysets().contains_key(unit)
    }

    /// Opens whatever the pool has opened since the last call. Doing so again changes nothing.
    ///
    /// # Errors
    /// When the books cannot be read, or the mint's database not be written. What was opened stays so.
    pub async fn catch_up(&self) -> Result<(), MintError> {
        let mut next = self.next.lock().await;
        let books = Arc::clone(&self.books);
        let from = *next;
        let (open, wanted) = tokio::task::spawn_blocking(move || claimable(&*books, from))
            .await
            .map_err(|_| MintError::Stopped)??;
        for epoch in wanted {
            match self.open(EpochUnit(epoch)).await {
                // Nothing can be done about it, and later epochs are not worse for it.
                Err(error @ MintError::Collision { .. }) => tracing::error!(%error, "an epoch has no keyset"),
                other => other?,
            }
            *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Some(epoch);
        }
        if let Some(after) = open.next() {
            *next = after;
        }
        Ok(())
    }

    async fn open(&self, unit: EpochUnit) -> Result<(), MintError> {
        if self.is_open(unit) {
            return Ok(());
        }
        match self.mint.rotate_keyset(unit.to_cashu(), EpochUnit::amounts(), 0, true, None).await {
            Ok(keyset) => {
                tracing::info!(%unit, keyset = %keyset.id, "epoch opened");
                Ok(())
            }
            Err(cdk::Error::UnitStringCollision(_)) => Err(MintError::Collision { unit }),
            Err(error) => Err(error.into()),
        }
    }
}

/// The open epoch, and the epochs from one on whose eHash may still be claimed.
fn claimable(books: &dyn Books, from: Epoch) -> Result<(Epoch, Vec<Epoch>), MintError> {
    let open = books.open_epoch()?;
    let mut epochs = Vec::new();
    for number in from.get()..=open.get() {
        let info = books.epoch(Epoch(number))?;
        if info.is_some_and(|info| info.state != EpochState::Retired) {
            epochs.push(Epoch(number));
        }
    }
    Ok((open, epochs))
}
