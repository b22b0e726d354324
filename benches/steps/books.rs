//! The ledger: a batch of credits through state machine and journal, and a group's commit to a real file.

use std::sync::mpsc;

use assay_benches::mining;
use divan::Bencher;
use divan::counter::ItemsCount;
use ledger::journal::{Head, Row};
use ledger::{Batch, Event, Ledger, LedgerHandle, Options, Params, Source, State};
use work::Ehash;

fn main() {
    divan::main();
}

const SOURCE: Source = Source { front: 0, shard: 0 };
/// A power of two, as every share's credit: so small that no epoch closes.
const SHARE: Ehash = Ehash::new((1 << 50) >> 40);
const KEYS: [usize; 4] = [1, 10, 100, 1_000];

fn batch(sequence: u64, keys: usize) -> Batch {
    let credits = mining::keys(keys).into_iter().map(|key| (key, SHARE)).collect();
    Batch { source: SOURCE, sequence, credits }
}

/// Memory only, with so many keys in the batch: what the state machine asserts and assigns.
#[divan::bench(args = KEYS)]
fn apply(bencher: Bencher<'_, '_>, keys: usize) {
    let mut state = State::create(Params::default()).expect("parameters within bounds");
    let mut event = Event::Credits(batch(0, keys));
    bencher.counter(ItemsCount::new(keys)).bench_local(|| {
        if let Event::Credits(batch) = &mut event {
            batch.sequence += 1;
        }
        state.apply(&event).expect("the next batch")
    });
}

/// Memory only: encodes the row and chains its hash.
#[divan::bench(args = KEYS)]
fn journal(bencher: Bencher<'_, '_>, keys: usize) {
    let mut head = Head::default();
    let event = Event::Credits(batch(1, keys));
    bencher.counter(ItemsCount::new(keys)).bench_local(|| Row::append(&mut head, &event));
}

/// From a shard's hand over to its answer, fsync included: mostly the disk.
#[divan::bench(args = KEYS, max_time = 3)]
fn commit(bencher: Bencher<'_, '_>, keys: usize) {
    let directory = tempfile::tempdir().expect("a directory for the ledger");
    let options = Options { tick: std::time::Duration::ZERO, ..Options::default() };
    let path = directory.path().join("ledger.sqlite");
    let (ledger, handle): (Ledger, LedgerHandle) =
        Ledger::open_with(path, Params::default(), options).expect("a new ledger");
    let mut next = batch(0, keys);
    let (done, committed) = mpsc::channel();
    bencher.counter(ItemsCount::new(keys)).bench_local(|| {
        next.sequence += 1;
        let done = done.clone();
        handle.commit(next.clone(), move |result| {
            done.send(result.map(drop)).expect("the benchmark waits");
        });
        committed.recv().expect("an answer").expect("durable");
    });
    ledger.close().expect("a last fold");
}
