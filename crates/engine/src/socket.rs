//! What a shard asks of the system about one connection: bytes in, bytes out, and when to ask again.

#[cfg(feature = "simulation")]
use crate::simulation::ServerEnd;
use {
    mio::{Interest, Registry, Token, event::Event, net::TcpStream},
    std::{
        io::{self, Read, Write},
        net::Shutdown,
    },
};

/// A connection's socket.
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(feature = "simulation")]
    Virtual(ServerEnd),
}

impl Socket {
    pub(crate) fn read(&mut self, input: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(input),
            #[cfg(feature = "simulation")]
            Self::Virtual(end) => end.read(input),
        }
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => (&mut &*socket).write(bytes),
            #[cfg(feature = "simulation")]
            Self::Virtual(end) => end.write(bytes),
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn finish(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
            #[cfg(feature = "simulation")]
            Self::Virtual(end) => end.finish(),
        }
    }

    pub(crate) fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => registry.register(socket, token, interest),
            #[cfg(feature = "simulation")]
            Self::Virtual(end) => end.watch(token, interest),
        }
    }

    pub(crate) fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => registry.reregister(socket, token, interest),
            #[cfg(feature = "simulation")]
            Self::Virtual(end) => end.watch(token, interest),
        }
    }
}

/// What the system tells of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer's side is closed, or the connection has failed: reading tells which.
    pub(crate) read_closed: bool,
}

impl From<&Event> for Ready {
    fn from(event: &Event) -> Self {
        Self {
            token: event.token(),
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed() || event.is_error(),
        }
    }
}
