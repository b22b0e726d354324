//! A socket with its encryption, without blocking.
//!
//! A connection that waits owns no buffer: input is read into the worker's memory and decrypted there, output is sealed
//! into it. Only the beginning of a frame whose end has not come, and what the socket did not take, are kept.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};
use sv2::noise::{ACT_2_LEN, HandshakeError, Initiator, NoiseError, Opened, Opener, Sealer, Trust};
use sv2::{Frame, Message};

/// Longest payload that is read. A server's longest message, an extended job, stays below.
const FRAME_LIMIT: u32 = 1 << 18;
/// A worker's memory for input: some frames of the greatest length.
const INPUT: usize = 1 << 19;
/// Buffers that grew beyond this are given back.
const KEPT: usize = 1 << 12;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    #[error("cannot connect: {0}")]
    Connect(ErrorKind),
    #[error("no local port is left for another connection to this pool; spread them with --local-address")]
    Ports,
    #[error("no file descriptor is left; raise `ulimit -n`, or use several processes")]
    Descriptors,
    #[error("the pool closed the connection {0}")]
    Closed(&'static str),
    #[error("the connection broke: {0}")]
    Io(ErrorKind),
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    #[error("{0}")]
    Noise(#[from] NoiseError),
    #[error("a message cannot be sent: {0}")]
    Seal(#[from] sv2::noise::SealError),
    #[error("the pool broke the protocol: {0}")]
    Protocol(String),
    #[error("the pool refused: {0}")]
    Refused(String),
    #[error("{0} took too long (--patience)")]
    Silent(&'static str),
    #[error("it left as it was told to")]
    Left,
}

impl Lost {
    pub(crate) fn connecting(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse => Self::Ports,
            // EMFILE and ENFILE have no kind of their own.
            _ if matches!(error.raw_os_error(), Some(23 | 24)) => Self::Descriptors,
            kind => Self::Connect(kind),
        }
    }
}

/// Memory of a worker that all its connections use in turn.
pub(crate) struct Scratch {
    pub input: Vec<u8>,
    pub output: Vec<u8>,
    /// Calls of `write`.
    pub writes: u64,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { input: vec![0; INPUT], output: Vec::new(), writes: 0 }
    }
}

/// What came in.
pub(crate) enum Input<'a> {
    /// The handshake is done.
    Encrypted,
    Frame(Frame<'a>),
}

/// Where messages go: sealed into the worker's memory, to leave with [`Link::flush`].
pub(crate) struct Outbox<'a> {
    sealer: &'a mut Sealer,
    pub bytes: &'a mut Vec<u8>,
}

impl Outbox<'_> {
    pub(crate) fn send<'m>(&mut self, message: &impl Message<'m>) -> Result<(), Lost> {
        Ok(self.sealer.seal_message(message, self.bytes)?)
    }
}

impl Outbox<'_> {
    /// … of a kind that this crate knows nothing of.
    pub(crate) fn send_frame(&mut self, frame: Frame<'_>) -> Result<(), Lost> {
        Ok(self.sealer.seal(frame, None, self.bytes)?)
    }
}

enum State {
    Handshake(Option<Box<Initiator>>),
    Open(Box<(Sealer, Opener)>),
}

/// One connection.
pub(crate) struct Link {
    pub socket: TcpStream,
    state: State,
    /// The beginning of something whose end has not come.
    inbox: Vec<u8>,
    /// What the socket did not take.
    backlog: Vec<u8>,
    /// So many bytes of the handshake are sent, and then the connection is left.
    cut: Option<usize>,
}

impl Link {
    /// Begins to connect.
    pub(crate) fn connect(to: SocketAddr, from: Option<IpAddr>) -> Result<Self, Lost> {
        let socket = begin(to, from).map_err(|error| Lost::connecting(&error))?;
        Ok(Self { socket, state: State::Handshake(None), inbox: Vec::new(), backlog: Vec::new(), cut: None })
    }

    /// The connection is left after so many bytes of the handshake's first message.
    pub(crate) fn cut_handshake(&mut self, bytes: usize) {
        self.cut = Some(bytes);
    }

    /// Sends the first `bytes` of what was sealed, and no more ever.
    pub(crate) fn cut_frame(&mut self, scratch: &mut Scratch, bytes: usize) -> Result<(), Lost> {
        scratch.output.truncate(bytes);
        self.flush(scratch)
    }

    /// The socket is ready to write: connected, with room again, or failed.
    pub(crate) fn writable(&mut self, scratch: &mut Scratch) -> Result<(), Lost> {
        if let State::Handshake(initiator @ None) = &mut self.state {
            if let Some(error) = self.socket.take_error().map_err(|error| Lost::Io(error.kind()))? {
                return Err(Lost::connecting(&error));
            }
            match self.socket.peer_addr() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(Lost::Io(error.kind())),
            }
            let started = Initiator::new(Trust::AnyServer, &mut rand::thread_rng());
            self.backlog.extend_from_slice(&started.act_1());
            *initiator = Some(Box::new(started));
            if let Some(bytes) = self.cut {
                self.backlog.truncate(bytes);
                self.flush(scratch)?;
                return Err(Lost::Left);
            }
        }
        self.flush(scratch)
    }

    /// Whether the socket has to take something before more is worth sealing.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Where messages go once the handshake is done.
    pub(crate) fn outbox<'a>(&'a mut self, bytes: &'a mut Vec<u8>) -> Option<Outbox<'a>> {
        match &mut self.state {
            State::Handshake(_) => None,
            State::Open(transport) => Some(Outbox { sealer: &mut transport.0, bytes }),
        }
    }

    /// Reads all that has come. `to_end`: until the socket says so, as when the peer has closed its side.
    pub(crate) fn read(
        &mut self,
        scratch: &mut Scratch,
        to_end: bool,
        mut each: impl FnMut(Input<'_>, &mut Outbox<'_>) -> Result<(), Lost>,
    ) -> Result<(), Lost> {
        loop {
            let kept = self.inbox.len();
            scratch.input[..kept].copy_from_slice(&self.inbox);
            let read = match self.socket.read(&mut scratch.input[kept..]) {
                Ok(0) => return Err(Lost::Closed(self.stage())),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Err(Lost::Closed(self.stage()));
                }
                Err(error) => return Err(Lost::Io(error.kind())),
            };
            let filled = kept + read;
            let input = &mut scratch.input[..filled];
            let used = self.take(input, &mut scratch.output, &mut each)?;
            keep(&mut self.inbox, &input[used..]);
            // A stream socket that gave less than there was room for is empty, which saves the call that says so.
            if filled < scratch.input.len() && !to_end {
                return Ok(());
            }
        }
    }

    fn stage(&self) -> &'static str {
        match self.state {
            State::Handshake(_) => "during the handshake",
            State::Open(_) => "afterwards",
        }
    }

    /// Handles what is whole in `input`; returns how much of it is done with.
    fn take(
        &mut self,
        input: &mut [u8],
        output: &mut Vec<u8>,
        each: &mut impl FnMut(Input<'_>, &mut Outbox<'_>) -> Result<(), Lost>,
    ) -> Result<usize, Lost> {
        let mut done = 0;
        if let State::Handshake(initiator) = &mut self.state {
            let Some(answer) = input.first_chunk::<ACT_2_LEN>() else { return Ok(0) };
            let initiator = initiator.take().ok_or_else(|| Lost::Protocol("it spoke first".to_owned()))?;
            // No certificate is checked here, so the time does not matter.
            let (mut sealer, opener) = initiator.finish(answer, 0)?.split();
            done = ACT_2_LEN;
            each(Input::Encrypted, &mut Outbox { sealer: &mut sealer, bytes: output })?;
            self.state = State::Open(Box::new((sealer, opener)));
        }
        let State::Open(transport) = &mut self.state else { return Ok(done) };
        let (sealer, opener) = &mut **transport;
        while done < input.len() {
            match opener.next_frame(&mut input[done..], FRAME_LIMIT)? {
                Opened::NeedMore(_) => break,
                Opened::Frame { frame, consumed } => {
                    each(Input::Frame(frame), &mut Outbox { sealer, bytes: output })?;
                    done += consumed;
                }
            }
        }
        Ok(done)
    }

    /// Writes what was sealed; what the socket does not take leaves when it can.
    pub(crate) fn flush(&mut self, scratch: &mut Scratch) -> Result<(), Lost> {
        let fresh = self.backlog.is_empty();
        if !fresh {
            self.backlog.append(&mut scratch.output);
        }
        let bytes = if fresh { &scratch.output } else { &self.backlog };
        let mut written = 0;
        while written < bytes.len() {
            scratch.writes += 1;
            match self.socket.write(&bytes[written..]) {
                Ok(0) => return Err(Lost::Closed(self.stage())),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    return Err(Lost::Closed(self.stage()));
                }
                Err(error) => return Err(Lost::Io(error.kind())),
            }
        }
        if fresh {
            keep(&mut self.backlog, &scratch.output[written..]);
            scratch.output.clear();
        } else if written == self.backlog.len() {
            keep(&mut self.backlog, &[]);
        } else {
            self.backlog.drain(..written);
        }
        Ok(())
    }
}

/// Replaces what is kept by `bytes`, and memory that is not needed for them by none.
fn keep(buffer: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() > buffer.capacity() || buffer.capacity() > KEPT {
        *buffer = bytes.to_vec();
    } else {
        buffer.clear();
        buffer.extend_from_slice(bytes);
    }
}

/// Begins to connect.
pub(crate) fn begin(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(from) = from {
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        // EINPROGRESS, the usual answer, has no stable kind of its own: 115 on Linux.
        Err(error) if error.raw_os_error() == Some(115) || error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_buffers_hold_no_memory() {
        let mut buffer = vec![1; KEPT + 1];
        keep(&mut buffer, &[2, 3]);
        assert_eq!(buffer, [2, 3]);
        assert!(buffer.capacity() <= KEPT);
        keep(&mut buffer, &[4]);
        assert_eq!(buffer, [4]);
        keep(&mut buffer, &[5; 100]);
        assert_eq!(buffer, [5; 100]);
        keep(&mut buffer, &[]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn the_remedy_is_named_where_there_is_one() {
        for (error, remedy) in [
            (io::Error::from(ErrorKind::AddrNotAvailable), "--local-address"),
            (io::Error::from_raw_os_error(24), "ulimit -n"),
            (io::Error::from(ErrorKind::ConnectionRefused), "connection refused"),
        ] {
            let text = Lost::connecting(&error).to_string();
            assert!(text.contains(remedy), "{text}");
        }
    }
}
