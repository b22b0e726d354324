//! Blocks connected and disconnected, in order, from either backend.

use {
    crate::{
        Node, NodeError, Stop, Tip,
        stop::{has_passed, slice_until},
    },
    bitcoin::BlockHash,
    std::{
        collections::VecDeque,
        sync::Arc,
        time::{Duration, Instant},
    },
};

/// Longest wait for the tip before looking at the best chain again.
const SLICE: Duration = Duration::from_secs(10);
/// Between tries while the node is away.
const PAUSE: Duration = Duration::from_secs(1);

/// A change of the best chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainEvent {
    /// The block is on the best chain now, on top of the one before.
    Connected {
        /// Blocks below it.
        height: u32,
        /// Its hash.
        hash: BlockHash,
    },
    /// The block, which was the last one known, is not on the best chain any more.
    Disconnected {
        /// Blocks below it.
        height: u32,
        /// Its hash.
        hash: BlockHash,
    },
}

/// What [`Watch::poll`] found.
#[derive(Clone, Debug)]
pub enum Polled {
    /// The chain has changed.
    Event(ChainEvent),
    /// The known block is the tip, or the chain is changing just now.
    AtTip,
    /// The node did not answer, or not well: ask again later.
    Away(NodeError),
}

/// The chain cannot be followed from where it is known.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WatchError {
    /// Deeper than anything that happens by itself.
    #[error(
        "the chain has changed more than {look_back} blocks deep, below {known}: look whether the node is on the right \
         chain before going on"
    )]
    TooDeep {
        /// Most blocks to be disconnected in a row.
        look_back: u32,
        /// Where it was given up.
        known: Tip,
    },
    /// A node with another history, or none.
    #[error(
        "node does not know block {known}, from where its chain is to be followed: is it another node, or another chain?"
    )]
    UnknownStart {
        /// The last block handled.
        known: Tip,
    },
}

/// Follows the best chain from a known block on.
///
/// Each step asks the node whether that block is still on the best chain, and then for the next one or the one before.
/// So a watch can be dropped at any event and begun again from there.
pub struct Watch {
    node: Arc<dyn Node>,
    known: Tip,
    /// Blocks below `known`, highest last, at most `look_back` of them: a node that crashed may have forgotten them.
    below: VecDeque<Tip>,
    look_back: u32,
    disconnected: u32,
}

impl Watch {
    /// Follows `node` from `start`, the last block that was handled. At most `look_back` blocks in a row are
    /// disconnected.
    pub fn from(node: Arc<dyn Node>, start: Tip, look_back: u32) -> Self {
        Self { node, known: start, below: VecDeque::new(), look_back, disconnected: 0 }
    }

    /// The last block after all events returned so far.
    pub fn known(&self) -> Tip {
        self.known
    }

    /// Waits for the next event; none when stopped or at the deadline. A node that is away is waited for.
    pub fn next(&mut self, stop: &Stop, deadline: Option<Instant>) -> Result<Option<ChainEvent>, WatchError> {
        loop {
            if stop.is_stopped() {
                return Ok(None);
            }
            let step = match self.poll() {
                Ok(Polled::Event(event)) => return Ok(Some(event)),
                Ok(Polled::AtTip) => {
                    let until = Instant::now() + slice_until(deadline, SLICE);
                    self.node.wait_tip(&self.known.hash, stop, until).map(drop)
                }
                Ok(Polled::Away(error)) => Err(error),
                Err(lost) => return Err(lost),
            };
            if let Err(error) = step {
                tracing::debug!(%error, "chain cannot be followed at present");
                stop.wait(slice_until(deadline, PAUSE));
            }
            if has_passed(deadline) {
                return Ok(None);
            }
        }
    }

    /// The next event if there is one now, without waiting.
    ///
    /// # Errors
    /// When the chain cannot be followed from where it is known.
    pub fn poll(&mut self) -> Result<Polled, WatchError> {
        match self.step() {
            Ok(Step::Event(event)) => Ok(Polled::Event(event)),
            Ok(Step::AtTip) => Ok(Polled::AtTip),
            Ok(Step::Lost(error)) => Err(error),
            Err(error) => Ok(Polled::Away(error)),
        }
    }

    fn step(&mut self) -> Result<Step, NodeError> {
        let Tip { height, hash } = self.known;
        if self.node.block_hash(height)? != Some(hash) {
            return self.step_back();
        }
        let above = height.saturating_add(1);
        let Some(next) = self.node.block_hash(above)? else {
            return Ok(Step::AtTip);
        };
        match self.node.block_info(&next)? {
            Some(info) if info.prev_hash == hash && info.height == above => {
                self.below.push_back(self.known);
                if self.below.len() > self.look_back as usize {
                    self.below.pop_front();
                }
                self.known = Tip { height: above, hash: next };
                self.disconnected = 0;
                Ok(Step::Event(ChainEvent::Connected { height: above, hash: next }))
            }
            // The best chain changed between the questions.
            Some(_) | None => Ok(Step::AtTip),
        }
    }

    fn step_back(&mut self) -> Result<Step, NodeError> {
        let known = self.known;
        let Some(parent) = self.parent()? else {
            return Ok(Step::Lost(WatchError::UnknownStart { known }));
        };
        if self.disconnected == self.look_back {
            return Ok(Step::Lost(WatchError::TooDeep { look_back: self.look_back, known }));
        }
        self.disconnected += 1;
        self.below.pop_back();
        self.known = parent;
        Ok(Step::Event(ChainEvent::Disconnected { height: known.height, hash: known.hash }))
    }

    /// The block that the known one builds on, by the node's word or from memory.
    fn parent(&self) -> Result<Option<Tip>, NodeError> {
        let Tip { height, hash } = self.known;
        if let Some(parent) = self.below.back() {
            return Ok(Some(*parent));
        }
        let info = self.node.block_info(&hash)?.filter(|info| info.height == height);
        Ok(info.and_then(|info| Some(Tip { height: height.checked_sub(1)?, hash: info.prev_hash })))
    }
}

enum Step {
    Event(ChainEvent),
    Lost(WatchError),
    AtTip,
}
