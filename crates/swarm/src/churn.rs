//! Connections that come and go for a long time: whether the pool's memory and descriptors stay what they are.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::crowd::Crowd;
use crate::plan::{ChurnPlan, Fleet};
use crate::process::{self, ProcessError};
use crate::report::{ChurnReport, Client, Observed, Sample, Shares, Trend, Watched, millis};
use crate::run::{Ended, RunOrder};
use crate::throughput::{name, wait_for_run};
use crate::worker::{Order, TurnoverOrder};
use crate::{Stopped, SwarmError};

/// How long the pool may take to notice that everybody has gone, before it is looked at for the last time.
const SETTLE: Duration = Duration::from_secs(3);
/// Unanswered shares of a channel: more than any pool acknowledges at once.
const WINDOW: u32 = 1024;
/// Growth that is no growth: an allocator's, and that of a table of connections.
const FLOOR_BYTES: u64 = 1 << 20;
const FLOOR_DESCRIPTORS: u64 = 16;

/// Sets up the connections that stay, and then lets others come and go beside them while those that stay submit shares
/// at a rate. Looks at the pool's memory and descriptors once a period.
///
/// # Errors
/// When the plan does not work, no connection comes to be, or the owner stops before all that stay are there.
pub fn churn(fleet: &Fleet, plan: &ChurnPlan, stopped: Stopped<'_>) -> Result<ChurnReport, SwarmError> {
    plan.check(fleet)?;
    let started = Instant::now();
    let look = |pid| look(pid, started);
    let before = fleet.server_pid.map(look).transpose()?;
    let crowd = Crowd::start(fleet, true)?;
    let set_up = crowd.connect(fleet.channels, stopped)?;
    let observed = Observed::begin(fleet.server_pid)?;
    let began = Instant::now();
    crowd.order(|worker| Order::Run(order(fleet, plan, worker, began)))?;
    let watch = RefCell::new(Watch::new(fleet.server_pid, plan.period(), started));
    let tally = wait_for_run(&crowd, &|| watch.borrow_mut().ends() || stopped())?;
    let elapsed = began.elapsed();
    let Watch { samples, gone, .. } = watch.into_inner();
    let cpu_us = observed.and_then(|observed| observed.end(1).ok()).map_or(0, |cost| cost.cpu_us);

    let (troubles, left, ready) = {
        let books = crowd.board.books();
        (books.troubles(), books.left.by_reason(), books.set_up.clone())
    };
    crowd.disconnect()?;
    std::thread::sleep(SETTLE.min(plan.run));
    let after = fleet.server_pid.and_then(|pid| look(pid).ok());
    let watched = fleet.server_pid.map(|pid| {
        let trend = |of: fn(&Sample) -> u64, floor| {
            let values: Vec<u64> = samples.iter().map(of).collect();
            Trend::new(&values, before.as_ref().map(of), after.as_ref().map(of), floor)
        };
        let resident_bytes = trend(|sample| sample.resident_bytes, FLOOR_BYTES);
        let descriptors = trend(|sample| sample.descriptors, FLOOR_DESCRIPTORS);
        Watched { pid, cpu_us, resident_bytes, descriptors, samples }
    });
    Ok(ChurnReport {
        mode: "churn",
        client: Client::new(fleet),
        transient: plan.transient,
        reconnects: plan.reconnects,
        rate: plan.rate,
        set_up,
        elapsed_ms: millis(elapsed),
        ended: if gone { "server-gone" } else { name(tally.ended.or(Some(Ended::Time))) },
        set_ups: ready.count(),
        set_up_p50_us: ready.percentile(50),
        set_up_p99_us: ready.percentile(99),
        left,
        shares: Shares::new(&tally, elapsed),
        verdict: ChurnReport::verdict(watched.as_ref(), gone),
        rule: Trend::RULE,
        server: watched,
        client_resident_bytes: process::resident_bytes(std::process::id()).ok(),
        errors: troubles.values().sum(),
        troubles,
    })
}

fn order(fleet: &Fleet, plan: &ChurnPlan, worker: usize, started: Instant) -> RunOrder {
    let threads = fleet.threads as u64;
    RunOrder {
        started,
        until: started + plan.run,
        window: WINDOW,
        millirate: Some(plan.rate.saturating_mul(1000) / threads),
        endless: true,
        turnover: Some(TurnoverOrder {
            slots: (plan.transient + fleet.threads - 1 - worker) / fleet.threads,
            millirate: plan.reconnects.saturating_mul(1000) / threads,
            channels: fleet.channels,
        }),
    }
}

fn look(pid: u32, since: Instant) -> Result<Sample, ProcessError> {
    Ok(Sample {
        at_ms: millis(since.elapsed()),
        resident_bytes: process::resident_bytes(pid)?,
        descriptors: process::descriptors(pid)?,
    })
}

/// Looks at the pool's process once a period.
struct Watch {
    pid: Option<u32>,
    period: Duration,
    since: Instant,
    next: Instant,
    samples: Vec<Sample>,
    gone: bool,
}

impl Watch {
    fn new(pid: Option<u32>, period: Duration, since: Instant) -> Self {
        Self { pid, period, since, next: Instant::now(), samples: Vec::new(), gone: false }
    }

    /// True once there is no such process any more.
    fn ends(&mut self) -> bool {
        let Some(pid) = self.pid.filter(|_| !self.gone) else { return self.gone };
        if Instant::now() >= self.next {
            self.next += self.period;
            match look(pid, self.since) {
                Ok(sample) => self.samples.push(sample),
                Err(_) => self.gone = true,
            }
        }
        self.gone
    }
}
