//! The acceptor: one thread that lets connections in and deals them out to the shards.

mod gate;
mod waiting;

use {
    crate::{
        admission::{Admission, Permit, bucket::Nanos, nanos},
        config::EngineConfig,
        handle::Bell,
        limits::Refusal,
        socket::Socket as Connected,
        stats::{Board, Published},
    },
    crossbeam_channel::Sender,
    gate::{Gate, Verdict},
    mio::{
        Events, Interest, Poll, Token, Waker,
        net::{TcpListener, TcpStream},
    },
    rustix::process::{Resource, getrlimit},
    socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type},
    std::{
        io,
        net::SocketAddr,
        sync::{
            Arc,
            atomic::Ordering::{AcqRel, Relaxed},
        },
        time::{Duration, Instant},
    },
    waiting::WaitingRoom,
};

/// Connections that may wait in the kernel for `accept`.
const LISTEN_BACKLOG: i32 = 4096;
/// Connections accepted from one listener before the next has its turn.
const BURST: usize = 64;
/// How soon to look again when all handshakes that may be under way are, or the shards lag.
const FULL_PAUSE: Duration = Duration::from_millis(2);
/// How soon to look again when most of a burst was turned away: turning away takes time too, which those
/// who are there need.
const REFUSED_PAUSE: Duration = Duration::from_millis(3);
/// How soon to look again when the process has no descriptor left.
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(100);
/// How soon a connection tries again whose address has too many handshakes under way.
const HALF_OPEN_RETRY: Nanos = 50_000_000;
/// How long a peer is silent before it is probed, at least.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
/// A silent peer is probed after a minute or two, and given up after another.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(Duration::from_secs(15)).with_retries(4);

/// Seconds over which first probes are spread. The system's timers for a minute are two seconds coarse: of connections that
/// came in one rush, all probes would leave at once, and what a queue does not hold of them be taken for silence.
const KEEPALIVE_SPREAD: u64 = 64;

const BELL: Token = Token(usize::MAX);

/// A connection on its way to a shard.
pub(crate) struct Admitted {
    pub(crate) socket: Connected,
    pub(crate) peer: SocketAddr,
    pub(crate) permit: Permit,
    /// Many handshakes are under way: this one has less time.
    pub(crate) hurry: bool,
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
        // A connection takes all of this over from its listener: no system calls for each.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&KEEPALIVE)?;
        if let Some(bytes) = config.limits.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = config.limits.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
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
    /// Bursts accepted so far.
    bursts: u64,
}

impl Listening {
    fn new(listener: TcpListener) -> Self {
        Self { listener, ready: true, bursts: 0 }
    }

    /// Gives connections that come from now on another time for their first probe. Those of one rush are accepted in many
    /// bursts.
    fn spread_keepalive(&mut self) {
        self.bursts += 1;
        let later = Duration::from_secs(self.bursts % KEEPALIVE_SPREAD);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_TIME + later);
        // Without it, connections have that of the burst before.
        let _ = SockRef::from(&self.listener).set_tcp_keepalive(&keepalive);
    }
}

/// Accepts until told to stop.
pub(crate) struct Acceptor {
    poll: Poll,
    bell: Arc<Bell>,
    listeners: Vec<Listening>,
    admission: Arc<Admission>,
    waiting: WaitingRoom<Admitted>,
    gate: Gate,
    start: Instant,
    board: Arc<Board>,
    doors: Vec<Door>,
    patience: Nanos,
    /// The system had no descriptor for us the last time.
    starved: bool,
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
        let mut listeners: Vec<_> = listeners.into_iter().map(Listening::new).collect();
        for (index, listening) in listeners.iter_mut().enumerate() {
            poll.registry().register(&mut listening.listener, Token(index), Interest::READABLE)?;
        }
        let limits = &config.limits;
        Ok(Self {
            poll,
            bell,
            listeners,
            admission: Admission::new(limits, descriptors()),
            waiting: WaitingRoom::new(),
            gate: Gate::new(nanos(limits.lag), nanos(limits.lag_patience)),
            start: Instant::now(),
            board,
            doors,
            patience: nanos(limits.patience),
            starved: false,
        })
    }

    /// Rings to make the acceptor stop.
    pub(crate) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        let mut pause = Duration::ZERO;
        loop {
            match self.poll.poll(&mut events, self.timeout(pause)) {
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
            pause = self.turn();
        }
    }

    /// How long to sleep: until somebody comes, or one of those who wait has its turn; and for `pause`
    /// where the one or the other is the case already.
    fn timeout(&self, pause: Duration) -> Option<Duration> {
        if self.listeners.iter().any(|listening| listening.ready) {
            return Some(pause);
        }
        let turn = Duration::from_nanos(self.waiting.next()?.saturating_sub(self.now()));
        Some(turn.max(pause))
    }

    fn now(&self) -> Nanos {
        nanos(self.start.elapsed())
    }

    /// Lets in who may come in; says for how long not to look again.
    fn turn(&mut self) -> Duration {
        let now = self.now();
        let verdict = self.gate.judge(self.lag(), now);
        if verdict == Verdict::Wait {
            return FULL_PAUSE;
        }
        while self.admission.has_room()
            && let Some((admitted, until)) = self.waiting.take(now)
        {
            self.resume(admitted, now, until);
        }
        let mut pause = Duration::ZERO;
        for index in 0..self.listeners.len() {
            if self.listeners[index].ready {
                pause = pause.max(self.accept_burst(index, verdict));
            }
        }
        if self.admission.has_room() { pause } else { pause.max(FULL_PAUSE) }
    }

    /// How long connections wait for the shard that is least behind.
    fn lag(&self) -> Nanos {
        let open = self.doors.iter().zip(&self.board.shards).filter(|(door, _)| door.open);
        open.map(|(_, shown)| shown.lag(self.board.now())).min().unwrap_or(0)
    }

    /// Accepts from one listener; says how long to wait before accepting more.
    fn accept_burst(&mut self, index: usize, verdict: Verdict) -> Duration {
        let mut refused = 0;
        self.listeners[index].spread_keepalive();
        for _ in 0..BURST {
            if verdict == Verdict::Accept && !self.admission.has_room() {
                return FULL_PAUSE;
            }
            match self.listeners[index].listener.accept() {
                Ok(_) if verdict == Verdict::Refuse => {
                    self.refuse(Refusal::Overload);
                    refused += 1;
                }
                Ok((socket, peer)) => refused += usize::from(!self.let_in(socket, peer)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        self.listeners[index].ready = false;
                        break;
                    }
                    // The peer gave up while it waited in the kernel's queue.
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => continue,
                    _ => {
                        if !std::mem::replace(&mut self.starved, true) {
                            tracing::warn!(%error, "cannot accept connections; raise `ulimit -n`");
                        }
                        self.board.refuse(Refusal::Descriptors);
                        return DESCRIPTOR_PAUSE;
                    }
                },
            }
            self.starved = false;
        }
        if refused > BURST / 2 { REFUSED_PAUSE } else { Duration::ZERO }
    }

    fn refuse(&self, refusal: Refusal) {
        self.board.refuse(refusal);
        tracing::debug!(refusal = refusal.label(), "connection refused");
    }

    /// Whether the connection may stay.
    fn let_in(&mut self, socket: TcpStream, peer: SocketAddr) -> bool {
        let now = self.now();
        match self.admission.admit(peer.ip(), now) {
            Err(refusal) => {
                self.refuse(refusal);
                false
            }
            Ok((permit, wait)) => {
                let admitted = Admitted { socket: Connected::Tcp(socket), peer, permit, hurry: false };
                match wait {
                    None => self.deal(admitted),
                    Some(wait) => self.hold(admitted, now, wait, now.saturating_add(self.patience)),
                }
                true
            }
        }
    }

    fn hold(&mut self, admitted: Admitted, now: Nanos, wait: Nanos, until: Nanos) {
        let wait = if wait == 0 { HALF_OPEN_RETRY } else { wait };
        self.waiting.hold(admitted, now.saturating_add(wait), until);
    }

    /// The turn of a connection that was held has come.
    fn resume(&mut self, mut admitted: Admitted, now: Nanos, until: Nanos) {
        if admitted.permit.begin() {
            self.deal(admitted);
        } else if now < until {
            self.hold(admitted, now, HALF_OPEN_RETRY, until);
        } else {
            self.refuse(Refusal::HalfOpenPerAddress);
        }
    }

    /// Gives a connection to the shard that has the fewest, among those that do not lag if there are any.
    fn deal(&mut self, mut admitted: Admitted) {
        admitted.hurry = self.admission.is_crowded();
        let now = self.board.now();
        loop {
            let open = self.doors.iter_mut().zip(&self.board.shards).filter(|(door, _)| door.open);
            let bound = self.gate.bound();
            let burden = |shown: &Published| (shown.lag(now) > bound, shown.assigned.load(Relaxed));
            let Some((door, shown)) = open.min_by_key(|(_, shown)| burden(shown)) else { return };
            shown.assigned.fetch_add(1, AcqRel);
            match door.sockets.try_send(admitted) {
                Ok(()) => return door.bell.ring(),
                Err(error) => {
                    shown.assigned.fetch_sub(1, AcqRel);
                    // The shard has stopped, as the engine is stopping or its handler has panicked.
                    door.open = false;
                    admitted = error.into_inner();
                }
            }
        }
    }
}

/// Descriptors that the process may open.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use {
        super::*,
        rand::rngs::OsRng,
        socket2::SockRef,
        std::{net::TcpStream, thread},
        sv2::noise::{AuthoritySecret, Identity, Validity},
    };

    #[test]
    fn connections_take_their_options_from_the_listener() {
        let identity =
            Identity::new(AuthoritySecret::generate(&mut OsRng), Validity::default(), 0, &mut OsRng);
        let config = EngineConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), identity.into());
        let listeners = bind(&config).unwrap();
        let accepted = |listener: &TcpListener| {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            loop {
                match listener.accept() {
                    Ok((socket, _)) => return socket,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
                thread::yield_now();
            }
        };
        let socket = accepted(&listeners[0]);
        let socket = SockRef::from(&socket);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_TIME);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        // Linux counts its own needs in, and may allow less.
        let most = 2 * config.limits.send_buffer.unwrap().max(config.limits.receive_buffer.unwrap());
        assert!(socket.send_buffer_size().unwrap() <= most && socket.recv_buffer_size().unwrap() <= most);

        // Bursts differ in the time of their first probe, and in nothing else.
        let mut listening = Listening::new(listeners.into_iter().next().unwrap());
        let times: std::collections::BTreeSet<Duration> = (0..KEEPALIVE_SPREAD)
            .map(|_| {
                listening.spread_keepalive();
                let socket = accepted(&listening.listener);
                let socket = SockRef::from(&socket);
                assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
                socket.tcp_keepalive_time().unwrap()
            })
            .collect();
        assert_eq!(times.len() as u64, KEEPALIVE_SPREAD);
        assert!(times.iter().all(|time| (KEEPALIVE_TIME..KEEPALIVE_TIME * 3).contains(time)));
    }
}
