//! Many connections on several shards.

use crate::support::{Miner, Open, Rig, Want, key, until_work_on};

// proves: PO-05 MP-02 PO-01
#[test]
fn everybody_gets_new_work_and_is_paid() {
    const CLIENTS: usize = 200;
    let rig = Rig::with(|plan| plan.shards = 2);
    let owner = key();
    let mut fleet: Vec<(Miner, u32)> = (0..CLIENTS)
        .map(|n| {
            let (mut miner, open) = match n % 3 {
                0 => (rig.miner(), Open::standard(&owner)),
                1 => (rig.miner(), Open::extended(&owner)),
                _ => (rig.simple_miner(), Open::standard(&owner)),
            };
            let channel = miner.open(&open);
            (miner, channel)
        })
        .collect();
    let mut prefixes: Vec<&[u8]> =
        fleet.iter().map(|(miner, channel)| &miner.channels[channel].prefix[..8]).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    assert_eq!(prefixes.len(), CLIENTS);

    let mut credit = 0;
    for _ in 0..2 {
        let tip = rig.foreign_block();
        for (miner, channel) in &mut fleet {
            until_work_on(miner, *channel, tip.hash);
            let share = miner.find(*channel, Want::Share);
            credit += miner.active(*channel).credit().get();
            miner.submit(*channel, &share);
        }
        for (miner, channel) in &mut fleet {
            miner.settle(*channel);
            assert_eq!(miner.channels[channel].rejected, 0);
        }
    }
    assert_eq!(rig.credit(&owner), credit);
    let totals = rig.pool().stats().totals();
    assert_eq!((totals.channels, totals.shares_accepted), (CLIENTS as u64, 2 * CLIENTS as u64));
    // Half of them leave without a word; the others notice nothing.
    fleet.truncate(CLIENTS / 2);
    crate::support::eventually("the pool sees them go", || {
        rig.pool().stats().totals().channels == CLIENTS as u64 / 2
    });
    for (miner, channel) in &mut fleet {
        miner.earn(*channel);
    }
}
