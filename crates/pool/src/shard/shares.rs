//! Shares: checked, credited, and handed on when they are blocks.

use engine::{Close, Link};
use sv2::extensions::{WORKER_HASHRATE, WithTlvs, WorkerIdentity};
use sv2::mining::{SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, code};
use sv2::{ErrorCode, Message};
use work::{Accepted, ExtendedShare, Now, PayoutKey, Rejection, StandardShare};

use super::Shard;
use super::session::Mining;

/// Reason for ending a channel that sends too many bad shares (EC-45).
const INVALID_SHARE_FLOOD: &str = "invalid-share-flood";

/// Reason for ending a channel that found more shares on one tip than can be remembered (EC-45).
const SHARE_FLOOD: &str = "share-flood";

/// Why a share is refused, as the client is told.
struct Refusal {
    code: &'static str,
    closes_channel: bool,
}

/// The worker field breaks its extension's rules (TLV-06).
const INVALID_WORKER: Refusal = Refusal { code: "invalid-share", closes_channel: false };

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self { code: rejection.code(), closes_channel: rejection.closes_channel() }
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
        let Some(channel) = mining.channel_taking_shares(share.channel_id) else {
            return self.refuse_unknown_channel(mining, link, share.channel_id, share.sequence_number);
        };
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
        let key = channel.key;
        self.conclude(mining, link, share.channel_id, share.sequence_number, key, result);
    }

    pub(super) fn submit_extended(
        &mut self,
        mining: &mut Mining,
        link: &mut Link<'_>,
        share: &SubmitSharesExtended<'_>,
        payload: &[u8],
    ) {
        let now = self.now(link);
        let worker_tracking = mining.extensions.is_confirmed(&self.extensions, WORKER_HASHRATE);
        let Some(channel) = mining.channel_taking_shares(share.channel_id) else {
            return self.refuse_unknown_channel(mining, link, share.channel_id, share.sequence_number);
        };
        let worker = match worker_tracking.then(|| worker_key(payload)).transpose() {
            Ok(worker) => worker.flatten(),
            Err(InvalidWorker) => {
                return self.reject(mining, link, share.channel_id, share.sequence_number, INVALID_WORKER);
            }
        };
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
        let key = worker.unwrap_or(channel.key);
        self.conclude(mining, link, share.channel_id, share.sequence_number, key, result);
    }

    fn conclude(
        &mut self,
        mining: &mut Mining,
        link: &mut Link<'_>,
        channel_id: u32,
        sequence_number: u32,
        key: PayoutKey,
        result: Result<Accepted, Rejection>,
    ) {
        match result {
            Ok(accepted) => {
                // The block first, the books after.
                if let Some(block) = accepted.block {
                    self.found(*block);
                }
                let Some(channel) = mining.channel(channel_id) else { return };
                self.counts.accepted += 1;
                self.counts.ehash += accepted.credit.get();
                let first_of_channel = !std::mem::replace(&mut channel.touched, true);
                self.settlement.credit((link.id(), channel_id), first_of_channel, key, accepted.credit);
            }
            Err(rejection) => self.reject(mining, link, channel_id, sequence_number, rejection.into()),
        }
    }

    fn reject(
        &mut self,
        mining: &mut Mining,
        link: &mut Link<'_>,
        channel_id: u32,
        sequence_number: u32,
        refusal: Refusal,
    ) {
        self.stats.share_rejected(refusal.code);
        let error_code = ErrorCode::from_static(refusal.code);
        link.send(&SubmitSharesError { channel_id, sequence_number, error_code });
        let now = link.unix_now();
        let limit = self.config.limits.invalid_shares_per_minute;
        let Some(channel) = mining.channel(channel_id) else { return };
        let flood = channel.refusals.exceeds(limit, now);
        let reason = if refusal.closes_channel {
            SHARE_FLOOD
        } else if flood {
            INVALID_SHARE_FLOOD
        } else {
            return;
        };
        super::end_channel(mining, channel_id, reason, link, &self.stats);
    }

    fn refuse_unknown_channel(
        &self,
        mining: &mut Mining,
        link: &mut Link<'_>,
        channel_id: u32,
        sequence_number: u32,
    ) {
        self.stats.share_rejected("invalid-channel-id");
        link.send(&SubmitSharesError { channel_id, sequence_number, error_code: code::INVALID_CHANNEL_ID });
        self.refused(mining, link);
    }

    /// A connection that gets more refusals than its channels could explain is ended (PO-09).
    pub(super) fn refused(&self, mining: &mut Mining, link: &mut Link<'_>) {
        let channels = u32::try_from(mining.channels().len()).unwrap_or(u32::MAX);
        let limit = self.config.limits.invalid_shares_per_minute.saturating_mul(channels.saturating_add(1));
        if mining.refusals.exceeds(limit, link.unix_now()) {
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

/// A worker field that breaks the extension's rules: the share is refused (TLV-06).
struct InvalidWorker;

/// Whether all of `text` is UTF-8 but for a last character that is cut off.
fn ends_inside_a_character(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_err_and(|error| error.error_len().is_none())
}

/// The payout key in the share's worker field, if it holds one: 32 bytes that are a key and no text. A worker's *name*
/// (UTF-8) is a label and changes nothing about who is credited (WH-08).
fn worker_key(payload: &[u8]) -> Result<Option<PayoutKey>, InvalidWorker> {
    let share = WithTlvs::<SubmitSharesExtended<'_>>::decode(payload).map_err(|_| InvalidWorker)?;
    let Some(worker) = WorkerIdentity::find(&share.tlvs).map_err(|_| InvalidWorker)? else { return Ok(None) };
    // A name that was cut inside a character is still a name, and no key looks like one but for the odd billionth.
    if worker.to_str().is_some() || ends_inside_a_character(worker.as_bytes()) {
        return Ok(None);
    }
    let key = <[u8; 32]>::try_from(worker.as_bytes()).map_err(|_| InvalidWorker)?;
    PayoutKey::from_bytes(key).map(Some).map_err(|_| InvalidWorker)
}
