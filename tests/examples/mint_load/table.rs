//! What came of it, for people.

use crate::drive::Figures;
use crate::mints::{AssayMintOnLedger, CdkMintd};
use crate::{Operation, Results};
use std::fmt::Write as _;

/// A Markdown table: medians over the rounds.
pub fn render(results: &Results, operations: usize, rounds: usize) -> String {
    let mut text = format!(
        "Medians of {rounds} rounds of {operations} operations each; p50/p99 in milliseconds as clients see them, processor in \
         microseconds of the mint's process an operation.\n\n\
         | operation | proofs | clients | assay /s | cdk-mintd /s | ratio | assay p50/p99 | cdk-mintd p50/p99 | assay processor | cdk-mintd processor |\n\
         |---|---|---|---|---|---|---|---|---|---|\n"
    );
    for (cell, mints) in results {
        let of = |name| mints.get(name).map(|rounds| median(rounds));
        let (ours, theirs) = (of(AssayMintOnLedger::NAME), of(CdkMintd::NAME));
        let shown = |figures: Option<Figures>, what: fn(Figures) -> String| {
            figures.map_or_else(|| "–".to_owned(), what)
        };
        let ratio = ours.zip(theirs).map_or_else(
            || "–".to_owned(),
            |(ours, theirs)| {
                let hundredths = ours.rate * 100 / theirs.rate.max(1);
                format!("{}.{:02}", hundredths / 100, hundredths % 100)
            },
        );
        let operation = match cell.operation {
            Operation::Claim => "claim",
            Operation::Swap => "swap",
            Operation::Melt => "melt (quote and payment)",
        };
        let rate: fn(Figures) -> String = |figures| figures.rate.to_string();
        let times: fn(Figures) -> String =
            |figures| format!("{}/{}", millis(figures.p50), millis(figures.p99));
        let processor: fn(Figures) -> String = |figures| figures.processor_us.to_string();
        writeln!(
            text,
            "| {operation} | {} | {} | {} | {} | {ratio} | {} | {} | {} | {} |",
            cell.proofs,
            cell.clients,
            shown(ours, rate),
            shown(theirs, rate),
            shown(ours, times),
            shown(theirs, times),
            shown(ours, processor),
            shown(theirs, processor),
        )
        .expect("writing to a string does not fail");
    }
    text
}

/// Each figure's own median.
fn median(rounds: &[Figures]) -> Figures {
    fn middle<T: Ord + Copy>(rounds: &[Figures], of: fn(&Figures) -> T) -> T {
        let mut values: Vec<T> = rounds.iter().map(of).collect();
        values.sort();
        values[values.len() / 2]
    }
    Figures {
        rate: middle(rounds, |figures| figures.rate),
        p50: middle(rounds, |figures| figures.p50),
        p99: middle(rounds, |figures| figures.p99),
        processor_us: middle(rounds, |figures| figures.processor_us),
    }
}

fn millis(duration: std::time::Duration) -> String {
    let tenths = duration.as_micros() / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}
