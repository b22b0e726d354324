//! What the jobs that still take shares are made of, so that a block can be built from any of them.

use std::collections::VecDeque;
use std::sync::Arc;

use work::Job;

use crate::update::{Basis, WorkUpdate};

/// Jobs in use at once beyond which channels whose target changed wait for the next template. A fresh job a second for a
/// quarter of an hour, each of them held by some channel.
const MOST_JOBS: usize = 1024;

/// Bases of the jobs on the current tip, by the update that brought them, the oldest first. A basis holds every
/// transaction of its block, so only as many are kept as channels can have jobs of.
pub(super) struct Bases {
    generations: VecDeque<Vec<(Arc<Job>, Arc<Basis>)>>,
    limit: usize,
}

impl Bases {
    /// For channels that take shares on a job and on `past_jobs` before it. Every channel gets a job of every update.
    pub(super) fn new(past_jobs: u8, current: &WorkUpdate) -> Self {
        let mut bases = Self { generations: VecDeque::new(), limit: usize::from(past_jobs) + 1 };
        bases.next_update(true);
        bases.add(current);
        bases
    }

    /// Every channel is about to get a new job; on a new block all others die.
    pub(super) fn next_update(&mut self, new_block: bool) {
        if new_block {
            self.generations.clear();
        }
        self.generations.push_back(Vec::new());
        if self.generations.len() > self.limit {
            self.generations.pop_front();
        }
    }

    /// A job for all channels, or a fresh one for those whose target changed.
    pub(super) fn add(&mut self, update: &WorkUpdate) {
        if let Some(newest) = self.generations.back_mut() {
            newest.push((Arc::clone(&update.job), Arc::clone(&update.basis)));
        }
    }

    /// Forgets jobs that no channel has any more. False if there are still as many as there may be.
    pub(super) fn make_room(&mut self) -> bool {
        for generation in &mut self.generations {
            generation.retain(|(job, _)| Arc::strong_count(job) > 1);
        }
        self.generations.iter().map(Vec::len).sum::<usize>() < MOST_JOBS
    }

    /// What a job is made of.
    pub(super) fn get(&self, job_id: u32) -> Option<&Arc<Basis>> {
        let mut all = self.generations.iter().rev().flatten();
        all.find(|(job, _)| job.id() == job_id).map(|(_, basis)| basis)
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::ScriptBuf;
    use node::Node;
    use node::devchain::{Devchain, DevchainConfig, system_clock};

    use super::*;

    fn work(chain: &Devchain, job_id: u32) -> WorkUpdate {
        let template = chain.next_template(None, &node::Stop::new(), None).unwrap();
        let script = ScriptBuf::from_bytes(vec![0x51]);
        let basis = Basis::new(template, &script, b"test", job_id).unwrap();
        WorkUpdate::new(Arc::new(basis), job_id, 0, true).unwrap()
    }

    #[test]
    fn only_jobs_that_a_channel_has_are_kept_and_not_without_end() {
        let chain = Devchain::new(DevchainConfig::default(), system_clock()).unwrap();
        let current = work(&chain, 1);
        let mut bases = Bases::new(8, &current);
        // A fresh job a second, and no template meanwhile. Of each hundredth a channel holds the job.
        let mut held = Vec::new();
        for job_id in 2..1000 {
            assert!(bases.make_room());
            let fresh = work(&chain, job_id);
            bases.add(&fresh);
            if job_id % 100 == 0 {
                held.push(Arc::clone(&fresh.job));
            }
        }
        assert!(bases.make_room());
        assert_eq!(bases.generations.iter().map(Vec::len).sum::<usize>(), 1 + held.len());
        assert!(held.iter().all(|job| bases.get(job.id()).is_some()), "a block on them can be built");
        assert!(bases.get(1).is_some() && bases.get(2).is_none());
        while bases.make_room() {
            let fresh = work(&chain, u32::try_from(held.len()).unwrap() + 2000);
            bases.add(&fresh);
            held.push(fresh.job);
        }
        assert_eq!(held.len() + 1, MOST_JOBS);
    }
}
