//! `assay wallet`, in a directory of its own.

use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::assay::{one_json_object, run_assay};

/// What a payout takes, on a machine that mines beside it.
const PATIENCE: Duration = Duration::from_secs(400);

/// A wallet of ours. Its files live as long as the value.
#[derive(Debug)]
pub struct AssayWallet {
    directory: TempDir,
}

impl AssayWallet {
    /// A new wallet at a mint, and its payout key.
    pub fn init(mint: &str) -> (AssayWallet, String) {
        let wallet = AssayWallet { directory: tempfile::tempdir().expect("a temporary directory") };
        let made = wallet.ask(&["init", "--mint", mint]);
        let key = made["payout_key"].as_str().expect("a key").to_owned();
        (wallet, key)
    }

    /// What it says to a command that must succeed.
    pub fn ask(&self, words: &[&str]) -> Value {
        let finished =
            run_assay(&[&["wallet", "--json", "--dir", self.directory()], words].concat(), PATIENCE);
        assert!(finished.status.success(), "assay wallet {words:?}: {finished:?}");
        one_json_object(&finished.stdout)
    }

    /// What it says when it refuses.
    pub fn refused(&self, words: &[&str]) -> String {
        let finished = run_assay(&[&["wallet", "--dir", self.directory()], words].concat(), PATIENCE);
        assert!(!finished.status.success(), "assay wallet {words:?}: {finished:?}");
        finished.stderr
    }

    /// Where its files are.
    pub fn directory(&self) -> &str {
        self.directory.path().to_str().expect("a path of letters")
    }
}
