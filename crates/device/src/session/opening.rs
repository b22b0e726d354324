//! From SetupConnection to the open channel.

use std::time::Instant;

use sv2::codec::{F32, Str0_255};
use sv2::extensions::{ClientNegotiation, Next, WORKER_HASHRATE};
use sv2::mining::{
    OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
    OpenStandardMiningChannel, OpenStandardMiningChannelSuccess,
};
use sv2::setup::{
    MiningSetupFlags, MiningSuccessFlags, Protocol, ReplyError, SetupConnection, SetupReply, check_reply,
};
use sv2::{Frame, setup::Established};
use work::{Kind, Target};

use super::jobs::Jobs;
use super::{Channel, End, Lessons, Phase, Session};
use crate::config::{ChannelKind, DeviceConfig};
use crate::event::DeviceEvent;

/// The only version there is (CM-06).
const VERSION: u16 = 2;

/// RequestExtensions is repeated on a new connection this often, then left out (EX-15).
const EXTENSION_ATTEMPTS: u8 = 2;

/// What the device says of itself (CM-03, CM-04, CM-05, CM-09).
pub(super) fn setup_connection(
    config: &DeviceConfig,
    host: &str,
    port: u16,
    lessons: Lessons,
) -> SetupConnection<'static> {
    let mut flags = MiningSetupFlags::NONE;
    if config.requires_standard_jobs {
        flags = flags.with(MiningSetupFlags::REQUIRES_STANDARD_JOBS);
    }
    if config.requires_version_rolling {
        flags = flags.with(MiningSetupFlags::REQUIRES_VERSION_ROLLING);
    }
    // A CPU can do without either; a pool that cannot honour a wish gets none (SM-05).
    let mut unwanted = MiningSetupFlags::from_bits(lessons.refused_flags);
    if lessons.extended_only {
        unwanted = unwanted.with(MiningSetupFlags::REQUIRES_STANDARD_JOBS);
    }
    let text = |text: &str| Str0_255::truncated(text).into_owned();
    SetupConnection {
        protocol: Protocol::Mining.to_wire(),
        min_version: VERSION,
        max_version: VERSION,
        flags: flags.without(unwanted).bits(),
        endpoint_host: text(host),
        endpoint_port: port,
        vendor: text(&config.vendor),
        hardware_version: text(&config.hardware_version),
        firmware: text(&config.firmware),
        device_id: text(&config.device_id),
    }
}

/// What the device asks for, and what it could do if the server insists.
pub(super) fn negotiation(config: &DeviceConfig, lessons: Lessons) -> ClientNegotiation {
    let ask = config.worker_tlv && lessons.extension_silences < EXTENSION_ATTEMPTS;
    ClientNegotiation::new(ask.then_some(WORKER_HASHRATE), [WORKER_HASHRATE])
}

impl Session {
    /// The first frame: nothing but a reply to SetupConnection may come (CM-18, SM-04, SM-05).
    pub(super) fn setup_reply(&mut self, frame: Frame<'_>, now: Instant) {
        let reply = match SetupReply::first(frame) {
            Ok(reply) => reply,
            Err(error) => return self.end(End::Protocol(error.to_string())),
        };
        match check_reply(&self.setup, &reply) {
            Ok(established) => self.established(established, now),
            Err(error) => self.setup_refused(error),
        }
    }

    fn established(&mut self, established: Established, now: Instant) {
        if established.unknown_flags != 0 {
            self.notice(format!("the pool set unknown flags {:#x}", established.unknown_flags));
        }
        self.required = established.mining;
        match self.negotiation.request() {
            // EX-05: right after the setup, before anything else.
            Some(request) => {
                self.phase = Phase::Extensions;
                self.deadline = Some((now + self.config.timing.extensions, "RequestExtensions"));
                self.send(&request);
            }
            None => self.open(now),
        }
    }

    fn setup_refused(&mut self, error: ReplyError) {
        let why = error.to_string();
        let mut lessons = self.lessons;
        match error {
            ReplyError::Refused { flags, .. } => lessons.refused_flags |= flags & self.setup.flags,
            // The server accepted a wish and requires the opposite (MP-27). It gets no wish next time.
            ReplyError::Contradiction { needs, .. } => lessons.refused_flags |= needs.bits(),
            ReplyError::Version { .. } => return self.end(End::Protocol(why)),
        }
        if lessons == self.lessons {
            self.end(End::Refused(why));
        } else {
            self.end(End::Retry { lessons, why });
        }
    }

    /// What follows the reply to RequestExtensions (SM-07, SM-08).
    pub(super) fn negotiated(&mut self, next: Next, now: Instant) {
        match next {
            Next::Ignore => (),
            Next::Retry(request) => {
                if self.phase == Phase::Extensions {
                    self.deadline = Some((now + self.config.timing.extensions, "RequestExtensions"));
                }
                self.send(&request);
            }
            Next::Proceed if self.phase == Phase::Extensions => self.open(now),
            Next::Proceed => (),
            Next::GiveUp { required } => {
                let why = format!("it requires extensions {required:?}, which this device does not have");
                self.end(End::Refused(why));
            }
        }
    }

    /// No answer: the server may be slow, or too old to know the message (SM-09, EX-15).
    pub(super) fn extensions_unanswered(&mut self) {
        let mut lessons = self.lessons;
        lessons.extension_silences = lessons.extension_silences.saturating_add(1);
        let why = "RequestExtensions was not answered".to_owned();
        self.end(End::Retry { lessons, why });
    }

    /// Opens the channel: at once, once, and of a kind that the server has (MP-34, MP-30, CM-10).
    fn open(&mut self, now: Instant) {
        let extended_only = self.required.contains(MiningSuccessFlags::REQUIRES_EXTENDED_CHANNELS);
        let asked_standard = self.setup.flags & MiningSetupFlags::REQUIRES_STANDARD_JOBS.bits() != 0;
        debug_assert!(!(extended_only && asked_standard), "check_reply refuses this");
        let kind = if extended_only { ChannelKind::Extended } else { self.config.channel };
        if kind != self.config.channel {
            self.notice("the pool has no standard channels; opening an extended one");
        }
        let request_id = self.request_id;
        let user_identity = Str0_255::truncated(&self.config.user_identity).into_owned();
        let nominal_hash_rate = F32::new(self.nominal.to_f32());
        let max_target = Target::MAX.to_le_bytes();
        match kind {
            ChannelKind::Standard => self.send(&OpenStandardMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
            }),
            ChannelKind::Extended => self.send(&OpenExtendedMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size: self.config.min_extranonce_size,
            }),
        }
        self.phase = Phase::Opening;
        self.deadline = Some((now + self.config.timing.reply, "the request for a channel"));
    }

    pub(super) fn standard_opened(&mut self, reply: &OpenStandardMiningChannelSuccess<'_>, now: Instant) {
        if !self.awaits(reply.request_id) {
            return;
        }
        self.opened(
            (reply.channel_id, reply.group_channel_id),
            Target::from_le_bytes(reply.target),
            &reply.extranonce_prefix,
            Kind::Standard,
            now,
        );
    }

    pub(super) fn extended_opened(&mut self, reply: &OpenExtendedMiningChannelSuccess<'_>, now: Instant) {
        if !self.awaits(reply.request_id) {
            return;
        }
        let (granted, wanted) = (reply.extranonce_size, self.config.min_extranonce_size);
        match u8::try_from(granted) {
            Ok(rollable) if granted >= wanted => self.opened(
                (reply.channel_id, reply.group_channel_id),
                Target::from_le_bytes(reply.target),
                &reply.extranonce_prefix,
                Kind::Extended { rollable },
                now,
            ),
            _ => self.end(End::Protocol(format!("{granted} bytes of extranonce, {wanted} were asked for"))),
        }
    }

    /// Whether a reply is the one that is waited for (MP-36, MP-51).
    fn awaits(&self, request_id: u32) -> bool {
        self.phase == Phase::Opening && request_id == self.request_id
    }

    fn opened(&mut self, (id, group): (u32, u32), target: Target, prefix: &[u8], kind: Kind, now: Instant) {
        let jobs = match Jobs::new(kind, prefix, target, self.first_tip, now) {
            Ok(jobs) => jobs,
            Err(error) => return self.end(End::Protocol(error.to_string())),
        };
        self.channel = Some(Channel { id, group, sequence_number: 1, jobs, rate_told: now });
        self.phase = Phase::Running;
        // MP-49: nothing is hashed before job, block and target are there.
        self.deadline = Some((now + self.config.timing.first_job, "the open channel with a job"));
        self.event(DeviceEvent::ChannelOpened { channel_id: id, target, kind });
    }

    pub(super) fn open_refused(&mut self, reply: &OpenMiningChannelError<'_>) {
        if self.awaits(reply.request_id) {
            self.end(End::Refused(format!("no channel: {}", reply.error_code)));
        }
    }
}
