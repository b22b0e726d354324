//! Wallets that others have written, on a pool's mint behind which many epochs lie.

use std::time::Duration;

use cdk::nuts::{PublicKey, SecretKey};
use serde_json::{Value, json};

use assay_system_tests::assay::{AssayPool, Miner, PoolSettings};
use assay_system_tests::http::Answer;
use assay_system_tests::real_node::RealNode;
use assay_system_tests::waiting::wait_until;
use assay_system_tests::wallets::{CashuTs, CdkCli, Holder, Place, States, Timed};
use assay_system_tests::{http, process};

/// Far more than a wallet would fetch in a quarter of an hour.
const EPOCHS: u64 = 300;
/// A few seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A pool with short epochs, of which there were many before, and its node.
fn start() -> (RealNode, AssayPool) {
    let node = RealNode::start();
    let settings = PoolSettings {
        q: 5,
        shares_per_minute: 1200,
        min_share_hashes: 1 << 14,
        mint: true,
        ..PoolSettings::default()
    };
    let somebody = Holder::new(99).key;
    let earned = EPOCHS * settings.epochs().epoch_size().get();
    let pool = AssayPool::start_upon(&node, &settings, |ledger| ledger.credit(&[(somebody, earned)]));
    (node, pool)
}

/// Mines for a key until it has earned in some epochs.
fn mine(pool: &AssayPool, key: &PublicKey) {
    let miner = Miner::start(pool, &format!("{key}.rig"), "standard", 2);
    wait_until("work in some epochs", PATIENCE, || pool.credits(&key.to_hex()).len() > 2);
    miner.stop();
    println!("behind the mint: {} epochs", pool.epochs().len());
}

fn place(pool: &AssayPool, epoch: u64) -> Place {
    Place { mint: format!("{}/e/{epoch}", pool.mint_url()), unit: format!("ehash-{epoch}") }
}

/// Asks for the quote of a key, as anybody can, and gives its id.
fn ask(place: &Place, key: &PublicKey) -> String {
    let request = json!({ "unit": place.unit, "pubkey": key });
    let answer = http::post(&format!("{}/v1/mint/quote/ehash", place.mint), "", &request.to_string());
    id_and_key(answer.expect("the mint answers")).0
}

/// The key that a quote is locked to.
fn key_of(place: &Place, quote: &str) -> PublicKey {
    let answer = http::get(&format!("{}/v1/mint/quote/ehash/{quote}", place.mint));
    id_and_key(answer.expect("the mint answers")).1
}

fn id_and_key(answer: Answer) -> (String, PublicKey) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let quote: Value = serde_json::from_str(&answer.body).expect("JSON");
    let text = |field: &str| quote[field].as_str().expect("a text").to_owned();
    (text("quote"), text("pubkey").parse().expect("a key"))
}

/// The other point with the same x coordinate: to the pool it is the same key.
fn other_form(key: &PublicKey) -> PublicKey {
    let mut bytes = key.to_bytes();
    // 2 is the even one, 3 the odd one.
    bytes[0] ^= 1;
    PublicKey::from_slice(&bytes).expect("a point")
}

/// What a wallet did, for whoever reads the test's output.
fn told<T>(what: &str, Timed { value, took }: Timed<T>) -> T {
    println!("{what}: {} ms", took.as_millis());
    value
}

#[test]
fn cdk_cli_claims_by_id_sends_and_receives() {
    let _processor = process::processor();
    let (_node, mut pool) = start();
    let first = place(&pool, 0);
    let seed = CdkCli::default();
    let key = key_of(&first, &seed.quote(&first));
    mine(&pool, &key);
    let credits = pool.credits(&key.to_hex());
    let [(early, early_credit), .., (late, late_credit)] = credits[..] else { panic!("{credits:?}") };

    // Both are paid now. The wallet comes to the second one long after, when nobody tells of it any more. A stranger has
    // asked for the other form of the key before.
    let [early_quote, late_quote] = [early, late].map(|epoch| {
        ask(&place(&pool, epoch), &other_form(&key));
        ask(&place(&pool, epoch), &key)
    });
    let wallet = seed.restored();
    let fresh = told("a fresh cdk-cli claims", wallet.claim(&place(&pool, late), &late_quote));
    assert_eq!(fresh, late_credit);
    let old = told("cdk-cli claims what was paid before", wallet.claim(&place(&pool, early), &early_quote));
    assert_eq!(old, early_credit);

    let place = place(&pool, late);
    let token = told("cdk-cli sends", wallet.send(&place, late_credit / 3));
    let other = CdkCli::default();
    let received = told("a fresh cdk-cli receives", other.receive(&place, &token));
    assert_eq!(received, late_credit / 3);
    assert_eq!(other.balance(&place), received);
    assert_eq!(wallet.balance(&place), late_credit - received);
    let refused = wallet.cannot_receive(&place, &token);
    assert!(refused.contains("Token Already Spent"), "{refused}");
    pool.verify_ledger();
    pool.stop();
}

#[test]
fn cashu_ts_claims_swaps_sends_and_checks() {
    let _processor = process::processor();
    let (_node, mut pool) = start();
    let secret = SecretKey::from_slice(&[7; 32]).expect("a key");
    let key = secret.public_key();
    mine(&pool, &key);
    let &(epoch, credit) = pool.credits(&key.to_hex()).first().expect("an epoch");
    let place = place(&pool, epoch);
    ask(&place, &other_form(&key));

    let wallet = CashuTs::default();
    let claimed = told("a fresh cashu-ts claims", wallet.claim(&place, &secret.to_secret_bytes()));
    assert_eq!(claimed, credit);
    assert_eq!(wallet.claim(&place, &secret.to_secret_bytes()).value, 0);
    let unspent = |unspent| States { unspent, ..States::default() };
    assert_eq!(wallet.states(&place, None), unspent(credit));

    let token = told("cashu-ts sends", wallet.send(&place, credit / 3));
    assert_eq!(wallet.states(&place, Some(&token)), unspent(credit / 3));
    let other = CashuTs::default();
    assert_eq!(told("a fresh cashu-ts receives", other.receive(&place, &token)), credit / 3);
    assert_eq!(wallet.states(&place, Some(&token)), States { spent: credit / 3, ..States::default() });
    assert_eq!(other.states(&place, None), unspent(credit / 3));
    assert_eq!(wallet.states(&place, None), unspent(credit - credit / 3));
    let refused = wallet.cannot_receive(&place, &token);
    assert!(refused.contains("code: 11001"), "{refused}");

    // The same tokens in the other implementation, and back.
    let third = CdkCli::default();
    let token = wallet.send(&place, credit / 5).value;
    assert_eq!(third.receive(&place, &token).value, credit / 5);
    let token = third.send(&place, credit / 7).value;
    assert_eq!(wallet.receive(&place, &token).value, credit / 7);
    assert_eq!(wallet.states(&place, None), unspent(credit - credit / 3 - credit / 5 + credit / 7));
    pool.verify_ledger();
    pool.stop();
}
