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
