//! The chain and the pools upon it, each started with a configuration that is written here.

use super::process::{Process, is_listening, limitless};
use anyhow::{Context, Result};
use serde_json::Value;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Time to start on a busy machine.
const START: Duration = Duration::from_secs(60);
/// … and with a chain to be found and a mempool to be filled.
const START_CHAIN: Duration = Duration::from_secs(600);

/// Both pools aim at so many shares a minute and channel: vardiff then leaves the targets alone under load, and SRI's
/// memory of shares, which follows from it, is as large as it can be.
const SHARES_PER_MINUTE: u32 = 60_000_000;
/// Expected hashes of a share on our pool, the least that it takes. SRI's takes any hash.
const SHARE_HASHES: u32 = 256;
/// Shares that SRI's pool acknowledges together, as in its example configurations.
pub const SRI_BATCH: u32 = 10;
/// The example configurations' key.
const SRI_PUBLIC_KEY: &str = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72";
const SRI_SECRET_KEY: &str = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n";

/// Whose pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    Sri,
    Assay,
}

impl Maker {
    pub fn name(self) -> &'static str {
        match self {
            Maker::Sri => "sri",
            Maker::Assay => "assay",
        }
    }
}

/// Where the programs are.
pub struct Programs {
    pub assay: PathBuf,
    /// From the workspace as it is, not given by the user.
    pub built_here: bool,
    pub measured_chain: PathBuf,
    pub bitcoin_node: PathBuf,
    pub pool_sv2: PathBuf,
}

/// A node with a signet of its own and transactions in its mempool.
pub struct Chain {
    process: Option<Process>,
    program: PathBuf,
    place: Value,
}

impl Chain {
    /// Starts it with its data below `scratch`, and with so many new blocks in store.
    pub fn start(programs: &Programs, scratch: &Path, blocks: u32) -> Result<Self> {
        let mut command = Command::new(&programs.measured_chain);
        command.args(["start", &blocks.to_string()]);
        command.env("ASSAY_BITCOIN_NODE", &programs.bitcoin_node).env("TMPDIR", scratch);
        let mut process = Process::start("measured_chain", &mut command, &scratch.join("chain.log"))?;
        let place = process.await_ready(START_CHAIN, |output| {
            output.lines().find_map(|line| serde_json::from_str::<Value>(line).ok())
        })?;
        Ok(Self { process: Some(process), program: programs.measured_chain.clone(), place })
    }

    /// Fails when it has ended.
    pub fn check(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }

    /// For `assay swarm fanout --trigger-cmd`.
    pub fn block_command(&self) -> String {
        format!("{} block {}", self.program.display(), self.text("block_socket"))
    }

    /// Transactions of a template, and the length of the merkle path that follows.
    pub fn transactions(&self) -> (u64, u32) {
        let transactions = self.place["transactions"].as_u64().unwrap_or(0);
        (transactions, merkle_steps(transactions))
    }

    fn text(&self, field: &str) -> &str {
        self.place[field].as_str().unwrap_or_default()
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // Killed, it would leave its node behind.
        if let Some(process) = self.process.take() {
            process.dismiss();
        }
    }
}

/// From the coinbase to the root, beside so many transactions.
fn merkle_steps(transactions: u64) -> u32 {
    (transactions + 1).next_power_of_two().ilog2()
}

/// A pool that takes connections.
pub struct Pool {
    pub process: Process,
    /// For `assay swarm --pool`.
    pub url: String,
}

/// Starts a pool with its data and log in `directory`. `batch` is for SRI's alone: ours acknowledges what one write to
/// the disk made durable.
pub fn start(maker: Maker, programs: &Programs, chain: &Chain, directory: &Path, batch: u32) -> Result<Pool> {
    std::fs::create_dir_all(directory)?;
    match maker {
        Maker::Assay => start_assay(programs, chain, directory),
        Maker::Sri => start_sri(programs, chain, directory, batch),
    }
}

fn start_assay(programs: &Programs, chain: &Chain, directory: &Path) -> Result<Pool> {
    let config = directory.join("assay.toml");
    std::fs::write(&config, assay_config(chain, directory))?;
    let mut command = limitless(&programs.assay);
    command.args(["pool", "--config"]).arg(&config);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ASSAY_") {
            command.env_remove(name);
        }
    }
    command.env("ASSAY_LOG", "warn");
    let mut process = Process::start("assay pool", &mut command, &directory.join("log"))?;
    let url = process.await_ready(START, |output| output.lines().find_map(url_of_ready_line))?;
    Ok(Pool { process, url })
}

fn start_sri(programs: &Programs, chain: &Chain, directory: &Path, batch: u32) -> Result<Pool> {
    let port = free_port()?;
    let config = directory.join("pool.toml");
    std::fs::write(&config, sri_config(chain, port, batch))?;
    let mut command = limitless(&programs.pool_sv2);
    command.arg("-c").arg(&config).env("RUST_LOG", "warn");
    let mut process = Process::start("pool_sv2", &mut command, &directory.join("log"))?;
    process.await_ready(START, |_| is_listening(port).then_some(()))?;
    Ok(Pool { process, url: format!("stratum2+tcp://127.0.0.1:{port}/{SRI_PUBLIC_KEY}") })
}

/// Everything that is not said here is as it would be without a configuration. The load comes from one machine, so limits
/// of one address or channel that would end it are lifted. And as the chain's blocks are easier than anybody's shares, an
/// epoch is as long as can be: at 16,000 shares it is still a millionth of a real one.
fn assay_config(chain: &Chain, directory: &Path) -> String {
    format!(
        "data_dir = \"{}\"\n\
         [pool]\nlisten = \"127.0.0.1:0\"\npayout_script = \"{}\"\ntag = \"measured\"\n\
         shares_per_minute = {SHARES_PER_MINUTE}\nmin_share_hashes = {SHARE_HASHES}\n\
         [node]\nurl = \"{}\"\ncookie_file = \"{}\"\nnetwork = \"signet\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n\
         [epochs]\nq = 0\n\
         [limits]\nconnections_per_address = 18000\nshares_per_tip = 4000000\n",
        directory.join("data").display(),
        chain.text("payout_script"),
        chain.text("url"),
        chain.text("cookie_file"),
    )
}

fn sri_config(chain: &Chain, port: u16, batch: u32) -> String {
    format!(
        "authority_public_key = \"{SRI_PUBLIC_KEY}\"\nauthority_secret_key = \"{SRI_SECRET_KEY}\"\n\
         cert_validity_sec = 86400\nlisten_address = \"127.0.0.1:{port}\"\n\
         coinbase_reward_script = \"raw({})\"\nserver_id = 1\npool_signature = \"measured\"\n\
         shares_per_minute = {SHARES_PER_MINUTE}.0\nshare_batch_size = {batch}\n\
         [template_provider_type.BitcoinCoreIpc]\nversion = 31\nnetwork = \"signet\"\n\
         data_dir = \"{}\"\nfee_threshold = 100\nmin_interval = 5\n",
        chain.text("payout_script"),
        chain.text("data_dir"),
    )
}

/// From a line such as `ready: stratum=127.0.0.1:3333 http=… authority=…`.
fn url_of_ready_line(line: &str) -> Option<String> {
    let words = line.strip_prefix("ready: ")?;
    let field = |name: &str| words.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    Some(format!("stratum2+tcp://{}/{}", field("stratum")?, field("authority")?))
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("127.0.0.1 has no free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn chain() -> Chain {
        let place = json!({"url": "http://127.0.0.1:1", "cookie_file": "/n/.cookie", "data_dir": "/n",
            "block_socket": "/n/block.sock", "payout_script": "0020aa", "transactions": 2420});
        Chain { process: None, program: "/t/measured_chain".into(), place }
    }

    #[test]
    fn both_pools_have_the_same_node_and_pay_to_the_same_script() {
        let assay = assay_config(&chain(), Path::new("/d"));
        assert!(assay.contains("data_dir = \"/d/data\"\n") && assay.contains("payout_script = \"0020aa\""));
        assert!(assay.contains("url = \"http://127.0.0.1:1\"\ncookie_file = \"/n/.cookie\""));
        let sri = sri_config(&chain(), 7, SRI_BATCH);
        assert!(sri.contains("data_dir = \"/n\"\n") && sri.contains("\"raw(0020aa)\""));
        assert!(sri.contains("127.0.0.1:7\"") && sri.contains("share_batch_size = 10\n"));
        for config in [assay, sri] {
            assert!(config.contains("shares_per_minute = 60000000"), "{config}");
        }
        assert_eq!(chain().block_command(), "/t/measured_chain block /n/block.sock");
    }

    #[test]
    fn the_merkle_path_follows_from_the_transactions() {
        for (transactions, steps) in [(0, 0), (1, 1), (2047, 11), (2048, 12), (4095, 12), (4096, 13)] {
            assert_eq!(merkle_steps(transactions), steps);
        }
        assert_eq!(chain().transactions(), (2420, 12));
    }

    #[test]
    fn the_ready_line_has_the_url() {
        let line = "ready: stratum=127.0.0.1:3333 http=127.0.0.1:8330 authority=9abc";
        assert_eq!(url_of_ready_line(line).unwrap(), "stratum2+tcp://127.0.0.1:3333/9abc");
        assert_eq!(url_of_ready_line("warning: no http"), None);
    }
}
