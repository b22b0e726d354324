//! A node behind its JSON-RPC port: bitcoind, Knots, btcd.
//!
//! Each call has a connection of its own, so that a found block never waits behind a long poll. Nothing is assumed to
//! last: credentials, chain and readiness are looked at again after each failure.

mod auth;
mod client;
mod gbt;
mod handed_in;
mod provisional;
mod queries;
mod templates;
mod under_way;

pub use {auth::RpcAuth, gbt::read_template, queries::NodeInfo};

use {
    crate::{
        BlockInfo, Chain, Node, NodeError, NodeState, NodeStatus, Stop, Submitted, Template, TemplateId, Tip,
        backend::StatusBoard,
    },
    bitcoin::{Block, BlockHash, FeeRate, Transaction, Txid, hashes::Hash},
    client::Client,
    handed_in::HandedIn,
    provisional::Newest,
    serde_json::Value,
    std::{
        sync::{
            Arc, Mutex,
            atomic::{AtomicBool, Ordering},
        },
        time::{Duration, Instant},
    },
    under_way::WaitingCall,
};

/// Between two looks at the tip.
const TIP_INTERVAL: Duration = Duration::from_millis(500);

/// Where the node is and how to talk to it.
#[derive(Clone, Debug)]
pub struct RpcConfig {
    /// For example `http://127.0.0.1:8332`.
    pub url: String,
    /// Credentials.
    pub auth: RpcAuth,
    /// The chain that the node must be on.
    pub chain: Chain,
    /// Longest wait for an answer, long polls and blocks aside.
    pub timeout: Duration,
    /// How long a block is offered to a node that is away; after that it waits in memory until the node is back. A node
    /// restarts in less than the default.
    pub submit_patience: Duration,
    /// Whether a new tip is worked on at once, with a template without transactions, until the node has made one with
    /// them. It takes a node that can wait for its tip (Bitcoin Core 30).
    pub provisional: bool,
}

impl RpcConfig {
    /// With 15 s for answers, 30 s of patience for a block, and provisional templates.
    pub fn new(url: impl Into<String>, auth: RpcAuth, chain: Chain) -> Self {
        let (timeout, submit_patience) = (Duration::from_secs(15), Duration::from_secs(30));
        Self { url: url.into(), auth, chain, timeout, submit_patience, provisional: true }
    }
}

/// A node behind its JSON-RPC port.
pub struct RpcNode {
    link: Arc<Link>,
    long_poll: WaitingCall<TemplateId, Template>,
    tip_wait: WaitingCall<BlockHash, BlockHash>,
}

/// What the threads of calls that wait share with the node's owner.
struct Link {
    client: Client,
    config: RpcConfig,
    status: StatusBoard,
    /// Chain and readiness were looked at since the last failure.
    verified: AtomicBool,
    /// As far as is known, the node can wait for its tip.
    tells_tip: AtomicBool,
    /// Of the template that came last.
    newest: Mutex<Option<Newest>>,
    /// Blocks that the node has not got yet, or may forget.
    handed_in: Mutex<HandedIn>,
    /// A thread is at work on those that it has not got.
    redelivering: AtomicBool,
}

impl RpcNode {
    /// Checks the configuration. Nothing is sent: the node may still be down.
    pub fn new(config: RpcConfig) -> Result<Self, NodeError> {
        let link = Link {
            client: Client::new(&config)?,
            status: StatusBoard::new("rpc", config.chain, NodeState::Starting),
            config,
            verified: AtomicBool::new(false),
            tells_tip: AtomicBool::new(true),
            newest: Mutex::new(None),
            handed_in: Mutex::default(),
            redelivering: AtomicBool::new(false),
        };
        Ok(Self { link: Arc::new(link), long_poll: WaitingCall::new(), tip_wait: WaitingCall::new() })
    }

    /// Asks the node once who and how it is, and whether it is ready to mine on: for a check of the configuration.
    /// [`NodeInfo::prune_height`] tells which blocks it has deleted.
    pub fn check(&self) -> Result<NodeInfo, NodeError> {
        self.link.verify()
    }
}

impl Node for RpcNode {
    fn chain(&self) -> Chain {
        self.link.config.chain
    }

    fn next_template(
        &self,
        known: Option<&TemplateId>,
        stop: &Stop,
        deadline: Option<Instant>,
    ) -> Result<Template, NodeError> {
        self.wait_for_template(known, stop, deadline)
    }

    fn submit_block(&self, block: &[u8]) -> Result<Submitted, NodeError> {
        self.link.deliver(block)
    }

    fn tip(&self) -> Result<Tip, NodeError> {
        Ok(self.link.info()?.tip)
    }

    fn wait_tip(&self, known: &BlockHash, stop: &Stop, deadline: Instant) -> Result<Tip, NodeError> {
        loop {
            let best = self.link.best_block_hash()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if best != *known || left.is_zero() || stop.wait(left.min(TIP_INTERVAL)) {
                return self.tip();
            }
        }
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError> {
        self.link.block_hash(height)
    }

    fn block_info(&self, hash: &BlockHash) -> Result<Option<BlockInfo>, NodeError> {
        self.link.block_info(hash)
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError> {
        self.link.block(hash)
    }

    fn ensure_blocks_from(&self, height: u32) -> Result<(), NodeError> {
        match self.link.info()?.prune_height {
            Some(lowest) if lowest > height => Err(NodeError::Pruned {
                what: format!("blocks below {lowest}, needed are those from {height} on"),
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn broadcast(&self, transaction: &Transaction) -> Result<Txid, NodeError> {
        self.link.broadcast(transaction)
    }

    fn fee_rate(&self, blocks: u16) -> Result<Option<FeeRate>, NodeError> {
        self.link.fee_rate(blocks)
    }

    fn status(&self) -> NodeStatus {
        self.link.status.read()
    }
}

impl Link {
    /// Notes what a failed call says about the node, and passes the error on.
    fn note(&self, error: NodeError) -> NodeError {
        if matches!(
            error,
            NodeError::Unreachable { .. } | NodeError::Unauthorised { .. } | NodeError::WarmingUp { .. }
        ) {
            self.verified.store(false, Ordering::Release);
            self.status.failed(&error);
        }
        error
    }

    /// An ordinary call.
    fn call<T: serde::de::DeserializeOwned>(
        &self,
        method: &'static str,
        params: &Value,
    ) -> Result<T, NodeError> {
        self.client.call(method, params, self.config.timeout).map_err(|error| self.note(error))
    }

    /// All zeros is what the first block builds on.
    fn no_block() -> BlockHash {
        BlockHash::all_zeros()
    }
}
