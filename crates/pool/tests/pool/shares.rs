//! Shares: what is accepted, what is refused with which code, and how answers are batched.

use std::collections::HashSet;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use node::Node;
use sv2::codec::B0_32;
use sv2::mining::{SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess};

use work::Target;

use crate::support::{Open, Rig, Want, eventually, key, until_work_on};

const MASK: u32 = 0x1fff_ffe0;

// proves: MP-04 MP-119 EC-25 LIM-15 CW-01 CH-03 TV-16
#[test]
fn the_24_bits_of_bip_323_may_be_rolled_and_no_other() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let owner = key();
    let channels = [miner.open(&Open::standard(&owner)), miner.open(&Open::extended(&owner))];
    for channel in channels {
        let job = miner.active(channel).clone();
        for bit in 0..32 {
            let version = job.version() ^ 1 << bit;
            let share = miner.find_as(channel, &job, Want::Share, version, *job.ntimes(0).start());
            if MASK >> bit & 1 == 1 {
                miner.accept(channel, &share);
            } else {
                assert_eq!(miner.refuse(channel, &share), "invalid-non-rollable-version-bit", "bit {bit}");
            }
        }
        let share = miner.find_as(channel, &job, Want::Share, job.version() ^ MASK, *job.ntimes(0).start());
        miner.accept(channel, &share);
    }
    assert_eq!(rig.credit(&owner), 2 * 25 * miner.active(channels[0]).credit().get());
}

// proves: MP-114 MP-115 LIM-19 AM-16 UP-06
#[test]
fn the_time_of_a_share_lies_between_its_jobs_own_and_two_hours_from_now() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::extended(&key()));
    let job = miner.active(channel).clone();
    let min = *job.ntimes(0).start();
    for (ntime, good) in [
        (min, true),
        (min + 1, true),
        (min + 600, true),
        (min + 7200, true),
        (min - 1, false),
        (0, false),
        // Far enough that a slow test does not get there.
        (min + 7200 + 600, false),
        (u32::MAX, false),
    ] {
        let share = miner.find_as(channel, &job, Want::Share, job.version(), ntime);
        if good {
            miner.accept(channel, &share);
        } else {
            assert_eq!(miner.refuse(channel, &share), "invalid-share", "{min} {ntime}");
        }
    }
}

// proves: MP-121 EC-23 CW-30
#[test]
fn an_extranonce_has_exactly_the_length_that_was_granted() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open { extended: Some(11), ..Open::standard(&key()) });
    let good = miner.find(channel, Want::Share);
    assert_eq!(good.extranonce.len(), 11);
    for length in [0, 1, 10, 12, 24, 32] {
        let mut share = good.clone();
        share.extranonce.resize(length, 0);
        assert_eq!(miner.refuse(channel, &share), "bad-extranonce-size");
    }
    miner.accept(channel, &good);
}

// proves: MP-122 EC-18
#[test]
fn a_share_in_the_message_of_the_other_kind_is_refused() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let standard = miner.open(&Open::standard(&key()));
    let extended = miner.open(&Open::extended(&key()));
    let (a, b) = (miner.find(standard, Want::Share), miner.find(extended, Want::Share));
    miner.channels.get_mut(&standard).unwrap().sent += 1;
    miner.wire.send(&SubmitSharesExtended {
        channel_id: standard,
        sequence_number: 900,
        job_id: a.job_id,
        nonce: a.nonce,
        ntime: a.ntime,
        version: a.version,
        extranonce: B0_32::EMPTY,
    });
    assert_eq!(miner.until_answered(standard, 900).unwrap_err(), "invalid-channel-id");
    miner.channels.get_mut(&extended).unwrap().sent += 1;
    miner.wire.send(&SubmitSharesStandard {
        channel_id: extended,
        sequence_number: 901,
        job_id: b.job_id,
        nonce: b.nonce,
        ntime: b.ntime,
        version: b.version,
    });
    assert_eq!(miner.until_answered(extended, 901).unwrap_err(), "invalid-channel-id");
    miner.accept(standard, &a);
    miner.accept(extended, &b);
}

// proves: MP-134 MP-140 EC-18 EC-20 EC-21 EC-22 SM-22
#[test]
fn every_other_fault_has_its_code() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let owner = key();
    let channel = miner.open(&Open::extended(&owner));
    let group = miner.channels[&channel].group;
    let share = miner.find(channel, Want::Share);
    for job_id in [0, share.job_id - 1, share.job_id + 1, u32::MAX] {
        let mut unknown = share.clone();
        unknown.job_id = job_id;
        assert_eq!(miner.refuse(channel, &unknown), "invalid-job-id");
    }
    let weak = miner.find(channel, Want::Weak);
    assert_eq!(miner.refuse(channel, &weak), "difficulty-too-low");
    assert_eq!(rig.credit(&owner), 0);
    miner.accept(channel, &share);
    assert_eq!(miner.refuse(channel, &share), "duplicate-share");
    // Neither a group nor a channel of nobody takes shares, and the sequence number comes back.
    for channel_id in [group, 0, u32::MAX] {
        let (job_id, nonce, ntime, version) = (share.job_id, 7, share.ntime, share.version);
        let sequence_number = 4_000_000_000;
        miner.wire.send(&SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version });
        let raw = miner.until(|raw| raw.is::<SubmitSharesError<'_>>());
        let error: SubmitSharesError<'_> = raw.get().unwrap();
        assert_eq!((error.channel_id, error.sequence_number), (channel_id, sequence_number));
        assert_eq!(error.error_code.to_string(), "invalid-channel-id");
    }
    assert_eq!(rig.credit(&owner), miner.active(channel).credit().get());
    // The shard publishes its counts after its turn, whose answers come first.
    eventually("all refusals are counted", || rig.pool().stats().totals().shares_rejected == 9);
}

// proves: MP-124 SM-23 CW-31
#[test]
fn a_share_counts_once_and_no_header_belongs_to_two_jobs() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::extended(&key()));
    let mut roots = HashSet::new();
    for n in 0..6_u8 {
        let last = miner.active(channel).clone();
        assert!(roots.insert(last.merkle_root(&[0; 8])), "the work of an earlier job came again");
        let share = miner.find(channel, Want::Share);
        miner.accept(channel, &share);
        // A fresh job for a new target, a new transaction, a tip that comes back after another one.
        match n % 3 {
            0 => {
                let target = Target::ladder(last.tip().network_target(), 7 - n / 3);
                miner.update(channel, 0.0, target.to_le_bytes());
            }
            1 => rig.new_transaction(),
            _ => {
                let tip = rig.foreign_block();
                until_work_on(&mut miner, channel, tip.hash);
                assert_eq!(miner.refuse(channel, &share), "stale-share");
                rig.chain.invalidate(&tip.hash).unwrap();
                until_work_on(&mut miner, channel, BlockHash::from_byte_array(*last.tip().prev_hash()));
                assert_eq!(miner.refuse(channel, &share), "stale-share");
                continue;
            }
        }
        while miner.active(channel).job_id() == last.job_id() {
            miner.receive();
        }
        assert_eq!(miner.refuse(channel, &share), "duplicate-share");
    }
}

// proves: MP-129 MP-130 MP-133 CH-08 CW-08 AM-48
#[test]
fn acknowledgements_cover_every_share_once_and_start_anew_with_each_batch() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let owner = key();
    let channel = miner.open(&Open::standard(&owner));
    let mut last = 0;
    for round in 1..=3 {
        // Good ones with bad ones between, in one write.
        for n in 0..60 {
            let want = if n % 4 == 3 { Want::Weak } else { Want::Share };
            let share = miner.find(channel, want);
            let sequence = miner.queue_share(channel, &share, &[]);
            if want == Want::Share {
                last = sequence;
            }
        }
        miner.wire.flush();
        miner.settle(channel);
        let state = &miner.channels[&channel];
        assert_eq!((state.accepted, state.rejected), (round * 45, round * 15));
        let newest = miner.log.iter().rev().find_map(|raw| raw.get::<SubmitSharesSuccess>()).unwrap();
        assert_eq!(newest.last_sequence_number, last);
        // Acknowledged is durable, and to the grain, whatever vardiff made of the burst.
        assert_eq!(rig.credit(&owner), miner.earned(channel));
    }
    assert!(miner.barrier().is_empty(), "nothing is acknowledged twice");
}

// proves: MP-112
#[test]
fn sequence_numbers_may_go_back() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::standard(&key()));
    for sequence_number in [u32::MAX, 5, 5, 0] {
        let share = miner.find(channel, Want::Share);
        miner.channels.get_mut(&channel).unwrap().sent += 1;
        miner.wire.send(&SubmitSharesStandard {
            channel_id: channel,
            sequence_number,
            job_id: share.job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
        });
        miner.until_answered(channel, sequence_number).unwrap();
    }
}

// proves: MP-123 MP-136 PO-03 CW-36
#[test]
fn a_block_goes_to_the_chain_and_is_a_share_too() {
    let rig = Rig::start();
    for open in [Open::standard(&key()), Open::extended(&key())] {
        for mut miner in [rig.miner(), rig.miner()] {
            let channel = miner.open(&open);
            rig.new_transaction();
            let last = miner.active(channel).job_id();
            while miner.active(channel).job_id() == last {
                miner.receive();
            }
            let block = miner.find(channel, Want::Block);
            miner.accept(channel, &block);
            let hash = BlockHash::from_byte_array(block.hash);
            eventually("the chain has the block", || rig.chain.tip().unwrap().hash == hash);
            let block = rig.chain.block(&hash).unwrap();
            assert!(block.txdata.len() > 1, "with its transactions");
            assert!(block.check_witness_commitment() && block.check_merkle_root());
            // Work goes on behind it.
            until_work_on(&mut miner, channel, hash);
            miner.earn(channel);
        }
    }
    eventually("all blocks are counted", || rig.pool().stats().totals().blocks_accepted == 4);
    let totals = rig.pool().stats().totals();
    assert_eq!(totals.blocks_found, 4);
    assert_eq!(totals.last_block.unwrap().outcome, "accepted");
}

// proves: MP-93 MP-107 MP-125
#[test]
fn a_block_can_be_made_of_every_job_that_still_takes_shares() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::extended(&key()));
    for turn in 0..3 {
        // Of the oldest, of one made for a new target, and of the newest.
        let mut jobs = vec![miner.active(channel).clone()];
        for n in 0..8_u8 {
            let last = miner.active(channel).clone();
            if n == 3 {
                let target = Target::ladder(last.tip().network_target(), 7 - turn);
                miner.update(channel, 0.0, target.to_le_bytes());
            } else {
                rig.new_transaction();
            }
            while miner.active(channel).job_id() == last.job_id() {
                miner.receive();
            }
            jobs.push(miner.active(channel).clone());
        }
        let job = &jobs[[0, 4, 8][usize::from(turn)]];
        let block = miner.find_on(channel, job, Want::Block);
        miner.accept(channel, &block);
        let hash = BlockHash::from_byte_array(block.hash);
        eventually("the chain has the block", || rig.chain.tip().unwrap().hash == hash);
        until_work_on(&mut miner, channel, hash);
    }
    eventually("all blocks are counted", || rig.pool().stats().totals().blocks_accepted == 3);
}

// proves: PO-11 MP-128
#[test]
fn credit_is_that_of_the_jobs_target_whatever_the_hash() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let owners = [key(), key(), key()];
    for (n, owner) in owners.iter().enumerate() {
        let network = {
            let probe = miner.open(&Open::standard(owner));
            miner.active(probe).tip().network_target()
        };
        let step = u8::try_from(2 * n + 3).unwrap();
        let max_target = Target::ladder(network, step).to_le_bytes();
        let channel = miner.open(&Open { max_target, ..Open::extended(owner) });
        for _ in 0..7 {
            miner.earn(channel);
        }
        // The same hash of a block earns what every share earns.
        let block = miner.find(channel, Want::Block);
        miner.accept(channel, &block);
        assert_eq!(rig.credit(owner), 8 * (1 << 50 >> step), "{step} rungs below a block");
        let height = rig.chain.tip().unwrap().height;
        rig.wait_for_work_on(height + 1);
        miner.barrier();
    }
}
