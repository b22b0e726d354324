//! Every kind of damage is named.

use crate::{
    Batch, ChainBlock, Epoch, Event, Ledger, Msats, Params,
    state::{SOURCE, test_hash, test_key},
    verify,
};
use rusqlite::Connection;
use std::path::Path;
use work::Ehash;

fn write(path: &Path) -> (Ledger, crate::LedgerHandle) {
    let params = Params { q: 3, window: 2, fee_ppm: 0, maturity: 2, redeem_blocks: 0 };
    let (ledger, handle) = Ledger::open(path, params).unwrap();
    let q = params.epoch_size().get();
    for sequence in 1..=9 {
        let credits = vec![(test_key(1), Ehash::new(q / 4)), (test_key(2), Ehash::new(q / 4))];
        handle.apply(Event::Credits(Batch { source: SOURCE, sequence, credits })).unwrap();
    }
    for number in 1..=4 {
        let (hash, reward) = (test_hash(number), Msats::new(1001));
        handle.block_connected(ChainBlock { hash, height: number, reward }).unwrap();
        handle.tip(number).unwrap();
    }
    handle.block_disconnected(test_hash(4)).unwrap();
    handle.apply(Event::EpochRetired { epoch: Epoch(0), swept: Msats::ZERO }).unwrap();
    handle.lease().unwrap();
    (ledger, handle)
}

#[test]
fn a_sound_ledger_is_clean_also_live_and_copied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let (ledger, handle) = write(&path);
    let report = verify(&path).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.epochs_closed, report.batches, report.blocks), (4, 9, 4));
    assert!(report.totals.balance());
    assert!(report.to_string().contains("clean"));

    // As a backup taken without asking would have it: the file and its log, in the middle of work.
    handle
        .apply(Event::Credits(Batch {
            source: SOURCE,
            sequence: 10,
            credits: vec![(test_key(3), Ehash::new(5))],
        }))
        .unwrap();
    let copy = dir.path().join("copy.sqlite");
    std::fs::copy(&path, &copy).unwrap();
    std::fs::copy(dir.path().join("ledger.sqlite-wal"), dir.path().join("copy.sqlite-wal")).unwrap();
    let report = verify(&copy).unwrap();
    assert!(report.is_clean() && report.batches == 10, "{report}");
    ledger.close().unwrap();
    let report = verify(&path).unwrap();
    assert!(report.is_clean() && report.batches == 10, "{report}");
    assert!(serde_json::to_string(&report).unwrap().contains("\"faults\":[]"));
    assert!(verify(dir.path().join("none")).unwrap_err().to_string().contains("there is no ledger at"));
}

#[test]
fn damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let sound = dir.path().join("ledger.sqlite");
    write(&sound).0.close().unwrap();
    let case = |sql: &str, want: &str| {
        let path = dir.path().join("damaged.sqlite");
        std::fs::copy(&sound, &path).unwrap();
        let db = Connection::open(&path).unwrap();
        db.execute_batch("DROP TRIGGER journal_is_not_changed; DROP TRIGGER journal_is_not_cut").unwrap();
        db.execute_batch(sql).unwrap();
        db.close().unwrap();
        let report = verify(&path).unwrap();
        assert!(!report.is_clean() && report.to_string().contains(want), "{sql}\n{report}");
        let _ = std::fs::remove_file(dir.path().join("damaged.sqlite-wal"));
    };
    case("UPDATE journal SET payload = x'0102' WHERE sequence = 3", "journal row 3 was changed");
    case("UPDATE journal SET kind = 4 WHERE sequence = 5", "journal row 5 was changed");
    case("DELETE FROM journal WHERE sequence = 7", "journal row 7 is missing");
    case("DELETE FROM journal WHERE sequence > 12", "which is not there");
    case("DELETE FROM journal", "journal: it is empty");
    case("UPDATE ledger SET folded_hash = zeroblob(32)", "folded_hash");
    case("UPDATE ledger SET fees = 1", "table ledger: rewards, fees, carry, pots");
    case("UPDATE ledger SET tip = 9", "table ledger: tip");
    case("UPDATE ledger SET leases_taken = 0", "leases_taken: the journal says 1, the table 0");
    case("UPDATE credits SET amount = amount + 1 WHERE epoch = 2", "table credits, epoch 2, key 7");
    case("UPDATE credits SET amount = amount + 1 WHERE epoch = 4", "table credits, epoch 4, key 7");
    case("DELETE FROM credits WHERE epoch = 1", "table credits, epoch 1: 2 rows are missing");
    case(
        "INSERT INTO credits SELECT 9, key, 1 FROM credits WHERE epoch = 1",
        "the journal makes 10 rows, the table has 12",
    );
    case(
        "UPDATE credits SET key = zeroblob(32) WHERE epoch = 3 AND key = (SELECT min(key) FROM credits)",
        "credits of 3",
    );
    case("UPDATE epochs SET pot = 1 WHERE epoch = 2", "table epochs, row 00000002");
    case("DELETE FROM epochs WHERE epoch = 1", "table epochs, row 00000001: the row is missing");
    case("UPDATE epochs SET redeemable_until = 7 WHERE epoch = 1", "table epochs, row 00000001");
    case("UPDATE epochs SET state = 'retired' WHERE epoch = 1", "table epochs, row 00000001");
    case("UPDATE blocks SET status = 'final' WHERE status = 'disconnected'", "status: Final");
    case("UPDATE blocks SET reward = 7 WHERE height = 2", "reward: Msats(7)");
    case("UPDATE lines SET amount = 7 WHERE epoch = 2", "the line is 7 msat");
    case("DELETE FROM lines WHERE epoch = 2", "table blocks, row");
    case(
        "INSERT INTO lines VALUES (zeroblob(32), 1, 1)",
        "table lines: the journal makes 6 rows, the table has 7",
    );
    case("UPDATE sources SET sequence = 3", "table sources, row front 1 shard 0");
    case("UPDATE params SET maturity = 5", "table params, row 0");
    case(
        "INSERT INTO params VALUES (77, 1, 1, 1, 1, 1)",
        "table params, row 77: the journal makes no such row",
    );
}

/// A journal with a sound chain of hashes that says what cannot have happened.
#[test]
fn a_forged_journal_is_refused() {
    use crate::journal::{Head, Row};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    write(&path).0.close().unwrap();
    let db = Connection::open(&path).unwrap();
    let last: (u64, [u8; 32]) = db
        .query_row("SELECT sequence, hash FROM journal ORDER BY sequence DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let mut head = Head { sequence: last.0, hash: crate::journal::ChainHash(last.1) };
    let row = Row::append(&mut head, &Event::EpochRetired { epoch: Epoch(1), swept: Msats::new(1 << 40) });
    db.execute(
        "INSERT INTO journal VALUES (?1, ?2, ?3, ?4)",
        (row.sequence, row.kind, row.payload, row.hash.0),
    )
    .unwrap();
    drop(db);
    let report = verify(&path).unwrap();
    let place = format!("journal row {}", row.sequence);
    assert!(report.faults.iter().any(|fault| fault.place == place), "{report}");
}
