//! A shard that a test drives: the code of the real one, without its thread, sockets, clock and chance.
//!
//! [`VirtualShard::turn`] does what a shard's thread does when the system wakes it. Readiness is edge-triggered as with
//! epoll, a virtual socket takes as many bytes as it has room for, and the order in which ready connections are served
//! comes from the seed. One seed and one sequence of calls give one behaviour, byte for byte. Dropping a shard between
//! two turns is what a crash of the process is to its peers.

mod peer;
mod pipe;

pub use peer::{Peer, PeerError};
pub use pipe::{Ending, VirtualSocket};
pub(crate) use pipe::{Pipe, ServerEnd};

use {
    crate::{
        EngineConfig, Handler, Limits, Refusal, ShardHandle, Stats,
        accept::Admitted,
        admission::{Admission, nanos},
        handle::queues,
        link::{Clock, Desk, Rules},
        shard::{BELL, Shard},
        socket::{Ready, Socket},
        stats::Board,
    },
    crossbeam_channel::Sender,
    mio::{Poll, Waker},
    rand::{SeedableRng, rngs::StdRng, seq::SliceRandom},
    std::{
        io,
        net::SocketAddr,
        sync::{Arc, Mutex, atomic::Ordering::AcqRel},
        time::{Duration, Instant},
    },
};

/// A time as a shard sees it: one clock for durations, one for dates. They need not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For durations. Must not go backwards.
    pub instant: Instant,
    /// Seconds since 1970. May jump.
    pub unix: u32,
}

/// A shard without a thread. See the module.
pub struct VirtualShard<H: Handler> {
    shard: Shard<H>,
    handle: ShardHandle<H::Command>,
    sockets: Sender<Admitted>,
    admission: Arc<Admission>,
    start: Instant,
    board: Arc<Board>,
    pipes: Vec<Arc<Mutex<Pipe>>>,
    order: StdRng,
    index: u16,
    last_turn: Moment,
    send_buffer: usize,
    // Nothing is registered with it; the shard holds its registry, and its bell the waker.
    _poll: Poll,
}

/// Bytes that a virtual socket takes before its peer has read some, unless `Limits::send_buffer` says otherwise.
const SEND_BUFFER: usize = 64 * 1024;

impl<H: Handler> VirtualShard<H> {
    /// Shard number `index` of an engine with this configuration (its addresses, and how many shards it has, mean
    /// nothing here). Keys and the order of events come from `seed`.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new(
        config: &EngineConfig,
        index: u16,
        seed: u64,
        at: Moment,
        make: impl FnOnce(ShardHandle<H::Command>) -> H,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), BELL)?;
        let (handle, sockets, inlet) = queues(index, waker, config.command_queue, config.limits.half_open);
        let clock = Clock::set_by_hand(at.instant, at.unix);
        let desk = Desk::new(clock, poll.registry().try_clone()?, Rules::new(config));
        let board = Board::new(index.saturating_add(1));
        let handler = make(handle.clone());
        let mut order = StdRng::seed_from_u64(seed);
        let keys = StdRng::from_rng(&mut order).map_err(io::Error::other)?;
        let identity = Arc::clone(&config.identity);
        let shard = Shard::new(index, handler, inlet, desk, keys, identity, Arc::clone(&board));
        // Nobody can be made to wait here.
        let limits = Limits { patience: Duration::ZERO, ..config.limits.clone() };
        Ok(Self {
            shard,
            handle,
            sockets,
            admission: Admission::new(&limits, usize::MAX),
            start: at.instant,
            board,
            pipes: Vec::new(),
            order,
            index,
            last_turn: at,
            send_buffer: config.limits.send_buffer.unwrap_or(SEND_BUFFER),
            _poll: poll,
        })
    }

    /// A handle as other threads have it. Its queue is emptied by [`VirtualShard::turn`] only: more commands than the
    /// queue holds would wait for ever.
    pub fn handle(&self) -> ShardHandle<H::Command> {
        self.handle.clone()
    }

    /// Lets a connection in, as the acceptor does.
    ///
    /// # Errors
    /// What a limit forbids. The real acceptor makes connections wait that come too fast, and waits itself
    /// while all handshakes that may be under way are; here they are refused at once.
    pub fn connect(&mut self, peer: SocketAddr) -> Result<VirtualSocket, Refusal> {
        if !self.admission.has_room() {
            return Err(Refusal::HalfOpenPerAddress);
        }
        let now = nanos(self.last_turn.instant.saturating_duration_since(self.start));
        let admitted = self.admission.admit(peer.ip(), now);
        let (permit, _) = admitted.inspect_err(|refusal| self.board.refuse(*refusal))?;
        let pipe = Arc::new(Mutex::new(Pipe::new(self.send_buffer)));
        let socket = Socket::Virtual(ServerEnd::new(Arc::clone(&pipe)));
        self.board.shards[usize::from(self.index)].assigned.fetch_add(1, AcqRel);
        if self
            .sockets
            .try_send(Admitted { socket, peer, permit, hurry: self.admission.is_crowded() })
            .is_err()
        {
            unreachable!("the queue has room for every connection that is half open");
        }
        self.handle.bell().ring();
        self.pipes.push(Arc::clone(&pipe));
        Ok(VirtualSocket::new(pipe))
    }

    /// When the shard's thread would wake if nothing more came. `None`: not by itself.
    pub fn next_turn(&mut self) -> Option<Instant> {
        let now = self.last_turn.instant;
        let told = self.handle.bell().is_rung() || self.pipes.iter().any(|pipe| pipe::lock(pipe).has_event());
        if told { Some(now) } else { self.shard.timeout().map(|after| now + after) }
    }

    /// One turn at this time: everything that is ready is served, in an order of chance.
    pub fn turn(&mut self, at: Moment) {
        self.last_turn = at;
        self.shard.set_time(at.instant, at.unix);
        self.shard.take_sockets();
        self.pipes.retain(|pipe| !pipe::lock(pipe).is_closed_by_server());
        let mut ready: Vec<Ready> =
            self.pipes.iter().filter_map(|pipe| pipe::lock(pipe).take_event()).collect();
        ready.shuffle(&mut self.order);
        self.shard.serve(ready.into_iter());
    }

    /// Begins a stop in good order. Go on with [`VirtualShard::turn`] until [`VirtualShard::is_over`].
    pub fn stop(&mut self) {
        self.handle.bell().stop();
        self.shard.begin_end();
    }

    /// Whether no connection is left.
    pub fn is_over(&self) -> bool {
        self.shard.is_over()
    }

    /// The counters as the shard keeps them.
    pub fn stats(&self) -> &Stats {
        self.shard.stats()
    }

    /// What the shard calls.
    pub fn handler(&self) -> &H {
        self.shard.handler()
    }

    /// Bytes that the engine holds for its connections: parts of frames, and output that no socket took.
    pub fn bytes_held(&mut self) -> usize {
        self.shard.bytes_held()
    }
}

#[cfg(test)]
mod tests;
