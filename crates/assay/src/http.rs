//! Pages for operators and miners: health, metrics, epochs and credits.

mod visitors;

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use engine::StatsReader;
use ledger::{Epoch, LedgerHandle, Reader, StoreError};
use node::{Node, NodeState};
use pool::PoolStats;
use prometheus::{Registry, TextEncoder};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use work::PayoutKey;

use crate::metrics;
use visitors::Visitors;

/// Most rows of one page.
const PAGE: u32 = 1000;

/// What the pages tell about.
pub struct Sources {
    pub node: Arc<dyn Node>,
    pub ledger: LedgerHandle,
    pub pool: PoolStats,
    pub connections: StatsReader,
}

/// A running HTTP server; dropped, it stops.
pub struct HttpServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Pages {
    sources: Sources,
    registry: Registry,
    /// Kept between requests: it knows what it read before.
    reader: Mutex<Option<Reader>>,
}

impl Pages {
    /// Reads the ledger on a thread that may wait for the disk.
    async fn read<T: Send + 'static>(
        self: Arc<Self>,
        read: impl FnOnce(&mut Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let answer = tokio::task::spawn_blocking(move || {
            // A reader that a panicking request left behind is replaced.
            let mut slot = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            let mut reader = match slot.take() {
                Some(reader) => reader,
                None => self.sources.ledger.reader()?,
            };
            let answer = read(&mut reader)?;
            *slot = Some(reader);
            Ok::<T, StoreError>(answer)
        });
        let answer = answer.await.map_err(|_| {
            Problem(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be answered".to_owned())
        })?;
        Ok(answer?)
    }
}

impl HttpServer {
    /// Binds `listen` (port 0 is any free port) and serves.
    pub fn start(listen: SocketAddr, sources: Sources) -> Result<Self> {
        let registry = metrics::registry(&sources)?;
        let pages = Arc::new(Pages { sources, registry, reader: Mutex::new(None) });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime
            .block_on(TcpListener::bind(listen))
            .with_context(|| format!("http.listen {listen} cannot be served; is the port in use?"))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            runtime.block_on(async {
                // Ends without waiting for open connections: pages are read-only and small.
                tokio::select! {
                    result = axum::serve(Visitors::new(listener), routes(pages)) => {
                        if let Err(error) = result {
                            tracing::error!(%error, "the HTTP server ended");
                        }
                    }
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // The thread may have ended by itself.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn routes(pages: Arc<Pages>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics_text))
        .route("/v1/ehash/epochs", get(epochs))
        .route("/v1/ehash/epochs/{epoch}", get(epoch))
        .route("/v1/ehash/credits/{key}", get(credits))
        .route("/v1/ehash/blocks", get(blocks))
        .with_state(pages)
}

/// An answer that says what was wrong with the request, or that the ledger cannot be read.
struct Problem(StatusCode, String);

impl Problem {
    fn bad_request(text: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, text.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        // Not louder: whoever may ask for pages could fill the log. The ledger tells by itself when its disk fails.
        tracing::debug!(%error, "the ledger cannot be read");
        Self(StatusCode::SERVICE_UNAVAILABLE, "the ledger cannot be read at the moment".to_owned())
    }
}

async fn health(State(pages): State<Arc<Pages>>) -> Response {
    let (healthy, body) = health_of(&pages.sources);
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

fn health_of(sources: &Sources) -> (bool, Value) {
    let node = sources.node.status();
    let ledger = sources.ledger.summary();
    let totals = sources.pool.totals();
    let healthy = matches!(node.state, NodeState::Ready)
        && ledger.disk_error.is_none()
        && sources.ledger.is_running()
        && totals.chain_error.is_none()
        && totals.clock_error.is_none();
    let body = json!({
        "status": if healthy { "ok" } else { "degraded" },
        "node": {
            "backend": node.backend,
            "chain": node.chain.to_string(),
            "state": node.state.to_string(),
        },
        "tip": node.tip.map(|tip| json!({ "height": tip.height, "hash": tip.hash.to_string() })),
        "connections": sources.connections.read().open,
        "channels": totals.channels,
        "shares_accepted": totals.shares_accepted,
        "shares_rejected": totals.shares_rejected,
        "ehash_credited": totals.ehash_credited,
        "blocks_found": totals.blocks_found,
        "blocks_accepted": totals.blocks_accepted,
        "last_block": totals.last_block,
        "working_height": totals.working_height,
        "chain_error": totals.chain_error,
        "clock_error": totals.clock_error,
        "template_time": totals.template_time,
        "ledger": ledger,
    });
    (healthy, body)
}

async fn metrics_text(State(pages): State<Arc<Pages>>) -> Result<String, Problem> {
    metrics::update(&pages.sources);
    TextEncoder::new()
        .encode_to_string(&pages.registry.gather())
        .map_err(|error| Problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// A page of a list: at most `limit` rows, by rising number beginning with `from`.
#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    from: u32,
    limit: Option<u32>,
}

/// A page of blocks: at most `limit`, the newest first, all below the height `below`.
#[derive(Deserialize)]
struct Below {
    below: Option<u32>,
    limit: Option<u32>,
}

fn page(limit: Option<u32>) -> u32 {
    limit.unwrap_or(PAGE).min(PAGE)
}

async fn epochs(State(pages): State<Arc<Pages>>, Query(range): Query<Range>) -> Result<Json<Value>, Problem> {
    let epochs = pages.read(move |reader| reader.epochs(Epoch(range.from), page(range.limit))).await?;
    Ok(Json(json!({ "epochs": epochs })))
}

async fn epoch(State(pages): State<Arc<Pages>>, Path(epoch): Path<u32>) -> Result<Json<Value>, Problem> {
    match pages.read(move |reader| reader.epoch(Epoch(epoch))).await? {
        Some(info) => Ok(Json(json!(info))),
        None => Err(Problem(StatusCode::NOT_FOUND, format!("epoch {epoch} is not open yet"))),
    }
}

/// The key's credit in all epochs, and a page of the epochs that it has credit in.
async fn credits(
    State(pages): State<Arc<Pages>>,
    Path(key): Path<String>,
    Query(range): Query<Range>,
) -> Result<Json<Value>, Problem> {
    let key = PayoutKey::from_str(&key).map_err(|error| Problem::bad_request(error.to_string()))?;
    let credits = pages.read(move |reader| reader.credits_of(&key, Epoch::ZERO, u32::MAX)).await?;
    let total: u128 = credits.iter().map(|(_, credit)| u128::from(credit.get())).sum();
    let epochs: Vec<Value> = credits
        .iter()
        .filter(|(epoch, _)| epoch.get() >= range.from)
        .take(usize::try_from(page(range.limit)).unwrap_or(usize::MAX))
        .map(|(epoch, credit)| json!({ "epoch": epoch.get(), "credit": credit.get() }))
        .collect();
    Ok(Json(json!({ "key": key.to_string(), "total": sum_json(total), "epochs": epochs })))
}

/// A sum as a number; as text where JSON's readers would lose its end, after sixteen thousand blocks.
fn sum_json(sum: u128) -> Value {
    u64::try_from(sum).map_or_else(|_| Value::from(sum.to_string()), Value::from)
}

async fn blocks(State(pages): State<Arc<Pages>>, Query(range): Query<Below>) -> Result<Json<Value>, Problem> {
    let blocks = pages.read(move |reader| reader.blocks(range.below, page(range.limit))).await?;
    Ok(Json(json!({ "blocks": blocks })))
}
