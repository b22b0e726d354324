//! Waiting for templates, heartbeat, and getting over failures.
//!
//! A node that can wait for its tip (`waitfornewblock` from a known block on: Bitcoin Core 30) is asked to, as its answer
//! comes before it makes a template; fees are then looked at now and then. Of other nodes a long poll brings both.

use {
    super::{
        Link, RpcNode,
        client::Failure,
        gbt::{self, Known, parse_template_id},
        provisional::Newest,
        queries::{CODE_INVALID_PARAMETER, CODE_METHOD_NOT_FOUND, CODE_MISC, CODE_TYPE},
        under_way::News,
    },
    crate::{
        Chain, NodeError, Stop, Template, TemplateId,
        stop::{has_passed, slice_until},
    },
    bitcoin::BlockHash,
    serde::Deserialize,
    serde_json::{Value, json},
    std::{
        sync::{Arc, PoisonError, atomic::Ordering},
        time::{Duration, Instant},
    },
};

/// A node answers a long poll when its tip changes, or after about a minute if transactions came in. Until then it gives one
/// of its few threads (`rpcthreads`) to it, also when the client has long gone: who gives up soon and polls again would on
/// a quiet chain take them all, and then no block could be handed in. That the node is gone shows the heartbeat. A thread
/// of ours that is abandoned with its long poll ends after this.
const LONG_POLL_TIMEOUT: Duration = Duration::from_secs(6 * 3600);
/// How long a node waits for its tip to change. It is told, so that both sides end together.
const TIP_WAIT: Duration = Duration::from_secs(60);
/// How fast a raised stop flag is seen.
const SLICE: Duration = Duration::from_millis(200);
/// Beside a call that waits the tip is asked for on another connection: a node that died without a word is noticed.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The same where the node knows no call that waits.
const HEARTBEAT_WITHOUT_WAITING: Duration = Duration::from_secs(1);
/// How often fees are looked at where nothing tells that they have changed.
const REFRESH: Duration = Duration::from_secs(30);
/// The first pause after a failure; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How to hear of a change.
enum Way<'a> {
    TipWait,
    LongPoll(&'a str),
    Looking,
}

#[derive(Deserialize)]
struct NewTip {
    hash: BlockHash,
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
                Some((_, known)) if known.provisional => self.link.template(),
                Some((id, known)) => self.wait_past(id, known, stop, deadline),
                None => self.link.template(),
            };
            let error = match result {
                Err(error @ (NodeError::Stopped | NodeError::Deadline)) => return Err(error),
                Err(error) => error,
                template => return template,
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

    /// A template other than `id`.
    fn wait_past(
        &self,
        id: &TemplateId,
        known: &Known,
        stop: &Stop,
        deadline: Option<Instant>,
    ) -> Result<Template, NodeError> {
        let started = Instant::now();
        let mut next_heartbeat = started;
        loop {
            if stop.is_stopped() {
                return Err(NodeError::Stopped);
            }
            let way = self.way(known);
            if Instant::now() >= next_heartbeat {
                self.link.begin_redelivery();
                let tip = self.link.best_block_hash()?;
                if tip != known.tip {
                    return self.at_new_tip(&tip);
                }
                self.link.status.answered();
                next_heartbeat = Instant::now() + way.heartbeat();
            }
            if has_passed(deadline) {
                return Err(NodeError::Deadline);
            }
            if way.needs_refresh() && started.elapsed() >= REFRESH {
                return self.link.template();
            }
            let wait = slice_until(deadline, SLICE);
            match way {
                Way::TipWait => {
                    if let Some(tip) = self.new_tip(&known.tip, wait)? {
                        return self.at_new_tip(&tip);
                    }
                }
                Way::LongPoll(long_poll_id) => match self.long_poll(id, long_poll_id, wait)? {
                    Some(template) if template.id != *id => return Ok(template),
                    // A node that answers at once with the same must not be asked as fast as it answers.
                    Some(_) => _ = stop.wait(wait),
                    None => {}
                },
                Way::Looking => _ = stop.wait(wait),
            }
        }
    }

    /// The first template on a tip that the node has just come to.
    fn at_new_tip(&self, tip: &BlockHash) -> Result<Template, NodeError> {
        if self.link.config.provisional {
            match self.link.provisional_template(tip) {
                Ok(Some(template)) => return Ok(template),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "no provisional template"),
            }
        }
        self.link.template()
    }

    fn way<'a>(&self, known: &'a Known) -> Way<'a> {
        if self.link.config.provisional && self.link.tells_tip.load(Ordering::Acquire) {
            return Way::TipWait;
        }
        known.long_poll_id.as_deref().map_or(Way::Looking, Way::LongPoll)
    }

    /// Waits a while for another tip than `known`.
    fn new_tip(&self, known: &BlockHash, wait: Duration) -> News<BlockHash> {
        let (link, past) = (Arc::clone(&self.link), *known);
        let tip = self.tip_wait.wait(known, wait, move || link.wait_for_new_tip(&past))?;
        Ok(tip.filter(|tip| tip != known))
    }

    /// Waits a while for the long poll of this template.
    fn long_poll(&self, id: &TemplateId, long_poll_id: &str, wait: Duration) -> News<Template> {
        let (link, params) = (Arc::clone(&self.link), params(Some(long_poll_id)));
        self.long_poll.wait(id, wait, move || {
            match link.client.try_call::<gbt::Answer>(gbt::METHOD, &params, LONG_POLL_TIMEOUT) {
                Ok(answer) => link.read_template(answer).map(Some),
                Err(Failure::TimedOut(_)) => Ok(None),
                Err(Failure::Node(error)) => Err(link.explain(error)),
            }
        })
    }
}

impl Way<'_> {
    fn heartbeat(&self) -> Duration {
        match self {
            Self::TipWait | Self::LongPoll(_) => HEARTBEAT,
            Self::Looking => HEARTBEAT_WITHOUT_WAITING,
        }
    }

    fn needs_refresh(&self) -> bool {
        matches!(self, Self::TipWait | Self::Looking)
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
        let template = answer.ok_or_else(null)?.into_template()?;
        self.status.saw_template(&template);
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Newest::of(&template));
        Ok(template)
    }

    /// The node's tip when it is not `known`; none after a while. A node that cannot wait for it is not asked again, until
    /// it was away.
    fn wait_for_new_tip(&self, known: &BlockHash) -> News<BlockHash> {
        let params = json!([TIP_WAIT.as_millis(), known]);
        let answer = self.client.try_call("waitfornewblock", &params, TIP_WAIT + self.config.timeout);
        match answer {
            Ok(tip) => Ok(tip.map(|NewTip { hash }| hash)),
            Err(Failure::TimedOut(_)) => Ok(None),
            // A node that has a list of calls that it allows may have others on it.
            Err(Failure::Node(
                NodeError::Rpc {
                    code: CODE_METHOD_NOT_FOUND | CODE_MISC | CODE_TYPE | CODE_INVALID_PARAMETER,
                    ..
                }
                | NodeError::Unauthorised { .. },
            )) => {
                self.tells_tip.store(false, Ordering::Release);
                Ok(None)
            }
            Err(Failure::Node(error)) => Err(error),
        }
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
