//! What the mint asks of the pool's ledger.

use ledger::{Epoch, EpochInfo, Outlook, Reader, StoreError, Totals};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};
use work::{Ehash, PayoutKey};

/// Why the books cannot be read at present. Claiming resumes when they can.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// The ledger's file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whoever reads them.
    #[error("the books could not be read: {0}")]
    Unreadable(String),
}

/// The pool's books, read beside their writer. Calls block for as long as a small database query takes.
pub trait Books: Send + Sync {
    /// The epoch that work is credited to.
    fn open_epoch(&self) -> Result<Epoch, BooksError>;

    /// One epoch; `None` if it is not open yet.
    fn epoch(&self, epoch: Epoch) -> Result<Option<EpochInfo>, BooksError>;

    /// One epoch, and what it still waits for; `None` if it is not open yet.
    fn outlook(&self, epoch: Epoch) -> Result<Option<Outlook>, BooksError>;

    /// Epochs from one on, ascending, at most `limit`.
    fn epochs(&self, from: Epoch, limit: u32) -> Result<Vec<EpochInfo>, BooksError>;

    /// What blocks have brought, and where it is.
    fn totals(&self) -> Result<Totals, BooksError>;

    /// What a key has earned in an epoch so far. It never falls: work, once credited, is never taken back.
    fn credit(&self, epoch: Epoch, key: &PayoutKey) -> Result<Ehash, BooksError>;
}

/// The books of a ledger's file.
pub struct LedgerBooks {
    path: PathBuf,
    /// Readers that nobody uses just now. Each call takes one, or opens one more: as many as calls at one time.
    idle: Mutex<Vec<Reader>>,
}

/// Readers kept for the next calls.
const IDLE_READERS: usize = 4;

impl LedgerBooks {
    /// Of the ledger at `path`, which the pool may be writing.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BooksError> {
        let path = path.as_ref().to_path_buf();
        let idle = Mutex::new(vec![Reader::open(&path)?]);
        Ok(Self { path, idle })
    }

    fn read<T>(&self, query: impl FnOnce(&mut Reader) -> Result<T, StoreError>) -> Result<T, BooksError> {
        let taken = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut reader = match taken {
            Some(reader) => reader,
            None => Reader::open(&self.path)?,
        };
        // A reader that failed is not used again.
        let result = query(&mut reader)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS {
            idle.push(reader);
        }
        Ok(result)
    }
}

impl Books for LedgerBooks {
    fn open_epoch(&self) -> Result<Epoch, BooksError> {
        self.read(Reader::open_epoch)
    }

    fn epoch(&self, epoch: Epoch) -> Result<Option<EpochInfo>, BooksError> {
        self.read(|reader| reader.epoch(epoch))
    }

    fn outlook(&self, epoch: Epoch) -> Result<Option<Outlook>, BooksError> {
        self.read(|reader| reader.outlook(epoch))
    }

    fn epochs(&self, from: Epoch, limit: u32) -> Result<Vec<EpochInfo>, BooksError> {
        self.read(|reader| reader.epochs(from, limit))
    }

    fn totals(&self) -> Result<Totals, BooksError> {
        self.read(Reader::totals)
    }

    fn credit(&self, epoch: Epoch, key: &PayoutKey) -> Result<Ehash, BooksError> {
        self.read(|reader| reader.credit(epoch, key))
    }
}
