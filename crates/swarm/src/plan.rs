//! What a run is told: who connects where, and what for.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use device::{ChannelKind, PoolAddress};

use crate::hostile::Attack;
use crate::process;

/// Descriptors for everything that is not a connection.
const OWN_DESCRIPTORS: u64 = 64;
/// Most addresses in one range.
const MAX_LOCAL_ADDRESSES: u32 = 4096;
/// Most shares that are prepared: 8 bytes each.
const MAX_SHARES: u64 = 100_000_000;
/// Most channels in all: about a kilobyte each with shares, a tenth of it without.
const MAX_CHANNELS: usize = 2_000_000;
/// Most shares of a channel that wait for an answer: 4 bytes each.
const MAX_WINDOW: u32 = 1 << 20;
/// STR0_255.
const MAX_USER: usize = 255;

/// The clients: who connects where, and how fast.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The pool. Its certificate is checked on the first connection only: a client's time goes into load.
    pub pool: PoolAddress,
    /// Connections.
    pub connections: usize,
    /// Channels on each connection.
    pub channels: usize,
    /// Of which kind.
    pub kind: ChannelKind,
    /// Says REQUIRES_STANDARD_JOBS on connections for standard channels, as header-only devices do.
    pub standard_jobs: bool,
    /// Bytes of extranonce that an extended channel asks for.
    pub min_extranonce_size: u16,
    /// The same for all connections; without it each connection has a payout key of its own that nobody can use.
    pub user: Option<String>,
    /// Threads that serve the connections.
    pub threads: usize,
    /// Connections begun in a second, over all threads; none: as fast as the pool answers.
    pub connect_rate: Option<u64>,
    /// Connections whose set-up may be under way, over all threads.
    pub under_way: usize,
    /// For each connection, from its beginning until all its channels have work.
    pub patience: Duration,
    /// Where connections come from, in turn; empty: the system's choice.
    pub local_addresses: Vec<IpAddr>,
    /// The pool's process, if it runs on this machine and is to be observed.
    pub server_pid: Option<u32>,
}

impl Fleet {
    /// One connection with one standard channel.
    pub fn new(pool: PoolAddress) -> Self {
        Self {
            pool,
            connections: 1,
            channels: 1,
            kind: ChannelKind::Standard,
            standard_jobs: true,
            min_extranonce_size: 4,
            user: None,
            threads: 1,
            connect_rate: None,
            under_way: 256,
            patience: Duration::from_secs(30),
            local_addresses: Vec::new(),
            server_pid: None,
        }
    }

    /// Channels in all.
    pub fn all_channels(&self) -> usize {
        self.connections.saturating_mul(self.channels)
    }

    /// Connections of one worker: number i of the fleet belongs to worker i modulo their number.
    pub(crate) fn staying(&self, worker: usize) -> usize {
        (self.connections + self.threads - 1 - worker) / self.threads
    }

    /// Whether this can be done here.
    pub fn check(&self) -> Result<(), PlanError> {
        self.check_beside(0)
    }

    /// … with so many connections besides.
    pub(crate) fn check_beside(&self, further: usize) -> Result<(), PlanError> {
        let range = |flag, value: usize, min: usize, max: usize| {
            let fits = (min..=max).contains(&value);
            if fits {
                Ok(())
            } else {
                Err(PlanError::Range { flag, value: value as u64, min: min as u64, max: max as u64 })
            }
        };
        range("--connections", self.connections, 1, 1_000_000)?;
        range("--channels", self.channels, 0, 65_535)?;
        range("--threads", self.threads, 1, 256)?;
        range("--under-way", self.under_way, 1, 100_000)?;
        range("--min-extranonce-size", self.min_extranonce_size.into(), 0, 32)?;
        if self.connect_rate == Some(0) {
            return Err(PlanError::Range { flag: "--connect-rate", value: 0, min: 1, max: 1_000_000 });
        }
        if self.all_channels() > MAX_CHANNELS {
            return Err(PlanError::Channels { asked: self.all_channels(), max: MAX_CHANNELS });
        }
        if let Some(user) = self.user.as_ref().filter(|user| user.len() > MAX_USER) {
            return Err(PlanError::User(user.len()));
        }
        match process::descriptor_limit() {
            Some(limit) => check_descriptors((self.connections + further) as u64, limit),
            None => Ok(()),
        }
    }
}

/// [`throughput`](fn@crate::throughput): valid shares.
#[derive(Clone, Debug)]
pub struct ThroughputPlan {
    /// The measured run ends after this long, or earlier when the shares are used up.
    pub run: Duration,
    /// Shares to prepare, over all channels; none: what `rate` and `run` need, or two million.
    pub shares: Option<u64>,
    /// How long preparing them may take; then there are fewer.
    pub prepare: Duration,
    /// Threads that prepare them.
    pub prepare_threads: usize,
    /// Shares of one channel that may wait for an answer; none: 16,384 over all channels, and at least 16 each.
    pub window: Option<u32>,
    /// Shares a second, over all channels, each in a write of its own; none: as fast as the pool answers.
    pub rate: Option<u64>,
}

impl Default for ThroughputPlan {
    fn default() -> Self {
        Self {
            run: Duration::from_secs(10),
            shares: None,
            prepare: Duration::from_secs(30),
            prepare_threads: std::thread::available_parallelism().map_or(1, usize::from),
            window: None,
            rate: None,
        }
    }
}

/// Shares that are prepared unless it is said how many.
const SHARES: u64 = 2_000_000;
/// Shares that may wait for an answer, over all channels, unless it is said how many.
const OUTSTANDING: usize = 16_384;
/// … and at least so many of each channel: pools that acknowledge in batches wait for more than a few.
const LEAST_WINDOW: usize = 16;

impl ThroughputPlan {
    /// Shares to prepare.
    pub(crate) fn wanted_shares(&self) -> u64 {
        let wanted = match (self.shares, self.rate) {
            (Some(shares), _) => shares,
            (None, Some(rate)) => {
                let millis = u64::try_from(self.run.as_millis()).unwrap_or(u64::MAX);
                rate.saturating_mul(millis) / 1000 + 1
            }
            (None, None) => SHARES,
        };
        wanted.min(MAX_SHARES)
    }

    /// The window of each of so many channels.
    pub(crate) fn window_of(&self, channels: usize) -> u32 {
        let shared = (OUTSTANDING / channels.max(1)).max(LEAST_WINDOW);
        self.window.unwrap_or(u32::try_from(shared).unwrap_or(MAX_WINDOW))
    }

    /// Whether this can be done.
    pub fn check(&self, fleet: &Fleet) -> Result<(), PlanError> {
        fleet.check()?;
        let range = |flag, value: u64, min: u64, max: u64| {
            let fits = (min..=max).contains(&value);
            if fits { Ok(()) } else { Err(PlanError::Range { flag, value, min, max }) }
        };
        range("--channels", fleet.channels as u64, 1, 65_535)?;
        range("--shares", self.shares.unwrap_or(1), 1, MAX_SHARES)?;
        range("--window", self.window.unwrap_or(1).into(), 1, MAX_WINDOW.into())?;
        range("--rate", self.rate.unwrap_or(1), 1, 10_000_000)?;
        range("--prepare-threads", self.prepare_threads as u64, 1, 256)?;
        range("--seconds", self.run.as_secs(), 1, 86_400)?;
        range("--prepare-seconds", self.prepare.as_secs(), 1, 3600)
    }
}

/// [`idle`](fn@crate::idle): set-up and memory.
#[derive(Clone, Debug)]
pub struct IdlePlan {
    /// How long the connections are held after each set-up.
    pub hold: Duration,
    /// How often all connect; between two times all disconnect.
    pub waves: u32,
    /// How long the server's memory may settle before it is read.
    pub settle: Duration,
}

impl Default for IdlePlan {
    fn default() -> Self {
        Self { hold: Duration::from_secs(10), waves: 1, settle: Duration::from_secs(1) }
    }
}

/// [`fanout`](fn@crate::fanout): new blocks.
#[derive(Clone, Debug)]
pub struct FanoutPlan {
    /// How many new blocks are waited for.
    pub blocks: u32,
    /// How long each is waited for, and then for its last client.
    pub wait: Duration,
    /// A command that makes a block, run by `sh -c`; none: somebody else does.
    pub trigger: Option<String>,
    /// Pause before each trigger.
    pub pause: Duration,
}

impl Default for FanoutPlan {
    fn default() -> Self {
        Self { blocks: 1, wait: Duration::from_secs(60), trigger: None, pause: Duration::from_secs(1) }
    }
}

/// [`churn`](fn@crate::churn): connections that come and go.
#[derive(Clone, Debug)]
pub struct ChurnPlan {
    /// How long.
    pub run: Duration,
    /// Connections that come and go, at any time; the fleet's own stay.
    pub transient: usize,
    /// How many of these are begun in a second. Each lasts until as many have begun after it as there are at a time.
    pub reconnects: u64,
    /// Shares a second, over all channels of the connections that stay.
    pub rate: u64,
    /// How often the pool's process is looked at; none: a 360th part of the run, but no less than a tenth of a second.
    pub sample: Option<Duration>,
}

impl Default for ChurnPlan {
    fn default() -> Self {
        Self { run: Duration::from_secs(60), transient: 100, reconnects: 50, rate: 100, sample: None }
    }
}

/// Looks at a process in one run, unless it is said how often.
const SAMPLES: u32 = 360;

impl ChurnPlan {
    pub(crate) fn period(&self) -> Duration {
        self.sample.unwrap_or(self.run / SAMPLES).max(Duration::from_millis(100))
    }

    /// Whether this can be done.
    pub fn check(&self, fleet: &Fleet) -> Result<(), PlanError> {
        fleet.check_beside(self.transient)?;
        let range = |flag, value: u64, min: u64, max: u64| {
            let fits = (min..=max).contains(&value);
            if fits { Ok(()) } else { Err(PlanError::Range { flag, value, min, max }) }
        };
        range("--channels", fleet.channels as u64, 1, 65_535)?;
        range("--transient", self.transient as u64, fleet.threads as u64, 1_000_000)?;
        range("--reconnects", self.reconnects, 1, 100_000)?;
        range("--rate", self.rate, 0, 1_000_000)?;
        range("--sample", self.period().as_secs(), 0, 3600)?;
        range("--seconds", self.run.as_secs(), 1, 7 * 86_400)
    }
}

/// [`hostile`](fn@crate::hostile): good devices, and others.
#[derive(Clone, Debug)]
pub struct HostilePlan {
    /// What others do.
    pub attacks: Vec<Attack>,
    /// One attack after the other instead of all together.
    pub separately: bool,
    /// How long the good devices are measured during an attack.
    pub run: Duration,
    /// … and before and after.
    pub calm: Duration,
    /// Shares a second, over all good devices.
    pub rate: u64,
    /// Where attackers come from, in turn; empty: on loopback addresses of their own, or the system's choice.
    pub from: Vec<IpAddr>,
    /// The pool may be anywhere.
    pub yes_it_is_mine: bool,
}

impl Default for HostilePlan {
    fn default() -> Self {
        Self {
            attacks: Attack::all(100),
            separately: false,
            run: Duration::from_secs(10),
            calm: Duration::from_secs(10),
            rate: 1000,
            from: Vec::new(),
            yes_it_is_mine: false,
        }
    }
}

impl HostilePlan {
    /// Whether this can be done.
    pub fn check(&self, fleet: &Fleet) -> Result<(), PlanError> {
        let attackers = self.attacks.iter().map(|attack| attack.connections);
        fleet.check_beside(attackers.sum())?;
        let range = |flag, value: u64, min: u64, max: u64| {
            let fits = (min..=max).contains(&value);
            if fits { Ok(()) } else { Err(PlanError::Range { flag, value, min, max }) }
        };
        range("--channels", fleet.channels as u64, 1, 65_535)?;
        range("--rate", self.rate, 1, 1_000_000)?;
        range("--seconds", self.run.as_secs(), 1, 3600)?;
        range("--calm", self.calm.as_secs(), 1, 3600)?;
        range("--attack", self.attacks.len() as u64, 1, 100)
    }
}

/// Why a plan cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A number is out of its range.
    #[error("{flag} is {value}; give {min} to {max}")]
    Range {
        /// Of the command line.
        flag: &'static str,
        /// As given.
        value: u64,
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
    },
    /// More channels than this tool has memory for.
    #[error("--connections times --channels is {asked}; at most {max} channels fit one run, start several")]
    Channels {
        /// As given.
        asked: usize,
        /// That are possible.
        max: usize,
    },
    /// Somebody else's pool, perhaps.
    #[error(
        "the pool at {0} is neither on this machine nor in a private network; attack it with --yes-it-is-mine if it is yours"
    )]
    NotMine(IpAddr),
    /// A user name that does not fit its field.
    #[error("--user has {0} bytes; at most 255 fit the protocol")]
    User(usize),
    /// The process may not open so many sockets.
    #[error(
        "--connections {connections} needs {needed} file descriptors, but this process may open {limit}; \
         raise the limit with `ulimit -n {needed}`, or share the connections among several processes"
    )]
    Descriptors {
        /// As given.
        connections: u64,
        /// For them and everything else.
        needed: u64,
        /// What the system allows.
        limit: u64,
    },
}

fn check_descriptors(connections: u64, limit: u64) -> Result<(), PlanError> {
    let needed = connections.saturating_add(OWN_DESCRIPTORS);
    if needed > limit { Err(PlanError::Descriptors { connections, needed, limit }) } else { Ok(()) }
}

/// Addresses of this machine that connections come from: one, or a range such as `127.0.0.2-127.0.0.9`.
///
/// An address has about 28,000 ports for connections to one server, and servers limit the connections of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAddresses(pub Vec<IpAddr>);

/// A text that names no addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a range of IPv4 addresses such as 127.0.0.2-127.0.0.9")]
pub struct LocalAddressesError(String);

impl FromStr for LocalAddresses {
    type Err = LocalAddressesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || LocalAddressesError(text.to_owned());
        let Some((first, last)) = text.split_once('-') else {
            return Ok(Self(vec![text.trim().parse().map_err(|_| error())?]));
        };
        let first: Ipv4Addr = first.trim().parse().map_err(|_| error())?;
        let last: Ipv4Addr = last.trim().parse().map_err(|_| error())?;
        let (first, last) = (first.to_bits(), last.to_bits());
        if first > last || last - first >= MAX_LOCAL_ADDRESSES {
            return Err(error());
        }
        Ok(Self((first..=last).map(|bits| Ipv4Addr::from_bits(bits).into()).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> Fleet {
        Fleet::new(PoolAddress::unverified("127.0.0.1", 1))
    }

    #[test]
    fn a_plan_that_cannot_work_names_the_flag_and_the_remedy() {
        type Change = fn(&mut Fleet, &mut ThroughputPlan);
        let cases: [(Change, &str); 9] = [
            (|fleet, _| fleet.connections = 0, "--connections is 0; give 1 to"),
            (|fleet, _| fleet.channels = 0, "--channels is 0; give 1 to"),
            (|fleet, _| fleet.threads = 0, "--threads is 0"),
            (|fleet, _| fleet.connect_rate = Some(0), "--connect-rate is 0"),
            (|fleet, _| (fleet.connections, fleet.channels) = (1000, 60_000), "start several"),
            (|fleet, _| fleet.user = Some("x".repeat(256)), "--user has 256 bytes"),
            (|_, plan| plan.window = Some(0), "--window is 0"),
            (|_, plan| plan.rate = Some(0), "--rate is 0"),
            (|_, plan| plan.run = Duration::ZERO, "--seconds is 0"),
        ];
        for (change, expected) in cases {
            let (mut fleet, mut plan) = (fleet(), ThroughputPlan::default());
            change(&mut fleet, &mut plan);
            let error = plan.check(&fleet).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(ThroughputPlan::default().check(&fleet()), Ok(()));
    }

    #[test]
    fn the_limit_of_descriptors_is_explained() {
        assert_eq!(check_descriptors(19_936, 20_000), Ok(()));
        let error = check_descriptors(30_000, 20_000).unwrap_err().to_string();
        assert!(
            error.contains("needs 30064 file descriptors") && error.contains("ulimit -n 30064"),
            "{error}"
        );
    }

    #[test]
    fn windows_and_stocks_follow_from_what_is_left_open() {
        let plan =
            |shares, rate, window| ThroughputPlan { shares, rate, window, ..ThroughputPlan::default() };
        for (plan, wanted) in [
            (plan(None, None, None), SHARES),
            (plan(Some(5), Some(1000), None), 5),
            (plan(None, Some(1000), None), 10_001),
            (plan(Some(u64::MAX), None, None), MAX_SHARES),
        ] {
            assert_eq!(plan.wanted_shares(), wanted);
        }
        for (window, channels, expected) in
            [(None, 1, 16_384), (None, 100, 163), (None, 100_000, 16), (Some(3), 1, 3)]
        {
            assert_eq!(plan(None, None, window).window_of(channels), expected);
        }
    }

    #[test]
    fn local_addresses_are_one_or_a_range() {
        let count = |text: &str| text.parse::<LocalAddresses>().map(|addresses| addresses.0.len());
        for (text, expected) in [
            ("127.0.0.1", Some(1)),
            ("::1", Some(1)),
            ("127.0.0.2-127.0.0.9", Some(8)),
            ("127.0.0.254 - 127.0.1.1", Some(4)),
            ("127.0.0.9-127.0.0.2", None),
            ("127.0.0.0-127.255.0.0", None),
            ("localhost", None),
            ("", None),
        ] {
            assert_eq!(count(text).ok(), expected, "{text}");
        }
    }
}
