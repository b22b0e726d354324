//! One writer per wallet, whatever the number of processes.

use {
    crate::StoreError,
    std::{
        ffi::OsString,
        fs::{self, File, OpenOptions, TryLockError},
        io::Write,
        path::{Path, PathBuf},
    },
};

/// What the lock file says once there is a wallet. Its being there alone says nothing: a first start that died left one.
const MARK: &str = "An on-chain wallet of assay is kept beside this file.\n";

/// Held as long as a store is open; the system drops it when the process ends, however it ends.
pub(super) struct Lock {
    file: File,
    marked: bool,
}

impl Lock {
    /// Takes the lock file beside `path`.
    pub(super) fn take(path: &Path) -> Result<Lock, StoreError> {
        let name = beside(path, ".lock");
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&name);
        let file = open.map_err(|source| StoreError::Open { path: name.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { file, marked: is_long(&name) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.into() }),
            Err(TryLockError::Error(source)) => Err(StoreError::Open { path: name, source }),
        }
    }

    /// Notes that there is a wallet, so that one which is gone is missed. What cannot be noted now, on a full disk, is noted
    /// at the next start.
    pub(super) fn mark(&mut self) {
        if !self.marked {
            self.marked = self.file.write_all(MARK.as_bytes()).and_then(|()| self.file.sync_all()).is_ok();
        }
    }
}

/// Whether a wallet was kept at `path`, whatever is there now.
pub(super) fn was_kept(path: &Path) -> bool {
    is_long(&beside(path, ".lock")) || is_long(&beside(path, "-wal"))
}

/// Whether a file is there and has something in it.
pub(super) fn is_long(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

/// A file beside the wallet's.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}
