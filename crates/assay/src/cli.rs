//! The command line: one subcommand a role.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{config, demo, keys, ledger_command, mine, mint_command, pool_command, swarm, wallet_command};

/// Run, or mine on, a Bitcoin pool without accounts. Every share earns eHash.
#[derive(Parser)]
#[command(name = "assay", version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Watch a whole pool at work: a chain, a pool and two miners in one process.
    Demo(demo::Arguments),
    /// Run a pool on top of a Bitcoin node.
    Pool(config::Arguments),
    /// Run a pool's mint in a process of its own, beside the pool: with the pool's configuration, and in_pool = false in [mint].
    Mint(config::Arguments),
    /// Mine with this machine's processor on a Stratum V2 pool.
    Mine(mine::Arguments),
    /// Put load on a Stratum V2 pool, and measure it.
    Swarm(swarm::Arguments),
    /// Look after a pool's ledger.
    Ledger(ledger_command::Arguments),
    /// Make and show keys: a pool's authority key, a miner's payout key.
    Keys(keys::Arguments),
    /// Hold eHash: payout keys to mine with, claiming, sending and receiving.
    Wallet(wallet_command::Arguments),
}

/// Parses the command line and runs what it names.
pub fn run() -> Result<ExitCode> {
    match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Pool(arguments) => pool_command::run(&arguments),
        Command::Mint(arguments) => mint_command::run(&arguments),
        Command::Mine(arguments) => mine::run(arguments),
        Command::Swarm(arguments) => swarm::run(arguments),
        Command::Ledger(arguments) => ledger_command::run(&arguments),
        Command::Keys(arguments) => keys::run(arguments),
        Command::Wallet(arguments) => wallet_command::run(arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
