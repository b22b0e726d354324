//! Waiting for a condition, never for luck.

use std::time::{Duration, Instant};

/// How often a condition is looked at. Short beside everything that a test waits for.
const POLL: Duration = Duration::from_millis(20);

/// Looks at `probe` until it gives a value, and returns it.
///
/// # Panics
/// With `what` when `timeout` has passed.
pub fn wait_for<T>(what: &str, timeout: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {timeout:?}: {what}");
        std::thread::sleep(POLL);
    }
}

/// Looks at `condition` until it holds.
///
/// # Panics
/// With `what` when `timeout` has passed.
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, timeout, || condition().then_some(()));
}
