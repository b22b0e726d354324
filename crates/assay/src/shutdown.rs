//! SIGINT and SIGTERM end a role in good order: queues are flushed, acknowledgements sent, files closed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, bounded};
use node::Stop;

/// Longest time that a run can be given: a year.
pub const MAX_SECONDS: u64 = 366 * 24 * 3600;

/// What ends a role: a signal, or the end of the time it was given.
pub struct Shutdown {
    signal: Receiver<()>,
    stop: Stop,
    deadline: Option<Instant>,
}

impl Shutdown {
    /// Installs the signal handlers; `seconds` limits the run.
    pub fn install(seconds: Option<u64>) -> Result<Self> {
        let (sender, signal) = bounded(1);
        let stop = Stop::new();
        let on_signal = stop.clone();
        ctrlc::set_handler(move || {
            on_signal.stop();
            // A second signal finds the first still waiting.
            let _ = sender.try_send(());
        })
        .context("cannot install the handler for SIGINT and SIGTERM")?;
        let deadline = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        Ok(Self { signal, stop, deadline })
    }

    /// Stopped by a signal at once, also while a role is still starting.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Waits up to `patience`; true when it is time to stop.
    pub fn wait(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let until = self.deadline.map_or(until, |deadline| deadline.min(until));
        self.signal.recv_deadline(until).is_ok() || self.deadline.is_some_and(|at| Instant::now() >= at)
    }
}
