//! The mints that are measured, each in a process of its own, with files of its own.

use crate::drive::{Client, drive};
use assay_system_tests::assay::{AssayPool, PoolSettings, Surroundings};
use assay_system_tests::assay_mint::AssayMint;
use assay_system_tests::binaries;
use assay_system_tests::filled_ledger::{FilledLedger, PARAMS};
use assay_system_tests::process::{Process, free_port, run};
use assay_system_tests::real_node::RealNode;
use assay_system_tests::waiting::wait_until;
use assay_system_tests::wallets::payout_key;
use bitcoin::hashes::{Hash, sha256};
use cdk::lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use cdk::nuts::{CurrencyUnit, SecretKey};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
/// Clients that prepare what is measured then.
const HELPERS: usize = 4;
/// The words of a mint that nobody trusts.
const WORDS: &str =
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
/// What the fake backend spends on each payment, in satoshi.
const FAKE_FEE: u64 = 1;
/// What each key has earned: more than is claimed.
const EARNED: u64 = 80;

/// A paid quote, and the key that it is locked to.
pub struct Quote {
    pub id: String,
    pub key: SecretKey,
}

/// A running mint.
pub trait Mint {
    fn name(&self) -> &'static str;
    /// Its process id.
    fn id(&self) -> u32;
    /// Where its tokens are from.
    fn url(&self) -> String;
    fn unit(&self) -> CurrencyUnit;
    /// How tokens are claimed.
    fn method(&self) -> &'static str;
    /// New quotes that are paid.
    fn quotes(&mut self, count: usize, amount: u64) -> Vec<Quote>;
    /// Invoices that so much of its tokens can pay, fees included.
    fn invoices(&mut self, count: usize, amount: u64) -> Vec<String>;
}

/// Our mint on a ledger with a mature epoch, on a real node.
pub struct AssayMintOnLedger {
    served: Served,
    keys: Vec<SecretKey>,
    _node: RealNode,
}

/// Who serves it.
enum Served {
    /// `assay mint`, without its pool, whose files these are.
    Apart { mint: AssayMint, _pool: AssayPool },
    /// `assay pool`.
    InPool(AssayPool),
}

impl AssayMintOnLedger {
    pub const NAME: &'static str = "assay";

    /// `assay mint`, with so many keys that have earned something.
    pub fn apart(keys: usize) -> Self {
        let node = RealNode::start();
        let settings =
            PoolSettings { mint: true, mint_apart: true, redeems: true, ..PoolSettings::default() };
        let pool = AssayPool::prepare(Surroundings::default(), &node, &settings);
        let mut ledger = FilledLedger::open(&pool.ledger_path(), PARAMS);
        let keys = earn(&mut ledger, keys);
        ledger.mature(EARNED * keys.len() as u64, payout_key(&SecretKey::generate()));
        ledger.close();
        let mint = AssayMint::start(&pool.config_path());
        Self { served: Served::Apart { mint, _pool: pool }, keys, _node: node }
    }

    /// The same in the process of a pool that takes as many shares as anybody sends.
    pub fn in_pool(keys: usize) -> Self {
        let node = RealNode::start();
        let settings = PoolSettings { shares_per_minute: 60_000_000, mint: true, ..PoolSettings::default() };
        let mut earned = Vec::new();
        let pool = AssayPool::start_upon(&node, &settings, |ledger| earned = earn(ledger, keys));
        Self { served: Served::InPool(pool), keys: earned, _node: node }
    }

    /// The pool that it runs in.
    pub fn pool(&self) -> &AssayPool {
        match &self.served {
            Served::InPool(pool) | Served::Apart { _pool: pool, .. } => pool,
        }
    }

    fn root(&self) -> String {
        match &self.served {
            Served::Apart { mint, .. } => mint.url(),
            Served::InPool(pool) => pool.mint_url(),
        }
    }
}

/// New keys earn something in the open epoch.
fn earn(ledger: &mut FilledLedger, keys: usize) -> Vec<SecretKey> {
    let keys: Vec<SecretKey> = (0..keys).map(|_| SecretKey::generate()).collect();
    ledger.credit(&keys.iter().map(|key| (payout_key(key), EARNED)).collect::<Vec<_>>());
    keys
}

impl Mint for AssayMintOnLedger {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn id(&self) -> u32 {
        match &self.served {
            Served::Apart { mint, .. } => mint.id(),
            Served::InPool(pool) => pool.id(),
        }
    }

    fn url(&self) -> String {
        format!("{}/e/0", self.root())
    }

    fn unit(&self) -> CurrencyUnit {
        CurrencyUnit::custom("ehash-0")
    }

    fn method(&self) -> &'static str {
        "ehash"
    }

    fn quotes(&mut self, count: usize, _: u64) -> Vec<Quote> {
        let keys: Vec<SecretKey> = self.keys.split_off(self.keys.len() - count);
        let ask = |client: &Client, number: usize| {
            let body = json!({ "unit": "ehash-0", "amount": 1, "pubkey": keys[number].public_key() });
            client.post("/v1/mint/quote/ehash", &body.to_string())
        };
        let (answers, _) = drive(self.id(), &self.url(), count, HELPERS, ask);
        with_ids(&answers).zip(keys).map(|(id, key)| Quote { id, key }).collect()
    }

    /// Of its own sat mint.
    fn invoices(&mut self, count: usize, amount: u64) -> Vec<String> {
        let body = json!({ "unit": "sat", "amount": amount }).to_string();
        let sat = format!("{}/sat", self.root());
        let ask = |client: &Client, _| client.post("/v1/mint/quote/bolt11", &body);
        let (answers, _) = drive(self.id(), &sat, count, HELPERS, ask);
        answers.iter().map(|answer| answer["request"].as_str().expect("an invoice").to_owned()).collect()
    }
}

/// CDK's own mint with its fake backend, which pays quotes, and invoices, by itself.
pub struct CdkMintd {
    process: Process,
    port: u16,
    _directory: TempDir,
}

impl CdkMintd {
    pub const NAME: &'static str = "cdk-mintd";

    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (port, work) = (free_port(), directory.path());
        let config = work.join("config.toml");
        let text = format!(
            "[info]\nurl = \"http://127.0.0.1:{port}\"\nlisten_host = \"127.0.0.1\"\nlisten_port = {port}\n\
             mnemonic = \"env:MINTD_WORDS\"\n\
             [info.logging]\noutput = \"stderr\"\nconsole_level = \"error\"\n\
             [database]\nengine = \"sqlite\"\n\
             [payment_backend]\nbackend = \"fakewallet\"\n\
             [fake_wallet]\nfee_percent = 0.0\nreserve_fee_min = {FAKE_FEE}\nmin_delay_time = 0\nmax_delay_time = 0\n"
        );
        std::fs::write(&config, text).expect("the temporary directory can be written");
        let command = || {
            let mut command = Command::new(binaries::cdk_mintd());
            command.arg("--work-dir").arg(work).env("MINTD_WORDS", WORDS);
            command
        };
        let mut init = command();
        init.args(["config", "init", "--new-mint", "--file"]).arg(&config);
        let made = run("cdk-mintd config init", &mut init, PATIENCE);
        assert!(made.status.success(), "{made:?}");
        let mut command = command();
        let process = Process::spawn_quiet("cdk-mintd", &mut command, &work.join("mintd.log"));
        let mut mint = Self { process, port, _directory: directory };
        let info = format!("http://127.0.0.1:{port}/v1/info");
        wait_until("cdk-mintd answers", PATIENCE, || {
            assert!(mint.process.is_running(), "cdk-mintd ended: {}", mint.process.log());
            assay_system_tests::http::get(&info).is_ok_and(|answer| answer.status == 200)
        });
        mint
    }
}

impl Mint for CdkMintd {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn id(&self) -> u32 {
        self.process.id()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn unit(&self) -> CurrencyUnit {
        CurrencyUnit::Sat
    }

    fn method(&self) -> &'static str {
        "bolt11"
    }

    fn quotes(&mut self, count: usize, amount: u64) -> Vec<Quote> {
        let keys: Vec<SecretKey> = (0..count).map(|_| SecretKey::generate()).collect();
        let ask = |client: &Client, number: usize| {
            let body = json!({ "unit": "sat", "amount": amount, "pubkey": keys[number].public_key() });
            client.post("/v1/mint/quote/bolt11", &body.to_string())
        };
        let (answers, _) = drive(self.id(), &self.url(), count, HELPERS, ask);
        let client = Client::new(&self.url());
        for id in with_ids(&answers) {
            wait_until("a fake payment", PATIENCE, || {
                client.get(&format!("/v1/mint/quote/bolt11/{id}"))["state"] == "PAID"
            });
        }
        with_ids(&answers).zip(keys).map(|(id, key)| Quote { id, key }).collect()
    }

    /// Of somebody whom the fake backend pays at once.
    fn invoices(&mut self, count: usize, amount: u64) -> Vec<String> {
        let key = SecretKey::generate();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        let invoice = |number: usize| {
            let invoice = InvoiceBuilder::new(Currency::Bitcoin)
                .description(String::new())
                .payment_hash(sha256::Hash::hash(
                    &[&now.as_nanos().to_le_bytes()[..], &number.to_le_bytes()].concat(),
                ))
                .payment_secret(PaymentSecret([42; 32]))
                .amount_milli_satoshis((amount - FAKE_FEE) * 1000)
                .duration_since_epoch(now)
                .min_final_cltv_expiry_delta(144)
                .build_signed(|hash| bitcoin::secp256k1::SECP256K1.sign_ecdsa_recoverable(hash, &key));
            invoice.expect("an invoice").to_string()
        };
        (0..count).map(invoice).collect()
    }
}

fn with_ids(answers: &[Value]) -> impl Iterator<Item = String> + '_ {
    answers.iter().map(|answer| answer["quote"].as_str().expect("a quote's id").to_owned())
}
