//! The open channel: jobs in, shares out.

use std::time::Instant;

use sv2::codec::{B0_32, F32};
use sv2::extensions::{TlvArea, WORKER_HASHRATE, WithTlvs, WorkerIdentity};
use sv2::mining::{
    MiningFromServer, NewExtendedMiningJob, NewMiningJob, SetGroupChannel, SubmitSharesError,
    SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess, UpdateChannel,
};
use sv2::setup::{ChannelEndpointChanged, MiningSetupFlags, MiningSuccessFlags, Reconnect};
use work::{HashRate, Kind, Target};

use super::jobs::JobError;
use super::{Action, Channel, End, Phase, Session};
use crate::crew::Found;
use crate::event::DeviceEvent;
use crate::search::Work;

/// To whom a channel message is addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Address {
    Channel,
    Group,
}

impl Session {
    /// A message for a channel or a group. Those for others, as for a channel that was just closed, are
    /// ignored (MP-67).
    pub(super) fn channel_message(&mut self, message: MiningFromServer<'_>, now: Instant) {
        use MiningFromServer as M;
        let channel_id = match &message {
            M::NewMiningJob(message) => message.channel_id,
            M::NewExtendedMiningJob(message) => message.channel_id,
            M::SetNewPrevHash(message) => message.channel_id,
            M::SetTarget(message) => message.channel_id,
            M::SetExtranoncePrefix(message) => message.channel_id,
            M::SubmitSharesSuccess(message) => message.channel_id,
            M::SubmitSharesError(message) => message.channel_id,
            M::UpdateChannelError(message) => message.channel_id,
            M::CloseChannel(message) => message.channel_id,
            _ => return tracing::debug!(message = message.name(), "ignored: nothing here asked for it"),
        };
        let Some(address) = self.address(channel_id) else {
            return tracing::debug!(channel_id, message = message.name(), "ignored: not this channel's");
        };
        match (message, address) {
            (M::SubmitSharesSuccess(message), Address::Channel) => self.accepted(message),
            (M::SubmitSharesError(message), Address::Channel) => self.rejected(&message),
            (M::CloseChannel(message), _) => {
                // MP-65, MP-66: nothing is submitted any more, and there is nothing left to close.
                self.end(End::ChannelClosed(message.reason_code.to_string()));
            }
            _ if self.phase != Phase::Running => (),
            (M::NewMiningJob(message), Address::Channel) => self.new_job(message, now),
            (M::NewExtendedMiningJob(message), _) => self.new_extended_job(&message, now),
            (M::SetNewPrevHash(message), _) => {
                let started = self.with_channel(|channel| channel.jobs.set_new_prev_hash(&message, now));
                self.started(started, true, now);
            }
            (M::SetTarget(message), _) => self.set_target(Target::from_le_bytes(message.maximum_target)),
            (M::SetExtranoncePrefix(message), Address::Channel) => {
                self.set_extranonce_prefix(&message.extranonce_prefix);
            }
            (M::UpdateChannelError(message), Address::Channel) => {
                self.notice(format!("the pool did not take the new hash rate: {}", message.error_code));
            }
            (message, _) => {
                // MP-72, MP-156: these are for one channel alone.
                tracing::warn!(message = message.name(), "ignored: it must not be sent to a group");
            }
        }
    }

    /// Whether a message is for this device's channel, directly or through its group (MP-159). A device
    /// that asked for standard jobs only is not addressed through groups (MP-24).
    fn address(&self, channel_id: u32) -> Option<Address> {
        let channel = self.channel.as_ref()?;
        let groups = self.setup.flags & MiningSetupFlags::REQUIRES_STANDARD_JOBS.bits() == 0;
        match channel_id {
            id if id == channel.id => Some(Address::Channel),
            id if id == channel.group && groups => Some(Address::Group),
            _ => None,
        }
    }

    fn with_channel<T>(&mut self, change: impl FnOnce(&mut Channel) -> T) -> Option<T> {
        self.channel.as_mut().map(change)
    }

    fn may_roll_version(&self) -> bool {
        !self.required.contains(MiningSuccessFlags::REQUIRES_FIXED_VERSION)
    }

    /// A standard job says nothing of version rolling: allowed unless the server fixed versions (MP-91).
    fn new_job(&mut self, message: NewMiningJob, now: Instant) {
        let version_rolling = self.may_roll_version();
        let started = self.with_channel(|channel| channel.jobs.standard(message, version_rolling, now));
        self.started(started, false, now);
    }

    fn new_extended_job(&mut self, message: &NewExtendedMiningJob<'_>, now: Instant) {
        let version_rolling = message.version_rolling_allowed && self.may_roll_version();
        let started = self.with_channel(|channel| channel.jobs.extended(message, version_rolling, now));
        self.started(started, false, now);
    }

    fn started(&mut self, started: Option<Result<Option<Work>, JobError>>, new_block: bool, now: Instant) {
        match started {
            None | Some(Ok(None)) => (),
            Some(Ok(Some(work))) => {
                self.deadline = None;
                self.mining_since.get_or_insert(now);
                let (job_id, prev_hash) = (work.assignment.job_id(), *work.assignment.tip().prev_hash());
                self.actions.push_back(Action::Work(Some(work)));
                self.event(DeviceEvent::NewJob { job_id, prev_hash, new_block });
            }
            Some(Err(error @ JobError::Nbits(_))) => self.end(End::Protocol(error.to_string())),
            Some(Err(error)) if new_block => {
                // MP-101: the old tip is dead and the new one has no job. Rest until the next valid pair.
                self.notice(format!("{error}; waiting for a valid job"));
                self.actions.push_back(Action::Work(None));
                self.deadline = Some((now + self.config.timing.first_job, "the open channel with a job"));
            }
            Some(Err(error)) => self.notice(error.to_string()),
        }
    }

    fn set_target(&mut self, target: Target) {
        self.with_channel(|channel| channel.jobs.set_target(target));
        self.event(DeviceEvent::TargetChanged { target });
    }

    fn set_extranonce_prefix(&mut self, prefix: &[u8]) {
        if let Some(Err(error)) = self.with_channel(|channel| channel.jobs.set_prefix(prefix)) {
            self.end(End::Protocol(error.to_string()));
        }
    }

    /// Moves this channel to another group, if it is named (MP-152, MP-157, SM-19).
    pub(super) fn set_group(&mut self, message: &SetGroupChannel<'_>) {
        if self.setup.flags & MiningSetupFlags::REQUIRES_STANDARD_JOBS.bits() != 0 {
            return self.notice("ignored SetGroupChannel: this device asked for standard jobs (MP-150)");
        }
        let Some(channel) = &mut self.channel else { return };
        if message.channel_ids.iter().any(|id| id == channel.id) {
            channel.group = message.group_channel_id;
        }
    }

    /// A search thread found a header. It is submitted if its job is still good (MD-07) and it meets the
    /// job's own target (MP-137).
    pub fn found(&mut self, found: &Found) {
        let open = matches!(self.phase, Phase::Running | Phase::Draining(_));
        let Some(channel) = self.channel.as_mut().filter(|_| open) else { return self.tally.drop_stale() };
        let Some(job) = channel.jobs.mined(found) else { return self.tally.drop_stale() };
        let (target, network_target) = (job.target(), job.tip().network_target());
        if !target.max(network_target).is_met_by(&found.hash) {
            debug_assert!(false, "the search reports only what meets its target");
            return;
        }
        let (channel_id, sequence_number) = (channel.id, channel.sequence_number);
        let kind = channel.jobs.kind();
        let share = SubmitSharesStandard {
            channel_id,
            sequence_number,
            job_id: found.job_id,
            nonce: found.nonce,
            ntime: found.ntime,
            version: found.version,
        };
        let block = network_target.is_met_by(&found.hash);
        self.tally.submit(sequence_number, job.credit(), block);
        channel.sequence_number = sequence_number.wrapping_add(1);
        match kind {
            Kind::Standard => self.send(&share),
            Kind::Extended { rollable } => self.submit_extended(share, &found.extranonce, rollable),
        }
        if block {
            self.event(DeviceEvent::BlockFound { hash: found.hash });
        }
    }

    fn submit_extended(&mut self, share: SubmitSharesStandard, extranonce: &[u8], rollable: u8) {
        debug_assert_eq!(extranonce.len(), usize::from(rollable), "exactly the granted length (MP-120)");
        let Ok(extranonce) = B0_32::new(extranonce) else {
            return self.end(End::Protocol(format!("an extranonce of {} bytes", extranonce.len())));
        };
        let SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version } = share;
        let message =
            SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce };
        // WH-02, WH-03: on every share if it was negotiated, on none otherwise.
        let named = self.negotiation.is_confirmed(WORKER_HASHRATE);
        let tlvs = named.then(|| {
            let config = std::sync::Arc::clone(&self.config);
            TlvArea::new(&[WorkerIdentity::from_name(worker_name(&config.user_identity)).to_tlv()])
        });
        match tlvs {
            None => self.send(&message.into_owned()),
            Some(Ok(tlvs)) => self.send(&WithTlvs { message: message.into_owned(), tlvs }),
            Some(Err(error)) => self.end(End::Protocol(error.to_string())),
        }
    }

    fn accepted(&mut self, message: SubmitSharesSuccess) {
        let settled = self.tally.accept(
            message.last_sequence_number,
            message.new_submits_accepted_count,
            message.new_shares_sum,
        );
        if settled.count < u64::from(message.new_submits_accepted_count) {
            tracing::debug!(?message, ?settled, "the pool acknowledged more shares than wait for it");
        }
        self.event(DeviceEvent::SharesAccepted { count: settled.count, credit: settled.credit });
        self.drained();
    }

    /// Counted and told, nothing more: whatever the code says, the next share is found and sent (ER-02,
    /// ER-03, MD-09).
    fn rejected(&mut self, message: &SubmitSharesError<'_>) {
        let code = message.error_code.to_string();
        if self.tally.reject(message.sequence_number, &code) {
            self.event(DeviceEvent::ShareRejected { code });
        }
        self.drained();
    }

    fn drained(&mut self) {
        if matches!(self.phase, Phase::Draining(_)) && self.tally.outstanding() == 0 {
            self.finish();
        }
    }

    /// Tells the server when the hash rate is no longer what it was told.
    pub fn measured(&mut self, rate: HashRate, now: Instant) {
        let (old, new) = (self.nominal.get(), rate.get());
        let similar = new <= old.saturating_add(old / 2) && new >= old - old / 3;
        if self.phase != Phase::Running || self.mining_since.is_none() || new == 0 || similar {
            return;
        }
        let Some(channel) = &mut self.channel else { return };
        if now.saturating_duration_since(channel.rate_told) < self.config.timing.update_channel {
            return;
        }
        channel.rate_told = now;
        let message = UpdateChannel {
            channel_id: channel.id,
            nominal_hash_rate: F32::new(rate.to_f32()),
            maximum_target: Target::MAX.to_le_bytes(),
        };
        self.nominal = rate;
        self.send(&message);
    }

    /// The hash rate that the server was told last.
    pub fn nominal(&self) -> HashRate {
        self.nominal
    }

    /// The server wants the device elsewhere (RC-01). A host that no resolver could take is ignored.
    pub(super) fn reconnect(&mut self, message: &Reconnect<'_>, now: Instant) {
        let host = message.new_host.to_str().unwrap_or("\0");
        if !host.bytes().all(|byte| byte.is_ascii_graphic()) {
            return self.notice(format!("ignored a request to reconnect to {}", message.new_host));
        }
        let why = End::Reconnect { host: host.to_owned(), port: message.new_port };
        self.leave(why, now);
    }

    /// Somebody else is at the far end of the channel: extensions are negotiated anew (CEP-02).
    pub(super) fn endpoint_changed(&mut self, message: ChannelEndpointChanged) {
        if self.address(message.channel_id).is_none() {
            return;
        }
        self.notice("the channel's far end changed; extensions are negotiated again");
        self.negotiation = super::opening::negotiation(&self.config, self.lessons);
        if let Some(request) = self.negotiation.request() {
            self.send(&request);
        }
    }
}

/// What stands behind the first dot of a user identity; all of it if there is none (WH-11).
fn worker_name(user_identity: &str) -> &str {
    user_identity.split_once('.').map_or(user_identity, |(_, worker)| worker)
}
