//! `assay pool`: a pool on top of a Bitcoin node.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bitcoin::ScriptBuf;
use engine::EngineConfig;
use node::Node;
use sv2::noise::Validity;

use crate::config::{Arguments, PoolFile, RedemptionPlan, Resolved};
use crate::output;
use crate::rewards::{self, Rewards};
use crate::roles::{MintPlan, PoolPlan, RunningPool, identity};
use crate::shutdown::Shutdown;
use crate::{bitcoin_node, keys, logging};

/// How often the pool's threads are looked at. One that died ends the process, so that a supervisor starts it anew.
const HEALTH_CHECK: Duration = Duration::from_secs(2);

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let resolved = PoolFile::load(&arguments.config)?.resolve()?;
    logging::start(resolved.file.log_format, logging::OF_SERVERS);
    if arguments.check {
        return bitcoin_node::check(&resolved);
    }
    serve(resolved)?;
    Ok(ExitCode::SUCCESS)
}

fn serve(resolved: Resolved) -> Result<()> {
    let data_dir = &resolved.file.data_dir;
    resolved.make_data_dir()?;
    let authority = keys::authority_of_pool(data_dir, &resolved.ledger_path)?;
    let authority_key = authority.public();
    let validity = Validity {
        lifetime_secs: u32::try_from(resolved.certificate_validity.as_secs()).unwrap_or(u32::MAX),
        ..Validity::default()
    };
    let node = bitcoin_node::connect(&resolved)?;
    let shutdown = Shutdown::install(None)?;
    let mut engine = EngineConfig::new(resolved.file.pool.listen, identity(authority, validity));
    engine.shards = resolved.shards;
    engine.limits = resolved.limits.clone();
    let (payout_script, redemption) = rewards(&resolved, data_dir, &node)?;
    let section = resolved.file.mint.as_ref().filter(|section| section.in_pool);
    let mint = section.map(|section| MintPlan { section, data_dir, redemption });
    let running = RunningPool::start(PoolPlan {
        node,
        ledger_path: &resolved.ledger_path,
        epochs: resolved.epochs,
        pool: resolved.pool(payout_script),
        engine,
        http_listen: resolved.file.http.listen,
        mint,
        ends_epochs: resolved.redemption.is_some().then_some(data_dir),
        stop: shutdown.stop(),
    })?;
    let mint = running.mint.as_ref().map(|mint| format!(" mint={}", mint.local_addr())).unwrap_or_default();
    output::line(format_args!(
        "ready: stratum={} http={} authority={authority_key}{mint}",
        running.pool.local_addr(),
        running.http.local_addr()
    ));
    tracing::info!(url = keys::pool_url(running.pool.local_addr(), authority_key), "miners connect here");
    let mut healthy = true;
    while healthy && !shutdown.wait(HEALTH_CHECK) {
        healthy = running.is_healthy();
    }
    tracing::info!("stopping");
    let section = &resolved.file.pool;
    if section.maintenance_host.is_some() || section.maintenance_port.is_some() {
        let host = section.maintenance_host.as_deref().unwrap_or_default();
        running.pool.reconnect(host, section.maintenance_port.unwrap_or(0));
    }
    running.stop()?;
    ensure!(
        healthy,
        "a thread of the pool died; the log says why. Nothing that was acknowledged is lost: start it again"
    );
    Ok(())
}

/// Where the rewards go: to the operator's script, or to the mint's wallet.
fn rewards(
    resolved: &Resolved,
    data_dir: &Path,
    node: &Arc<dyn Node>,
) -> Result<(ScriptBuf, Option<(Rewards, RedemptionPlan)>)> {
    if let Some(script) = &resolved.payout_script {
        return Ok((script.clone(), None));
    }
    let plan = resolved.redemption.clone().context("pool.payout_address is missing")?;
    if resolved.file.mint.as_ref().is_some_and(|section| !section.in_pool) {
        return Ok((rewards::script_of_mint(data_dir)?, None));
    }
    let rewards = Rewards::of_mint(&plan, data_dir, Arc::clone(node))?;
    Ok((rewards.payout_script().into(), Some((rewards, plan))))
}
