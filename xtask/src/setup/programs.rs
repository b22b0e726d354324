//! Programs of others that cargo builds from their packages.

use super::debian;
use crate::cache::{Cache, remove_tree};
use crate::step::{cargo, run, run_logged, say, succeeds};
use crate::workspace_root;
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

/// A program; it and its package have the same name.
pub struct Program {
    pub package: &'static str,
    pub version: &'static str,
    /// Whether its build speaks to Bitcoin Core's interfaces and so needs the `capnp` compiler.
    capnp: bool,
    /// Whether its build wants a protobuf compiler: then it is given ours, which `cargo fetch` unpacks.
    protoc: bool,
    /// What else cargo is told.
    options: &'static [&'static str],
}

/// The reference implementation's (SRI's) way from SV1 devices to SV2 pools.
pub const TRANSLATOR: Program =
    Program { package: "translator_sv2", version: "0.6.0", capnp: false, protoc: false, options: &[] };
/// Its pool.
pub const POOL: Program =
    Program { package: "pool_sv2", version: "0.7.0", capnp: true, protoc: false, options: &[] };
/// CDK's wallet, without the service for Lightning addresses.
pub const CDK_CLI: Program = Program {
    package: "cdk-cli",
    version: "0.18.3",
    capnp: false,
    protoc: false,
    options: &["--no-default-features"],
};
/// CDK's mint with its fake backend.
pub const CDK_MINTD: Program = Program {
    package: "cdk-mintd",
    version: "0.18.3",
    capnp: false,
    protoc: true,
    options: &["--no-default-features", "--features", "fakewallet,sqlite,postgres"],
};

/// Installs the program unless a working one is cached. Returns its path.
pub fn ensure(cache: &Cache, program: &Program) -> Result<PathBuf> {
    let Program { package, version, capnp, protoc, options } = program;
    // Of the installation and of its build directory in the cache.
    let name = format!("{package}-{version}");
    let root = cache.path(&name);
    let path = root.join("bin").join(package);
    if succeeds(Command::new(&path).arg("--version")) {
        return Ok(path);
    }
    if *capnp && !succeeds(Command::new("capnp").arg("--version")) {
        debian::install_missing(&debian::FOR_BITCOIN_NODE)?;
    }
    let mut install = cargo();
    if *protoc {
        let root = workspace_root();
        let remedy = "check that cargo can reach its registry";
        run(cargo().current_dir(&root).args(["fetch", "--quiet", "--locked"]), remedy)?;
        // `cargo install` does not look at the workspace's own settings.
        install.env("PROTOC", root.join(".cargo/protoc"));
    }
    let log = cache.fresh_log(&name)?;
    let build = cache.build_dir(&name)?;
    say(format_args!(
        "building {package} {version}, once, about 5 minutes on 2 cores; log: {}",
        log.display()
    ));
    // --force replaces what a broken installation left. A build directory of its own lets an interrupted build go on.
    run_logged(
        install
            .env("CARGO_TARGET_DIR", &build)
            .args(["install", package, "--version", version, "--locked", "--force", "--root"])
            .arg(&root)
            .args(*options),
        &log,
        "check that cargo can reach its registry and that a C compiler is there",
        |_| {},
    )?;
    remove_tree(&build)?;
    Ok(path)
}
