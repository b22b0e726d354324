use ledger::{BlockStatus, Ledger, Params};
use node::{Devchain, DevchainConfig, devchain};

use super::*;

/// A chain that is reorganised while a restarted pool looks at it again, below the blocks that its ledger has.
#[test]
fn a_block_that_leaves_the_chain_while_it_is_looked_at_again_is_reversed() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, handle) = Ledger::open(dir.path().join("ledger.sqlite"), Params::default()).unwrap();
    let chain = Devchain::new(DevchainConfig::default(), devchain::system_clock()).unwrap();
    let payout_script = ScriptBuf::from_bytes(vec![0x51, 0x51]);
    let floor = chain.tip().unwrap();
    let follower = || ChainFollower {
        node: Arc::new(chain.clone()),
        ledger: handle.clone(),
        stats: PoolStats::new(),
        payout_script: payout_script.clone(),
        tag: Vec::new(),
        floor,
        stop: Stop::new(),
    };
    let status = |hash: BlockHash| {
        let blocks = handle.reader().unwrap().blocks(None, 100).unwrap();
        blocks.iter().find(|block| block.hash.to_bytes() == hash.to_byte_array()).unwrap().status
    };
    chain.mine_fork(&floor.hash, 20).unwrap();
    let fork = chain.tip().unwrap();
    let ours = chain.mine_block(payout_script.clone()).unwrap();
    let before = follower();
    let mut following = before.begin().unwrap();
    while before.step(&mut following).unwrap() {}
    assert_eq!(status(ours.hash), BlockStatus::Connected);

    let after = follower();
    let mut following = after.begin().unwrap();
    chain.mine_fork(&fork.hash, 2).unwrap();
    while after.step(&mut following).unwrap() {}
    assert_eq!(status(ours.hash), BlockStatus::Disconnected);
    assert_eq!(handle.summary().rewards, Msats::ZERO);
    ledger.close().unwrap();
}
