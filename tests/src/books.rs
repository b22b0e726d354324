//! The pool's books beside the node's chain: what both must agree about.

use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::Block;

use crate::assay::{AssayPool, TAG, number};
use crate::real_node::RealNode;
use crate::recording_device::Record;
use crate::signet::PREPARED_HEIGHT;
use crate::waiting::wait_until;

/// Time for the pool to notice a block and to book it.
const NOTICE: Duration = Duration::from_secs(20);

/// The block carries the pool's tag.
pub fn from_the_pool(block: &Block) -> bool {
    let script = block.txdata[0].input[0].script_sig.as_bytes();
    script.windows(TAG.len()).any(|window| window == TAG.as_bytes())
}

/// The blocks that have paid into pots and still count, by height, as the pool's books have them.
pub fn counted_blocks(pool: &AssayPool) -> BTreeMap<u64, String> {
    let blocks = pool.blocks().into_iter();
    let counted = blocks.filter(|block| block["status"] == "connected" || block["status"] == "final");
    counted
        .map(|block| (number(&block["height"]), block["hash"].as_str().expect("a hash").to_owned()))
        .collect()
}

/// The blocks of the node's chain that are the pool's, by height.
fn pool_blocks_of_chain(node: &RealNode) -> BTreeMap<u64, String> {
    let heights = PREPARED_HEIGHT + 1..=node.height();
    let ours = heights.filter(|height| from_the_pool(&node.block(*height)));
    ours.map(|height| (u64::from(height), node.block_hash(height).to_string())).collect()
}

/// What the pool has credited to each key of a device is what it has acknowledged at least, and what the device has sent
/// at most.
pub fn assert_nothing_lost_nor_twice(record: &Record, pool: &AssayPool) {
    for (key, account) in &record.accounts {
        let credited = pool.total_credit(key);
        assert!(
            credited >= account.acknowledged,
            "{key}: {credited} credited of {account:?}: shares are lost"
        );
        assert!(
            credited <= account.submitted,
            "{key}: {credited} credited of {account:?}: shares count twice"
        );
    }
}

/// Waits until the pool builds on the node's last block.
pub fn wait_until_pool_follows(pool: &AssayPool, node: &RealNode) {
    wait_until("the pool works on the node's tip", NOTICE, || {
        pool.health().is_some_and(|health| health["tip"]["hash"] == node.tip().to_string())
    });
}

/// Waits until the pool's books count exactly those of its blocks that are in the node's chain, and are clean. Nobody may mine
/// meanwhile; a block that the node has missed may still be handed in.
pub fn wait_until_books_follow(pool: &AssayPool, node: &RealNode) {
    let (mut tip, mut expected) = (node.tip(), pool_blocks_of_chain(node));
    wait_until("the books count the pool's blocks of the node's chain", NOTICE, || {
        if node.tip() != tip {
            (tip, expected) = (node.tip(), pool_blocks_of_chain(node));
        }
        counted_blocks(pool) == expected
    });
    pool.verify_ledger();
}
