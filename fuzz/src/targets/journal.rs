//! Rows of the ledger's journal: whatever is read is what the ledger itself would have written, and a chain of
//! rows shows every change.

use crate::input::Input;
use ledger::journal::{BrokenChain, Decoder, Head, Row};
use ledger::{Batch, BlockHash, ChainBlock, Epoch, Event, FoundBlock, Msats, Params, Source};
use work::{Ehash, PayoutKey};

/// Rows: each a kind, a length and as many bytes.
pub fn journal(data: &[u8]) {
    let mut input = Input::new(data);
    let mut decoder = Decoder::new();
    let (mut written, mut checked) = (Head::default(), Head::default());
    for _ in 0..64 {
        if input.is_empty() {
            return;
        }
        let kind = input.byte();
        let len = input.u16();
        let payload = input.bytes(len.into());
        let event = match decoder.decode(kind, payload) {
            Ok(event) => event,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                // What was remembered before changes no answer.
                assert_eq!(Decoder::new().decode(kind, payload), Err(error));
                continue;
            }
        };
        assert_eq!(Decoder::new().decode(kind, payload).as_ref(), Ok(&event));
        let row = Row::append(&mut written, &event);
        assert_eq!((row.kind, &row.payload[..]), (kind, payload), "read, but never written so: {event:?}");
        check_chain(&row, &mut checked);
        assert_eq!(checked, written);
    }
}

fn check_chain(row: &Row, head: &mut Head) {
    let before = *head;
    let mut changed = row.clone();
    match changed.payload.last_mut() {
        Some(last) => *last ^= 1,
        None => changed.kind ^= 1,
    }
    assert_eq!(changed.follow(head), Err(BrokenChain::Changed(row.sequence)));
    let later = Row { sequence: row.sequence + 1, ..row.clone() };
    assert_eq!(
        later.follow(head),
        Err(BrokenChain::Missing { expected: row.sequence, found: row.sequence + 1 })
    );
    assert_eq!(*head, before, "a broken row moves nothing");
    assert_eq!(row.follow(head), Ok(()));
}

/// A few payout keys.
pub fn key(number: u8) -> PayoutKey {
    // The x coordinates of small multiples of the generator are points, half of all numbers are.
    let mut bytes = [0; 32];
    bytes[30] = number;
    (0..=u8::MAX)
        .find_map(|low| {
            bytes[31] = low;
            PayoutKey::from_bytes(bytes).ok()
        })
        .expect("every second number is an x coordinate")
}

/// One event of each kind.
pub fn events() -> Vec<Event> {
    let hash = |byte: u8| BlockHash::from_bytes([byte; 32]);
    let params = Params { q: 3, window: 16, fee_ppm: 10_000, maturity: 100, redeem_blocks: 0 };
    let source = Source { front: 1, shard: 300 };
    let credits = vec![(key(1), Ehash::new(1 << 20)), (key(2), Ehash::new(3 << 40)), (key(1), Ehash::new(7))];
    vec![
        Event::Created(params),
        Event::Credits(Batch { source, sequence: 1, credits }),
        Event::Credits(Batch { source, sequence: u64::MAX, credits: Vec::new() }),
        Event::BlockFound(FoundBlock {
            hash: hash(1),
            prev_hash: hash(2),
            height: 900_000,
            reward: Msats::new(312_500_000_000),
        }),
        Event::BlockConnected(ChainBlock {
            hash: hash(1),
            height: 900_000,
            reward: Msats::new(312_500_000_000),
        }),
        Event::BlockDisconnected(hash(1)),
        Event::Tip { height: 900_001 },
        Event::EpochFrozen(Epoch(3)),
        Event::EpochRetired { epoch: Epoch(3), swept: Msats::new(5) },
        Event::ParamsChanged { first_epoch: Epoch(9), params },
        Event::LeaseTaken,
    ]
}

/// One row of each kind, then all of them, then numbers that have shorter forms.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut head = Head::default();
    let row = |kind: u8, payload: &[u8]| {
        let len = u16::try_from(payload.len()).expect("short").to_le_bytes();
        [&[kind][..], &len, payload].concat()
    };
    let mut seeds: Vec<Vec<u8>> = events()
        .iter()
        .map(|event| Row::append(&mut head, event))
        .map(|written| row(written.kind, &written.payload))
        .collect();
    seeds.push(seeds.concat());
    seeds.push(row(6, &[1, 0x85, 0]));
    seeds.push(row(6, &[2, 5]));
    seeds.push(row(6, &[1, 0xff, 0xff, 0xff, 0xff, 0x7f]));
    let mut even = vec![1, 0, 0, 1, 0, 2];
    even.extend(key(1).as_bytes());
    seeds.push(row(2, &even));
    even[5] = 0;
    seeds.push(row(2, &even));
    seeds
}
