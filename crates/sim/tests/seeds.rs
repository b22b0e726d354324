//! Thousands of runs, each from one seed: whatever the faults, the books stay right and mining goes on.
//!
//! `ASSAY_SIM_SEED=N` runs one seed only; a seed that fails says how to see it again.

use sim::{Medium, Options, Report, run};
use std::{collections::BTreeMap, panic, thread};

const MEMORY: Options = Options { medium: Medium::Memory, echo: false };
const FILES: Options = Options { medium: Medium::Files, echo: false };

/// Runs seeds on two threads; returns their reports.
fn runs(first: u64, count: u64, options: Options) -> Vec<Report> {
    let seeds = match std::env::var("ASSAY_SIM_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("ASSAY_SIM_SEED is a number");
            seed..seed + 1
        }
        Err(_) => first..first + count,
    };
    let half = |odd: u64| {
        let seeds = seeds.clone().filter(move |seed| seed % 2 == odd);
        move || seeds.map(|seed| one(seed, options)).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let (even, odd) = (scope.spawn(half(0)), scope.spawn(half(1)));
        [even, odd].into_iter().flat_map(|half| half.join().expect("a run failed, see above")).collect()
    })
}

fn one(seed: u64, options: Options) -> Report {
    panic::catch_unwind(|| run(seed, options)).unwrap_or_else(|why| {
        let files = if options.medium == Medium::Files { " --files" } else { "" };
        eprintln!("seed {seed} failed; again: cargo run -p assay-sim -- --seed {seed}{files} --echo");
        panic::resume_unwind(why)
    })
}

/// Every kind of fault must have come up, or the runs show less than they claim.
fn assert_faults(reports: &[Report], kinds: &[&str]) {
    if reports.len() == 1 {
        return;
    }
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    for report in reports {
        for (kind, count) in &report.faults {
            *faults.entry(kind).or_default() += count;
        }
    }
    for kind in kinds {
        assert!(faults.contains_key(kind), "no run had this fault: {kind}; {faults:?}");
    }
}

// proves: MP-02 PO-04
#[test]
fn the_books_stay_right_whatever_happens() {
    let reports = runs(0, 2000, MEMORY);
    let kinds = [
        "answer to a block lost",
        "bad share",
        "block delivered twice",
        "block lost on its way",
        "block of others",
        "block while the node is away",
        "call to the node failed",
        "channel closed",
        "clock jump",
        "commit kept but failed",
        "commit lost",
        "commit on a full disk",
        "connection lost",
        "crash",
        "crash after a commit",
        "crash before a commit",
        "duplicate share",
        "garbage",
        "late share",
        "node down",
        "read failed",
        "reorg",
        "restart",
        "slow reader",
        "transaction",
    ];
    assert_faults(&reports, &kinds);
    assert!(reports.iter().all(|report| report.acknowledged > 0));
    assert!(reports.iter().any(|report| report.blocks > 0 && report.epochs > 1));
}

#[test]
fn files_survive_torn_writes() {
    let reports = runs(10_000, 60, FILES);
    assert_faults(&reports, &["torn write", "crash", "commit kept but failed", "reorg"]);
}

#[test]
fn a_seed_is_one_run() {
    for seed in 20_000..20_020 {
        assert_eq!(one(seed, MEMORY), one(seed, MEMORY));
    }
    assert_eq!(one(20_020, FILES), one(20_020, FILES));
}
