//! Counters of the pool: plain integers while a shard works, atomics that others read, Prometheus text on request.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use work::Ehash;

/// Shared counters of a pool process. Shards add to them once a turn, not once a share.
#[derive(Clone)]
pub struct PoolStats {
    inner: Arc<Inner>,
}

struct Inner {
    shares_accepted: IntCounter,
    shares_rejected: IntCounterVec,
    ehash_credited: IntCounter,
    work_hashes: IntCounter,
    channels_open: IntGauge,
    channels_refused: IntCounterVec,
    channels_closed: IntCounterVec,
    requests_refused: IntCounter,
    share_memory: IntGauge,
    jobs_sent: IntCounter,
    blocks_found: IntCounter,
    blocks: IntCounterVec,
    ledger_retries: IntCounter,
    /// Unix seconds of the newest template, 0 before the first.
    template_time: AtomicU64,
    height: AtomicI64,
    last_block: Mutex<Option<BlockReport>>,
    /// Why the chain cannot be followed at the moment.
    chain_error: Mutex<Option<String>>,
    /// What is wrong with this machine's clock.
    clock_error: Mutex<Option<String>>,
    /// Something happened that only a new start can mend.
    failed: AtomicBool,
}

/// What became of a block that the pool found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BlockReport {
    /// Height of the block.
    pub height: u32,
    /// Block hash in the order that explorers show.
    pub hash: String,
    /// What the node said: `accepted`, `duplicate`, `inconclusive`, `rejected: …`, `failed: …`.
    pub outcome: String,
}

/// A readable copy of the counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PoolTotals {
    /// Shares accepted since start, acknowledged or about to be.
    pub shares_accepted: u64,
    /// Shares refused since start.
    pub shares_rejected: u64,
    /// eHash of the accepted shares.
    pub ehash_credited: u64,
    /// Expected hashes behind the accepted shares.
    pub work_hashes: u64,
    /// Channels open now.
    pub channels: u64,
    /// Headers that met the network target.
    pub blocks_found: u64,
    /// Blocks that the node accepted.
    pub blocks_accepted: u64,
    /// Height of the block that is being worked on.
    pub working_height: u32,
    /// Unix seconds of the newest template; 0 before the first.
    pub template_time: u64,
    /// The newest block found.
    pub last_block: Option<BlockReport>,
    /// Why blocks cannot be followed on the chain at the moment; `None` if they can.
    pub chain_error: Option<String>,
    /// What is wrong with this machine's clock; `None` if it agrees with the node's.
    pub clock_error: Option<String>,
}

/// Why a channel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By its client.
    Client,
    /// With its connection.
    Connection,
    /// The node is down for so long that there is no work worth doing.
    NoWork,
    /// The ledger has taken no credits for too long.
    NoLedger,
    /// It sent more shares than it may, or than can be remembered.
    ShareFlood,
    /// Too many of its shares had to be refused.
    InvalidShareFlood,
}

impl Ending {
    /// The reason in CloseChannel (EC-45) where the pool ends the channel, and the metric's label.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Connection => "connection",
            Self::NoWork => "no-work",
            Self::NoLedger => "ledger-unavailable",
            Self::ShareFlood => "share-flood",
            Self::InvalidShareFlood => "invalid-share-flood",
        }
    }
}

/// Every code that a share may be refused with.
const SHARE_CODES: [&str; 12] = [
    "invalid-share",
    "difficulty-too-low",
    "duplicate-share",
    "stale-share",
    "invalid-job-id",
    "invalid-channel-id",
    "bad-extranonce-size",
    "version-rolling-not-allowed",
    "invalid-non-rollable-version-bit",
    "too-many-worker-keys",
    "ledger-unavailable",
    "other",
];

/// What one shard counted in one turn.
#[derive(Default)]
pub(crate) struct TurnCounts {
    pub accepted: u64,
    pub ehash: u64,
    pub jobs_sent: u64,
    any_rejected: bool,
    rejected: [u64; SHARE_CODES.len()],
}

impl TurnCounts {
    /// Counts a refused share.
    pub(crate) fn reject(&mut self, code: &str) {
        let index = SHARE_CODES.iter().position(|known| *known == code);
        debug_assert!(index.is_some(), "{code} is not in the list of codes");
        self.rejected[index.unwrap_or(SHARE_CODES.len() - 1)] += 1;
        self.any_rejected = true;
    }

    /// `block_hashes` is the expected work of a block, which turns eHash into hashes.
    pub(crate) fn flush_into(&mut self, stats: &PoolStats, block_hashes: u128) {
        if self.accepted > 0 {
            stats.inner.shares_accepted.inc_by(self.accepted);
            stats.inner.ehash_credited.inc_by(self.ehash);
            let hashes = u128::from(self.ehash).saturating_mul(block_hashes) >> Ehash::ONE_BLOCK_LOG2;
            stats.inner.work_hashes.inc_by(u64::try_from(hashes).unwrap_or(u64::MAX));
        }
        if self.jobs_sent > 0 {
            stats.inner.jobs_sent.inc_by(self.jobs_sent);
        }
        if self.any_rejected {
            for (code, count) in SHARE_CODES.iter().zip(self.rejected).filter(|(_, count)| *count > 0) {
                stats.inner.shares_rejected.with_label_values(&[*code]).inc_by(count);
            }
        }
        *self = Self::default();
    }
}

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::with_opts(Opts::new(name, help)).expect("the metric's name is a valid literal")
}

fn counters(name: &str, help: &str, label: &str) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), &[label]).expect("the metric's name is a valid literal")
}

impl Default for PoolStats {
    fn default() -> Self {
        Self::new()
    }
}

impl PoolStats {
    /// Counters at zero.
    pub fn new() -> Self {
        let channels_open = IntGauge::new("assay_channels_open", "Mining channels open now");
        let share_memory =
            IntGauge::new("assay_share_memory_bytes", "What shares left behind, of limits.share_memory_mib");
        Self {
            inner: Arc::new(Inner {
                shares_accepted: counter("assay_shares_accepted_total", "Shares accepted"),
                shares_rejected: counters(
                    "assay_shares_rejected_total",
                    "Shares refused, by error code",
                    "code",
                ),
                ehash_credited: counter(
                    "assay_ehash_credited_total",
                    "eHash credited; 2^50 is an expected block",
                ),
                work_hashes: counter("assay_work_hashes_total", "Expected hashes behind the accepted shares"),
                channels_open: channels_open.expect("the metric's name is a valid literal"),
                channels_refused: counters(
                    "assay_channels_refused_total",
                    "Channel opens refused, by code",
                    "code",
                ),
                channels_closed: counters(
                    "assay_channels_closed_total",
                    "Channels that ended, by reason",
                    "reason",
                ),
                requests_refused: counter(
                    "assay_requests_refused_total",
                    "Requests that came faster than a connection may ask",
                ),
                share_memory: share_memory.expect("the metric's name is a valid literal"),
                jobs_sent: counter("assay_jobs_sent_total", "Job messages sent"),
                blocks_found: counter("assay_blocks_found_total", "Headers that met the network target"),
                blocks: counters("assay_blocks_total", "Blocks submitted, by what the node said", "outcome"),
                ledger_retries: counter(
                    "assay_ledger_retries_total",
                    "Credit batches that had to be tried again",
                ),
                template_time: AtomicU64::new(0),
                height: AtomicI64::new(0),
                last_block: Mutex::new(None),
                chain_error: Mutex::new(None),
                clock_error: Mutex::new(None),
                failed: AtomicBool::new(false),
            }),
        }
    }

    /// Registers all metrics with `registry`.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.clone()))
    }

    /// The counters now.
    pub fn totals(&self) -> PoolTotals {
        let inner = &self.inner;
        PoolTotals {
            shares_accepted: inner.shares_accepted.get(),
            shares_rejected: sum(&inner.shares_rejected),
            ehash_credited: inner.ehash_credited.get(),
            work_hashes: inner.work_hashes.get(),
            channels: u64::try_from(inner.channels_open.get()).unwrap_or(0),
            blocks_found: inner.blocks_found.get(),
            blocks_accepted: inner.blocks.with_label_values(&["accepted"]).get(),
            working_height: u32::try_from(inner.height.load(Ordering::Relaxed)).unwrap_or(0),
            template_time: inner.template_time.load(Ordering::Relaxed),
            last_block: inner.last_block.lock().ok().and_then(|block| block.clone()),
            chain_error: inner.chain_error.lock().ok().and_then(|error| error.clone()),
            clock_error: inner.clock_error.lock().ok().and_then(|error| error.clone()),
        }
    }

    /// Channels open in the whole process.
    pub(crate) fn open_channels(&self) -> usize {
        usize::try_from(self.inner.channels_open.get()).unwrap_or(0)
    }

    /// Returns whether this is news.
    pub(crate) fn set_chain_error(&self, error: Option<String>) -> bool {
        set(&self.inner.chain_error, error)
    }

    /// Returns whether this is news.
    pub(crate) fn set_clock_error(&self, error: Option<String>) -> bool {
        set(&self.inner.clock_error, error)
    }

    /// The process cannot go on; see [`crate::Pool::is_healthy`].
    pub(crate) fn fail(&self) {
        self.inner.failed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.inner.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn channel_refused(&self, code: &str) {
        self.inner.channels_refused.with_label_values(&[code]).inc();
    }

    pub(crate) fn channel_opened(&self) {
        self.inner.channels_open.inc();
    }

    pub(crate) fn channels_closed(&self, channels: usize, ending: Ending) {
        if channels > 0 {
            self.inner.channels_open.sub(i64::try_from(channels).unwrap_or(i64::MAX));
            let count = u64::try_from(channels).unwrap_or(u64::MAX);
            self.inner.channels_closed.with_label_values(&[ending.code()]).inc_by(count);
        }
    }

    pub(crate) fn share_memory(&self, bytes: usize) {
        self.inner.share_memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Requests over a connection's rate.
    pub(crate) fn request_refused(&self) {
        self.inner.requests_refused.inc();
    }

    pub(crate) fn ledger_retried(&self) {
        self.inner.ledger_retries.inc();
    }

    pub(crate) fn block_found(&self) {
        self.inner.blocks_found.inc();
    }

    /// `outcome` is the metric's label, `report.outcome` the sentence for people.
    pub(crate) fn block_submitted(&self, outcome: &str, report: BlockReport) {
        self.inner.blocks.with_label_values(&[outcome]).inc();
        if let Ok(mut last) = self.inner.last_block.lock() {
            *last = Some(report);
        }
    }

    pub(crate) fn template(&self, unix_now: u64, height: u32) {
        self.inner.template_time.store(unix_now, Ordering::Relaxed);
        self.inner.height.store(i64::from(height), Ordering::Relaxed);
    }
}

/// Returns whether this is news.
fn set(place: &Mutex<Option<String>>, text: Option<String>) -> bool {
    let Ok(mut current) = place.lock() else { return false };
    let news = *current != text;
    *current = text;
    news
}

fn sum(counters: &IntCounterVec) -> u64 {
    counters
        .collect()
        .iter()
        .flat_map(|family| family.get_metric())
        .map(|metric| {
            // Prometheus keeps counters as floats in its exchange form; shares stay far below 2^53.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let value = metric.get_counter().get_value() as u64;
            value
        })
        .sum()
}

impl Collector for PoolStats {
    fn desc(&self) -> Vec<&Desc> {
        self.collectors().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.collectors().into_iter().flat_map(Collector::collect).collect()
    }
}

impl PoolStats {
    fn collectors(&self) -> [&dyn Collector; 13] {
        let inner = &*self.inner;
        [
            &inner.shares_accepted,
            &inner.shares_rejected,
            &inner.ehash_credited,
            &inner.work_hashes,
            &inner.channels_open,
            &inner.channels_refused,
            &inner.channels_closed,
            &inner.requests_refused,
            &inner.share_memory,
            &inner.jobs_sent,
            &inner.blocks_found,
            &inner.blocks,
            &inner.ledger_retries,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_and_metrics_tell_the_same() {
        let stats = PoolStats::new();
        let mut counts = TurnCounts { accepted: 3, ehash: Ehash::ONE_BLOCK.get(), ..TurnCounts::default() };
        counts.reject("stale-share");
        counts.reject("duplicate-share");
        counts.flush_into(&stats, 99);
        counts.flush_into(&stats, 99);
        assert_eq!(stats.totals().work_hashes, 99);
        stats.channel_opened();
        let totals = stats.totals();
        assert_eq!((totals.shares_accepted, totals.shares_rejected, totals.channels), (3, 2, 1));
        let registry = Registry::new();
        stats.register(&registry).unwrap();
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(text.contains("assay_shares_accepted_total 3"), "{text}");
        assert!(text.contains("assay_shares_rejected_total{code=\"stale-share\"} 1"), "{text}");
    }
}
