use sv2::ErrorCode;
use sv2::extensions::RequestExtensionsSuccess;
use sv2::mining::{SubmitSharesError, SubmitSharesSuccess};
use work::Ehash;

use super::*;

fn batch(last: u32, count: u32) -> SubmitSharesSuccess {
    SubmitSharesSuccess {
        channel_id: CHANNEL,
        last_sequence_number: last,
        new_submits_accepted_count: count,
        new_shares_sum: 3,
    }
}

fn error(sequence_number: u32, code: &'static str) -> SubmitSharesError<'static> {
    let error_code = ErrorCode::new(code).unwrap();
    SubmitSharesError { channel_id: CHANNEL, sequence_number, error_code }
}

// proves: MP-111 MD-08 MP-118
#[test]
fn shares_carry_the_header_and_count_up() {
    let mut script = Script::mining(config(ChannelKind::Standard));
    for number in 1..=3 {
        let found = script.find();
        let share = script.sent_share();
        assert_eq!((share.channel_id, share.sequence_number, share.job_id), (CHANNEL, number, 1));
        assert_eq!((share.nonce, share.ntime, share.version), (found.nonce, found.ntime, found.version));
    }
}

// proves: MP-120 MD-10
#[test]
fn extended_shares_carry_as_much_extranonce_as_was_granted() {
    for size in [4, 5, 8, 16, 24] {
        let mut script = Script::new(config(ChannelKind::Extended));
        script.receive(&SetupConnectionSuccess { used_version: 2, flags: 0 });
        script.receive(&OpenExtendedMiningChannelSuccess {
            extranonce_size: size,
            extranonce_prefix: B0_32::new(vec![7; 24 - usize::from(size.min(24))]).unwrap(),
            ..extended_success()
        });
        script.receive(&extended_job(GROUP, 1, None));
        script.receive(&new_block(GROUP, 1));
        script.sent.clear();
        let found = script.find();
        script.sent_any(|message, tlvs| {
            let MiningFromClient::SubmitSharesExtended(SubmitSharesExtended {
                extranonce, channel_id, ..
            }) = message
            else {
                panic!("{message:?}")
            };
            assert_eq!(extranonce.len(), usize::from(size));
            assert_eq!(extranonce.as_slice(), found.extranonce);
            assert_eq!(channel_id, CHANNEL, "never the group's id");
            assert!(tlvs.is_empty(), "WH-03");
        });
    }
}

// proves: WH-01 WH-02 WH-03 WH-05 EX-04 EX-08
#[test]
fn the_worker_is_named_in_every_share_or_in_none() {
    for confirmed in [true, false] {
        let mut script = Script::new(DeviceConfig { worker_tlv: true, ..config(ChannelKind::Extended) });
        script.receive(&SetupConnectionSuccess { used_version: 2, flags: 0 });
        let extensions: &[u16] = if confirmed { &[2] } else { &[] };
        let supported_extensions = sv2::codec::Seq0_64K::<u16>::new(extensions.iter().copied()).unwrap();
        script.receive(&RequestExtensionsSuccess { request_id: 1, supported_extensions });
        script.receive(&extended_success());
        script.receive(&extended_job(GROUP, 1, None));
        script.receive(&new_block(GROUP, 1));
        script.sent.clear();
        for _ in 0..3 {
            script.find();
            assert_eq!(with_worker(&mut script), confirmed.then(|| b"worker1".to_vec()));
        }
    }
}

// proves: MD-07
#[test]
fn late_results_are_submitted_while_the_block_is_the_same() {
    let mut script = Script::mining(config(ChannelKind::Standard));
    let old = found(script.work.as_ref().unwrap());
    script.receive(&job(2, Some(START_TIME)));
    script.report(&old);
    assert_eq!(script.sent_share().job_id, 1);
    script.receive(&job(3, None));
    script.receive(&new_block(CHANNEL, 3));
    script.report(&old);
    assert!(script.sent.is_empty(), "its block is history");
    assert_eq!(script.session.tally().dropped(), 1);
}

// proves: MP-137 MP-142
#[test]
fn a_share_is_checked_against_the_target_of_its_own_job() {
    let mut script = Script::open(config(ChannelKind::Standard));
    script.receive(&set_target(CHANNEL, target(0xbf)));
    script.receive(&job(1, None));
    script.receive(&new_block(CHANNEL, 1));
    let work = script.work.clone().unwrap();
    assert_eq!(work.target(), target(0xbf), "the threads look for no more than that");
    script.receive(&set_target(CHANNEL, target(0x8f)));
    script.receive(&job(2, Some(START_TIME)));
    let mut between = found(&work);
    between.hash = [0x9f; 32];
    script.report(&between);
    assert_eq!(script.sent_share().job_id, 1, "the target of job 1 still holds for job 1");
}

#[test]
fn a_block_is_submitted_even_if_the_target_is_harder_than_the_networks() {
    let mut script = Script::open(config(ChannelKind::Standard));
    script.receive(&set_target(CHANNEL, Target::ZERO));
    script.receive(&job(1, None));
    script.receive(&new_block(CHANNEL, 1));
    let mut block = found(script.work.as_ref().unwrap());
    block.hash[31] = 0x70;
    script.report(&block);
    script.sent_share();
    assert_eq!(script.session.tally().blocks(), 1);
    assert!(script.events.contains(&DeviceEvent::BlockFound { hash: block.hash }));
}

// proves: MP-129
#[test]
fn batches_are_added_up_and_credited_by_the_job_s_target() {
    let mut script = Script::mining(config(ChannelKind::Standard));
    // Target::MAX against a network target of half of all hashes: half a block each.
    let half = Ehash::new(Ehash::ONE_BLOCK.get() / 2);
    for _ in 0..5 {
        script.find();
    }
    script.receive(&batch(3, 3));
    let credit = script.session.tally().credit();
    assert!(credit.get().abs_diff(3 * half.get()) < 1 << 30, "{credit}");
    script.receive(&batch(5, 2));
    let tally = script.session.tally();
    assert_eq!((tally.submitted(), tally.accepted(), tally.outstanding()), (5, 5, 0));
    assert_eq!(tally.difficulty_sum(), 6, "each message counts from zero");
}

// proves: MD-09 ER-02 ER-03 CW-11 CH-05
#[test]
fn rejected_shares_are_counted_and_nothing_else_happens() {
    let mut script = Script::mining(config(ChannelKind::Standard));
    let codes = ["stale-share", "duplicate-share", "invalid-channel-id", "some-code-of-tomorrow"];
    for (number, code) in (1..).zip(codes.into_iter().cycle().take(400)) {
        script.find();
        script.receive(&error(number, code));
    }
    assert!(script.end.is_none() && script.work.is_some(), "mining goes on, the connection stays");
    let tally = script.session.tally();
    assert_eq!((tally.rejected(), tally.accepted()), (400, 0));
    assert!(codes.iter().all(|code| tally.rejected_by_code()[*code] == 100));
    // An error for a share that was never sent is nothing.
    script.receive(&error(4711, "stale-share"));
    assert_eq!(script.session.tally().rejected(), 400);
}

#[test]
fn books_and_tips_go_on_after_a_lost_connection() {
    let mut script = Script::mining(config(ChannelKind::Standard));
    let old = found(script.work.as_ref().unwrap());
    script.find();
    script.find();
    script.receive(&batch(1, 1));
    script.session.disconnected("reset".to_owned());
    script.perform();
    assert_eq!(script.end, Some(End::ConnectionLost("reset".to_owned())));
    let carry = script.session.into_carry();
    assert_eq!((carry.tally.accepted(), carry.tally.unanswered(), carry.tally.outstanding()), (1, 1, 0));
    assert!(carry.next_tip > old.tip, "a result for the old channel is not taken for the new one's");
}

// proves: MD-03
#[test]
fn a_standard_channel_with_standard_jobs_never_sees_a_coinbase() {
    let mut script =
        Script::mining(DeviceConfig { requires_standard_jobs: true, ..config(ChannelKind::Standard) });
    assert_eq!(root(script.work.as_ref().unwrap(), 0), [1; 32], "the server's root as it came");
    script.find();
    script.sent_share();
}
