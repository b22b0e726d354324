//! The pool's process: how it is started, stepped, stopped and killed.

use super::World;
use crate::{chance::Chance, disk::Mounted, profile::Profile};
use bitcoin::ScriptBuf;
use engine::EngineConfig;
use ledger::{Options as LedgerOptions, Params, simulation::VirtualLedger};
use node::Stop;
use pool::{
    ChannelLimits, Parts, PoolConfig,
    simulation::{Drain, VirtualPool},
};
use std::{sync::Arc, time::Duration};
use sv2::noise::Identity;
use work::ServerId;

/// How long a stop in good order waits for the disk, in milliseconds.
const DRAIN_PATIENCE: u64 = 5000;
/// What the pool writes into its coinbases.
pub(super) const TAG: &[u8] = b"/assay-sim/";

/// What the process is started with, each time.
pub(super) struct Settings {
    pub(super) pool: PoolConfig,
    engine: EngineConfig,
    params: Params,
    ledger: LedgerOptions,
}

impl Settings {
    pub(super) fn draw(chance: &mut Chance, faults: &Profile, identity: Arc<Identity>) -> Self {
        let address = "127.0.0.1:1".parse().expect("an address");
        let mut engine = EngineConfig::new(address, identity);
        engine.shards = faults.shards;
        engine.limits.send_buffer = Some(chance.pick(&[2_000, 20_000, 200_000]));
        // P2WPKH to nobody.
        let payout_script = ScriptBuf::from_bytes([&[0x00, 0x14][..], &chance.bytes(20)].concat());
        let limits = ChannelLimits {
            ledger_patience: Duration::from_secs(chance.pick(&[2, 60])),
            ..ChannelLimits::default()
        };
        let pool = PoolConfig {
            server_id: ServerId::new(u16::try_from(chance.index(9)).expect("few")),
            payout_script,
            tag: TAG.to_vec(),
            default_payout_key: None,
            shares_per_minute: chance.pick(&[60, 6000, 60_000]),
            min_share_hashes: chance.pick(&[1, 1, 4]),
            node_patience: Duration::from_secs(5),
            block_dir: None,
            limits,
        };
        let params = Params {
            q: chance.pick(&[0, 0, 1, 3]),
            window: chance.pick(&[1, 3, 8]),
            fee_ppm: 12_345,
            maturity: 30,
            redeem_blocks: 0,
        };
        let ledger = LedgerOptions {
            tick: Duration::from_millis(chance.pick(&[0, 10, 100])),
            fold_rows: chance.pick(&[1, 20, 1 << 15]),
            fold_age: Duration::from_secs(chance.pick(&[1, 10])),
            ..LedgerOptions::default()
        };
        Self { pool, engine, params, ledger }
    }
}

/// A process.
pub(super) struct Server {
    pub(super) pool: VirtualPool,
    pub(super) ledger: VirtualLedger<Mounted>,
    last_tick: u64,
    drain: Option<(Drain, u64)>,
}

impl Server {
    /// Whether it stops in good order.
    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }
}

/// What gets a turn of its own.
#[derive(Clone, Copy, Debug)]
enum Part {
    Shard(usize),
    Ledger,
    Templates,
    Chain,
    Blocks,
    Ticks,
}

impl World {
    pub(super) fn start(&mut self) {
        let at = self.moment();
        let Settings { pool, engine, params, ledger } = &self.settings;
        // A start that fails is tried again, as a supervisor does.
        self.starts_at = self.now + 500;
        let seed = self.chance.seed();
        let opened = VirtualLedger::open(self.disk.mount(), *params, *ledger, at.instant);
        let (ledger, handle) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.trace.note(format_args!("the ledger does not open: {error}")),
        };
        let node = Arc::new(self.node.clone());
        let parts = Parts { node, ledger: handle, stop: Stop::new() };
        let shelf = Box::new(self.shelf.clone());
        match VirtualPool::start(pool.clone(), engine, parts, shelf, seed, at) {
            Ok(pool) => {
                self.trace.note(format_args!("the pool starts"));
                if self.chance.permille(self.faults.reorg * 30) {
                    self.reorg_at = Some(self.now + self.chance.between(0, 2 * self.faults.step_millis));
                }
                self.server = Some(Server { pool, ledger, last_tick: self.now, drain: None });
            }
            Err(error) => {
                self.trace.note(format_args!("the pool does not start: {error}"));
                self.disk.power_off();
                ledger.crash();
                self.node.process_died();
            }
        }
        self.tell_faults();
    }

    /// The process dies.
    pub(super) fn crash(&mut self) {
        let Some(server) = self.server.take() else { return };
        self.disk.power_off();
        self.blocks_lost += server.pool.blocks_waiting();
        server.ledger.crash();
        drop(server.pool);
        self.node.process_died();
        self.starts_at = self.now + self.chance.between(0, 3000);
        self.trace.note(format_args!("the process is dead"));
    }

    /// Now and then the process is stopped as its operator would.
    pub(super) fn restart_in_good_order(&mut self) {
        let Some(server) = &mut self.server else { return };
        let Some((drain, until)) = &mut server.drain else {
            if self.chance.permille(self.faults.restart) {
                self.trace.fault("restart");
                server.drain = Some((server.pool.drain(), self.now + DRAIN_PATIENCE));
            }
            return;
        };
        if drain.is_done() || self.now >= *until {
            while server.pool.submit_block() {}
            server.ledger.idle(self.base + Duration::from_millis(self.now));
            self.crash();
        }
    }

    /// Every part of the process may have its turn, in any order.
    pub(super) fn serve(&mut self) {
        let Some(server) = &self.server else { return };
        let mut parts = vec![Part::Ledger, Part::Templates, Part::Chain, Part::Blocks, Part::Ticks];
        parts.extend((0..server.pool.shards()).map(Part::Shard));
        // Twice, so that an answer may come in the step of its request.
        parts.extend_from_within(..);
        self.chance.shuffle(&mut parts);
        for part in parts {
            if self.chance.permille(self.faults.starved) {
                continue;
            }
            self.serve_part(part);
            self.tell_faults();
            if self.disk.has_crashed() {
                return self.crash();
            }
        }
        let failed = self.server.as_ref().is_some_and(|server| server.pool.has_failed());
        assert!(!failed, "the ledger refused a batch of the pool");
    }

    fn serve_part(&mut self, part: Part) {
        let at = self.moment();
        let Self { server: Some(server), chance, .. } = self else { return };
        match part {
            Part::Shard(index) => {
                for _ in 0..chance.between(1, 4) {
                    if server.pool.is_due(index, at) {
                        server.pool.turn(index, at);
                    }
                }
            }
            Part::Ledger => match server.ledger.next_turn() {
                Some(due) if due <= at.instant => {
                    server.ledger.turn(at.instant, chance.pick(&[1, 2, 1024]));
                }
                Some(_) => {}
                None if chance.permille(50) => server.ledger.idle(at.instant),
                None => {}
            },
            Part::Templates => {
                server.pool.feed_templates();
            }
            Part::Chain => {
                for _ in 0..chance.between(1, 6) {
                    if !server.pool.follow_chain() {
                        break;
                    }
                }
            }
            Part::Blocks => {
                for _ in 0..chance.between(1, 64) {
                    server.pool.submit_block();
                }
            }
            Part::Ticks if self.now >= server.last_tick + 1000 => {
                server.last_tick = self.now;
                server.pool.tick(at);
            }
            Part::Ticks => {}
        }
    }

    fn tell_faults(&mut self) {
        for kind in self.disk.told().into_iter().chain(self.node.told()) {
            self.trace.fault(kind);
        }
    }
}
