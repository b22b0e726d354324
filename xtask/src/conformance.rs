//! `docs/conformance.md`: which rules of Stratum V2 are proven by which test, decided against, or still open.
//!
//! Three sources go in: the rules (`xtask/conformance/rows.tsv`), the decisions (`xtask/conformance/decisions.tsv`),
//! and the comments `// proves: ROW …` directly above tests. A rule is done when a test names it, and only then.

mod report;
mod rules;
mod scan;

use crate::step::say;
use anyhow::{Context, Result, bail};
use rules::{Rules, Status};
use std::path::{Path, PathBuf};

/// Writes `docs/conformance.md` anew.
pub fn write(root: &Path) -> Result<()> {
    let (rules, findings) = gather(root)?;
    let path = document(root);
    std::fs::write(&path, report::render(&rules))
        .with_context(|| format!("cannot write {}", path.display()))?;
    say(format_args!("{}: {}", path.display(), report::summary(&rules)));
    refuse(findings)
}

/// Fails if the document is not what [`write`] would write, or if the sources contradict each other.
pub fn check(root: &Path) -> Result<()> {
    let (rules, findings) = gather(root)?;
    refuse(findings)?;
    let path = document(root);
    let current = std::fs::read_to_string(&path).unwrap_or_default();
    if current != report::render(&rules) {
        bail!("{} is stale; run `cargo xtask conformance` and commit it", path.display());
    }
    Ok(())
}

fn document(root: &Path) -> PathBuf {
    root.join("docs/conformance.md")
}

/// Reads all three sources. The findings are what is wrong between them.
fn gather(root: &Path) -> Result<(Rules, Vec<String>)> {
    let source = root.join("xtask/conformance");
    let read = |name: &str| {
        let path = source.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let mut rules = Rules::parse(&read("rows.tsv")?).context("rows.tsv")?;
    let mut findings = rules.decide(&read("decisions.tsv")?).context("decisions.tsv")?;
    let scanned = scan::tree(root)?;
    findings.extend(scanned.findings);
    for proof in &scanned.proofs {
        if !rules.prove(proof) {
            findings.push(format!("{proof} names {}, which is not in rows.tsv", proof.row));
        }
    }
    findings.extend(
        rules
            .iter()
            .filter(|rule| rule.status() == Status::Done && rule.decision.is_some())
            .map(|rule| format!("{} is both proven by a test and decided against; remove one", rule.row)),
    );
    Ok((rules, findings))
}

fn refuse(findings: Vec<String>) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    bail!("conformance sources disagree:\n  {}", findings.join("\n  "))
}
