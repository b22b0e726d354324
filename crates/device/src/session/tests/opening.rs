use sv2::extensions::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess};
use sv2::mining::{OpenExtendedMiningChannel, OpenMiningChannelError, OpenStandardMiningChannel};
use sv2::setup::SetupConnectionError;
use sv2::{ErrorCode, codec::Seq0_64K};

use super::*;
use crate::config::Timing;

fn ids(ids: &[u16]) -> Seq0_64K<'static, u16> {
    Seq0_64K::<u16>::new(ids.iter().copied()).unwrap()
}

fn success(flags: u32) -> SetupConnectionSuccess {
    SetupConnectionSuccess { used_version: 2, flags }
}

/// A device that asks for extension 0x0002 and has asked.
fn asking() -> Script {
    let mut script = Script::new(DeviceConfig { worker_tlv: true, ..config(ChannelKind::Extended) });
    script.skip();
    script.receive(&success(0));
    script
}

// proves: CM-01 CM-03 CM-04 CM-05 CM-09 SM-03
#[test]
fn the_setup_comes_first_and_says_who_is_calling() {
    let mut script = Script::new(config(ChannelKind::Standard));
    script.sent(|setup: SetupConnection<'_>| {
        assert_eq!((setup.protocol, setup.min_version, setup.max_version), (0, 2, 2));
        assert_eq!(setup.endpoint_host.as_bytes(), b"pool.example");
        assert_eq!(setup.endpoint_port, 3333);
        assert!(!setup.vendor.is_empty() && !setup.hardware_version.is_empty());
        assert!(setup.device_id.is_empty());
        assert_eq!(setup.flags, 0);
    });
    assert!(script.sent.is_empty(), "nothing more before the reply");
}

// proves: MD-01
#[test]
fn flags_are_set_as_configured() {
    let mut config = config(ChannelKind::Standard);
    config.requires_standard_jobs = true;
    config.requires_version_rolling = true;
    let flags = |lessons| {
        let mut script = Script::with_lessons(config.clone(), lessons);
        script.sent(|setup: SetupConnection<'_>| setup.flags)
    };
    let none = Lessons::default();
    assert_eq!(flags(none), 0b101);
    assert_eq!(flags(Lessons { refused_flags: 0b100, ..none }), 0b001);
    assert_eq!(flags(Lessons { extended_only: true, ..none }), 0b100);
}

// proves: SM-04 MP-34 MD-04 MP-19 MP-187
#[test]
fn a_standard_channel_is_opened_at_once() {
    let mut script = Script::new(config(ChannelKind::Standard));
    script.skip();
    script.receive(&success(0));
    script.sent(|open: OpenStandardMiningChannel<'_>| {
        assert_eq!(open.user_identity.as_bytes(), b"user.worker1");
        assert_eq!(open.nominal_hash_rate.get(), Ok(5_000_000.0), "hashes per second");
        assert_eq!(open.max_target, [0xff; 32]);
    });
    script.receive(&standard_success());
    assert!(script.events.iter().any(|event| matches!(
        event,
        DeviceEvent::ChannelOpened { channel_id: CHANNEL, kind: Kind::Standard, .. }
    )));
}

// proves: MP-49 SM-12
#[test]
fn nothing_is_hashed_before_there_is_a_job() {
    for kind in [ChannelKind::Standard, ChannelKind::Extended] {
        let mut script = Script::open(config(kind));
        assert!(script.works.is_empty());
        script.pass(Timing::default().first_job);
        assert!(matches!(script.end, Some(End::Silent(_))));
    }
}

// proves: MP-51
#[test]
fn replies_to_other_requests_are_not_taken() {
    let mut script = Script::new(config(ChannelKind::Standard));
    script.skip();
    script.receive(&success(0));
    script.receive(&OpenStandardMiningChannelSuccess { request_id: 2, ..standard_success() });
    let error_code = ErrorCode::from_static("unknown-user");
    script.receive(&OpenMiningChannelError { request_id: 2, error_code });
    assert!(script.end.is_none() && script.events.is_empty());
    script.receive(&standard_success());
    assert_eq!(script.events.len(), 1);
    // A second reply to the same request changes nothing.
    script.receive(&OpenStandardMiningChannelSuccess { channel_id: 99, ..standard_success() });
    assert_eq!(script.events.len(), 1);
}

// proves: CM-07 SM-04
#[test]
fn a_version_that_was_not_offered_ends_the_connection() {
    let mut script = Script::new(config(ChannelKind::Standard));
    script.receive(&SetupConnectionSuccess { used_version: 3, flags: 0 });
    assert!(matches!(script.end, Some(End::Protocol(_))));
}

// proves: SM-03
#[test]
fn nothing_but_a_reply_may_come_before_the_setup() {
    let mut script = Script::new(config(ChannelKind::Standard));
    script.receive(&standard_success());
    assert!(matches!(script.end, Some(End::Protocol(_))));
}

// proves: CM-10 MP-30
#[test]
fn a_server_without_standard_channels_gets_an_extended_one() {
    let mut script = Script::new(config(ChannelKind::Standard));
    script.skip();
    script.receive(&success(0b10));
    script.sent(|open: OpenExtendedMiningChannel<'_>| assert_eq!(open.min_extranonce_size, 4));
    script.receive(&extended_success());
    assert!(script.end.is_none());
}

// proves: CM-10 SM-04
#[test]
fn requirements_that_contradict_the_flags_end_the_connection_and_are_remembered() {
    for (flags, wish, answer) in [(0b001, 1u32 << 2, 0b01), (0b010, 1 << 0, 0b10)] {
        let mut config = config(ChannelKind::Standard);
        config.requires_standard_jobs = wish == 1;
        config.requires_version_rolling = wish == 4;
        let mut script = Script::new(config.clone());
        script.receive(&success(flags));
        let Some(End::Retry { lessons, .. }) = script.end else { panic!("{:?}", script.end) };
        let mut script = Script::with_lessons(config, lessons);
        assert_eq!(script.sent(|setup: SetupConnection<'_>| setup.flags), 0);
        script.receive(&success(answer));
        assert!(script.end.is_none(), "the second attempt succeeds");
    }
}

// proves: SM-05 CM-13
#[test]
fn refused_flags_are_left_out_next_time_and_other_refusals_are_failures() {
    let mut config = config(ChannelKind::Standard);
    config.requires_version_rolling = true;
    let error_code = ErrorCode::from_static("unsupported-feature-flags");
    let mut script = Script::new(config.clone());
    script.receive(&SetupConnectionError { flags: 0b110, error_code: error_code.clone() });
    let Some(End::Retry { lessons, .. }) = script.end else { panic!("{:?}", script.end) };
    assert_eq!(lessons.refused_flags, 0b100, "only what this device had asked for");
    // The flags decide, not the text: without flags there is nothing to leave out.
    let mut script = Script::new(config);
    script.receive(&SetupConnectionError { flags: 0, error_code });
    assert!(matches!(script.end, Some(End::Refused(_))));
}

// proves: ER-02 ER-03 ER-09 CW-11 CH-05
#[test]
fn codes_are_shown_and_decide_nothing() {
    let texts: [&[u8]; 3] = [b"unknown-user", b"stale-share", b"no\nsuch\x1b[31m code"];
    for text in texts {
        let mut script = Script::new(config(ChannelKind::Standard));
        script.skip();
        script.receive(&success(0));
        let length = u8::try_from(text.len()).unwrap();
        let mut bytes = vec![0, 0, 0x12, length + 5, 0, 0, 1, 0, 0, 0, length];
        bytes.extend_from_slice(text);
        script.receive_bytes(&bytes);
        let Some(end @ End::Refused(_)) = &script.end else { panic!("{:?}", script.end) };
        assert!(end.to_string().chars().all(|shown| !shown.is_control()), "{end}");
    }
}

#[test]
fn a_silent_server_is_left() {
    let timing = Timing::default();
    let mut script = Script::new(config(ChannelKind::Standard));
    script.pass(timing.reply / 2);
    assert!(script.end.is_none());
    script.pass(timing.reply / 2);
    assert_eq!(script.end, Some(End::Silent("SetupConnection")));

    let mut script = Script::new(config(ChannelKind::Standard));
    script.receive(&success(0));
    script.pass(timing.reply);
    assert_eq!(script.end, Some(End::Silent("the request for a channel")));
}

// proves: EX-21
#[test]
fn who_wants_no_extension_asks_for_none() {
    let mut script = Script::new(config(ChannelKind::Extended));
    script.skip();
    script.receive(&success(0));
    script.sent(|_: OpenExtendedMiningChannel<'_>| ());
}

// proves: EX-05 EX-06 EX-07 SM-06 SM-07 WH-06
#[test]
fn extensions_are_asked_for_first_and_the_reply_is_awaited() {
    let mut script = asking();
    script.sent(|request: RequestExtensions<'_>| {
        assert_eq!(request.requested_extensions.iter().collect::<Vec<_>>(), [2]);
    });
    script.pass(Duration::from_millis(500));
    assert!(script.sent.is_empty(), "nothing else is sent meanwhile");
    script.receive(&RequestExtensionsSuccess { request_id: 9, supported_extensions: ids(&[2]) });
    assert!(script.sent.is_empty(), "not the reply to this request");
    script.receive(&RequestExtensionsSuccess { request_id: 1, supported_extensions: ids(&[2]) });
    script.sent(|_: OpenExtendedMiningChannel<'_>| ());
}

// proves: EX-13 SM-07
#[test]
fn without_its_extension_the_device_goes_on() {
    let mut script = asking();
    script.skip();
    script.receive(&RequestExtensionsError {
        request_id: 1,
        unsupported_extensions: ids(&[2]),
        required_extensions: ids(&[]),
    });
    script.sent(|_: OpenExtendedMiningChannel<'_>| ());
}

// proves: SM-08
#[test]
fn extensions_that_the_server_insists_on_are_a_reason_to_leave() {
    let mut script = asking();
    script.skip();
    script.receive(&RequestExtensionsError {
        request_id: 1,
        unsupported_extensions: ids(&[]),
        required_extensions: ids(&[0x4001]),
    });
    assert!(matches!(script.end, Some(End::Refused(_))));
    assert!(script.sent.is_empty());
}

// proves: EX-15 SM-09
#[test]
fn silence_on_extensions_is_tried_twice_and_then_avoided() {
    let config = DeviceConfig { worker_tlv: true, ..config(ChannelKind::Extended) };
    let mut lessons = Lessons::default();
    for _ in 0..2 {
        let mut script = Script::with_lessons(config.clone(), lessons);
        script.skip();
        script.receive(&success(0));
        script.sent(|_: RequestExtensions<'_>| ());
        script.pass(config.timing.extensions);
        let Some(End::Retry { lessons: learned, .. }) = script.end else { panic!("{:?}", script.end) };
        lessons = learned;
    }
    let mut script = Script::with_lessons(config, lessons);
    script.skip();
    script.receive(&success(0));
    script.sent(|_: OpenExtendedMiningChannel<'_>| ());
}

#[test]
fn an_extranonce_that_is_too_short_or_too_long_is_not_accepted() {
    for (size, prefix, good) in [(4, 28, true), (3, 16, false), (8, 25, false), (32, 0, true)] {
        let mut script = Script::new(config(ChannelKind::Extended));
        script.receive(&success(0));
        script.receive(&OpenExtendedMiningChannelSuccess {
            extranonce_size: size,
            extranonce_prefix: B0_32::new(vec![1; prefix]).unwrap(),
            ..extended_success()
        });
        assert_eq!(script.end.is_none(), good, "{prefix} + {size}");
    }
}
