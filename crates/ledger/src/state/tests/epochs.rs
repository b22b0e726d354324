//! From open to retired, and parameters.

use super::{Play, SMALL, test_hash};
use crate::{Epoch, EpochState, Event, Msats, Outcome, Params, ParamsError, Refusal, State};
use work::Ehash;

fn states(play: &Play) -> Vec<&'static str> {
    (0..=play.state.open_epoch().get()).map(|e| play.state.epoch(Epoch(e)).unwrap().state.name()).collect()
}

#[test]
fn an_epoch_goes_its_way() {
    let mut play = Play::new(SMALL);
    assert_eq!(states(&play), ["open"]);
    play.close_epochs(4);
    play.connect(1, 10, 1000);
    assert_eq!(states(&play), ["accruing", "accruing", "accruing", "accruing", "open"]);
    play.close_epochs(1);
    // Epoch 0 stops collecting when epoch 4 closes.
    assert_eq!(states(&play)[..2], ["settling", "accruing"]);
    let outcomes = play.tip(12);
    assert_eq!(
        outcomes[1..],
        [
            Outcome::BlockFinal(test_hash(1)),
            Outcome::EpochRedeemable { epoch: Epoch(0), pot: Msats::new(250) }
        ]
    );
    let info = play.state.epoch(Epoch(0)).unwrap();
    assert_eq!(info.value_of(info.size), Some(Msats::new(250)));
    assert_eq!(info.value_of(Ehash::new(info.size.get() / 3)), Some(Msats::new(83)));
    let retired = play.apply(&Event::EpochRetired { epoch: Epoch(0), swept: Msats::new(200) });
    assert_eq!(retired, [Outcome::EpochRetired { epoch: Epoch(0), swept: Msats::new(200) }]);
    assert_eq!((play.pot(0), play.carry(), states(&play)[0]), (50, 200, "retired"));
    play.connect(2, 13, 800);
    assert_eq!(play.pots(), [50, 500, 500, 500, 250]);
}

#[test]
fn what_cannot_be_done_says_why() {
    let mut play = Play::new(SMALL);
    play.close_epochs(5);
    play.connect(1, 10, 1000);
    #[track_caller]
    fn case(state: &mut State, event: &Event, want: &str) {
        let before = state.tables();
        let refusal = state.apply(event).unwrap_err().to_string();
        assert!(refusal.contains(want), "{refusal}");
        assert_eq!(state.tables(), before);
    }
    let retire = |epoch, swept| Event::EpochRetired { epoch: Epoch(epoch), swept: Msats::new(swept) };
    let state = &mut play.state;
    case(state, &retire(5, 0), "epoch 5 is not closed yet");
    case(state, &retire(9, 0), "epoch 9 is not closed yet");
    case(
        state,
        &retire(1, 0),
        "epoch 1 is accruing, but only one that is redeemable or frozen can be retired",
    );
    case(state, &Event::EpochFrozen(Epoch(1)), "cannot be frozen before block");
    case(state, &Event::EpochFrozen(Epoch(5)), "epoch 5 is not closed yet");
    case(state, &Event::Created(SMALL), "exists already");
    play.close_epochs(1);
    play.tip(12);
    let state = &mut play.state;
    case(state, &retire(1, 251), "epoch 1 has 250 msat left, but 251 msat were to be swept");
    case(
        state,
        &Event::EpochFrozen(Epoch(1)),
        "epoch 1 is redeemable, but only one that is accruing or settling",
    );
    state.apply(&retire(1, 250)).unwrap();
    case(state, &retire(1, 0), "epoch 1 is retired");
}

#[test]
fn a_frozen_epoch_gets_no_more() {
    let mut play = Play::new(SMALL);
    play.close_epochs(4);
    play.connect(1, 10, 1000);
    play.tip(12);
    let frozen = play.apply(&Event::EpochFrozen(Epoch(2)));
    assert_eq!(frozen, [Outcome::EpochFrozen { epoch: Epoch(2), pot: Msats::new(250) }]);
    assert_eq!(play.apply(&Event::EpochFrozen(Epoch(2))), [Outcome::Unchanged]);
    play.connect(2, 13, 900);
    assert_eq!(play.pots(), [550, 550, 250, 550]);
    play.disconnect(2);
    assert_eq!(play.pots(), [250, 250, 250, 250]);
    play.apply(&Event::EpochRetired { epoch: Epoch(2), swept: Msats::new(250) });
    assert_eq!(play.carry(), 250);
}

#[test]
fn an_epoch_is_redeemed_for_as_long_as_promised() {
    let mut play = Play::new(Params { redeem_blocks: 100, ..SMALL });
    play.close_epochs(5);
    play.connect(1, 10, 1000);
    play.close_epochs(1);
    let until = |play: &Play, epoch| play.state.epoch(Epoch(epoch)).unwrap().redeemable_until;
    assert_eq!(until(&play, 1), None, "it is not redeemable yet");
    // The block matures at 12; the chain was looked at again at 15.
    play.tip(15);
    assert_eq!(until(&play, 1), Some(115));
    let retire = Event::EpochRetired { epoch: Epoch(1), swept: Msats::new(10) };
    // A chain that falls back and comes again moves nothing.
    for height in [114, 20, 114] {
        play.tip(height);
        assert_eq!(
            play.state.apply(&retire).unwrap_err(),
            Refusal::EpochPromised { epoch: Epoch(1), until: 115 }
        );
    }
    play.tip(115);
    play.apply(&retire);
    assert_eq!(until(&play, 1), Some(115));
    // So is a frozen one.
    play.apply(&Event::EpochFrozen(Epoch(3)));
    assert_eq!(until(&play, 3), Some(215));
}

#[test]
fn parameters_change_for_epochs_that_are_not_open() {
    let mut play = Play::new(SMALL);
    play.close_epochs(2);
    let wider = Params { q: 4, window: 6, fee_ppm: 500_000, maturity: 1, redeem_blocks: 0 };
    let change = |epoch, params| Event::ParamsChanged { first_epoch: Epoch(epoch), params };
    for epoch in 0..=2 {
        let refusal = play.state.apply(&change(epoch, wider)).unwrap_err();
        assert_eq!(refusal, Refusal::ParamsInForce { first_epoch: Epoch(epoch), open: Epoch(2) });
        assert!(refusal.to_string().contains("from epoch 3 on"), "{refusal}");
    }
    let refusal = play.state.apply(&change(3, Params { q: 17, ..wider })).unwrap_err();
    assert_eq!(refusal, Refusal::Params(ParamsError::Q(17)));
    assert_eq!(play.apply(&change(3, wider)), [Outcome::ParamsScheduled { first_epoch: Epoch(3) }]);
    assert_eq!(play.apply(&change(3, wider)), [Outcome::Unchanged]);

    assert_eq!(play.state.open_size(), SMALL.epoch_size());
    play.close_epochs(1);
    assert_eq!(play.state.open_size(), wider.epoch_size());
    play.close_epochs(3);
    assert_eq!(play.state.credited(), 3 * u128::from(1u64 << 47) + 3 * u128::from(1u64 << 46));
    // Found in epoch 6, when the new parameters rule: half is fee. Epochs 0 and 1 stopped collecting by theirs.
    play.connect(1, 10, 2000);
    assert_eq!(play.pots(), [0, 0, 250, 250, 250, 250]);
    // Epochs 3 to 5 collect two epochs longer than 2 did.
    play.close_epochs(1);
    play.connect(2, 11, 2000);
    assert_eq!(play.pots(), [0, 0, 250, 500, 500, 500, 250]);
    let state = |epoch| play.state.epoch(Epoch(epoch)).unwrap().state;
    assert_eq!((state(2), state(3)), (EpochState::Settling, EpochState::Accruing));
}
