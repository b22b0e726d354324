//! A pool on a devchain and a ledger, and miners that check every message it sends.

mod miner;
mod rig;
mod wire;

pub use miner::{Miner, Open, Want, until_work_on};
pub use rig::{Rig, TAG, key, payout_script, stranger};
pub use wire::{Raw, Wire};

use std::time::{Duration, Instant};

/// Long enough for a machine that is busy with something else; nothing waits for it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what other threads of this process bring about.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to pass: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
