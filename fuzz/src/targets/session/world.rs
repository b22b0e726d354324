//! Everything around the pool: a node that says what the play tells it to, a ledger's disk that can fail, and the
//! pool itself without threads and sockets.

use super::super::journal::key;
use bitcoin::{Block, BlockHash, ScriptBuf, Transaction, Txid};
use engine::EngineConfig;
use engine::simulation::Moment;
use ledger::journal::{Decoder, Head, Row};
use ledger::simulation::VirtualLedger;
use ledger::store::{Group, Recovered, Store, StoreError};
use ledger::{Event, Options, Params, Tables};
use node::rpc::read_template;
use node::{
    BlockInfo, Chain, Node, NodeError, NodeState, NodeStatus, Stop, Submitted, Template, TemplateId, Tip,
};
use pool::simulation::{Shelf, VirtualPool};
use pool::{ChannelLimits, Parts, PoolConfig};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use sv2::noise::{AuthoritySecret, Identity, Validity};
use work::{PayoutKey, ServerId};

/// When a play begins, in Unix seconds.
pub const START: u32 = 1_790_000_000;
/// Shares that a channel may have on one tip.
pub const SHARES_PER_TIP: usize = 40;
/// Channels that one connection may have.
pub const CHANNELS_PER_CONNECTION: u16 = 4;

static IDENTITY: LazyLock<Arc<Identity>> = LazyLock::new(|| {
    let authority = AuthoritySecret::from_bytes(&[7; 32]).expect("a number below the curve's order");
    let mut rng = StdRng::seed_from_u64(1);
    Arc::new(Identity::new(authority, Validity::default(), START.into(), &mut rng))
});

/// The pool and what it works with.
pub struct World {
    pub pool: VirtualPool,
    pub ledger: VirtualLedger<Disk>,
    pub disk: Disk,
    pub node: Arc<PlayedNode>,
    pub at: Moment,
}

impl World {
    pub fn new(default_key: bool) -> Self {
        let at = Moment { instant: Instant::now(), unix: START };
        let disk = Disk::default();
        let params = Params { q: 3, window: 2, fee_ppm: 0, maturity: 3, redeem_blocks: 0 };
        let options = Options { tick: Duration::ZERO, ..Options::default() };
        let (ledger, handle) =
            VirtualLedger::open(disk.clone(), params, options, at.instant).expect("an empty store");
        let node = Arc::new(PlayedNode::default());
        let mut engine = EngineConfig::new(([127, 0, 0, 1], 0).into(), Arc::clone(&IDENTITY));
        engine.shards = 1;
        engine.limits.backlog = 1 << 18;
        engine.limits.send_buffer = Some(1 << 14);
        let config = PoolConfig {
            server_id: ServerId::new(1),
            payout_script: ScriptBuf::from_bytes(vec![0x51]),
            tag: b"fuzz".to_vec(),
            default_payout_key: default_key.then(|| key(9)),
            shares_per_minute: 12,
            min_share_hashes: 1,
            node_patience: Duration::from_secs(60),
            block_dir: None,
            limits: ChannelLimits {
                channels_per_connection: CHANNELS_PER_CONNECTION,
                channels: 6,
                shares_per_tip: SHARES_PER_TIP,
                invalid_shares_per_minute: 12,
                ..ChannelLimits::default()
            },
        };
        let parts = Parts { node: node.clone(), ledger: handle, stop: Stop::new() };
        let pool = VirtualPool::start(config, &engine, parts, Box::new(NoShelf), 1, at)
            .expect("a node with a template and a ledger that works");
        Self { pool, ledger, disk, node, at }
    }

    /// Time passes, and the pool's ticks with it.
    pub fn pass(&mut self, time: Duration) {
        self.at.instant += time;
        let secs = u32::try_from(time.as_secs()).expect("plays are short");
        self.at.unix = self.at.unix.saturating_add(secs);
        self.pool.tick(self.at);
    }

    /// One step of whatever is due; false if nothing is.
    pub fn step(&mut self) -> bool {
        if self.pool.is_due(0, self.at) {
            self.pool.turn(0, self.at);
            return true;
        }
        self.ledger.turn(self.at.instant, 64) || self.pool.submit_block()
    }
}

/// A chain of which only the newest block and the template on it are known.
#[derive(Default)]
pub struct PlayedNode(Mutex<Played>);

#[derive(Clone, Copy, Default)]
struct Played {
    blocks: u32,
    templates: u32,
    harder: bool,
}

impl PlayedNode {
    fn played(&self) -> MutexGuard<'_, Played> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn new_block(&self, harder: bool) {
        let mut played = self.played();
        played.blocks += 1;
        played.harder = harder;
    }

    pub fn new_fees(&self) {
        self.played().templates += 1;
    }

    fn template(&self) -> Template {
        let Played { blocks, templates, harder } = *self.played();
        let text = format!(
            r#"{{"version":536870912,"previousblockhash":"{blocks:064x}","coinbasevalue":{},"transactions":[],"longpollid":"{templates}","mintime":{},"curtime":{START},"bits":"{}","height":{}}}"#,
            5_000_000_000u64 + u64::from(templates),
            START - 100,
            if harder { "1f400000" } else { "2000ffff" },
            blocks + 1,
        );
        read_template(text.as_bytes()).expect("a template as nodes give it")
    }

    fn nothing<T>() -> Result<T, NodeError> {
        Err(NodeError::Deadline)
    }
}

impl Node for PlayedNode {
    fn chain(&self) -> Chain {
        Chain::Regtest
    }

    fn next_template(
        &self,
        known: Option<&TemplateId>,
        _: &Stop,
        _: Option<Instant>,
    ) -> Result<Template, NodeError> {
        let template = self.template();
        if known == Some(&template.id) { Self::nothing() } else { Ok(template) }
    }

    fn submit_block(&self, _: &[u8]) -> Result<Submitted, NodeError> {
        Ok(Submitted::Inconclusive)
    }

    fn tip(&self) -> Result<Tip, NodeError> {
        let template = self.template();
        Ok(Tip { height: template.height - 1, hash: template.prev_hash })
    }

    fn wait_tip(&self, _: &BlockHash, _: &Stop, _: Instant) -> Result<Tip, NodeError> {
        self.tip()
    }

    fn block_hash(&self, _: u32) -> Result<Option<BlockHash>, NodeError> {
        Ok(None)
    }

    fn block_info(&self, _: &BlockHash) -> Result<Option<BlockInfo>, NodeError> {
        Ok(None)
    }

    fn block(&self, _: &BlockHash) -> Result<Block, NodeError> {
        Self::nothing()
    }

    fn broadcast(&self, _: &Transaction) -> Result<Txid, NodeError> {
        Self::nothing()
    }

    fn status(&self) -> NodeStatus {
        let (backend, chain, state) = ("played", Chain::Regtest, NodeState::Ready);
        NodeStatus { backend, chain, state, tip: None, templates: 0, last_template: None }
    }
}

/// Found blocks are not what this target is about.
struct NoShelf;

impl Shelf for NoShelf {
    fn keep(&self, _: &BlockHash, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn forget(&self, _: &BlockHash) -> io::Result<()> {
        Ok(())
    }

    fn all(&self) -> io::Result<Vec<(BlockHash, Vec<u8>)>> {
        Ok(Vec::new())
    }
}

/// What is durable.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    tables: Option<Tables>,
    folded: Head,
    tail: Vec<Row>,
    credits: HashMap<PayoutKey, u128>,
    acknowledged: HashMap<PayoutKey, u128>,
    /// Commits that will fail, and whether what they were to write is there all the same.
    failures: (u8, bool),
}

impl Disk {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next commits fail; `written`: after they reached the disk.
    pub fn fail(&self, commits: u8, written: bool) {
        self.content().failures = (commits, written);
    }

    /// A client was told that its shares count: what they are worth must be durable.
    pub fn acknowledged(&self, key: PayoutKey, credit: u128) {
        let mut content = self.content();
        let told = content.acknowledged.entry(key).or_default();
        *told += credit;
        let told = *told;
        let durable = content.credits.get(&key).copied().unwrap_or(0);
        assert!(told <= durable, "{told} were acknowledged to a key that has {durable}");
    }

    /// What all keys have together.
    pub fn credited(&self) -> u128 {
        self.content().credits.values().sum()
    }
}

impl Store for Disk {
    fn recover(&mut self) -> Result<Option<Recovered>, StoreError> {
        let content = self.content();
        let Some(tables) = content.tables.clone() else { return Ok(None) };
        Ok(Some(Recovered { tables, folded: content.folded, tail: content.tail.clone() }))
    }

    fn commit(&mut self, group: &Group<'_>) -> Result<(), StoreError> {
        let mut content = self.content();
        let (failures, written) = content.failures;
        content.failures.0 = failures.saturating_sub(1);
        if failures == 0 || written {
            let mut decoder = Decoder::new();
            for row in group.rows {
                let event = decoder.decode(row.kind, &row.payload).expect("a row that was just written");
                if let Event::Credits(batch) = event {
                    for (key, amount) in batch.credits {
                        *content.credits.entry(key).or_default() += u128::from(amount.get());
                    }
                }
            }
            content.tail.extend_from_slice(group.rows);
            if let Some(fold) = group.fold {
                content.tables = Some(fold.state.tables());
                content.folded = fold.head;
                content.tail.clear();
            }
        }
        if failures == 0 { Ok(()) } else { Err(StoreError::Full { doing: "fuzzing" }) }
    }
}
