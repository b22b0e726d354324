//! The node that the other tests build upon behaves as they assume.

use serde_json::json;

use assay_system_tests::process;
use assay_system_tests::real_node::RealNode;
use assay_system_tests::signet::PREPARED_HEIGHT;

#[test]
fn the_prepared_chain_has_spendable_coins_and_survives_a_kill() {
    let _processor = process::processor();
    let mut node = RealNode::start();
    assert_eq!(node.height(), PREPARED_HEIGHT);
    node.fill_mempool(60);
    assert_eq!(node.mempool_size(), 60);
    let template = node.rpc("getblocktemplate", &json!([{"rules": ["segwit", "signet"]}]));
    assert_eq!(template["transactions"].as_array().map(Vec::len), Some(60));

    node.kill();
    node.restart();
    assert_eq!(node.height(), PREPARED_HEIGHT);
}

#[test]
fn forks_can_be_mined_and_taken_back() {
    let _processor = process::processor();
    let node = RealNode::start();
    let first = node.mine(1, b"first");
    node.invalidate(first[0]);
    assert_eq!(node.height(), PREPARED_HEIGHT);
    let fork = node.mine(2, b"fork");
    node.reconsider(first[0]);
    assert_eq!(node.tip(), fork[1]);
    assert_eq!(node.confirmations(first[0]), -1);
    assert_eq!(node.block_hash(PREPARED_HEIGHT + 1), fork[0]);
}
