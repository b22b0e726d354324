//! Debian packages: for building and running `bitcoin-node`, and for the tests.

use crate::step::{output, run, say, succeeds};
use anyhow::{Result, bail};
use std::process::{Command, Stdio};

/// What the tests need: clocks that are set under a running program, a database server, and what its client links.
pub const FOR_TESTS: [&str; 4] = ["faketime", "postgresql", "libssl-dev", "pkg-config"];

/// What Bitcoin Core's build with IPC and without wallet needs.
pub const FOR_BITCOIN_NODE: [&str; 9] = [
    "cmake",
    "ninja-build",
    "g++",
    "pkg-config",
    "libboost-dev",
    "libevent-dev",
    "capnproto",
    "libcapnp-dev",
    "libsqlite3-dev",
];

/// What installs cashu-ts.
pub const FOR_CASHU_TS: [&str; 1] = ["npm"];

/// What installs Nutshell.
pub const FOR_NUTSHELL: [&str; 2] = ["python3", "python3-venv"];

/// Installs the packages that are missing, when this user may; otherwise the error names them.
pub fn install_missing(packages: &[&'static str]) -> Result<()> {
    let missing = missing_packages(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    let Some(prefix) = privilege() else {
        bail!("missing Debian packages: {list}; install them as root: apt-get install {list}");
    };
    say(format_args!("installing Debian packages: {list}"));
    let remedy = format!("check the package sources, then: apt-get install {list}");
    run(apt_get(prefix).arg("update"), &remedy)?;
    run(apt_get(prefix).args(["install", "--yes", "--no-install-recommends"]).args(&missing), &remedy)
}

fn missing_packages(packages: &[&'static str]) -> Result<Vec<&'static str>> {
    // dpkg-query fails when it does not know one of the names, but lists the others all the same.
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\\n"])
        .args(packages)
        .stderr(Stdio::null())
        .output();
    let Ok(query) = query else {
        bail!("this is not a Debian system; install what it calls {}", packages.join(", "));
    };
    Ok(missing_from(packages, &String::from_utf8_lossy(&query.stdout)))
}

fn missing_from(packages: &[&'static str], listing: &str) -> Vec<&'static str> {
    let installed: Vec<&str> =
        listing.lines().filter_map(|line| line.strip_suffix(" installed")).map(str::trim).collect();
    packages.iter().copied().filter(|package| !installed.contains(package)).collect()
}

/// The words that go before a command to run it as root: none for root itself, `None` if this user cannot.
fn privilege() -> Option<&'static [&'static str]> {
    let user = output(Command::new("id").arg("-u"), "install coreutils").ok()?;
    if user.trim() == "0" {
        return Some(&[]);
    }
    succeeds(Command::new("sudo").args(["-n", "true"])).then_some(&["sudo", "-n"])
}

fn apt_get(prefix: &[&str]) -> Command {
    // `env` because sudo drops the variables of its caller.
    let words = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq"];
    let mut words = prefix.iter().chain(&words);
    let mut command = Command::new(words.next().expect("there is at least `env`"));
    command.args(words);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::shown;

    #[test]
    fn only_installed_packages_count() {
        let listing = "cmake installed\nninja-build not-installed\ng++ installed\npkg-config config-files\n\
                       libboost-dev installed\nlibevent-dev installed\nlibcapnp-dev half-configured\n";
        assert_eq!(
            missing_from(&FOR_BITCOIN_NODE, listing),
            ["ninja-build", "pkg-config", "capnproto", "libcapnp-dev", "libsqlite3-dev"]
        );
        assert_eq!(missing_from(&FOR_BITCOIN_NODE, ""), FOR_BITCOIN_NODE);
    }

    #[test]
    fn sudo_keeps_apt_from_asking() {
        let asked = shown(apt_get(&["sudo", "-n"]).arg("update"));
        assert!(asked.starts_with("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get "), "{asked}");
        assert!(shown(&apt_get(&[])).starts_with("env DEBIAN_FRONTEND"));
    }
}
