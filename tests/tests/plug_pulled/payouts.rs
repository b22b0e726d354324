//! The same for redemptions to an address: whatever the node has seen of them before, it is paid once.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use bitcoin::{Address, Amount, KnownHrp, ScriptBuf, Transaction, consensus};
use cdk::Wallet;
use serde_json::{Value, json};

use assay_system_tests::http;
use assay_system_tests::real_node::RealNode;
use assay_system_tests::signet;
use assay_system_tests::waiting::wait_until;
use assay_system_tests::wallets::Holder;

use crate::bench::{Bench, Earned};
use crate::{claim, restored};

/// What the wallet has earned: enough for a payout and its fee.
const EARNED: u64 = 100_000;
/// What it redeems.
const SATS: u64 = 40_000;
/// For a mint that goes on after a crash.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// A bench whose mint owns a coin.
fn funded() -> Bench {
    let mut bench = Bench::new(&Earned::Mature(EARNED));
    bench.mint.restart_with(&[]);
    let script = std::fs::read_to_string(bench.pool.data_dir().join("rewards.script"));
    let script = ScriptBuf::from_hex(&script.expect("the mint leaves its script")).expect("a script in hex");
    let mut funding = signet::spends(1, 500).remove(0);
    funding.output[0].script_pubkey = script;
    bench.node.mine_with(std::slice::from_ref(&funding), b"funding");
    // Killed between two runs, the node has to come back with it.
    bench.node.flush();
    let reserves = format!("{}/v1/ehash/reserves", bench.mint.url());
    wait_until("the wallet has its coin", PATIENCE, || {
        let page: Value =
            serde_json::from_str(&http::get(&reserves).expect("the mint answers").body).expect("JSON");
        page["reserves_msat"].as_u64().is_some_and(|held| held > 0)
    });
    bench.mint.stop();
    bench.keep();
    bench
}

/// What the mempool's only transaction pays to a script, and its fee; nothing when the mempool is empty.
fn paid_to(node: &RealNode, script: &ScriptBuf) -> Option<(Amount, Amount)> {
    let mempool = node.rpc("getrawmempool", &json!([true]));
    let mempool = mempool.as_object().expect("the mempool by transaction");
    assert!(mempool.len() < 2, "one redemption, one transaction: {mempool:?}");
    let (txid, entry) = mempool.iter().next()?;
    let fee = entry["fees"]["base"].as_f64().and_then(|fee| Amount::from_btc(fee).ok()).expect("a fee");
    let raw = node.rpc("getrawtransaction", &json!([txid]));
    let raw: Transaction =
        consensus::encode::deserialize_hex(raw.as_str().expect("hex")).expect("a transaction");
    Some((
        raw.output.iter().filter(|output| output.script_pubkey == *script).map(|output| output.value).sum(),
        fee,
    ))
}

/// Whether the mint has paid, once it has made up its mind. It is asked itself: a wallet that was interrupted holds a quote
/// for unpaid until it hears otherwise.
async fn settled(mint: &str, quote: &str) -> bool {
    let page = format!("{mint}/e/0/v1/melt/quote/onchain/{quote}");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer: Value =
            serde_json::from_str(&http::get(&page).expect("the mint answers").body).expect("JSON");
        match answer["state"].as_str() {
            Some("PAID") => return true,
            Some("UNPAID" | "FAILED") => return false,
            _ => assert!(Instant::now() < deadline, "after {PATIENCE:?} the redemption is {answer}"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Redeems to an address at each point of `which`. The node's mempool goes with each run, as do the mint's files.
fn pay_out_and_pull(which: (u32, usize)) -> u32 {
    let mut bench = funded();
    let address = Address::p2wsh(&signet::payout_script(), KnownHrp::Testnets);
    let script = address.script_pubkey();
    let prepare = async |mint: &str| {
        let wallet = Holder::new(1).of_epoch(mint, 0).await;
        claim(&wallet).await.expect("a claim");
        let ways = wallet.quote_onchain_melt_options(&address.to_string(), SATS.into(), None).await;
        let way = ways.expect("a way to pay").remove(0);
        let quote = wallet.select_onchain_melt_quote(way).await.expect("a quote").id;
        (wallet, quote)
    };
    bench.at_each_point(which, |bench, point| {
        bench.node.kill();
        bench.node.restart();
        assert_eq!(paid_to(&bench.node, &script), None, "the mempool was forgotten");
        let redeem = async |mint: &str, (wallet, quote): &(Wallet, String)| {
            wallet.prepare_melt(quote, HashMap::new()).await?.confirm().await?;
            assert!(settled(mint, quote).await);
            Ok(())
        };
        let ((_, quote), survived) = bench.pull_at(point, prepare, redeem);
        let mint = bench.mint.url();
        let paid = bench.runtime.block_on(settled(&mint, &quote));
        let left = bench.runtime.block_on(async { restored(Holder::new(1).of_epoch(&mint, 0).await).await });
        // A satoshi for each eHash.
        match paid_to(&bench.node, &script) {
            None => assert!(!paid && left == EARNED, "point {point}: {left} left, and nothing was sent"),
            Some((sent, fee)) => {
                assert!(
                    paid && sent.to_sat() == SATS,
                    "point {point}: {sent} were sent for {fee}, {left} left, paid: {paid}"
                );
                assert_eq!(left, EARNED - SATS - fee.to_sat(), "point {point}");
            }
        }
        bench.mint.stop();
        survived
    })
}

#[test]
fn payouts_are_paid_once_or_given_back() {
    let halves = [(1, 2), (2, 2)].map(|which| thread::spawn(move || pay_out_and_pull(which)));
    let points = halves.map(|half| half.join().expect("no panic")).into_iter().max();
    println!("{points:?} points in a redemption to an address");
    assert!(points > Some(20), "the plug was never in");
}
