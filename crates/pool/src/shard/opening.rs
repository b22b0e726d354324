//! Opening and updating channels.

use engine::Link;
use sv2::ErrorCode;
use sv2::codec::{B0_32, F32};
use sv2::mining::{
    OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
    OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, UpdateChannel, UpdateChannelError, code,
};
use tracing::debug;
use work::{
    Channel, Extranonce, HashRate, IdentityError, PayoutKey, Request, Target, UniquePrefix, UserIdentity,
};

use super::Shard;
use super::session::{Mining, OpenChannel, RefusalWindow};

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

impl Shard {
    pub(super) fn open_standard(
        &mut self,
        mining: &mut Mining,
        link: &mut Link<'_>,
        open: &OpenStandardMiningChannel<'_>,
    ) {
        let opened =
            self.prepare(mining, open.user_identity.as_bytes(), open.nominal_hash_rate, open.max_target);
        let result = opened.and_then(|new| {
            if new.request.rate > STANDARD_CHANNEL_LIMIT {
                return Err(TOO_FAST_FOR_STANDARD);
            }
            let prefix = new.prefix.standard();
            let now = self.millis(link.now());
            let tip = &self.current.tip;
            let work = Channel::standard(new.id, prefix, new.request, tip, &self.policy, now)
                .map_err(|error| ErrorCode::from_static(error.code()))?;
            Ok((work, prefix, new.key))
        });
        match result {
            Ok((work, prefix, key)) => {
                link.send(&OpenStandardMiningChannelSuccess {
                    request_id: open.request_id,
                    channel_id: work.id(),
                    target: work.target().to_le_bytes(),
                    extranonce_prefix: wire(&prefix),
                    group_channel_id: mining.group_id,
                });
                self.start(mining, link, work, key);
            }
            Err(error_code) => self.refuse_open(mining, link, open.request_id, error_code),
        }
    }

    pub(super) fn open_extended(
        &mut self,
        mining: &mut Mining,
        link: &mut Link<'_>,
        open: &OpenExtendedMiningChannel<'_>,
    ) {
        if mining.standard_jobs_only {
            // MP-25: such a client said that it cannot process the jobs of an extended channel.
            let code = code::EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS;
            return self.refuse_open(mining, link, open.request_id, code);
        }
        let opened =
            self.prepare(mining, open.user_identity.as_bytes(), open.nominal_hash_rate, open.max_target);
        let result = opened.and_then(|new| {
            let (prefix, rollable) = new
                .prefix
                .extended(open.min_extranonce_size)
                .map_err(|_| code::MIN_EXTRANONCE_SIZE_TOO_LARGE)?;
            let now = self.millis(link.now());
            let tip = &self.current.tip;
            let work = Channel::extended(new.id, (prefix, rollable), new.request, tip, &self.policy, now)
                .map_err(|error| ErrorCode::from_static(error.code()))?;
            Ok((work, prefix, rollable, new.key))
        });
        match result {
            Ok((work, prefix, rollable, key)) => {
                link.send(&OpenExtendedMiningChannelSuccess {
                    request_id: open.request_id,
                    channel_id: work.id(),
                    target: work.target().to_le_bytes(),
                    extranonce_size: u16::from(rollable),
                    extranonce_prefix: wire(&prefix),
                    group_channel_id: mining.group_id,
                });
                self.start(mining, link, work, key);
            }
            Err(error_code) => self.refuse_open(mining, link, open.request_id, error_code),
        }
    }

    /// What both kinds check before a channel is made.
    fn prepare(
        &mut self,
        mining: &mut Mining,
        user_identity: &[u8],
        rate: F32,
        max_target: [u8; 32],
    ) -> Result<NewChannel, ErrorCode<'static>> {
        if self.paused {
            return Err(ErrorCode::from_static(super::NO_WORK));
        }
        if self.stats.open_channels() >= self.config.limits.channels {
            return Err(code::CHANNEL_CAPACITY_EXHAUSTED);
        }
        if mining.channels().len() >= usize::from(self.config.limits.channels_per_connection) {
            return Err(code::CHANNEL_CAPACITY_EXHAUSTED);
        }
        let key = match UserIdentity::from_bytes(user_identity) {
            Ok(identity) => identity.key,
            // The default must not earn for somebody who was named with a typing error, or by an address.
            Err(error) if error.names_somebody() => return Err(invalid_user_identity(&error)),
            Err(error) => self.config.default_payout_key.ok_or_else(|| invalid_user_identity(&error))?,
        };
        let request = Request {
            rate: hash_rate(rate).ok_or(code::INVALID_NOMINAL_HASHRATE)?,
            max_target: Target::from_le_bytes(max_target),
        };
        let prefix = self.next_prefix().ok_or(code::CHANNEL_CAPACITY_EXHAUSTED)?;
        let id = mining.next_channel_id().ok_or(code::CHANNEL_CAPACITY_EXHAUSTED)?;
        Ok(NewChannel { id, key, request, prefix })
    }

    fn next_prefix(&mut self) -> Option<UniquePrefix> {
        self.prefixes.next().or_else(|| {
            self.prefixes = self.spare.take()?;
            self.order_spare();
            self.prefixes.next()
        })
    }

    /// The first work of a channel: a future job, and the SetNewPrevHash that activates it (MP-46, MP-47, MP-110).
    fn start(&mut self, mining: &mut Mining, link: &mut Link<'_>, work: Channel, key: PayoutKey) {
        let channel = mining.open(OpenChannel {
            work,
            key,
            touched: false,
            refusals: RefusalWindow::default(),
            wants_job: false,
            waiting: None,
            closing: None,
        });
        self.stats.channel_opened();
        self.bootstrap(channel, link);
    }

    fn refuse_open(
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
        let channel_id = update.channel_id;
        match self.updated(mining, link, update) {
            Ok(()) => {}
            Err(error_code) => {
                link.send(&UpdateChannelError { channel_id, error_code });
                self.refused(mining, link);
            }
        }
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

/// A channel that passed all checks but those of its kind.
struct NewChannel {
    id: u32,
    key: PayoutKey,
    request: Request,
    prefix: UniquePrefix,
}

/// NaN, infinite and negative rates are none (MP-41).
fn hash_rate(rate: F32) -> Option<HashRate> {
    HashRate::from_f32(rate.get().ok()?).ok()
}

fn wire(extranonce: &Extranonce) -> B0_32<'_> {
    B0_32::new(&extranonce[..]).expect("an extranonce has at most 32 bytes")
}
