//! `assay mint`: a pool's mint in a process of its own, over the pool's ledger. The pool goes on while it is down, and credit
//! gathers; it goes on while the pool is down, and what was credited is claimed and redeemed.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ledger::{Reader, StoreError};

use crate::config::{Arguments, PoolFile, Resolved};
use crate::mint_service::{Host, MintServer, Redemption};
use crate::rewards::Rewards;
use crate::shutdown::Shutdown;
use crate::{bitcoin_node, logging, output};

/// How often the ledger of a pool that has not run yet is looked for, and the mint's threads are.
const LOOK: Duration = Duration::from_secs(1);

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let resolved = PoolFile::load(&arguments.config)?.resolve()?;
    let section = resolved.file.mint.as_ref();
    let in_pool = section.context("the configuration has no [mint]; add it, with in_pool = false")?.in_pool;
    ensure!(
        !in_pool,
        "mint.in_pool is true: `assay pool` runs this mint itself; set it to false to run it here"
    );
    logging::start(resolved.file.log_format, logging::OF_SERVERS);
    if arguments.check {
        return bitcoin_node::check(&resolved);
    }
    serve(&resolved)?;
    Ok(ExitCode::SUCCESS)
}

fn serve(resolved: &Resolved) -> Result<()> {
    let data_dir = &resolved.file.data_dir;
    resolved.make_data_dir()?;
    let shutdown = Shutdown::install(None)?;
    let rewards = rewards(resolved, data_dir)?;
    if !wait_for_ledger(&resolved.ledger_path, &shutdown)? {
        rewards.into_iter().for_each(Rewards::stop);
        return Ok(());
    }
    let section = resolved.file.mint.as_ref().expect("there is a [mint]");
    let redemption = rewards.as_ref().zip(resolved.redemption.as_ref());
    let redemption = redemption.map(|(rewards, plan)| Redemption::new(rewards, plan));
    let mint = MintServer::start(Host::Itself, section, data_dir, &resolved.ledger_path, redemption)
        .context("the mint cannot be started")?;
    output::line(format_args!("ready: mint={}", mint.local_addr()));
    let is_healthy = || mint.is_running() && rewards.as_ref().is_none_or(Rewards::is_running);
    let mut healthy = true;
    while healthy && !shutdown.wait(LOOK) {
        healthy = is_healthy();
    }
    tracing::info!("stopping");
    drop(mint);
    rewards.into_iter().for_each(Rewards::stop);
    ensure!(healthy, "a thread of the mint died; the log says why. Nothing is lost: start it again");
    Ok(())
}

/// The wallet that redemptions are paid from, unless the operator keeps the rewards.
fn rewards(resolved: &Resolved, data_dir: &Path) -> Result<Option<Rewards>> {
    let Some(plan) = &resolved.redemption else { return Ok(None) };
    let rewards = Rewards::of_mint(plan, data_dir, bitcoin_node::connect(resolved)?)?;
    rewards.publish_script(data_dir)?;
    Ok(Some(rewards))
}

/// False when it was told to stop before there was one.
fn wait_for_ledger(path: &Path, shutdown: &Shutdown) -> Result<bool> {
    let mut told = false;
    loop {
        match Reader::open(path) {
            Ok(_) => return Ok(true),
            Err(error @ (StoreError::Missing { .. } | StoreError::Older { .. })) => {
                if !told {
                    tracing::info!(%error, "waiting for the pool, which makes the ledger");
                }
                told = true;
            }
            Err(error) => {
                return Err(error).with_context(|| format!("the ledger {} cannot be read", path.display()));
            }
        }
        if shutdown.wait(LOOK) {
            return Ok(false);
        }
    }
}
