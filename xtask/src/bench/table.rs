//! The result as people read it: one table, the machine before it, remarks and commands behind it.

use super::figures::{self, Better, Figure};
use super::machine::Facts;
use super::pools::Maker;
use super::rows::Row;
use super::run::Outcome;
use std::fmt::Write as _;

/// What is told besides the figures.
pub struct Setting {
    pub facts: Facts,
    /// As it was typed.
    pub command: String,
    /// Of a template.
    pub transactions: u64,
    pub merkle_steps: u32,
}

/// All of it in Markdown.
pub fn render(setting: &Setting, rows: &[&'static Row], outcomes: &[Outcome]) -> String {
    let mut text = String::from("# Assay beside the reference implementation's pool\n\n");
    for (name, fact) in &setting.facts {
        let _ = writeln!(text, "- {name}: {fact}");
    }
    let _ = write!(
        text,
        "\n`{}`. Pool, load generator and node share this machine, over loopback. Both pools log at `warn`, take templates \
         of {} transactions ({} steps from the coinbase to the merkle root) from the same node, ours by JSON-RPC and SRI's \
         by IPC, and are started anew for each run. Ours acknowledges a share when it is on disk, SRI's keeps shares in \
         memory; SRI's acknowledges ten at a time, except where latency is measured. A figure is the median of its runs \
         or blocks, with the least and the greatest.\n\n",
        setting.command,
        figures::grouped(setting.transactions),
        setting.merkle_steps,
    );
    text.push_str("| measure | SRI | Assay | Assay is better by | goal |\n|---|---|---|---|---|\n");
    for row in rows {
        for (index, figure) in figures::of(&row.load).iter().enumerate() {
            let what = if index == 0 {
                format!("**{}**: {}", row.what, figure.what)
            } else {
                figure.what.to_owned()
            };
            let _ = writeln!(text, "| {what} | {} |", cells(row, figure, outcomes));
        }
    }
    remarks(&mut text, rows, outcomes);
    if outcomes.iter().all(|outcome| outcome.command.is_empty()) {
        return text;
    }
    text.push_str("\nCommands of the first runs, in the order of the table:\n\n```text\n");
    for outcome in outcomes.iter().filter(|outcome| outcome.run == 1 && !outcome.command.is_empty()) {
        let _ = writeln!(text, "{}", outcome.command);
    }
    text.push_str("```\n");
    text
}

/// SRI's, ours, the factor between them, and the goal.
fn cells(row: &Row, figure: &Figure, outcomes: &[Outcome]) -> String {
    let values = |maker: Maker| {
        let mut values: Vec<u64> = outcomes
            .iter()
            .filter(|outcome| (outcome.row, outcome.maker) == (row.name, maker))
            .filter_map(|outcome| outcome.report.as_ref().ok())
            .flat_map(|report| (figure.read)(report))
            .collect();
        values.sort_unstable();
        values
    };
    let failed = |maker: Maker| {
        outcomes
            .iter()
            .any(|outcome| (outcome.row, outcome.maker) == (row.name, maker) && outcome.report.is_err())
    };
    let (sri, assay) = (values(Maker::Sri), values(Maker::Assay));
    let cell = |values: &[u64], maker| match values {
        [] if failed(maker) => "failed".to_owned(),
        values => shown(figure, values),
    };
    let goal = row.goals.iter().find(|(key, _)| *key == figure.key).map(|(_, goal)| *goal);
    let judged = goal.map_or(String::new(), |goal| {
        let judgement = match median(&assay) {
            Some(value) if goal.is_reached(value) => ": reached",
            Some(_) => ": **missed**",
            None => "",
        };
        format!("{}{judgement}", goal.shown(figure.unit))
    });
    let factor = median(&sri).zip(median(&assay)).map_or("–".to_owned(), |(sri, assay)| {
        let (worse, better) = match figure.better {
            Better::Less => (sri, assay),
            Better::More => (assay, sri),
        };
        factor(worse, better)
    });
    format!("{} | {} | {factor} | {judged}", cell(&sri, Maker::Sri), cell(&assay, Maker::Assay))
}

/// `9.30 µs (9.10 to 9.62 µs)`; the values in rising order.
fn shown(figure: &Figure, values: &[u64]) -> String {
    match (median(values), values) {
        (Some(median), [first, .., last]) if first != last => {
            let unit = figure.unit;
            format!("{} ({} to {})", unit.shown(median), unit.shown(*first), unit.shown(*last))
        }
        (Some(median), _) => figure.unit.shown(median),
        (None, _) => "–".to_owned(),
    }
}

/// Of values in rising order; of an even number the lower one.
fn median(values: &[u64]) -> Option<u64> {
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// `9.3×`, `140×`, or `worse: 1.3×`.
fn factor(worse: u64, better: u64) -> String {
    let times = |more: u64, less: u64| {
        let tenths = (more.saturating_mul(10) + less / 2) / less.max(1);
        match tenths {
            0..1000 => format!("{}.{}×", tenths / 10, tenths % 10),
            _ => format!("{}×", figures::grouped(tenths / 10)),
        }
    };
    match (worse, better) {
        (0, _) | (_, 0) => "–".to_owned(),
        // Less than a twentieth is not told from none.
        _ if worse.saturating_mul(105) < better.saturating_mul(100) => {
            format!("worse: {}", times(better, worse))
        }
        _ => times(worse, better),
    }
}

fn remarks(text: &mut String, rows: &[&'static Row], outcomes: &[Outcome]) {
    let mut lines: Vec<String> = Vec::new();
    for outcome in outcomes {
        let found = match &outcome.report {
            Ok(report) => figures::remarks(report),
            Err(error) => vec![format!("failed: {error:#}")],
        };
        let what = rows.iter().find(|row| row.name == outcome.row).map_or(outcome.row, |row| row.what);
        let whose = match outcome.maker {
            Maker::Sri => "SRI",
            Maker::Assay => "Assay",
        };
        for remark in found {
            let line = format!("- {whose}, {what}, run {}: {remark}", outcome.run);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    if !lines.is_empty() {
        let _ = write!(text, "\nRemarks:\n\n{}\n", lines.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::Goal;
    use crate::bench::rows::{Kind, Load};
    use anyhow::anyhow;
    use serde_json::{Value, json};

    const ROW: Row = Row {
        name: "r",
        what: "standard shares",
        load: Load::Pipelined { kind: Kind::Standard, connections: 1, channels: 1, shares: 10 },
        runs: 3,
        goals: &[("share_cpu", Goal::AtMost(2500))],
    };

    fn outcome(maker: Maker, run: u32, report: anyhow::Result<Value>) -> Outcome {
        Outcome { row: "r", maker, run, command: format!("assay swarm {}", maker.name()), report }
    }

    fn report(cpu: u64, rate: u64) -> anyhow::Result<Value> {
        Ok(json!({"server": {"cpu_ns_each": cpu}, "shares_per_second": rate, "ended": "time"}))
    }

    fn setting() -> Setting {
        let facts = vec![("date", "today".to_owned())];
        Setting { facts, command: "cargo xtask bench".into(), transactions: 2420, merkle_steps: 12 }
    }

    #[test]
    fn rows_stand_side_by_side_with_median_range_factor_and_goal() {
        let outcomes = [
            outcome(Maker::Sri, 1, report(12_700, 70_000)),
            outcome(Maker::Assay, 1, report(1000, 350_000)),
            outcome(Maker::Sri, 2, report(12_500, 70_000)),
            outcome(Maker::Assay, 2, report(1100, 350_000)),
            outcome(Maker::Sri, 3, report(13_000, 70_000)),
            outcome(Maker::Assay, 3, report(990, 350_000)),
        ];
        let text = render(&setting(), &[&ROW], &outcomes);
        assert!(text.contains("- date: today\n"), "{text}");
        assert!(text.contains("2,420 transactions (12 steps"), "{text}");
        assert!(
            text.contains(
                "| **standard shares**: server CPU a share | 12.7 µs (12.5 µs to 13.0 µs) | \
                 1.00 µs (0.99 µs to 1.10 µs) | 12.7× | ≤ 2.50 µs: reached |\n"
            ),
            "{text}"
        );
        assert!(text.contains("| 70,000/s | 350,000/s | 5.0× |  |\n"), "{text}");
        assert!(!text.contains("Remarks"), "{text}");
        assert_eq!(text.matches("assay swarm sri\n").count(), 1);
    }

    #[test]
    fn failures_are_told_and_do_not_hide_the_rest() {
        let outcomes =
            [outcome(Maker::Sri, 1, Err(anyhow!("it hung"))), outcome(Maker::Assay, 1, report(2600, 1))];
        let text = render(&setting(), &[&ROW], &outcomes);
        assert!(text.contains("| failed | 2.60 µs | – | ≤ 2.50 µs: **missed** |"), "{text}");
        assert!(text.contains("- SRI, standard shares, run 1: failed: it hung\n"), "{text}");
        let alone = render(&setting(), &[&ROW], &outcomes[1..]);
        assert!(alone.contains("| – | 2.60 µs | – |"), "{alone}");
    }

    #[test]
    fn factors_and_medians() {
        for (worse, better, text) in [
            (127, 10, "12.7×"),
            (5, 10, "worse: 2.0×"),
            (14_000, 10, "1,400×"),
            (1, 0, "–"),
            (0, 1, "–"),
            (98, 100, "1.0×"),
        ] {
            assert_eq!(factor(worse, better), text);
        }
        assert_eq!(
            (median(&[]), median(&[7]), median(&[1, 2, 3]), median(&[1, 2])),
            (None, Some(7), Some(2), Some(1))
        );
    }
}
