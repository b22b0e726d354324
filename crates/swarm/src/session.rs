//! The client's side of the protocol on one connection: set-up, channels, work, answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use device::ChannelKind;
use sv2::Frame;
use sv2::codec::{B0_32, F32, Str0_255};
use sv2::mining::{
    MiningFromServer, NewExtendedMiningJob, OpenExtendedMiningChannel, OpenStandardMiningChannel,
    SetGroupChannel, SetNewPrevHash, SubmitSharesExtended, SubmitSharesStandard,
};
use sv2::setup::{MiningSetupFlags, MiningSuccessFlags, Protocol, SetupConnection, SetupReply, check_reply};
use work::{Kind, Tip};

use crate::board::Board;
use crate::link::{Input, Lost, Outbox};
use crate::plan::Fleet;
use crate::run::Tally;
use crate::submitter::{Refilled, Submitter};

/// The only version there is.
const VERSION: u16 = 2;
/// Requests for channels that may be unanswered on one connection.
const REQUESTS: usize = 64;

/// What a session works with besides its own state.
pub(crate) struct Desk<'a> {
    pub fleet: &'a Fleet,
    pub board: &'a Board,
    pub tally: &'a mut Tally,
    pub now: Instant,
    /// Since the beginning of all, in milliseconds and in wrapping microseconds.
    pub millis: u64,
    pub micros: u32,
    /// Whether channels submit shares, and so have to know their jobs.
    pub submits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The reply to `SetupConnection` comes first.
    SetUp,
    Channels,
}

struct Channel {
    id: u32,
    group: u32,
    has_work: bool,
    /// Waits for its window to be filled.
    queued: bool,
    submitter: Option<Box<Submitter>>,
}

/// One connection to the pool.
pub(crate) struct Session {
    phase: Phase,
    /// Channels that are to be open.
    wanted: usize,
    asked: usize,
    user: Box<str>,
    fixed_version: bool,
    channels: Vec<Channel>,
    /// Where the channel of an id is.
    places: HashMap<u32, usize>,
    with_work: usize,
    /// Channels whose windows may have room.
    queue: Vec<usize>,
    /// The newest block heard of, and how many channels heard of it.
    prev_hash: [u8; 32],
    heard: usize,
    newest_tip: Option<Arc<Tip>>,
    /// An answer to [`Session::probe`] is to come.
    probed: bool,
}

impl Session {
    pub(crate) fn new(user: String, channels: usize) -> Self {
        Self {
            phase: Phase::SetUp,
            wanted: channels,
            asked: 0,
            user: user.into(),
            fixed_version: false,
            channels: Vec::new(),
            places: HashMap::new(),
            with_work: 0,
            queue: Vec::new(),
            prev_hash: [0; 32],
            heard: 0,
            newest_tip: None,
            probed: false,
        }
    }

    /// Whether all channels that were wished for are open and have work.
    pub(crate) fn is_ready(&self) -> bool {
        self.phase == Phase::Channels && self.channels.len() == self.wanted && self.with_work == self.wanted
    }

    /// What is waited for, for an error's text.
    pub(crate) fn awaits(&self) -> &'static str {
        match self.phase {
            Phase::SetUp => "connection and set-up",
            Phase::Channels if self.channels.len() < self.wanted => "opening the channels",
            Phase::Channels => "the channels' first work",
        }
    }

    pub(crate) fn channel_count(&self) -> usize {
        self.channels.len()
    }

    pub(crate) fn channel_ids(&self) -> impl Iterator<Item = u32> {
        self.channels.iter().map(|channel| channel.id)
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// Asks for channels until there are so many.
    pub(crate) fn open(
        &mut self,
        wanted: usize,
        outbox: &mut Outbox<'_>,
        desk: &Desk<'_>,
    ) -> Result<(), Lost> {
        self.wanted = wanted;
        self.ask(outbox, desk)
    }

    /// Asks for an answer: a share of a job that there is not is refused by every pool.
    pub(crate) fn probe(&mut self, outbox: &mut Outbox<'_>, kind: ChannelKind) -> Result<(), Lost> {
        let Some(channel_id) = self.channels.first().map(|channel| channel.id) else { return Ok(()) };
        self.probed = true;
        let (sequence_number, job_id) = (0, u32::MAX);
        let (nonce, ntime, version) = (0, 0, 0);
        match kind {
            ChannelKind::Standard => outbox.send(&SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            }),
            ChannelKind::Extended => outbox.send(&SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce: B0_32::default(),
            }),
        }
    }

    /// Something came.
    pub(crate) fn input(
        &mut self,
        input: Input<'_>,
        outbox: &mut Outbox<'_>,
        desk: &mut Desk<'_>,
    ) -> Result<(), Lost> {
        desk.tally.received += u64::from(matches!(input, Input::Frame(_)));
        match (input, self.phase) {
            (Input::Encrypted, _) => outbox.send(&setup_connection(desk.fleet)),
            (Input::Frame(frame), Phase::SetUp) => self.set_up(frame, outbox, desk),
            (Input::Frame(frame), Phase::Channels) => self.message(frame, outbox, desk),
        }
    }

    fn set_up(&mut self, frame: Frame<'_>, outbox: &mut Outbox<'_>, desk: &Desk<'_>) -> Result<(), Lost> {
        let reply = SetupReply::first(frame).map_err(|error| Lost::Protocol(error.to_string()))?;
        let established = check_reply(&setup_connection(desk.fleet), &reply)
            .map_err(|error| Lost::Refused(format!("{error}; see --kind and --no-standard-jobs")))?;
        let extended_only = established.mining.contains(MiningSuccessFlags::REQUIRES_EXTENDED_CHANNELS);
        if extended_only && desk.fleet.kind == ChannelKind::Standard {
            return Err(Lost::Refused("it has extended channels only; give --kind extended".to_owned()));
        }
        self.fixed_version = established.mining.contains(MiningSuccessFlags::REQUIRES_FIXED_VERSION);
        self.phase = Phase::Channels;
        self.ask(outbox, desk)
    }

    fn ask(&mut self, outbox: &mut Outbox<'_>, desk: &Desk<'_>) -> Result<(), Lost> {
        while self.asked < self.wanted && self.asked - self.channels.len() < REQUESTS {
            self.asked += 1;
            let request_id = u32::try_from(self.asked).unwrap_or(u32::MAX);
            let user_identity = Str0_255::truncated(&self.user);
            // No hash rate and no bound: as easy a target as the pool gives to anybody.
            let (nominal_hash_rate, max_target) = (F32::new(0.0), [0xff; 32]);
            match desk.fleet.kind {
                ChannelKind::Standard => outbox.send(&OpenStandardMiningChannel {
                    request_id,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                })?,
                ChannelKind::Extended => outbox.send(&OpenExtendedMiningChannel {
                    request_id,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                    min_extranonce_size: desk.fleet.min_extranonce_size,
                })?,
            }
        }
        Ok(())
    }

    fn message(
        &mut self,
        frame: Frame<'_>,
        outbox: &mut Outbox<'_>,
        desk: &mut Desk<'_>,
    ) -> Result<(), Lost> {
        use MiningFromServer as M;
        match MiningFromServer::decode(frame).map_err(|error| Lost::Protocol(error.to_string()))? {
            M::SubmitSharesSuccess(reply) => {
                if let Some((place, submitter)) = self.submitter(reply.channel_id) {
                    let (last, count) = (reply.last_sequence_number, reply.new_submits_accepted_count);
                    submitter.acknowledge(last, count, desk.micros, desk.now, desk.tally);
                    self.queue(place);
                }
            }
            M::SubmitSharesError(_) if self.probed => {
                self.probed = false;
                desk.board.books().answered += 1;
            }
            M::SubmitSharesError(reply) => {
                if let Some((place, submitter)) = self.submitter(reply.channel_id) {
                    let code = reply.error_code.to_string();
                    submitter.refuse(reply.sequence_number, &code, desk.now, desk.tally);
                    self.queue(place);
                }
            }
            M::OpenStandardMiningChannelSuccess(reply) => {
                let ids = (reply.channel_id, reply.group_channel_id);
                self.opened(ids, Kind::Standard, &reply.extranonce_prefix, reply.target, desk)?;
                self.ask(outbox, desk)?;
            }
            M::OpenExtendedMiningChannelSuccess(reply) => {
                let rollable = u8::try_from(reply.extranonce_size)
                    .map_err(|_| Lost::Protocol(format!("{} bytes of extranonce", reply.extranonce_size)))?;
                let ids = (reply.channel_id, reply.group_channel_id);
                let kind = Kind::Extended { rollable };
                self.opened(ids, kind, &reply.extranonce_prefix, reply.target, desk)?;
                self.ask(outbox, desk)?;
            }
            M::OpenMiningChannelError(reply) => {
                return Err(Lost::Refused(format!(
                    "no channel: {}; see --user and --kind",
                    reply.error_code
                )));
            }
            M::CloseChannel(message) => {
                self.closed(message.channel_id, &message.reason_code.to_string(), desk)
            }
            message => self.work_message(&message, desk),
        }
        Ok(())
    }

    fn work_message(&mut self, message: &MiningFromServer<'_>, desk: &mut Desk<'_>) {
        use MiningFromServer as M;
        match message {
            M::SetNewPrevHash(tip) => self.new_tip(tip, desk),
            M::SetGroupChannel(group) => self.set_group(group),
            _ if !desk.submits => {}
            M::NewMiningJob(job) => {
                let millis = desk.millis;
                self.each(job.channel_id, desk.board, |submitter| submitter.standard_job(job, millis));
            }
            M::NewExtendedMiningJob(job) => self.extended_job(job, desk),
            M::SetTarget(message) => self.each(message.channel_id, desk.board, |submitter| {
                submitter.set_target(message.maximum_target);
                Ok(())
            }),
            M::SetExtranoncePrefix(message) => self.each(message.channel_id, desk.board, |submitter| {
                submitter.set_prefix(&message.extranonce_prefix)
            }),
            // Extensions were not asked for, custom jobs not sent, and the load stays where it is.
            _ => {}
        }
    }

    fn extended_job(&mut self, job: &NewExtendedMiningJob<'_>, desk: &Desk<'_>) {
        let millis = desk.millis;
        self.each(job.channel_id, desk.board, |submitter| submitter.extended_job(job, millis));
    }

    fn opened(
        &mut self,
        (id, group): (u32, u32),
        kind: Kind,
        prefix: &[u8],
        target: [u8; 32],
        desk: &Desk<'_>,
    ) -> Result<(), Lost> {
        let submitter = match desk.submits {
            true => Some(Box::new(Submitter::new(kind, prefix, target, self.fixed_version)?)),
            false => None,
        };
        if self.places.insert(id, self.channels.len()).is_some() {
            return Err(Lost::Protocol(format!("channel {id} is open already")));
        }
        self.channels.push(Channel { id, group, has_work: false, queued: false, submitter });
        Ok(())
    }

    /// The server ended a channel, or all of a group.
    fn closed(&mut self, id: u32, reason: &str, desk: &mut Desk<'_>) {
        let before = self.channels.len();
        for channel in self.channels.iter_mut().filter(|channel| channel.is_addressed_by(id)) {
            if let Some(submitter) = &mut channel.submitter {
                submitter.abandon(desk.tally);
            }
            desk.board.books().closed_channels.count(reason);
        }
        self.channels.retain(|channel| !channel.is_addressed_by(id));
        self.places = self.channels.iter().enumerate().map(|(place, channel)| (channel.id, place)).collect();
        self.queue = (0..self.channels.len()).filter(|&place| self.channels[place].queued).collect();
        self.with_work = self.channels.iter().filter(|channel| channel.has_work).count();
        // It is not opened again: what the pool closes stays closed.
        let gone = before - self.channels.len();
        (self.wanted, self.asked) = (self.wanted - gone, self.asked - gone);
    }

    fn set_group(&mut self, message: &SetGroupChannel<'_>) {
        for id in message.channel_ids.iter() {
            if let Some(&place) = self.places.get(&id) {
                self.channels[place].group = message.group_channel_id;
            }
        }
    }

    fn new_tip(&mut self, message: &SetNewPrevHash, desk: &mut Desk<'_>) {
        if self.prev_hash != message.prev_hash {
            (self.prev_hash, self.heard) = (message.prev_hash, 0);
        }
        let mut newly_at_work = 0;
        // A block on a network target that makes no sense is complained about once the work is needed.
        let tip = if desk.submits { self.tip(message) } else { None };
        let mut heard = 0;
        for channel in self.addressed(message.channel_id) {
            heard += 1;
            newly_at_work += usize::from(!std::mem::replace(&mut channel.has_work, true));
            if let (Some(submitter), Some(tip)) = (&mut channel.submitter, &tip)
                && let Err(complaint) = submitter.new_tip(message.job_id, tip, desk.millis, desk.tally)
            {
                desk.board.books().complaints.count(&complaint);
            }
        }
        self.with_work += newly_at_work;
        let before = self.heard;
        self.heard += heard;
        if before < self.channels.len() && self.heard >= self.channels.len() && heard > 0 {
            desk.board.books().heard(message.prev_hash, desk.now);
        }
    }

    /// Tells the channel of this id, or those of the group of this id. A message that does not fit is noted.
    fn each(&mut self, id: u32, board: &Board, mut tell: impl FnMut(&mut Submitter) -> Result<(), String>) {
        for channel in self.addressed(id) {
            let Some(submitter) = &mut channel.submitter else { continue };
            if let Err(complaint) = tell(submitter) {
                board.books().complaints.count(&complaint);
            }
        }
    }

    /// The channel of this id, or those of the group of this id.
    fn addressed(&mut self, id: u32) -> impl Iterator<Item = &mut Channel> {
        let one = self.places.get(&id).copied();
        let range = one.map_or(0..self.channels.len(), |place| place..place + 1);
        self.channels[range].iter_mut().filter(move |channel| channel.is_addressed_by(id))
    }

    /// The tip of a message. Channels that are told one by one are told the same.
    fn tip(&mut self, message: &SetNewPrevHash) -> Option<Arc<Tip>> {
        let same = |tip: &&Arc<Tip>| {
            (tip.prev_hash(), tip.nbits(), tip.min_ntime())
                == (&message.prev_hash, message.nbits, message.min_ntime)
        };
        if let Some(tip) = self.newest_tip.as_ref().filter(same) {
            return Some(Arc::clone(tip));
        }
        self.newest_tip = Tip::new(message.prev_hash, message.nbits, message.min_ntime).ok().map(Arc::new);
        self.newest_tip.clone()
    }

    fn submitter(&mut self, id: u32) -> Option<(usize, &mut Submitter)> {
        let place = *self.places.get(&id)?;
        Some((place, self.channels[place].submitter.as_deref_mut()?))
    }

    /// The channel's submitter, by its place.
    pub(crate) fn submitter_at(&mut self, place: usize) -> Option<(u32, &mut Submitter)> {
        let channel = self.channels.get_mut(place)?;
        Some((channel.id, channel.submitter.as_deref_mut()?))
    }

    fn queue(&mut self, place: usize) {
        if !std::mem::replace(&mut self.channels[place].queued, true) {
            self.queue.push(place);
        }
    }

    /// All windows may have room.
    pub(crate) fn queue_all(&mut self) {
        for place in 0..self.channels.len() {
            self.queue(place);
        }
    }

    /// Fills the windows that have room, a batch of shares at once. True if there is more to do.
    pub(crate) fn refill(
        &mut self,
        window: u32,
        micros: u32,
        outbox: &mut Outbox<'_>,
        tally: &mut Tally,
    ) -> Result<bool, Lost> {
        while let Some(&place) = self.queue.last() {
            let channel = &mut self.channels[place];
            if let Some(submitter) = &mut channel.submitter
                && submitter.refill(channel.id, window, micros, outbox, tally)? == Refilled::BatchFull
            {
                return Ok(true);
            }
            channel.queued = false;
            self.queue.pop();
        }
        Ok(false)
    }

    /// The run is over, but not what was prepared. Counts it for the next one.
    pub(crate) fn forget_unanswered(&mut self, tally: &mut Tally) {
        for submitter in self.channels.iter_mut().filter_map(|channel| channel.submitter.as_mut()) {
            submitter.forget_unanswered(tally);
        }
    }

    /// The connection is gone.
    pub(crate) fn abandon(&mut self, tally: &mut Tally) {
        for submitter in self.channels.iter_mut().filter_map(|channel| channel.submitter.as_mut()) {
            submitter.abandon(tally);
        }
    }
}

impl Channel {
    fn is_addressed_by(&self, id: u32) -> bool {
        self.id == id || self.group == id
    }
}

fn setup_connection(fleet: &Fleet) -> SetupConnection<'_> {
    let mut flags = MiningSetupFlags::NONE;
    if fleet.kind == ChannelKind::Standard && fleet.standard_jobs {
        flags = flags.with(MiningSetupFlags::REQUIRES_STANDARD_JOBS);
    }
    SetupConnection {
        protocol: Protocol::Mining.to_wire(),
        min_version: VERSION,
        max_version: VERSION,
        flags: flags.bits(),
        endpoint_host: Str0_255::truncated(&fleet.pool.host),
        endpoint_port: fleet.pool.port,
        vendor: Str0_255::from_static("assay-swarm"),
        hardware_version: Str0_255::from_static(""),
        firmware: Str0_255::from_static(env!("CARGO_PKG_VERSION")),
        device_id: Str0_255::from_static(""),
    }
}
