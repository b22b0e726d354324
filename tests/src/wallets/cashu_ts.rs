//! cashu-ts, by the script `tests/wallets/cashu-ts.mjs`.

use std::path::Path;
use std::process::Command;

use hex::DisplayHex;
use serde_json::Value;
use tempfile::TempDir;

use super::{PATIENCE, Place, Timed};
use crate::assay::one_json_object;
use crate::binaries;
use crate::process::{Finished, run};

const SCRIPT: &str = "cashu-ts.mjs";

/// A wallet with its tokens.
#[derive(Debug)]
pub struct CashuTs {
    directory: TempDir,
}

/// Tokens by what the mint says about them (NUT-07).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// Good.
    pub unspent: u64,
    /// Between.
    pub pending: u64,
    /// Used.
    pub spent: u64,
}

impl Default for CashuTs {
    fn default() -> CashuTs {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("wallets").join(SCRIPT);
        // Node.js looks for packages beside the script.
        std::fs::copy(&script, directory.path().join(SCRIPT)).expect("the script is in the tree");
        let packages = binaries::cashu_ts().join("node_modules");
        std::os::unix::fs::symlink(packages, directory.path().join("node_modules")).expect("a link");
        CashuTs { directory }
    }
}

impl CashuTs {
    /// Claims what is on the quote of this private key, and gives how much that was.
    pub fn claim(&self, place: &Place, private_key: &[u8; 32]) -> Timed<u64> {
        let Timed { value, took } = self.answer(place, &["claim", &private_key.to_lower_hex_string()]);
        Timed { value: amount(&value["claimed"]), took }
    }

    /// Makes a token.
    pub fn send(&self, place: &Place, amount: u64) -> Timed<String> {
        let Timed { value, took } = self.answer(place, &["send", &amount.to_string()]);
        Timed { value: value["token"].as_str().expect("a token").to_owned(), took }
    }

    /// Takes somebody's token, and gives how much that was.
    pub fn receive(&self, place: &Place, token: &str) -> Timed<u64> {
        let Timed { value, took } = self.answer(place, &["receive", token]);
        Timed { value: amount(&value["received"]), took }
    }

    /// Redeems for an invoice of the mint's, and gives how much that took.
    pub fn melt(&self, place: &Place, invoice: &str) -> Timed<u64> {
        let Timed { value, took } = self.answer(place, &["melt", invoice]);
        assert_eq!(value["state"], "PAID", "{value}");
        Timed { value: amount(&value["spent"]), took }
    }

    /// Tries to take a token that is no good, and gives what the wallet says.
    pub fn cannot_receive(&self, place: &Place, token: &str) -> String {
        let finished = self.run(place, &["receive", token]);
        assert!(!finished.status.success(), "the token was good: {finished:?}");
        finished.stderr
    }

    /// What the mint says about a token, or about all tokens of this wallet.
    pub fn states(&self, place: &Place, token: Option<&str>) -> States {
        let words: Vec<&str> = std::iter::once("states").chain(token).collect();
        let value = self.answer(place, &words).value;
        let sum = |state: &str| amount(&value[state]);
        States { unspent: sum("unspent"), pending: sum("pending"), spent: sum("spent") }
    }

    fn answer(&self, place: &Place, words: &[&str]) -> Timed<Value> {
        let Timed { value, took } = super::done("cashu-ts", words, || self.run(place, words));
        Timed { value: one_json_object(&value), took }
    }

    fn run(&self, place: &Place, words: &[&str]) -> Finished {
        let mut command = Command::new(binaries::cashu_ts().join("node_modules/.bin/node"));
        command.current_dir(self.directory.path()).args([SCRIPT, &place.mint, &place.unit]).args(words);
        run("cashu-ts", &mut command, PATIENCE)
    }
}

/// In JSON, cashu-ts writes amounts as strings, since numbers of scripts end at 2^53.
fn amount(value: &Value) -> u64 {
    let number = value.as_str().and_then(|text| text.parse().ok());
    number.unwrap_or_else(|| panic!("not an amount: {value}"))
}
