//! The SQLite store by itself: creation, recovery, refusal.

use super::{Changes, Fold, Group, SqliteStore, Store, StoreError, lock};
use crate::{
    Batch, Event, Params, State,
    journal::{Head, Row},
    state::{SOURCE, test_key},
};
use rusqlite::Connection;
use std::path::Path;
use work::Ehash;

fn credits(sequence: u64, amount: u64) -> Event {
    Event::Credits(Batch { source: SOURCE, sequence, credits: vec![(test_key(1), Ehash::new(amount))] })
}

/// Writes a new ledger with a few rows, of which the last ones are not folded.
fn write(path: &Path, folded: u64, tail: u64) -> (State, Head) {
    let mut store = SqliteStore::open(path).unwrap();
    assert!(store.recover().unwrap().is_none());
    let params = Params { redeem_blocks: 0, ..Params::default() };
    let (mut state, mut head, mut changes) =
        (State::create(params).unwrap(), Head::default(), Changes::default());
    let mut rows = vec![Row::append(&mut head, &Event::Created(params))];
    for sequence in 1..=folded + tail {
        let event = credits(sequence, sequence);
        changes.note(&state.apply(&event).unwrap());
        rows.push(Row::append(&mut head, &event));
        if sequence == folded {
            let fold = Some(Fold { state: &state, head, changes: &changes });
            store.commit(&Group { rows: &rows, fold }).unwrap();
            rows.clear();
        }
    }
    store.commit(&Group { rows: &rows, fold: None }).unwrap();
    (state, head)
}

#[test]
fn what_was_committed_is_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let (state, head) = write(&path, 5, 3);
    let recovered = SqliteStore::open(&path).unwrap().recover().unwrap().unwrap();
    assert_eq!((recovered.folded.sequence, recovered.tail.len()), (6, 3));
    assert_eq!(recovered.tail.last().unwrap().hash, head.hash);
    assert_eq!(recovered.tables.open_credits, [(test_key(1), Ehash::new(1 + 2 + 3 + 4 + 5))]);
    let mut again = State::restore(recovered.tables).unwrap();
    for sequence in 6..=8 {
        again.apply(&credits(sequence, sequence)).unwrap();
    }
    assert_eq!(again.tables(), state.tables());
}

#[test]
fn a_ledger_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let first = SqliteStore::open(&path).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    drop(first);
    SqliteStore::open(&path).unwrap();
}

#[test]
fn files_that_are_no_ledger_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = dir.path().join("foreign.sqlite");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let before = std::fs::read(&foreign).unwrap();
    assert!(matches!(SqliteStore::open(&foreign).unwrap_err(), StoreError::NotALedger { .. }));
    assert_eq!(std::fs::read(&foreign).unwrap(), before);

    let text = dir.path().join("text");
    std::fs::write(&text, "[ledger]\npath = 1\n".repeat(100)).unwrap();
    assert!(matches!(SqliteStore::open(&text).unwrap_err(), StoreError::NotALedger { .. }));

    let nowhere = dir.path().join("no/such/directory/ledger.sqlite");
    let error = SqliteStore::open(nowhere).unwrap_err().to_string();
    assert!(error.contains("cannot open") && error.contains("no/such/directory"), "{error}");
}

/// A ledger that is gone is missed, not begun anew; and what is left of it stays.
#[test]
fn a_ledger_that_is_gone_is_not_replaced() {
    #[track_caller]
    fn case(lose: impl Fn(&Path), log_stays: bool) {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("ledger.sqlite"), dir.path().join("copy.sqlite"));
        let store = SqliteStore::open(&path).unwrap();
        drop(store);
        // Before its first commit there is nothing to miss.
        std::fs::remove_file(&path).unwrap();
        write(&path, 3, 3);
        // As a process that died leaves it, with its log.
        let _running = SqliteStore::open(&path).unwrap();
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        for ending in ["", "-wal", ".lock"] {
            std::fs::copy(lock::beside(&path, ending), lock::beside(&copy, ending)).unwrap();
        }
        let log = std::fs::read(lock::beside(&copy, "-wal")).unwrap();
        assert!(!log.is_empty());
        lose(&copy);
        let error = crate::Ledger::open(&copy, Params::default()).unwrap_err().to_string();
        assert!(error.contains("restore a backup"), "{error}");
        crate::verify(&copy).unwrap_err();
        assert!(
            !log_stays || std::fs::read(lock::beside(&copy, "-wal")).unwrap() == log,
            "the log was touched"
        );
        for ending in ["-wal", ".lock"] {
            // SQLite writes a whole log back when it closes a file that it could open.
            let _ = std::fs::remove_file(lock::beside(&copy, ending));
        }
        if lock::is_long(&copy) {
            std::fs::remove_file(&copy).unwrap();
        }
        crate::Ledger::open(&copy, Params::default()).unwrap();
    }
    case(|path| std::fs::write(path, "").unwrap(), true);
    case(|path| std::fs::remove_file(path).unwrap(), true);
    case(|path| std::fs::write(path, "rubbish".repeat(1000)).unwrap(), false);
}

#[test]
fn a_damaged_file_is_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    write(&path, 3, 3);
    let mut bytes = std::fs::read(&path).unwrap();
    let page = 4096;
    bytes[page..].fill(0x5a);
    std::fs::write(&path, &bytes).unwrap();
    let error = crate::Ledger::open(&path, Params::default()).unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains("restore a backup"), "{error}");
    // Cut off.
    std::fs::write(&path, &bytes[..page]).unwrap();
    let error = crate::Ledger::open(&path, Params::default()).unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains("restore a backup"), "{error}");
}

#[test]
fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    write(&path, 1, 0);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 3).unwrap();
    for error in [
        SqliteStore::open(&path).unwrap_err(),
        crate::Reader::open(&path).unwrap_err(),
        crate::verify(&path).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Newer { found: 3, known: 2, .. }), "{error}");
        assert!(error.to_string().contains("upgrade assay"), "{error}");
    }
}

#[test]
fn an_older_schema_is_brought_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    let (_, head) = write(&path, 3, 2);
    let before =
        "ALTER TABLE params DROP COLUMN redeem_blocks; ALTER TABLE epochs DROP COLUMN redeemable_until;
        PRAGMA user_version = 1";
    Connection::open(&path).unwrap().execute_batch(before).unwrap();
    for error in [crate::Reader::open(&path).unwrap_err(), crate::verify(&path).unwrap_err()] {
        assert!(matches!(error, StoreError::Older { .. }), "{error}");
        assert!(error.to_string().contains("start the pool"), "{error}");
    }
    for _ in 0..2 {
        let recovered = SqliteStore::open(&path).unwrap().recover().unwrap().unwrap();
        assert_eq!(recovered.folded.sequence + recovered.tail.len() as u64, head.sequence);
    }
    assert!(crate::verify(&path).unwrap().is_clean());
}

#[test]
fn the_journal_is_append_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.sqlite");
    write(&path, 2, 2);
    let db = Connection::open(&path).unwrap();
    for sql in ["UPDATE journal SET kind = 2 WHERE sequence = 1", "DELETE FROM journal WHERE sequence = 4"] {
        let error = db.execute(sql, []).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
}

/// A tail that was tampered with, or tables of a journal that was cut, are noticed before anything is counted.
#[test]
fn damage_shows_when_opening() {
    #[track_caller]
    fn case(sql: &str, want: &str) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        write(&path, 3, 3);
        let db = Connection::open(&path).unwrap();
        db.execute_batch("DROP TRIGGER journal_is_not_changed; DROP TRIGGER journal_is_not_cut").unwrap();
        db.execute_batch(sql).unwrap();
        drop(db);
        let error = crate::Ledger::open(&path, Params::default()).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
    case("UPDATE journal SET payload = x'01' WHERE sequence = 6", "journal row 6 was changed");
    case("DELETE FROM journal WHERE sequence = 6", "journal row 6 is missing");
    case("DELETE FROM journal WHERE sequence >= 4", "of journal row 4");
    case("UPDATE ledger SET folded_hash = zeroblob(32)", "of journal row 4");
    case("UPDATE credits SET amount = 7", "credits of open epoch 0 sum to 7");
    case("UPDATE epochs SET state = 'ajar'", "epoch 0 is \"ajar\"");
    case("UPDATE ledger SET carry = 5", "pots + carry + fees are not rewards");
    case("DELETE FROM ledger", "table ledger is empty");
    case("DELETE FROM params", "epoch 0 has no parameters");
}
