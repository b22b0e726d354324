//! One run: a pool with its ledger, a chain with its node, devices and a network, all on one virtual clock.

mod checks;
mod server;

use crate::{
    accounts::Accounts,
    chain::SimNode,
    chance::Chance,
    device::{Desk, Device},
    disk::Disk,
    profile::Profile,
    shelf::MemoryShelf,
    trace::Trace,
};
use engine::simulation::Moment;
use server::{Server, Settings};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};
use sv2::noise::{AuthoritySecret, Identity, Trust, Validity};
use work::PayoutKey;

/// Where the calendar of a run begins.
const UNIX: u32 = 1_750_000_000;
/// Time that a run without faults has to come to rest, in virtual milliseconds.
const PATIENCE: u64 = 120_000;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Of the run.
    pub seed: u64,
    /// Of everything that happened.
    pub hash: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Shares that devices know to count.
    pub acknowledged: u64,
    /// Shares that were refused.
    pub refused: u64,
    /// Blocks of the pool on the chain at the end.
    pub blocks: u64,
    /// Epochs that were closed.
    pub epochs: u64,
    /// Virtual seconds.
    pub seconds: u64,
}

/// Where the ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// In a model of a disk: fast, and every fate of a commit can be played.
    Memory,
    /// In SQLite's files: a crash garbles what was not synced.
    Files,
}

/// How a run is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where the ledger is.
    pub medium: Medium,
    /// Prints what happens.
    pub echo: bool,
}

/// Runs a seed. Panics when an invariant does not hold.
pub fn run(seed: u64, options: Options) -> Report {
    let mut world = World::new(seed, options);
    let steps = world.faults.steps;
    for _ in 0..steps {
        world.step(true);
    }
    world.calm_down();
    world.finish(seed)
}

struct World {
    chance: Chance,
    trace: Trace,
    faults: Profile,
    base: Instant,
    /// Virtual milliseconds since the beginning.
    now: u64,
    /// How far the pool's calendar is off.
    jump: i64,
    clock_jumps: bool,
    node: SimNode,
    disk: Disk,
    shelf: MemoryShelf,
    settings: Settings,
    server: Option<Server>,
    /// A process that died is started again at this time.
    starts_at: u64,
    node_back_at: u64,
    disk_free_at: u64,
    /// A branch overtakes the chain while a process that was just started looks at it.
    reorg_at: Option<u64>,
    devices: Vec<Device>,
    accounts: Accounts,
    /// Blocks that were in the memory of a process when it died.
    blocks_lost: usize,
}

impl World {
    fn new(seed: u64, options: Options) -> Self {
        let mut chance = Chance::new(seed);
        let faults = Profile::draw(&mut chance);
        let mut trace = Trace::new(options.echo);
        trace.note(format_args!("seed {seed}: {faults:?}"));
        let authority = AuthoritySecret::generate(chance.keys());
        let trust = Trust::Authority(authority.public());
        let identity = Identity::new(authority, Validity::default(), u64::from(UNIX), chance.keys());
        let settings = Settings::draw(&mut chance, &faults, identity.into());
        let keys = keys(faults.keys, &mut chance);
        let devices =
            (0..faults.devices).map(|name| Device::new(name, trust, keys.clone(), &mut chance)).collect();
        let node = SimNode::new(chance.fork(), faults.clone(), UNIX);
        node.mine(0, 3);
        let disk = Disk::new(chance.fork(), faults.clone(), options.medium);
        Self {
            trace,
            base: Instant::now(),
            now: 0,
            jump: 0,
            clock_jumps: faults.clock_jump > 0,
            node,
            disk,
            shelf: MemoryShelf::default(),
            settings,
            server: None,
            starts_at: 0,
            node_back_at: 0,
            disk_free_at: 0,
            reorg_at: None,
            devices,
            accounts: Accounts::default(),
            blocks_lost: 0,
            faults,
            chance,
        }
    }

    /// The time as the node and the devices have it.
    fn unix(&self) -> u32 {
        UNIX + u32::try_from(self.now / 1000).expect("a run takes minutes")
    }

    /// The time as the pool has it.
    fn moment(&self) -> Moment {
        let unix = i64::from(self.unix()) + self.jump;
        Moment {
            instant: self.base + Duration::from_millis(self.now),
            unix: u32::try_from(unix).expect("jumps are short"),
        }
    }

    /// One step of everything.
    fn step(&mut self, mines: bool) {
        self.now += self.chance.between(1, self.faults.step_millis);
        self.trace.now = self.now;
        self.node.set_time(self.unix());
        self.environment();
        if self.server.is_none() && self.now >= self.starts_at {
            self.start();
        }
        self.serve();
        self.move_devices(mines);
        self.check_accounts();
    }

    /// What happens outside of the pool's process, or to it.
    fn environment(&mut self) {
        let Self { chance, faults, trace, node, .. } = self;
        if chance.permille(faults.foreign_block) {
            trace.fault("block of others");
            node.mine(0, 1);
        }
        if chance.permille(faults.reorg) || self.reorg_at.take_if(|at| *at <= self.now).is_some() {
            trace.fault("reorg");
            let depth = u32::try_from(chance.between(1, 6)).expect("few");
            node.mine(depth, depth + 1);
        }
        if chance.permille(faults.transaction) && node.spend(chance.between(100, 100_000)) {
            trace.fault("transaction");
        }
        if chance.permille(faults.clock_jump) {
            trace.fault("clock jump");
            self.jump = i64::try_from(chance.between(0, 3000)).expect("short") - 1500;
        }
        if chance.permille(faults.disk_full) {
            trace.fault("disk full");
            self.disk.set_full(true);
            self.disk_free_at = self.now + chance.between(10, 4000);
        }
        if self.disk_free_at != 0 && self.now >= self.disk_free_at {
            self.disk_free_at = 0;
            self.disk.set_full(false);
        }
        if !node.is_down() && chance.permille(faults.node_down) {
            trace.fault("node down");
            self.node_back_at = self.now + chance.between(10, 9_000);
            self.node.set_down(Some(self.moment().instant));
        }
        if self.node.is_down() && self.now >= self.node_back_at {
            self.trace.note(format_args!("node up"));
            self.node.set_down(None);
        }
        if self.server.is_some() && self.chance.permille(self.faults.crash) {
            self.trace.fault("crash");
            self.crash();
        }
        self.restart_in_good_order();
    }

    fn move_devices(&mut self, mines: bool) {
        let (now, unix) = (self.now, self.unix());
        let moment_shards = self.server.as_ref().map(|server| server.pool.shards());
        let Self { devices, server, chance, faults, trace, accounts, clock_jumps, .. } = self;
        let clock_jumps = *clock_jumps;
        for device in devices {
            let mut desk = Desk { now, unix, chance, faults, trace, accounts, clock_jumps };
            if let (Some(server), Some(shards), false) =
                (server.as_mut(), moment_shards, device.is_connected())
                && now >= device.connects_at
                && !server.is_draining()
            {
                let octet = u8::try_from(device.name).expect("few devices");
                let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, octet)), 1000);
                let shard = desk.chance.index(shards);
                if let Ok(socket) = server.pool.connect(shard, peer) {
                    device.connected(socket, &mut desk);
                }
            }
            device.step(&mut desk, mines);
        }
    }

    /// No faults from now on: everything that is open comes to an end, and mining goes on.
    fn calm_down(&mut self) {
        let rate = self.faults.clone();
        self.faults = Profile { step_millis: rate.step_millis.min(50), ..rate.calm() };
        self.node.set_faults(self.faults.clone());
        self.disk.set_faults(self.faults.clone());
        self.disk.set_full(false);
        self.node.set_down(None);
        (self.disk_free_at, self.starts_at, self.reorg_at) = (0, self.now, None);
        self.trace.note(format_args!("no faults from now on"));
        let (now, unix, clock_jumps) = (self.now, self.unix(), self.clock_jumps);
        let Self { devices, chance, faults, trace, accounts, .. } = self;
        for device in devices {
            // A stream that was broken off in the middle of a frame would wait for a minute.
            device.lose(&mut Desk { now, unix, chance, faults, trace, accounts, clock_jumps });
        }
        let (acknowledged, until) = (self.accounts.acknowledged, self.now + PATIENCE);
        while self.accounts.acknowledged < acknowledged + 3 || !self.devices.iter().all(Device::is_mining) {
            assert!(self.now < until, "mining does not go on after all faults have ceased: {}", self.state());
            self.step(true);
        }
        let until = self.now + PATIENCE;
        let quiet = self.now + 3000;
        while self.now < quiet || !self.is_at_rest() {
            assert!(self.now < until, "the pool does not come to rest: {}", self.state());
            self.step(false);
        }
    }
}

/// Payout keys of nobody.
fn keys(count: usize, chance: &mut Chance) -> Vec<PayoutKey> {
    let mut keys = Vec::new();
    while keys.len() < count {
        let bytes = chance.bytes(32).try_into().expect("32 bytes");
        // Every second number is the x coordinate of a point.
        keys.extend(PayoutKey::from_bytes(bytes).ok());
    }
    keys
}
