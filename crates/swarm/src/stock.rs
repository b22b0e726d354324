//! Shares that are found before they are needed.
//!
//! Headers differ in the nonce, and when its 2^32 values are used up in the version's rolled bits; on extended channels
//! each share has an extranonce of its own, as those of a proxy's devices do. Hashes that would be blocks are left out:
//! a new tip would end the run.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use device::kernel::HeaderSearch;
use work::{Assignment, VERSION_ROLLING_MASK};

use crate::Stopped;

/// Where the bits of [`VERSION_ROLLING_MASK`] begin.
const VERSION_SHIFT: u32 = VERSION_ROLLING_MASK.trailing_zeros();
/// Most nonces that are tried between two looks at the clock.
const LONGEST_TRY: u32 = 1 << 14;
/// How often the owner is asked whether to go on.
const LOOK: Duration = Duration::from_millis(20);

/// Longest extranonce.
const EXTRANONCE: usize = 32;

/// A channel that needs shares, and where it is.
#[derive(Debug)]
pub(crate) struct Task {
    pub worker: usize,
    pub connection: usize,
    pub channel: usize,
    pub assignment: Assignment,
    /// Bytes of extranonce that are the client's; none on standard channels.
    pub rollable: u8,
}

/// How the header of a share differs from that of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    nonce: u32,
    /// Counts headers that differ in more than the nonce.
    variation: u32,
}

/// The shares of one channel on one job.
#[derive(Debug)]
pub(crate) struct Stock {
    pub job_id: u32,
    ntime: u32,
    version: u32,
    rollable: u8,
    found: Vec<Found>,
    next: usize,
}

/// One share.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub nonce: u32,
    pub ntime: u32,
    pub version: u32,
    extranonce: [u8; EXTRANONCE],
    rollable: u8,
}

impl Prepared {
    /// What follows the channel's prefix; empty on standard channels.
    pub(crate) fn extranonce(&self) -> &[u8] {
        &self.extranonce[..self.rollable.into()]
    }
}

impl Stock {
    /// How many shares are left.
    pub(crate) fn left(&self) -> u64 {
        (self.found.len() - self.next) as u64
    }

    /// The next share.
    pub(crate) fn take(&mut self) -> Option<Prepared> {
        let Found { nonce, variation } = *self.found.get(self.next)?;
        self.next += 1;
        let rolls_extranonce = self.rollable > 0;
        let version = if rolls_extranonce { self.version } else { rolled(self.version, variation) };
        let extranonce =
            if rolls_extranonce { extranonce(variation, self.rollable) } else { [0; EXTRANONCE] };
        Some(Prepared { nonce, ntime: self.ntime, version, extranonce, rollable: self.rollable })
    }
}

/// Variation 0 is the job's own version.
fn rolled(version: u32, variation: u32) -> u32 {
    version ^ ((variation << VERSION_SHIFT) & VERSION_ROLLING_MASK)
}

/// `variation` in the last of `rollable` bytes.
fn extranonce(variation: u32, rollable: u8) -> [u8; EXTRANONCE] {
    let mut bytes = [0; EXTRANONCE];
    let number = variation.to_be_bytes();
    let len = usize::from(rollable).min(number.len());
    let end = usize::from(rollable);
    bytes[end - len..end].copy_from_slice(&number[number.len() - len..]);
    bytes
}

/// How many variations a channel has.
fn variations(task: &Task) -> u64 {
    match task.rollable {
        0 if task.assignment.version_rolling_allowed() => 1 << VERSION_ROLLING_MASK.count_ones(),
        0 => 1,
        bytes => 1 << (8 * u32::from(bytes).min(4)),
    }
}

/// Finds `count` shares for each task on so many threads, or fewer for some when `give_up` comes or the owner stops.
pub(crate) fn prepare(
    tasks: &[Task],
    count: usize,
    threads: usize,
    give_up: Instant,
    stopped: Stopped<'_>,
) -> Vec<Stock> {
    let (next, cancelled) = (AtomicUsize::new(0), AtomicBool::new(false));
    let stocks: Mutex<Vec<Option<Stock>>> = Mutex::new(tasks.iter().map(|_| None).collect());
    let search_tasks = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(index) else { break };
            let stop = || cancelled.load(Ordering::Relaxed) || Instant::now() >= give_up;
            let stock = search(task, count, stop);
            stocks.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(stock);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(search_tasks)).collect();
        while !threads.iter().all(|thread| thread.is_finished()) {
            if stopped() {
                cancelled.store(true, Ordering::Relaxed);
            }
            std::thread::sleep(LOOK);
        }
    });
    let stocks = stocks.into_inner().unwrap_or_else(PoisonError::into_inner);
    tasks.iter().zip(stocks).map(|(task, stock)| stock.unwrap_or_else(|| empty(task))).collect()
}

fn empty(task: &Task) -> Stock {
    let assignment = &task.assignment;
    Stock {
        job_id: assignment.job_id(),
        ntime: *assignment.ntimes(0).start(),
        version: assignment.version(),
        rollable: task.rollable,
        found: Vec::new(),
        next: 0,
    }
}

fn search(task: &Task, count: usize, stop: impl Fn() -> bool) -> Stock {
    let mut stock = empty(task);
    let assignment = &task.assignment;
    let target = assignment.target();
    let network = assignment.tip().network_target();
    let expected = u32::try_from(target.expected_hashes()).unwrap_or(u32::MAX);
    let at_once = (expected / 4).clamp(1, LONGEST_TRY);
    stock.found.reserve_exact(count);
    for variation in 0..variations(task) {
        let variation = u32::try_from(variation).unwrap_or(u32::MAX);
        let (root, version) = if task.rollable > 0 {
            let extranonce = extranonce(variation, task.rollable);
            (assignment.merkle_root(&extranonce[..task.rollable.into()]), stock.version)
        } else {
            (assignment.merkle_root(&[]), rolled(stock.version, variation))
        };
        let mut header = HeaderSearch::new(&assignment.header(version, &root, stock.ntime, 0), target);
        let mut nonce = Some(0);
        while let Some(first) = nonce {
            if stock.found.len() >= count || stop() {
                return stock;
            }
            let before = stock.found.len();
            // The more shares a try gives, the fewer looks at the clock a share costs.
            let wanted = count - before;
            let tries = if task.rollable > 0 { at_once } else { at_once.max(64) };
            let tried = header.run(first, tries, |nonce, hash| {
                if !network.is_met_by(&hash) && stock.found.len() - before < wanted {
                    stock.found.push(Found { nonce, variation });
                }
            });
            if task.rollable > 0 && stock.found.len() > before {
                stock.found.truncate(before + 1);
                break;
            }
            nonce = first.checked_add(tried).filter(|_| tried > 0);
        }
    }
    stock
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use work::{ClientChannel, Job, JobParts, Kind, Target, Tip, job};

    use super::*;

    fn task(kind: Kind, target: Target) -> Task {
        let prefix = [7; 8];
        let mut channel = ClientChannel::new(kind, &prefix, target).unwrap();
        let mut coinbase_prefix = vec![0; 60];
        (coinbase_prefix[0], coinbase_prefix[4]) = (1, 1);
        coinbase_prefix[5..37].fill(0);
        coinbase_prefix[37..41].fill(0xff);
        let extranonce_len = channel.full_extranonce_len();
        coinbase_prefix[41] = u8::try_from(60 - 42 + extranonce_len).unwrap();
        let job = Job::new(JobParts {
            id: 5,
            version: 0x2000_0000,
            version_rolling_allowed: true,
            coinbase_prefix,
            coinbase_suffix: vec![0; 20],
            merkle_path: vec![[3; 32]; 2],
            extranonce_len,
        })
        .unwrap();
        channel.extended_job(&Arc::new(job), None, 0).unwrap();
        // Every 2^16th hash is a block.
        let tip = Tip::new([9; 32], 0x1f00_ffff, 1_700_000_000).unwrap();
        channel.set_new_prev_hash(5, &Arc::new(tip), 0).unwrap();
        let rollable = match kind {
            Kind::Standard => 0,
            Kind::Extended { rollable } => rollable,
        };
        let assignment = channel.active().unwrap().clone();
        Task { worker: 0, connection: 0, channel: 0, assignment, rollable }
    }

    fn never() -> bool {
        false
    }

    #[test]
    fn prepared_shares_are_valid_different_and_no_blocks() {
        for kind in [Kind::Standard, Kind::Extended { rollable: 1 }, Kind::Extended { rollable: 8 }] {
            for hashes in [1, 16] {
                let target = Target::for_expected_hashes(hashes);
                let task = task(kind, target);
                let give_up = Instant::now() + Duration::from_secs(60);
                let mut stocks = prepare(std::slice::from_ref(&task), 200, 2, give_up, &never);
                let stock = &mut stocks[0];
                assert_eq!(stock.left(), 200);
                let mut headers = HashSet::new();
                while let Some(share) = stock.take() {
                    let root = task.assignment.merkle_root(share.extranonce());
                    let header = task.assignment.header(share.version, &root, share.ntime, share.nonce);
                    let hash = job::header_hash(&header);
                    assert!(target.is_met_by(&hash));
                    assert!(!task.assignment.tip().network_target().is_met_by(&hash));
                    assert!(headers.insert(header));
                }
                assert_eq!((headers.len(), stock.left()), (200, 0));
            }
        }
    }

    #[test]
    fn an_exhausted_extranonce_ends_the_search() {
        let task = task(Kind::Extended { rollable: 1 }, Target::MAX);
        assert_eq!(search(&task, 1000, never).left(), 256);
    }

    #[test]
    fn preparing_ends_when_the_time_is_up_or_the_owner_stops() {
        let task = task(Kind::Standard, Target::from_le_bytes([0; 32]));
        let tasks = [task];
        let soon = Instant::now() + Duration::from_millis(50);
        assert_eq!(prepare(&tasks, 1, 1, soon, &never)[0].left(), 0);
        let late = Instant::now() + Duration::from_secs(600);
        assert_eq!(prepare(&tasks, 1, 1, late, &|| true)[0].left(), 0);
    }

    #[test]
    fn variations_have_their_place() {
        assert_eq!(rolled(0x2000_0000, 0), 0x2000_0000);
        assert_eq!(rolled(0x2000_0000, 1), 0x2000_0020);
        assert_eq!(extranonce(0x0102_0304, 8)[..8], [0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(extranonce(0x0102_0304, 2)[..2], [3, 4]);
        assert_eq!(extranonce(5, 32)[28..], [0, 0, 0, 5]);
    }
}
