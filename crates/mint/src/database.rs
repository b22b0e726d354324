//! Where the mints keep what CDK writes: a SQLite file each, or a schema each of a PostgreSQL database.

use crate::{MintError, MintSeed};
use cdk_common::database::{Error, MintKeysDatabase, mint::DynMintDatabase};
use cdk_sqlite::MintSqliteDatabase;
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

/// Where the database says whose it is.
const OWNER: (&str, &str, &str) = ("assay", "mint", "owner");

/// Where one mint keeps its tokens, quotes and keysets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// A SQLite file.
    File(PathBuf),
    /// A schema of a PostgreSQL database, made when it is missing. It takes the feature `postgres`.
    Postgres(Postgres),
}

/// A schema of a PostgreSQL database.
#[derive(Clone, PartialEq, Eq)]
pub struct Postgres {
    /// How to get there, as a URL (`postgres://…`) or in libpq's form (`host=… user=… dbname=…`). It may hold a password.
    pub access: String,
    /// The schema's name: letters, digits and `_`.
    pub schema: &'static str,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// What CDK's mint and its signatory ask for: two sides of the same database.
pub(crate) type Handles = (DynMintDatabase, Arc<dyn MintKeysDatabase<Err = Error> + Send + Sync>);

impl Database {
    /// Opens it, or lays it out where there is none yet.
    pub(crate) async fn open(&self) -> Result<Handles, MintError> {
        match self {
            Self::File(path) => {
                let database = Arc::new(MintSqliteDatabase::new(path.clone()).await?);
                let file = rusqlite::Connection::open(path)?;
                file.busy_timeout(SQLITE_PATIENCE)?;
                file.execute_batch(INDEX)?;
                Ok((database.clone(), database))
            }
            Self::Postgres(postgres) => postgres.open().await,
        }
    }

    /// Whether requests wait for each other's changes in the process, one a core working at a time: SQLite has one writer, and
    /// those that wait for it inside of it wait longer.
    pub(crate) fn writers(&self, cores: usize) -> usize {
        match self {
            Self::File(_) => cores,
            Self::Postgres(_) => POSTGRES_WRITERS,
        }
    }
}

/// As long as CDK waits for others.
const SQLITE_PATIENCE: Duration = Duration::from_secs(10);

/// CDK looks for the proofs of a melt by its quote, and would read every proof that was ever spent.
const INDEX: &str = "CREATE INDEX IF NOT EXISTS assay_proofs_of_a_quote ON proof (quote_id)";

/// CDK's tables have amounts and times in 32 bits, and what does not fit is cut off without a word. An epoch has up to 2^50
/// eHash. So whatever is narrow is widened, before anything is written, and again after CDK has added to its tables.
#[cfg(feature = "postgres")]
const WIDEN: &str = "
    DO $$
    DECLARE narrow RECORD;
    BEGIN
        FOR narrow IN
            SELECT table_name, column_name FROM information_schema.columns
            WHERE table_schema = current_schema() AND data_type = 'integer'
        LOOP
            EXECUTE format('ALTER TABLE %I ALTER COLUMN %I TYPE BIGINT', narrow.table_name, narrow.column_name);
        END LOOP;
    END
    $$";

/// Half of the connections that CDK keeps: the other half is for those that only read.
const POSTGRES_WRITERS: usize = 10;

impl Postgres {
    #[cfg(feature = "postgres")]
    async fn open(&self) -> Result<Handles, MintError> {
        use cdk_postgres::{MintPgDatabase, PgConfig, PostgresConnection};
        use cdk_sql_common::{database::DatabaseExecutor, pool::DatabaseConfig, stmt::query};

        let access = format!("{} schema={}", self.access, self.schema);
        let config = PgConfig::from(access.as_str());
        config.validate()?;
        // The first lays the tables out, and is done with.
        drop(MintPgDatabase::new(config.clone()).await?);
        let patience = config.default_timeout();
        let connection = PostgresConnection::new(config.clone(), patience, Arc::default());
        connection.batch(query(WIDEN)?).await?;
        connection.batch(query(INDEX)?).await?;
        let database = Arc::new(MintPgDatabase::new(config).await?);
        Ok((database.clone(), database))
    }

    #[cfg(not(feature = "postgres"))]
    async fn open(&self) -> Result<Handles, MintError> {
        Err(MintError::NoPostgres)
    }
}

/// Makes sure that a database is this mint's. One that another seed has signed in would issue what this one cannot redeem; an
/// empty one, where there was one before, would issue everything anew.
pub(crate) async fn claim(
    database: &DynMintDatabase,
    seed: &MintSeed,
    has_run: bool,
) -> Result<(), MintError> {
    let (primary, secondary, key) = OWNER;
    match database.kv_read(primary, secondary, key).await? {
        Some(owner) if owner == seed.fingerprint() => Ok(()),
        Some(_) => Err(MintError::OtherSeed),
        None if has_run => Err(MintError::Forgotten),
        None => {
            let mut transaction = database.begin_transaction().await?;
            transaction.kv_write(primary, secondary, key, &seed.fingerprint()).await?;
            Ok(transaction.commit().await?)
        }
    }
}
