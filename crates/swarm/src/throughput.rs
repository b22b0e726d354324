//! Valid shares, as fast as the pool answers or at a rate.

use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use device::ChannelKind;
use work::Target;

use crate::crowd::Crowd;
use crate::plan::{Fleet, ThroughputPlan};
use crate::report::{Client, Observed, SetUp, ThroughputReport, each, millis, per_second};
use crate::run::{Ended, RunOrder, Tally};
use crate::stock::{Stock, Task, prepare};
use crate::{Stopped, SwarmError};

/// How often shares are prepared again because a new block came meanwhile.
const ATTEMPTS: usize = 3;
/// How long this machine's hash rate is measured.
const MEASURE: Duration = Duration::from_millis(100);
/// What a share of an extended channel takes besides its hashes: a coinbase and a merkle path.
const ROOT_NANOS: u128 = 6_000;

/// Opens all channels, finds shares for them, submits these and measures what becomes of them.
///
/// The run ends after its time, when the shares are used up, when a new block makes them worthless, or when the pool
/// does not answer any more; then it waits two seconds for the last answers.
///
/// # Errors
/// When the plan does not work, no connection comes to be, or shares are too hard to be prepared.
pub fn throughput(
    fleet: &Fleet,
    plan: &ThroughputPlan,
    stopped: Stopped<'_>,
) -> Result<ThroughputReport, SwarmError> {
    plan.check(fleet)?;
    Observed::begin(fleet.server_pid)?;
    let crowd = Crowd::start(fleet, true)?;
    let set_up = crowd.connect(fleet.channels, stopped)?;
    let prepared = stock_up(&crowd, plan, stopped)?;
    let window = plan.window_of(set_up.channels);

    let observed = Observed::begin(fleet.server_pid)?;
    let started = Instant::now();
    let threads = fleet.threads as u64;
    let order = RunOrder {
        started,
        until: started + plan.run,
        window,
        millirate: plan.rate.map(|rate| rate.saturating_mul(1000) / threads),
        endless: false,
        turnover: None,
    };
    crowd.order(|_| crate::worker::Order::Run(order.clone()))?;
    let tally = wait_for_run(&crowd, stopped)?;
    let answered = tally.acknowledged + tally.rejected.total();
    let server = observed.map(|observed| observed.end(answered)).transpose()?;

    let elapsed = tally.last_answer.map_or(Duration::ZERO, |last| last.saturating_duration_since(started));
    let unanswered = tally.outstanding + tally.abandoned;
    Ok(ThroughputReport {
        mode: "throughput",
        client: Client::new(fleet),
        window,
        rate: plan.rate,
        hashes_per_share: u64::try_from(prepared.hashes).unwrap_or(u64::MAX),
        prepared: prepared.shares,
        prepare_ms: millis(prepared.took),
        ended: name(tally.ended),
        submitted: tally.submitted,
        accepted: tally.accepted,
        acknowledged: tally.acknowledged,
        rejected: tally.rejected.total(),
        rejected_by_code: tally.rejected.by_reason(),
        unanswered,
        on_superseded_job: tally.superseded,
        cut_by_new_tip: tally.cut,
        held_back: tally.held_back,
        elapsed_ms: millis(elapsed),
        shares_per_second: per_second(answered, elapsed),
        ack_p50_us: tally.latency.percentile(50),
        ack_p99_us: tally.latency.percentile(99),
        ack_max_us: tally.latency.max(),
        client_cpu_ns_per_share: each(tally.cpu, tally.submitted),
        shares_per_write_percent: tally.submitted.saturating_mul(100) / tally.writes.max(1),
        server,
        troubles: crowd.troubles(),
        notes: notes(&tally, &prepared, plan, &set_up, elapsed, fleet.threads),
        set_up,
    })
}

pub(crate) fn name(ended: Option<Ended>) -> &'static str {
    match ended {
        Some(Ended::Time) => "time",
        Some(Ended::SharesUsedUp) | None => "shares-used-up",
        Some(Ended::TipChanged) => "tip-changed",
        Some(Ended::Stalled) => "stalled",
        Some(Ended::Interrupted) => "interrupted",
    }
}

pub(crate) struct PreparedShares {
    shares: u64,
    wanted: u64,
    /// Of one share.
    hashes: u128,
    took: Duration,
}

/// Finds shares and hands them to their channels.
pub(crate) fn stock_up(
    crowd: &Crowd,
    plan: &ThroughputPlan,
    stopped: Stopped<'_>,
) -> Result<PreparedShares, SwarmError> {
    for _ in 0..ATTEMPTS {
        let begun = Instant::now();
        let tasks = tasks(crowd)?;
        let Some(hardest) = tasks.iter().map(|task| task.assignment.target()).min() else {
            return Err(SwarmError::NoWork(crowd.troubles()));
        };
        let count = shares_per_channel(crowd, plan, tasks.len(), hardest)?;
        let stocks = prepare(&tasks, count, plan.prepare_threads, begun + 2 * plan.prepare, stopped);
        if stopped() {
            return Err(SwarmError::Interrupted);
        }
        if !same_tip(&tasks, &self::tasks(crowd)?) {
            continue;
        }
        let shares = stocks.iter().map(Stock::left).sum();
        hand_out(crowd, &tasks, stocks)?;
        let (wanted, hashes) = (plan.wanted_shares(), hardest.expected_hashes());
        return Ok(PreparedShares { shares, wanted, hashes, took: begun.elapsed() });
    }
    Err(SwarmError::RestlessTip)
}

fn tasks(crowd: &Crowd) -> Result<Vec<Task>, SwarmError> {
    let (sender, answers) = unbounded();
    crowd.order(|_| crate::worker::Order::Tasks(sender.clone()))?;
    Ok(answers.try_iter().flatten().collect())
}

fn same_tip(before: &[Task], now: &[Task]) -> bool {
    let tip = before.first().map(|task| task.assignment.tip().prev_hash());
    now.iter().all(|task| Some(task.assignment.tip().prev_hash()) == tip)
}

fn hand_out(crowd: &Crowd, tasks: &[Task], stocks: Vec<Stock>) -> Result<(), SwarmError> {
    let mut by_worker: Vec<Vec<(usize, usize, Stock)>> =
        (0..crowd.fleet.threads).map(|_| Vec::new()).collect();
    for (task, stock) in tasks.iter().zip(stocks) {
        by_worker[task.worker].push((task.connection, task.channel, stock));
    }
    crowd.order(|worker| crate::worker::Order::Load(std::mem::take(&mut by_worker[worker])))
}

/// As many as are wanted, or as this machine can find in the time.
fn shares_per_channel(
    crowd: &Crowd,
    plan: &ThroughputPlan,
    channels: usize,
    target: Target,
) -> Result<usize, SwarmError> {
    let threads = std::num::NonZeroUsize::new(plan.prepare_threads).unwrap_or(std::num::NonZeroUsize::MIN);
    let rate = u128::from(device::kernel::measure(threads, MEASURE).get().max(1));
    let hashes = target.expected_hashes();
    let root = match crowd.fleet.kind {
        ChannelKind::Standard => 0,
        ChannelKind::Extended => ROOT_NANOS / threads.get() as u128,
    };
    let nanos_per_share = (hashes.saturating_mul(1_000_000_000) / rate).saturating_add(root).max(1);
    let possible = plan.prepare.as_nanos() / nanos_per_share / channels.max(1) as u128;
    let wanted = plan.wanted_shares().div_ceil(channels.max(1) as u64);
    match usize::try_from(possible.min(wanted.into())) {
        Ok(0) => Err(SwarmError::HardShares { hashes, channels, seconds: plan.prepare.as_secs() }),
        Ok(count) => Ok(count),
        Err(_) => Ok(usize::MAX),
    }
}

/// Waits until all workers are through. An impatient owner ends the sending, not the measurement.
pub(crate) fn wait_for_run(crowd: &Crowd, stopped: Stopped<'_>) -> Result<Tally, SwarmError> {
    let all = crowd.fleet.threads;
    let through = |books: &mut crate::board::Books| books.tallies.len() >= all;
    match crowd.until(stopped, through) {
        Err(SwarmError::Interrupted) => {
            crowd.order(|_| crate::worker::Order::EndRun)?;
            crowd.until(&|| false, through)?;
        }
        other => other?,
    }
    let mut sum = Tally::default();
    crowd.board.books().tallies.iter().for_each(|tally| sum.merge(tally));
    Ok(sum)
}

fn notes(
    tally: &Tally,
    prepared: &PreparedShares,
    plan: &ThroughputPlan,
    set_up: &SetUp,
    elapsed: Duration,
    threads: usize,
) -> Vec<String> {
    let mut notes = Vec::new();
    if prepared.shares < prepared.wanted {
        notes.push(format!(
            "{} of {} shares were prepared; raise --prepare-seconds, or lower the pool's minimum difficulty",
            prepared.shares, prepared.wanted
        ));
    }
    if tally.ended == Some(Ended::Stalled) || tally.outstanding > 0 {
        notes.push(
            "the pool left shares without an answer; if it acknowledges in batches (SRI: share_batch_size), \
             give a --window of at least two batches"
                .to_owned(),
        );
    }
    if tally.superseded > 0 {
        notes.push(format!(
            "{} shares were for a job that the pool had replaced since they were prepared, which may cost it more; \
             prepare fewer --shares to start sooner",
            tally.superseded
        ));
    }
    if tally.accepted != tally.acknowledged {
        notes.push(
            "the pool's count of accepted shares differs from what its sequence numbers cover".to_owned(),
        );
    }
    if plan.rate.is_some() && tally.held_back * 100 > tally.submitted {
        notes.push(
            "more than 1 % of the turns found a full window or socket: the rate was not reached".to_owned(),
        );
    }
    let busy = tally.cpu.as_nanos() * 100 / (elapsed.as_nanos() * threads as u128).max(1);
    if busy >= 90 {
        notes.push(format!(
            "the load generator was {busy} % busy and may be the bottleneck; give more --threads"
        ));
    }
    if set_up.failed > 0 {
        notes.push(format!("{} connections took no part, as their set-up failed", set_up.failed));
    }
    notes
}
