//! Shares.

use std::cell::Cell;
use std::time::Duration;

use device::ChannelKind;
use swarm::{Fleet, ThroughputPlan, throughput};

use super::rig::{Rig, never};

fn plan(shares: u64) -> ThroughputPlan {
    ThroughputPlan { shares: Some(shares), run: Duration::from_secs(60), ..ThroughputPlan::default() }
}

#[test]
fn all_prepared_shares_are_accepted_and_acknowledged() {
    let rig = Rig::start();
    let mut expected = 0;
    for (kind, standard_jobs) in
        [(ChannelKind::Standard, true), (ChannelKind::Standard, false), (ChannelKind::Extended, true)]
    {
        for (connections, channels, threads) in [(1, 1, 1), (3, 2, 2)] {
            let fleet = Fleet {
                kind,
                standard_jobs,
                threads,
                server_pid: Some(std::process::id()),
                ..rig.fleet(connections, channels)
            };
            let report = throughput(&fleet, &plan(1200), &never).unwrap();
            assert_eq!(report.ended, "shares-used-up");
            assert_eq!((report.submitted, report.accepted, report.acknowledged), (1200, 1200, 1200));
            assert_eq!((report.rejected, report.unanswered, report.set_up.failed), (0, 0, 0));
            assert_eq!(report.set_up.channels, connections * channels);
            assert_eq!(report.hashes_per_share, 16);
            assert!(report.troubles.is_empty(), "{report}");
            assert!(report.ack_p50_us <= report.ack_p99_us && report.ack_p99_us <= report.ack_max_us);
            assert!(report.ack_p50_us.is_some() && report.server.is_some());
            assert!(report.shares_per_write_percent > 100, "shares leave in batches: {report}");
            expected += 1200;
        }
    }
    assert_eq!(rig.pool().stats().totals().shares_accepted, expected);
}

#[test]
fn shares_at_a_rate_leave_one_by_one() {
    let rig = Rig::start();
    let plan = ThroughputPlan {
        rate: Some(500),
        run: Duration::from_secs(1),
        window: Some(1000),
        ..ThroughputPlan::default()
    };
    let report = throughput(&rig.fleet(5, 2), &plan, &never).unwrap();
    assert!(report.submitted <= 501 && report.submitted >= 250, "{report}");
    assert_eq!((report.accepted, report.rejected, report.unanswered), (report.submitted, 0, 0));
    assert_eq!(report.shares_per_write_percent, 100);
}

#[test]
fn a_new_block_ends_the_run_in_good_order() {
    let rig = Rig::start();
    let plan = ThroughputPlan { rate: Some(100), ..plan(100_000) };
    let asked = Cell::new(0);
    std::thread::scope(|scope| {
        let stopped = || {
            // Asked every few milliseconds; some time after the first shares there is a new block.
            if rig.pool().stats().totals().shares_accepted > 0 && asked.replace(asked.get() + 1) == 0 {
                scope.spawn(|| rig.block());
            }
            false
        };
        let report = throughput(&rig.fleet(2, 2), &plan, &stopped).unwrap();
        assert_eq!(report.ended, "tip-changed");
        assert!(report.accepted > 0 && report.cut_by_new_tip > 0, "{report}");
        assert_eq!(report.accepted + report.rejected + report.unanswered, report.submitted);
        assert_eq!(report.submitted + report.cut_by_new_tip, report.prepared);
    });
}

#[test]
fn what_a_pool_closes_and_refuses_is_told() {
    let rig = Rig::with(|config| config.limits.shares_per_tip = 100);
    let report = throughput(&rig.fleet(1, 1), &plan(400), &never).unwrap();
    assert_eq!(report.accepted, 100, "{report}");
    assert!(report.rejected > 0, "{report}");
    assert_eq!(report.accepted + report.rejected + report.unanswered, report.submitted);
    assert!(report.troubles.keys().any(|trouble| trouble.contains("share-flood")), "{report}");
}

#[test]
fn an_impatient_owner_gets_what_was_measured() {
    let rig = Rig::start();
    let plan = ThroughputPlan { rate: Some(200), ..plan(100_000) };
    let report =
        throughput(&rig.fleet(1, 1), &plan, &|| rig.pool().stats().totals().shares_accepted > 20).unwrap();
    assert_eq!(report.ended, "interrupted");
    assert!(report.accepted > 20 && report.unanswered == 0, "{report}");
}
