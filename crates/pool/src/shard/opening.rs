//! Opening and updating channels.

use engine::Link;
use sv2::ErrorCode;
use sv2::codec::{B0_32, F32};
use sv2::mining::{
    OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
    OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, UpdateChannel, UpdateChannelError, code,
};
use tracing::debug;
use work::{Channel, HashRate, IdentityError, Kind, PayoutKey, Request, Target, UserIdentity};

use super::Shard;
use super::session::{Mining, OpenChannel};
use crate::stats::Ending;

/// `invalid-user-identity`, with what to do about it: people read it in their miner's log (EC-07).
fn invalid_user_identity(error: &IdentityError) -> ErrorCode<'static> {
    let mut text = format!("invalid-user-identity: {error} (make one with: assay keys payout)");
    text.truncate(usize::from(u8::MAX));
    ErrorCode::new(text).unwrap_or(code::INVALID_USER_IDENTITY)
}

/// What a standard job has headers for: 2^32 nonces and 2^24 versions for each second of ntime (MP-05).
const STANDARD_CHANNEL_LIMIT: HashRate = HashRate::new(1 << 56);

/// Refusal of a standard channel that would run dry (EC-14).
const TOO_FAST_FOR_STANDARD: ErrorCode<'static> = ErrorCode::from_static(
    "standard-channels-not-supported: above 72 PH/s a standard job runs dry; open an extended channel",
);

/// Refusal of what comes faster than a connection may ask.
pub(super) const TOO_MANY_REQUESTS: ErrorCode<'static> =
    ErrorCode::from_static("too-many-requests: wait a minute");

/// A connection with fewer channels than this is given more while there are any at all; one that has more may not take
/// the last quarter.
const FEW_CHANNELS: usize = 16;

/// What both messages that open a channel ask for.
pub(super) struct Wanted<'a> {
    request_id: u32,
    user_identity: &'a [u8],
    rate: F32,
    max_target: [u8; 32],
    /// Extended with at least so many rollable bytes; standard if none.
    min_extranonce_size: Option<u16>,
}

impl<'a> From<&'a OpenStandardMiningChannel<'_>> for Wanted<'a> {
    fn from(open: &'a OpenStandardMiningChannel<'_>) -> Self {
        Self {
            request_id: open.request_id,
            user_identity: open.user_identity.as_bytes(),
            rate: open.nominal_hash_rate,
            max_target: open.max_target,
            min_extranonce_size: None,
        }
    }
}

impl<'a> From<&'a OpenExtendedMiningChannel<'_>> for Wanted<'a> {
    fn from(open: &'a OpenExtendedMiningChannel<'_>) -> Self {
        Self {
            request_id: open.request_id,
            user_identity: open.user_identity.as_bytes(),
            rate: open.nominal_hash_rate,
            max_target: open.max_target,
            min_extranonce_size: Some(open.min_extranonce_size),
        }
    }
}

impl Shard {
    /// Opens a channel and gives it its first work: a future job, and the SetNewPrevHash that activates it (MP-46, MP-47,
    /// MP-110).
    pub(super) fn open(&mut self, mining: &mut Mining, link: &mut Link<'_>, wanted: &Wanted<'_>) {
        match self.make_channel(mining, link, wanted) {
            Ok((work, key)) => {
                confirm(&work, wanted.request_id, mining.group_id, link);
                let channel = mining.open(OpenChannel::new(work, key));
                self.stats.channel_opened();
                self.bootstrap(channel, link);
            }
            Err(error_code) => self.refuse_open(mining, link, wanted.request_id, error_code),
        }
    }

    fn make_channel(
        &mut self,
        mining: &mut Mining,
        link: &Link<'_>,
        wanted: &Wanted<'_>,
    ) -> Result<(Channel, PayoutKey), ErrorCode<'static>> {
        if mining.standard_jobs_only && wanted.min_extranonce_size.is_some() {
            // MP-25: such a client said that it cannot process the jobs of an extended channel.
            return Err(code::EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS);
        }
        self.check_room(mining, link)?;
        let key = match UserIdentity::from_bytes(wanted.user_identity) {
            Ok(identity) => identity.key,
            // The default must not earn for somebody who was named with a typing error, or by an address.
            Err(error) if error.names_somebody() => return Err(invalid_user_identity(&error)),
            Err(error) => self.config.default_payout_key.ok_or_else(|| invalid_user_identity(&error))?,
        };
        let request = Request {
            rate: hash_rate(wanted.rate).ok_or(code::INVALID_NOMINAL_HASHRATE)?,
            max_target: Target::from_le_bytes(wanted.max_target),
        };
        let prefix = self.next_prefix().ok_or(code::CHANNEL_CAPACITY_EXHAUSTED)?;
        let id = mining.next_channel_id().ok_or(code::CHANNEL_CAPACITY_EXHAUSTED)?;
        let (now, tip) = (self.millis(link.now()), &self.current.tip);
        let work = match wanted.min_extranonce_size {
            None if request.rate > STANDARD_CHANNEL_LIMIT => return Err(TOO_FAST_FOR_STANDARD),
            None => Channel::standard(id, prefix.standard(), request, tip, &self.policy, now),
            Some(least) => {
                let granted = prefix.extended(least).map_err(|_| code::MIN_EXTRANONCE_SIZE_TOO_LARGE)?;
                Channel::extended(id, granted, request, tip, &self.policy, now)
            }
        };
        Ok((work.map_err(|error| ErrorCode::from_static(error.code()))?, key))
    }

    /// Whether there is room for one more channel, and work for it.
    fn check_room(&self, mining: &Mining, link: &Link<'_>) -> Result<(), ErrorCode<'static>> {
        if let Some(ending) = self.paused {
            return Err(ErrorCode::from_static(ending.code()));
        }
        if self.settlement.is_stuck(link.now()) {
            // Who mines already goes on; who comes is better served elsewhere.
            return Err(ErrorCode::from_static(Ending::NoLedger.code()));
        }
        let limits = &self.config.limits;
        let (open, own) = (self.stats.open_channels(), mining.channels().len());
        let crowded = open >= limits.channels - limits.channels / 4 && own >= FEW_CHANNELS;
        if crowded || open >= limits.channels || own >= usize::from(limits.channels_per_connection) {
            return Err(code::CHANNEL_CAPACITY_EXHAUSTED);
        }
        if self.keys_in_epoch >= limits.keys_per_epoch.saturating_mul(2) {
            return Err(code::CHANNEL_CAPACITY_EXHAUSTED);
        }
        Ok(())
    }

    pub(super) fn refuse_open(
        &self,
        mining: &mut Mining,
        link: &mut Link<'_>,
        request_id: u32,
        error_code: ErrorCode<'_>,
    ) {
        debug!(peer = %link.peer(), code = %error_code, "channel refused");
        let text = error_code.to_string();
        self.stats.channel_refused(text.split(':').next().unwrap_or_default());
        link.send(&OpenMiningChannelError { request_id, error_code });
        self.refused(mining, link);
    }

    pub(super) fn update_channel(
        &mut self,
        mining: &mut Mining,
        link: &mut Link<'_>,
        update: &UpdateChannel,
    ) {
        if let Err(error_code) = self.updated(mining, link, update) {
            self.refuse_update(mining, link, update.channel_id, error_code);
        }
    }

    pub(super) fn refuse_update(
        &self,
        mining: &mut Mining,
        link: &mut Link<'_>,
        channel_id: u32,
        error_code: ErrorCode<'_>,
    ) {
        link.send(&UpdateChannelError { channel_id, error_code });
        self.refused(mining, link);
    }

    fn updated(
        &mut self,
        mining: &mut Mining,
        link: &mut Link<'_>,
        update: &UpdateChannel,
    ) -> Result<(), ErrorCode<'static>> {
        // A group's id is no channel's (MP-59).
        let channel = mining.channel(update.channel_id).ok_or(code::INVALID_CHANNEL_ID)?;
        let rate = hash_rate(update.nominal_hash_rate).ok_or(code::INVALID_NOMINAL_HASHRATE)?;
        let request = Request { rate, max_target: Target::from_le_bytes(update.maximum_target) };
        let changed = channel
            .work
            .update(request, self.millis(link.now()))
            .map_err(|error| ErrorCode::from_static(error.code()))?;
        if let Some(target) = changed {
            self.retarget(channel, target, link);
        }
        Ok(())
    }
}

/// Tells the client that its channel is open.
fn confirm(work: &Channel, request_id: u32, group_channel_id: u32, link: &mut Link<'_>) {
    let (channel_id, target) = (work.id(), work.target().to_le_bytes());
    let extranonce_prefix = B0_32::new(work.prefix()).expect("a prefix has at most 32 bytes");
    match work.kind() {
        Kind::Standard => link.send(&OpenStandardMiningChannelSuccess {
            request_id,
            channel_id,
            target,
            extranonce_prefix,
            group_channel_id,
        }),
        Kind::Extended { rollable } => link.send(&OpenExtendedMiningChannelSuccess {
            request_id,
            channel_id,
            target,
            extranonce_size: u16::from(rollable),
            extranonce_prefix,
            group_channel_id,
        }),
    }
}

/// NaN, infinite and negative rates are none (MP-41).
fn hash_rate(rate: F32) -> Option<HashRate> {
    HashRate::from_f32(rate.get().ok()?).ok()
}
