//! A real `bitcoin-node` on the signet of [`crate::signet`], alone in the world, with its own data directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::{Block, BlockHash, CompactTarget, Transaction};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Process, free_port};
use crate::proof_of_work::solve;
use crate::signet::{CHALLENGE, Candidate, candidate, prepared_blocks, spends};
use crate::waiting::wait_until;
use crate::{binaries, http, signet};

/// Long enough for a start on a machine that is compiling something beside it.
const START: Duration = Duration::from_secs(60);

/// A node. It is killed when dropped.
#[derive(Debug)]
pub struct RealNode {
    process: Option<Process>,
    directory: TempDir,
    port: u16,
    ipc: bool,
}

impl RealNode {
    /// Starts a node whose chain is the prepared one, [`crate::signet::PREPARED_HEIGHT`] blocks.
    pub fn start() -> RealNode {
        RealNode::start_anew(false)
    }

    /// The same, with its IPC socket at `signet/node.sock` in [`RealNode::directory`].
    pub fn start_with_ipc() -> RealNode {
        RealNode::start_anew(true)
    }

    fn start_anew(ipc: bool) -> RealNode {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut node = RealNode { process: None, directory, port: free_port(), ipc };
        node.restart();
        for block in prepared_blocks() {
            node.submit(&block);
        }
        // Without it, a killed node would forget even the prepared chain.
        node.flush();
        node
    }

    /// Starts it on the data directory and port that it had before.
    ///
    /// # Panics
    /// When it runs already, or does not answer in time.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "the node runs already");
        let mut command = Command::new(binaries::bitcoin_node());
        command.arg(format!("-datadir={}", self.directory.path().display()));
        command.args(["-signet", &format!("-signetchallenge={CHALLENGE}")]);
        command.args(["-listen=0", "-connect=0", "-dnsseed=0", "-fixedseeds=0", "-natpmp=0"]);
        command.args([
            "-server=1",
            "-rpcbind=127.0.0.1",
            "-rpcallowip=127.0.0.1",
            &format!("-rpcport={}", self.port),
        ]);
        if self.ipc {
            command.arg("-ipcbind=unix");
        }
        // The prepared blocks are years old, and the node would take itself to be in initial download.
        command.args(["-maxtipage=1000000000", "-printtoconsole=0", "-dbcache=32", "-par=1"]);
        let log = self.directory.path().join("console.log");
        let mut process = Process::spawn_quiet("bitcoin-node", &mut command, &log);
        wait_until("bitcoin-node answers", START, || {
            assert!(process.is_running(), "bitcoin-node ended: {}", process.log());
            self.try_rpc("getblockcount", &json!([])).is_ok()
        });
        self.process = Some(process);
    }

    /// Ends it with SIGKILL, in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.process.take().expect("the node runs").kill();
    }

    /// Its data directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// URL of its JSON-RPC server.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The file with the credentials for [`RealNode::url`]; the node writes a new one at every start.
    pub fn cookie_file(&self) -> PathBuf {
        self.directory.path().join("signet/.cookie")
    }

    /// Calls `method` and gives its result, or what went wrong in words.
    pub fn try_rpc(&self, method: &str, params: &Value) -> Result<Value, String> {
        let cookie = std::fs::read_to_string(self.cookie_file()).map_err(|error| error.to_string())?;
        let request = json!({"jsonrpc": "2.0", "id": 0, "method": method, "params": params});
        let answer =
            http::post(&self.url(), &cookie, &request.to_string()).map_err(|error| error.to_string())?;
        let mut answer: Value =
            serde_json::from_str(&answer.body).map_err(|error| format!("{error}: {}", answer.body))?;
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(answer["error"].to_string()),
        }
    }

    /// Calls `method` and gives its result.
    ///
    /// # Panics
    /// With what the node said when it refuses.
    pub fn rpc(&self, method: &str, params: &Value) -> Value {
        self.try_rpc(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Height of the active chain.
    pub fn height(&self) -> u32 {
        let height = self.rpc("getblockcount", &json!([]));
        height.as_u64().and_then(|height| u32::try_from(height).ok()).expect("a height")
    }

    /// Hash of the active chain's last block.
    pub fn tip(&self) -> BlockHash {
        hash(&self.rpc("getbestblockhash", &json!([])))
    }

    /// Hash of the block of the active chain at `height`.
    pub fn block_hash(&self, height: u32) -> BlockHash {
        hash(&self.rpc("getblockhash", &json!([height])))
    }

    /// The block of the active chain at `height`.
    pub fn block(&self, height: u32) -> Block {
        let block = self.rpc("getblock", &json!([self.block_hash(height).to_string(), 0]));
        deserialize_hex(block.as_str().expect("a block in hex")).expect("a block as the node stores it")
    }

    /// Confirmations of a block: negative when it is not in the active chain.
    pub fn confirmations(&self, block: BlockHash) -> i64 {
        self.rpc("getblockheader", &json!([block.to_string()]))["confirmations"].as_i64().expect("a number")
    }

    /// Gives `block` to the node, which must accept it.
    pub fn submit(&self, block: &Block) {
        let answer = self.rpc("submitblock", &json!([serialize_hex(block)]));
        assert!(answer.is_null(), "the node refuses the block {}: {answer}", block.block_hash());
    }

    /// Mines `count` empty blocks on the active chain, with the processor of the test, and gives their hashes.
    pub fn mine(&self, count: u32, note: &[u8]) -> Vec<BlockHash> {
        (0..count).map(|_| self.mine_with(&[], note)).collect()
    }

    /// Mines a block with `transactions`, whose fees nobody collects.
    pub fn mine_with(&self, transactions: &[Transaction], note: &[u8]) -> BlockHash {
        let tip = self.tip();
        let header = self.rpc("getblockheader", &json!([tip.to_string()]));
        let number = |field: &str| {
            header[field].as_u64().and_then(|value| u32::try_from(value).ok()).expect("a number")
        };
        let bits = header["bits"]
            .as_str()
            .and_then(|bits| u32::from_str_radix(bits, 16).ok())
            .expect("a compact target");
        let mut block = candidate(&Candidate {
            height: number("height") + 1,
            parent: tip,
            time: number("time") + 1,
            // The tests stay far below the first retarget at height 2016.
            bits: CompactTarget::from_consensus(bits),
            coins: 1,
            note,
        });
        signet::include(&mut block, transactions);
        while !solve(&mut block.header) {
            block.header.time += 1;
        }
        self.submit(&block);
        block.block_hash()
    }

    /// Puts `count` transactions into the mempool and gives them.
    pub fn fill_mempool(&self, count: u32) -> Vec<Transaction> {
        let transactions = spends(count, 500);
        for transaction in &transactions {
            self.rpc("sendrawtransaction", &json!([serialize_hex(transaction)]));
        }
        transactions
    }

    /// Number of transactions in the mempool.
    pub fn mempool_size(&self) -> u64 {
        self.rpc("getmempoolinfo", &json!([]))["size"].as_u64().expect("a number")
    }

    /// Sends it a signal, named as `kill` names it.
    pub fn signal(&self, signal: &str) {
        self.process.as_ref().expect("the node runs").signal(signal);
    }

    /// Takes a block and all that follow it out of the active chain, as if it had turned out to be invalid.
    pub fn invalidate(&self, block: BlockHash) {
        self.rpc("invalidateblock", &json!([block.to_string()]));
    }

    /// Undoes [`RealNode::invalidate`].
    pub fn reconsider(&self, block: BlockHash) {
        self.rpc("reconsiderblock", &json!([block.to_string()]));
    }

    /// Writes the chain state to disk. A node that is killed comes back with the chain of its last flush.
    pub fn flush(&self) {
        self.rpc("gettxoutsetinfo", &json!(["none"]));
    }
}

fn hash(value: &Value) -> BlockHash {
    value.as_str().and_then(|text| BlockHash::from_str(text).ok()).expect("a block hash")
}
