//! `cargo xtask bench mint`: our mint beside CDK's own. What is measured, and how, is the system tests' example `mint_load`.

use super::{alone, assay, example, machine};
use crate::checks::target_dir;
use crate::setup;
use crate::step::{output, say};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, ExitCode};

const EXAMPLE: &str = "mint_load";
/// Shows that everything works, in a minute.
const QUICK: [&str; 4] = ["--operations", "30", "--rounds", "1"];

/// Measures, prints and writes.
pub fn run(root: &Path, words: &[&str]) -> Result<ExitCode> {
    let quick = match words {
        [] => false,
        ["--quick"] => true,
        other => bail!("`{}` is not an option; `cargo xtask bench --help` lists them", other.join(" ")),
    };
    let peers = setup::for_mint_bench()?;
    let _alone = alone(&peers.scratch)?;
    let (assay, built_here) = assay(root)?;
    let load = example(root, EXAMPLE)?;
    let measured: [machine::Peer<'_>; 2] =
        [("cdk-mintd", &peers.cdk_mintd, "--version"), ("node", &peers.bitcoin_node, "-version")];
    let facts = machine::facts(root, machine::Ours { path: &assay, built_here }, &measured);
    say("measuring claims, swaps and melts");
    let measure = |options: &[&str]| {
        let mut command = Command::new(&load);
        command.env("ASSAY_BIN", &assay).env("ASSAY_CDK_MINTD", &peers.cdk_mintd);
        // On a disk, as mints' databases are.
        command.env("ASSAY_BITCOIN_NODE", &peers.bitcoin_node).env("TMPDIR", &peers.scratch);
        command.args(options).args(if quick { &QUICK[..] } else { &[] });
        output(&mut command, "its log is above")
    };
    let table = measure(&[])?;
    println!("{table}");
    say("measuring what miners notice of it");
    let miners = measure(&["--miners"])?;
    let facts: String = facts.iter().map(|(name, fact)| format!("- {name}: {fact}\n")).collect();
    let shown = ["cargo xtask bench mint"].iter().chain(words).copied().collect::<Vec<_>>().join(" ");
    let text = format!(
        "# Our mint beside cdk-mintd\n\n`{shown}`\n\n{facts}\n{table}\n## What miners notice\n\n{miners}"
    );
    println!("\n{text}");
    let directory = if quick { target_dir()?.join("bench") } else { root.join("benches/results") };
    let path = directory.join(format!("{}-mint.md", machine::day()));
    std::fs::create_dir_all(&directory)
        .and_then(|()| std::fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))?;
    say(format_args!("written: {}", path.display()));
    Ok(ExitCode::SUCCESS)
}
