//! Validation and credit of shares, and what a new job costs each channel.

use assay_benches::{SHARES, mining};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use mining::{ACTIVE, NOW, SUPERSEDED};
use work::{Accepted, Channel, Ehash, ExtendedShare, KeyMap, Rejection};

fn main() {
    divan::main();
}

type Result = std::result::Result<Accepted, Rejection>;

/// Submits [`SHARES`] shares to a new channel, so that what it remembers of a tip is as small as in a pool.
fn submit(
    bencher: Bencher<'_, '_>,
    channel: fn() -> Channel,
    mut one: impl FnMut(&mut Channel, u32) -> Result,
) {
    bencher.counter(ItemsCount::new(SHARES)).with_inputs(channel).bench_local_refs(|channel| {
        for nonce in 0..SHARES {
            let _ = black_box(one(channel, black_box(nonce)));
        }
    });
}

fn submit_standard(channel: &mut Channel, job_id: u32, nonce: u32) -> Result {
    channel.submit_standard(&mining::share(job_id, nonce), NOW)
}

fn submit_extended(channel: &mut Channel, job_id: u32, nonce: u32) -> Result {
    let mut extranonce = [0xab; 16];
    extranonce[..4].copy_from_slice(&nonce.to_le_bytes());
    let share = ExtendedShare { share: mining::share(job_id, nonce), extranonce: &extranonce };
    channel.submit_extended(&share, NOW)
}

fn accepted(result: Result) -> Result {
    assert!(result.is_ok(), "{result:?}");
    result
}

#[divan::bench]
fn validate_standard(bencher: Bencher<'_, '_>) {
    submit(bencher, mining::standard, |channel, nonce| accepted(submit_standard(channel, ACTIVE, nonce)));
}

#[divan::bench]
fn validate_standard_superseded_job(bencher: Bencher<'_, '_>) {
    submit(bencher, mining::standard, |channel, nonce| accepted(submit_standard(channel, SUPERSEDED, nonce)));
}

#[divan::bench]
fn validate_extended(bencher: Bencher<'_, '_>) {
    submit(bencher, mining::extended, |channel, nonce| accepted(submit_extended(channel, ACTIVE, nonce)));
}

#[divan::bench]
fn validate_extended_superseded_job(bencher: Bencher<'_, '_>) {
    submit(bencher, mining::extended, |channel, nonce| accepted(submit_extended(channel, SUPERSEDED, nonce)));
}

#[divan::bench]
fn refuse_duplicate(bencher: Bencher<'_, '_>) {
    submit(bencher, mining::standard, |channel, _| submit_standard(channel, ACTIVE, 1));
}

#[divan::bench]
fn refuse_above_target(bencher: Bencher<'_, '_>) {
    submit(bencher, mining::hard, |channel, nonce| submit_standard(channel, ACTIVE, nonce));
}

/// A new job on a standard channel: its merkle root, once for each channel.
#[divan::bench]
fn new_job_standard(bencher: Bencher<'_, '_>) {
    let job = mining::job(3);
    bencher.with_inputs(mining::standard).bench_local_refs(|channel| channel.add_active(&job, NOW.unix));
}

/// Adds credits to a shard's settlement, with so many payout keys in turn.
#[divan::bench(args = [1, 1_000, 10_000])]
fn credit(bencher: Bencher<'_, '_>, keys: usize) {
    let keys = mining::keys(keys);
    let mut earners = keys.iter().cycle();
    let mut credits: KeyMap<Ehash> = KeyMap::default();
    bencher.counter(ItemsCount::new(SHARES)).bench_local(|| {
        for key in earners.by_ref().take(SHARES as usize) {
            let sum = credits.entry(*black_box(key)).or_default();
            *sum = sum.saturating_add(Ehash::new(1));
        }
    });
}
