//! Where the programs under test are.

use std::path::{Path, PathBuf};

/// Bitcoin Core's `bitcoin-node`: `$ASSAY_BITCOIN_NODE`, or the one that `cargo xtask test` built.
pub fn bitcoin_node() -> PathBuf {
    find("ASSAY_BITCOIN_NODE", cache_root().join("bitcoin-node-kernel-sys-0.4.1/bin/bitcoin-node"))
}

/// The reference implementation's `translator_sv2`: `$ASSAY_TRANSLATOR`, or the one that `cargo xtask test` installed.
pub fn translator() -> PathBuf {
    find("ASSAY_TRANSLATOR", cache_root().join("translator_sv2-0.6.0/bin/translator_sv2"))
}

/// The program itself: `$ASSAY_BIN`, or the workspace's release build.
pub fn assay() -> PathBuf {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a directory of the workspace");
    find("ASSAY_BIN", workspace.join("target/release/assay"))
}

fn cache_root() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/assay")
}

fn find(variable: &str, default: PathBuf) -> PathBuf {
    let path = std::env::var_os(variable).map_or(default, PathBuf::from);
    assert!(
        path.is_file(),
        "{} is not there (${variable} names another place): run `cargo xtask test`",
        path.display()
    );
    path
}
