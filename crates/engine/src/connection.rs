//! One connection: its socket, its keys, what of a frame has come, what of the output has not left.
//!
//! An idle connection owns no buffer. Input is read into scratch memory of the shard and decrypted
//! there; only the beginning of a frame whose end has not come yet is kept. Output is sealed into
//! scratch memory too, and only what the socket does not take is kept.

use {
    crate::{
        admission::Permit,
        backlog::Backlog,
        buffer::Purse,
        close::Close,
        inbox::Inbox,
        link::{Desk, NEVER, Tick, Wishes},
        socket::Socket,
    },
    mio::{Interest, Token},
    std::{io, net::SocketAddr},
    sv2::noise::{Opener, Sealer},
};

/// A peer that owes us room must take this much within the write-stall time-out.
const STALL_PROGRESS: usize = 64 * 1024;
/// Scratch output beyond this is given back to the allocator after use.
const OUT_KEPT: usize = 512 * 1024;
/// An open connection, as the handler sees it.
pub(crate) struct Session<C> {
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
    pub(crate) wishes: Wishes,
    pub(crate) conn: C,
}

pub(crate) enum State<C> {
    /// The first message of the handshake gathers in the inbox.
    Handshaking,
    Open(Session<C>),
    /// The handler has forgotten it; the rest of its output leaves.
    Lingering,
}

/// Which deadline has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Phase,
    WriteStall,
    PartialFrame,
    Idle,
    Timer,
}

pub(crate) struct Connection<C> {
    pub(crate) socket: Socket,
    pub(crate) peer: SocketAddr,
    pub(crate) permit: Permit,
    pub(crate) state: State<C>,
    pub(crate) inbox: Inbox,
    pub(crate) backlog: Backlog,
    /// End of the handshake, or of lingering.
    pub(crate) phase_ends: Tick,
    pub(crate) last_frame: Tick,
    /// When the frame in the inbox began.
    pub(crate) frame_began: Tick,
    /// When the shard's wheel turns up for it, whatever its deadlines are by then.
    pub(crate) armed: Tick,
    stalled_since: Tick,
    stall_progress: usize,
    /// Waits in the list of connections to read from without being told.
    pub(crate) queued: bool,
    /// The peer has closed its side: read until that is seen.
    pub(crate) read_closed: bool,
    /// Not read from, as it does not read either.
    pub(crate) paused: bool,
    /// A frame came that only somebody who did the handshake could send.
    pub(crate) proven: bool,
}

// What an idle connection takes beside the handler's part, all of it: a slip here is multiplied by the
// number of connections.
const _: () = assert!(size_of::<Connection<()>>() <= 448);

impl<C> Connection<C> {
    pub(crate) fn new(socket: Socket, peer: SocketAddr, permit: Permit, desk: &Desk) -> Self {
        Self {
            socket,
            peer,
            permit,
            state: State::Handshaking,
            inbox: Inbox::default(),
            backlog: Backlog::default(),
            phase_ends: desk.clock.after(desk.rules.handshake),
            last_frame: desk.clock.tick,
            frame_began: NEVER,
            armed: NEVER,
            stalled_since: NEVER,
            stall_progress: 0,
            queued: false,
            read_closed: false,
            paused: false,
            proven: false,
        }
    }

    /// Whether the peer has made us work for nothing. Those that give up before their handshake have not.
    pub(crate) fn was_useless(&self, why: &Close) -> bool {
        match self.state {
            State::Handshaking => {
                matches!(why, Close::NotNoise(_) | Close::Handshake(_) | Close::HandshakeTimeout)
            }
            State::Open(_) => !self.proven && !matches!(why, Close::Shutdown),
            State::Lingering => false,
        }
    }

    /// The earliest of the connection's deadlines.
    pub(crate) fn next_deadline(&self, desk: &Desk) -> Tick {
        self.deadlines(desk).map(|(tick, _)| tick).into_iter().min().unwrap_or(NEVER)
    }

    /// A deadline that has come, if one has.
    pub(crate) fn due(&self, desk: &Desk) -> Option<Due> {
        let now = desk.clock.tick;
        self.deadlines(desk).into_iter().find(|(tick, _)| *tick <= now).map(|(_, due)| due)
    }

    fn deadlines(&self, desk: &Desk) -> [(Tick, Due); 5] {
        let rules = &desk.rules;
        let (idle, timer) = match &self.state {
            State::Open(session) => (self.last_frame.saturating_add(rules.idle), session.wishes.timer),
            State::Handshaking | State::Lingering => (NEVER, NEVER),
        };
        [
            (self.phase_ends, Due::Phase),
            (self.stalled_since.saturating_add(rules.write_stall), Due::WriteStall),
            (self.frame_began.saturating_add(rules.partial_frame), Due::PartialFrame),
            (idle, Due::Idle),
            (timer, Due::Timer),
        ]
    }

    /// Writes what the pass produced; keeps what the socket does not take. The bytes are sealed already
    /// and leave in this order or, if the connection ends first, not at all: no nonce is ever used for
    /// a second text (NS-34).
    pub(crate) fn flush(&mut self, desk: &mut Desk, token: Token) -> Result<(), Close> {
        if desk.out.is_empty() {
            return Ok(());
        }
        let result = self.flush_bytes(desk, token);
        desk.out.clear();
        desk.out.shrink_to(OUT_KEPT);
        result
    }

    fn flush_bytes(&mut self, desk: &mut Desk, token: Token) -> Result<(), Close> {
        let taken = if self.backlog.is_empty() { write_some(&self.socket, &desk.out)? } else { 0 };
        desk.stats.bytes_out += taken as u64;
        if taken == desk.out.len() {
            return Ok(());
        }
        if self.backlog.is_empty() {
            self.stalled_since = desk.clock.tick;
            self.stall_progress = 0;
            self.socket.reregister(&desk.registry, token, Interest::READABLE | Interest::WRITABLE)?;
        }
        let backlog = self.backlog.len() + desk.out.len() - taken;
        if backlog > desk.rules.backlog {
            self.backlog.free(&mut desk.purse);
            return Err(Close::SlowReader { backlog });
        }
        self.backlog.push(&desk.out[taken..], &mut desk.purse)?;
        Ok(())
    }

    /// The socket takes output again.
    pub(crate) fn write_backlog(&mut self, desk: &mut Desk, token: Token) -> Result<(), Close> {
        if self.backlog.is_empty() {
            return Ok(());
        }
        while !self.backlog.is_empty() {
            let taken = write_some(&self.socket, self.backlog.unsent())?;
            if taken == 0 {
                return Ok(());
            }
            self.backlog.advance(taken, &mut desk.purse);
            desk.stats.bytes_out += taken as u64;
            self.stall_progress += taken;
            if self.stall_progress >= STALL_PROGRESS {
                self.stalled_since = desk.clock.tick;
                self.stall_progress = 0;
            }
        }
        self.stalled_since = NEVER;
        self.socket.reregister(&desk.registry, token, Interest::READABLE)?;
        if matches!(self.state, State::Lingering) {
            self.say_goodbye();
        }
        Ok(())
    }

    /// Bytes of memory that the connection makes us keep.
    pub(crate) fn held(&self) -> usize {
        self.inbox.capacity() + self.backlog.capacity()
    }

    /// Gives back what the connection makes us keep. It cannot go on after that.
    pub(crate) fn free(&mut self, purse: &mut Purse) {
        self.inbox.free(purse);
        self.backlog.free(purse);
    }

    /// Half of what a connection may owe is enough to stop reading from it: a peer that sends much and
    /// reads late is slowed down before it is dropped.
    pub(crate) fn owes_too_much(&self, desk: &Desk) -> bool {
        self.backlog.len() > desk.rules.backlog / 2
    }

    /// Tells the peer that nothing more comes. The socket stays open until the peer has seen it:
    /// closing at once, with input unread, would make the kernel discard what is on its way.
    pub(crate) fn say_goodbye(&mut self) {
        debug_assert!(self.backlog.is_empty());
        // It fails when the peer is gone, which the next read tells.
        let _ = self.socket.finish();
    }
}

/// How many bytes the socket takes now; none when it is full.
fn write_some(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            result => return result,
        }
    }
}
