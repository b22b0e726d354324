//! The program `assay` in its roles: `assay pool` with a configuration and a data directory that survive its
//! restarts, `assay mine`, and the commands that look at what they leave behind.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ledger::Params;
use serde_json::Value;
use tempfile::TempDir;

use crate::assay_mint::AssayMint;
use crate::filled_ledger::FilledLedger;
use crate::process::{Finished, Lines, Process, run};
use crate::real_node::RealNode;
use crate::waiting::wait_until;
use crate::{binaries, http, signet};

/// Time to start, or to stop in good order, on a machine that is compiling something beside it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What tests choose about a pool. The rest of the configuration is the same for all.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// Shares that the pool wants from each channel.
    pub shares_per_minute: u32,
    /// Expected hashes of the easiest share that it hands out.
    pub min_share_hashes: u64,
    /// An epoch is `2^50 >> q` eHash.
    pub q: u8,
    /// Epochs that share a block.
    pub window: u16,
    /// Confirmations after which a block counts as final.
    pub maturity: u32,
    /// For how many blocks an epoch is redeemed; 0 is for ever.
    pub redeem_blocks: u32,
    /// Threads that serve connections; 0: one a core.
    pub shards: u16,
    /// How long a connection may be without a channel.
    pub first_channel_seconds: u64,
    /// Whether there is a mint.
    pub mint: bool,
    /// Whether the mint has a process of its own.
    pub mint_apart: bool,
    /// Whether that redeems: then the rewards go to its wallet.
    pub redeems: bool,
}

impl PoolSettings {
    /// The parameters of the ledger's epochs.
    pub fn epochs(&self) -> Params {
        let PoolSettings { q, window, maturity, redeem_blocks, .. } = *self;
        Params { q, window, fee_ppm: FEE_PPM, maturity, redeem_blocks }
    }
}

/// What of a block's reward the pools of the tests keep, in millionths.
const FEE_PPM: u32 = 10_000;

impl Default for PoolSettings {
    fn default() -> PoolSettings {
        // A signet block is some five million hashes: about forty shares of the easiest kind.
        PoolSettings {
            shares_per_minute: 240,
            min_share_hashes: 1 << 17,
            q: 3,
            window: 16,
            maturity: 100,
            redeem_blocks: 0,
            shards: 0,
            first_channel_seconds: 120,
            mint: false,
            mint_apart: false,
            redeems: false,
        }
    }
}

/// Where a pool listens, as its ready line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// `host:port` for Stratum.
    pub stratum: String,
    /// `host:port` for health, metrics and credits.
    pub http: String,
    /// Authority public key in base58.
    pub authority: String,
    /// `host:port` of the mint, if there is one.
    pub mint: Option<String>,
}

impl Addresses {
    fn parse(line: &str) -> Option<Addresses> {
        let mut words = line.strip_prefix("ready: ")?.split(' ');
        let mut field = |name: &str| Some(words.next()?.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        Some(Addresses {
            stratum: field("stratum")?,
            http: field("http")?,
            authority: field("authority")?,
            mint: field("mint"),
        })
    }
}

/// What surrounds a pool, where that is what a test is about.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Words that go before the program, such as those that enter a namespace.
    pub wrapper: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
    /// Its data directory, if it is not to be in the pool's temporary directory.
    pub data_dir: Option<PathBuf>,
    /// Where it logs to, if not there.
    pub log: Option<PathBuf>,
}

/// A running `assay pool`. It is killed when dropped; its files live as long as the value.
#[derive(Debug)]
pub struct AssayPool {
    process: Option<Process>,
    directory: TempDir,
    surroundings: Surroundings,
    config: String,
    addresses: Addresses,
    said: Vec<String>,
}

impl AssayPool {
    /// Starts a pool upon `node`.
    pub fn start(node: &RealNode, settings: &PoolSettings) -> AssayPool {
        AssayPool::start_in(Surroundings::default(), node, settings)
    }

    /// The same upon a ledger that is there beforehand.
    pub fn start_upon(
        node: &RealNode,
        settings: &PoolSettings,
        fill: impl FnOnce(&mut FilledLedger),
    ) -> AssayPool {
        let mut pool = AssayPool::prepare(Surroundings::default(), node, settings);
        // A ledger without the pool's key would be one that has lost it.
        let data_dir = pool.data_dir();
        let data_dir = data_dir.to_str().expect("a path of letters");
        let made = run_assay(&["keys", "authority", "--data-dir", data_dir], PATIENCE);
        assert!(made.status.success(), "{made:?}");
        let mut ledger = FilledLedger::open(&pool.ledger_path(), settings.epochs());
        fill(&mut ledger);
        ledger.close();
        pool.launch();
        pool.keep_ports();
        pool
    }

    /// The same somewhere else.
    pub fn start_in(surroundings: Surroundings, node: &RealNode, settings: &PoolSettings) -> AssayPool {
        let mut pool = AssayPool::prepare(surroundings, node, settings);
        pool.launch();
        pool.keep_ports();
        pool
    }

    /// From now on it keeps its ports, so that devices and tests find it again.
    fn keep_ports(&mut self) {
        let Addresses { stratum, http, mint, .. } = &self.addresses;
        let fixed = [
            ("[pool]\nlisten", Some(stratum)),
            ("[http]\nlisten", Some(http)),
            ("[mint]\nlisten", mint.as_ref()),
        ];
        for (field, address) in fixed.into_iter().filter_map(|(field, address)| Some((field, address?))) {
            self.config = self
                .config
                .replace(&format!("{field} = \"127.0.0.1:0\""), &format!("{field} = \"{address}\""));
        }
    }

    /// A pool that was not started yet.
    pub fn prepare(surroundings: Surroundings, node: &RealNode, settings: &PoolSettings) -> AssayPool {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut config = config_file(directory.path(), node, settings);
        if let Some(data_dir) = &surroundings.data_dir {
            let usual = format!("data_dir = \"{}\"", directory.path().join("data").display());
            config = config.replace(&usual, &format!("data_dir = \"{}\"", data_dir.display()));
        }
        let nowhere = Addresses::default();
        let pool = AssayPool {
            process: None,
            directory,
            surroundings,
            config,
            addresses: nowhere,
            said: Vec::new(),
        };
        pool.write_config();
        pool
    }

    /// Starts a pool, and its mint beside it in a process of its own, which makes the wallet that the rewards go to.
    pub fn start_beside_mint(node: &RealNode, settings: &PoolSettings) -> (AssayPool, AssayMint) {
        let settings = PoolSettings { mint: true, mint_apart: true, ..settings.clone() };
        let mut pool = AssayPool::prepare(Surroundings::default(), node, &settings);
        let mut mint = AssayMint::spawn(&pool.config_path());
        if settings.redeems {
            let script = pool.data_dir().join("rewards.script");
            wait_until("the mint has a wallet", PATIENCE, || script.is_file());
        }
        pool.launch();
        pool.keep_ports();
        mint.await_ready();
        (pool, mint)
    }

    /// Starts it again with the same configuration, data directory and ports.
    ///
    /// # Panics
    /// When it runs already, or comes back with another authority key or on other ports.
    pub fn restart(&mut self) {
        let before = self.addresses.clone();
        self.launch();
        assert_eq!(self.addresses, before, "a restarted pool is the same pool to its miners");
    }

    /// Starts it, and kills it after a while, ready or not.
    pub fn kill_while_starting(&mut self, after: Duration) {
        let process = self.spawn();
        std::thread::sleep(after);
        process.kill();
    }

    /// Starts it, which must fail, and gives what it says.
    pub fn refuses_to_start(&mut self) -> String {
        assert!(self.process.is_none(), "the pool runs already");
        let mut command = self.command();
        let finished = run("assay pool that must not start", &mut command, PATIENCE);
        assert!(!finished.status.success(), "a pool that should not start has started: {finished:?}");
        assert!(finished.stdout.is_empty(), "ready in spite of everything: {finished:?}");
        finished.stderr
    }

    fn launch(&mut self) {
        assert!(self.process.is_none(), "the pool runs already");
        let mut process = self.spawn();
        let (lines, mut said) = (process.lines(), Vec::new());
        self.addresses = loop {
            match lines.next(PATIENCE) {
                Some(line) if line.starts_with("ready: ") => {
                    let addresses = Addresses::parse(&line);
                    break addresses.unwrap_or_else(|| panic!("assay pool is ready in other words: {line}"));
                }
                // A new wallet's words come before.
                Some(line) => said.push(line),
                None => panic!("assay pool is not ready but says {said:?}: {}", process.log()),
            }
        };
        self.said = said;
        self.process = Some(process);
    }

    fn spawn(&self) -> Process {
        let own_log = self.directory.path().join("pool.log");
        let log = self.surroundings.log.as_ref().unwrap_or(&own_log);
        Process::spawn("assay pool", &mut self.command(), log)
    }

    /// What starts it.
    fn command(&self) -> Command {
        self.write_config();
        let mut command = self.program();
        command.args(["pool", "--config"]).arg(self.config_path());
        command.envs(self.surroundings.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn write_config(&self) {
        std::fs::write(self.config_path(), &self.config).expect("the temporary directory can be written");
    }

    /// The program where the pool runs.
    fn program(&self) -> Command {
        let mut words = self.surroundings.wrapper.iter();
        let Some(first) = words.next() else { return assay() };
        let mut command = without_settings(Command::new(first));
        command.args(words).arg(binaries::assay());
        command
    }

    /// What its next start is surrounded by. Its files and addresses stay.
    pub fn surround(&mut self, surroundings: Surroundings) {
        assert_eq!(surroundings.data_dir, self.surroundings.data_dir, "the data stays where it is");
        self.surroundings = surroundings;
    }

    /// Sends it a signal, named as `kill` names it.
    pub fn signal(&self, signal: &str) {
        self.process.as_ref().expect("the pool runs").signal(signal);
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("the pool runs").id()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Ends it with SIGKILL, in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.process.take().expect("the pool runs").kill();
    }

    /// Asks it to stop, which it must do in good order.
    pub fn stop(&mut self) {
        let status = self.process.take().expect("the pool runs").terminate(PATIENCE);
        assert!(status.success(), "assay pool ends with {status} on SIGTERM");
    }

    /// What it said before it was ready.
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The URL that miners are given.
    pub fn url(&self) -> String {
        format!("stratum2+tcp://{}/{}", self.addresses.stratum, self.addresses.authority)
    }

    /// The mint's URL.
    ///
    /// # Panics
    /// When there is no mint.
    pub fn mint_url(&self) -> String {
        format!("http://{}", self.addresses.mint.as_ref().expect("the pool has a mint"))
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.directory.path().join("assay.toml")
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        let own = || self.directory.path().join("data");
        self.surroundings.data_dir.clone().unwrap_or_else(own)
    }

    /// Its ledger's database.
    pub fn ledger_path(&self) -> PathBuf {
        self.data_dir().join("ledger.db")
    }

    /// Found blocks that it keeps on disk, since its node has not judged them.
    pub fn kept_blocks(&self) -> usize {
        let kept = std::fs::read_dir(self.data_dir().join("blocks")).into_iter().flatten().flatten();
        kept.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "block")).count()
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// `GET` of a page, `None` while it is not there.
    pub fn page(&self, path: &str) -> Option<String> {
        let answer = http::get(&format!("http://{}{path}", self.addresses.http)).ok()?;
        (answer.status == 200).then_some(answer.body)
    }

    fn json(&self, path: &str) -> Option<Value> {
        let page = self.page(path)?;
        Some(
            serde_json::from_str(&page).unwrap_or_else(|error| panic!("{path} is not JSON: {error}: {page}")),
        )
    }

    /// `/health`, whatever its HTTP status.
    pub fn health(&self) -> Option<Value> {
        let answer = http::get(&format!("http://{}/health", self.addresses.http)).ok()?;
        serde_json::from_str(&answer.body).ok()
    }

    /// What `/health` says in one word: `ok` or `degraded`, or nothing while it does not answer.
    pub fn status(&self) -> String {
        let health = self.health();
        health.and_then(|health| Some(health["status"].as_str()?.to_owned())).unwrap_or_default()
    }

    /// eHash credited to `key`, by epoch. The page's own total must be their sum.
    pub fn credits(&self, key: &str) -> Vec<(u64, u64)> {
        let page = self.json(&format!("/v1/ehash/credits/{key}")).expect("the pool answers");
        let epochs = page["epochs"].as_array().expect("a list of epochs").iter();
        let credits: Vec<_> = epochs.map(|line| (number(&line["epoch"]), number(&line["credit"]))).collect();
        let sum: u64 = credits.iter().map(|(_, credit)| credit).sum();
        assert_eq!(number(&page["total"]), sum, "total and epochs differ: {page}");
        credits
    }

    /// eHash credited to `key` in all epochs.
    pub fn total_credit(&self, key: &str) -> u64 {
        self.credits(key).iter().map(|(_, credit)| credit).sum()
    }

    /// All epochs, each as `/v1/ehash/epochs` shows it.
    pub fn epochs(&self) -> Vec<Value> {
        self.list("/v1/ehash/epochs", "epochs")
    }

    /// All blocks that the pool has found, each as `/v1/ehash/blocks` shows it.
    pub fn blocks(&self) -> Vec<Value> {
        self.list("/v1/ehash/blocks", "blocks")
    }

    fn list(&self, path: &str, field: &str) -> Vec<Value> {
        let page = self.json(path).expect("the pool answers");
        page[field].as_array().unwrap_or_else(|| panic!("no list of {field} in {page}")).clone()
    }

    /// Value of a metric of `/metrics` without labels, or the sum over its labels.
    pub fn metric(&self, name: &str) -> u64 {
        let page = self.page("/metrics").expect("the pool answers");
        let samples = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
        });
        let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }

    /// Runs `assay ledger verify` on its ledger, which must be clean, and gives what it says in JSON.
    pub fn verify_ledger(&self) -> Value {
        let finished = self.audit();
        assert!(finished.status.success(), "the ledger is not clean: {finished:?}");
        one_json_object(&finished.stdout)
    }

    /// Runs `assay ledger verify` on its ledger, whatever it says.
    pub fn audit(&self) -> Finished {
        let mut command = self.program();
        command.args(["ledger", "verify", "--json", "--db"]).arg(self.ledger_path());
        run("assay ledger verify", &mut command, Duration::from_secs(60))
    }
}

/// A configuration for a pool with its data below `directory`.
pub fn config_file(directory: &Path, node: &RealNode, settings: &PoolSettings) -> String {
    let PoolSettings {
        shares_per_minute,
        min_share_hashes,
        q,
        window,
        maturity,
        redeem_blocks,
        shards,
        first_channel_seconds,
        mint,
        mint_apart,
        redeems,
    } = settings;
    let mut text = format!("data_dir = \"{}\"\n", directory.join("data").display());
    let payout = match redeems {
        true => String::new(),
        false => format!("payout_script = \"{}\"\n", signet::payout_script().to_hex_string()),
    };
    write!(
        text,
        "[pool]\nlisten = \"127.0.0.1:0\"\n{payout}tag = \"{TAG}\"\n\
         shares_per_minute = {shares_per_minute}\nmin_share_hashes = {min_share_hashes}\nshards = {shards}\n\
         [limits]\nfirst_channel_seconds = {first_channel_seconds}\n\
         [epochs]\nq = {q}\nwindow = {window}\nfee_ppm = {FEE_PPM}\nmaturity = {maturity}\nredeem_blocks = {redeem_blocks}\n\
         [node]\nurl = \"{}\"\ncookie_file = \"{}\"\nnetwork = \"signet\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n",
        node.url(),
        node.cookie_file().display(),
    )
    .expect("writing to a string does not fail");
    if *mint {
        write!(text, "[mint]\nlisten = \"127.0.0.1:0\"\nin_pool = {}\npayout_seconds = 0\n", !mint_apart)
            .expect("writing to a string does not fail");
    }
    text
}

/// What the pools of the tests write into their coinbases.
pub const TAG: &str = "assay system test";

/// The program, untouched by the environment of the tests.
pub fn assay() -> Command {
    without_settings(Command::new(binaries::assay()))
}

fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ASSAY_")) {
        command.env_remove(name);
    }
    command
}

/// Makes a payout key with `assay keys payout`.
pub fn payout_key() -> String {
    let finished = run("assay keys payout", assay().args(["keys", "payout", "--json"]), PATIENCE);
    let keys = one_json_object(&finished.stdout);
    keys["payout_key"].as_str().expect("a payout key").to_owned()
}

/// A running `assay mine`.
#[derive(Debug)]
pub struct Miner {
    process: Process,
    lines: Lines,
    _directory: TempDir,
}

impl Miner {
    /// Mines on `pool` as `user` over a `channel` of kind `standard` or `extended`.
    pub fn start(pool: &AssayPool, user: &str, channel: &str, threads: u32) -> Miner {
        let threads = threads.to_string();
        Miner::start_with(pool, &["--user", user, "--channel", channel, "--threads", &threads])
    }

    /// Mines on `pool` with other options.
    pub fn start_with(pool: &AssayPool, options: &[&str]) -> Miner {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = assay();
        command.args(["mine", "--json", "--pool", &pool.url()]).args(options);
        let mut process = Process::spawn("assay mine", &mut command, &directory.path().join("mine.log"));
        let lines = process.lines();
        Miner { process, lines, _directory: directory }
    }

    /// Whether it still mines.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Stops it in good order and gives its summary.
    pub fn stop(self) -> Value {
        let status = self.process.terminate(PATIENCE);
        let output = self.lines.rest(PATIENCE).join("\n");
        assert!(status.success(), "assay mine ends with {status} on SIGTERM: {output}");
        one_json_object(&output)
    }
}

/// Runs `assay` with `arguments` to its end.
pub fn run_assay(arguments: &[&str], timeout: Duration) -> Finished {
    run("assay", assay().args(arguments), timeout)
}

/// The one JSON object that `text` must be.
pub fn one_json_object(text: &str) -> Value {
    let value: Value =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("not one JSON value: {error}: {text:?}"));
    assert!(value.is_object(), "not an object: {text}");
    value
}

/// An unsigned number of a JSON answer.
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not an unsigned number: {value}"))
}
