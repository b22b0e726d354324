//! The stage: devchain, pool, two devices, and what there is to see of them.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bitcoin::{Amount, FeeRate, Network, ScriptBuf};
use crossbeam_channel::{Receiver, bounded};
use device::{ChannelKind, Device, DeviceConfig, DeviceEvent, DeviceHandle, DeviceStats, PoolAddress};
use engine::EngineConfig;
use ledger::{Epoch, EpochInfo, Params, Summary as Books};
use node::devchain::{Devchain, DevchainConfig, system_clock};
use node::{Node, Stop};
use onchain::Keys;
use pool::{ChannelLimits, PoolConfig, PoolTotals};
use sv2::noise::{AuthoritySecret, Validity};
use work::{Ehash, PayoutKey, ServerId, Target};

use super::story::{Story, Wallets};
use super::summary::Summary;
use crate::config::{MintSection, RedemptionPlan};
use crate::rewards::Rewards;
use crate::roles::{MintPlan, PoolPlan, RunningPool, identity};

/// What a block takes on this machine, about.
const SECONDS_PER_BLOCK: u64 = 4;

/// An epoch is half a block's work, and a block pays the last four.
const EPOCHS: Params = Params { q: 1, window: 4, fee_ppm: 10_000, maturity: 2, redeem_blocks: 0 };

/// Payouts go out at once: nobody waits for others in a play.
const REDEMPTION: RedemptionPlan = RedemptionPlan {
    network: Network::Regtest,
    fallback_fee_rate: FeeRate::from_sat_per_kwu(500),
    gather: Duration::from_millis(100),
    descriptors: None,
};

/// A share a second and device, so that there is something to see.
const SHARES_PER_MINUTE: u32 = 60;

/// Lines of news that are kept.
const NEWS: usize = 64;

/// Events that a device may have waiting.
const EVENT_QUEUE: usize = 1024;

/// A miner of the play.
pub struct Miner {
    pub name: &'static str,
    pub channel: ChannelKind,
    pub key: PayoutKey,
    handle: DeviceHandle,
    events: Receiver<DeviceEvent>,
}

/// Everything that runs.
pub struct Scene {
    pub miners: Vec<Miner>,
    story: Story,
    pub news: VecDeque<String>,
    pub started: Instant,
    /// Expected hashes of a block.
    pub block_hashes: u128,
    chain: Devchain,
    running: RunningPool,
    dir: tempfile::TempDir,
    seen_block: Option<String>,
    seen_epoch: Epoch,
}

/// What a view shows of a miner.
pub struct MinerView {
    pub name: &'static str,
    pub channel: ChannelKind,
    pub stats: DeviceStats,
    /// Durable in the ledger.
    pub credited: Ehash,
}

impl Scene {
    /// Builds everything. Blocks are made as hard as this machine needs [`SECONDS_PER_BLOCK`] for.
    pub fn set_up(stop: &Stop) -> Result<Self> {
        let rate = device::kernel::measure(two_threads(), Duration::from_millis(300));
        let hashes = rate.get().saturating_mul(SECONDS_PER_BLOCK).max(1 << 20);
        let target = Target::for_expected_hashes(u128::from(hashes));
        let bits = bitcoin::Target::from_le_bytes(target.to_le_bytes()).to_compact_lossy();
        let subsidy = Amount::from_sat(312_500_000);
        let config = DevchainConfig { bits, subsidy, maturity: EPOCHS.maturity, ..DevchainConfig::default() };
        let chain = Devchain::new(config, system_clock())?;
        let dir = tempfile::tempdir().context("the demo needs a directory for its ledger")?;
        let node: Arc<dyn Node> = Arc::new(chain.clone());
        let authority = AuthoritySecret::generate(&mut rand::rngs::OsRng);
        let authority_key = authority.public();
        let mut engine =
            EngineConfig::new(([127, 0, 0, 1], 0).into(), identity(authority, Validity::default()));
        engine.shards = 1;
        let wallets = Wallets::make(dir.path())?;
        let (rewards, _) = Rewards::open(dir.path(), Arc::clone(&node), Keys::Kept, EPOCHS.maturity)?;
        let section = MintSection { listen: ([127, 0, 0, 1], 0).into(), ..MintSection::default() };
        let payout_script = ScriptBuf::from(rewards.payout_script());
        let running = RunningPool::start(PoolPlan {
            node,
            ledger_path: &dir.path().join("ledger.db"),
            epochs: EPOCHS,
            pool: PoolConfig {
                server_id: ServerId::new(0),
                payout_script,
                tag: b"assay demo".to_vec(),
                default_payout_key: None,
                shares_per_minute: SHARES_PER_MINUTE,
                min_share_hashes: 1 << 12,
                block_dir: None,
                node_patience: Duration::from_secs(600),
                limits: ChannelLimits::default(),
            },
            engine,
            http_listen: ([127, 0, 0, 1], 0).into(),
            mint: Some(MintPlan {
                section: &section,
                data_dir: dir.path(),
                redemption: Some((rewards, REDEMPTION)),
            }),
            ends_epochs: None,
            stop: stop.clone(),
        })?;
        let address = running.pool.local_addr();
        let pool = PoolAddress::verified(address.ip().to_string(), address.port(), authority_key);
        let miners =
            [("Ada", ChannelKind::Standard, wallets.ada), ("Grace", ChannelKind::Extended, wallets.grace)]
                .into_iter()
                .map(|(name, channel, key)| Miner::start(name, channel, key, pool.clone()))
                .collect::<Result<Vec<_>>>()?;
        let mint = running.mint.as_ref().context("the mint does not run")?.local_addr();
        let story = Story::begin(wallets, mint, running.ledger.clone(), chain.clone())?;
        Ok(Self {
            miners,
            story,
            news: VecDeque::new(),
            started: Instant::now(),
            block_hashes: target.expected_hashes(),
            chain,
            running,
            dir,
            seen_block: None,
            seen_epoch: Epoch::ZERO,
        })
    }

    pub fn books(&self) -> Books {
        self.running.ledger.summary()
    }

    pub fn totals(&self) -> PoolTotals {
        self.running.pool.stats().totals()
    }

    pub fn height(&self) -> u32 {
        self.chain.tip().map_or(0, |tip| tip.height)
    }

    /// The newest epochs, oldest first.
    pub fn epochs(&self, count: u32) -> Vec<EpochInfo> {
        let from = Epoch(self.books().open_epoch.get().saturating_sub(count.saturating_sub(1)));
        self.running.ledger.reader().and_then(|mut reader| reader.epochs(from, count)).unwrap_or_default()
    }

    pub fn miner_views(&self) -> Vec<MinerView> {
        self.miners
            .iter()
            .map(|miner| MinerView {
                name: miner.name,
                channel: miner.channel,
                stats: miner.handle.stats(),
                credited: self.credited(&miner.key),
            })
            .collect()
    }

    fn credited(&self, key: &PayoutKey) -> Ehash {
        let credits = self
            .running
            .ledger
            .reader()
            .and_then(|mut reader| reader.credits_of(key, Epoch::ZERO, u32::MAX))
            .unwrap_or_default();
        credits.into_iter().map(|(_, credit)| credit).sum()
    }

    /// A block on the chain, a closed epoch, eHash of both miners, and what they do with it.
    pub fn has_something_to_show(&self) -> bool {
        self.totals().blocks_accepted > 0
            && self.books().open_epoch > Epoch::ZERO
            && self.miners.iter().all(|miner| !self.credited(&miner.key).is_zero())
            && self.story.is_over()
    }

    /// Gathers what happened since the last call; returns the new lines.
    pub fn catch_up(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for miner in &self.miners {
            for event in miner.events.try_iter() {
                match event {
                    DeviceEvent::SharesAccepted { .. }
                    | DeviceEvent::NewJob { .. }
                    | DeviceEvent::TargetChanged { .. } => {}
                    event => lines.push(format!("{}: {event}", miner.name)),
                }
            }
        }
        if let Some(block) = self.totals().last_block
            && self.seen_block.as_ref() != Some(&block.hash)
        {
            lines.push(format!("pool: block {} {} … {}", block.height, &block.hash[..16], block.outcome));
            self.seen_block = Some(block.hash);
        }
        let open = self.books().open_epoch;
        if open > self.seen_epoch {
            lines.push(format!("ledger: epoch {} is full; epoch {open} collects shares now", open.get() - 1));
            self.seen_epoch = open;
        }
        lines.extend(self.story.news.try_iter());
        self.news.extend(lines.iter().cloned());
        while self.news.len() > NEWS {
            self.news.pop_front();
        }
        lines
    }

    /// Stops everything and audits the books.
    pub fn tear_down(self) -> Result<Summary> {
        let miners: Vec<(&'static str, PayoutKey, DeviceStats)> =
            self.miners.into_iter().map(|miner| (miner.name, miner.key, miner.handle.stop())).collect();
        let stats = self.running.pool.stats();
        let outcome = self.story.end()?;
        let ledger_path = self.dir.path().join("ledger.db");
        self.running.stop()?;
        Summary::audit(&ledger_path, &stats.totals(), &self.chain, &miners, outcome)
    }
}

impl Miner {
    fn start(name: &'static str, channel: ChannelKind, key: PayoutKey, pool: PoolAddress) -> Result<Self> {
        let mut config = DeviceConfig::new(vec![pool], format!("{key}.{name}"));
        config.channel = channel;
        config.threads = 1;
        // A device that speaks of nothing but headers, and one that builds its coinbase: both kinds are seen.
        config.requires_standard_jobs = channel == ChannelKind::Standard;
        let (sender, events) = bounded(EVENT_QUEUE);
        let handle = Device::start(config, sender).with_context(|| format!("miner {name} cannot start"))?;
        Ok(Self { name, channel, key, handle, events })
    }
}

fn two_threads() -> NonZeroUsize {
    NonZeroUsize::new(2).expect("two is not zero")
}
