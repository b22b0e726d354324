//! A client that remembers what it sent, and holds everything that the pool says against it.

use super::super::journal::key;
use super::world::Disk;
use crate::wide::sha256d;
use engine::simulation::{Ending, Peer, VirtualSocket};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use sv2::mining::{MiningFromServer, NewExtendedMiningJob, NewMiningJob, SetNewPrevHash};
use sv2::setup::{MiningSetupFlags, SetupReply};
use sv2::{Frame, Message};
use work::{ClientChannel, Ehash, Job, JobParts, Kind, PayoutKey, Target, Tip};

/// A share on its way.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub sequence_number: u32,
    /// What the client knows of it; nothing of shares that it made up.
    pub known: Option<Known>,
}

/// A share on a job that the client has, made as it should be.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    pub credit: Ehash,
    /// Whether it counts: it meets its target and is new. Not known where the pool may be ahead of the client.
    pub good: Option<bool>,
}

/// A channel as the client sees it.
pub struct Open {
    pub work: ClientChannel,
    pub group: u32,
    /// To whom its shares are credited, if the client knows.
    pub key: Option<PayoutKey>,
    /// Not answered yet, in the order of sending.
    pub shares: VecDeque<Sent>,
    pub headers: HashSet<[u8; 32]>,
    /// Sent on the present tip: as many count at most.
    pub counted: usize,
    pub updates: u32,
}

/// A channel that was asked for.
#[derive(Clone, Copy)]
pub struct Asked {
    /// To whom its shares will be credited; not known of a request that was made up.
    key: Option<PayoutKey>,
    /// How often the client had closed something by then.
    closes: usize,
}

pub struct Client {
    socket: VirtualSocket,
    peer: Peer,
    pub flags: MiningSetupFlags,
    pub set_up_sent: bool,
    pub set_up: bool,
    pub channels: HashMap<u32, Open>,
    /// Closed by either side; what was on its way may still come.
    pub closing: HashSet<u32>,
    pub asked: HashMap<u32, Asked>,
    /// Every id that the client closed.
    closes: Vec<u32>,
    pub custom: HashMap<u32, u32>,
    pub extensions: HashMap<u16, u32>,
    /// Shares for channels that the client does not know, or not yet.
    pub strays: HashSet<u32>,
    /// Updates of channels that the client does not know, or not yet.
    pub stray_updates: u32,
    /// It has sent shares of which it does not know what they were.
    pub knows_not_all: bool,
    pub reads: bool,
    pub dead: bool,
}

impl Client {
    pub fn new(socket: VirtualSocket, peer: Peer, act_1: &[u8]) -> Self {
        socket.deliver(act_1);
        Self {
            socket,
            peer,
            flags: MiningSetupFlags::NONE,
            set_up_sent: false,
            set_up: false,
            channels: HashMap::new(),
            closing: HashSet::new(),
            asked: HashMap::new(),
            closes: Vec::new(),
            custom: HashMap::new(),
            extensions: HashMap::new(),
            strays: HashSet::new(),
            stray_updates: 0,
            knows_not_all: false,
            reads: true,
            dead: false,
        }
    }

    pub fn send<'m>(&mut self, message: &impl Message<'m>) {
        let mut sealed = Vec::new();
        self.peer.seal(message, &mut sealed).expect("a message that fits a frame");
        self.socket.deliver(&sealed);
    }

    pub fn send_frame(&mut self, frame: &[u8]) {
        let mut sealed = Vec::new();
        self.peer.seal_frame(frame, &mut sealed).expect("one whole frame");
        self.socket.deliver(&sealed);
    }

    /// Bytes that no client would send. They end the connection.
    pub fn send_rubbish(&mut self, bytes: &[u8]) {
        self.socket.deliver(bytes);
    }

    /// There is new work, of which the pool may know before it reads what is on its way. Of enough of it in a row, it forgets
    /// the job of a share.
    pub fn may_be_overtaken(&mut self) {
        let shares = self.channels.values_mut().flat_map(|open| &mut open.shares);
        shares.filter_map(|share| share.known.as_mut()).filter(|known| known.good == Some(true)).for_each(
            |known| {
                known.good = None;
            },
        );
    }

    /// Notes that a channel is asked for.
    pub fn asks(&mut self, request_id: u32, key: Option<PayoutKey>) {
        self.asked.insert(request_id, Asked { key, closes: self.closes.len() });
    }

    /// Notes a share for a channel that the client does not know, or not yet.
    pub fn stray(&mut self, sequence_number: u32) {
        self.knows_not_all = true;
        self.strays.insert(sequence_number);
    }

    /// Notes an update of a channel.
    pub fn updates(&mut self, id: u32) {
        match self.channels.get_mut(&id) {
            Some(open) => open.updates += 1,
            None => self.stray_updates += 1,
        }
    }

    /// Notes that a channel or group is closed from here.
    pub fn closes(&mut self, id: u32) {
        self.closes.push(id);
        let closed = self.channels.extract_if(|own, open| *own == id || open.group == id);
        self.closing.extend(closed.map(|(own, _)| own));
    }

    pub fn finish(&self) {
        self.socket.finish();
    }

    pub fn reset(&mut self) {
        self.socket.reset();
        self.die();
    }

    fn die(&mut self) {
        self.dead = true;
        self.channels.clear();
    }

    /// Takes what the pool has written; true if there was something.
    pub fn read(&mut self, unix: u32, disk: &Disk) -> bool {
        if self.dead {
            return false;
        }
        let mut took = false;
        while self.reads && self.socket.available() > 0 {
            took = true;
            let bytes = self.socket.take(1 << 16);
            let Self { peer, .. } = self;
            let mut frames = Vec::new();
            let read = peer.receive(&bytes, unix.into(), |frame| {
                frames.push((frame.header, frame.payload.to_vec()));
            });
            read.expect("the pool seals what it sends");
            for (header, payload) in frames {
                self.receive(Frame { header, payload: &payload }, disk);
            }
        }
        if self.socket.ending() != Ending::Open && self.socket.available() == 0 {
            self.die();
        }
        took
    }

    pub fn is_open(&self) -> bool {
        self.peer.is_open() && !self.dead
    }

    fn receive(&mut self, frame: Frame<'_>, disk: &Disk) {
        if !self.set_up {
            assert!(self.set_up_sent, "the server spoke first");
            let reply = SetupReply::first(frame).expect("the first message is the reply to SetupConnection");
            self.set_up = matches!(reply, SetupReply::Success(_));
            return;
        }
        use MiningFromServer as M;
        match MiningFromServer::decode(frame).expect("a server's message") {
            M::OpenStandardMiningChannelSuccess(m) => {
                let target = Target::from_le_bytes(m.target);
                self.opened(
                    m.request_id,
                    m.channel_id,
                    m.group_channel_id,
                    Kind::Standard,
                    &m.extranonce_prefix,
                    target,
                );
            }
            M::OpenExtendedMiningChannelSuccess(m) => {
                let rollable = u8::try_from(m.extranonce_size).expect("extranonces have at most 32 bytes");
                let target = Target::from_le_bytes(m.target);
                let kind = Kind::Extended { rollable };
                self.opened(
                    m.request_id,
                    m.channel_id,
                    m.group_channel_id,
                    kind,
                    &m.extranonce_prefix,
                    target,
                );
            }
            M::OpenMiningChannelError(m) => {
                assert!(self.asked.remove(&m.request_id).is_some(), "an answer that nobody asked for");
            }
            M::SubmitSharesSuccess(m) => {
                self.accepted(m.channel_id, m.last_sequence_number, m.new_submits_accepted_count, disk);
            }
            M::SubmitSharesError(m) => {
                self.rejected(m.channel_id, m.sequence_number, &m.error_code.to_string())
            }
            M::NewMiningJob(m) => self.new_job(m),
            M::NewExtendedMiningJob(m) => self.new_extended_job(&m),
            M::SetNewPrevHash(m) => self.new_tip(&m),
            M::SetTarget(m) => {
                let target = Target::from_le_bytes(m.maximum_target);
                assert!(target > Target::ZERO);
                self.addressed(m.channel_id, |open| open.work.set_target(target));
            }
            M::UpdateChannelError(m) => {
                if let Some(open) = self.channels.get_mut(&m.channel_id) {
                    // One that was sent before the client knew the channel is answered, too.
                    let owed = if open.updates > 0 { &mut open.updates } else { &mut self.stray_updates };
                    *owed = owed.checked_sub(1).expect("an error without an update");
                }
            }
            M::CloseChannel(m) => {
                assert!(
                    self.channels.remove(&m.channel_id).is_some() || self.closing.contains(&m.channel_id)
                );
                self.closing.insert(m.channel_id);
            }
            M::SetCustomMiningJobError(m) => answered(&mut self.custom, m.request_id),
            M::RequestExtensionsSuccess(m) => answered(&mut self.extensions, m.request_id),
            M::RequestExtensionsError(m) => answered(&mut self.extensions, m.request_id),
            other => panic!("{} was never asked for", other.name()),
        }
    }

    fn opened(&mut self, request_id: u32, id: u32, group: u32, kind: Kind, prefix: &[u8], target: Target) {
        let Asked { key, closes } = self.asked.remove(&request_id).expect("an answer that nobody asked for");
        assert!(id != group && !self.closing.contains(&id), "an id that was used before");
        if self.closes[closes..].iter().any(|&closed| closed == id || closed == group) {
            self.closing.insert(id);
            return;
        }
        let work = ClientChannel::new(kind, prefix, target).expect("a prefix that fits");
        let open = Open {
            work,
            group,
            key,
            shares: VecDeque::new(),
            headers: HashSet::new(),
            counted: 0,
            updates: 0,
        };
        assert!(self.channels.insert(id, open).is_none(), "an id that is in use");
    }

    /// Applies a message to the channel, or to all of the group.
    fn addressed(&mut self, id: u32, mut change: impl FnMut(&mut Open)) {
        if let Some(open) = self.channels.get_mut(&id) {
            return change(open);
        }
        let standard_only = self.flags.contains(MiningSetupFlags::REQUIRES_STANDARD_JOBS);
        let mut members = self.channels.values_mut().filter(|open| open.group == id).peekable();
        assert!(members.peek().is_none() || !standard_only, "a group message for a client without groups");
        // With no member left, the message was on its way when the last one was closed.
        assert!(members.peek().is_some() || !self.closing.is_empty(), "a message for nobody: {id}");
        members.for_each(change);
    }

    fn new_job(&mut self, m: NewMiningJob) {
        self.addressed(m.channel_id, |open| {
            let added = open.work.standard_job(m.job_id, m.version, true, m.merkle_root, m.min_ntime, 0);
            added.expect("a job that the client can take");
        });
    }

    fn new_extended_job(&mut self, m: &NewExtendedMiningJob<'_>) {
        self.addressed(m.channel_id, |open| {
            let job = Job::new(JobParts {
                id: m.job_id,
                version: m.version,
                version_rolling_allowed: m.version_rolling_allowed,
                coinbase_prefix: m.coinbase_tx_prefix.to_vec(),
                coinbase_suffix: m.coinbase_tx_suffix.to_vec(),
                merkle_path: m.merkle_path.iter().collect(),
                extranonce_len: open.work.full_extranonce_len(),
            });
            let job = Arc::new(job.expect("a coinbase as the specification wants it"));
            open.work.extended_job(&job, m.min_ntime, 0).expect("a job that the client can take");
        });
    }

    fn new_tip(&mut self, m: &SetNewPrevHash) {
        let tip = Arc::new(Tip::new(m.prev_hash, m.nbits, m.min_ntime).expect("a network target"));
        self.addressed(m.channel_id, |open| {
            open.work.set_new_prev_hash(m.job_id, &tip, 0).expect("a future job that the client has");
            open.counted = 0;
        });
    }

    fn accepted(&mut self, id: u32, last: u32, count: u32, disk: &Disk) {
        let Some(open) = self.channels.get_mut(&id) else {
            return assert!(self.closing.contains(&id), "shares of no channel");
        };
        assert!(count > 0);
        let count = usize::try_from(count).expect("shares of a fuzzer's input");
        // A share for a channel that the client did not know yet may have been good, by luck. Such are older than its own.
        let own = match open.shares.iter().position(|share| share.sequence_number == last) {
            Some(at) => at + 1,
            None => {
                assert!(self.strays.contains(&last), "it ends with {last}, which was not sent");
                0
            }
        };
        let lucky = count.checked_sub(own).expect("each share is acknowledged once");
        assert!(lucky <= self.strays.len(), "no more is acknowledged than was sent");
        let mut credit = 0;
        for share in open.shares.drain(..own) {
            if let Some(known) = share.known {
                assert_ne!(known.good, Some(false), "a bad share was acknowledged");
                credit += u128::from(known.credit.get());
            }
        }
        if let Some(key) = open.key {
            disk.acknowledged(key, credit);
        }
    }

    fn rejected(&mut self, id: u32, sequence_number: u32, code: &str) {
        let Some(open) = self.channels.get_mut(&id) else { return };
        let Some(at) = open.shares.iter().position(|share| share.sequence_number == sequence_number) else {
            return assert!(self.strays.remove(&sequence_number), "an error for a share that was not sent");
        };
        let share = open.shares.remove(at).expect("its place was just found");
        if let Some(Known { good: Some(true), .. }) = share.known {
            panic!("a good share was refused: {code}");
        }
    }

    /// The pool has said all that it had to say: nothing for closed channels is on its way any more.
    pub fn settled(&mut self) {
        for (id, open) in &self.channels {
            assert!(open.shares.is_empty(), "channel {id}: {} shares without an answer", open.shares.len());
        }
        assert!(
            !self.set_up || self.asked.values().all(|asked| asked.key.is_none()),
            "a request without an answer"
        );
        assert!(!self.set_up || self.custom.values().all(|&count| count == 0));
    }

    /// The header's hash of a share, and whether it counts.
    pub fn hash(header: &[u8; 80]) -> [u8; 32] {
        sha256d(header)
    }

    /// Some key of a few, as user names give it.
    pub fn user(number: u8) -> (String, PayoutKey) {
        match number % 5 {
            4 => ("somebody".to_owned(), key(9)),
            number => (format!("{}.rig", key(number)), key(number)),
        }
    }
}

fn answered<K: std::hash::Hash + Eq>(asked: &mut HashMap<K, u32>, id: K) {
    let left = asked.get_mut(&id).expect("an answer that nobody asked for");
    *left = left.checked_sub(1).expect("a second answer");
}
