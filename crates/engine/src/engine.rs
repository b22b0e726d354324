//! Starting and stopping, and what a handler has to provide.

use {
    crate::{
        accept::{Acceptor, Door, bind},
        close::Close,
        config::EngineConfig,
        handle::{Bell, ShardHandle, queues},
        link::{Clock, Desk, Link, Rules},
        shard::{BELL, Shard},
        slab::ConnId,
        stats::{Board, StatsReader},
        table::Connections,
    },
    mio::{Poll, Waker},
    rand::{SeedableRng, rngs::StdRng},
    std::{
        io,
        net::SocketAddr,
        sync::Arc,
        thread::{self, JoinHandle},
    },
    sv2::Frame,
    thiserror::Error,
};

/// What a server does with its connections. Each shard has one, and calls it from one thread only.
///
/// A handler must not block: all connections of its shard wait meanwhile.
pub trait Handler: Sized + Send + 'static {
    /// What the handler keeps about a connection.
    type Conn: Send + 'static;
    /// What other threads may ask of it, through a [`ShardHandle`].
    type Command: Send + 'static;

    /// A connection has done its handshake.
    fn opened(&mut self, link: &mut Link<'_>) -> Self::Conn;

    /// A frame has come.
    ///
    /// # Errors
    /// Ends the connection. What was sent before still leaves.
    fn frame(&mut self, conn: &mut Self::Conn, link: &mut Link<'_>, frame: Frame<'_>) -> Result<(), Close>;

    /// A connection has ended; called once for each one opened.
    fn closed(&mut self, conn: Self::Conn, id: ConnId, why: &Close);

    /// A turn is over: everything that was ready has been served. Here work of many frames is handed on
    /// at once.
    fn turn_end(&mut self, conns: &mut Connections<'_, Self>) {
        let _ = conns;
    }

    /// A command has come. Commands are served in the order in which each thread sent them, between any
    /// two connections of a turn.
    fn command(&mut self, command: Self::Command, conns: &mut Connections<'_, Self>);

    /// The connection's timer has fired ([`Link::set_timer`]).
    ///
    /// # Errors
    /// Ends the connection. What was sent before still leaves.
    fn timer(&mut self, conn: &mut Self::Conn, link: &mut Link<'_>) -> Result<(), Close> {
        let _ = (conn, link);
        Ok(())
    }
}

/// Why an engine did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// There is no address to listen on.
    #[error("`listen` is empty: name at least one address, such as 0.0.0.0:3333")]
    NoAddress,
    /// There is no shard.
    #[error("`shards` is 0: one per core is a good number")]
    NoShard,
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}; choose another address or stop who uses it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The system refuses threads or pollers.
    #[error("cannot start the threads that serve connections: {0}")]
    System(#[from] io::Error),
}

/// A running server whose handlers take commands of type `C`. Dropping it stops it.
pub struct Engine<C: Send + 'static> {
    addresses: Vec<SocketAddr>,
    handles: Vec<ShardHandle<C>>,
    board: Arc<Board>,
    acceptor: Arc<Bell>,
    /// The acceptor's first, then one for each shard.
    threads: Vec<JoinHandle<()>>,
}

impl<C: Send + 'static> Engine<C> {
    /// Listens and serves. `make` makes the handler of each shard, before any connection is accepted.
    ///
    /// # Errors
    /// When an address cannot be listened on, or the system refuses threads.
    pub fn start<H: Handler<Command = C>>(
        config: EngineConfig,
        mut make: impl FnMut(u16, ShardHandle<C>) -> H,
    ) -> Result<Self, StartError> {
        if config.listen.is_empty() {
            return Err(StartError::NoAddress);
        }
        if config.shards == 0 {
            return Err(StartError::NoShard);
        }
        let listeners = bind(&config).map_err(|(address, error)| StartError::Listen { address, error })?;
        let addresses = listeners.iter().map(|listener| listener.local_addr()).collect::<io::Result<_>>()?;
        let board = Board::new(config.shards);

        let (mut doors, mut handles, mut shards) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..config.shards {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), BELL)?;
            let (handle, sockets, inlet) =
                queues(index, waker, config.command_queue, config.limits.half_open);
            let handler = make(index, handle.clone());
            let (identity, board) = (Arc::clone(&config.identity), Arc::clone(&board));
            let desk = Desk::new(Clock::system(), poll.registry().try_clone()?, Rules::new(&config));
            let shard = Shard::new(index, handler, inlet, desk, StdRng::from_entropy(), identity, board);
            shards.push((shard, poll));
            doors.push(Door::new(sockets, Arc::clone(handle.bell())));
            handles.push(handle);
        }
        let acceptor = Acceptor::new(listeners, doors, Arc::clone(&board), &config)?;
        let bell = acceptor.bell();
        let mut engine = Self { addresses, handles, board, acceptor: bell, threads: Vec::new() };
        engine.threads.push(spawn("assay-accept".into(), move || acceptor.run())?);
        for (index, (shard, poll)) in shards.into_iter().enumerate() {
            engine.threads.push(spawn(format!("assay-shard-{index}"), move || shard.run(poll))?);
        }
        Ok(engine)
    }

    /// The first address listened on, with the port that the system chose if it was left to it.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// All addresses listened on.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A handle to each shard, by index.
    #[must_use]
    pub fn handles(&self) -> &[ShardHandle<C>] {
        &self.handles
    }

    /// A reader of the counters.
    #[must_use]
    pub fn stats(&self) -> StatsReader {
        StatsReader(Arc::clone(&self.board))
    }

    /// Whether every thread of the engine runs. If not, one has panicked, the reason is in the log, and
    /// the connections of that shard are dead: end the process and start again.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Stops: no new connection, commands that wait are served, what was sent leaves, every connection
    /// is closed with [`Close::Shutdown`], and the threads end. Takes the linger time-out at most.
    pub fn stop(self) {
        drop(self);
    }
}

impl<C: Send + 'static> Drop for Engine<C> {
    fn drop(&mut self) {
        self.acceptor.stop();
        for handle in &self.handles {
            handle.bell().stop();
        }
        for thread in self.threads.drain(..) {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!(thread = name, "a thread of the engine had panicked");
            }
        }
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name).spawn(run)
}
