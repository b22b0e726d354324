//! The ledger behind the pool: nothing is acknowledged before it is durable, and blocks are booked as the chain has them.

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use ledger::BlockStatus;
use node::Node;
use rusqlite::Connection;
use sv2::mining::{SubmitSharesError, SubmitSharesSuccess};

use crate::support::{Miner, Open, Rig, Want, eventually, key, until_work_on};

/// Keeps the ledger's writer from committing until it is dropped.
pub struct BlockedDisk(Connection);

impl BlockedDisk {
    pub fn of(rig: &Rig) -> Self {
        let db = Connection::open(rig.ledger_path()).unwrap();
        db.busy_timeout(crate::support::PATIENCE).unwrap();
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(db)
    }
}

impl Drop for BlockedDisk {
    fn drop(&mut self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

/// Finds a block, submits it, and waits until the chain has it.
fn find_block(rig: &Rig, miner: &mut Miner, channel: u32) -> BlockHash {
    let block = miner.find(channel, Want::Block);
    miner.accept(channel, &block);
    let hash = BlockHash::from_byte_array(block.hash);
    eventually("the chain has the block", || rig.chain.tip().unwrap().hash == hash);
    until_work_on(miner, channel, hash);
    hash
}

// proves: PO-06 MP-134 AM-47 MP-123
#[test]
fn no_share_is_acknowledged_before_it_is_on_disk_and_errors_do_not_wait_for_it() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let owner = key();
    let channel = miner.open(&Open::extended(&owner));
    let credit = miner.active(channel).credit().get();
    let disk = BlockedDisk::of(&rig);
    for _ in 0..10 {
        let share = miner.find(channel, Want::Share);
        miner.submit(channel, &share);
    }
    let weak = miner.find(channel, Want::Weak);
    let sequence = miner.submit(channel, &weak);
    let answered = miner.receive();
    assert_eq!(answered.get::<SubmitSharesError<'_>>().unwrap().sequence_number, sequence);
    // A block does not wait for the books.
    let block = miner.find(channel, Want::Block);
    miner.submit(channel, &block);
    until_work_on(&mut miner, channel, BlockHash::from_byte_array(block.hash));
    assert!(miner.log.iter().all(|raw| !raw.is::<SubmitSharesSuccess>()), "{:?}", miner.log);
    assert_eq!(rig.credit(&owner), 0);
    drop(disk);
    miner.settle(channel);
    assert_eq!(miner.channels[&channel].accepted, 11);
    assert_eq!(rig.credit(&owner), 11 * credit);
}

// proves: PO-06
#[test]
fn a_disk_that_fails_stops_acknowledgements_only_and_nothing_is_counted_twice_when_it_heals() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let owner = key();
    let channel = miner.open(&Open::standard(&owner));
    miner.earn(channel);
    let db = Connection::open(rig.ledger_path()).unwrap();
    db.busy_timeout(crate::support::PATIENCE).unwrap();
    db.execute_batch("ALTER TABLE journal RENAME TO journal_gone").unwrap();
    for _ in 0..20 {
        let share = miner.find(channel, Want::Share);
        miner.submit(channel, &share);
    }
    eventually("a batch fails", || retries(&rig) > 0);
    let tip = rig.foreign_block();
    until_work_on(&mut miner, channel, tip.hash);
    for _ in 0..20 {
        let share = miner.find(channel, Want::Share);
        miner.submit(channel, &share);
    }
    miner.barrier();
    assert_eq!(miner.channels[&channel].accepted, 1);
    db.execute_batch("ALTER TABLE journal_gone RENAME TO journal").unwrap();
    drop(db);
    miner.settle(channel);
    assert_eq!(miner.channels[&channel].accepted, 41);
    assert_eq!(rig.credit(&owner), miner.earned(channel));
}

fn retries(rig: &Rig) -> u64 {
    use prometheus::core::Collector;
    let families = rig.pool().stats().collect();
    let family = families.iter().find(|family| family.name() == "assay_ledger_retries_total").unwrap();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small whole number")]
    let count = family.get_metric()[0].get_counter().get_value() as u64;
    count
}

// proves: PO-06 PO-04
#[test]
fn a_restarted_pool_goes_on_where_it_was() {
    let mut rig = Rig::with(|plan| plan.shards = 2);
    let owner = key();
    let mut earned = 0;
    for _ in 0..3 {
        let mut miners = [rig.miner(), rig.miner(), rig.miner()];
        for miner in &mut miners {
            let channel = miner.open(&Open::extended(&owner));
            for _ in 0..4 {
                earned += miner.active(channel).credit().get();
                miner.earn(channel);
            }
        }
        drop(miners);
        rig.restart();
        assert_eq!(rig.credit(&owner), earned);
    }
}

// proves: MP-108
#[test]
fn a_block_is_booked_when_the_chain_has_it_and_reversed_when_it_leaves() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::extended(&key()));
    let before = rig.chain.tip().unwrap();
    // An epoch has to be full before a block can pay one.
    let lost = find_block(&rig, &mut miner, channel);
    eventually("the block is booked", || rig.block_status(&lost) == Some(BlockStatus::Connected));
    let reward = ledger::Msats::from_sats(50 * 100_000_000).unwrap();
    eventually("the summary follows", || rig.ledger.summary().rewards == reward);

    rig.chain.invalidate(&lost).unwrap();
    eventually("the block is reversed", || rig.block_status(&lost) == Some(BlockStatus::Disconnected));
    until_work_on(&mut miner, channel, before.hash);
    eventually("the summary follows", || {
        rig.ledger.summary().rewards == ledger::Msats::from_sats(0).unwrap()
    });

    let won = find_block(&rig, &mut miner, channel);
    eventually("the other block is booked", || rig.block_status(&won) == Some(BlockStatus::Connected));
    // Buried by `maturity` confirmations, its own included.
    rig.foreign_block();
    eventually("the block is final", || rig.block_status(&won) == Some(BlockStatus::Final));
    eventually("the summary follows", || rig.ledger.summary().rewards == reward);
}

#[test]
fn blocks_that_came_and_went_while_the_pool_was_down_are_noticed() {
    let mut rig = Rig::with(|plan| plan.params.maturity = 6);
    let mut miner = rig.miner();
    let channel = miner.open(&Open::standard(&key()));
    let stays = find_block(&rig, &mut miner, channel);
    let goes = find_block(&rig, &mut miner, channel);
    eventually("both are booked", || {
        [stays, goes].iter().all(|hash| rig.block_status(hash) == Some(BlockStatus::Connected))
    });
    rig.stop_pool();
    rig.chain.invalidate(&goes).unwrap();
    rig.restart();
    eventually("it is reversed", || rig.block_status(&goes) == Some(BlockStatus::Disconnected));
    rig.stop_pool();
    rig.chain.reconsider(&goes).unwrap();
    rig.foreign_block();
    rig.restart();
    eventually("it is back", || rig.block_status(&goes) == Some(BlockStatus::Connected));
    assert_eq!(rig.block_status(&stays), Some(BlockStatus::Connected));
}

#[test]
fn a_chain_that_cannot_be_followed_is_reported_and_followed_when_it_can() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::standard(&key()));
    assert_eq!(rig.pool().stats().totals().chain_error, None);
    rig.blocks_pruned.store(true, std::sync::atomic::Ordering::Relaxed);
    let block = find_block(&rig, &mut miner, channel);
    eventually("the operator is told", || {
        let error = rig.pool().stats().totals().chain_error;
        error.is_some_and(|error| error.contains("pruned") && error.contains(&block.to_string()))
    });
    assert!(rig.pool().is_healthy(), "a new start would not help");
    // Shares go on.
    miner.earn(channel);
    rig.blocks_pruned.store(false, std::sync::atomic::Ordering::Relaxed);
    eventually("the block is booked", || rig.block_status(&block) == Some(BlockStatus::Connected));
    eventually("all is well again", || rig.pool().stats().totals().chain_error.is_none());
}

#[test]
fn blocks_of_others_are_not_booked() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::standard(&key()));
    for _ in 0..3 {
        let tip = rig.foreign_block();
        until_work_on(&mut miner, channel, tip.hash);
    }
    // Pays the pool, but is not made by it: it lacks the tag.
    let present = rig.chain.mine_block(crate::support::payout_script()).unwrap();
    let ours = {
        until_work_on(&mut miner, channel, present.hash);
        find_block(&rig, &mut miner, channel)
    };
    eventually("ours is booked", || rig.block_status(&ours) == Some(BlockStatus::Connected));
    eventually("the summary follows", || rig.ledger.summary().blocks.connected == 1);
    assert_eq!(rig.block_status(&present.hash), None);
}

// proves: PO-11
#[test]
fn credits_run_through_epochs_and_no_grain_is_lost() {
    let rig = Rig::with(|plan| plan.params.q = 6);
    let owners = [key(), key()];
    let mut miner = rig.miner();
    let channels = owners.map(|owner| miner.open(&Open::standard(&owner)));
    // A share is 2^42, an epoch 2^44: it is full after four.
    for _ in 0..15 {
        for channel in channels {
            miner.earn(channel);
        }
    }
    for owner in &owners {
        assert_eq!(rig.credit(owner), 15 << 42);
    }
    eventually("the summary follows", || rig.ledger.summary().credited == 30 << 42);
    let summary = rig.ledger.summary();
    assert_eq!(summary.open_epoch.get(), 30 / 4);
    assert_eq!(summary.filled.get(), 2 << 42);
}
