//! Share validation.
//!
//! What is cheap comes first: the kind of message, the job, the extranonce's length, version and time
//! (MP-123). Then the header is hashed, and only a share that meets its target is looked up in, and
//! added to, the duplicate filter. Nothing is allocated for an accepted share but, now and then, a
//! larger filter.

use {
    super::{Channel, Common, Computed, Kind, Slot},
    crate::{
        duplicates::{Insertion, Room},
        job::{self, Job, VERSION_ROLLING_MASK},
        share::{Accepted, ExtendedShare, FoundBlock, MAX_FUTURE_NTIME, Now, Rejection, StandardShare},
        store::{Lookup, State},
    },
};

/// Places in the duplicate filter that only blocks may take, so that a channel which has used up its
/// shares does not lose one.
const PLACES_FOR_BLOCKS: u32 = 64;

impl Channel {
    /// Validates a `SubmitSharesStandard`.
    pub fn submit_standard(&mut self, share: &StandardShare, now: Now) -> Result<Accepted, Rejection> {
        if self.kind != Kind::Standard {
            return Err(Rejection::WrongKind);
        }
        self.submit(share, &[], now)
    }

    /// Validates a `SubmitSharesExtended`.
    pub fn submit_extended(&mut self, share: &ExtendedShare<'_>, now: Now) -> Result<Accepted, Rejection> {
        if self.kind == Kind::Standard {
            return Err(Rejection::WrongKind);
        }
        self.submit(&share.share, share.extranonce, now)
    }

    fn submit(&mut self, share: &StandardShare, rolled: &[u8], now: Now) -> Result<Accepted, Rejection> {
        let job_id = share.job_id;
        let slot = match self.jobs.find(job_id) {
            Lookup::Valid(slot) => slot,
            Lookup::Future => return Err(Rejection::FutureJob(job_id)),
            Lookup::Stale => return Err(Rejection::Stale(job_id)),
            Lookup::Unknown => return Err(Rejection::UnknownJob(job_id)),
        };
        if rolled.len() != usize::from(self.rollable()) {
            return Err(Rejection::ExtranonceSize { granted: self.rollable(), got: rolled.len() });
        }
        check_version(share.version, &slot.job, self.rolling_allowed(&slot.job))?;
        check_ntime(share.ntime, slot.min_ntime, now.unix)?;

        let (root, computed_anew) = self.share_root(slot, rolled);
        let tip = &*self.tip;
        let header =
            job::header(share.version, tip.prev_hash(), &root, share.ntime, tip.nbits(), share.nonce);
        let hash = job::header_hash(&header);
        let is_block = tip.network_target().is_met_by(&hash);
        let rung = *tip.rung(slot.rung);
        debug_assert!(rung.target >= tip.network_target(), "every block is a share (MP-149)");
        if !rung.target.is_met_by(&hash) {
            return Err(Rejection::AboveTarget);
        }

        let rung_index = slot.rung;
        let block = is_block.then(|| {
            let full_extranonce =
                self.prefix_at(slot.prefix).join(rolled).expect("its length was checked at opening");
            Box::new(FoundBlock {
                header,
                hash,
                full_extranonce,
                job: slot.job.clone(),
                tip: self.tip.clone(),
            })
        });
        let recompute = match self.kind {
            Kind::Standard => computed_anew,
            // A future job took the place of the one that is mined.
            Kind::Extended { .. } => slot.state == State::Active && self.computed.job_id != job_id,
        };
        let room = Room {
            hashes: self.policy.shares_per_tip.saturating_add(if is_block { PLACES_FOR_BLOCKS } else { 0 }),
            memory: &self.policy.memory,
            insists: is_block,
        };
        match self.seen.insert(&hash, room) {
            Insertion::New => {}
            Insertion::Seen => return Err(Rejection::Duplicate),
            Insertion::Full => return Err(Rejection::ShareBudget),
        }
        self.acks.record(share.sequence_number, rung.difficulty);
        self.vardiff.record(rung_index, self.policy.shares_per_minute, now.millis);
        if recompute {
            match self.kind {
                Kind::Standard => self.other_root = Some(Box::new((job_id, root))),
                Kind::Extended { .. } => self.compute(job_id),
            }
        }
        Ok(Accepted { credit: rung.credit, difficulty: rung.difficulty, block })
    }

    /// Standard jobs cannot forbid rolling by themselves (MP-91, AM-15).
    fn rolling_allowed(&self, job: &Job) -> bool {
        !self.policy.fixed_version && (self.kind == Kind::Standard || job.version_rolling_allowed())
    }

    /// The merkle root of a share, and whether it had to be computed.
    fn share_root(&self, slot: &Slot, rolled: &[u8]) -> ([u8; 32], bool) {
        let known = if self.kind == Kind::Standard { self.known_root(slot.job.id()) } else { None };
        if let Some(root) = known {
            return (root, false);
        }
        let midstate = match &self.computed {
            Computed { job_id, what: Common::Midstate(state) } if *job_id == slot.job.id() => Some(state),
            _ => None,
        };
        (slot.job.merkle_root_of(midstate, self.prefix_at(slot.prefix), rolled), true)
    }
}

/// Only the bits of BIP323 may differ from the job's version, if any (MP-29, MP-119).
fn check_version(version: u32, job: &Job, rolling_allowed: bool) -> Result<(), Rejection> {
    let rolled = version ^ job.version();
    if !rolling_allowed && rolled != 0 {
        Err(Rejection::VersionRolled(version))
    } else if rolled & !VERSION_ROLLING_MASK != 0 {
        Err(Rejection::VersionBits(version))
    } else {
        Ok(())
    }
}

/// Everything within consensus is accepted (MP-115, AM-16). If our clock is behind the node's, the
/// job's own time counts as now.
fn check_ntime(ntime: u32, min: u32, now: u32) -> Result<(), Rejection> {
    let max = now.max(min).saturating_add(MAX_FUTURE_NTIME);
    if ntime < min {
        Err(Rejection::TooEarly { ntime, min })
    } else if ntime > max {
        Err(Rejection::TooLate { ntime, max })
    } else {
        Ok(())
    }
}
