//! `assay ledger`: look after a pool's books.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use crate::config::PoolFile;
use crate::output;

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Replay the journal, check every rule of the books and compare every table with it. Exit status 1 if anything is wrong.
    Verify(Verify),
}

#[derive(Args)]
struct Verify {
    /// The ledger's database.
    #[arg(long, value_name = "FILE", required_unless_present = "config", conflicts_with = "config")]
    db: Option<PathBuf>,
    /// The pool's configuration, to find the database by.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Command::Verify(arguments) => verify(arguments),
    }
}

fn verify(arguments: &Verify) -> Result<ExitCode> {
    let path = match (&arguments.db, &arguments.config) {
        (Some(path), _) => path.clone(),
        (None, Some(config)) => PoolFile::load(config)?.data_dir.join("ledger.db"),
        (None, None) => anyhow::bail!("name the ledger: --db FILE or --config FILE"),
    };
    let report =
        ledger::verify(&path).with_context(|| format!("the ledger {} cannot be read", path.display()))?;
    if arguments.json {
        output::line(serde_json::to_string(&report)?);
    } else {
        output::line(&report);
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
