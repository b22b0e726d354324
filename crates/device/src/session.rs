//! The client's side of one connection, without I/O: frames and found headers go in, actions come out.
//!
//! Time is an argument. What a server says decides nothing by its wording: codes and reasons are shown
//! and counted, and what to do next follows from the message and the state (ER-02, ER-03).

mod jobs;
mod opening;
mod running;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sv2::extensions::ClientNegotiation;
use sv2::mining::{CloseChannel, MiningFromServer};
use sv2::setup::{MiningSuccessFlags, SetupConnection};
use sv2::{ErrorCode, Frame, Message, encode_frame};
use work::{HashRate, Target};

use crate::config::DeviceConfig;
use crate::event::DeviceEvent;
use crate::search::Work;
use crate::tally::Tally;
use jobs::Jobs;

/// Why a channel is closed by this device.
const LEAVING: ErrorCode<'static> = ErrorCode::from_static("device-leaves");

/// Messages that a server may send on this connection without any meaning here, before it is left.
const UNKNOWN_FRAMES: u32 = 1000;

/// What the session wants done, in order.
#[derive(Debug)]
pub enum Action {
    /// Send this plaintext frame.
    Send(Vec<u8>),
    /// Search this, or nothing.
    Work(Option<Work>),
    /// Tell the owner.
    Event(DeviceEvent),
    /// Close the connection. Nothing follows.
    End(End),
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The server asks to connect elsewhere; empty host and port 0 mean the present ones (RC-01).
    #[error("the pool asked to reconnect to {host:?}, port {port}")]
    Reconnect {
        /// New host.
        host: String,
        /// New port.
        port: u16,
    },
    /// The same pool, but differently.
    #[error("{why}; trying again without")]
    Retry {
        /// What to know next time.
        lessons: Lessons,
        /// What did not work.
        why: String,
    },
    /// The server refused connection or channel.
    #[error("the pool refused: {0}")]
    Refused(String),
    /// The server closed the channel.
    #[error("the pool closed the channel: {0}")]
    ChannelClosed(String),
    /// The server broke the protocol.
    #[error("the pool broke the protocol: {0}")]
    Protocol(String),
    /// The server did not answer.
    #[error("the pool did not answer {0} in time")]
    Silent(&'static str),
    /// The connection broke or never stood.
    #[error("the connection was lost: {0}")]
    ConnectionLost(String),
    /// The device leaves for the pool that it prefers.
    #[error("the preferred pool is back")]
    Returning,
    /// The device was told to stop.
    #[error("stopped")]
    Stopped,
}

/// What earlier connections taught about a pool. All defaults: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lessons {
    /// Flags of SetupConnection that it does not support (SM-05).
    pub refused_flags: u32,
    /// It has no standard channels (FL-05).
    pub extended_only: bool,
    /// How often it left RequestExtensions without an answer (EX-15).
    pub extension_silences: u8,
}

/// How far the connection is (section 9.1 of the checklist).
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// SetupConnection was sent (SM-03).
    Setup,
    /// RequestExtensions was sent; nothing else is until the reply (SM-06, EX-06).
    Extensions,
    /// Open…MiningChannel was sent.
    Opening,
    /// The channel is open.
    Running,
    /// Waits for the last acknowledgements, then ends (SM-10, RC-10).
    Draining(End),
    /// Over.
    Ended,
}

/// The device's channel.
#[derive(Debug)]
struct Channel {
    id: u32,
    /// The group that it is in (MP-155).
    group: u32,
    /// Of the next submission (MP-111).
    sequence_number: u32,
    jobs: Jobs,
    /// When it was opened or its rate last told.
    rate_told: Instant,
}

/// One connection to one pool, from SetupConnection to the end.
#[derive(Debug)]
pub struct Session {
    config: Arc<DeviceConfig>,
    lessons: Lessons,
    phase: Phase,
    deadline: Option<(Instant, &'static str)>,
    setup: SetupConnection<'static>,
    required: MiningSuccessFlags,
    negotiation: ClientNegotiation,
    request_id: u32,
    channel: Option<Channel>,
    nominal: HashRate,
    mining_since: Option<Instant>,
    unknown_frames: u32,
    tally: Tally,
    first_tip: u64,
    /// Whether the end was announced.
    ended: bool,
    actions: VecDeque<Action>,
}

/// What a session hands on to the next one.
#[derive(Debug, Default)]
pub struct Carry {
    /// The device's books.
    pub tally: Tally,
    /// Numbers of tips are never used twice in a device's life.
    pub next_tip: u64,
}

impl Session {
    /// Begins the session on a connection that was just made to `host` and `port` (CM-01, CM-09).
    pub fn new(
        config: Arc<DeviceConfig>,
        (host, port): (&str, u16),
        lessons: Lessons,
        nominal: HashRate,
        carry: Carry,
        now: Instant,
    ) -> Self {
        let mut session = Session {
            setup: opening::setup_connection(&config, host, port, lessons),
            negotiation: opening::negotiation(&config, lessons),
            lessons,
            phase: Phase::Setup,
            deadline: Some((now + config.timing.reply, "SetupConnection")),
            required: MiningSuccessFlags::NONE,
            request_id: 1,
            channel: None,
            nominal,
            mining_since: None,
            unknown_frames: 0,
            tally: carry.tally,
            first_tip: carry.next_tip,
            ended: false,
            actions: VecDeque::new(),
            config,
        };
        let setup = session.setup.clone();
        session.send(&setup);
        session
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A frame arrived.
    pub fn frame(&mut self, frame: Frame<'_>, now: Instant) {
        match self.phase {
            Phase::Ended => (),
            Phase::Setup => self.setup_reply(frame, now),
            _ => match MiningFromServer::decode(frame) {
                Ok(MiningFromServer::Unknown(frame)) => self.unknown(frame),
                Ok(message) => self.message(message, now),
                // SM-11: what cannot be read leaves nothing to go on with.
                Err(error) => self.end(End::Protocol(error.to_string())),
            },
        }
    }

    fn message(&mut self, message: MiningFromServer<'_>, now: Instant) {
        use MiningFromServer as M;
        match message {
            M::RequestExtensionsSuccess(reply) => {
                let next = self.negotiation.success(&reply);
                self.negotiated(next, now);
            }
            M::RequestExtensionsError(reply) => {
                let next = self.negotiation.error(&reply);
                self.negotiated(next, now);
            }
            M::OpenStandardMiningChannelSuccess(reply) => self.standard_opened(&reply, now),
            M::OpenExtendedMiningChannelSuccess(reply) => self.extended_opened(&reply, now),
            M::OpenMiningChannelError(reply) => self.open_refused(&reply),
            M::Reconnect(message) => self.reconnect(&message, now),
            M::ChannelEndpointChanged(message) => self.endpoint_changed(message),
            M::SetGroupChannel(message) => self.set_group(&message),
            message => self.channel_message(message, now),
        }
    }

    /// Messages without a meaning here are ignored, a flood of them is not (FR-15, FR-19, MSG-20).
    fn unknown(&mut self, frame: Frame<'_>) {
        let (extension, kind) = (frame.header.extension_type, frame.header.msg_type);
        tracing::debug!(extension, kind, "ignored a message that this device does not know");
        self.unknown_frames += 1;
        if self.unknown_frames > UNKNOWN_FRAMES {
            self.end(End::Protocol(format!("{UNKNOWN_FRAMES} messages of unknown types")));
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        if self.tally.outstanding() == 0 && matches!(self.phase, Phase::Draining(_)) {
            return self.finish();
        }
        let Some((_, awaited)) = self.deadline.filter(|(deadline, _)| now >= *deadline) else { return };
        match self.phase {
            Phase::Draining(_) => self.finish(),
            Phase::Extensions => self.extensions_unanswered(),
            Phase::Ended => (),
            _ => self.end(End::Silent(awaited)),
        }
    }

    /// When [`Self::tick`] should be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.map(|(deadline, _)| deadline)
    }

    /// Ends the session in good order: no new work, pending shares get a moment to be acknowledged, the
    /// channel is closed (MP-60, RC-10).
    pub fn leave(&mut self, why: End, now: Instant) {
        if matches!(self.phase, Phase::Ended | Phase::Draining(_)) {
            return;
        }
        self.actions.push_back(Action::Work(None));
        self.phase = Phase::Draining(why);
        self.deadline = Some((now + self.config.timing.drain, "pending shares"));
        if self.tally.outstanding() == 0 {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Some(channel) = &self.channel {
            let message = CloseChannel { channel_id: channel.id, reason_code: LEAVING };
            self.send(&message);
        }
        let why = match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Draining(why) => why,
            _ => End::Stopped,
        };
        self.end(why);
    }

    /// The connection is gone.
    pub fn disconnected(&mut self, reason: String) {
        let why = match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Draining(why) => why,
            _ => End::ConnectionLost(reason),
        };
        self.end(why);
    }

    fn end(&mut self, why: End) {
        self.phase = Phase::Ended;
        self.deadline = None;
        if !std::mem::replace(&mut self.ended, true) {
            self.actions.push_back(Action::Work(None));
            self.actions.push_back(Action::End(why));
        }
    }

    fn send<'m>(&mut self, message: &impl Message<'m>) {
        let mut frame = Vec::new();
        match encode_frame(message, &mut frame) {
            Ok(()) => self.actions.push_back(Action::Send(frame)),
            Err(error) => self.end(End::Protocol(format!("a message could not be written: {error}"))),
        }
    }

    fn event(&mut self, event: DeviceEvent) {
        self.actions.push_back(Action::Event(event));
    }

    fn notice(&mut self, text: impl Into<String>) {
        self.event(DeviceEvent::Notice(text.into()));
    }

    /// The device's books.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The share target and the network target of the job that is mined now.
    pub fn targets(&self) -> Option<(Target, Target)> {
        let channel = self.channel.as_ref().filter(|_| self.phase == Phase::Running)?;
        channel.jobs.active().map(|job| (job.target(), job.tip().network_target()))
    }

    /// For how long this session had work.
    pub fn mined_for(&self, now: Instant) -> Duration {
        self.mining_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Ends the session for good: what is outstanding will not be answered.
    pub fn into_carry(mut self) -> Carry {
        self.tally.abandon();
        let next_tip = self.channel.as_ref().map_or(self.first_tip, |channel| channel.jobs.next_tip());
        Carry { tally: self.tally, next_tip }
    }
}

#[cfg(test)]
mod tests;
