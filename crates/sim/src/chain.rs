//! The chain: a devchain with other miners, branches, retargets, and a node in front of it that goes away, loses answers
//! and answers late.

use crate::{chance::Chance, profile::Profile};
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid,
    Witness, absolute::LockTime, consensus, transaction,
};
use node::{
    BlockInfo, Chain, Devchain, DevchainConfig, Node, NodeError, NodeState, NodeStatus, Stop, Submitted,
    Template, TemplateId, Tip,
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Network targets that a chain moves between, from one block in 32 hashes to one in 512.
const BITS: [u32; 4] = [0x2007_ffff, 0x2003_ffff, 0x2000_ffff, 0x1f7f_ffff];
/// Blocks between two retargets.
const PERIOD: u32 = 8;
const OP_TRUE: u8 = 0x51;

/// A node that outlives the pool's process. Clones are the same node.
#[derive(Clone)]
pub struct SimNode(Arc<Inner>);

struct Inner {
    chain: Devchain,
    unix: Arc<AtomicU32>,
    link: Mutex<Link>,
}

/// What is between the pool and its node.
struct Link {
    chance: Chance,
    faults: Profile,
    down_since: Option<Instant>,
    /// Blocks that the backend keeps in the memory of the pool's process until the node is back.
    undelivered: Vec<Vec<u8>>,
    told: Vec<&'static str>,
}

impl SimNode {
    /// A new chain.
    pub fn new(chance: Chance, faults: Profile, unix: u32) -> Self {
        let mut chance = chance;
        let mut bits = || CompactTarget::from_consensus(chance.pick(&BITS));
        let first = bits();
        let retargets = (1..40).map(|period| (period * PERIOD, bits())).collect();
        let config = DevchainConfig {
            bits: first,
            retargets,
            maturity: 1,
            genesis_time: unix - 3600,
            fee_refresh: Duration::ZERO,
            ..DevchainConfig::default()
        };
        let unix = Arc::new(AtomicU32::new(unix));
        let clock = Arc::clone(&unix);
        let chain = Devchain::new(config, Arc::new(move || clock.load(Relaxed)))
            .expect("the targets are canonical and the sums small");
        let (down_since, undelivered, told) = (None, Vec::new(), Vec::new());
        let link = Mutex::new(Link { chance, faults, down_since, undelivered, told });
        Self(Arc::new(Inner { chain, unix, link }))
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.0.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chain itself, which always answers.
    pub fn chain(&self) -> &Devchain {
        &self.0.chain
    }

    /// The node's own time.
    pub fn set_time(&self, unix: u32) {
        self.0.unix.store(unix, Relaxed);
    }

    /// From now on other faults, or none.
    pub fn set_faults(&self, faults: Profile) {
        self.link().faults = faults;
    }

    /// The node goes away, or comes back.
    pub fn set_down(&self, since: Option<Instant>) {
        self.link().down_since = since;
    }

    /// Whether it is away.
    pub fn is_down(&self) -> bool {
        self.link().down_since.is_some()
    }

    /// The pool's process died, and what the backend kept in memory with it.
    pub fn process_died(&self) {
        self.link().undelivered.clear();
    }

    /// What happened since this was asked last.
    pub fn told(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.link().told)
    }

    /// Others mine so many blocks on the block `depth` below the tip.
    pub fn mine(&self, depth: u32, blocks: u32) {
        let tip = self.0.chain.tip().expect("a devchain answers");
        let from = self.0.chain.block_hash(tip.height.saturating_sub(depth)).expect("a devchain answers");
        let from = from.expect("it is on the chain");
        self.0.chain.mine_fork(&from, blocks).expect("easy blocks on a known block");
    }

    /// Somebody spends one of the coins that anybody may spend, if there is one; true if the mempool took it.
    pub fn spend(&self, fee: u64) -> bool {
        let script = ScriptBuf::from_bytes(vec![OP_TRUE]);
        let Some(coin) = self.0.chain.coins(&script).into_iter().next() else { return false };
        let input = TxIn {
            previous_output: coin.outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        };
        let value = coin.output.value.checked_sub(Amount::from_sat(fee)).unwrap_or(Amount::ZERO);
        let transaction = Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![input],
            output: vec![TxOut { value, script_pubkey: script }],
        };
        debug_assert_ne!(coin.outpoint, OutPoint::null());
        self.0.chain.broadcast(&transaction).is_ok()
    }

    /// Fails like a node that is away, or that fails now and then.
    fn ask(&self) -> Result<&Devchain, NodeError> {
        let mut link = self.link();
        let Link { chance, faults, down_since, .. } = &mut *link;
        let flaky = down_since.is_none() && chance.permille(faults.node_flaky);
        if flaky {
            link.told.push("call to the node failed");
        }
        if flaky || link.down_since.is_some() {
            return Err(NodeError::Unreachable { url: "sim".into(), reason: "simulated".into() });
        }
        Ok(&self.0.chain)
    }

    fn undelivered(&self, block: &[u8]) -> Result<Submitted, NodeError> {
        let hash = consensus::deserialize::<Block>(block).map_or_else(
            |_| BlockHash::from_raw_hash(bitcoin::hashes::Hash::all_zeros()),
            |block| block.block_hash(),
        );
        self.link().undelivered.push(block.to_vec());
        Err(NodeError::Undelivered { hash, tries: 1, reason: "simulated".into() })
    }
}

impl Node for SimNode {
    fn chain(&self) -> Chain {
        Chain::Devchain
    }

    fn next_template(
        &self,
        known: Option<&TemplateId>,
        stop: &Stop,
        _: Option<Instant>,
    ) -> Result<Template, NodeError> {
        let chain = match self.ask() {
            Ok(chain) => chain,
            // The wait for the first template ends as if the process was told to stop.
            Err(_) if known.is_none() => return Err(NodeError::Stopped),
            Err(error) => return Err(error),
        };
        // As promised: what could not be handed in is, beside the templates.
        let undelivered = std::mem::take(&mut self.link().undelivered);
        for block in undelivered {
            chain.submit_block(&block)?;
        }
        chain.next_template(known, stop, Some(Instant::now()))
    }

    fn submit_block(&self, block: &[u8]) -> Result<Submitted, NodeError> {
        if self.is_down() {
            self.link().told.push("block while the node is away");
            return self.undelivered(block);
        }
        let fault = {
            let mut link = self.link();
            let Link { chance, faults, .. } = &mut *link;
            if chance.permille(faults.submit_faults) { chance.between(1, 3) } else { 0 }
        };
        match fault {
            1 => {
                self.link().told.push("block lost on its way");
                self.undelivered(block)
            }
            2 => {
                self.link().told.push("answer to a block lost");
                self.0.chain.submit_block(block)?;
                self.undelivered(block)
            }
            3 => {
                self.link().told.push("block delivered twice");
                self.0.chain.submit_block(block)?;
                self.0.chain.submit_block(block)
            }
            _ => self.0.chain.submit_block(block),
        }
    }

    fn tip(&self) -> Result<Tip, NodeError> {
        self.ask()?.tip()
    }

    fn wait_tip(&self, _: &BlockHash, _: &Stop, _: Instant) -> Result<Tip, NodeError> {
        self.ask()?.tip()
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError> {
        self.ask()?.block_hash(height)
    }

    fn block_info(&self, hash: &BlockHash) -> Result<Option<BlockInfo>, NodeError> {
        self.ask()?.block_info(hash)
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError> {
        self.ask()?.block(hash)
    }

    fn broadcast(&self, transaction: &Transaction) -> Result<Txid, NodeError> {
        self.ask()?.broadcast(transaction)
    }

    fn status(&self) -> NodeStatus {
        let mut status = self.0.chain.status();
        if let Some(since) = self.link().down_since {
            let error = NodeError::Unreachable { url: "sim".into(), reason: "simulated".into() };
            status.state = NodeState::Down { since, error };
        }
        status
    }
}
