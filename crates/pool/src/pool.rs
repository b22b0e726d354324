//! Starting and stopping the pool's threads in the right order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::bounded;
use engine::{Engine, EngineConfig, StatsReader};
use ledger::{LedgerError, LedgerHandle, Source};
use node::{Node, NodeError, NodeState, Stop};
use thiserror::Error;
use tracing::{info, warn};
use work::PrefixSpace;

use crate::blocks::BlockSubmitter;
use crate::chain::ChainFollower;
use crate::config::PoolConfig;
use crate::shard::{Command, Shard, ShardParts};
use crate::stats::PoolStats;
use crate::templates::{JobIds, TemplateFeed};

/// How often shards look at vardiff, idle channels and closing ones.
const TICK: Duration = Duration::from_secs(1);

/// How long a stopping pool waits for the disk.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// Why a pool did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The node gave no first template, or the pool was told to stop before it did.
    #[error("no first template from the node")]
    Node(#[from] NodeError),
    /// The ledger gave no lease or no sequence.
    #[error("the ledger cannot be used")]
    Ledger(#[from] LedgerError),
    /// The port could not be opened.
    #[error("the stratum port cannot be served")]
    Engine(#[from] engine::StartError),
    /// The operating system gave no thread.
    #[error("a thread cannot be started")]
    Thread(#[from] std::io::Error),
}

/// What a pool is built on.
pub struct Parts {
    /// Gives templates and takes blocks.
    pub node: Arc<dyn Node>,
    /// Makes credits durable.
    pub ledger: LedgerHandle,
    /// Ends the wait for the first template, and later all threads.
    pub stop: Stop,
}

/// A running pool.
pub struct Pool {
    engine: Engine<Command>,
    stats: PoolStats,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts the pool: waits for the first template, then opens the port, so that no device is ever without work.
    pub fn start(config: PoolConfig, engine: EngineConfig, parts: Parts) -> Result<Self, StartError> {
        let Parts { node, ledger, stop } = parts;
        let stats = PoolStats::new();
        let job_ids = JobIds::starting_at(unix_seconds());
        let mut feed = TemplateFeed::new(
            Arc::clone(&node),
            config.clone(),
            job_ids.clone(),
            stats.clone(),
            stop.clone(),
        );
        let first = feed.first()?;

        let mut starting = Vec::with_capacity(usize::from(engine.shards));
        for shard in 0..engine.shards {
            let source = Source { front: config.server_id.get(), shard };
            starting.push((
                source,
                ledger.last_sequence(source)?,
                PrefixSpace::new(config.server_id, ledger.lease()?),
            ));
        }
        let (solutions, blocks_thread) = BlockSubmitter::start(
            Arc::clone(&node),
            ledger.clone(),
            stats.clone(),
            config.block_dir.as_deref(),
        )?;
        let shared = Arc::new(config.clone());
        let mut starting = starting.into_iter();
        let engine = Engine::start(engine, |_, handle| {
            let (source, last_sequence, prefixes) =
                starting.next().expect("the engine makes as many shards as it was told to");
            Shard::new(ShardParts {
                config: Arc::clone(&shared),
                ledger: ledger.clone(),
                stats: stats.clone(),
                solutions: solutions.clone(),
                job_ids: job_ids.clone(),
                handle,
                current: Arc::clone(&first),
                source,
                last_sequence,
                prefixes,
            })
        })?;
        drop(solutions);
        let threads = vec![
            feed.follow(engine.handles().to_vec())?,
            ChainFollower {
                node: Arc::clone(&node),
                ledger,
                stats: stats.clone(),
                payout_script: config.payout_script,
                tag: config.tag,
                floor: first.parent(),
                stop: stop.clone(),
            }
            .start()?,
            start_ticks(engine.handles().to_vec(), Arc::clone(&node), config.node_patience, stop.clone())?,
            blocks_thread,
        ];
        Ok(Self { engine, stats, stop, threads })
    }

    /// Where miners connect.
    pub fn local_addr(&self) -> SocketAddr {
        self.engine.local_addr()
    }

    /// The pool's counters.
    pub fn stats(&self) -> PoolStats {
        self.stats.clone()
    }

    /// The engine's counters.
    pub fn connections(&self) -> StatsReader {
        self.engine.stats()
    }

    /// Whether all of the pool's threads live. One that died has said why in the log; restart the process then.
    pub fn is_healthy(&self) -> bool {
        self.engine.is_healthy()
            && !self.stats.has_failed()
            && !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Asks every device to connect elsewhere under the same authority key, before maintenance (PO-14). An empty host
    /// or port 0 keeps the present one.
    pub fn reconnect(&self, host: &str, port: u16) {
        for shard in self.engine.handles() {
            // A stopped shard has no devices.
            let _ = shard.send(Command::Reconnect { host: host.into(), port });
        }
    }

    /// Stops: accepted shares become durable and are acknowledged, connections are flushed and closed, blocks on their
    /// way are delivered. The ledger is its owner's to close.
    pub fn stop(self) {
        self.stop.stop();
        self.drain();
        self.engine.stop();
        for thread in self.threads {
            // A thread that panicked has said so; the others still have to be waited for.
            let _ = thread.join();
        }
    }
}

impl Pool {
    fn drain(&self) {
        let shards = self.engine.handles();
        let deadline = Instant::now() + DRAIN_PATIENCE;
        for shard in shards {
            let (drained, answer) = bounded(1);
            if shard.send(Command::Drain(drained)).is_ok() && answer.recv_deadline(deadline).is_err() {
                warn!(
                    "the ledger takes no credits; shares that were not acknowledged are lost to their miners"
                );
            }
        }
    }
}

fn start_ticks(
    shards: Vec<engine::ShardHandle<Command>>,
    node: Arc<dyn Node>,
    node_patience: Duration,
    stop: Stop,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("ticks".to_owned()).spawn(move || {
        let mut without_node = false;
        while !stop.wait(TICK) {
            let down_for = match node.status().state {
                NodeState::Down { since, .. } => since.elapsed().unwrap_or_default(),
                NodeState::Starting | NodeState::Ready => Duration::ZERO,
            };
            let too_long = down_for > node_patience;
            if too_long != without_node {
                without_node = too_long;
                if too_long {
                    warn!(seconds = down_for.as_secs(), "the node is down for too long; channels are closed");
                } else {
                    info!("the node is back; channels may be opened");
                }
            }
            for shard in &shards {
                // A shard with a full queue is busy and gets the next tick.
                let _ = shard.try_send(Command::Tick { paused: too_long });
            }
        }
    })
}

fn unix_seconds() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
