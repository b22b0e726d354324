//! A virtual connection: two streams of bytes, what each end has closed, and what epoll would tell.

use {
    crate::socket::Ready,
    mio::{Interest, Token},
    std::{
        collections::VecDeque,
        io,
        sync::{Arc, Mutex, MutexGuard, PoisonError},
    },
};

/// How far one direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// More may come.
    Open,
    /// What has come is all.
    Finished,
    /// The connection is gone.
    Reset,
}

/// Both directions of a connection.
pub(crate) struct Pipe {
    /// Bytes that have reached the server.
    input: VecDeque<u8>,
    input_ending: Ending,
    /// Bytes that the server has written and the peer has not taken.
    output: VecDeque<u8>,
    output_ending: Ending,
    /// Bytes of output that fit.
    room: usize,
    /// The peer's socket is closed: what is written to it bounces.
    peer_closed: bool,
    /// What the server wants to be told of.
    watched: Option<(Token, Interest)>,
    /// Something has changed since it was told.
    edge: bool,
}

impl Pipe {
    pub(super) fn new(room: usize) -> Self {
        Self {
            input: VecDeque::new(),
            input_ending: Ending::Open,
            output: VecDeque::new(),
            output_ending: Ending::Open,
            room,
            peer_closed: false,
            watched: None,
            edge: false,
        }
    }

    fn is_readable(&self) -> bool {
        !self.input.is_empty() || self.input_ending != Ending::Open
    }

    fn is_writable(&self) -> bool {
        self.output.len() < self.room || self.input_ending == Ending::Reset
    }

    fn wants_to_write(&self) -> bool {
        self.watched.is_some_and(|(_, interest)| interest.is_writable())
    }

    pub(super) fn has_event(&self) -> bool {
        self.edge && self.watched.is_some()
    }

    pub(super) fn is_closed_by_server(&self) -> bool {
        self.watched.is_none() && self.output_ending != Ending::Open
    }

    /// What epoll tells: all that holds now, but only if something has changed since it told last.
    pub(super) fn take_event(&mut self) -> Option<Ready> {
        let (token, interest) = self.watched?;
        std::mem::take(&mut self.edge).then(|| Ready {
            token,
            readable: self.is_readable(),
            writable: interest.is_writable() && self.is_writable(),
            read_closed: self.input_ending != Ending::Open,
        })
    }
}

/// The server's end. Dropping it closes the connection.
pub(crate) struct ServerEnd(Arc<Mutex<Pipe>>);

impl ServerEnd {
    pub(super) fn new(pipe: Arc<Mutex<Pipe>>) -> Self {
        Self(pipe)
    }

    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut pipe = lock(&self.0);
        match pipe.input_ending {
            Ending::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
            Ending::Open if pipe.input.is_empty() => return Err(io::ErrorKind::WouldBlock.into()),
            Ending::Open | Ending::Finished => {}
        }
        let count = into.len().min(pipe.input.len());
        for (place, byte) in into.iter_mut().zip(pipe.input.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = lock(&self.0);
        if pipe.input_ending == Ending::Reset || pipe.output_ending != Ending::Open {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if pipe.peer_closed {
            // The kernel takes the bytes; the peer's answer to them is a reset.
            pipe.input_ending = Ending::Reset;
            pipe.edge = true;
            return Ok(bytes.len());
        }
        let count = bytes.len().min(pipe.room.saturating_sub(pipe.output.len()));
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        pipe.output.extend(&bytes[..count]);
        Ok(count)
    }

    pub(crate) fn finish(&self) -> io::Result<()> {
        let mut pipe = lock(&self.0);
        if pipe.input_ending == Ending::Reset {
            return Err(io::ErrorKind::NotConnected.into());
        }
        pipe.output_ending = Ending::Finished;
        Ok(())
    }

    pub(crate) fn watch(&self, token: Token, interest: Interest) -> io::Result<()> {
        let mut pipe = lock(&self.0);
        pipe.watched = Some((token, interest));
        pipe.edge |= pipe.is_readable() || (interest.is_writable() && pipe.is_writable());
        Ok(())
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        let mut pipe = lock(&self.0);
        pipe.watched = None;
        // A socket closed with input unread resets the connection, and output on its way may be lost.
        pipe.output_ending = if pipe.input.is_empty() { Ending::Finished } else { Ending::Reset };
    }
}

/// The peer's end of a virtual connection. What it delivers has arrived at the server; delays, losses and splits on the
/// way are its owner's to play. Dropping it closes it.
pub struct VirtualSocket(Arc<Mutex<Pipe>>);

impl VirtualSocket {
    pub(super) fn new(pipe: Arc<Mutex<Pipe>>) -> Self {
        Self(pipe)
    }

    /// Bytes arrive at the server. After the end of the stream they are dropped.
    pub fn deliver(&self, bytes: &[u8]) {
        let mut pipe = lock(&self.0);
        if pipe.input_ending == Ending::Open && !bytes.is_empty() {
            pipe.input.extend(bytes);
            pipe.edge = true;
        }
    }

    /// Bytes that have arrived and the server has not read: a peer that respects the window sends no more than fits.
    pub fn unread(&self) -> usize {
        lock(&self.0).input.len()
    }

    /// Takes up to `most` bytes that the server wrote, and so makes room for more.
    pub fn take(&self, most: usize) -> Vec<u8> {
        let mut pipe = lock(&self.0);
        let was_full = !pipe.is_writable();
        let count = most.min(pipe.output.len());
        let taken = pipe.output.drain(..count).collect();
        pipe.edge |= was_full && pipe.is_writable() && pipe.wants_to_write();
        taken
    }

    /// Bytes that wait to be taken.
    pub fn available(&self) -> usize {
        lock(&self.0).output.len()
    }

    /// Whether the server has ended its side. What was written before may still be taken.
    pub fn ending(&self) -> Ending {
        lock(&self.0).output_ending
    }

    /// Nothing more comes from here (a half-closed connection).
    pub fn finish(&self) {
        let mut pipe = lock(&self.0);
        if pipe.input_ending == Ending::Open {
            pipe.input_ending = Ending::Finished;
            pipe.edge = true;
        }
    }

    /// Nothing more comes from here, and what the server writes bounces.
    pub fn close(&self) {
        self.finish();
        lock(&self.0).peer_closed = true;
    }

    /// The connection is gone, and what is on its way with it.
    pub fn reset(&self) {
        let mut pipe = lock(&self.0);
        pipe.input.clear();
        pipe.input_ending = Ending::Reset;
        pipe.peer_closed = true;
        pipe.edge = true;
    }
}

impl Drop for VirtualSocket {
    fn drop(&mut self) {
        self.close();
    }
}

// Plain bytes, whole after every call.
pub(super) fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}
