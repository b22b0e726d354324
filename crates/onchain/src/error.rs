//! What can go wrong with the wallet, in words that say what to do.

use {
    crate::PayoutId,
    bitcoin::{Amount, FeeRate, Txid},
    node::{NodeError, Tip},
    rusqlite::{ErrorCode, ffi::SQLITE_IOERR_SHMSIZE},
    std::{io, path::PathBuf},
    thiserror::Error,
};

/// Why the wallet does not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OnchainError {
    /// The file fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node fails.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The configuration cannot work.
    #[error("on-chain wallet: {0}")]
    Config(String),
    /// The seed phrase's file is gone, and there is a wallet.
    #[error(
        "{path} is missing, although a wallet was kept here: bring it back, or restore the wallet from its phrase"
    )]
    SeedMissing {
        /// Where the phrase was.
        path: PathBuf,
    },
    /// The seed phrase's file holds something else.
    #[error(
        "{path} holds no seed phrase ({reason}): bring it back from a backup, or write the twelve words into it"
    )]
    SeedDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Words that are no phrase.
    #[error("these are not the words of a seed phrase: {0}")]
    Phrase(String),
    /// A descriptor that cannot be used.
    #[error("the {which} descriptor cannot be used: {reason}")]
    Descriptor {
        /// `receive` or `change`.
        which: &'static str,
        /// Why.
        reason: String,
    },
    /// The file was made with other keys.
    #[error(
        "the wallet at {path} belongs to other keys or another chain ({reason}): choose another directory, or give the keys that it was made with"
    )]
    OtherKeys {
        /// The wallet.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// There are no keys to sign with.
    #[error(
        "this wallet only watches, as it was opened with public descriptors: it cannot pay. Pay from the wallet that has the keys, or let the mint keep a wallet of its own"
    )]
    WatchOnly,
    /// No output may be that small.
    #[error("{amount} to this address would be dust: at least {limit} can be paid out on-chain")]
    Dust {
        /// What was asked.
        amount: Amount,
        /// The least that is relayed.
        limit: Amount,
    },
    /// More than there is.
    #[error("{amount} is more than all the bitcoin there will ever be")]
    TooMuch {
        /// What was asked.
        amount: Amount,
    },
    /// Nodes would not relay such an output.
    #[error("the output's script is no address: pay to an address")]
    NoAddress,
    /// An id that cannot be stored.
    #[error("a payout's id has 1 to {max} characters, this one has {len}")]
    BadId {
        /// How many it has.
        len: usize,
        /// Most that it may have.
        max: usize,
    },
    /// One id, two payouts.
    #[error("payout {id} was requested with another address or amount: an id names one payout for ever")]
    Conflict {
        /// The id.
        id: PayoutId,
    },
    /// No such payout.
    #[error("payout {id} was never requested")]
    UnknownPayout {
        /// The id.
        id: PayoutId,
    },
    /// A fee rate that would not be relayed, or that is a mistake.
    #[error("a fee rate of {rate} sat/kwu is out of bounds: choose one from {min} to {max}")]
    FeeRate {
        /// What was asked.
        rate: FeeRate,
        /// Least.
        min: FeeRate,
        /// Most.
        max: FeeRate,
    },
    /// Not enough coins that may be spent now.
    #[error(
        "{available} can be spent at present, {needed} are needed: more coins mature as blocks are found"
    )]
    Funds {
        /// Amount and fee.
        needed: Amount,
        /// What there is.
        available: Amount,
    },
    /// The wallet does not know the newest blocks.
    #[error(
        "the wallet has followed the chain to {followed}, the node is at {tip}: payouts go on when it has caught up"
    )]
    Behind {
        /// The wallet's block.
        followed: Tip,
        /// The node's.
        tip: Tip,
    },
    /// Nodes relay only short chains of transactions that no block holds.
    #[error("{pending} payout transactions wait for a block: new ones are made when some are confirmed")]
    TooManyPending {
        /// How many wait.
        pending: usize,
    },
    /// Somebody else spends these coins, or the file has forgotten what it did.
    #[error(
        "transaction {txid} in block {height} spent coins of this wallet, but is not among its payouts. Was a backup restored, or is the seed phrase used elsewhere? See that nothing it paid is paid again, then accept it"
    )]
    ForeignSpend {
        /// The transaction.
        txid: Txid,
        /// Where it is.
        height: u32,
    },
    /// An event that does not continue the chain as the wallet knows it.
    #[error(
        "block {event} does not follow {followed}, the last that the wallet has: follow the chain from there"
    )]
    Gap {
        /// The event's block.
        event: Tip,
        /// The wallet's.
        followed: Tip,
    },
    /// BDK refuses to build the transaction.
    #[error("the payout transaction cannot be built: {0}")]
    Build(String),
    /// The keys do not sign for the coins.
    #[error("the payout transaction cannot be signed: {0}")]
    Sign(String),
}

/// Why the wallet's file cannot be opened, read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has it.
    #[error("{path} is in use by another process: a wallet has one writer; stop the other one")]
    InUse {
        /// The wallet.
        path: PathBuf,
    },
    /// Some other database.
    #[error("{path} is not an on-chain wallet of assay: choose another directory")]
    NotAWallet {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer program.
    #[error(
        "{path} has schema {found}, written by a newer assay; this one knows up to {known}: upgrade assay"
    )]
    Newer {
        /// The wallet.
        path: PathBuf,
        /// The schema it has.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// There was a wallet.
    #[error(
        "{path} is missing, empty or overwritten, although a wallet was kept here, and it knows what was paid: bring it back together with its -wal file, or restore a backup; to begin anew on purpose, move {path}.lock and {path}-wal away"
    )]
    Gone {
        /// The wallet.
        path: PathBuf,
    },
    /// A file could not be opened or written.
    #[error("cannot open {path}: {source}; it and its directory must be there and writable")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No room.
    #[error("the disk is full while {doing}: nothing of it was done; free some space, and it goes on")]
    Full {
        /// What was tried.
        doing: &'static str,
    },
    /// The file system or the file's permissions do not allow writing.
    #[error(
        "the wallet cannot be written while {doing}, as its file or file system is read-only: make it writable, and it goes on"
    )]
    ReadOnly {
        /// What was tried.
        doing: &'static str,
    },
    /// The file holds what was never written.
    #[error("the wallet's file is damaged: {0}. Restore a backup; do not pay anything out before")]
    Damaged(String),
    /// SQLite failed in some other way.
    #[error("SQLite failed while {doing}: {source}")]
    Sqlite {
        /// What was tried.
        doing: &'static str,
        /// What it said.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// For `map_err`: what SQLite said, with what was being done.
    pub(crate) fn sqlite(doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full { doing },
            // The file that connections share beside the log is the first that a full disk keeps from growing.
            _ if source.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_IOERR_SHMSIZE) => {
                StoreError::Full { doing }
            }
            Some(ErrorCode::ReadOnly) => StoreError::ReadOnly { doing },
            Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged(format!("{source}, while {doing}")),
            _ => StoreError::Sqlite { doing, source },
        }
    }
}
