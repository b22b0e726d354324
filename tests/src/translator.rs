//! The reference implementation's translator, `translator_sv2`: SV1 miners on one side, a pool on the other.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::assay::AssayPool;
use crate::binaries;
use crate::process::{Process, free_port};
use crate::waiting::wait_until;

/// How the translator's miners become channels of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// All miners share one extended channel.
    Aggregated,
    /// Each miner has an extended channel of its own.
    OnePerMiner,
}

/// A running translator. It is killed when dropped.
#[derive(Debug)]
pub struct Translator {
    process: Process,
    address: SocketAddr,
    _directory: TempDir,
}

impl Translator {
    /// Starts a translator that mines for `payout_key` on `pool`.
    pub fn start(pool: &AssayPool, payout_key: &str, channels: Channels) -> Translator {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = directory.path().join("translator.toml");
        write_config(&config, address, pool, payout_key, channels);
        let mut command = Command::new(binaries::translator());
        command.arg("-c").arg(&config).env("RUST_LOG", "info");
        let mut process =
            Process::spawn_quiet("translator_sv2", &mut command, &directory.path().join("translator.log"));
        wait_until("the translator listens", Duration::from_secs(20), || {
            assert!(process.is_running(), "translator_sv2 ended: {}", process.log());
            TcpStream::connect(address).is_ok()
        });
        Translator { process, address, _directory: directory }
    }

    /// Where SV1 miners connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

fn write_config(path: &Path, listen: SocketAddr, pool: &AssayPool, payout_key: &str, channels: Channels) {
    let upstream: SocketAddr = pool.addresses().stratum.parse().expect("the ready line has an address");
    // A slow miner in the eyes of the translator: it opens its channels with a target of 60 shares a minute at
    // 300 kH/s, some 300,000 hashes a share, which the pool must respect as the channel's maximum.
    let text = format!(
        "downstream_address = \"{}\"\ndownstream_port = {}\nmax_supported_version = 2\nmin_supported_version = 2\n\
         downstream_extranonce2_size = 4\nverify_payout = false\naggregate_channels = {}\n\
         supported_extensions = [0x0002]\n\
         [downstream_difficulty_config]\nmin_individual_miner_hashrate = 300_000.0\nshares_per_minute = 60.0\n\
         enable_vardiff = true\njob_keepalive_interval_secs = 60\n\
         [[upstreams]]\naddress = \"{}\"\nport = {}\nauthority_pubkey = \"{}\"\nuser_identity = \"{payout_key}\"\n",
        listen.ip(),
        listen.port(),
        channels == Channels::Aggregated,
        upstream.ip(),
        upstream.port(),
        pool.addresses().authority,
    );
    std::fs::write(path, text).expect("the temporary directory can be written");
}
