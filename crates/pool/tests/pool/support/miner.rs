//! A miner on one connection. It keeps the client's model of every channel and fails the test when the pool sends what
//! the protocol does not allow: unknown channels, group traffic to simple devices, reused job ids, SetNewPrevHash for
//! jobs that were not sent ahead, extranonces that repeat or have other lengths than their group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use sv2::codec::{B0_32, F32, Str0_255};
use sv2::extensions::{TlvArea, TlvField, WithTlvs};
use sv2::mining::{
    CloseChannel, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess, OpenMiningChannelError, OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess, SetGroupChannel, SetNewPrevHash, SetTarget, SubmitSharesError,
    SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess, UpdateChannel, UpdateChannelError,
};
use sv2::setup::MiningSetupFlags;
use sv2::{ErrorCode, Message};
use work::{Assignment, ClientChannel, Job, JobParts, Kind, PayoutKey, Target, Tip, job};

use super::{Raw, Wire};

/// What a search is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// A share that is no block.
    Share,
    /// A share that is a block.
    Block,
    /// Either of them.
    Any,
    /// A hash that misses the share target.
    Weak,
}

/// A share before it is submitted; tests may spoil it.
#[derive(Clone, Debug)]
pub struct Share {
    pub job_id: u32,
    pub nonce: u32,
    pub ntime: u32,
    pub version: u32,
    pub extranonce: Vec<u8>,
    pub hash: [u8; 32],
    /// What it is worth, in eHash.
    pub credit: u64,
}

/// How a channel is asked for.
#[derive(Clone)]
pub struct Open {
    pub user: Vec<u8>,
    pub rate: f32,
    pub max_target: [u8; 32],
    /// Extended with at least so many rollable bytes; standard if none.
    pub extended: Option<u16>,
}

impl Open {
    /// The easiest work there is, for `key`.
    pub fn standard(key: &PayoutKey) -> Self {
        Self { user: key.to_string().into_bytes(), rate: 0.0, max_target: [0xff; 32], extended: None }
    }

    pub fn extended(key: &PayoutKey) -> Self {
        Self { extended: Some(4), ..Self::standard(key) }
    }
}

/// One open channel.
pub struct Channel {
    pub model: ClientChannel,
    pub group: u32,
    pub prefix: Vec<u8>,
    /// The target never rises above it.
    max_target: Target,
    /// Of an UpdateChannel that the pool may not have seen yet.
    next_max_target: Target,
    next_sequence: u32,
    next_nonce: u32,
    pub sent: u32,
    pub accepted: u32,
    pub rejected: u32,
    /// What the shares that were not refused are worth, by sequence number.
    worth: BTreeMap<u32, u64>,
}

pub struct Miner {
    pub wire: Wire,
    pub log: Vec<Raw>,
    pub channels: BTreeMap<u32, Channel>,
    /// Channels that this miner or the pool ended.
    pub closed: BTreeSet<u32>,
    ids: BTreeSet<u32>,
    asked: BTreeMap<u32, Open>,
    simple: bool,
    next_request: u32,
}

impl Miner {
    pub fn set_up(mut wire: Wire, flags: MiningSetupFlags) -> Self {
        wire.set_up(flags.bits());
        Self {
            wire,
            log: Vec::new(),
            channels: BTreeMap::new(),
            closed: BTreeSet::new(),
            ids: BTreeSet::new(),
            asked: BTreeMap::new(),
            simple: flags.contains(MiningSetupFlags::REQUIRES_STANDARD_JOBS),
            next_request: 0,
        }
    }

    // --- Receiving.

    /// The next frame, checked against the model.
    pub fn receive(&mut self) -> Raw {
        let raw = self.wire.receive();
        self.observe(&raw);
        raw
    }

    /// Receives until a frame that fits.
    pub fn until(&mut self, mut fits: impl FnMut(&Raw) -> bool) -> Raw {
        loop {
            let raw = self.receive();
            if fits(&raw) {
                return raw;
            }
        }
    }

    /// The newest message of this kind that came.
    pub fn newest<M>(&self) -> M
    where
        M: for<'a> Message<'a>,
    {
        self.log.iter().rev().find_map(Raw::get).expect("a message of this kind came")
    }

    /// Everything that the pool says until it answers a question that it has not been asked before: whatever was caused
    /// before the call has come when it returns.
    pub fn barrier(&mut self) -> Vec<Raw> {
        let id = 0xffff_0000 | self.next_request;
        self.next_request += 1;
        self.update(id, 0.0, [0xff; 32]);
        let before = self.log.len();
        self.until(|raw| raw.get::<UpdateChannelError<'_>>().is_some_and(|error| error.channel_id == id));
        for channel in self.channels.values_mut() {
            channel.max_target = channel.next_max_target;
        }
        self.log[before..self.log.len() - 1].to_vec()
    }

    fn observe(&mut self, raw: &Raw) {
        self.log.push(raw.clone());
        if let Some(m) = raw.get::<OpenStandardMiningChannelSuccess<'_>>() {
            let prefix = m.extranonce_prefix.to_vec();
            self.opened(m.request_id, m.channel_id, m.group_channel_id, prefix, Kind::Standard, m.target);
        } else if let Some(m) = raw.get::<OpenExtendedMiningChannelSuccess<'_>>() {
            let rollable = u8::try_from(m.extranonce_size).unwrap();
            let wanted = self.asked[&m.request_id].extended.unwrap();
            assert!(m.extranonce_size >= wanted, "granted {rollable} bytes where {wanted} were needed");
            let (prefix, kind) = (m.extranonce_prefix.to_vec(), Kind::Extended { rollable });
            self.opened(m.request_id, m.channel_id, m.group_channel_id, prefix, kind, m.target);
        } else if let Some(m) = raw.get::<NewMiningJob>() {
            let channel = self.addressed(m.channel_id);
            channel.model.standard_job(m.job_id, m.version, true, m.merkle_root, m.min_ntime, 0).unwrap();
        } else if let Some(m) = raw.get::<NewExtendedMiningJob<'_>>() {
            self.extended_job(&m);
        } else if let Some(m) = raw.get::<SetNewPrevHash>() {
            let tip = Arc::new(Tip::new(m.prev_hash, m.nbits, m.min_ntime).unwrap());
            for channel in self.members(m.channel_id) {
                channel.model.set_new_prev_hash(m.job_id, &tip, 0).unwrap();
            }
        } else if let Some(m) = raw.get::<SetTarget>() {
            let target = Target::from_le_bytes(m.maximum_target);
            for channel in self.members(m.channel_id) {
                let most = channel.max_target.max(channel.next_max_target);
                assert!(target > Target::ZERO && target <= most, "SetTarget above max_target");
                channel.model.set_target(target);
            }
        } else if let Some(m) = raw.get::<SubmitSharesSuccess>() {
            let channel = self.addressed(m.channel_id);
            assert!(m.new_submits_accepted_count > 0, "an acknowledgement of nothing");
            channel.accepted += m.new_submits_accepted_count;
            assert!(channel.accepted + channel.rejected <= channel.sent, "more answers than shares");
        } else if let Some(m) = raw.get::<SubmitSharesError<'_>>() {
            if let Some(channel) = self.channels.get_mut(&m.channel_id) {
                channel.rejected += 1;
                channel.worth.remove(&m.sequence_number);
            }
        } else if let Some(m) = raw.get::<CloseChannel<'_>>() {
            assert!(self.channels.remove(&m.channel_id).is_some(), "the end of a channel that is not open");
            self.closed.insert(m.channel_id);
        } else if raw.is::<SetGroupChannel<'_>>() {
            assert!(!self.simple, "MP-150");
        }
    }

    fn opened(&mut self, request: u32, id: u32, group: u32, prefix: Vec<u8>, kind: Kind, target: [u8; 32]) {
        let asked = self.asked.remove(&request).expect("no channel was asked for under this request_id");
        assert_eq!(asked.extended.is_some(), matches!(kind, Kind::Extended { .. }), "the kind asked for");
        assert!(self.ids.insert(id), "channel id {id} was used before");
        let (target, max_target) = (Target::from_le_bytes(target), Target::from_le_bytes(asked.max_target));
        assert!(target > Target::ZERO && target <= max_target, "the first target is above max_target");
        let model = ClientChannel::new(kind, &prefix, target).unwrap();
        let length = model.full_extranonce_len();
        for (other_id, other) in &self.channels {
            assert!(*other_id != group && other.group != id, "a group's id is a channel's id");
            assert!(other.prefix != prefix, "an extranonce prefix was given twice");
            assert!(other.group != group || other.model.full_extranonce_len() == length, "MP-21");
        }
        assert_ne!(id, group);
        let channel = Channel {
            model,
            group,
            prefix,
            max_target,
            next_max_target: max_target,
            next_sequence: 0,
            next_nonce: 0,
            sent: 0,
            accepted: 0,
            rejected: 0,
            worth: BTreeMap::new(),
        };
        self.channels.insert(id, channel);
    }

    fn extended_job(&mut self, m: &NewExtendedMiningJob<'_>) {
        assert!(!self.simple, "an extended job to a device that cannot process it (FL-01)");
        let direct = self.channels.get(&m.channel_id).map(|channel| channel.model.kind());
        assert_ne!(direct, Some(Kind::Standard), "an extended job addressed to a standard channel (MP-07)");
        for channel in self.members(m.channel_id) {
            let job = Job::new(JobParts {
                id: m.job_id,
                version: m.version,
                version_rolling_allowed: m.version_rolling_allowed,
                coinbase_prefix: m.coinbase_tx_prefix.to_vec(),
                coinbase_suffix: m.coinbase_tx_suffix.to_vec(),
                merkle_path: m.merkle_path.iter().collect(),
                extranonce_len: channel.model.full_extranonce_len(),
            })
            .unwrap();
            channel.model.extended_job(&Arc::new(job), m.min_ntime, 0).unwrap();
        }
    }

    /// The channel of this id. What crosses the end of a channel is not expected here: see [`Self::close`].
    fn addressed(&mut self, id: u32) -> &mut Channel {
        self.channels.get_mut(&id).unwrap_or_else(|| panic!("a message for channel {id}, which is not open"))
    }

    /// The channel of this id, or the members of the group of this id.
    fn members(&mut self, id: u32) -> Vec<&mut Channel> {
        let is_channel = self.channels.contains_key(&id);
        assert!(is_channel || !self.simple, "a device without groups got a message for {id}");
        let fits = |(own, channel): &(&u32, &mut Channel)| **own == id || channel.group == id;
        let members: Vec<_> = self.channels.iter_mut().filter(fits).map(|(_, channel)| channel).collect();
        assert!(!members.is_empty(), "a message for {id}, which is neither channel nor group");
        members
    }

    // --- Channels.

    /// Asks for a channel; returns the request's id.
    pub fn ask(&mut self, open: &Open) -> u32 {
        let request_id = self.next_request;
        self.next_request += 1;
        self.asked.insert(request_id, open.clone());
        let user_identity = Str0_255::from_bytes(open.user.as_slice()).unwrap();
        let (nominal_hash_rate, max_target) = (F32::new(open.rate), open.max_target);
        match open.extended {
            None => self.wire.queue(&OpenStandardMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
            }),
            Some(min_extranonce_size) => self.wire.queue(&OpenExtendedMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size,
            }),
        }
        self.wire.flush();
        request_id
    }

    /// Opens a channel and waits for its first work.
    pub fn open(&mut self, open: &Open) -> u32 {
        let request = self.ask(open);
        let reply = self.until(|raw| opened_by(raw, request).is_some() || refused(raw, request).is_some());
        let id = opened_by(&reply, request)
            .unwrap_or_else(|| panic!("no channel: {}", refused(&reply, request).unwrap()));
        while self.channels[&id].model.active().is_none() {
            self.receive();
        }
        id
    }

    /// Asks for a channel that the pool has to refuse; returns the code.
    pub fn open_refused(&mut self, open: &Open) -> String {
        let request = self.ask(open);
        let reply = self.until(|raw| opened_by(raw, request).is_some() || refused(raw, request).is_some());
        refused(&reply, request).expect("the channel should have been refused")
    }

    pub fn update(&mut self, channel_id: u32, rate: f32, maximum_target: [u8; 32]) {
        if let Some(channel) = self.channels.get_mut(&channel_id) {
            channel.max_target = channel.max_target.max(channel.next_max_target);
            channel.next_max_target = Target::from_le_bytes(maximum_target);
        }
        self.wire.send(&UpdateChannel { channel_id, nominal_hash_rate: F32::new(rate), maximum_target });
    }

    /// Ends a channel. From the next [`Self::barrier`] on nothing may come for it.
    pub fn close(&mut self, channel_id: u32) {
        self.barrier();
        self.wire.send(&CloseChannel { channel_id, reason_code: ErrorCode::from_static("test") });
        self.channels.retain(|id, channel| {
            let ends = *id == channel_id || channel.group == channel_id;
            if ends {
                self.closed.insert(*id);
            }
            !ends
        });
    }

    pub fn active(&self, channel_id: u32) -> &Assignment {
        self.channels[&channel_id].model.active().expect("there is work")
    }

    // --- Shares.

    /// What all shares of a channel that were not refused are worth. Vardiff may change what the next one is.
    pub fn earned(&self, channel_id: u32) -> u64 {
        self.channels[&channel_id].worth.values().sum()
    }

    /// Searches the job that is mined now.
    pub fn find(&mut self, channel_id: u32, want: Want) -> Share {
        let assignment = self.active(channel_id).clone();
        self.find_on(channel_id, &assignment, want)
    }

    /// Searches a job. No header is looked at twice, so no share is found twice.
    pub fn find_on(&mut self, channel_id: u32, assignment: &Assignment, want: Want) -> Share {
        self.find_as(channel_id, assignment, want, assignment.version(), *assignment.ntimes(0).start())
    }

    /// Searches a job with a version and a time of the test's choice.
    pub fn find_as(
        &mut self,
        channel_id: u32,
        assignment: &Assignment,
        want: Want,
        version: u32,
        ntime: u32,
    ) -> Share {
        let channel = self.channels.get_mut(&channel_id).expect("the channel is open");
        let rollable = match channel.model.kind() {
            Kind::Standard => 0,
            Kind::Extended { rollable } => usize::from(rollable),
        };
        let extranonce = vec![0xe5; rollable];
        let root = assignment.merkle_root(&extranonce);
        let (target, network) = (assignment.target(), assignment.tip().network_target());
        assert!(want != Want::Share || target > network, "every share of this job is a block");
        loop {
            let nonce = channel.next_nonce;
            channel.next_nonce += 1;
            let hash = job::header_hash(&assignment.header(version, &root, ntime, nonce));
            let found = match (network.is_met_by(&hash), target.is_met_by(&hash)) {
                (true, _) => Want::Block,
                (false, true) => Want::Share,
                (false, false) => Want::Weak,
            };
            if found == want || want == Want::Any && found != Want::Weak {
                let job_id = assignment.job_id();
                let credit = assignment.credit().get();
                return Share { job_id, nonce, ntime, version, extranonce, hash, credit };
            }
        }
    }

    /// Submits a share in the way of its channel's kind; returns its sequence number.
    pub fn submit(&mut self, channel_id: u32, share: &Share) -> u32 {
        let sequence = self.queue_share(channel_id, share, &[]);
        self.wire.flush();
        sequence
    }

    /// Submits an extended share with a worker field.
    pub fn submit_as(&mut self, channel_id: u32, share: &Share, worker: &[u8]) -> u32 {
        let field = TlvField { extension: 2, field_type: 1, value: worker };
        let sequence = self.queue_share(channel_id, share, &[field]);
        self.wire.flush();
        sequence
    }

    pub fn queue_share(&mut self, channel_id: u32, share: &Share, fields: &[TlvField<'_>]) -> u32 {
        let channel = self.channels.get_mut(&channel_id);
        let kind = channel.as_ref().map_or(Kind::Standard, |channel| channel.model.kind());
        let sequence_number = channel.map_or(0, |channel| {
            channel.sent += 1;
            channel.next_sequence += 1;
            channel.worth.insert(channel.next_sequence, share.credit);
            channel.next_sequence
        });
        let Share { job_id, nonce, ntime, version, .. } = *share;
        match kind {
            Kind::Standard => self.wire.queue(&SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            }),
            Kind::Extended { .. } => self.wire.queue(&WithTlvs {
                message: SubmitSharesExtended {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                    extranonce: B0_32::new(share.extranonce.as_slice()).unwrap(),
                },
                tlvs: TlvArea::new(fields).unwrap(),
            }),
        }
        sequence_number
    }

    /// Mines and submits one share that has to be accepted.
    pub fn earn(&mut self, channel_id: u32) {
        let share = self.find(channel_id, Want::Share);
        self.accept(channel_id, &share);
    }

    /// Submits a share that has to be accepted.
    pub fn accept(&mut self, channel_id: u32, share: &Share) {
        let sequence = self.submit(channel_id, share);
        self.until_answered(channel_id, sequence).unwrap();
    }

    /// Submits a share that has to be refused; returns the code.
    pub fn refuse(&mut self, channel_id: u32, share: &Share) -> String {
        let sequence = self.submit(channel_id, share);
        self.until_answered(channel_id, sequence).expect_err("the share should have been refused")
    }

    /// Waits for what becomes of a share. No later one may be under way.
    pub fn until_answered(&mut self, channel_id: u32, sequence: u32) -> Result<SubmitSharesSuccess, String> {
        let answer = self.until(|raw| {
            raw.get::<SubmitSharesSuccess>()
                .is_some_and(|m| (m.channel_id, m.last_sequence_number) == (channel_id, sequence))
                || refused_share(raw, channel_id, sequence).is_some()
        });
        match refused_share(&answer, channel_id, sequence) {
            Some(code) => Err(code),
            None => Ok(answer.get().expect("an acknowledgement")),
        }
    }

    /// Waits until every share of a channel was answered.
    pub fn settle(&mut self, channel_id: u32) {
        while {
            let channel = &self.channels[&channel_id];
            channel.accepted + channel.rejected < channel.sent
        } {
            self.receive();
        }
    }
}

fn opened_by(raw: &Raw, request: u32) -> Option<u32> {
    let standard = raw.get::<OpenStandardMiningChannelSuccess<'_>>().map(|m| (m.request_id, m.channel_id));
    let extended = raw.get::<OpenExtendedMiningChannelSuccess<'_>>().map(|m| (m.request_id, m.channel_id));
    standard.or(extended).filter(|(id, _)| *id == request).map(|(_, channel)| channel)
}

fn refused(raw: &Raw, request: u32) -> Option<String> {
    let error = raw.get::<OpenMiningChannelError<'_>>().filter(|error| error.request_id == request)?;
    Some(error.error_code.to_string())
}

fn refused_share(raw: &Raw, channel_id: u32, sequence: u32) -> Option<String> {
    let error = raw.get::<SubmitSharesError<'_>>()?;
    ((error.channel_id, error.sequence_number) == (channel_id, sequence))
        .then(|| error.error_code.to_string())
}

/// Receives until a channel works on this block.
pub fn until_work_on(miner: &mut Miner, channel: u32, hash: BlockHash) {
    while *miner.active(channel).tip().prev_hash() != hash.to_byte_array() {
        miner.receive();
    }
}
