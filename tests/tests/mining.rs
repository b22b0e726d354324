//! `assay mine` through `assay pool` on a real node: blocks, transactions, reorgs, and a node that dies.

use std::time::Duration;

use bitcoin::{Amount, Block};
use serde_json::Value;

use assay_system_tests::assay::{AssayPool, Miner, PoolSettings, number, payout_key};
use assay_system_tests::books::{
    counted_blocks, from_the_pool, wait_until_books_follow, wait_until_pool_follows,
};
use assay_system_tests::process;
use assay_system_tests::real_node::RealNode;
use assay_system_tests::signet::{PREPARED_HEIGHT, SUBSIDY, payout_script};
use assay_system_tests::waiting::wait_until;

/// A block takes half a second on an idle machine. Bad luck and a busy machine may cost a hundred times that.
const BLOCK: Duration = Duration::from_secs(60);

/// eHash of a block's expected work.
const ONE_BLOCK: u64 = 1 << 50;

/// The block carries the pool's tag and pays everything to the pool's script.
fn assert_from_the_pool(block: &Block, fees: Amount) {
    let coinbase = &block.txdata[0];
    assert!(from_the_pool(block), "no tag in {:02x?}", coinbase.input[0].script_sig.as_bytes());
    assert_eq!(coinbase.output[0].script_pubkey, payout_script());
    assert_eq!(coinbase.output[0].value, SUBSIDY + fees);
}

fn mine_up_to(node: &RealNode, height: u32) {
    wait_until(&format!("a block at height {height}"), BLOCK, || node.height() >= height);
}

// proves: PO-01 PO-03 MP-17 MP-18 MP-94 BW-09
#[test]
fn twenty_blocks_in_a_row() {
    let _processor = process::processor();
    let node = RealNode::start();
    let settings = PoolSettings::default();
    let mut pool = AssayPool::start(&node, &settings);
    let keys = [payout_key(), payout_key()];
    let miners = [
        Miner::start(&pool, &format!("{}.rig", keys[0]), "standard", 1),
        Miner::start(&pool, &keys[1], "extended", 1),
    ];
    for height in PREPARED_HEIGHT + 1..=PREPARED_HEIGHT + 20 {
        mine_up_to(&node, height);
    }
    let summaries = miners.map(Miner::stop);
    wait_until_pool_follows(&pool, &node);

    let height = node.height();
    for height in PREPARED_HEIGHT + 1..=height {
        assert_from_the_pool(&node.block(height), Amount::ZERO);
    }
    let blocks = u64::from(height - PREPARED_HEIGHT);
    assert!(number(&pool.health().expect("the pool answers")["blocks_found"]) >= blocks);
    assert!(summaries.iter().map(|summary| number(&summary["blocks_found"])).sum::<u64>() >= blocks);
    assert_credits(&pool, &settings, &keys, &summaries);
    assert_eq!(pool.status(), "ok");
    pool.verify_ledger();
    pool.stop();
    pool.verify_ledger();
}

/// What the pool's books say agrees with itself and with what the miners were told.
fn assert_credits(pool: &AssayPool, settings: &PoolSettings, keys: &[String; 2], summaries: &[Value; 2]) {
    for (key, summary) in keys.iter().zip(summaries) {
        let (credited, told) = (pool.total_credit(key), number(&summary["ehash_credited"]));
        assert!(told > 0, "{summary}");
        // A share in flight when the miner stopped is credited, yet the miner did not hear of it.
        assert!(credited >= told, "the miner was told of {told} eHash, the pool has credited {credited}");
        assert_rejected_for_blocks_alone(summary);
    }
    let total: u64 = keys.iter().map(|key| pool.total_credit(key)).sum();
    let epoch = ONE_BLOCK >> settings.q;
    let epochs = pool.epochs();
    let closed = epochs.iter().filter(|epoch| epoch["state"] != "open").count();
    assert_eq!(closed as u64, total / epoch, "an epoch closes with exactly {epoch} eHash: {epochs:?}");
}

/// Shares that were on their way when a block came are stale, and nothing else is wrong with any. At this pace a device sends
/// about one share a block.
fn assert_rejected_for_blocks_alone(summary: &Value) {
    let rejected = number(&summary["shares_rejected"]);
    assert!(rejected * 4 < number(&summary["shares_submitted"]), "{summary}");
    let codes = summary["rejected_by_code"].as_object().expect("a count for each code");
    assert!(codes.keys().all(|code| code == "stale-share"), "{summary}");
}

// proves: BW-01 BW-03 BW-04 MP-92 MP-93 CH-15
#[test]
fn blocks_carry_the_mempool() {
    let _processor = process::processor();
    let node = RealNode::start();
    let transactions = node.fill_mempool(60);
    let pool = AssayPool::start(&node, &PoolSettings::default());
    let _miner = Miner::start(&pool, &payout_key(), "extended", 2);
    mine_up_to(&node, PREPARED_HEIGHT + 1);

    let block = node.block(PREPARED_HEIGHT + 1);
    assert_eq!(block.txdata.len(), 1 + transactions.len());
    let fees: u64 = (500..560).sum();
    assert_from_the_pool(&block, Amount::from_sat(fees));
    assert!(transactions.iter().all(|transaction| block.txdata.contains(transaction)));
    assert!(block.check_witness_commitment() && block.check_merkle_root());

    mine_up_to(&node, PREPARED_HEIGHT + 2);
    assert_from_the_pool(&node.block(PREPARED_HEIGHT + 2), Amount::ZERO);
    pool.verify_ledger();
}

// proves: MP-108
#[test]
fn a_reorg_takes_a_block_out_of_the_pots() {
    let _processor = process::processor();
    let node = RealNode::start();
    let pool = AssayPool::start(&node, &PoolSettings::default());
    let key = payout_key();
    let miner = Miner::start(&pool, &key, "standard", 2);
    mine_up_to(&node, PREPARED_HEIGHT + 3);
    miner.stop();
    wait_until_pool_follows(&pool, &node);
    wait_until_books_follow(&pool, &node);
    let (height, lost, credited) = (node.height(), node.tip(), pool.total_credit(&key));
    assert_eq!(counted_blocks(&pool).len(), (height - PREPARED_HEIGHT) as usize, "every block is the pool's");

    node.invalidate(lost);
    let fork = node.mine(2, b"fork");
    wait_until_pool_follows(&pool, &node);
    wait_until_books_follow(&pool, &node);
    assert!(!counted_blocks(&pool).values().any(|block| *block == lost.to_string()));
    assert_eq!(pool.total_credit(&key), credited, "issuance does not depend on the chain");

    let miner = Miner::start(&pool, &key, "extended", 2);
    mine_up_to(&node, height + 2);
    miner.stop();
    let block = node.block(height + 2);
    assert_eq!(block.header.prev_blockhash, fork[1], "the pool builds on the longer fork");
    assert_from_the_pool(&block, Amount::ZERO);

    // The fork turns out to be invalid in its turn, and the first chain comes back.
    node.invalidate(fork[0]);
    node.reconsider(lost);
    assert_eq!(node.tip(), lost);
    wait_until_pool_follows(&pool, &node);
    wait_until_books_follow(&pool, &node);
}

#[test]
fn mining_resumes_when_a_killed_node_returns() {
    let _processor = process::processor();
    let mut node = RealNode::start();
    let pool = AssayPool::start(&node, &PoolSettings::default());
    let mut miner = Miner::start(&pool, &payout_key(), "standard", 2);
    mine_up_to(&node, PREPARED_HEIGHT + 2);

    node.flush();
    node.kill();
    wait_until("the pool says that its node is gone", Duration::from_secs(30), || {
        pool.status() == "degraded"
    });
    node.restart();
    let height = node.height();
    assert!(height >= PREPARED_HEIGHT + 2, "the node has kept what it flushed");
    mine_up_to(&node, height + 2);
    wait_until("the pool is well again", Duration::from_secs(30), || pool.status() == "ok");
    assert!(miner.is_running());
    assert_from_the_pool(&node.block(height + 1), Amount::ZERO);

    // Killed again, now with blocks that it has not yet flushed: it comes back without them.
    let height = node.height();
    mine_up_to(&node, height + 1);
    node.kill();
    node.restart();
    let height = node.height();
    mine_up_to(&node, height + 2);
    assert_from_the_pool(&node.block(height + 1), Amount::ZERO);
    miner.stop();
    wait_until_pool_follows(&pool, &node);
    wait_until_books_follow(&pool, &node);
}

/// Kills the node and mines a block that it therefore does not get. Returns the height of the node's tip.
fn mine_without_the_node(node: &mut RealNode, pool: &AssayPool) -> u32 {
    let miner = Miner::start(pool, &payout_key(), "extended", 2);
    mine_up_to(node, PREPARED_HEIGHT + 1);
    miner.stop();
    // The node dies when the pool works on its tip; else the block below would compete with that tip, and lose.
    let height = node.height();
    wait_until("work on the node's tip", BLOCK, || {
        pool.health().is_some_and(|health| health["working_height"] == height + 1)
    });
    node.flush();
    node.kill();
    let found = pool.metric("assay_blocks_found_total");
    let miner = Miner::start(pool, &payout_key(), "extended", 2);
    wait_until("a block without a node", BLOCK, || pool.metric("assay_blocks_found_total") > found);
    miner.stop();
    height
}

// proves: PO-03
#[test]
fn a_block_found_while_the_node_is_down_reaches_it_later() {
    let _processor = process::processor();
    let mut node = RealNode::start();
    let pool = AssayPool::start(&node, &PoolSettings::default());
    let height = mine_without_the_node(&mut node, &pool);

    node.restart();
    mine_up_to(&node, height + 1);
    assert_from_the_pool(&node.block(height + 1), Amount::ZERO);
    wait_until_books_follow(&pool, &node);
}

// proves: PO-03
#[test]
fn a_block_found_while_the_node_is_down_reaches_it_even_if_the_pool_dies_too() {
    let _processor = process::processor();
    let mut node = RealNode::start();
    let mut pool = AssayPool::start(&node, &PoolSettings::default());
    let height = mine_without_the_node(&mut node, &pool);
    wait_until("the block on disk", BLOCK, || pool.kept_blocks() > 0);
    pool.kill();

    node.restart();
    assert_eq!(node.height(), height);
    pool.restart();
    mine_up_to(&node, height + 1);
    assert_from_the_pool(&node.block(height + 1), Amount::ZERO);
    wait_until_books_follow(&pool, &node);
    wait_until("nothing kept any more", BLOCK, || pool.kept_blocks() == 0);
}
