//! Which pool to go to next, and when: order of preference, back-off with jitter, redirects.
//!
//! Decisions come from what happened, never from the texts that peers send (ER-03).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::Rng;

use crate::config::{PoolAddress, Timing};
use crate::session::{End, Lessons};

/// Failures in a row after which the next pool has its turn.
const FAILURES_BEFORE_FALLBACK: u32 = 2;

/// Reconnect messages that are followed within [`REDIRECT_WINDOW`]; more of them are a loop (RC-08).
const REDIRECTS_FOLLOWED: usize = 4;
const REDIRECT_WINDOW: Duration = Duration::from_secs(60);

/// The pools of a device and what is known of each.
#[derive(Debug)]
pub struct Pools {
    pools: Vec<Pool>,
    current: usize,
    timing: Timing,
    /// When the device last gave up on the first pool.
    left_first: Option<Instant>,
}

#[derive(Debug)]
struct Pool {
    address: PoolAddress,
    /// Where a Reconnect sent the device, until that fails (RC-01).
    redirect: Option<(String, u16)>,
    redirects: VecDeque<Instant>,
    /// Failures in a row.
    failures: u32,
    lessons: Lessons,
}

/// Where to connect to, and what earlier attempts taught about that pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Place in the list of pools; 0 is the preferred one.
    pub index: usize,
    /// Host, port and the pool's own authority key, which no redirect changes (RC-04).
    pub address: PoolAddress,
    /// What earlier sessions learned.
    pub lessons: Lessons,
}

impl Pools {
    /// The device's pools; `addresses` is not empty.
    pub fn new(addresses: &[PoolAddress], timing: Timing) -> Self {
        assert!(!addresses.is_empty(), "the configuration was checked");
        let pool = |address: &PoolAddress| Pool {
            address: address.clone(),
            redirect: None,
            redirects: VecDeque::new(),
            failures: 0,
            lessons: Lessons::default(),
        };
        Pools { pools: addresses.iter().map(pool).collect(), current: 0, timing, left_first: None }
    }

    /// Where to connect to now.
    pub fn destination(&self) -> Destination {
        self.destination_of(self.current)
    }

    /// The pool that should have the device if it works.
    pub fn preferred(&self) -> Destination {
        self.destination_of(0)
    }

    fn destination_of(&self, index: usize) -> Destination {
        let pool = &self.pools[index];
        let mut address = pool.address.clone();
        if let Some((host, port)) = &pool.redirect {
            address.host.clone_from(host);
            address.port = *port;
        }
        Destination { index, address, lessons: pool.lessons }
    }

    /// Whether it is time to see if the preferred pool works again.
    pub fn return_due(&self, now: Instant) -> bool {
        let waited = |since| now.saturating_duration_since(since) >= self.timing.return_after;
        self.current != 0 && self.left_first.is_some_and(waited)
    }

    /// The preferred pool did not answer: ask again after the same time.
    pub fn return_failed(&mut self, now: Instant) {
        self.left_first = Some(now);
    }

    /// The preferred pool answers: it is the current one again.
    pub fn returned(&mut self) {
        self.current = 0;
        self.left_first = None;
    }

    /// No connection came about. Says how long to wait before [`Self::destination`] is tried.
    pub fn unreachable(&mut self, now: Instant, rng: &mut impl Rng) -> Duration {
        let pool = &mut self.pools[self.current];
        if pool.redirect.take().is_some() {
            // The place it was sent to is not there; the pool itself gets its chance before this counts.
            return jitter(self.timing.retry_first, rng);
        }
        self.failed(now, rng)
    }

    /// A session ended after mining for `mined`. Says how long to wait before the next.
    pub fn ended(&mut self, end: &End, mined: Duration, now: Instant, rng: &mut impl Rng) -> Duration {
        let pool = &mut self.pools[self.current];
        if mined >= self.timing.healthy_after {
            pool.failures = 0;
        }
        match end {
            End::Reconnect { host, port } => {
                if pool.follow(host, *port, now) {
                    return jitter(self.timing.retry_first / 4, rng);
                }
                tracing::warn!(pool = %pool.address, "more redirects than anyone needs; going back to its own address");
                self.failed(now, rng)
            }
            End::Retry { lessons, .. } => {
                // Each lesson is learned once, so these retries come to an end by themselves.
                let new = *lessons != pool.lessons;
                pool.lessons = *lessons;
                if new { jitter(self.timing.retry_first / 4, rng) } else { self.failed(now, rng) }
            }
            _ => self.failed(now, rng),
        }
    }

    fn failed(&mut self, now: Instant, rng: &mut impl Rng) -> Duration {
        let pool = &mut self.pools[self.current];
        pool.failures = pool.failures.saturating_add(1);
        pool.redirect = None;
        if pool.failures >= FAILURES_BEFORE_FALLBACK && self.pools.len() > 1 {
            if self.current == 0 {
                self.left_first = Some(now);
            }
            self.current = (self.current + 1) % self.pools.len();
        }
        let doublings = self.pools[self.current].failures.saturating_sub(1).min(16);
        let delay = self.timing.retry_first.saturating_mul(1 << doublings).min(self.timing.retry_most);
        jitter(delay, rng)
    }
}

impl Pool {
    /// Follows a redirect, unless there were too many (RC-08). Empty host and port 0 mean the same as
    /// now (RC-01).
    fn follow(&mut self, host: &str, port: u16, now: Instant) -> bool {
        while self.redirects.front().is_some_and(|at| now.saturating_duration_since(*at) > REDIRECT_WINDOW) {
            self.redirects.pop_front();
        }
        if self.redirects.len() >= REDIRECTS_FOLLOWED {
            self.redirect = None;
            return false;
        }
        self.redirects.push_back(now);
        let (current_host, current_port) =
            self.redirect.clone().unwrap_or_else(|| (self.address.host.clone(), self.address.port));
        let host = if host.is_empty() { current_host } else { host.to_owned() };
        let port = if port == 0 { current_port } else { port };
        tracing::info!(host, port, "the pool asks to reconnect");
        self.redirect = Some((host, port));
        true
    }
}

/// Between half of `delay` and all of it, so that devices of one pool do not come back in step (MD-09).
fn jitter(delay: Duration, rng: &mut impl Rng) -> Duration {
    let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(rng.gen_range(micros / 2..=micros))
}

#[cfg(test)]
mod tests;
