//! What was redeemed: every conversion of ecash into bitcoin, written down before money moves.
//!
//! The book decides once about each melt quote: it was begun, and then it is paid for, however often it takes; or it was
//! refused, and then it is never paid for. CDK asks after a crash what became of a payment, and either answer stands.

use super::Rate;
use crate::EpochUnit;
use bitcoin::Amount;
use cdk::nuts::CurrencyUnit;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params, types::Type};
use std::{
    path::Path,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// "Assay redemptions", as SQLite keeps it in a file's header.
const APPLICATION_ID: i32 = 0x6173_7264;
const LAYOUT: i32 = 3;
/// Before units ended.
const BEFORE_ENDS: i32 = 2;
const ENDED: &str = "
    -- Units of which nothing is redeemed any more.
    CREATE TABLE ended (unit TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
";
const TABLES: &str = "
    CREATE TABLE redemptions (
        quote    TEXT PRIMARY KEY,
        unit     TEXT NOT NULL,
        way      TEXT NOT NULL CHECK (way IN ('ecash', 'onchain')),
        target   TEXT NOT NULL,
        amount   INTEGER NOT NULL CHECK (amount >= 0),
        reserve  INTEGER NOT NULL CHECK (reserve >= 0),
        sats     INTEGER NOT NULL CHECK (sats >= 0),
        fee      INTEGER NOT NULL CHECK (fee >= 0),
        state    TEXT NOT NULL CHECK (state IN ('begun', 'paid', 'refused')),
        spent    INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0 AND spent <= amount + reserve),
        fee_paid INTEGER NOT NULL DEFAULT 0 CHECK (fee_paid >= 0 AND fee_paid <= fee),
        CHECK (state <> 'paid' OR spent >= amount)
    ) STRICT, WITHOUT ROWID;
    -- An invoice is paid once, whoever pays it.
    CREATE UNIQUE INDEX one_payer ON redemptions (target) WHERE way = 'ecash' AND state <> 'refused';
    -- Of each unit what its rows come to, so that a redemption takes as long as the first one however many there were.
    CREATE TABLE sums (
        unit           TEXT PRIMARY KEY,
        spent          INTEGER NOT NULL CHECK (spent >= 0),
        sats           INTEGER NOT NULL CHECK (sats >= 0),
        fees           INTEGER NOT NULL CHECK (fees >= 0),
        under_way      INTEGER NOT NULL CHECK (under_way >= 0),
        under_way_sats INTEGER NOT NULL CHECK (under_way_sats >= 0)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX under_way ON redemptions (way) WHERE state = 'begun';
";

/// Why the book cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// SQLite.
    #[error("the book of redemptions cannot be used: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Another file.
    #[error("{0} is no book of redemptions, or one of a later version of Assay")]
    Foreign(String),
    /// Rows and sums that differ.
    #[error(
        "the book of redemptions is damaged: the sums of unit `{0}` are not those of its rows; restore it from a backup"
    )]
    Damaged(String),
    /// More than the epoch has. Nothing was written.
    #[error(
        "unit `{unit}` has {left} left for redemptions, and {asked} were asked for: compare the mint's books"
    )]
    Exceeded {
        /// The unit.
        unit: String,
        /// What is left.
        left: Amount,
        /// What was asked for.
        asked: Amount,
    },
    /// The same quote with other terms, or one that was refused. Nothing was written.
    #[error("redemption {quote} is in the book otherwise: {why}")]
    Conflict {
        /// The melt quote.
        quote: String,
        /// In which way.
        why: &'static str,
    },
}

/// What a unit is redeemed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Satoshi ecash, by paying an invoice of the mint's own.
    Ecash,
    /// Bitcoin on the chain.
    Onchain,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Ecash => "ecash",
            Self::Onchain => "onchain",
        }
    }
}

/// How far a redemption has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It will be paid for.
    Begun,
    /// It is paid for.
    Paid {
        /// How much of the unit it took.
        spent: u64,
        /// What of it went into a transaction's fee.
        fee: Amount,
    },
    /// It will never be paid for.
    Refused,
}

/// One redemption: its terms are those of a melt quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redemption {
    /// Id of the melt quote.
    pub quote: String,
    /// What is redeemed.
    pub unit: CurrencyUnit,
    /// For what.
    pub way: Way,
    /// The invoice's payment hash in hex, or the address.
    pub target: String,
    /// How much of the unit.
    pub amount: u64,
    /// How much more of it at most, for a transaction's fee.
    pub reserve: u64,
    /// What arrives.
    pub sats: Amount,
    /// What a transaction's fee may be at most.
    pub fee: Amount,
}

/// Sums of one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redeemed {
    /// Of the unit, what was paid for.
    pub spent: u64,
    /// What arrived for it.
    pub sats: Amount,
    /// Fees of transactions, borne by those who redeemed.
    pub fees: Amount,
    /// Of the unit, what is being paid for, fees included.
    pub under_way: u64,
    /// The same in satoshi.
    pub under_way_sats: Amount,
}

/// The book, in a SQLite file of its own. Every change is on the disk when it returns.
pub struct RedemptionBook {
    db: Mutex<Connection>,
}

impl RedemptionBook {
    /// Opens the book at `path`, or begins one there.
    ///
    /// # Errors
    /// When the file cannot be used, or is none of ours.
    pub fn open(path: &Path) -> Result<Self, BookError> {
        let db = Connection::open(path)?;
        db.busy_timeout(Duration::from_secs(10))?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        let mut book = Self { db: Mutex::new(db) };
        book.lay_out(path)?;
        recount(&book.lock())?;
        Ok(book)
    }

    fn lay_out(&mut self, path: &Path) -> Result<(), BookError> {
        let db = self.db.get_mut().unwrap_or_else(PoisonError::into_inner);
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        match (pragma("application_id")?, pragma("user_version")?) {
            (APPLICATION_ID, LAYOUT) => return Ok(()),
            (APPLICATION_ID, BEFORE_ENDS) => {}
            (0, 0) => transaction.execute_batch(TABLES)?,
            _ => return Err(BookError::Foreign(path.display().to_string())),
        }
        transaction.execute_batch(ENDED)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", LAYOUT)?;
        Ok(transaction.commit()?)
    }

    /// Notes that a redemption will be paid for; `rate` bounds what its unit may cost altogether. The same again gives how
    /// far it is. Of a unit that has ended it is refused.
    ///
    /// # Errors
    /// [`BookError::Exceeded`], or [`BookError::Conflict`] for an invoice that another redemption pays and for other terms
    /// of the same quote; nothing has changed then.
    pub fn begin(&self, redemption: &Redemption, rate: Rate) -> Result<Progress, BookError> {
        let Redemption { quote, unit, way, target, amount, reserve, sats, fee } = redemption;
        let conflict = |why| BookError::Conflict { quote: quote.clone(), why };
        self.write(|db| {
            if let Some((known, progress)) = find(db, quote)? {
                let same = known == *redemption || progress == Progress::Refused;
                return if same { Ok(progress) } else { Err(conflict("its terms differ")) };
            }
            if *way == Way::Ecash && is_paid_for(db, target)? {
                return Err(conflict("another redemption pays its invoice"));
            }
            if is_ended(db, &unit.to_string())? {
                refuse(db, quote)?;
                return Ok(Progress::Refused);
            }
            let mut sums = sums(db, "unit = ?1", &unit.to_string())?;
            if let Rate::Epoch { pot, .. } = rate {
                let taken = sums.sats + sums.fees + sums.under_way_sats;
                let left = Amount::from_sat(pot.get() / 1000).checked_sub(taken).unwrap_or(Amount::ZERO);
                let asked = *sats + *fee;
                if asked > left {
                    return Err(BookError::Exceeded { unit: unit.to_string(), left, asked });
                }
            }
            db.execute(
                "INSERT INTO redemptions (quote, unit, way, target, amount, reserve, sats, fee, state)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'begun')",
                params![
                    quote,
                    unit.to_string(),
                    way.name(),
                    target,
                    signed(*amount)?,
                    signed(*reserve)?,
                    signed(sats.to_sat())?,
                    signed(fee.to_sat())?
                ],
            )?;
            sums.under_way += amount + reserve;
            sums.under_way_sats += *sats + *fee;
            write_sums(db, unit, &sums)?;
            Ok(Progress::Begun)
        })
    }

    /// Notes that a redemption is paid for: `spent` of its unit, of which a fee of `fee`. The same again changes nothing.
    ///
    /// # Errors
    /// [`BookError::Conflict`] when it was not begun, or was paid for otherwise.
    pub fn settle(&self, quote: &str, spent: u64, fee: Amount) -> Result<(), BookError> {
        let conflict = |why| BookError::Conflict { quote: quote.to_owned(), why };
        self.write(|db| match find(db, quote)? {
            Some((redemption, Progress::Begun)) => {
                let sql = "UPDATE redemptions SET state = 'paid', spent = ?2, fee_paid = ?3 WHERE quote = ?1";
                let changed = db.execute(sql, params![quote, signed(spent)?, signed(fee.to_sat())?])?;
                assert_eq!(changed, 1);
                let Redemption { unit, amount, reserve, sats, fee: most, .. } = &redemption;
                let mut sums = sums(db, "unit = ?1", &unit.to_string())?;
                sums.spent += spent;
                sums.sats += *sats;
                sums.fees += fee;
                sums.under_way = sums.under_way.checked_sub(amount + reserve).expect("it was under way");
                let left = sums.under_way_sats.checked_sub(*sats + *most);
                sums.under_way_sats = left.expect("it was under way");
                write_sums(db, unit, &sums)
            }
            Some((_, progress)) if progress == (Progress::Paid { spent, fee }) => Ok(()),
            Some((_, Progress::Paid { .. })) => Err(conflict("it was paid for otherwise")),
            Some((_, Progress::Refused)) => Err(conflict("it was refused")),
            None => Err(conflict("it was never begun")),
        })
    }

    /// How far a redemption is. One that was not begun is refused by this, for ever: whoever asks may rely on it.
    ///
    /// # Errors
    /// When the book cannot be written.
    pub fn decide(&self, quote: &str) -> Result<(Option<Redemption>, Progress), BookError> {
        self.write(|db| {
            if let Some((redemption, progress)) = find(db, quote)? {
                return Ok((Some(redemption), progress));
            }
            refuse(db, quote)?;
            Ok((None, Progress::Refused))
        })
    }

    /// Ends an epoch: no redemption of it is begun any more. Gives what was redeemed of it; while some of that is under way,
    /// the epoch is not over.
    ///
    /// # Errors
    /// When the book cannot be written.
    pub fn end(&self, unit: EpochUnit) -> Result<Redeemed, BookError> {
        let unit = unit.to_string();
        self.write(|db| {
            db.execute("INSERT OR IGNORE INTO ended (unit) VALUES (?1)", [&unit])?;
            sums(db, "unit = ?1", &unit)
        })
    }

    /// One redemption, if it is in the book.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn redemption(&self, quote: &str) -> Result<Option<(Redemption, Progress)>, BookError> {
        find(&self.lock(), quote)
    }

    /// Redemptions that are to be paid for, the first `limit`.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn under_way(&self, way: Way, limit: u32) -> Result<Vec<Redemption>, BookError> {
        let db = self.lock();
        let mut query = db.prepare_cached(
            "SELECT * FROM redemptions WHERE way = ?1 AND state = 'begun' ORDER BY quote LIMIT ?2",
        )?;
        let rows = query.query_map(params![way.name(), limit], read)?;
        Ok(rows.map(|row| row.map(|(redemption, _)| redemption)).collect::<Result<_, _>>()?)
    }

    /// What was redeemed of a unit.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn redeemed(&self, unit: EpochUnit) -> Result<Redeemed, BookError> {
        sums(&self.lock(), "unit = ?1", &unit.to_string())
    }

    /// The same of all epochs together.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn redeemed_epochs(&self) -> Result<Redeemed, BookError> {
        sums(&self.lock(), "unit <> ?1", &CurrencyUnit::Sat.to_string())
    }

    /// The same of satoshi ecash that left on the chain.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn redeemed_sat(&self) -> Result<Redeemed, BookError> {
        sums(&self.lock(), "unit = ?1", &CurrencyUnit::Sat.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic ended is rolled back.
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, BookError>,
    ) -> Result<T, BookError> {
        let mut db = self.lock();
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = change(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }
}

fn find(db: &Connection, quote: &str) -> Result<Option<(Redemption, Progress)>, BookError> {
    let mut query = db.prepare_cached("SELECT * FROM redemptions WHERE quote = ?1")?;
    Ok(query.query_row([quote], read).optional()?)
}

/// Notes that a redemption that is not in the book never will be paid for.
fn refuse(db: &Connection, quote: &str) -> Result<(), BookError> {
    db.execute(
        "INSERT INTO redemptions (quote, unit, way, target, amount, reserve, sats, fee, state)
         VALUES (?1, 'none', 'onchain', '', 0, 0, 0, 0, 'refused')",
        [quote],
    )?;
    Ok(())
}

fn is_ended(db: &Connection, unit: &str) -> Result<bool, BookError> {
    Ok(db.prepare_cached("SELECT 1 FROM ended WHERE unit = ?1")?.exists([unit])?)
}

fn is_paid_for(db: &Connection, invoice: &str) -> Result<bool, BookError> {
    let sql = "SELECT 1 FROM redemptions WHERE target = ?1 AND way = 'ecash' AND state <> 'refused'";
    Ok(db.prepare_cached(sql)?.exists([invoice])?)
}

/// What the redemptions of some units come to.
fn sums(db: &Connection, which: &'static str, unit: &str) -> Result<Redeemed, BookError> {
    let sql = format!(
        "SELECT coalesce(sum(spent), 0), coalesce(sum(sats), 0), coalesce(sum(fees), 0),
            coalesce(sum(under_way), 0), coalesce(sum(under_way_sats), 0)
        FROM sums WHERE {which}"
    );
    Ok(db.prepare_cached(&sql)?.query_row([unit], |row| redeemed(row, 0))?)
}

fn write_sums(db: &Connection, unit: &CurrencyUnit, sums: &Redeemed) -> Result<(), BookError> {
    let sql = "INSERT OR REPLACE INTO sums (unit, spent, sats, fees, under_way, under_way_sats)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    db.prepare_cached(sql)?.execute(params![
        unit.to_string(),
        signed(sums.spent)?,
        signed(sums.sats.to_sat())?,
        signed(sums.fees.to_sat())?,
        signed(sums.under_way)?,
        signed(sums.under_way_sats.to_sat())?
    ])?;
    Ok(())
}

/// Compares the sums with the rows.
fn recount(db: &Connection) -> Result<(), BookError> {
    let mut query = db.prepare(
        "SELECT unit,
            coalesce(sum(spent) FILTER (WHERE state = 'paid'), 0),
            coalesce(sum(sats) FILTER (WHERE state = 'paid'), 0),
            coalesce(sum(fee_paid) FILTER (WHERE state = 'paid'), 0),
            coalesce(sum(amount + reserve) FILTER (WHERE state = 'begun'), 0),
            coalesce(sum(sats + fee) FILTER (WHERE state = 'begun'), 0)
        FROM redemptions WHERE state <> 'refused' GROUP BY unit",
    )?;
    let counted = query.query_map([], |row| Ok((row.get::<_, String>(0)?, redeemed(row, 1)?)))?;
    let mut units = 0_u64;
    for row in counted {
        let (unit, counted) = row?;
        units += 1;
        if sums(db, "unit = ?1", &unit)? != counted {
            return Err(BookError::Damaged(unit));
        }
    }
    let known: u64 = db.query_row("SELECT count(*) FROM sums", [], |row| number(row, 0))?;
    if known == units { Ok(()) } else { Err(BookError::Damaged("without rows".to_owned())) }
}

/// Five sums of a row, beginning with a column.
fn redeemed(row: &Row<'_>, first: usize) -> rusqlite::Result<Redeemed> {
    Ok(Redeemed {
        spent: number(row, first)?,
        sats: Amount::from_sat(number(row, first + 1)?),
        fees: Amount::from_sat(number(row, first + 2)?),
        under_way: number(row, first + 3)?,
        under_way_sats: Amount::from_sat(number(row, first + 4)?),
    })
}

fn read(row: &Row<'_>) -> rusqlite::Result<(Redemption, Progress)> {
    let unreadable = |column: usize, what: String| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, what.into())
    };
    let unit: String = row.get("unit")?;
    let way: String = row.get("way")?;
    let redemption = Redemption {
        quote: row.get("quote")?,
        unit: CurrencyUnit::from_str(&unit).map_err(|error| unreadable(1, error.to_string()))?,
        way: if way == Way::Ecash.name() { Way::Ecash } else { Way::Onchain },
        target: row.get("target")?,
        amount: number(row, 4)?,
        reserve: number(row, 5)?,
        sats: Amount::from_sat(number(row, 6)?),
        fee: Amount::from_sat(number(row, 7)?),
    };
    let progress = match row.get::<_, String>("state")?.as_str() {
        "begun" => Progress::Begun,
        "paid" => Progress::Paid { spent: number(row, 9)?, fee: Amount::from_sat(number(row, 10)?) },
        "refused" => Progress::Refused,
        other => return Err(unreadable(8, format!("no such state: {other}"))),
    };
    Ok((redemption, progress))
}

/// Amounts never exceed 63 bits: an epoch holds at most 2^50 eHash, and there are fewer than 2^51 satoshi.
fn signed(amount: u64) -> Result<i64, BookError> {
    i64::try_from(amount)
        .map_err(|error| BookError::Sqlite(rusqlite::Error::ToSqlConversionFailure(error.into())))
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

#[cfg(test)]
mod tests;
