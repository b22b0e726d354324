//! A hostile crowd beside good devices, on a pool as it is run: what the good ones have earned is theirs, and afterwards
//! everything is as it was.

use std::time::Duration;

use serde_json::Value;

use assay_system_tests::assay::{AssayPool, PoolSettings, number, one_json_object, run_assay};
use assay_system_tests::process;
use assay_system_tests::real_node::RealNode;
use assay_system_tests::recording_device::{Kind, RecordingDevice};
use assay_system_tests::waiting::wait_until;

/// Resident memory that the pool may take at any moment of the attack, some ten times what it takes without.
const MOST_RESIDENT: u64 = 256 << 20;

/// Time for the pool to see that somebody has gone, or does not answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Easy shares, and so many of them allowed that vardiff leaves them easy.
fn settings() -> PoolSettings {
    PoolSettings { shares_per_minute: 600, min_share_hashes: 1024, ..PoolSettings::default() }
}

fn swarm(pool: &AssayPool, arguments: &[&str]) -> Value {
    let (url, pid) = (pool.url(), pool.id().to_string());
    let fixed = ["swarm", "hostile", "--json", "--pool", &url, "--server-pid", &pid];
    let finished = run_assay(&[&fixed, arguments].concat(), Duration::from_secs(120));
    assert!(finished.status.success(), "{finished:?}");
    one_json_object(&finished.stdout)
}

#[test]
fn good_devices_get_what_they_earn_beside_a_hostile_crowd() {
    let _processor = process::processor();
    let node = RealNode::start();
    let mut pool = AssayPool::start(&node, &settings());
    let report = swarm(
        &pool,
        &["--connections", "100", "--rate", "500", "--seconds", "8", "--calm", "2", "--strength", "100"],
    );

    assert_eq!(number(&report["set_up"]["ready"]), 100, "{report:#}");
    assert_eq!(number(&report["devices_lost"]), 0, "{report:#}");
    assert_eq!(report["troubles"].as_object().map(serde_json::Map::len), Some(0), "{report:#}");
    let assault = &report["assaults"][0];
    let mut earned = 0;
    for phase in ["before", "during", "after"] {
        let shares = &assault[phase]["shares"];
        let count = |field: &str| number(&shares[field]);
        assert!(count("submitted") > 100, "{phase}: {report:#}");
        assert_eq!(count("acknowledged"), count("submitted"), "{phase}: {report:#}");
        assert_eq!(count("accepted"), count("submitted"), "{phase}: {report:#}");
        assert_eq!((count("rejected"), count("unanswered")), (0, 0), "{phase}: {report:#}");
        assert_eq!(number(&assault[phase]["devices"]), 100, "{phase}: {report:#}");
        let resident = number(&assault[phase]["resident_max_bytes"]);
        assert!(resident < MOST_RESIDENT, "{phase}: {resident} bytes: {report:#}");
        earned += count("accepted");
    }
    for attack in assault["attacks"].as_array().expect("a list of attacks") {
        assert!(number(&attack["begun"]) > 0, "an attack that did not take place: {attack:#}");
    }

    wait_until("everybody has gone", PATIENCE, || {
        let health = pool.health().expect("the pool answers");
        (number(&health["connections"]), number(&health["channels"])) == (0, 0)
    });
    assert_eq!(pool.status(), "ok");
    // Attackers' shares count, too, where they are valid.
    assert!(pool.metric("assay_shares_accepted_total") >= earned);
    mines(&pool);
    pool.stop();
    pool.verify_ledger();
}

/// The reference implementation's pool hangs for good when many connections send one frame and close, all at once: one
/// is enough with one thread, 64 with two and 200 with four.
#[test]
fn connections_that_send_one_frame_and_close_at_once_hang_nothing() {
    let _processor = process::processor();
    let node = RealNode::start();
    for shards in [1, 2, 4] {
        let mut pool = AssayPool::start(&node, &PoolSettings { shards, ..settings() });
        // All 200, again and again.
        let report = swarm(
            &pool,
            &[
                "--connections",
                "1",
                "--rate",
                "5",
                "--seconds",
                "3",
                "--calm",
                "1",
                "--attack",
                "one-frame-fin:400:200",
            ],
        );
        let attack = &report["assaults"][0]["attacks"][0];
        assert!(number(&attack["messages"]) >= 200, "{shards} shards: {report:#}");
        assert_eq!(number(&report["devices_lost"]), 0, "{shards} shards: {report:#}");
        mines(&pool);
        wait_until("everybody has gone", PATIENCE, || {
            number(&pool.health().expect("the pool answers")["connections"]) == 0
        });
        pool.stop();
    }
}

/// A device that comes now gets work and is paid for it.
fn mines(pool: &AssayPool) {
    let device = RecordingDevice::start(pool.addresses(), Kind::Standard, 1);
    wait_until("a fresh device has shares acknowledged", PATIENCE, || {
        device.record().acknowledged_shares() >= 10
    });
    let record = device.stop();
    assert_eq!(record.faults, Vec::<String>::new());
}
