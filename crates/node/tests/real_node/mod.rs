//! Starts and stops a real `bitcoin-node` on a chain of its own.

use {
    assay_node::{Chain, RpcAuth, RpcConfig, RpcNode},
    std::{
        net::TcpListener,
        path::{Path, PathBuf},
        process::{Child, Command, Stdio},
        time::{Duration, Instant},
    },
};

pub struct RealNode {
    binary: PathBuf,
    chain: Chain,
    datadir: tempfile::TempDir,
    rpc_port: u16,
    process: Option<Child>,
}

impl RealNode {
    /// Starts a node with an empty chain, or ends the test with a word on how to get one.
    ///
    /// Blocks of its signet need no signature and four million hashes; those of its regtest next to none.
    pub fn start(chain: Chain) -> Self {
        let binary = binary();
        assert!(
            binary.is_file(),
            "no bitcoin-node at {}: run `cargo xtask test`, which builds it, or set ASSAY_BITCOIN_NODE",
            binary.display()
        );
        let datadir = tempfile::tempdir().unwrap();
        let rpc_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut node = Self { binary, chain, datadir, rpc_port, process: None };
        node.launch();
        node
    }

    /// Starts the process again after [`kill`](Self::kill).
    pub fn launch(&mut self) {
        assert!(self.process.is_none());
        let chain: &[&str] = match self.chain {
            Chain::Regtest => &["-regtest"],
            _ => &["-signet", "-signetchallenge=51"],
        };
        let process = Command::new(&self.binary)
            .args(chain)
            .args(["-server", "-listen=0", "-connect=0"])
            .args(["-dbcache=4", "-debuglogfile=0", "-printtoconsole=0", "-acceptnonstdtxn=1"])
            .arg(format!("-rpcport={}", self.rpc_port))
            .arg(format!("-datadir={}", self.datadir.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// As a crash would.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    pub fn config(&self) -> RpcConfig {
        let cookie = self.datadir.path().join(self.chain.name()).join(".cookie");
        RpcConfig::new(format!("http://127.0.0.1:{}", self.rpc_port), RpcAuth::Cookie(cookie), self.chain)
    }

    pub fn connect(&self) -> RpcNode {
        RpcNode::new(self.config()).unwrap()
    }

    /// Asks the node directly, for what the trait has no call for.
    pub fn call(&self, method: &str, params: &serde_json::Value) -> serde_json::Value {
        let RpcAuth::Cookie(path) = self.config().auth else { unreachable!() };
        let cookie = std::fs::read_to_string(path).unwrap();
        let url = format!("http://{cookie}@127.0.0.1:{}", self.rpc_port);
        let request = serde_json::json!({ "jsonrpc": "1.0", "id": 1, "method": method, "params": params });
        ureq::post(url).send_json(request).unwrap().body_mut().read_json().unwrap()
    }
}

impl Drop for RealNode {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ASSAY_BITCOIN_NODE") {
        return path.into();
    }
    let home = std::env::var_os("HOME").unwrap_or_default();
    Path::new(&home).join(".cache/assay/bitcoin-node-kernel-sys-0.4.1/bin/bitcoin-node")
}

/// How long the slowest step may take on a busy machine.
pub fn patience() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(180))
}
