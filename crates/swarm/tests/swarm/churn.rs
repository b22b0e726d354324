//! Connections that come and go.

use std::time::Duration;

use device::ChannelKind;
use swarm::{ChurnPlan, Fleet, churn};

use super::rig::{Rig, never};

#[test]
fn connections_come_and_go_in_every_manner_while_others_work() {
    let rig = Rig::start();
    for kind in [ChannelKind::Standard, ChannelKind::Extended] {
        let fleet = Fleet { kind, threads: 2, server_pid: Some(std::process::id()), ..rig.fleet(10, 2) };
        let plan = ChurnPlan {
            run: Duration::from_secs(2),
            transient: 20,
            reconnects: 100,
            rate: 200,
            sample: Some(Duration::from_millis(100)),
        };
        let report = churn(&fleet, &plan, &never).unwrap();
        assert_eq!((report.ended, report.errors), ("time", 0), "{report}");
        assert_eq!((report.set_up.ready, report.set_up.channels), (10, 20));
        // Two in eight never come so far.
        assert!(report.set_ups > 30, "{report}");
        let manners = [
            "polite",
            "closed",
            "reset",
            "shares-under-way",
            "mid-frame",
            "mid-handshake",
            "handshake-under-way",
        ];
        for manner in manners {
            assert!(report.left[manner] > 0, "{manner}: {report}");
        }
        // None was begun that was not to be.
        assert!(report.left.values().sum::<u64>() <= report.elapsed_ms / 10 + 1, "{report}");
        let shares = &report.shares;
        assert!(shares.acknowledged > 50 && shares.rejected == 0, "{report}");
        assert_eq!(shares.accepted, shares.acknowledged);
        assert_eq!(shares.submitted, shares.acknowledged + shares.unanswered);
        let server = report.server.as_ref().unwrap();
        assert!(server.samples.len() >= 16 && server.descriptors.max > 10, "{report}");
        assert!(["flat", "growing"].contains(&report.verdict));
    }
}

#[test]
fn shares_go_on_across_new_blocks() {
    let rig = Rig::start();
    let plan = ChurnPlan { run: Duration::from_secs(2), rate: 500, ..ChurnPlan::default() };
    let begun = std::time::Instant::now();
    let blocks = std::cell::Cell::new(0);
    let block_now_and_then = || {
        if begun.elapsed().as_millis() / 300 > blocks.get() {
            blocks.set(blocks.get() + 1);
            rig.block();
        }
        false
    };
    let report = churn(&rig.fleet(5, 1), &plan, &block_now_and_then).unwrap();
    assert!(blocks.get() >= 3);
    assert!(report.shares.acknowledged > 50, "{report}");
    // Only those that a block overtook on their way.
    assert!(report.shares.rejected_by_code.keys().all(|code| code == "stale-share"), "{report}");
    assert_eq!((report.errors, report.verdict), (0, "not-observed"), "{report}");
}
