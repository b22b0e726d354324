//! The program `assay`: run, or mine on, a Bitcoin pool without accounts.
//!
//! A library for its own tests alone: nothing here is meant for other programs.

mod amount;
mod bitcoin_node;
mod cli;
#[doc(hidden)]
pub mod config;
mod demo;
mod http;
mod keys;
mod ledger_command;
mod logging;
mod metrics;
mod mine;
mod mint_command;
mod mint_service;
mod output;
mod pool_command;
mod rewards;
mod roles;
mod shutdown;
mod swarm;
mod wallet_command;

use std::io::Write;
use std::process::ExitCode;

/// Does what the command line says.
pub fn run() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            let mut stderr = std::io::stderr().lock();
            // Where errors cannot be written, the exit status still tells.
            let _ = writeln!(stderr, "error: {error}");
            for cause in error.chain().skip(1) {
                let _ = writeln!(stderr, "because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}
