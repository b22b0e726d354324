//! The promise that everything rests on: what was acknowledged survives `kill -9`, and counts once.
//!
//! This executable starts itself as a child that commits batches from several threads and prints each number when it is
//! acknowledged. The child is killed at a random moment, the ledger is audited, and the next child goes on.

use assay_ledger::{Batch, ChainBlock, Epoch, Event, Ledger, Msats, Params, Reader, Source, verify};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};
use work::{Ehash, PayoutKey};

const CHILD: &str = "ASSAY_LEDGER_KILL_TEST";
const SHARDS: u16 = 3;
const ROUNDS: u32 = 25;
/// Small epochs: one closes every few batches.
const PARAMS: Params = Params { q: 16, window: 4, fee_ppm: 10_000, maturity: 3, redeem_blocks: 0 };

fn key(number: u8) -> PayoutKey {
    let mut bytes = [number; 32];
    let mut keys = (0..=255).filter_map(|last| {
        bytes[31] = last;
        PayoutKey::from_bytes(bytes).ok()
    });
    keys.next().unwrap()
}

/// What a shard's batch credits follows from its number, so that the auditor knows it too.
fn credits(source: Source, sequence: u64) -> Vec<(PayoutKey, Ehash)> {
    let mut rng = StdRng::seed_from_u64(u64::from(source.shard) << 48 | sequence);
    let rows = rng.gen_range(1..6);
    (0..rows).map(|_| (key(rng.gen_range(0..8)), Ehash::new(1 << rng.gen_range(20..33)))).collect()
}

/// The child. Does nothing when the suite runs it.
#[test]
fn child() {
    let Ok(path) = env::var(CHILD) else { return };
    let (_ledger, handle) = Ledger::open(&path, PARAMS).unwrap();
    let shards = (0..SHARDS).map(|shard| {
        let handle = handle.clone();
        let source = Source { front: 1, shard };
        let start = handle.last_sequence(source).unwrap() + 1;
        thread::spawn(move || {
            for sequence in start.. {
                let batch = Batch { source, sequence, credits: credits(source, sequence) };
                // Every other one is sent twice, as after a lost answer.
                if sequence % 2 == 0 {
                    handle.commit(batch.clone(), |result| drop(result.unwrap()));
                }
                let told = handle.apply(Event::Credits(batch)).unwrap();
                assert_eq!(told.repeated(), sequence % 2 == 0);
                // One write a line: a line is whole or not there.
                std::io::stdout().write_all(format!("{shard} {sequence}\n").as_bytes()).unwrap();
            }
        })
    });
    let shards: Vec<_> = shards.collect();
    for height in handle.summary().tip.unwrap_or(0) + 1.. {
        let hash = assay_ledger::BlockHash::from_bytes([u8::try_from(height % 251).unwrap(); 32]);
        handle.block_connected(ChainBlock { hash, height, reward: Msats::new(312_500_000_000) }).unwrap();
        handle.tip(height).unwrap();
        if height % 3 == 0 {
            handle.block_disconnected(hash).unwrap();
        }
        std::io::stdout().write_all(format!("lease {}\n", handle.lease().unwrap().get()).as_bytes()).unwrap();
    }
    shards.into_iter().for_each(|shard| shard.join().unwrap());
}

/// Runs a child until it is killed after so many lines and so long. Returns the lines.
fn run_and_kill(path: &Path, lines: usize, then: Duration) -> Vec<String> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut all: Vec<String> = told.by_ref().take(lines).map(Result::unwrap).collect();
    // Anywhere between two lines: in the middle of a transaction, of an fsync, of a checkpoint.
    thread::sleep(then);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    // A child that fails an assertion ends by itself: with a code, or by another signal.
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9),
        "the child stopped by itself"
    );
    assert_eq!(status.code().filter(|_| cfg!(unix)), None, "the child stopped by itself");
    all.extend(told.map_while(Result::ok));
    all
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let mut rng = StdRng::seed_from_u64(20_260_801);
    let mut acknowledged: BTreeMap<u16, u64> = BTreeMap::new();
    let mut leases = Vec::new();
    for round in 0..ROUNDS {
        let (lines, then) = (rng.gen_range(0..120), Duration::from_micros(rng.gen_range(0..8_000)));
        for line in run_and_kill(&path, lines, then) {
            let Some((who, number)) = line.split_once(' ') else { continue };
            match (who.parse::<u16>(), number.parse::<u64>()) {
                (Ok(shard), Ok(sequence)) => drop(acknowledged.insert(shard, sequence)),
                (Err(_), Ok(lease)) if who == "lease" => leases.push(lease),
                // What the test harness prints.
                _ => {}
            }
        }
        if !path.exists() {
            continue;
        }
        audit(&path, &acknowledged, round);
    }
    assert!(acknowledged.len() == usize::from(SHARDS), "{acknowledged:?}");
    assert!(leases.windows(2).all(|pair| pair[0] < pair[1]), "a lease came twice: {leases:?}");
}

/// Clean, nothing acknowledged missing, and each key has exactly what the counted batches gave it.
fn audit(path: &Path, acknowledged: &BTreeMap<u16, u64>, round: u32) {
    let report = match verify(path) {
        Ok(report) => report,
        // Killed before the ledger was laid out.
        Err(error) if acknowledged.is_empty() => return eprintln!("round {round}: {error}"),
        Err(error) => panic!("round {round}: {error}"),
    };
    if acknowledged.is_empty() && report.journal_rows == 0 {
        return;
    }
    assert!(report.is_clean(), "round {round}: {report}");
    let mut reader = Reader::open(path).unwrap();
    let mut want: BTreeMap<PayoutKey, u128> = BTreeMap::new();
    for shard in 0..SHARDS {
        let source = Source { front: 1, shard };
        let counted = reader.last_sequence(source).unwrap();
        let told = acknowledged.get(&shard).copied().unwrap_or(0);
        assert!(
            counted >= told,
            "round {round}: batch {told} of shard {shard} was acknowledged, but is not there"
        );
        for (key, amount) in (1..=counted).flat_map(|sequence| credits(source, sequence)) {
            *want.entry(key).or_default() += u128::from(amount.get());
        }
    }
    let held: BTreeMap<PayoutKey, u128> = reader.credits_by_key(None, 100).unwrap().into_iter().collect();
    assert_eq!(held, want, "round {round}");
    let epochs = reader.epochs(Epoch::ZERO, u32::MAX).unwrap();
    let sum: u128 = epochs.iter().map(|info| u128::from(info.credited.get())).sum();
    assert_eq!(sum, want.values().sum::<u128>());
    eprintln!("round {round}: {} batches, {} epochs closed", report.batches, report.epochs_closed);
}
