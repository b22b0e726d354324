//! From a device's shares to ecash in a stock wallet, with a pool that is killed in between.

use std::collections::BTreeMap;
use std::time::Duration;

use cdk::Wallet;
use cdk::amount::SplitTarget;
use cdk::nuts::PaymentMethod;
use cdk::wallet::{ReceiveOptions, SendOptions};

use assay_system_tests::assay::{AssayPool, Miner, PoolSettings};
use assay_system_tests::process;
use assay_system_tests::real_node::RealNode;
use assay_system_tests::waiting::wait_until;
use assay_system_tests::wallets::Holder;

/// An epoch takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Claims whatever there is, and gives how much that was.
async fn claim(wallet: &Wallet) -> u64 {
    let method = PaymentMethod::Custom("ehash".into());
    let quote = wallet.mint_quote(method, Some(1.into()), None, None).await.expect("a quote");
    let mintable = quote.amount_mintable();
    if mintable > 0.into() {
        wallet.mint(&quote.id, SplitTarget::default(), None).await.expect("tokens");
    }
    mintable.into()
}

#[test]
fn shares_become_ecash_exactly_once() {
    let _processor = process::processor();
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let node = RealNode::start();
    // An epoch is one expected block: some close while devices mine.
    let settings = PoolSettings { q: 0, mint: true, ..PoolSettings::default() };
    let mut pool = AssayPool::start(&node, &settings);
    let holder = Holder::new(1);
    let user = format!("{}.rig", holder.key);

    let mut claimed = BTreeMap::<u64, u64>::new();
    let mut wallets = BTreeMap::<u64, Wallet>::new();
    for round in 1..=3 {
        let miner = Miner::start(&pool, &user, "standard", 2);
        wait_until("some epochs", PATIENCE, || pool.epochs().len() > 2 * round);
        // Claiming goes on while shares come in, and a kill finds it in the middle.
        for (epoch, _) in pool.credits(&holder.key.to_string()).into_iter().rev().take(3) {
            runtime.block_on(async {
                let wallet = match wallets.remove(&epoch) {
                    Some(wallet) => wallet,
                    None => holder.of_epoch(&pool.mint_url(), epoch).await,
                };
                *claimed.entry(epoch).or_default() += claim(&wallet).await;
                wallets.insert(epoch, wallet);
            });
        }
        pool.kill();
        drop(miner);
        pool.restart();
    }
    // The rest, and then nothing more.
    for (epoch, credited) in pool.credits(&holder.key.to_string()) {
        runtime.block_on(async {
            let wallet = holder.of_epoch(&pool.mint_url(), epoch).await;
            // What was claimed before is found again by the seed.
            wallet.restore().await.expect("what was claimed before");
            *claimed.entry(epoch).or_default() += claim(&wallet).await;
            assert_eq!(claim(&wallet).await, 0, "epoch {epoch}");
            assert_eq!(claimed[&epoch], credited, "epoch {epoch}");
            assert_eq!(wallet.total_balance().await.expect("a balance"), credited.into(), "epoch {epoch}");
        });
    }
    assert!(claimed.len() > 3, "{claimed:?}");
    runtime.block_on(send_and_receive(&pool, &holder));
    pool.verify_ledger();
    pool.stop();
}

/// eHash of the first epoch goes from one wallet to another.
async fn send_and_receive(pool: &AssayPool, holder: &Holder) {
    let wallet = holder.of_epoch(&pool.mint_url(), 0).await;
    wallet.restore().await.expect("what was claimed before");
    let all: u64 = wallet.total_balance().await.expect("a balance").into();
    let prepared =
        wallet.prepare_send((all / 3).into(), SendOptions::default()).await.expect("tokens enough");
    let token = prepared.confirm(None).await.expect("a token").to_string();
    let other = Holder::new(2).of_epoch(&pool.mint_url(), 0).await;
    let received = other.receive(&token, ReceiveOptions::default()).await.expect("a good token");
    assert_eq!(received, (all / 3).into());
    assert_eq!(wallet.total_balance().await.expect("a balance"), (all - all / 3).into());
}
