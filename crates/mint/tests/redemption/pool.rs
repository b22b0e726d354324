//! A ledger, a chain, the on-chain wallet and both mints, and what miners do with them.

use crate::rig::{self, Miner, Place};
use assay_mint::{Books, EhashMint, LedgerBooks, MintSeed, RedemptionConfig, redemption::Steps};
use bitcoin::{
    Address, Amount, FeeRate, Network, ScriptBuf,
    key::{Keypair, Secp256k1},
    secp256k1::SecretKey,
};
use cdk::{
    Wallet,
    amount::SplitTarget,
    nuts::{CurrencyUnit, MeltQuoteState, PaymentMethod, nut00::KnownMethod},
};
use ledger::{Batch, BlockHash, ChainBlock, Epoch, Event, Ledger, LedgerHandle, Params, Source};
use node::{Chain, ChainEvent, Devchain, DevchainConfig, Node, Polled, Tip, Watch};
use onchain::{Keys, OnchainConfig, OnchainWallet};
use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    time::Instant,
};
use work::{Ehash, PayoutKey};

pub const EPOCH: u64 = rig::EPOCH;
pub const MATURITY: u32 = 4;
pub const SUBSIDY: Amount = Amount::from_sat(50_000_000);
const NOW: u32 = 1_750_000_000;

/// What one process of the pool holds.
pub struct Running {
    pub mint: Arc<EhashMint>,
    pub wallet: OnchainWallet,
    pub address: SocketAddr,
    /// Its threads: when they end, so do its connections.
    runtime: Option<Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub struct Pool {
    pub dir: TempDir,
    pub chain: Devchain,
    pub handle: LedgerHandle,
    pub running: Option<Running>,
    _ledger: Ledger,
    watch: Watch,
    place: Place,
    batches: u64,
    /// Of processes that were killed.
    disks: Vec<TempDir>,
}

impl Pool {
    pub async fn start() -> Self {
        Self::start_in(rig::files()).await
    }

    pub async fn start_in(place: Place) -> Self {
        let dir = TempDir::new().unwrap();
        let config = DevchainConfig { maturity: MATURITY, subsidy: SUBSIDY, ..DevchainConfig::default() };
        let chain = Devchain::new(config, Arc::new(|| NOW)).unwrap();
        let params = Params { q: 16, window: 1, fee_ppm: 10_000, maturity: MATURITY, redeem_blocks: 0 };
        let (ledger, handle) = Ledger::open(dir.path().join("ledger.db"), params).unwrap();
        let genesis = Tip { height: 0, hash: chain.block_hash(0).unwrap().unwrap() };
        let watch = Watch::from(Arc::new(chain.clone()), genesis, 200);
        let mut pool = Self {
            dir,
            chain,
            handle,
            running: None,
            _ledger: ledger,
            watch,
            place,
            batches: 0,
            disks: Vec::new(),
        };
        pool.running = Some(pool.open(pool.dir.path(), None, None).await);
        pool
    }

    pub fn mint(&self) -> &EhashMint {
        &self.running.as_ref().expect("the pool runs").mint
    }

    pub fn wallet(&self) -> &OnchainWallet {
        &self.running.as_ref().expect("the pool runs").wallet
    }

    /// Opens what is in `dir`, at the same address as before if there is one.
    pub async fn open(&self, dir: &Path, address: Option<SocketAddr>, steps: Option<Steps>) -> Running {
        let node: Arc<dyn Node> = Arc::new(self.chain.clone());
        let birthday = Tip { height: 0, hash: self.chain.block_hash(0).unwrap().unwrap() };
        let birth = OnchainConfig { birthday, maturity: MATURITY };
        let wallet = OnchainWallet::open(dir, node, Keys::Kept, birth).unwrap().wallet;
        let config = rig::config((self.place)(dir, "mint"));
        let redemption = RedemptionConfig {
            wallet: wallet.clone(),
            network: Chain::Devchain.network(),
            book: dir.join("redemptions.db"),
            sat_database: (self.place)(dir, "sat"),
            has_run: false,
            fallback_fee_rate: FeeRate::from_sat_per_kwu(500),
            gather: Duration::from_millis(20),
            steps,
        };
        let books: Arc<dyn Books> = Arc::new(LedgerBooks::open(self.dir.path().join("ledger.db")).unwrap());
        let seed = MintSeed::from_bytes([7; 32]);
        let runtime = Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        let opened = runtime.spawn(async move {
            let mint = Arc::new(EhashMint::open(&config, &seed, books, Some(redemption)).await.unwrap());
            let listener = bind(address.unwrap_or(([127, 0, 0, 1], 0).into())).await;
            (mint, listener)
        });
        let (mint, listener) = opened.await.unwrap();
        let (address, router) = (listener.local_addr().unwrap(), mint.router());
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let followed = Arc::clone(&mint);
        runtime.spawn(async move { followed.follow().await });
        Running { mint, wallet, address, runtime: Some(runtime) }
    }

    /// Another process takes over, with what was on the disk at some moment, at the same address. `steps` is told what it does.
    pub async fn restart_from(&mut self, disk: TempDir, steps: Option<Steps>) {
        let address = self.running.take().expect("the pool runs").address;
        self.running = Some(self.open(disk.path(), Some(address), steps).await);
        self.disks.push(disk);
        self.catch_up_wallet();
    }

    /// What an address of the mint answers.
    pub async fn page(&self, path: &str) -> serde_json::Value {
        rig::get(&self.url(path)).await
    }

    /// An address of the mint.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.as_ref().unwrap().address)
    }

    /// What an amount of an epoch's eHash is worth.
    pub fn worth(&self, epoch: u32, amount: u64) -> Amount {
        let books = LedgerBooks::open(self.dir.path().join("ledger.db")).unwrap();
        let info = books.epoch(Epoch(epoch)).unwrap().unwrap();
        Amount::from_sat(info.value_of(Ehash::new(amount)).unwrap().get() / 1000)
    }

    /// What is on the disk now, without the ledger, which another process keeps.
    pub fn disk(dir: &Path) -> TempDir {
        let copy = TempDir::new().unwrap();
        for file in fs::read_dir(dir).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if !name.starts_with("ledger.db") {
                fs::copy(&path, copy.path().join(name)).unwrap();
            }
        }
        copy
    }

    /// The wallet's own watch: the ledger's may be further.
    fn catch_up_wallet(&self) {
        let node: Arc<dyn Node> = Arc::new(self.chain.clone());
        let mut watch = Watch::from(node, self.wallet().followed().unwrap(), 200);
        while let Polled::Event(event) = watch.poll().unwrap() {
            self.wallet().follow(event).unwrap();
        }
    }

    pub fn credit(&mut self, credits: &[(PayoutKey, u64)]) {
        self.batches += 1;
        let credits = credits.iter().map(|(key, amount)| (*key, Ehash::new(*amount))).collect();
        let batch = Batch { source: Source { front: 0, shard: 0 }, sequence: self.batches, credits };
        self.handle.apply(Event::Credits(batch)).unwrap();
    }

    /// Blocks on the chain; those to the wallet are the pool's. Ledger and wallet hear of them.
    pub async fn mine(&mut self, blocks: u32, to: ScriptBuf) {
        for _ in 0..blocks {
            self.chain.mine_block(to.clone()).unwrap();
        }
        self.catch_up().await;
    }

    pub async fn find_block(&mut self) {
        let script = self.wallet().payout_script().into();
        self.mine(1, script).await;
    }

    pub async fn others_mine(&mut self, blocks: u32) {
        self.mine(blocks, ScriptBuf::from_bytes(vec![0x51])).await;
    }

    pub async fn catch_up(&mut self) {
        let script: ScriptBuf = self.wallet().payout_script().into();
        loop {
            let event = match self.watch.poll().unwrap() {
                Polled::Event(event) => event,
                Polled::AtTip => break,
                Polled::Away(error) => panic!("{error}"),
            };
            self.wallet().follow(event).unwrap();
            match event {
                ChainEvent::Connected { height, hash } => {
                    let block = self.chain.block(&hash).unwrap();
                    let outputs = block.txdata[0].output.iter();
                    let reward: Amount = outputs
                        .filter(|output| output.script_pubkey == script)
                        .map(|output| output.value)
                        .sum();
                    if reward > Amount::ZERO {
                        let reward = ledger::Msats::new(reward.to_sat() * 1000);
                        let hash = ledger_hash(&hash);
                        self.handle
                            .apply(Event::BlockConnected(ChainBlock { hash, height, reward }))
                            .unwrap();
                    }
                    self.handle.apply(Event::Tip { height }).unwrap();
                }
                ChainEvent::Disconnected { hash, height } => {
                    self.handle.apply(Event::BlockDisconnected(ledger_hash(&hash))).unwrap();
                    self.handle.apply(Event::Tip { height: height - 1 }).unwrap();
                }
            }
        }
        self.mint().look().await.unwrap();
    }

    /// Epoch 0 is filled by `credits`, paid by one block, and mature.
    pub async fn mature_first_epoch(&mut self, credits: &[(PayoutKey, u64)]) {
        self.credit(credits);
        let rest = EPOCH - credits.iter().map(|(_, amount)| amount).sum::<u64>();
        let somebody = Miner::new(99).key;
        self.credit(&[(somebody, rest)]);
        self.find_block().await;
        self.credit(&[(somebody, EPOCH)]);
        self.others_mine(MATURITY).await;
        assert_eq!(self.handle.summary().epochs.redeemable, 1);
    }

    pub async fn ehash_wallet(&self, miner: &Miner, epoch: u32) -> Wallet {
        rig::wallet_at(&self.url(&format!("/e/{epoch}")), rig::unit(epoch), miner.seed).await
    }

    pub async fn sat_wallet(&self, miner: &Miner) -> Wallet {
        rig::wallet_at(&self.url("/sat"), CurrencyUnit::Sat, miner.seed).await
    }

    /// Claims all that a miner has in an epoch.
    pub async fn claim(&self, miner: &Miner, epoch: u32) -> Wallet {
        let wallet = self.ehash_wallet(miner, epoch).await;
        let claim = rig::quote(&wallet).await.unwrap();
        wallet.mint(&claim.id, SplitTarget::default(), None).await.unwrap();
        wallet
    }

    /// What an address has received, confirmed.
    pub fn received(&self, address: &Address) -> Amount {
        let tip = self.chain.tip().unwrap().height;
        let blocks = (0..=tip).map(|height| self.chain.block_hash(height).unwrap().unwrap());
        let outputs = blocks
            .flat_map(|hash| self.chain.block(&hash).unwrap().txdata)
            .flat_map(|transaction| transaction.output);
        outputs
            .filter(|output| output.script_pubkey == address.script_pubkey())
            .map(|output| output.value)
            .sum()
    }

    /// The books of both mints and of redemption agree with the ledger's, to the last millisatoshi.
    pub async fn assert_balanced(&self, epoch: u32) {
        let unit = assay_mint::EpochUnit(Epoch(epoch));
        let books = LedgerBooks::open(self.dir.path().join("ledger.db")).unwrap();
        let info = books.epoch(Epoch(epoch)).unwrap().unwrap();
        let redeemed = self.mint().redemptions().unwrap().redeemed(unit).unwrap();
        let paid = (redeemed.sats + redeemed.fees + redeemed.under_way_sats).to_sat() * 1000;
        let left = info.size.get() - redeemed.spent - redeemed.under_way;
        let redeemable = info.value_of(Ehash::new(left)).unwrap().get();
        let dust = info.pot.get().checked_sub(paid + redeemable).expect("the pot covers what is owed");
        assert!(dust < 10_000, "dust of {dust} msat");
        // What the mint took for it was issued before.
        let mint = self.mint().cashu();
        let keyset = mint.get_active_keysets()[&unit.to_cashu()];
        let (issued, burned) = (mint.total_issued().await.unwrap(), mint.total_redeemed().await.unwrap());
        let outstanding =
            u64::from(issued[&keyset]) - burned.get(&keyset).map_or(0, |amount| u64::from(*amount));
        let quotes = mint.mint_quotes().await.unwrap();
        let claimed: u64 = quotes
            .iter()
            .filter(|quote| quote.unit == unit.to_cashu())
            .map(|quote| quote.amount_issued().value())
            .sum();
        assert_eq!(claimed, outstanding + redeemed.spent, "claimed = outstanding + redeemed");
    }
}

/// A process that was killed leaves its port a moment later.
async fn bind(address: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn ledger_hash(hash: &bitcoin::BlockHash) -> BlockHash {
    hash.to_string().parse().unwrap()
}

/// Somebody's address, another one for each number.
pub fn address(number: u8) -> Address {
    let secp = Secp256k1::new();
    let pair = Keypair::from_secret_key(&secp, &SecretKey::from_slice(&[number; 32]).unwrap());
    Address::p2tr(&secp, pair.x_only_public_key().0, None, Network::Regtest)
}

pub fn bolt11() -> PaymentMethod {
    PaymentMethod::Known(KnownMethod::Bolt11)
}

/// Waits until a melt quote is paid.
pub async fn paid(wallet: &Wallet, quote: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let state = wallet.check_melt_quote_status(quote).await.unwrap().state;
        if state == MeltQuoteState::Paid {
            return;
        }
        assert!(Instant::now() < deadline, "melt quote {quote} is {state} after 20 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
