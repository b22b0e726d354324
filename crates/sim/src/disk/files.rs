//! The ledger in SQLite's files, and what a power cut leaves of them.

use crate::chance::Chance;
use ledger::store::SqliteStore;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// What a disk writes at once.
const SECTOR: usize = 512;
const DB: &str = "ledger.sqlite";
const WAL: &str = "ledger.sqlite-wal";

/// The files of the present process.
pub(super) struct Files {
    dir: TempDir,
}

impl Files {
    pub(super) fn new() -> Self {
        Self { dir: directory() }
    }

    pub(super) fn open(&self) -> SqliteStore {
        SqliteStore::open(self.dir.path().join(DB)).expect("nobody else has these files")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The process dies between two commits: the files as they are go over to the next one. They are copied, as closing
    /// them in good order would tidy them up.
    pub(super) fn survive(&mut self) {
        let dir = directory();
        for name in [DB, WAL] {
            put(&dir.path().join(name), &read(&self.path(name)));
        }
        self.dir = dir;
    }

    /// The process dies in a commit, before its sync has returned: of each sector that it writes the old or the new
    /// content is there, or neither.
    pub(super) fn tear(&mut self, chance: &mut Chance, commit: impl FnOnce()) {
        let before = [DB, WAL].map(|name| read(&self.path(name)));
        commit();
        let dir = directory();
        for (name, before) in [DB, WAL].iter().zip(before) {
            let after = read(&self.path(name));
            // Only the log is written without having been synced before.
            let torn = if *name == WAL { torn(&before, &after, chance) } else { after };
            put(&dir.path().join(name), &torn);
        }
        self.dir = dir;
    }
}

fn torn(before: &[u8], after: &[u8], chance: &mut Chance) -> Vec<u8> {
    // All of it may have arrived, or nothing.
    let (new, garbage) = chance.pick(&[(1000, 0), (0, 0), (500, 0), (900, 100), (990, 5)]);
    let mut torn = after.to_vec();
    for (number, sector) in torn.chunks_mut(SECTOR).enumerate() {
        let start = number * SECTOR;
        let old = before.get(start..(start + sector.len()).min(before.len())).unwrap_or_default();
        if old == &*sector || chance.permille(new) {
            continue;
        }
        if chance.permille(garbage) {
            let len = sector.len();
            sector.copy_from_slice(&chance.bytes(len));
        } else {
            sector.fill(0);
            sector[..old.len()].copy_from_slice(old);
        }
    }
    // The file's length is written by itself.
    if chance.permille(500) {
        let length = before.len() + chance.index(torn.len().saturating_sub(before.len()) + 1);
        torn.truncate(length);
    }
    torn
}

/// In memory if the system has such a place: what a sync costs is not what this is about.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.expect("a directory for temporary files")
}

fn read(path: &Path) -> Vec<u8> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        result => result.expect("the ledger's files can be read"),
    }
}

fn put(path: &Path, bytes: &[u8]) {
    if !bytes.is_empty() {
        fs::write(path, bytes).expect("temporary files can be written");
    }
}
