//! What a device is told: its pools, its name, its channel, its limits.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use engine::client::Trust;
use sv2::noise::AuthorityKey;
use sv2::{Endpoint, EndpointError};
use work::HashRate;

/// Most pools a device may be given.
const MAX_POOLS: usize = 16;
/// Most search threads of a device.
const MAX_THREADS: usize = 1024;
/// STR0_255 (LIM-04).
const MAX_TEXT: usize = 255;

/// Where a pool listens, and by which key it is recognised.
#[derive(Clone, PartialEq, Eq)]
pub struct PoolAddress {
    /// Host name or IP address (IPv6 without brackets).
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The authority key, or the explicit decision to do without (NS-20).
    pub trust: Trust,
}

impl PoolAddress {
    /// A pool that has to prove that it holds a certificate of `authority`.
    pub fn verified(host: impl Into<String>, port: u16, authority: AuthorityKey) -> Self {
        PoolAddress { host: host.into(), port, trust: Trust::Authority(authority) }
    }

    /// A pool that may be anybody: encrypted, not authenticated. Fit for tests and closed networks.
    pub fn unverified(host: impl Into<String>, port: u16) -> Self {
        PoolAddress { host: host.into(), port, trust: Trust::AnyServer }
    }

    /// `host:port`, with brackets around IPv6 addresses.
    pub fn host_port(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl TryFrom<Endpoint> for PoolAddress {
    type Error = PoolAddressError;

    /// A key is needed: doing without one is a decision for [`PoolAddress::unverified`] (NS-20).
    fn try_from(endpoint: Endpoint) -> Result<Self, Self::Error> {
        let authority = endpoint.authority.ok_or(PoolAddressError::NoAuthorityKey)?;
        Ok(PoolAddress::verified(endpoint.host, endpoint.port, authority))
    }
}

impl FromStr for PoolAddress {
    type Err = PoolAddressError;

    /// Reads `stratum2+tcp://host:port/<authority key>` (NS-24).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<Endpoint>()?.try_into()
    }
}

impl fmt::Display for PoolAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = match &self.trust {
            Trust::Authority(key) | Trust::AuthorityAtAnyTime(key) => Some(*key),
            Trust::AnyServer => None,
        };
        Endpoint { host: self.host.clone(), port: self.port, authority }.fmt(f)
    }
}

impl fmt::Debug for PoolAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a pool's URL cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolAddressError {
    /// It is not of the form that Stratum V2 prescribes.
    #[error("pool: {0}")]
    Url(#[from] EndpointError),
    /// Nothing says how to recognise the pool.
    #[error("pool: the URL has no authority key; append /<authority key> as the pool publishes it")]
    NoAuthorityKey,
}

/// Which kind of channel the device opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    /// Header-only mining: the merkle root is the server's (MD-01, MD-03).
    Standard,
    /// The device rolls an extranonce of its own.
    Extended,
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChannelKind::Standard => "standard",
            ChannelKind::Extended => "extended",
        })
    }
}

impl FromStr for ChannelKind {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "standard" => Ok(ChannelKind::Standard),
            "extended" => Ok(ChannelKind::Extended),
            other => Err(ConfigError::ChannelKind(other.to_owned())),
        }
    }
}

/// How long the device waits, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// For the TCP connection.
    pub connect: Duration,
    /// For the Noise handshake.
    pub handshake: Duration,
    /// For each answer to SetupConnection and Open…MiningChannel.
    pub reply: Duration,
    /// For the answer to RequestExtensions (EX-15).
    pub extensions: Duration,
    /// For the first job after the channel was opened.
    pub first_job: Duration,
    /// For one write to leave.
    pub write: Duration,
    /// How long acknowledgements of pending shares are awaited when the server asks to reconnect (RC-10).
    pub drain: Duration,
    /// First delay before the same pool is tried again; doubles with each failure.
    pub retry_first: Duration,
    /// Longest such delay.
    pub retry_most: Duration,
    /// A pool that kept the device mining this long counts as healthy again.
    pub healthy_after: Duration,
    /// While mining at a fallback pool, the first one is tried again after this.
    pub return_after: Duration,
    /// Between two looks at the hash rate, for the statistics and UpdateChannel.
    pub tick: Duration,
    /// Least time between two UpdateChannel (LIM-23).
    pub update_channel: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            reply: Duration::from_secs(10),
            extensions: Duration::from_secs(1),
            first_job: Duration::from_secs(60),
            write: Duration::from_secs(10),
            drain: Duration::from_secs(1),
            retry_first: Duration::from_millis(500),
            retry_most: Duration::from_secs(60),
            healthy_after: Duration::from_secs(30),
            return_after: Duration::from_secs(300),
            tick: Duration::from_secs(1),
            update_channel: Duration::from_secs(60),
        }
    }
}

/// All that a device needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceConfig {
    /// Pools in order of preference.
    pub pools: Vec<PoolAddress>,
    /// The channel's user name, for Assay pools `<payout key>[.worker]`; opaque to the device.
    pub user_identity: String,
    /// The kind of channel.
    pub channel: ChannelKind,
    /// Search threads.
    pub threads: usize,
    /// Hash rate that the pool is told first; measured for a tenth of a second if not given.
    pub nominal_hash_rate: Option<HashRate>,
    /// The device as a whole does not hash faster than this.
    pub max_hash_rate: Option<HashRate>,
    /// Ask for standard jobs only (FL-01). Without it, jobs for the channel's group are mined too.
    pub requires_standard_jobs: bool,
    /// Ask for jobs that all permit version rolling (FL-03).
    pub requires_version_rolling: bool,
    /// Ask for extension 0x0002 and name the worker in each extended share; off by default, as it tells
    /// the pool more (WH-12).
    pub worker_tlv: bool,
    /// Least extranonce length asked for on extended channels, in bytes.
    pub min_extranonce_size: u16,
    /// SetupConnection.vendor; never empty (CM-03).
    pub vendor: String,
    /// SetupConnection.hardware_version (CM-04).
    pub hardware_version: String,
    /// SetupConnection.firmware.
    pub firmware: String,
    /// SetupConnection.device_id; empty unless the operator wants to be told apart (CM-05).
    pub device_id: String,
    /// Time-outs and delays.
    pub timing: Timing,
}

impl DeviceConfig {
    /// A device with a standard channel on all cores.
    pub fn new(pools: Vec<PoolAddress>, user_identity: impl Into<String>) -> Self {
        DeviceConfig {
            pools,
            user_identity: user_identity.into(),
            channel: ChannelKind::Standard,
            threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            nominal_hash_rate: None,
            max_hash_rate: None,
            requires_standard_jobs: false,
            requires_version_rolling: false,
            worker_tlv: false,
            min_extranonce_size: 4,
            vendor: "Assay".to_owned(),
            hardware_version: format!("CPU {}", std::env::consts::ARCH),
            firmware: concat!("assay-device ", env!("CARGO_PKG_VERSION")).to_owned(),
            device_id: String::new(),
            timing: Timing::default(),
        }
    }

    /// Checks what no type can.
    ///
    /// # Errors
    /// The first field that cannot work, with the remedy.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.pools.is_empty() || self.pools.len() > MAX_POOLS {
            return Err(ConfigError::Pools(self.pools.len()));
        }
        if self.threads == 0 || self.threads > MAX_THREADS {
            return Err(ConfigError::Threads(self.threads));
        }
        if self.requires_standard_jobs && self.channel == ChannelKind::Extended {
            return Err(ConfigError::StandardJobsOnExtended);
        }
        if self.min_extranonce_size > 32 {
            return Err(ConfigError::ExtranonceSize(self.min_extranonce_size));
        }
        if self.max_hash_rate.is_some_and(|limit| limit.get() == 0) {
            return Err(ConfigError::NoHashRate);
        }
        if self.vendor.is_empty() {
            return Err(ConfigError::Vendor);
        }
        let texts = [
            ("user_identity", &self.user_identity),
            ("vendor", &self.vendor),
            ("hardware_version", &self.hardware_version),
            ("firmware", &self.firmware),
            ("device_id", &self.device_id),
        ];
        match texts.into_iter().find(|(_, text)| text.len() > MAX_TEXT) {
            Some((field, text)) => Err(ConfigError::TooLong { field, length: text.len() }),
            None => Ok(()),
        }
    }
}

/// Why a device was not started.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No pool, or too many.
    #[error("pools: {0} given; name at least one and at most {MAX_POOLS}")]
    Pools(usize),
    /// Not a number of threads that makes sense.
    #[error("threads: {0} is not between 1 and {MAX_THREADS}")]
    Threads(usize),
    /// An extended channel has no standard jobs.
    #[error("requires_standard_jobs: an extended channel cannot be mined with standard jobs; choose one")]
    StandardJobsOnExtended,
    /// Extranonces have at most 32 bytes.
    #[error("min_extranonce_size: {0} bytes; the protocol has room for at most 32")]
    ExtranonceSize(u16),
    /// A limit of zero.
    #[error("max_hash_rate: 0 would never find anything; leave it out to mine without a limit")]
    NoHashRate,
    /// An empty vendor.
    #[error("vendor: must name who made the device (CM-03)")]
    Vendor,
    /// A text that does not fit its field.
    #[error("{field}: {length} bytes; the protocol has room for {MAX_TEXT}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// Not a kind of channel.
    #[error("channel: {0:?} is neither \"standard\" nor \"extended\"")]
    ChannelKind(String),
    /// The system refused a thread.
    #[error("threads: the system could not start one: {0}")]
    Spawn(#[from] std::io::Error),
}

#[cfg(test)]
mod tests;
