//! A pool to measure: on a chain inside its process, with easy shares and hard blocks.
//!
//! Prints its URL and process id, and runs until it is ended. Each line on its standard input makes a block (choose
//! `--block-bits` so that one can be found), after which it prints when the chain took it, in microseconds of Unix time:
//!
//! ```sh
//! mkfifo in out
//! cargo run --release --example local_pool -- --block-bits 20 <in >out &
//! exec 3>in 4<out; read -r ready <&4
//! assay swarm fanout --pool … --trigger-cmd 'echo >in; read -r at <out; echo $at' …
//! ```

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bitcoin::{Amount, Block, BlockHash, ScriptBuf, Transaction, Txid, block::Header, consensus};
use clap::Parser;
use engine::{EngineConfig, Rate};
use ledger::{Ledger, Params};
use node::devchain::{Devchain, DevchainConfig, solve, system_clock};
use node::{BlockInfo, Chain, Node, NodeError, NodeStatus, Stop, Submitted, Template, TemplateId, Tip};
use pool::{ChannelLimits, Parts, Pool, PoolConfig};
use rand::rngs::OsRng;
use sv2::Endpoint;
use sv2::noise::{AuthoritySecret, Identity, Validity};
use work::{ServerId, Target};

type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: std::net::SocketAddr,
    /// Threads that serve connections.
    #[arg(long, default_value_t = 2)]
    shards: u16,
    /// Expected hashes of a share.
    #[arg(long, default_value_t = 256)]
    min_share_hashes: u64,
    /// A block takes two to this power hashes.
    #[arg(long, default_value_t = 48)]
    block_bits: u32,
    /// Length of the merkle path that extended shares climb; a full block has 12. The chain's own is as long as its
    /// transactions need, which are none. With a path of another length the pool's blocks would be invalid, and none
    /// is found as long as they are hard.
    #[arg(long, default_value_t = 12)]
    merkle_steps: usize,
    /// What vardiff aims at; so many that it never gives harder targets.
    #[arg(long, default_value_t = 60_000_000)]
    shares_per_minute: u32,
    /// Where the ledger is; by default in a directory that is removed at the end.
    #[arg(long)]
    ledger: Option<std::path::PathBuf>,
    /// End after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let bits = Target::for_expected_hashes(1 << arguments.block_bits.min(120));
    let bits = bitcoin::Target::from_le_bytes(bits.to_le_bytes()).to_compact_lossy();
    let rules = DevchainConfig { bits, subsidy: Amount::from_sat(312_500_000), ..DevchainConfig::default() };
    let chain = Devchain::new(rules, system_clock())?;

    let directory = tempfile::tempdir()?;
    let path = arguments.ledger.clone().unwrap_or_else(|| directory.path().join("ledger.db"));
    let (books, ledger) =
        Ledger::open(path, Params { q: 3, window: 16, fee_ppm: 10_000, maturity: 100, redeem_blocks: 0 })?;
    let authority = AuthoritySecret::generate(&mut OsRng);
    let identity = Arc::new(Identity::new(authority, Validity::default(), unix()?.as_secs(), &mut OsRng));
    let key = identity.authority();

    let node = Arc::new(FullBlocks { chain: chain.clone(), merkle_steps: arguments.merkle_steps });
    let parts = Parts { node, ledger, stop: Stop::new() };
    let pool = Pool::start(pool_config(&arguments), engine_config(&arguments, identity), parts)?;
    let address = pool.local_addr();
    let url = Endpoint { host: address.ip().to_string(), port: address.port(), authority: Some(key) };
    say(&format!("ready: {url} pid={}", std::process::id()))?;

    let feeder = std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let answer = line.map_err(Failure::from).and_then(|_| make_block(&chain));
            let said = match answer {
                Ok(at) => say(&at.to_string()),
                Err(error) => say(&format!("no block: {error}")),
            };
            if said.is_err() {
                break;
            }
        }
    });
    match arguments.seconds {
        Some(seconds) => std::thread::sleep(Duration::from_secs(seconds)),
        None => loop {
            std::thread::park();
        },
    }
    drop(feeder);
    pool.stop();
    books.close()?;
    Ok(())
}

fn pool_config(arguments: &Arguments) -> PoolConfig {
    PoolConfig {
        server_id: ServerId::new(0),
        payout_script: op_true(),
        tag: b"local pool".to_vec(),
        default_payout_key: None,
        shares_per_minute: arguments.shares_per_minute,
        min_share_hashes: arguments.min_share_hashes,
        block_dir: None,
        node_patience: Duration::from_secs(3600),
        limits: ChannelLimits {
            channels_per_connection: u16::MAX,
            shares_per_tip: usize::try_from(u32::MAX).unwrap_or(usize::MAX),
            requests_per_minute: u32::MAX,
            first_channel_patience: Duration::from_secs(3600),
            ..ChannelLimits::default()
        },
    }
}

fn engine_config(arguments: &Arguments, identity: Arc<Identity>) -> EngineConfig {
    let mut config = EngineConfig::new(arguments.listen, identity);
    config.shards = arguments.shards;
    config.limits.connections_per_address = config.limits.connections;
    config.limits.half_open_per_address = config.limits.half_open;
    // All the load comes from one address.
    config.limits.connection_rate = Rate::UNLIMITED;
    // A new block for as many channels as a connection may have.
    config.limits.backlog = usize::from(u16::MAX) * 256;
    config
}

fn op_true() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

fn unix() -> Result<Duration, Failure> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Finds a block, and then hands it in; returns when that was.
fn make_block(chain: &Devchain) -> Result<u128, Failure> {
    const EXTRANONCE: [u8; 8] = *b"swarming";
    let template: Template = chain.next_template(None, &Stop::new(), None)?;
    let parts = template.coinbase(EXTRANONCE.len(), b"local pool", &template.pay_all(op_true()))?;
    let root = template.merkle_root(parts.txid(&EXTRANONCE));
    let header = |nonce| template.header(template.version, root, template.cur_time, nonce);
    let mut solved: Header = consensus::deserialize(&header(0))?;
    if !solve(&mut solved) {
        return Err("no nonce meets the target; choose smaller --block-bits".into());
    }
    let block = template.assemble(&parts, &header(solved.nonce), &EXTRANONCE)?;
    let at = unix()?.as_micros();
    chain.submit_block(&block)?;
    Ok(at)
}

/// The chain, with templates that look as if their blocks were full.
struct FullBlocks {
    chain: Devchain,
    merkle_steps: usize,
}

impl Node for FullBlocks {
    fn next_template(
        &self,
        known: Option<&TemplateId>,
        stop: &Stop,
        deadline: Option<Instant>,
    ) -> Result<Template, NodeError> {
        let mut template = self.chain.next_template(known, stop, deadline)?;
        template.merkle_path = vec![[0x5a; 32]; self.merkle_steps].into_boxed_slice();
        Ok(template)
    }

    fn chain(&self) -> Chain {
        self.chain.chain()
    }

    fn submit_block(&self, block: &[u8]) -> Result<Submitted, NodeError> {
        self.chain.submit_block(block)
    }

    fn tip(&self) -> Result<Tip, NodeError> {
        self.chain.tip()
    }

    fn wait_tip(&self, known: &BlockHash, stop: &Stop, deadline: Instant) -> Result<Tip, NodeError> {
        self.chain.wait_tip(known, stop, deadline)
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError> {
        self.chain.block_hash(height)
    }

    fn block_info(&self, hash: &BlockHash) -> Result<Option<BlockInfo>, NodeError> {
        self.chain.block_info(hash)
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError> {
        self.chain.block(hash)
    }

    fn broadcast(&self, transaction: &Transaction) -> Result<Txid, NodeError> {
        self.chain.broadcast(transaction)
    }

    fn status(&self) -> NodeStatus {
        self.chain.status()
    }
}
