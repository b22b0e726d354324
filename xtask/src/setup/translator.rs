//! `translator_sv2`, the reference implementation's SV1 to SV2 translator.

use crate::cache::{Cache, remove_tree};
use crate::step::{cargo, run_logged, say, succeeds};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

const PACKAGE: &str = "translator_sv2";
const VERSION: &str = "0.6.0";
/// The name of the installation and of its build directory in the cache.
const NAME: &str = "translator_sv2-0.6.0";

/// Installs the translator unless a working one is cached. Returns the path of the program.
pub fn ensure(cache: &Cache) -> Result<PathBuf> {
    let root = cache.path(NAME);
    let program = root.join("bin").join(PACKAGE);
    if succeeds(Command::new(&program).arg("--version")) {
        return Ok(program);
    }
    let log = cache.fresh_log(NAME)?;
    let build = cache.build_dir(NAME)?;
    say(format_args!(
        "building {PACKAGE} {VERSION}, once, about 5 minutes on 2 cores; log: {}",
        log.display()
    ));
    // --force replaces what a broken installation left. A build directory of its own lets an interrupted build go on.
    run_logged(
        cargo()
            .env("CARGO_TARGET_DIR", &build)
            .args(["install", PACKAGE, "--version", VERSION, "--locked", "--force", "--root"])
            .arg(&root),
        &log,
        "check that cargo can reach its registry and that a C compiler is there",
        |_| {},
    )?;
    remove_tree(&build)?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_names_package_and_version() {
        assert_eq!(NAME, format!("{PACKAGE}-{VERSION}"));
    }
}
