//! The append-only journal: events in their order, chained by SHA-256.
//!
//! Row `n` carries `hash(n) = SHA-256(hash(n−1) ‖ n ‖ kind ‖ payload)`, with 32 zero bytes for `hash(0)`. A row that
//! was changed, lost, torn or moved shows, and so does any row after it; whoever keeps one old hash can tell that
//! nothing before it was rewritten.

mod codec;

use crate::Event;
use bitcoin_hashes::{Hash, HashEngine, sha256};
pub use codec::{DecodeError, Decoder};
use std::fmt;
use thiserror::Error;

/// Running hash of the journal.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ChainHash(pub [u8; 32]);

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The end of the journal. The default is that of an empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Number of the last row; rows are numbered from 1.
    pub sequence: u64,
    /// Its hash.
    pub hash: ChainHash,
}

/// One event, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub sequence: u64,
    /// Which event it is.
    pub kind: u8,
    /// The event, encoded.
    pub payload: Vec<u8>,
    /// Running hash up to and with this row.
    pub hash: ChainHash,
}

/// A row that does not follow from the one before.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BrokenChain {
    /// Rows are missing.
    #[error("journal row {expected} is missing: row {found} follows")]
    Missing {
        /// The row that should come.
        expected: u64,
        /// The row that comes.
        found: u64,
    },
    /// The row, or one before it, is not what was written.
    #[error("journal row {0} was changed: its hash does not follow from the row before")]
    Changed(u64),
}

impl Row {
    /// The next row after `head`, which moves on to it.
    pub fn append(head: &mut Head, event: &Event) -> Row {
        let (kind, payload) = codec::encode(event);
        let sequence = head.sequence + 1;
        let hash = chain(&head.hash, sequence, kind, &payload);
        *head = Head { sequence, hash };
        Row { sequence, kind, payload, hash }
    }

    /// Checks that this row follows `head`, which moves on to it.
    ///
    /// # Errors
    /// When rows are missing before it, or it was changed.
    pub fn follow(&self, head: &mut Head) -> Result<(), BrokenChain> {
        if self.sequence != head.sequence + 1 {
            return Err(BrokenChain::Missing { expected: head.sequence + 1, found: self.sequence });
        }
        if self.hash != chain(&head.hash, self.sequence, self.kind, &self.payload) {
            return Err(BrokenChain::Changed(self.sequence));
        }
        *head = Head { sequence: self.sequence, hash: self.hash };
        Ok(())
    }
}

fn chain(previous: &ChainHash, sequence: u64, kind: u8, payload: &[u8]) -> ChainHash {
    let mut engine = sha256::Hash::engine();
    engine.input(&previous.0);
    engine.input(&sequence.to_le_bytes());
    engine.input(&[kind]);
    engine.input(payload);
    ChainHash(sha256::Hash::from_engine(engine).to_byte_array())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlockHash, Epoch};

    #[test]
    fn a_changed_row_shows() {
        let mut head = Head::default();
        let rows: Vec<Row> = (1..4).map(|height| Row::append(&mut head, &Event::Tip { height })).collect();
        let mut check = Head::default();
        for row in &rows {
            row.follow(&mut check).unwrap();
        }
        assert_eq!(check, head);

        let mut changed = rows[1].clone();
        *changed.payload.last_mut().unwrap() ^= 1;
        let mut check = Head::default();
        rows[0].follow(&mut check).unwrap();
        assert_eq!(changed.follow(&mut check), Err(BrokenChain::Changed(2)));
        assert_eq!(rows[2].follow(&mut check), Err(BrokenChain::Missing { expected: 2, found: 3 }));
        let mut kind = rows[1].clone();
        kind.kind ^= 1;
        assert_eq!(kind.follow(&mut check), Err(BrokenChain::Changed(2)));
        assert_eq!(check.sequence, 1);
    }

    /// The hash of a known journal: a change of the encoding must not go unnoticed.
    #[test]
    fn the_chain_is_what_it_was() {
        let mut head = Head::default();
        let params = crate::Params { redeem_blocks: 0, ..crate::Params::default() };
        Row::append(&mut head, &Event::Created(params));
        Row::append(&mut head, &Event::BlockDisconnected(BlockHash::from_bytes([7; 32])));
        let row = Row::append(&mut head, &Event::EpochFrozen(Epoch(3)));
        assert_eq!(row.payload, [1, 3]);
        assert_eq!(head.sequence, 3);
        assert_eq!(head.hash.to_string(), "4e581260cdd7f75d05f95072850dc812c829a5950e0d4ae59c85f710f35144b0");
    }
}
