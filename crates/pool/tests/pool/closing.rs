//! The end of channels and connections, from either side.

use std::sync::atomic::Ordering;

use sv2::mining::{
    CloseChannel, NewExtendedMiningJob, SetNewPrevHash, SubmitSharesError, SubmitSharesStandard,
    SubmitSharesSuccess,
};
use sv2::setup::Reconnect;

use crate::books::BlockedDisk;
use crate::support::{Miner, Open, Rig, Want, eventually, key, until_work_on};

// proves: MP-61 MP-67 MP-68 SM-21 EC-18
#[test]
fn nothing_more_is_sent_for_a_channel_that_its_client_closed() {
    let rig = Rig::start();
    let mut miner = rig.simple_miner();
    let owner = key();
    let (gone, stays) = (miner.open(&Open::standard(&owner)), miner.open(&Open::standard(&key())));
    let share = miner.find(gone, Want::Share);
    miner.earn(gone);
    miner.close(gone);
    // Again, and for ids that never were: ignored.
    for channel_id in [gone, 0, 77, u32::MAX] {
        miner.wire.send(&CloseChannel { channel_id, reason_code: sv2::ErrorCode::from_static("test") });
    }
    assert!(miner.barrier().is_empty());
    // The miner fails on any message for a channel that it does not have.
    let tip = rig.foreign_block();
    until_work_on(&mut miner, stays, tip.hash);
    miner.wire.send(&SubmitSharesStandard {
        channel_id: gone,
        sequence_number: 3,
        job_id: share.job_id,
        nonce: share.nonce,
        ntime: share.ntime,
        version: share.version,
    });
    let raw = miner.until(|raw| raw.is::<SubmitSharesError<'_>>());
    let error: SubmitSharesError<'_> = raw.get().unwrap();
    assert_eq!((error.channel_id, error.sequence_number), (gone, 3));
    assert_eq!(error.error_code.to_string(), "invalid-channel-id");
    miner.earn(stays);
    assert_eq!(rig.pool().stats().totals().channels, 1);
}

// proves: MP-65 MP-160 CW-28 SM-21
#[test]
fn closing_the_group_closes_every_channel_in_it() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let mut other = rig.miner();
    let channels: Vec<u32> = (0..5)
        .map(|n| {
            let open = if n % 2 == 0 { Open::standard(&key()) } else { Open::extended(&key()) };
            miner.open(&open)
        })
        .collect();
    let elsewhere = other.open(&Open::extended(&key()));
    let group = miner.channels[&channels[0]].group;
    miner.close(group);
    assert!(miner.barrier().is_empty());
    assert_eq!(rig.pool().stats().totals().channels, 1);
    let tip = rig.foreign_block();
    until_work_on(&mut other, elsewhere, tip.hash);
    assert!(miner.barrier().is_empty(), "a group without channels gets no work");
    let again = miner.open(&Open::extended(&key()));
    miner.earn(again);
}

#[test]
fn shares_of_a_channel_that_was_closed_at_once_are_still_credited() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let owner = key();
    let channel = miner.open(&Open::standard(&owner));
    let credit = miner.active(channel).credit().get();
    let shares: Vec<_> = (0..10).map(|_| miner.find(channel, Want::Share)).collect();
    for share in &shares {
        miner.queue_share(channel, share, &[]);
    }
    miner.wire.queue(&CloseChannel { channel_id: channel, reason_code: sv2::ErrorCode::from_static("bye") });
    miner.wire.flush();
    drop(miner);
    eventually("the credit is in the ledger", || rig.credit(&owner) == 10 * credit);
}

// proves: MP-69 PO-09 ER-07 EC-45 CH-02
#[test]
fn a_channel_that_floods_with_bad_shares_is_closed_after_its_good_ones_are_acknowledged() {
    let rig = Rig::with(|plan| plan.limits.invalid_shares_per_minute = 5);
    let mut miner = rig.miner();
    let (owner, neighbour) = (key(), key());
    let channel = miner.open(&Open::standard(&owner));
    let innocent = miner.open(&Open::extended(&neighbour));
    let credit = miner.active(channel).credit().get();
    let disk = BlockedDisk::of(&rig);
    let good = miner.find(channel, Want::Share);
    miner.submit(channel, &good);
    for _ in 0..6 {
        let weak = miner.find(channel, Want::Weak);
        assert_eq!(miner.refuse(channel, &weak), "difficulty-too-low");
    }
    // Sentence is passed, but the good share is not on disk yet. What comes after it does not count any more, or the
    // channel could keep itself alive.
    let after = miner.find(channel, Want::Share);
    assert_eq!(miner.refuse(channel, &after), "invalid-channel-id");
    assert!(miner.log.iter().all(|raw| !raw.is::<CloseChannel<'_>>() && !raw.is::<SubmitSharesSuccess>()));
    drop(disk);
    let before = miner.log.len();
    let closed = miner.until(|raw| raw.is::<CloseChannel<'_>>());
    let [acknowledged, _] = &miner.log[before..] else { panic!("{:?}", &miner.log[before..]) };
    let acknowledged: SubmitSharesSuccess = acknowledged.get().unwrap();
    assert_eq!((acknowledged.channel_id, acknowledged.new_submits_accepted_count), (channel, 1));
    let closed: CloseChannel<'_> = closed.get().unwrap();
    assert_eq!(closed.channel_id, channel);
    assert!(closed.reason_code.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte)));
    assert_eq!(rig.credit(&owner), credit);
    miner.earn(innocent);
}

// proves: PO-09 FR-19
#[test]
fn a_connection_that_only_makes_mistakes_is_ended() {
    let rig = Rig::with(|plan| plan.limits.invalid_shares_per_minute = 5);
    let mut bystander = rig.miner();
    let channel = bystander.open(&Open::standard(&key()));
    let share = SubmitSharesStandard {
        channel_id: 99,
        sequence_number: 1,
        job_id: 1,
        nonce: 1,
        ntime: 1,
        version: 1,
    };
    type Mistake = Box<dyn Fn(&mut Miner)>;
    let mistakes: [(&str, Mistake); 4] = [
        ("shares for channels that are not open", Box::new(move |miner| miner.wire.queue(&share))),
        ("unknown messages", Box::new(|miner| miner.wire.queue(&Nonsense))),
        (
            "updates of channels that are not open",
            Box::new(|miner| {
                let nominal_hash_rate = sv2::codec::F32::new(1.0);
                miner.wire.queue(&sv2::mining::UpdateChannel {
                    channel_id: 99,
                    nominal_hash_rate,
                    maximum_target: [0xff; 32],
                });
            }),
        ),
        (
            "channels for nobody",
            Box::new(|miner| {
                miner.wire.queue(&sv2::mining::OpenStandardMiningChannel {
                    request_id: 1,
                    user_identity: sv2::codec::Str0_255::from_static("nobody"),
                    nominal_hash_rate: sv2::codec::F32::new(1.0),
                    max_target: [0xff; 32],
                });
            }),
        ),
    ];
    for (what, mistake) in mistakes {
        let mut miner = rig.miner();
        // More than any honest client has under way when something ends.
        for _ in 0..20_000 {
            mistake(&mut miner);
        }
        // The pool may be gone before all is written.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| miner.wire.flush()));
        let answers = miner.wire.rest().len();
        assert!(answers < 20_000, "{what}: every one was served");
    }
    bystander.earn(channel);
}

/// A message of an extension that nobody has.
struct Nonsense;

impl sv2::Message<'_> for Nonsense {
    const EXTENSION: u16 = 0;
    const TYPE: u8 = 0x7f;
    const CHANNEL_BIT: bool = false;
    const SENDER: sv2::Sender = sv2::Sender::Client;
    const NAME: &'static str = "Nonsense";

    fn read(_: &mut sv2::codec::Reader<'_>) -> Result<Self, sv2::DecodeError> {
        Ok(Self)
    }

    fn encode_payload(&self, _: &mut Vec<u8>) {}
}

// proves: MP-69
#[test]
fn a_channel_that_found_all_shares_a_tip_may_have_is_closed_and_its_shares_count() {
    let rig = Rig::with(|plan| plan.limits.shares_per_tip = 20);
    let mut miner = rig.miner();
    let owner = key();
    let channel = miner.open(&Open::standard(&owner));
    let credit = miner.active(channel).credit().get();
    for _ in 0..20 {
        miner.earn(channel);
    }
    let share = miner.find(channel, Want::Share);
    assert_eq!(miner.refuse(channel, &share), "invalid-share");
    miner.until(|raw| raw.is::<CloseChannel<'_>>());
    assert_eq!(rig.credit(&owner), 20 * credit);
    let again = miner.open(&Open::standard(&owner));
    miner.earn(again);
}

// proves: PO-14
#[test]
fn every_device_is_asked_to_connect_elsewhere() {
    let rig = Rig::with(|plan| plan.shards = 2);
    let mut miners: Vec<Miner> = (0..6).map(|_| rig.miner()).collect();
    for miner in &mut miners[..3] {
        miner.open(&Open::standard(&key()));
    }
    rig.pool().reconnect("other.example", 4444);
    rig.pool().reconnect("", 0);
    for miner in &mut miners {
        for (host, port) in [("other.example", 4444), ("", 0)] {
            let raw = miner.until(|raw| raw.is::<Reconnect<'_>>());
            let asked: Reconnect<'_> = raw.get().unwrap();
            assert_eq!((asked.new_host.to_str().unwrap(), asked.new_port), (host, port));
        }
        // Until it goes, it may mine.
        let channel = miner.open(&Open::extended(&key()));
        miner.earn(channel);
    }
}

// proves: MP-133 PO-06
#[test]
fn a_pool_that_stops_acknowledges_what_it_accepted() {
    let mut rig = Rig::with(|plan| plan.shards = 2);
    let owner = key();
    let mut miners: Vec<Miner> = (0..6).map(|_| rig.miner()).collect();
    let mut credit = 0;
    for miner in &mut miners {
        let channel = miner.open(&Open::standard(&owner));
        credit = miner.active(channel).credit().get();
        for _ in 0..20 {
            let share = miner.find(channel, Want::Share);
            miner.queue_share(channel, &share, &[]);
        }
    }
    for miner in &mut miners {
        miner.wire.flush();
    }
    rig.stop_pool();
    let mut acknowledged = 0;
    for miner in &mut miners {
        let rest = miner.wire.rest();
        let batches = rest.iter().filter_map(|raw| raw.get::<SubmitSharesSuccess>());
        acknowledged += batches.map(|batch| u64::from(batch.new_submits_accepted_count)).sum::<u64>();
    }
    assert_eq!(rig.credit(&owner), acknowledged * credit, "durable and acknowledged are the same shares");
}

// proves: MP-50 MP-69 EC-45
#[test]
fn without_a_node_channels_are_closed_and_opened_again_when_it_is_back() {
    let rig = Rig::with(|plan| plan.node_patience = std::time::Duration::ZERO);
    let mut miner = rig.miner();
    let owner = key();
    let channel = miner.open(&Open::standard(&owner));
    let credit = miner.active(channel).credit().get();
    miner.earn(channel);
    let disk = BlockedDisk::of(&rig);
    let share = miner.find(channel, Want::Share);
    miner.submit(channel, &share);
    rig.node_down.store(true, Ordering::Relaxed);
    eventually("new channels are refused", || {
        let probe = miner.ask(&Open::standard(&owner));
        let raw = miner.until(|raw| {
            raw.is::<sv2::mining::OpenMiningChannelError<'_>>()
                || raw.is::<sv2::mining::OpenStandardMiningChannelSuccess<'_>>()
        });
        let error = raw.get::<sv2::mining::OpenMiningChannelError<'_>>();
        error.is_some_and(|error| {
            assert_eq!((error.request_id, error.error_code.to_string()), (probe, "no-work".to_owned()));
            true
        })
    });
    drop(disk);
    while miner.channels.contains_key(&channel) {
        miner.receive();
    }
    assert!(rig.credit(&owner) >= 2 * credit);
    let newest: CloseChannel<'_> = miner.log.iter().rev().find_map(|raw| raw.get()).unwrap();
    assert_eq!(newest.reason_code.to_string(), "no-work");
    rig.node_down.store(false, Ordering::Relaxed);
    let mut again = None;
    eventually("channels are opened", || {
        let request = miner.ask(&Open::extended(&owner));
        let raw = miner.until(|raw| {
            raw.is::<sv2::mining::OpenMiningChannelError<'_>>()
                || raw.is::<sv2::mining::OpenExtendedMiningChannelSuccess<'_>>()
        });
        again = raw.get::<sv2::mining::OpenExtendedMiningChannelSuccess<'_>>().map(|opened| {
            assert_eq!(opened.request_id, request);
            opened.channel_id
        });
        again.is_some()
    });
    miner.until(|raw| raw.is::<NewExtendedMiningJob<'_>>());
    miner.until(|raw| raw.is::<SetNewPrevHash>());
    miner.earn(again.unwrap());
}
