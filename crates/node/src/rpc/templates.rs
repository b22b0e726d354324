//! Waiting for templates: long poll, heartbeat, and getting over failures.

use {
    super::{
        Link, RpcNode,
        client::Failure,
        gbt::{self, parse_template_id},
    },
    crate::{
        Chain, NodeError, Stop, Template, TemplateId,
        stop::{has_passed, slice_until},
    },
    bitcoin::BlockHash,
    crossbeam_channel::{Receiver, RecvTimeoutError, bounded},
    serde_json::{Value, json},
    std::{
        sync::{Arc, PoisonError, atomic::Ordering},
        thread,
        time::{Duration, Instant},
    },
};

/// A node answers a long poll when its tip changes, or after about a minute if transactions came in. Until then it gives one
/// of its few threads (`rpcthreads`) to it, also when the client has long gone: who gives up soon and polls again would on
/// a quiet chain take them all, and then no block could be handed in. That the node is gone shows the heartbeat. A thread
/// of ours that is abandoned with its long poll ends after this.
const LONG_POLL_TIMEOUT: Duration = Duration::from_secs(6 * 3600);
/// How fast a raised stop flag is seen.
const SLICE: Duration = Duration::from_millis(200);
/// Beside a long poll the tip is asked for on another connection: a node that died without a word is noticed.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The same where the node knows no long poll.
const HEARTBEAT_WITHOUT_LONG_POLL: Duration = Duration::from_secs(1);
/// How often fees are looked at where the node knows no long poll.
const REFRESH_WITHOUT_LONG_POLL: Duration = Duration::from_secs(30);
/// The first pause after a failure; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A long poll under way in a thread of its own.
pub(super) struct LongPoll {
    id: TemplateId,
    answer: Receiver<Result<Option<Template>, NodeError>>,
}

impl RpcNode {
    pub(super) fn wait_for_template(
        &self,
        known: Option<&TemplateId>,
        stop: &Stop,
        deadline: Option<Instant>,
    ) -> Result<Template, NodeError> {
        let mut known = known.and_then(|id| Some((id, parse_template_id(id)?)));
        let mut pause = FIRST_PAUSE;
        loop {
            let result = match &known {
                Some((id, (tip, long_poll_id))) => {
                    self.wait_past(id, tip, long_poll_id.as_deref(), stop, deadline)
                }
                None => self.link.template(),
            };
            let error = match result {
                Ok(template) => {
                    self.link.status.saw_template(&template);
                    return Ok(template);
                }
                Err(error @ (NodeError::Stopped | NodeError::Deadline)) => return Err(error),
                Err(error) => error,
            };
            self.link.verified.store(false, Ordering::Release);
            if self.link.status.no_template(&error) {
                tracing::warn!(%error, "no template");
            }
            // The node may have been restarted with another mempool: do not wait past what it may not know.
            known = None;
            if stop.wait(slice_until(deadline, pause)) {
                return Err(NodeError::Stopped);
            }
            if has_passed(deadline) {
                return Err(error);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A template other than `id`, whose tip is `tip`.
    fn wait_past(
        &self,
        id: &TemplateId,
        tip: &BlockHash,
        long_poll_id: Option<&str>,
        stop: &Stop,
        deadline: Option<Instant>,
    ) -> Result<Template, NodeError> {
        let started = Instant::now();
        let heartbeat = if long_poll_id.is_some() { HEARTBEAT } else { HEARTBEAT_WITHOUT_LONG_POLL };
        let mut next_heartbeat = started;
        loop {
            if stop.is_stopped() {
                return Err(NodeError::Stopped);
            }
            if Instant::now() >= next_heartbeat {
                self.link.begin_redelivery();
                if self.link.best_block_hash()? != *tip {
                    return self.link.template();
                }
                self.link.status.answered();
                next_heartbeat = Instant::now() + heartbeat;
            }
            if has_passed(deadline) {
                return Err(NodeError::Deadline);
            }
            match long_poll_id {
                Some(long_poll_id) => {
                    let wait = slice_until(deadline, SLICE);
                    match self.long_poll(id, long_poll_id, wait)? {
                        Some(template) if template.id != *id => return Ok(template),
                        // A node that answers at once with the same must not be asked as fast as it answers.
                        Some(_) => _ = stop.wait(wait),
                        None => {}
                    }
                }
                None if started.elapsed() >= REFRESH_WITHOUT_LONG_POLL => return self.link.template(),
                None => {
                    stop.wait(slice_until(deadline, SLICE));
                }
            }
        }
    }

    /// Waits a while for the long poll of this template, and begins it if need be.
    ///
    /// The thread cannot be interrupted, so it is left behind when nobody waits for it any more: it holds nothing but
    /// a connection, and ends by itself.
    fn long_poll(
        &self,
        id: &TemplateId,
        long_poll_id: &str,
        wait: Duration,
    ) -> Result<Option<Template>, NodeError> {
        let mut slot = self.long_poll.lock().unwrap_or_else(PoisonError::into_inner);
        let long_poll = match slot.take() {
            Some(under_way) if under_way.id == *id => under_way,
            Some(_) | None => LongPoll::begin(&self.link, id.clone(), long_poll_id)?,
        };
        // Not held while waiting: two callers may wait, each on its own long poll.
        drop(slot);
        match long_poll.answer.recv_timeout(wait) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                *self.long_poll.lock().unwrap_or_else(PoisonError::into_inner) = Some(long_poll);
                Ok(None)
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
        }
    }
}

impl LongPoll {
    fn begin(link: &Arc<Link>, id: TemplateId, long_poll_id: &str) -> Result<Self, NodeError> {
        let (sender, answer) = bounded(1);
        let (link, params) = (Arc::clone(link), params(Some(long_poll_id)));
        let run = move || {
            let result = match link.client.try_call::<gbt::Answer>(gbt::METHOD, &params, LONG_POLL_TIMEOUT) {
                Ok(answer) => link.read_template(answer).map(Some),
                Err(Failure::TimedOut(_)) => Ok(None),
                Err(Failure::Node(error)) => Err(link.explain(error)),
            };
            // Nobody waits any more when this fails.
            let _ = sender.send(result);
        };
        let spawned = thread::Builder::new().name("node-long-poll".into()).spawn(run);
        spawned.map_err(|error| NodeError::Config(format!("no thread for the long poll ({error})")))?;
        Ok(Self { id, answer })
    }
}

impl Link {
    /// The newest template, now.
    fn template(&self) -> Result<Template, NodeError> {
        if !self.verified.load(Ordering::Acquire) {
            self.verify()?;
            self.hand_in_again()?;
        }
        match self.client.call_nullable(gbt::METHOD, &params(None), self.config.timeout) {
            Ok(answer) => self.read_template(answer),
            Err(error) => Err(self.explain(error)),
        }
    }

    fn read_template(&self, answer: Option<gbt::Answer>) -> Result<Template, NodeError> {
        let null = || NodeError::Malformed { method: gbt::METHOD, what: "result is null".into() };
        answer.ok_or_else(null)?.into_template()
    }

    /// Puts words to a refusal of `getblocktemplate`.
    fn explain(&self, error: NodeError) -> NodeError {
        match error {
            NodeError::Rpc { code: -10, .. } => {
                let (blocks, headers) = self.info().map_or((0, 0), |info| (info.tip.height, info.headers));
                NodeError::InitialBlockDownload { blocks, headers }
            }
            NodeError::Rpc { code: -9, message, .. } => NodeError::Refused {
                reason: message,
                remedy: match self.config.chain {
                    Chain::Main => "it needs a peer; look at its network connection and `connect`, `addnode`",
                    _ => "it may be shutting down or lack peers",
                },
            },
            other => other,
        }
    }
}

fn params(long_poll_id: Option<&str>) -> Value {
    let mut request = json!({ "rules": ["segwit", "signet"] });
    if let Some(id) = long_poll_id {
        request["longpollid"] = id.into();
    }
    json!([request])
}
