//! Wiring: a ledger, a pool on it and the pages about both, started and stopped in the right order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use engine::EngineConfig;
use ledger::{Ledger, LedgerHandle, Params};
use node::{Node, Stop};
use pool::{Parts, Pool, PoolConfig};
use sv2::noise::{AuthoritySecret, Identity, Validity};

use crate::config::{MintSection, RedemptionPlan};
use crate::http::{HttpServer, Sources};
use crate::mint_service::{Host, MintServer, Redemption};
use crate::retirement::Retirement;
use crate::rewards::Rewards;

/// A pool with its ledger and its pages.
pub struct RunningPool {
    pub pool: Pool,
    pub http: HttpServer,
    pub mint: Option<MintServer>,
    pub rewards: Option<Rewards>,
    retirement: Option<Retirement>,
    pub ledger: LedgerHandle,
    books: Ledger,
}

/// What [`RunningPool::start`] needs.
pub struct PoolPlan<'a> {
    pub node: Arc<dyn Node>,
    pub ledger_path: &'a Path,
    pub epochs: Params,
    pub pool: PoolConfig,
    pub engine: EngineConfig,
    pub http_listen: SocketAddr,
    pub mint: Option<MintPlan<'a>>,
    /// The data directory, where epochs are redeemed, in this process or beside it: then they end in time.
    pub ends_epochs: Option<&'a Path>,
    pub stop: Stop,
}

/// What the mint needs.
pub struct MintPlan<'a> {
    pub section: &'a MintSection,
    /// Where its files are.
    pub data_dir: &'a Path,
    /// The wallet that the pool's rewards go to, if epochs are redeemed here.
    pub redemption: Option<(Rewards, RedemptionPlan)>,
}

impl RunningPool {
    pub fn start(plan: PoolPlan<'_>) -> Result<Self> {
        let path = plan.ledger_path;
        let (books, ledger) = Ledger::open(path, plan.epochs)
            .with_context(|| format!("the ledger {} cannot be opened", path.display()))?;
        let parts = Parts { node: Arc::clone(&plan.node), ledger: ledger.clone(), stop: plan.stop };
        let listen: Vec<String> = plan.engine.listen.iter().map(ToString::to_string).collect();
        let pool = Pool::start(plan.pool, plan.engine, parts)
            .with_context(|| format!("the pool cannot be started (pool.listen is {})", listen.join(", ")))?;
        let sources = Sources {
            node: plan.node,
            ledger: ledger.clone(),
            pool: pool.stats(),
            connections: pool.connections(),
        };
        let http = HttpServer::start(plan.http_listen, sources)?;
        let (mut mint, mut rewards) = (None, None);
        if let Some(MintPlan { section, data_dir, redemption }) = plan.mint {
            let from = redemption.as_ref().map(|(rewards, plan)| Redemption::new(rewards, plan));
            let started = MintServer::start(Host::Pool, section, data_dir, path, from);
            mint = Some(started.context("the mint cannot be started")?);
            rewards = redemption.map(|(rewards, _)| rewards);
        }
        let retirement =
            plan.ends_epochs.map(|data_dir| Retirement::start(data_dir, ledger.clone())).transpose()?;
        Ok(Self { pool, http, mint, rewards, retirement, ledger, books })
    }

    /// Whether all threads live. One that died has said why in the log.
    pub fn is_healthy(&self) -> bool {
        self.pool.is_healthy() && self.books.is_running()
    }

    /// Devices first, then the books: nothing that was accepted is lost.
    pub fn stop(self) -> Result<()> {
        drop((self.http, self.mint));
        self.pool.stop();
        if let Some(retirement) = self.retirement {
            retirement.stop();
        }
        if let Some(rewards) = self.rewards {
            rewards.stop();
        }
        self.books.close().context("the ledger was not closed in good order")
    }
}

/// The server's side of the Noise handshake: a fresh static key, certified by the authority; the certificate renews
/// itself.
pub fn identity(authority: AuthoritySecret, validity: Validity) -> Arc<Identity> {
    let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Arc::new(Identity::new(authority, validity, unix_now, &mut rand::rngs::OsRng))
}
