//! `assay ledger`: look after a pool's books.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use ledger::store::SqliteStore;
use ledger::{Epoch, EpochState, Event, Ledger, Params, Reader};

use crate::amount;
use crate::config::PoolFile;
use crate::mint_service;
use crate::output;
use crate::retirement::{self, Ended};

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Replay the journal, check every rule of the books and compare every table with it. Exit status 1 if anything is wrong.
    Verify(Verify),
    /// Settle a pool that has stopped for good: its closed epochs redeem as they are, without the blocks that will not come.
    /// Cannot be undone.
    Freeze(Freeze),
    /// Have the epochs after the open one follow the parameters that stand in the configuration now. Those of epochs that were
    /// opened before stay as they are.
    Change(Change),
    /// End epochs that could be redeemed for long enough, where `epochs.redeem_blocks` does not: what nobody redeemed of their
    /// pots goes to later epochs. Cannot be undone.
    Retire(Retire),
}

#[derive(Args)]
struct Change {
    /// The pool's configuration, with the new parameters in [epochs]. The pool must not run meanwhile.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Args)]
struct Verify {
    /// The ledger's database.
    #[arg(long, value_name = "FILE", required_unless_present = "config", conflicts_with = "config")]
    db: Option<PathBuf>,
    /// The pool's configuration, to find the database by.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Freeze {
    /// The pool's configuration. The pool must not run; started again afterwards, without miners, its mint redeems.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Confirm that no more blocks will be found for these epochs.
    #[arg(long, required = true)]
    for_good: bool,
}

#[derive(Args)]
struct Retire {
    /// The pool's configuration. The pool must not run meanwhile.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// All redeemable epochs before this one end.
    #[arg(long, value_name = "EPOCH")]
    before: u32,
    /// Confirm that their eHash is worth nothing from now on.
    #[arg(long, required = true)]
    for_good: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Command::Verify(arguments) => verify(arguments),
        Command::Freeze(arguments) => freeze(arguments),
        Command::Retire(arguments) => retire(arguments),
        Command::Change(arguments) => change(arguments),
    }
}

fn verify(arguments: &Verify) -> Result<ExitCode> {
    let path = match (&arguments.db, &arguments.config) {
        (Some(path), _) => path.clone(),
        (None, Some(config)) => PoolFile::load(config)?.data_dir.join("ledger.db"),
        (None, None) => anyhow::bail!("name the ledger: --db FILE or --config FILE"),
    };
    let report =
        ledger::verify(&path).with_context(|| format!("the ledger {} cannot be read", path.display()))?;
    if arguments.json {
        output::line(serde_json::to_string(&report)?);
    } else {
        output::line(&report);
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn freeze(arguments: &Freeze) -> Result<ExitCode> {
    ensure!(arguments.for_good, "freezing cannot be undone: confirm with --for-good");
    let resolved = PoolFile::load(&arguments.config)?.resolve()?;
    let lines = freeze_all(&resolved.ledger_path, resolved.epochs)?;
    Ok(tell(&lines, "no closed epoch waits for blocks"))
}

fn retire(arguments: &Retire) -> Result<ExitCode> {
    ensure!(arguments.for_good, "retiring cannot be undone: confirm with --for-good");
    let resolved = PoolFile::load(&arguments.config)?.resolve()?;
    let data_dir = &resolved.file.data_dir;
    let lines = retire_all(data_dir, &resolved.ledger_path, resolved.epochs, Epoch(arguments.before))?;
    Ok(tell(&lines, "no redeemable epoch is before that one"))
}

fn change(arguments: &Change) -> Result<ExitCode> {
    let resolved = PoolFile::load(&arguments.config)?.resolve()?;
    let line = match change_params(&resolved.ledger_path, resolved.epochs)? {
        Some(first) => format!("from epoch {first} on, epochs follow the configuration"),
        None => "epochs follow the configuration already".to_owned(),
    };
    output::line(line);
    Ok(ExitCode::SUCCESS)
}

/// A line for each epoch.
fn tell(lines: &[Result<String, String>], none: &str) -> ExitCode {
    for line in lines {
        match line {
            Ok(line) | Err(line) => output::line(line),
        }
    }
    if lines.is_empty() {
        output::line(none);
    }
    if lines.iter().all(Result::is_ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Gives the first epoch that has the parameters, unless all to come have them anyway.
fn change_params(path: &Path, to: Params) -> Result<Option<Epoch>> {
    ensure!(path.exists(), "there is no ledger {}: compare data_dir", path.display());
    let cannot = || format!("the ledger {} cannot be opened", path.display());
    // The writer comes first: it brings up what an older program has left, for the reader.
    drop(SqliteStore::open(path).with_context(cannot)?);
    let (_, last) =
        *Reader::open(path)?.params()?.last().context("the ledger has no parameters: verify it")?;
    if last == to {
        return Ok(None);
    }
    let (books, handle) = Ledger::open(path, last).with_context(cannot)?;
    let first_epoch = handle.reader()?.open_epoch()?.next().context("there are no more epochs")?;
    handle.apply(Event::ParamsChanged { first_epoch, params: to })?;
    drop(handle);
    books.close()?;
    Ok(Some(first_epoch))
}

/// Freezes each closed epoch that still collects or waits: a line for each, an error for one that cannot be yet.
fn freeze_all(path: &Path, epochs: Params) -> Result<Vec<Result<String, String>>> {
    ensure!(path.exists(), "there is no ledger {}: compare data_dir", path.display());
    let (books, handle) = Ledger::open(path, epochs)
        .with_context(|| format!("the ledger {} cannot be opened", path.display()))?;
    let mut lines = Vec::new();
    for info in handle.reader()?.epochs(Epoch::ZERO, u32::MAX)? {
        if !matches!(info.state, EpochState::Accruing | EpochState::Settling) {
            continue;
        }
        lines.push(match handle.apply(Event::EpochFrozen(info.epoch)) {
            Ok(_) => Ok(format!("epoch {}: redeems as it is, pot {}", info.epoch, amount::sats(info.pot))),
            Err(error) => Err(error.to_string()),
        });
    }
    drop(handle);
    books.close()?;
    Ok(lines)
}

/// Retires each redeemable epoch before one: a line for each, an error for one that cannot be yet.
fn retire_all(
    data_dir: &Path,
    path: &Path,
    epochs: Params,
    before: Epoch,
) -> Result<Vec<Result<String, String>>> {
    ensure!(path.exists(), "there is no ledger {}: compare data_dir", path.display());
    let redemptions = mint_service::redemptions(data_dir)?;
    let (books, handle) = Ledger::open(path, epochs)
        .with_context(|| format!("the ledger {} cannot be opened", path.display()))?;
    let mut lines = Vec::new();
    for info in handle.reader()?.epochs(Epoch::ZERO, before.get())? {
        let epoch = info.epoch;
        if epoch >= before || !info.state.is_redeemable() {
            continue;
        }
        lines.push(match retirement::end(redemptions.as_ref(), &handle, &info)? {
            Ended::Retired { paid, swept } => Ok(format!(
                "epoch {epoch}: retired; {} were redeemed, {} go to later epochs",
                amount::sats(paid),
                amount::sats(swept)
            )),
            Ended::UnderWay => {
                Err(format!("epoch {epoch}: redemptions are under way; let the mint run until they are paid"))
            }
            Ended::Promised { until } => {
                Err(format!("epoch {epoch}: it is redeemed until block {until}, as its parameters promise"))
            }
        });
    }
    drop(handle);
    books.close()?;
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use bitcoin::Amount;
    use ledger::{Batch, BlockHash, ChainBlock, Msats, Source};
    use mint::EpochUnit;
    use mint::redemption::{Progress, Rate, Redemption, RedemptionBook, Way};
    use work::{Ehash, PayoutKey};

    use super::*;

    /// The last epochs of a pool that stops.
    #[test]
    fn a_stopped_pool_is_settled_when_its_blocks_are_final() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let params = Params { q: 16, window: 4, fee_ppm: 0, maturity: 3, redeem_blocks: 0 };
        let key: PayoutKey =
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap();
        let (books, handle) = Ledger::open(&path, params).unwrap();
        let credits = vec![(key, Ehash::new(2 * (1 << 34) + 5))];
        let batch = Batch { source: Source { front: 0, shard: 0 }, sequence: 1, credits };
        handle.apply(Event::Credits(batch)).unwrap();
        let hash = BlockHash::from_bytes([7; 32]);
        let block = ChainBlock { hash, height: 10, reward: Msats::new(8_000) };
        handle.apply(Event::BlockConnected(block)).unwrap();
        handle.apply(Event::Tip { height: 10 }).unwrap();
        let busy = freeze_all(&path, params).unwrap_err();
        assert!(format!("{busy:#}").contains("cannot be opened"), "{busy:#}");
        drop(handle);
        books.close().unwrap();

        let early = freeze_all(&path, params).unwrap();
        assert!(
            early.len() == 2 && early.iter().all(|line| line.as_ref().unwrap_err().contains("final")),
            "{early:?}"
        );
        let (books, handle) = Ledger::open(&path, params).unwrap();
        handle.apply(Event::Tip { height: 12 }).unwrap();
        drop(handle);
        books.close().unwrap();
        let frozen = freeze_all(&path, params).unwrap();
        assert!(frozen.iter().all(|line| line.as_ref().unwrap().contains("pot 4 sat")), "{frozen:?}");
        assert!(freeze_all(&path, params).unwrap().is_empty());
        assert!(freeze_all(&dir.path().join("elsewhere.db"), params).is_err());
    }

    /// What an operator does who wants other parameters.
    #[test]
    fn parameters_change_from_the_next_epoch_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let before = Params { redeem_blocks: 0, ..Params::default() };
        let (books, handle) = Ledger::open(&path, before).unwrap();
        drop(handle);
        books.close().unwrap();
        let refused = Ledger::open(&path, Params::default()).unwrap_err().to_string();
        assert!(
            refused.contains("epochs.redeem_blocks") && refused.contains("assay ledger change"),
            "{refused}"
        );
        assert_eq!(change_params(&path, Params::default()).unwrap(), Some(Epoch(1)));
        assert_eq!(change_params(&path, Params::default()).unwrap(), None);
        let (books, handle) = Ledger::open(&path, Params::default()).unwrap();
        let bound = handle.reader().unwrap().params().unwrap();
        assert_eq!(bound, [(Epoch(0), before), (Epoch(1), Params::default())]);
        let busy = format!("{:#}", change_params(&path, before).unwrap_err());
        assert!(busy.contains("in use"), "{busy}");
        drop(handle);
        books.close().unwrap();
        assert!(change_params(&dir.path().join("elsewhere.db"), before).is_err());
    }

    /// What was redeemed stays, and the rest goes on.
    #[test]
    fn retired_epochs_give_what_nobody_redeemed_to_later_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let params = Params { q: 16, window: 1, fee_ppm: 0, maturity: 1, redeem_blocks: 0 };
        let key: PayoutKey =
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap();
        let (books, handle) = Ledger::open(&path, params).unwrap();
        let credit = |sequence| {
            let credits = vec![(key, Ehash::new(1 << 34))];
            handle
                .apply(Event::Credits(Batch { source: Source { front: 0, shard: 0 }, sequence, credits }))
                .unwrap();
        };
        credit(1);
        let reward = Msats::new(1_000_000);
        let block = ChainBlock { hash: BlockHash::from_bytes([7; 32]), height: 10, reward };
        handle.apply(Event::BlockConnected(block)).unwrap();
        credit(2);
        handle.apply(Event::Tip { height: 11 }).unwrap();
        drop(handle);
        books.close().unwrap();

        let book = RedemptionBook::open(&dir.path().join("redemptions.db")).unwrap();
        let redemption = Redemption {
            quote: "a".into(),
            unit: EpochUnit(Epoch(0)).to_cashu(),
            way: Way::Ecash,
            target: "00ff".into(),
            amount: 1 << 32,
            reserve: 0,
            sats: Amount::from_sat(250),
            fee: Amount::ZERO,
        };
        book.begin(&redemption, Rate::Epoch { pot: reward, size: Ehash::new(1 << 34) }).unwrap();
        let waits = retire_all(dir.path(), &path, params, Epoch(1)).unwrap();
        assert!(waits[0].as_ref().unwrap_err().contains("under way"), "{waits:?}");
        book.settle("a", 1 << 32, Amount::ZERO).unwrap();

        // Ended at the first try, none is begun any more.
        let late = Redemption { quote: "b".into(), target: "00fe".into(), ..redemption };
        assert_eq!(
            book.begin(&late, Rate::Epoch { pot: reward, size: Ehash::new(1 << 34) }).unwrap(),
            Progress::Refused
        );
        let retired = retire_all(dir.path(), &path, params, Epoch(5)).unwrap();
        let line = retired[0].as_ref().unwrap();
        assert!(retired.len() == 1 && line.contains("250 sat were redeemed, 750 sat go"), "{retired:?}");
        assert!(retire_all(dir.path(), &path, params, Epoch(5)).unwrap().is_empty());
    }
}
