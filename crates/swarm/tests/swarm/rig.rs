//! A pool on a chain and a ledger of its own for every test.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::ScriptBuf;
use device::PoolAddress;
use engine::EngineConfig;
use ledger::{Ledger, Params};
use node::Stop;
use node::devchain::{Devchain, DevchainConfig, system_clock};
use pool::{ChannelLimits, Parts, Pool, PoolConfig};
use rand::rngs::OsRng;
use sv2::noise::{AuthorityKey, AuthoritySecret, Identity, Validity};
use swarm::Fleet;
use tempfile::TempDir;
use work::{ServerId, Target};

/// Expected hashes of a share, and of a block: one share in 4096 would be a block if blocks were not left out.
const SHARE_HASHES: u64 = 1 << 4;
const BLOCK_HASHES: u128 = 1 << 16;

pub struct Rig {
    pub chain: Devchain,
    pool: Option<Pool>,
    books: Option<Ledger>,
    authority: AuthorityKey,
    _directory: TempDir,
}

impl Rig {
    pub fn start() -> Self {
        Self::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut PoolConfig)) -> Self {
        let bits = Target::for_expected_hashes(BLOCK_HASHES).to_le_bytes();
        let bits = bitcoin::Target::from_le_bytes(bits).to_compact_lossy();
        let chain =
            Devchain::new(DevchainConfig { bits, ..DevchainConfig::default() }, system_clock()).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let secret = AuthoritySecret::generate(&mut OsRng);
        let authority = secret.public();
        let identity = Arc::new(Identity::new(secret, Validity::default(), now, &mut OsRng));
        let directory = tempfile::tempdir().unwrap();
        let params = Params { q: 3, window: 4, fee_ppm: 10_000, maturity: 2, redeem_blocks: 0 };
        let (books, ledger) = Ledger::open(directory.path().join("ledger.db"), params).unwrap();
        let mut config = PoolConfig {
            server_id: ServerId::new(7),
            payout_script: ScriptBuf::from_bytes(vec![0x51]),
            tag: b"swarm test".to_vec(),
            default_payout_key: None,
            shares_per_minute: 60_000_000,
            min_share_hashes: SHARE_HASHES,
            limits: ChannelLimits::default(),
            block_dir: None,
            node_patience: Duration::from_secs(3600),
        };
        change(&mut config);
        let engine = EngineConfig::new(([127, 0, 0, 1], 0).into(), identity);
        let parts = Parts { node: Arc::new(chain.clone()), ledger, stop: Stop::new() };
        let pool = Some(Pool::start(config, engine, parts).unwrap());
        Self { chain, pool, books: Some(books), authority, _directory: directory }
    }

    pub fn pool(&self) -> &Pool {
        self.pool.as_ref().expect("the pool runs")
    }

    pub fn fleet(&self, connections: usize, channels: usize) -> Fleet {
        let address = self.pool().local_addr();
        let pool = PoolAddress::verified(address.ip().to_string(), address.port(), self.authority);
        Fleet { connections, channels, ..Fleet::new(pool) }
    }

    /// A block by somebody else.
    pub fn block(&self) {
        self.chain.mine_block(ScriptBuf::from_bytes(vec![0x51])).unwrap();
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.stop();
        }
        if let Some(books) = self.books.take() {
            books.close().unwrap();
        }
    }
}

pub fn never() -> bool {
    false
}
