//! The connections of a shard, with what they share, and the handler's view of them.

use {
    crate::{
        Handler,
        close::Close,
        connection::{Connection, Session, State},
        link::{Desk, Link, NEVER, ticks},
        slab::{ConnId, Slab},
        timer::Wheel,
    },
    mio::Token,
    std::{
        collections::VecDeque,
        time::{Duration, Instant},
    },
};

pub(crate) fn token(slot: u32) -> Token {
    Token(slot as usize)
}

/// Everything of a shard but its handler, so that both can be borrowed at once.
pub(crate) struct Table<C> {
    pub(crate) shard: u16,
    pub(crate) slab: Slab<Connection<C>>,
    pub(crate) desk: Desk,
    pub(crate) wheel: Wheel,
    /// Connections that have their handshake behind them and a handler that knows them.
    pub(crate) open: usize,
    /// Connections with more to read than one turn allows: slot and generation.
    pub(crate) queue: VecDeque<(u32, u32)>,
    /// Connections whose handshake may go on: slot and generation.
    pub(crate) newcomers: VecDeque<(u32, u32)>,
    /// Connections that a handler, or a failed write, has ended, and the handler has to be told.
    pub(crate) ended: Vec<u32>,
    /// Whose output lies on the desk.
    writing: Option<u32>,
    /// When the handler wants another turn.
    pub(crate) wake_at: u64,
}

impl<C> Table<C> {
    pub(crate) fn new(shard: u16, desk: Desk) -> Self {
        Self {
            shard,
            slab: Slab::new(),
            desk,
            wheel: Wheel::new(),
            open: 0,
            queue: VecDeque::new(),
            newcomers: VecDeque::new(),
            ended: Vec::new(),
            writing: None,
            wake_at: NEVER,
        }
    }

    pub(crate) fn id(&self, slot: u32) -> ConnId {
        ConnId::new(self.shard, slot, self.slab.generation(slot))
    }

    /// The session in `slot` with a link to it, if it is open and not about to end.
    pub(crate) fn session(&mut self, slot: u32) -> Option<(&mut C, Link<'_>)> {
        let id = self.id(slot);
        let Connection { peer, state: State::Open(session), .. } = self.slab.get_mut(slot)? else {
            return None;
        };
        let Session { sealer, wishes, conn, .. } = session;
        if wishes.end.is_some() {
            return None;
        }
        Some((conn, Link { id, peer: *peer, sealer, wishes, desk: &mut self.desk }))
    }

    /// Writes the output on the desk, which is that of `slot`, and notes what the handler asked for.
    pub(crate) fn finish(&mut self, slot: u32) {
        let Some(connection) = self.slab.get_mut(slot) else {
            debug_assert!(self.desk.out.is_empty(), "output without a connection");
            return;
        };
        let written = connection.flush(&mut self.desk, token(slot));
        if let State::Open(session) = &mut connection.state {
            if let Err(why) = written {
                session.wishes.end = Some(Box::new(why));
            }
            if session.wishes.end.is_some() {
                self.ended.push(slot);
            }
        }
        self.arm(slot);
        if self.desk.purse.is_low() {
            self.make_room();
        }
    }

    /// Drops the connections that make us keep the most. Those who only happen to ask for memory now,
    /// with half a frame or a late read, keep theirs.
    #[cold]
    fn make_room(&mut self) {
        let Self { slab, desk, ended, .. } = self;
        let mut debtors = Vec::new();
        for slot in 0..slab.slots() {
            let held = slab.get_mut(slot).map_or(0, |connection| connection.held());
            if held > 0 {
                debtors.push((held, slot));
            }
        }
        debtors.sort_unstable_by(|one, other| other.cmp(one));
        let mut expired = Vec::new();
        for (held, slot) in debtors {
            if desk.purse.has_room() {
                break;
            }
            let Some(connection) = slab.get_mut(slot) else { continue };
            connection.free(&mut desk.purse);
            match &mut connection.state {
                State::Open(session) => {
                    session.wishes.end = Some(Box::new(Close::Memory { held }));
                    ended.push(slot);
                }
                State::Handshaking | State::Lingering => {
                    connection.phase_ends = desk.clock.tick;
                    expired.push(slot);
                }
            }
        }
        expired.into_iter().for_each(|slot| self.arm(slot));
    }

    /// Writes what [`Connections::get`] has left on the desk.
    pub(crate) fn settle(&mut self) {
        if let Some(slot) = self.writing.take() {
            self.finish(slot);
        }
        debug_assert!(self.desk.out.is_empty());
    }

    /// Makes sure that the wheel turns up no later than the connection's next deadline. A deadline that
    /// moved away, as the idle time-out does with every frame, is noticed when the wheel turns up early.
    pub(crate) fn arm(&mut self, slot: u32) {
        let Some(connection) = self.slab.get_mut(slot) else { return };
        let deadline = connection.next_deadline(&self.desk);
        if deadline < connection.armed {
            connection.armed = deadline;
            self.wheel.schedule(slot, deadline);
        }
    }

    /// Has `slot` read from without being told by the system.
    pub(crate) fn enqueue(&mut self, slot: u32) {
        let generation = self.slab.generation(slot);
        if let Some(connection) = self.slab.get_mut(slot)
            && !std::mem::replace(&mut connection.queued, true)
        {
            let is_new = matches!(connection.state, State::Handshaking);
            let queue = if is_new { &mut self.newcomers } else { &mut self.queue };
            queue.push_back((slot, generation));
        }
    }
}

/// All connections of a shard that have done their handshake.
pub struct Connections<'a, H: Handler> {
    table: &'a mut Table<H::Conn>,
}

impl<'a, H: Handler> Connections<'a, H> {
    pub(crate) fn new(table: &'a mut Table<H::Conn>) -> Self {
        Self { table }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.open
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The time of this turn.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.table.desk.clock.now
    }

    /// The time of this turn in seconds since 1970.
    #[must_use]
    pub fn unix_now(&self) -> u32 {
        self.table.desk.clock.unix()
    }

    /// Visits every connection. What is sent to one is written to its socket before the next is
    /// visited: the first client has a new job before the second client's copy is encrypted.
    pub fn for_each(&mut self, mut visit: impl FnMut(&mut H::Conn, &mut Link<'_>)) {
        self.table.settle();
        for slot in 0..self.table.slab.slots() {
            let Some((conn, mut link)) = self.table.session(slot) else { continue };
            visit(conn, &mut link);
            self.table.finish(slot);
        }
    }

    /// One connection, unless it has ended or is about to. What is sent to it leaves in one write, when
    /// another connection is asked for or the handler returns; so serve one connection after the other.
    pub fn get(&mut self, id: ConnId) -> Option<(&mut H::Conn, Link<'_>)> {
        let slot = id.slot();
        if self.table.writing != Some(slot) {
            self.table.settle();
        }
        if id != self.table.id(slot) {
            return None;
        }
        self.table.writing = Some(slot);
        self.table.session(slot)
    }

    /// Makes sure that there is another turn, and with it a [`Handler::turn_end`], no later than this.
    /// Where a shard has something due that belongs to no connection.
    pub fn wake_after(&mut self, after: Duration) {
        let at = self.table.desk.clock.after(ticks(after).max(1));
        self.table.wake_at = self.table.wake_at.min(at);
    }
}

impl<C> Drop for Table<C> {
    fn drop(&mut self) {
        debug_assert!(self.writing.is_none() || std::thread::panicking(), "output was left on the desk");
    }
}

/// Moves a connection out of its handler's sight; gives back what the handler kept about it.
pub(crate) fn take_session<C>(connection: &mut Connection<C>) -> Option<C> {
    match std::mem::replace(&mut connection.state, State::Lingering) {
        State::Open(session) => Some(session.conn),
        State::Handshaking | State::Lingering => None,
    }
}

/// Why a handler, or a failed write, has ended a session.
pub(crate) fn reason<C>(connection: &mut Connection<C>) -> Option<Close> {
    match &mut connection.state {
        State::Open(session) => session.wishes.end.take().map(|why| *why),
        State::Handshaking | State::Lingering => None,
    }
}
