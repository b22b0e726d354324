//! The acceptor: one thread that lets connections in and deals them out to the shards.

use {
    crate::{
        config::EngineConfig,
        handle::Bell,
        limits::{Admission, Permit, Refusal},
        socket::Socket as Connected,
        stats::Board,
    },
    crossbeam_channel::Sender,
    mio::{
        Events, Interest, Poll, Token, Waker,
        net::{TcpListener, TcpStream},
    },
    socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type},
    std::{
        io,
        net::SocketAddr,
        sync::{
            Arc,
            atomic::Ordering::{AcqRel, Relaxed},
        },
        time::Duration,
    },
};

/// Connections that may wait in the kernel for `accept`.
const LISTEN_BACKLOG: i32 = 4096;
/// Connections accepted from one listener before the next has its turn.
const BURST: usize = 64;
/// How soon to look again when all handshakes that may be under way are.
const HALF_OPEN_PAUSE: Duration = Duration::from_millis(2);
/// How soon to look again when the process has no descriptor left.
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(100);
/// A silent peer is probed after a minute, and given up after another.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

const BELL: Token = Token(usize::MAX);

/// A connection on its way to a shard.
pub(crate) struct Admitted {
    pub(crate) socket: Connected,
    pub(crate) peer: SocketAddr,
    pub(crate) permit: Permit,
}

/// Where a shard takes its connections from.
pub(crate) struct Door {
    sockets: Sender<Admitted>,
    bell: Arc<Bell>,
    open: bool,
}

impl Door {
    pub(crate) fn new(sockets: Sender<Admitted>, bell: Arc<Bell>) -> Self {
        Self { sockets, bell, open: true }
    }
}

/// Opens the listening sockets. Each error comes with the address that it is about.
pub(crate) fn bind(config: &EngineConfig) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    // `[::]` takes IPv4 too, unless IPv4 is listened on by itself.
    let only_v6 = config.listen.iter().any(SocketAddr::is_ipv4);
    let bind_one = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(only_v6)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        Ok(TcpListener::from_std(socket.into()))
    };
    config.listen.iter().map(|&address| bind_one(address).map_err(|error| (address, error))).collect()
}

struct Listening {
    listener: TcpListener,
    /// Connections may wait; readiness is told once only.
    ready: bool,
}

/// Accepts until told to stop.
pub(crate) struct Acceptor {
    poll: Poll,
    bell: Arc<Bell>,
    listeners: Vec<Listening>,
    admission: Arc<Admission>,
    board: Arc<Board>,
    doors: Vec<Door>,
    send_buffer: Option<usize>,
}

impl Acceptor {
    pub(crate) fn new(
        listeners: Vec<TcpListener>,
        doors: Vec<Door>,
        board: Arc<Board>,
        config: &EngineConfig,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let bell = Bell::new(Waker::new(poll.registry(), BELL)?);
        let mut listeners: Vec<_> =
            listeners.into_iter().map(|listener| Listening { listener, ready: true }).collect();
        for (index, listening) in listeners.iter_mut().enumerate() {
            poll.registry().register(&mut listening.listener, Token(index), Interest::READABLE)?;
        }
        let admission = Admission::new(&config.limits);
        Ok(Self { poll, bell, listeners, admission, board, doors, send_buffer: config.limits.send_buffer })
    }

    /// Rings to make the acceptor stop.
    pub(crate) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        let mut pause = Duration::ZERO;
        loop {
            let ready = self.listeners.iter().any(|listening| listening.ready);
            let timeout = if ready { Some(pause) } else { None };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    tracing::error!(%error, "the acceptor cannot wait for connections and stops");
                    return;
                }
                _ => {}
            }
            self.bell.hush();
            if self.bell.is_stopping() {
                return;
            }
            for event in &events {
                if let Some(listening) = self.listeners.get_mut(event.token().0) {
                    listening.ready = true;
                }
            }
            pause = Duration::ZERO;
            for index in 0..self.listeners.len() {
                if self.listeners[index].ready {
                    pause = pause.max(self.accept_burst(index));
                }
            }
        }
    }

    /// Accepts from one listener; says how long to wait before accepting more.
    fn accept_burst(&mut self, index: usize) -> Duration {
        for _ in 0..BURST {
            if !self.admission.has_room() {
                return HALF_OPEN_PAUSE;
            }
            match self.listeners[index].listener.accept() {
                Ok((socket, peer)) => self.let_in(socket, peer),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        self.listeners[index].ready = false;
                        break;
                    }
                    // The peer gave up while it waited in the kernel's queue.
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                    _ => {
                        self.board.refuse(Refusal::Descriptors);
                        tracing::warn!(%error, "cannot accept connections; raise `ulimit -n`");
                        return DESCRIPTOR_PAUSE;
                    }
                },
            }
        }
        Duration::ZERO
    }

    fn let_in(&mut self, socket: TcpStream, peer: SocketAddr) {
        let permit = match self.admission.admit(peer.ip()) {
            Ok(permit) => permit,
            Err(refusal) => {
                self.board.refuse(refusal);
                tracing::debug!(refusal = refusal.label(), "connection refused");
                return;
            }
        };
        if self.prepare(&socket).is_err() {
            return; // The peer is gone already.
        }
        self.deal(Admitted { socket: Connected::Tcp(socket), peer, permit });
    }

    /// Gives a connection to the shard that has the fewest.
    fn deal(&mut self, mut admitted: Admitted) {
        loop {
            let open = self.doors.iter_mut().zip(&self.board.shards).filter(|(door, _)| door.open);
            let Some((door, counts)) = open.min_by_key(|(_, counts)| counts.assigned.load(Relaxed)) else {
                return;
            };
            counts.assigned.fetch_add(1, AcqRel);
            match door.sockets.try_send(admitted) {
                Ok(()) => return door.bell.ring(),
                Err(error) => {
                    counts.assigned.fetch_sub(1, AcqRel);
                    // The shard has stopped, as the engine is stopping or its handler has panicked.
                    door.open = false;
                    admitted = error.into_inner();
                }
            }
        }
    }

    fn prepare(&self, socket: &TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let socket = SockRef::from(socket);
        socket.set_tcp_keepalive(&KEEPALIVE)?;
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        Ok(())
    }
}
