//! A pool that a test drives: every part of the real one, stepped by hand instead of by its thread.

use std::net::SocketAddr;
use std::sync::Arc;

use engine::simulation::{Moment, VirtualShard, VirtualSocket};
use engine::{EngineConfig, Refusal, ShardHandle, Stats};
use node::Tip;

pub use crate::blocks::Shelf;

use crate::assembly::Assembly;
use crate::blocks::BlockSubmitter;
use crate::chain::{ChainFollower, Following};
use crate::config::PoolConfig;
use crate::pool::{Parts, StartError};
use crate::shard::{Command, Shard};
use crate::stats::PoolStats;
use crate::templates::{Fed, TemplateFeed};
use crate::ticks::Ticks;

/// A pool without threads. Dropping it between two steps is what a crash of the process is to everybody else.
///
/// The node must answer at once: a wait for something that is not there has to end as [`NodeError::Deadline`].
pub struct VirtualPool {
    shards: Vec<VirtualShard<Shard>>,
    handles: Vec<ShardHandle<Command>>,
    feed: TemplateFeed,
    follower: ChainFollower,
    following: Option<Following>,
    submitter: BlockSubmitter,
    ticks: Ticks,
    stats: PoolStats,
}

impl VirtualPool {
    /// Puts a pool together. Keys and the order of events come from `seed`.
    ///
    /// # Errors
    /// As [`Pool::start`](crate::Pool::start).
    pub fn start(
        config: PoolConfig,
        engine: &EngineConfig,
        parts: Parts,
        shelf: Box<dyn Shelf>,
        seed: u64,
        at: Moment,
    ) -> Result<Self, StartError> {
        let ticks = Ticks::new(Arc::clone(&parts.node), config.node_patience);
        let mut assembly = Assembly::new(config, engine.shards, parts, shelf)?;
        let mut shards = Vec::new();
        for index in 0..engine.shards {
            let seed = seed.wrapping_add(u64::from(index));
            let make = |handle| assembly.shard(handle, at.instant);
            shards.push(VirtualShard::new(engine, index, seed, at, make)?);
        }
        let handles = shards.iter().map(VirtualShard::handle).collect();
        let Assembly { feed, follower, submitter, stats, .. } = assembly.without_shards();
        submitter.deliver_kept();
        Ok(Self { shards, handles, feed, follower, following: None, submitter, ticks, stats })
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Lets a connection in on a shard.
    ///
    /// # Errors
    /// What a limit forbids.
    pub fn connect(&mut self, shard: usize, peer: SocketAddr) -> Result<VirtualSocket, Refusal> {
        self.shards[shard].connect(peer)
    }

    /// Whether a shard has something to do by now.
    pub fn is_due(&mut self, shard: usize, at: Moment) -> bool {
        self.shards[shard].next_turn().is_some_and(|due| due <= at.instant)
    }

    /// One turn of a shard.
    pub fn turn(&mut self, shard: usize, at: Moment) {
        self.shards[shard].turn(at);
    }

    /// Asks for a template and hands out the work; true if there was some.
    pub fn feed_templates(&mut self) -> bool {
        matches!(self.feed.step(&self.handles), Ok(Fed::Work(_)))
    }

    /// Books one change of the chain; false when there is none, or it cannot be booked now.
    pub fn follow_chain(&mut self) -> bool {
        let following = match &mut self.following {
            Some(following) => following,
            None => match self.follower.begin() {
                Ok(following) => self.following.insert(following),
                Err(_) => return false,
            },
        };
        self.follower.step(following).unwrap_or_else(|_| {
            self.following = None;
            false
        })
    }

    /// Whether the books know the chain up to this block.
    pub fn has_followed(&self, tip: &Tip) -> bool {
        self.following.as_ref().is_some_and(|following| following.has_reached(tip))
    }

    /// Hands one found block to the node; false if none waits.
    pub fn submit_block(&self) -> bool {
        self.submitter.step()
    }

    /// Found blocks that wait for their turn.
    pub fn blocks_waiting(&self) -> usize {
        self.submitter.waiting()
    }

    /// A tick, as every second.
    pub fn tick(&mut self, at: Moment) {
        self.ticks.step(&self.handles, at.instant);
    }

    /// The pool's counters.
    pub fn stats(&self) -> &PoolStats {
        &self.stats
    }

    /// Whether the pool asks to be started again: [`Pool::is_healthy`](crate::Pool::is_healthy).
    pub fn has_failed(&self) -> bool {
        self.stats.has_failed()
    }

    /// A shard's counters.
    pub fn connections(&self, shard: usize) -> &Stats {
        self.shards[shard].stats()
    }

    /// Bytes that a shard's engine holds for its connections.
    pub fn bytes_held(&mut self, shard: usize) -> usize {
        self.shards[shard].bytes_held()
    }

    /// Begins a stop in good order: nothing more is taken, and what was accepted is made durable and acknowledged.
    pub fn drain(&mut self) -> Drain {
        let answers = self.handles.iter().filter_map(|shard| {
            let (drained, answer) = crossbeam_channel::bounded(1);
            shard.try_send(Command::Drain(drained)).is_ok().then_some(answer)
        });
        Drain(answers.collect())
    }
}

/// Tells when every shard has drained.
pub struct Drain(Vec<crossbeam_channel::Receiver<()>>);

impl Drain {
    /// Whether all that was accepted is durable and acknowledged.
    pub fn is_done(&mut self) -> bool {
        self.0.retain(|answer| answer.try_recv().is_err());
        self.0.is_empty()
    }
}
