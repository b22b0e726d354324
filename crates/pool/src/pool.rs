//! Starting and stopping the pool's threads in the right order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use engine::{Engine, EngineConfig, StatsReader};
use ledger::{LedgerError, LedgerHandle};
use node::{Node, NodeError, Stop};
use thiserror::Error;
use tracing::warn;

use crate::assembly::Assembly;
use crate::blocks::DirShelf;
use crate::config::PoolConfig;
use crate::shard::Command;
use crate::stats::PoolStats;
use crate::ticks::Ticks;

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
        let (node, stop) = (Arc::clone(&parts.node), parts.stop.clone());
        let shelf = Box::new(DirShelf::new(config.block_dir.as_deref())?);
        let node_patience = config.node_patience;
        let mut assembly = Assembly::new(config, engine.shards, parts, shelf)?;
        let engine = Engine::start(engine, |_, handle| assembly.shard(handle, Instant::now()))?;
        let Assembly { feed, follower, submitter, stats, .. } = assembly.without_shards();
        let shards = || engine.handles().to_vec();
        let threads = vec![
            feed.follow(shards())?,
            follower.start()?,
            Ticks::new(node, node_patience).start(shards(), stop.clone())?,
            submitter.start()?,
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
