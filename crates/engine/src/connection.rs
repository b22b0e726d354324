//! One connection: its socket, its keys, what of a frame has come, what of the output has not left.
//!
//! An idle connection owns no buffer. Input is read into scratch memory of the shard and decrypted
//! there; only the beginning of a frame whose end has not come yet is kept. Output is sealed into
//! scratch memory too, and only what the socket does not take is kept.

use {
    crate::{
        admission::Permit,
        backlog::Backlog,
        close::Close,
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
/// A partial frame up to this long is given its whole memory at once. A longer one gets memory as its
/// bytes come: a claimed length is no reason to reserve it (NS-28).
const RESERVED_FRAME: usize = 4096;

/// The beginning of a frame whose end has not come.
#[derive(Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    /// Bytes at which looking again makes sense.
    needed: usize,
}

impl Inbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Keeps `bytes`, at least one of which is still missing of `needed`.
    pub(crate) fn keep(&mut self, bytes: &[u8], needed: usize) {
        debug_assert!(self.is_empty() && bytes.len() < needed);
        if !bytes.is_empty() {
            self.bytes = bytes.to_vec();
            self.needed = needed;
        }
    }

    /// Takes from the front of `input` what is missing, and gives back the rest.
    pub(crate) fn top_up<'a>(&mut self, input: &'a mut [u8]) -> &'a mut [u8] {
        let missing = self.needed.saturating_sub(self.bytes.len());
        let (taken, rest) = input.split_at_mut(missing.min(input.len()));
        if self.needed <= RESERVED_FRAME {
            self.bytes.reserve_exact(missing);
        }
        self.bytes.extend_from_slice(taken);
        rest
    }

    /// Asks for more than was thought to be needed.
    pub(crate) fn need(&mut self, needed: usize) {
        self.needed = needed;
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

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
            stalled_since: NEVER,
            stall_progress: 0,
            queued: false,
            read_closed: false,
            paused: false,
            proven: false,
        }
    }

    /// Whether the peer has made us work for nothing. Those that give up before their handshake, or whom
    /// we made wait, have not.
    pub(crate) fn was_useless(&self, why: &Close) -> bool {
        match self.state {
            State::Handshaking => {
                matches!(why, Close::NotNoise(_) | Close::Handshake(_))
                    || matches!(why, Close::HandshakeTimeout) && !self.queued
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
            self.backlog.clear();
            return Err(Close::SlowReader { backlog });
        }
        self.backlog.push(&desk.out[taken..]);
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
            self.backlog.advance(taken);
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // proves: NS-28
    #[test]
    fn a_claimed_length_reserves_nothing() {
        let mut inbox = Inbox::default();
        inbox.keep(&[1; 22], 16 << 20);
        inbox.top_up(&mut [2; 1000]);
        assert_eq!(inbox.len(), 1022);
        assert!(inbox.bytes.capacity() < 4096, "{}", inbox.bytes.capacity());
        inbox.clear();
        assert_eq!(inbox.bytes.capacity(), 0, "an idle connection owns no buffer");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// What is taken in and what is given back are together what came, and no more is taken than
        /// is missing.
        #[test]
        fn takes_what_is_missing(
            kept in 1usize..60,
            missing in 1usize..9000,
            pieces in prop::collection::vec(0usize..3000, 1..8),
        ) {
            let mut inbox = Inbox::default();
            let first: Vec<u8> = (0..kept).map(|index| index.to_le_bytes()[0]).collect();
            inbox.keep(&first, kept + missing);
            let (mut all, mut rest) = (first, Vec::new());
            for size in pieces {
                let mut piece: Vec<u8> = (0..size).map(|index| index.to_le_bytes()[0] ^ 0x5a).collect();
                all.extend_from_slice(&piece);
                rest.extend_from_slice(inbox.top_up(&mut piece));
            }
            prop_assert_eq!(inbox.len(), (kept + missing).min(all.len()));
            let both = [inbox.bytes(), &mut rest].concat();
            prop_assert_eq!(both, all);
        }
    }
}
