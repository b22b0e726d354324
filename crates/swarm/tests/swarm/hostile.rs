//! A hostile crowd beside good devices.

use std::time::Duration;

use swarm::{Attack, AttackKind, AttackReport, Fleet, HostilePlan, hostile};

use super::rig::{Rig, never};

#[test]
fn good_devices_lose_nothing_to_all_attacks_together() {
    let rig = Rig::start();
    let mut attacks = Attack::all(50);
    for attack in &mut attacks {
        // Few enough for each to have several turns.
        attack.connections = attack.connections.min(10);
    }
    let plan = HostilePlan {
        attacks,
        run: Duration::from_secs(2),
        calm: Duration::from_secs(1),
        rate: 100,
        ..HostilePlan::default()
    };
    let fleet = Fleet { server_pid: Some(std::process::id()), ..rig.fleet(10, 1) };
    let report = hostile(&fleet, &plan, &never).unwrap();
    assert_eq!((report.devices_lost, report.troubles.len(), report.assaults.len()), (0, 0, 1), "{report}");
    let assault = &report.assaults[0];
    for phase in [&assault.before, &assault.during, &assault.after] {
        let shares = &phase.shares;
        assert!(shares.submitted > 20, "{report}");
        assert_eq!((shares.rejected, shares.unanswered), (0, 0), "{report}");
        assert_eq!((shares.accepted, shares.acknowledged), (shares.submitted, shares.submitted), "{report}");
    }
    assert_eq!(assault.attacks.len(), AttackKind::ALL.len());
    for (attack, kind) in assault.attacks.iter().zip(AttackKind::ALL) {
        assert!(was_felt(attack, kind), "{kind}: {report}");
    }
}

/// Whether an attack did what it is said to do.
fn was_felt(attack: &AttackReport, kind: AttackKind) -> bool {
    let ended: u64 = attack.ended.values().sum();
    match kind {
        AttackKind::Garbage | AttackKind::SetupVariation | AttackKind::Oversized | AttackKind::Malformed => {
            ended > 0
        }
        AttackKind::FakeHandshake | AttackKind::HalfHandshake | AttackKind::Silent => attack.connected > 0,
        AttackKind::Drip | AttackKind::OneFrameFin => attack.messages > 0,
        AttackKind::SlowReader => attack.messages > attack.received,
        AttackKind::UnknownMessage | AttackKind::UpdateChannel => attack.messages > 50,
        AttackKind::InvalidShare
        | AttackKind::DuplicateShare
        | AttackKind::WrongChannel
        | AttackKind::WrongJob
        | AttackKind::ChannelOpen => attack.messages > 50 && attack.received > 50,
    }
}
