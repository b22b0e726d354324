//! From what is written to what it means: every field is checked here, and an error names it and its remedy.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bitcoin::{Address, FeeRate, Network, ScriptBuf, address::NetworkUnchecked};
use engine::{Limits, Rate};
use ledger::Params;
use node::Chain;
use node::rpc::{RpcAuth, RpcConfig};
use onchain::MAX_FEE_RATE;
use pool::{ChannelLimits, MAX_TAG_LEN, PoolConfig};
use work::{PayoutKey, ServerId};

use super::{MintSection, NodeSection, PoolFile, PoolSection};

/// Easiest share that may be configured: below it, shares are noise.
const MIN_SHARE_HASHES: u64 = 256;

/// Far above what a device is asked for: under a load tool, vardiff must leave the targets alone.
const MAX_SHARES_PER_MINUTE: u32 = 60_000_000;

/// Least [`ChannelLimits::shares_over_aim`] but none.
const LEAST_OVER_AIM: u32 = 10;

/// Longest that payouts may be gathered: a day.
const MAX_PAYOUT_SECONDS: u64 = 86_400;

/// What a new block sends to a channel of a device that cannot process extended jobs, rounded up. A connection may owe its
/// reader one for each of its channels.
const JOB_BYTES: usize = 256;

/// The configuration as typed values, each ready for its crate.
#[derive(Debug)]
pub struct Resolved {
    /// Without the script that the rewards go to, where the mint's wallet has it.
    pool: PoolConfig,
    /// The operator's own script.
    pub payout_script: Option<ScriptBuf>,
    pub redemption: Option<RedemptionPlan>,
    pub epochs: Params,
    pub node: RpcConfig,
    pub ledger_path: PathBuf,
    pub limits: Limits,
    pub shards: u16,
    pub certificate_validity: Duration,
    pub file: PoolFile,
}

/// How the mint redeems, when the rewards go to its wallet.
#[derive(Clone, Debug)]
pub struct RedemptionPlan {
    pub network: Network,
    pub fallback_fee_rate: FeeRate,
    pub gather: Duration,
    /// The operator's own, for receiving and for change; without them the wallet has keys of its own.
    pub descriptors: Option<(String, String)>,
}

impl Resolved {
    /// Makes the directory of all files, if it is not there.
    pub fn make_data_dir(&self) -> Result<()> {
        let data_dir = &self.file.data_dir;
        std::fs::create_dir_all(data_dir)
            .with_context(|| format!("data_dir {} cannot be made", data_dir.display()))
    }

    /// The pool's configuration, with its rewards going to a script.
    pub fn pool(&self, payout_script: ScriptBuf) -> PoolConfig {
        PoolConfig { payout_script, ..self.pool.clone() }
    }
}

impl PoolFile {
    /// Checks every field.
    pub fn resolve(self) -> Result<Resolved> {
        let chain = chain(&self.node.network)?;
        let epochs = Params {
            q: self.epochs.q,
            window: self.epochs.window,
            fee_ppm: self.epochs.fee_ppm,
            maturity: self.epochs.maturity,
            redeem_blocks: self.epochs.redeem_blocks,
        };
        epochs.validate().context("[epochs] cannot be used")?;
        let shards = shards(self.pool.shards);
        let limits = self.engine_limits(shards)?;
        ensure!(
            (1..=24 * 365).contains(&self.noise.certificate_hours),
            "noise.certificate_hours must be between 1 and {}",
            24 * 365
        );
        let payout_script = payout_script(&self.pool, self.mint.is_some(), chain)?;
        let plan = |section| redemption(section, payout_script.is_some(), chain);
        let redemption = self.mint.as_ref().map(plan).transpose()?.flatten();
        Ok(Resolved {
            payout_script,
            redemption,
            pool: pool_config(&self, self.channel_limits()?)?,
            epochs,
            node: rpc_config(&self.node, chain)?,
            ledger_path: self.data_dir.join("ledger.db"),
            limits,
            shards,
            certificate_validity: Duration::from_secs(u64::from(self.noise.certificate_hours) * 3600),
            file: self,
        })
    }

    fn engine_limits(&self, shards: u16) -> Result<Limits> {
        let limits = &self.limits;
        at_least("connections", limits.connections, 1)?;
        at_least("connections_per_address", limits.connections_per_address, 1)?;
        at_least("connections_per_second", limits.connections_per_second, 1)?;
        at_least("connection_burst", limits.connection_burst, 1)?;
        let backlog = Limits::default().backlog.max(usize::from(limits.channels_per_connection) * JOB_BYTES);
        // Each shard has its part, and some of its connections may owe as much as one may.
        let least = (usize::from(shards) * 4 * backlog).div_ceil(1 << 20);
        ensure!(
            limits.buffer_memory_mib >= least,
            "limits.buffer_memory_mib is {}; write {least} or more, or lower limits.channels_per_connection or pool.shards",
            limits.buffer_memory_mib
        );
        Ok(Limits {
            connections: limits.connections,
            connections_per_address: limits.connections_per_address,
            connection_rate: Rate {
                per_second: limits.connections_per_second,
                burst: limits.connection_burst,
            },
            backlog,
            buffers: mebibytes("buffer_memory_mib", limits.buffer_memory_mib)?,
            ..Limits::default()
        })
    }

    fn channel_limits(&self) -> Result<ChannelLimits> {
        let limits = &self.limits;
        at_least("channels_per_connection", limits.channels_per_connection, 1)?;
        at_least("channels", limits.channels, 1)?;
        at_least("shares_per_tip", limits.shares_per_tip, 64)?;
        at_least("share_memory_mib", limits.share_memory_mib, 1)?;
        at_least("share_burst", limits.share_burst, 100)?;
        at_least("invalid_shares_per_minute", limits.invalid_shares_per_minute, 1)?;
        at_least("requests_per_minute", limits.requests_per_minute, 1)?;
        at_least("worker_keys", limits.worker_keys, 1)?;
        at_least("keys_per_epoch", limits.keys_per_epoch, 1000)?;
        at_least("ledger_patience_seconds", limits.ledger_patience_seconds, 1)?;
        at_least("setup_seconds", limits.setup_seconds, 1)?;
        at_least("first_channel_seconds", limits.first_channel_seconds, 1)?;
        ensure!(
            limits.shares_over_aim == 0 || limits.shares_over_aim >= LEAST_OVER_AIM,
            "limits.shares_over_aim is {}: vardiff itself lets the rate swing by more; write {LEAST_OVER_AIM} or more, or 0 \
             for no limit",
            limits.shares_over_aim
        );
        Ok(ChannelLimits {
            channels_per_connection: limits.channels_per_connection,
            channels: limits.channels,
            shares_per_tip: limits.shares_per_tip,
            share_memory: mebibytes("share_memory_mib", limits.share_memory_mib)?,
            shares_over_aim: limits.shares_over_aim,
            share_burst: limits.share_burst,
            invalid_shares_per_minute: limits.invalid_shares_per_minute,
            requests_per_minute: limits.requests_per_minute,
            worker_keys: limits.worker_keys,
            keys_per_epoch: limits.keys_per_epoch,
            ledger_patience: Duration::from_secs(limits.ledger_patience_seconds),
            setup_patience: Duration::from_secs(limits.setup_seconds),
            first_channel_patience: Duration::from_secs(limits.first_channel_seconds),
        })
    }
}

/// Refuses a limit that would lock everybody out.
fn at_least<T: PartialOrd + Display>(field: &str, value: T, least: T) -> Result<()> {
    ensure!(value >= least, "limits.{field} is {value}; write {least} or more");
    Ok(())
}

fn mebibytes(field: &str, value: usize) -> Result<usize> {
    let bytes = value.checked_mul(1 << 20);
    bytes.with_context(|| format!("limits.{field} is {value}, more than can be addressed; write less"))
}

/// One shard a core unless told otherwise.
fn shards(configured: u16) -> u16 {
    match configured {
        0 => std::thread::available_parallelism()
            .map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(u16::MAX)),
        shards => shards,
    }
}

fn chain(network: &str) -> Result<Chain> {
    Ok(match network {
        "bitcoin" | "main" => Chain::Main,
        "testnet4" => Chain::Testnet4,
        "signet" => Chain::Signet,
        "regtest" => Chain::Regtest,
        other => bail!("node.network is \"{other}\"; write bitcoin, testnet4, signet or regtest"),
    })
}

fn pool_config(file: &PoolFile, limits: ChannelLimits) -> Result<PoolConfig> {
    let section = &file.pool;
    ensure!(
        section.tag.len() <= MAX_TAG_LEN,
        "pool.tag has {} bytes; at most {MAX_TAG_LEN} fit the coinbase beside the extranonce",
        section.tag.len()
    );
    ensure!(
        (1..=MAX_SHARES_PER_MINUTE).contains(&section.shares_per_minute),
        "pool.shares_per_minute is {}; write 1 to {MAX_SHARES_PER_MINUTE} (12 is usual)",
        section.shares_per_minute
    );
    ensure!(
        section.min_share_hashes >= MIN_SHARE_HASHES,
        "pool.min_share_hashes is {}; write {MIN_SHARE_HASHES} or more (4294967296 is difficulty 1)",
        section.min_share_hashes
    );
    ensure!(
        section.maintenance_host.as_deref().is_none_or(|host| host.is_ascii() && host.len() <= 255),
        "pool.maintenance_host must be a host name of at most 255 ASCII characters"
    );
    let default_payout_key = section
        .default_payout_key
        .as_deref()
        .map(PayoutKey::from_str)
        .transpose()
        .context("pool.default_payout_key is no payout key; make one with `assay keys payout`")?;
    Ok(PoolConfig {
        server_id: ServerId::new(section.server_id),
        payout_script: ScriptBuf::new(),
        tag: section.tag.as_bytes().to_vec(),
        default_payout_key,
        shares_per_minute: section.shares_per_minute,
        min_share_hashes: section.min_share_hashes,
        block_dir: Some(file.data_dir.join("blocks")),
        node_patience: Duration::from_secs(file.node.patience_seconds),
        limits,
    })
}

/// The script that receives the rewards; none when the mint's wallet does.
fn payout_script(section: &PoolSection, has_mint: bool, chain: Chain) -> Result<Option<ScriptBuf>> {
    let script = match (&section.payout_address, &section.payout_script) {
        (Some(_), Some(_)) => {
            bail!("both pool.payout_address and pool.payout_script are set; remove one of them")
        }
        (None, None) if has_mint => return Ok(None),
        (None, None) => bail!(
            "pool.payout_address is missing; set the address that receives the rewards, or add [mint], whose wallet does then"
        ),
        (Some(text), None) => Address::<NetworkUnchecked>::from_str(text)
            .with_context(|| format!("pool.payout_address \"{text}\" is no Bitcoin address"))?
            .require_network(chain.network())
            .with_context(|| format!("pool.payout_address \"{text}\" is not of the network {chain}"))?
            .script_pubkey(),
        (None, Some(hex)) => ScriptBuf::from_hex(hex)
            .with_context(|| format!("pool.payout_script \"{hex}\" is no script in hex"))?,
    };
    ensure!(!script.is_empty(), "pool.payout_script is empty; set the script that receives the rewards");
    Ok(Some(script))
}

/// How the mint redeems; not at all when the rewards go elsewhere.
fn redemption(section: &MintSection, elsewhere: bool, chain: Chain) -> Result<Option<RedemptionPlan>> {
    let (rate, most) = (section.fallback_fee_rate, MAX_FEE_RATE.to_sat_per_vb_floor());
    ensure!(
        (1..=most).contains(&u64::from(rate)),
        "mint.fallback_fee_rate is {rate}; write 1 to {most} (satoshi per virtual byte)"
    );
    ensure!(
        section.payout_seconds <= MAX_PAYOUT_SECONDS,
        "mint.payout_seconds is {}; write {MAX_PAYOUT_SECONDS} or less",
        section.payout_seconds
    );
    let descriptors = match (&section.receive_descriptor, &section.change_descriptor) {
        (None, None) => None,
        (Some(receive), Some(change)) => Some((receive.clone(), change.clone())),
        _ => bail!("mint.receive_descriptor and mint.change_descriptor belong together; set both, or none"),
    };
    if elsewhere {
        ensure!(
            descriptors.is_none(),
            "mint.receive_descriptor has no use beside pool.payout_address, which receives the rewards; remove one of them"
        );
        return Ok(None);
    }
    Ok(Some(RedemptionPlan {
        network: chain.network(),
        fallback_fee_rate: FeeRate::from_sat_per_vb_u32(rate),
        gather: Duration::from_secs(section.payout_seconds),
        descriptors,
    }))
}

fn rpc_config(section: &NodeSection, chain: Chain) -> Result<RpcConfig> {
    let auth = match (&section.cookie_file, &section.user, &section.password) {
        (Some(path), None, None) => RpcAuth::Cookie(path.clone()),
        (None, Some(user), Some(password)) => {
            RpcAuth::UserPassword { user: user.clone(), password: password.0.clone() }
        }
        (None, None, None) => {
            bail!("[node] has no access: set node.cookie_file, or node.user and node.password")
        }
        _ => bail!("[node] must have either node.cookie_file, or both node.user and node.password"),
    };
    ensure!(
        section.url.starts_with("http://"),
        "node.url must be written as http://host:port (JSON-RPC of the node; access goes into the other fields)"
    );
    let provisional = section.provisional_work;
    Ok(RpcConfig { provisional, ..RpcConfig::new(section.url.clone(), auth, chain) })
}
