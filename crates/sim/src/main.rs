//! Runs seeds, one or many, and tells what they came to.

use clap::Parser;
use sim::{Medium, Options, Report, run};
use std::{
    collections::BTreeMap,
    panic,
    process::ExitCode,
    time::{Duration, Instant},
};

/// Deterministic simulation of pool, ledger and chain.
#[derive(Parser)]
struct Args {
    /// Run this seed only, and print its trace's hash.
    #[arg(long)]
    seed: Option<u64>,
    /// The first of many seeds.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Stop after so many seconds, whatever the number of seeds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Keep the ledger in SQLite's files.
    #[arg(long)]
    files: bool,
    /// Print everything that happens.
    #[arg(long)]
    echo: bool,
    /// Run each seed twice, and compare.
    #[arg(long)]
    twice: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let medium = if args.files { Medium::Files } else { Medium::Memory };
    let options = Options { medium, echo: args.echo };
    let seeds = args.seed.map_or(args.from..args.from.saturating_add(args.seeds), |seed| seed..seed + 1);
    let started = Instant::now();
    let mut sum = Sum::default();
    for seed in seeds {
        if args.seconds.is_some_and(|seconds| started.elapsed() >= Duration::from_secs(seconds)) {
            break;
        }
        match panic::catch_unwind(|| run(seed, options)) {
            Ok(report) => {
                if args.twice {
                    assert_eq!(run(seed, options).hash, report.hash, "seed {seed} gives two different runs");
                }
                if args.seed.is_some() {
                    println!("{report:?}");
                }
                sum.add(&report);
            }
            Err(_) => {
                let files = if args.files { " --files" } else { "" };
                println!("seed {seed} failed; again: cargo run -p assay-sim -- --seed {seed}{files} --echo");
                sum.failed.push(seed);
            }
        }
    }
    sum.print(started.elapsed());
    if sum.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Of all runs.
#[derive(Default)]
struct Sum {
    runs: u64,
    acknowledged: u64,
    refused: u64,
    blocks: u64,
    epochs: u64,
    seconds: u64,
    faults: BTreeMap<&'static str, u64>,
    failed: Vec<u64>,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.acknowledged += report.acknowledged;
        self.refused += report.refused;
        self.blocks += report.blocks;
        self.epochs += report.epochs;
        self.seconds += report.seconds;
        for (kind, count) in &report.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }

    fn print(&self, took: Duration) {
        println!(
            "{} runs of {} virtual seconds in {} s: {} shares acknowledged, {} refused, {} blocks, {} epochs closed",
            self.runs,
            self.seconds,
            took.as_secs(),
            self.acknowledged,
            self.refused,
            self.blocks,
            self.epochs
        );
        for (kind, count) in &self.faults {
            println!("{count:>10} {kind}");
        }
        if !self.failed.is_empty() {
            println!("failed: {:?}", self.failed);
        }
    }
}
