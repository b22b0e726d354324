//! Calls that the node answers when there is news.

use {
    crate::NodeError,
    crossbeam_channel::{Receiver, RecvTimeoutError, bounded},
    std::{
        sync::{Mutex, PoisonError},
        thread,
        time::Duration,
    },
};

/// What a call came to; none when its time was up without news.
pub(super) type News<T> = Result<Option<T>, NodeError>;

/// At most one call that waits for news, in a thread of its own: an HTTP call cannot be interrupted, and whoever waits for
/// it has other things to look at. It is taken up again by the next who waits for the same.
///
/// A call that nobody waits for any more is left behind: it holds nothing but a connection, and ends by itself.
pub(super) struct WaitingCall<K, T>(Mutex<Option<UnderWay<K, T>>>);

struct UnderWay<K, T> {
    past: K,
    answer: Receiver<News<T>>,
}

impl<K: PartialEq + Clone, T: Send + 'static> WaitingCall<K, T> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Waits at most `time` for news past `past`; begins the call if it is not under way.
    pub(super) fn wait(
        &self,
        past: &K,
        time: Duration,
        call: impl FnOnce() -> News<T> + Send + 'static,
    ) -> News<T> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Not held while waiting: two callers may wait, each on a call of its own.
        let under_way = match taken {
            Some(under_way) if under_way.past == *past => under_way,
            Some(_) | None => UnderWay::begin(past.clone(), call)?,
        };
        match under_way.answer.recv_timeout(time) {
            Ok(news) => news,
            Err(RecvTimeoutError::Timeout) => {
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(under_way);
                Ok(None)
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
        }
    }
}

impl<K, T: Send + 'static> UnderWay<K, T> {
    fn begin(past: K, call: impl FnOnce() -> News<T> + Send + 'static) -> Result<Self, NodeError> {
        let (sender, answer) = bounded(1);
        let run = move || {
            // Nobody waits any more when this fails.
            let _ = sender.send(call());
        };
        let spawned = thread::Builder::new().name("node-waiting".into()).spawn(run);
        spawned.map_err(|error| NodeError::Config(format!("no thread to wait for the node in ({error})")))?;
        Ok(Self { past, answer })
    }
}
