//! What can go wrong with a store, in words that say what to do.

use crate::{
    Refusal,
    journal::{BrokenChain, DecodeError},
    state::Inconsistent,
};
use rusqlite::{ErrorCode, ffi::SQLITE_IOERR_SHMSIZE};
use std::{io, path::PathBuf};
use thiserror::Error;

/// Why a store cannot be opened, read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has it.
    #[error(
        "{path} is in use by another process: a ledger has one writer; stop the other one, or give this one a ledger of its own"
    )]
    InUse {
        /// The ledger.
        path: PathBuf,
    },
    /// There is nothing to read.
    #[error("there is no ledger at {path}")]
    Missing {
        /// The ledger.
        path: PathBuf,
    },
    /// Some other database.
    #[error("{path} is not a ledger of assay: choose another path")]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer program.
    #[error(
        "{path} has schema {found}, written by a newer assay; this one knows up to {known}: upgrade assay"
    )]
    Newer {
        /// The ledger.
        path: PathBuf,
        /// The schema it has.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// Written by an older program, and only looked at here.
    #[error("{path} was written by an older assay: start the pool of this version first, which brings it up")]
    Older {
        /// The ledger.
        path: PathBuf,
    },
    /// There was a ledger.
    #[error(
        "{path} is missing, empty or overwritten, although a ledger was kept here: bring it back together with its -wal file, or restore a backup; to begin new books on purpose, move {path}.lock and {path}-wal away"
    )]
    Gone {
        /// The ledger.
        path: PathBuf,
    },
    /// The end of the journal, which lies in SQLite's log, is not what was written.
    #[error(
        "{path} is damaged at byte {offset}, and at least {lost} commits that were acknowledged lie behind it: restore the file; to go on without what cannot be read, run `truncate --size={offset} {path}`, and the miners lose it"
    )]
    DamagedLog {
        /// The log.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// Commits that can be seen behind it.
        lost: u64,
    },
    /// A page of the file is not what was written.
    #[error(
        "the ledger's file is damaged, as it showed while {doing} ({source}): run `assay ledger verify` to see how far, and restore a backup"
    )]
    Damaged {
        /// What was tried.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A file could not be opened.
    #[error("cannot open {path}: {source}; it and its directory must be there and writable")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No room.
    #[error(
        "the disk is full while {doing}: nothing of it was acknowledged; free some space, and it goes on"
    )]
    Full {
        /// What was tried.
        doing: &'static str,
    },
    /// The file system or the file's permissions do not allow writing.
    #[error(
        "the ledger cannot be written while {doing}, as its file or file system is read-only: nothing of it was acknowledged; make it writable, and it goes on"
    )]
    ReadOnly {
        /// What was tried.
        doing: &'static str,
    },
    /// SQLite failed in some other way.
    #[error("SQLite failed while {doing}: {source}")]
    Sqlite {
        /// What was tried.
        doing: &'static str,
        /// What it said.
        source: rusqlite::Error,
    },
    /// The journal is not what was written.
    #[error("{0}. Run `assay ledger verify`, and restore a backup")]
    Journal(#[from] BrokenChain),
    /// A journal row cannot be read.
    #[error("journal row {row}: {source}")]
    Row {
        /// Its number.
        row: u64,
        /// Why.
        source: DecodeError,
    },
    /// A journal row that could never have been written.
    #[error("journal row {row} does not follow from those before: {source}")]
    Replay {
        /// Its number.
        row: u64,
        /// Why.
        source: Refusal,
    },
    /// Derived tables that do not agree with each other or with the journal.
    #[error("the ledger's tables are damaged: {0}. Run `assay ledger verify`, and restore a backup")]
    Tables(#[from] Inconsistent),
}

impl StoreError {
    /// For `map_err`: what SQLite said, with what was being done.
    pub(super) fn sqlite(doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full { doing },
            // The file that connections share beside the log is the first that a full disk keeps from growing.
            _ if source.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_IOERR_SHMSIZE) => {
                StoreError::Full { doing }
            }
            Some(ErrorCode::ReadOnly) => StoreError::ReadOnly { doing },
            Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged { doing, source },
            _ => StoreError::Sqlite { doing, source },
        }
    }

    /// Tables that hold something that was never written.
    pub(crate) fn damaged(what: impl Into<String>) -> StoreError {
        StoreError::Tables(Inconsistent(what.into()))
    }
}
