//! A device's session against a server that sends anything at any time: it keeps to the protocol, ends at most
//! once and in silence, and its books balance.

use crate::input::Input;
use crate::samples;
use device::crew::Found;
use device::search::{Step, Work};
use device::session::{Action, Carry, End, Lessons, Session};
use device::{ChannelKind, DeviceConfig, PoolAddress};
use std::sync::Arc;
use std::time::{Duration, Instant};
use sv2::catalogue::{CATALOGUE, Entry};
use sv2::frame::FirstFrame;
use sv2::mining::{
    MiningFromClient, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannelSuccess, SetNewPrevHash, SetTarget, SubmitSharesSuccess,
};
use sv2::setup::{SetupConnection, SetupConnectionSuccess};
use sv2::{Frame, HEADER_LEN, Header, Message, Sender};
use work::{HashRate, Target};

/// What the device is like, then what happens to it.
pub fn device(data: &[u8]) {
    let mut input = Input::new(data);
    let Some(mut play) = Play::new(input.byte()) else { return };
    for _ in 0..200 {
        if input.is_empty() || play.ended {
            break;
        }
        play.step(&mut input);
        play.drain();
    }
    play.finish();
}

struct Play {
    session: Session,
    now: Instant,
    work: Option<Work>,
    channel: Option<u32>,
    set_up: bool,
    shares: u64,
    ended: bool,
}

impl Play {
    fn new(what: u8) -> Option<Self> {
        let mut config = DeviceConfig::new(vec![PoolAddress::unverified("pool", 1)], "somebody.rig");
        config.threads = 1;
        config.channel = if what & 1 == 0 { ChannelKind::Standard } else { ChannelKind::Extended };
        config.requires_standard_jobs = what & 2 != 0;
        config.requires_version_rolling = what & 4 != 0;
        config.worker_tlv = what & 8 != 0;
        config.min_extranonce_size = if what & 16 == 0 { 4 } else { 0 };
        config.check().ok()?;
        let now = Instant::now();
        let (lessons, rate) = (Lessons::default(), HashRate::new(1000));
        let session = Session::new(Arc::new(config), ("pool", 1), lessons, rate, Carry::default(), now);
        let mut play =
            Self { session, now, work: None, channel: None, set_up: false, shares: 0, ended: false };
        play.drain();
        assert!(play.set_up, "the first message is SetupConnection");
        Some(play)
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(8) {
            0..4 => {
                let entry = from_server(input.byte());
                let len = usize::from(input.u16() % 2048);
                self.receive(entry, input.bytes(len));
            }
            4 => {
                self.now += Duration::from_millis(u64::from(input.u16()) << input.below(12));
                self.session.tick(self.now);
            }
            5 => self.find(input),
            6 => self.session.measured(HashRate::new(1 << input.below(64)), self.now),
            _ => match input.below(16) {
                0 => self.session.disconnected("gone".to_owned()),
                1 => self.session.leave(End::Stopped, self.now),
                _ => {}
            },
        }
    }

    fn receive(&mut self, entry: &Entry, payload: &[u8]) {
        let channel_msg = entry.channel_bit && payload.len() >= 4;
        let length = u32::try_from(payload.len()).expect("less than 2048");
        let (extension_type, msg_type) = (entry.extension, entry.msg_type);
        let header = Header { extension_type, channel_msg, msg_type, length };
        // What a reply opens is a channel of this device only if it was waited for; events tell.
        self.session.frame(Frame { header, payload }, self.now);
    }

    /// A search thread finds something, now or in old work.
    fn find(&mut self, input: &mut Input<'_>) {
        let Some(work) = &self.work else { return };
        let mut walk = work.walk(0, 1);
        let Step::Search(part) = walk.next(work.elapsed(self.now)) else { return };
        let (mut header, extranonce) = work.header(&part);
        let nonce = u32::from(input.u16());
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        let hash = crate::wide::sha256d(&header);
        if !work.target().is_met_by(&hash) {
            return;
        }
        self.session.found(&Found {
            tip: work.tip,
            job_id: work.assignment.job_id(),
            version: work.rolled_version(&part),
            ntime: part.ntime,
            nonce,
            extranonce,
            hash,
        });
    }

    /// Does what the session wants done.
    fn drain(&mut self) {
        while let Some(action) = self.session.poll() {
            assert!(!self.ended, "{action:?} after the end");
            match action {
                Action::Send(frame) => self.sent(&frame),
                Action::Work(work) => self.work = work.or(self.work.take()),
                Action::Event(device::DeviceEvent::ChannelOpened { channel_id, .. }) => {
                    assert_eq!(self.channel.replace(channel_id), None, "one channel was asked for");
                }
                Action::Event(event) => assert!(!event.to_string().is_empty()),
                Action::End(end) => {
                    assert!(!end.to_string().is_empty());
                    self.ended = true;
                }
            }
        }
        self.check_books();
    }

    fn sent(&mut self, bytes: &[u8]) {
        let Ok(FirstFrame::Frame { frame, consumed }) = Frame::first(bytes, 1 << 16) else {
            panic!("one whole frame is sent at a time");
        };
        assert_eq!(consumed, bytes.len());
        if !std::mem::replace(&mut self.set_up, true) {
            assert!(SetupConnection::first(frame).is_ok());
            return;
        }
        match MiningFromClient::decode(frame).expect("a client's message") {
            MiningFromClient::SubmitSharesStandard(share) => self.share_sent(share.channel_id),
            MiningFromClient::SubmitSharesExtended(share) => self.share_sent(share.channel_id),
            MiningFromClient::UpdateChannel(update) => assert_eq!(Some(update.channel_id), self.channel),
            MiningFromClient::CloseChannel(close) => assert_eq!(Some(close.channel_id), self.channel),
            MiningFromClient::OpenStandardMiningChannel(_)
            | MiningFromClient::OpenExtendedMiningChannel(_) => {
                assert_eq!(self.channel, None);
            }
            MiningFromClient::RequestExtensions(request) => assert!(!request.requested_extensions.is_empty()),
            other => panic!("{} is nothing that a device sends", other.name()),
        }
    }

    fn share_sent(&mut self, channel_id: u32) {
        assert_eq!(Some(channel_id), self.channel);
        self.shares += 1;
    }

    fn check_books(&self) {
        let tally = self.session.tally();
        assert_eq!(tally.submitted(), self.shares, "a share that was counted was sent");
        let settled = tally.accepted() + tally.rejected() + tally.unanswered();
        assert_eq!(tally.submitted(), settled + tally.outstanding());
        assert!(tally.rejected_by_code().len() <= 33);
    }

    fn finish(mut self) {
        self.session.disconnected("gone".to_owned());
        self.drain();
        assert!(self.ended, "a session without its connection has ended");
        let tally = self.session.into_carry().tally;
        assert_eq!((tally.submitted(), tally.outstanding()), (self.shares, 0));
    }
}

/// Messages that a mining server may send, by number, its replies to SetupConnection among them; now and then one
/// that it must not send.
fn from_server(number: u8) -> &'static Entry {
    let entries: Vec<&Entry> = CATALOGUE
        .iter()
        .filter(|entry| entry.sender != Sender::Client && entry.protocol.is_none_or(|of| of.to_wire() == 0))
        .collect();
    match number {
        250.. => &CATALOGUE[usize::from(number) % CATALOGUE.len()],
        _ => entries[usize::from(number) % entries.len()],
    }
}

/// The step in which the device receives a message.
fn receives<'m, M: Message<'m>>(message: &M) -> Vec<u8> {
    let number = (0..=u8::MAX).find(|&number| from_server(number).name == M::NAME);
    let mut payload = Vec::new();
    message.encode_payload(&mut payload);
    let len = u16::try_from(payload.len()).expect("short").to_le_bytes();
    [&[0, number.expect("a server's message")][..], &len, &payload].concat()
}

/// Sessions from set-up over jobs and shares to the end, on channels of both kinds.
pub fn seeds() -> Vec<Vec<u8>> {
    let target = Target::MAX.to_le_bytes();
    let success = receives(&SetupConnectionSuccess { used_version: 2, flags: 0 });
    let tip = receives(&SetNewPrevHash {
        channel_id: 2,
        job_id: 7,
        prev_hash: [9; 32],
        min_ntime: 1_700_000_000,
        nbits: 0x2000_ffff,
    });
    let easier = receives(&SetTarget { channel_id: 1, maximum_target: target });
    let found = |count: u8| (0..count).flat_map(|nonce| [5, nonce, 1]).collect::<Vec<_>>();
    let accepted = receives(&SubmitSharesSuccess {
        channel_id: 2,
        last_sequence_number: 3,
        new_submits_accepted_count: 3,
        new_shares_sum: 1,
    });
    let prefix = || sv2::codec::B0_32::new(vec![1; 16]).expect("16 bytes fit");
    let standard = receives(&OpenStandardMiningChannelSuccess {
        request_id: 1,
        channel_id: 2,
        target,
        extranonce_prefix: prefix(),
        group_channel_id: 1,
    });
    let extended = receives(&OpenExtendedMiningChannelSuccess {
        request_id: 1,
        channel_id: 2,
        target,
        extranonce_size: 8,
        extranonce_prefix: prefix(),
        group_channel_id: 1,
    });
    let job = |min_ntime| NewMiningJob {
        channel_id: 2,
        job_id: 7,
        min_ntime,
        version: 1 << 29,
        merkle_root: [3; 32],
    };
    let mut coinbase = vec![2, 0, 0, 0, 1];
    coinbase.extend([0; 32]);
    coinbase.extend([0xff, 0xff, 0xff, 0xff, 30, 0x51, 0x51]);
    let extended_job = receives(&NewExtendedMiningJob {
        channel_id: 1,
        job_id: 7,
        min_ntime: None,
        version: 1 << 29,
        version_rolling_allowed: true,
        merkle_path: sv2::codec::Seq0_255::new([[4; 32], [5; 32]]).expect("two levels"),
        coinbase_tx_prefix: sv2::codec::B0_64K::new(coinbase).expect("short"),
        coinbase_tx_suffix: sv2::codec::B0_64K::new(vec![0x51; 30]).expect("short"),
    });
    let job_at_once = receives(&job(Some(1_700_000_001)));
    let pass = [4, 255, 0, 4];
    let end = [7, 1, 4, 255, 255, 11];
    let mut seeds = vec![
        [&[0][..], &success, &standard, &receives(&job(None)), &tip, &found(4), &accepted, &end].concat(),
        [&[1][..], &success, &extended, &extended_job, &tip, &easier, &pass, &found(4), &accepted, &end]
            .concat(),
        [&[16][..], &success, &standard, &extended_job, &tip, &found(2), &job_at_once, &found(2)].concat(),
        [&[8][..], &success, &pass, &standard].concat(),
    ];
    // Every message that a server may send, to a running channel.
    let running = [&[0][..], &success, &standard, &receives(&job(None)), &tip, &found(2)].concat();
    for frame in samples::frames() {
        let number = (0..=u8::MAX).find(|&number| {
            let entry = from_server(number);
            entry.extension.to_le_bytes() == [frame[0], frame[1] & 0x7f] && entry.msg_type == frame[2]
        });
        let Some(number) = number else { continue };
        let len = u16::try_from(frame.len() - HEADER_LEN).expect("short").to_le_bytes();
        let step = [&[0, number][..], &len, &frame[HEADER_LEN..], &found(1)].concat();
        seeds.push([&running[..], &step].concat());
        seeds.push([&[8][..], &step].concat());
    }
    seeds
}
