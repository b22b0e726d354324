//! `assay swarm`: load for a Stratum V2 pool.

use std::process::ExitCode;
use std::time::Duration;

use ::swarm::{
    Attack, ChurnPlan, FanoutPlan, Fleet, HostilePlan, IdlePlan, LocalAddresses, SwarmError, ThroughputPlan,
};
use anyhow::Result;
use clap::{Args, Subcommand};
use device::{ChannelKind, PoolAddress};
use serde::Serialize;

use crate::output;
use crate::shutdown::Shutdown;

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    question: Question,
}

#[derive(Subcommand)]
enum Question {
    /// Submit valid shares as fast as the pool answers, or at a rate; measure answers, latency and cost.
    Throughput(Throughput),
    /// Open connections and hold them; measure set-up rate and the pool's memory.
    Idle(Idle),
    /// Wait for new blocks; measure when the first, the median and the last client hear of them.
    Fanout(Fanout),
    /// Let connections come and go beside others that submit shares; see whether memory and descriptors stay flat.
    Churn(Churn),
    /// Misbehave in every way there is beside good devices; see what these notice. For your own pool's defences.
    Hostile(Hostile),
}

#[derive(Args)]
struct Clients {
    /// The pool, as stratum2+tcp://host:port/<authority key>. The key is checked on the first connection.
    #[arg(long, value_name = "URL")]
    pool: PoolAddress,
    /// Connections.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Channels on each connection.
    #[arg(long, default_value_t = 1)]
    channels: usize,
    /// standard or extended.
    #[arg(long, default_value = "standard")]
    kind: ChannelKind,
    /// Do not say REQUIRES_STANDARD_JOBS on connections for standard channels: jobs may come for the whole group.
    #[arg(long)]
    no_standard_jobs: bool,
    /// Bytes of extranonce that an extended channel asks for.
    #[arg(long, value_name = "BYTES", default_value_t = 4)]
    min_extranonce_size: u16,
    /// User name of all channels; by default each connection has a payout key of its own, whose shares are nobody's.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Connections begun in a second; by default as fast as the pool answers.
    #[arg(long, value_name = "N")]
    connect_rate: Option<u64>,
    /// Connections whose set-up may be under way.
    #[arg(long, value_name = "N", default_value_t = 256)]
    under_way: usize,
    /// Seconds that a connection has until all its channels have work.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    patience: u64,
    /// Where connections come from, in turn: an address, or a range such as 127.0.0.2-127.0.0.9. An address has ports
    /// for about 28,000 connections, and pools limit the connections of an address.
    #[arg(long, value_name = "ADDRESS")]
    local_address: Vec<LocalAddresses>,
    /// The pool's process on this machine: its processor time and memory are measured.
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Throughput {
    #[command(flatten)]
    clients: Clients,
    /// Length of the measured run; it ends earlier when the shares are used up or a new block ends their job.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Shares to find beforehand, over all channels [default: what --rate needs, or 2,000,000].
    #[arg(long, value_name = "N")]
    shares: Option<u64>,
    /// Longest time for finding them; then there are fewer.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    prepare_seconds: u64,
    /// Threads that find them [default: one a processor].
    #[arg(long, value_name = "N")]
    prepare_threads: Option<usize>,
    /// Shares of a channel that may wait for an answer [default: 16,384 shared by all channels, at least 16 each].
    #[arg(long, value_name = "N")]
    window: Option<u32>,
    /// Shares a second over all channels, each in a packet of its own [default: as fast as the pool answers].
    #[arg(long, value_name = "N")]
    rate: Option<u64>,
}

#[derive(Args)]
struct Idle {
    #[command(flatten)]
    clients: Clients,
    /// Seconds that the connections are held.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    hold: u64,
    /// Connect, hold and disconnect so often.
    #[arg(long, default_value_t = 1)]
    waves: u32,
    /// Milliseconds that the pool's memory may settle before it is read.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000)]
    settle: u64,
}

#[derive(Args)]
struct Fanout {
    #[command(flatten)]
    clients: Clients,
    /// Blocks to wait for.
    #[arg(long, default_value_t = 1)]
    blocks: u32,
    /// Longest wait for each block, and then for its last client.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Command that makes a block, run by sh. Times count from its start; if the last line that it prints is a Unix
    /// time in microseconds (date +%s%6N), from that moment.
    #[arg(long, value_name = "COMMAND")]
    trigger_cmd: Option<String>,
    /// Milliseconds before each trigger.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000)]
    pause: u64,
}

#[derive(Args)]
struct Churn {
    /// --connections stay and submit shares.
    #[command(flatten)]
    clients: Clients,
    /// How long connections come and go.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Connections that come and go, at any time.
    #[arg(long, value_name = "N", default_value_t = 100)]
    transient: usize,
    /// How many of them are begun in a second; each ends an older one: in order, by a reset, in the middle of a
    /// handshake or a frame, or with shares under way.
    #[arg(long, value_name = "N", default_value_t = 50)]
    reconnects: u64,
    /// Shares a second over all connections that stay, found when they are needed.
    #[arg(long, value_name = "N", default_value_t = 100)]
    rate: u64,
    /// Seconds between two looks at the pool's process [default: a 360th part of the run].
    #[arg(long, value_name = "SECONDS")]
    sample: Option<u64>,
}

#[derive(Args)]
struct Hostile {
    /// --connections are good devices.
    #[command(flatten)]
    clients: Clients,
    /// An attack, perhaps with its rate a second and its connections; may be given several times [default: all].
    #[arg(long = "attack", value_name = "KIND[:RATE[:CONNECTIONS]]")]
    attacks: Vec<Attack>,
    /// Strength of all attacks in percent of their usual rates, unless some are chosen with --attack.
    #[arg(long, value_name = "PERCENT", default_value_t = 100, conflicts_with = "attacks")]
    strength: u64,
    /// One attack after the other, with calm between, instead of all together.
    #[arg(long)]
    separately: bool,
    /// How long an attack lasts while the good devices are measured.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds that the good devices are measured before and after.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    calm: u64,
    /// Shares a second over all good devices.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    rate: u64,
    /// Where attackers come from, in turn [default: 127.66.0.1-127.66.0.8 if the pool is on loopback].
    #[arg(long, value_name = "ADDRESS")]
    attack_address: Vec<LocalAddresses>,
    /// Attack a pool that is neither on this machine nor in a private network.
    #[arg(long)]
    yes_it_is_mine: bool,
}

impl Hostile {
    fn plan(self) -> (HostilePlan, Clients) {
        let attacks = if self.attacks.is_empty() { Attack::all(self.strength) } else { self.attacks };
        let plan = HostilePlan {
            attacks,
            separately: self.separately,
            run: Duration::from_secs(self.seconds),
            calm: Duration::from_secs(self.calm),
            rate: self.rate,
            from: self.attack_address.into_iter().flat_map(|addresses| addresses.0).collect(),
            yes_it_is_mine: self.yes_it_is_mine,
        };
        (plan, self.clients)
    }
}

impl Clients {
    fn fleet(self) -> (Fleet, bool) {
        let fleet = Fleet {
            connections: self.connections,
            channels: self.channels,
            kind: self.kind,
            standard_jobs: !self.no_standard_jobs,
            min_extranonce_size: self.min_extranonce_size,
            user: self.user,
            threads: self.threads,
            connect_rate: self.connect_rate,
            under_way: self.under_way,
            patience: Duration::from_secs(self.patience),
            local_addresses: self.local_address.into_iter().flat_map(|addresses| addresses.0).collect(),
            server_pid: self.server_pid,
            ..Fleet::new(self.pool)
        };
        (fleet, self.json)
    }
}

pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let stop = Shutdown::install(None)?.stop();
    let stopped = || stop.is_stopped();
    match arguments.question {
        Question::Throughput(Throughput {
            clients,
            seconds,
            shares,
            prepare_seconds,
            prepare_threads,
            window,
            rate,
        }) => {
            let (fleet, json) = clients.fleet();
            let defaults = ThroughputPlan::default();
            let plan = ThroughputPlan {
                run: Duration::from_secs(seconds),
                shares,
                prepare: Duration::from_secs(prepare_seconds),
                prepare_threads: prepare_threads.unwrap_or(defaults.prepare_threads),
                window,
                rate,
            };
            show(::swarm::throughput(&fleet, &plan, &stopped), json)
        }
        Question::Idle(Idle { clients, hold, waves, settle }) => {
            let (fleet, json) = clients.fleet();
            let (hold, settle) = (Duration::from_secs(hold), Duration::from_millis(settle));
            show(::swarm::idle(&fleet, &IdlePlan { hold, waves, settle }, &stopped), json)
        }
        Question::Fanout(Fanout { clients, blocks, seconds, trigger_cmd, pause }) => {
            let (fleet, json) = clients.fleet();
            let (wait, pause) = (Duration::from_secs(seconds), Duration::from_millis(pause));
            show(
                ::swarm::fanout(&fleet, &FanoutPlan { blocks, wait, trigger: trigger_cmd, pause }, &stopped),
                json,
            )
        }
        Question::Churn(Churn { clients, seconds, transient, reconnects, rate, sample }) => {
            let (fleet, json) = clients.fleet();
            let (run, sample) = (Duration::from_secs(seconds), sample.map(Duration::from_secs));
            let plan = ChurnPlan { run, transient, reconnects, rate, sample };
            show(::swarm::churn(&fleet, &plan, &stopped), json)
        }
        Question::Hostile(arguments) => {
            let (plan, clients) = arguments.plan();
            let (fleet, json) = clients.fleet();
            show(::swarm::hostile(&fleet, &plan, &stopped), json)
        }
    }
}

fn show(report: Result<impl Serialize + std::fmt::Display, SwarmError>, json: bool) -> Result<ExitCode> {
    let report = report?;
    if json {
        output::line(serde_json::to_string(&report)?)
    } else {
        output::line(report)
    }
    Ok(ExitCode::SUCCESS)
}
