//! Handing in blocks: now, when the node is back, and again to a node that forgot them.
//!
//! A block is remembered before the first try, and forgotten only when the node finds that it breaks a rule. So a node
//! that was away, overloaded or confused gets it when it recovers. And a node writes what it knows about blocks to disk
//! now and then: one that crashes forgets the newest. Usually its peers give them again, but a block just found may
//! have reached none of them.

mod memory;

use {
    super::Link,
    crate::{BlockInfo, NodeError, Submitted},
    bitcoin::{BlockHash, block::Header, consensus},
    hex::DisplayHex,
    memory::Delivery,
    serde_json::{Value, json},
    std::{
        sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
        thread,
        time::{Duration, Instant},
    },
};

pub(super) use memory::HandedIn;

/// Longest wait for the answer to one try: a node checks a whole block before it answers.
const LONGEST_TRY: Duration = Duration::from_secs(60);
/// A try is never shorter.
const SHORTEST_TRY: Duration = Duration::from_secs(1);
/// Between the first two tries; the pause doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A block that cannot be decoded, or whose first transaction is no coinbase.
const CODE_DESERIALIZATION: i64 = -22;

/// What a node said to one try.
enum Answer {
    Final(Submitted),
    /// It lacks the block's parent, in its own words: no judgement of the block.
    NotYet(String),
}

/// What became of a block that was remembered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The node has taken it now.
    Taken,
    /// The node lacks its parent.
    NotYet,
    /// There was nothing to do, or nothing more can be done now.
    Left,
}

impl Link {
    /// Offers a block until the node has judged it, or patience ends.
    pub(super) fn deliver(&self, block: &[u8]) -> Result<Submitted, NodeError> {
        let params = params(block);
        let Some(header) = header(block) else {
            // Too short for a block. The node says so in its own words.
            return self.submit(&params, &Self::no_block()).map(|answer| match answer {
                Answer::Final(submitted) => submitted,
                Answer::NotYet(reason) => Submitted::Rejected(reason),
            });
        };
        let hash = header.block_hash();
        self.remembered().take_in_hand(hash, header.prev_blockhash, block);
        let (started, mut pause) = (Instant::now(), FIRST_PAUSE);
        for tries in 1.. {
            let (reason, parent_came) = match self.submit(&params, &header.prev_blockhash) {
                Ok(Answer::Final(submitted)) => {
                    self.settle(&hash, &submitted);
                    return Ok(if tries > 1 { self.after_retry(submitted, &hash) } else { submitted });
                }
                // Its parent may be one of ours, which the node has forgotten.
                Ok(Answer::NotYet(reason)) => (reason, self.hand_in_again().is_ok_and(|taken| taken > 0)),
                Err(error) => (error.to_string(), false),
            };
            if parent_came && tries == 1 {
                continue;
            }
            if started.elapsed() + pause > self.config.submit_patience {
                self.remembered().set(&hash, Delivery::Undelivered);
                return Err(NodeError::Undelivered { hash, tries, reason });
            }
            tracing::warn!(block = %hash, tries, reason, "block not handed in yet");
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        unreachable!("a `u32` of tries, a quarter of a second apart at least, outlasts any patience")
    }

    /// One try.
    fn submit(&self, params: &Value, prev: &BlockHash) -> Result<Answer, NodeError> {
        let rejected = |reason| Ok(Answer::Final(Submitted::Rejected(reason)));
        match self.client.call_nullable::<String>("submitblock", params, self.try_timeout()) {
            Ok(None) => Ok(Answer::Final(Submitted::Accepted)),
            Ok(Some(reason)) => match reason.as_str() {
                "duplicate" => Ok(Answer::Final(Submitted::Duplicate)),
                "inconclusive" | "duplicate-inconclusive" => Ok(Answer::Final(Submitted::Inconclusive)),
                "prev-blk-not-found" | "inconclusive-not-best-prevblk" => Ok(Answer::NotYet(reason)),
                // BIP 22's word for a parent that is unknown; Bitcoin Core's for one that is invalid.
                "bad-prevblk" if matches!(self.block_info(prev), Ok(Some(_))) => rejected(reason),
                "bad-prevblk" => Ok(Answer::NotYet(reason)),
                _ => rejected(reason),
            },
            Err(NodeError::Rpc { code: CODE_DESERIALIZATION, message, .. }) => rejected(message),
            Err(error) => Err(error),
        }
    }

    /// A call that hangs leaves time for a second: a node that does check the block all the while knows it then.
    fn try_timeout(&self) -> Duration {
        (self.config.submit_patience / 2).clamp(SHORTEST_TRY, LONGEST_TRY)
    }

    /// A second try that meets a duplicate met its own first one, whose answer was lost.
    fn after_retry(&self, submitted: Submitted, hash: &BlockHash) -> Submitted {
        let on_best_chain =
            || matches!(self.block_info(hash), Ok(Some(BlockInfo { confirmations: Some(_), .. })));
        match submitted {
            Submitted::Duplicate if on_best_chain() => Submitted::Accepted,
            other => other,
        }
    }

    fn settle(&self, hash: &BlockHash, submitted: &Submitted) {
        match submitted {
            Submitted::Rejected(_) => self.remembered().forget(hash),
            _ => self.remembered().set(hash, Delivery::Delivered),
        }
    }

    /// Hands in what the node does not know, or not any more. Returns how many blocks it took.
    ///
    /// # Errors
    /// Only when the node is away. A block that it will not have must not keep templates from coming.
    pub(super) fn hand_in_again(&self) -> Result<usize, NodeError> {
        let blocks = self.remembered().list(|_| true);
        self.hand_in(blocks)
    }

    /// Hands in what could not be delivered in time, in a thread of its own: a node that hangs on a block must not keep
    /// templates from coming.
    pub(super) fn begin_redelivery(self: &Arc<Self>) {
        let blocks = self.remembered().list(|delivery| delivery == Delivery::Undelivered);
        if blocks.is_empty() || self.redelivering.swap(true, Ordering::AcqRel) {
            return;
        }
        let link = Arc::clone(self);
        let run = move || {
            // It is tried again at the next heartbeat.
            let _ = link.hand_in(blocks);
            link.redelivering.store(false, Ordering::Release);
        };
        if let Err(error) = thread::Builder::new().name("node-blocks".into()).spawn(run) {
            tracing::error!(%error, "no thread to hand in blocks that wait");
            self.redelivering.store(false, Ordering::Release);
        }
    }

    fn hand_in(&self, mut blocks: Vec<(BlockHash, BlockHash)>) -> Result<usize, NodeError> {
        let mut taken = 0;
        loop {
            // Parents stand before their children, unless they were handed in in another order.
            let (before, mut without_parent) = (taken, Vec::new());
            for (hash, prev) in blocks {
                match self.hand_in_one(&hash, &prev)? {
                    Fate::Taken => taken += 1,
                    Fate::NotYet => without_parent.push((hash, prev)),
                    Fate::Left => {}
                }
            }
            if taken == before || without_parent.is_empty() {
                return Ok(taken);
            }
            blocks = without_parent;
        }
    }

    fn hand_in_one(&self, hash: &BlockHash, prev: &BlockHash) -> Result<Fate, NodeError> {
        let is_known = |hash: &BlockHash| match self.block_info(hash) {
            Ok(info) => Ok(info.is_some()),
            // A node that cannot tell has it as likely as not.
            Err(NodeError::Rpc { .. }) => Ok(true),
            Err(error) => Err(error),
        };
        if is_known(hash)? {
            self.remembered().set(hash, Delivery::Delivered);
            return Ok(Fate::Left);
        }
        self.remembered().set(hash, Delivery::Undelivered);
        // Megabytes are not sent in vain.
        if !is_known(prev)? {
            return Ok(Fate::NotYet);
        }
        let Some(params) = self.remembered().block(hash).map(params) else { return Ok(Fate::Left) };
        match self.submit(&params, prev) {
            Ok(Answer::Final(submitted)) => {
                self.settle(hash, &submitted);
                if let Submitted::Rejected(reason) = submitted {
                    tracing::error!(block = %hash, reason, "block handed in late was refused by the node");
                    return Ok(Fate::Left);
                }
                tracing::warn!(block = %hash, %submitted, "node lacked a block, which was handed in again");
                Ok(Fate::Taken)
            }
            Ok(Answer::NotYet(_)) => Ok(Fate::NotYet),
            Err(error) => {
                tracing::warn!(block = %hash, %error, "node lacks a block, which it did not take");
                Ok(Fate::Left)
            }
        }
    }

    // Each of its methods leaves it whole, so that a panic elsewhere does no harm. Never held during a call.
    fn remembered(&self) -> MutexGuard<'_, HandedIn> {
        self.handed_in.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn params(block: &[u8]) -> Value {
    json!([block.to_lower_hex_string()])
}

/// The header of a block in consensus encoding; none of what is too short to be one.
fn header(block: &[u8]) -> Option<Header> {
    consensus::deserialize(block.get(..80)?).ok()
}
