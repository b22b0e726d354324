//! Nutshell's wallet, `cashu`. It knows units of money alone, and loads no mint that lists another one.

use std::process::Command;

use tempfile::TempDir;

use super::{PATIENCE, Place, Timed};
use crate::binaries;
use crate::process::{Finished, run};

/// A wallet with its seed and tokens.
#[derive(Debug)]
pub struct Nutshell {
    directory: TempDir,
}

/// What somebody has to pay, so that the wallet may issue itself tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// The payment request.
    pub request: String,
    /// The quote's id.
    pub quote: String,
}

impl Default for Nutshell {
    fn default() -> Nutshell {
        Nutshell { directory: tempfile::tempdir().expect("a temporary directory") }
    }
}

impl Nutshell {
    /// Asks for an invoice (BOLT 11).
    pub fn invoice(&self, place: &Place, amount: u64) -> Timed<Invoice> {
        let Timed { value, took } = self.done(place, &["invoice", &amount.to_string(), "--no-check"]);
        let after = |words: &str| value.lines().find_map(|line| line.split_once(words));
        let (request, quote) = (after("Invoice: "), after(" --id "));
        let (Some((_, request)), Some((_, quote))) = (request, quote) else { panic!("no invoice: {value}") };
        Timed { value: Invoice { request: request.to_owned(), quote: quote.to_owned() }, took }
    }

    /// Takes the tokens of an invoice that was paid.
    pub fn claim(&self, place: &Place, amount: u64, quote: &str) -> Timed<()> {
        let Timed { took, .. } = self.done(place, &["invoice", &amount.to_string(), "--id", quote]);
        Timed { value: (), took }
    }

    /// Makes a token.
    pub fn send(&self, place: &Place, amount: u64) -> Timed<String> {
        let Timed { value, took } = self.done(place, &["send", &amount.to_string()]);
        let token = value.lines().find(|line| line.starts_with("cashu"));
        Timed { value: token.unwrap_or_else(|| panic!("no token: {value}")).to_owned(), took }
    }

    /// Takes somebody's token, and gives the balance afterwards.
    pub fn receive(&self, place: &Place, token: &str) -> Timed<u64> {
        let Timed { value, took } = self.done(place, &["receive", token]);
        Timed { value: balance(&value), took }
    }

    /// Tries to take a token that is no good, and gives what the wallet says.
    pub fn cannot_receive(&self, place: &Place, token: &str) -> String {
        let finished = self.run(place, &["receive", token]);
        assert!(!finished.status.success(), "the token was good: {finished:?}");
        format!("{}{}", finished.stdout, finished.stderr)
    }

    /// What can be spent.
    pub fn balance(&self, place: &Place) -> u64 {
        balance(&self.done(place, &["balance"]).value)
    }

    fn done(&self, place: &Place, words: &[&str]) -> Timed<String> {
        super::done("Nutshell", words, || self.run(place, words))
    }

    fn run(&self, place: &Place, words: &[&str]) -> Finished {
        let home = self.directory.path();
        let mut command = Command::new(binaries::nutshell());
        // It reads settings from where it is, and from its user's home.
        command.current_dir(home).env("HOME", home).env("CASHU_DIR", home).env("TOR", "FALSE");
        command.args(["--yes", "--host", &place.mint, "--unit", &place.unit]).args(words);
        run("Nutshell", &mut command, PATIENCE)
    }
}

/// The last one that it tells: it says so after each change, and also before some.
fn balance(said: &str) -> u64 {
    let told =
        said.lines().rev().find_map(|line| line.strip_prefix("Balance: ")?.split(' ').next()?.parse().ok());
    told.unwrap_or_else(|| panic!("no balance: {said}"))
}
