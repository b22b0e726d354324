//! The other end: a blocking connection for devices and tools.
//!
//! [`Client::connect`] does the handshake and returns only when the server has proved who it is (or the
//! caller chose not to care). [`Client::split`] gives a half for each direction, which may live in
//! different threads; [`Hangup`] ends both from a third.

use {
    rand::rngs::OsRng,
    std::{
        io::{self, Read, Write},
        net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs},
        sync::Arc,
        time::{Duration, Instant, SystemTime, UNIX_EPOCH},
    },
    sv2::{
        Frame, Header, Message,
        noise::{
            ACT_2_LEN, HandshakeError, Initiator, NoiseError, Opened, Opener, SEALED_HEADER_LEN, SealError,
            Sealer, Transport,
        },
    },
    thiserror::Error,
};

pub use sv2::noise::Trust;

/// Bytes that one read asks for.
const READ_BYTES: usize = 16 * 1024;
/// A buffer that a large frame has grown beyond this is given back when it is empty.
const BUFFER_KEPT: usize = 64 * 1024;

/// How to connect.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Whom to take for the server (NS-20).
    pub trust: Trust,
    /// For each address.
    pub connect_timeout: Duration,
    /// For the server's answer to the handshake.
    pub handshake_timeout: Duration,
    /// For the socket to take what is written; after that the connection is of no use any more (NS-34).
    pub write_timeout: Duration,
    /// Bytes of payload that a frame may have.
    pub frame_limit: u32,
}

impl ClientConfig {
    /// Ten seconds for each step, and frames of up to a megabyte.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        let patience = Duration::from_secs(10);
        Self {
            trust,
            connect_timeout: patience,
            handshake_timeout: patience,
            write_timeout: patience,
            frame_limit: 1 << 20,
        }
    }
}

/// What went wrong on a client's connection.
#[derive(Debug, Error)]
pub enum ClientError {
    /// There was no address to try.
    #[error("the server's name has no address; check its spelling")]
    NoAddress,
    /// No address took the connection.
    #[error("cannot connect to {address}: {error}")]
    Connect {
        /// The last address tried.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The server is not the right one, or not a Stratum V2 server.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The handshake was not answered in time.
    #[error("the server did not answer the handshake in time; is this a Stratum V2 port?")]
    HandshakeTimeout,
    /// Nothing came until the deadline. Nothing is lost: receive again.
    #[error("nothing was received in time")]
    Timeout,
    /// The connection is closed, by the server or by [`Hangup`].
    #[error("the connection is closed")]
    Closed,
    /// A frame failed authentication, or is larger than allowed.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// A message cannot be sent. The connection stays good.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

/// A connection on which the handshake is done.
pub struct Client {
    reader: Reader,
    writer: Writer,
}

impl Client {
    /// Connects to the first of `addresses` that takes the connection, and does the handshake with it.
    ///
    /// # Errors
    /// When no address takes the connection, or the one that does is not the right server.
    pub fn connect(addresses: &[SocketAddr], config: &ClientConfig) -> Result<Self, ClientError> {
        let mut last = ClientError::NoAddress;
        for &address in addresses {
            match TcpStream::connect_timeout(&address, config.connect_timeout) {
                Ok(socket) => return Self::over(socket, config),
                Err(error) => last = ClientError::Connect { address, error },
            }
        }
        Err(last)
    }

    /// Resolves a name such as `"pool.example:3333"` or `("pool.example", 3333)`, and connects.
    ///
    /// # Errors
    /// As [`Client::connect`], and when the name cannot be resolved.
    pub fn connect_host(host: impl ToSocketAddrs, config: &ClientConfig) -> Result<Self, ClientError> {
        let addresses: Vec<_> = host.to_socket_addrs()?.collect();
        Self::connect(&addresses, config)
    }

    /// Does the handshake over a socket that is connected.
    ///
    /// # Errors
    /// When the other end is not the right server.
    pub fn over(socket: TcpStream, config: &ClientConfig) -> Result<Self, ClientError> {
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(config.write_timeout))?;
        let transport = handshake(&socket, config)?;
        socket.set_read_timeout(None)?;
        let (sealer, opener) = transport.split();
        let socket = Arc::new(socket);
        Ok(Self {
            reader: Reader {
                socket: Arc::clone(&socket),
                opener,
                frame_limit: config.frame_limit,
                buffer: Vec::new(),
                start: 0,
                end: 0,
                needed: 0,
                timeout: None,
            },
            writer: Writer { socket, sealer, out: Vec::new(), broken: false },
        })
    }

    /// One half for each direction.
    #[must_use]
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }

    /// Sends a message. See [`Writer::send`].
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub fn send<'m>(&mut self, message: &impl Message<'m>) -> Result<(), ClientError> {
        self.writer.send(message)
    }

    /// Receives a frame. See [`Reader::recv`].
    ///
    /// # Errors
    /// As [`Reader::recv`].
    pub fn recv(&mut self, deadline: Option<Instant>) -> Result<Frame<'_>, ClientError> {
        self.reader.recv(deadline)
    }

    /// The server's address.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.writer.socket.peer_addr()
    }

    /// The reading half.
    pub fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// The writing half.
    pub fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Ends the connection from anywhere.
    #[must_use]
    pub fn hangup(&self) -> Hangup {
        self.writer.hangup()
    }
}

/// Nothing but the handshake is sent before the server's certificate is accepted (NS-02, NS-19).
fn handshake(mut socket: &TcpStream, config: &ClientConfig) -> Result<Transport, ClientError> {
    let deadline = Instant::now() + config.handshake_timeout;
    let initiator = Initiator::new(config.trust, &mut OsRng);
    socket.write_all(&initiator.act_1())?;
    let mut act_2 = [0; ACT_2_LEN];
    let mut have = 0;
    while have < ACT_2_LEN {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ClientError::HandshakeTimeout);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut act_2[have..]) {
            Ok(0) => return Err(ClientError::Closed),
            Ok(count) => have += count,
            Err(error) if is_timeout(&error) => return Err(ClientError::HandshakeTimeout),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(initiator.finish(&act_2, unix_now)?)
}

/// A socket with a time-out says one or the other, by platform.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Receives frames.
pub struct Reader {
    socket: Arc<TcpStream>,
    opener: Opener,
    frame_limit: u32,
    /// What has come and was not handed out lies in `start..end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of the next frame at which looking again makes sense.
    needed: usize,
    /// The read time-out that the socket has now.
    timeout: Option<Duration>,
}

impl Reader {
    /// Receives the next frame, waiting until `deadline` or for ever. The frame lies in the reader's own
    /// buffer; decode it and use the message's `into_owned` to keep it.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] when the deadline passes: nothing is lost, receive again. After any
    /// other error the connection is over.
    pub fn recv(&mut self, deadline: Option<Instant>) -> Result<Frame<'_>, ClientError> {
        loop {
            if let Some(found) = self.advance()? {
                return Ok(self.take(&found));
            }
            self.set_timeout(deadline)?;
            match self.fill() {
                Ok(0) => return Err(ClientError::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => {
                    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        return Err(ClientError::Timeout);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next frame, if all of it was received together with an earlier one. Never reads from the
    /// socket.
    ///
    /// # Errors
    /// When a frame failed authentication, or is larger than allowed.
    pub fn try_buffered(&mut self) -> Result<Option<Frame<'_>>, ClientError> {
        match self.advance()? {
            Some(found) => Ok(Some(self.take(&found))),
            None => Ok(None),
        }
    }

    /// Ends the connection from anywhere.
    #[must_use]
    pub fn hangup(&self) -> Hangup {
        Hangup(Arc::clone(&self.socket))
    }
}

impl Reader {
    /// Looks for a whole frame in the buffer; says what it is and how long.
    fn advance(&mut self) -> Result<Option<Found>, ClientError> {
        if self.end - self.start < self.needed {
            return Ok(None);
        }
        match self.opener.next_frame(&mut self.buffer[self.start..self.end], self.frame_limit)? {
            Opened::NeedMore(needed) => {
                self.needed = needed;
                Ok(None)
            }
            Opened::Frame { frame, consumed } => Ok(Some(Found { header: frame.header, consumed })),
        }
    }

    /// Hands out the frame that `advance` has found. Opened in place, its payload stands where it stood
    /// sealed: behind the sealed header.
    fn take(&mut self, found: &Found) -> Frame<'_> {
        let payload = self.start + SEALED_HEADER_LEN;
        self.start += found.consumed;
        self.needed = 0;
        Frame { header: found.header, payload: &self.buffer[payload..payload + found.header.payload_len()] }
    }

    /// Reads once.
    fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > BUFFER_KEPT {
                self.buffer = Vec::new();
            }
        }
        let room = READ_BYTES.max(self.needed.saturating_sub(self.end - self.start));
        if self.buffer.len() - self.end < room {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            // A frame's claimed length reserves nothing: `needed` is a chunk ahead at most (NS-28).
            self.buffer.resize(self.buffer.len().max(self.end + room), 0);
        }
        let count = (&*self.socket).read(&mut self.buffer[self.end..])?;
        self.end += count;
        Ok(count)
    }

    /// Gives the socket the time that is left. A deadline that has passed still lets what has come
    /// already be read.
    fn set_timeout(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let left = deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
        if self.timeout != left {
            self.socket.set_read_timeout(left)?;
            self.timeout = left;
        }
        Ok(())
    }
}

/// A whole frame at the front of a reader's buffer.
struct Found {
    header: Header,
    consumed: usize,
}

/// Sends frames.
pub struct Writer {
    socket: Arc<TcpStream>,
    sealer: Sealer,
    out: Vec<u8>,
    /// A write was given up half way: what the peer would read next is not what was sealed next (NS-34).
    broken: bool,
}

impl Writer {
    /// Sends a message, with everything queued before it, in one write.
    ///
    /// # Errors
    /// [`ClientError::Seal`] when no frame can carry the message; the connection stays good. After any
    /// other error it is over.
    pub fn send<'m>(&mut self, message: &impl Message<'m>) -> Result<(), ClientError> {
        self.queue(message)?;
        self.flush()
    }

    /// Seals a message; [`Writer::flush`] sends it.
    ///
    /// # Errors
    /// When no frame can carry the message; the connection stays good.
    pub fn queue<'m>(&mut self, message: &impl Message<'m>) -> Result<(), ClientError> {
        Ok(self.sealer.seal_message(message, &mut self.out)?)
    }

    /// Seals a frame that was encoded before, in plaintext; with a `channel_id`, the first four bytes of
    /// its payload are replaced by it. [`Writer::flush`] sends it.
    ///
    /// # Errors
    /// When `frame` is not one whole frame; the connection stays good.
    pub fn queue_encoded(&mut self, frame: &[u8], channel_id: Option<u32>) -> Result<(), ClientError> {
        Ok(self.sealer.seal_frame(frame, channel_id, &mut self.out)?)
    }

    /// Bytes that wait for [`Writer::flush`].
    #[must_use]
    pub fn queued(&self) -> usize {
        self.out.len()
    }

    /// Writes what is queued.
    ///
    /// # Errors
    /// When the socket does not take it in time. The connection is over then.
    pub fn flush(&mut self) -> Result<(), ClientError> {
        if self.broken {
            return Err(ClientError::Closed);
        }
        let written = (&*self.socket).write_all(&self.out);
        self.out.clear();
        self.out.shrink_to(BUFFER_KEPT);
        if let Err(error) = written {
            self.broken = true;
            // The peer must not wait for the rest.
            self.hangup().now();
            return Err(error.into());
        }
        Ok(())
    }

    /// Tells the server that nothing more comes, and still lets the reader receive.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn finish(&mut self) -> Result<(), ClientError> {
        self.flush()?;
        self.broken = true;
        Ok(self.socket.shutdown(Shutdown::Write)?)
    }

    /// Ends the connection from anywhere.
    #[must_use]
    pub fn hangup(&self) -> Hangup {
        Hangup(Arc::clone(&self.socket))
    }
}

/// Ends a connection from any thread: a receiver that waits gets [`ClientError::Closed`].
#[derive(Clone, Debug)]
pub struct Hangup(Arc<TcpStream>);

impl Hangup {
    /// Ends it now, in both directions.
    pub fn now(&self) {
        // It fails when the connection has ended already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
