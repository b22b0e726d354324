//! A block to be mined: everything but the coinbase's payouts and the nonce.

use {
    crate::{
        BlockReserve, fold_merkle_path, merkle_path,
        reserve::{HEADER_WEIGHT, TX_COUNT_WEIGHT},
    },
    bitcoin::{
        Amount, BlockHash, CompactTarget, ScriptBuf, Txid, Wtxid,
        block::{Header, Version},
        hashes::{Hash, HashEngine, sha256d},
    },
    std::{fmt, sync::Arc},
};

/// A witness commitment's script begins with: OP_RETURN, push of 36 bytes, four bytes that mark it (BIP 141).
pub(crate) const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
/// What the coinbase's witness holds, and the commitment is computed with (BW-08).
pub(crate) const WITNESS_RESERVED_VALUE: [u8; 32] = [0; 32];
/// Most weight units in a block.
pub(crate) const MAX_BLOCK_WEIGHT: u64 = 4_000_000;
/// Greatest cost of signature operations in a block.
pub(crate) const MAX_BLOCK_SIGOPS_COST: u64 = 80_000;
/// Lets the lock time count, as BIP 54 wants it for coinbases.
pub(crate) const COINBASE_SEQUENCE: u32 = 0xffff_fffe;
/// What Bitcoin Core gives its coinbases.
pub(crate) const COINBASE_VERSION: i32 = 2;

/// Names a state of tip and mempool, for waiting until it is past. Only the node that made it knows its meaning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TemplateId(pub(crate) Arc<str>);

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A transaction in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateTx {
    /// Consensus encoding, with witness.
    pub raw: Box<[u8]>,
    /// Hash without witness.
    pub txid: Txid,
    /// Hash with witness.
    pub wtxid: Wtxid,
    /// Weight units.
    pub weight: u64,
    /// Cost of its signature operations, of a block's 80,000.
    pub sigops_cost: u64,
    /// What it pays to the miner.
    pub fee: Amount,
}

/// A block to be mined, the same from every backend.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Template {
    /// For [`Node::next_template`](crate::Node::next_template) to wait for the next one.
    pub id: TemplateId,
    /// Height of the block to be made.
    pub height: u32,
    /// Header version, with the bits that the node signals.
    pub version: i32,
    /// The tip that it builds on.
    pub prev_hash: BlockHash,
    /// Network target.
    pub nbits: CompactTarget,
    /// Earliest header time that consensus allows, median time past plus one (MP-104). Unix seconds.
    pub min_time: u32,
    /// Header time to start with, Unix seconds.
    pub cur_time: u32,
    /// Subsidy and fees: what the coinbase pays out.
    pub coinbase_value: Amount,
    /// Version of the coinbase transaction.
    pub coinbase_version: i32,
    /// Sequence of the coinbase's input.
    pub coinbase_sequence: u32,
    /// Lock time of the coinbase.
    pub coinbase_locktime: u32,
    /// All transactions but the coinbase, in block order.
    pub transactions: Arc<[TemplateTx]>,
    /// Script of the output that commits to the witnesses; none for a block without (BW-02, BW-10).
    pub witness_commitment: Option<ScriptBuf>,
    /// Siblings of the coinbase, deepest first (TD-32).
    pub merkle_path: Box<[[u8; 32]]>,
    /// Most weight units in the block.
    pub weight_limit: u64,
    /// Greatest cost of signature operations in the block.
    pub sigops_limit: u64,
}

/// A template whose parts do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A miner would find blocks that nobody takes.
    #[error("witness commitment does not match the transactions")]
    WitnessCommitment,
    /// It would not leave room for a coinbase.
    #[error("transactions weigh {weight} of at most {limit} weight units")]
    TooHeavy {
        /// Header, count and transactions.
        weight: u64,
        /// For the block.
        limit: u64,
    },
    /// A block with them would be refused.
    #[error("transactions cost {cost} of at most {limit} signature operations")]
    TooManySigops {
        /// Of the transactions.
        cost: u64,
        /// For the block.
        limit: u64,
    },
    /// The node cannot count.
    #[error("transactions pay {fees} in fees, more than the coinbase value of {value}")]
    Fees {
        /// Of the transactions.
        fees: Amount,
        /// Subsidy and fees.
        value: Amount,
    },
    /// A time that no block may have.
    #[error("template's time {cur_time} lies before its earliest allowed time {min_time}")]
    Time {
        /// To start with.
        cur_time: u32,
        /// Allowed.
        min_time: u32,
    },
}

impl Template {
    /// Fills in what follows from the transactions, and checks what the node gave against it.
    ///
    /// A commitment is added when a transaction has a witness and there is none (TD-30).
    pub(crate) fn complete(mut self) -> Result<Self, TemplateError> {
        let weight = self.weight_used();
        if weight > self.weight_limit {
            return Err(TemplateError::TooHeavy { weight, limit: self.weight_limit });
        }
        let cost = self.sigops_used();
        if cost > self.sigops_limit {
            return Err(TemplateError::TooManySigops { cost, limit: self.sigops_limit });
        }
        if self.cur_time < self.min_time {
            return Err(TemplateError::Time { cur_time: self.cur_time, min_time: self.min_time });
        }
        let (fees, value) = (fees(&self.transactions), self.coinbase_value);
        if fees > value {
            return Err(TemplateError::Fees { fees, value });
        }
        let computed = witness_commitment(&self.transactions);
        match &self.witness_commitment {
            // More may follow the 38 bytes of BIP 141 in the same script.
            Some(given) if !given.as_bytes().starts_with(computed.as_bytes()) => {
                return Err(TemplateError::WitnessCommitment);
            }
            None if self.transactions.iter().any(TemplateTx::has_witness) => {
                self.witness_commitment = Some(computed);
            }
            Some(_) | None => {}
        }
        self.merkle_path = merkle_path(self.transactions.iter().map(|tx| tx.txid.to_byte_array()));
        Ok(self)
    }

    /// The same template with transactions dropped from the end until `reserve` fits (TD-13, TD-16, TD-18).
    ///
    /// Parents come before their children, so that what is left needs nothing that is gone. Fees of what is gone leave
    /// the coinbase value.
    pub fn with_reserve(&self, reserve: &BlockReserve) -> Self {
        let weight_room = self.weight_limit.saturating_sub(reserve.weight);
        let sigops_room = self.sigops_limit.saturating_sub(reserve.sigops);
        let (mut weight, mut sigops) = (0u64, 0u64);
        let fits = |tx: &&TemplateTx| {
            weight = weight.saturating_add(tx.weight);
            sigops = sigops.saturating_add(tx.sigops_cost);
            weight <= weight_room && sigops <= sigops_room
        };
        let kept = self.transactions.iter().take_while(fits).count();
        let mut trimmed = self.clone();
        if kept == self.transactions.len() {
            return trimmed;
        }
        let lost = fees(&self.transactions[kept..]);
        trimmed.coinbase_value =
            self.coinbase_value.checked_sub(lost).expect("complete() saw that fees are part of the value");
        trimmed.transactions = self.transactions[..kept].into();
        trimmed.merkle_path = merkle_path(trimmed.transactions.iter().map(|tx| tx.txid.to_byte_array()));
        if trimmed.witness_commitment.is_some() {
            trimmed.witness_commitment = Some(witness_commitment(&trimmed.transactions));
        }
        trimmed
    }

    /// The merkle root of the block with this coinbase (MP-94, BW-09).
    pub fn merkle_root(&self, coinbase_txid: [u8; 32]) -> [u8; 32] {
        fold_merkle_path(coinbase_txid, &self.merkle_path)
    }

    /// A block header on this template's tip, in consensus encoding.
    pub fn header(&self, version: i32, merkle_root: [u8; 32], ntime: u32, nonce: u32) -> [u8; 80] {
        let header = Header {
            version: Version::from_consensus(version),
            prev_blockhash: self.prev_hash,
            merkle_root: bitcoin::TxMerkleNode::from_byte_array(merkle_root),
            time: ntime,
            bits: self.nbits,
            nonce,
        };
        let mut bytes = [0; 80];
        let encoded = bitcoin::consensus::serialize(&header);
        bytes.copy_from_slice(&encoded);
        bytes
    }

    /// Weight units left for the coinbase.
    pub fn free_weight(&self) -> u64 {
        self.weight_limit.saturating_sub(self.weight_used())
    }

    /// Cost of signature operations left for the coinbase's outputs.
    pub fn free_sigops(&self) -> u64 {
        self.sigops_limit.saturating_sub(self.sigops_used())
    }

    fn weight_used(&self) -> u64 {
        let fixed = HEADER_WEIGHT + TX_COUNT_WEIGHT;
        self.transactions.iter().fold(fixed, |sum, tx| sum.saturating_add(tx.weight))
    }

    fn sigops_used(&self) -> u64 {
        self.transactions.iter().fold(0, |sum, tx| sum.saturating_add(tx.sigops_cost))
    }
}

impl TemplateTx {
    /// Whether it carries witness data.
    pub fn has_witness(&self) -> bool {
        self.txid.to_byte_array() != self.wtxid.to_byte_array()
    }
}

// Saturating: a node's numbers are not to be trusted, and `complete` compares the sum.
fn fees(transactions: &[TemplateTx]) -> Amount {
    let sats = transactions.iter().fold(0u64, |sum, tx| sum.saturating_add(tx.fee.to_sat()));
    Amount::from_sat(sats)
}

/// The script that commits to the witnesses of a block with these transactions, with 32 zero bytes as reserved value.
pub(crate) fn witness_commitment(transactions: &[TemplateTx]) -> ScriptBuf {
    let path = merkle_path(transactions.iter().map(|tx| tx.wtxid.to_byte_array()));
    // The coinbase's wtxid counts as zero: it cannot commit to itself.
    let witness_root = fold_merkle_path([0; 32], &path);
    let mut engine = sha256d::Hash::engine();
    engine.input(&witness_root);
    engine.input(&WITNESS_RESERVED_VALUE);
    let commitment = sha256d::Hash::from_engine(engine).to_byte_array();
    ScriptBuf::from_bytes([&COMMITMENT_PREFIX[..], &commitment].concat())
}

#[cfg(test)]
mod tests;
