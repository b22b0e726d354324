//! What becomes of pots when the chain has its moods, and of the last epochs of a pool that stops. No block here was reported
//! as found: all are recognised on the chain alone.

use crate::{
    pool::{EPOCH, MATURITY, Pool, SUBSIDY, bolt11},
    rig::Miner,
};
use cdk::{Amount, Wallet, amount::SplitTarget};
use ledger::{Epoch, Event};
use node::Node;
use std::collections::HashMap;

/// Redeems all that a wallet has of an epoch that is worth so many satoshi.
async fn redeem(pool: &Pool, wallet: &Wallet, miner: &Miner, sats: u64) {
    let sat = pool.sat_wallet(miner).await;
    let invoice = sat.mint_quote(bolt11(), Some(Amount::from(sats)), None, None).await.unwrap();
    let quote = wallet.melt_quote(bolt11(), invoice.request, None, None).await.unwrap();
    wallet.prepare_melt(&quote.id, HashMap::new()).await.unwrap().confirm().await.unwrap();
    sat.mint(&invoice.id, SplitTarget::default(), None).await.unwrap();
    assert_eq!(sat.total_balance().await.unwrap(), Amount::from(sats));
}

/// What the mint owns is what it owes.
async fn assert_solvent(pool: &Pool) {
    let page = pool.page("/v1/ehash/reserves").await;
    assert_eq!(page["reserves_msat"], page["liabilities_msat"], "{page}");
}

fn pot(pool: &Pool, epoch: u32) -> u64 {
    let info = pool.handle.reader().unwrap().epoch(Epoch(epoch)).unwrap().unwrap();
    info.pot.get()
}

/// What a block pays the epochs of its window, after the fee of one in a hundred.
fn net() -> u64 {
    SUBSIDY.to_sat() * 1000 / 100 * 99
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_blocks_pay_an_epoch_and_an_orphan_takes_its_part_back() {
    let mut pool = Pool::start().await;
    let alice = Miner::new(1);
    pool.credit(&[(alice.key, EPOCH)]);
    pool.find_block().await;
    pool.find_block().await;
    assert_eq!(pot(&pool, 0), 2 * net());
    assert_solvent(&pool).await;

    // The second one loses to a longer branch of others.
    let tip = pool.chain.tip().unwrap().height;
    let fork = pool.chain.block_hash(tip - 1).unwrap().unwrap();
    pool.chain.mine_fork(&fork, 2).unwrap();
    pool.catch_up().await;
    assert_eq!(pot(&pool, 0), net(), "its line is reversed");
    assert_solvent(&pool).await;

    pool.credit(&[(alice.key, EPOCH)]);
    pool.others_mine(MATURITY).await;
    assert_eq!(pool.handle.summary().epochs.redeemable, 1);
    let wallet = pool.claim(&alice, 0).await;
    redeem(&pool, &wallet, &alice, net() / 1000).await;
    assert_eq!(wallet.total_balance().await.unwrap(), Amount::ZERO);
    pool.assert_balanced(0).await;
    assert_solvent(&pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_before_any_epoch_has_closed_is_not_lost() {
    let mut pool = Pool::start().await;
    let alice = Miner::new(1);
    pool.credit(&[(alice.key, 5)]);
    pool.find_block().await;
    assert_eq!(pool.handle.summary().carry.get(), net());
    assert_solvent(&pool).await;
    // It comes to the first epoch with the next block.
    pool.credit(&[(alice.key, EPOCH - 5)]);
    pool.find_block().await;
    assert_eq!(pot(&pool, 0), 2 * net());
    assert_solvent(&pool).await;
}

/// The pool ends: what was mined is redeemed as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_epochs_of_a_pool_that_stops_are_redeemed() {
    let mut pool = Pool::start().await;
    let alice = Miner::new(1);
    pool.credit(&[(alice.key, EPOCH)]);
    pool.find_block().await;
    pool.others_mine(MATURITY).await;
    // No epoch will close any more, so that none would settle by itself.
    let wallet = pool.claim(&alice, 0).await;
    let sat = pool.sat_wallet(&alice).await;
    let invoice = sat.mint_quote(bolt11(), Some(Amount::from(1_000)), None, None).await.unwrap();
    let early = wallet.melt_quote(bolt11(), invoice.request, None, None).await.unwrap_err().to_string();
    assert!(early.contains("accruing"), "{early}");
    pool.handle.apply(Event::EpochFrozen(Epoch(0))).unwrap();
    // At once: nobody waits until the mint looks at the books again.
    redeem(&pool, &wallet, &alice, net() / 1000).await;
    pool.assert_balanced(0).await;
    assert_solvent(&pool).await;
}
