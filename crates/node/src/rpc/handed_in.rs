//! Handing in blocks, and handing them in again to a node that forgot them.
//!
//! A node writes what it knows about blocks to disk now and then. One that crashes forgets the newest: usually its peers
//! give them again, but a block just found may have reached none of them.

use {
    super::Link,
    crate::{NodeError, Submitted},
    bitcoin::{BlockHash, block::Header, consensus},
    hex::DisplayHex,
    serde_json::{Value, json},
    std::{collections::VecDeque, sync::PoisonError, time::Duration},
};

/// A node checks a whole block before it answers.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(60);
/// Most bytes remembered; the newest block always is.
const MAX_BYTES: usize = 16_000_000;
/// Most blocks remembered.
const MAX_BLOCKS: usize = 100;
/// A block that cannot be decoded, or whose first transaction is no coinbase.
const CODE_DESERIALIZATION: i64 = -22;

/// Blocks that the node has taken, oldest first.
#[derive(Default)]
pub(super) struct HandedIn {
    blocks: VecDeque<(BlockHash, Box<[u8]>)>,
    bytes: usize,
}

impl HandedIn {
    fn push(&mut self, hash: BlockHash, block: &[u8]) {
        if self.blocks.iter().any(|(known, _)| *known == hash) {
            return;
        }
        self.bytes += block.len();
        self.blocks.push_back((hash, block.into()));
        while self.blocks.len() > 1 && (self.bytes > MAX_BYTES || self.blocks.len() > MAX_BLOCKS) {
            let (_, oldest) = self.blocks.pop_front().expect("there are two at least");
            self.bytes -= oldest.len();
        }
        debug_assert_eq!(self.bytes, self.blocks.iter().map(|(_, block)| block.len()).sum::<usize>());
    }
}

impl Link {
    pub(super) fn submit(&self, params: &Value) -> Result<Submitted, NodeError> {
        match self.client.call_nullable::<String>("submitblock", params, SUBMIT_TIMEOUT) {
            Ok(None) => Ok(Submitted::Accepted),
            Ok(Some(reason)) => Ok(match reason.as_str() {
                "duplicate" => Submitted::Duplicate,
                "inconclusive" | "duplicate-inconclusive" => Submitted::Inconclusive,
                _ => Submitted::Rejected(reason),
            }),
            Err(NodeError::Rpc { code: CODE_DESERIALIZATION, message, .. }) => {
                Ok(Submitted::Rejected(message))
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps a block that the node holds for valid.
    pub(super) fn remember(&self, block: &[u8], submitted: &Submitted) {
        let valid = !matches!(submitted, Submitted::Rejected(_));
        if let Some(hash) = block_hash(block).filter(|_| valid) {
            self.handed_in.lock().unwrap_or_else(PoisonError::into_inner).push(hash, block);
        }
    }

    /// Hands in again what the node does not know any more.
    ///
    /// # Errors
    /// Only when the node is away again. A block that it will not have must not keep templates from coming.
    pub(super) fn hand_in_again(&self) -> Result<(), NodeError> {
        let remembered = || self.handed_in.lock().unwrap_or_else(PoisonError::into_inner);
        let hashes: Vec<BlockHash> = remembered().blocks.iter().map(|(hash, _)| *hash).collect();
        for hash in hashes {
            match self.block_info(&hash) {
                Ok(None) => {}
                Ok(Some(_)) | Err(NodeError::Rpc { .. }) => continue,
                Err(error) => return Err(error),
            }
            let find = |(known, block): &(BlockHash, Box<[u8]>)| (*known == hash).then(|| params(block));
            let Some(params) = remembered().blocks.iter().find_map(find) else { continue };
            match self.submit(&params) {
                Ok(submitted) => {
                    tracing::warn!(%hash, %submitted, "node had forgotten a block, handed in again")
                }
                Err(error @ NodeError::Rpc { .. }) => {
                    tracing::warn!(%hash, %error, "node had forgotten a block")
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

pub(super) fn params(block: &[u8]) -> Value {
    json!([block.to_lower_hex_string()])
}

/// The hash of a block in consensus encoding; none for what is too short to be one.
pub(super) fn block_hash(block: &[u8]) -> Option<BlockHash> {
    let header: Header = consensus::deserialize(block.get(..80)?).ok()?;
    Some(header.block_hash())
}

#[cfg(test)]
mod tests {
    use {super::*, bitcoin::hashes::Hash};

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut handed_in = HandedIn::default();
        let hash = |n: u8| BlockHash::from_byte_array([n; 32]);
        for n in 0..200 {
            handed_in.push(hash(n), &[n]);
            handed_in.push(hash(n), &[n]);
        }
        assert_eq!((handed_in.blocks.len(), handed_in.bytes), (MAX_BLOCKS, MAX_BLOCKS));
        handed_in.push(hash(201), &vec![0; MAX_BYTES - 1]);
        assert_eq!(handed_in.blocks.len(), 2);
        handed_in.push(hash(202), &vec![0; MAX_BYTES + 1]);
        assert_eq!(handed_in.blocks.len(), 1);
    }
}
