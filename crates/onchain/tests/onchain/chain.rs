//! Coinbases and reorganisations.

use {
    crate::rig::{MATURITY, Rig, SUBSIDY, devchain, id, open, recipient},
    bitcoin::{Amount, FeeRate},
    node::{ChainEvent, Node, Stop, Tip},
    onchain::{Follower, Keys, Maturing, OnchainConfig, OnchainError, OnchainWallet, PayoutStatus},
    std::{
        sync::Arc,
        time::{Duration, Instant},
    },
};

#[test]
fn coinbases_mature_one_by_one() {
    let rig = Rig::new();
    rig.mine(2);
    let reserves = rig.wallet.reserves().unwrap();
    assert_eq!((reserves.mature, reserves.immature), (Amount::ZERO, SUBSIDY * 2));
    // The coinbase of block 1 may be spent in block 1 + 4, so by a transaction that is sent at height 4.
    let maturing = |height| Maturing { height, amount: SUBSIDY };
    assert_eq!(reserves.maturing, [maturing(MATURITY), maturing(MATURITY + 1)]);
    rig.mine_others(1);
    assert_eq!(rig.wallet.reserves().unwrap().mature, Amount::ZERO);
    assert!(matches!(
        rig.wallet.estimate(&recipient(1), Amount::from_sat(1_000), FeeRate::BROADCAST_MIN),
        Err(OnchainError::Funds { available: Amount::ZERO, .. })
    ));
    rig.mine_others(1);
    let reserves = rig.wallet.reserves().unwrap();
    assert_eq!((reserves.mature, reserves.immature), (SUBSIDY, SUBSIDY));
    assert_eq!(reserves.maturing, [maturing(MATURITY + 1)]);
    assert_eq!(reserves.as_of, rig.chain.tip().unwrap());
    assert_eq!(reserves.total(), SUBSIDY * 2);

    // The node is of the same opinion, to the block.
    rig.request("first", 1, 10_000);
    assert!(rig.wallet.build_batch(FeeRate::BROADCAST_MIN).unwrap().txid.is_some());
    rig.send();
    rig.mine_others(1);
    assert!(matches!(rig.status("first"), PayoutStatus::Confirmed { height: 5, .. }));
}

#[test]
fn reserves_serialise_as_satoshi() {
    let rig = Rig::new();
    rig.mine(1);
    let json = serde_json::to_value(rig.wallet.reserves().unwrap()).unwrap();
    assert_eq!(json["immature"], 50_000_000);
    assert_eq!(json["maturing"], serde_json::json!([{ "height": 4, "amount": 50_000_000 }]));
}

#[test]
fn a_coinbase_leaves_the_chain() {
    let rig = Rig::new();
    rig.mine(2);
    rig.reorganise(1);
    let events = rig.catch_up();
    assert!(matches!(events[0], ChainEvent::Disconnected { height: 2, .. }));
    let reserves = rig.wallet.reserves().unwrap();
    assert_eq!(reserves.total(), SUBSIDY);
    assert_eq!(reserves.maturing.len(), 1);

    // Its branch comes back.
    let fork = match events[0] {
        ChainEvent::Disconnected { hash, .. } => hash,
        ChainEvent::Connected { .. } => unreachable!(),
    };
    rig.chain.mine_fork(&fork, 3).unwrap();
    rig.catch_up();
    assert_eq!(rig.wallet.reserves().unwrap().total(), SUBSIDY * 2);
}

/// Between the two events of a reorganisation the block is gone already, also for a wallet that is opened then.
#[test]
fn a_chain_gets_shorter() {
    let mut rig = Rig::new();
    rig.mine(3);
    let second = rig.chain.block_hash(2).unwrap().unwrap();
    rig.chain.invalidate(&second).unwrap();
    rig.catch_up();
    assert_eq!(rig.wallet.followed().unwrap().height, 1);
    assert_eq!(rig.wallet.reserves().unwrap().total(), SUBSIDY);
    rig.kill();
    assert_eq!(rig.wallet.reserves().unwrap().total(), SUBSIDY);
    rig.chain.reconsider(&second).unwrap();
    rig.catch_up();
    assert_eq!(rig.wallet.reserves().unwrap().total(), SUBSIDY * 3);
}

#[test]
fn a_wallet_that_was_away_catches_up() {
    let mut rig = Rig::new();
    rig.mine(3);
    // While it was away two of its blocks left the chain, and others came.
    rig.reorganise(2);
    rig.chain.mine_block(rig.wallet.payout_script().into()).unwrap();
    rig.kill();
    rig.catch_up();
    assert_eq!(rig.wallet.reserves().unwrap().total(), SUBSIDY * 2);
}

/// What is deep and says nothing is dropped, and nothing else: payouts and coins of those blocks stay.
#[test]
fn old_blocks_that_say_nothing_are_dropped() {
    let mut rig = Rig::with_coins(2);
    rig.request("one", 1, 25_000);
    rig.wallet.build_batch(FeeRate::BROADCAST_MIN).unwrap();
    rig.send();
    rig.mine_others(1);
    let (status, reserves) = (rig.status("one"), rig.wallet.reserves().unwrap());
    let kept = |rig: &Rig| -> Vec<u32> {
        let db = rusqlite::Connection::open(rig.directory.path().join("onchain.sqlite")).unwrap();
        let mut select = db.prepare("SELECT block_height FROM bdk_blocks ORDER BY 1").unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    // Opened anew it has the first block, the two coinbases, the payout; and 250 below the tip.
    rig.mine_others(300);
    rig.kill();
    let blocks = kept(&rig);
    assert_eq!((&blocks[..4], blocks[4], blocks.len()), (&[0, 1, 2, 7][..], 57, 4 + 251));
    assert_eq!(rig.status("one"), status);
    assert_eq!(rig.wallet.reserves().unwrap().total(), reserves.total());
    rig.reorganise(30);
    rig.catch_up();
    assert_eq!(rig.wallet.reserves().unwrap().total(), reserves.total());
    // Without a restart it happens, too.
    rig.mine_others(150);
    rig.wallet.reserves().unwrap();
    assert!(kept(&rig).len() < 350);
    assert_eq!(rig.status("one"), status);
}

#[test]
fn events_must_follow_each_other() {
    let rig = Rig::new();
    rig.mine(3);
    let script = rig.wallet.payout_script().to_owned();
    let (fourth, fifth) =
        (rig.chain.mine_block(script.clone()).unwrap(), rig.chain.mine_block(script).unwrap());
    let connected = |tip: Tip| ChainEvent::Connected { height: tip.height, hash: tip.hash };
    let gap = rig.wallet.follow(connected(fifth)).unwrap_err();
    assert!(matches!(gap, OnchainError::Gap { .. }), "{gap}");
    let second = Tip { height: 2, hash: rig.chain.block_hash(2).unwrap().unwrap() };
    let gap = rig.wallet.follow(ChainEvent::Disconnected { height: 2, hash: second.hash }).unwrap_err();
    assert!(matches!(gap, OnchainError::Gap { .. }), "{gap}");
    rig.wallet.follow(connected(fourth)).unwrap();
    rig.wallet.follow(connected(fifth)).unwrap();
    assert_eq!(rig.wallet.reserves().unwrap().total(), SUBSIDY * 5);
}

/// A wallet that begins at a block which then leaves the chain goes on from the one below.
#[test]
fn the_birthday_leaves_the_chain() {
    let chain = devchain();
    let mut tips = Vec::new();
    for _ in 0..3 {
        tips.push(chain.mine_block(recipient(1)).unwrap());
    }
    let directory = tempfile::tempdir().unwrap();
    let config = OnchainConfig { birthday: tips[2], maturity: MATURITY };
    let node: Arc<dyn Node> = Arc::new(chain.clone());
    let wallet = OnchainWallet::open(directory.path(), Arc::clone(&node), Keys::Kept, config).unwrap().wallet;
    assert_eq!(wallet.followed().unwrap(), tips[2]);
    chain.mine_fork(&tips[0].hash, 3).unwrap();
    chain.mine_block(wallet.payout_script().into()).unwrap();
    crate::rig::catch_up(&node, &wallet);
    assert_eq!(wallet.reserves().unwrap().total(), SUBSIDY);
}

#[test]
fn the_thread_follows_and_sends() {
    let rig = Rig::with_coins(1);
    rig.request("one", 1, 20_000);
    let txid = rig.wallet.build_batch(FeeRate::BROADCAST_MIN).unwrap().txid.unwrap();
    let stop = Stop::new();
    let thread = Follower::new(rig.wallet.clone(), stop.clone()).start().unwrap();
    wait(|| rig.chain.mempool() == [txid]);
    let tip = rig.chain.mine_block(rig.wallet.payout_script().into()).unwrap();
    wait(|| rig.wallet.followed().unwrap() == tip);
    let PayoutStatus::Confirmed { fee_paid, .. } = rig.status("one") else { panic!() };
    assert_eq!(rig.wallet.reserves().unwrap().total(), SUBSIDY * 2 - Amount::from_sat(20_000));
    assert_eq!(rig.value(rig.chain.coins(rig.wallet.payout_script())[0].outpoint), SUBSIDY + fee_paid);
    stop.stop();
    thread.join().unwrap();
    assert!(rig.wallet.payout(&id("two")).unwrap().is_none());
}

fn wait(mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ready() {
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A phrase is the whole wallet: the same coins are found in an empty directory.
#[test]
fn a_phrase_restores_the_wallet() {
    let rig = Rig::with_coins(2);
    rig.request("one", 1, 70_000);
    rig.wallet.build_batch(FeeRate::BROADCAST_MIN).unwrap();
    rig.send();
    rig.mine(1);
    let before = rig.wallet.reserves().unwrap();
    assert_eq!(before.under_way, Amount::ZERO);

    let phrase = std::fs::read_to_string(rig.directory.path().join("onchain.seed")).unwrap();
    assert_eq!(phrase.split_whitespace().count(), 12);
    let empty = tempfile::tempdir().unwrap();
    let opened = open(&rig.chain, empty.path(), Keys::Restored(phrase.parse().unwrap())).unwrap();
    assert!(opened.new_phrase.is_none());
    assert_eq!(opened.wallet.payout_script(), rig.wallet.payout_script());
    crate::rig::catch_up(&rig.node(), &opened.wallet);
    assert_eq!(opened.wallet.reserves().unwrap(), before);

    // It cannot know what the other one has paid for, and says so before it pays anything.
    let max_fee = Amount::from_sat(10_000);
    opened.wallet.request(&id("one"), &recipient(1), Amount::from_sat(70_000), max_fee).unwrap();
    let error = opened.wallet.build_batch(FeeRate::BROADCAST_MIN).unwrap_err();
    assert!(matches!(error, OnchainError::ForeignSpend { .. }), "{error}");
}
