//! New blocks.

use std::time::Duration;

use device::ChannelKind;
use swarm::{FanoutPlan, Fleet, fanout};

use super::rig::{Rig, never};

#[test]
fn every_client_hears_of_every_block() {
    let rig = Rig::start();
    for (kind, standard_jobs) in
        [(ChannelKind::Standard, true), (ChannelKind::Standard, false), (ChannelKind::Extended, true)]
    {
        let directory = tempfile::tempdir().unwrap();
        let wish = directory.path().join("wish");
        let fleet = Fleet {
            kind,
            standard_jobs,
            threads: 2,
            server_pid: Some(std::process::id()),
            ..rig.fleet(25, 3)
        };
        let plan = FanoutPlan {
            blocks: 2,
            trigger: Some(format!("touch {}; date +%s%6N", wish.display())),
            pause: Duration::ZERO,
            ..FanoutPlan::default()
        };
        // The trigger's wish is granted from here.
        let granted = || {
            if wish.exists() {
                std::fs::remove_file(&wish).unwrap();
                rig.block();
            }
            false
        };
        let report = fanout(&fleet, &plan, &granted).unwrap();
        assert_eq!(report.blocks.len(), 2);
        for block in &report.blocks {
            assert_eq!((block.heard, block.expected), (25, 25), "{report}");
            assert_eq!(block.since, "trigger-output");
            assert!(block.first_us <= block.median_us && block.median_us <= block.p99_us);
            assert!(block.p99_us <= block.last_us && block.spread_us == block.last_us - block.first_us);
            assert!(block.server.is_some() && block.trigger_us.is_some());
        }
        assert_ne!(report.blocks[0].prev_hash, report.blocks[1].prev_hash);
        assert_eq!(report.blocks[1].prev_hash, node::Node::tip(&rig.chain).unwrap().hash.to_string());
        assert!(report.troubles.is_empty(), "{report}");
    }
}

#[test]
fn without_a_block_there_is_an_error_that_says_so() {
    let rig = Rig::start();
    let plan = FanoutPlan { wait: Duration::from_millis(100), ..FanoutPlan::default() };
    let error = fanout(&rig.fleet(2, 1), &plan, &never).unwrap_err().to_string();
    assert!(error.contains("no new block arrived"), "{error}");

    let plan =
        FanoutPlan { trigger: Some("exit 7".to_owned()), pause: Duration::ZERO, ..FanoutPlan::default() };
    let error = fanout(&rig.fleet(2, 1), &plan, &never).unwrap_err().to_string();
    assert!(error.contains("--trigger-cmd \"exit 7\"") && error.contains("status: 7"), "{error}");
}
