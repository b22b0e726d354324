//! Floods: what is too much ends where it comes from, and others notice nothing.

use rusqlite::Connection;
use sv2::ErrorCode;
use sv2::codec::{F32, Str0_255};
use sv2::extensions::{RequestExtensions, RequestExtensionsSuccess};
use sv2::mining::{
    CloseChannel, OpenMiningChannelError, OpenStandardMiningChannel, SubmitSharesError, SubmitSharesStandard,
    SubmitSharesSuccess, UpdateChannel, UpdateChannelError,
};

use crate::support::{Miner, Open, Raw, Rig, Want, eventually, key};

/// Sends shares on the channel's first job, whatever targets come, until the pool ends the channel; returns how many
/// were sent.
fn flood(miner: &mut Miner, channel: u32, most: u32) -> u32 {
    let job = miner.active(channel).clone();
    for sent in 1..=most {
        let share = miner.find_on(channel, &job, Want::Share);
        miner.submit(channel, &share);
        if sent % 50 == 0 {
            miner.barrier();
        }
        // A refusal says that sentence is passed; the end comes when all that counts is on disk.
        while miner.channels.get(&channel).is_some_and(|channel| channel.rejected > 0) {
            miner.receive();
        }
        if !miner.channels.contains_key(&channel) {
            return sent;
        }
    }
    panic!("{most} shares were taken");
}

fn reason(miner: &Miner) -> String {
    let closed: Option<CloseChannel<'_>> = miner.log.iter().rev().find_map(Raw::get);
    closed.expect("a channel was ended").reason_code.to_string()
}

/// What comes before the pool ends the connection, of messages that were queued.
fn rest(miner: &mut Miner) -> Vec<Raw> {
    // The pool may be gone before all is written.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| miner.wire.flush()));
    miner.wire.rest()
}

fn count(frames: &[Raw], fits: impl Fn(&Raw) -> bool) -> usize {
    frames.iter().filter(|raw| fits(raw)).count()
}

/// The value of a metric of this label.
fn metric(rig: &Rig, name: &str, label: &str) -> u64 {
    let registry = prometheus::Registry::new();
    rig.pool().stats().register(&registry).unwrap();
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let line = text.lines().find(|line| line.starts_with(name) && line.contains(label));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

// proves: PO-09 MP-69 EC-45
#[test]
fn a_channel_that_ignores_its_targets_is_ended_alone_and_what_it_sent_counts() {
    let rig = Rig::with(|plan| {
        plan.shares_per_minute = 60;
        plan.limits.shares_over_aim = 10;
        plan.limits.share_burst = 100;
    });
    let mut miner = rig.miner();
    let (owner, neighbour) = (key(), key());
    // The easiest work there is; vardiff will want much harder.
    let channel = miner.open(&Open::standard(&owner));
    let innocent = miner.open(&Open::extended(&neighbour));
    let sent = flood(&mut miner, channel, 20_000);
    assert!(sent > 100, "the first are free");
    assert_eq!(reason(&miner), "share-flood");
    // Each share was either acknowledged before the end, or came after it.
    let accepted: u32 = miner
        .log
        .iter()
        .filter_map(|raw| raw.get::<SubmitSharesSuccess>())
        .filter(|batch| batch.channel_id == channel)
        .map(|batch| batch.new_submits_accepted_count)
        .sum();
    assert!(accepted > 100);
    assert!(rig.credit(&owner) > 0);
    miner.earn(innocent);
    let again = miner.open(&Open::standard(&owner));
    miner.earn(again);
    assert_eq!(metric(&rig, "assay_channels_closed_total", "share-flood"), 1);
}

// proves: PO-09
#[test]
fn a_connection_is_ended_when_many_of_its_channels_flood() {
    let rig = Rig::with(|plan| plan.limits.invalid_shares_per_minute = 10);
    let mut miner = rig.miner();
    let mut bystander = rig.miner();
    let other = bystander.open(&Open::standard(&key()));
    let channels: Vec<u32> = (0..16).map(|_| miner.open(&Open::standard(&key()))).collect();
    for channel in channels {
        let weak = miner.find(channel, Want::Weak);
        for _ in 0..11 {
            miner.queue_share(channel, &weak, &[]);
        }
    }
    let frames = rest(&mut miner);
    let ended = count(&frames, |raw| raw.is::<CloseChannel<'_>>());
    assert!((8..=11).contains(&ended), "{ended} channels were ended before their connection");
    bystander.earn(other);
    eventually("all its channels are closed", || rig.pool().stats().totals().channels == 1);
}

// proves: MP-67
#[test]
fn shares_that_cross_the_end_of_their_channel_are_answered_but_not_without_end() {
    let rig = Rig::with(|plan| {
        plan.limits.shares_over_aim = 10;
        plan.limits.share_burst = 200;
        plan.limits.invalid_shares_per_minute = 10;
        plan.shares_per_minute = 60;
    });
    let mut miner = rig.miner();
    let channel = miner.open(&Open::standard(&key()));
    miner.close(channel);
    let share = SubmitSharesStandard {
        channel_id: channel,
        sequence_number: 1,
        job_id: 1,
        nonce: 1,
        ntime: 1,
        version: 1,
    };
    for _ in 0..190 {
        miner.wire.queue(&share);
    }
    miner.wire.flush();
    let before = miner.log.len();
    miner.barrier();
    let answers = count(&miner.log[before..], |raw| raw.is::<SubmitSharesError<'_>>());
    assert!((100..=110).contains(&answers), "{answers}: less comes back than went in");
    let again = miner.open(&Open::standard(&key()));
    miner.earn(again);
    for _ in 0..300 {
        miner.wire.queue(&share);
    }
    let frames = rest(&mut miner);
    assert!(count(&frames, |raw| raw.is::<SubmitSharesError<'_>>()) < 20);
}

// proves: MP-52
#[test]
fn opening_and_closing_without_end_is_refused_and_leaves_nothing_behind() {
    let rig = Rig::with(|plan| {
        plan.limits.channels_per_connection = 20;
        plan.limits.requests_per_minute = 1;
        plan.limits.invalid_shares_per_minute = 100;
    });
    let mut bystander = rig.miner();
    let other = bystander.open(&Open::standard(&key()));
    let mut miner = rig.miner();
    let user = key().to_string();
    // Ids of channels count from 2 on: the group has the first.
    for n in 0..900 {
        miner.wire.queue(&OpenStandardMiningChannel {
            request_id: n,
            user_identity: Str0_255::from_bytes(user.as_bytes()).unwrap(),
            nominal_hash_rate: F32::new(1.0),
            max_target: [0xff; 32],
        });
        miner.wire.queue(&CloseChannel { channel_id: n + 2, reason_code: ErrorCode::from_static("churn") });
    }
    let frames = rest(&mut miner);
    let refused: Vec<String> = frames
        .iter()
        .filter_map(|raw| raw.get::<OpenMiningChannelError<'_>>())
        .map(|error| error.error_code.to_string())
        .collect();
    assert!(!refused.is_empty() && refused.iter().all(|code| code.starts_with("too-many-requests")));
    let opened = count(&frames, |raw| raw.is::<sv2::mining::OpenStandardMiningChannelSuccess<'_>>());
    assert!((500..=1100).contains(&opened), "{opened}");
    eventually("nothing is left", || rig.pool().stats().totals().channels == 1);
    assert!(metric(&rig, "assay_requests_refused_total", "") > 0);
    assert!(metric(&rig, "assay_channels_refused_total", "too-many-requests") > 0);
    bystander.earn(other);
}

#[test]
fn negotiating_and_updating_without_end_ends_the_connection() {
    let rig = Rig::with(|plan| {
        plan.limits.channels_per_connection = 20;
        plan.limits.requests_per_minute = 1;
        plan.limits.invalid_shares_per_minute = 10;
    });
    let mut miner = rig.miner();
    // Not so many that the pool has no time to read them to the end.
    for _ in 0..2000 {
        miner.wire.queue(&RequestExtensions {
            request_id: 1,
            requested_extensions: sv2::codec::Seq::<u16, 2>::new([2]).unwrap(),
        });
    }
    let served = count(&rest(&mut miner), |raw| raw.is::<RequestExtensionsSuccess<'_>>());
    assert!((900..1100).contains(&served), "{served}");

    let mut miner = rig.miner();
    let channel_id = miner.open(&Open::standard(&key()));
    for n in 0..2000 {
        // Each of them moves the target.
        let nominal_hash_rate = F32::new(if n % 2 == 0 { 1.0 } else { 1e12 });
        miner.wire.queue(&UpdateChannel { channel_id, nominal_hash_rate, maximum_target: [0xff; 32] });
    }
    let frames = rest(&mut miner);
    let refused = count(&frames, |raw| raw.is::<UpdateChannelError<'_>>());
    assert!((1..=20).contains(&refused), "{refused}");
    assert!(frames.len() < 6000, "{}", frames.len());
}

#[test]
fn the_last_channels_are_for_connections_that_have_few() {
    let rig = Rig::with(|plan| plan.limits.channels = 80);
    let (mut greedy, mut modest) = (rig.miner(), rig.miner());
    for _ in 0..60 {
        greedy.open(&Open::standard(&key()));
    }
    assert_eq!(greedy.open_refused(&Open::standard(&key())), "channel-capacity-exhausted");
    for _ in 0..16 {
        modest.open(&Open::standard(&key()));
    }
    assert_eq!(modest.open_refused(&Open::extended(&key())), "channel-capacity-exhausted");
    let mut late = rig.miner();
    for _ in 0..4 {
        late.open(&Open::standard(&key()));
    }
    assert_eq!(late.open_refused(&Open::standard(&key())), "channel-capacity-exhausted");
}

/// Sends shares one after the other until the pool ends the channel; returns how many counted.
fn fill(miner: &mut Miner, channel: u32) -> u32 {
    for accepted in 0..10_000 {
        let share = miner.find(channel, Want::Share);
        let sequence = miner.submit(channel, &share);
        if miner.until_answered(channel, sequence).is_err() {
            miner.until(|raw| raw.is::<CloseChannel<'_>>());
            return accepted;
        }
    }
    panic!("the filter has no bound");
}

// proves: MP-107
#[test]
fn memory_of_shares_is_bounded_for_the_process_and_those_who_hold_most_give_way() {
    // The 16th part of it is a filter of 512 places; up to 256 are everybody's own.
    let rig = Rig::with(|plan| plan.limits.share_memory = 16 * 8 * 512);
    let mut miner = rig.miner();
    let modest = miner.open(&Open::extended(&key()));
    for _ in 0..2 {
        let greedy = miner.open(&Open::standard(&key()));
        // What an ended channel held is free again.
        assert_eq!(fill(&mut miner, greedy), 384);
        assert_eq!(reason(&miner), "share-flood");
    }
    for _ in 0..150 {
        miner.earn(modest);
    }
}

#[test]
fn a_disk_that_takes_nothing_turns_newcomers_away_and_then_everybody_until_it_heals() {
    let rig = Rig::with(|plan| plan.limits.ledger_patience = std::time::Duration::from_secs(2));
    let mut miner = rig.miner();
    let owner = key();
    let channel = miner.open(&Open::standard(&owner));
    miner.earn(channel);
    let db = Connection::open(rig.ledger_path()).unwrap();
    db.busy_timeout(crate::support::PATIENCE).unwrap();
    db.execute_batch("ALTER TABLE journal RENAME TO journal_gone").unwrap();
    let share = miner.find(channel, Want::Share);
    miner.submit(channel, &share);
    let mut newcomer = rig.miner();
    eventually("newcomers are refused", || refusal(&mut newcomer).as_deref() == Some("ledger-unavailable"));
    // Who mines goes on, for a while.
    let mut sent = 2;
    loop {
        let share = miner.find(channel, Want::Share);
        let sequence = miner.submit(channel, &share);
        miner.barrier();
        let refused = miner.log.iter().rev().find_map(|raw| raw.get::<SubmitSharesError<'_>>());
        if let Some(refused) = refused {
            assert_eq!(refused.sequence_number, sequence);
            break;
        }
        sent += 1;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(sent > 2, "the channel took shares while there was hope");
    db.execute_batch("ALTER TABLE journal_gone RENAME TO journal").unwrap();
    drop(db);
    miner.until(|raw| raw.is::<CloseChannel<'_>>());
    assert_eq!(reason(&miner), "ledger-unavailable");
    let accepted: u32 = miner
        .log
        .iter()
        .filter_map(|raw| raw.get::<SubmitSharesSuccess>())
        .map(|m| m.new_submits_accepted_count)
        .sum();
    assert_eq!(accepted, sent, "all that was taken is acknowledged before the end");
    eventually("channels are opened again", || refusal(&mut newcomer).is_none());
    assert!(metric(&rig, "assay_channels_closed_total", "ledger-unavailable") > 0);
}

/// Asks for a channel; the code if it is refused.
fn refusal(miner: &mut Miner) -> Option<String> {
    let request = miner.ask(&Open::standard(&key()));
    let raw = miner.until(|raw| {
        raw.is::<OpenMiningChannelError<'_>>()
            || raw.is::<sv2::mining::OpenStandardMiningChannelSuccess<'_>>()
    });
    let error: OpenMiningChannelError<'_> = raw.get()?;
    assert_eq!(error.request_id, request);
    Some(error.error_code.to_string())
}
