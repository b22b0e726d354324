//! The state together with where it stands against the disk.

use super::{LedgerError, Options, Receipt};
use crate::{
    Event, OpenError, Params, State, StoreError,
    journal::{Decoder, Head, Row},
    store::{Changes, Fold, Group, Recovered, Store},
};
use std::time::Instant;

/// The state, the end of the journal that made it, and what the tables have not taken in.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) state: State,
    pub(super) head: Head,
    pub(super) changes: Changes,
    /// When the tail began.
    behind_since: Option<Instant>,
}

impl Books {
    /// A new ledger's books, with the journal's first row written.
    pub(super) fn create(store: &mut impl Store, params: Params) -> Result<Books, OpenError> {
        let state = State::create(params)?;
        let mut head = Head::default();
        let row = Row::append(&mut head, &Event::Created(params));
        let mut books = Books { state, head, changes: Changes::default(), behind_since: None };
        books.commit(store, &[row], true)?;
        Ok(books)
    }

    /// The books as a store has them: the tables, and the tail replayed.
    pub(super) fn recover(store: &mut impl Store, now: Instant) -> Result<Option<Books>, StoreError> {
        let Some(Recovered { tables, folded, tail }) = store.recover()? else { return Ok(None) };
        let state = State::restore(tables)?;
        let mut books = Books { state, head: folded, changes: Changes::default(), behind_since: None };
        let mut decoder = Decoder::new();
        for row in tail {
            row.follow(&mut books.head)?;
            let event = decoder.decode(row.kind, &row.payload);
            let event = event.map_err(|source| StoreError::Row { row: row.sequence, source })?;
            let applied = books.state.apply(&event);
            let applied = applied.map_err(|source| StoreError::Replay { row: row.sequence, source })?;
            books.note(&applied, now);
        }
        Ok(Some(books))
    }

    /// Applies one event. What changed the books becomes a row; whatever is more than a credit to the open epoch
    /// has the tables brought up with it.
    pub(super) fn apply(
        &mut self,
        event: &Event,
        rows: &mut Vec<Row>,
        fold: &mut bool,
        now: Instant,
    ) -> Result<Receipt, LedgerError> {
        let applied = self.state.apply(event)?;
        if applied.changed {
            rows.push(Row::append(&mut self.head, event));
            *fold |= !matches!(event, Event::Credits(_)) || !applied.closed.is_empty();
            self.note(&applied, now);
        }
        Ok(Receipt { outcomes: applied.outcomes, ..Receipt::default() })
    }

    fn note(&mut self, applied: &crate::Applied, now: Instant) {
        self.changes.note(applied);
        self.behind_since.get_or_insert(now);
    }

    /// Whether the tail is long or old enough to be folded.
    pub(super) fn is_tail_long(&self, options: &Options, now: Instant) -> bool {
        self.changes.tail_credits >= options.fold_rows
            || self.behind_since.is_some_and(|since| now.duration_since(since) >= options.fold_age)
    }

    /// Makes rows durable. After an error these books are worthless, as they are ahead of the disk.
    pub(super) fn commit(
        &mut self,
        store: &mut impl Store,
        rows: &[Row],
        fold: bool,
    ) -> Result<(), StoreError> {
        let fold = fold.then_some(Fold { state: &self.state, head: self.head, changes: &self.changes });
        if rows.is_empty() && fold.is_none_or(|fold| fold.changes.is_empty()) {
            return Ok(());
        }
        store.commit(&Group { rows, fold })?;
        if fold.is_some() {
            self.changes = Changes::default();
            self.behind_since = None;
        }
        Ok(())
    }
}
