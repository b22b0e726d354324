//! Processes that stand still for a while (SIGSTOP), as machines do when they sleep, swap or move: devices keep their
//! connections, nothing acknowledged is lost, and the pause is nobody's fault.

use std::time::Duration;

use sv2::mining::MiningFromServer;

use assay_system_tests::assay::{AssayPool, PoolSettings};
use assay_system_tests::books::{
    assert_nothing_lost_nor_twice, from_the_pool, wait_until_books_follow, wait_until_pool_follows,
};
use assay_system_tests::process;
use assay_system_tests::real_node::RealNode;
use assay_system_tests::recording_device::{Kind, Newcomer, Record, RecordingDevice};
use assay_system_tests::waiting::wait_until;

/// For everything that takes seconds at most on an idle machine.
const SOON: Duration = Duration::from_secs(60);

fn wait_until_acknowledged(devices: &[RecordingDevice], more: u64) {
    for device in devices {
        let before = device.record().acknowledged_shares();
        wait_until("a device has more shares acknowledged", SOON, || {
            device.record().acknowledged_shares() >= before + more
        });
    }
}

/// No target was eased by more than `rungs` steps since `before`: silence that the pool caused does not count.
fn assert_no_target_ran_away(before: &Record, after: &Record, rungs: u32) {
    for (key, hashes) in &before.share_hashes {
        let now = after.share_hashes[key];
        assert!(now << rungs >= *hashes, "{key}: a share took {hashes} hashes, now {now}");
    }
}

// proves: PO-04
#[test]
fn a_pool_that_stood_still_goes_on() {
    let _processor = process::processor();
    let node = RealNode::start();
    let settings = PoolSettings { shares_per_minute: 600, min_share_hashes: 256, ..PoolSettings::default() };
    let pool = AssayPool::start(&node, &settings);
    let devices =
        [Kind::Standard, Kind::Extended].map(|kind| RecordingDevice::start(pool.addresses(), kind, 12));
    // Long enough for targets to be right: some tens of shares a channel.
    wait_until_acknowledged(&devices, 600);
    for pause in [1, 4] {
        let before = devices.each_ref().map(RecordingDevice::record);
        pool.signal("STOP");
        std::thread::sleep(Duration::from_secs(pause));
        pool.signal("CONT");
        wait_until_acknowledged(&devices, 50);
        for (device, before) in devices.iter().zip(&before) {
            let after = device.record();
            assert_eq!((after.connections, &after.faults), (1, &Vec::new()), "after {pause} s");
            assert_no_target_ran_away(before, &after, 2);
        }
        wait_until("the pool is well", SOON, || pool.status() == "ok");
    }
    let records = devices.map(RecordingDevice::stop);
    for record in &records {
        assert_nothing_lost_nor_twice(record, &pool);
        // What was mined on an old tip while the pool stood still came too late. Nothing else is wrong with it.
        assert!(record.refused.keys().all(|code| code == "stale-share"), "{:?}", record.refused);
    }
    wait_until_pool_follows(&pool, &node);
    wait_until_books_follow(&pool, &node);
}

/// More connections than one look at the system tells of, all of which have spoken in time, though the pool had not
/// listened: none is closed for having been silent.
#[test]
fn deadlines_wait_for_a_pool_that_stood_still() {
    const CONNECTIONS: usize = 600;
    let _processor = process::processor();
    let node = RealNode::start();
    let settings = PoolSettings { shards: 1, first_channel_seconds: 6, ..PoolSettings::default() };
    let pool = AssayPool::start(&node, &settings);
    // On a busy machine the first of them may have to give up before the last has come.
    let mut newcomers: Vec<Newcomer> = Vec::new();
    wait_until("so many connections within their time", SOON, || {
        newcomers = (0..CONNECTIONS).map_while(|_| Newcomer::connect(pool.addresses()).ok()).collect();
        newcomers.len() == CONNECTIONS
            && pool.health().is_some_and(|health| health["connections"] == CONNECTIONS)
    });
    pool.signal("STOP");
    for newcomer in &mut newcomers {
        newcomer.ask_for_channel().expect("the system takes it for the pool");
    }
    std::thread::sleep(Duration::from_secs(7));
    pool.signal("CONT");
    for mut newcomer in newcomers {
        let answer = newcomer.answer(|answer| {
            assert!(matches!(answer, MiningFromServer::OpenStandardMiningChannelSuccess(_)), "{answer:?}");
        });
        answer.expect("the connection is open");
    }
}

#[test]
fn a_node_that_stood_still_is_waited_for() {
    let _processor = process::processor();
    let node = RealNode::start();
    let pool = AssayPool::start(
        &node,
        &PoolSettings { shares_per_minute: 600, min_share_hashes: 4096, ..PoolSettings::default() },
    );
    let devices = [RecordingDevice::start(pool.addresses(), Kind::Extended, 8)];
    wait_until_acknowledged(&devices, 50);
    let height = node.height();

    node.signal("STOP");
    wait_until("the pool says that its node does not answer", SOON, || pool.status() == "degraded");
    let found = pool.metric("assay_blocks_found_total");
    wait_until("a block that the node does not take", SOON, || {
        pool.metric("assay_blocks_found_total") > found || pool.kept_blocks() > 0
    });
    wait_until_acknowledged(&devices, 20);
    node.signal("CONT");

    wait_until("the pool is well again", SOON, || pool.status() == "ok");
    wait_until("the block has reached the node", SOON, || node.height() > height);
    assert!(from_the_pool(&node.block(height + 1)));
    wait_until_acknowledged(&devices, 20);
    for record in devices.map(RecordingDevice::stop) {
        assert_eq!((record.connections, &record.faults), (1, &Vec::new()));
        assert_nothing_lost_nor_twice(&record, &pool);
    }
    wait_until_pool_follows(&pool, &node);
    wait_until_books_follow(&pool, &node);
}
