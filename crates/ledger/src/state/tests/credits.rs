//! Batches and the borders of epochs.

use super::{Play, SMALL, SOURCE, test_key};
use crate::{Batch, Epoch, Event, Outcome, Params, Refusal, Source, State};
use work::Ehash;

fn batch(source: Source, sequence: u64, amount: u64) -> Event {
    Event::Credits(Batch { source, sequence, credits: vec![(test_key(1), Ehash::new(amount))] })
}

#[test]
fn a_share_that_overflows_is_split() {
    let mut state = State::create(SMALL).unwrap();
    let q = SMALL.epoch_size().get();
    let credits =
        vec![(test_key(1), Ehash::new(q - 5)), (test_key(2), Ehash::new(7)), (test_key(1), Ehash::new(1))];
    let applied = state.apply(&Event::Credits(Batch { source: SOURCE, sequence: 1, credits })).unwrap();
    let parts: Vec<_> = applied.assignments.iter().map(|a| (a.epoch.get(), a.key, a.amount.get())).collect();
    assert_eq!(
        parts,
        [(0, test_key(1), q - 5), (0, test_key(2), 5), (1, test_key(2), 2), (1, test_key(1), 1)]
    );
    assert_eq!(
        applied.outcomes,
        [Outcome::Credited { total: Ehash::new(q + 3) }, Outcome::EpochClosed(Epoch(0))]
    );
    assert_eq!(applied.closed.len(), 1);
    assert_eq!(applied.closed[0].1[&test_key(1)], Ehash::new(q - 5));
    assert_eq!(state.filled(), Ehash::new(3));
    assert_eq!(state.credited(), u128::from(q) + 3);
}

#[test]
fn one_share_may_close_several_epochs() {
    let mut play = Play::new(SMALL);
    let outcomes = play.credit(&[(test_key(1), Ehash::ONE_BLOCK.get() * 3 / 8 + 1)]);
    let closed = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::EpochClosed(_))).count();
    assert_eq!((closed, play.state.open_epoch(), play.state.filled().get()), (3, Epoch(3), 1));
    // Exactly full is closed: no epoch is ever open and full.
    let rest = play.state.open_size().get() - 1;
    play.credit(&[(test_key(1), rest)]);
    assert_eq!((play.state.open_epoch(), play.state.filled().get()), (Epoch(4), 0));
    assert!(play.state.open_credits().is_empty());
}

#[test]
fn batches_count_once_and_in_order() {
    let mut state = State::create(SMALL).unwrap();
    let other = Source { front: 1, shard: 1 };
    #[track_caller]
    fn refused(state: &mut State, event: &Event, want: &Refusal) {
        let before = state.tables();
        assert_eq!(&state.apply(event).unwrap_err(), want);
        assert_eq!(state.tables(), before);
    }
    refused(&mut state, &batch(SOURCE, 0, 8), &Refusal::BatchZero(SOURCE));
    refused(&mut state, &batch(SOURCE, 2, 8), &Refusal::Gap { source_name: SOURCE, expected: 1, got: 2 });
    for sequence in 1..=3 {
        state.apply(&batch(SOURCE, sequence, 8)).unwrap();
    }
    state.apply(&batch(other, 1, 8)).unwrap();
    for sequence in 1..=3 {
        let before = state.tables();
        let applied = state.apply(&batch(SOURCE, sequence, 8)).unwrap();
        assert_eq!(applied.outcomes, [Outcome::Repeated { source: SOURCE, sequence, last: 3 }]);
        assert!(!applied.changed);
        assert_eq!(state.tables(), before);
    }
    refused(&mut state, &batch(SOURCE, 5, 8), &Refusal::Gap { source_name: SOURCE, expected: 4, got: 5 });
    assert_eq!((state.credited(), state.last_sequence(SOURCE), state.last_sequence(other)), (32, 3, 1));
}

#[test]
fn absurd_batches_are_refused_whole() {
    let mut state = State::create(Params { q: 16, ..SMALL }).unwrap();
    let too_much = batch(SOURCE, 1, u64::MAX);
    assert!(state.apply(&batch(SOURCE, 1, 0)).is_ok(), "nothing is a batch too");
    let credits = vec![(test_key(1), Ehash::new(u64::MAX)); 3];
    let event = Event::Credits(Batch { source: SOURCE, sequence: 2, credits });
    assert!(matches!(state.apply(&event), Err(Refusal::BatchTooLarge { .. })));
    assert!(
        matches!(state.apply(&too_much).map(|a| a.changed), Ok(false)),
        "a repeat is looked at no further"
    );
    assert_eq!(state.credited(), 0);
}

#[test]
fn leases_never_repeat() {
    let mut state = State::create(SMALL).unwrap();
    for want in 0..3 {
        let applied = state.apply(&Event::LeaseTaken).unwrap();
        assert!(matches!(applied.outcomes[..], [Outcome::LeaseTaken(lease)] if lease.get() == want));
    }
    let mut tables = state.tables();
    tables.leases_taken = 1 << 24;
    let mut state = State::restore(tables).unwrap();
    assert_eq!(state.apply(&Event::LeaseTaken).unwrap_err(), Refusal::LeasesExhausted);
}
