//! JSON-RPC over HTTP, one connection a call.

use {
    super::{RpcConfig, auth::Credentials},
    crate::NodeError,
    serde::{Deserialize, de::DeserializeOwned},
    serde_json::{Value, json},
    std::time::Duration,
    ureq::{Agent, http::StatusCode},
};

/// Largest answer read. A block is 8 MB in hex; a template holds 16,000 transactions at most, with 300 bytes beside each.
const MAX_ANSWER_LEN: u64 = 32 << 20;
/// A node that takes longer to accept a connection is as good as gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bitcoin Core: the node is starting.
const CODE_IN_WARMUP: i64 = -28;

pub(super) struct Client {
    agent: Agent,
    url: String,
    credentials: Credentials,
}

/// Why a call has no result.
pub(super) enum Failure {
    /// The time given to it is up. To a long poll that is no failure.
    TimedOut(Duration),
    Node(NodeError),
}

#[derive(Deserialize)]
struct Answer<T> {
    result: Option<T>,
    error: Option<RpcError>,
}

#[derive(Deserialize)]
struct RpcError {
    code: i64,
    message: String,
}

impl Client {
    pub(super) fn new(config: &RpcConfig) -> Result<Self, NodeError> {
        let rest = config.url.strip_prefix("http://").ok_or_else(|| {
            NodeError::Config("`url` must begin with http://; for a node far away use a tunnel".into())
        })?;
        if rest.contains('@') {
            // Not repeated in the text: it holds a password.
            return Err(NodeError::Config(
                "`url` must not hold credentials; use `user` and `password`".into(),
            ));
        }
        if rest.is_empty() || config.url.parse::<ureq::http::Uri>().is_err() {
            return Err(NodeError::Config(format!(
                "`url` {} is none; use http://127.0.0.1:8332",
                config.url
            )));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // The environment's proxy is for the web, not for a node next door.
            .proxy(None)
            // bitcoind closes idle connections after 30 s; a found block must not be what finds out.
            .max_idle_connections(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .build()
            .new_agent();
        Ok(Self { agent, url: config.url.clone(), credentials: Credentials::new(config.auth.clone()) })
    }

    /// A call whose result is not null.
    pub(super) fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &Value,
        timeout: Duration,
    ) -> Result<T, NodeError> {
        self.call_nullable(method, params, timeout)?
            .ok_or_else(|| NodeError::Malformed { method, what: "result is null".into() })
    }

    /// A call whose result may be null.
    pub(super) fn call_nullable<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &Value,
        timeout: Duration,
    ) -> Result<Option<T>, NodeError> {
        self.try_call(method, params, timeout).map_err(|failure| match failure {
            Failure::Node(error) => error,
            Failure::TimedOut(time) => self.unreachable(format!("no answer within {} s", time.as_secs())),
        })
    }

    /// A call that tells a time-out from other failures.
    pub(super) fn try_call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &Value,
        timeout: Duration,
    ) -> Result<Option<T>, Failure> {
        let request = json!({ "jsonrpc": "1.0", "id": "assay", "method": method, "params": params });
        let request = request.to_string();
        let header = self.credentials.header(&self.url).map_err(Failure::Node)?;
        let (status, body) = match self.post(method, &request, &header, timeout)? {
            (StatusCode::UNAUTHORIZED, _) if self.credentials.refused(&header) => {
                let header = self.credentials.header(&self.url).map_err(Failure::Node)?;
                self.post(method, &request, &header, timeout)?
            }
            answer => answer,
        };
        self.read_answer(method, status, &body).map_err(Failure::Node)
    }

    fn post(
        &self,
        method: &'static str,
        request: &str,
        authorization: &str,
        timeout: Duration,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let failed = |error| self.transport_failure(method, error, timeout);
        let mut response = self
            .agent
            .post(&self.url)
            .config()
            .timeout_global(Some(timeout))
            .build()
            .header("Authorization", authorization)
            .header("Content-Type", "application/json")
            .send(request)
            .map_err(failed)?;
        let body = response.body_mut().with_config().limit(MAX_ANSWER_LEN).read_to_vec().map_err(failed)?;
        Ok((response.status(), body))
    }

    fn transport_failure(&self, method: &'static str, error: ureq::Error, timeout: Duration) -> Failure {
        match error {
            ureq::Error::Timeout(ureq::Timeout::Global) => Failure::TimedOut(timeout),
            ureq::Error::Protocol(what) => {
                Failure::Node(NodeError::Malformed { method, what: format!("no HTTP: {what}") })
            }
            ureq::Error::BodyExceedsLimit(limit) => {
                Failure::Node(NodeError::Malformed { method, what: format!("longer than {limit} bytes") })
            }
            other => Failure::Node(self.unreachable(other.to_string())),
        }
    }

    fn read_answer<T: DeserializeOwned>(
        &self,
        method: &'static str,
        status: StatusCode,
        body: &[u8],
    ) -> Result<Option<T>, NodeError> {
        let url = || self.url.clone();
        match status {
            StatusCode::UNAUTHORIZED => {
                return Err(NodeError::Unauthorised { url: url(), remedy: self.credentials.remedy() });
            }
            StatusCode::FORBIDDEN => {
                let remedy =
                    "it forbids this machine or call; add them to its `rpcallowip` or `rpcwhitelist`";
                return Err(NodeError::Unauthorised { url: url(), remedy: remedy.into() });
            }
            StatusCode::SERVICE_UNAVAILABLE => return Err(NodeError::Busy { what: first_words(body) }),
            _ => {}
        }
        let answer: Answer<T> = serde_json::from_slice(body).map_err(|error| NodeError::Malformed {
            method,
            what: if status.is_success() { error.to_string() } else { format!("HTTP status {status}") },
        })?;
        match answer.error {
            Some(RpcError { code: CODE_IN_WARMUP, message }) => Err(NodeError::WarmingUp { what: message }),
            Some(RpcError { code, message }) => Err(NodeError::Rpc { method, code, message }),
            None if status.is_success() => Ok(answer.result),
            None => Err(NodeError::Malformed { method, what: format!("HTTP status {status}") }),
        }
    }

    fn unreachable(&self, reason: String) -> NodeError {
        NodeError::Unreachable { url: self.url.clone(), reason }
    }
}

/// What of a plain text answer fits into a line.
fn first_words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(80)]);
    text.lines().next().unwrap_or_default().trim().to_owned()
}
