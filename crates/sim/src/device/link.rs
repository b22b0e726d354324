//! One connection of a device: its channels, its requests, and what the pool says.

use super::Desk;
use crate::{
    channel::{Channel, Share},
    wire::Wire,
};
use engine::simulation::Peer;
use std::{collections::BTreeMap, sync::Arc};
use sv2::{
    ErrorCode, Message,
    codec::B0_32,
    mining::{
        CloseChannel, MiningFromServer, NewExtendedMiningJob, SubmitSharesExtended, SubmitSharesStandard,
    },
};
use work::{ClientChannel, Job, JobParts, Kind, PayoutKey, Target, Tip};

pub(super) struct Link {
    device: usize,
    pub(super) wire: Wire,
    pub(super) peer: Peer,
    pub(super) said_hello: bool,
    pub(super) set_up: bool,
    pub(super) channels: BTreeMap<u32, Channel>,
    /// Requests without an answer: the key that the channel is for.
    pub(super) asked: BTreeMap<u32, PayoutKey>,
    pub(super) next_request: u32,
    /// Shares that leave later: when, and of which channel.
    pub(super) held: Vec<(u64, u32, Share)>,
    /// Has sent what no server understands, so that anything may follow.
    pub(super) broken: bool,
}

impl Link {
    pub(super) fn new(device: usize, wire: Wire, peer: Peer) -> Self {
        Self {
            device,
            wire,
            peer,
            said_hello: false,
            set_up: false,
            channels: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_request: 0,
            held: Vec::new(),
            broken: false,
        }
    }

    pub(super) fn send<'m>(&mut self, message: &impl Message<'m>, desk: &mut Desk<'_>) {
        let mut bytes = Vec::new();
        self.peer.seal(message, &mut bytes).expect("a device's messages fit");
        self.wire.send(bytes, desk.now, desk.chance, desk.faults);
    }

    /// Sends a share on a channel.
    pub(super) fn submit(&mut self, channel_id: u32, share: &Share, desk: &mut Desk<'_>) {
        let Some(channel) = self.channels.get_mut(&channel_id).filter(|channel| !channel.closed) else {
            return;
        };
        let sequence_number = channel.send(share, desk.accounts);
        let kind = channel.work.kind();
        desk.trace.note(format_args!(
            "device {} sends share {sequence_number} of channel {channel_id}, {:?}",
            self.device, share.flaw
        ));
        let &Share { job_id, nonce, ntime, version, .. } = share;
        match kind {
            Kind::Standard => {
                let share =
                    SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version };
                self.send(&share, desk);
            }
            Kind::Extended { .. } => {
                let extranonce = B0_32::new(&share.extranonce[..]).expect("at most 17 bytes");
                let share = SubmitSharesExtended {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                    extranonce,
                };
                self.send(&share, desk);
            }
        }
    }

    /// Closes a channel; what was not answered stays open for ever.
    pub(super) fn close(&mut self, channel_id: u32, desk: &mut Desk<'_>) {
        if let Some(channel) = self.channels.get_mut(&channel_id) {
            channel.closed = true;
            self.send(&CloseChannel { channel_id, reason_code: ErrorCode::from_static("bye") }, desk);
        }
    }

    /// The channels that a message addresses: one, or all of a group.
    fn addressed(&mut self, id: u32) -> impl Iterator<Item = &mut Channel> {
        self.channels.values_mut().filter(move |channel| channel.id == id || channel.group == id)
    }

    pub(super) fn message(&mut self, message: MiningFromServer<'_>, desk: &mut Desk<'_>) {
        use MiningFromServer as M;
        let now = desk.now;
        match message {
            M::OpenStandardMiningChannelSuccess(open) => self.opened(
                open.request_id,
                (open.channel_id, open.group_channel_id),
                Kind::Standard,
                (&open.extranonce_prefix, open.target),
                desk,
            ),
            M::OpenExtendedMiningChannelSuccess(open) => {
                let rollable = u8::try_from(open.extranonce_size).expect("at most 32 bytes");
                self.opened(
                    open.request_id,
                    (open.channel_id, open.group_channel_id),
                    Kind::Extended { rollable },
                    (&open.extranonce_prefix, open.target),
                    desk,
                );
            }
            M::OpenMiningChannelError(error) => {
                let asked = self.asked.remove(&error.request_id);
                assert!(asked.is_some() || self.broken, "device {}: {error:?} to no request", self.device);
            }
            M::NewMiningJob(job) => {
                for channel in self.addressed(job.channel_id) {
                    let taken = channel.work.standard_job(
                        job.job_id,
                        job.version,
                        true,
                        job.merkle_root,
                        job.min_ntime,
                        now,
                    );
                    taken.unwrap_or_else(|error| panic!("channel {}: {error}", channel.id));
                }
            }
            M::NewExtendedMiningJob(job) => {
                for channel in self.addressed(job.channel_id) {
                    let made = Arc::new(make(&job, channel.work.full_extranonce_len()));
                    let taken = channel.work.extended_job(&made, job.min_ntime, now);
                    taken.unwrap_or_else(|error| panic!("channel {}: {error}", channel.id));
                }
            }
            M::SetNewPrevHash(new) => {
                let tip = Tip::new(new.prev_hash, new.nbits, new.min_ntime);
                let tip = Arc::new(tip.expect("the pool sends a target that there is"));
                for channel in self.addressed(new.channel_id) {
                    let taken = channel.work.set_new_prev_hash(new.job_id, &tip, now);
                    taken.unwrap_or_else(|error| panic!("channel {}: {error}", channel.id));
                }
            }
            M::SetTarget(set) => {
                for channel in self.addressed(set.channel_id) {
                    channel.work.set_target(Target::from_le_bytes(set.maximum_target));
                }
            }
            M::SubmitSharesSuccess(success) => match self.channels.get_mut(&success.channel_id) {
                Some(channel) => channel.accepted(
                    success.last_sequence_number,
                    success.new_submits_accepted_count,
                    desk.accounts,
                ),
                None => panic!("device {}: {success:?} on no channel", self.device),
            },
            M::SubmitSharesError(error) => match self.channels.get_mut(&error.channel_id) {
                Some(channel) => channel.rejected(
                    error.sequence_number,
                    &error.error_code.to_string(),
                    desk.clock_jumps,
                    desk.accounts,
                ),
                None => assert!(self.broken, "device {}: {error:?} on no channel", self.device),
            },
            M::CloseChannel(close) => {
                for channel in self.addressed(close.channel_id) {
                    channel.closed = true;
                }
            }
            M::UpdateChannelError(_)
            | M::SetCustomMiningJobError(_)
            | M::RequestExtensionsSuccess(_)
            | M::RequestExtensionsError(_)
            | M::Reconnect(_) => {}
            other => panic!("device {}: the pool never sends {}", self.device, other.name()),
        }
    }

    fn opened(
        &mut self,
        request: u32,
        (id, group): (u32, u32),
        kind: Kind,
        (prefix, target): (&[u8], [u8; 32]),
        desk: &mut Desk<'_>,
    ) {
        let asked = self.asked.remove(&request);
        assert!(
            asked.is_some() || self.broken,
            "device {}: request {request} is answered twice",
            self.device
        );
        desk.accounts.prefix(prefix);
        let Some(key) = asked else { return };
        let work = ClientChannel::new(kind, prefix, Target::from_le_bytes(target));
        let work = work.expect("an extranonce that the protocol can carry");
        let before = self.channels.insert(id, Channel::new(id, group, key, work));
        assert!(before.is_none(), "device {}: channel id {id} is given out twice", self.device);
    }
}

fn make(message: &NewExtendedMiningJob<'_>, extranonce_len: usize) -> Job {
    let parts = JobParts {
        id: message.job_id,
        version: message.version,
        version_rolling_allowed: message.version_rolling_allowed,
        coinbase_prefix: message.coinbase_tx_prefix.to_vec(),
        coinbase_suffix: message.coinbase_tx_suffix.to_vec(),
        merkle_path: message.merkle_path.iter().collect(),
        extranonce_len,
    };
    Job::new(parts).expect("the pool's jobs are well-formed")
}
