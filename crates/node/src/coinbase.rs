//! The coinbase transaction and the block around it: one piece of code for all backends.

use {
    crate::{Template, output_sigops_cost, template::WITNESS_RESERVED_VALUE},
    bitcoin::{
        Amount, ScriptBuf, TxOut,
        consensus::{Encodable, encode::VarInt},
        hashes::{Hash, sha256d},
        script::Builder,
    },
};

/// Longest extranonce, prefix and rolled part together (LIM-06).
pub const MAX_EXTRANONCE_LEN: usize = 32;
/// Most bytes in a coinbase's scriptSig (MP-44, LIM-07).
const MAX_SCRIPT_SIG_LEN: usize = 100;
/// Fewest bytes in a coinbase's scriptSig (MP-44, LIM-07).
const MIN_SCRIPT_SIG_LEN: usize = 2;
/// Longest push of a height: one byte for the length and five for a height that takes all 32 bits.
const MAX_HEIGHT_PUSH_LEN: usize = 6;
/// Longest push whose length is its opcode.
const MAX_DIRECT_PUSH_LEN: usize = 75;
/// What BIP 141 puts between version and inputs.
const MARKER_AND_FLAG: [u8; 2] = [0, 1];
/// Weight of marker, flag and the witness: they count once, other bytes four times.
const WITNESS_WEIGHT: u64 = 2 + 1 + 1 + 32;

/// Longest pool tag beside an extranonce of this length, at any height.
pub const fn max_tag_len(extranonce_len: usize) -> usize {
    let others = MAX_HEIGHT_PUSH_LEN + 1 + 1 + extranonce_len;
    let room = MAX_SCRIPT_SIG_LEN.saturating_sub(others);
    if room < MAX_DIRECT_PUSH_LEN { room } else { MAX_DIRECT_PUSH_LEN }
}

/// A coinbase around a gap for the full extranonce, without witness data (MP-92, BW-03).
///
/// It remembers what was left out, so that it can stand in for the full coinbase until the job is dead (MP-93, BW-04).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoinbaseParts {
    /// From the version up to where the extranonce begins.
    pub prefix: Box<[u8]>,
    /// From where the extranonce ends up to the lock time.
    pub suffix: Box<[u8]>,
    /// Bytes of the gap.
    pub extranonce_len: usize,
    has_witness: bool,
}

/// A coinbase that cannot be built as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoinbaseError {
    /// LIM-06
    #[error("extranonce of {len} bytes: at most {MAX_EXTRANONCE_LEN} are possible")]
    ExtranonceTooLong {
        /// Asked for.
        len: usize,
    },
    /// MP-44
    #[error("coinbase tag of {len} bytes: at most {max} fit beside this extranonce; shorten `tag`")]
    TagTooLong {
        /// Asked for.
        len: usize,
        /// Possible.
        max: usize,
    },
    /// The block would be refused.
    #[error("coinbase outputs pay {outputs}, more than the block's value of {value}")]
    Overspent {
        /// Sum of the outputs.
        outputs: Amount,
        /// Subsidy and fees.
        value: Amount,
    },
    /// The rest would be burnt.
    #[error("coinbase outputs pay {outputs} of the block's value of {value}: give the remainder to somebody")]
    Underspent {
        /// Sum of the outputs.
        outputs: Amount,
        /// Subsidy and fees.
        value: Amount,
    },
    /// TD-19
    #[error(
        "coinbase weighs {weight}, but the template leaves {room} weight units: reserve more or pay fewer outputs"
    )]
    TooHeavy {
        /// Of the coinbase.
        weight: u64,
        /// Left by the transactions.
        room: u64,
    },
    /// TD-17
    #[error(
        "coinbase outputs cost {cost} signature operations, but the template leaves {room}: use segwit addresses"
    )]
    TooManySigops {
        /// Of the outputs.
        cost: u64,
        /// Left by the transactions.
        room: u64,
    },
}

/// A block that cannot be put together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// The share belongs to another job.
    #[error("full extranonce has {got} bytes, the coinbase has room for {expected}")]
    ExtranonceLen {
        /// Given.
        got: usize,
        /// Of the coinbase.
        expected: usize,
    },
    /// The share belongs to another template.
    #[error("header builds on another block than the template")]
    PrevHash,
    /// The share belongs to another job or extranonce.
    #[error("header's merkle root is not that of this coinbase and template")]
    MerkleRoot,
}

impl Template {
    /// One output that gets everything.
    pub fn pay_all(&self, script: ScriptBuf) -> Vec<TxOut> {
        vec![TxOut { value: self.coinbase_value, script_pubkey: script }]
    }

    /// Outputs with fixed amounts, then one that gets the remainder, unless that is nothing.
    pub fn pay_remainder(&self, fixed: &[TxOut], remainder: ScriptBuf) -> Result<Vec<TxOut>, CoinbaseError> {
        let value = self.coinbase_value;
        let outputs = sum(fixed);
        let rest = value.checked_sub(outputs).ok_or(CoinbaseError::Overspent { outputs, value })?;
        let mut all = fixed.to_vec();
        if rest > Amount::ZERO {
            all.push(TxOut { value: rest, script_pubkey: remainder });
        }
        assert_eq!(sum(&all), value, "fixed outputs and remainder are the block's value");
        Ok(all)
    }

    /// A coinbase with a gap for the full extranonce.
    ///
    /// The scriptSig holds the height (BIP 34), the tag unless it is empty, and the extranonce, each as a push: loose
    /// bytes could spell OP_CHECKSIG and count against the block's signature operations. The outputs must pay out
    /// exactly the block's value. The witness commitment comes last.
    pub fn coinbase(
        &self,
        extranonce_len: usize,
        tag: &[u8],
        outputs: &[TxOut],
    ) -> Result<CoinbaseParts, CoinbaseError> {
        if extranonce_len > MAX_EXTRANONCE_LEN {
            return Err(CoinbaseError::ExtranonceTooLong { len: extranonce_len });
        }
        let max = max_tag_len(extranonce_len);
        if tag.len() > max {
            return Err(CoinbaseError::TagTooLong { len: tag.len(), max });
        }
        self.check_amounts(outputs)?;
        let prefix = coinbase_prefix(self.coinbase_version, self.height, tag, extranonce_len);
        let suffix = self.coinbase_suffix(outputs);
        let has_witness = self.witness_commitment.is_some();

        let stripped = (prefix.len() + extranonce_len + suffix.len()) as u64;
        let weight = 4 * stripped + if has_witness { WITNESS_WEIGHT } else { 0 };
        let room = self.free_weight();
        if weight > room {
            return Err(CoinbaseError::TooHeavy { weight, room });
        }
        let cost = outputs.iter().map(output_sigops_cost).sum();
        let room = self.free_sigops();
        if cost > room {
            return Err(CoinbaseError::TooManySigops { cost, room });
        }
        Ok(CoinbaseParts { prefix, suffix, extranonce_len, has_witness })
    }

    /// The block in consensus encoding, witness data put back (BW-04).
    ///
    /// # Errors
    /// When header, coinbase and template do not belong together: the block would be refused, and why would be harder
    /// to tell.
    pub fn assemble(
        &self,
        parts: &CoinbaseParts,
        header: &[u8; 80],
        full_extranonce: &[u8],
    ) -> Result<Vec<u8>, AssembleError> {
        if full_extranonce.len() != parts.extranonce_len {
            let (got, expected) = (full_extranonce.len(), parts.extranonce_len);
            return Err(AssembleError::ExtranonceLen { got, expected });
        }
        if header[4..36] != self.prev_hash.to_byte_array() {
            return Err(AssembleError::PrevHash);
        }
        if header[36..68] != self.merkle_root(parts.txid(full_extranonce)) {
            return Err(AssembleError::MerkleRoot);
        }
        let coinbase = parts.full(full_extranonce);
        let transactions: usize = self.transactions.iter().map(|tx| tx.raw.len()).sum();
        let mut block = Vec::with_capacity(header.len() + 9 + coinbase.len() + transactions);
        block.extend_from_slice(header);
        encode_into(&VarInt::from(self.transactions.len() + 1), &mut block);
        block.extend_from_slice(&coinbase);
        for transaction in self.transactions.iter() {
            block.extend_from_slice(&transaction.raw);
        }
        Ok(block)
    }

    fn check_amounts(&self, outputs: &[TxOut]) -> Result<(), CoinbaseError> {
        let (value, outputs) = (self.coinbase_value, sum(outputs));
        match outputs.cmp(&value) {
            std::cmp::Ordering::Greater => Err(CoinbaseError::Overspent { outputs, value }),
            std::cmp::Ordering::Less => Err(CoinbaseError::Underspent { outputs, value }),
            std::cmp::Ordering::Equal => Ok(()),
        }
    }

    fn coinbase_suffix(&self, outputs: &[TxOut]) -> Box<[u8]> {
        let commitment = self
            .witness_commitment
            .as_ref()
            .map(|script| TxOut { value: Amount::ZERO, script_pubkey: script.clone() });
        let mut suffix = Vec::with_capacity(64 + 64 * outputs.len());
        suffix.extend_from_slice(&self.coinbase_sequence.to_le_bytes());
        encode_into(&VarInt::from(outputs.len() + usize::from(commitment.is_some())), &mut suffix);
        for output in outputs.iter().chain(&commitment) {
            encode_into(output, &mut suffix);
        }
        suffix.extend_from_slice(&self.coinbase_locktime.to_le_bytes());
        suffix.into_boxed_slice()
    }
}

/// Version, the one input's outpoint, and the scriptSig up to the extranonce.
fn coinbase_prefix(version: i32, height: u32, tag: &[u8], extranonce_len: usize) -> Box<[u8]> {
    let height_push = Builder::new().push_int(i64::from(height)).into_bytes();
    let tag_push = if tag.is_empty() { 0 } else { 1 + tag.len() };
    let script_len = height_push.len() + tag_push + 1 + extranonce_len;
    assert!((MIN_SCRIPT_SIG_LEN..=MAX_SCRIPT_SIG_LEN).contains(&script_len), "lengths were checked");

    let byte = |len: usize| u8::try_from(len).expect("no length in a scriptSig of 100 bytes exceeds a byte");
    let mut prefix = Vec::with_capacity(4 + 1 + 36 + 1 + script_len);
    prefix.extend_from_slice(&version.to_le_bytes());
    prefix.push(1);
    prefix.extend_from_slice(&[0; 32]);
    prefix.extend_from_slice(&u32::MAX.to_le_bytes());
    prefix.push(byte(script_len));
    prefix.extend_from_slice(&height_push);
    if !tag.is_empty() {
        prefix.push(byte(tag.len()));
        prefix.extend_from_slice(tag);
    }
    prefix.push(byte(extranonce_len));
    prefix.into_boxed_slice()
}

impl CoinbaseParts {
    /// Whether the full coinbase has a witness; one without is legal (BW-10).
    pub fn has_witness(&self) -> bool {
        self.has_witness
    }

    /// The transaction id with this extranonce, in wire byte order (BW-09).
    pub fn txid(&self, full_extranonce: &[u8]) -> [u8; 32] {
        sha256d::Hash::hash(&self.stripped(full_extranonce)).to_byte_array()
    }

    /// The transaction without witness.
    pub fn stripped(&self, full_extranonce: &[u8]) -> Vec<u8> {
        [&self.prefix, full_extranonce, &self.suffix].concat()
    }

    /// The transaction as it stands in a block.
    pub fn full(&self, full_extranonce: &[u8]) -> Vec<u8> {
        let (prefix, suffix) = self.unstripped();
        [&prefix, full_extranonce, &suffix].concat()
    }

    /// Prefix and suffix of the transaction as it stands in a block, as job declaration sends them (BW-05).
    pub fn unstripped(&self) -> (Vec<u8>, Vec<u8>) {
        let (prefix, suffix) = (&self.prefix, &self.suffix);
        if !self.has_witness {
            return (prefix.to_vec(), suffix.to_vec());
        }
        let (version, inputs) = prefix.split_at(4);
        let (outputs, locktime) = suffix.split_at(suffix.len() - 4);
        // One witness item of 32 bytes for the one input.
        let witness = [&[1, 32], &WITNESS_RESERVED_VALUE[..]].concat();
        ([version, &MARKER_AND_FLAG, inputs].concat(), [outputs, &witness, locktime].concat())
    }
}

fn sum(outputs: &[TxOut]) -> Amount {
    let sats = outputs.iter().fold(0u64, |sum, output| sum.saturating_add(output.value.to_sat()));
    Amount::from_sat(sats)
}

fn encode_into(value: &impl Encodable, bytes: &mut Vec<u8>) {
    value.consensus_encode(bytes).expect("a vector takes every write");
}

#[cfg(test)]
pub(crate) mod tests;
