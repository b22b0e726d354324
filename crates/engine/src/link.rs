//! What a handler may do with a connection while it is called for it.

use {
    crate::{
        buffer::Purse,
        close::Close,
        config::{EngineConfig, Timeouts},
        slab::ConnId,
        stats::Stats,
    },
    mio::Registry,
    std::{
        net::SocketAddr,
        time::{Duration, Instant, SystemTime, UNIX_EPOCH},
    },
    sv2::{Message, noise::Sealer},
};

/// A point in time in milliseconds since the shard started, without those in which it was stopped.
pub(crate) type Tick = u64;
/// The tick that does not come.
pub(crate) const NEVER: Tick = Tick::MAX;

/// Rounded up, so that nothing happens early.
pub(crate) fn ticks(duration: Duration) -> Tick {
    Tick::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(NEVER)
}

/// A shard that did not run for longer than this, beyond what it slept for, was stopped, or its machine was.
const LONGEST_STEP: Duration = Duration::from_secs(1);

/// The time of a turn. Read once, for all that happens in it.
pub(crate) struct Clock {
    pub(crate) now: Instant,
    /// Counts only time in which the shard could serve. What peers did while it was stopped waits in their sockets: no
    /// deadline may come before it was looked at.
    pub(crate) tick: Tick,
    /// The exact time that `tick` shows.
    served: Duration,
    unix: u32,
    #[cfg(feature = "simulation")]
    stands_still: bool,
}

impl Clock {
    /// The system's clock.
    pub(crate) fn system() -> Self {
        let mut clock = Self::starting_at(Instant::now(), 0);
        clock.update();
        clock
    }

    /// A clock that goes on when it is [set](Self::set).
    #[cfg(feature = "simulation")]
    pub(crate) fn set_by_hand(now: Instant, unix: u32) -> Self {
        Self { stands_still: true, ..Self::starting_at(now, unix) }
    }

    fn starting_at(now: Instant, unix: u32) -> Self {
        Self {
            now,
            tick: 0,
            served: Duration::ZERO,
            unix,
            #[cfg(feature = "simulation")]
            stands_still: false,
        }
    }

    /// Reads the time, during a turn.
    pub(crate) fn update(&mut self) {
        self.woke(Some(Duration::ZERO));
    }

    /// Reads the time after a sleep of `timeout` at most.
    pub(crate) fn woke(&mut self, timeout: Option<Duration>) {
        #[cfg(feature = "simulation")]
        if self.stands_still {
            return;
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // Who sleeps without end has no deadline that could come too early.
        let longest = timeout.map_or(Duration::MAX, |timeout| timeout.saturating_add(LONGEST_STEP));
        self.go_on(Instant::now(), u32::try_from(unix).unwrap_or(u32::MAX), longest);
    }

    /// Sets the time. All of what lies between was time to serve.
    #[cfg(feature = "simulation")]
    pub(crate) fn set(&mut self, now: Instant, unix: u32) {
        self.go_on(now, unix, Duration::MAX);
    }

    fn go_on(&mut self, now: Instant, unix: u32, longest: Duration) {
        let step = now.saturating_duration_since(self.now).min(longest);
        self.now = self.now.max(now);
        self.served = self.served.saturating_add(step);
        self.tick = Tick::try_from(self.served.as_millis()).unwrap_or(NEVER - 1);
        self.unix = unix;
    }

    pub(crate) fn unix(&self) -> u32 {
        self.unix
    }

    /// How much of the turn is over.
    pub(crate) fn since_turn(&self) -> Duration {
        #[cfg(feature = "simulation")]
        if self.stands_still {
            return Duration::ZERO;
        }
        self.now.elapsed()
    }

    pub(crate) fn after(&self, ticks: Tick) -> Tick {
        self.tick.saturating_add(ticks)
    }
}

/// Limits and time-outs of a connection, in the units in which a shard counts.
pub(crate) struct Rules {
    pub(crate) handshake: Tick,
    pub(crate) idle: Tick,
    pub(crate) partial_frame: Tick,
    pub(crate) write_stall: Tick,
    pub(crate) linger: Tick,
    pub(crate) backlog: usize,
    /// Memory of this shard for its peers.
    pub(crate) buffers: usize,
    /// A round that takes longer keeps handshakes waiting.
    pub(crate) long_round: Duration,
    pub(crate) frame_before_setup: u32,
}

impl Rules {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        let Timeouts { handshake, idle, partial_frame, write_stall, linger } = &config.timeouts;
        Self {
            handshake: ticks(*handshake),
            idle: idle.map_or(NEVER, ticks),
            partial_frame: ticks(*partial_frame),
            write_stall: ticks(*write_stall),
            linger: ticks(*linger),
            backlog: config.limits.backlog,
            buffers: config.limits.buffers / usize::from(config.shards.max(1)),
            long_round: config.limits.lag / 2,
            frame_before_setup: config.limits.frame_before_setup,
        }
    }
}

/// What all connections of a shard use in turn.
pub(crate) struct Desk {
    /// Output of the connection that is being served.
    pub(crate) out: Vec<u8>,
    pub(crate) clock: Clock,
    pub(crate) stats: Stats,
    pub(crate) registry: Registry,
    pub(crate) rules: Rules,
    pub(crate) purse: Purse,
}

impl Desk {
    pub(crate) fn new(clock: Clock, registry: Registry, rules: Rules) -> Self {
        let purse = Purse::new(rules.buffers);
        Self { out: Vec::new(), clock, stats: Stats::default(), registry, rules, purse }
    }
}

/// What a handler has asked of a connection.
pub(crate) struct Wishes {
    pub(crate) timer: Tick,
    pub(crate) frame_limit: u32,
    /// Set once; the connection ends when the handler returns. Boxed, as it is rarely there.
    pub(crate) end: Option<Box<Close>>,
}

/// A connection, while a handler is called for it.
pub struct Link<'a> {
    pub(crate) id: ConnId,
    pub(crate) peer: SocketAddr,
    pub(crate) sealer: &'a mut Sealer,
    pub(crate) wishes: &'a mut Wishes,
    pub(crate) desk: &'a mut Desk,
}

impl Link<'_> {
    /// The connection's name, which stays good for [`Connections::get`](crate::Connections::get).
    #[must_use]
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The peer's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The time of this turn.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.desk.clock.now
    }

    /// The time of this turn in seconds since 1970.
    #[must_use]
    pub fn unix_now(&self) -> u32 {
        self.desk.clock.unix
    }

    /// Sends a message. It leaves with everything else that this pass produces for the connection, in
    /// the order of the calls (FR-22).
    ///
    /// A message that no frame can carry ends the connection with [`Close::Encode`]; nothing is sent on
    /// a connection that is about to end.
    pub fn send<'m>(&mut self, message: &impl Message<'m>) {
        if self.wishes.end.is_some() {
            return;
        }
        let sealed = self.sealer.seal_message(message, &mut self.desk.out);
        self.account(sealed.map_err(Close::from));
    }

    /// Sends a frame that was encoded before, in plaintext; with a `channel_id`, the first four bytes
    /// of its payload are replaced by it. So one encoded job serves every connection.
    pub fn send_encoded(&mut self, frame: &[u8], channel_id: Option<u32>) {
        if self.wishes.end.is_some() {
            return;
        }
        let sealed = self.sealer.seal_frame(frame, channel_id, &mut self.desk.out);
        self.account(sealed.map_err(Close::from));
    }

    fn account(&mut self, sealed: Result<(), Close>) {
        match sealed {
            Ok(()) => self.desk.stats.frames_out += 1,
            Err(why) => self.close_after_flush(why),
        }
    }

    /// Has [`Handler::timer`](crate::Handler::timer) called once, after this time. A connection has one
    /// timer: setting it again moves it.
    pub fn set_timer(&mut self, after: Duration) {
        self.wishes.timer = self.desk.clock.after(ticks(after).max(1));
    }

    /// Forgets the timer.
    pub fn clear_timer(&mut self) {
        self.wishes.timer = NEVER;
    }

    /// Sets the greatest payload in bytes that the peer may send from now on. Until this is called,
    /// [`Limits::frame_before_setup`](crate::Limits::frame_before_setup) holds.
    pub fn set_frame_limit(&mut self, payload_bytes: u32) {
        self.wishes.frame_limit = payload_bytes;
    }

    /// Ends the connection as soon as what was sent so far has left. No further frame is handed to the
    /// handler. The first reason given counts.
    pub fn close_after_flush(&mut self, why: Close) {
        if self.wishes.end.is_none() {
            self.wishes.end = Some(Box::new(why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_shard_brings_no_deadline_nearer() {
        let start = Instant::now();
        let mut clock = Clock::starting_at(start, 0);
        let seconds = Duration::from_secs;
        // Slept for five seconds of at most ten.
        clock.go_on(start + seconds(5), 5, seconds(10) + LONGEST_STEP);
        assert_eq!((clock.tick, clock.unix()), (5000, 5));
        // Slept for at most ten, and woke an hour later.
        clock.go_on(start + seconds(3605), 3605, seconds(10) + LONGEST_STEP);
        assert_eq!((clock.tick, clock.unix()), (16_000, 3605));
        assert_eq!(clock.now, start + seconds(3605), "only deadlines are put off");
        // In the middle of a turn; and the date is set back meanwhile.
        clock.go_on(start + seconds(7205), 1, LONGEST_STEP);
        assert_eq!((clock.tick, clock.unix()), (17_000, 1));
    }
}
