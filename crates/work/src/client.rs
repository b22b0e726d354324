//! A channel as a client keeps it: a device, or the upstream side of a proxy.
//!
//! The same model as the server's. Messages to a group are applied by the caller to each of its
//! channels.

use {
    crate::{
        channel::Kind,
        extranonce::{Extranonce, ExtranonceTooLong},
        job::{self, Job, Tip},
        sha256,
        store::{Entry, IdInUse, JobStore, Limits, Lookup, State},
        target::Target,
        units::Ehash,
    },
    std::{ops::RangeInclusive, sync::Arc},
    thiserror::Error,
};

/// How many jobs a client keeps of each kind, whatever a server sends.
const LIMITS: Limits = Limits { future: 16, past: 16 };

/// Why a message of the server does not fit what it sent before. It is not acted upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClientError {
    /// MP-84, MP-85.
    #[error("the server sent job {0} while another job with this id is valid")]
    IdInUse(u32),
    /// MP-101, SM-16. Mining has stopped until the next valid pair of job and `SetNewPrevHash`.
    #[error("the server's SetNewPrevHash names job {0}, which it did not send as a future job; mining stops")]
    NotFuture(u32),
    /// MP-83, SM-14.
    #[error("the server sent job {0} to be mined at once, but no SetNewPrevHash before it")]
    NoTip(u32),
    /// MP-06.
    #[error("the server sent a standard job on an extended channel")]
    StandardJob,
    /// MP-21.
    #[error("the server sent a job for a full extranonce of {got} bytes on a channel that has {have}")]
    ExtranonceLength {
        /// Of the channel.
        have: usize,
        /// Of the job.
        got: usize,
    },
    /// LIM-06.
    #[error(transparent)]
    ExtranonceTooLong(#[from] ExtranonceTooLong),
}

/// How an assignment comes to its merkle root.
#[derive(Debug, Clone)]
enum Root {
    Fixed([u8; 32]),
    Rolled { job: Arc<Job>, midstate: Option<sha256::State>, prefix: Extranonce },
}

/// A job with all that is needed to mine it.
#[derive(Debug, Clone)]
pub struct Assignment {
    id: u32,
    version: u32,
    version_rolling_allowed: bool,
    root: Root,
    state: State,
    tip: Option<Arc<Tip>>,
    /// In force for this job: taken when it became active (MP-142, MP-143).
    target: Target,
    min_ntime: u32,
    /// When the message that supplied `min_ntime` came, in milliseconds.
    since: u64,
}

impl Entry for Assignment {
    fn id(&self) -> u32 {
        self.id
    }

    fn state(&self) -> State {
        self.state
    }

    fn set_state(&mut self, state: State) {
        self.state = state;
    }
}

impl Assignment {
    /// The id under which shares are submitted.
    pub const fn job_id(&self) -> u32 {
        self.id
    }

    /// The header's version, all of whose bits may have any value (MP-89).
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Whether the bits of [`crate::VERSION_ROLLING_MASK`] may be rolled; if not, the version is used as
    /// it is (MP-90).
    pub const fn version_rolling_allowed(&self) -> bool {
        self.version_rolling_allowed
    }

    /// What a share must meet (MP-137).
    pub const fn target(&self) -> Target {
        self.target
    }

    /// The tip that is extended.
    pub fn tip(&self) -> &Tip {
        self.tip.as_ref().expect("only active and past jobs are given out, and they have a tip")
    }

    /// What a share earns.
    pub fn credit(&self) -> Ehash {
        Target::credit(self.target, self.tip().network_target())
    }

    /// The times a header may carry now: the job's least, and a second more for each that has passed
    /// since the server said it (MP-113, AM-16). The device's own calendar is not asked (CW-39).
    pub fn ntimes(&self, now_millis: u64) -> RangeInclusive<u32> {
        let elapsed = now_millis.saturating_sub(self.since) / 1000;
        let latest = self.min_ntime.saturating_add(u32::try_from(elapsed).unwrap_or(u32::MAX));
        self.min_ntime..=latest
    }

    /// The merkle root with these rolled bytes of the extranonce; none on standard channels.
    ///
    /// # Panics
    /// If an extended channel was granted another number of bytes.
    pub fn merkle_root(&self, rolled: &[u8]) -> [u8; 32] {
        match &self.root {
            Root::Fixed(root) => *root,
            Root::Rolled { job, midstate, prefix } => job.merkle_root_of(midstate.as_ref(), prefix, rolled),
        }
    }

    /// A header of this job.
    pub fn header(&self, version: u32, merkle_root: &[u8; 32], ntime: u32, nonce: u32) -> [u8; 80] {
        let tip = self.tip();
        job::header(version, tip.prev_hash(), merkle_root, ntime, tip.nbits(), nonce)
    }
}

/// A channel of a client.
#[derive(Debug)]
pub struct ClientChannel {
    kind: Kind,
    prefix: Extranonce,
    target: Target,
    tip: Option<Arc<Tip>>,
    jobs: JobStore<Assignment>,
}

impl ClientChannel {
    /// A channel as `Open…Success` describes it: no job, no tip (SM-12).
    pub fn new(kind: Kind, prefix: &[u8], target: Target) -> Result<Self, ExtranonceTooLong> {
        let prefix = Extranonce::new(prefix)?;
        if let Kind::Extended { rollable } = kind {
            prefix.join(&vec![0; rollable.into()])?;
        }
        Ok(Self { kind, prefix, target, tip: None, jobs: JobStore::new() })
    }

    /// Which messages it speaks.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The target for jobs to come.
    pub const fn target(&self) -> Target {
        self.target
    }

    /// The extranonce prefix for jobs to come.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Prefix and rollable bytes: what jobs are made for.
    pub fn full_extranonce_len(&self) -> usize {
        match self.kind {
            Kind::Standard => self.prefix.len(),
            Kind::Extended { rollable } => self.prefix.len() + usize::from(rollable),
        }
    }

    /// `NewMiningJob`. Without `min_ntime` it is stored (MP-82), with it mined at once (MP-80). The
    /// version may be rolled unless the server required a fixed one (MP-91).
    pub fn standard_job(
        &mut self,
        id: u32,
        version: u32,
        version_rolling_allowed: bool,
        merkle_root: [u8; 32],
        min_ntime: Option<u32>,
        now_millis: u64,
    ) -> Result<(), ClientError> {
        if self.kind != Kind::Standard {
            return Err(ClientError::StandardJob);
        }
        self.add(id, version, version_rolling_allowed, Root::Fixed(merkle_root), min_ntime, now_millis)
    }

    /// `NewExtendedMiningJob`, addressed to the channel or its group. A standard channel that is sent one
    /// through its group puts its prefix between the coinbase's parts (MP-09).
    pub fn extended_job(
        &mut self,
        job: &Arc<Job>,
        min_ntime: Option<u32>,
        now_millis: u64,
    ) -> Result<(), ClientError> {
        if job.extranonce_len() != self.full_extranonce_len() {
            let (have, got) = (self.full_extranonce_len(), job.extranonce_len());
            return Err(ClientError::ExtranonceLength { have, got });
        }
        let root = match self.kind {
            Kind::Standard => Root::Fixed(job.merkle_root(&self.prefix)),
            Kind::Extended { .. } => Root::Rolled {
                job: job.clone(),
                midstate: job.channel_midstate(&self.prefix),
                prefix: self.prefix,
            },
        };
        self.add(job.id(), job.version(), job.version_rolling_allowed(), root, min_ntime, now_millis)
    }

    fn add(
        &mut self,
        id: u32,
        version: u32,
        version_rolling_allowed: bool,
        root: Root,
        min_ntime: Option<u32>,
        now_millis: u64,
    ) -> Result<(), ClientError> {
        let tip = match min_ntime {
            Some(_) => Some(self.tip.clone().ok_or(ClientError::NoTip(id))?),
            None => None,
        };
        let assignment = Assignment {
            id,
            version,
            version_rolling_allowed,
            root,
            state: State::Future,
            tip,
            target: self.target,
            min_ntime: min_ntime.unwrap_or(0),
            since: now_millis,
        };
        let added = match min_ntime {
            Some(_) => self.jobs.add_active(assignment, LIMITS),
            None => self.jobs.add_future(assignment, LIMITS),
        };
        added.map_err(|IdInUse| ClientError::IdInUse(id))
    }

    /// `SetNewPrevHash`: the job it names is mined at once, all others die (MP-98, MP-99). If there is no
    /// such future job, mining stops until the next valid pair: the old tip is dead either way (MP-101).
    pub fn set_new_prev_hash(
        &mut self,
        job_id: u32,
        tip: &Arc<Tip>,
        now_millis: u64,
    ) -> Result<(), ClientError> {
        let Some(job) = self.jobs.activate(job_id, LIMITS) else {
            self.jobs.stop(LIMITS);
            self.tip = None;
            return Err(ClientError::NotFuture(job_id));
        };
        job.tip = Some(tip.clone());
        job.target = self.target;
        job.min_ntime = tip.min_ntime();
        job.since = now_millis;
        self.tip = Some(tip.clone());
        Ok(())
    }

    /// `SetTarget`: for jobs that become active from now on (SM-17).
    pub fn set_target(&mut self, target: Target) {
        self.target = target;
    }

    /// `SetExtranoncePrefix`: for jobs sent from now on (SM-18). Another length is only good for jobs
    /// made for it (MP-73).
    pub fn set_prefix(&mut self, prefix: &[u8]) -> Result<(), ExtranonceTooLong> {
        let prefix = Extranonce::new(prefix)?;
        if let Kind::Extended { rollable } = self.kind {
            prefix.join(&vec![0; rollable.into()])?;
        }
        self.prefix = prefix;
        Ok(())
    }

    /// What is to be mined; nothing before there are job and tip (MP-49).
    pub fn active(&self) -> Option<&Assignment> {
        self.jobs.active()
    }

    /// The job that a result belongs to, if a share on it still counts: active, or superseded on the
    /// same tip (MD-07).
    pub fn job(&self, job_id: u32) -> Option<&Assignment> {
        match self.jobs.find(job_id) {
            Lookup::Valid(job) => Some(job),
            Lookup::Future | Lookup::Stale | Lookup::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests;
