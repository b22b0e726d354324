//! `cargo xtask lint` and `cargo xtask test`: every check in turn, with one summed line at the end.

use crate::step::{cargo, for_each_line, run, say};
use crate::{conformance, setup};
use anyhow::{Context, Result, bail};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// What the tests see beyond what users are given unless they ask: the program's own feature, which switches the mint's on.
const FEATURES: [&str; 2] = ["--features", "assay/postgres"];

/// rustfmt and clippy.
pub fn lint(root: &Path) -> Result<ExitCode> {
    let mut report = Report::default();
    lint_into(&mut report, root);
    Ok(report.finish())
}

/// Sets up the peers, then runs every check and every test. A failed check does not keep the others from running;
/// only without the set-up and the program itself there is nothing to test.
pub fn test(root: &Path) -> Result<ExitCode> {
    let peers = setup::run()?;
    let mut report = Report::default();
    lint_into(&mut report, root);
    let program = build(root)?;
    report.check("the tests", |tally| run_tests(root, &peers, &program, tally));
    report.check("conformance --check", |_| conformance::check(root));
    Ok(report.finish())
}

fn lint_into(report: &mut Report, root: &Path) {
    report.check("cargo fmt --check", |_| {
        run(cargo().current_dir(root).args(["fmt", "--all", "--check"]), "run `cargo fmt --all`")
    });
    report.check("cargo clippy, warnings are errors", |_| {
        let mut clippy = cargo();
        clippy.current_dir(root).args(["clippy", "--quiet", "--workspace", "--all-targets"]).args(FEATURES);
        run(clippy.args(["--", "-D", "warnings"]), "mend what clippy names")
    });
}

/// Builds the program as users run it and returns its path.
pub fn build(root: &Path) -> Result<PathBuf> {
    say("cargo build --release");
    run(
        cargo().current_dir(root).args(["build", "--quiet", "--release", "--package", "assay"]),
        "mend the build",
    )?;
    let program = target_dir()?.join("release/assay");
    if !program.is_file() {
        bail!("{} is missing after the build; run this through cargo: `cargo xtask …`", program.display());
    }
    Ok(program)
}

/// Where cargo builds: this program lies in TARGET/debug, wherever cargo's settings have put TARGET.
pub fn target_dir() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("run this through cargo: `cargo xtask …`")?;
    Ok(target.to_owned())
}

fn run_tests(root: &Path, peers: &setup::Peers, program: &Path, tally: &mut Tally) -> Result<()> {
    let mut command = cargo();
    command
        .current_dir(root)
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(FEATURES)
        .env("ASSAY_BITCOIN_NODE", &peers.bitcoin_node)
        .env("ASSAY_TRANSLATOR", &peers.translator)
        .env("ASSAY_CDK_CLI", &peers.cdk_cli)
        .env("ASSAY_CASHU_TS", &peers.cashu_ts)
        .env("ASSAY_NUTSHELL", &peers.nutshell)
        .env("ASSAY_BIN", program)
        .env_remove("ASSAY_CACHE");
    run_counted(&mut command, tally)
}

/// Runs the command, passes its standard output on and adds up the test harness's result lines.
fn run_counted(command: &mut Command, tally: &mut Tally) -> Result<()> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    for_each_line(child.stdout.take().expect("standard output is piped"), |line| {
        println!("{line}");
        tally.add_line(line);
        Ok(())
    })?;
    let status = child.wait()?;
    if !status.success() {
        bail!("cargo test ended with {status}; the failures are listed above");
    }
    if tally.passed == 0 {
        bail!("cargo test ran no test");
    }
    Ok(())
}

/// Passed and failed tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// Adds a line such as `test result: ok. 12 passed; 0 failed; 0 ignored; …`; other lines change nothing.
    fn add_line(&mut self, line: &str) {
        let Some((_, result)) = line.split_once("test result: ") else { return };
        self.passed += count_before(result, " passed").unwrap_or(0);
        self.failed += count_before(result, " failed").unwrap_or(0);
    }
}

fn count_before(text: &str, word: &str) -> Option<u64> {
    text.split_once(word)?.0.rsplit(' ').next()?.parse().ok()
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// What has been run: a check counts as one, the tests that it ran count singly.
#[derive(Default)]
struct Report {
    tally: Tally,
    failures: Vec<String>,
}

impl Report {
    fn check(&mut self, name: &str, run: impl FnOnce(&mut Tally) -> Result<()>) {
        say(name);
        let mut tests = Tally::default();
        let outcome = run(&mut tests);
        if let Err(error) = &outcome {
            self.failures.push(format!("{name}: {error:#}"));
        }
        // Failing tests fail their check; it is not counted beside them.
        let own = Tally {
            passed: u64::from(outcome.is_ok() && tests.passed == 0),
            failed: u64::from(outcome.is_err() && tests.failed == 0),
        };
        self.tally.passed += tests.passed + own.passed;
        self.tally.failed += tests.failed + own.failed;
    }

    fn finish(self) -> ExitCode {
        for failure in &self.failures {
            say(format_args!("failed: {failure}"));
        }
        println!("{}", self.tally);
        if self.failures.is_empty() && self.tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 13 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "noise test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
            "test result: unclear",
        ] {
            tally.add_line(line);
        }
        assert_eq!(tally.to_string(), "15 passed, 2 failed");
    }

    #[test]
    fn checks_and_tests_are_summed() {
        let mut report = Report::default();
        report.check("good", |_| Ok(()));
        report.check("bad", |_| bail!("reason"));
        report.check("tests", |tally| {
            *tally = Tally { passed: 7, failed: 2 };
            bail!("two tests failed")
        });
        report.check("harness that died", |tally| {
            tally.passed = 5;
            bail!("signal 11")
        });
        assert_eq!(report.tally, Tally { passed: 13, failed: 4 });
        assert_eq!(report.failures.len(), 3);
        assert_eq!(report.failures[0], "bad: reason");
    }
}
