//! From credited work to tokens in stock wallets.

use crate::rig::{self, EPOCH, Miner, Rig, quote, unit};
use cdk::{
    Amount,
    amount::SplitTarget,
    nuts::{PaymentMethod, nut20},
    wallet::{ReceiveOptions, SendOptions},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credit_is_claimed_sent_and_received() {
    let mut rig = Rig::start().await;
    let (alice, bob) = (Miner::new(1), Miner::new(2));
    rig.credit(&[(alice.key, 700), (bob.key, 100)]);

    let wallet = alice.wallet(&rig, 0).await;
    let claim = quote(&wallet).await.unwrap();
    assert_eq!(claim.amount_mintable(), Amount::from(700));
    wallet.mint(&claim.id, SplitTarget::default(), None).await.unwrap();
    assert_eq!(wallet.total_balance().await.unwrap(), Amount::from(700));

    // More work on the same epoch, claimed through the same quote.
    rig.credit(&[(alice.key, 55)]);
    let grown = wallet.check_mint_quote(&claim.id).await.unwrap();
    assert_eq!(grown.amount_mintable(), Amount::from(55));
    wallet.mint(&claim.id, SplitTarget::default(), None).await.unwrap();
    assert_eq!(wallet.total_balance().await.unwrap(), Amount::from(755));

    let prepared = wallet.prepare_send(Amount::from(300), SendOptions::default()).await.unwrap();
    let token = prepared.confirm(None).await.unwrap().to_string();
    let other = bob.wallet(&rig, 0).await;
    assert_eq!(other.receive(&token, ReceiveOptions::default()).await.unwrap(), Amount::from(300));
    assert!(alice.wallet(&rig, 0).await.receive(&token, ReceiveOptions::default()).await.is_err(), "spent");
    assert_eq!(rig.issued(0).await, 755);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quote_belongs_to_an_epoch_and_a_key() {
    let mut rig = Rig::start().await;
    let alice = Miner::new(1);
    // Three epochs, and a part of the fourth.
    rig.credit(&[(alice.key, 3 * EPOCH + 5)]);
    let mut ids = Vec::new();
    for (epoch, expected) in [(0, EPOCH), (1, EPOCH), (2, EPOCH), (3, 5)] {
        let wallet = alice.wallet(&rig, epoch).await;
        let claim = quote(&wallet).await.unwrap();
        assert_eq!(claim.amount_mintable(), Amount::from(expected));
        // Whoever restores the seed is given the same.
        assert_eq!(quote(&alice.wallet(&rig, epoch).await).await.unwrap().id, claim.id);
        ids.push(claim.id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 4);
    // A wallet of epoch 1 cannot use epoch 0's tokens.
    let wallet = alice.wallet(&rig, 0).await;
    let claim = quote(&wallet).await.unwrap();
    wallet.mint(&claim.id, SplitTarget::default(), None).await.unwrap();
    let prepared = wallet.prepare_send(Amount::from(8), SendOptions::default()).await.unwrap();
    let token = prepared.confirm(None).await.unwrap().to_string();
    let other = alice.wallet(&rig, 1).await;
    assert!(other.receive(&token, ReceiveOptions::default()).await.is_err());
    // One that is not open has words for it.
    let refused = quote(&alice.wallet(&rig, 4).await).await.unwrap_err().to_string();
    assert!(refused.contains("there is no epoch `4` at this mint: the newest is 3"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_by_a_restart() {
    let mut rig = Rig::start().await;
    let alice = Miner::new(1);
    rig.credit(&[(alice.key, 600)]);
    let wallet = alice.wallet(&rig, 0).await;
    let claim = quote(&wallet).await.unwrap();
    wallet.mint(&claim.id, SplitTarget::default(), None).await.unwrap();
    let keysets = rig.mint.cashu().keysets().keysets.len();
    rig.restart().await;
    assert_eq!(rig.mint.cashu().keysets().keysets.len(), keysets, "an epoch keeps its one keyset");
    rig.credit(&[(alice.key, 100)]);

    // The same tokens are good, and the quote knows what was claimed.
    let restored = alice.wallet(&rig, 0).await;
    restored.restore().await.unwrap();
    assert_eq!(restored.total_balance().await.unwrap(), Amount::from(600));
    let again = quote(&restored).await.unwrap();
    assert_eq!((again.id.clone(), again.amount_mintable()), (claim.id, Amount::from(100)));
    restored.mint(&again.id, SplitTarget::default(), None).await.unwrap();
    assert_eq!((rig.issued(0).await, restored.total_balance().await.unwrap()), (700, Amount::from(700)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_shows_one_epoch_and_the_root_the_newest() {
    let mut rig = Rig::start().await;
    let alice = Miner::new(1);
    rig.credit(&[(alice.key, 30 * EPOCH)]);
    rig.mint.epochs().catch_up().await.unwrap();
    // Again, as a crash in the middle would have it.
    rig.mint.epochs().catch_up().await.unwrap();
    assert_eq!(rig.mint.cashu().keysets().keysets.len(), 31);
    for epoch in [0, 7, 30] {
        let wallet = alice.wallet(&rig, epoch).await;
        let listed = rig::get(&format!("{}/v1/keysets", rig.url(epoch))).await;
        let units: Vec<_> =
            listed["keysets"].as_array().unwrap().iter().map(|keyset| &keyset["unit"]).collect();
        assert_eq!(units, [&unit(epoch).to_string()]);
        let info = wallet.fetch_mint_info().await.unwrap().unwrap();
        assert_eq!(info.nuts.nut04.supported_units(), [&unit(epoch)]);
        assert!(info.pubkey.is_some());
    }
    let client = rig::get(&format!("http://{}/v1/keysets", rig.address)).await;
    assert_eq!(client["keysets"].as_array().unwrap().len(), 12);
    let refused = rig::get(&format!("http://{}/e/99/v1/keysets", rig.address)).await;
    assert!(refused["detail"].as_str().unwrap().contains("there is no epoch `99`"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_claims_of_one_quote_issue_it_once() {
    let mut rig = Rig::start().await;
    let alice = Miner::new(1);
    rig.credit(&[(alice.key, 1000)]);
    let mut tasks = Vec::new();
    for _ in 0..30 {
        let wallet = alice.wallet(&rig, 0).await;
        tasks.push(tokio::spawn(async move {
            let claim = quote(&wallet).await.unwrap();
            let _ = wallet.mint(&claim.id, SplitTarget::default(), None).await;
            u64::from(wallet.total_balance().await.unwrap())
        }));
    }
    let mut claimed = 0;
    for task in tasks {
        claimed += task.await.unwrap();
    }
    assert_eq!((claimed, rig.issued(0).await), (1000, 1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quote_shows_its_key_as_its_owner_asks() {
    let mut rig = Rig::start().await;
    let alice = Miner::new(1);
    rig.credit(&[(alice.key, 700)]);
    let own = nut20::derive_quote_locking_key(&alice.seed, 0).unwrap().public_key().to_hex();
    let other = own.replacen(&own[..2], if own.starts_with("02") { "03" } else { "02" }, 1);
    let address = format!("{}/v1/mint/quote/ehash", rig.url(0));
    let ask =
        async |key: &str| rig::post(&address, &serde_json::json!({ "unit": unit(0), "pubkey": key })).await;
    let look = async |id: &str| rig::get(&format!("{address}/{id}")).await;

    // A stranger is first, and asks for the other point of the same coordinate.
    let first = ask(&other).await;
    assert_eq!(first["pubkey"], other);
    let answer = ask(&own).await;
    assert_eq!((&answer["quote"], answer["pubkey"].as_str()), (&first["quote"], Some(&*own)));
    let id = answer["quote"].as_str().unwrap();
    assert_eq!(look(id).await["pubkey"], own);
    assert_eq!(ask(&other).await["pubkey"], other);
    assert_eq!(look(id).await["pubkey"], other);
    assert_eq!(ask(&own).await["pubkey"], own);

    // A wallet that has its seed alone looks for the key that the quote shows.
    let wallet = alice.wallet(&rig, 0).await;
    let method = PaymentMethod::Custom("ehash".into());
    let found = wallet.fetch_mint_quote_with_key_search(id, Some(method), 3).await.unwrap();
    assert_eq!(found.amount_mintable(), Amount::from(700));
    wallet.mint(id, SplitTarget::default(), None).await.unwrap();
    assert_eq!(rig.issued(0).await, 700);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quote_needs_its_key() {
    let mut rig = Rig::start().await;
    let (alice, mallory) = (Miner::new(1), Miner::new(2));
    rig.credit(&[(alice.key, 1000)]);
    let claim = quote(&alice.wallet(&rig, 0).await).await.unwrap();
    // Whoever learns the id can see the quote, and not claim it.
    let wallet = mallory.wallet(&rig, 0).await;
    let method = PaymentMethod::Custom("ehash".into());
    wallet.fetch_mint_quote_with_key_search(&claim.id, Some(method), 100).await.unwrap();
    assert!(wallet.mint(&claim.id, SplitTarget::default(), None).await.is_err());
    assert_eq!(rig.issued(0).await, 0);
    let answer = rig::post(
        &format!("{}/v1/mint/quote/ehash", rig.url(0)),
        &serde_json::json!({ "unit": "ehash-0", "amount": 1 }),
    )
    .await;
    assert!(answer["detail"].as_str().unwrap().contains("payout key"), "{answer}");
    let answer = rig::post(
        &format!("{}/v1/mint/quote/bolt11", rig.url(0)),
        &serde_json::json!({ "unit": "ehash-0", "amount": 1 }),
    )
    .await;
    assert!(answer["detail"].as_str().unwrap().contains("mining alone"), "{answer}");
}

/// nuts#341: whoever has the key, and nobody else, is told of its quotes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotes_are_found_by_a_signed_key() {
    let mut rig = Rig::start().await;
    let alice = Miner::new(1);
    rig.credit(&[(alice.key, EPOCH + 5)]);
    let secret = nut20::derive_quote_locking_key(&alice.seed, 0).unwrap();
    let mint_key: cdk::nuts::PublicKey =
        rig::get(&rig.url(0).replace("/e/0", "/v1/info")).await["pubkey"].as_str().unwrap().parse().unwrap();
    let sign = |mint_key: &cdk::nuts::PublicKey| {
        let key = secret.public_key().to_bytes();
        let message = [b"Cashu_MintQuoteLookup_v1".as_slice(), &mint_key.to_bytes(), &key].concat();
        secret.sign(&message).unwrap().to_string()
    };
    let ask = async |place: String, signature: String| {
        let body = serde_json::json!({ "pubkeys": [secret.public_key()], "pubkey_signatures": [signature] });
        rig::post(&format!("{place}/v1/mint/quote/ehash/pubkey"), &body).await
    };
    for (epoch, credit) in [(0, EPOCH), (1, 5)] {
        let found = ask(rig.url(epoch), sign(&mint_key)).await;
        let quotes = found["quotes"].as_array().unwrap();
        assert_eq!(quotes.len(), 1, "{found}");
        assert_eq!(quotes[0]["amount_paid"], credit);
        let wallet = alice.wallet(&rig, epoch).await;
        assert_eq!(quotes[0]["quote"], quote(&wallet).await.unwrap().id.as_str());
    }
    // At the root: all that it shows.
    let root = rig.url(0).replace("/e/0", "");
    assert_eq!(ask(root.clone(), sign(&mint_key)).await["quotes"].as_array().unwrap().len(), 2);
    // Another mint's signature, and none.
    for bad in [sign(&secret.public_key()), "00".into()] {
        let refused = ask(root.clone(), bad).await;
        assert_eq!(refused["code"], 20008, "{refused}");
    }
}
