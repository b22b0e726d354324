//! The jobs of the device's channel: messages in, work for the search threads out.

use std::sync::Arc;
use std::time::Instant;

use sv2::mining::{NewExtendedMiningJob, NewMiningJob, SetNewPrevHash};
use work::extranonce::ExtranonceTooLong;
use work::{Assignment, ClientChannel, ClientError, CompactError, Job, JobParts, Kind, Target, Tip};

use crate::crew::Found;
use crate::search::Work;

/// Why a job is not mined.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    #[error(transparent)]
    Channel(#[from] ClientError),
    #[error(transparent)]
    Job(#[from] work::JobError),
    #[error("SetNewPrevHash has an impossible network target: {0}")]
    Nbits(#[from] CompactError),
}

/// The jobs of one channel, as the server keeps them too (SM-12 to SM-19).
#[derive(Debug)]
pub(super) struct Jobs {
    channel: ClientChannel,
    /// Number of the present tip, see [`Work::tip`].
    tip: u64,
    clock: Instant,
}

impl Jobs {
    /// Of a channel that was just opened.
    pub fn new(
        kind: Kind,
        extranonce_prefix: &[u8],
        target: Target,
        tip: u64,
        now: Instant,
    ) -> Result<Self, ExtranonceTooLong> {
        Ok(Jobs { channel: ClientChannel::new(kind, extranonce_prefix, target)?, tip, clock: now })
    }

    /// Standard, or extended with so many bytes.
    pub fn kind(&self) -> Kind {
        self.channel.kind()
    }

    /// Number for the first tip of the next channel.
    pub fn next_tip(&self) -> u64 {
        self.tip + 1
    }

    /// The target of jobs that become active from now on (SM-17).
    pub fn set_target(&mut self, target: Target) {
        self.channel.set_target(target);
    }

    /// The prefix of jobs that arrive from now on (SM-18).
    pub fn set_prefix(&mut self, prefix: &[u8]) -> Result<(), ExtranonceTooLong> {
        self.channel.set_prefix(prefix)
    }

    /// NewMiningJob. Gives work if it is to be mined at once.
    pub fn standard(
        &mut self,
        message: NewMiningJob,
        version_rolling: bool,
        now: Instant,
    ) -> Result<Option<Work>, JobError> {
        let NewMiningJob { job_id, min_ntime, version, merkle_root, .. } = message;
        let millis = self.millis(now);
        self.channel.standard_job(job_id, version, version_rolling, merkle_root, min_ntime, millis)?;
        Ok(min_ntime.and_then(|_| self.work()))
    }

    /// NewExtendedMiningJob, for the channel or its group. Gives work if it is to be mined at once.
    pub fn extended(
        &mut self,
        message: &NewExtendedMiningJob<'_>,
        version_rolling: bool,
        now: Instant,
    ) -> Result<Option<Work>, JobError> {
        let job = Job::new(JobParts {
            id: message.job_id,
            version: message.version,
            version_rolling_allowed: version_rolling,
            coinbase_prefix: message.coinbase_tx_prefix.to_vec(),
            coinbase_suffix: message.coinbase_tx_suffix.to_vec(),
            merkle_path: message.merkle_path.iter().collect(),
            extranonce_len: self.channel.full_extranonce_len(),
        })?;
        self.channel.extended_job(&Arc::new(job), message.min_ntime, self.millis(now))?;
        Ok(message.min_ntime.and_then(|_| self.work()))
    }

    /// A new tip: its job is mined, all others are dead. After an error nothing may be mined until the
    /// next valid pair (MP-101).
    pub fn set_new_prev_hash(
        &mut self,
        message: &SetNewPrevHash,
        now: Instant,
    ) -> Result<Option<Work>, JobError> {
        // Whatever comes of it: results for the old tip are worth nothing now.
        self.tip += 1;
        let tip = Arc::new(Tip::new(message.prev_hash, message.nbits, message.min_ntime)?);
        let millis = self.millis(now);
        self.channel.set_new_prev_hash(message.job_id, &tip, millis)?;
        Ok(self.work())
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.clock).as_millis()).unwrap_or(u64::MAX)
    }

    fn work(&self) -> Option<Work> {
        let assignment = self.channel.active()?.clone();
        Some(Work { tip: self.tip, assignment, kind: self.channel.kind(), clock: self.clock })
    }

    /// The job that a result is for, as long as shares of it are good: same tip (MD-07, SM-22).
    pub fn mined(&self, found: &Found) -> Option<&Assignment> {
        self.channel.job(found.job_id).filter(|_| found.tip == self.tip)
    }

    /// The job that is mined now.
    pub fn active(&self) -> Option<&Assignment> {
        self.channel.active()
    }
}
