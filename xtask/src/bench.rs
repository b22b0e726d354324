//! `cargo xtask bench`: our pool beside the reference implementation's, in one run on one machine.
//!
//! `rows` says what is measured and `figures` what is read from a measurement; `pools` starts the node and the pools,
//! `run` puts the load tool upon them, `table` says what came of it, and `files` keeps it.

mod figures;
mod files;
mod machine;
mod mint;
mod pools;
mod process;
mod rows;
mod run;
mod table;

use crate::checks::{build, target_dir};
use crate::setup;
use crate::step::{cargo, run as run_command, say};
use anyhow::{Context, Result, bail};
use files::Files;
use pools::{Chain, Maker, Programs};
use rows::{FULL, QUICK, Row};
use run::Outcome;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
Compares our pool with the reference implementation's pool_sv2: CPU a share, latency, memory, set-up, new blocks.
Takes about 15 minutes and wants the machine for itself. Prints a table and writes it, with the raw reports beside it.

usage: cargo xtask bench [OPTION…]
       cargo xtask bench mint [--quick]     our mint beside cdk-mintd: claims, swaps, melts

  --quick           small loads and one run each, about a minute: shows that everything works
  --only ROW…       only these rows
  --pool NAME       assay, sri or both
  --runs N          runs of each row, whatever the row says
  --out DIR         where the result goes (default: benches/results; a partial one goes to target/bench)
  --list            only list the rows

environment:
  ASSAY_BIN         measure this program, as pool and as load tool, instead of building one
";

/// Starts the node; an example of the system tests.
const CHAIN: &str = "measured_chain";

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wishes {
    quick: bool,
    only: Vec<String>,
    pool: Option<Maker>,
    runs: Option<u32>,
    out: Option<PathBuf>,
    list: bool,
    help: bool,
}

/// Measures, prints and writes. The exit code is that of a failure when a row failed.
pub fn run(root: &Path, words: &[&str]) -> Result<ExitCode> {
    if let ["mint", options @ ..] = words {
        return mint::run(root, options);
    }
    let wishes = Wishes::parse(words)?;
    if wishes.help {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let rows = wishes.rows()?;
    if wishes.list {
        rows.iter().for_each(|row| println!("{:<16} {}", row.name, row.what));
        return Ok(ExitCode::SUCCESS);
    }
    let peers = setup::for_bench()?;
    let _alone = alone(&peers.scratch)?;
    let programs = programs(root, &peers)?;
    let ours = machine::Ours { path: &programs.assay, built_here: programs.built_here };
    let peers_measured: [machine::Peer<'_>; 2] =
        [("SRI", &programs.pool_sv2, "--version"), ("node", &programs.bitcoin_node, "-version")];
    let facts = machine::facts(root, ours, &peers_measured);
    say("starting bitcoin-node, filling its mempool, finding blocks");
    let makers = wishes.makers();
    let blocks = run::blocks(&rows, &makers, wishes.runs);
    let mut chain = Chain::start(&programs, &peers.scratch, blocks)?;
    let (transactions, merkle_steps) = chain.transactions();
    let command = ["cargo xtask bench"].iter().chain(words).copied().collect::<Vec<_>>().join(" ");
    let setting = table::Setting { facts, command, transactions, merkle_steps };
    let files = Files::new(&wishes.directory(root)?);
    let keep = |outcomes: &[Outcome]| files.write(&setting, &rows, outcomes);
    let outcomes = run::measure(&rows, &makers, wishes.runs, &programs, &mut chain, &peers.scratch, keep)?;
    drop(chain);
    println!("\n{}", table::render(&setting, &rows, &outcomes));
    say(format_args!("written: {} and {}", files.markdown.display(), files.raw.display()));
    let failed = outcomes.iter().filter(|outcome| outcome.report.is_err()).count();
    if failed > 0 {
        say(format_args!("{failed} measurements failed; their logs are in {}", peers.scratch.display()));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Empties the directory for what runs leave behind; two runs at a time would measure each other.
fn alone(scratch: &Path) -> Result<File> {
    std::fs::create_dir_all(scratch)?;
    let lock_path = scratch.with_extension("lock");
    let lock = File::create(&lock_path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("another `cargo xtask bench` runs; wait for its end"),
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the bench"),
    }
    crate::cache::remove_tree(scratch)?;
    std::fs::create_dir_all(scratch)?;
    Ok(lock)
}

/// Builds what is ours.
fn programs(root: &Path, peers: &setup::BenchPeers) -> Result<Programs> {
    let (assay, built_here) = assay(root)?;
    let measured_chain = example(root, CHAIN)?;
    let (bitcoin_node, pool_sv2) = (peers.bitcoin_node.clone(), peers.pool_sv2.clone());
    Ok(Programs { assay, built_here, measured_chain, bitcoin_node, pool_sv2 })
}

/// The program that is measured, and whether it was built for that.
fn assay(root: &Path) -> Result<(PathBuf, bool)> {
    let (path, built_here) = match std::env::var_os("ASSAY_BIN") {
        Some(path) => (PathBuf::from(path), false),
        None => (build(root)?, true),
    };
    if !path.is_file() {
        bail!("{} is not there", path.display());
    }
    Ok((path, built_here))
}

/// Builds an example of the system tests.
fn example(root: &Path, name: &str) -> Result<PathBuf> {
    say(format_args!("cargo build --release --example {name}"));
    let words = ["build", "--quiet", "--release", "--package", "assay-system-tests", "--example", name];
    run_command(cargo().current_dir(root).args(words), "mend the build")?;
    let path = target_dir()?.join("release/examples").join(name);
    if !path.is_file() {
        bail!("{} is not there", path.display());
    }
    Ok(path)
}

impl Wishes {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut wishes = Self::default();
        let mut words = words.iter().copied().peekable();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word {
                "--quick" => wishes.quick = true,
                "--list" => wishes.list = true,
                "help" | "--help" | "-h" => wishes.help = true,
                "--runs" => wishes.runs = Some(value()?.parse().context("--runs needs a number")?),
                "--out" => wishes.out = Some(value()?.into()),
                "--pool" => {
                    wishes.pool = match value()? {
                        "assay" => Some(Maker::Assay),
                        "sri" => Some(Maker::Sri),
                        "both" => None,
                        other => bail!("--pool {other}: write assay, sri or both"),
                    }
                }
                "--only" => {
                    while let Some(name) = words.next_if(|word| !word.starts_with("--")) {
                        wishes.only.extend(name.split(',').map(str::to_owned));
                    }
                }
                other => bail!("`{other}` is not an option; `cargo xtask bench --help` lists them"),
            }
        }
        if wishes.runs == Some(0) {
            bail!("--runs 0 measures nothing");
        }
        Ok(wishes)
    }

    /// The rows in their order.
    fn rows(&self) -> Result<Vec<&'static Row>> {
        let all = if self.quick { QUICK } else { FULL };
        for name in &self.only {
            if !all.iter().any(|row| row.name == name) {
                bail!("there is no row `{name}`; `cargo xtask bench --list` lists them");
            }
        }
        let is_wished = |row: &&Row| self.only.is_empty() || self.only.iter().any(|name| name == row.name);
        Ok(all.iter().filter(is_wished).collect())
    }

    fn makers(&self) -> Vec<Maker> {
        self.pool.map_or(vec![Maker::Sri, Maker::Assay], |maker| vec![maker])
    }

    /// What is kept in the repository is whole.
    fn directory(&self, root: &Path) -> Result<PathBuf> {
        let whole = !self.quick && self.only.is_empty() && self.pool.is_none() && self.runs.is_none();
        match &self.out {
            Some(out) => Ok(out.clone()),
            None if whole => Ok(root.join("benches/results")),
            None => Ok(target_dir()?.join("bench")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_understood() {
        let wishes = Wishes::parse(&["--only", "paced", "waves,idle-1000", "--pool", "sri", "--runs", "2"]);
        let expected = Wishes {
            only: ["paced", "waves", "idle-1000"].map(str::to_owned).to_vec(),
            pool: Some(Maker::Sri),
            runs: Some(2),
            ..Wishes::default()
        };
        assert_eq!(wishes.unwrap(), expected);
        let names: Vec<&str> = expected.rows().unwrap().iter().map(|row| row.name).collect();
        assert_eq!(names, ["paced", "idle-1000", "waves"]);
        assert_eq!(Wishes::parse(&[]).unwrap().rows().unwrap().len(), FULL.len());
        assert_eq!(Wishes::parse(&[]).unwrap().makers(), [Maker::Sri, Maker::Assay]);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (words, expected) in [
            (&["--fast"][..], "`--fast` is not an option"),
            (&["--runs"], "--runs needs a value"),
            (&["--runs", "0"], "--runs 0"),
            (&["--pool", "mine"], "write assay, sri or both"),
        ] {
            let error = format!("{:#}", Wishes::parse(words).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
        let error = Wishes::parse(&["--only", "fast"]).unwrap().rows().unwrap_err().to_string();
        assert!(error.contains("no row `fast`"), "{error}");
    }
}
