//! Set-up and checks for people who work on Assay. Run as `cargo xtask help`.
//!
//! Needed beforehand: Rust, a C compiler and git. Everything else that the tests need is obtained here, as Debian
//! packages and through cargo, npm and pip alone, and kept in a cache outside the tree.

mod bench;
mod cache;
mod checks;
mod conformance;
mod setup;
mod step;

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
Set-up and checks for people who work on Assay.

usage: cargo xtask COMMAND

  test                  set up what the tests need, then run every check and every test
  setup                 only set up: Debian packages, a real bitcoin-node, translator_sv2, three Cashu wallets
  bench                 measure our pool beside SRI's; `cargo xtask bench --help` says more
  lint                  rustfmt and clippy, warnings are errors
  conformance           write docs/conformance.md from the tests and decisions
  conformance --check   fail if docs/conformance.md is stale or contradicts itself
  help                  this text

environment:
  ASSAY_CACHE           where built peers are kept (default: $XDG_CACHE_HOME/assay or ~/.cache/assay)
";

fn main() -> ExitCode {
    match dispatch(std::env::args().skip(1)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: impl Iterator<Item = String>) -> Result<ExitCode> {
    let arguments: Vec<String> = arguments.collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = workspace_root();
    match words.as_slice() {
        ["test"] => checks::test(&root),
        ["bench", options @ ..] => bench::run(&root, options),
        ["lint"] => checks::lint(&root),
        ["setup"] => setup::run().map(|_| ExitCode::SUCCESS),
        ["conformance"] => conformance::write(&root).map(|()| ExitCode::SUCCESS),
        ["conformance", "--check"] => conformance::check(&root).map(|()| ExitCode::SUCCESS),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("`{}` is not a command; `cargo xtask help` lists them", other.join(" ")),
    }
}

/// The directory of the workspace's `Cargo.toml`: the parent of this package's.
fn workspace_root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("xtask lies one level below the workspace root").to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_commands_are_named_in_the_error() {
        let words = ["lint", "--fast"].map(String::from);
        let error = dispatch(words.into_iter()).unwrap_err().to_string();
        assert!(error.contains("`lint --fast`"), "{error}");
    }

    #[test]
    fn the_root_is_a_workspace() {
        let manifest = std::fs::read_to_string(workspace_root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }
}
