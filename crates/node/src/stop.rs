//! A flag that ends waits.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Asks waiting threads to return. Clones share the flag; once raised it stays up.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// A flag that is down.
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag and wakes everybody who waits on it.
    pub fn stop(&self) {
        *self.raised() = true;
        self.0.changed.notify_all();
    }

    /// Whether the flag is up.
    pub fn is_stopped(&self) -> bool {
        *self.raised()
    }

    /// Waits for the flag, at most `time`. Returns whether it is up.
    pub fn wait(&self, time: Duration) -> bool {
        let guard = self.raised();
        let waited = self.0.changed.wait_timeout_while(guard, time, |raised| !*raised);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    // A panic elsewhere cannot leave a boolean half-written.
    fn raised(&self) -> MutexGuard<'_, bool> {
        self.0.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is left until `deadline`, no more than `slice`; zero when it has passed.
pub(crate) fn slice_until(deadline: Option<Instant>, slice: Duration) -> Duration {
    match deadline {
        Some(deadline) => deadline.saturating_duration_since(Instant::now()).min(slice),
        None => slice,
    }
}

/// Whether a deadline is set and has passed.
pub(crate) fn has_passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_flag_ends_a_wait() {
        let stop = Stop::new();
        assert!(!stop.wait(Duration::ZERO));
        let waiter = stop.clone();
        let thread = std::thread::spawn(move || waiter.wait(Duration::from_secs(60)));
        stop.stop();
        assert!(thread.join().unwrap());
        assert!(stop.is_stopped());
    }
}
