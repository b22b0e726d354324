//! A channel that submits shares: its jobs as the protocol's model keeps them, its stock, its unanswered shares.

use std::sync::Arc;
use std::time::Instant;

use sv2::codec::B0_32;
use sv2::mining::{NewExtendedMiningJob, NewMiningJob, SubmitSharesExtended, SubmitSharesStandard};
use work::{Assignment, ClientChannel, Job, JobParts, Kind, Target, Tip};

use crate::link::{Lost, Outbox};
use crate::outstanding::Outstanding;
use crate::run::Tally;
use crate::stock::Stock;

/// Sealed bytes that leave in one write.
const BATCH: usize = 1 << 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct Submitter {
    model: ClientChannel,
    stock: Option<Stock>,
    outstanding: Outstanding,
    fixed_version: bool,
}

/// What [`Submitter::refill`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refilled {
    /// As much as there was to do.
    Done,
    /// There is more, once the batch has left.
    BatchFull,
}

impl Submitter {
    /// A channel as the server opened it.
    pub(crate) fn new(
        kind: Kind,
        prefix: &[u8],
        target: [u8; 32],
        fixed_version: bool,
    ) -> Result<Self, Lost> {
        let model = ClientChannel::new(kind, prefix, Target::from_le_bytes(target))
            .map_err(|error| Lost::Protocol(error.to_string()))?;
        Ok(Self { model, stock: None, outstanding: Outstanding::default(), fixed_version })
    }

    /// `NewMiningJob`.
    pub(crate) fn standard_job(&mut self, job: &NewMiningJob, millis: u64) -> Result<(), String> {
        let rolling = !self.fixed_version;
        self.model
            .standard_job(job.job_id, job.version, rolling, job.merkle_root, job.min_ntime, millis)
            .map_err(|error| error.to_string())
    }

    /// `NewExtendedMiningJob`.
    pub(crate) fn extended_job(&mut self, job: &NewExtendedMiningJob<'_>, millis: u64) -> Result<(), String> {
        let parts = JobParts {
            id: job.job_id,
            version: job.version,
            version_rolling_allowed: job.version_rolling_allowed && !self.fixed_version,
            coinbase_prefix: job.coinbase_tx_prefix.to_vec(),
            coinbase_suffix: job.coinbase_tx_suffix.to_vec(),
            merkle_path: job.merkle_path.iter().collect(),
            extranonce_len: self.model.full_extranonce_len(),
        };
        let built = Job::new(parts).map_err(|error| error.to_string())?;
        self.model.extended_job(&Arc::new(built), job.min_ntime, millis).map_err(|error| error.to_string())
    }

    /// `SetNewPrevHash`.
    pub(crate) fn new_tip(
        &mut self,
        job_id: u32,
        tip: &Arc<Tip>,
        millis: u64,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let activated = self.model.set_new_prev_hash(job_id, tip, millis);
        self.drop_dead_stock(tally);
        activated.map_err(|error| error.to_string())
    }

    /// `SetTarget`.
    pub(crate) fn set_target(&mut self, target: [u8; 32]) {
        self.model.set_target(Target::from_le_bytes(target));
    }

    /// `SetExtranoncePrefix`.
    pub(crate) fn set_prefix(&mut self, prefix: &[u8]) -> Result<(), String> {
        self.model.set_prefix(prefix).map_err(|error| error.to_string())
    }

    /// What is to be mined, and how many bytes of extranonce are ours.
    pub(crate) fn work(&self) -> Option<(&Assignment, u8)> {
        let rollable = match self.model.kind() {
            Kind::Standard => 0,
            Kind::Extended { rollable } => rollable,
        };
        Some((self.model.active()?, rollable))
    }

    /// Takes prepared shares. False if their job has ended meanwhile.
    pub(crate) fn load(&mut self, stock: Stock, tally: &mut Tally) -> bool {
        tally.left += stock.left();
        self.stock = Some(stock);
        self.drop_dead_stock(tally);
        self.stock.is_some()
    }

    fn drop_dead_stock(&mut self, tally: &mut Tally) {
        if let Some(stock) = self.stock.take_if(|stock| self.model.job(stock.job_id).is_none()) {
            tally.left -= stock.left();
            tally.cut += stock.left();
        }
    }

    /// Whether so many of its shares are unanswered that no further one may leave.
    pub(crate) fn is_full(&self, window: u32) -> bool {
        self.outstanding.waiting() >= window
    }

    /// Fills the window again once it is half empty, so that shares leave in batches.
    pub(crate) fn refill(
        &mut self,
        channel_id: u32,
        window: u32,
        micros: u32,
        outbox: &mut Outbox<'_>,
        tally: &mut Tally,
    ) -> Result<Refilled, Lost> {
        if self.outstanding.waiting() > window / 2 {
            return Ok(Refilled::Done);
        }
        while !self.is_full(window) {
            if outbox.bytes.len() >= BATCH {
                return Ok(Refilled::BatchFull);
            }
            if !self.submit(channel_id, micros, outbox, tally)? {
                break;
            }
        }
        Ok(Refilled::Done)
    }

    /// Sees to it that there is a share to submit, found here and now if none was prepared.
    pub(crate) fn find(&mut self, tally: &mut Tally) {
        let Some((assignment, rollable)) = self.work() else { return };
        if self.stock.as_ref().is_some_and(|stock| stock.left() > 0) {
            return;
        }
        let assignment = assignment.clone();
        let begun = self.stock.take().filter(|stock| stock.job_id == assignment.job_id());
        let mut stock = begun.unwrap_or_else(|| Stock::empty(&assignment, rollable));
        stock.find_more(&assignment);
        tally.left += stock.left();
        self.stock = Some(stock);
    }

    /// Submits the next share. False if there is none.
    pub(crate) fn submit(
        &mut self,
        channel_id: u32,
        micros: u32,
        outbox: &mut Outbox<'_>,
        tally: &mut Tally,
    ) -> Result<bool, Lost> {
        let Some(stock) = &mut self.stock else { return Ok(false) };
        let Some(share) = stock.take() else { return Ok(false) };
        let job_id = stock.job_id;
        let sequence_number = self.outstanding.submit(micros);
        let (nonce, ntime, version) = (share.nonce, share.ntime, share.version);
        match self.model.kind() {
            Kind::Standard => outbox.send(&SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            })?,
            Kind::Extended { .. } => outbox.send(&SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce: B0_32::new(share.extranonce())
                    .map_err(|error| Lost::Protocol(error.to_string()))?,
            })?,
        }
        let active = self.model.active().is_some_and(|active| active.job_id() == job_id);
        tally.superseded += u64::from(!active);
        tally.left -= 1;
        tally.submitted += 1;
        tally.outstanding += 1;
        Ok(true)
    }

    /// `SubmitShares.Success`.
    pub(crate) fn acknowledge(
        &mut self,
        last: u32,
        count: u32,
        micros: u32,
        now: Instant,
        tally: &mut Tally,
    ) {
        let Tally { latency, acknowledged, outstanding, .. } = tally;
        self.outstanding.acknowledge(last, micros, |waited| {
            latency.record(waited.into());
            *acknowledged += 1;
            *outstanding -= 1;
        });
        tally.accepted += u64::from(count);
        tally.last_answer = Some(now);
    }

    /// `SubmitShares.Error`.
    pub(crate) fn refuse(&mut self, sequence_number: u32, code: &str, now: Instant, tally: &mut Tally) {
        if self.outstanding.refuse(sequence_number) {
            tally.outstanding -= 1;
        }
        tally.rejected.count(code);
        tally.last_answer = Some(now);
    }

    /// A valid share that does not count as submitted; on a standard channel.
    pub(crate) fn draw(&mut self, channel_id: u32, tally: &mut Tally) -> Option<SubmitSharesStandard> {
        self.find(tally);
        let stock = self.stock.as_mut()?;
        let (share, job_id) = (stock.take()?, stock.job_id);
        tally.left -= 1;
        let (nonce, ntime, version) = (share.nonce, share.ntime, share.version);
        Some(SubmitSharesStandard { channel_id, sequence_number: 0, job_id, nonce, ntime, version })
    }

    /// The first time that a header of the current job may have.
    pub(crate) fn first_ntime(&self) -> Option<u32> {
        Some(*self.model.active()?.ntimes(0).start())
    }

    /// Nothing that was submitted will be answered; what was prepared is counted for the next run.
    pub(crate) fn forget_unanswered(&mut self, tally: &mut Tally) {
        self.outstanding.abandon();
        tally.left += self.stock.as_ref().map_or(0, Stock::left);
    }

    /// The channel or its connection is gone.
    pub(crate) fn abandon(&mut self, tally: &mut Tally) {
        let waiting = u64::from(self.outstanding.abandon());
        tally.outstanding -= waiting;
        tally.abandoned += waiting;
        if let Some(stock) = self.stock.take() {
            tally.left -= stock.left();
        }
    }
}
