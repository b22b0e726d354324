//! A pool that validates every share as a real one does, and otherwise does what a test tells it.
#![allow(dead_code)] // Each test program uses its part.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine::{Close, ConnId, Connections, Engine, EngineConfig, Handler, Link};
use rand::rngs::OsRng;
use sv2::codec::{B0_32, B0_64K, Seq0_255, Str0_255};
use sv2::mining::{
    CloseChannel, MiningFromClient, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError, OpenStandardMiningChannelSuccess, SetNewPrevHash, SubmitSharesError,
    SubmitSharesSuccess,
};
use sv2::noise::{AuthorityKey, AuthoritySecret, Identity, Validity};
use sv2::setup::{MiningSetupFlags, MiningSuccessFlags, Reconnect, Served, SetupConnection, negotiate};
use sv2::{ErrorCode, Frame};
use work::{
    Channel, Ehash, ExtendedShare, HashRate, Job, JobParts, Kind, Lease, Now, Policy, PrefixSpace, Request,
    ServerId, StandardShare, Target, Tip,
};

/// Long enough for a machine that is busy with something else; nothing waits for it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One hash in 65,536 is a block.
const NBITS: u32 = 0x1f00_ffff;

/// How a pool behaves.
#[derive(Clone, Default)]
pub struct Behaviour {
    pub requires: u32,
    /// Jobs after the first go to the group, as extended jobs.
    pub group_jobs: bool,
    /// Every share is refused with this.
    pub reject_with: Option<&'static str>,
    pub refuse_channels: bool,
}

/// What a test tells a pool to do with all its connections.
pub enum Order {
    NewBlock,
    NewJob,
    Reconnect(String, u16),
    CloseChannels,
}

/// What a pool has seen so far.
#[derive(Default, Clone)]
pub struct Seen {
    pub connections: usize,
    pub open_connections: usize,
    pub setups: Vec<(u32, Vec<u8>, u16)>,
    pub accepted: u64,
    pub credit: Ehash,
    pub blocks: u64,
    /// By code.
    pub rejected: BTreeMap<&'static str, u64>,
    pub closed_channels: u64,
}

pub struct ScriptedPool {
    engine: Engine<Order>,
    seen: Arc<Mutex<Seen>>,
    pub authority: AuthorityKey,
}

impl ScriptedPool {
    pub fn start(identity: &Arc<Identity>, behaviour: Behaviour) -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), identity, behaviour)
    }

    pub fn start_on(address: SocketAddr, identity: &Arc<Identity>, behaviour: Behaviour) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut config = EngineConfig::new(address, Arc::clone(identity));
        config.shards = 1;
        let deadline = Instant::now() + PATIENCE;
        let engine = loop {
            let make = |_, _| PoolHandler::new(behaviour.clone(), Arc::clone(&seen));
            match Engine::start(config.clone(), make) {
                Ok(engine) => break engine,
                // The port of a pool that has just stopped may still be in use.
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        ScriptedPool { engine, seen, authority: identity.authority() }
    }

    pub fn address(&self) -> SocketAddr {
        self.engine.local_addr()
    }

    pub fn order(&self, order: Order) {
        self.engine.handles()[0].send(order).unwrap();
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    pub fn stop(self) -> SocketAddr {
        let address = self.address();
        self.engine.stop();
        address
    }

    /// Waits until the pool has seen what is wanted.
    pub fn until(&self, what: &str, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.seen();
            if wanted(&seen) {
                return seen;
            }
            assert!(Instant::now() < deadline, "{what} did not happen; rejected: {:?}", seen.rejected);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

pub fn identity() -> Arc<Identity> {
    let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Arc::new(Identity::new(AuthoritySecret::generate(&mut OsRng), Validity::default(), unix_now, &mut OsRng))
}

struct PoolHandler {
    behaviour: Behaviour,
    seen: Arc<Mutex<Seen>>,
    policy: Arc<Policy>,
    prefixes: PrefixSpace,
    tip: Arc<Tip>,
    height: u32,
    job_id: u32,
    started: Instant,
}

/// One connection: its channel, once it is open.
#[derive(Default)]
pub struct Conn {
    set_up: bool,
    channel: Option<Channel>,
    group: u32,
}

impl PoolHandler {
    fn new(behaviour: Behaviour, seen: Arc<Mutex<Seen>>) -> Self {
        let fixed_version = behaviour.requires & MiningSuccessFlags::REQUIRES_FIXED_VERSION.bits() != 0;
        PoolHandler {
            behaviour,
            seen,
            // Many shares, so that a test is over soon.
            policy: Arc::new(Policy { shares_per_minute: 1200, fixed_version, ..Policy::default() }),
            prefixes: PrefixSpace::new(ServerId::new(3), Lease::new(1).unwrap()),
            tip: Arc::new(tip(1)),
            height: 1,
            job_id: 0,
            started: Instant::now(),
        }
    }

    fn see(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
    }

    fn millis(&self) -> u64 {
        self.started.elapsed().as_millis().try_into().unwrap()
    }

    fn next_job(&mut self) -> Arc<Job> {
        self.job_id += 1;
        Arc::new(Job::new(parts(self.job_id, !self.policy.fixed_version)).unwrap())
    }

    fn open(&mut self, conn: &mut Conn, link: &mut Link<'_>, open: Open) {
        let request = Request { rate: open.rate, max_target: open.max_target };
        let unique = self.prefixes.next().unwrap();
        let (id, request_id) = (5, open.request_id);
        let group_channel_id = 6;
        let millis = self.millis();
        let channel = match open.min_extranonce_size {
            None => Channel::standard(id, unique.standard(), request, &self.tip, &self.policy, millis),
            Some(size) => {
                let granted = unique.extended(size).unwrap();
                Channel::extended(id, granted, request, &self.tip, &self.policy, millis)
            }
        };
        let channel = channel.unwrap();
        let target = channel.target().to_le_bytes();
        let extranonce_prefix = B0_32::new(channel.prefix()).unwrap();
        match channel.kind() {
            Kind::Standard => link.send(&OpenStandardMiningChannelSuccess {
                request_id,
                channel_id: id,
                target,
                extranonce_prefix,
                group_channel_id,
            }),
            Kind::Extended { rollable } => link.send(&OpenExtendedMiningChannelSuccess {
                request_id,
                channel_id: id,
                target,
                extranonce_size: rollable.into(),
                extranonce_prefix,
                group_channel_id,
            }),
        }
        conn.group = group_channel_id;
        conn.channel = Some(channel);
        let job = self.next_job();
        self.block(conn, link, &job, id);
    }

    /// A future job and the block that activates it.
    fn block(&self, conn: &mut Conn, link: &mut Link<'_>, job: &Arc<Job>, address: u32) {
        let Some(channel) = &mut conn.channel else { return };
        channel.add_future(job).unwrap();
        send_job(channel, link, job, None, address);
        assert_eq!(channel.activate(job.id(), &self.tip).unwrap(), None, "the target was that of this tip");
        link.send(&SetNewPrevHash {
            channel_id: address,
            job_id: job.id(),
            prev_hash: *self.tip.prev_hash(),
            min_ntime: self.tip.min_ntime(),
            nbits: self.tip.nbits(),
        });
    }

    fn share(&self, conn: &mut Conn, link: &mut Link<'_>, share: StandardShare, extranonce: Option<&[u8]>) {
        let now = Now { unix: link.unix_now(), millis: self.millis() };
        let Some(channel) = &mut conn.channel else { return };
        let channel_id = channel.id();
        let refused = |link: &mut Link<'_>, code: &'static str| {
            self.see(|seen| *seen.rejected.entry(code).or_default() += 1);
            link.send(&SubmitSharesError {
                channel_id,
                sequence_number: share.sequence_number,
                error_code: ErrorCode::new(code).unwrap(),
            });
        };
        if let Some(code) = self.behaviour.reject_with {
            return refused(link, code);
        }
        let result = match extranonce {
            None => channel.submit_standard(&share, now),
            Some(extranonce) => channel.submit_extended(&ExtendedShare { share, extranonce }, now),
        };
        match result {
            Ok(accepted) => self.see(|seen| {
                seen.accepted += 1;
                seen.credit = seen.credit.saturating_add(accepted.credit);
                seen.blocks += u64::from(accepted.block.is_some());
            }),
            Err(rejection) => refused(link, rejection.code()),
        }
        if let Some(ack) = channel.take_ack() {
            link.send(&SubmitSharesSuccess {
                channel_id,
                last_sequence_number: ack.last_sequence_number,
                new_submits_accepted_count: ack.new_submits_accepted_count,
                new_shares_sum: ack.new_shares_sum,
            });
        }
    }
}

/// What both open messages say.
struct Open {
    request_id: u32,
    rate: HashRate,
    max_target: Target,
    min_extranonce_size: Option<u16>,
}

impl Handler for PoolHandler {
    type Conn = Conn;
    type Command = Order;

    fn opened(&mut self, _: &mut Link<'_>) -> Conn {
        self.see(|seen| {
            seen.connections += 1;
            seen.open_connections += 1;
        });
        Conn::default()
    }

    fn frame(&mut self, conn: &mut Conn, link: &mut Link<'_>, frame: Frame<'_>) -> Result<(), Close> {
        use MiningFromClient as M;
        if !conn.set_up {
            let setup =
                SetupConnection::first(frame).map_err(|error| Close::Protocol(error.to_string().into()))?;
            let host = setup.endpoint_host.as_bytes().to_vec();
            self.see(|seen| seen.setups.push((setup.flags, host, setup.endpoint_port)));
            let requires = MiningSuccessFlags::from_bits(self.behaviour.requires);
            match negotiate(&setup, &[Served::mining(MiningSetupFlags::ALL, requires)]) {
                Ok(success) => link.send(&success),
                Err(error) => {
                    link.send(&error);
                    link.close_after_flush(Close::Finished("refused".into()));
                }
            }
            conn.set_up = true;
            return Ok(());
        }
        match M::decode(frame).map_err(|error| Close::Protocol(error.to_string().into()))? {
            M::OpenStandardMiningChannel(message) if self.behaviour.refuse_channels => {
                let error_code = ErrorCode::from_static("closed-today");
                link.send(&OpenMiningChannelError { request_id: message.request_id, error_code });
            }
            M::OpenStandardMiningChannel(message) => {
                let open = Open {
                    request_id: message.request_id,
                    rate: HashRate::from_f32(message.nominal_hash_rate.get().unwrap()).unwrap(),
                    max_target: Target::from_le_bytes(message.max_target),
                    min_extranonce_size: None,
                };
                self.open(conn, link, open);
            }
            M::OpenExtendedMiningChannel(message) => {
                let open = Open {
                    request_id: message.request_id,
                    rate: HashRate::from_f32(message.nominal_hash_rate.get().unwrap()).unwrap(),
                    max_target: Target::from_le_bytes(message.max_target),
                    min_extranonce_size: Some(message.min_extranonce_size),
                };
                self.open(conn, link, open);
            }
            M::SubmitSharesStandard(message) => {
                self.share(
                    conn,
                    link,
                    StandardShare {
                        sequence_number: message.sequence_number,
                        job_id: message.job_id,
                        nonce: message.nonce,
                        ntime: message.ntime,
                        version: message.version,
                    },
                    None,
                );
            }
            M::SubmitSharesExtended(message) => {
                self.share(
                    conn,
                    link,
                    StandardShare {
                        sequence_number: message.sequence_number,
                        job_id: message.job_id,
                        nonce: message.nonce,
                        ntime: message.ntime,
                        version: message.version,
                    },
                    Some(&message.extranonce),
                );
            }
            M::CloseChannel(_) => {
                conn.channel = None;
                self.see(|seen| seen.closed_channels += 1);
            }
            other => drop(other),
        }
        Ok(())
    }

    fn closed(&mut self, _: Conn, _: ConnId, _: &Close) {
        self.see(|seen| seen.open_connections -= 1);
    }

    fn command(&mut self, order: Order, conns: &mut Connections<'_, Self>) {
        let job = self.next_job();
        if matches!(order, Order::NewBlock) {
            self.height += 1;
            self.tip = Arc::new(tip(self.height));
        }
        conns.for_each(|conn, link| {
            let Some(channel) = &mut conn.channel else { return };
            let address = if self.behaviour.group_jobs { conn.group } else { channel.id() };
            match &order {
                Order::NewBlock => self.block(conn, link, &job, address),
                Order::NewJob => {
                    let min_ntime = self.tip.min_ntime() + 1;
                    channel.add_active(&job, min_ntime).unwrap();
                    send_job(channel, link, &job, Some(min_ntime), address);
                }
                Order::Reconnect(host, new_port) => link.send(&Reconnect {
                    new_host: Str0_255::new(host.as_str()).unwrap(),
                    new_port: *new_port,
                }),
                Order::CloseChannels => {
                    link.send(&CloseChannel {
                        channel_id: channel.id(),
                        reason_code: ErrorCode::from_static("maintenance"),
                    });
                    conn.channel = None;
                }
            }
        });
    }
}

fn send_job(channel: &Channel, link: &mut Link<'_>, job: &Job, min_ntime: Option<u32>, address: u32) {
    if channel.kind() == Kind::Standard && address == channel.id() {
        return link.send(&NewMiningJob {
            channel_id: address,
            job_id: job.id(),
            min_ntime,
            version: job.version(),
            merkle_root: channel.merkle_root(job.id()).unwrap(),
        });
    }
    link.send(&NewExtendedMiningJob {
        channel_id: address,
        job_id: job.id(),
        min_ntime,
        version: job.version(),
        version_rolling_allowed: job.version_rolling_allowed(),
        merkle_path: Seq0_255::from_slice(job.merkle_path()).unwrap(),
        coinbase_tx_prefix: B0_64K::new(job.coinbase_prefix()).unwrap(),
        coinbase_tx_suffix: B0_64K::new(job.coinbase_suffix()).unwrap(),
    });
}

fn tip(height: u32) -> Tip {
    let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Tip::new([height.to_le_bytes()[0]; 32], NBITS, unix_now.try_into().unwrap()).unwrap()
}

fn parts(id: u32, version_rolling_allowed: bool) -> JobParts {
    let mut coinbase_prefix = vec![2, 0, 0, 0, 1];
    coinbase_prefix.extend_from_slice(&[0; 32]);
    coinbase_prefix.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 28, 3]);
    coinbase_prefix.extend_from_slice(&id.to_le_bytes()[..3]);
    JobParts {
        id,
        version: 0x2000_0000,
        version_rolling_allowed,
        coinbase_prefix,
        coinbase_suffix: vec![0xff; 40],
        merkle_path: vec![[5; 32], [6; 32]],
        extranonce_len: work::FULL_LEN,
    }
}
