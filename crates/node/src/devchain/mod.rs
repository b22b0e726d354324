//! A Bitcoin chain inside this process, for the demo and for fast tests.
//!
//! Blocks are real: headers with proof of work against the chain's own compact target (which changes at set heights
//! only), merkle root, height in the coinbase (BIP 34), witness commitment, coinbase maturity, median time, weight and
//! signature operation limits. A small mempool feeds the templates. Branches can be mined and blocks be declared invalid, so that
//! tests can orphan a block. The clock is passed in.
//!
//! Scripts are *not* interpreted: coins can be spent that pay to OP_TRUE, bare or as P2WSH, to a P2WPKH key or to the
//! key path of a P2TR output, with signatures checked. A block that spends any other script is refused, and so is an
//! input with a relative lock time: devchain takes less than a real chain would, never more.

mod chain;
mod checks;
mod mempool;
mod scripts;

use {
    crate::{
        BlockInfo, BlockReserve, Chain, Node, NodeError, NodeState, NodeStatus, Stop, Submitted, Template,
        TemplateId, Tip, backend::StatusBoard, stop::has_passed, stop::slice_until,
    },
    bitcoin::{
        Amount, Block, BlockHash, CompactTarget, OutPoint, Script, ScriptBuf, Target, Transaction, TxOut,
        Txid, block::Header, consensus,
    },
    chain::State,
    std::{
        sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
        time::{Duration, Instant, SystemTime, UNIX_EPOCH},
    },
};

/// Gives Unix seconds.
pub type Clock = Arc<dyn Fn() -> u32 + Send + Sync>;

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
    })
}

/// How fast a raised stop flag is seen.
const SLICE: Duration = Duration::from_millis(50);
/// Bytes of extranonce in blocks that the chain mines by itself.
const EXTRANONCE_LEN: usize = 8;

/// The rules of a devchain.
#[derive(Clone, Debug)]
pub struct DevchainConfig {
    /// Network target of every block, compact, before the first of `retargets`.
    pub bits: CompactTarget,
    /// Heights from which on another network target holds, rising.
    pub retargets: Vec<(u32, CompactTarget)>,
    /// Subsidy of every block; there are no halvings.
    pub subsidy: Amount,
    /// Blocks from a coinbase to the first that may spend it.
    pub maturity: u32,
    /// Time of the first block, Unix seconds. Must not lie in the future.
    pub genesis_time: u32,
    /// What templates leave free for the coinbase.
    pub reserve: BlockReserve,
    /// How long a wait for a template lets transactions gather.
    pub fee_refresh: Duration,
    /// Most blocks kept, those of side branches included.
    pub max_blocks: usize,
    /// Most bytes of transactions in the mempool.
    pub max_mempool_bytes: usize,
}

impl Default for DevchainConfig {
    /// Every second hash is a block; 50 bitcoin each, spendable after 100 blocks.
    fn default() -> Self {
        Self {
            bits: CompactTarget::from_consensus(0x207f_ffff),
            retargets: Vec::new(),
            subsidy: Amount::from_int_btc(50),
            maturity: 100,
            genesis_time: 1_704_067_200,
            // As Bitcoin Core's default: room for a few payout outputs.
            reserve: BlockReserve { weight: 8_000, sigops: 400 },
            fee_refresh: Duration::from_secs(5),
            max_blocks: 50_000,
            max_mempool_bytes: 10_000_000,
        }
    }
}

impl DevchainConfig {
    /// The network target of a block at this height.
    fn bits_at(&self, height: u32) -> CompactTarget {
        let reached = self.retargets.iter().take_while(|(from, _)| *from <= height);
        reached.last().map_or(self.bits, |(_, bits)| *bits)
    }
}

/// An output of the best chain that nobody has spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// What it is.
    pub output: TxOut,
    /// Height of its block.
    pub height: u32,
    /// Whether it has to mature.
    pub coinbase: bool,
}

/// A handle to a chain inside this process; clones share the chain.
#[derive(Clone)]
pub struct Devchain(Arc<Inner>);

struct Inner {
    clock: Clock,
    fee_refresh: Duration,
    state: Mutex<State>,
    /// Tip or mempool changed.
    changed: Condvar,
    status: StatusBoard,
}

impl Devchain {
    /// A chain that has its first block only.
    ///
    /// # Errors
    /// [`NodeError::Config`] for rules that no block can meet.
    pub fn new(config: DevchainConfig, clock: Clock) -> Result<Self, NodeError> {
        for bits in config.retargets.iter().map(|(_, bits)| *bits).chain([config.bits]) {
            let target = Target::from_compact(bits);
            if target == Target::ZERO || target.to_compact_lossy() != bits {
                let bits = bits.to_consensus();
                return Err(NodeError::Config(format!("`bits` 0x{bits:08x} is no canonical compact target")));
            }
        }
        let all = config.subsidy.checked_mul(config.max_blocks as u64);
        if all.is_none_or(|all| all > Amount::MAX_MONEY) {
            let text = "`max_blocks` with this `subsidy` would make more than 21 million bitcoin";
            return Err(NodeError::Config(text.into()));
        }
        let status = StatusBoard::new("devchain", Chain::Devchain, NodeState::Ready);
        let fee_refresh = config.fee_refresh;
        let state = State::new(config);
        status.saw_tip(state.tip());
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Ok(Self(Arc::new(Inner { clock, fee_refresh, state, changed, status })))
    }

    /// Mines a block with the mempool's transactions that pays to `script`.
    ///
    /// # Errors
    /// [`NodeError::Refused`] if another block came first and this one is not the tip.
    pub fn mine_block(&self, script: ScriptBuf) -> Result<Tip, NodeError> {
        let template = self.state().template(None, (self.0.clock)())?;
        match self.mine(&template, script)? {
            (tip, Submitted::Accepted) => Ok(tip),
            (_, other) => Err(refused(other.to_string())),
        }
    }

    /// Mines empty blocks on `from`, which need not be the tip. They become the best chain when they have more work.
    pub fn mine_fork(&self, from: &BlockHash, blocks: u32) -> Result<Vec<Tip>, NodeError> {
        let mut tips = Vec::new();
        let mut parent = *from;
        for _ in 0..blocks {
            let template = self.state().template(Some(&parent), (self.0.clock)())?;
            let (tip, _) = self.mine(&template, ScriptBuf::from_bytes(vec![scripts::OP_TRUE]))?;
            parent = tip.hash;
            tips.push(tip);
        }
        Ok(tips)
    }

    /// Declares a block and all that build on it invalid, as bitcoind's `invalidateblock`.
    pub fn invalidate(&self, hash: &BlockHash) -> Result<(), NodeError> {
        let result = self.state().invalidate(hash);
        self.announce();
        result
    }

    /// Takes an [`invalidate`](Self::invalidate) back.
    pub fn reconsider(&self, hash: &BlockHash) -> Result<(), NodeError> {
        let result = self.state().reconsider(hash);
        self.announce();
        result
    }

    /// Outputs to `script` that neither the best chain nor the mempool spends, oldest first.
    pub fn coins(&self, script: &Script) -> Vec<Coin> {
        self.state().coins_of(script)
    }

    /// The transactions that wait for a block, in the order they came.
    pub fn mempool(&self) -> Vec<Txid> {
        self.state().mempool.txids().collect()
    }

    fn mine(&self, template: &Template, script: ScriptBuf) -> Result<(Tip, Submitted), NodeError> {
        // Another number for each block, or branches of the same height would be the same blocks.
        let extranonce: [u8; EXTRANONCE_LEN] = self.state().next_extranonce().to_be_bytes();
        let parts = template
            .coinbase(EXTRANONCE_LEN, b"devchain", &template.pay_all(script))
            .map_err(|error| refused(error.to_string()))?;
        let root = template.merkle_root(parts.txid(&extranonce));
        let unsolved = template.header(template.version, root, template.cur_time, 0);
        let mut header: Header = consensus::deserialize(&unsolved).expect("80 bytes are a header");
        if !solve(&mut header) {
            return Err(refused("no nonce meets the target".into()));
        }
        let solved = template.header(template.version, root, template.cur_time, header.nonce);
        let block =
            template.assemble(&parts, &solved, &extranonce).map_err(|error| refused(error.to_string()))?;
        match self.submit_block(&block)? {
            submitted @ (Submitted::Accepted | Submitted::Inconclusive) => {
                Ok((Tip { height: template.height, hash: header.block_hash() }, submitted))
            }
            other => Err(refused(other.to_string())),
        }
    }

    /// Tells everybody who waits.
    fn announce(&self) {
        self.0.status.saw_tip(self.state().tip());
        self.0.changed.notify_all();
    }

    // A panic inside would have to be in a check, before anything is changed; tests should go on and show it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `ready` to give something; none when stopped or at the deadline.
    fn wait_for<T>(
        &self,
        stop: &Stop,
        deadline: Option<Instant>,
        mut ready: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut state = self.state();
        loop {
            if stop.is_stopped() {
                return None;
            }
            if let Some(result) = ready(&mut state) {
                return Some(result);
            }
            if has_passed(deadline) {
                return None;
            }
            let waited = self.0.changed.wait_timeout(state, slice_until(deadline, SLICE));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn refused(reason: String) -> NodeError {
    NodeError::Refused { reason, remedy: "mine on the new tip" }
}

/// Tries nonces from the header's own on until its hash meets its own target. False when none does.
pub fn solve(header: &mut Header) -> bool {
    let target = header.target();
    while !target.is_met_by(header.block_hash()) {
        let Some(next) = header.nonce.checked_add(1) else { return false };
        header.nonce = next;
    }
    true
}

impl Node for Devchain {
    fn chain(&self) -> Chain {
        Chain::Devchain
    }

    fn next_template(
        &self,
        known: Option<&TemplateId>,
        stop: &Stop,
        deadline: Option<Instant>,
    ) -> Result<Template, NodeError> {
        let started = Instant::now();
        let template = self.wait_for(stop, deadline, |state| {
            let old = known.is_none_or(|known| {
                let fees_may = started.elapsed() >= self.0.fee_refresh;
                !state.is_tip_of(known) || (fees_may && state.template_id() != *known)
            });
            old.then(|| state.template(None, (self.0.clock)()))
        });
        match template {
            Some(template) => {
                let template = template?;
                self.0.status.saw_template(&template);
                Ok(template)
            }
            None if stop.is_stopped() => Err(NodeError::Stopped),
            None => Err(NodeError::Deadline),
        }
    }

    fn submit_block(&self, block: &[u8]) -> Result<Submitted, NodeError> {
        let Ok(block) = consensus::deserialize::<Block>(block) else {
            return Ok(Submitted::Rejected("Block decode failed".into()));
        };
        let submitted = self.state().accept(block, (self.0.clock)());
        self.announce();
        submitted
    }

    fn tip(&self) -> Result<Tip, NodeError> {
        Ok(self.state().tip())
    }

    fn wait_tip(&self, known: &BlockHash, stop: &Stop, deadline: Instant) -> Result<Tip, NodeError> {
        let other = |state: &mut State| Some(state.tip()).filter(|tip| tip.hash != *known);
        let changed = self.wait_for(stop, Some(deadline), other);
        Ok(changed.unwrap_or_else(|| self.state().tip()))
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError> {
        Ok(self.state().hash_at(height))
    }

    fn block_info(&self, hash: &BlockHash) -> Result<Option<BlockInfo>, NodeError> {
        Ok(self.state().info(hash))
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError> {
        self.state().block(hash).ok_or(NodeError::UnknownBlock { hash: *hash })
    }

    fn broadcast(&self, transaction: &Transaction) -> Result<Txid, NodeError> {
        let txid = transaction.compute_txid();
        let taken = self.state().broadcast(transaction);
        self.0.changed.notify_all();
        taken.map_err(|reason| NodeError::TransactionRefused { txid, reason: reason.into() })?;
        Ok(txid)
    }

    fn status(&self) -> NodeStatus {
        self.0.status.read()
    }
}
