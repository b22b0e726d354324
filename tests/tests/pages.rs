//! The pages of a pool that just started: what they tell, and how they refuse.

use serde_json::Value;

use assay_system_tests::assay::{AssayPool, PoolSettings, payout_key};
use assay_system_tests::http;
use assay_system_tests::real_node::RealNode;

fn page(pool: &AssayPool, path: &str) -> (u16, Value) {
    let answer = http::get(&format!("http://{}{path}", pool.addresses().http)).expect("the pages answer");
    let body = serde_json::from_str(&answer.body).unwrap_or_else(|_| Value::String(answer.body.clone()));
    (answer.status, body)
}

#[test]
fn pages_answer_in_json_and_refuse_with_the_reason() {
    let node = RealNode::start();
    let pool = AssayPool::start(&node, &PoolSettings::default());

    let (status, health) = page(&pool, "/health");
    assert_eq!((status, &health["status"]), (200, &Value::from("ok")), "{health}");
    for field in ["node", "tip", "connections", "channels", "shares_accepted", "blocks_found", "ledger"] {
        assert!(!health[field].is_null(), "{field}: {health}");
    }

    let key = payout_key();
    let (status, credits) = page(&pool, &format!("/v1/ehash/credits/{key}"));
    assert_eq!((status, &credits["total"], &credits["key"]), (200, &Value::from(0), &Value::from(key)));
    let (status, epochs) = page(&pool, "/v1/ehash/epochs?from=0&limit=5");
    assert_eq!((status, &epochs["epochs"][0]["epoch"]), (200, &Value::from(0)), "{epochs}");
    assert_eq!(page(&pool, "/v1/ehash/epochs/0").0, 200);
    assert_eq!(page(&pool, "/v1/ehash/blocks?below=7").1["blocks"], Value::Array(Vec::new()));

    let (status, refusal) = page(&pool, "/v1/ehash/credits/bob");
    let said = refusal["error"].as_str().unwrap_or_default();
    assert!(status == 400 && said.contains("payout key"), "{refusal}");
    let (status, refusal) = page(&pool, "/v1/ehash/epochs/7");
    assert!(status == 404 && refusal["error"].as_str().is_some_and(|said| said.contains('7')), "{refusal}");
    assert_eq!(page(&pool, "/v1/ehash/epochs?limit=many").0, 400);
    assert_eq!(page(&pool, "/nowhere").0, 404);

    let metrics = page(&pool, "/metrics").1;
    let metrics = metrics.as_str().expect("metrics are text");
    for name in
        ["assay_shares_accepted_total 0", "assay_node_ready 1", "assay_ledger_epoch 0", "assay_tip_height"]
    {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
}
