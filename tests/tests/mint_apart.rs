//! The mint in a process of its own: each of pool and mint goes on while the other is down.

use std::time::Duration;

use serde_json::{Value, json};

use assay_system_tests::assay::{AssayPool, Miner, PoolSettings, number};
use assay_system_tests::real_node::RealNode;
use assay_system_tests::waiting::wait_until;
use assay_system_tests::wallets::AssayWallet;
use assay_system_tests::{http, process};

/// Some blocks, a few each second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a claim brought in all epochs.
fn total(claimed: &Value) -> u64 {
    assert_eq!(claimed["refused"], json!([]), "{claimed}");
    claimed["epochs"].as_array().expect("a list").iter().map(|line| number(&line["claimed"])).sum()
}

#[test]
fn pool_and_mint_go_on_without_each_other() {
    let _processor = process::processor();
    let node = RealNode::start();
    let settings = PoolSettings { q: 0, window: 1, maturity: 2, redeems: true, ..PoolSettings::default() };
    let (mut pool, mut mint) = AssayPool::start_beside_mint(&node, &settings);
    assert!(mint.said()[0].contains("Write these words down"), "{:?}", mint.said());
    assert!(pool.addresses().mint.is_none(), "the pool has no mint in its process");
    let (wallet, key) = AssayWallet::init(&mint.url());

    // Without the mint: work is credited, and claimed later.
    mint.kill();
    let miner = Miner::start(&pool, &key, "standard", 2);
    let ready = |epoch: &Value| epoch["state"] == "redeemable" && number(&epoch["pot"]) > 0;
    wait_until("a mature epoch", PATIENCE, || pool.epochs().iter().any(ready));
    let epoch = pool.epochs().into_iter().find(ready).expect("it was there")["epoch"].to_string();
    miner.stop();
    mint.restart_with(&[]);

    // Without the pool: what was credited is claimed and redeemed.
    let credited = pool.total_credit(&key);
    pool.kill();
    let claimed = wallet.ask(&["claim"]);
    assert_eq!(total(&claimed), credited, "{claimed}");
    let redeemed = wallet.ask(&["redeem", &epoch, "--to", "ecash"]);
    assert_eq!(redeemed["state"], "paid");
    assert_eq!(wallet.ask(&["balance"])["sats"], redeemed["sats"]);

    // Together again.
    pool.restart();
    let miner = Miner::start(&pool, &key, "standard", 2);
    wait_until("more work", PATIENCE, || pool.total_credit(&key) > credited);
    miner.stop();
    let more = pool.total_credit(&key) - credited;
    assert_eq!(total(&wallet.ask(&["claim"])), more);
    pool.verify_ledger();
    mint.stop();
    pool.stop();
}

/// The pool ends epochs, and the mint beside it redeems nothing of them any more.
#[test]
fn what_nobody_redeems_in_time_goes_to_later_epochs() {
    let _processor = process::processor();
    let node = RealNode::start();
    let settings = PoolSettings {
        q: 0,
        window: 1,
        maturity: 2,
        redeem_blocks: 10,
        redeems: true,
        ..PoolSettings::default()
    };
    let (mut pool, mut mint) = AssayPool::start_beside_mint(&node, &settings);
    let (wallet, key) = AssayWallet::init(&mint.url());
    let miner = Miner::start(&pool, &key, "standard", 2);
    let ready = |epoch: &Value| epoch["state"] == "redeemable" && number(&epoch["pot"]) > 0;
    wait_until("a mature epoch", PATIENCE, || pool.epochs().iter().any(ready));
    miner.stop();
    // The chain stands still, and time with it.
    let epoch = pool.epochs().into_iter().find(ready).expect("it was there");
    let (which, until) = (number(&epoch["epoch"]), number(&epoch["redeemable_until"]));
    let name = which.to_string();
    assert!(until <= u64::from(node.height() + settings.redeem_blocks), "{epoch}");
    total(&wallet.ask(&["claim"]));
    let half = number(&epoch["size"]) / 2;
    let redeemed = wallet.ask(&["redeem", &name, "--to", "ecash", "--amount", &half.to_string()]);
    let paid = 1000 * number(&redeemed["sats"]);

    let miner = Miner::start(&pool, &key, "standard", 2);
    let now =
        || pool.epochs().into_iter().find(|epoch| number(&epoch["epoch"]) == which).expect("it is listed");
    wait_until("the epoch's end", PATIENCE, || now()["state"] == "retired");
    miner.stop();
    let retired = now();
    assert_eq!(number(&retired["pot"]), paid, "what was redeemed stays in the pot: {retired}");
    assert_eq!(number(&retired["swept"]) + paid, number(&epoch["pot"]));
    let late = wallet.refused(&["redeem", &name, "--to", "ecash"]);
    assert!(late.contains("retired"), "{late}");
    // To the last millisatoshi, what left the pot is in the carry or went to later epochs.
    let page = format!("{}/v1/ehash/reserves", mint.url());
    wait_until("reserves that cover what is owed", PATIENCE, || {
        let page: Value =
            serde_json::from_str(&http::get(&page).expect("the mint answers").body).expect("JSON");
        page["reserves_msat"] == page["liabilities_msat"]
    });
    pool.verify_ledger();
    mint.stop();
    pool.stop();
}

#[test]
fn a_miner_changes_its_key_with_the_epoch() {
    let _processor = process::processor();
    let node = RealNode::start();
    let settings = PoolSettings { q: 0, mint: true, ..PoolSettings::default() };
    let pool = AssayPool::start(&node, &settings);
    let (wallet, device_key) = AssayWallet::init(&pool.mint_url());
    // An epoch is five million hashes: seconds at this rate.
    let miner = Miner::start_with(&pool, &["--wallet", wallet.directory(), "--max-hash-rate", "1500000"]);
    let key_of = |epoch: usize| {
        let key = wallet.ask(&["key", "--epoch", &epoch.to_string()]);
        key["payout_key"].as_str().expect("a key").to_owned()
    };
    wait_until("three epochs under keys of their own", PATIENCE, || {
        (0..pool.epochs().len()).filter(|epoch| pool.total_credit(&key_of(*epoch)) > 0).count() > 2
    });
    let mined = miner.stop();
    assert!(number(&mined["connections"]) > 2, "{mined}");
    let credited: u64 = (0..=pool.epochs().len()).map(|epoch| pool.total_credit(&key_of(epoch))).sum();
    assert!(credited >= number(&mined["ehash_credited"]), "{credited} and {mined}");
    assert_eq!(pool.total_credit(&device_key), 0, "the key that never changes is not used");
    assert_eq!(total(&wallet.ask(&["claim"])), credited);
}
