//! The pool is killed again and again while devices mine. What it has acknowledged is in its ledger, once.

use std::collections::HashSet;
use std::time::Duration;

use rand::Rng;

use assay_system_tests::assay::{AssayPool, PoolSettings};
use assay_system_tests::books::{
    assert_nothing_lost_nor_twice, wait_until_books_follow, wait_until_pool_follows,
};
use assay_system_tests::process;
use assay_system_tests::real_node::RealNode;
use assay_system_tests::recording_device::{Kind, Record, RecordingDevice};
use assay_system_tests::waiting::wait_until;

const KILLS: u32 = 10;

/// Channels of each device: with ten shares a second on each, some hundreds of shares a second in all.
const CHANNELS: u32 = 24;

// proves: PO-04 PO-06 PO-11 MP-100 MP-129
#[test]
fn no_acknowledged_share_is_lost_and_none_is_counted_twice() {
    let _processor = process::processor();
    let node = RealNode::start();
    let settings = PoolSettings { shares_per_minute: 600, min_share_hashes: 4096, ..PoolSettings::default() };
    let mut pool = AssayPool::start(&node, &settings);
    let devices = [
        RecordingDevice::start(pool.addresses(), Kind::Standard, CHANNELS),
        RecordingDevice::start(pool.addresses(), Kind::Extended, CHANNELS),
    ];
    for _ in 0..KILLS {
        wait_until_all_mine(&devices);
        std::thread::sleep(Duration::from_millis(rand::thread_rng().gen_range(0..1500)));
        pool.kill();
        pool.verify_ledger();
        pool.restart();
    }
    wait_until_all_mine(&devices);
    // In good order this time, yet still in the middle of everything.
    pool.stop();
    let records = devices.map(RecordingDevice::stop);
    pool.verify_ledger();
    pool.restart();
    for record in &records {
        assert!(record.connections > KILLS, "each kill ended a connection of each device");
        assert_books_agree(record, &pool);
    }
    let given: Vec<_> = records.iter().flat_map(|record| &record.extranonces).collect();
    let distinct: HashSet<_> = given.iter().collect();
    assert_eq!(given.len(), distinct.len(), "an extranonce was given to two channels");
    wait_until_books_follow(&pool, &node);
}

/// A block goes to the node before it goes into the books. Whoever kills the pool in between takes nothing from its
/// miners.
#[test]
fn blocks_found_at_the_moment_of_a_kill_are_booked() {
    let _processor = process::processor();
    let node = RealNode::start();
    let mut pool = AssayPool::start(&node, &PoolSettings::default());
    let devices =
        [Kind::Standard, Kind::Extended].map(|kind| RecordingDevice::start(pool.addresses(), kind, 1));
    for _ in 0..KILLS {
        let tip = node.tip();
        wait_until("another block", Duration::from_secs(60), || node.tip() != tip);
        pool.kill();
        pool.restart();
    }
    for device in devices {
        device.stop();
    }
    wait_until_pool_follows(&pool, &node);
    wait_until_books_follow(&pool, &node);
}

/// Every device has had shares acknowledged since now.
fn wait_until_all_mine(devices: &[RecordingDevice; 2]) {
    for device in devices {
        let before = device.record().acknowledged_shares();
        wait_until("a device has twenty more shares acknowledged", Duration::from_secs(30), || {
            device.record().acknowledged_shares() >= before + 20
        });
    }
}

fn assert_books_agree(record: &Record, pool: &AssayPool) {
    assert_eq!(record.faults, Vec::<String>::new());
    assert_nothing_lost_nor_twice(record, pool);
    // The tip changes under shares in flight now and then. Nothing else is wrong with them.
    let stale = record.refused.get("stale-share").copied().unwrap_or(0);
    assert_eq!(record.refused.values().sum::<u64>(), stale, "{:?}", record.refused);
    assert!(stale * 20 <= record.acknowledged_shares(), "{stale} of {}", record.acknowledged_shares());
}
