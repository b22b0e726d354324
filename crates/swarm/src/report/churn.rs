//! What [`churn`](fn@crate::churn) found out.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use super::{Bytes, Client, SetUp, per_second, troubles, us};
use crate::run::Tally;

/// What [`churn`](fn@crate::churn) found out.
#[derive(Clone, Debug, Serialize)]
pub struct ChurnReport {
    /// Always `churn`.
    pub mode: &'static str,
    /// The connections that stayed.
    pub client: Client,
    /// Connections that came and went, at any time.
    pub transient: usize,
    /// How many of these were begun in a second.
    pub reconnects: u64,
    /// Shares a second that those that stayed were to send.
    pub rate: u64,
    /// How those that stayed connected.
    pub set_up: SetUp,
    /// How long it went on.
    pub elapsed_ms: u64,
    /// Why it ended: time, interrupted or server-gone.
    pub ended: &'static str,
    /// Connections that came and had work on all their channels.
    pub set_ups: u64,
    /// Time that one took: half of them took no longer.
    pub set_up_p50_us: Option<u64>,
    /// … and 99 of 100.
    pub set_up_p99_us: Option<u64>,
    /// Connections that left, by how they left.
    pub left: BTreeMap<String, u64>,
    /// What became of the shares.
    pub shares: Shares,
    /// flat, growing, too-short, server-gone or not-observed.
    pub verdict: &'static str,
    /// What flat means.
    pub rule: &'static str,
    /// The pool's process, if it was observed.
    pub server: Option<Watched>,
    /// The load generator's own memory at the end.
    pub client_resident_bytes: Option<u64>,
    /// All troubles together.
    pub errors: u64,
    /// What went wrong, and how often.
    pub troubles: BTreeMap<String, u64>,
}

/// Shares at a steady rate.
#[derive(Clone, Debug, Serialize)]
pub struct Shares {
    /// Shares sent.
    pub submitted: u64,
    /// Shares accepted, as the pool counts them.
    pub accepted: u64,
    /// Shares covered by an acknowledgement's sequence number.
    pub acknowledged: u64,
    /// Shares refused. A new block makes some stale.
    pub rejected: u64,
    /// … by the pool's code.
    pub rejected_by_code: BTreeMap<String, u64>,
    /// Shares without an answer at the end, those of connections that left with shares under way included.
    pub unanswered: u64,
    /// Turns in which no share could leave.
    pub held_back: u64,
    /// Shares acknowledged in a second.
    pub acknowledged_per_second: u64,
    /// From the submission to the acknowledgement: half of the shares waited no longer.
    pub ack_p50_us: Option<u64>,
    /// … and 99 of 100.
    pub ack_p99_us: Option<u64>,
    /// … and all.
    pub ack_max_us: Option<u64>,
}

impl Shares {
    pub(crate) fn new(tally: &Tally, elapsed: Duration) -> Self {
        Self {
            submitted: tally.submitted,
            accepted: tally.accepted,
            acknowledged: tally.acknowledged,
            rejected: tally.rejected.total(),
            rejected_by_code: tally.rejected.by_reason(),
            unanswered: tally.outstanding + tally.abandoned,
            held_back: tally.held_back,
            acknowledged_per_second: per_second(tally.acknowledged, elapsed),
            ack_p50_us: tally.latency.percentile(50),
            ack_p99_us: tally.latency.percentile(99),
            ack_max_us: tally.latency.max(),
        }
    }
}

/// A process over time.
#[derive(Clone, Debug, Serialize)]
pub struct Watched {
    /// The process.
    pub pid: u32,
    /// Processor time that it used while connections came and went.
    pub cpu_us: u64,
    /// Its resident memory.
    pub resident_bytes: Trend,
    /// Its open descriptors.
    pub descriptors: Trend,
    /// All looks at it.
    pub samples: Vec<Sample>,
}

/// One look at a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Since the beginning.
    pub at_ms: u64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

/// A number over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trend {
    /// Before the first connection.
    pub before: Option<u64>,
    /// When the first came and went.
    pub first: u64,
    /// When the last did.
    pub last: u64,
    /// Least of all samples.
    pub min: u64,
    /// Greatest of all samples.
    pub max: u64,
    /// Mean of the second quarter of the samples, when all is warm.
    pub second_quarter_mean: u64,
    /// Mean of the last quarter.
    pub last_quarter_mean: u64,
    /// How much greater that may be and count as flat.
    pub allowance: u64,
    /// Whether it is no greater; none: too few samples.
    pub flat: Option<bool>,
    /// When all connections had been closed.
    pub after: Option<u64>,
}

/// Samples without which quarters say nothing.
const FEWEST_SAMPLES: usize = 16;

impl Trend {
    pub(crate) const RULE: &'static str = "flat: the mean of the last quarter of the samples exceeds that of the second by \
         no more than 1/50 of it, or 1 MiB of memory or 16 descriptors where that is more";

    pub(crate) fn new(values: &[u64], before: Option<u64>, after: Option<u64>, floor: u64) -> Self {
        let quarter = values.len() / 4;
        let second = mean(&values[quarter..2 * quarter]);
        let last = mean(&values[values.len() - quarter..]);
        let allowance = (second / 50).max(floor);
        let enough = values.len() >= FEWEST_SAMPLES;
        Self {
            before,
            first: values.first().copied().unwrap_or(0),
            last: values.last().copied().unwrap_or(0),
            min: values.iter().min().copied().unwrap_or(0),
            max: values.iter().max().copied().unwrap_or(0),
            second_quarter_mean: second,
            last_quarter_mean: last,
            allowance,
            flat: enough.then_some(last <= second + allowance),
            after,
        }
    }
}

fn mean(values: &[u64]) -> u64 {
    values.iter().sum::<u64>().checked_div(values.len() as u64).unwrap_or(0)
}

impl ChurnReport {
    pub(crate) fn verdict(watched: Option<&Watched>, gone: bool) -> &'static str {
        let flat = |watched: &Watched| Some(watched.resident_bytes.flat? && watched.descriptors.flat?);
        match watched.map(flat) {
            _ if gone => "server-gone",
            None => "not-observed",
            Some(None) => "too-short",
            Some(Some(true)) => "flat",
            Some(Some(false)) => "growing",
        }
    }
}

impl Display for Shares {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} sent, {} accepted, ", self.submitted, self.accepted)?;
        write!(f, "{} rejected, {} unanswered: ", self.rejected, self.unanswered)?;
        write!(f, "{}/s", self.acknowledged_per_second)?;
        if let (Some(p50), Some(p99), Some(max)) = (self.ack_p50_us, self.ack_p99_us, self.ack_max_us) {
            write!(f, "; answered p50 {}, p99 {}, max {}", us(p50), us(p99), us(max))?;
        }
        Ok(())
    }
}

fn trend(f: &mut Formatter<'_>, trend: &Trend, show: fn(u64) -> String) -> fmt::Result {
    let Trend { first, last, min, max, second_quarter_mean: second, last_quarter_mean: end, .. } = *trend;
    let maybe = |value: Option<u64>| value.map_or("-".to_owned(), show);
    write!(f, "{} before, then {} to {} ", maybe(trend.before), show(first), show(last))?;
    write!(f, "(least {}, most {}), {} after; ", show(min), show(max), maybe(trend.after))?;
    write!(f, "second quarter {}, last quarter {}", show(second), show(end))
}

impl Display for ChurnReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "churn        {}", self.client)?;
        writeln!(f, "  stay       {}", self.set_up)?;
        write!(f, "  come, go   {} at a time, {} a second: ", self.transient, self.reconnects)?;
        write!(f, "{} set up in {}", self.set_ups, us(self.elapsed_ms * 1000))?;
        if let (Some(p50), Some(p99)) = (self.set_up_p50_us, self.set_up_p99_us) {
            write!(f, "; each p50 {}, p99 {}", us(p50), us(p99))?;
        }
        writeln!(f, "; ended: {}", self.ended)?;
        let left: Vec<String> = self.left.iter().map(|(how, count)| format!("{count} {how}")).collect();
        writeln!(f, "  left       {}", left.join(", "))?;
        write!(f, "  shares     {}", self.shares)?;
        for (code, count) in &self.shares.rejected_by_code {
            write!(f, "\n  rejected   {count} × {code}")?;
        }
        if let Some(server) = &self.server {
            write!(f, "\n  memory     ")?;
            trend(f, &server.resident_bytes, |bytes| Bytes(bytes).to_string())?;
            write!(f, "\n  descript.  ")?;
            trend(f, &server.descriptors, |count| count.to_string())?;
            write!(f, "\n  server     used {} of processor time", us(server.cpu_us))?;
        }
        write!(f, "\n  verdict    {} ({})", self.verdict, self.rule)?;
        troubles(f, &self.troubles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_is_flat_by_its_quarters() {
        let rising = |step: u64| (0..16).map(|n| 1000 + n * step).collect::<Vec<_>>();
        for (values, floor, expected) in [
            (rising(0), 0, Some(true)),
            // From 1055 to 1145 is more than 1/50 …
            (rising(10), 0, Some(false)),
            // … but no more than what is nothing.
            (rising(10), 90, Some(true)),
            // What grows while it warms up is forgiven.
            ([vec![1; 4], vec![1000; 12]].concat(), 0, Some(true)),
            (vec![5; 15], 0, None),
            (vec![], 0, None),
        ] {
            assert_eq!(Trend::new(&values, None, None, floor).flat, expected, "{values:?}");
        }
        let trend = Trend::new(&[3, 1, 2], Some(9), None, 0);
        assert_eq!((trend.first, trend.last, trend.min, trend.max), (3, 2, 1, 3));
    }
}
