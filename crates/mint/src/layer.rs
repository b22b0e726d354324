//! What stands in front of CDK's routes.
//!
//! CDK has no hook for quotes that grow by themselves, so requests that need an up-to-date quote are stopped here, the quote
//! is brought up, and CDK goes on as if it had always been so. A request that changes the database takes a permit, one for
//! each core: more at once only wait for each other inside of SQLite, and longer.

use crate::{
    gate, lookup, maturity::Maturity, opening::Epochs, processor::METHOD, quotes::Quotes,
    redemption::Redeemer, refusal::RefusalAnswer, views::Shown,
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Method, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use cdk::{
    mint::MintQuote,
    nuts::{CurrencyUnit, MintQuoteCustomRequest, MintQuoteCustomResponse},
};
use cdk_common::QuoteId;
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Largest request: a thousand inputs with their proofs.
const MOST_BYTES: usize = 2 << 20;
/// Most quotes of a request that names several (NUT-29).
pub(crate) const MOST_QUOTES: usize = 64;
/// When a quote's state is told again after it was asked for: a wallet that asks first and subscribes then would wait for
/// news that it has missed. (NUT-17 would have it told at once; CDK tells it for its own methods only.)
const ECHOES: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_millis(1500), Duration::from_millis(6000)];
/// Echoes under way at one time.
const MOST_ECHOES: usize = 4096;

/// What the layer works with.
#[derive(Clone)]
pub(crate) struct Front {
    pub quotes: Arc<Quotes>,
    pub epochs: Arc<Epochs>,
    /// What epochs are redeemed by, and which can be. None when the pool's rewards go elsewhere.
    pub redeemer: Option<(Arc<Redeemer>, Arc<Maturity>)>,
    pub permits: Arc<Semaphore>,
    pub echoes: Arc<Semaphore>,
}

/// Requests for several quotes at once (NUT-29).
#[derive(Deserialize)]
struct Quoted {
    quotes: Vec<QuoteId>,
}

/// A claim (NUT-04).
#[derive(Deserialize)]
struct Claim {
    quote: QuoteId,
}

impl Front {
    pub(crate) fn new(
        quotes: Arc<Quotes>,
        epochs: Arc<Epochs>,
        redeemer: Option<(Arc<Redeemer>, Arc<Maturity>)>,
        permits: Arc<Semaphore>,
    ) -> Self {
        Self { quotes, epochs, redeemer, permits, echoes: Arc::new(Semaphore::new(MOST_ECHOES)) }
    }

    async fn serve(self, parts: Parts, body: Body, next: Next) -> Result<Response, RefusalAnswer> {
        let path = parts.uri.path().to_owned();
        let path: Vec<&str> = path.split('/').skip(1).collect();
        match (&parts.method, path.as_slice()) {
            (&Method::POST, ["v1", "mint", "quote", method]) if *method == METHOD => {
                self.quote(&read(body).await?).await
            }
            (&Method::POST, ["v1", "mint", "quote", method, "pubkey"]) if *method == METHOD => {
                let shown: Vec<_> =
                    parts.extensions.get().map(|shown: &Shown| shown.units().collect()).unwrap_or_default();
                let body = read(body).await?;
                lookup::quotes_of(&self.quotes, self.quotes.mint_key().await?, &shown, &body).await
            }
            (&Method::POST, ["v1", "mint", "quote", method]) => Err(RefusalAnswer::in_words(format!(
                "eHash comes of mining alone: use method `{METHOD}`, not `{method}`"
            ))),
            (&Method::GET, ["v1", "mint", "quote", method, id]) if *method == METHOD => {
                if let Ok(id) = id.parse()
                    && let Some(quote) = self.quotes.bring_up(&id).await?
                {
                    return self.tell(quote);
                }
                Ok(next.run(Request::from_parts(parts, body)).await)
            }
            (&Method::POST, ["v1", "mint", "quote", method, "check"]) if *method == METHOD => {
                let body = read(body).await?;
                match self.bring_up_all(&body).await? {
                    Some(quotes) => {
                        let answers = quotes.into_iter().map(in_json).collect::<Result<Vec<_>, _>>()?;
                        Ok(Json(answers).into_response())
                    }
                    None => Ok(next.run(Request::from_parts(parts, Body::from(body))).await),
                }
            }
            (&Method::POST, ["v1", "mint", method, "batch"]) if *method == METHOD => {
                let body = read(body).await?;
                self.bring_up_all(&body).await?;
                self.change(parts, body.into(), next).await
            }
            (&Method::POST, ["v1", "mint", method]) if *method == METHOD => {
                let body = read(body).await?;
                // What cannot be read is for CDK to refuse.
                if let Ok(claim) = serde_json::from_slice::<Claim>(&body) {
                    self.quotes.bring_up_for_claim(&claim.quote).await?;
                }
                self.change(parts, body.into(), next).await
            }
            (&Method::POST, ["v1", "melt", "quote", method]) => {
                let body = read(body).await?;
                let redeemer = self.redeemer.as_ref().map(|(redeemer, _)| &**redeemer);
                let unit = gate::melt_quote(redeemer, method, &body).await?;
                self.list(unit).await;
                self.change(parts, body.into(), next).await
            }
            (&Method::POST, _) => self.change(parts, body, next).await,
            _ => Ok(next.run(Request::from_parts(parts, body)).await),
        }
    }

    /// Has CDK do what changes its database.
    async fn change(&self, parts: Parts, body: Body, next: Next) -> Result<Response, RefusalAnswer> {
        let _permit = self.permits.acquire().await.map_err(|_| RefusalAnswer::stopping())?;
        Ok(next.run(Request::from_parts(parts, body)).await)
    }

    /// Has CDK know that a unit can be redeemed which has just become so.
    async fn list(&self, unit: Option<CurrencyUnit>) {
        let Some((unit, (_, maturity))) = unit.zip(self.redeemer.as_ref()) else { return };
        if let Err(error) = maturity.list(&unit).await {
            tracing::warn!(%error, "what can be redeemed cannot be told to wallets");
        }
    }

    /// Gets a key's quote, or creates it.
    async fn quote(&self, body: &[u8]) -> Result<Response, RefusalAnswer> {
        let request: MintQuoteCustomRequest =
            serde_json::from_slice(body).map_err(|error| RefusalAnswer::in_words(error.to_string()))?;
        // An epoch that the pool has just opened.
        if !self.epochs.is_open_unit(&request.unit)
            && let Err(error) = self.epochs.catch_up().await
        {
            tracing::warn!(%error, "epochs cannot be opened");
        }
        let quote = self.quotes.of(&request.unit, request.pubkey).await?;
        self.tell(quote)
    }

    /// Answers with a quote, and tells subscribers.
    fn tell(&self, quote: MintQuote) -> Result<Response, RefusalAnswer> {
        self.echo(quote.clone());
        Ok(Json(in_json(quote)?).into_response())
    }

    /// Brings up all quotes of a request that names several. `None` when there is something about it that CDK refuses.
    async fn bring_up_all(&self, body: &[u8]) -> Result<Option<Vec<MintQuote>>, RefusalAnswer> {
        let Ok(Quoted { quotes: ids }) = serde_json::from_slice(body) else { return Ok(None) };
        let distinct: HashSet<_> = ids.iter().collect();
        if ids.is_empty() || ids.len() > MOST_QUOTES || distinct.len() < ids.len() {
            return Ok(None);
        }
        let mut quotes = Vec::with_capacity(ids.len());
        for id in &ids {
            let Some(quote) = self.quotes.bring_up(id).await? else { return Ok(None) };
            quotes.push(quote);
        }
        Ok(Some(quotes))
    }

    /// Tells subscribers some times of what there is to claim: the last is for those on slow links.
    fn echo(&self, quote: MintQuote) {
        if quote.amount_paid() == quote.amount_issued() {
            return;
        }
        let Ok(place) = Arc::clone(&self.echoes).try_acquire_owned() else { return };
        let quotes = Arc::clone(&self.quotes);
        tokio::spawn(async move {
            let _place = place;
            let mut before = Duration::ZERO;
            for at in ECHOES {
                tokio::time::sleep(at - before).await;
                quotes.announce(&quote);
                before = at;
            }
        });
    }
}

/// As NUT-04 shows it.
fn in_json(quote: MintQuote) -> Result<MintQuoteCustomResponse<QuoteId>, RefusalAnswer> {
    let answer = MintQuoteCustomResponse::<QuoteId>::try_from(quote);
    answer.map_err(|error| RefusalAnswer::in_words(error.to_string()))
}

/// The layer: to be put around CDK's router.
pub(crate) async fn front(State(front): State<Front>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    front.serve(parts, body, next).await.unwrap_or_else(IntoResponse::into_response)
}

/// A request's body, if it is not too long.
pub(crate) async fn read(body: Body) -> Result<Bytes, RefusalAnswer> {
    let read = Limited::new(body, MOST_BYTES).collect().await;
    let read =
        read.map_err(|_| RefusalAnswer::in_words(format!("a request has at most {MOST_BYTES} bytes")))?;
    Ok(read.to_bytes())
}
