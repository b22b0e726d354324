//! Why the mint cannot be run.

use crate::{BooksError, EpochUnit, redemption::BookError};

/// What keeps the mint from starting, or from opening an epoch.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The mint's database.
    #[error("the mint's database cannot be used: {0}")]
    Database(#[from] cdk_common::database::Error),
    /// SQLite.
    #[error("the mint's database cannot be used: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The operator's build.
    #[error(
        "this assay was built without PostgreSQL: build it with `cargo build --release --features postgres`, which takes \
         Debian's libssl-dev and pkg-config, or leave mint.postgres out"
    )]
    NoPostgres,
    /// Keys and database do not belong together.
    #[error(
        "the mint's database belongs to another mint.seed: restore the one that it was made with, or name another database"
    )]
    OtherSeed,
    /// A database that is gone.
    #[error(
        "the mint has run here, and its database is empty: what was claimed and spent would be forgotten, and given out again; \
         restore the database from its backup, or name the one that was used before"
    )]
    Forgotten,
    /// CDK refuses.
    #[error("the mint: {0}")]
    Cdk(#[from] cdk::Error),
    /// CDK's routes.
    #[error("the mint's routes: {0}")]
    Routes(String),
    /// The ledger.
    #[error("the mint cannot read the pool's books: {0}")]
    Books(#[from] BooksError),
    /// The book of redemptions.
    #[error(transparent)]
    Redemptions(#[from] BookError),
    /// Nobody waited for a task.
    #[error("the mint is stopping")]
    Stopped,
    /// Two units that CDK cannot tell apart.
    #[error(
        "unit `{unit}` has the derivation path of another: that happens once in two thousand million pairs of epochs; this \
         epoch's eHash stays credited, and cannot be claimed"
    )]
    Collision {
        /// The unit that came later.
        unit: EpochUnit,
    },
}
