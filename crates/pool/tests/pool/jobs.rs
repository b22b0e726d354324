//! Jobs: from templates to channels, at new blocks, with new transactions and after reorganisations.

use std::collections::HashSet;

use bitcoin::hashes::Hash;
use bitcoin::{Transaction, consensus};
use node::Node;
use sv2::mining::{NewExtendedMiningJob, NewMiningJob, SetGroupChannel, SetNewPrevHash};
use sv2::setup::MiningSetupFlags;
use work::{Job, JobParts};

use crate::support::{Open, Raw, Rig, TAG, Want, key, payout_script, until_work_on};

// proves: MP-100 MP-102 MP-105 MP-126 MP-07 PO-05 EC-19 SM-13 SM-15 SM-22 FR-22
#[test]
fn a_new_block_moves_a_group_with_two_messages_and_ends_all_other_work() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channels = [miner.open(&Open::extended(&key())), miner.open(&Open::standard(&key()))];
    let group = miner.channels[&channels[0]].group;
    let late: Vec<_> = channels.iter().map(|channel| miner.find(*channel, Want::Share)).collect();
    let before = miner.log.len();
    let tip = rig.foreign_block();
    for channel in channels {
        until_work_on(&mut miner, channel, tip.hash);
    }
    let [job, activation] = &miner.log[before..] else { panic!("{:?}", &miner.log[before..]) };
    let job: NewExtendedMiningJob<'_> = job.get().unwrap();
    assert_eq!((job.channel_id, job.min_ntime), (group, None));
    let activation: SetNewPrevHash = activation.get().unwrap();
    assert_eq!((activation.channel_id, activation.job_id), (group, job.job_id));
    for (channel, share) in channels.into_iter().zip(&late) {
        assert_eq!(miner.refuse(channel, share), "stale-share");
        miner.earn(channel);
    }
}

// proves: MP-25 MP-06 MP-24 MP-150 FL-01 CW-09 CH-10
#[test]
fn a_device_that_needs_standard_jobs_gets_them_for_each_channel_and_nothing_for_a_group() {
    let rig = Rig::start();
    let mut miner = rig.simple_miner();
    let channels: Vec<u32> = (0..3).map(|_| miner.open(&Open::standard(&key()))).collect();
    let before = miner.log.len();
    let tip = rig.foreign_block();
    for channel in &channels {
        until_work_on(&mut miner, *channel, tip.hash);
    }
    rig.new_transaction();
    let last = miner.active(channels[2]).job_id();
    while miner.active(channels[2]).job_id() == last {
        miner.receive();
    }
    // The miner fails on anything for a group; here is what came for channels.
    let (jobs, activations): (Vec<_>, Vec<_>) =
        miner.log[before..].iter().partition(|raw| raw.is::<NewMiningJob>());
    assert_eq!((jobs.len(), activations.len()), (6, 3));
    assert!(activations.iter().all(|raw| raw.is::<SetNewPrevHash>()));
    let futures = jobs.iter().filter(|raw| raw.get::<NewMiningJob>().unwrap().min_ntime.is_none());
    assert_eq!(futures.count(), 3);
    for channel in channels {
        miner.earn(channel);
    }
}

// proves: MP-83 MP-125 MP-105 SM-14
#[test]
fn a_new_transaction_brings_a_job_that_starts_at_once_and_old_ones_still_count() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let owner = key();
    let channel = miner.open(&Open::extended(&owner));
    let mut jobs = vec![miner.active(channel).clone()];
    for _ in 0..4 {
        let before = miner.log.len();
        rig.new_transaction();
        let last = miner.active(channel).job_id();
        while miner.active(channel).job_id() == last {
            miner.receive();
        }
        let [job] = &miner.log[before..] else { panic!("{:?}", &miner.log[before..]) };
        let job: NewExtendedMiningJob<'_> = job.get().unwrap();
        assert!(job.min_ntime.is_some(), "it starts at once");
        jobs.push(miner.active(channel).clone());
    }
    for job in &jobs {
        let share = miner.find_on(channel, job, Want::Share);
        miner.accept(channel, &share);
    }
    assert_eq!(rig.credit(&owner), 5 * jobs[0].credit().get());
    // One second before the job's own time is too early, although older jobs began then.
    let newest = jobs.last().unwrap();
    let early = miner.find_as(channel, newest, Want::Share, newest.version(), newest.ntimes(0).start() - 1);
    assert_eq!(miner.refuse(channel, &early), "invalid-share");
}

// proves: MP-84 MP-85 MP-86 CW-02 CH-01
#[test]
fn job_ids_of_groups_and_channels_never_meet() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::extended(&key()));
    miner.open(&Open::standard(&key()));
    for n in 0..6 {
        // New blocks, new transactions and targets that change, each of which makes jobs.
        let last = miner.active(channel).job_id();
        match n % 3 {
            0 => drop(rig.foreign_block()),
            1 => rig.new_transaction(),
            _ => {
                let target = miner.active(channel).target().to_le_bytes();
                let mut half = target;
                half[31 - target.iter().rev().take_while(|byte| **byte == 0).count()] /= 2;
                miner.update(channel, 0.0, half);
            }
        }
        while miner.active(channel).job_id() == last {
            miner.receive();
        }
    }
    let ids: Vec<(u32, u32)> = miner
        .log
        .iter()
        .filter_map(|raw| {
            let extended = raw.get::<NewExtendedMiningJob<'_>>().map(|job| (job.channel_id, job.job_id));
            extended.or_else(|| raw.get::<NewMiningJob>().map(|job| (job.channel_id, job.job_id)))
        })
        .collect();
    let distinct: HashSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), distinct.len());
    // The first job of both channels is one and the same; every other is new to the connection.
    let jobs: HashSet<_> = ids.iter().map(|(_, job)| job).collect();
    assert_eq!(jobs.len(), ids.len() - 1);
}

// proves: MP-92 MP-44 MP-94 LIM-07 PO-12 CW-12
#[test]
fn the_coinbase_is_stripped_pays_the_pool_and_makes_the_merkle_root_of_standard_jobs() {
    let rig = Rig::start();
    for _ in 0..3 {
        rig.new_transaction();
    }
    // The pool sees new transactions with its next template; a miner that is there already is told.
    let mut scout = rig.miner();
    scout.open(&Open::extended(&key()));
    let has_transactions =
        |raw: &Raw| raw.get::<NewExtendedMiningJob<'_>>().is_some_and(|job| !job.merkle_path.is_empty());
    if !scout.log.iter().any(has_transactions) {
        scout.until(has_transactions);
    }
    let mut miner = rig.miner();
    let extended = miner.open(&Open::extended(&key()));
    let raw = miner.log[1].clone();
    let job: NewExtendedMiningJob<'_> = raw.get().unwrap();
    let standard = miner.open(&Open::standard(&key()));
    let raw_standard = miner.newest::<NewMiningJob>();

    let channel = &miner.channels[&extended];
    let rolled = vec![0; channel.model.full_extranonce_len() - channel.prefix.len()];
    let bytes =
        [&job.coinbase_tx_prefix[..], &channel.prefix[..], &rolled[..], &job.coinbase_tx_suffix[..]].concat();
    let coinbase: Transaction = consensus::deserialize(&bytes).expect("a transaction without witness");
    assert!(coinbase.is_coinbase() && coinbase.input[0].witness.is_empty());
    let script = coinbase.input[0].script_sig.as_bytes();
    assert!((2..=100).contains(&script.len()));
    assert!(script.windows(TAG.len()).any(|part| part == TAG));
    let height = rig.chain.tip().unwrap().height + 1;
    assert_eq!(script[..2], [1, u8::try_from(height).unwrap()], "BIP 34");
    let paid: Vec<_> = coinbase.output.iter().filter(|output| output.value.to_sat() > 0).collect();
    assert_eq!(paid.len(), 1);
    assert_eq!(paid[0].script_pubkey, payout_script());

    let whole = Job::new(JobParts {
        id: job.job_id,
        version: job.version,
        version_rolling_allowed: true,
        coinbase_prefix: job.coinbase_tx_prefix.to_vec(),
        coinbase_suffix: job.coinbase_tx_suffix.to_vec(),
        merkle_path: job.merkle_path.iter().collect(),
        extranonce_len: 24,
    })
    .unwrap();
    assert_eq!(raw_standard.job_id, job.job_id);
    assert_eq!(raw_standard.merkle_root, whole.merkle_root(&miner.channels[&standard].prefix));
    assert!(!job.merkle_path.is_empty(), "the transactions are in");
}

// proves: MP-26 FL-03
#[test]
fn every_job_permits_version_rolling() {
    let rig = Rig::start();
    let mut miner = rig.miner_with(MiningSetupFlags::REQUIRES_VERSION_ROLLING);
    let channel = miner.open(&Open::extended(&key()));
    let tip = rig.foreign_block();
    until_work_on(&mut miner, channel, tip.hash);
    rig.new_transaction();
    let last = miner.active(channel).job_id();
    while miner.active(channel).job_id() == last {
        miner.receive();
    }
    let jobs: Vec<_> = miner.log.iter().filter_map(|raw| raw.get::<NewExtendedMiningJob<'_>>()).collect();
    assert_eq!(jobs.len(), 3);
    assert!(jobs.iter().all(|job| job.version_rolling_allowed));
}

// proves: MP-104 ENC-05 CW-19
#[test]
fn set_new_prev_hash_tells_the_chains_tip_and_a_time_that_consensus_allows() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::extended(&key()));
    for _ in 0..3 {
        let tip = rig.foreign_block();
        until_work_on(&mut miner, channel, tip.hash);
        let told: SetNewPrevHash = miner.log.last().unwrap().get().unwrap();
        let block = rig.chain.block(&tip.hash).unwrap();
        assert_eq!(told.prev_hash, block.block_hash().to_byte_array());
        assert_eq!(told.nbits, block.header.bits.to_consensus());
        let mut times: Vec<u32> = (0..11.min(tip.height + 1))
            .map(|back| rig.chain.block_hash(tip.height - back).unwrap().unwrap())
            .map(|hash| rig.chain.block_info(&hash).unwrap().unwrap().time)
            .collect();
        times.sort_unstable();
        assert!(told.min_ntime > times[times.len() / 2]);
    }
}

// proves: MP-108 SM-15
#[test]
fn after_a_reorganisation_work_is_on_the_other_branch_also_when_it_is_lower() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::extended(&key()));
    let first = rig.foreign_block();
    let second = rig.foreign_block();
    until_work_on(&mut miner, channel, second.hash);
    let share = miner.find(channel, Want::Share);
    rig.chain.invalidate(&second.hash).unwrap();
    until_work_on(&mut miner, channel, first.hash);
    assert_eq!(miner.refuse(channel, &share), "stale-share");
    miner.earn(channel);
    // Same height, another block; then back to the first branch.
    let other = rig.chain.mine_fork(&first.hash, 1).unwrap()[0];
    until_work_on(&mut miner, channel, other.hash);
    miner.earn(channel);
    rig.chain.invalidate(&other.hash).unwrap();
    rig.chain.reconsider(&second.hash).unwrap();
    until_work_on(&mut miner, channel, second.hash);
    miner.earn(channel);
    // That work was wiped out with its tip, and did not come back with it.
    assert_eq!(miner.refuse(channel, &share), "stale-share");
}

// proves: MP-107
#[test]
fn only_the_newest_jobs_of_a_tip_take_shares() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::standard(&key()));
    let first = miner.active(channel).clone();
    let before = rig.chain.coins(&crate::support::stranger()).len();
    assert!(before > 0);
    for _ in 0..12 {
        let last = miner.active(channel).job_id();
        rig.new_transaction();
        while miner.active(channel).job_id() == last {
            miner.receive();
        }
    }
    let old = miner.find_on(channel, &first, Want::Share);
    assert_eq!(miner.refuse(channel, &old), "stale-share");
    miner.earn(channel);
    assert!(miner.log.iter().all(|raw| !raw.is::<SetGroupChannel<'_>>()));
}
