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
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::{Amount, ScriptBuf, block::Header, consensus};
use clap::Parser;
use engine::EngineConfig;
use ledger::{Ledger, Params};
use node::devchain::{Devchain, DevchainConfig, solve, system_clock};
use node::{Node, Stop, Template};
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
    let (books, ledger) = Ledger::open(path, Params { q: 3, window: 16, fee_ppm: 10_000, maturity: 100 })?;
    let authority = AuthoritySecret::generate(&mut OsRng);
    let identity = Arc::new(Identity::new(authority, Validity::default(), unix()?.as_secs(), &mut OsRng));
    let key = identity.authority();

    let parts = Parts { node: Arc::new(chain.clone()), ledger, stop: Stop::new() };
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
        node_patience: Duration::from_secs(3600),
        limits: ChannelLimits {
            channels_per_connection: u16::MAX,
            shares_per_tip: usize::try_from(u32::MAX).unwrap_or(usize::MAX),
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
