//! One writer per ledger, whatever the number of processes.

use super::StoreError;
use std::{
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

/// Held as long as a store is open; the system drops it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock file beside `path`. SQLite's own exclusive mode will not do, as it locks out readers.
    pub(super) fn take(path: &Path) -> Result<Lock, StoreError> {
        let mut name = OsString::from(path);
        name.push(".lock");
        let name = PathBuf::from(name);
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&name);
        let file = open.map_err(|source| StoreError::Open { path: name.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.into() }),
            Err(TryLockError::Error(source)) => Err(StoreError::Open { path: name, source }),
        }
    }
}
