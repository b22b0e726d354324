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

/// CDK's wallet: `$ASSAY_CDK_CLI`, or the one that `cargo xtask test` installed.
pub fn cdk_cli() -> PathBuf {
    find("ASSAY_CDK_CLI", cache_root().join("cdk-cli-0.18.3/bin/cdk-cli"))
}

/// CDK's mint: `$ASSAY_CDK_MINTD`, or the one that `cargo xtask bench mint` installed.
pub fn cdk_mintd() -> PathBuf {
    find("ASSAY_CDK_MINTD", cache_root().join("cdk-mintd-0.18.3/bin/cdk-mintd"))
}

/// Where `node_modules` with cashu-ts and Node.js lies: `$ASSAY_CASHU_TS`, or where `cargo xtask test` put it.
pub fn cashu_ts() -> PathBuf {
    let directory = place("ASSAY_CASHU_TS", cache_root().join("cashu-ts-4.8.0"));
    assert_there("ASSAY_CASHU_TS", &directory.join("node_modules/.bin/node"));
    directory
}

/// Nutshell's wallet: `$ASSAY_NUTSHELL`, or the one that `cargo xtask test` installed.
pub fn nutshell() -> PathBuf {
    find("ASSAY_NUTSHELL", cache_root().join("nutshell-0.21.0/bin/cashu"))
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
    let path = place(variable, default);
    assert_there(variable, &path);
    path
}

fn place(variable: &str, default: PathBuf) -> PathBuf {
    std::env::var_os(variable).map_or(default, PathBuf::from)
}

fn assert_there(variable: &str, file: &Path) {
    assert!(
        file.is_file(),
        "{} is not there (${variable} names another place): run `cargo xtask test`",
        file.display()
    );
}
