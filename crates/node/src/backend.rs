//! The trait that both backends implement, and the state they show.

use {
    crate::{BlockInfo, Chain, NodeError, Stop, Template, TemplateId, Tip},
    bitcoin::{Block, BlockHash, FeeRate, Transaction, Txid},
    std::{
        fmt,
        sync::{Mutex, MutexGuard, PoisonError},
        time::{Instant, SystemTime},
    },
};

/// A Bitcoin node. All calls block; all may be made from several threads at once.
pub trait Node: Send + Sync {
    /// The chain that the node was configured for.
    fn chain(&self) -> Chain;

    /// A template to mine on.
    ///
    /// Without `known` it is the newest, now. With `known` the call blocks until the tip, or the mempool in a way worth
    /// mining, has changed from it. On a new tip the first may have no transactions, where the node takes its time to make
    /// one that has; then the next call gives that. A node that does not answer, or not well, is tried again with growing
    /// pauses, and [`Node::status`] shows what is wrong: an operator may repair a password or start the right network
    /// meanwhile.
    ///
    /// # Errors
    /// [`NodeError::Stopped`] when `stop` is raised (within about a second); at the deadline what went wrong last, or
    /// [`NodeError::Deadline`] when there was just nothing new.
    fn next_template(
        &self,
        known: Option<&TemplateId>,
        stop: &Stop,
        deadline: Option<Instant>,
    ) -> Result<Template, NodeError>;

    /// Hands in a block in consensus encoding, as made by [`Template::assemble`].
    ///
    /// It never waits behind a template request. A node that is away, or lacks the block's parent, is offered the block
    /// again for a while; a block that breaks a rule is [`Submitted::Rejected`].
    ///
    /// # Errors
    /// [`NodeError::Undelivered`] when the while is over: the block is kept, and handed in beside
    /// [`Node::next_template`] as soon as the node recovers. Anything else for what is too short to be a block.
    fn submit_block(&self, block: &[u8]) -> Result<Submitted, NodeError>;

    /// The best block.
    fn tip(&self) -> Result<Tip, NodeError>;

    /// Returns the tip as soon as it is not `known`; at the deadline or when stopped, whatever it is.
    fn wait_tip(&self, known: &BlockHash, stop: &Stop, deadline: Instant) -> Result<Tip, NodeError>;

    /// The hash of the best chain's block at this height; none above the tip.
    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError>;

    /// What the node knows of a block, also of one that is not on the best chain.
    fn block_info(&self, hash: &BlockHash) -> Result<Option<BlockInfo>, NodeError>;

    /// A whole block.
    ///
    /// # Errors
    /// [`NodeError::UnknownBlock`], or [`NodeError::Pruned`] when the node had it once.
    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError>;

    /// Makes sure that the node still has all blocks from `height` on: for whoever must look at them again after a
    /// restart. A backend that deletes nothing has them.
    ///
    /// # Errors
    /// [`NodeError::Pruned`] when some are gone; others when the node could not be asked.
    fn ensure_blocks_from(&self, height: u32) -> Result<(), NodeError> {
        let _ = height;
        Ok(())
    }

    /// Puts a transaction into the node's mempool, from where it spreads. One that is there already is no error.
    ///
    /// # Errors
    /// [`NodeError::TransactionRefused`] with the node's reason.
    fn broadcast(&self, transaction: &Transaction) -> Result<Txid, NodeError>;

    /// What transactions pay at present to be in one of the next `blocks` blocks; none when the node has not seen enough of
    /// them, as on most test chains.
    ///
    /// # Errors
    /// When the node could not be asked.
    fn fee_rate(&self, blocks: u16) -> Result<Option<FeeRate>, NodeError> {
        let _ = blocks;
        Ok(None)
    }

    /// The state of the connection, without asking the node: for health pages.
    fn status(&self) -> NodeStatus;
}

/// What a node said to a block (BIP 22).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It is the best block now.
    Accepted,
    /// The node had it, and holds it for valid.
    Duplicate,
    /// As far as checked it is valid, but another branch is best: a lost race, unless later blocks build on this one.
    Inconclusive,
    /// It breaks a rule, named by the node.
    Rejected(String),
}

impl fmt::Display for Submitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::Duplicate => f.write_str("duplicate"),
            Self::Inconclusive => f.write_str("inconclusive"),
            Self::Rejected(reason) => write!(f, "rejected: {reason}"),
        }
    }
}

/// A snapshot for health pages.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// "rpc" or "devchain".
    pub backend: &'static str,
    /// The chain that the node was configured for.
    pub chain: Chain,
    /// Whether templates come.
    pub state: NodeState,
    /// The best block seen last.
    pub tip: Option<Tip>,
    /// Templates got since the start.
    pub templates: u64,
    /// When the newest template came.
    pub last_template: Option<SystemTime>,
}

/// Whether a node can be used.
#[derive(Clone, Debug)]
pub enum NodeState {
    /// It has not been asked yet.
    Starting,
    /// The last call went well.
    Ready,
    /// It cannot be used at present. After a template that did not come, only a template ends this.
    Down {
        /// When the first of the calls failed that have kept failing since. No date: how long it lasts must not depend on
        /// a clock that somebody sets.
        since: Instant,
        /// What the last of them said.
        error: NodeError,
    },
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Ready => f.write_str("ready"),
            Self::Down { error, .. } => write!(f, "down: {error}"),
        }
    }
}

/// The status that a backend keeps, written after calls and read by anybody.
#[derive(Debug)]
pub(crate) struct StatusBoard(Mutex<Board>);

#[derive(Debug)]
struct Board {
    status: NodeStatus,
    /// Templates fail: whatever else the node answers, it cannot be mined on.
    no_template: bool,
}

impl StatusBoard {
    pub(crate) fn new(backend: &'static str, chain: Chain, state: NodeState) -> Self {
        let status = NodeStatus { backend, chain, state, tip: None, templates: 0, last_template: None };
        Self(Mutex::new(Board { status, no_template: false }))
    }

    pub(crate) fn read(&self) -> NodeStatus {
        self.lock().status.clone()
    }

    /// The node answers. That it gives no template stays, until it gives one.
    pub(crate) fn answered(&self) {
        let mut board = self.lock();
        if !board.no_template {
            board.status.state = NodeState::Ready;
        }
    }

    /// A call failed that says something about the node.
    pub(crate) fn failed(&self, error: &NodeError) {
        self.lock().go_down(error);
    }

    /// No template came. Returns whether this is news: the node was not down before, or down for another reason.
    pub(crate) fn no_template(&self, error: &NodeError) -> bool {
        let mut board = self.lock();
        board.no_template = true;
        board.go_down(error)
    }

    pub(crate) fn saw_tip(&self, tip: Tip) {
        self.lock().status.tip = Some(tip);
    }

    pub(crate) fn saw_template(&self, template: &Template) {
        let mut board = self.lock();
        board.no_template = false;
        let status = &mut board.status;
        status.state = NodeState::Ready;
        status.templates += 1;
        status.last_template = Some(SystemTime::now());
        status.tip = Some(Tip { height: template.height.saturating_sub(1), hash: template.prev_hash });
    }

    // Every field is written whole, so that a panic elsewhere leaves nothing inconsistent.
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn go_down(&mut self, error: &NodeError) -> bool {
        let (since, news) = match &self.status.state {
            NodeState::Down { since, error: before } => (*since, before.to_string() != error.to_string()),
            NodeState::Starting | NodeState::Ready => (Instant::now(), true),
        };
        self.status.state = NodeState::Down { since, error: error.clone() };
        news
    }
}
