//! Rewards, orphans and maturity: the cases of `docs/decisions/0003-orphan-reversal.md`.

use super::{Play, SMALL, test_hash};
use crate::{BlockStatus, Epoch, Event, Msats, Outcome, Params, Refusal};

fn status(play: &Play, number: u32) -> BlockStatus {
    play.state.block(&test_hash(number)).unwrap().status
}

#[test]
fn the_open_epoch_gets_nothing() {
    let mut play = Play::new(SMALL);
    play.close_epochs(6);
    play.connect(1, 100, 1003);
    assert_eq!(play.pots(), [0, 0, 250, 250, 250, 250]);
    assert_eq!(play.carry(), 3);
    play.connect(2, 101, 1000);
    assert_eq!(play.pots(), [0, 0, 500, 500, 500, 500]);
    assert_eq!(play.carry(), 3);
}

#[test]
fn fewer_epochs_share_at_the_start() {
    let mut play = Play::new(Params { fee_ppm: 100_000, ..SMALL });
    play.connect(1, 100, 1000);
    assert_eq!((play.carry(), play.state.totals().fees.get()), (900, 100));
    play.close_epochs(1);
    play.connect(2, 101, 1000);
    assert_eq!((play.pots(), play.carry()), (vec![1800], 0));
    play.close_epochs(1);
    play.connect(3, 102, 1001);
    assert_eq!((play.pots(), play.carry()), (vec![2250, 450], 1));
}

#[test]
fn a_block_pays_by_the_epoch_it_was_found_in() {
    let mut play = Play::new(SMALL);
    play.close_epochs(4);
    assert_eq!(play.found(1, 100, 1000), [Outcome::BlockNoted { hash: test_hash(1), epoch: Epoch(4) }]);
    play.close_epochs(3);
    play.connect(1, 100, 1000);
    assert_eq!(play.pots(), [250, 250, 250, 250, 0, 0, 0]);
    // One that nobody reported finding pays by the epoch it is first seen in.
    play.connect(2, 101, 1000);
    assert_eq!(play.pots(), [250, 250, 250, 500, 250, 250, 250]);
    // A report that comes after the chain's changes nothing but what is known of it.
    play.close_epochs(1);
    assert_eq!(play.found(2, 101, 1000), [Outcome::BlockNoted { hash: test_hash(2), epoch: Epoch(7) }]);
    assert_eq!(play.found(2, 101, 1000), [Outcome::Unchanged]);
    assert_eq!(play.connect(2, 101, 1000), [Outcome::Unchanged]);
}

#[test]
fn an_orphan_is_reversed_and_comes_back_the_same() {
    let mut play = Play::new(SMALL);
    play.close_epochs(5);
    play.connect(1, 100, 1003);
    let with_one = play.state.tables().totals;
    play.found(2, 101, 777);
    play.close_epochs(2);
    play.connect(2, 101, 777);
    let (pots, carry) = (play.pots(), play.carry());
    assert_eq!(play.disconnect(2), [Outcome::BlockReversed(test_hash(2))]);
    assert_eq!(play.state.totals(), with_one);
    assert_eq!(play.disconnect(2), [Outcome::Unchanged]);
    play.close_epochs(1);
    play.connect(2, 101, 777);
    assert_eq!((&play.pots()[..7], play.carry()), (&pots[..], carry));
    assert_eq!(play.pot(7), 0);
}

/// The first block's whole reward went to carry, and the second one spent it. Only together can they leave.
#[test]
fn a_carry_that_was_spent_comes_back_first() {
    let mut play = Play::new(SMALL);
    play.connect(1, 100, 1000);
    play.close_epochs(2);
    play.connect(2, 101, 501);
    assert_eq!((play.pots(), play.carry()), (vec![750, 750], 1));
    let outcomes = play.disconnect(1);
    assert_eq!(outcomes, [Outcome::BlockReversed(test_hash(2)), Outcome::BlockReversed(test_hash(1))]);
    assert_eq!((play.pots(), play.carry(), play.state.totals().rewards), (vec![0, 0], 0, Msats::ZERO));
    // Another block at that height, and the second one's twin on it.
    play.connect(3, 100, 600);
    assert_eq!(play.pots(), [300, 300]);
    assert_eq!(status(&play, 1), BlockStatus::Disconnected);
    // The first chain wins after all: connecting at a height says that what was there has left.
    let outcomes = play.connect(1, 100, 1000);
    assert_eq!(outcomes[0], Outcome::BlockReversed(test_hash(3)));
    play.connect(2, 101, 501);
    assert_eq!((play.pots(), play.carry()), (vec![750, 750], 1));
}

#[test]
fn a_sweep_stays_when_blocks_around_it_leave() {
    let mut play = Play::new(SMALL);
    play.close_epochs(4);
    play.connect(1, 100, 1000);
    play.tip(102);
    play.close_epochs(4);
    assert_eq!(play.state.epoch(Epoch(0)).unwrap().state.name(), "redeemable");
    play.connect(2, 103, 1001);
    assert_eq!(play.carry(), 1);
    play.apply(&Event::EpochRetired { epoch: Epoch(0), swept: Msats::new(100) });
    assert_eq!((play.pot(0), play.carry()), (150, 101));
    play.disconnect(2);
    assert_eq!(play.carry(), 100);
    play.connect(2, 103, 1001);
    assert_eq!(play.pots()[4..8], [275, 275, 275, 275]);
    assert_eq!(play.carry(), 1);
}

#[test]
fn blocks_mature_from_the_bottom() {
    let mut play = Play::new(SMALL);
    play.close_epochs(2);
    play.connect(1, 100, 1000);
    play.connect(2, 101, 1000);
    play.tip(101);
    assert_eq!(status(&play, 1), BlockStatus::Connected);
    assert!(play.tip(102).contains(&Outcome::BlockFinal(test_hash(1))));
    assert_eq!((status(&play, 1), status(&play, 2)), (BlockStatus::Final, BlockStatus::Connected));
    assert_eq!(play.tip(102), [Outcome::Unchanged]);
    // A lower tip takes nothing back.
    play.tip(99);
    assert_eq!(status(&play, 1), BlockStatus::Final);
}

/// Deeper than `maturity`: tokens may have been redeemed against it, so the books keep it.
#[test]
fn a_final_block_that_leaves_is_the_operators_loss() {
    let mut play = Play::new(SMALL);
    play.close_epochs(2);
    play.connect(1, 100, 1000);
    play.tip(102);
    play.connect(2, 103, 1000);
    let outcomes = play.disconnect(1);
    assert_eq!(outcomes, [Outcome::BlockLost(test_hash(1)), Outcome::BlockReversed(test_hash(2))]);
    assert_eq!(play.pots(), [500, 500]);
    play.connect(3, 100, 1000);
    assert_eq!(play.pots(), [1000, 1000]);
    assert_eq!(play.connect(1, 100, 1000), [Outcome::BlockFinal(test_hash(1))]);
    assert_eq!(play.pots(), [1000, 1000]);
    assert_eq!(play.disconnect(77), [Outcome::BlockUnknown(test_hash(77))]);
}

#[test]
fn a_found_block_holds_its_epochs_until_it_is_stale() {
    let mut play = Play::new(SMALL);
    play.close_epochs(2);
    play.tip(99);
    play.found(1, 100, 1000);
    play.close_epochs(4);
    let state = |play: &Play, epoch| play.state.epoch(Epoch(epoch)).unwrap().state.name();
    assert_eq!([state(&play, 0), state(&play, 1), state(&play, 2)], ["settling", "settling", "accruing"]);
    play.tip(101);
    assert_eq!(state(&play, 0), "settling");
    assert!(play.tip(102).contains(&Outcome::BlockStale(test_hash(1))));
    assert_eq!([state(&play, 0), state(&play, 1)], ["redeemable", "redeemable"]);
    // Should it turn up later, what is redeemable is left alone: all its epochs are, so it is for the next block.
    play.connect(1, 100, 1000);
    assert_eq!((play.pots(), play.carry()), (vec![0; 6], 1000));
    assert_eq!(status(&play, 1), BlockStatus::Final);
}

#[test]
fn rewards_that_cannot_be_are_refused() {
    let mut play = Play::new(SMALL);
    let before = play.state.tables();
    let block = |reward| crate::ChainBlock { hash: test_hash(1), height: 1, reward: Msats::new(reward) };
    for reward in [Msats::MAX_MONEY.get() + 1, u64::MAX] {
        let refusal = play.state.apply(&Event::BlockConnected(block(reward))).unwrap_err();
        assert!(matches!(refusal, Refusal::RewardTooLarge { .. }));
    }
    assert_eq!(play.state.tables(), before);
    for number in 1..=4 {
        play.connect(number, number, Msats::MAX_MONEY.get());
    }
    let fifth = crate::ChainBlock { hash: test_hash(5), height: 5, reward: Msats::MAX_MONEY };
    assert!(play.state.apply(&Event::BlockConnected(fifth)).is_err(), "the store counts in 63 bits");
}
