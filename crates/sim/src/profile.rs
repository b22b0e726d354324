//! What kind of run a seed makes: which faults there are, and how many of each. Most runs have a few kinds of faults
//! only, so that each combination comes up and no fault hides another.

use crate::chance::Chance;

/// Rates of a run; those in thousandths are per step or per occasion.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Steps before the faults cease.
    pub steps: u32,
    /// Greatest time between two steps in milliseconds.
    pub step_millis: u64,
    /// Devices.
    pub devices: usize,
    /// Payout keys, shared by the devices.
    pub keys: usize,
    /// Shards of the pool.
    pub shards: u16,
    /// A part of the pool that could work does not get its turn in this step.
    pub starved: u32,
    /// The process dies between two steps.
    pub crash: u32,
    /// The process is stopped in good order.
    pub restart: u32,
    /// The process dies in a commit, before or after it is durable.
    pub commit_crash: u32,
    /// A commit fails and is not on the disk.
    pub commit_lost: u32,
    /// A commit fails but is on the disk.
    pub commit_kept: u32,
    /// The disk becomes full for a while.
    pub disk_full: u32,
    /// The disk cannot be read when the ledger needs to.
    pub read_fails: u32,
    /// Other miners find a block.
    pub foreign_block: u32,
    /// A branch overtakes the chain.
    pub reorg: u32,
    /// A transaction comes, so that templates change on the same tip.
    pub transaction: u32,
    /// The node goes away for a while.
    pub node_down: u32,
    /// A call to the node fails.
    pub node_flaky: u32,
    /// The node gets a block but its answer is lost, or it gets it twice, or not at all.
    pub submit_faults: u32,
    /// A device's connection is lost.
    pub drop: u32,
    /// A device sends what is no message.
    pub garbage: u32,
    /// A device reads little or nothing for a while.
    pub slow_reader: u32,
    /// Bytes are cut into pieces.
    pub split: u32,
    /// Greatest delay on the network, in milliseconds.
    pub delay: u64,
    /// Shares that must be refused.
    pub bad_shares: u32,
    /// Shares sent twice.
    pub duplicates: u32,
    /// Shares held back, perhaps over a new block.
    pub late: u32,
    /// The system's calendar jumps.
    pub clock_jump: u32,
}

impl Profile {
    /// The profile of a seed.
    pub fn draw(chance: &mut Chance) -> Self {
        // A quarter of the faults of a run are off, some are rare, some are frequent.
        let mut rate = |most: u32| match chance.between(0, 3) {
            0 => 0,
            1 => most / 8,
            2 => most / 3,
            _ => most,
        };
        let mut profile = Self {
            steps: 0,
            step_millis: 0,
            devices: 0,
            keys: 0,
            shards: 0,
            starved: rate(500),
            crash: rate(6),
            restart: rate(3),
            commit_crash: rate(15),
            commit_lost: rate(60),
            commit_kept: rate(60),
            disk_full: rate(4),
            read_fails: rate(200),
            foreign_block: rate(25),
            reorg: rate(12),
            transaction: rate(40),
            node_down: rate(6),
            node_flaky: rate(60),
            submit_faults: rate(400),
            drop: rate(12),
            garbage: rate(8),
            slow_reader: rate(10),
            split: rate(300),
            delay: u64::from(rate(400)),
            bad_shares: rate(250),
            duplicates: rate(250),
            late: rate(200),
            clock_jump: rate(5),
        };
        profile.steps = u32::try_from(chance.between(150, 450)).unwrap_or(300);
        profile.step_millis = chance.pick(&[10, 50, 200]);
        profile.devices = chance.pick(&[1, 2, 3, 5]);
        profile.keys = chance.pick(&[1, 2, 4]);
        profile.shards = chance.pick(&[1, 1, 2]);
        profile
    }

    /// The same run without faults from now on.
    pub fn calm(&self) -> Self {
        Self {
            starved: 0,
            crash: 0,
            restart: 0,
            commit_crash: 0,
            commit_lost: 0,
            commit_kept: 0,
            disk_full: 0,
            read_fails: 0,
            foreign_block: 0,
            reorg: 0,
            transaction: 0,
            node_down: 0,
            node_flaky: 0,
            submit_faults: 0,
            drop: 0,
            garbage: 0,
            slow_reader: 0,
            split: 0,
            delay: 0,
            bad_shares: 0,
            duplicates: 0,
            late: 0,
            clock_jump: 0,
            ..self.clone()
        }
    }
}
