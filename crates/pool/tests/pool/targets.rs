//! Targets: UpdateChannel, SetTarget and vardiff.

use sv2::mining::{NewExtendedMiningJob, NewMiningJob, SetTarget, UpdateChannelError};
use work::Target;

use crate::support::{Miner, Open, Rig, Want, key};

fn network(miner: &Miner, channel: u32) -> Target {
    miner.active(channel).tip().network_target()
}

fn rung(miner: &Miner, channel: u32, k: u8) -> [u8; 32] {
    Target::ladder(network(miner, channel), k).to_le_bytes()
}

/// Sends UpdateChannel and waits for a job with another target.
fn update(miner: &mut Miner, channel: u32, rate: f32, maximum_target: [u8; 32]) {
    let last = miner.active(channel).job_id();
    miner.update(channel, rate, maximum_target);
    while miner.active(channel).job_id() == last {
        miner.receive();
    }
}

// proves: MP-55 MP-128 MP-140 MP-142 MP-145 MP-146 SM-17 CW-05
#[test]
fn a_lower_maximum_brings_set_target_and_a_job_and_leaves_the_running_job_alone() {
    let rig = Rig::start();
    for (mut miner, open) in [
        (rig.simple_miner(), Open::standard(&key())),
        (rig.miner(), Open::standard(&key())),
        (rig.miner(), Open::extended(&key())),
    ] {
        let channel = miner.open(&open);
        let old = miner.active(channel).clone();
        let max_target = rung(&miner, channel, 4);
        let before = miner.log.len();
        update(&mut miner, channel, 0.0, max_target);
        let [set_target, job] = &miner.log[before..] else { panic!("{:?}", &miner.log[before..]) };
        let set_target: SetTarget = set_target.get().unwrap();
        assert_eq!((set_target.channel_id, set_target.maximum_target), (channel, max_target));
        let min_ntime = match open.extended {
            None => job.get::<NewMiningJob>().unwrap().min_ntime,
            Some(_) => job.get::<NewExtendedMiningJob<'_>>().unwrap().min_ntime,
        };
        assert!(min_ntime.is_some(), "the job starts at once");
        let new = miner.active(channel).clone();
        assert_eq!(new.target().to_le_bytes(), max_target);

        // A hash between the two targets is good for the old job, and not for the new one.
        let between = |hash: &[u8; 32]| old.target().is_met_by(hash) && !new.target().is_met_by(hash);
        let share = loop {
            let share = miner.find_on(channel, &old, Want::Share);
            if between(&share.hash) {
                break share;
            }
        };
        let too_easy = loop {
            let share = miner.find_on(channel, &new, Want::Weak);
            if between(&share.hash) {
                break share;
            }
        };
        assert_eq!(miner.refuse(channel, &too_easy), "difficulty-too-low");
        miner.accept(channel, &share);
        let credit = rig.credit(&payee(&open));
        assert_eq!(credit, old.credit().get());
        miner.earn(channel);
        assert_eq!(rig.credit(&payee(&open)), credit + new.credit().get());
    }
}

fn payee(open: &Open) -> work::PayoutKey {
    String::from_utf8(open.user.clone()).unwrap().parse().unwrap()
}

// proves: MP-58 MP-146
#[test]
fn targets_that_change_twice_in_a_moment_end_up_in_a_job() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::extended(&key()));
    for k in [7, 6, 5, 4, 3] {
        let target = rung(&miner, channel, k);
        miner.update(channel, 0.0, target);
    }
    let wanted = rung(&miner, channel, 3);
    while miner.active(channel).target().to_le_bytes() != wanted {
        miner.receive();
    }
    miner.earn(channel);
}

// proves: MP-56 MP-57
#[test]
fn an_update_that_moves_nothing_is_not_answered() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::standard(&key()));
    for maximum_target in [[0xff; 32], rung(&miner, channel, 9), rung(&miner, channel, 8)] {
        miner.update(channel, 0.0, maximum_target);
        assert!(miner.barrier().is_empty());
    }
    let max_target = rung(&miner, channel, 2);
    update(&mut miner, channel, 0.0, max_target);
    // A wish for easier work may be granted or not; shares on what is there count either way.
    miner.update(channel, 0.0, [0xff; 32]);
    miner.barrier();
    miner.earn(channel);
}

// proves: MP-57 MP-59 MP-41 EC-15 EC-16 EC-17 AM-20
#[test]
fn an_update_that_cannot_be_is_refused_and_the_channel_stays_as_it_was() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::extended(&key()));
    let group = miner.channels[&channel].group;
    let fine = [0xff; 32];
    for (id, rate, maximum_target, code) in [
        (group, 1.0, fine, "invalid-channel-id"),
        (0, 1.0, fine, "invalid-channel-id"),
        (channel + 1, 1.0, fine, "invalid-channel-id"),
        (channel, f32::NAN, fine, "invalid-nominal-hashrate"),
        (channel, f32::INFINITY, fine, "invalid-nominal-hashrate"),
        (channel, -5.0, fine, "invalid-nominal-hashrate"),
        (channel, 1.0, [0; 32], "max-target-out-of-range"),
    ] {
        let before = miner.active(channel).clone();
        miner.wire.send(&sv2::mining::UpdateChannel {
            channel_id: id,
            nominal_hash_rate: sv2::codec::F32::new(rate),
            maximum_target,
        });
        let raw = miner.until(|raw| raw.is::<UpdateChannelError<'_>>());
        let error: UpdateChannelError<'_> = raw.get().unwrap();
        assert_eq!((error.channel_id, error.error_code.to_string()), (id, code.to_owned()), "{rate}");
        assert!(miner.barrier().is_empty(), "no SetTarget after an error");
        assert_eq!(miner.active(channel).job_id(), before.job_id());
        miner.earn(channel);
    }
}

// proves: PO-07 MP-55 MP-145
#[test]
fn a_nominal_hash_rate_that_rises_moves_the_target_down_and_never_above_the_maximum() {
    let rig = Rig::with(|plan| plan.shares_per_minute = 12);
    let mut miner = rig.miner();
    let channel = miner.open(&Open { rate: 3.0, ..Open::extended(&key()) });
    let easy = miner.active(channel).target();
    update(&mut miner, channel, 100.0, [0xff; 32]);
    let hard = miner.active(channel).target();
    assert!(hard < easy);
    // The miner fails when SetTarget goes above the maximum that it gives here.
    let maximum = rung(&miner, channel, 5);
    miner.update(channel, 3.0, maximum);
    miner.barrier();
    miner.update(channel, 0.0, maximum);
    miner.barrier();
    assert!(miner.channels[&channel].model.target().to_le_bytes() == maximum);
}

// proves: MP-142 MP-146 PO-07 MP-145
#[test]
fn vardiff_follows_a_miner_that_is_faster_than_it_said() {
    let rig = Rig::with(|plan| plan.shares_per_minute = 60);
    for (mut miner, open) in [
        (rig.miner(), Open::extended(&key())),
        (rig.miner(), Open::standard(&key())),
        (rig.simple_miner(), Open::standard(&key())),
    ] {
        let owner = payee(&open);
        let channel = miner.open(&open);
        let easy = miner.active(channel).target();
        let mut earned = 0;
        // A burst; a fresh job with a harder target comes, and shares on it count for more.
        while miner.active(channel).target() == easy {
            let share = miner.find(channel, Want::Share);
            earned += miner.active(channel).credit().get();
            let sequence = miner.submit(channel, &share);
            miner.until_answered(channel, sequence).unwrap();
        }
        let harder = miner.active(channel).clone();
        assert!(harder.target() < easy);
        assert!(harder.ntimes(0).start() > &0);
        let share = miner.find(channel, Want::Any);
        miner.accept(channel, &share);
        earned += harder.credit().get();
        assert_eq!(rig.credit(&owner), earned);
    }
}
