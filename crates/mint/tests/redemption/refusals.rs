//! What nobody gets away with: refused in the NUTs' codes, and nothing changes.

use crate::{
    pool::{EPOCH, Pool, address, bolt11},
    rig::{self, Miner},
};
use cdk::{
    Amount,
    amount::SplitTarget,
    nuts::{PreMintSecrets, Proofs},
};
use serde_json::{Value, json};
use std::collections::HashMap;

/// New tokens for so much of an epoch.
fn outputs(pool: &Pool, epoch: u32, amount: u64) -> Value {
    let keyset = pool.mint().cashu().get_active_keysets()[&rig::unit(epoch)];
    let amounts = (0, (0..=50).map(|power| 1_u64 << power).collect()).into();
    let made = PreMintSecrets::random(keyset, Amount::from(amount), &SplitTarget::default(), &amounts);
    json!(made.unwrap().blinded_messages())
}

fn sum(proofs: &Proofs) -> u64 {
    proofs.iter().map(|proof| u64::from(proof.amount)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spent_forged_and_foreign_tokens_buy_nothing() {
    let mut pool = Pool::start().await;
    let alice = Miner::new(1);
    pool.mature_first_epoch(&[(alice.key, 1 << 30)]).await;
    let wallet = pool.claim(&alice, 0).await;
    let proofs = wallet.get_unspent_proofs().await.unwrap();
    let all = sum(&proofs);
    let post = async |path: &str, body: Value| rig::post(&pool.url(path), &body).await;
    let swap = async |inputs: Value, outputs: Value| {
        post("/v1/swap", json!({ "inputs": inputs, "outputs": outputs })).await["code"].as_u64()
    };
    let with = |change: &dyn Fn(&mut Value)| {
        let mut inputs = json!(proofs);
        inputs.as_array_mut().unwrap().iter_mut().for_each(change);
        inputs
    };
    let honest = || outputs(&pool, 0, all);

    // Forged: another's signature, another secret, more than was signed.
    let signature = json!(proofs)[0]["C"].clone();
    assert_eq!(swap(with(&|proof| proof["secret"] = json!("another")), honest()).await, Some(11007));
    let secret =
        |proof: &mut Value| proof["secret"] = json!(format!("{}0", proof["secret"].as_str().unwrap()));
    assert_eq!(swap(with(&secret), honest()).await, Some(10001));
    if proofs.len() > 1 {
        assert_eq!(swap(with(&|proof| proof["C"] = signature.clone()), honest()).await, Some(10001));
    }
    let large = async |amount: u64| {
        swap(with(&|proof| proof["amount"] = json!(amount)), honest()).await.expect("a refusal")
    };
    for amount in [1_u64 << 51, u64::MAX / 2, u64::MAX] {
        assert!(large(amount).await > 0, "{amount}");
    }
    // The same twice, more out than in, another epoch, both at once.
    let twice: Proofs = proofs.iter().chain(&proofs).cloned().collect();
    assert_eq!(swap(json!(twice), outputs(&pool, 0, 2 * all)).await, Some(11007));
    assert_eq!(swap(json!(proofs), outputs(&pool, 0, all + 1)).await, Some(11005));
    assert_eq!(swap(json!(proofs), outputs(&pool, 1, all)).await, Some(11010));
    let mixed = [outputs(&pool, 0, all / 2), outputs(&pool, 1, all - all / 2)];
    let mixed: Vec<Value> = mixed.iter().flat_map(|outputs| outputs.as_array().unwrap().clone()).collect();
    assert_eq!(swap(json!(mixed), json!(mixed)).await, Some(20010), "no proofs at all");
    assert_eq!(swap(json!(proofs), json!(mixed)).await, Some(11009));

    // A melt for less than its quote, and one with another epoch's tokens.
    let sat = pool.sat_wallet(&alice).await;
    let invoice = sat.mint_quote(bolt11(), Some(Amount::from(1_000)), None, None).await.unwrap();
    let quote = wallet.melt_quote(bolt11(), invoice.request.clone(), None, None).await.unwrap();
    let smallest: Proofs = proofs.iter().min_by_key(|proof| proof.amount).cloned().into_iter().collect();
    if sum(&smallest) < u64::from(quote.amount) {
        let little = post("/v1/melt/bolt11", json!({ "quote": quote.id, "inputs": smallest })).await;
        assert_eq!(little["code"], 11005, "{little}");
    }
    let somebody = pool.claim(&Miner::new(99), 1).await.get_unspent_proofs().await.unwrap();
    assert_eq!(sum(&somebody), EPOCH);
    let foreign = post("/v1/melt/bolt11", json!({ "quote": quote.id, "inputs": somebody })).await;
    assert_eq!(foreign["code"], 11010, "{foreign}");
    assert!(sat.mint(&invoice.id, SplitTarget::default(), None).await.is_err(), "nothing was paid");

    // Redeemed once: the same tokens buy nothing more, not here and not on the chain, and the quote is done.
    let melt = wallet.prepare_melt(&quote.id, HashMap::new()).await.unwrap();
    melt.confirm().await.unwrap();
    assert_eq!(swap(json!(proofs), outputs(&pool, 0, all)).await, Some(11001));
    let replayed = post("/v1/melt/bolt11", json!({ "quote": quote.id, "inputs": proofs })).await;
    assert!(replayed["code"].as_u64().is_some(), "{replayed}");
    let request = json!({ "request": address(3).to_string(), "unit": "ehash-0", "amount": 1 << 29 });
    let onchain = post("/v1/melt/quote/onchain", request).await;
    let melted = json!({ "quote": onchain["quote"], "fee_index": 0, "inputs": proofs });
    assert_eq!(post("/v1/melt/onchain", melted).await["code"], 11001);
    pool.others_mine(1).await;
    assert_eq!(pool.received(&address(3)).to_sat(), 0);
    pool.assert_balanced(0).await;
    pool.assert_balanced(1).await;
}

/// Requests that make no sense are told so, by the field.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_answered_in_words() {
    let pool = Pool::start().await;
    let case = async |path: &str, body: Value, expected: &str| {
        let answer = rig::post(&pool.url(path), &body).await;
        let detail = answer["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains(expected), "{path}: {answer}");
    };
    case("/v1/melt/quote/onchain", json!({ "unit": "ehash-0" }), "missing field `request`").await;
    let without = json!({ "unit": "ehash-0", "request": address(3).to_string() });
    case("/v1/melt/quote/onchain", without, "`amount` is missing").await;
    let other = json!({ "unit": "usd", "request": address(3).to_string(), "amount": 1 });
    case("/v1/melt/quote/onchain", other, "unit `usd` is no epoch's").await;
    let far = json!({ "unit": "ehash-77", "request": address(3).to_string(), "amount": 1 });
    case("/v1/melt/quote/onchain", far, "epoch 77 is not open yet").await;
    let early = json!({ "unit": "ehash-0", "request": address(3).to_string(), "amount": 1 });
    case("/v1/melt/quote/onchain", early, "epoch 0 is open and not redeemable yet").await;
    case("/sat/v1/melt/quote/bolt11", json!({ "unit": "sat", "request": "lnbc1" }), "none of this mint's")
        .await;
}
