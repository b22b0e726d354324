//! `assay keys`: the pool's authority key and a miner's payout keys.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use bitcoin::secp256k1::{Keypair, SECP256K1};
use clap::{Args, Subcommand};
use serde_json::json;
use sv2::noise::{AuthorityKey, AuthoritySecret};
use work::PayoutKey;

use crate::config::PoolFile;
use crate::output;

/// Name of the authority's secret in the data directory.
const AUTHORITY_FILE: &str = "authority.key";

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make, if there is none, and show the pool's authority key: miners verify the pool by it.
    Authority(Authority),
    /// Make a payout key: the user name to mine with, and the secret that its eHash will be claimed by.
    Payout {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct Authority {
    /// The pool's configuration, to find the data directory by.
    #[arg(long, value_name = "FILE", required_unless_present = "data_dir", conflicts_with = "data_dir")]
    config: Option<PathBuf>,
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Show the secret, too.
    #[arg(long)]
    secret: bool,
}

pub fn run(arguments: Arguments) -> Result<ExitCode> {
    match arguments.command {
        Command::Authority(arguments) => show_authority(arguments)?,
        Command::Payout { json } => make_payout(json),
    }
    Ok(ExitCode::SUCCESS)
}

fn show_authority(arguments: Authority) -> Result<()> {
    let data_dir = match (arguments.data_dir, arguments.config) {
        (Some(data_dir), _) => data_dir,
        (None, Some(config)) => PoolFile::load(&config)?.data_dir,
        (None, None) => anyhow::bail!("name the data directory: --data-dir DIR or --config FILE"),
    };
    let secret = authority(&data_dir)?;
    output::line(format_args!("authority key: {}", secret.public()));
    if arguments.secret {
        output::line(format_args!("secret: {}", secret.to_text().as_str()));
    }
    Ok(())
}

fn make_payout(json: bool) {
    let pair = Keypair::new(SECP256K1, &mut rand::rngs::OsRng);
    let key = PayoutKey::from(pair.x_only_public_key().0);
    let secret = pair.display_secret();
    if json {
        output::line(json!({ "payout_key": key.to_string(), "secret": secret.to_string() }));
    } else {
        output::line(format_args!("payout key: {key}"));
        output::line(format_args!("secret:     {secret}"));
        output::line(
            "Mine with the payout key as user name. Keep the secret: whoever has it owns the eHash.",
        );
    }
}

/// The authority's secret in `data_dir`; made, readable by its owner alone, when there is none.
pub fn authority(data_dir: &Path) -> Result<AuthoritySecret> {
    fs::create_dir_all(data_dir)
        .with_context(|| format!("the data directory {} cannot be made", data_dir.display()))?;
    let path = data_dir.join(AUTHORITY_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse::<AuthoritySecret>().with_context(|| {
            format!("{} holds no authority secret; restore it from a backup", path.display())
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let secret = AuthoritySecret::generate(&mut rand::rngs::OsRng);
            store(&path, secret.to_text().as_str())
                .with_context(|| format!("{} cannot be written", path.display()))?;
            Ok(secret)
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// The authority's secret of a pool whose ledger is at `ledger`. A pool that has run before does not get another one: its
/// miners know it by the first.
pub fn authority_of_pool(data_dir: &Path, ledger: &Path) -> Result<AuthoritySecret> {
    let path = data_dir.join(AUTHORITY_FILE);
    anyhow::ensure!(
        path.exists() || !ledger.exists(),
        "{} is missing, although the pool has run here: restore it from a backup; a new one, which every miner would \
         have to be told, makes `assay keys authority --data-dir {}`",
        path.display(),
        data_dir.display()
    );
    authority(data_dir)
}

/// Stores a secret for its owner alone; written aside and renamed, so that no half-written one is ever found.
pub fn store(path: &Path, secret: &str) -> std::io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    fs::rename(&aside, path)
}

/// How `key` is written for miners: `stratum2+tcp://host:port/<key>`.
pub fn pool_url(address: std::net::SocketAddr, key: AuthorityKey) -> String {
    format!("stratum2+tcp://{address}/{key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = authority(dir.path()).unwrap().public();
        assert_eq!(authority(dir.path()).unwrap().public(), first);
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(dir.path().join(AUTHORITY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(AUTHORITY_FILE), "rubbish").unwrap();
        let error = authority(dir.path()).expect_err("rubbish is no key");
        assert!(format!("{error:#}").contains("restore it from a backup"), "{error:#}");
    }
}
