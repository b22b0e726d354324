//! CDK's wallet, `cdk-cli`.

use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use super::{PATIENCE, Place, Timed};
use crate::binaries;
use crate::process::{Finished, Process, run};

/// What it waits for more, when a claim is done: a quote may grow.
const IDLE: &str = "3";

/// A wallet with its seed and tokens.
#[derive(Debug)]
pub struct CdkCli {
    directory: TempDir,
}

impl Default for CdkCli {
    fn default() -> CdkCli {
        CdkCli { directory: tempfile::tempdir().expect("a temporary directory") }
    }
}

impl CdkCli {
    /// A fresh wallet that has this one's seed and nothing else.
    pub fn restored(&self) -> CdkCli {
        let restored = CdkCli::default();
        let seed = |wallet: &CdkCli| wallet.directory.path().join("seed");
        std::fs::copy(seed(self), seed(&restored)).expect("the wallet has written its seed");
        restored
    }

    /// Asks for a quote that is locked to a key of its seed, and gives the id.
    pub fn quote(&self, place: &Place) -> String {
        // Nothing is paid on it: the wallet gives up, but it has told.
        let words = ["mint", &place.mint, "1", "--method", "ehash", "--wait-duration", "1"];
        let finished = self.run(place, &words);
        let id = finished.stdout.lines().find_map(|line| line.strip_prefix("Quote: id=")?.split(',').next());
        id.unwrap_or_else(|| panic!("no quote: {finished:?}")).to_owned()
    }

    /// Claims what is on a quote. The time is that until it has the tokens.
    pub fn claim(&self, place: &Place, quote: &str) -> Timed<u64> {
        let words = ["mint", &place.mint, "--method", "ehash", "--quote-id", quote, "--wait-duration", IDLE];
        let mut command = self.command(place);
        let start = Instant::now();
        let log = self.directory.path().join("claim.log");
        let mut process = Process::spawn("cdk-cli mint", command.args(words), &log);
        let lines = process.lines();
        let (mut said, mut took) = (Vec::new(), None);
        while let Some(line) = lines.next(PATIENCE) {
            if line.starts_with("Minted ") {
                took = Some(start.elapsed());
            }
            said.push(line);
        }
        let log = process.log();
        let status = process.wait(PATIENCE);
        assert!(status.success(), "cdk-cli cannot claim {quote}: {said:?} {log}");
        let received = said.iter().find_map(|line| amount_after(line, "Received "));
        let received = received.unwrap_or_else(|| panic!("nothing received: {said:?}"));
        Timed { value: received, took: took.expect("what was received was minted") }
    }

    /// Makes a token.
    pub fn send(&self, place: &Place, amount: u64) -> Timed<String> {
        let words = ["send", "--mint-url", &place.mint, "--amount", &amount.to_string()];
        let Timed { value, took } = self.done(place, &words);
        let token = value.lines().find(|line| line.starts_with("cashu"));
        Timed { value: token.unwrap_or_else(|| panic!("no token: {value}")).to_owned(), took }
    }

    /// Takes somebody's token, and gives how much that was.
    pub fn receive(&self, place: &Place, token: &str) -> Timed<u64> {
        let Timed { value, took } = self.done(place, &["receive", "--allow-untrusted", token]);
        let received = value.lines().find_map(|line| amount_after(line, "Received: "));
        Timed { value: received.unwrap_or_else(|| panic!("nothing received: {value}")), took }
    }

    /// Redeems for an invoice of the mint's.
    pub fn melt(&self, place: &Place, invoice: &str) -> Timed<()> {
        let words = ["melt", "--mint-url", &place.mint, "--invoice", invoice];
        let Timed { value, took } = self.done(place, &words);
        assert!(value.to_lowercase().contains("paid") || value.contains("successful"), "not paid: {value}");
        Timed { value: (), took }
    }

    /// Tries to take a token that is no good, and gives what the wallet says.
    pub fn cannot_receive(&self, place: &Place, token: &str) -> String {
        let finished = self.run(place, &["receive", "--allow-untrusted", token]);
        assert!(!finished.status.success(), "the token was good: {finished:?}");
        finished.stderr
    }

    /// All that it has of a unit.
    pub fn balance(&self, place: &Place) -> u64 {
        let said = self.done(place, &["balance"]).value;
        let balance = said.lines().find_map(|line| amount_after(line, "Total balance across all wallets: "));
        balance.unwrap_or(0)
    }

    fn done(&self, place: &Place, words: &[&str]) -> Timed<String> {
        super::done("cdk-cli", words, || self.run(place, words))
    }

    fn run(&self, place: &Place, words: &[&str]) -> Finished {
        run("cdk-cli", self.command(place).args(words), PATIENCE)
    }

    fn command(&self, place: &Place) -> Command {
        let mut command = Command::new(binaries::cdk_cli());
        command.arg("--work-dir").arg(self.directory.path());
        command.args(["--non-interactive", "--unit", &place.unit]);
        command
    }
}

/// The number that follows `words` at the start of a line.
fn amount_after(line: &str, words: &str) -> Option<u64> {
    line.strip_prefix(words)?.split(' ').next()?.parse().ok()
}
