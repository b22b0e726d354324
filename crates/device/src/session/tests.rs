//! The state machine, driven by a scripted server: no sockets, no threads, no waiting.

mod channel;
mod opening;
mod shares;

use sv2::frame::FirstFrame;
use sv2::mining::{
    MiningFromClient, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannelSuccess, SetNewPrevHash, SetTarget, SubmitSharesExtended, SubmitSharesStandard,
};
use sv2::setup::SetupConnectionSuccess;
use sv2::{
    codec::{B0_32, B0_64K, Seq0_255},
    extensions::TlvArea,
};

use work::Kind;

use super::*;
use crate::config::{ChannelKind, PoolAddress};
use crate::crew::Found;

/// Half of all hashes meet it.
const NBITS: u32 = 0x207f_ffff;
const CHANNEL: u32 = 11;
const GROUP: u32 = 12;
const START_TIME: u32 = 1_700_000_000;

/// A session and what it has asked for.
struct Script {
    session: Session,
    now: Instant,
    sent: VecDeque<Vec<u8>>,
    /// What the search threads do now, and the work handed out before.
    work: Option<Work>,
    works: Vec<Work>,
    events: Vec<DeviceEvent>,
    end: Option<End>,
}

fn config(kind: ChannelKind) -> DeviceConfig {
    let mut config = DeviceConfig::new(vec![PoolAddress::unverified("pool", 1)], "user.worker1");
    config.channel = kind;
    config
}

impl Script {
    fn new(config: DeviceConfig) -> Self {
        Self::with_lessons(config, Lessons::default())
    }

    fn with_lessons(config: DeviceConfig, lessons: Lessons) -> Self {
        let now = Instant::now();
        let session = Session::new(
            Arc::new(config),
            ("pool.example", 3333),
            lessons,
            HashRate::new(5_000_000),
            Carry::default(),
            now,
        );
        let (sent, works, events) = (VecDeque::new(), Vec::new(), Vec::new());
        let mut script = Script { session, now, sent, work: None, works, events, end: None };
        script.perform();
        script
    }

    /// Set up, channel open, no job yet.
    fn open(config: DeviceConfig) -> Self {
        let kind = config.channel;
        let mut script = Script::new(config);
        script.skip();
        script.receive(&SetupConnectionSuccess { used_version: 2, flags: 0 });
        script.skip();
        match kind {
            ChannelKind::Standard => script.receive(&standard_success()),
            ChannelKind::Extended => script.receive(&extended_success()),
        }
        script
    }

    /// Mining job 1.
    fn mining(config: DeviceConfig) -> Self {
        let kind = config.channel;
        let mut script = Script::open(config);
        match kind {
            ChannelKind::Standard => script.receive(&job(1, None)),
            ChannelKind::Extended => script.receive(&extended_job(CHANNEL, 1, None)),
        }
        script.receive(&new_block(CHANNEL, 1));
        script
    }

    fn receive<'m>(&mut self, message: &impl Message<'m>) {
        let mut bytes = Vec::new();
        encode_frame(message, &mut bytes).unwrap();
        self.receive_bytes(&bytes);
    }

    fn receive_bytes(&mut self, bytes: &[u8]) {
        let Ok(FirstFrame::Frame { frame, .. }) = Frame::first(bytes, u32::MAX) else {
            panic!("not a frame")
        };
        self.session.frame(frame, self.now);
        self.perform();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.session.tick(self.now);
        self.perform();
    }

    fn leave(&mut self, why: End) {
        self.session.leave(why, self.now);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(action) = self.session.poll() {
            assert!(self.end.is_none(), "{action:?} after the end");
            match action {
                Action::Send(frame) => self.sent.push_back(frame),
                Action::Work(work) => {
                    self.works.extend(work.clone());
                    self.work = work;
                }
                Action::Event(event) => self.events.push(event),
                Action::End(end) => self.end = Some(end),
            }
        }
    }

    /// Takes the next message that was sent, which must be an `M`.
    fn sent<M: Message<'static>, T>(&mut self, check: impl FnOnce(M) -> T) -> T {
        let bytes = self.sent.pop_front().expect("a message was sent").leak();
        let Ok(FirstFrame::Frame { frame, .. }) = Frame::first(bytes, u32::MAX) else {
            panic!("not a frame")
        };
        assert_eq!(
            (frame.header.msg_type, frame.header.extension_type),
            (M::TYPE, M::EXTENSION),
            "{}",
            M::NAME
        );
        check(M::decode(frame.payload).unwrap())
    }

    /// Takes the next message as a server decodes it, with the fields of extensions behind it.
    fn sent_any<T>(&mut self, check: impl FnOnce(MiningFromClient<'_>, TlvArea<'_>) -> T) -> T {
        let bytes = self.sent.pop_front().expect("a message was sent");
        let Ok(FirstFrame::Frame { frame, .. }) = Frame::first(&bytes, u32::MAX) else {
            panic!("not a frame")
        };
        let (message, tlvs) = MiningFromClient::decode_with_tlvs(frame).unwrap();
        check(message, tlvs)
    }

    fn sent_share(&mut self) -> SubmitSharesStandard {
        self.sent_any(|message, _| match message {
            MiningFromClient::SubmitSharesStandard(share) => share,
            other => panic!("{other:?}"),
        })
    }

    fn skip(&mut self) {
        self.sent.pop_front().expect("a message was sent");
    }

    /// A search thread reports a header of the present work that meets any target.
    fn find(&mut self) -> Found {
        let found = found(self.work.as_ref().expect("there is work"));
        self.report(&found);
        found
    }

    fn report(&mut self, found: &Found) {
        self.session.found(found);
        self.perform();
    }
}

fn found(work: &Work) -> Found {
    let Assigned { job_id, version, ntime } = Assigned::of(work);
    let extranonce = match work.kind {
        Kind::Standard => Vec::new(),
        Kind::Extended { rollable } => crate::search::extranonce(5, rollable.into()),
    };
    Found { tip: work.tip, job_id, version, ntime, nonce: 9, extranonce, hash: [0; 32] }
}

/// What the tests look at in a piece of work.
#[derive(Debug, PartialEq, Eq)]
struct Assigned {
    job_id: u32,
    version: u32,
    /// The first that may be used.
    ntime: u32,
}

impl Assigned {
    fn of(work: &Work) -> Self {
        let job = &work.assignment;
        Assigned { job_id: job.job_id(), version: job.version(), ntime: *job.ntimes(0).start() }
    }
}

fn prev_hash(script: &Script) -> [u8; 32] {
    *script.work.as_ref().expect("there is work").assignment.tip().prev_hash()
}

/// The merkle root of the header that is mined, with this counter as the extranonce.
fn root(work: &Work, counter: u64) -> [u8; 32] {
    let part =
        crate::search::Part { extranonce: counter, version_bits: 0, ntime: 0, first_nonce: 0, nonces: 1 };
    work.header(&part).0[36..68].try_into().unwrap()
}

fn target(byte: u8) -> Target {
    let mut bytes = [0xff; 32];
    bytes[31] = byte;
    Target::from_le_bytes(bytes)
}

fn standard_success() -> OpenStandardMiningChannelSuccess<'static> {
    OpenStandardMiningChannelSuccess {
        request_id: 1,
        channel_id: CHANNEL,
        target: Target::MAX.to_le_bytes(),
        extranonce_prefix: B0_32::new(vec![7; 24]).unwrap(),
        group_channel_id: GROUP,
    }
}

fn extended_success() -> OpenExtendedMiningChannelSuccess<'static> {
    OpenExtendedMiningChannelSuccess {
        request_id: 1,
        channel_id: CHANNEL,
        target: Target::MAX.to_le_bytes(),
        extranonce_size: 8,
        extranonce_prefix: B0_32::new(vec![7; 16]).unwrap(),
        group_channel_id: GROUP,
    }
}

/// Tells jobs and blocks apart.
fn bytes(id: u32) -> [u8; 32] {
    [id.to_le_bytes()[0]; 32]
}

/// A coinbase without witness, up to an extranonce of 24 bytes.
fn coinbase_prefix() -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 1];
    bytes.extend_from_slice(&[0; 32]);
    bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 28, 3, 1, 2, 3]);
    bytes
}

const COINBASE_SUFFIX: [u8; 50] = [4; 50];

fn job(job_id: u32, min_ntime: Option<u32>) -> NewMiningJob {
    NewMiningJob { channel_id: CHANNEL, job_id, min_ntime, version: 0x2000_0000, merkle_root: bytes(job_id) }
}

fn extended_job(channel_id: u32, job_id: u32, min_ntime: Option<u32>) -> NewExtendedMiningJob<'static> {
    NewExtendedMiningJob {
        channel_id,
        job_id,
        min_ntime,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: Seq0_255::new([[1; 32], [2; 32]]).unwrap(),
        coinbase_tx_prefix: B0_64K::new(coinbase_prefix()).unwrap(),
        coinbase_tx_suffix: B0_64K::new(COINBASE_SUFFIX.to_vec()).unwrap(),
    }
}

fn new_block(channel_id: u32, job_id: u32) -> SetNewPrevHash {
    SetNewPrevHash { channel_id, job_id, prev_hash: bytes(job_id), min_ntime: START_TIME, nbits: NBITS }
}

fn set_target(channel_id: u32, target: Target) -> SetTarget {
    SetTarget { channel_id, maximum_target: target.to_le_bytes() }
}

fn with_worker(script: &mut Script) -> Option<Vec<u8>> {
    script.sent_any(|message, tlvs| {
        assert!(matches!(message, MiningFromClient::SubmitSharesExtended(_)), "{message:?}");
        sv2::extensions::WorkerIdentity::find(&tlvs).unwrap().map(|worker| worker.as_bytes().to_vec())
    })
}
