//! SetupConnection: what is served, what is refused and how, and what must not come before it.

use std::time::Duration;

use sv2::Message;
use sv2::codec::{Seq0_64K, Str0_255};
use sv2::extensions::RequestExtensions;
use sv2::mining::CloseChannel;
use sv2::setup::{Reconnect, SetupConnection, SetupConnectionError, SetupConnectionSuccess};

use crate::support::{Open, Rig, Wire, key};

/// Sends a request that must be refused, and sees the connection end after the one reply.
fn refused(rig: &Rig, request: &SetupConnection<'_>) -> (u32, String) {
    let mut wire = rig.wire();
    wire.send(request);
    let frames = wire.rest();
    assert_eq!(frames.len(), 1, "{frames:?}");
    let error: SetupConnectionError<'_> = frames[0].get().expect("an error");
    (error.flags, error.error_code.to_string())
}

// proves: CM-02 CM-11 CM-14 CM-15 CM-16 CM-21 FL-02 EC-01 CW-10 AM-12 UP-03
#[test]
fn an_error_names_every_flag_that_is_not_supported_and_ends_the_connection() {
    let rig = Rig::start();
    for (flags, unsupported) in [
        (u32::MAX, !0b101),
        (0b010, 0b010),
        (0b011, 0b010),
        (0b111, 0b010),
        (0b1000, 0b1000),
        (0x8000_0005, 0x8000_0000),
    ] {
        let answer = refused(&rig, &Wire::setup_request(flags));
        assert_eq!(answer, (unsupported, "unsupported-feature-flags".to_owned()), "{flags:#x}");
    }
    // What a probe learns can be used.
    for flags in [0, 0b001, 0b100, 0b101] {
        let success = rig.wire().set_up(flags);
        assert_eq!(success, SetupConnectionSuccess { used_version: 2, flags: 0 }, "{flags:#x}");
    }
}

// proves: CM-08 CM-13 EC-02
#[test]
fn only_the_mining_protocol_is_served() {
    let rig = Rig::start();
    for protocol in [1, 2, 3, 255] {
        for flags in [0, u32::MAX] {
            let request = SetupConnection { protocol, ..Wire::setup_request(flags) };
            assert_eq!(refused(&rig, &request), (0, "unsupported-protocol".to_owned()), "{protocol}");
        }
    }
}

// proves: CM-06 CM-07 CM-13 EC-03
#[test]
fn the_version_is_common_to_both_or_there_is_none() {
    let rig = Rig::start();
    for (min_version, max_version) in [(2, 2), (0, 2), (1, 9), (2, u16::MAX)] {
        let mut wire = rig.wire();
        wire.send(&SetupConnection { min_version, max_version, ..Wire::setup_request(0) });
        let success: SetupConnectionSuccess = wire.receive().get().unwrap();
        assert_eq!(success.used_version, 2);
    }
    for (min_version, max_version) in [(0, 0), (0, 1), (3, 3), (3, u16::MAX), (3, 2), (2, 1)] {
        let request = SetupConnection { min_version, max_version, ..Wire::setup_request(0) };
        assert_eq!(refused(&rig, &request), (0, "protocol-version-mismatch".to_owned()));
    }
}

// proves: CM-17 SM-03
#[test]
fn whatever_comes_before_set_up_ends_the_connection_without_a_word() {
    let rig = Rig::start();
    let mut payload = Vec::new();
    let request =
        RequestExtensions { request_id: 1, requested_extensions: Seq0_64K::<u16>::new([2]).unwrap() };
    request.encode_payload(&mut payload);
    let short = &payload[..1];
    for (extension, channel_msg, msg_type, payload) in [
        (0x0001, false, 0x00, &payload[..]), // RequestExtensions
        (0x0000, false, 0x10, &[0; 42]),     // OpenStandardMiningChannel
        (0x0000, true, 0x1a, &[0; 24]),      // SubmitSharesStandard
        (0x0000, false, 0x01, &[0; 6]),      // SetupConnection.Success
        (0x0000, false, 0x7f, &[]),          // nobody's
        (0x4abc, false, 0x00, &[1, 2, 3]),   // an unknown extension's
        (0x0000, false, 0x00, short),        // SetupConnection, cut off
    ] {
        let mut wire = rig.wire();
        wire.send_frame(extension, channel_msg, msg_type, payload);
        assert_eq!(wire.rest().len(), 0, "extension {extension:#06x} type {msg_type:#04x}");
    }
}

// proves: CM-17 CM-02
#[test]
fn a_second_set_up_ends_the_connection() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::standard(&key()));
    miner.earn(channel);
    miner.wire.send(&Wire::setup_request(0));
    let rest = miner.wire.rest();
    assert!(rest.iter().all(|raw| !raw.is::<SetupConnectionSuccess>()), "{rest:?}");
    // Nobody else notices.
    rig.miner().open(&Open::standard(&key()));
}

// proves: CM-18
#[test]
fn nothing_is_sent_before_the_reply_to_set_up() {
    let rig = Rig::start();
    let mut silent = rig.wire();
    let mut other = rig.miner();
    other.open(&Open::extended(&key()));
    rig.foreign_block();
    rig.pool().reconnect("elsewhere.example", 1);
    // Both reach all connections of the one shard in the same pass.
    other.until(|raw| raw.is::<Reconnect<'_>>());
    silent.set_up(0);
}

// proves: CM-19 MP-35
#[test]
fn who_does_not_set_up_or_opens_no_channel_is_sent_away() {
    let soon = Duration::from_millis(50);
    let rig = Rig::with(|plan| plan.limits.setup_patience = soon);
    assert!(rig.wire().rest().is_empty());
    let rig = Rig::with(|plan| plan.limits.first_channel_patience = soon);
    assert!(rig.miner().wire.rest().is_empty());
    // Whoever has a channel may be silent for as long as it likes: this one outlives those that come after it.
    let mut miner = rig.miner();
    let channel = miner.open(&Open::standard(&key()));
    for _ in 0..3 {
        assert!(rig.miner().wire.rest().is_empty());
    }
    miner.earn(channel);
}

// proves: LIM-04
#[test]
fn strings_may_be_anything_that_fits_their_length() {
    let rig = Rig::start();
    let bytes: Vec<u8> = (0..255).map(|n| n | 0x80).collect();
    let long = || Str0_255::from_bytes(bytes.as_slice()).unwrap();
    let request = SetupConnection {
        endpoint_host: long(),
        vendor: long(),
        hardware_version: long(),
        firmware: long(),
        device_id: long(),
        ..Wire::setup_request(0)
    };
    let mut wire = rig.wire();
    wire.send(&request);
    assert!(wire.receive().is::<SetupConnectionSuccess>());
    wire.send(&CloseChannel { channel_id: 9, reason_code: sv2::ErrorCode::from_static("x") });
}
