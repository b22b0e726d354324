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
mod retirement;
mod rewards;
mod roles;
mod shutdown;
mod swarm;
mod wallet_command;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

/// Does what the command line says.
pub fn run() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            // Where errors cannot be written, the exit status still tells.
            let _ = write!(std::io::stderr().lock(), "{}", in_words(&error));
            ExitCode::FAILURE
        }
    }
}

/// What went wrong and why, a line for each cause. Libraries differ in whether an error's words hold those of its cause: what
/// the line before has said is not said again.
fn in_words(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    let mut text = format!("error: {said}\n");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            let _ = writeln!(text, "because: {cause}");
            said = cause;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cause_is_told_twice() {
        let error = |texts: &[&str]| {
            let mut texts = texts.iter().map(|text| (*text).to_owned());
            let innermost = anyhow::Error::msg(texts.next().unwrap());
            in_words(&texts.fold(innermost, |error, text| error.context(text)))
        };
        assert_eq!(error(&["no space", "the pool"]), "error: the pool\nbecause: no space\n");
        assert_eq!(
            error(&["no space", "the file: no space", "the pool"]),
            "error: the pool\nbecause: the file: no space\n"
        );
        assert_eq!(
            error(&["no space", "the file", "the pool: the file"]),
            "error: the pool: the file\nbecause: no space\n"
        );
    }
}
