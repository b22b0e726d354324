//! A crowd at one quote, and one wallet at many quotes, by bare requests.

use crate::rig::{self, Miner, Rig, unit};
use cdk::{
    Amount,
    dhke::blind_message,
    nuts::{BatchMintRequest, BlindedMessage, MintRequest, SecretKey, nut20},
    secret::Secret,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Outputs that nobody has seen before.
fn outputs(rig: &Rig, amounts: &[u64]) -> Vec<BlindedMessage> {
    let keyset = rig.mint.cashu().get_active_keysets()[&unit(0)];
    let output = |amount: &u64| {
        let (blinded, _) = blind_message(Secret::generate().as_bytes(), None).unwrap();
        BlindedMessage::new(Amount::from(*amount), keyset, blinded)
    };
    amounts.iter().map(output).collect()
}

fn secret(miner: &Miner) -> SecretKey {
    nut20::derive_quote_locking_key(&miner.seed, 0).unwrap()
}

/// A miner's quote, as the mint shows it.
async fn quote_of(rig: &Rig, miner: &Miner) -> Value {
    let request = json!({ "unit": unit(0), "pubkey": secret(miner).public_key() });
    rig::post(&format!("{}/v1/mint/quote/ehash", rig.url(0)), &request).await
}

fn id(quote: &Value) -> String {
    quote["quote"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_claims_of_one_quote_issue_it_once() {
    let mut rig = Rig::start().await;
    let alice = Miner::new(1);
    rig.credit(&[(alice.key, 1024)]);
    let quote = id(&quote_of(&rig, &alice).await);
    let address = format!("{}/v1/mint/ehash", rig.url(0));
    let mut claims = JoinSet::new();
    for _ in 0..1000 {
        let outputs = outputs(&rig, &[1024]);
        let mut request = MintRequest { quote: quote.clone(), outputs, signature: None };
        request.sign(&secret(&alice)).unwrap();
        let (address, request) = (address.clone(), serde_json::to_value(&request).unwrap());
        claims.spawn(async move { rig::post(&address, &request).await });
    }
    let (signed, refused): (Vec<_>, Vec<_>) =
        claims.join_all().await.into_iter().partition(|answer| answer.get("signatures").is_some());
    assert_eq!(signed.len(), 1);
    // NUT-00: tokens were already issued for the quote.
    assert!(refused.iter().all(|answer| answer["code"] == 20002), "{:?}", refused.first());
    assert_eq!(rig.issued(0).await, 1024);
}

/// NUT-29: several quotes are looked at, and claimed, in one request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotes_are_claimed_in_a_batch() {
    let mut rig = Rig::start().await;
    let (alice, bob) = (Miner::new(1), Miner::new(2));
    rig.credit(&[(alice.key, 512), (bob.key, 256)]);
    let mut ids = Vec::new();
    for miner in [&alice, &bob] {
        ids.push(id(&quote_of(&rig, miner).await));
    }
    // What came since is in the answer; the quotes were not asked for one by one.
    rig.credit(&[(bob.key, 256)]);
    let checked =
        rig::post(&format!("{}/v1/mint/quote/ehash/check", rig.url(0)), &json!({ "quotes": ids })).await;
    let paid: Vec<_> = checked.as_array().unwrap().iter().map(|quote| &quote["amount_paid"]).collect();
    assert_eq!(paid, [512, 512]);
    assert_eq!(checked[0]["pubkey"], secret(&alice).public_key().to_hex());

    rig.credit(&[(alice.key, 512)]);
    let mut request = BatchMintRequest {
        quotes: ids.clone(),
        quote_amounts: Some(vec![Amount::from(1024), Amount::from(512)]),
        outputs: outputs(&rig, &[1024, 512]),
        signatures: None,
    };
    let address = format!("{}/v1/mint/ehash/batch", rig.url(0));
    let sign = |request: &BatchMintRequest<String>, keys: [&Miner; 2]| {
        let signed = ids.iter().zip(keys);
        Some(signed.map(|(id, miner)| request.sign_quote(id, &secret(miner)).ok()).collect())
    };
    request.signatures = sign(&request, [&alice, &alice]);
    let forged = rig::post(&address, &serde_json::to_value(&request).unwrap()).await;
    assert_eq!((&forged["code"], rig.issued(0).await), (&json!(20008), 0), "{forged}");
    request.signatures = sign(&request, [&alice, &bob]);
    let claimed = rig::post(&address, &serde_json::to_value(&request).unwrap()).await;
    assert_eq!(claimed["signatures"].as_array().map(Vec::len), Some(2), "{claimed}");
    assert_eq!(rig.issued(0).await, 1536);

    let many: Vec<String> = (0..65).map(|_| ids[0].clone()).collect();
    let refused =
        rig::post(&format!("{}/v1/mint/quote/ehash/check", rig.url(0)), &json!({ "quotes": many })).await;
    assert!(refused["code"].is_number(), "{refused}");
}
