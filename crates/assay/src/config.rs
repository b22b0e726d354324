//! The configuration of `assay pool` and `assay mint`: a TOML file, overridden by the environment, checked field by field.
//!
//! What is written (`File`, here) is kept apart from what it means (`pool::PoolConfig`, `ledger::Params`, …):
//! [`PoolFile::resolve`] in `resolve.rs` is the only way from the one to the other.

mod resolve;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use figment::Figment;
use figment::providers::{Env, Format, Toml};
use ledger::Params;
use serde::Deserialize;

pub use resolve::{RedemptionPlan, Resolved};

use crate::logging::LogFormat;

/// Prefix of environment variables that override the file: `ASSAY_POOL__LISTEN` is `listen` of `[pool]`.
const ENVIRONMENT_PREFIX: &str = "ASSAY_";

/// What the commands that run from a configuration file are given.
#[derive(clap::Args)]
pub struct Arguments {
    /// The configuration file; docs/assay.example.toml explains each field.
    #[arg(long, short, value_name = "FILE", env = "ASSAY_CONFIG")]
    pub config: PathBuf,
    /// Check the configuration and the way to the node, then exit.
    #[arg(long)]
    pub check: bool,
}

/// The configuration file as it is written. `docs/assay.example.toml` explains each field.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolFile {
    pub data_dir: PathBuf,
    #[serde(default)]
    pub log_format: LogFormat,
    pub pool: PoolSection,
    #[serde(default)]
    pub epochs: EpochsSection,
    pub node: NodeSection,
    /// Without the section there is no mint; the pool credits all the same.
    pub mint: Option<MintSection>,
    #[serde(default)]
    pub http: HttpSection,
    #[serde(default)]
    pub noise: NoiseSection,
    #[serde(default)]
    pub limits: LimitsSection,
}

/// `[pool]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSection {
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    #[serde(default)]
    pub server_id: u16,
    pub payout_address: Option<String>,
    pub payout_script: Option<String>,
    #[serde(default = "default_tag")]
    pub tag: String,
    #[serde(default = "default_shares_per_minute")]
    pub shares_per_minute: u32,
    #[serde(default = "default_min_share_hashes")]
    pub min_share_hashes: u64,
    pub default_payout_key: Option<String>,
    pub maintenance_host: Option<String>,
    pub maintenance_port: Option<u16>,
    #[serde(default)]
    pub shards: u16,
}

/// `[epochs]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EpochsSection {
    pub q: u8,
    pub window: u16,
    pub fee_ppm: u32,
    pub maturity: u32,
    pub redeem_blocks: u32,
}

/// `[node]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSection {
    pub url: String,
    pub cookie_file: Option<PathBuf>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub network: String,
    #[serde(default = "default_patience_seconds")]
    pub patience_seconds: u64,
    #[serde(default = "default_provisional_work")]
    pub provisional_work: bool,
}

/// A text that is never shown: not in errors, not in debug output.
#[derive(Clone)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    /// Takes what looks like a number or a truth value as text, too: the environment knows no types.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Scalar {
            Text(String),
            Unsigned(u64),
            Signed(i64),
            Truth(bool),
        }
        let scalar = Scalar::deserialize(deserializer)
            .map_err(|_| serde::de::Error::custom("write the secret in quotes"))?;
        Ok(Self(match scalar {
            Scalar::Text(text) => text,
            Scalar::Unsigned(number) => number.to_string(),
            Scalar::Signed(number) => number.to_string(),
            Scalar::Truth(truth) => truth.to_string(),
        }))
    }
}

/// `[mint]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MintSection {
    pub listen: SocketAddr,
    /// False when `assay mint` runs beside the pool.
    pub in_pool: bool,
    pub name: String,
    pub description: String,
    /// PostgreSQL in place of SQLite files.
    pub postgres: Option<Secret>,
    pub fallback_fee_rate: u32,
    pub payout_seconds: u64,
    pub receive_descriptor: Option<String>,
    pub change_descriptor: Option<String>,
}

/// `[http]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSection {
    pub listen: SocketAddr,
}

/// `[noise]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseSection {
    pub certificate_hours: u32,
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    pub connections: usize,
    pub connections_per_address: usize,
    pub connections_per_second: u32,
    pub connection_burst: u32,
    pub buffer_memory_mib: usize,
    pub channels: usize,
    pub channels_per_connection: u16,
    pub shares_per_tip: usize,
    pub share_memory_mib: usize,
    pub shares_over_aim: u32,
    pub share_burst: u32,
    pub invalid_shares_per_minute: u32,
    pub requests_per_minute: u32,
    pub worker_keys: usize,
    pub keys_per_epoch: usize,
    pub ledger_patience_seconds: u64,
    pub setup_seconds: u64,
    pub first_channel_seconds: u64,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 3333))
}

fn default_tag() -> String {
    "assay".to_owned()
}

fn default_shares_per_minute() -> u32 {
    12
}

fn default_min_share_hashes() -> u64 {
    1 << 16
}

fn default_provisional_work() -> bool {
    true
}

fn default_patience_seconds() -> u64 {
    600
}

impl Default for EpochsSection {
    fn default() -> Self {
        let Params { q, window, fee_ppm, maturity, redeem_blocks } = Params::default();
        Self { q, window, fee_ppm, maturity, redeem_blocks }
    }
}

impl Default for MintSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3338)),
            in_pool: true,
            name: "Assay".to_owned(),
            description: "Ecash for the work of this pool's miners".to_owned(),
            postgres: None,
            fallback_fee_rate: 2,
            payout_seconds: 60,
            receive_descriptor: None,
            change_descriptor: None,
        }
    }
}

impl Default for HttpSection {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8330)) }
    }
}

impl Default for NoiseSection {
    fn default() -> Self {
        Self { certificate_hours: 24 }
    }
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            connections: 18_000,
            connections_per_address: 4096,
            connections_per_second: 512,
            connection_burst: 1024,
            buffer_memory_mib: 256,
            channels: 200_000,
            channels_per_connection: 10_000,
            shares_per_tip: 1 << 16,
            share_memory_mib: 512,
            shares_over_aim: 500,
            share_burst: 20_000,
            invalid_shares_per_minute: 600,
            requests_per_minute: 30,
            worker_keys: 4096,
            keys_per_epoch: 1_000_000,
            ledger_patience_seconds: 60,
            setup_seconds: 20,
            first_channel_seconds: 120,
        }
    }
}

/// Whether an environment variable (without its prefix) is meant as a field of the file. Others with the prefix,
/// as `ASSAY_LOG`, belong to somebody else.
fn names_a_field(key: &str) -> bool {
    key.contains("__") || ["data_dir", "log_format"].iter().any(|field| key.eq_ignore_ascii_case(field))
}

impl PoolFile {
    /// Reads `path` and the environment. Unknown fields and wrong types are refused with the field's name.
    pub fn load(path: &Path) -> Result<Self> {
        anyhow::ensure!(
            path.is_file(),
            "no configuration file at {}: write one from docs/assay.example.toml",
            path.display()
        );
        Figment::new()
            .merge(Toml::file_exact(path))
            .merge(Env::prefixed(ENVIRONMENT_PREFIX).filter(|key| names_a_field(key.as_str())).split("__"))
            .extract()
            .with_context(|| format!("the configuration in {} cannot be used", path.display()))
    }

    /// Reads a text as [`PoolFile::load`] reads a file, without the environment.
    pub fn parse(text: &str) -> Result<Self> {
        Figment::new().merge(Toml::string(text)).extract().context("the configuration cannot be used")
    }
}
