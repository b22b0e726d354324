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

/// Shares of a standard channel that are found together when one is needed.
const AT_ONCE: usize = 4;
/// Longest search for them: meanwhile the thread serves nobody.
const LONGEST_FIND: Duration = Duration::from_millis(100);

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
    /// Where the search goes on: a header that differs in more than the nonce, and the nonce. None: all were tried.
    cursor: Option<(u32, u32)>,
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
    /// No share yet.
    pub(crate) fn empty(assignment: &Assignment, rollable: u8) -> Self {
        Self {
            job_id: assignment.job_id(),
            ntime: *assignment.ntimes(0).start(),
            version: assignment.version(),
            rollable,
            found: Vec::new(),
            next: 0,
            cursor: Some((0, 0)),
        }
    }

    /// Finds a few shares more, at the moment that one is needed. None in a bounded time if they are hard.
    pub(crate) fn find_more(&mut self, assignment: &Assignment) {
        self.found.drain(..self.next);
        self.next = 0;
        let give_up = Instant::now() + LONGEST_FIND;
        // Beginning to search costs an extended channel a merkle path each time, a standard one little.
        let wanted = if self.rollable > 0 { 1 } else { AT_ONCE };
        search(self, assignment, wanted, || Instant::now() >= give_up);
    }

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
fn variations(assignment: &Assignment, rollable: u8) -> u64 {
    match rollable {
        0 if assignment.version_rolling_allowed() => 1 << VERSION_ROLLING_MASK.count_ones(),
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
            let mut stock = Stock::empty(&task.assignment, task.rollable);
            search(&mut stock, &task.assignment, count, stop);
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
    tasks
        .iter()
        .zip(stocks)
        .map(|(task, stock)| stock.unwrap_or_else(|| Stock::empty(&task.assignment, task.rollable)))
        .collect()
}

/// Finds shares until there are `count` more, all headers were tried, or `stop` says so.
fn search(stock: &mut Stock, assignment: &Assignment, count: usize, stop: impl Fn() -> bool) {
    let (target, network) = (assignment.target(), assignment.tip().network_target());
    let expected = u32::try_from(target.expected_hashes()).unwrap_or(u32::MAX);
    let rolls_extranonce = stock.rollable > 0;
    // The more shares a try gives, the fewer looks at the clock a share costs.
    let at_once = (expected / 4).clamp(if rolls_extranonce { 1 } else { 64 }, LONGEST_TRY);
    let enough = stock.found.len() + count;
    stock.found.reserve_exact(count);
    while let Some((variation, first)) = stock.cursor {
        let (root, version) = if rolls_extranonce {
            let extranonce = extranonce(variation, stock.rollable);
            (assignment.merkle_root(&extranonce[..stock.rollable.into()]), stock.version)
        } else {
            (assignment.merkle_root(&[]), rolled(stock.version, variation))
        };
        let mut header = HeaderSearch::new(&assignment.header(version, &root, stock.ntime, 0), target);
        let mut nonce = Some(first);
        while let Some(first) = nonce {
            if stock.found.len() >= enough || stop() {
                stock.cursor = Some((variation, first));
                return;
            }
            let before = stock.found.len();
            let tried = header.run(first, at_once, |nonce, hash| {
                if !network.is_met_by(&hash) && stock.found.len() < enough {
                    stock.found.push(Found { nonce, variation });
                }
            });
            if rolls_extranonce && stock.found.len() > before {
                stock.found.truncate(before + 1);
                break;
            }
            nonce = first.checked_add(tried).filter(|_| tried > 0);
        }
        let next = variation.checked_add(1);
        let is_there = |next: &u32| u64::from(*next) < variations(assignment, stock.rollable);
        stock.cursor = next.filter(is_there).map(|next| (next, 0));
    }
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
        let mut stock = Stock::empty(&task.assignment, task.rollable);
        search(&mut stock, &task.assignment, 1000, never);
        assert_eq!((stock.left(), stock.cursor), (256, None));
    }

    #[test]
    fn shares_found_when_needed_are_different_too() {
        for kind in [Kind::Standard, Kind::Extended { rollable: 8 }] {
            let task = task(kind, Target::for_expected_hashes(16));
            let mut stock = Stock::empty(&task.assignment, task.rollable);
            let mut headers = HashSet::new();
            for _ in 0..200 {
                if stock.left() == 0 {
                    stock.find_more(&task.assignment);
                }
                let share = stock.take().unwrap();
                let root = task.assignment.merkle_root(share.extranonce());
                let header = task.assignment.header(share.version, &root, share.ntime, share.nonce);
                assert!(task.assignment.target().is_met_by(&job::header_hash(&header)));
                assert!(headers.insert(header));
            }
            assert!(stock.found.len() <= AT_ONCE);
        }
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
