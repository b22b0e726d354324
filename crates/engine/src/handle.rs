//! How other threads speak to a shard: a bounded queue of commands, and a wake-up that is sent only
//! when the shard may be asleep.

use {
    crate::accept::Admitted,
    crossbeam_channel::{Receiver, Sender},
    mio::Waker,
    std::{
        fmt,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
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

/// Wakes a shard's poll.
pub(crate) struct Bell {
    waker: Waker,
    /// Something waits that the shard has been told of: no second system call for it.
    rung: AtomicBool,
    stop: AtomicBool,
}

impl Bell {
    pub(crate) fn new(waker: Waker) -> Arc<Self> {
        Arc::new(Self { waker, rung: AtomicBool::new(false), stop: AtomicBool::new(false) })
    }

    /// Tells the shard that something waits in one of its queues. Call it after queueing.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            // An eventfd write fails only when the descriptor is gone. The next ring tries again.
            self.rung.store(false, Ordering::Release);
            tracing::error!(%error, "cannot wake a shard");
        }
    }

    /// Whether something may wait; cheap enough to ask between two connections.
    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed)
    }

    /// The shard is about to look into its queues: what is queued from now on rings again.
    pub(crate) fn hush(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.ring();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
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
