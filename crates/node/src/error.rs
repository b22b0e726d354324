//! What can go wrong with a node, in words for its operator.

use {
    crate::{Chain, TemplateError},
    bitcoin::{BlockHash, Txid},
};

/// A call to a node that failed. Texts name the remedy and never hold a secret.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// No connection, or it broke.
    #[error("node at {url} does not answer ({reason}): start it, or correct `url`")]
    Unreachable {
        /// Address without credentials.
        url: String,
        /// What the system said.
        reason: String,
    },
    /// The credentials are wrong or missing.
    #[error("node at {url} refuses the credentials: {remedy}")]
    Unauthorised {
        /// Address without credentials.
        url: String,
        /// What to look at.
        remedy: String,
    },
    /// The node serves another chain.
    #[error(
        "node is on chain `{got}`, configured is `{expected}`: connect to another node or correct `chain`"
    )]
    WrongNetwork {
        /// From the configuration.
        expected: Chain,
        /// From the node.
        got: String,
    },
    /// The node does not know today's tip yet.
    #[error(
        "node is in initial block download ({blocks} of {headers} blocks): mining starts when it has caught up"
    )]
    InitialBlockDownload {
        /// Blocks validated.
        blocks: u32,
        /// Headers known.
        headers: u32,
    },
    /// The node is starting.
    #[error("node is starting up ({what}): it will answer when it is done")]
    WarmingUp {
        /// The node's words.
        what: String,
    },
    /// The node's queue of calls is full.
    #[error("node is overloaded ({what}): raise its `rpcworkqueue` and `rpcthreads` if this lasts")]
    Busy {
        /// The node's words.
        what: String,
    },
    /// The node will not give a template.
    #[error("node refuses to give a template ({reason}): {remedy}")]
    Refused {
        /// The node's words.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Blocks of this signet need a signature that we cannot make.
    #[error(
        "this signet's blocks need a signature (challenge {challenge}): only a challenge of OP_TRUE (51) can be mined"
    )]
    SignetNeedsSigner {
        /// Challenge script, hex.
        challenge: String,
    },
    /// The node has deleted the block.
    #[error("node has pruned {what}: raise its `prune` or use a node that keeps all blocks")]
    Pruned {
        /// Which block or height.
        what: String,
    },
    /// The node never heard of the block.
    #[error("node does not know block {hash}")]
    UnknownBlock {
        /// The block asked for.
        hash: BlockHash,
    },
    /// The mempool did not take the transaction.
    #[error("node refuses transaction {txid}: {reason}")]
    TransactionRefused {
        /// The transaction.
        txid: Txid,
        /// The node's words.
        reason: String,
    },
    /// A found block that the node could not be given while there was patience.
    #[error(
        "block {hash} could not be handed in, in {tries} tries ({reason}): it is kept in memory and handed in when the \
         node recovers; repair the node, and do not stop the pool before"
    )]
    Undelivered {
        /// The block.
        hash: BlockHash,
        /// How often it was tried.
        tries: u32,
        /// What went wrong last.
        reason: String,
    },
    /// An error of the node that has no variant of its own.
    #[error("node answers `{method}` with error {code}: {message}")]
    Rpc {
        /// The call.
        method: &'static str,
        /// The node's number for the error.
        code: i64,
        /// The node's words.
        message: String,
    },
    /// The answer is no JSON-RPC answer, or lacks a field.
    #[error("node's answer to `{method}` cannot be understood ({what}): is `url` a Bitcoin node's RPC port?")]
    Malformed {
        /// The call.
        method: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// The node's template cannot be mined on.
    #[error("node's template cannot be used: {0}")]
    Template(#[from] TemplateError),
    /// A devchain has as many blocks as it may hold.
    #[error("devchain holds its maximum of {max_blocks} blocks: start a new one or raise `max_blocks`")]
    Full {
        /// The limit.
        max_blocks: usize,
    },
    /// The configuration cannot work.
    #[error("node configuration: {0}")]
    Config(String),
    /// The caller's [`Stop`](crate::Stop) was raised.
    #[error("stopped while waiting for the node")]
    Stopped,
    /// The caller's deadline passed without news.
    #[error("nothing new from the node before the deadline")]
    Deadline,
}

impl NodeError {
    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::WarmingUp { .. }
                | Self::Busy { .. }
                | Self::InitialBlockDownload { .. }
                | Self::Refused { .. }
                | Self::Malformed { .. }
                | Self::Undelivered { .. }
                | Self::Deadline
        )
    }
}
