//! How other threads speak to a shard: a bounded queue of commands, and a wake-up that is sent only
//! when the shard may be asleep.

use {
    crate::accept::Admitted,
    crossbeam_channel::{Receiver, Sender},
    mio::Waker,
    std::{
        fmt,
        sync::{
            Arc, OnceLock,
            atomic::{
                AtomicBool,
                Ordering::{Acquire, Release, SeqCst},
            },
        },
        thread::{self, Thread},
        time::Duration,
    },
};

/// The shard has stopped, or is about to; the command is given back.
#[derive(thiserror::Error)]
#[error("the engine has stopped: the command was not taken")]
pub struct Stopped<C>(pub C);

/// A command was not taken; it is given back.
#[derive(thiserror::Error)]
pub enum TrySendError<C> {
    /// As many commands wait as may.
    #[error("the shard's command queue is full: try again, or wait with `send`")]
    Full(C),
    /// The shard has stopped.
    #[error("the engine has stopped: the command was not taken")]
    Stopped(C),
}

// Commands need not be printable for a failure to be.
impl<C> fmt::Debug for Stopped<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopped(..)")
    }
}

impl<C> fmt::Debug for TrySendError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Stopped(_) => "Stopped(..)",
        })
    }
}

/// Wakes a shard, from its poll or from a nap.
pub(crate) struct Bell {
    waker: Waker,
    /// Something waits that the shard has been told of: no second system call for it.
    rung: AtomicBool,
    stop: AtomicBool,
    /// The shard sleeps without asking the system anything; see [`Bell::nap`].
    napping: AtomicBool,
    sleeper: OnceLock<Thread>,
}

impl Bell {
    pub(crate) fn new(waker: Waker) -> Arc<Self> {
        Arc::new(Self {
            waker,
            rung: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            napping: AtomicBool::new(false),
            sleeper: OnceLock::new(),
        })
    }

    /// Tells the shard that something waits in one of its queues. Call it after queueing.
    pub(crate) fn ring(&self) {
        if self.rung.swap(true, SeqCst) {
            return;
        }
        // Either we see the nap here, or the shard sees the bell when it lies down or gets up: each side
        // writes its flag before it reads the other's, in one order for all.
        if self.napping.load(SeqCst) {
            self.sleeper.get().map(Thread::unpark);
        } else if let Err(error) = self.waker.wake() {
            // An eventfd write fails only when the descriptor is gone. The next ring tries again.
            self.rung.store(false, Release);
            tracing::error!(%error, "cannot wake a shard");
        }
    }

    /// Whether something may wait; cheap enough to ask between two connections.
    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(SeqCst)
    }

    /// The shard is about to look into its queues: what is queued from now on rings again.
    pub(crate) fn hush(&self) {
        self.rung.swap(false, SeqCst);
    }

    /// Sleeps, deaf to sockets, until somebody rings, or for `most`. Whoever rang in the meantime has not
    /// woken the poll: ask [`Bell::is_rung`] before waiting there. For the shard's own thread only.
    pub(crate) fn nap(&self, most: Duration) {
        self.sleeper.get_or_init(thread::current);
        self.napping.store(true, SeqCst);
        if !self.is_rung() {
            thread::park_timeout(most);
        }
        self.napping.store(false, SeqCst);
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Release);
        self.ring();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Acquire)
    }
}

/// Sends commands to one shard. Cloned freely.
pub struct ShardHandle<C> {
    index: u16,
    commands: Sender<C>,
    bell: Arc<Bell>,
}

impl<C> Clone for ShardHandle<C> {
    fn clone(&self) -> Self {
        Self { index: self.index, commands: self.commands.clone(), bell: Arc::clone(&self.bell) }
    }
}

impl<C> ShardHandle<C> {
    /// The shard this speaks to.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Hands a command over, waiting while the queue is full.
    ///
    /// Never call this from a [`Handler`](crate::Handler): its own queue could be the full one, and
    /// nobody would empty it. There, use [`ShardHandle::try_send`].
    ///
    /// # Errors
    /// When the shard has stopped; the command comes back.
    pub fn send(&self, command: C) -> Result<(), Stopped<C>> {
        self.commands.send(command).map_err(|error| Stopped(error.into_inner()))?;
        self.bell.ring();
        Ok(())
    }

    /// Hands a command over unless the queue is full.
    ///
    /// # Errors
    /// When the queue is full or the shard has stopped; the command comes back.
    pub fn try_send(&self, command: C) -> Result<(), TrySendError<C>> {
        self.commands.try_send(command).map_err(|error| match error {
            crossbeam_channel::TrySendError::Full(command) => TrySendError::Full(command),
            crossbeam_channel::TrySendError::Disconnected(command) => TrySendError::Stopped(command),
        })?;
        self.bell.ring();
        Ok(())
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }
}

/// The shard's ends of its queues.
pub(crate) struct Inlet<C> {
    pub(crate) commands: Receiver<C>,
    pub(crate) sockets: Receiver<Admitted>,
    pub(crate) bell: Arc<Bell>,
}

/// Makes a shard's queues. The queue of sockets is never full: it has room for as many as may be half
/// open, and each socket in it is.
pub(crate) fn queues<C>(
    index: u16,
    waker: Waker,
    commands: usize,
    sockets: usize,
) -> (ShardHandle<C>, Sender<Admitted>, Inlet<C>) {
    let bell = Bell::new(waker);
    let (command_sender, command_receiver) = crossbeam_channel::bounded(commands.max(1));
    let (socket_sender, socket_receiver) = crossbeam_channel::bounded(sockets.max(1));
    let handle = ShardHandle { index, commands: command_sender, bell: Arc::clone(&bell) };
    (handle, socket_sender, Inlet { commands: command_receiver, sockets: socket_receiver, bell })
}

#[cfg(test)]
mod tests {
    use super::*;
    use {
        mio::{Events, Poll, Token},
        std::time::Instant,
    };

    /// Whatever the shard is doing when the bell is rung, napping, falling asleep, getting up, waiting in
    /// its poll: it hears it. With no other wake-up, a lost one would be for good.
    #[test]
    fn no_ring_is_lost_between_naps_and_polls() {
        const RINGS: u32 = 3000;
        let mut poll = Poll::new().unwrap();
        let bell = Bell::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let (queue, inlet) = crossbeam_channel::unbounded();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut events = Events::with_capacity(4);
                let mut expected = 0;
                while expected < RINGS {
                    if expected % 3 > 0 {
                        bell.nap(Duration::from_micros(u64::from(expected % 50)));
                    }
                    let patience = if bell.is_rung() { 0 } else { 60 };
                    let since = Instant::now();
                    poll.poll(&mut events, Some(Duration::from_secs(patience))).unwrap();
                    assert!(since.elapsed() < Duration::from_secs(59), "ring {expected} was lost");
                    bell.hush();
                    while let Ok(number) = inlet.try_recv() {
                        assert_eq!(number, expected);
                        expected += 1;
                    }
                }
            });
            for number in 0..RINGS {
                queue.send(number).unwrap();
                bell.ring();
                if number % 7 > 0 {
                    thread::sleep(Duration::from_micros(u64::from(number % 60)));
                }
            }
        });
    }

    #[test]
    fn the_bell_ends_a_nap_at_once() {
        let poll = Poll::new().unwrap();
        let bell = Bell::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let since = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| bell.nap(Duration::from_secs(3600)));
            bell.ring();
        });
        assert!(since.elapsed() < Duration::from_secs(1800) && bell.is_rung());
    }
}
