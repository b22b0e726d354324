//! The books, whatever happens in whatever order: they balance, a refused event changes nothing, and they can be
//! laid flat, restored and replayed from the journal at any moment.

use super::journal::key;
use crate::input::Input;
use ledger::journal::{Decoder, Head, Row};
use ledger::{Batch, BlockHash, ChainBlock, Epoch, Event, FoundBlock, Msats, Params, Source, State, Tables};
use work::Ehash;

/// Parameters, then events.
pub fn books(data: &[u8]) {
    let mut input = Input::new(data);
    let first = params(&mut input);
    let Ok(mut state) = State::create(first) else {
        return assert!(first.validate().is_err());
    };
    let mut journal = Vec::new();
    let mut head = Head::default();
    let mut credited = 0;
    for _ in 0..120 {
        if input.is_empty() {
            break;
        }
        let event = event(&mut input, &state);
        let before = state.tables();
        match state.apply(&event) {
            Ok(applied) => {
                assert!(applied.changed || state.tables() == before, "changed, but not said so: {event:?}");
                credited +=
                    applied.assignments.iter().map(|part| u128::from(part.amount.get())).sum::<u128>();
                if applied.changed {
                    journal.push(Row::append(&mut head, &event));
                }
            }
            Err(refusal) => {
                assert!(!refusal.to_string().is_empty());
                assert_eq!(state.tables(), before, "a refused event changed the books: {event:?}");
            }
        }
        assert_eq!(state.credited(), credited);
        if let Err(error) = state.check() {
            panic!("{error} after {event:?}");
        }
        if state.open_epoch() > Epoch(600) {
            // Tables hold every epoch, so long books are slow to compare.
            break;
        }
    }
    let tables = state.tables();
    let restored = State::restore(tables.clone()).expect("what was laid flat can be restored");
    assert_eq!(restored.tables(), tables);
    assert_eq!(replayed(first, &journal), tables);
}

fn replayed(params: Params, journal: &[Row]) -> Tables {
    let mut state = State::create(params).expect("it was created before");
    let (mut decoder, mut head) = (Decoder::new(), Head::default());
    for row in journal {
        row.follow(&mut head).expect("rows in their order");
        let event = decoder.decode(row.kind, &row.payload).expect("a row that was just written");
        state.apply(&event).expect("it was applied before");
    }
    state.tables()
}

fn params(input: &mut Input<'_>) -> Params {
    Params {
        q: input.pick(&[3, 0, 8, 16, 17]),
        window: input.pick(&[4, 1, 2, 1024, 0]),
        fee_ppm: input.pick(&[10_000, 0, 1_000_000, 333_333, 1_000_001]),
        maturity: input.pick(&[3, 1, 100, 100_000, 0]),
        redeem_blocks: input.pick(&[0, 1, 20, u32::MAX]),
    }
}

fn hash(number: u8) -> BlockHash {
    BlockHash::from_bytes([number % 16; 32])
}

fn reward(input: &mut Input<'_>) -> Msats {
    Msats::new(match input.byte() {
        255 => input.u64(),
        254 => 2_100_000_000_000_000_000,
        250..254 => 0,
        amount => u64::from(amount) * 1_250_000_007,
    })
}

fn epoch(input: &mut Input<'_>) -> Epoch {
    Epoch(match input.byte() {
        255 => input.u32(),
        near => u32::from(near % 64),
    })
}

fn event(input: &mut Input<'_>, state: &State) -> Event {
    match input.below(12) {
        0..4 => Event::Credits(batch(input, state)),
        4 => Event::BlockFound(FoundBlock {
            hash: hash(input.byte()),
            prev_hash: hash(input.byte()),
            height: u32::from(input.byte()),
            reward: reward(input),
        }),
        5 | 6 => Event::BlockConnected(ChainBlock {
            hash: hash(input.byte()),
            height: u32::from(input.byte()),
            reward: reward(input),
        }),
        7 => Event::BlockDisconnected(hash(input.byte())),
        8 => Event::Tip {
            height: match input.byte() {
                255 => input.u32(),
                near => u32::from(near),
            },
        },
        9 => Event::EpochFrozen(epoch(input)),
        10 => {
            let (epoch, part) = (epoch(input), input.byte());
            let pot = state.epoch(epoch).map_or(0, |info| info.pot.get());
            Event::EpochRetired {
                epoch,
                swept: Msats::new(if part == 255 { input.u64() } else { pot >> part.min(63) }),
            }
        }
        _ => match input.below(3) {
            0 => Event::LeaseTaken,
            1 => Event::Created(params(input)),
            _ => Event::ParamsChanged { first_epoch: epoch(input), params: params(input) },
        },
    }
}

/// The next batch of one of two sources, mostly; now and then one that was or one that leaves a gap.
fn batch(input: &mut Input<'_>, state: &State) -> Batch {
    let how = input.byte();
    let source = Source { front: 1, shard: u16::from(how & 1) };
    let last = state.last_sequence(source);
    let sequence = match how >> 4 {
        15 => last.saturating_add(2),
        14 => last,
        13 => input.u64(),
        _ => last.saturating_add(1),
    };
    let size = state.open_size().get();
    let credits = (0..input.below(6))
        .map(|_| {
            let (who, amount) = (input.byte() % 5, input.byte());
            let amount = match amount {
                255 => input.u64(),
                254 => size,
                253 => size * 5 / 2,
                252 => 0,
                250..252 => state.open_size().get() - state.filled().get(),
                part => (size >> (part % 32)) + u64::from(part / 64),
            };
            (key(who), Ehash::new(amount))
        })
        .collect();
    Batch { source, sequence, credits }
}

/// Work, blocks, a reorganisation, maturity, retirement; and what is refused.
pub fn seeds() -> Vec<Vec<u8>> {
    let credits = |amount: u8| [0, 0, 3, 0, amount, 1, 3, 2, 4];
    let mut whole = vec![0, 0, 0, 0];
    for height in 1..8u8 {
        whole.extend(credits(1));
        whole.extend(credits(254));
        whole.extend([4, height, height - 1, height, 100]);
        whole.extend([5, height, height, 100, 8, height]);
    }
    whole.extend([7, 7, 7, 6, 5, 9, 6, 120, 8, 60]);
    (0..6).for_each(|_| whole.extend(credits(253)));
    whole.extend([9, 2, 10, 0, 0, 10, 1, 1, 11, 0, 11, 2, 40, 1, 1, 1, 1]);
    let mut other = whole.clone();
    other[..4].copy_from_slice(&[1, 1, 3, 1]);
    let refused = vec![
        0, 0, 0, 0, 0, 0xf0, 1, 1, 1, 0, 0xe0, 1, 1, 1, 0, 0, 1, 1, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 4, 1, 1, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 9, 60, 10, 60, 0, 11, 1, 0, 0, 0, 0,
    ];
    vec![whole, other, refused, vec![4, 0, 0, 0]]
}
