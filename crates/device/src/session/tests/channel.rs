use sv2::extensions::{RequestExtensions, RequestExtensionsSuccess};
use sv2::mining::{
    CloseChannel, SetExtranoncePrefix, SetGroupChannel, SubmitSharesSuccess, UpdateChannel,
    UpdateChannelError,
};
use sv2::setup::{ChannelEndpointChanged, Reconnect};
use sv2::{
    ErrorCode,
    codec::{Seq0_64K, Str0_255},
};

use super::*;

/// The root that MP-94 asks for, computed step by step.
fn expected_root(full_extranonce: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    let twice = |bytes: Vec<u8>| -> [u8; 32] { Sha256::digest(Sha256::digest(bytes)).into() };
    let txid = twice([&coinbase_prefix(), full_extranonce, &COINBASE_SUFFIX[..]].concat());
    let folded = twice([txid, [1; 32]].concat());
    twice([folded, [2; 32]].concat())
}

const CODE: ErrorCode<'static> = ErrorCode::from_static("some-code");

// proves: MP-82 MP-98 SM-13 SM-15 MP-105
#[test]
fn a_future_job_waits_for_its_block() {
    let mut script = Script::open(config(ChannelKind::Standard));
    script.receive(&job(1, None));
    assert!(script.works.is_empty(), "a future job is not mined");
    script.receive(&new_block(CHANNEL, 1));
    let work = script.work.as_ref().unwrap();
    let tip = work.assignment.tip();
    assert_eq!((*tip.prev_hash(), tip.nbits()), ([1; 32], NBITS));
    assert_eq!(Assigned::of(work).ntime, START_TIME);
    assert_eq!(root(work, 0), [1; 32]);
    assert_eq!(work.elapsed(script.now + Duration::from_secs(9)), 9, "ntime counts from SetNewPrevHash");
}

// proves: MP-80 MP-81 MP-83 SM-14 MP-105
#[test]
fn a_job_with_a_time_is_mined_at_once_on_the_same_block() {
    for kind in [ChannelKind::Standard, ChannelKind::Extended] {
        let mut script = Script::mining(config(kind));
        script.now += Duration::from_secs(7);
        match kind {
            ChannelKind::Standard => script.receive(&job(2, Some(START_TIME + 5))),
            ChannelKind::Extended => script.receive(&extended_job(CHANNEL, 2, Some(START_TIME + 5))),
        }
        let work = script.work.as_ref().unwrap();
        assert_eq!((prev_hash(&script), Assigned::of(work).ntime), ([1; 32], START_TIME + 5));
        assert_eq!(work.elapsed(script.now), 0, "ntime counts from this job's own message");
    }
}

// proves: SM-14
#[test]
fn a_job_for_now_without_a_block_is_not_mined() {
    let mut script = Script::open(config(ChannelKind::Standard));
    script.receive(&job(1, Some(START_TIME)));
    assert!(script.works.is_empty());
    assert!(script.end.is_none());
}

// proves: MP-99 MP-101 SM-16 MP-106
#[test]
fn a_block_ends_all_other_jobs() {
    let mut script = Script::open(config(ChannelKind::Standard));
    for id in 1..=3 {
        script.receive(&job(id, None));
    }
    script.receive(&new_block(CHANNEL, 2));
    assert_eq!(prev_hash(&script), [2; 32]);
    // Jobs 1 and 3 died with it: naming one is an error, and nothing is mined until a valid pair comes.
    script.receive(&new_block(CHANNEL, 3));
    assert!(script.work.is_none(), "the old block's work is stopped too");
    assert!(script.end.is_none());
    script.receive(&job(4, Some(START_TIME)));
    assert!(script.work.is_none(), "there is no block to build on");
    script.receive(&job(5, None));
    script.receive(&new_block(CHANNEL, 5));
    assert_eq!(prev_hash(&script), [5; 32]);
}

// proves: MP-101 SM-16
#[test]
fn a_server_that_never_sends_a_valid_pair_is_left() {
    let mut script = Script::mining(config(ChannelKind::Standard));
    script.receive(&new_block(CHANNEL, 77));
    script.pass(Duration::from_secs(61));
    assert!(matches!(script.end, Some(End::Silent(_))));
}

#[test]
fn a_reorganisation_is_a_block_like_any_other() {
    let mut script = Script::mining(config(ChannelKind::Standard));
    for id in [2, 3, 2] {
        script.receive(&job(id, None));
        script.receive(&new_block(CHANNEL, id));
        assert_eq!(prev_hash(&script), bytes(id));
    }
}

// proves: MP-141 MP-142 MP-143 SM-17
#[test]
fn a_target_holds_for_jobs_that_become_active_later() {
    let mut script = Script::mining(config(ChannelKind::Standard));
    script.receive(&job(2, None));
    script.receive(&set_target(CHANNEL, target(0x3f)));
    assert_eq!(script.works.len(), 1, "the active job is left alone");
    assert_eq!(script.session.targets().unwrap().0, Target::MAX);
    script.receive(&new_block(CHANNEL, 2));
    assert_eq!(script.session.targets().unwrap().0, target(0x3f), "the future job takes the new target");
    script.receive(&set_target(CHANNEL, target(0x1f)));
    script.receive(&job(3, Some(START_TIME)));
    assert_eq!(script.session.targets().unwrap().0, target(0x1f));
}

// proves: MP-144 MP-159 MD-02 MP-156
#[test]
fn messages_to_the_group_are_messages_to_the_channel() {
    for kind in [ChannelKind::Standard, ChannelKind::Extended] {
        let mut script = Script::open(config(kind));
        script.receive(&set_target(GROUP, target(0x7f)));
        script.receive(&extended_job(GROUP, 1, None));
        script.receive(&new_block(GROUP, 1));
        assert_eq!(script.session.targets().unwrap().0, target(0x7f), "{kind}");
        script.receive(&extended_job(GROUP, 2, Some(START_TIME)));
        assert_eq!(Assigned::of(script.work.as_ref().unwrap()).job_id, 2, "{kind}");
    }
}

// proves: MD-02 MP-08 MP-94
#[test]
fn a_standard_channel_mines_extended_jobs_with_its_prefix_as_the_extranonce() {
    let mut script = Script::open(config(ChannelKind::Standard));
    script.receive(&extended_job(GROUP, 1, None));
    script.receive(&new_block(GROUP, 1));
    let expected = expected_root(&[7; 24]);
    assert_eq!(root(script.work.as_ref().unwrap(), 0), expected);
    script.find();
    assert_eq!(script.sent_share().job_id, 1);
}

// proves: MP-48
#[test]
fn the_first_pair_may_come_to_the_channel_and_later_ones_to_the_group() {
    for kind in [ChannelKind::Standard, ChannelKind::Extended] {
        let mut script = Script::mining(config(kind));
        script.receive(&extended_job(GROUP, 5, None));
        script.receive(&new_block(GROUP, 5));
        assert_eq!(prev_hash(&script), [5; 32]);
    }
}

#[test]
fn a_device_with_standard_jobs_only_has_no_group() {
    let mut settings = config(ChannelKind::Standard);
    settings.requires_standard_jobs = true;
    let mut script = Script::open(settings);
    let channel_ids = Seq0_64K::<u32>::new([CHANNEL]).unwrap();
    script.receive(&SetGroupChannel { group_channel_id: 50, channel_ids });
    for group in [GROUP, 50] {
        script.receive(&extended_job(group, 1, None));
        script.receive(&new_block(group, 1));
        script.receive(&CloseChannel { channel_id: group, reason_code: CODE });
    }
    assert!(script.works.is_empty() && script.end.is_none());
}

// proves: MP-152 MP-155 MP-157 SM-19 MP-158
#[test]
fn a_channel_moves_to_another_group_with_its_jobs() {
    let mut script = Script::mining(config(ChannelKind::Extended));
    script.receive(&extended_job(GROUP, 2, None));
    let others = Seq0_64K::<u32>::new([1, 2, 3]).unwrap();
    script.receive(&SetGroupChannel { group_channel_id: 40, channel_ids: others });
    script.receive(&new_block(40, 2));
    assert_eq!(prev_hash(&script), [1; 32], "still in its own group");
    let channel_ids = Seq0_64K::<u32>::new([999, CHANNEL]).unwrap();
    script.receive(&SetGroupChannel { group_channel_id: 40, channel_ids });
    script.receive(&new_block(GROUP, 2));
    assert_eq!(prev_hash(&script), [1; 32], "the old group is another's");
    script.receive(&new_block(40, 2));
    assert_eq!(prev_hash(&script), [2; 32], "jobs that came before stay usable");
}

// proves: MP-70 SM-18
#[test]
fn a_prefix_holds_for_jobs_that_come_later() {
    let root_with = |prefix: u8| expected_root(&[&[prefix; 16][..], &[0, 0, 0, 0, 0, 0, 0, 9]].concat());
    let mined = |script: &Script| root(script.work.as_ref().unwrap(), 9);
    let mut script = Script::mining(config(ChannelKind::Extended));
    script.receive(&extended_job(CHANNEL, 2, None));
    let extranonce_prefix = B0_32::new(vec![8; 16]).unwrap();
    script.receive(&SetExtranoncePrefix { channel_id: CHANNEL, extranonce_prefix });
    assert_eq!(mined(&script), root_with(7));
    script.receive(&new_block(CHANNEL, 2));
    assert_eq!(mined(&script), root_with(7), "it was sent before, activated later");
    script.receive(&extended_job(CHANNEL, 3, Some(START_TIME)));
    assert_eq!(mined(&script), root_with(8));
}

// proves: MP-72 MP-156
#[test]
fn what_must_not_be_sent_to_a_group_is_ignored() {
    let mut script = Script::mining(config(ChannelKind::Standard));
    let extranonce_prefix = B0_32::new(vec![9; 24]).unwrap();
    script.receive(&SetExtranoncePrefix { channel_id: GROUP, extranonce_prefix });
    script.receive(&NewMiningJob { channel_id: GROUP, ..job(2, Some(START_TIME)) });
    script.receive(&UpdateChannelError { channel_id: GROUP, error_code: CODE });
    assert!(script.end.is_none());
    assert_eq!(script.works.len(), 1);
    script.receive(&extended_job(GROUP, 3, Some(START_TIME)));
    let expected = expected_root(&[7; 24]);
    assert_eq!(root(script.work.as_ref().unwrap(), 0), expected);
}

#[test]
fn an_impossible_prefix_ends_the_connection() {
    let mut script = Script::mining(config(ChannelKind::Extended));
    let extranonce_prefix = B0_32::new(vec![9; 25]).unwrap();
    script.receive(&SetExtranoncePrefix { channel_id: CHANNEL, extranonce_prefix });
    assert!(matches!(script.end, Some(End::Protocol(_))));
}

// proves: MP-90 MP-91 CM-10
#[test]
fn versions_are_rolled_only_where_that_is_allowed() {
    let rolling = |script: &Script| script.work.as_ref().unwrap().assignment.version_rolling_allowed();
    assert!(rolling(&Script::mining(config(ChannelKind::Standard))), "a standard job does not forbid it");
    let mut script = Script::mining(config(ChannelKind::Extended));
    assert!(rolling(&script));
    let fixed =
        NewExtendedMiningJob { version_rolling_allowed: false, ..extended_job(GROUP, 2, Some(START_TIME)) };
    script.receive(&fixed);
    assert!(!rolling(&script));

    // A server with fixed versions wins over everything that a job says (AM-15).
    let mut script = Script::new(config(ChannelKind::Standard));
    script.receive(&SetupConnectionSuccess { used_version: 2, flags: 1 });
    script.receive(&standard_success());
    script.receive(&job(1, None));
    script.receive(&new_block(CHANNEL, 1));
    assert!(!rolling(&script));
    script.receive(&extended_job(GROUP, 2, Some(START_TIME)));
    assert!(!rolling(&script));
}

// proves: MP-65 MP-66 SM-21
#[test]
fn a_closed_channel_is_not_mined() {
    for id in [CHANNEL, GROUP] {
        let mut script = Script::mining(config(ChannelKind::Standard));
        let work = script.work.clone().unwrap();
        script.receive(&CloseChannel { channel_id: id, reason_code: CODE });
        assert!(script.work.is_none());
        assert_eq!(script.end, Some(End::ChannelClosed("some-code".to_owned())));
        script.sent.clear();
        script.report(&found(&work));
        assert!(script.sent.is_empty(), "nothing is submitted any more");
    }
}

// proves: MP-67
#[test]
fn messages_for_other_channels_are_ignored() {
    let mut script = Script::mining(config(ChannelKind::Standard));
    script.receive(&CloseChannel { channel_id: 77, reason_code: CODE });
    script.receive(&NewMiningJob { channel_id: 77, ..job(3, Some(START_TIME)) });
    script.receive(&new_block(77, 1));
    script.receive(&set_target(77, target(1)));
    let batch = SubmitSharesSuccess {
        channel_id: 77,
        last_sequence_number: 1,
        new_submits_accepted_count: 1,
        new_shares_sum: 1,
    };
    script.receive(&batch);
    assert!(script.end.is_none());
    assert_eq!(script.works.len(), 1);
    assert_eq!(script.session.tally().accepted(), 0);
}

// proves: FR-15 FR-19 MSG-20
#[test]
fn unknown_messages_are_ignored_but_a_flood_is_not() {
    let unknown = [0x34, 0x12, 0x07, 2, 0, 0, 1, 2];
    let reserved = [0x00, 0x80, 0x1e, 4, 0, 0, 11, 0, 0, 0];
    let mut script = Script::mining(config(ChannelKind::Standard));
    for _ in 0..500 {
        script.receive_bytes(&unknown);
        script.receive_bytes(&reserved);
    }
    assert!(script.end.is_none() && script.work.is_some());
    script.receive_bytes(&unknown);
    assert!(matches!(script.end, Some(End::Protocol(_))));
}

// proves: SM-11 FR-20
#[test]
fn what_cannot_be_read_or_does_not_belong_here_ends_the_connection() {
    let mut truncated = vec![0x00, 0x80, 0x20, 4, 0, 0];
    truncated.extend_from_slice(&CHANNEL.to_le_bytes());
    let mut client_message = Vec::new();
    let max = UpdateChannel { channel_id: 1, nominal_hash_rate: 1.0.into(), maximum_target: [0; 32] };
    encode_frame(&max, &mut client_message).unwrap();
    for bytes in [truncated, client_message] {
        let mut script = Script::mining(config(ChannelKind::Standard));
        script.receive_bytes(&bytes);
        assert!(matches!(script.end, Some(End::Protocol(_))));
        assert!(script.work.is_none());
    }
}

// proves: RC-01 RC-10 SM-10
#[test]
fn a_reconnect_waits_for_pending_shares_and_names_the_place() {
    let mut script = Script::mining(config(ChannelKind::Standard));
    script.find();
    script.sent.clear();
    script.receive(&Reconnect { new_host: Str0_255::from_static("other.example"), new_port: 0 });
    assert!(script.work.is_none(), "no new work");
    assert!(script.end.is_none(), "a share is pending");
    script.receive(&job(2, None));
    script.receive(&new_block(CHANNEL, 2));
    assert!(script.work.is_none(), "nor any from this connection");
    let batch = SubmitSharesSuccess {
        channel_id: CHANNEL,
        last_sequence_number: 1,
        new_submits_accepted_count: 1,
        new_shares_sum: 1,
    };
    script.receive(&batch);
    assert_eq!(script.end, Some(End::Reconnect { host: "other.example".to_owned(), port: 0 }));
    assert_eq!(script.session.tally().accepted(), 1);

    // A server that does not answer delays it by no more than the drain time.
    let mut script = Script::mining(config(ChannelKind::Standard));
    script.find();
    script.receive(&Reconnect { new_host: Str0_255::EMPTY, new_port: 7 });
    script.pass(Duration::from_secs(1));
    assert_eq!(script.end, Some(End::Reconnect { host: String::new(), port: 7 }));
}

// proves: RC-01
#[test]
fn a_reconnect_to_nowhere_is_ignored() {
    let mut script = Script::mining(config(ChannelKind::Standard));
    for host in [&b"\xff\xfe"[..], b"a b", b"x\n"] {
        let new_host = Str0_255::from_bytes(host).unwrap();
        script.receive(&Reconnect { new_host, new_port: 1 });
    }
    assert!(script.end.is_none() && script.work.is_some());
}

// proves: MP-60
#[test]
fn a_device_that_stops_closes_its_channel() {
    let mut script = Script::mining(config(ChannelKind::Standard));
    script.leave(End::Stopped);
    script.sent(|close: CloseChannel<'_>| assert_eq!(close.channel_id, CHANNEL));
    assert_eq!(script.end, Some(End::Stopped));
    // Before there is a channel there is none to close.
    let mut script = Script::new(config(ChannelKind::Standard));
    script.skip();
    script.leave(End::Stopped);
    assert!(script.sent.is_empty());
    assert_eq!(script.end, Some(End::Stopped));
}

// proves: CEP-02 CEP-04 CW-27
#[test]
fn a_changed_endpoint_is_asked_again_for_extensions_and_mining_goes_on() {
    let mut script = Script::mining(config(ChannelKind::Standard));
    script.receive(&ChannelEndpointChanged { channel_id: CHANNEL });
    assert!(script.end.is_none() && script.work.is_some() && script.sent.is_empty());

    let mut script = Script::new(DeviceConfig { worker_tlv: true, ..config(ChannelKind::Extended) });
    script.skip();
    script.receive(&SetupConnectionSuccess { used_version: 2, flags: 0 });
    let confirmed = || RequestExtensionsSuccess {
        request_id: 1,
        supported_extensions: Seq0_64K::<u16>::new([2]).unwrap(),
    };
    script.skip();
    script.receive(&confirmed());
    script.skip();
    script.receive(&extended_success());
    script.receive(&extended_job(CHANNEL, 1, None));
    script.receive(&new_block(CHANNEL, 1));
    script.find();
    assert!(with_worker(&mut script).is_some());
    script.receive(&ChannelEndpointChanged { channel_id: CHANNEL });
    script.sent(|_: RequestExtensions<'_>| ());
    script.find();
    assert_eq!(with_worker(&mut script), None, "what was negotiated before is forgotten");
    script.receive(&confirmed());
    script.find();
    assert!(with_worker(&mut script).is_some());
}

// proves: LIM-23
#[test]
fn the_pool_is_told_when_the_hash_rate_is_another() {
    let mut script = Script::mining(config(ChannelKind::Standard));
    let later = |seconds| Duration::from_secs(seconds);
    for (at, rate, told) in [
        (1, 50_000_000, false), // too soon
        (60, 6_000_000, false), // near enough
        (61, 0, false),         // not measured
        (62, 50_000_000, true),
        (63, 5_000_000, false), // too soon again
        (122, 5_000_000, true),
    ] {
        script.session.measured(HashRate::new(rate), script.now + later(at));
        script.perform();
        let message = script.sent.pop_front();
        assert_eq!(message.is_some(), told, "{at} s, {rate}");
    }
    script.receive(&UpdateChannelError { channel_id: CHANNEL, error_code: CODE });
    assert!(script.end.is_none() && script.work.is_some(), "the channel stays open (MP-57)");
}

#[test]
fn memory_is_bounded_whatever_the_server_sends() {
    let mut script = Script::open(config(ChannelKind::Standard));
    for id in 0..10_000 {
        script.receive(&job(id, None));
    }
    script.receive(&new_block(CHANNEL, 9_999));
    assert!(script.work.is_some(), "the latest are kept");
    for id in 10_000..20_000 {
        script.receive(&job(id, Some(START_TIME)));
    }
    let first = script.works[0].clone();
    script.sent.clear();
    script.report(&found(&first));
    assert!(script.sent.is_empty(), "a job that was forgotten is not submitted");
    assert_eq!(script.session.tally().dropped(), 1);
}
