//! The thread that follows the chain and tells the ledger which of the pool's blocks are on it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash, ScriptBuf};
use ledger::{ChainBlock, LedgerError, LedgerHandle, Msats};
use node::{ChainEvent, Node, NodeError, Stop, Tip, Watch, WatchError};
use thiserror::Error;
use tracing::{error, info};

/// Deepest reorganisation that is followed. Maturity is 100 blocks, so a deeper one touches settled money and needs a
/// person.
const LOOK_BACK: u32 = 200;

/// Blocks below the last handled one that are looked at again after a start.
const RESCAN: u32 = 12;

/// Pause after an event that could not be booked, before it is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
enum ChainError {
    #[error("the node cannot tell the chain")]
    Node(#[from] NodeError),
    #[error("the chain cannot be followed")]
    Watch(#[from] WatchError),
    #[error("the ledger did not take a block")]
    Ledger(#[from] LedgerError),
}

/// Follows the best chain from the last block that the ledger handled.
pub(crate) struct ChainFollower {
    node: Arc<dyn Node>,
    ledger: LedgerHandle,
    payout_script: ScriptBuf,
    tag: Vec<u8>,
    stop: Stop,
}

impl ChainFollower {
    pub(crate) fn start(
        node: Arc<dyn Node>,
        ledger: LedgerHandle,
        payout_script: ScriptBuf,
        tag: Vec<u8>,
        stop: Stop,
    ) -> std::io::Result<JoinHandle<()>> {
        let follower = Self { node, ledger, payout_script, tag, stop };
        std::thread::Builder::new().name("chain".to_owned()).spawn(move || follower.run())
    }

    fn run(&self) {
        while !self.stop.is_stopped() {
            // The ledger knows what it handled, so a fresh start after an error repeats nothing.
            if let Err(error) = self.follow() {
                error!(error = %chain_of(&error), "chain events stopped; trying again");
                self.stop.wait(RETRY_PAUSE);
            }
        }
    }

    fn follow(&self) -> Result<(), ChainError> {
        self.check_unsettled()?;
        let start = self.starting_point()?;
        let mut watch = Watch::from(Arc::clone(&self.node), start, LOOK_BACK);
        self.ledger.tip(start.height)?;
        while let Some(event) = watch.next(&self.stop, None)? {
            match event {
                ChainEvent::Connected { height, hash } => self.connected(height, hash)?,
                ChainEvent::Disconnected { height, hash } => {
                    info!(height, block = %hash, "block left the chain");
                    self.ledger.block_disconnected(ledger::BlockHash::from_bytes(hash.to_byte_array()))?;
                    self.ledger.tip(height.saturating_sub(1))?;
                }
            }
        }
        Ok(())
    }

    /// Blocks that the ledger has on the chain, but the node no longer, left while nobody looked.
    fn check_unsettled(&self) -> Result<(), ChainError> {
        let mut blocks = self.ledger.unsettled_blocks()?;
        blocks.sort_by_key(|block| std::cmp::Reverse(block.height));
        for block in blocks {
            let info = self.node.block_info(&BlockHash::from_byte_array(block.hash.to_bytes()))?;
            if info.is_none_or(|info| info.confirmations.is_none()) {
                self.ledger.block_disconnected(block.hash)?;
            }
        }
        Ok(())
    }

    /// A block that the ledger surely handled. Events are idempotent, so a few blocks are looked at twice rather than
    /// one missed because a branch changed while the pool was down.
    fn starting_point(&self) -> Result<Tip, ChainError> {
        let tip = self.node.tip()?;
        let Some(handled) = self.ledger.summary().tip else { return Ok(tip) };
        let height = handled.min(tip.height).saturating_sub(RESCAN);
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

fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
