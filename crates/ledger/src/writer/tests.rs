//! The writer with a disk that fills up, and with requests in every order.

use super::*;
use crate::{
    Batch, ChainBlock, Epoch, Event, FoundBlock, Msats, Source,
    state::{SOURCE, test_hash, test_key},
    store::{Group, Recovered},
    verify,
};
use crossbeam_channel::{Receiver as Results, unbounded};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use work::{Ehash, PayoutKey};

fn batch(sequence: u64, credits: Vec<(PayoutKey, Ehash)>) -> Batch {
    Batch { source: SOURCE, sequence, credits }
}

fn one(sequence: u64, amount: u64) -> Batch {
    batch(sequence, vec![(test_key(1), Ehash::new(amount))])
}

/// A store whose disk is full as long as the switch is on: SQLite may not take another page.
struct Limited {
    store: SqliteStore,
    full: Arc<AtomicBool>,
}

impl Limited {
    fn limit(&self) {
        let full = self.full.load(Ordering::SeqCst);
        self.store.limit_pages(if full { self.store.pages() } else { 1 << 30 });
    }
}

impl Store for Limited {
    fn recover(&mut self) -> Result<Option<Recovered>, StoreError> {
        self.store.recover()
    }

    fn commit(&mut self, group: &Group<'_>) -> Result<(), StoreError> {
        self.limit();
        self.store.commit(group)
    }
}

/// A store that counts the transactions which write to the journal.
struct Counted {
    store: SqliteStore,
    commits: Arc<AtomicUsize>,
}

impl Store for Counted {
    fn recover(&mut self) -> Result<Option<Recovered>, StoreError> {
        self.store.recover()
    }

    fn commit(&mut self, group: &Group<'_>) -> Result<(), StoreError> {
        self.commits.fetch_add(usize::from(!group.rows.is_empty()), Ordering::SeqCst);
        self.store.commit(group)
    }
}

type Told = (u64, Result<Receipt, LedgerError>);

fn send(handle: &LedgerHandle, batches: impl IntoIterator<Item = Batch>) -> Results<Told> {
    let (sender, results) = unbounded();
    for batch in batches {
        let (sender, sequence) = (sender.clone(), batch.sequence);
        handle.commit(batch, move |result| sender.send((sequence, result)).unwrap());
    }
    results
}

#[test]
fn each_request_is_told_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let (ledger, handle) = Ledger::open(&path, Params::default()).unwrap();
    let told: Vec<Told> = send(&handle, (1..=500).map(|sequence| one(sequence, 8))).iter().collect();
    assert_eq!(told.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), (1..=500).collect::<Vec<_>>());
    assert!(told.iter().all(|(_, result)| result.as_ref().is_ok_and(|receipt| !receipt.repeated())));
    assert_eq!(handle.last_sequence(SOURCE).unwrap(), 500);
    assert_eq!(handle.summary().credited, 4000);

    let told: Vec<Told> = send(&handle, [one(500, 8), one(3, 8), one(502, 8), one(501, 8)]).iter().collect();
    let repeated = told.iter().map(|(_, r)| r.as_ref().map(Receipt::repeated).map_err(ToString::to_string));
    let repeated: Vec<_> = repeated.collect();
    assert_eq!(repeated[..2], [Ok(true), Ok(true)]);
    assert!(repeated[2].as_ref().unwrap_err().contains("batch 502 came, but batch 501 is next"));
    assert_eq!(repeated[3], Ok(false));
    ledger.close().unwrap();
    assert!(matches!(handle.lease(), Err(LedgerError::Stopped)));
    assert!(matches!(send(&handle, [one(502, 8)]).recv().unwrap().1, Err(LedgerError::Stopped)));
    assert!(verify(&path).unwrap().is_clean());
}

#[test]
fn a_full_disk_acknowledges_nothing_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let full = Arc::new(AtomicBool::new(false));
    let store = Limited { store: SqliteStore::open(&path).unwrap(), full: Arc::clone(&full) };
    let (ledger, handle) = Ledger::start(store, path.clone(), Params::default(), Options::default()).unwrap();
    // Each batch fills pages of its own.
    let large = |sequence| batch(sequence, vec![(test_key(1), Ehash::new(1)); 500]);
    let all_ok = |results: Results<Told>| results.iter().all(|(_, result)| result.is_ok());
    assert!(all_ok(send(&handle, (1..=10).map(large))));

    full.store(true, Ordering::SeqCst);
    for round in 0..3 {
        for (sequence, result) in send(&handle, (11..=20).map(large)) {
            let error = result.unwrap_err();
            let gap = matches!(error, LedgerError::Refused(Refusal::Gap { .. }));
            assert!(gap || error.to_string().contains("disk is full"), "{round} {sequence}: {error}");
        }
        let seen = handle.reader().unwrap().last_sequence(SOURCE).unwrap();
        assert_eq!((seen, handle.last_sequence(SOURCE).unwrap()), (10, 10));
    }
    assert!(handle.summary().disk_error.unwrap().contains("disk is full"));
    assert_eq!(handle.summary().credited, 5000);

    full.store(false, Ordering::SeqCst);
    assert!(all_ok(send(&handle, (11..=20).map(large))));
    assert_eq!(handle.summary().disk_error, None);
    assert_eq!(handle.lease().unwrap().get(), 0);
    ledger.close().unwrap();
    let report = verify(&path).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.credited, report.batches), (10_000, 20));
}

/// A store that says once that a commit failed which is on the disk.
struct Unsure {
    store: SqliteStore,
    lie: Arc<AtomicBool>,
}

impl Store for Unsure {
    fn recover(&mut self) -> Result<Option<Recovered>, StoreError> {
        self.store.recover()
    }

    fn commit(&mut self, group: &Group<'_>) -> Result<(), StoreError> {
        self.store.commit(group)?;
        let lie = self.lie.swap(false, Ordering::SeqCst);
        if lie { Err(StoreError::Full { doing: "syncing" }) } else { Ok(()) }
    }
}

#[test]
fn what_a_failed_commit_left_on_the_disk_is_in_the_summary() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let lie = Arc::new(AtomicBool::new(false));
    let store = Unsure { store: SqliteStore::open(&path).unwrap(), lie: Arc::clone(&lie) };
    let (ledger, handle) = Ledger::start(store, path, Params::default(), Options::default()).unwrap();
    lie.store(true, Ordering::SeqCst);
    let size = Params::default().epoch_size().get();
    assert!(matches!(handle.apply(Event::Credits(one(1, size + 5))), Err(LedgerError::Disk(_))));
    handle.apply(Event::Credits(one(2, 8))).unwrap();
    let summary = handle.summary();
    assert_eq!((summary.open_epoch, summary.filled), (Epoch(1), Ehash::new(13)));
    assert_eq!((summary.epochs.accruing, summary.batches), (1, 2));
    ledger.close().unwrap();
}

/// A ledger whose commits are counted; the first creates it.
fn counted(path: &Path, options: Options) -> (Ledger, LedgerHandle, Arc<AtomicUsize>) {
    let commits = Arc::new(AtomicUsize::new(0));
    let store = Counted { store: SqliteStore::open(path).unwrap(), commits: Arc::clone(&commits) };
    let (ledger, handle) = Ledger::start(store, path.into(), Params::default(), options).unwrap();
    (ledger, handle, commits)
}

#[test]
fn a_lone_request_is_committed_at_once_and_later_ones_together() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let options = Options { tick: Duration::from_secs(3600), ..Options::default() };
    let (ledger, handle, commits) = counted(&path, options);
    let next = |results: &Results<Told>| results.recv_timeout(Duration::from_secs(60)).unwrap().1.unwrap();
    let receipt = next(&send(&handle, [one(1, 8)]));
    assert_eq!(commits.load(Ordering::SeqCst), 2);
    assert!((1..=3600).contains(&receipt.pause.as_secs()), "{:?}", receipt.pause);
    // Long before the tick a full group goes, and at the end the rest.
    let told = send(&handle, (2..=1500).map(|sequence| one(sequence, 8)));
    (0..GROUP_MAX).for_each(|_| drop(next(&told)));
    assert_eq!((told.len(), commits.load(Ordering::SeqCst)), (0, 3));
    ledger.close().unwrap();
    (GROUP_MAX..1499).for_each(|_| drop(next(&told)));
    assert_eq!(commits.load(Ordering::SeqCst), 4);
    assert!(verify(&path).unwrap().is_clean());
}

/// However fast the disk is, the journal grows by no more than a group a tick.
#[test]
fn commits_keep_their_distance() {
    let dir = tempfile::tempdir().unwrap();
    let tick = Options::default().tick;
    let (_ledger, handle, commits) = counted(&dir.path().join("ledger.sqlite"), Options::default());
    let started = Instant::now();
    for sequence in 1..=30 {
        let receipt = handle.apply(Event::Credits(one(sequence, 8))).unwrap();
        assert!(receipt.pause <= tick);
    }
    assert_eq!(commits.load(Ordering::SeqCst), 31);
    assert!(started.elapsed() >= 29 * tick);
}

#[test]
fn the_end_of_the_writer_shows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let (ledger, handle) = Ledger::open(&path, Params::default()).unwrap();
    handle.apply(Event::Credits(one(1, 8))).unwrap();
    assert!(ledger.is_running() && handle.is_running() && handle.summary().running);
    assert_eq!(handle.summary().disk_error, None);
    // As an invariant that does not hold.
    handle.commit(one(2, 8), |_| panic!("a completion must not"));
    let deadline = Instant::now() + Duration::from_secs(60);
    while handle.is_running() {
        assert!(Instant::now() < deadline, "it never showed");
        thread::sleep(Duration::from_millis(1));
    }
    let summary = handle.summary();
    assert!(!ledger.is_running() && !summary.running);
    assert_eq!(summary.credited, 16, "the commit was made");
    assert!(summary.disk_error.unwrap().contains("writer has stopped: restart the pool"));
    assert!(matches!(handle.lease(), Err(LedgerError::Stopped)));
    assert!(matches!(ledger.close(), Err(LedgerError::Stopped)));

    // An end in order is no fault.
    let (ledger, handle) = Ledger::open(&path, Params::default()).unwrap();
    ledger.close().unwrap();
    let summary = handle.summary();
    assert_eq!((handle.is_running(), summary.running, summary.disk_error), (false, false, None));
}

#[test]
fn parameters_are_those_of_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let params = Params::default();
    let other = Params { window: 32, ..params };
    drop(Ledger::open(&path, params).unwrap());
    let error = Ledger::open(&path, other).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, OpenError::ParamsDiffer(_)), "{text}");
    assert!(text.starts_with("epochs.window is 32 in the configuration, but this ledger has 16"), "{text}");
    assert!(text.contains("only change for future epochs"), "{text}");
    assert!(matches!(Ledger::open(&path, Params { q: 40, ..params }), Err(OpenError::Params(_))));

    // Scheduled, either will do until it is in force; then only the new ones.
    let (ledger, handle) = Ledger::open(&path, params).unwrap();
    handle.apply(Event::ParamsChanged { first_epoch: Epoch(1), params: other }).unwrap();
    drop(ledger);
    for accepted in [params, other] {
        drop(Ledger::open(&path, accepted).unwrap());
    }
    let (ledger, handle) = Ledger::open(&path, other).unwrap();
    handle.apply(Event::Credits(one(1, params.epoch_size().get()))).unwrap();
    ledger.close().unwrap();
    assert!(matches!(Ledger::open(&path, params), Err(OpenError::ParamsDiffer(_))));
    drop(Ledger::open(&path, other).unwrap());
    assert!(verify(&path).unwrap().is_clean());
}

// proves: PO-04
#[test]
fn leases_survive_and_never_repeat() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let mut leases = Vec::new();
    for _ in 0..3 {
        let (_ledger, handle) = Ledger::open(&path, Params::default()).unwrap();
        leases.extend([handle.lease().unwrap().get(), handle.lease().unwrap().get()]);
    }
    assert_eq!(leases, [0, 1, 2, 3, 4, 5]);
}

/// The reader sees each acknowledged credit at once, though the tables take them in later.
#[test]
fn a_reader_is_exact_between_folds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let (_ledger, handle) = Ledger::open(&path, Params::default()).unwrap();
    let mut reader = handle.reader().unwrap();
    let (a, b) = (test_key(1), test_key(2));
    let q = Params::default().epoch_size().get();
    let mut held = [[0; 2]; 2];
    for sequence in 1..=20 {
        handle
            .apply(Event::Credits(batch(sequence, vec![(a, Ehash::new(q / 16)), (b, Ehash::new(3))])))
            .unwrap();
        let epoch = usize::from(sequence > 16);
        held[epoch][0] += q / 16;
        held[epoch][1] += 3;
        if sequence == 16 {
            // The sixteenth is split: 45 of b came before it.
            held = [[q - 45, 45], [45, 3]];
        }
        let credit =
            |reader: &mut crate::Reader, epoch, key| reader.credit(Epoch(epoch), &key).unwrap().get();
        let of = [
            [credit(&mut reader, 0, a), credit(&mut reader, 0, b)],
            [credit(&mut reader, 1, a), credit(&mut reader, 1, b)],
        ];
        assert_eq!(of, held, "batch {sequence}");
        let by_key = reader.credits_by_key(None, 10).unwrap();
        let sum = |which: usize| u128::from(held[0][which] + held[1][which]);
        let mut want = [(a, sum(0)), (b, sum(1))];
        want.sort_unstable();
        assert_eq!(by_key, want);
        assert_eq!(reader.credits_by_key(Some(want[0].0), 10).unwrap(), want[1..]);
        assert_eq!(reader.credits_by_key(None, 1).unwrap(), want[..1]);
        assert_eq!(reader.last_sequence(SOURCE).unwrap(), sequence);
        let filled: Vec<u64> =
            reader.epochs(Epoch::ZERO, 10).unwrap().iter().map(|info| info.credited.get()).collect();
        let sums: Vec<u64> = held.iter().map(|row| row.iter().sum()).collect();
        assert_eq!(filled, sums[..filled.len()]);
        assert_eq!(reader.credits_of(&a, Epoch(1), 10).unwrap().len(), usize::from(sequence >= 16));
        assert_eq!(reader.credits_in(Epoch(0), None, 10).unwrap().len(), 2);
    }
    assert_eq!(reader.last_sequence(Source { front: 7, shard: 7 }).unwrap(), 0);
}

#[test]
fn blocks_are_there_to_be_compared_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let (ledger, handle) = Ledger::open(&path, Params { maturity: 2, ..Params::default() }).unwrap();
    handle.apply(Event::Credits(one(1, 1 << 50))).unwrap();
    let found = |number, height| FoundBlock {
        hash: test_hash(number),
        prev_hash: test_hash(0),
        height,
        reward: Msats::new(1000),
    };
    let (sender, results) = unbounded();
    handle.block_found(found(2, 11), move |result| sender.send(result).unwrap());
    results.recv().unwrap().unwrap();
    let connected = |number, height| ChainBlock { hash: test_hash(number), height, reward: Msats::new(1000) };
    handle.block_connected(connected(1, 10)).unwrap();
    drop((ledger, handle));

    let (_ledger, handle) = Ledger::open(&path, Params { maturity: 2, ..Params::default() }).unwrap();
    let unsettled = handle.unsettled_blocks().unwrap();
    let heights: Vec<_> = unsettled.iter().map(|block| (block.height, block.status.name())).collect();
    assert_eq!(heights, [(10, "connected"), (11, "found")]);
    handle.block_connected(connected(2, 11)).unwrap();
    handle.tip(11).unwrap();
    assert_eq!(handle.unsettled_blocks().unwrap().len(), 1);
    handle.block_disconnected(test_hash(2)).unwrap();
    let summary = handle.summary();
    assert_eq!((summary.blocks.finals, summary.blocks.disconnected, summary.tip), (1, 1, Some(11)));
    let mut reader = handle.reader().unwrap();
    assert_eq!(reader.blocks(None, 10).unwrap().len(), 2);
    assert_eq!(reader.blocks(Some(11), 10).unwrap()[0].hash, test_hash(1));
    assert_eq!(reader.lines_of_block(&test_hash(1)).unwrap().len(), 8);
    assert_eq!(reader.lines_of_epoch(Epoch(7)).unwrap()[0].amount, Msats::new(123));
    assert_eq!(reader.epoch(Epoch(8)).unwrap().unwrap().state.name(), "open");
    assert_eq!(reader.epoch(Epoch(9)).unwrap(), None);
}

/// Dropped between any two transactions, with the tables brought up or not: the books read back are those of a
/// state that was never stored.
#[test]
fn books_are_read_back_from_any_transaction() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    let params = Params { q: 12, window: 3, fee_ppm: 20_000, maturity: 2, redeem_blocks: 0 };
    let mut rng = StdRng::seed_from_u64(7);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let mut store = SqliteStore::open(&path).unwrap();
    assert!(Books::recover(&mut store, Instant::now()).unwrap().is_none());
    let mut books = Books::create(&mut store, params).unwrap();
    let mut shadow = crate::State::create(params).unwrap();
    for _ in 0..300 {
        let (mut rows, mut fold) = (Vec::new(), rng.gen_bool(0.05));
        for _ in 0..rng.gen_range(1..4) {
            let event = random_event(&mut rng, &shadow);
            let told =
                books.apply(&event, &mut rows, &mut fold, Instant::now()).map_err(|error| error.to_string());
            let want = shadow.apply(&event).map_err(|error| error.to_string());
            assert_eq!(told.map(|receipt| receipt.outcomes), want.map(|applied| applied.outcomes));
        }
        books.commit(&mut store, &rows, fold).unwrap();
        if rng.gen_bool(0.3) {
            drop((books, store));
            store = SqliteStore::open(&path).unwrap();
            books = Books::recover(&mut store, Instant::now()).unwrap().unwrap();
            assert_eq!(books.state.tables(), shadow.tables());
        }
    }
    assert!(shadow.open_epoch() > Epoch(20) && shadow.totals().pots > Msats::ZERO);
    let report = verify(&path).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.credited, shadow.credited());
}

fn random_event(rng: &mut rand::rngs::StdRng, state: &crate::State) -> Event {
    use rand::Rng;
    let height = rng.gen_range(1..40);
    let hash = test_hash(rng.gen_range(1..60));
    let reward = Msats::new(rng.gen_range(1..400_000_000_000));
    match rng.gen_range(0..20) {
        0 => Event::BlockFound(FoundBlock { hash, prev_hash: test_hash(0), height, reward }),
        1..=3 => Event::BlockConnected(ChainBlock { hash, height, reward }),
        4 => Event::BlockDisconnected(hash),
        5 => Event::Tip { height },
        6 => Event::LeaseTaken,
        7 => {
            Event::EpochRetired { epoch: Epoch(rng.gen_range(0..20)), swept: Msats::new(rng.gen_range(0..3)) }
        }
        _ => {
            let source = Source { front: 1, shard: rng.gen_range(0..2) };
            let sequence = state.last_sequence(source) + rng.gen_range(0..2);
            let rows = rng.gen_range(0..4);
            let row = |_| (test_key(rng.gen_range(0..6)), Ehash::new(1 << rng.gen_range(20..40)));
            Event::Credits(Batch { source, sequence, credits: (0..rows).map(row).collect() })
        }
    }
}
