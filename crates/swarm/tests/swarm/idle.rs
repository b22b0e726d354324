//! Connections and memory.

use std::time::Duration;

use device::ChannelKind;
use swarm::{Fleet, IdlePlan, idle};

use super::rig::{Rig, never};

fn plan(waves: u32) -> IdlePlan {
    IdlePlan { hold: Duration::from_millis(50), waves, settle: Duration::from_millis(50) }
}

#[test]
fn connections_come_in_waves_and_bring_their_channels() {
    let rig = Rig::start();
    for kind in [ChannelKind::Standard, ChannelKind::Extended] {
        let fleet = Fleet { kind, threads: 2, server_pid: Some(std::process::id()), ..rig.fleet(20, 100) };
        let report = idle(&fleet, &plan(2), &never).unwrap();
        assert_eq!(report.waves.len(), 2);
        assert!(report.troubles.is_empty(), "{report}");
        for wave in &report.waves {
            assert_eq!((wave.set_up.ready, wave.set_up.channels, wave.set_up.failed), (20, 20, 0));
            let all = wave.further_channels.as_ref().unwrap();
            assert_eq!((all.ready, all.channels), (20, 2000));
            assert!(wave.set_up.p50_us <= wave.set_up.p99_us && wave.set_up.connections_per_second > 0);
            assert!(wave.resident_bytes.is_some() && wave.server.is_some());
            assert_eq!((wave.lost, wave.answered), (0, Some(20)));
        }
        assert!(report.waves[0].resident_per_connection_bytes.is_some());
        assert!(report.waves[0].resident_per_further_channel_bytes.is_some());
        assert!(report.waves[0].resident_closed_bytes.is_some());
        assert!(report.waves[1].resident_closed_bytes.is_none());
    }
}

#[test]
fn connections_need_no_channel_and_keep_to_their_rate() {
    let rig = Rig::start();
    let fleet = Fleet {
        connect_rate: Some(100),
        local_addresses: "127.0.0.2-127.0.0.4".parse::<swarm::LocalAddresses>().unwrap().0,
        ..rig.fleet(30, 0)
    };
    let report = idle(&fleet, &plan(1), &never).unwrap();
    let wave = &report.waves[0];
    assert_eq!((wave.set_up.ready, wave.set_up.channels), (30, 0));
    assert!(wave.set_up.elapsed_ms >= 290, "{report}");
    assert_eq!(wave.answered, None);
    assert!(wave.further_channels.is_none() && wave.resident_bytes.is_none());
}

#[test]
fn connections_that_the_pool_ends_are_counted() {
    let rig = Rig::with(|config| config.limits.first_channel_patience = Duration::from_millis(300));
    let plan = IdlePlan { hold: Duration::from_secs(2), ..plan(1) };
    let report = idle(&rig.fleet(10, 0), &plan, &never).unwrap();
    assert_eq!(report.waves[0].lost, 10, "{report}");
    assert_eq!(report.troubles.values().sum::<u64>(), 10, "{report}");
}
