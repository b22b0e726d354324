//! `assay mine`: a CPU mining device.

mod rotation;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use crossbeam_channel::{Receiver, bounded};
use device::{ChannelKind, Device, DeviceConfig, DeviceEvent, DeviceHandle, DeviceStats, PoolAddress};
use serde_json::json;
use work::HashRate;

use crate::amount;
use crate::output;
use crate::shutdown::{MAX_SECONDS, Shutdown};
use rotation::Rotation;

/// How often events are looked for, and the live line is drawn on a terminal.
const LOOK: Duration = Duration::from_millis(500);

/// To the start of the line, and away with it.
const CLEAR_LINE: &str = "\r\x1b[2K";

/// How often a plain line is written elsewhere.
const PLAIN_LINE: Duration = Duration::from_secs(10);

/// Events that may wait to be printed.
const EVENT_QUEUE: usize = 1024;

#[derive(Args)]
pub struct Arguments {
    /// The pool, as stratum2+tcp://host:port/<authority key>. Give several in order of preference.
    #[arg(long, value_name = "URL", required = true)]
    pool: Vec<PoolAddress>,
    /// Who is paid: <payout key>[.worker]. `assay wallet key` shows a key, and `assay keys payout` makes one.
    #[arg(long, value_name = "KEY", env = "ASSAY_USER", required_unless_present = "wallet")]
    user: Option<String>,
    /// Mine with the keys of the wallet in this directory, another one for each epoch.
    #[arg(long, value_name = "DIR", conflicts_with = "user")]
    wallet: Option<PathBuf>,
    /// The worker's name, with --wallet.
    #[arg(long, value_name = "NAME", requires = "wallet")]
    worker: Option<String>,
    /// standard (the pool builds the coinbase) or extended (the device rolls an extranonce of its own).
    #[arg(long, default_value = "standard")]
    channel: ChannelKind,
    /// Threads that hash; by default one a core.
    #[arg(long)]
    threads: Option<usize>,
    /// Upper bound of the hash rate, in hashes a second.
    #[arg(long, value_name = "HASHES")]
    max_hash_rate: Option<u64>,
    /// Say that the device cannot process extended jobs (REQUIRES_STANDARD_JOBS).
    #[arg(long)]
    standard_jobs: bool,
    /// Name the worker in every share (extension 0x0002).
    #[arg(long)]
    worker_tlv: bool,
    /// Stop after so many seconds.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=MAX_SECONDS))]
    seconds: Option<u64>,
    /// Print one JSON object at the end instead of lines.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn device_config(&self, user: String) -> DeviceConfig {
        let mut config = DeviceConfig::new(self.pool.clone(), user);
        config.channel = self.channel;
        if let Some(threads) = self.threads {
            config.threads = threads;
        }
        config.max_hash_rate = self.max_hash_rate.map(HashRate::new);
        config.requires_standard_jobs = self.standard_jobs;
        config.worker_tlv = self.worker_tlv;
        config
    }
}

pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let shutdown = Shutdown::install(arguments.seconds)?;
    let wallet = arguments.wallet.as_ref();
    let mut rotation =
        wallet.map(|directory| Rotation::of_wallet(directory, arguments.worker.clone())).transpose()?;
    let mut all = DeviceStats::default();
    loop {
        let user = match &rotation {
            Some(rotation) => rotation.user()?,
            None => arguments.user.clone().context("--user is missing")?,
        };
        let (sender, events) = bounded(EVENT_QUEUE);
        let config = arguments.device_config(user);
        let handle = Device::start(config, sender).context("the device cannot be started")?;
        let turned = watch(&handle, &events, &shutdown, rotation.as_mut(), arguments.json);
        // Stopping clears the rate and the target, which belong to the present.
        let before = handle.stats();
        let DeviceStats { state_text, hash_rate, .. } = before;
        let stats = DeviceStats { hash_rate, ..handle.stop() };
        add(&mut all, &stats);
        if turned {
            continue;
        }
        output::line(if arguments.json { summary(&all).to_string() } else { totals(&all) });
        ensure!(all.hashes > 0, "no pool gave any work; the last state was: {state_text}");
        return Ok(ExitCode::SUCCESS);
    }
}

/// What devices did one after the other.
fn add(all: &mut DeviceStats, stats: &DeviceStats) {
    all.hash_rate = stats.hash_rate;
    all.hashes += stats.hashes;
    all.shares_submitted += stats.shares_submitted;
    all.shares_accepted += stats.shares_accepted;
    all.shares_rejected += stats.shares_rejected;
    for (code, count) in &stats.rejected_by_code {
        *all.rejected_by_code.entry(code.clone()).or_default() += count;
    }
    all.shares_outstanding += stats.shares_outstanding;
    all.shares_unanswered += stats.shares_unanswered;
    all.credit = all.credit.saturating_add(stats.credit);
    all.blocks_found += stats.blocks_found;
    all.connections += stats.connections;
}

/// Events as they come, and a line that lives below them on a terminal. Ends when it is time to stop, or, true, when the key
/// changes.
fn watch(
    handle: &DeviceHandle,
    events: &Receiver<DeviceEvent>,
    shutdown: &Shutdown,
    mut rotation: Option<&mut Rotation>,
    quiet: bool,
) -> bool {
    let live = !quiet && std::io::stdout().is_terminal();
    let mut next_plain = Instant::now() + PLAIN_LINE;
    let turned = loop {
        let stop = shutdown.wait(LOOK);
        for event in events.try_iter().filter(|event| !quiet && is_news(event)) {
            if live {
                output::raw(CLEAR_LINE);
            }
            output::line(&event);
        }
        if stop {
            break false;
        }
        if rotation.as_mut().is_some_and(|rotation| rotation.turns()) {
            break true;
        }
        if live {
            output::raw(format_args!("{CLEAR_LINE}{}", line(&handle.stats())));
        } else if !quiet && Instant::now() >= next_plain {
            output::line(line(&handle.stats()));
            next_plain += PLAIN_LINE;
        }
    };
    if live {
        output::raw(CLEAR_LINE);
    }
    turned
}

/// Jobs and acknowledgements come by the second and are in the live line's numbers.
fn is_news(event: &DeviceEvent) -> bool {
    !matches!(event, DeviceEvent::NewJob { .. } | DeviceEvent::SharesAccepted { .. })
}

fn line(stats: &DeviceStats) -> String {
    let difficulty = stats.target.map_or_else(
        || "difficulty not known yet".to_owned(),
        |target| {
            let hashes = amount::grouped(target.expected_hashes());
            format!("difficulty {} (a share every {hashes} hashes)", target.difficulty())
        },
    );
    format!(
        "{} | {} | shares {} accepted, {} rejected | {difficulty} | eHash {}",
        stats.state_text,
        stats.hash_rate,
        stats.shares_accepted,
        stats.shares_rejected,
        amount::ehash(stats.credit),
    )
}

fn totals(stats: &DeviceStats) -> String {
    format!(
        "{} hashes | shares {} accepted, {} rejected, {} without an answer | {} blocks | eHash {}",
        amount::grouped(stats.hashes.into()),
        stats.shares_accepted,
        stats.shares_rejected,
        stats.shares_unanswered + stats.shares_outstanding,
        stats.blocks_found,
        amount::ehash(stats.credit),
    )
}

fn summary(stats: &DeviceStats) -> serde_json::Value {
    json!({
        "hashes": stats.hashes,
        "hash_rate": stats.hash_rate.get(),
        "shares_submitted": stats.shares_submitted,
        "shares_accepted": stats.shares_accepted,
        "shares_rejected": stats.shares_rejected,
        "rejected_by_code": stats.rejected_by_code,
        "ehash_credited": stats.credit.get(),
        "blocks_found": stats.blocks_found,
        "connections": stats.connections,
    })
}
