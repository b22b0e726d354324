//! Both mints in a PostgreSQL database instead of files, with a server of the test's own.

#[path = "../redemption/pool.rs"]
#[allow(dead_code, reason = "what other tests need")]
mod pool;
#[path = "../rig/mod.rs"]
#[allow(dead_code, reason = "what other tests need")]
mod rig;
mod server;

use cdk::{Amount, Wallet, amount::SplitTarget};
use pool::{EPOCH, Pool, bolt11};
use rig::{Miner, Rig, quote};
use server::Server;
use std::collections::HashMap;
use tokio::task::JoinSet;

/// Quote and claim by a wallet that has its seed alone. What it got is nothing when another was faster.
async fn claim(wallet: Wallet) -> u64 {
    if wallet.restore().await.is_err() {
        return 0;
    }
    let before = u64::from(wallet.total_balance().await.unwrap());
    if let Ok(claim) = quote(&wallet).await {
        let _ = wallet.mint(&claim.id, SplitTarget::default(), None).await;
    }
    u64::from(wallet.total_balance().await.unwrap()) - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_exact_whoever_is_first() {
    let server = Server::start();
    let mut rig = Rig::start_in(server.place()).await;
    // Each quote is asked for, and claimed, by four at a time, none of whom finds it made.
    let miners: Vec<Miner> = (1..=10).map(Miner::new).collect();
    let credits: Vec<_> = miners.iter().map(|miner| (miner.key, 1000)).collect();
    for round in 1..=2 {
        rig.credit(&credits);
        let mut claims = JoinSet::new();
        for miner in miners.iter().flat_map(|miner| [miner; 4]) {
            claims.spawn(claim(miner.wallet(&rig, 0).await));
        }
        let claimed: u64 = claims.join_all().await.iter().sum();
        assert_eq!((claimed, rig.issued(0).await), (10_000, 10_000 * round));
        let keysets = rig.mint.cashu().keysets().keysets.len();
        rig.restart().await;
        assert_eq!(rig.mint.cashu().keysets().keysets.len(), keysets, "an epoch keeps its one keyset");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_and_doubles_nothing() {
    let mut server = Server::start();
    let mut rig = Rig::start_in(server.place()).await;
    let miners: Vec<Miner> = (1..=20).map(Miner::new).collect();
    rig.credit(&miners.iter().map(|miner| (miner.key, 700)).collect::<Vec<_>>());
    let mut claims = JoinSet::new();
    for miner in &miners {
        claims.spawn(claim(miner.wallet(&rig, 0).await));
    }
    // Some are through, and some are in the middle of it.
    let first = claims.join_next().await.unwrap().unwrap();
    assert_eq!(first, 700);
    server.kill();
    claims.join_all().await;
    server.restart();
    rig.restart().await;
    let mut total = 0;
    for miner in &miners {
        let wallet = miner.wallet(&rig, 0).await;
        wallet.restore().await.unwrap();
        let claim = quote(&wallet).await.unwrap();
        if claim.amount_mintable() > Amount::ZERO {
            wallet.mint(&claim.id, SplitTarget::default(), None).await.unwrap();
        }
        total += u64::from(wallet.total_balance().await.unwrap());
    }
    assert_eq!((total, rig.issued(0).await), (14_000, 14_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_becomes_satoshi_ecash() {
    let server = Server::start();
    let mut pool = Pool::start_in(server.place()).await;
    let alice = Miner::new(1);
    pool.mature_first_epoch(&[(alice.key, EPOCH / 2)]).await;
    let (wallet, sat) = (pool.claim(&alice, 0).await, pool.sat_wallet(&alice).await);
    for _ in 0..2 {
        let invoice = sat.mint_quote(bolt11(), Some(Amount::from(10_000)), None, None).await.unwrap();
        let quote = wallet.melt_quote(bolt11(), invoice.request.clone(), None, None).await.unwrap();
        wallet.prepare_melt(&quote.id, HashMap::new()).await.unwrap().confirm().await.unwrap();
        sat.mint(&invoice.id, SplitTarget::default(), None).await.unwrap();
        pool.assert_balanced(0).await;
    }
    assert_eq!(sat.total_balance().await.unwrap(), Amount::from(20_000));
}
