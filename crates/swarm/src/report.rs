//! What a run found out, as one JSON object and as text for people. All numbers are integers with their unit in the
//! name.

mod churn;
mod hostile;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::SwarmError;
use crate::board::Books;
use crate::histogram::nearest_rank;
use crate::plan::Fleet;
use crate::process::{self, CpuTime};

pub use churn::{ChurnReport, Sample, Shares, Trend, Watched};
pub use hostile::{Assault, AttackReport, Effect, HostileReport, Phase};

/// The clients of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Client {
    /// Host and port of the pool.
    pub pool: String,
    /// standard or extended.
    pub kind: String,
    /// Connections asked for.
    pub connections: usize,
    /// Channels asked for on each.
    pub channels_per_connection: usize,
    /// Threads of the load generator.
    pub threads: usize,
    /// Processors of this machine.
    pub processors: usize,
    /// The machine's load over 1, 5 and 15 minutes when the run ended.
    pub load_average: Option<String>,
}

impl Client {
    pub(crate) fn new(fleet: &Fleet) -> Self {
        Self {
            pool: fleet.pool.host_port(),
            kind: fleet.kind.to_string(),
            connections: fleet.connections,
            channels_per_connection: fleet.channels,
            threads: fleet.threads,
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            load_average: process::load_average(),
        }
    }
}

/// How connections came to be.
#[derive(Clone, Debug, Serialize)]
pub struct SetUp {
    /// Connections whose channels all had work.
    pub ready: usize,
    /// Their channels.
    pub channels: usize,
    /// Connections that ended before.
    pub failed: u64,
    /// From the first to the last.
    pub elapsed_ms: u64,
    /// Connections set up in a second.
    pub connections_per_second: u64,
    /// Time of one connection: half of them took no longer.
    pub p50_us: u64,
    /// … and 99 of 100.
    pub p99_us: u64,
}

impl SetUp {
    pub(crate) fn new(books: &Books, since: Instant) -> Self {
        let elapsed = books.last_ready.map_or(Duration::ZERO, |last| last.saturating_duration_since(since));
        Self {
            ready: books.ready,
            channels: books.channels,
            failed: books.failed.total(),
            elapsed_ms: millis(elapsed),
            connections_per_second: per_second(books.ready as u64, elapsed),
            p50_us: books.set_up.percentile(50).unwrap_or(0),
            p99_us: books.set_up.percentile(99).unwrap_or(0),
        }
    }
}

/// What the pool's process used.
#[derive(Clone, Debug, Serialize)]
pub struct ServerCost {
    /// The process.
    pub pid: u32,
    /// Processor time, user and system.
    pub cpu_us: u64,
    /// Processor time per share that was answered, or per connection that was set up.
    pub cpu_ns_each: u64,
    /// How long its threads could have run and got no processor, all added up: what others on the machine cost it.
    pub wait_us: u64,
    /// Resident memory at the end.
    pub resident_bytes: u64,
}

/// The pool's process, if it is observed.
pub(crate) struct Observed {
    pid: u32,
    before: CpuTime,
}

impl Observed {
    pub(crate) fn begin(pid: Option<u32>) -> Result<Option<Self>, SwarmError> {
        let observe = |pid| Ok(Self { pid, before: process::cpu_time(pid)? });
        pid.map(observe).transpose()
    }

    /// What was used since the beginning, for so many things.
    pub(crate) fn end(&self, things: u64) -> Result<ServerCost, SwarmError> {
        let now = process::cpu_time(self.pid)?;
        let used = now.since(&self.before);
        Ok(ServerCost {
            pid: self.pid,
            cpu_us: micros(used),
            cpu_ns_each: each(used, things),
            wait_us: micros(now.waited_since(&self.before)),
            resident_bytes: process::resident_bytes(self.pid)?,
        })
    }
}

/// What [`throughput`](fn@crate::throughput) found out.
#[derive(Clone, Debug, Serialize)]
pub struct ThroughputReport {
    /// Always `throughput`.
    pub mode: &'static str,
    /// Who sent.
    pub client: Client,
    /// How they connected.
    pub set_up: SetUp,
    /// Shares of one channel that could wait for an answer.
    pub window: u32,
    /// Shares a second that were to be sent; none: as many as possible.
    pub rate: Option<u64>,
    /// Expected hashes of a share.
    pub hashes_per_share: u64,
    /// Shares found before the run.
    pub prepared: u64,
    /// How long finding them took.
    pub prepare_ms: u64,
    /// Why the run ended: time, shares-used-up, tip-changed, stalled or interrupted.
    pub ended: &'static str,
    /// Shares sent.
    pub submitted: u64,
    /// Shares accepted, as the pool counts them.
    pub accepted: u64,
    /// Shares covered by an acknowledgement's sequence number.
    pub acknowledged: u64,
    /// Shares refused.
    pub rejected: u64,
    /// … by the pool's code. Those of a job that has ended are `stale-share` and `invalid-job-id`.
    pub rejected_by_code: BTreeMap<String, u64>,
    /// Shares without an answer at the end.
    pub unanswered: u64,
    /// Shares of a job that a newer one had taken the place of on the same tip. They count, but a pool may have to do
    /// more for them.
    pub on_superseded_job: u64,
    /// Prepared shares that were never sent, as a new tip ended their job.
    pub cut_by_new_tip: u64,
    /// Turns of a run at a rate in which a share could not leave, as its window or socket was full.
    pub held_back: u64,
    /// From the beginning to the last answer.
    pub elapsed_ms: u64,
    /// Shares answered in a second.
    pub shares_per_second: u64,
    /// From the submission to the acknowledgement: half of the shares waited no longer.
    pub ack_p50_us: Option<u64>,
    /// … and 99 of 100.
    pub ack_p99_us: Option<u64>,
    /// … and all.
    pub ack_max_us: Option<u64>,
    /// Processor time of the load generator per share.
    pub client_cpu_ns_per_share: u64,
    /// Shares that left in one call of `write`, in hundredths.
    pub shares_per_write_percent: u64,
    /// The pool's process, if it was observed; per answered share.
    pub server: Option<ServerCost>,
    /// What went wrong, and how often.
    pub troubles: BTreeMap<String, u64>,
    /// What to know about these figures.
    pub notes: Vec<String>,
}

/// What [`idle`](fn@crate::idle) found out.
#[derive(Clone, Debug, Serialize)]
pub struct IdleReport {
    /// Always `idle`.
    pub mode: &'static str,
    /// Who connected.
    pub client: Client,
    /// The pool's resident memory before.
    pub resident_before_bytes: Option<u64>,
    /// Each set-up of all connections.
    pub waves: Vec<WaveReport>,
    /// What went wrong, and how often.
    pub troubles: BTreeMap<String, u64>,
}

/// One set-up of all connections.
#[derive(Clone, Debug, Serialize)]
pub struct WaveReport {
    /// With one channel each, or none if none were asked for.
    pub set_up: SetUp,
    /// The rest of the channels.
    pub further_channels: Option<SetUp>,
    /// The pool's process during the first set-up; per connection.
    pub server: Option<ServerCost>,
    /// The pool's memory per connection with one channel, above what it was before the first wave. In later waves only
    /// if connections have one channel, since memory that a pool keeps belonged to all of them.
    pub resident_per_connection_bytes: Option<u64>,
    /// … and per further channel, in the first wave.
    pub resident_per_further_channel_bytes: Option<u64>,
    /// How long the connections were held.
    pub held_ms: u64,
    /// Connections that ended meanwhile.
    pub lost: u64,
    /// Messages that came meanwhile.
    pub received: u64,
    /// Connections on which the pool answered afterwards; none: they had no channel to ask on.
    pub answered: Option<usize>,
    /// The load generator's own memory, with all connections open.
    pub client_resident_bytes: Option<u64>,
    /// The pool's processor time meanwhile.
    pub hold_cpu_us: Option<u64>,
    /// The pool's resident memory at the end of the wave, with all connections open.
    pub resident_bytes: Option<u64>,
    /// … and after they were closed, if another wave followed.
    pub resident_closed_bytes: Option<u64>,
}

/// What [`fanout`](fn@crate::fanout) found out.
#[derive(Clone, Debug, Serialize)]
pub struct FanoutReport {
    /// Always `fanout`.
    pub mode: &'static str,
    /// Who listened.
    pub client: Client,
    /// How they connected.
    pub set_up: SetUp,
    /// The blocks, in order.
    pub blocks: Vec<BlockReport>,
    /// What went wrong, and how often.
    pub troubles: BTreeMap<String, u64>,
}

/// One new block.
#[derive(Clone, Debug, Serialize)]
pub struct BlockReport {
    /// Hash, as people write it.
    pub prev_hash: String,
    /// What times count from: `first-client`, `trigger-start` or `trigger-output`.
    pub since: &'static str,
    /// Connections that heard of it for all their channels.
    pub heard: usize,
    /// Connections that were there to hear.
    pub expected: usize,
    /// When the first had.
    pub first_us: u64,
    /// … half of them …
    pub median_us: u64,
    /// … 99 of 100 …
    pub p99_us: u64,
    /// … and the last.
    pub last_us: u64,
    /// From the first to the last, whatever times count from.
    pub spread_us: u64,
    /// How long the trigger ran.
    pub trigger_us: Option<u64>,
    /// The pool's process from the block's beginning to its last client; per connection that heard.
    pub server: Option<ServerCost>,
}

impl BlockReport {
    /// `heard`: microseconds at which connections heard, in any order.
    pub(crate) fn new(
        prev_hash: &[u8; 32],
        since: &'static str,
        mut heard: Vec<u64>,
        expected: usize,
    ) -> Self {
        heard.sort_unstable();
        let (first, last) = (heard.first().copied().unwrap_or(0), heard.last().copied().unwrap_or(0));
        Self {
            prev_hash: prev_hash.iter().rev().map(|byte| format!("{byte:02x}")).collect(),
            since,
            heard: heard.len(),
            expected,
            first_us: first,
            median_us: nearest_rank(&heard, 50).unwrap_or(0),
            p99_us: nearest_rank(&heard, 99).unwrap_or(0),
            last_us: last,
            spread_us: last - first,
            trigger_us: None,
            server: None,
        }
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Nanoseconds per thing.
pub(crate) fn each(time: Duration, things: u64) -> u64 {
    u64::try_from(time.as_nanos() / u128::from(things.max(1))).unwrap_or(u64::MAX)
}

/// Things per second.
pub(crate) fn per_second(things: u64, time: Duration) -> u64 {
    let nanos = time.as_nanos().max(1);
    u64::try_from(u128::from(things) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

// --- Text.

/// `12.34 µs`, `1.20 ms`: nanoseconds as people read them.
struct Nanos(u64);

impl Display for Nanos {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            0..1_000_000 => (1000, "µs"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        write!(f, "{}.{:02} {name}", self.0 / unit, self.0 % unit * 100 / unit)
    }
}

fn us(micros: u64) -> Nanos {
    Nanos(micros.saturating_mul(1000))
}

/// `123 B`, `4.5 KB`, `6.7 MB`.
struct Bytes(u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            0..1000 => return write!(f, "{} B", self.0),
            1000..1_000_000 => (1000, "KB"),
            _ => (1_000_000, "MB"),
        };
        write!(f, "{}.{} {name}", self.0 / unit, self.0 % unit * 10 / unit)
    }
}

impl Display for Client {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { pool, kind, connections, channels_per_connection: channels, threads, processors, .. } =
            self;
        write!(f, "{pool}: {connections} connections × {channels} {kind} channels, ")?;
        write!(f, "{threads} client threads, {processors} processors")?;
        self.load_average.as_ref().map_or(Ok(()), |load| write!(f, ", load {load}"))
    }
}

impl Display for SetUp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ready with {} channels, {} failed, ", self.ready, self.channels, self.failed)?;
        write!(f, "{}/s; each p50 {}, p99 {}", self.connections_per_second, us(self.p50_us), us(self.p99_us))
    }
}

impl Display for ServerCost {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} each ({} in all, ", Nanos(self.cpu_ns_each), us(self.cpu_us))?;
        write!(f, "and {} waiting for a processor), ", us(self.wait_us))?;
        write!(f, "{} resident", Bytes(self.resident_bytes))
    }
}

fn troubles(f: &mut Formatter<'_>, troubles: &BTreeMap<String, u64>) -> fmt::Result {
    troubles.iter().try_for_each(|(trouble, count)| write!(f, "\n  trouble    {count} × {trouble}"))
}

impl Display for ThroughputReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "throughput   {}", self.client)?;
        writeln!(f, "  set-up     {}", self.set_up)?;
        writeln!(
            f,
            "  prepared   {} shares of {} hashes each in {}",
            self.prepared,
            self.hashes_per_share,
            us(self.prepare_ms.saturating_mul(1000))
        )?;
        write!(f, "  shares     {} sent, {} accepted, ", self.submitted, self.accepted)?;
        write!(
            f,
            "{} rejected, {} unanswered in {}",
            self.rejected,
            self.unanswered,
            us(self.elapsed_ms * 1000)
        )?;
        writeln!(f, ": {}/s; ended: {}", self.shares_per_second, self.ended)?;
        for (code, count) in &self.rejected_by_code {
            writeln!(f, "  rejected   {count} × {code}")?;
        }
        let time = |time: Option<u64>| time.map_or("-".to_owned(), |time| us(time).to_string());
        let (p50, p99, max) = (time(self.ack_p50_us), time(self.ack_p99_us), time(self.ack_max_us));
        writeln!(f, "  answered   p50 {p50}, p99 {p99}, max {max}; window {} a channel", self.window)?;
        let per_write = self.shares_per_write_percent;
        write!(f, "  client     {} a share, ", Nanos(self.client_cpu_ns_per_share))?;
        write!(f, "{}.{:02} shares a write", per_write / 100, per_write % 100)?;
        if let Some(server) = &self.server {
            write!(f, "\n  server     {server}")?;
        }
        troubles(f, &self.troubles)?;
        self.notes.iter().try_for_each(|note| write!(f, "\n  note       {note}"))
    }
}

impl Display for IdleReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "idle         {}", self.client)?;
        if let Some(before) = self.resident_before_bytes {
            write!(f, "\n  before     {} resident", Bytes(before))?;
        }
        for (index, wave) in self.waves.iter().enumerate() {
            write!(f, "\n  wave {:<5} {}", index + 1, wave.set_up)?;
            if let Some(more) = &wave.further_channels {
                write!(f, "\n  channels   {more}")?;
            }
            if let Some(server) = &wave.server {
                write!(f, "\n  server     {server}")?;
            }
            if let Some(bytes) = wave.resident_per_connection_bytes {
                write!(f, "\n  memory     {} per connection with its first channel", Bytes(bytes))?;
            }
            if let Some(bytes) = wave.resident_per_further_channel_bytes {
                write!(f, ", {} per further channel", Bytes(bytes))?;
            }
            write!(f, "\n  held       {}, {} lost, ", us(wave.held_ms * 1000), wave.lost)?;
            write!(f, "{} messages received", wave.received)?;
            if let Some(answered) = wave.answered {
                write!(f, ", then {answered} answered")?;
            }
            if let (Some(cpu), Some(resident)) = (wave.hold_cpu_us, wave.resident_bytes) {
                write!(f, "; server used {}, then {} resident", us(cpu), Bytes(resident))?;
            }
            if let Some(closed) = wave.resident_closed_bytes {
                write!(f, ", {} after all were closed", Bytes(closed))?;
            }
            if let Some(client) = wave.client_resident_bytes {
                write!(f, "\n  client     {} resident", Bytes(client))?;
            }
        }
        troubles(f, &self.troubles)
    }
}

impl Display for FanoutReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "fanout       {}", self.client)?;
        write!(f, "  set-up     {}", self.set_up)?;
        for block in &self.blocks {
            write!(
                f,
                "\n  block      {}… heard by {} of {}",
                &block.prev_hash[..24],
                block.heard,
                block.expected
            )?;
            write!(f, "\n    since {}: first {}, ", block.since, us(block.first_us))?;
            write!(f, "median {}, 99 % {}, ", us(block.median_us), us(block.p99_us))?;
            write!(f, "last {}; first to last {}", us(block.last_us), us(block.spread_us))?;
            if let Some(server) = &block.server {
                write!(f, "\n    server   {server}")?;
            }
        }
        troubles(f, &self.troubles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (nanos, text) in [
            (0, "0.00 µs"),
            (2345, "2.34 µs"),
            (999_999, "999.99 µs"),
            (1_200_000, "1.20 ms"),
            (61_000_000_000, "61.00 s"),
        ] {
            assert_eq!(Nanos(nanos).to_string(), text);
        }
        for (bytes, text) in
            [(999, "999 B"), (1000, "1.0 KB"), (91_500, "91.5 KB"), (1_310_000_000, "1310.0 MB")]
        {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        assert_eq!(per_second(10, Duration::from_millis(500)), 20);
        assert_eq!(each(Duration::from_micros(10), 4), 2500);
        assert_eq!(each(Duration::from_micros(10), 0), 10_000);
    }

    #[test]
    fn a_block_has_a_first_a_median_and_a_last_client() {
        let block = BlockReport::new(&[0xab; 32], "first-client", (0..200).rev().collect(), 201);
        assert_eq!((block.heard, block.expected), (200, 201));
        assert_eq!((block.first_us, block.median_us, block.p99_us, block.last_us), (0, 99, 197, 199));
        assert_eq!(block.spread_us, 199);
        let nobody = BlockReport::new(&[0; 32], "first-client", Vec::new(), 5);
        assert_eq!((nobody.heard, nobody.last_us), (0, 0));
    }
}
