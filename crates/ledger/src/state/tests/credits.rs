//! Batches and the borders of epochs.

use super::{Play, SMALL, SOURCE, test_key};
use crate::{Batch, Epoch, Event, Outcome, Params, Refusal, Source, State};
use std::collections::BTreeMap;
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
    let limit = Ehash::ONE_BLOCK;
    assert_eq!(state.max_batch_credit(), limit);
    assert!(state.apply(&batch(SOURCE, 1, 0)).is_ok(), "nothing is a batch too");
    for credits in [vec![limit, Ehash::new(1)], vec![Ehash::new(u64::MAX); 3]] {
        let total = credits.iter().map(|amount| u128::from(amount.get())).sum();
        let credits = credits.into_iter().map(|amount| (test_key(1), amount)).collect();
        let event = Event::Credits(Batch { source: SOURCE, sequence: 2, credits });
        assert_eq!(state.apply(&event).unwrap_err(), Refusal::BatchTooLarge { total, limit });
    }
    let too_much = batch(SOURCE, 1, u64::MAX);
    assert!(
        matches!(state.apply(&too_much).map(|a| a.changed), Ok(false)),
        "a repeat is looked at no further"
    );
    assert_eq!(state.credited(), 0);
    assert!(state.apply(&batch(SOURCE, 2, limit.get())).is_ok(), "the number was not used up");
    assert_eq!(state.open_epoch(), Epoch(1 << 16));
    // Large epochs are no bound but that of an amount.
    let mut state = State::create(Params { q: 0, ..SMALL }).unwrap();
    assert_eq!(state.max_batch_credit(), Ehash::new(u64::MAX));
    assert!(state.apply(&batch(SOURCE, 1, u64::MAX)).is_ok());
}

/// However many blocks' worth a shard has gathered, for instance while the disk was full.
#[test]
fn any_credit_is_taken_in_parts() {
    let params = Params { q: 12, ..SMALL };
    let mut state = State::create(params).unwrap();
    let limit = state.max_batch_credit();
    let (a, b, c) = (test_key(1), test_key(2), test_key(3));
    let blocks = |n: u64| Ehash::new((n << 50) + 7);
    let all = [(a, blocks(3)), (b, blocks(40)), (c, blocks(5))];
    let (mut left, mut sums) = (all.to_vec(), BTreeMap::new());
    for sequence in 1.. {
        let credits = Batch::take_credits(&mut left, limit);
        if credits.is_empty() {
            break;
        }
        for (key, amount) in &credits {
            *sums.entry(*key).or_insert(0) += amount.get();
        }
        state.apply(&Event::Credits(Batch { source: SOURCE, sequence, credits })).unwrap();
    }
    assert!(left.is_empty());
    assert_eq!(sums, all.map(|(key, amount)| (key, amount.get())).into());
    assert_eq!(state.last_sequence(SOURCE), 4, "48 blocks and a little, 16 a batch");
    assert_eq!(state.credited(), (48 << 50) + 21);
    assert_eq!(Batch::take_credits(&mut all.to_vec(), Ehash::new(u64::MAX)), all);
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
