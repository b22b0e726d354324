//! A ledger, the mint beside it on a port of its own, and stock wallets.

use assay_mint::{Books, Database, EhashMint, EpochUnit, LedgerBooks, MintConfig, MintSeed};
use cdk::{
    Amount, Wallet,
    nuts::{CurrencyUnit, PaymentMethod, nut20},
    wallet::{MintQuote, WalletBuilder},
};
use ledger::{Batch, Epoch, Ledger, LedgerHandle, Params, Source};
use std::{net::SocketAddr, path::Path, sync::Arc};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use work::{Ehash, PayoutKey};

/// Each epoch holds `2^50 >> 16` eHash, so that a test fills some.
pub const EPOCH: u64 = 1 << 34;

/// Where the mints' tokens are kept: of a directory and a name.
pub type Place = Arc<dyn Fn(&Path, &'static str) -> Database + Send + Sync>;

/// In SQLite files.
pub fn files() -> Place {
    Arc::new(|dir, name| Database::File(dir.join(name).with_extension("db")))
}

/// A mint that has not run yet.
pub fn config(database: Database) -> MintConfig {
    let (name, description) = ("Test pool".into(), "eHash of a test".into());
    MintConfig { database, has_run: false, name, description }
}

pub struct Rig {
    pub dir: TempDir,
    pub handle: LedgerHandle,
    pub mint: Arc<EhashMint>,
    pub address: SocketAddr,
    _ledger: Ledger,
    server: JoinHandle<()>,
    place: Place,
    batches: u64,
}

impl Rig {
    pub async fn start() -> Self {
        Self::start_in(files()).await
    }

    pub async fn start_in(place: Place) -> Self {
        let dir = TempDir::new().unwrap();
        let params = Params { q: 16, ..Params::default() };
        let (ledger, handle) = Ledger::open(dir.path().join("ledger.db"), params).unwrap();
        let (mint, address, server) = open(dir.path(), &place).await;
        Self { dir, handle, mint, address, _ledger: ledger, server, place, batches: 0 }
    }

    /// Ends the mint without ceremony, and opens it again from its files.
    pub async fn restart(&mut self) {
        self.server.abort();
        let (mint, address, server) = open(self.dir.path(), &self.place).await;
        (self.mint, self.address, self.server) = (mint, address, server);
    }

    /// Work that the pool credited.
    pub fn credit(&mut self, credits: &[(PayoutKey, u64)]) {
        self.batches += 1;
        let credits = credits.iter().map(|(key, amount)| (*key, Ehash::new(*amount))).collect();
        let batch = Batch { source: Source { front: 0, shard: 0 }, sequence: self.batches, credits };
        self.handle.apply(ledger::Event::Credits(batch)).unwrap();
    }

    pub fn url(&self, epoch: u32) -> String {
        format!("http://{}/e/{epoch}", self.address)
    }

    /// What wallets say that they got is what CDK says that it gave.
    pub async fn issued(&self, epoch: u32) -> u64 {
        let unit = EpochUnit(Epoch(epoch)).to_cashu();
        let quotes = self.mint.cashu().mint_quotes().await.unwrap();
        quotes.iter().filter(|quote| quote.unit == unit).map(|quote| quote.amount_issued().value()).sum()
    }
}

async fn open(dir: &Path, place: &Place) -> (Arc<EhashMint>, SocketAddr, JoinHandle<()>) {
    let config = config(place(dir, "mint"));
    let books: Arc<dyn Books> = Arc::new(LedgerBooks::open(dir.join("ledger.db")).unwrap());
    let mint = EhashMint::open(&config, &MintSeed::from_bytes([7; 32]), books, None).await.unwrap();
    let listener = assay_mint::listen(([127, 0, 0, 1], 0).into()).unwrap();
    let (address, router) = (listener.local_addr().unwrap(), mint.router());
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (Arc::new(mint), address, server)
}

/// A stock wallet, and the payout key that its first quote is locked to.
pub struct Miner {
    pub seed: [u8; 64],
    pub key: PayoutKey,
}

impl Miner {
    pub fn new(number: u8) -> Self {
        let seed = [number; 64];
        let secret = nut20::derive_quote_locking_key(&seed, 0).unwrap();
        let x_only = secret.public_key().x_only_public_key();
        Self { seed, key: PayoutKey::from_bytes(x_only.serialize()).unwrap() }
    }

    /// The wallet as it is after its seed was restored.
    pub async fn wallet(&self, rig: &Rig, epoch: u32) -> Wallet {
        wallet_at(&rig.url(epoch), unit(epoch), self.seed).await
    }
}

/// A stock wallet that has its seed and nothing else.
pub async fn wallet_at(url: &str, unit: CurrencyUnit, seed: [u8; 64]) -> Wallet {
    let store = cdk_sqlite::wallet::memory::empty().await.unwrap();
    WalletBuilder::new()
        .mint_url(url.parse().unwrap())
        .unit(unit)
        .localstore(Arc::new(store))
        .seed(seed)
        .without_rate_limiting()
        .build()
        .unwrap()
}

pub fn unit(epoch: u32) -> CurrencyUnit {
    EpochUnit(Epoch(epoch)).to_cashu()
}

/// What stock wallets do to get a quote: with an amount that means nothing.
pub async fn quote(wallet: &Wallet) -> Result<MintQuote, cdk::Error> {
    wallet.mint_quote(PaymentMethod::Custom("ehash".into()), Some(Amount::from(1)), None, None).await
}

/// What an address answers, as JSON.
pub async fn get(url: &str) -> serde_json::Value {
    let url = url.to_owned();
    aside(move || ureq_json(agent().get(&url).call())).await
}

/// The same, of a request with a body.
pub async fn post(url: &str, body: &serde_json::Value) -> serde_json::Value {
    let (url, body) = (url.to_owned(), body.to_string());
    aside(move || ureq_json(agent().post(&url).header("Content-Type", "application/json").send(&body))).await
}

/// Works on a thread of its own: a crowd of clients would take all those that the mint in the same runtime reads its books with.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || tell.send(work()));
    told.await.expect("the thread did not panic")
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent()
}

fn ureq_json(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> serde_json::Value {
    answer.unwrap().body_mut().read_json().unwrap()
}
