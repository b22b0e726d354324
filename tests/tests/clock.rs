//! The pool's date jumps, forward and back, and is wrong from the start. Mining does not notice; new devices are served
//! again as soon as the date is right.

use std::time::Duration;

use assay_system_tests::assay::{AssayPool, PoolSettings};
use assay_system_tests::books::{
    assert_nothing_lost_nor_twice, from_the_pool, wait_until_books_follow, wait_until_pool_follows,
};
use assay_system_tests::clock::Clock;
use assay_system_tests::process;
use assay_system_tests::real_node::RealNode;
use assay_system_tests::recording_device::{Kind, Newcomer, RecordingDevice};
use assay_system_tests::waiting::wait_until;

/// For everything that takes seconds at most on an idle machine.
const SOON: Duration = Duration::from_secs(60);

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn settings() -> PoolSettings {
    PoolSettings { shares_per_minute: 600, min_share_hashes: 4096, ..PoolSettings::default() }
}

/// What `/health` says about the clock.
fn clock_error(pool: &AssayPool) -> Option<String> {
    pool.health()?["clock_error"].as_str().map(str::to_owned)
}

fn wait_until_acknowledged(devices: &[RecordingDevice], more: u64) {
    for device in devices {
        let before = device.record().acknowledged_shares();
        wait_until("a device has more shares acknowledged", SOON, || {
            device.record().acknowledged_shares() >= before + more
        });
    }
}

// proves: NS-22
#[test]
fn mining_does_not_notice_that_the_date_jumps() {
    let _processor = process::processor();
    let node = RealNode::start();
    let clock = Clock::ahead_by(0);
    let pool = AssayPool::start_in(clock.surroundings(), &node, &settings());
    let devices =
        [Kind::Standard, Kind::Extended].map(|kind| RecordingDevice::start(pool.addresses(), kind, 6));
    wait_until_acknowledged(&devices, 100);
    for ahead in [5 * MINUTE, 3 * HOUR, 40 * DAY, -5 * MINUTE, -3 * HOUR, -40 * DAY] {
        let before = devices.each_ref().map(RecordingDevice::record);
        clock.set(ahead);
        let far = ahead.abs() > 2 * HOUR;
        wait_until("/health tells a clock that is far off", SOON, || clock_error(&pool).is_some() == far);
        let height = node.height();
        wait_until("a block", SOON, || node.height() > height);
        assert!(from_the_pool(&node.block(height + 1)));
        wait_until_acknowledged(&devices, 20);
        for (device, before) in devices.iter().zip(&before) {
            let after = device.record();
            assert_eq!((after.connections, &after.faults), (1, &Vec::new()), "{ahead} s");
            for (key, hashes) in &before.share_hashes {
                let now = after.share_hashes[key];
                assert!(
                    *hashes >> 3 <= now && now >> 3 <= *hashes,
                    "{ahead} s: {hashes} became {now} hashes"
                );
            }
        }
        // A date that is a little off keeps nobody out; one that is far off does so no longer than it is.
        if !far {
            Newcomer::connect(pool.addresses())
                .expect("the certificate is good for a device with the right time");
        }
    }
    clock.set(0);
    wait_until("new devices are served", SOON, || Newcomer::connect(pool.addresses()).is_ok());
    wait_until("the pool is well", SOON, || pool.status() == "ok");
    for record in devices.map(RecordingDevice::stop) {
        assert!(record.refused.keys().all(|code| code == "stale-share"), "{:?}", record.refused);
        assert_nothing_lost_nor_twice(&record, &pool);
    }
    wait_until_pool_follows(&pool, &node);
    wait_until_books_follow(&pool, &node);
}

// proves: NS-22
#[test]
fn a_pool_that_starts_with_a_wrong_date_serves_when_it_is_right() {
    let _processor = process::processor();
    let node = RealNode::start();
    // To 1980 and to 2070 or so: what machines believe whose battery is empty, or whose date somebody mistyped.
    for ahead in [-46 * 365 * DAY, 44 * 365 * DAY] {
        let clock = Clock::ahead_by(ahead);
        let mut pool = AssayPool::start_in(clock.surroundings(), &node, &settings());
        let told = clock_error(&pool).expect("/health tells it from the first template on");
        assert!(told.contains("certificate"), "{told}");
        assert_eq!(pool.status(), "degraded");
        // Whoever knows the right time cannot tell such a pool from one whose old key was stolen.
        assert!(Newcomer::connect(pool.addresses()).is_err());
        clock.set(0);
        wait_until("new devices are served", SOON, || Newcomer::connect(pool.addresses()).is_ok());
        let device = RecordingDevice::start(pool.addresses(), Kind::Extended, 2);
        wait_until("the pool is well with the next template", SOON, || pool.status() == "ok");
        device.stop();
        pool.stop();
    }
}
