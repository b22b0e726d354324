//! The auditor: replays the whole journal and compares it with everything derived from it.

mod compare;
mod report;

#[cfg(test)]
mod tests;

use crate::{
    Epoch, Event, State, StoreError,
    journal::{Decoder, Head, Row},
    store::{ReadOnly, lock, read, wal},
};
use compare::compare_tables;
pub use report::{Fault, Report};
use rusqlite::Connection;
use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
};
use work::{Ehash, KeyMap};

/// Faults after which looking for more is no use.
const FAULTS_MAX: usize = 100;

/// Replays the journal of the ledger at `path` into fresh books and checks the chain of hashes, every invariant, and
/// each row of each table.
///
/// It writes nothing. It may run beside the pool, or on a copy (of the file and its `-wal`, if there is one), and sees
/// one moment. Memory stays in proportion to the open epoch's keys, as each epoch is compared when it closes.
///
/// # Errors
/// When the ledger cannot be read at all. What is wrong with its contents is in the report.
pub fn verify(path: impl AsRef<Path>) -> Result<Report, StoreError> {
    let mut store = ReadOnly::open(path.as_ref())?;
    let snapshot = store.snapshot()?;
    let mut audit = Audit::new(&snapshot)?;
    // While somebody writes it, its end is never whole.
    if !lock::is_taken(path.as_ref())
        && let Err(error) = wal::check(path.as_ref())
    {
        audit.report.fault("file", error);
    }
    read::each_row(&snapshot, |row| audit.take(&row))?;
    audit.finish()
}

struct Audit<'a> {
    db: &'a Connection,
    report: Report,
    decoder: Decoder,
    head: Head,
    state: Option<State>,
    /// The row that the tables are a snapshot after.
    folded: Head,
    /// How many rows of credits should be in the table.
    credit_rows: u64,
    compared: bool,
}

impl<'a> Audit<'a> {
    fn new(db: &'a Connection) -> Result<Audit<'a>, StoreError> {
        let mut report = Report::default();
        integrity(db, &mut report)?;
        let folded = match read::ledger(db) {
            Ok((folded, ..)) => folded,
            Err(error) => {
                report.fault("table ledger", error);
                Head::default()
            }
        };
        Ok(Audit {
            db,
            report,
            decoder: Decoder::new(),
            head: Head::default(),
            state: None,
            folded,
            credit_rows: 0,
            compared: false,
        })
    }

    /// Takes in one row. Returns whether to go on.
    fn take(&mut self, row: &Row) -> Result<bool, StoreError> {
        let place = format!("journal row {}", row.sequence);
        if let Err(error) = row.follow(&mut self.head) {
            // What follows a broken row proves nothing.
            self.report.fault(&place, error);
            return Ok(false);
        }
        self.report.journal_rows = row.sequence;
        match self.decoder.decode(row.kind, &row.payload) {
            Ok(event) => {
                if !self.replay(&place, &event)? {
                    return Ok(false);
                }
            }
            Err(error) => {
                self.report.fault(&place, error);
                return Ok(false);
            }
        }
        if row.sequence == self.folded.sequence {
            self.compare(row)?;
        }
        Ok(self.report.faults.len() < FAULTS_MAX)
    }

    /// Applies an event to the fresh books. An assertion that fails there is a fault of the journal here.
    fn replay(&mut self, place: &str, event: &Event) -> Result<bool, StoreError> {
        let Some(state) = &mut self.state else {
            let created = match event {
                Event::Created(params) => State::create(*params).map_err(|e| e.to_string()),
                _ => Err("the journal does not begin with its creation".to_string()),
            };
            match created {
                Ok(state) => self.state = Some(state),
                Err(error) => self.report.fault(place, error),
            }
            return Ok(self.state.is_some());
        };
        let applied = panic::catch_unwind(AssertUnwindSafe(|| state.apply(event)));
        match applied {
            Ok(Ok(applied)) if applied.changed => {
                for (epoch, credits) in applied.closed {
                    self.compare_credits(epoch, &credits)?;
                }
                Ok(true)
            }
            Ok(Ok(_)) => {
                self.report.fault(place, "an event that changed nothing was written");
                Ok(true)
            }
            Ok(Err(refusal)) => {
                self.report.fault(place, refusal);
                Ok(false)
            }
            Err(_) => {
                self.report.fault(place, "an invariant of the books does not hold");
                Ok(false)
            }
        }
    }

    /// Compares one epoch's credits by key, merging two sorted lists.
    fn compare_credits(&mut self, epoch: Epoch, credits: &KeyMap<Ehash>) -> Result<(), StoreError> {
        self.credit_rows += credits.len() as u64;
        let stored = match read::credits_in(self.db, &mut self.decoder, epoch, None, u32::MAX) {
            Ok(stored) => stored,
            Err(error) => {
                self.report.fault(&format!("table credits, epoch {epoch}"), error);
                return Ok(());
            }
        };
        let found = stored.len();
        for (key, amount) in stored {
            let want = credits.get(&key).copied().unwrap_or(Ehash::ZERO);
            if want != amount {
                let place = format!("table credits, epoch {epoch}, key {key}");
                self.report.fault(&place, format!("the journal says {want}, the table {amount}"));
            }
        }
        if found < credits.len() {
            let missing = credits.len() - found;
            self.report
                .fault(&format!("table credits, epoch {epoch}"), format!("{missing} rows are missing"));
        }
        Ok(())
    }

    /// Compares all tables with the books, at the row that the tables are a snapshot after.
    fn compare(&mut self, row: &Row) -> Result<(), StoreError> {
        self.compared = true;
        if row.hash != self.folded.hash {
            self.report.fault("table ledger", "folded_hash is not the hash of that journal row");
        }
        let Some(state) = &self.state else { return Ok(()) };
        let (epoch, credits) = (state.open_epoch(), state.open_credits().clone());
        let want = state.tables();
        self.compare_credits(epoch, &credits)?;
        let rows = read::count(self.db, "SELECT count(*) FROM credits")?;
        if rows != self.credit_rows {
            let text = format!("the journal makes {} rows, the table has {rows}", self.credit_rows);
            self.report.fault("table credits", text);
        }
        compare_tables(self.db, &want, &mut self.report);
        Ok(())
    }

    fn finish(mut self) -> Result<Report, StoreError> {
        match &self.state {
            None => self.report.fault("journal", "it is empty"),
            Some(state) => {
                if let Err(error) = state.check() {
                    self.report.fault("books", error);
                }
                self.report.describe(state);
            }
        }
        if !self.compared && self.report.is_clean() {
            let text = format!("they are of journal row {}, which is not there", self.folded.sequence);
            self.report.fault("tables", text);
        }
        self.report.head = self.head.hash.to_string();
        Ok(self.report)
    }
}

/// SQLite's own look at its pages and indexes.
fn integrity(db: &Connection, report: &mut Report) -> Result<(), StoreError> {
    let mut problems = Vec::new();
    let check = db.pragma_query(None, "integrity_check", |row| {
        problems.push(row.get::<_, String>(0)?);
        Ok(())
    });
    if let Err(error) = check {
        report.fault("file", error);
    }
    for problem in problems.into_iter().filter(|problem| problem != "ok") {
        report.fault("file", problem);
    }
    Ok(())
}
