//! How fast the journal grows: the figures of `docs/decisions/0010-journal-grows.md`.

use assay_ledger::{Batch, Ledger, Options, Params, Source};
use std::{path::Path, time::Duration};
use work::{Ehash, PayoutKey};

const SHARES: usize = 20_000;
/// A power of two, as every share's credit.
const SHARE: Ehash = Ehash::new((1 << 50) >> 33);

fn keys(count: usize) -> Vec<PayoutKey> {
    let bytes = |n: u32| {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        bytes
    };
    // Every second string of 32 bytes is a key.
    (0..).filter_map(|n| PayoutKey::from_bytes(bytes(n)).ok()).take(count).collect()
}

/// Commits the shares of keys that take turns, so many in a batch.
fn commit(path: &Path, keys: &[PayoutKey], shares_a_batch: usize) {
    let options = Options { tick: Duration::ZERO, ..Options::default() };
    let (ledger, handle) = Ledger::open_with(path, Params::default(), options).unwrap();
    let source = Source { front: 1, shard: 0 };
    let last = handle.last_sequence(source).unwrap();
    let mut earners = keys.iter().cycle();
    for sequence in (last + 1..).take(SHARES / shares_a_batch) {
        let credits = earners.by_ref().take(shares_a_batch).map(|key| (*key, SHARE)).collect();
        let batch = Batch { source, sequence, credits };
        handle.commit(batch, |result| drop(result.unwrap()));
    }
    ledger.close().unwrap();
}

fn bytes_in(dir: &Path) -> u64 {
    std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// Bytes on the disk for each share.
fn bytes_a_share(channels: usize, shares_a_batch: usize) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let keys = keys(channels.min(SHARES));
    // The tables hold each key once an epoch: what that takes does not grow with the shares.
    commit(&path, &keys, shares_a_batch);
    let before = bytes_in(dir.path());
    commit(&path, &keys, shares_a_batch);
    (bytes_in(dir.path()) - before) / SHARES as u64
}

#[test]
fn a_share_takes_what_the_decision_says() {
    // Twelve shares a minute of 100 channels are 20 a second, which seldom meet within a tick of 5 ms; those of 10,000
    // are 10 a tick, in the batches of two shards, and those of 50,000 are 50.
    for (channels, shares_a_batch, stated) in [(100, 1, 85), (10_000, 5, 45), (50_000, 25, 40)] {
        let bytes = bytes_a_share(channels, shares_a_batch);
        assert!((stated - 4..=stated + 2).contains(&bytes), "{channels} channels: {bytes} bytes a share");
    }
}
