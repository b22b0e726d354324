//! The thread that follows the node's templates and hands each to the shards as work.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, bounded};
use engine::ShardHandle;
use node::{Node, NodeError, Stop, Template};
use tracing::{error, info, warn};

use crate::config::PoolConfig;
use crate::shard::Command;
use crate::stats::PoolStats;
use crate::update::{Basis, UpdateError, WorkUpdate};

/// Seconds between two clocks that are no error: a chain may run two hours ahead of the time.
const CLOCK_LEEWAY: u64 = 2 * 3600 + 600;

/// How long to wait after a template that no job could be made of.
const BAD_TEMPLATE_PAUSE: Duration = Duration::from_secs(1);

/// Longest wait for the shards to hand out the work on a new block.
const HANDING_OUT: Duration = Duration::from_secs(1);

/// Goes with work to each shard, which drops it when all its channels have the work.
pub(crate) type HandedOut = Sender<Infallible>;

/// The one source of job ids of a process, for the template thread and all shards; asked a few times a second at most.
/// It starts where no run before it came near, so that a restarted pool does not repeat the ids of its past, whatever its
/// clock says.
#[derive(Clone)]
pub(crate) struct JobIds(Arc<Mutex<work::JobIds>>);

impl JobIds {
    /// For the run that took this lease, as no other did. By the golden ratio, so that the beginnings of any number of
    /// runs lie about as far from each other as that number allows: of a thousand, a million ids at least.
    pub(crate) fn of_run(lease: u32) -> Self {
        Self(Arc::new(Mutex::new(work::JobIds::starting_at(lease.wrapping_mul(0x9e37_79b1)))))
    }

    /// An id that no job of this process had (MP-86). No job is old enough to be still in use when the numbers come
    /// round.
    pub(crate) fn next(&self) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next(|_| false)
    }
}

/// What came of waiting for a template.
pub(crate) enum Fed {
    /// Work for all shards.
    Work(Arc<WorkUpdate>),
    /// No new work.
    Nothing,
    /// No job could be made of it, as the log tells; mining goes on with the work before it.
    Refused,
}

/// Follows the node's templates until told to stop.
pub(crate) struct TemplateFeed {
    node: Arc<dyn Node>,
    config: PoolConfig,
    job_ids: JobIds,
    stats: PoolStats,
    stop: Stop,
    current: Option<Arc<Basis>>,
    /// Closed when all shards have handed out the newest work.
    handed_out: Option<Receiver<Infallible>>,
}

impl TemplateFeed {
    pub(crate) fn new(
        node: Arc<dyn Node>,
        config: PoolConfig,
        job_ids: JobIds,
        stats: PoolStats,
        stop: Stop,
    ) -> Self {
        Self { node, config, job_ids, stats, stop, current: None, handed_out: None }
    }

    /// The first work there is. Waits until the node has a template.
    pub(crate) fn first(&mut self) -> Result<Arc<WorkUpdate>, NodeError> {
        loop {
            match self.next()? {
                Fed::Work(update) => return Ok(update),
                Fed::Nothing => {}
                Fed::Refused => drop(self.stop.wait(BAD_TEMPLATE_PAUSE)),
            }
        }
    }

    /// Hands every further template to all shards, in a thread of its own.
    pub(crate) fn follow(mut self, shards: Vec<ShardHandle<Command>>) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("templates".to_owned()).spawn(move || {
            while !self.stop.is_stopped() {
                match self.step(&shards) {
                    Ok(Fed::Work(update)) if update.new_block => self.wait_until_handed_out(),
                    Ok(Fed::Work(_) | Fed::Nothing) => {}
                    Ok(Fed::Refused) => drop(self.stop.wait(BAD_TEMPLATE_PAUSE)),
                    Err(NodeError::Stopped) => return,
                    Err(error) => {
                        warn!(%error, "no template from the node");
                        self.stop.wait(BAD_TEMPLATE_PAUSE);
                    }
                }
            }
        })
    }

    /// Waits for one template and hands it to all shards.
    pub(crate) fn step(&mut self, shards: &[ShardHandle<Command>]) -> Result<Fed, NodeError> {
        let fed = self.next()?;
        if let Fed::Work(update) = &fed {
            let (handed_out, all) = bounded(0);
            for shard in shards {
                // A stopped shard needs no work.
                let _ = shard.send(Command::Work(Arc::clone(update), handed_out.clone()));
            }
            self.handed_out = Some(all);
        }
        Ok(fed)
    }

    /// On a new block miners wait, and a node that makes the next template on the same processor would take from what they
    /// are served with.
    fn wait_until_handed_out(&mut self) {
        if let Some(all) = self.handed_out.take() {
            // Nothing is ever sent: it ends when the last shard is done.
            let _ = all.recv_timeout(HANDING_OUT);
        }
    }

    fn next(&mut self) -> Result<Fed, NodeError> {
        let known = self.current.as_ref().map(|basis| basis.template.id.clone());
        let template = self.node.next_template(known.as_ref(), &self.stop, None)?;
        let height = template.height;
        Ok(match self.update(template) {
            Ok(Some(update)) => Fed::Work(update),
            Ok(None) => Fed::Nothing,
            Err(error) => {
                error!(height, %error, "template refused; mining goes on with the work before it");
                Fed::Refused
            }
        })
    }

    fn update(&mut self, template: Template) -> Result<Option<Arc<WorkUpdate>>, UpdateError> {
        let height = template.height;
        let min_ntime = template.cur_time.max(template.min_time);
        let job_id = self.job_ids.next();
        let basis = Basis::new(template, &self.config.payout_script, &self.config.tag, job_id)?;
        let basis = Arc::new(basis);
        let same_work = self.current.as_ref().is_some_and(|before| basis.same_work(before));
        let new_block = !self.current.as_ref().is_some_and(|before| basis.same_tip(before));
        let update = WorkUpdate::new(Arc::clone(&basis), job_id, min_ntime, new_block)?;
        let now = unix_seconds();
        self.stats.template(now, height);
        let clock_error = clock_error(now, basis.template.cur_time);
        if self.stats.set_clock_error(clock_error.clone())
            && let Some(error) = clock_error
        {
            warn!("{error}");
        }
        self.current = Some(basis);
        if same_work {
            return Ok(None);
        }
        if new_block {
            info!(height, prev_hash = %update.basis.template.prev_hash, "work on a new block");
        }
        Ok(Some(Arc::new(update)))
    }
}

/// What is wrong if the clocks of this machine and of the node, in seconds of unix time, are too far apart. The node's is
/// never behind the chain, which tells a clock that was not set yet even on the node's own machine.
fn clock_error(ours: u64, nodes: u32) -> Option<String> {
    let nodes = u64::from(nodes);
    let hours = ours.abs_diff(nodes) / 3600;
    let side = if ours > nodes { "ahead of" } else { "behind" };
    (ours.abs_diff(nodes) > CLOCK_LEEWAY).then(|| {
        format!(
            "this machine's clock is {hours} hours {side} the node's: set both right; until then devices \
             may refuse the pool's certificate"
        )
    })
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_far_apart_are_told() {
        let now = 1_700_000_000;
        for near in [now - 7200, now, now + 7200] {
            assert_eq!(clock_error(near.into(), now), None);
        }
        let told = clock_error((now - 36_000).into(), now).unwrap();
        assert!(told.contains("10 hours behind the node's"), "{told}");
        let told = clock_error((now + 36_000).into(), now).unwrap();
        assert!(told.contains("10 hours ahead of the node's"), "{told}");
    }

    #[test]
    fn runs_do_not_repeat_job_ids() {
        // Three leases a run, as with two shards and a spare each.
        let mut beginnings: Vec<u32> =
            (1..3000).step_by(3).map(|lease| JobIds::of_run(lease).next()).collect();
        beginnings.sort_unstable();
        let nearest = beginnings.windows(2).map(|two| two[1] - two[0]).min().unwrap();
        assert!(nearest > 1_000_000, "{nearest}");
    }
}
