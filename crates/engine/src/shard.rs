//! A shard: one thread that owns some of the connections and everything about them.
//!
//! A turn waits for the system, serves commands, serves each connection that is ready, continues with
//! those that had more to say than one turn allows, fires timers, and tells the handler that the turn
//! is over. Between two connections it looks for commands, so that a new block does not wait for the
//! end of a busy turn.

mod newcomers;

use {
    crate::{
        Handler,
        accept::Admitted,
        close::Close,
        connection::{Connection, Due, Session, State},
        handle::Inlet,
        link::{Desk, Link, NEVER, Tick},
        pace::Pace,
        slab::ConnId,
        socket::{Ready, Socket},
        stats::Board,
        table::{Connections, Table, reason, take_session, token},
    },
    mio::{Events, Interest, Poll, Token},
    rand::rngs::StdRng,
    std::{
        io,
        sync::{Arc, atomic::Ordering::AcqRel},
        time::Duration,
    },
    sv2::noise::{Identity, Opened},
};

/// Bytes read from one connection in one turn: about 500 shares.
const READ_BYTES: usize = 32 * 1024;
/// Output of one connection that is written before its pass is over.
const WRITE_EARLY: usize = 128 * 1024;
/// Connections taken from the acceptor in one turn.
const NEW_SOCKETS: usize = 64;
/// How long a handshake may take while many are under way, in milliseconds.
const HURRIED_HANDSHAKE: Tick = 2000;
/// Connections that the system tells about in one turn.
const EVENTS: usize = 256;
/// Commands served before the connections have their turn again.
const COMMANDS: usize = 256;

/// The waker's token; slots are far below.
pub(crate) const BELL: Token = Token(usize::MAX);

/// One shard.
pub(crate) struct Shard<H: Handler> {
    handler: H,
    table: Table<H::Conn>,
    inlet: Inlet<H::Command>,
    identity: Arc<Identity>,
    board: Arc<Board>,
    random: StdRng,
    input: Box<[u8]>,
    fired: Vec<u32>,
    pace: Pace,
    /// More commands or sockets wait than one turn takes.
    more_queued: bool,
}

impl<H: Handler> Shard<H> {
    pub(crate) fn new(
        index: u16,
        handler: H,
        inlet: Inlet<H::Command>,
        desk: Desk,
        random: StdRng,
        identity: Arc<Identity>,
        board: Arc<Board>,
    ) -> Self {
        Self {
            handler,
            table: Table::new(index, desk),
            inlet,
            identity,
            board,
            random,
            input: vec![0; READ_BYTES].into(),
            fired: Vec::new(),
            pace: Pace::default(),
            more_queued: false,
        }
    }

    /// Serves until told to stop, then closes every connection in good order.
    pub(crate) fn run(mut self, mut poll: Poll) {
        let mut events = Events::with_capacity(EVENTS);
        while !self.is_stopping() && self.turn(&mut poll, &mut events) {}
        self.begin_end();
        // Every connection has a deadline for its lingering, so this comes to an end.
        while !self.is_over() && self.turn(&mut poll, &mut events) {}
        self.publish();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.inlet.bell.is_stopping()
    }

    /// Serves the commands that wait, and tells every connection that this is the end.
    pub(crate) fn begin_end(&mut self) {
        // Those that wait now; whoever goes on sending learns that we have stopped.
        self.commands(self.inlet.commands.len());
        self.turn_end();
        for slot in 0..self.table.slab.slots() {
            self.end(slot, Close::Shutdown);
        }
    }

    /// Whether no connection is left.
    pub(crate) fn is_over(&self) -> bool {
        self.table.slab.is_empty()
    }

    /// One turn; false when the system fails us.
    fn turn(&mut self, poll: &mut Poll, events: &mut Events) -> bool {
        self.take_sockets();
        let timeout = self.rest();
        if let Err(error) = poll.poll(events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(%error, "a shard cannot wait for its connections and stops");
            return false;
        }
        let board = Arc::clone(&self.board);
        let shown = &board.shards[usize::from(self.table.shard)];
        shown.begin_round(board.now());
        self.table.desk.clock.woke(timeout);
        self.serve(events.iter().filter(|event| event.token() != BELL).map(Ready::from));
        // With fewer events than fit, nobody was left out.
        if events.iter().count() < EVENTS {
            shown.end_round(board.now());
        }
        true
    }

    /// Lets a little work gather if it comes in drops; says for how long to wait for more.
    fn rest(&mut self) -> Option<Duration> {
        let timeout = self.timeout();
        // Who waits for the rest of a frame, or for room to write, is in the midst of something.
        if timeout == Some(Duration::ZERO) || self.table.desk.purse.held() > 0 {
            return timeout;
        }
        let nap = self.pace.nap(self.board.now()).min(timeout.unwrap_or(Duration::MAX));
        if !nap.is_zero() {
            self.inlet.bell.nap(nap);
        }
        if self.inlet.bell.is_rung() {
            return Some(Duration::ZERO);
        }
        timeout.map(|timeout| timeout.saturating_sub(nap))
    }

    /// Serves what is ready, and all else that is due. Newcomers come last, and get a part of the time.
    pub(crate) fn serve(&mut self, ready: impl Iterator<Item = Ready>) {
        self.look_for_commands();
        for ready in ready {
            self.ready(ready);
            self.look_for_commands();
        }
        self.read_queued();
        self.timers();
        self.welcome();
        self.turn_end();
        self.publish();
    }

    /// How long to sleep at most.
    pub(crate) fn timeout(&mut self) -> Option<Duration> {
        let Table { desk, wheel, queue, newcomers, wake_at, .. } = &mut self.table;
        if self.more_queued || !queue.is_empty() || !newcomers.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = wheel.next().unwrap_or(NEVER).min(*wake_at);
        if next == NEVER {
            return None;
        }
        desk.clock.update();
        Some(Duration::from_millis(next.saturating_sub(desk.clock.tick)))
    }

    fn publish(&mut self) {
        let Table { desk, slab, .. } = &mut self.table;
        desk.stats.open = slab.len() as u64;
        desk.stats.buffered = desk.purse.held() as u64;
        self.board.shards[usize::from(self.table.shard)].publish(&self.table.desk.stats);
    }

    // --- What other threads ask for.

    pub(crate) fn take_sockets(&mut self) {
        for _ in 0..NEW_SOCKETS {
            let Ok(admitted) = self.inlet.sockets.try_recv() else { return };
            if self.inlet.bell.is_stopping() || self.adopt(admitted).is_err() {
                self.unassign();
            }
        }
        self.more_queued = true;
    }

    /// Gives a new connection a slot.
    fn adopt(&mut self, admitted: Admitted) -> io::Result<()> {
        let Admitted { socket, peer, permit, hurry } = admitted;
        let Table { slab, desk, .. } = &mut self.table;
        let (slot, _) = slab.insert(Connection::new(socket, peer, permit, desk));
        let connection = slab.get_mut(slot).expect("it was just put there");
        if hurry {
            connection.phase_ends = desk.clock.after(desk.rules.handshake.min(HURRIED_HANDSHAKE));
        }
        if let Err(error) = connection.socket.register(&desk.registry, token(slot), Interest::READABLE) {
            slab.remove(slot);
            return Err(error);
        }
        desk.stats.accepted += 1;
        self.table.arm(slot);
        Ok(())
    }

    fn unassign(&self) {
        self.board.shards[usize::from(self.table.shard)].assigned.fetch_sub(1, AcqRel);
    }

    fn look_for_commands(&mut self) {
        if self.more_queued || self.inlet.bell.is_rung() {
            self.commands(COMMANDS);
        }
    }

    fn commands(&mut self, most: usize) {
        self.more_queued = false;
        // First say that we look, then look: what comes in between rings again.
        self.inlet.bell.hush();
        let mut served = 0;
        while served < most {
            let Ok(command) = self.inlet.commands.try_recv() else { break };
            self.handler.command(command, &mut Connections::new(&mut self.table));
            served += 1;
        }
        self.more_queued = served == most || !self.inlet.sockets.is_empty();
        self.table.settle();
        self.reap();
    }

    fn turn_end(&mut self) {
        if self.table.desk.clock.tick >= self.table.wake_at {
            self.table.wake_at = NEVER;
        }
        self.handler.turn_end(&mut Connections::new(&mut self.table));
        self.table.settle();
        self.reap();
    }

    // --- What the system tells.

    fn ready(&mut self, ready: Ready) {
        let Ok(slot) = u32::try_from(ready.token.0) else { return };
        let Table { slab, desk, .. } = &mut self.table;
        let Some(connection) = slab.get_mut(slot) else { return };
        if ready.writable && !connection.backlog.is_empty() {
            if let Err(why) = connection.write_backlog(desk, token(slot)) {
                self.end(slot, why);
                return;
            }
            let resume = connection.paused && !connection.owes_too_much(desk);
            if resume {
                connection.paused = false;
                self.table.enqueue(slot);
            }
            self.table.arm(slot);
        }
        if ready.readable || ready.read_closed {
            let Some(connection) = self.table.slab.get_mut(slot) else { return };
            connection.read_closed |= ready.read_closed;
            if matches!(connection.state, State::Handshaking) {
                self.table.enqueue(slot);
            } else if !connection.queued {
                self.read(slot);
            }
        }
    }

    fn read_queued(&mut self) {
        for _ in 0..self.table.queue.len() {
            let Some((slot, generation)) = self.table.queue.pop_front() else { return };
            let Some(connection) = self.table.slab.get_exact(slot, generation) else { continue };
            connection.queued = false;
            self.read(slot);
            self.look_for_commands();
        }
    }

    /// Reads once from a connection and serves what has come.
    fn read(&mut self, slot: u32) {
        let Table { slab, desk, .. } = &mut self.table;
        let Some(connection) = slab.get_mut(slot) else { return };
        if matches!(connection.state, State::Open(_)) && connection.owes_too_much(desk) {
            connection.paused = true;
            return;
        }
        let count = match read_some(&mut connection.socket, &mut self.input) {
            Ok(Some(0)) => {
                let why = if connection.inbox.is_empty() { Close::Peer } else { Close::PeerMidFrame };
                return self.end(slot, why);
            }
            Ok(Some(count)) => count,
            Ok(None) => {
                connection.read_closed = false;
                return;
            }
            Err(error) => return self.end(slot, error.into()),
        };
        desk.stats.bytes_in += count as u64;
        // A short read has emptied the socket, and the system tells when there is more; a full one may
        // not have, and the end of the stream is told only once.
        let again = count == self.input.len() || connection.read_closed;
        match connection.state {
            State::Handshaking => self.handshake(slot, count),
            State::Open(_) => self.frames(slot, count),
            State::Lingering => {}
        }
        if again {
            self.table.enqueue(slot);
        }
    }

    /// Hands every complete frame of the input to the handler, decrypted where it lies, and keeps the
    /// beginning of the one that follows.
    fn frames(&mut self, slot: u32, count: usize) {
        let id = self.table.id(slot);
        let Table { slab, desk, .. } = &mut self.table;
        let Some(connection) = slab.get_mut(slot) else { return };
        let mut input = &mut self.input[..count];
        let result = loop {
            match serve_next(&mut self.handler, connection, id, desk, &mut input) {
                Ok(Step::Served) if desk.out.len() < WRITE_EARLY => {}
                Ok(Step::Served) => {
                    if let Err(why) = connection.flush(desk, token(slot)) {
                        break Err(why);
                    }
                }
                Ok(Step::Done) => break Ok(()),
                Err(why) => break Err(why),
            }
        };
        if let Err(why) = result
            && let State::Open(session) = &mut connection.state
        {
            session.wishes.end.get_or_insert_with(|| Box::new(why));
        }
        self.table.finish(slot);
        self.reap();
    }

    // --- Time.

    fn timers(&mut self) {
        let mut fired = std::mem::take(&mut self.fired);
        self.table.wheel.advance(self.table.desk.clock.tick, &mut fired);
        for slot in fired.drain(..) {
            self.deadline(slot);
        }
        self.fired = fired;
    }

    fn deadline(&mut self, slot: u32) {
        let Table { slab, desk, .. } = &mut self.table;
        let Some(connection) = slab.get_mut(slot) else { return };
        connection.armed = NEVER;
        match connection.due(desk) {
            None => {}
            // Its message is there; it is we who are late.
            Some(Due::Phase) if connection.queued && matches!(connection.state, State::Handshaking) => {
                connection.phase_ends = desk.clock.after(HURRIED_HANDSHAKE);
            }
            Some(Due::Phase) => return self.end(slot, Close::HandshakeTimeout),
            Some(Due::WriteStall) => return self.end(slot, Close::WriteStalled),
            Some(Due::PartialFrame) => return self.end(slot, Close::PartialFrame),
            Some(Due::Idle) => return self.end(slot, Close::Idle),
            Some(Due::Timer) => {
                let Some((conn, mut link)) = self.table.session(slot) else { return };
                link.clear_timer();
                if let Err(why) = self.handler.timer(conn, &mut link) {
                    link.close_after_flush(why);
                }
                self.table.finish(slot);
                return self.reap();
            }
        }
        self.table.arm(slot);
    }

    // --- The end.

    /// Ends the connections that handlers or failed writes have marked.
    fn reap(&mut self) {
        while let Some(slot) = self.table.ended.pop() {
            if let Some(why) = self.table.slab.get_mut(slot).and_then(reason) {
                self.end(slot, why);
            }
        }
    }

    /// Ends a connection: tells the handler, then closes the socket, at once or when the rest of the
    /// output has left. A connection that lingers already is closed.
    fn end(&mut self, slot: u32, why: Close) {
        let id = self.table.id(slot);
        let Table { slab, desk, open, .. } = &mut self.table;
        let Some(connection) = slab.get_mut(slot) else { return };
        let lingered = matches!(connection.state, State::Lingering);
        if !lingered {
            desk.stats.closed[why.index()] += 1;
            tracing::debug!(%id, reason = why.label(), "{why}");
            if connection.was_useless(&why) {
                connection.permit.failed();
            }
        }
        let Some(conn) = take_session(connection) else {
            desk.stats.handshakes_failed += u64::from(!lingered);
            return self.remove(slot);
        };
        *open -= 1;
        connection.inbox.free(&mut desk.purse);
        connection.frame_began = NEVER;
        let linger = why.lets_output_leave();
        if linger {
            connection.phase_ends = desk.clock.after(desk.rules.linger);
            if connection.backlog.is_empty() {
                connection.say_goodbye();
            }
        }
        self.handler.closed(conn, id, &why);
        if linger {
            // What the peer has sent meanwhile is read and thrown away.
            self.table.enqueue(slot);
            self.table.arm(slot);
        } else {
            self.remove(slot);
        }
    }

    fn remove(&mut self, slot: u32) {
        let Table { slab, desk, wheel, .. } = &mut self.table;
        // Dropping the socket closes it, which ends its registration.
        let Some(mut connection) = slab.remove(slot) else { return };
        connection.free(&mut desk.purse);
        wheel.cancel(slot);
        self.unassign();
    }
}

/// What a simulation sees and sets.
#[cfg(feature = "simulation")]
impl<H: Handler> Shard<H> {
    pub(crate) fn set_time(&mut self, now: std::time::Instant, unix: u32) {
        self.table.desk.clock.set(now, unix);
    }

    pub(crate) fn stats(&self) -> &crate::Stats {
        &self.table.desk.stats
    }

    pub(crate) fn handler(&self) -> &H {
        &self.handler
    }

    pub(crate) fn bytes_held(&mut self) -> usize {
        let slab = &mut self.table.slab;
        let held = |connection: &mut Connection<_>| connection.inbox.len() + connection.backlog.len();
        (0..slab.slots()).filter_map(|slot| slab.get_mut(slot).map(held)).sum()
    }
}

enum Step {
    /// A frame was handed over, or more of one was taken in; go on.
    Served,
    /// The input is used up, or the handler wants no more of it.
    Done,
}

/// Takes one step through the input of an open connection: finishes the frame in the inbox, or takes
/// the one at the front of the input, or keeps what is no whole frame.
fn serve_next<H: Handler>(
    handler: &mut H,
    connection: &mut Connection<H::Conn>,
    id: ConnId,
    desk: &mut Desk,
    input: &mut &mut [u8],
) -> Result<Step, Close> {
    let Connection { peer, state: State::Open(session), inbox, last_frame, frame_began, proven, .. } =
        connection
    else {
        return Ok(Step::Done);
    };
    let Session { sealer, opener, wishes, conn } = session;
    let resumed = !inbox.is_empty();
    if resumed {
        *input = inbox.top_up(std::mem::take(input), &mut desk.purse)?;
    }
    let bytes = if resumed { inbox.bytes() } else { &mut **input };
    match opener.next_frame(bytes, wishes.frame_limit)? {
        Opened::Frame { frame, consumed } => {
            desk.stats.frames_in += 1;
            *last_frame = desk.clock.tick;
            *proven = true;
            let mut link = Link { id, peer: *peer, sealer, wishes, desk };
            if let Err(why) = handler.frame(conn, &mut link, frame) {
                link.close_after_flush(why);
            }
            if resumed {
                debug_assert_eq!(consumed, inbox.len(), "the inbox holds one frame at most");
                inbox.free(&mut desk.purse);
                *frame_began = NEVER;
            } else {
                *input = &mut std::mem::take(input)[consumed..];
            }
            Ok(if wishes.end.is_some() { Step::Done } else { Step::Served })
        }
        Opened::NeedMore(needed) if resumed => {
            inbox.need(needed);
            Ok(if input.is_empty() { Step::Done } else { Step::Served })
        }
        Opened::NeedMore(needed) => {
            if !input.is_empty() {
                inbox.keep(input, needed, &mut desk.purse)?;
                *frame_began = desk.clock.tick;
            }
            Ok(Step::Done)
        }
    }
}

/// Reads once: `None` when there is nothing, `Some(0)` at the end of the stream.
fn read_some(socket: &mut Socket, input: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match socket.read(input) {
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}
