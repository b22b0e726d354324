//! SV1 miners through the reference implementation's translator on `assay pool` and a real node.

use std::time::Duration;

use assay_system_tests::assay::{AssayPool, PoolSettings, number, payout_key};
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

    let rolling = [VersionRolling::Negotiated, VersionRolling::Never];
    let miners = rolling.map(|rolling| Sv1Miner::connect(translator.address(), "whoever.rig", rolling));
    let expected = if channels == Channels::Aggregated { 1 } else { miners.len() };
    assert_eq!(pool.health().map(|health| number(&health["channels"])), Some(expected as u64));
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let mining = miners.map(|mut miner| {
            scope.spawn(move || {
                miner.mine_until("twenty shares and a block", MINING, |tally| {
                    tally.accepted >= 20 && tally.blocks >= 1
                })
            })
        });
        mining.map(|thread| thread.join().expect("the miner found what it was to find")).into()
    });
    wait_until("the node has a block", Duration::from_secs(10), || node.height() > PREPARED_HEIGHT);

    for height in PREPARED_HEIGHT + 1..=node.height() {
        assert_eq!(node.block(height).txdata[0].output[0].script_pubkey, payout_script());
    }
    // Work for a block that was just replaced is refused, nothing else.
    let refused = tallies.iter().flat_map(|tally| &tally.refused);
    let others: Vec<&String> = refused.filter(|error| !error.contains("Job not found")).collect();
    assert!(others.is_empty(), "{tallies:?}");
    let (rejected, stale) =
        ("assay_shares_rejected_total", "assay_shares_rejected_total{code=\"stale-share\"}");
    assert_eq!(pool.metric(rejected), pool.metric(stale), "{}", pool.page("/metrics").unwrap_or_default());
    assert!(pool.total_credit(&key) > 0, "{}", translator.log());
    pool.verify_ledger();
}
