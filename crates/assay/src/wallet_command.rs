//! `assay wallet`: hold eHash. Nothing here is logged: what goes wrong is told, and holds no secret.

mod show;

use std::env;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use ledger::Epoch;
use serde::Serialize;
use serde_json::json;
use wallet::{EhashWallet, Holding, KeyOf, MintAddress, Places, RedeemTo, SeedPhrase};
use zeroize::Zeroizing;

use crate::output;

/// Below the home directory.
const DIRECTORY: &str = ".local/share/assay/wallet";
/// More than any seed phrase or token has.
const MOST_INPUT: u64 = 1 << 20;

#[derive(Args)]
pub struct Arguments {
    /// The wallet's directory [default: ~/.local/share/assay/wallet].
    #[arg(long, value_name = "DIR", env = "ASSAY_WALLET", global = true)]
    dir: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a wallet, and show the twelve words that everything in it follows from: once.
    Init {
        #[command(flatten)]
        mint: Mint,
        #[command(flatten)]
        pages: Pages,
    },
    /// Show the payout key to put into the miner, also as a QR code.
    Key {
        /// A key for this epoch alone, which nobody can link to another; without it, the one for a device that is
        /// configured once.
        #[arg(long, value_name = "N")]
        epoch: Option<u32>,
    },
    /// Show what there is of each epoch, what is due, and what it may be worth.
    Balance {
        #[command(flatten)]
        mint: Mint,
        #[command(flatten)]
        pages: Pages,
        /// Ask nobody: show what is in the wallet.
        #[arg(long, conflicts_with = "pages")]
        offline: bool,
    },
    /// Fetch all eHash that the pool has credited to the wallet's keys. Exit status 1 if an epoch is to be asked again.
    Claim(Mint),
    /// Take eHash or satoshi ecash out of the wallet, as a token: whoever has its text has it.
    Send {
        /// Of which epoch; or `sat`, for satoshi ecash.
        of: Holding,
        /// How much of it.
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        amount: u64,
        #[command(flatten)]
        mint: Mint,
    },
    /// Take back what was sent and nobody has received.
    TakeBack {
        /// Of which epoch; or `sat`, for satoshi ecash.
        of: Holding,
        #[command(flatten)]
        mint: Mint,
    },
    /// Put a token into the wallet; its giver cannot spend it any more.
    Receive {
        /// The token; `-` reads it from standard input.
        token: String,
        #[command(flatten)]
        mint: Mint,
    },
    /// Exchange eHash of an epoch that has matured for bitcoin.
    Redeem {
        /// Of which epoch; or `sat`, for satoshi ecash.
        of: Holding,
        /// Satoshi ecash, or a Bitcoin address.
        #[arg(long, value_name = "ecash|ADDRESS")]
        to: RedeemTo,
        /// How much of it [default: all].
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        amount: Option<u64>,
        #[command(flatten)]
        mint: Mint,
    },
    /// Find everything again from the twelve words, which are read from standard input.
    Restore {
        /// Use the words that are kept in the directory: when its store is lost, or a restore was interrupted.
        #[arg(long)]
        kept: bool,
        #[command(flatten)]
        mint: Mint,
        #[command(flatten)]
        pages: Pages,
    },
    /// List what came and went.
    History(Mint),
}

#[derive(Args)]
struct Mint {
    /// The mint, such as http://127.0.0.1:3338. `init` and `restore` keep it; elsewhere it holds for this once.
    #[arg(long, value_name = "URL")]
    mint: Option<MintAddress>,
}

#[derive(Args)]
struct Pages {
    /// The pool's pages, which tell the state and the pot of each epoch. `init` and `restore` keep it.
    #[arg(long, value_name = "URL")]
    pages: Option<String>,
}

/// Where and how.
struct Surroundings {
    directory: PathBuf,
    json: bool,
}

pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let directory = match arguments.dir {
        Some(directory) => directory,
        None => default_directory()?,
    };
    let surroundings = Surroundings { directory, json: arguments.json };
    if let Command::Key { epoch } = arguments.command {
        surroundings.key(epoch)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(surroundings.obey(arguments.command))
}

impl Surroundings {
    async fn obey(&self, command: Command) -> Result<ExitCode> {
        match command {
            Command::Init { mint, pages } => {
                let places = Places { mint: mint.mint, pages: pages.pages };
                let phrase = EhashWallet::init(&self.directory, &places).await?;
                self.made(&phrase)?;
            }
            Command::Key { epoch } => self.key(epoch)?,
            Command::Balance { mint, pages, offline } => {
                let wallet = self.open(mint).await?;
                let balance = wallet.balance(!offline, pages.pages.as_deref()).await?;
                self.tell(&balance, show::balance);
            }
            Command::Claim(mint) => {
                let claimed = self.open(mint).await?.claim().await?;
                self.tell(&claimed, show::claimed);
                if claimed.refused.iter().any(|epoch| epoch.again) {
                    return Ok(ExitCode::FAILURE);
                }
            }
            Command::Send { of, amount, mint } => {
                let sent = self.open(mint).await?.send(of, amount).await?;
                self.tell(&sent, |sent| sent.token.clone());
            }
            Command::TakeBack { of, mint } => {
                let back = self.open(mint).await?.take_back(of).await?;
                self.tell(&back, show::taken_back);
            }
            Command::Receive { token, mint } => {
                let token = if token == "-" { input("the token")? } else { Zeroizing::new(token) };
                let received = self.open(mint).await?.receive(&token).await?;
                self.tell(&received, show::received);
            }
            Command::Redeem { of, to, amount, mint } => {
                let redeemed = self.open(mint).await?.redeem(of, &to, amount).await?;
                self.tell(&redeemed, show::redeemed);
            }
            Command::Restore { kept, mint, pages } => {
                let words = if kept { None } else { Some(input("the twelve words")?.parse::<SeedPhrase>()?) };
                let places = Places { mint: mint.mint, pages: pages.pages };
                let (_, restored) = EhashWallet::restore(&self.directory, words, &places).await?;
                self.tell(&restored, show::restored);
            }
            Command::History(mint) => {
                let history = self.open(mint).await?.history().await?;
                self.tell(&json!({ "history": history }), |_| show::history(&history));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn open(&self, mint: Mint) -> Result<EhashWallet> {
        Ok(EhashWallet::open(&self.directory, mint.mint).await?)
    }

    /// Shows the words, for the only time.
    fn made(&self, phrase: &SeedPhrase) -> Result<()> {
        let key = phrase.payout_key(KeyOf::Device)?;
        let (directory, words) = (self.directory.display().to_string(), phrase.words());
        if self.json {
            output::line(json!({
                "directory": directory,
                "words": words.as_str(),
                "payout_key": key.to_string(),
            }));
        } else {
            output::line(format_args!(
                "The wallet is in {directory}. Its words are:\n\n  {}\n",
                words.as_str()
            ));
            output::line(
                "Write them down: they bring everything back, for whoever has them. They are not shown again.",
            );
            output::line(format_args!("Payout key, to mine with: {key}"));
        }
        Ok(())
    }

    fn key(&self, epoch: Option<u32>) -> Result<()> {
        let of = epoch.map_or(KeyOf::Device, |epoch| KeyOf::Epoch(Epoch(epoch)));
        let key = SeedPhrase::read(&self.directory)?.payout_key(of)?;
        let answer = json!({ "payout_key": key.to_string(), "epoch": epoch });
        self.tell(&answer, |_| show::key(&key, of));
        Ok(())
    }

    fn tell<T: Serialize>(&self, answer: &T, text: impl FnOnce(&T) -> String) {
        if self.json {
            output::line(json!(answer));
        } else {
            output::line(text(answer));
        }
    }
}

fn default_directory() -> Result<PathBuf> {
    let home = env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.context("there is no home directory to keep the wallet in: name one with --dir DIR")?;
    Ok(PathBuf::from(home).join(DIRECTORY))
}

/// Reads from standard input what has no business on a command line, which others can see.
fn input(what: &str) -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    if io::stdin().is_terminal() {
        eprintln!("Type {what}, then a line end:");
        io::stdin().read_line(&mut text)?;
    } else {
        io::stdin().take(MOST_INPUT).read_to_string(&mut text)?;
    }
    Ok(text)
}
