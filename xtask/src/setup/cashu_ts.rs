//! cashu-ts, the library of web wallets, and a Node.js that is new enough for it: both from npm, at the versions of
//! `tests/wallets/package-lock.json`.

use super::debian;
use crate::cache::{Cache, remove_tree};
use crate::step::{run_logged, say, succeeds};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name of the installation in the cache.
const NAME: &str = "cashu-ts-4.8.0";
const MANIFEST: (&str, &str) = ("package.json", include_str!("../../../tests/wallets/package.json"));
const LOCK: (&str, &str) = ("package-lock.json", include_str!("../../../tests/wallets/package-lock.json"));

/// Installs both unless they are cached. Returns the directory that holds `node_modules`.
pub fn ensure(cache: &Cache) -> Result<PathBuf> {
    let installed = cache.path(NAME);
    if works(&installed) {
        return Ok(installed);
    }
    if !succeeds(Command::new("npm").arg("--version")) {
        debian::install_missing(&debian::FOR_CASHU_TS)?;
    }
    let partial = cache.path(&format!("{NAME}.partial"));
    remove_tree(&partial)?;
    std::fs::create_dir_all(&partial)?;
    for (name, text) in [MANIFEST, LOCK] {
        std::fs::write(partial.join(name), text)?;
    }
    let log = cache.fresh_log(NAME)?;
    say(format_args!("installing {NAME} and Node.js from npm; log: {}", log.display()));
    run_logged(
        Command::new("npm").current_dir(&partial).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]),
        &log,
        "check that npm can reach its registry",
        |_| {},
    )?;
    remove_tree(&installed)?;
    std::fs::rename(&partial, &installed).context("cannot put cashu-ts in place")?;
    if !works(&installed) {
        bail!("Node.js in {} does not start; run it with --version to see why", installed.display());
    }
    Ok(installed)
}

/// An installation is renamed into place, so it is whole; it may be one of another lock file.
fn works(installed: &Path) -> bool {
    std::fs::read_to_string(installed.join(LOCK.0)).is_ok_and(|lock| lock == LOCK.1)
        && succeeds(Command::new(installed.join("node_modules/.bin/node")).arg("--version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_names_the_version() {
        let version = NAME.strip_prefix("cashu-ts-").unwrap();
        assert!(MANIFEST.1.contains(&format!("\"@cashu/cashu-ts\": \"{version}\"")));
    }
}
