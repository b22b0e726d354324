//! What the demo shows at its end, and whether all of it holds.

use std::path::Path;

use anyhow::{Context, Result};
use device::DeviceStats;
use ledger::{Epoch, EpochInfo, Msats, Reader};
use node::Node;
use node::devchain::Devchain;
use pool::PoolTotals;
use serde_json::{Map, Value, json};
use work::{Ehash, PayoutKey};

use super::story::Outcome;
use crate::amount;

/// Epochs that the text shows.
const EPOCHS_SHOWN: usize = 6;

/// The result of a run.
pub struct Summary {
    shares_accepted: u64,
    shares_rejected: u64,
    blocks_found: u64,
    blocks_accepted: u64,
    chain_height: u32,
    epochs: Vec<EpochInfo>,
    miners: Vec<MinerResult>,
    story: Outcome,
    /// What does not hold; empty if all does.
    faults: Vec<String>,
}

struct MinerResult {
    name: &'static str,
    key: PayoutKey,
    accepted: u64,
    credited: Ehash,
    /// What its credit is worth in the pots as they are.
    worth: Msats,
}

impl Summary {
    /// Reads the closed ledger and compares it with the chain, the pool and the devices.
    pub fn audit(
        ledger_path: &Path,
        totals: &PoolTotals,
        chain: &Devchain,
        miners: &[(&'static str, PayoutKey, DeviceStats)],
        story: Outcome,
    ) -> Result<Self> {
        let report = ledger::verify(ledger_path).context("the demo's ledger cannot be read")?;
        let mut reader = Reader::open(ledger_path).context("the demo's ledger cannot be read")?;
        let epochs = reader.epochs(Epoch::ZERO, u32::MAX)?;
        let mut results = Vec::new();
        for (name, key, stats) in miners {
            let credits = reader.credits_of(key, Epoch::ZERO, u32::MAX)?;
            let worth = credits.iter().map(|(epoch, credit)| worth(&epochs, *epoch, *credit)).sum();
            results.push(MinerResult {
                name,
                key: *key,
                accepted: stats.shares_accepted,
                credited: credits.into_iter().map(|(_, credit)| credit).sum(),
                worth: Msats::new(worth),
            });
        }
        let mut summary = Self {
            shares_accepted: totals.shares_accepted,
            shares_rejected: totals.shares_rejected,
            blocks_found: totals.blocks_found,
            blocks_accepted: totals.blocks_accepted,
            chain_height: chain.tip()?.height,
            epochs,
            miners: results,
            story,
            faults: Vec::new(),
        };
        if !report.is_clean() {
            summary.faults.push(format!("the ledger's books are wrong: {report}"));
        }
        summary.check(totals, miners);
        Ok(summary)
    }

    fn check(&mut self, totals: &PoolTotals, miners: &[(&'static str, PayoutKey, DeviceStats)]) {
        let mut demand = |holds: bool, fault: String| {
            if !holds {
                self.faults.push(fault);
            }
        };
        demand(totals.blocks_accepted > 0, "no block was found".to_owned());
        demand(self.epochs.len() > 1, "no epoch was closed".to_owned());
        demand(
            u64::from(self.chain_height) == totals.blocks_accepted,
            format!(
                "{} blocks were accepted, but the chain has {}",
                totals.blocks_accepted, self.chain_height
            ),
        );
        let story = &self.story;
        if let Some(fault) = &story.fault {
            demand(false, fault.clone());
        }
        demand(story.complete, "no epoch was redeemed".to_owned());
        demand(story.books_balanced, "the mint's books do not balance".to_owned());
        demand(
            u128::from(story.claimed.get()) == u128::from(totals.ehash_credited),
            format!("{} eHash were credited, {} claimed", totals.ehash_credited, story.claimed),
        );
        let credited: u128 = self.miners.iter().map(|miner| u128::from(miner.credited.get())).sum();
        demand(
            credited == u128::from(totals.ehash_credited),
            format!("the pool credited {} eHash, the ledger holds {credited}", totals.ehash_credited),
        );
        for (result, (name, _, stats)) in self.miners.iter().zip(miners) {
            demand(!result.credited.is_zero(), format!("{name} earned nothing"));
            // Shares that were accepted while the device was leaving are in the ledger, but never reached it.
            demand(
                stats.credit <= result.credited,
                format!(
                    "{name} was acknowledged {} eHash, the ledger holds {}",
                    stats.credit, result.credited
                ),
            );
        }
    }

    /// Whether everything that was checked holds.
    pub fn holds(&self) -> bool {
        self.faults.is_empty()
    }

    fn epochs_closed(&self) -> usize {
        self.epochs.len().saturating_sub(1)
    }

    pub fn json(&self) -> Value {
        let credited: Map<String, Value> =
            self.miners.iter().map(|miner| (miner.key.to_string(), json!(miner.credited.get()))).collect();
        json!({
            "shares_accepted": self.shares_accepted,
            "shares_rejected": self.shares_rejected,
            "blocks_found": self.blocks_found,
            "blocks_accepted": self.blocks_accepted,
            "epochs_closed": self.epochs_closed(),
            "ehash_credited": credited,
            "chain_height": self.chain_height,
            "ehash_claimed": self.story.claimed.get(),
            "ehash_redeemed": self.story.redeemed.get(),
            "sats_redeemed_ecash": self.story.sats_ecash,
            "sats_redeemed_onchain": self.story.sats_onchain,
            "books_balanced": self.story.books_balanced,
        })
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "{} blocks found, {} on the chain; {} shares accepted, {} rejected; {} epochs closed\n\n",
            self.blocks_found,
            self.blocks_accepted,
            self.shares_accepted,
            self.shares_rejected,
            self.epochs_closed()
        );
        for miner in &self.miners {
            text.push_str(&format!(
                "  {:<6} {:>4} shares  {:>40} eHash  worth {:>19} so far\n         {}\n",
                miner.name,
                miner.accepted,
                amount::ehash(miner.credited),
                amount::sats(miner.worth),
                miner.key
            ));
        }
        text.push('\n');
        let skip = self.epochs.len().saturating_sub(EPOCHS_SHOWN);
        for epoch in self.epochs.iter().skip(skip) {
            text.push_str(&format!(
                "  epoch {:>3}  {:<10}  {:>19} eHash  pot {:>19}\n",
                epoch.epoch,
                epoch.state.name(),
                amount::grouped(epoch.credited.get().into()),
                amount::sats(epoch.pot)
            ));
        }
        text.push('\n');
        if self.holds() {
            text.push_str(&format!(
                "{} eHash claimed; {} of it redeemed for {} sat of ecash and {} sat on the chain.\n",
                amount::ehash(self.story.claimed),
                amount::ehash(self.story.redeemed),
                amount::grouped(self.story.sats_ecash.into()),
                amount::grouped(self.story.sats_onchain.into())
            ));
            text.push_str(
                "The books were replayed from the journal and are exact; the mint owns what it owes, to the last millisatoshi.",
            );
        }
        for fault in &self.faults {
            text.push_str(&format!("wrong: {fault}\n"));
        }
        text
    }
}

/// ⌊pot · credit / size⌋, as an epoch redeems.
fn worth(epochs: &[EpochInfo], epoch: Epoch, credit: Ehash) -> u64 {
    let Some(info) = epochs.iter().find(|info| info.epoch == epoch) else { return 0 };
    let value = u128::from(info.pot.get()) * u128::from(credit.get()) / u128::from(info.size.get());
    u64::try_from(value).unwrap_or(u64::MAX)
}
