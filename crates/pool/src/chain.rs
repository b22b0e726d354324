//! The thread that follows the chain and tells the ledger which of the pool's blocks are on it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash, ScriptBuf};
use ledger::{ChainBlock, LedgerError, LedgerHandle, Msats};
use node::{ChainEvent, Node, NodeError, Polled, Stop, Tip, Watch, WatchError};
use thiserror::Error;
use tracing::{info, warn};

use crate::stats::PoolStats;

/// Deepest reorganisation that is followed. Maturity is 100 blocks, so a deeper one touches settled money and needs a
/// person.
const LOOK_BACK: u32 = 200;

/// Blocks below the last handled one that are looked at again after a start.
const RESCAN: u32 = 12;

/// Pause after an event that could not be booked, before it is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
pub(crate) enum ChainError {
    #[error("the node cannot tell the chain")]
    Node(#[from] NodeError),
    #[error("the chain cannot be followed")]
    Watch(#[from] WatchError),
    #[error("the ledger did not take a block")]
    Ledger(#[from] LedgerError),
}

/// How far the chain was followed.
pub(crate) struct Following {
    watch: Watch,
    /// Every block that the ledger knows of is at or below the one that was handled last.
    caught_up: bool,
}

#[cfg(feature = "simulation")]
impl Following {
    /// Whether everything up to this block is booked.
    pub(crate) fn has_reached(&self, tip: &Tip) -> bool {
        self.caught_up && self.watch.known() == *tip
    }
}

/// Follows the best chain from the last block that the ledger handled.
pub(crate) struct ChainFollower {
    pub node: Arc<dyn Node>,
    pub ledger: LedgerHandle,
    pub stats: PoolStats,
    pub payout_script: ScriptBuf,
    pub tag: Vec<u8>,
    /// What the pool's first work builds on: where a new ledger begins, since the pool's first block comes after it.
    pub floor: Tip,
    pub stop: Stop,
}

impl ChainFollower {
    pub(crate) fn start(self) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("chain".to_owned()).spawn(move || self.run())
    }

    fn run(&self) {
        while !self.stop.is_stopped() {
            // The ledger knows what it handled, so a fresh start after an error repeats nothing.
            if let Err(error) = self.follow() {
                let error = with_causes(&error);
                if self.stats.set_chain_error(Some(error.clone())) {
                    warn!(error, "the chain cannot be followed; trying again");
                }
                self.stop.wait(RETRY_PAUSE);
            }
        }
    }

    fn follow(&self) -> Result<(), ChainError> {
        let mut following = self.begin()?;
        while !following.caught_up && !self.stop.is_stopped() {
            self.step(&mut following)?;
        }
        while let Some(event) = following.watch.next(&self.stop, None)? {
            self.book(event)?;
        }
        Ok(())
    }

    /// Starts to follow from a block that the ledger surely handled.
    pub(crate) fn begin(&self) -> Result<Following, ChainError> {
        self.check_known_blocks()?;
        let start = self.starting_point()?;
        if self.ledger.summary().tip.is_none() {
            self.ledger.tip(start.height)?;
        }
        self.stats.set_chain_error(None);
        let watch = Watch::from(Arc::clone(&self.node), start, LOOK_BACK);
        Ok(Following { watch, caught_up: false })
    }

    /// Books one change of the chain; false when there was none.
    pub(crate) fn step(&self, following: &mut Following) -> Result<bool, ChainError> {
        match following.watch.poll()? {
            Polled::Event(event) => self.book(event)?,
            Polled::Away(error) => return Err(error.into()),
            Polled::AtTip if following.caught_up => return Ok(false),
            Polled::AtTip => {
                if self.node.tip()? == following.watch.known() {
                    // The chain may have been reorganised between the first look and here, below blocks that the
                    // watch has not come to. Those that come and go from now on it tells.
                    self.check_known_blocks()?;
                    following.caught_up = true;
                }
            }
        }
        Ok(true)
    }

    /// Tells the ledger what happened to the chain.
    fn book(&self, event: ChainEvent) -> Result<(), ChainError> {
        match event {
            ChainEvent::Connected { height, hash } => self.connected(height, hash),
            ChainEvent::Disconnected { height, hash } => {
                info!(height, block = %hash, "block left the chain");
                self.ledger.block_disconnected(ledger::BlockHash::from_bytes(hash.to_byte_array()))?;
                self.ledger.tip(height.saturating_sub(1))?;
                Ok(())
            }
        }
    }

    /// Blocks that the ledger has on the chain, but the node no longer, left while nobody looked.
    fn check_known_blocks(&self) -> Result<(), ChainError> {
        for block in self.ledger.blocks_to_check(LOOK_BACK as usize)? {
            let info = self.node.block_info(&BlockHash::from_byte_array(block.hash.to_bytes()))?;
            if info.is_none_or(|info| info.confirmations.is_none()) {
                self.ledger.block_disconnected(block.hash)?;
            }
        }
        Ok(())
    }

    /// A block that the ledger surely handled. Events are idempotent, so a few blocks are looked at twice rather than
    /// one missed because a branch changed, or because it was found and never seen on the chain.
    fn starting_point(&self) -> Result<Tip, ChainError> {
        let tip = self.node.tip()?;
        let Some(handled) = self.ledger.summary().tip else { return Ok(self.floor) };
        let unsettled = self.ledger.unsettled_blocks()?.into_iter().map(|block| block.height).min();
        let unsettled = unsettled.unwrap_or(handled).max(handled.saturating_sub(LOOK_BACK));
        let height = handled.saturating_sub(RESCAN).min(unsettled.saturating_sub(1)).min(tip.height);
        self.node.ensure_blocks_from(height.saturating_add(1))?;
        let hash = self.node.block_hash(height)?.ok_or(NodeError::UnknownBlock { hash: tip.hash })?;
        Ok(Tip { height, hash })
    }

    fn connected(&self, height: u32, hash: BlockHash) -> Result<(), ChainError> {
        if let Some(reward) = self.reward(&self.node.block(&hash)?) {
            info!(height, block = %hash, %reward, "pool block on the chain");
            let hash = ledger::BlockHash::from_bytes(hash.to_byte_array());
            self.ledger.block_connected(ChainBlock { height, hash, reward })?;
        }
        self.ledger.tip(height)?;
        Ok(())
    }

    /// What the block pays the pool; `None` for blocks of others. The chain decides, not the pool's memory, so that a
    /// block counts also when the process that found it died at once.
    fn reward(&self, block: &Block) -> Option<Msats> {
        let coinbase = block.txdata.first()?;
        let script_sig = coinbase.input.first()?.script_sig.as_bytes();
        if !self.tag.is_empty() && !script_sig.windows(self.tag.len()).any(|part| part == self.tag) {
            return None;
        }
        let sats: u64 = coinbase
            .output
            .iter()
            .filter(|output| output.script_pubkey == self.payout_script)
            .map(|output| output.value.to_sat())
            .sum();
        if sats == 0 { None } else { Msats::from_sats(sats) }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
