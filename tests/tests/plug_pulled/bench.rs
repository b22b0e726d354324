//! A mint that is started again and again from the same files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use assay_system_tests::assay::{AssayPool, PoolSettings, Surroundings};
use assay_system_tests::assay_mint::AssayMint;
use assay_system_tests::filled_ledger::{FilledLedger, PARAMS};
use assay_system_tests::plug::Plug;
use assay_system_tests::real_node::RealNode;
use assay_system_tests::wallets::Holder;

/// How often it is looked whether the plug was pulled.
const LOOK: Duration = Duration::from_millis(5);
/// More points than anything here has.
pub const MOST_POINTS: u32 = 2000;

/// A mint over a ledger, and what its files were before the plug was pulled for the first time.
pub struct Bench {
    pub node: RealNode,
    pub pool: AssayPool,
    pub mint: AssayMint,
    pub runtime: tokio::runtime::Runtime,
    plug: Plug,
    before: TempDir,
}

/// What the first wallet has earned in the first epoch, and what becomes of that epoch.
pub enum Earned {
    /// It is open.
    Open(u64),
    /// It is mature: a satoshi for each eHash.
    Mature(u64),
}

impl Bench {
    pub fn new(earned: &Earned) -> Bench {
        let node = RealNode::start();
        let redeems = matches!(earned, Earned::Mature(_));
        let settings = PoolSettings { mint: true, mint_apart: true, redeems, ..PoolSettings::default() };
        let pool = AssayPool::prepare(Surroundings::default(), &node, &settings);
        let mut ledger = FilledLedger::open(&pool.ledger_path(), PARAMS);
        match *earned {
            Earned::Open(amount) => ledger.credit(&[(Holder::new(1).key, amount)]),
            Earned::Mature(amount) => {
                ledger.credit(&[(Holder::new(1).key, amount)]);
                ledger.mature(amount, Holder::new(99).key);
            }
        }
        ledger.close();
        let mut mint = AssayMint::start(&pool.config_path());
        mint.stop();
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let before = tempfile::tempdir().expect("a temporary directory");
        let bench = Bench { node, pool, mint, runtime, plug: Plug::new(), before };
        bench.keep();
        bench
    }

    /// From now on each run begins with the files as they are.
    pub fn keep(&self) {
        copy(&self.pool.data_dir(), self.before.path());
    }

    /// Has `pull` run, each time from the same files, with one point after the other, the `first` and each `step` further,
    /// until it says that the mint survived as there are not so many. Gives the last point.
    pub fn at_each_point(
        &mut self,
        (first, step): (u32, usize),
        mut pull: impl FnMut(&mut Bench, u32) -> bool,
    ) -> u32 {
        for point in (first..MOST_POINTS).step_by(step) {
            copy(self.before.path(), &self.pool.data_dir());
            if pull(self, point) {
                return point - 1;
            }
        }
        panic!("the plug has more than {MOST_POINTS} points");
    }

    /// Starts the mint with the plug to be pulled while it starts. Gives whether it survived.
    pub fn pull_at_start(&mut self, point: u32) -> bool {
        self.plug.arm();
        let environment = self.plug.at(point, &self.pool.data_dir());
        let survived = self.mint.survives_restart_with(&environment) && self.mint.end().success();
        self.plug.disarm();
        survived
    }

    /// Runs `scenario` with the plug to be pulled in it, and then the mint again. Gives what was prepared, and whether the mint
    /// survived.
    pub fn pull_at<T>(
        &mut self,
        point: u32,
        prepare: impl AsyncFn(&str) -> T,
        scenario: impl AsyncFn(&str, &T) -> Result<(), cdk::Error>,
    ) -> (T, bool) {
        self.plug.disarm();
        self.mint.restart_with(&self.plug.at(point, &self.pool.data_dir()));
        let mint = self.mint.url();
        let prepared = self.runtime.block_on(prepare(&mint));
        self.plug.arm();
        let mint_ends = async {
            while self.mint.is_running() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let done = self.runtime.block_on(async {
            tokio::select! {
                done = scenario(&mint, &prepared) => Some(done),
                // Nobody else would tell the wallet.
                () = mint_ends => None,
            }
        });
        self.plug.disarm();
        let survived = self.mint.end().success();
        assert!(!survived || matches!(done, Some(Ok(()))), "without a plug pulled: {done:?}");
        self.mint.restart_with(&[]);
        (prepared, survived)
    }

    /// [`Bench::pull_at`] at each point of `which`. `check` looks at what is left.
    pub fn pull_everywhere<T>(
        &mut self,
        which: (u32, usize),
        prepare: impl AsyncFn(&str) -> T,
        scenario: impl AsyncFn(&str, &T) -> Result<(), cdk::Error>,
        check: impl AsyncFn(&str, &T),
    ) -> u32 {
        self.at_each_point(which, |bench, point| {
            let (prepared, survived) = bench.pull_at(point, &prepare, &scenario);
            bench.runtime.block_on(check(&bench.mint.url(), &prepared));
            bench.mint.stop();
            survived
        })
    }
}

/// Makes `to` what `from` is.
fn copy(from: &Path, to: &Path) {
    fs::remove_dir_all(to).and_then(|()| fs::create_dir_all(to)).expect("a directory of ours");
    for entry in fs::read_dir(from).expect("a directory of ours") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
}
