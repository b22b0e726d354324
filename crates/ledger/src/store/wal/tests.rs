//! Logs as SQLite writes them, and what may happen to them.

use super::*;
use rusqlite::Connection;
use std::path::PathBuf;
use tempfile::TempDir;

/// Copies of a database and its log with so many commits in it, as a process that died leaves them.
fn left_behind(commits: usize) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("live"), dir.path().join("copy"));
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    db.execute_batch("CREATE TABLE t (x)").unwrap();
    for number in 1..commits {
        db.execute("INSERT INTO t VALUES (?1)", [number.to_string().repeat(900)]).unwrap();
    }
    for ending in ["", "-wal"] {
        std::fs::copy(beside(&path, ending), beside(&copy, ending)).unwrap();
    }
    (dir, copy)
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let log = beside(path, "-wal");
    let mut bytes = std::fs::read(&log).unwrap();
    change(&mut bytes);
    std::fs::write(&log, bytes).unwrap();
}

fn walked(path: &Path) -> Walk {
    walk(&mut BufReader::new(File::open(beside(path, "-wal")).unwrap())).unwrap()
}

#[test]
fn a_whole_log_is_read_to_its_end() {
    let (_dir, path) = left_behind(9);
    let length = std::fs::metadata(beside(&path, "-wal")).unwrap().len();
    assert_eq!(walked(&path), Walk { offset: length, lost: 0 });
    check(&path).unwrap();
}

#[test]
fn no_log_and_an_empty_one_are_fine() {
    let (_dir, path) = left_behind(3);
    change(&path, Vec::clear);
    check(&path).unwrap();
    // What the system may leave of a log that was never synced.
    change(&path, |bytes| bytes.resize(8192, 0));
    check(&path).unwrap();
    std::fs::remove_file(beside(&path, "-wal")).unwrap();
    check(&path).unwrap();
}

#[test]
fn a_torn_last_commit_is_no_damage() {
    let (_dir, path) = left_behind(9);
    change(&path, |bytes| {
        let end = bytes.len();
        bytes[end - 100] ^= 1;
    });
    assert_eq!(walked(&path).lost, 1);
    check(&path).unwrap();
    change(&path, |bytes| bytes.truncate(bytes.len() - 1000));
    assert_eq!(walked(&path).lost, 0);
    check(&path).unwrap();
}

#[test]
fn damage_before_acknowledged_commits_is_named() {
    let (_dir, path) = left_behind(9);
    let whole = std::fs::read(beside(&path, "-wal")).unwrap();
    change(&path, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let error = check(&path).unwrap_err();
    let StoreError::DamagedLog { offset, lost, .. } = error else { panic!("{error}") };
    assert!(lost > 1 && offset > 0 && offset < whole.len() as u64 / 2, "{offset} {lost}");
    assert!(error.to_string().contains("truncate --size="), "{error}");
    // The remedy leaves what could be read.
    change(&path, |bytes| bytes.truncate(usize::try_from(offset).unwrap()));
    check(&path).unwrap();
    let rows: u32 =
        Connection::open(&path).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(u64::from(rows), 8 - lost);
}

#[test]
fn a_damaged_header_is_named() {
    for byte in [0, 9, 17, 30] {
        let (_dir, path) = left_behind(5);
        change(&path, |bytes| bytes[byte] ^= 0x55);
        assert!(matches!(check(&path), Err(StoreError::DamagedLog { offset: 0, .. })), "byte {byte}");
    }
}

/// Frames of before the log was begun anew lie behind those of now.
#[test]
fn what_is_left_of_an_older_log_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("live"), dir.path().join("copy"));
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.execute_batch("CREATE TABLE t (x)").unwrap();
    for number in 0..20 {
        db.execute("INSERT INTO t VALUES (?1)", [number]).unwrap();
    }
    db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    db.execute("INSERT INTO t VALUES (21)", []).unwrap();
    std::fs::copy(beside(&path, "-wal"), beside(&copy, "-wal")).unwrap();
    let Walk { offset, lost } = walked(&copy);
    assert!(offset < std::fs::metadata(beside(&copy, "-wal")).unwrap().len());
    assert_eq!(lost, 0);
}
