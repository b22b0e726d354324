//! One thread's share of the pool: its connections, their channels, their jobs and shares. Nothing here is shared with
//! another thread, so the path of a share takes no lock.

mod allowance;
mod bases;
mod fanout;
mod opening;
mod pause;
mod prefixes;
mod session;
mod settlement;
mod shares;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use engine::{Close, ConnId, Connections, Handler, Link, ShardHandle};
use ledger::{Event, LedgerError, LedgerHandle, Source};
use sv2::Frame;
use sv2::codec::Str0_255;
use sv2::extensions::{Answer, Policy as ExtensionPolicy, RequestExtensions, WORKER_HASHRATE};
use sv2::mining::{CloseChannel, MiningFromClient, SetCustomMiningJobError, SubmitSharesSuccess, code};
use sv2::setup::{MiningSetupFlags, MiningSuccessFlags, Reconnect, Served, SetupConnection, negotiate};
use tracing::{debug, error, warn};
use work::{Lease, Policy, PrefixSpace, ShareMemory, Target, UniquePrefix};

use crate::blocks::{Solution, SolutionSender};
use crate::config::PoolConfig;
use crate::stats::{Ending, PoolStats, TurnCounts};
use crate::templates::{HandedOut, JobIds};
use crate::update::WorkUpdate;
use allowance::Allowance;
use bases::Bases;
use opening::TOO_MANY_REQUESTS;
use pause::Pause;
use prefixes::Prefixes;
use session::{Mining, OpenChannel, Session};
use settlement::Settlement;

/// Greatest frame after set-up. A mining client's longest message, SetCustomMiningJob, stays below.
const FRAME_LIMIT: u32 = 1 << 14;

/// A batch that takes this part of the ledger's patience is as bad as one that fails.
const SLOW_PART: u32 = 12;

/// What other threads tell a shard.
pub(crate) enum Command {
    /// New work for every channel.
    Work(Arc<WorkUpdate>, HandedOut),
    /// What became of the batch of credits that was on its way, and for how long the ledger then commits nothing.
    Committed(Result<Duration, LedgerError>),
    /// A lease of extranonce prefixes, taken in advance; `None` if the ledger gave none.
    Lease(Option<Lease>),
    /// A second went by. `node_down`: for so long that there is no work worth doing.
    Tick { node_down: bool },
    /// Clients shall connect elsewhere.
    Reconnect { host: Box<str>, port: u16 },
    /// The pool stops: take nothing more, and answer once every accepted share is durable and acknowledged.
    Drain(Sender<()>),
}

/// What a shard is made of.
pub(crate) struct ShardParts {
    pub config: Arc<PoolConfig>,
    pub ledger: LedgerHandle,
    pub stats: PoolStats,
    pub solutions: SolutionSender,
    pub job_ids: JobIds,
    pub handle: ShardHandle<Command>,
    pub current: Arc<WorkUpdate>,
    pub source: Source,
    pub last_sequence: u64,
    pub prefixes: PrefixSpace,
    /// When the shard's clock for durations began.
    pub started: std::time::Instant,
    /// Of the whole process.
    pub memory: Arc<ShareMemory>,
}

/// See the module.
pub(crate) struct Shard {
    config: Arc<PoolConfig>,
    policy: Arc<Policy>,
    served: [Served; 1],
    extensions: ExtensionPolicy,
    ledger: LedgerHandle,
    stats: PoolStats,
    solutions: SolutionSender,
    job_ids: JobIds,
    handle: ShardHandle<Command>,
    /// The newest work; new channels start on it.
    current: Arc<WorkUpdate>,
    /// Work that was made in this second for channels whose target changed.
    fresh: Option<(u32, Arc<WorkUpdate>)>,
    /// What the jobs on the current tip are made of.
    bases: Bases,
    prefixes: Prefixes,
    allowance: Allowance,
    settlement: Settlement,
    counts: TurnCounts,
    /// Expected hashes of a block on the current tip.
    block_hashes: u128,
    started: std::time::Instant,
    /// Why no channel is open or opened at the moment.
    paused: Option<Ending>,
    /// Whether the shard stood still a moment ago.
    pause: Pause,
    /// Payout keys in the ledger's open epoch, as of the last tick.
    keys_in_epoch: usize,
    /// Set when the pool stops.
    draining: Option<Sender<()>>,
}

impl Shard {
    pub(crate) fn new(parts: ShardParts) -> Self {
        let ShardParts { config, ledger, stats, current, .. } = parts;
        let policy = Policy {
            shares_per_minute: config.shares_per_minute,
            easiest_target: Target::for_expected_hashes(u128::from(config.min_share_hashes)),
            shares_per_tip: u32::try_from(config.limits.shares_per_tip).unwrap_or(u32::MAX),
            memory: parts.memory,
            ..Policy::default()
        };
        let supported =
            MiningSetupFlags::REQUIRES_STANDARD_JOBS.with(MiningSetupFlags::REQUIRES_VERSION_ROLLING);
        Self {
            bases: Bases::new(policy.past_jobs, &current),
            policy: Arc::new(policy),
            served: [Served::mining(supported, MiningSuccessFlags::NONE)],
            extensions: ExtensionPolicy::new([WORKER_HASHRATE], [])
                .expect("an extension that may be negotiated, and none required"),
            settlement: Settlement::new(
                ledger.clone(),
                stats.clone(),
                parts.source,
                parts.last_sequence,
                config.limits.ledger_patience / SLOW_PART,
            ),
            allowance: Allowance::new(&config.limits, config.shares_per_minute),
            prefixes: Prefixes::new(config.server_id, parts.prefixes),
            config,
            ledger,
            stats,
            solutions: parts.solutions,
            job_ids: parts.job_ids,
            handle: parts.handle,
            fresh: None,
            block_hashes: current.tip.network_target().expected_hashes(),
            current,
            counts: TurnCounts::default(),
            started: parts.started,
            paused: None,
            pause: Pause::default(),
            keys_in_epoch: 0,
            draining: None,
        }
    }

    fn set_up(&mut self, session: &mut Session, link: &mut Link<'_>, frame: Frame<'_>) -> Result<(), Close> {
        let request = SetupConnection::first(frame).map_err(protocol_error)?;
        match negotiate(&request, &self.served) {
            Ok(success) => {
                link.send(&success);
                link.set_frame_limit(FRAME_LIMIT);
                link.set_timer(self.config.limits.first_channel_patience);
                let flags = MiningSetupFlags::from_bits(request.flags);
                *session = Session::Mining(Box::new(Mining::new(flags)));
            }
            Err(error) => {
                debug!(peer = %link.peer(), code = %error.error_code, "set-up refused");
                link.send(&error);
                link.close_after_flush(Close::Finished("SetupConnection refused".into()));
            }
        }
        Ok(())
    }

    fn mine(&mut self, mining: &mut Mining, link: &mut Link<'_>, frame: Frame<'_>) -> Result<(), Close> {
        let (message, tlvs) = MiningFromClient::decode_with_tlvs(frame).map_err(protocol_error)?;
        match message {
            MiningFromClient::SubmitSharesStandard(share) => self.submit_standard(mining, link, &share),
            MiningFromClient::SubmitSharesExtended(share) => {
                self.submit_extended(mining, link, &share, &tlvs);
            }
            request => self.request(mining, link, &request),
        }
        Ok(())
    }

    /// Everything but shares. There is a limit to how often a connection may ask.
    fn request(&mut self, mining: &mut Mining, link: &mut Link<'_>, request: &MiningFromClient<'_>) {
        let rate = self.allowance.requests(mining.channels().len());
        if !mining.requests.take(rate, self.millis(link.now())) {
            return self.refuse_request(mining, link, request);
        }
        match request {
            MiningFromClient::OpenStandardMiningChannel(open) => self.open(mining, link, &open.into()),
            MiningFromClient::OpenExtendedMiningChannel(open) => self.open(mining, link, &open.into()),
            MiningFromClient::UpdateChannel(update) => self.update_channel(mining, link, update),
            MiningFromClient::CloseChannel(close) => self.close_channel(mining, link.id(), close),
            MiningFromClient::SetCustomMiningJob(job) => {
                link.send(&SetCustomMiningJobError {
                    channel_id: job.channel_id,
                    request_id: job.request_id,
                    error_code: code::JD_NOT_SUPPORTED,
                });
                self.refused(mining, link);
            }
            MiningFromClient::RequestExtensions(request) => self.negotiate(mining, link, request),
            // Ignored, but not without end (FR-15, FR-19).
            MiningFromClient::Unknown { .. } => self.refused(mining, link),
            MiningFromClient::SubmitSharesStandard(_) | MiningFromClient::SubmitSharesExtended(_) => {
                debug_assert!(false, "shares are no requests");
            }
        }
    }

    /// Answers a request over the rate where the protocol has an answer. Whoever goes on loses the connection.
    fn refuse_request(&mut self, mining: &mut Mining, link: &mut Link<'_>, request: &MiningFromClient<'_>) {
        self.stats.request_refused();
        match request {
            MiningFromClient::OpenStandardMiningChannel(open) => {
                self.refuse_open(mining, link, open.request_id, TOO_MANY_REQUESTS);
            }
            MiningFromClient::OpenExtendedMiningChannel(open) => {
                self.refuse_open(mining, link, open.request_id, TOO_MANY_REQUESTS);
            }
            MiningFromClient::UpdateChannel(update) => {
                self.refuse_update(mining, link, update.channel_id, TOO_MANY_REQUESTS);
            }
            MiningFromClient::CloseChannel(close) => {
                // It frees something.
                self.close_channel(mining, link.id(), close);
                self.refused(mining, link);
            }
            _ => self.refused(mining, link),
        }
    }

    fn negotiate(&self, mining: &mut Mining, link: &mut Link<'_>, request: &RequestExtensions<'_>) {
        match mining.extensions.answer(&self.extensions, request) {
            Answer::Success(success) => link.send(&success),
            Answer::Error(error) => {
                link.send(&error);
                self.refused(mining, link);
            }
            Answer::ErrorAndClose(error) => {
                link.send(&error);
                link.close_after_flush(Close::Finished("a required extension was not requested".into()));
            }
        }
    }

    /// A group's id ends all its channels (MP-65); an id that is not open is ignored (MP-68).
    fn close_channel(&mut self, mining: &mut Mining, conn: ConnId, close: &CloseChannel<'_>) {
        debug!(%conn, channel = close.channel_id, reason = %close.reason_code, "channel closed by the client");
        let closed = if close.channel_id == mining.group_id {
            mining.close_all().len()
        } else {
            usize::from(mining.close(close.channel_id).is_some())
        };
        self.stats.channels_closed(closed, Ending::Client);
    }

    /// Acknowledges what became durable, and sends what gathered meanwhile.
    fn committed(&mut self, result: Result<Duration, LedgerError>, conns: &mut Connections<'_, Self>) {
        let channels = self.settlement.committed(result, conns.now());
        for &(conn, channel_id) in &channels {
            let Some((Session::Mining(mining), mut link)) = conns.get(conn) else { continue };
            let Some(channel) = mining.channel(channel_id) else { continue };
            acknowledge(channel, &mut link);
            if let (Some(ending), false) = (channel.closing, channel.touched) {
                close_by_server(mining, channel_id, ending, &mut link, &self.stats);
            }
        }
        self.settlement.recycle(channels);
    }

    fn send_credits(&mut self, conns: &mut Connections<'_, Self>) {
        let now = self.millis(conns.now());
        for index in 0..self.settlement.send(conns.now(), &self.handle) {
            let (conn, channel_id) = self.settlement.waiting(index);
            let Some((Session::Mining(mining), mut link)) = conns.get(conn) else { continue };
            let Some(channel) = mining.channel(channel_id) else { continue };
            debug_assert!(channel.waiting.is_none(), "the batch before was acknowledged");
            channel.waiting = channel.work.take_ack();
            channel.touched = false;
            // Not only once a second: a miner far faster than it said has sent thousands by then.
            self.adjust(channel, &mut link, now);
        }
        if let Some(at) = self.settlement.send_at() {
            conns.wake_after(at.saturating_duration_since(conns.now()));
        }
    }

    fn tick(&mut self, node_down: bool, conns: &mut Connections<'_, Self>) {
        self.pause.look(self.millis(conns.now()));
        self.forget_pause(conns);
        let stuck = self.settlement.stuck_for(conns.now());
        let paused = if node_down {
            Some(Ending::NoWork)
        } else if stuck.is_some_and(|time| time >= self.config.limits.ledger_patience) {
            Some(Ending::NoLedger)
        } else {
            None
        };
        if let (Some(ending), None) = (paused, self.paused) {
            conns.for_each(|session, link| {
                let Session::Mining(mining) = session else { return };
                let ids: Vec<u32> = mining.channels().iter().map(|channel| channel.work.id()).collect();
                for id in ids.into_iter().rev() {
                    end_channel(mining, id, ending, link, &self.stats);
                }
            });
        }
        self.paused = paused;
        self.keys_in_epoch = self.ledger.summary().keys_open;
        self.stats.share_memory(self.policy.memory.used());
        if paused.is_none() {
            self.adjust_channels(conns);
        }
        self.order_lease();
    }

    /// Orders the lease that follows the present one, unless it is there or on its way.
    fn order_lease(&mut self) {
        if !self.prefixes.wants_lease() {
            return;
        }
        let handle = self.handle.clone();
        self.ledger.submit(Event::LeaseTaken, move |result| {
            let lease = match result.map(|receipt| receipt.lease()) {
                Ok(lease) => lease,
                // Answered on the shard's own thread, which must not wait for itself; the process is about to end.
                Err(LedgerError::Stopped) => return,
                Err(error) => {
                    warn!(%error, "the ledger gave no lease of extranonce prefixes; asking again");
                    None
                }
            };
            // On the ledger's thread, which may wait. A stopped shard needs no lease.
            let _ = handle.send(Command::Lease(lease));
        });
    }

    fn next_prefix(&mut self) -> Option<UniquePrefix> {
        let prefix = self.prefixes.next();
        self.order_lease();
        prefix
    }

    fn reconnect(conns: &mut Connections<'_, Self>, host: &str, port: u16) {
        let message = Reconnect { new_host: Str0_255::truncated(host), new_port: port };
        conns.for_each(|session, link| {
            // Nothing goes out before the reply to SetupConnection (CM-18).
            if matches!(session, Session::Mining(_)) {
                link.send(&message);
            }
        });
    }
}

/// Tells the client that the shares of the durable batch count (MP-129).
fn acknowledge(channel: &mut OpenChannel, link: &mut Link<'_>) {
    if let Some(ack) = channel.waiting.take() {
        link.send(&SubmitSharesSuccess {
            channel_id: channel.work.id(),
            last_sequence_number: ack.last_sequence_number,
            new_submits_accepted_count: ack.new_submits_accepted_count,
            new_shares_sum: ack.new_shares_sum,
        });
    }
}

/// Ends a channel from the server's side, as soon as its shares are acknowledged (MP-69).
fn end_channel(mining: &mut Mining, channel_id: u32, ending: Ending, link: &mut Link<'_>, stats: &PoolStats) {
    match mining.channel(channel_id) {
        Some(channel) if channel.touched || channel.waiting.is_some() => channel.closing = Some(ending),
        Some(_) => close_by_server(mining, channel_id, ending, link, stats),
        None => {}
    }
}

/// Ends a channel whose shares were acknowledged.
fn close_by_server(
    mining: &mut Mining,
    channel_id: u32,
    ending: Ending,
    link: &mut Link<'_>,
    stats: &PoolStats,
) {
    if mining.close(channel_id).is_some() {
        stats.channels_closed(1, ending);
        link.send(&CloseChannel { channel_id, reason_code: sv2::ErrorCode::from_static(ending.code()) });
    }
}

fn protocol_error(error: sv2::ProtocolError) -> Close {
    Close::Protocol(error.to_string().into())
}

impl Handler for Shard {
    type Conn = Session;
    type Command = Command;

    fn opened(&mut self, link: &mut Link<'_>) -> Session {
        link.set_timer(self.config.limits.setup_patience);
        Session::Fresh
    }

    fn frame(&mut self, session: &mut Session, link: &mut Link<'_>, frame: Frame<'_>) -> Result<(), Close> {
        if self.draining.is_some() {
            // Neither refused nor acknowledged: the device sees the connection end and knows that it does not count.
            return Ok(());
        }
        match session {
            Session::Fresh => self.set_up(session, link, frame),
            Session::Mining(mining) => self.mine(mining, link, frame),
        }
    }

    fn closed(&mut self, session: Session, id: ConnId, why: &Close) {
        debug!(conn = %id, reason = %why, "connection closed");
        if let Session::Mining(mining) = session {
            // Credits of its shares are in the settlement already and become durable without it.
            self.stats.channels_closed(mining.channels().len(), Ending::Connection);
        }
    }

    fn turn_end(&mut self, conns: &mut Connections<'_, Self>) {
        self.pause.look(self.millis(conns.now()));
        self.counts.flush_into(&self.stats, self.block_hashes);
        self.send_credits(conns);
        if let Some(drained) = &self.draining
            && self.settlement.is_idle()
        {
            // The channel has room for one answer of each shard; more of them say nothing new.
            let _ = drained.try_send(());
        }
    }

    fn command(&mut self, command: Command, conns: &mut Connections<'_, Self>) {
        match command {
            Command::Work(update, handed_out) => {
                self.distribute(update, conns);
                drop(handed_out);
            }
            Command::Committed(result) => self.committed(result, conns),
            Command::Lease(lease) => self.prefixes.arrived(lease),
            Command::Tick { node_down } => self.tick(node_down, conns),
            Command::Reconnect { host, port } => Self::reconnect(conns, &host, port),
            Command::Drain(drained) => self.draining = Some(drained),
        }
    }

    fn timer(&mut self, session: &mut Session, _: &mut Link<'_>) -> Result<(), Close> {
        match session {
            Session::Fresh => Err(Close::SetupTimeout),
            Session::Mining(mining) if mining.channels().is_empty() => {
                Err(Close::Finished("no channel was opened".into()))
            }
            Session::Mining(_) => Ok(()),
        }
    }
}

impl Shard {
    /// Hands a header that met the network target to the node's thread.
    fn found(&self, found: work::FoundBlock) {
        match self.bases.get(found.job.id()) {
            Some(basis) => self.solutions.send(Solution {
                basis: Arc::clone(basis),
                header: found.header,
                full_extranonce: found.full_extranonce.to_vec(),
            }),
            None => {
                error!(job = found.job.id(), "block lost: a share was accepted on a job that is forgotten")
            }
        }
    }
}
