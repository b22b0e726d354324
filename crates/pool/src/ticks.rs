//! The thread that makes shards look at vardiff, idle channels and closing ones, and tells them when there is no work
//! worth doing.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine::ShardHandle;
use node::{Node, NodeState, Stop};
use tracing::{info, warn};

use crate::shard::Command;

/// How often shards are told that time passes.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// Tells shards the time, and whether the node has been down for too long.
pub(crate) struct Ticks {
    node: Arc<dyn Node>,
    node_patience: Duration,
    without_node: bool,
}

impl Ticks {
    pub(crate) fn new(node: Arc<dyn Node>, node_patience: Duration) -> Self {
        Self { node, node_patience, without_node: false }
    }

    pub(crate) fn start(
        mut self,
        shards: Vec<ShardHandle<Command>>,
        stop: Stop,
    ) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("ticks".to_owned()).spawn(move || {
            while !stop.wait(TICK) {
                self.step(&shards, Instant::now());
            }
        })
    }

    /// One tick.
    pub(crate) fn step(&mut self, shards: &[ShardHandle<Command>], now: Instant) {
        let down_for = match self.node.status().state {
            NodeState::Down { since, .. } => now.saturating_duration_since(since),
            NodeState::Starting | NodeState::Ready => Duration::ZERO,
        };
        let node_down = down_for > self.node_patience;
        if node_down != self.without_node {
            self.without_node = node_down;
            if node_down {
                warn!(seconds = down_for.as_secs(), "the node is down for too long; channels are closed");
            } else {
                info!("the node is back; channels may be opened");
            }
        }
        for shard in shards {
            // A shard with a full queue is busy and gets the next tick.
            let _ = shard.try_send(Command::Tick { node_down });
        }
    }
}
