//! The whole way of a share on a real node: mined, credited, claimed, given away, redeemed by four wallets, and paid.

use std::time::Duration;

use bitcoin::Amount;
use serde_json::{Value, json};

use assay_system_tests::assay::{AssayPool, Miner, PoolSettings, number};
use assay_system_tests::real_node::RealNode;
use assay_system_tests::waiting::wait_until;
use assay_system_tests::wallets::{AssayWallet, CashuTs, CdkCli, Holder, Nutshell, Place};
use assay_system_tests::{http, process};

/// A hundred blocks, a few each second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(400);
/// What a foreign wallet redeems for.
const SATS: u64 = 40_000;
/// Epochs before the first that is mined here.
const EPOCHS: u64 = 300;

fn mint_page(pool: &AssayPool, path: &str) -> Value {
    let answer = http::get(&format!("{}{path}", pool.mint_url())).expect("the mint answers");
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).expect("JSON")
}

/// What the mint owns is what it owes, to the last millisatoshi, as soon as its wallet has followed the chain.
fn assert_books_agree(pool: &AssayPool) {
    wait_until("reserves that cover what is owed", Duration::from_secs(30), || {
        let page = mint_page(pool, "/v1/ehash/reserves");
        page["reserves_msat"] == page["liabilities_msat"]
    });
}

#[test]
fn ehash_becomes_bitcoin_on_a_real_node() {
    let _processor = process::processor();
    let node = RealNode::start();
    let settings = PoolSettings { q: 0, window: 2, mint: true, redeems: true, ..PoolSettings::default() };
    // Somebody has filled many epochs before, and no block paid them.
    let (somebody, earned) = (Holder::new(99).key, EPOCHS * settings.epochs().epoch_size().get());
    let mut pool = AssayPool::start_upon(&node, &settings, |ledger| ledger.credit(&[(somebody, earned)]));
    assert!(pool.said()[0].contains("Write these words down"), "{:?}", pool.said());
    assert_eq!(pool.said()[1].split_whitespace().count(), 12, "the phrase has twelve words");
    assert!(!pool.log().contains(pool.said()[1].trim()), "and is in no log");

    let (ada, key) = AssayWallet::init(&pool.mint_url());
    let miner = Miner::start(&pool, &format!("{key}.rig"), "standard", 2);
    wait_until("some epochs", PATIENCE, || pool.credits(&key).len() > 3);
    let early = ada.refused(&["redeem", &EPOCHS.to_string(), "--to", "ecash"]);
    assert!(early.contains("claim") || early.contains("not redeemable yet"), "{early}");
    // A hundred confirmations, for epochs and coinbases alike.
    let ready = |epoch: &Value| {
        let ours = number(&epoch["epoch"]) >= EPOCHS;
        ours && epoch["state"] == "redeemable" && number(&epoch["pot"]) > 0
    };
    wait_until("two mature epochs", PATIENCE, || {
        pool.epochs().iter().filter(|epoch| ready(epoch)).count() > 1
    });
    let mature: Vec<u64> =
        pool.epochs().iter().filter(|epoch| ready(epoch)).map(|epoch| number(&epoch["epoch"])).collect();
    let (first, second) = (mature[0].to_string(), mature[1].to_string());
    miner.stop();
    ada.ask(&["claim"]);

    // Our own wallet: one epoch to satoshi ecash, a part of another to an address.
    let ecash = ada.ask(&["redeem", &first, "--to", "ecash", "--amount", "70368744177664"]);
    assert_eq!(ecash["state"], "paid");
    let balance = ada.ask(&["balance"]);
    assert_eq!(balance["sats"], ecash["sats"]);
    // Of which some is given away.
    let (bob, _) = AssayWallet::init(&pool.mint_url());
    let token = ada.ask(&["send", "sat", &SATS.to_string()])["token"].as_str().expect("a token").to_owned();
    assert_eq!(bob.ask(&["receive", &token]), json!({ "of": "sat", "amount": SATS }));
    assert_eq!(bob.ask(&["balance"])["sats"], SATS);
    assert_eq!(ada.ask(&["balance"])["sats"], number(&ecash["sats"]) - SATS);
    let history = ada.ask(&["history"]);
    let ways: Vec<&Value> =
        history["history"].as_array().expect("a list").iter().map(|line| &line["way"]).collect();
    for way in ["claimed", "redeemed", "received", "sent"] {
        assert!(ways.contains(&&json!(way)), "{history}");
    }
    let address = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";
    let sent = ada.ask(&["redeem", &second, "--to", address, "--amount", "70368744177664"]);
    let confirmed = |sats: &Value| {
        let unspent = node.rpc("scantxoutset", &json!(["start", [format!("addr({address})")]]));
        let total = unspent["total_amount"].as_f64().and_then(|total| Amount::from_btc(total).ok());
        total == Some(Amount::from_sat(number(sats)))
    };
    let miner = Miner::start(&pool, &format!("{key}.rig"), "standard", 2);
    wait_until("the node's confirmation", PATIENCE, || confirmed(&sent["sats"]));
    miner.stop();

    // Foreign wallets: cdk-cli and cashu-ts redeem what they were given, for Nutshell's invoices.
    let mint = pool.mint_url();
    let place = Place { mint: format!("{mint}/e/{first}"), unit: format!("ehash-{first}") };
    let sat = Place { mint: format!("{mint}/sat"), unit: "sat".into() };
    let nutshell = Nutshell::default();
    let (cdk, cashu) = (CdkCli::default(), CashuTs::default());
    let give = || {
        let sent = ada.ask(&["send", &first, "35184372088832"]);
        sent["token"].as_str().expect("a token").to_owned()
    };
    cdk.receive(&place, &give());
    cashu.receive(&place, &give());
    let invoice = nutshell.invoice(&sat, SATS).value;
    println!("cdk-cli melts: {} ms", cdk.melt(&place, &invoice.request).took.as_millis());
    nutshell.claim(&sat, SATS, &invoice.quote);
    assert_eq!(nutshell.balance(&sat), SATS);
    let invoice = nutshell.invoice(&sat, SATS).value;
    println!("cashu-ts melts: {} ms", cashu.melt(&place, &invoice.request).took.as_millis());
    nutshell.claim(&sat, SATS, &invoice.quote);
    assert_eq!(nutshell.balance(&sat), 2 * SATS);
    let token = nutshell.send(&sat, SATS).value;
    let other = Nutshell::default();
    assert_eq!(other.receive(&sat, &token).value, SATS);

    assert_books_agree(&pool);
    // And after a kill.
    pool.kill();
    pool.restart();
    assert!(pool.said().is_empty(), "the words are told once");
    assert_books_agree(&pool);
    let page = mint_page(&pool, &format!("/v1/ehash/epochs/{first}"));
    let part = |name: &str| number(&page["redeemed"][name]);
    let parts = ["paid_msat", "under_way_msat", "redeemable_msat", "dust_msat"].map(part);
    assert_eq!(number(&page["pot"]), parts.iter().sum::<u64>());
    for secret in [key.as_str(), address] {
        let both = pool.log().lines().filter(|line| line.contains(secret)).count();
        assert_eq!(both, 0, "neither keys nor addresses are in the log");
    }
    pool.verify_ledger();
    pool.stop();
}
