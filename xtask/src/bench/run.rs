//! One measurement after the other: a fresh pool, the load upon it, its report.

use super::figures;
use super::pools::{Chain, Maker, Pool, Programs, SRI_BATCH, start};
use super::process::{Process, limitless, resident_bytes};
use super::rows::{Kind, Load, Row};
use crate::step::say;
use anyhow::{Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A pool that takes more memory than this is ended, for the machine's sake.
const MEMORY_CAP: u64 = 12_000_000_000;
/// What the load tool may take besides what its load needs.
const PATIENCE: Duration = Duration::from_secs(45);
/// The load comes from so many addresses, as it would outside: limits of one address do not shape it.
const LOCAL_ADDRESSES: &str = "127.0.0.2-127.0.0.101";
/// Between two blocks. The clients of the one before have long heard of it.
const PAUSE: Duration = Duration::from_secs(3);

/// What a row gave on one pool.
#[derive(Debug)]
pub struct Outcome {
    pub row: &'static str,
    pub maker: Maker,
    pub run: u32,
    /// As a person would type it.
    pub command: String,
    pub report: Result<Value>,
}

/// New blocks that the rows need.
pub fn blocks(rows: &[&'static Row], makers: &[Maker], runs: Option<u32>) -> u32 {
    let of_row = |row: &&Row| match row.load {
        Load::Fanout { blocks, .. } => blocks * runs.unwrap_or(row.runs),
        _ => 0,
    };
    rows.iter().map(of_row).sum::<u32>() * u32::try_from(makers.len()).unwrap_or(u32::MAX)
}

/// Measures all rows. Within a row the pools take turns, so that whatever the machine does meanwhile meets both. A row
/// that has failed on a pool is not tried there again.
pub fn measure(
    rows: &[&'static Row],
    makers: &[Maker],
    runs: Option<u32>,
    programs: &Programs,
    chain: &mut Chain,
    scratch: &Path,
    mut keep: impl FnMut(&[Outcome]) -> Result<()>,
) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        say(format_args!("{} of {}: {}", index + 1, rows.len(), row.what));
        for run in 1..=runs.unwrap_or(row.runs) {
            for &maker in makers {
                let failed = |outcome: &Outcome| {
                    (outcome.row, outcome.maker) == (row.name, maker) && outcome.report.is_err()
                };
                if outcomes.iter().any(failed) {
                    continue;
                }
                let directory = scratch.join(format!("{}-{}-{run}", row.name, maker.name()));
                let outcome = one(row, maker, run, programs, chain, &directory);
                match &outcome.report {
                    // The log of a failure stays.
                    Err(error) => say(format_args!("  {} {run}: failed: {error:#}", maker.name())),
                    Ok(report) => {
                        say(format_args!("  {} {run}: {}", maker.name(), headline(row, report)));
                        drop(std::fs::remove_dir_all(&directory));
                    }
                }
                outcomes.push(outcome);
            }
        }
        keep(&outcomes)?;
    }
    Ok(outcomes)
}

/// The first figure of a report.
fn headline(row: &Row, report: &Value) -> String {
    let figure = figures::of(&row.load).first();
    let value = figure.and_then(|figure| Some((figure, (figure.read)(report).first().copied()?)));
    value.map_or("nothing".to_owned(), |(figure, value)| {
        format!("{} {}", figure.what, figure.unit.shown(value))
    })
}

fn one(
    row: &'static Row,
    maker: Maker,
    run: u32,
    programs: &Programs,
    chain: &mut Chain,
    directory: &Path,
) -> Outcome {
    // Latency is measured with every share acknowledged at once; the cost of shares as SRI's users pay it.
    let batch = if matches!(row.load, Load::Paced { .. }) { 1 } else { SRI_BATCH };
    let mut command = String::new();
    let report = chain.check().and_then(|()| {
        let mut pool = start(maker, programs, chain, directory, batch)?;
        let arguments = arguments(&row.load, maker, &pool, chain);
        command = format!("assay {}", quoted(&arguments));
        load(&arguments, patience(&row.load), programs, &mut pool, directory)
    });
    Outcome { row: row.name, maker, run, command, report }
}

/// Runs the load tool against a pool.
fn load(
    arguments: &[String],
    patience: Duration,
    programs: &Programs,
    pool: &mut Pool,
    directory: &Path,
) -> Result<Value> {
    let mut command: Command = limitless(&programs.assay);
    command.args(arguments);
    let mut swarm = Process::start("assay swarm", &mut command, &directory.join("swarm.log"))?;
    let status = swarm.await_end(patience, || {
        pool.process.check()?;
        match resident_bytes(pool.process.id()) {
            Some(bytes) if bytes > MEMORY_CAP => bail!("the pool took {} MB of memory", bytes / 1_000_000),
            _ => Ok(()),
        }
    })?;
    let output = swarm.output();
    let last = output.lines().last().unwrap_or("it said nothing");
    match serde_json::from_str(last) {
        Ok(report) if status.success() => Ok(report),
        _ => bail!("assay swarm: {last}"),
    }
}

fn arguments(load: &Load, maker: Maker, pool: &Pool, chain: &Chain) -> Vec<String> {
    let text = |number: u32| number.to_string();
    let kind = |kind: Kind| if kind == Kind::Standard { "standard" } else { "extended" };
    let mut words = vec!["swarm".to_owned()];
    let mut add = |new: &[&str]| words.extend(new.iter().map(|word| (*word).to_owned()));
    match *load {
        Load::Pipelined { kind: of, connections, channels, shares } => {
            add(&["throughput", "--kind", kind(of), "--connections", &text(connections)]);
            add(&["--channels", &text(channels), "--shares", &text(shares), "--seconds", "20"]);
        }
        Load::Paced { kind: of, connections, rate, seconds } => {
            add(&["throughput", "--kind", kind(of), "--connections", &text(connections)]);
            add(&["--rate", &text(rate), "--seconds", &text(seconds)]);
        }
        Load::Idle { connections, channels } => {
            add(&["idle", "--connections", &text(connections), "--channels", &text(channels)]);
            add(&["--hold", "1", "--patience", "60"]);
        }
        Load::Waves { connections, .. } => {
            add(&["idle", "--connections", &text(connections), "--waves", &text(waves(load, maker))]);
            add(&["--hold", "1"]);
        }
        Load::Fanout { kind: of, connections, blocks } => {
            add(&["fanout", "--kind", kind(of), "--connections", &text(connections)]);
            add(&["--blocks", &text(blocks), "--trigger-cmd", &chain.block_command()]);
            add(&["--pause", &PAUSE.as_millis().to_string(), "--patience", "60"]);
        }
    }
    add(&["--pool", &pool.url, "--local-address", LOCAL_ADDRESSES]);
    add(&["--server-pid", &text(pool.process.id()), "--json"]);
    words
}

fn waves(load: &Load, maker: Maker) -> u32 {
    match (load, maker) {
        (Load::Waves { assay, .. }, Maker::Assay) => *assay,
        (Load::Waves { sri, .. }, Maker::Sri) => *sri,
        _ => 1,
    }
}

/// SRI's pool sets up some hundred connections a second; a quarter of that is waited for.
fn patience(load: &Load) -> Duration {
    let set_up = |connections: u32| Duration::from_secs(u64::from(connections / 125));
    PATIENCE
        + match *load {
            Load::Pipelined { connections, .. } => set_up(connections) + Duration::from_secs(20),
            Load::Paced { connections, seconds, .. } => {
                set_up(connections) + Duration::from_secs(u64::from(seconds))
            }
            Load::Idle { connections, .. } => set_up(connections),
            Load::Waves { connections, assay, sri } => set_up(connections) * assay.max(sri),
            Load::Fanout { connections, blocks, .. } => set_up(connections) + blocks * 2 * PAUSE,
        }
}

/// For a shell.
fn quoted(words: &[String]) -> String {
    let quote = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows::QUICK;

    #[test]
    fn a_command_can_be_typed() {
        let words = ["fanout", "--trigger-cmd", "chain block"].map(str::to_owned);
        assert_eq!(quoted(&words), "fanout --trigger-cmd 'chain block'");
    }

    #[test]
    fn blocks_are_counted_before_they_are_needed() {
        let rows: Vec<&'static Row> = QUICK.iter().collect();
        assert_eq!(blocks(&rows, &[Maker::Sri, Maker::Assay], None), 2);
        assert_eq!(blocks(&rows, &[Maker::Assay], Some(5)), 5);
        assert_eq!(blocks(&rows[..1], &[Maker::Assay], None), 0);
    }

    #[test]
    fn what_takes_longer_is_waited_for_longer() {
        let idle = |connections| patience(&Load::Idle { connections, channels: 1 });
        assert!(idle(15_000) > idle(1000));
        let waves_of = Load::Waves { connections: 1000, assay: 10, sri: 4 };
        assert_eq!((waves(&waves_of, Maker::Assay), waves(&waves_of, Maker::Sri)), (10, 4));
        assert!(patience(&waves_of) > idle(1000));
    }
}
