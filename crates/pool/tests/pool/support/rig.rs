//! The pool under test with all it stands on. When it is dropped, the ledger is replayed and must be clean.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use assay_pool::{ChannelLimits, Parts, Pool, PoolConfig};
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{Keypair, SECP256K1};
use bitcoin::{
    Amount, Block, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
    absolute::LockTime, transaction,
};
use engine::EngineConfig;
use ledger::{BlockStatus, Epoch, Ledger, LedgerHandle, Params};
use node::devchain::{Devchain, DevchainConfig, system_clock};
use node::{
    BlockInfo, Chain, Node, NodeError, NodeState, NodeStatus, Stop, Submitted, Template, TemplateId, Tip,
};
use rand::rngs::OsRng;
use sv2::noise::{AuthorityKey, AuthoritySecret, Identity, Validity};
use sv2::setup::MiningSetupFlags;
use tempfile::TempDir;
use work::{Ehash, PayoutKey, ServerId, Target};

use super::{Miner, Wire, eventually};

/// Expected hashes of a block: a few milliseconds of one core.
pub const BLOCK_HASHES: u128 = 1 << 12;

/// Expected hashes of the easiest share: eight rungs above a block.
pub const SHARE_HASHES: u64 = 1 << 4;

/// Wished shares a minute so high that vardiff leaves a channel that sends quickly where it is.
const NEVER_TOO_MANY: u32 = 10_000_000;

/// How the pool under test is to be. [`Default`] is one shard and no vardiff.
#[derive(Clone)]
pub struct Plan {
    pub shards: u16,
    pub shares_per_minute: u32,
    pub default_payout_key: Option<PayoutKey>,
    pub limits: ChannelLimits,
    pub params: Params,
    pub node_patience: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            shards: 1,
            shares_per_minute: NEVER_TOO_MANY,
            default_payout_key: None,
            limits: ChannelLimits::default(),
            params: Params { q: 3, window: 4, fee_ppm: 10_000, maturity: 2, redeem_blocks: 0 },
            node_patience: Duration::from_secs(3600),
        }
    }
}

/// The devchain, with a switch that has it report that the node is down, and one that keeps its blocks from it.
struct TestNode {
    chain: Devchain,
    down: Arc<AtomicBool>,
    /// Since when it says that it is.
    since: Instant,
    pruned: Arc<AtomicBool>,
}

pub struct Rig {
    pub chain: Devchain,
    pub node_down: Arc<AtomicBool>,
    pub blocks_pruned: Arc<AtomicBool>,
    pub ledger: LedgerHandle,
    plan: Plan,
    pool: Option<Pool>,
    books: Option<Ledger>,
    identity: Arc<Identity>,
    dir: TempDir,
}

/// A fresh payout key.
pub fn key() -> PayoutKey {
    PayoutKey::from(Keypair::new(SECP256K1, &mut OsRng).x_only_public_key().0)
}

/// Pays anybody; the blocks and coins of others.
pub fn stranger() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

/// Receives the pool's rewards.
pub fn payout_script() -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x00, 0x14][..], &[7; 20]].concat())
}

/// In every coinbase of the pool.
pub const TAG: &[u8] = b"assay test";

impl Rig {
    pub fn start() -> Self {
        Self::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = Plan::default();
        change(&mut plan);
        let target = Target::for_expected_hashes(BLOCK_HASHES);
        let chain = Devchain::new(
            DevchainConfig {
                bits: bitcoin::Target::from_le_bytes(target.to_le_bytes()).to_compact_lossy(),
                maturity: 1,
                fee_refresh: Duration::ZERO,
                ..DevchainConfig::default()
            },
            system_clock(),
        )
        .unwrap();
        // Coins of others, for transactions, and heights that take more than one byte of script.
        for _ in 0..24 {
            chain.mine_block(stranger()).unwrap();
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let authority = AuthoritySecret::generate(&mut OsRng);
        let identity = Arc::new(Identity::new(authority, Validity::default(), now, &mut OsRng));
        let dir = tempfile::tempdir().unwrap();
        let (books, ledger) = Ledger::open(dir.path().join("ledger.db"), plan.params).unwrap();
        let node_down = Arc::new(AtomicBool::new(false));
        let blocks_pruned = Arc::new(AtomicBool::new(false));
        let mut rig = Self {
            chain,
            node_down,
            blocks_pruned,
            ledger,
            plan,
            pool: None,
            books: Some(books),
            identity,
            dir,
        };
        rig.start_pool();
        rig
    }

    fn start_pool(&mut self) {
        let mut engine = EngineConfig::new(([127, 0, 0, 1], 0).into(), Arc::clone(&self.identity));
        engine.shards = self.plan.shards;
        let config = PoolConfig {
            server_id: ServerId::new(7),
            payout_script: payout_script(),
            tag: TAG.to_vec(),
            default_payout_key: self.plan.default_payout_key,
            shares_per_minute: self.plan.shares_per_minute,
            min_share_hashes: SHARE_HASHES,
            limits: self.plan.limits,
            block_dir: None,
            node_patience: self.plan.node_patience,
        };
        let (down, pruned) = (Arc::clone(&self.node_down), Arc::clone(&self.blocks_pruned));
        let node = TestNode { chain: self.chain.clone(), down, since: Instant::now(), pruned };
        let node: Arc<dyn Node> = Arc::new(node);
        let parts = Parts { node, ledger: self.ledger.clone(), stop: Stop::new() };
        self.pool = Some(Pool::start(config, engine, parts).unwrap());
    }

    pub fn pool(&self) -> &Pool {
        self.pool.as_ref().expect("the pool runs")
    }

    /// Stops the pool in good order; chain and ledger stay.
    pub fn stop_pool(&mut self) {
        self.pool.take().expect("the pool runs").stop();
    }

    /// Stops pool and ledger and starts them on the same files.
    pub fn restart(&mut self) {
        if self.pool.is_some() {
            self.stop_pool();
        }
        self.books.take().expect("the ledger is open").close().unwrap();
        let (books, ledger) = Ledger::open(self.ledger_path(), self.plan.params).unwrap();
        (self.books, self.ledger) = (Some(books), ledger);
        self.start_pool();
    }

    pub fn ledger_path(&self) -> std::path::PathBuf {
        self.dir.path().join("ledger.db")
    }

    pub fn address(&self) -> SocketAddr {
        self.pool().local_addr()
    }

    pub fn authority(&self) -> AuthorityKey {
        self.identity.authority()
    }

    /// A connection on which only the Noise handshake is done.
    pub fn wire(&self) -> Wire {
        Wire::connect(self.address(), self.authority())
    }

    /// A miner whose connection is set up.
    pub fn miner(&self) -> Miner {
        self.miner_with(MiningSetupFlags::NONE)
    }

    /// A miner that cannot process extended jobs.
    pub fn simple_miner(&self) -> Miner {
        self.miner_with(MiningSetupFlags::REQUIRES_STANDARD_JOBS)
    }

    pub fn miner_with(&self, flags: MiningSetupFlags) -> Miner {
        Miner::set_up(self.wire(), flags)
    }

    /// A block by somebody else.
    pub fn foreign_block(&self) -> Tip {
        self.chain.mine_block(stranger()).unwrap()
    }

    /// A transaction for the mempool, so that there is a better template. Its fee is worth a job.
    pub fn new_transaction(&self) {
        let coin = self.chain.coins(&stranger()).into_iter().next().expect("a coin of others");
        let value = coin.output.value - Amount::from_sat(10_000);
        self.chain.broadcast(&spend(coin.outpoint, value)).unwrap();
    }

    /// What is durable in the ledger for a key, over all epochs.
    pub fn credit(&self, key: &PayoutKey) -> u64 {
        let credits = self.ledger.reader().unwrap().credits_of(key, Epoch::ZERO, u32::MAX).unwrap();
        credits.into_iter().map(|(_, credit)| credit).sum::<Ehash>().get()
    }

    /// How the ledger's block of this hash stands.
    pub fn block_status(&self, hash: &BlockHash) -> Option<BlockStatus> {
        let hash = ledger::BlockHash::from_bytes(hash.to_byte_array());
        let blocks = self.ledger.reader().unwrap().blocks(None, u32::MAX).unwrap();
        blocks.into_iter().find(|block| block.hash == hash).map(|block| block.status)
    }

    /// Waits until the pool works on a block of this height.
    pub fn wait_for_work_on(&self, height: u32) {
        eventually("work on the new height", || self.pool().stats().totals().working_height == height);
    }
}

fn spend(outpoint: OutPoint, value: Amount) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut { value, script_pubkey: stranger() }],
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.stop();
        }
        if let Some(books) = self.books.take() {
            let closed = books.close();
            if !std::thread::panicking() {
                closed.unwrap();
                let report = ledger::verify(self.ledger_path()).unwrap();
                assert!(report.is_clean(), "{report}");
            }
        }
    }
}

impl Node for TestNode {
    fn chain(&self) -> Chain {
        self.chain.chain()
    }

    fn next_template(
        &self,
        known: Option<&TemplateId>,
        stop: &Stop,
        deadline: Option<Instant>,
    ) -> Result<Template, NodeError> {
        self.chain.next_template(known, stop, deadline)
    }

    fn submit_block(&self, block: &[u8]) -> Result<Submitted, NodeError> {
        self.chain.submit_block(block)
    }

    fn tip(&self) -> Result<Tip, NodeError> {
        self.chain.tip()
    }

    fn wait_tip(&self, known: &BlockHash, stop: &Stop, deadline: Instant) -> Result<Tip, NodeError> {
        self.chain.wait_tip(known, stop, deadline)
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError> {
        self.chain.block_hash(height)
    }

    fn block_info(&self, hash: &BlockHash) -> Result<Option<BlockInfo>, NodeError> {
        self.chain.block_info(hash)
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError> {
        if self.pruned.load(Ordering::Relaxed) {
            return Err(NodeError::Pruned { what: format!("block {hash}") });
        }
        self.chain.block(hash)
    }

    fn ensure_blocks_from(&self, height: u32) -> Result<(), NodeError> {
        self.chain.ensure_blocks_from(height)
    }

    fn broadcast(&self, transaction: &Transaction) -> Result<Txid, NodeError> {
        self.chain.broadcast(transaction)
    }

    fn status(&self) -> NodeStatus {
        let mut status = self.chain.status();
        if self.down.load(Ordering::Relaxed) {
            status.state = NodeState::Down { since: self.since, error: NodeError::Deadline };
        }
        status
    }
}
