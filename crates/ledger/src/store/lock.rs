//! One writer per ledger, whatever the number of processes.

use super::StoreError;
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

/// What the lock file says once there is a ledger. Its being there alone says nothing: a first start that died left one.
const MARK: &str = "A ledger of assay is kept beside this file.\n";

/// Held as long as a store is open; the system drops it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    marked: bool,
}

impl Lock {
    /// Takes the lock file beside `path`. SQLite's own exclusive mode will not do, as it locks out readers.
    pub(super) fn take(path: &Path) -> Result<Lock, StoreError> {
        let name = beside(path, ".lock");
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&name);
        let file = open.map_err(|source| StoreError::Open { path: name.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { file, marked: is_marked(path) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.into() }),
            Err(TryLockError::Error(source)) => Err(StoreError::Open { path: name, source }),
        }
    }

    /// Notes that there is a ledger, so that one which is gone is missed. What cannot be noted now, on a full disk, is
    /// noted the next time.
    pub(super) fn mark(&mut self) {
        if !self.marked {
            self.marked = self.file.write_all(MARK.as_bytes()).and_then(|()| self.file.sync_all()).is_ok();
        }
    }
}

/// Whether another process has the ledger. Changes nothing, and needs no lock file.
pub(crate) fn is_taken(path: &Path) -> bool {
    File::open(beside(path, ".lock"))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Whether a ledger was kept at `path`, whatever is there now.
pub(super) fn was_kept(path: &Path) -> bool {
    is_marked(path) || is_long(&beside(path, "-wal"))
}

fn is_marked(path: &Path) -> bool {
    is_long(&beside(path, ".lock"))
}

/// Whether a file is there and has something in it.
pub(super) fn is_long(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

/// A file beside the ledger's.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}
