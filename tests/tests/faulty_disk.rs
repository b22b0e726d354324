//! A disk that is full, that turns read-only, that takes no more writes: shares are not acknowledged, everything else
//! goes on, and nothing is lost.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use assay_system_tests::assay::{AssayPool, PoolSettings, Surroundings, number};
use assay_system_tests::books::{
    assert_nothing_lost_nor_twice, from_the_pool, wait_until_books_follow, wait_until_pool_follows,
};
use assay_system_tests::disk::{self, Disk};
use assay_system_tests::process;
use assay_system_tests::real_node::RealNode;
use assay_system_tests::recording_device::{Kind, Record, RecordingDevice};
use assay_system_tests::waiting::wait_until;

/// For everything that takes seconds at most on an idle machine.
const SOON: Duration = Duration::from_secs(60);

const CHANNELS: u32 = 8;

fn settings() -> PoolSettings {
    PoolSettings { shares_per_minute: 240, min_share_hashes: 4096, ..PoolSettings::default() }
}

fn devices(pool: &AssayPool) -> [RecordingDevice; 2] {
    let devices =
        [Kind::Standard, Kind::Extended].map(|kind| RecordingDevice::start(pool.addresses(), kind, CHANNELS));
    wait_until_acknowledged(&devices, 20);
    devices
}

/// Every device has so many more shares acknowledged.
fn wait_until_acknowledged(devices: &[RecordingDevice; 2], more: u64) {
    for device in devices {
        let before = device.record().acknowledged_shares();
        wait_until("a device has more shares acknowledged", SOON, || {
            device.record().acknowledged_shares() >= before + more
        });
    }
}

/// What `/health` says about the disk.
fn disk_error(pool: &AssayPool) -> String {
    let health = pool.health().unwrap_or_default();
    health["ledger"]["disk_error"].as_str().unwrap_or_default().to_owned()
}

/// eHash in the books.
fn credited(pool: &AssayPool) -> u64 {
    number(&pool.health().expect("the pool answers")["ledger"]["credited"])
}

/// With a disk that takes nothing any more, shares come and are not acknowledged, and blocks reach the node.
fn assert_only_acknowledgements_stop(
    pool: &AssayPool,
    node: &RealNode,
    devices: &[RecordingDevice; 2],
    reason: &str,
) {
    wait_until("/health tells the reason", SOON, || disk_error(pool).contains(reason));
    assert_eq!(pool.status(), "degraded");
    let (before, height) = (devices.each_ref().map(RecordingDevice::record), node.height());
    let durable = credited(pool);
    for (device, before) in devices.iter().zip(&before) {
        wait_until("shares are sent all the same", SOON, || device.record().submitted() > before.submitted());
    }
    wait_until("a block", SOON, || node.height() > height);
    assert!(from_the_pool(&node.block(height + 1)));
    let now = devices.each_ref().map(RecordingDevice::record);
    assert!(now.iter().map(Record::acknowledged).sum::<u64>() <= durable, "acknowledged without a disk");
    assert_eq!(credited(pool), durable, "the books grew without a disk");
    for record in &now {
        assert_eq!((record.connections, &record.faults), (1, &Vec::new()));
    }
    assert_eq!(pool.status(), "degraded");
}

fn assert_books_agree(devices: [RecordingDevice; 2], pool: &AssayPool, node: &RealNode) -> [Record; 2] {
    let records = devices.map(RecordingDevice::stop);
    wait_until_pool_follows(pool, node);
    wait_until_books_follow(pool, node);
    for record in &records {
        assert_eq!(record.faults, Vec::<String>::new());
        assert_nothing_lost_nor_twice(record, pool);
    }
    records
}

#[test]
fn a_full_disk_keeps_acknowledgements_back_and_nothing_else() {
    let _processor = process::processor();
    let Some(disk) = Disk::small(16) else {
        println!("nobody may mount here: the test with refused writes stands for this one");
        return;
    };
    let node = RealNode::start();
    let mut pool = AssayPool::start_in(disk.surroundings(), &node, &settings());
    let devices = devices(&pool);

    disk.fill();
    assert_only_acknowledgements_stop(&pool, &node, &devices, "the disk is full");
    disk.free();
    wait_until("the pool is well again", SOON, || pool.status() == "ok");
    wait_until_acknowledged(&devices, 20);
    let records = assert_books_agree(devices, &pool, &node);

    pool.stop();
    disk.fill();
    let told = pool.refuses_to_start();
    assert!(told.contains("the disk is full") && told.contains("free some space"), "{told}");
    assert!(told.contains("ledger"), "{told}");
    disk.free();
    pool.restart();
    records.iter().for_each(|record| assert_nothing_lost_nor_twice(record, &pool));
}

#[test]
fn a_disk_that_refuses_writes_keeps_acknowledgements_back_and_nothing_else() {
    let _processor = process::processor();
    let node = RealNode::start();
    let surroundings = Surroundings { wrapper: disk::ready_for_refusal(), ..Surroundings::default() };
    let mut pool = AssayPool::start_in(surroundings, &node, &settings());
    let devices = devices(&pool);

    // Twice: the second time meets what the first has left behind.
    for _ in 0..2 {
        disk::refuse_writes(pool.id(), true);
        assert_only_acknowledgements_stop(&pool, &node, &devices, "committing to the ledger");
        disk::refuse_writes(pool.id(), false);
        wait_until("the pool is well again", SOON, || pool.status() == "ok");
        wait_until_acknowledged(&devices, 20);
    }
    assert_books_agree(devices, &pool, &node);

    pool.stop();
    pool.surround(Surroundings { wrapper: disk::refused_from_the_start(), ..Surroundings::default() });
    // It cannot even say why: its standard error is a file, too.
    pool.refuses_to_start();
}

#[test]
fn a_disk_that_turns_read_only_loses_nothing() {
    let _processor = process::processor();
    let Some(disk) = Disk::failing() else {
        println!("no loop devices here: the test with refused writes stands for this one");
        return;
    };
    let node = RealNode::start();
    let mut pool = AssayPool::start_in(disk.surroundings(), &node, &settings());
    let devices = devices(&pool);

    disk.fail();
    assert_only_acknowledgements_stop(&pool, &node, &devices, "the ledger");
    let records = devices.map(RecordingDevice::stop);
    pool.kill();
    disk.mount_anew();
    pool.restart();
    records.iter().for_each(|record| assert_nothing_lost_nor_twice(record, &pool));
    wait_until_pool_follows(&pool, &node);
    wait_until_books_follow(&pool, &node);
    pool.stop();
}

/// Makes a path writable for its owner, or for nobody.
fn set_writable(path: &Path, writable: bool) {
    let mut permissions = std::fs::metadata(path).expect("it is there").permissions();
    let executable = permissions.mode() & 0o100;
    permissions.set_mode(0o400 | executable | if writable { 0o200 } else { 0 });
    std::fs::set_permissions(path, permissions).expect("it is ours");
}

#[test]
fn a_start_without_leave_to_write_says_what_is_missing() {
    let _processor = process::processor();
    let node = RealNode::start();
    let mut pool = AssayPool::start(&node, &settings());
    let devices = devices(&pool);
    pool.stop();
    let records = devices.map(RecordingDevice::stop);
    let (data_dir, ledger) = (pool.data_dir(), pool.ledger_path());

    let unprivileged = || Surroundings { wrapper: disk::without_privilege(), ..Surroundings::default() };
    pool.surround(unprivileged());
    // The whole directory.
    let lock = data_dir.join("ledger.db.lock");
    for path in [&data_dir, &ledger, &lock] {
        set_writable(path, false);
    }
    let told = pool.refuses_to_start();
    assert!(told.contains("ledger.db") && told.contains("writable"), "{told}");
    // One file.
    for path in [&data_dir, &lock] {
        set_writable(path, true);
    }
    let told = pool.refuses_to_start();
    assert!(told.contains("ledger.db") && told.contains("writable"), "{told}");
    set_writable(&ledger, true);
    // A file system.
    if let Some(wrapper) = disk::read_only(&data_dir) {
        pool.surround(Surroundings { wrapper, ..Surroundings::default() });
        let told = pool.refuses_to_start();
        assert!(told.contains("ledger.db") && told.contains("Read-only file system"), "{told}");
    }
    pool.surround(Surroundings::default());
    pool.restart();
    records.iter().for_each(|record| assert_nothing_lost_nor_twice(record, &pool));
    pool.verify_ledger();
}
