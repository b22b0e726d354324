//! rustfmt and clippy, which a minimal Rust installation lacks.

use crate::step::{cargo, run, say, succeeds};
use anyhow::{Result, bail};
use std::process::Command;

/// Makes `cargo fmt` and `cargo clippy` available, through rustup where it is there.
pub fn ensure() -> Result<()> {
    let missing: Vec<&str> = [("fmt", "rustfmt"), ("clippy", "clippy")]
        .into_iter()
        .filter(|(subcommand, _)| !succeeds(cargo().args([subcommand, "--version"])))
        .map(|(_, component)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !succeeds(Command::new("rustup").arg("--version")) {
        bail!("missing Rust components: {list}; install them the way Rust was installed");
    }
    say(format_args!("adding Rust components: {list}"));
    run(Command::new("rustup").args(["component", "add"]).args(&missing), "add them by hand")
}
