//! A mining device that keeps books of its own: for every payout key, what it has sent and what the pool has
//! acknowledged, in eHash. It comes back whenever its pool does.
//!
//! Each channel has a fresh key on every connection, so that what a crash of the pool leaves undecided, the
//! shares in flight at that moment, stays small for each key.

mod burst;
mod channel;
mod link;
mod newcomer;

use std::collections::BTreeMap;
use std::io::Result;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bitcoin::secp256k1::XOnlyPublicKey;
use hex::DisplayHex;
use sv2::codec::{B0_32, F32, Str0_255};
use sv2::mining::{
    MiningFromServer, OpenExtendedMiningChannel, OpenStandardMiningChannel, SubmitSharesExtended,
    SubmitSharesStandard,
};
use sv2::setup::{MiningSetupFlags, Protocol, SetupConnection, SetupConnectionSuccess};
use sv2::{Frame, Message};

use crate::assay::Addresses;
use channel::{Channel, Share};
use link::Link;

pub use burst::{Burst, Fired};
pub use channel::Account;
pub use newcomer::Newcomer;

/// Nonces that are searched between two looks at the connection: a few milliseconds.
const STRIDE: u32 = 1 << 15;

/// Far less than is true: a pool that wants ten shares a second then asks for some 5,000 hashes a share, a thousandth of
/// a block's, and gets hundreds of shares a second until it has found out.
const NOMINAL_HASH_RATE: f32 = 50_000.0;

/// The pause between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(50);

/// Which kind of channels a device opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Standard channels, on a connection that cannot process extended jobs.
    Standard,
    /// Extended channels.
    Extended,
}

/// What a device has seen since it was started.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// By payout key in hex.
    pub accounts: BTreeMap<String, Account>,
    /// Expected hashes of a share at the newest target, by payout key.
    pub share_hashes: BTreeMap<String, u128>,
    /// Every extranonce that a channel was given.
    pub extranonces: Vec<Vec<u8>>,
    /// Codes of refused shares with their number.
    pub refused: BTreeMap<String, u64>,
    /// Jobs that were the same work as the job before them, under another id.
    pub repeated_jobs: u64,
    /// What the pool must never do.
    pub faults: Vec<String>,
    /// Connections that came as far as mining.
    pub connections: u32,
}

impl Record {
    /// Shares that the pool acknowledged.
    pub fn acknowledged_shares(&self) -> u64 {
        self.accounts.values().map(|account| account.acknowledged_shares).sum()
    }

    /// eHash of the shares that the pool acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.accounts.values().map(|account| account.acknowledged).sum()
    }

    /// eHash of the shares that it sent and that were not refused.
    pub fn submitted(&self) -> u64 {
        self.accounts.values().map(|account| account.submitted).sum()
    }
}

/// A running device.
#[derive(Debug)]
pub struct RecordingDevice {
    record: Arc<Mutex<Record>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RecordingDevice {
    /// Starts a device with one search thread that spreads its work over `channels` channels.
    pub fn start(pool: &Addresses, kind: Kind, channels: u32) -> RecordingDevice {
        let (record, stop) = (Arc::new(Mutex::new(Record::default())), Arc::new(AtomicBool::new(false)));
        let (shared_record, shared_stop, pool) = (Arc::clone(&record), Arc::clone(&stop), pool.clone());
        let thread = std::thread::spawn(move || {
            while !shared_stop.load(Ordering::Relaxed) {
                // A connection that ends is what the tests are about.
                let _ = Session::run(&pool, kind, channels, &shared_record, &shared_stop);
                std::thread::sleep(PAUSE);
            }
        });
        RecordingDevice { record, stop, thread: Some(thread) }
    }

    /// What it has seen so far.
    pub fn record(&self) -> Record {
        self.record.lock().expect("no device panics with its books open").clone()
    }

    /// Ends it and gives its books.
    pub fn stop(mut self) -> Record {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the device does not panic");
        }
        self.record()
    }
}

impl Drop for RecordingDevice {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One connection of a device.
struct Session<'a> {
    link: Link,
    kind: Kind,
    /// Each with the payout key that it works for.
    channels: Vec<(Channel, String)>,
    record: &'a Mutex<Record>,
}

impl Session<'_> {
    /// Mines until the connection ends or the device is stopped.
    fn run(
        pool: &Addresses,
        kind: Kind,
        channels: u32,
        record: &Mutex<Record>,
        stop: &AtomicBool,
    ) -> Result<()> {
        let (mut session, keys) = Session::open(pool, kind, (channels, NOMINAL_HASH_RATE), record)?;
        for turn in (0..keys.len()).cycle() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            session.search(turn)?;
            session.receive(&keys, false)?;
        }
        Ok(())
    }

    /// Connects and opens `channels`, each with a fresh payout key and this nominal hash rate; returns the keys in the order in which they were
    /// asked for.
    fn open<'a>(
        pool: &Addresses,
        kind: Kind,
        (channels, nominal_hash_rate): (u32, f32),
        record: &'a Mutex<Record>,
    ) -> Result<(Session<'a>, Vec<String>)> {
        let authority = pool.authority.parse().expect("the ready line has an authority key");
        let mut session =
            Session { link: Link::connect(&pool.stratum, authority)?, kind, channels: Vec::new(), record };
        set_up(&mut session.link, kind)?;
        let keys: Vec<String> = (0..channels).map(|_| random_payout_key()).collect();
        session.open_channels(&keys, F32::new(nominal_hash_rate))?;
        while session.channels.len() < keys.len() {
            session.receive(&keys, true)?;
        }
        record.lock().expect("not poisoned").connections += 1;
        Ok((session, keys))
    }

    fn open_channels(&mut self, keys: &[String], nominal_hash_rate: F32) -> Result<()> {
        let max_target = [0xff; 32];
        for (request_id, key) in (0_u32..).zip(keys) {
            let user_identity = Str0_255::truncated(key);
            match self.kind {
                Kind::Standard => self.link.queue(&OpenStandardMiningChannel {
                    request_id,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                }),
                Kind::Extended => self.link.queue(&OpenExtendedMiningChannel {
                    request_id,
                    user_identity,
                    nominal_hash_rate,
                    max_target,
                    min_extranonce_size: 8,
                }),
            }
        }
        self.link.flush()
    }

    fn search(&mut self, turn: usize) -> Result<()> {
        for share in self.channels[turn].0.search(STRIDE) {
            self.queue(turn, &share);
        }
        self.link.flush()
    }

    /// Puts a share of the channel `turn` into the next flush.
    fn queue(&mut self, turn: usize, share: &Share) {
        let (channel, key) = &mut self.channels[turn];
        let sequence_number = {
            // Booked before it is sent: what the pool has credited was submitted.
            let mut record = self.record.lock().expect("not poisoned");
            if !record.accounts.contains_key(key) {
                record.accounts.insert(key.clone(), Account::default());
            }
            channel.submit(share, record.accounts.get_mut(key).expect("it is there or was just put there"))
        };
        let (channel_id, Share { job_id, version, ntime, nonce, .. }) = (channel.id, *share);
        match self.kind {
            Kind::Standard => self.link.queue(&SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            }),
            Kind::Extended => {
                let extranonce =
                    B0_32::new(vec![0; channel.rollable]).expect("at most 32 bytes were granted");
                self.link.queue(&SubmitSharesExtended {
                    channel_id,
                    sequence_number,
                    job_id,
                    nonce,
                    ntime,
                    version,
                    extranonce,
                });
            }
        }
    }

    fn receive(&mut self, keys: &[String], wait: bool) -> Result<()> {
        let Session { link, channels, record, .. } = self;
        let mut handle = |frame: Frame<'_>| {
            let message = MiningFromServer::decode(frame).expect("the pool sends valid messages");
            let mut record = record.lock().expect("not poisoned");
            take(message, channels, keys, &mut record);
            let repeated = channels.iter_mut().map(|(channel, _)| channel.take_repeated_work().len() as u64);
            record.repeated_jobs += repeated.sum::<u64>();
        };
        if wait { link.wait_for_frames(&mut handle) } else { link.take_frames(&mut handle) }
    }
}

/// `SetupConnection` and its answer.
fn set_up(link: &mut Link, kind: Kind) -> Result<()> {
    let flags = match kind {
        Kind::Standard => MiningSetupFlags::REQUIRES_STANDARD_JOBS,
        Kind::Extended => MiningSetupFlags::NONE,
    };
    let text = Str0_255::truncated;
    link.queue(&SetupConnection {
        protocol: Protocol::Mining.to_wire(),
        min_version: 2,
        max_version: 2,
        flags: flags.bits(),
        endpoint_host: text("127.0.0.1"),
        endpoint_port: 0,
        vendor: text("assay system test"),
        hardware_version: text(""),
        firmware: text(""),
        device_id: text(""),
    });
    link.flush()?;
    let mut version = 0;
    link.wait_for_frames(|frame| {
        assert_eq!(frame.header.msg_type, SetupConnectionSuccess::TYPE, "the pool serves mining");
        version = SetupConnectionSuccess::decode(frame.payload).expect("a valid message").used_version;
    })?;
    assert!(version == 2 || version == 0, "the one version that was offered");
    Ok(())
}

/// Acts on one message of the pool.
fn take(
    message: MiningFromServer<'_>,
    channels: &mut Vec<(Channel, String)>,
    keys: &[String],
    record: &mut Record,
) {
    let key = |request_id: u32| keys[usize::try_from(request_id).expect("an id of ours")].clone();
    let addressed =
        |id: u32| move |(channel, _): &&mut (Channel, String)| channel.id == id || channel.group == id;
    match message {
        MiningFromServer::OpenStandardMiningChannelSuccess(success) => {
            opened(Channel::standard(&success), key(success.request_id), channels, record);
        }
        MiningFromServer::OpenExtendedMiningChannelSuccess(success) => {
            opened(Channel::extended(&success), key(success.request_id), channels, record);
        }
        MiningFromServer::NewMiningJob(job) => {
            channels
                .iter_mut()
                .filter(addressed(job.channel_id))
                .for_each(|(channel, _)| channel.new_standard_job(&job));
        }
        MiningFromServer::NewExtendedMiningJob(job) => {
            channels
                .iter_mut()
                .filter(addressed(job.channel_id))
                .for_each(|(channel, _)| channel.new_extended_job(&job));
        }
        MiningFromServer::SetNewPrevHash(tip) => {
            channels
                .iter_mut()
                .filter(addressed(tip.channel_id))
                .for_each(|(channel, _)| channel.new_prev_hash(&tip));
        }
        MiningFromServer::SetTarget(target) => {
            let targets = channels.iter_mut().filter(addressed(target.channel_id));
            for (channel, key) in targets {
                channel.set_target(target.maximum_target);
                record.share_hashes.insert(key.clone(), channel.share_hashes());
            }
        }
        MiningFromServer::SubmitSharesSuccess(success) => {
            for (channel, key) in channels.iter_mut().filter(addressed(success.channel_id)) {
                let account = record.accounts.entry(key.clone()).or_default();
                record.faults.extend(channel.acknowledge(&success, account).err());
            }
        }
        MiningFromServer::SubmitSharesError(error) => {
            for (channel, key) in channels.iter_mut().filter(addressed(error.channel_id)) {
                let code = channel.refuse(&error, record.accounts.entry(key.clone()).or_default());
                *record.refused.entry(code).or_default() += 1;
            }
        }
        other => record.faults.push(format!("the pool sends {other:?}")),
    }
}

fn opened(channel: Channel, key: String, channels: &mut Vec<(Channel, String)>, record: &mut Record) {
    record.extranonces.push(channel.extranonce());
    record.share_hashes.insert(key.clone(), channel.share_hashes());
    channels.push((channel, key));
}

/// A payout key that nobody has the secret of, in one of the forms that pools accept.
fn random_payout_key() -> String {
    loop {
        let bytes: [u8; 32] = rand::random();
        // Every second number is a point of the curve.
        if XOnlyPublicKey::from_slice(&bytes).is_ok() {
            return bytes.to_lower_hex_string();
        }
    }
}
