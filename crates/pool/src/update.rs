//! A template turned into work: the job that all channels share, encoded once.

use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::{ScriptBuf, TxOut};
use node::{CoinbaseError, CoinbaseParts, Template};
use sv2::codec::{B0_64K, Seq0_255, TooLong};
use sv2::mining::{NewExtendedMiningJob, SetNewPrevHash};
use sv2::{EncodeError, encode_frame};
use thiserror::Error;
use work::{CompactError, FULL_LEN, Job, JobError, JobParts, Tip};

/// What a block is made of when one of its headers is found. Shared by all jobs on one template.
pub(crate) struct Basis {
    pub template: Template,
    pub coinbase: CoinbaseParts,
}

/// One job for every channel of the pool.
pub(crate) struct WorkUpdate {
    pub job: Arc<Job>,
    pub tip: Arc<Tip>,
    /// First time of the job when it is sent as active.
    pub min_ntime: u32,
    pub basis: Arc<Basis>,
    /// Whether the job's tip is not that of the update before it.
    pub new_block: bool,
    /// NewExtendedMiningJob with an empty min_ntime, and the SetNewPrevHash that activates it.
    future: Vec<u8>,
    set_new_prev_hash: Vec<u8>,
    /// NewExtendedMiningJob that starts at once.
    active: Vec<u8>,
}

/// A template that no job can be made of.
#[derive(Debug, Error)]
pub(crate) enum UpdateError {
    #[error("the template's coinbase cannot be built")]
    Coinbase(#[from] CoinbaseError),
    #[error("the template's nbits {nbits:#010x} are no target")]
    Target { nbits: u32, source: CompactError },
    #[error("the template makes no job")]
    Job(#[from] JobError),
    #[error("the job does not fit its message")]
    TooLong(#[from] TooLong),
    #[error("the job does not fit a frame")]
    Encode(#[from] EncodeError),
}

impl Basis {
    /// The coinbase pays `payout_script` everything and carries `tag`.
    ///
    /// Behind the tag stands `number`, which no other basis of this process has: after a reorganisation
    /// back to a tip that was left, the same template makes other headers, so that shares of before cannot
    /// be sent again. (Within a tip the channel's duplicate filter sees to that, across restarts the
    /// extranonce's lease.)
    pub(crate) fn new(
        template: Template,
        payout_script: &ScriptBuf,
        tag: &[u8],
        number: u32,
    ) -> Result<Self, UpdateError> {
        let outputs: Vec<TxOut> = template.pay_all(payout_script.clone());
        let tag = [tag, &number.to_le_bytes()].concat();
        let coinbase = template.coinbase(FULL_LEN, &tag, &outputs)?;
        Ok(Self { template, coinbase })
    }

    /// Whether a job on `other` would be the same work, but for the number in its coinbase.
    pub(crate) fn same_work(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.template, &other.template);
        self.same_tip(other)
            && ours.version == theirs.version
            && ours.merkle_path == theirs.merkle_path
            && ours.coinbase_value == theirs.coinbase_value
            && ours.witness_commitment == theirs.witness_commitment
    }

    /// Whether both build on one block. A change of nbits alone counts as another tip, since
    /// only SetNewPrevHash can tell it (MP-109).
    pub(crate) fn same_tip(&self, other: &Self) -> bool {
        self.template.prev_hash == other.template.prev_hash && self.template.nbits == other.template.nbits
    }
}

impl WorkUpdate {
    /// The job `job_id` on `basis`, whose time starts at `min_ntime`.
    pub(crate) fn new(
        basis: Arc<Basis>,
        job_id: u32,
        min_ntime: u32,
        new_block: bool,
    ) -> Result<Self, UpdateError> {
        let template = &basis.template;
        let nbits = template.nbits.to_consensus();
        let tip = Tip::new(template.prev_hash.to_byte_array(), nbits, min_ntime)
            .map_err(|source| UpdateError::Target { nbits, source })?;
        let job = Job::new(JobParts {
            id: job_id,
            version: template.version.cast_unsigned(),
            version_rolling_allowed: true,
            coinbase_prefix: basis.coinbase.prefix.to_vec(),
            coinbase_suffix: basis.coinbase.suffix.to_vec(),
            merkle_path: template.merkle_path.to_vec(),
            extranonce_len: FULL_LEN,
        })?;
        let (job, tip) = (Arc::new(job), Arc::new(tip));
        let future = extended_job(&job, None)?;
        let active = extended_job(&job, Some(min_ntime))?;
        let mut set_new_prev_hash = Vec::new();
        encode_frame(&activation(&job, &tip, 0), &mut set_new_prev_hash)?;
        Ok(Self { job, tip, min_ntime, basis, new_block, future, set_new_prev_hash, active })
    }

    /// The same work again under another id, for channels whose target changed. Its coinbase has a number of its own, so
    /// its headers are others, and its time starts where the template's does.
    pub(crate) fn reissue(
        &self,
        job_id: u32,
        payout_script: &ScriptBuf,
        tag: &[u8],
    ) -> Result<Self, UpdateError> {
        let basis = Basis::new(self.basis.template.clone(), payout_script, tag, job_id)?;
        Self::new(Arc::new(basis), job_id, self.min_ntime, false)
    }

    /// The block that the work builds on.
    pub(crate) fn parent(&self) -> node::Tip {
        let template = &self.basis.template;
        node::Tip { height: template.height.saturating_sub(1), hash: template.prev_hash }
    }

    /// The frames that put extended channels, or a group, onto this job; the channel id is to be patched.
    pub(crate) fn extended_frames(&self, as_future: bool) -> impl Iterator<Item = &[u8]> {
        let (job, activation) =
            if as_future { (&self.future, Some(&self.set_new_prev_hash)) } else { (&self.active, None) };
        std::iter::once(job.as_slice()).chain(activation.map(Vec::as_slice))
    }
}

fn extended_job(job: &Job, min_ntime: Option<u32>) -> Result<Vec<u8>, UpdateError> {
    let message = NewExtendedMiningJob {
        channel_id: 0,
        job_id: job.id(),
        min_ntime,
        version: job.version(),
        version_rolling_allowed: job.version_rolling_allowed(),
        merkle_path: Seq0_255::from_slice(job.merkle_path())?,
        coinbase_tx_prefix: B0_64K::new(job.coinbase_prefix())?,
        coinbase_tx_suffix: B0_64K::new(job.coinbase_suffix())?,
    };
    let mut frame = Vec::new();
    encode_frame(&message, &mut frame)?;
    Ok(frame)
}

/// The SetNewPrevHash that activates `job` on `tip` for `channel_id`.
pub(crate) fn activation(job: &Job, tip: &Tip, channel_id: u32) -> SetNewPrevHash {
    SetNewPrevHash {
        channel_id,
        job_id: job.id(),
        prev_hash: *tip.prev_hash(),
        min_ntime: tip.min_ntime(),
        nbits: tip.nbits(),
    }
}
