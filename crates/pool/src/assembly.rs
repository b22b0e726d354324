//! A pool's parts, put together in the right order. [`Pool`](crate::Pool) gives each a thread.

use std::sync::Arc;
use std::time::Instant;

use engine::ShardHandle;
use ledger::{LedgerHandle, Source};
use work::{PrefixSpace, ShareMemory};

use crate::blocks::{BlockSubmitter, Shelf, SolutionSender};
use crate::chain::ChainFollower;
use crate::config::PoolConfig;
use crate::pool::{Parts, StartError};
use crate::shard::{Command, Shard, ShardParts};
use crate::stats::PoolStats;
use crate::templates::{JobIds, TemplateFeed};
use crate::update::WorkUpdate;

/// Where a shard's credits and prefixes go on.
struct Beginning {
    source: Source,
    last_sequence: u64,
    prefixes: PrefixSpace,
}

/// The parts of a pool before they run.
pub(crate) struct Assembly {
    pub feed: TemplateFeed,
    pub follower: ChainFollower,
    pub submitter: BlockSubmitter,
    pub stats: PoolStats,
    config: Arc<PoolConfig>,
    ledger: LedgerHandle,
    solutions: Option<SolutionSender>,
    job_ids: JobIds,
    first: Arc<WorkUpdate>,
    memory: Arc<ShareMemory>,
    beginnings: std::vec::IntoIter<Beginning>,
}

impl Assembly {
    /// Takes leases, and waits for the first template.
    pub(crate) fn new(
        config: PoolConfig,
        shards: u16,
        parts: Parts,
        shelf: Box<dyn Shelf>,
    ) -> Result<Self, StartError> {
        let Parts { node, ledger, stop } = parts;
        let config = Arc::new(config);
        let stats = PoolStats::new();
        let mut beginnings = Vec::with_capacity(usize::from(shards));
        let mut newest_lease = 0;
        for shard in 0..shards {
            let source = Source { front: config.server_id.get(), shard };
            let last_sequence = ledger.last_sequence(source)?;
            let lease = ledger.lease()?;
            newest_lease = lease.get();
            let prefixes = PrefixSpace::new(config.server_id, lease);
            beginnings.push(Beginning { source, last_sequence, prefixes });
        }
        let job_ids = JobIds::of_run(newest_lease);
        let mut feed = TemplateFeed::new(
            Arc::clone(&node),
            PoolConfig::clone(&config),
            job_ids.clone(),
            stats.clone(),
            stop.clone(),
        );
        let first = feed.first()?;
        let (submitter, solutions) =
            BlockSubmitter::new(Arc::clone(&node), ledger.clone(), stats.clone(), shelf);
        let follower = ChainFollower {
            node,
            ledger: ledger.clone(),
            stats: stats.clone(),
            payout_script: config.payout_script.clone(),
            tag: config.tag.clone(),
            floor: first.parent(),
            stop,
        };
        Ok(Self {
            feed,
            follower,
            submitter,
            stats,
            memory: Arc::new(ShareMemory::new(config.limits.share_memory)),
            config,
            ledger,
            solutions: Some(solutions),
            job_ids,
            first,
            beginnings: beginnings.into_iter(),
        })
    }

    /// The next shard.
    pub(crate) fn shard(&mut self, handle: ShardHandle<Command>, started: Instant) -> Shard {
        let Beginning { source, last_sequence, prefixes } =
            self.beginnings.next().expect("as many shards are made as were announced");
        Shard::new(ShardParts {
            config: Arc::clone(&self.config),
            ledger: self.ledger.clone(),
            stats: self.stats.clone(),
            solutions: self.solutions.clone().expect("shards are made before the assembly is done"),
            job_ids: self.job_ids.clone(),
            handle,
            current: Arc::clone(&self.first),
            source,
            last_sequence,
            prefixes,
            started,
            memory: Arc::clone(&self.memory),
        })
    }

    /// All shards are made: from now on they alone hold the way to the submitter, which ends with them.
    pub(crate) fn without_shards(mut self) -> Self {
        self.solutions = None;
        self
    }
}
