//! Programs of the reference implementation (SRI), from its packages.

use super::debian;
use crate::cache::{Cache, remove_tree};
use crate::step::{cargo, run_logged, say, succeeds};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

/// One of its programs; package and program have the same name.
pub struct Role {
    pub package: &'static str,
    pub version: &'static str,
    /// Whether its build speaks to Bitcoin Core's interfaces and so needs the `capnp` compiler.
    capnp: bool,
}

/// From SV1 devices to SV2 pools.
pub const TRANSLATOR: Role = Role { package: "translator_sv2", version: "0.6.0", capnp: false };
/// The pool.
pub const POOL: Role = Role { package: "pool_sv2", version: "0.7.0", capnp: true };

/// Installs the program unless a working one is cached. Returns its path.
pub fn ensure(cache: &Cache, role: &Role) -> Result<PathBuf> {
    let Role { package, version, capnp } = role;
    // Of the installation and of its build directory in the cache.
    let name = format!("{package}-{version}");
    let root = cache.path(&name);
    let program = root.join("bin").join(package);
    if succeeds(Command::new(&program).arg("--version")) {
        return Ok(program);
    }
    if *capnp && !succeeds(Command::new("capnp").arg("--version")) {
        debian::install_missing(&debian::FOR_BITCOIN_NODE)?;
    }
    let log = cache.fresh_log(&name)?;
    let build = cache.build_dir(&name)?;
    say(format_args!(
        "building {package} {version}, once, about 5 minutes on 2 cores; log: {}",
        log.display()
    ));
    // --force replaces what a broken installation left. A build directory of its own lets an interrupted build go on.
    run_logged(
        cargo()
            .env("CARGO_TARGET_DIR", &build)
            .args(["install", package, "--version", version, "--locked", "--force", "--root"])
            .arg(&root),
        &log,
        "check that cargo can reach its registry and that a C compiler is there",
        |_| {},
    )?;
    remove_tree(&build)?;
    Ok(program)
}
