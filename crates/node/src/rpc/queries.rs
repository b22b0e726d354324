//! Questions about the chain.

use {
    super::Link,
    crate::{BlockInfo, Chain, NodeError, Tip},
    bitcoin::{Amount, Block, BlockHash, FeeRate, Transaction, Txid, consensus},
    hex::FromHex,
    serde::Deserialize,
    serde_json::json,
    std::sync::atomic::Ordering,
};

/// Bitcoin Core's numbers for errors (`rpc/protocol.h`).
pub(super) const CODE_MISC: i64 = -1;
pub(super) const CODE_TYPE: i64 = -3;
const CODE_INVALID_ADDRESS_OR_KEY: i64 = -5;
pub(super) const CODE_INVALID_PARAMETER: i64 = -8;
const CODE_VERIFY: i64 = -25;
const CODE_VERIFY_REJECTED: i64 = -26;
const CODE_ALREADY_IN_CHAIN: i64 = -27;
pub(super) const CODE_METHOD_NOT_FOUND: i64 = -32601;

/// Who a node is and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// The chain it is on, by its own words.
    pub chain: String,
    /// Its best block.
    pub tip: Tip,
    /// Headers it knows; more than blocks while it catches up.
    pub headers: u32,
    /// Whether it still downloads old blocks.
    pub initial_block_download: bool,
    /// The lowest block it has, if it deletes old ones.
    pub prune_height: Option<u32>,
}

#[derive(Deserialize)]
struct BlockchainInfo {
    chain: String,
    blocks: u32,
    headers: u32,
    bestblockhash: BlockHash,
    #[serde(default)]
    initialblockdownload: bool,
    pruneheight: Option<u32>,
}

#[derive(Deserialize)]
struct HeaderAnswer {
    height: u32,
    confirmations: i64,
    time: u32,
    previousblockhash: Option<BlockHash>,
}

#[derive(Deserialize)]
struct FeeEstimate {
    #[serde(default, with = "bitcoin::amount::serde::as_btc::opt")]
    feerate: Option<Amount>,
}

impl Link {
    pub(super) fn info(&self) -> Result<NodeInfo, NodeError> {
        let info: BlockchainInfo = self.call("getblockchaininfo", &json!([]))?;
        let tip = Tip { height: info.blocks, hash: info.bestblockhash };
        self.status.saw_tip(tip);
        Ok(NodeInfo {
            chain: info.chain,
            tip,
            headers: info.headers,
            initial_block_download: info.initialblockdownload,
            prune_height: info.pruneheight,
        })
    }

    /// Looks at chain and readiness.
    pub(super) fn verify(&self) -> Result<NodeInfo, NodeError> {
        let info = self.info()?;
        let expected = self.config.chain;
        if info.chain != expected.name() {
            return Err(NodeError::WrongNetwork { expected, got: info.chain });
        }
        // Elsewhere old tips are normal, and nodes give templates on them.
        if expected == Chain::Main && info.initial_block_download {
            return Err(NodeError::InitialBlockDownload { blocks: info.tip.height, headers: info.headers });
        }
        self.verified.store(true, Ordering::Release);
        self.tells_tip.store(true, Ordering::Release);
        self.status.answered();
        Ok(info)
    }

    pub(super) fn best_block_hash(&self) -> Result<BlockHash, NodeError> {
        self.call("getbestblockhash", &json!([]))
    }

    pub(super) fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError> {
        match self.call("getblockhash", &json!([height])) {
            Ok(hash) => Ok(Some(hash)),
            Err(NodeError::Rpc { code: CODE_INVALID_PARAMETER, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn block_info(&self, hash: &BlockHash) -> Result<Option<BlockInfo>, NodeError> {
        let answer: HeaderAnswer = match self.call("getblockheader", &json!([hash, true])) {
            Ok(answer) => answer,
            Err(NodeError::Rpc { code: CODE_INVALID_ADDRESS_OR_KEY, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(BlockInfo {
            height: answer.height,
            hash: *hash,
            prev_hash: answer.previousblockhash.unwrap_or_else(Self::no_block),
            time: answer.time,
            // -1 when another branch is best.
            confirmations: u32::try_from(answer.confirmations).ok(),
        }))
    }

    pub(super) fn block(&self, hash: &BlockHash) -> Result<Block, NodeError> {
        const METHOD: &str = "getblock";
        let raw: String = self.call(METHOD, &json!([hash, 0])).map_err(|error| match error {
            NodeError::Rpc { code: CODE_INVALID_ADDRESS_OR_KEY, .. } => {
                NodeError::UnknownBlock { hash: *hash }
            }
            NodeError::Rpc { code: CODE_MISC, message, .. } if message.contains("pruned") => {
                NodeError::Pruned { what: format!("block {hash}") }
            }
            other => other,
        })?;
        let malformed = |what: String| NodeError::Malformed { method: METHOD, what };
        let bytes = Vec::from_hex(&raw).map_err(|_| malformed("no hexadecimal".into()))?;
        let block: Block = consensus::deserialize(&bytes).map_err(|error| malformed(error.to_string()))?;
        if block.block_hash() != *hash {
            return Err(malformed("another block".into()));
        }
        Ok(block)
    }

    pub(super) fn fee_rate(&self, blocks: u16) -> Result<Option<FeeRate>, NodeError> {
        let estimate: FeeEstimate = self.call("estimatesmartfee", &json!([blocks]))?;
        // Bitcoin for a thousand virtual bytes, which are four thousand weight units.
        Ok(estimate.feerate.map(|rate| FeeRate::from_sat_per_kwu(rate.to_sat().div_ceil(4))))
    }

    pub(super) fn broadcast(&self, transaction: &Transaction) -> Result<Txid, NodeError> {
        let txid = transaction.compute_txid();
        let raw = consensus::encode::serialize_hex(transaction);
        match self.call::<Txid>("sendrawtransaction", &json!([raw])) {
            Ok(_) | Err(NodeError::Rpc { code: CODE_ALREADY_IN_CHAIN, .. }) => Ok(txid),
            Err(NodeError::Rpc { code: CODE_VERIFY | CODE_VERIFY_REJECTED, message, .. }) => {
                Err(NodeError::TransactionRefused { txid, reason: message })
            }
            Err(error) => Err(error),
        }
    }
}
