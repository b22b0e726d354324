//! Which epochs can be redeemed, as wallets read it in NUT-05.

use crate::{Books, EpochUnit, MintError, cashu, sat::melts};
use cdk::{
    Mint,
    nuts::{CurrencyUnit, MintInfo, nut05},
};
use ledger::{Epoch, EpochState};
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::Mutex;

/// Epochs read at a time.
const PAGE: u32 = 1_000;

/// Keeps the list.
pub(crate) struct Maturity {
    mint: Arc<Mint>,
    books: Arc<dyn Books>,
    info: MintInfo,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// All epochs before have come to an end of their own, or can be redeemed.
    first_waiting: Epoch,
    redeemable: BTreeSet<Epoch>,
}

impl Maturity {
    /// `info` is what is told besides.
    pub(crate) fn new(mint: Arc<Mint>, books: Arc<dyn Books>, info: MintInfo) -> Self {
        Self { mint, books, info, seen: Mutex::default() }
    }

    /// Sees to it that a unit is listed of which there are terms: its epoch may have become redeemable a moment ago.
    pub(crate) async fn list(&self, unit: &CurrencyUnit) -> Result<(), MintError> {
        let Ok(EpochUnit(epoch)) = EpochUnit::try_from(unit) else { return Ok(()) };
        let listed = self.seen.lock().await.redeemable.contains(&epoch);
        if listed { Ok(()) } else { self.catch_up().await }
    }

    /// Lists what has become redeemable since the last call, and strikes out what has retired.
    pub(crate) async fn catch_up(&self) -> Result<(), MintError> {
        let mut seen = self.seen.lock().await;
        let (books, from) = (Arc::clone(&self.books), seen.first_waiting);
        let old = seen.redeemable.clone();
        let (first_waiting, redeemable) = tokio::task::spawn_blocking(move || look(&*books, from, old))
            .await
            .map_err(|_| MintError::Stopped)??;
        if redeemable != seen.redeemable {
            let units = redeemable.iter().map(|epoch| EpochUnit(*epoch).to_cashu());
            let methods = units.flat_map(|unit| melts(&unit)).collect();
            let mut info = self.info.clone();
            info.nuts.nut05 = nut05::Settings::new(methods, false);
            cashu::tell(&self.mint, info).await?;
            let news: Vec<Epoch> = redeemable.difference(&seen.redeemable).copied().collect();
            if let [epoch] = news[..] {
                tracing::info!(%epoch, "epoch can be redeemed");
            } else if !news.is_empty() {
                tracing::info!(epochs = news.len(), "epochs can be redeemed");
            }
        }
        *seen = Seen { first_waiting, redeemable };
        Ok(())
    }
}

/// Reads on from the first epoch that waited, and looks again at those that could be redeemed.
fn look(books: &dyn Books, from: Epoch, old: BTreeSet<Epoch>) -> Result<(Epoch, BTreeSet<Epoch>), MintError> {
    let mut redeemable = BTreeSet::new();
    if let (Some(first), Some(last)) = (old.first(), old.last()) {
        let count = (last.get() - first.get()).saturating_add(1);
        let still = books.epochs(*first, count)?;
        redeemable.extend(still.iter().filter(|info| info.state.is_redeemable()).map(|info| info.epoch));
        redeemable.retain(|epoch| old.contains(epoch));
    }
    let (mut next, mut first_waiting) = (from, None);
    loop {
        let page = books.epochs(next, PAGE)?;
        for info in &page {
            let waits = matches!(info.state, EpochState::Open | EpochState::Accruing | EpochState::Settling);
            if waits {
                first_waiting.get_or_insert(info.epoch);
            } else if info.state.is_redeemable() {
                redeemable.insert(info.epoch);
            }
        }
        let full = page.len() >= PAGE as usize;
        match page.last().and_then(|last| last.epoch.next()).filter(|_| full) {
            Some(after) => next = after,
            None => return Ok((first_waiting.unwrap_or(next), redeemable)),
        }
    }
}
