//! What the mint knows: that a key has claimed, and that a token was spent; not that the two belong together.

#[allow(dead_code)]
mod rig;

use cdk::{
    amount::SplitTarget,
    wallet::{ReceiveOptions, SendOptions},
};
use rig::{Miner, Rig, quote};
use rusqlite::{Connection, types::Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Shorter values, such as amounts and times, are the same by chance.
const TELLING: usize = 16;

/// All that stands in the mint's database and could tell things apart: the values of each table, as text.
fn stored(path: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let db = Connection::open(path).unwrap();
    let mut names = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut tables = BTreeMap::new();
    for name in names {
        let mut query = db.prepare(&format!("SELECT * FROM \"{name}\"")).unwrap();
        let columns = query.column_count();
        let mut rows = query.query([]).unwrap();
        let values: &mut BTreeSet<String> = tables.entry(name).or_default();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                let value = match row.get::<_, Value>(column).unwrap() {
                    Value::Text(text) => text,
                    Value::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
                    _ => continue,
                };
                if value.len() >= TELLING {
                    values.insert(value);
                }
            }
        }
    }
    tables
}

/// Whether any table says so, also inside of a longer value.
fn says(tables: &BTreeMap<String, BTreeSet<String>>, what: &str) -> Vec<String> {
    let tells = |values: &BTreeSet<String>| values.iter().any(|value| value.contains(what));
    tables.iter().filter(|(_, values)| tells(values)).map(|(name, _)| name.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_cannot_be_joined_with_a_later_spend() {
    let mut rig = Rig::start().await;
    let (alice, bob) = (Miner::new(1), Miner::new(2));
    rig.credit(&[(alice.key, 700)]);
    let wallet = alice.wallet(&rig, 0).await;
    let claim = quote(&wallet).await.unwrap();
    wallet.mint(&claim.id, SplitTarget::default(), None).await.unwrap();
    let path = rig.dir.path().join("mint.db");

    // The mint has signed, and has never seen what: neither secrets nor signatures as they are spent.
    let claimed = stored(&path);
    let held = wallet.get_unspent_proofs().await.unwrap();
    for proof in &held {
        for telling in [proof.secret.to_string(), proof.c.to_hex(), proof.y().unwrap().to_hex()] {
            assert_eq!(says(&claimed, &telling), [""; 0], "after a claim");
        }
    }
    let claim_tells: BTreeSet<String> = claimed.into_values().flatten().collect();

    // All of it is spent. What the spend brings into the database has nothing in common with what the claim left there, except
    // the keyset, which is the same for everybody.
    let prepared = wallet.prepare_send(700.into(), SendOptions::default()).await.unwrap();
    let token = prepared.confirm(None).await.unwrap().to_string();
    bob.wallet(&rig, 0).await.receive(&token, ReceiveOptions::default()).await.unwrap();
    let spent = stored(&path);
    let keyset = held[0].keyset_id.to_string();
    let proofs = &spent["proof"];
    assert!(proofs.len() > 2 * held.len(), "the spend is stored: {proofs:?}");
    let common: Vec<&String> = proofs.iter().filter(|value| claim_tells.contains(*value)).collect();
    assert!(common.iter().all(|value| **value == keyset), "{common:?}");
    let key = alice.key.to_string();
    let tables = says(&spent, &key);
    assert!(!tables.is_empty(), "the claim is stored");
    assert!(
        tables.iter().all(|table| table.starts_with("mint_quote")),
        "the key is in its quote alone: {tables:?}"
    );
}

/// Nobody who knows a wallet's key of one epoch knows that of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotes_of_two_epochs_share_nothing() {
    let mut rig = Rig::start().await;
    let keys = [1, 2].map(|index| {
        let secret = cdk::nuts::nut20::derive_quote_locking_key(&[7; 64], index).unwrap();
        secret.public_key()
    });
    let payout = |key: &cdk::nuts::PublicKey| {
        work::PayoutKey::from_bytes(key.x_only_public_key().serialize()).unwrap()
    };
    rig.credit(&[(payout(&keys[0]), rig::EPOCH), (payout(&keys[1]), 5)]);
    let mut told = Vec::new();
    for (epoch, key) in keys.iter().enumerate() {
        let body = serde_json::json!({ "unit": format!("ehash-{epoch}"), "pubkey": key });
        let url = format!("{}/v1/mint/quote/ehash", rig.url(u32::try_from(epoch).unwrap()));
        let answer = rig::post(&url, &body).await;
        let texts = answer.as_object().unwrap().values().filter_map(|value| value.as_str());
        told.push(texts.filter(|text| text.len() >= TELLING).map(str::to_owned).collect::<BTreeSet<_>>());
    }
    assert!(told.iter().all(|texts| texts.len() >= 3), "{told:?}");
    assert!(told[0].is_disjoint(&told[1]), "{told:?}");
}
