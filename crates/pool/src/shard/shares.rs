//! Shares: checked, credited, and handed on when they are blocks.

use engine::{Close, Link};
use sv2::ErrorCode;
use sv2::extensions::{TlvArea, WORKER_HASHRATE};
use sv2::mining::{SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard};
use work::{Accepted, ExtendedShare, Now, PayoutKey, Rejection, StandardShare};

use super::Shard;
use super::session::{Mining, OpenChannel};
use super::workers::{InvalidWorker, WorkerKeys, worker_key};
use crate::stats::Ending;

/// Which share an answer is about.
#[derive(Clone, Copy)]
struct Named {
    channel_id: u32,
    sequence_number: u32,
}

/// What a refused share says about the channel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Too many of them end it.
    Miner,
    /// It cannot go on.
    Fatal,
    /// The miner can do nothing about it.
    Pool,
}

/// Why a share is refused, as the client is told.
#[derive(Clone, Copy)]
struct Refusal {
    code: &'static str,
    fault: Fault,
}

/// The worker field breaks its extension's rules (TLV-06).
const INVALID_WORKER: Refusal = Refusal { code: "invalid-share", fault: Fault::Miner };

/// The connection named more payout keys than it may, or the epoch holds as many as it may.
const TOO_MANY_WORKERS: Refusal = Refusal { code: "too-many-worker-keys", fault: Fault::Miner };

/// There are credits for so many keys waiting for the ledger that no further key can be taken in.
const NO_LEDGER: Refusal = Refusal { code: Ending::NoLedger.code(), fault: Fault::Pool };

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let fault = if rejection.closes_channel() { Fault::Fatal } else { Fault::Miner };
        Self { code: rejection.code(), fault }
    }
}

impl Shard {
    pub(super) fn submit_standard(
        &mut self,
        mining: &mut Mining,
        link: &mut Link<'_>,
        share: &SubmitSharesStandard,
    ) {
        let now = self.now(link);
        let named = Named { channel_id: share.channel_id, sequence_number: share.sequence_number };
        let Some(channel) = mining.channel_taking_shares(named.channel_id) else {
            return self.refuse_unknown_channel(mining, link, named);
        };
        let key = channel.key;
        if !self.settlement.has_room_for(&key) {
            return self.reject(mining, link, named, NO_LEDGER);
        }
        let result = channel.work.submit_standard(
            &StandardShare {
                sequence_number: share.sequence_number,
                job_id: share.job_id,
                nonce: share.nonce,
                ntime: share.ntime,
                version: share.version,
            },
            now,
        );
        match result {
            Ok(accepted) => {
                if !self.credit(channel, link, key, accepted, now) {
                    self.end_flood(mining, link, named.channel_id, Ending::ShareFlood);
                }
            }
            Err(rejection) => self.reject(mining, link, named, rejection.into()),
        }
    }

    pub(super) fn submit_extended(
        &mut self,
        mining: &mut Mining,
        link: &mut Link<'_>,
        share: &SubmitSharesExtended<'_>,
        tlvs: &TlvArea<'_>,
    ) {
        let now = self.now(link);
        let named = Named { channel_id: share.channel_id, sequence_number: share.sequence_number };
        let worker = match self.worker(mining, named.channel_id, tlvs, now.millis) {
            Ok(worker) => worker,
            Err(refusal) => return self.reject(mining, link, named, refusal),
        };
        let Some(channel) = mining.channel_taking_shares(named.channel_id) else {
            return self.refuse_unknown_channel(mining, link, named);
        };
        let key = worker.unwrap_or(channel.key);
        if !self.settlement.has_room_for(&key) {
            return self.reject(mining, link, named, NO_LEDGER);
        }
        let result = channel.work.submit_extended(
            &ExtendedShare {
                share: StandardShare {
                    sequence_number: share.sequence_number,
                    job_id: share.job_id,
                    nonce: share.nonce,
                    ntime: share.ntime,
                    version: share.version,
                },
                extranonce: &share.extranonce,
            },
            now,
        );
        match result {
            Ok(accepted) => {
                if !self.credit(channel, link, key, accepted, now) {
                    self.end_flood(mining, link, named.channel_id, Ending::ShareFlood);
                }
            }
            Err(rejection) => self.reject(mining, link, named, rejection.into()),
        }
    }

    /// The worker's key that a share is to be credited to, where workers are tracked and this one has a key.
    fn worker(
        &self,
        mining: &mut Mining,
        channel_id: u32,
        tlvs: &TlvArea<'_>,
        now: u64,
    ) -> Result<Option<PayoutKey>, Refusal> {
        if tlvs.is_empty() || !mining.extensions.is_confirmed(&self.extensions, WORKER_HASHRATE) {
            return Ok(None);
        }
        if mining.channel_taking_shares(channel_id).is_none() {
            // Refused for that, whatever its worker.
            return Ok(None);
        }
        let Some(key) = worker_key(tlvs).map_err(|InvalidWorker| INVALID_WORKER)? else { return Ok(None) };
        let limits = &self.config.limits;
        let most = if self.keys_in_epoch < limits.keys_per_epoch { limits.worker_keys } else { 0 };
        let memory = &self.policy.memory;
        let workers = mining.workers.get_or_insert_with(|| Box::new(WorkerKeys::new(memory.clone(), now)));
        if workers.admit(&key, most, now) { Ok(Some(key)) } else { Err(TOO_MANY_WORKERS) }
    }

    /// Takes an accepted share in. Returns whether the channel may go on.
    fn credit(
        &mut self,
        channel: &mut OpenChannel,
        link: &mut Link<'_>,
        key: PayoutKey,
        accepted: Accepted,
        now: Now,
    ) -> bool {
        // The block first, the books after.
        if let Some(block) = accepted.block {
            self.found(*block);
        }
        self.counts.accepted += 1;
        self.counts.ehash += accepted.credit.get();
        let waits = !std::mem::replace(&mut channel.touched, true);
        let waits = waits.then(|| (link.id(), channel.work.id()));
        self.settlement.credit(waits, key, accepted.credit);
        if !channel.shares.take(self.allowance.shares, now.millis) {
            return false;
        }
        if channel.shares.is_low(self.allowance.shares, now.millis) {
            // Not at the next tick, nor when the disk is done: this one is far too fast.
            self.adjust(channel, link, now.millis);
        }
        true
    }

    /// Ends a channel, and its connection if that happened to too many of its channels.
    fn end_flood(&mut self, mining: &mut Mining, link: &mut Link<'_>, channel_id: u32, ending: Ending) {
        super::end_channel(mining, channel_id, ending, link, &self.stats);
        let rate = self.allowance.floods(mining.channels().len());
        if !mining.floods.take(rate, self.millis(link.now())) {
            link.close_after_flush(Close::Overload("too many of its channels sent too much".into()));
        }
    }

    fn reject(&mut self, mining: &mut Mining, link: &mut Link<'_>, share: Named, refusal: Refusal) {
        self.answer_with_error(link, share, refusal.code);
        if refusal.fault == Fault::Pool {
            return;
        }
        let now = self.millis(link.now());
        let Some(channel) = mining.channel(share.channel_id) else { return };
        if refusal.fault == Fault::Fatal {
            self.end_flood(mining, link, share.channel_id, Ending::ShareFlood);
        } else if !channel.refusals.take(self.allowance.bad_shares, now) {
            self.end_flood(mining, link, share.channel_id, Ending::InvalidShareFlood);
        }
        let together = self.allowance.bad_shares_together(mining.channels().len());
        if !mining.bad_shares.take(together, now) {
            link.close_after_flush(Close::Overload("too many shares that had to be refused".into()));
        }
    }

    /// A share for a channel that takes none. Those that crossed the channel's end are no fault (MP-67), but more of them
    /// than can have been under way are.
    fn refuse_unknown_channel(&mut self, mining: &mut Mining, link: &mut Link<'_>, share: Named) {
        const CODE: &str = "invalid-channel-id";
        if !mining.knew_channel(share.channel_id) {
            self.answer_with_error(link, share, CODE);
            return self.refused(mining, link);
        }
        let (rate, now) = (self.allowance.crossing, self.millis(link.now()));
        if !mining.crossing.take(rate, now) {
            link.close_after_flush(Close::Overload("too many shares for channels that are closed".into()));
        } else if mining.crossing.is_low(rate, now) {
            // An answer is longer than its share. Who sends so many has not read the first ones.
            self.counts.reject(CODE);
        } else {
            self.answer_with_error(link, share, CODE);
        }
    }

    fn answer_with_error(&mut self, link: &mut Link<'_>, share: Named, code: &'static str) {
        self.counts.reject(code);
        let Named { channel_id, sequence_number } = share;
        let error_code = ErrorCode::from_static(code);
        link.send(&SubmitSharesError { channel_id, sequence_number, error_code });
    }

    /// A refusal that is the fault of no channel. A connection with too many of them is ended (PO-09).
    pub(super) fn refused(&self, mining: &mut Mining, link: &mut Link<'_>) {
        let rate = self.allowance.refusals(mining.channels().len());
        if !mining.refusals.take(rate, self.millis(link.now())) {
            link.close_after_flush(Close::Overload("too many requests that had to be refused".into()));
        }
    }

    pub(super) fn now(&self, link: &Link<'_>) -> Now {
        Now { unix: link.unix_now(), millis: self.millis(link.now()) }
    }

    pub(super) fn millis(&self, now: std::time::Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }
}
