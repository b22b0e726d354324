//! Each row of each table against the books that the journal makes.

use super::Report;
use crate::{StoreError, Tables, store::read};
use rusqlite::Connection;
use std::{collections::BTreeMap, fmt};

/// Compares everything but credits, which are compared epoch by epoch.
pub(super) fn compare_tables(db: &Connection, want: &Tables, report: &mut Report) {
    let found = match read::tables(db) {
        Ok((_, found)) => found,
        Err(error) => return report.fault("tables", error),
    };
    compare(report, "table params", &want.params, &found.params, |(first, _)| first.to_string());
    compare(report, "table epochs", &want.epochs, &found.epochs, |info| format!("{:08}", info.epoch.get()));
    compare(report, "table blocks", &want.blocks, &found.blocks, |block| block.hash.to_string());
    compare(report, "table sources", &want.sources, &found.sources, |(source, _)| source.to_string());
    compare_one(report, "rewards, fees, carry, pots", &want.totals, &found.totals);
    compare_one(report, "tip", &want.tip, &found.tip);
    compare_one(report, "leases_taken", &want.leases_taken, &found.leases_taken);
    compare_line_count(db, want, report);
}

/// Lines are read with their blocks; what is left over belongs to no block.
fn compare_line_count(db: &Connection, want: &Tables, report: &mut Report) {
    let lines =
        want.blocks.iter().filter_map(|block| block.payment.as_ref()).map(|payment| payment.epochs.len());
    let lines: usize = lines.sum();
    let counted: Result<u64, StoreError> = read::count(db, "SELECT count(*) FROM lines");
    match counted {
        Ok(counted) if counted == lines as u64 => {}
        Ok(counted) => {
            report.fault("table lines", format!("the journal makes {lines} rows, the table has {counted}"))
        }
        Err(error) => report.fault("table lines", error),
    }
}

fn compare_one<T: PartialEq + fmt::Debug>(report: &mut Report, column: &str, want: &T, found: &T) {
    if want != found {
        let text = format!("{column}: the journal says {want:?}, the table {found:?}");
        report.fault("table ledger", text);
    }
}

fn compare<T: PartialEq + fmt::Debug>(
    report: &mut Report,
    table: &str,
    want: &[T],
    found: &[T],
    name: impl Fn(&T) -> String,
) {
    if want == found {
        return;
    }
    let mut pairs: BTreeMap<String, [Option<&T>; 2]> = BTreeMap::new();
    for row in want {
        pairs.entry(name(row)).or_default()[0] = Some(row);
    }
    for row in found {
        pairs.entry(name(row)).or_default()[1] = Some(row);
    }
    for (name, [want, found]) in pairs {
        let text = match (want, found) {
            (Some(want), Some(found)) if want == found => continue,
            (Some(want), Some(found)) => format!("the journal says {want:?}, the table {found:?}"),
            (Some(_), None) => "the row is missing".into(),
            (None, _) => "the journal makes no such row".into(),
        };
        report.fault(&format!("{table}, row {name}"), text);
    }
}
