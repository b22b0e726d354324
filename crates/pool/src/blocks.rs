//! The thread that brings found blocks to the node, before anything else is done with the share.

mod kept;

use std::sync::Arc;
use std::thread::JoinHandle;

use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash, block::Header, consensus};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use ledger::{FoundBlock, LedgerHandle, Msats};
use node::{Node, Submitted};
use tracing::{error, info, warn};

use crate::stats::{BlockReport, PoolStats};
use crate::update::Basis;
pub(crate) use kept::DirShelf;
pub use kept::Shelf;

/// Blocks that may wait for the node. One takes milliseconds; more than a few mean that the node is gone.
const QUEUE_LEN: usize = 1024;

/// A header that met the network target, with all that its block needs.
pub(crate) struct Solution {
    pub basis: Arc<Basis>,
    pub header: [u8; 80],
    pub full_extranonce: Vec<u8>,
}

/// Where shards put solutions. Never blocks a shard.
#[derive(Clone)]
pub(crate) struct SolutionSender(Sender<Solution>);

impl SolutionSender {
    pub(crate) fn send(&self, solution: Solution) {
        match self.0.try_send(solution) {
            Ok(()) => {}
            Err(TrySendError::Full(lost)) => {
                error!(block = %block_hash(&lost.header), "block lost: {QUEUE_LEN} blocks wait for the node already");
            }
            Err(TrySendError::Disconnected(lost)) => {
                error!(block = %block_hash(&lost.header), "block lost: the pool is stopping");
            }
        }
    }
}

/// Submits solutions until every [`SolutionSender`] is gone.
pub(crate) struct BlockSubmitter {
    node: Arc<dyn Node>,
    ledger: LedgerHandle,
    stats: PoolStats,
    /// Where blocks are kept until the node has judged them.
    shelf: Box<dyn Shelf>,
    solutions: Receiver<Solution>,
}

impl BlockSubmitter {
    pub(crate) fn new(
        node: Arc<dyn Node>,
        ledger: LedgerHandle,
        stats: PoolStats,
        shelf: Box<dyn Shelf>,
    ) -> (Self, SolutionSender) {
        let (sender, solutions) = bounded(QUEUE_LEN);
        (Self { node, ledger, stats, shelf, solutions }, SolutionSender(sender))
    }

    pub(crate) fn start(self) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("blocks".to_owned()).spawn(move || {
            self.deliver_kept();
            for solution in &self.solutions {
                self.submit(&solution);
            }
        })
    }

    /// Submits one solution if one waits.
    #[cfg(feature = "simulation")]
    pub(crate) fn step(&self) -> bool {
        self.solutions.try_recv().is_ok_and(|solution| {
            self.submit(&solution);
            true
        })
    }

    /// Solutions that wait.
    #[cfg(feature = "simulation")]
    pub(crate) fn waiting(&self) -> usize {
        self.solutions.len()
    }

    fn submit(&self, solution: &Solution) {
        self.stats.block_found();
        let Basis { template, coinbase } = &*solution.basis;
        let hash = block_hash(&solution.header);
        let height = template.height;
        let block = match template.assemble(coinbase, &solution.header, &solution.full_extranonce) {
            Ok(block) => block,
            Err(error) => {
                error!(height, block = %hash, %error, "block lost: it cannot be assembled");
                self.report("failed", height, hash, format!("failed: {error}"));
                return;
            }
        };
        let answer = std::thread::scope(|scope| {
            // The block leaves at once; that it is on disk matters only if the node is away.
            scope.spawn(|| self.keep(&hash, &block));
            self.node.submit_block(&block)
        });
        let (label, text) = match answer {
            Ok(Submitted::Accepted) => {
                info!(height, block = %hash, "block found and accepted by the node");
                ("accepted", "accepted".to_owned())
            }
            Ok(Submitted::Duplicate) => ("duplicate", "duplicate".to_owned()),
            Ok(Submitted::Inconclusive) => {
                info!(height, block = %hash, "block found; the node follows another block of this height");
                ("inconclusive", "inconclusive".to_owned())
            }
            Ok(Submitted::Rejected(reason)) => {
                error!(height, block = %hash, reason, "block refused by the node");
                self.forget(&hash);
                return self.report("rejected", height, hash, format!("rejected: {reason}"));
            }
            Err(error) => {
                error!(height, block = %hash, %error, "block not delivered to the node; it is kept and tried again");
                // The epoch that is open now is to count when the node gets it.
                self.book(solution, hash);
                return self.report("failed", height, hash, format!("failed: {error}"));
            }
        };
        self.forget(&hash);
        self.book(solution, hash);
        self.report(label, height, hash, text);
    }

    /// Hands in what a process before this one could not.
    pub(crate) fn deliver_kept(&self) {
        let blocks = self.shelf.all().unwrap_or_else(|error| {
            warn!(%error, "kept blocks cannot be read");
            Vec::new()
        });
        for (hash, block) in blocks {
            if consensus::deserialize::<Block>(&block).is_ok_and(|block| block.block_hash() == hash) {
                self.deliver_late(&hash, &block);
                continue;
            }
            error!(block = %hash, "the kept block's file is damaged; it is set aside, with the ending .damaged");
            if let Err(error) = self.shelf.set_aside(&hash) {
                warn!(block = %hash, %error, "damaged block not set aside");
            }
        }
    }

    fn deliver_late(&self, hash: &BlockHash, block: &[u8]) {
        match self.node.submit_block(block) {
            Ok(Submitted::Rejected(reason)) => {
                error!(block = %hash, reason, "block of an earlier run refused by the node");
                self.forget(hash);
            }
            Ok(outcome) => {
                info!(block = %hash, %outcome, "block of an earlier run handed in");
                self.forget(hash);
            }
            Err(error) => error!(block = %hash, %error, "block of an earlier run not delivered; it is kept"),
        }
    }

    fn keep(&self, hash: &BlockHash, block: &[u8]) {
        if let Err(error) = self.shelf.keep(hash, block) {
            warn!(block = %hash, %error, "found block not written to disk; it is in memory only");
        }
    }

    fn forget(&self, hash: &BlockHash) {
        if let Err(error) = self.shelf.forget(hash) {
            warn!(block = %hash, %error, "delivered block not removed from disk");
        }
    }

    /// Fixes in the journal which epoch was open when the block was found. It earns nothing before the chain connects
    /// it; should this fail, the epoch open at that moment is used.
    fn book(&self, solution: &Solution, hash: BlockHash) {
        let template = &solution.basis.template;
        let Some(reward) = Msats::from_sats(template.coinbase_value.to_sat()) else { return };
        let found = FoundBlock {
            hash: ledger::BlockHash::from_bytes(hash.to_byte_array()),
            prev_hash: ledger::BlockHash::from_bytes(template.prev_hash.to_byte_array()),
            height: template.height,
            reward,
        };
        self.ledger.block_found(found, move |result| {
            if let Err(error) = result {
                warn!(block = %hash, %error, "found block not journalled; it is booked when the chain shows it");
            }
        });
    }

    fn report(&self, label: &str, height: u32, hash: BlockHash, outcome: String) {
        self.stats.block_submitted(label, BlockReport { height, hash: hash.to_string(), outcome });
    }
}

fn block_hash(header: &[u8; 80]) -> BlockHash {
    consensus::deserialize::<Header>(header).map_or(BlockHash::all_zeros(), |header| header.block_hash())
}
