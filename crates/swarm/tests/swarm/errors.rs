//! What cannot work is said with its remedy.

use std::net::TcpListener;
use std::time::Duration;

use device::{ChannelKind, PoolAddress};
use engine::client::Trust;
use sv2::noise::AuthoritySecret;
use swarm::{Fleet, IdlePlan, SwarmError, ThroughputPlan, idle, throughput};

use super::rig::{Rig, never};

#[test]
fn the_first_connection_finds_out_what_thousands_would() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Fleet::new(PoolAddress::unverified("127.0.0.1", closed.port()));
    let error = idle(&nobody, &IdlePlan::default(), &never).unwrap_err().to_string();
    assert!(error.contains(&format!("--pool 127.0.0.1:{}", closed.port())), "{error}");

    let rig = Rig::start();
    let mut impostor = rig.fleet(1, 1);
    impostor.pool.trust = Trust::Authority(AuthoritySecret::generate(&mut rand::rngs::OsRng).public());
    let error = idle(&impostor, &IdlePlan::default(), &never).unwrap_err();
    assert!(matches!(error, SwarmError::Pool { .. }), "{error}");
}

#[test]
fn refusals_are_passed_on() {
    let rig = Rig::start();
    let fleet = Fleet { user: Some("somebody".to_owned()), ..rig.fleet(3, 1) };
    let error = idle(&fleet, &IdlePlan::default(), &never).unwrap_err().to_string();
    assert!(error.contains("3 × ") && error.contains("invalid-user-identity"), "{error}");

    let fleet = Fleet { kind: ChannelKind::Extended, min_extranonce_size: 30, ..rig.fleet(1, 1) };
    let error = throughput(&fleet, &ThroughputPlan::default(), &never).unwrap_err().to_string();
    assert!(error.contains("min-extranonce-size-too-large"), "{error}");
}

#[test]
fn a_silent_server_is_not_waited_for_forever() {
    // It takes connections and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pool = PoolAddress::unverified("127.0.0.1", listener.local_addr().unwrap().port());
    let fleet = Fleet { patience: Duration::from_millis(100), ..Fleet::new(pool) };
    let error = idle(&fleet, &IdlePlan::default(), &never).unwrap_err().to_string();
    assert!(error.contains("did not answer the handshake in time"), "{error}");
}

#[test]
fn shares_that_are_too_hard_are_not_hunted() {
    // As hard as a block.
    let rig = Rig::with(|config| config.min_share_hashes = 1 << 60);
    let plan =
        ThroughputPlan { prepare: Duration::from_secs(1), prepare_threads: 1, ..ThroughputPlan::default() };
    let error = throughput(&rig.fleet(1, 2000), &plan, &never).unwrap_err().to_string();
    assert!(error.contains("min_share_hashes") && error.contains("--prepare-seconds"), "{error}");
}

#[test]
fn a_process_that_cannot_be_observed_is_found_out_first() {
    let rig = Rig::start();
    let fleet = Fleet { server_pid: Some(u32::MAX), ..rig.fleet(1, 1) };
    let error = idle(&fleet, &IdlePlan::default(), &never).unwrap_err().to_string();
    assert!(error.contains("--server-pid"), "{error}");
}

#[test]
fn an_owner_that_stops_early_is_obeyed() {
    let rig = Rig::start();
    let fleet = Fleet { connect_rate: Some(1), ..rig.fleet(1000, 1) };
    let error = idle(&fleet, &IdlePlan::default(), &|| true).unwrap_err();
    assert!(matches!(error, SwarmError::Interrupted), "{error}");
}
