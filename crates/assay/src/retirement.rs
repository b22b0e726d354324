//! The end of epochs: what nobody redeemed of them in time goes to later ones.
//!
//! Two files have a say. The book of redemptions ends an epoch first, after which none of its eHash is redeemed any more; when all
//! that was begun before is paid, the ledger gives what is left in the pot to the carry. A crash in between is made good at the
//! next block.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use ledger::{Epoch, EpochInfo, Event, LedgerHandle, Msats};
use mint::EpochUnit;
use mint::redemption::RedemptionBook;
use node::Stop;

use crate::mint_service;

/// How often it is looked whether the chain has grown: epochs end with its blocks alone.
const LOOK: Duration = Duration::from_secs(1);

/// What became of an epoch whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is retired.
    Retired {
        /// What was redeemed of it.
        paid: Msats,
        /// What goes to later epochs.
        swept: Msats,
    },
    /// Some of it is being paid for; until then nothing is known to be left.
    UnderWay,
    /// It is redeemed for longer, and nothing has changed.
    Promised {
        /// The chain's height until which it is.
        until: u32,
    },
}

/// Ends an epoch that is redeemable or frozen. Where nothing was ever redeemed, there is no book.
pub fn end(book: Option<&RedemptionBook>, ledger: &LedgerHandle, info: &EpochInfo) -> Result<Ended> {
    let epoch = info.epoch;
    if let Some(until) = info.promised_until(ledger.summary().tip) {
        return Ok(Ended::Promised { until });
    }
    let redeemed = book.map(|book| book.end(EpochUnit(epoch))).transpose()?.unwrap_or_default();
    if redeemed.under_way > 0 {
        return Ok(Ended::UnderWay);
    }
    let paid = Msats::new((redeemed.sats + redeemed.fees).to_sat() * 1000);
    let swept =
        info.pot.checked_sub(paid).context("more was redeemed than the pot had: verify the ledger")?;
    ledger.apply(Event::EpochRetired { epoch, swept })?;
    Ok(Ended::Retired { paid, swept })
}

/// A thread that ends epochs as their time comes.
pub struct Retirement {
    thread: JoinHandle<()>,
    stop: Stop,
}

impl Retirement {
    /// Of the pool in `data_dir`, whose mint redeems.
    pub fn start(data_dir: &Path, ledger: LedgerHandle) -> Result<Self> {
        let (data_dir, stop) = (data_dir.to_owned(), Stop::new());
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("retirement".to_owned()).spawn(move || {
            let mut seen = None;
            while !stopped.wait(LOOK) {
                let tip = ledger.summary().tip;
                if tip == seen {
                    continue;
                }
                seen = tip;
                if let Err(error) = round(&data_dir, &ledger, tip) {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "epochs whose time is over stay until the next block"
                    );
                }
            }
        })?;
        Ok(Self { thread, stop })
    }

    pub fn stop(self) {
        self.stop.stop();
        if self.thread.join().is_err() {
            tracing::error!("the thread that ends epochs died; start the program again");
        }
    }
}

fn round(data_dir: &Path, ledger: &LedgerHandle, tip: Option<u32>) -> Result<()> {
    let due: Vec<EpochInfo> = ledger
        .reader()?
        .epochs(Epoch::ZERO, u32::MAX)?
        .into_iter()
        .filter(|info| info.state.is_redeemable() && info.has_expired(tip))
        .collect();
    if due.is_empty() {
        return Ok(());
    }
    let book = mint_service::redemptions(data_dir)?;
    for info in due {
        if let Ended::Retired { paid, swept } = end(book.as_ref(), ledger, &info)? {
            let (epoch, redeemed, left) = (info.epoch, paid.get() / 1000, swept.get() / 1000);
            tracing::info!(%epoch, redeemed, left, "epoch retired; what nobody redeemed of it goes to later epochs");
        }
    }
    Ok(())
}
