//! A real `bitcoin-node` with IPC: Bitcoin Core's source travels inside the package `libbitcoinkernel-sys`.

use super::{crate_source, debian};
use crate::cache::{Cache, remove_tree};
use crate::step::{run_logged, say, succeeds};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "libbitcoinkernel-sys";
const VERSION: &str = "0.4.1";
/// The name of the finished installation and of its build directory in the cache.
const NAME: &str = "bitcoin-node-kernel-sys-0.4.1";
const PROGRAMS: [&str; 2] = ["bitcoin-node", "bitcoin-cli"];
/// The package leaves out the tests, the GUI, and what wallet and ZMQ would need.
const OPTIONS: [&str; 10] = [
    "-DENABLE_IPC=ON",
    "-DENABLE_WALLET=OFF",
    "-DWITH_ZMQ=OFF",
    "-DWITH_EMBEDDED_ASMAP=OFF",
    "-DBUILD_TESTS=OFF",
    "-DBUILD_BENCH=OFF",
    "-DBUILD_TX=OFF",
    "-DBUILD_UTIL=OFF",
    "-DBUILD_GUI=OFF",
    "-DBUILD_DAEMON=ON",
];

/// Builds the node unless a working one is cached. Returns the path of `bitcoin-node`.
pub fn ensure(cache: &Cache) -> Result<PathBuf> {
    let installed = cache.path(NAME);
    let node = installed.join("bin/bitcoin-node");
    if works(&installed) {
        return Ok(node);
    }
    // A cached node fails to start where its shared libraries are missing; then the packages are all it takes.
    debian::install_missing(&debian::FOR_BITCOIN_NODE)?;
    if works(&installed) {
        return Ok(node);
    }
    let build = cache.build_dir(NAME)?;
    compile(cache, &build)?;
    install(&build.join("cmake/bin"), &cache.path(&format!("{NAME}.partial")), &installed)?;
    if !works(&installed) {
        bail!("the built {} does not start; run it with -version to see why", node.display());
    }
    remove_tree(&build)?;
    Ok(node)
}

fn works(installed: &Path) -> bool {
    PROGRAMS.iter().all(|program| succeeds(Command::new(installed.join("bin").join(program)).arg("-version")))
}

fn compile(cache: &Cache, build: &Path) -> Result<()> {
    say(format_args!("fetching the source of Bitcoin Core ({PACKAGE} {VERSION})"));
    let source = crate_source::fetch(PACKAGE, VERSION, &build.join("fetch"))?.join("bitcoin");
    let log = cache.fresh_log(NAME)?;
    let tree = build.join("cmake");
    say(format_args!("building bitcoin-node, once, about 10 minutes on 2 cores; log: {}", log.display()));
    // `--fresh` forgets the settings of an interrupted run but keeps what it compiled.
    run_logged(
        Command::new("cmake")
            .args(["--fresh", "-G", "Ninja", "-S"])
            .arg(&source)
            .arg("-B")
            .arg(&tree)
            .args(OPTIONS)
            .arg("-DBUILD_CLI=ON"),
        &log,
        "install what cmake misses",
        |_| {},
    )?;
    let mut progress = Progress::default();
    run_logged(
        Command::new("ninja").arg("-C").arg(&tree).args(PROGRAMS),
        &log,
        "free memory or disk (2 GB each are enough) and run it again; it goes on where it stopped",
        |line| {
            if let Some(percent) = progress.advance(line) {
                say(format_args!("bitcoin-node: {percent} % built"));
            }
        },
    )
}

/// Puts the programs, without their debug symbols, in place in one rename of `partial`, so that an installation is
/// whole or absent.
fn install(built: &Path, partial: &Path, installed: &Path) -> Result<()> {
    remove_tree(partial)?;
    std::fs::create_dir_all(partial.join("bin"))?;
    for program in PROGRAMS {
        let target = partial.join("bin").join(program);
        std::fs::copy(built.join(program), &target).with_context(|| format!("cannot install {program}"))?;
        // 300 MB become 20; where `strip` is missing, it stays large.
        succeeds(Command::new("strip").arg(&target));
    }
    remove_tree(installed)?;
    std::fs::rename(partial, installed).context("cannot put the built node in place")
}

/// Reads ninja's `[n/total]` counters and speaks up at every tenth.
#[derive(Default)]
struct Progress {
    tenths: u64,
}

impl Progress {
    fn advance(&mut self, line: &str) -> Option<u64> {
        let counter = line.strip_prefix('[')?.split_once(']')?.0;
        let (done, total) = counter.split_once('/')?;
        let (done, total) = (done.parse::<u64>().ok()?, total.parse::<u64>().ok()?);
        let tenths = done.checked_mul(10)?.checked_div(total)?;
        (tenths > self.tenths).then(|| {
            self.tenths = tenths;
            tenths * 10
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_once_for_every_tenth() {
        let mut progress = Progress::default();
        let lines =
            ["[1/40] a", "[4/40] b", "[5/40] c", "note: [8/40]", "[12/40] d", "[x/y]", "[1/0]", "[40/40] e"];
        let told: Vec<u64> = lines.iter().filter_map(|line| progress.advance(line)).collect();
        assert_eq!(told, [10, 30, 100]);
    }

    #[test]
    fn the_cache_names_the_version() {
        assert!(NAME.ends_with(VERSION));
    }
}
