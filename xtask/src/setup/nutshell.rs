//! Nutshell, the Python implementation, as a wallet. Parts of it are built for Python 3.10 to 3.12; Debian 12 has 3.11.

use super::debian;
use crate::cache::{Cache, remove_tree};
use crate::step::{run_logged, say, succeeds};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name of the installation in the cache.
const NAME: &str = "nutshell-0.21.0";
const REQUIREMENTS: (&str, &str) =
    ("requirements.txt", include_str!("../../../tests/wallets/requirements.txt"));

/// Installs it unless a working one is cached. Returns the path of its program `cashu`.
pub fn ensure(cache: &Cache) -> Result<PathBuf> {
    let installed = cache.path(NAME);
    let program = installed.join("bin/cashu");
    if works(&installed) {
        return Ok(program);
    }
    // Debian's Python makes environments only with another package.
    if !succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"])) {
        debian::install_missing(&debian::FOR_NUTSHELL)?;
    }
    remove_tree(&installed)?;
    let log = cache.fresh_log(NAME)?;
    say(format_args!("installing {NAME} from PyPI; log: {}", log.display()));
    let remedy = "check that pip can reach its registry, and that `python3` is 3.10 to 3.12";
    run_logged(Command::new("python3").args(["-m", "venv"]).arg(&installed), &log, remedy, |_| {})?;
    // Put beside it last, the list says that all of it is there: an environment cannot be renamed.
    let list = cache.path(&format!("{NAME}.{}", REQUIREMENTS.0));
    std::fs::write(&list, REQUIREMENTS.1)?;
    // The list is whole, so that nothing is left to resolve.
    run_logged(
        Command::new(installed.join("bin/python"))
            .args(["-m", "pip", "install", "--no-deps", "-r"])
            .arg(&list),
        &log,
        remedy,
        |_| {},
    )?;
    std::fs::rename(&list, installed.join(REQUIREMENTS.0)).context("cannot put the list in place")?;
    if !works(&installed) {
        bail!("{} does not start; run it with --help to see why", program.display());
    }
    Ok(program)
}

fn works(installed: &Path) -> bool {
    std::fs::read_to_string(installed.join(REQUIREMENTS.0)).is_ok_and(|list| list == REQUIREMENTS.1)
        && succeeds(Command::new(installed.join("bin/cashu")).arg("--help"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_names_the_version() {
        let version = NAME.strip_prefix("nutshell-").unwrap();
        assert!(REQUIREMENTS.1.contains(&format!("\ncashu=={version}\n")));
    }
}
