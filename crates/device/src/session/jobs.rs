//! The jobs of the device's channel: what waits, what is mined, what was mined on this tip.
//!
//! The same model that the server keeps (SM-12 to SM-19).

use std::collections::VecDeque;
use std::time::Instant;

use sv2::mining::SetNewPrevHash;
use work::{CompactError, Target};

use crate::search::{Coinbase, Root, Work, merkle_root};

/// Future jobs kept; when there are more, the oldest makes room.
const FUTURE_JOBS: usize = 32;
/// Jobs of the present tip whose late results are still submitted.
const MINED_JOBS: usize = 32;

/// A job as it came, with the merkle root's source that held at that moment (SM-13, MP-70).
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub job_id: u32,
    pub version: u32,
    pub version_rolling: bool,
    pub root: Root,
}

/// A job that is or was mined on the present tip, with the targets that hold for its shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mined {
    /// [`Work::id`].
    pub work: u64,
    pub job_id: u32,
    /// Snapshot of the channel's target when the job became active (MP-142, MP-143).
    pub share_target: Target,
    pub network_target: Target,
}

impl Mined {
    /// What is worth submitting: shares, and blocks even if the server's target is harder than the
    /// network's, which makes no sense but must not cost a block (MP-137, MP-149).
    pub fn search_target(&self) -> Target {
        self.share_target.max(self.network_target)
    }
}

/// Why a job was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum JobError {
    #[error("job {0} is to be mined now, but no block was named to build on (SM-14)")]
    NoTip(u32),
    #[error("SetNewPrevHash names job {0}, which was not sent as a future job (MP-100)")]
    NotFuture(u32),
    #[error("SetNewPrevHash has an impossible network target: {0}")]
    Nbits(#[from] CompactError),
}

#[derive(Debug, Clone, Copy)]
struct Tip {
    prev_hash: [u8; 32],
    nbits: u32,
    network_target: Target,
}

/// The jobs of one channel.
#[derive(Debug)]
pub(super) struct Jobs {
    /// For jobs that arrive from now on (MP-70).
    extranonce_prefix: Box<[u8]>,
    /// Rolled bytes; `None` on a standard channel.
    extranonce_size: Option<usize>,
    /// For jobs that become active from now on (MP-141).
    target: Target,
    tip: Option<Tip>,
    future: VecDeque<Offer>,
    mined: VecDeque<Mined>,
    next_work: u64,
}

impl Jobs {
    /// Of a channel that was just opened (SM-12). Work ids start at `first_work`, so that results found
    /// for an earlier channel are never taken for this one's.
    pub fn new(
        extranonce_prefix: &[u8],
        extranonce_size: Option<usize>,
        target: Target,
        first_work: u64,
    ) -> Self {
        Jobs {
            extranonce_prefix: extranonce_prefix.into(),
            extranonce_size,
            target,
            tip: None,
            future: VecDeque::new(),
            mined: VecDeque::new(),
            next_work: first_work,
        }
    }

    /// The id that the next work gets.
    pub fn next_work(&self) -> u64 {
        self.next_work
    }

    /// Sets the target of jobs that become active from now on (SM-17).
    pub fn set_target(&mut self, target: Target) {
        self.target = target;
    }

    /// Sets the prefix of jobs that arrive from now on (SM-18).
    pub fn set_extranonce_prefix(&mut self, prefix: &[u8]) {
        self.extranonce_prefix = prefix.into();
    }

    /// Rolled bytes; `None` on a standard channel.
    pub fn extranonce_size(&self) -> Option<usize> {
        self.extranonce_size
    }

    /// The root of an extended job with the present prefix. On a standard channel the prefix is the
    /// whole extranonce, so there is one root (MP-08, MP-09, MD-02).
    pub fn root(&self, prefix: &[u8], suffix: &[u8], merkle_path: Vec<[u8; 32]>) -> Root {
        match self.extranonce_size {
            None => Root::Fixed(merkle_root(&[prefix, &self.extranonce_prefix, suffix], &merkle_path)),
            Some(extranonce_size) => Root::Rolled(Coinbase {
                prefix: [prefix, &self.extranonce_prefix].concat().into(),
                extranonce_size,
                suffix: suffix.into(),
                merkle_path: merkle_path.into(),
            }),
        }
    }

    /// A job without `min_ntime`: it waits (MP-82).
    pub fn add_future(&mut self, offer: Offer) {
        self.future.retain(|waiting| waiting.job_id != offer.job_id);
        if self.future.len() == FUTURE_JOBS {
            self.future.pop_front();
        }
        self.future.push_back(offer);
    }

    /// A job with `min_ntime`: mined at once on the present tip (MP-80, MP-83, SM-14).
    pub fn add_active(&mut self, offer: Offer, min_ntime: u32, now: Instant) -> Result<Work, JobError> {
        let tip = self.tip.ok_or(JobError::NoTip(offer.job_id))?;
        Ok(self.start(offer, tip, min_ntime, now))
    }

    /// A new tip: its job is mined, all others are dead (MP-98, MP-99, SM-15). After an error nothing
    /// may be mined until the next valid pair (MP-101, SM-16).
    pub fn set_new_prev_hash(&mut self, message: &SetNewPrevHash, now: Instant) -> Result<Work, JobError> {
        self.mined.clear();
        self.tip = None;
        let named = self.future.iter().position(|offer| offer.job_id == message.job_id);
        let offer = named.and_then(|at| self.future.remove(at));
        let Some(offer) = offer else { return Err(JobError::NotFuture(message.job_id)) };
        self.future.clear();
        let network_target = Target::from_compact(message.nbits)?;
        let tip = Tip { prev_hash: message.prev_hash, nbits: message.nbits, network_target };
        self.tip = Some(tip);
        Ok(self.start(offer, tip, message.min_ntime, now))
    }

    fn start(&mut self, offer: Offer, tip: Tip, min_ntime: u32, now: Instant) -> Work {
        let mined = Mined {
            work: self.next_work,
            job_id: offer.job_id,
            share_target: self.target,
            network_target: tip.network_target,
        };
        self.next_work += 1;
        if self.mined.len() == MINED_JOBS {
            self.mined.pop_front();
        }
        self.mined.push_back(mined);
        Work {
            id: mined.work,
            version: offer.version,
            version_rolling: offer.version_rolling,
            prev_hash: tip.prev_hash,
            nbits: tip.nbits,
            min_ntime,
            received: now,
            target: mined.search_target(),
            root: offer.root,
        }
    }

    /// The job that a result is for, as long as shares of it are good: same tip (MD-07, SM-22).
    pub fn mined(&self, work: u64) -> Option<Mined> {
        self.mined.iter().find(|mined| mined.work == work).copied()
    }

    /// The job that is mined now.
    pub fn active(&self) -> Option<Mined> {
        self.mined.back().copied()
    }
}
