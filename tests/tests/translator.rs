//! SV1 miners through the reference implementation's translator on `assay pool` and a real node.

use std::time::Duration;

use assay_system_tests::assay::{AssayPool, PoolSettings, payout_key};
use assay_system_tests::process;
use assay_system_tests::real_node::RealNode;
use assay_system_tests::signet::{PREPARED_HEIGHT, payout_script};
use assay_system_tests::sv1_miner::{Sv1Miner, Tally, VersionRolling};
use assay_system_tests::translator::{Channels, Translator};
use assay_system_tests::waiting::wait_until;

/// Some twenty shares and a block are a few seconds of one core.
const MINING: Duration = Duration::from_secs(90);

#[test]
fn aggregated_miners_find_a_block() {
    mine_through(Channels::Aggregated);
}

#[test]
fn miners_with_channels_of_their_own_find_a_block() {
    mine_through(Channels::OnePerMiner);
}

fn mine_through(channels: Channels) {
    let _processor = process::processor();
    let node = RealNode::start();
    let pool = AssayPool::start(&node, &PoolSettings::default());
    let key = payout_key();
    let translator = Translator::start(&pool, &key, channels);

    let mut tallies = Vec::new();
    for rolling in [VersionRolling::Negotiated, VersionRolling::Never] {
        let mut miner = Sv1Miner::connect(translator.address(), "whoever.rig", rolling);
        let before = node.height();
        tallies.push(miner.mine_until("twenty shares and a block", MINING, |tally| {
            tally.accepted >= 20 && tally.blocks >= 1
        }));
        wait_until("the node has the block", Duration::from_secs(10), || node.height() > before);
    }

    for height in PREPARED_HEIGHT + 1..=node.height() {
        assert_eq!(node.block(height).txdata[0].output[0].script_pubkey, payout_script());
    }
    assert!(tallies.iter().all(few_refused), "{tallies:?}");
    assert!(pool.total_credit(&key) > 0, "{}", translator.log());
    // A miner hears of its own block a moment after the pool does.
    let shares = |verdict: &str| pool.metric(&format!("assay_shares_{verdict}_total"));
    assert!(shares("rejected") * 10 <= shares("accepted"), "{}", pool.page("/metrics").unwrap_or_default());
    pool.verify_ledger();
}

/// Work for a block that was just replaced may be refused, nothing else.
fn few_refused(tally: &Tally) -> bool {
    tally.refused.len() <= 2
}
