//! The other end's Noise session, without a socket: bytes in, frames out, and the other way round.

use {
    rand::{CryptoRng, Rng},
    sv2::{
        Frame, Message,
        noise::{ACT_2_LEN, HandshakeError, Initiator, NoiseError, Opened, Opener, SealError, Sealer, Trust},
    },
};

/// Greatest payload that a peer takes.
const FRAME_LIMIT: u32 = 1 << 24;

/// Why a peer cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The server's answer to the handshake.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// What the server sent after it.
    #[error(transparent)]
    Noise(#[from] NoiseError),
}

/// A client's end of the Noise session.
pub struct Peer {
    state: State,
    inbox: Vec<u8>,
}

enum State {
    Handshaking(Option<Box<Initiator>>),
    Open(Box<Session>),
}

struct Session {
    sealer: Sealer,
    opener: Opener,
}

impl Peer {
    /// A peer, and what it sends first.
    pub fn new(trust: Trust, rng: &mut (impl Rng + CryptoRng)) -> (Self, Vec<u8>) {
        let initiator = Box::new(Initiator::new(trust, rng));
        let act_1 = initiator.act_1().to_vec();
        (Self { state: State::Handshaking(Some(initiator)), inbox: Vec::new() }, act_1)
    }

    /// Whether the handshake is done, so that messages can be sealed.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Takes in bytes of the server, and hands on each frame that is complete.
    ///
    /// # Errors
    /// When they are no part of this session. It is over then.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        unix_now: u64,
        mut frame: impl FnMut(Frame<'_>),
    ) -> Result<(), PeerError> {
        self.inbox.extend_from_slice(bytes);
        if let State::Handshaking(initiator) = &mut self.state {
            let Some(act_2) = self.inbox.first_chunk::<ACT_2_LEN>().copied() else { return Ok(()) };
            let initiator = initiator.take().ok_or(HandshakeError::Authentication)?;
            let (sealer, opener) = initiator.finish(&act_2, unix_now)?.split();
            self.inbox.drain(..ACT_2_LEN);
            self.state = State::Open(Box::new(Session { sealer, opener }));
        }
        let State::Open(session) = &mut self.state else { return Ok(()) };
        let mut served = 0;
        while let Opened::Frame { frame: opened, consumed } =
            session.opener.next_frame(&mut self.inbox[served..], FRAME_LIMIT)?
        {
            frame(opened);
            served += consumed;
        }
        self.inbox.drain(..served);
        Ok(())
    }

    /// Seals a message for sending; nothing before the handshake is done.
    ///
    /// # Errors
    /// When no frame can carry the message.
    pub fn seal<'m>(&mut self, message: &impl Message<'m>, out: &mut Vec<u8>) -> Result<(), SealError> {
        match &mut self.state {
            State::Open(session) => session.sealer.seal_message(message, out),
            State::Handshaking(_) => Ok(()),
        }
    }

    /// Seals a frame that was encoded before, also one that no message could be; nothing before the handshake is done.
    ///
    /// # Errors
    /// When `frame` is not one whole frame.
    pub fn seal_frame(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        match &mut self.state {
            State::Open(session) => session.sealer.seal_frame(frame, None, out),
            State::Handshaking(_) => Ok(()),
        }
    }
}
