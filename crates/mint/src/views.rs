//! A mint address for each epoch.
//!
//! Wallets fetch every keyset that a mint lists, twenty requests a minute: behind one address with three hundred epochs, the
//! first claim would take a quarter of an hour. So `/e/<n>/` shows epoch `n` alone, and the root the newest few. Behind all
//! of them is the same mint.

use crate::{EpochUnit, opening::Epochs, processor::METHOD, refusal::RefusalAnswer};
use axum::{
    Json, Router,
    extract::{Request, State},
    http::{Uri, header, uri::PathAndQuery},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, Limited};
use ledger::Epoch;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

/// Epochs that the root shows.
pub const AT_ROOT: u32 = 12;
/// Longest list that is filtered: ten thousand keysets.
const MOST_BYTES: usize = 32 << 20;

/// What stands behind the addresses.
#[derive(Clone)]
pub(crate) struct Views {
    pub mint: Router,
    pub epochs: Arc<Epochs>,
}

/// Which epochs an address shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    first: Epoch,
    last: Epoch,
}

impl Shown {
    fn unit(&self, unit: &str) -> bool {
        unit.parse::<EpochUnit>().is_ok_and(|unit| (self.first..=self.last).contains(&unit.0))
    }

    /// Their units, the newest first.
    pub(crate) fn units(&self) -> impl Iterator<Item = EpochUnit> {
        (self.first.get()..=self.last.get()).rev().map(|number| EpochUnit(Epoch(number)))
    }
}

/// Serves a request at the root, or below `/e/<n>`.
pub(crate) async fn serve(State(views): State<Views>, mut request: Request) -> Response {
    let mut place = place_of(request.uri().path(), &views.epochs);
    if place.is_err() {
        // Perhaps the pool has just opened it.
        if let Err(error) = views.epochs.catch_up().await {
            tracing::warn!(%error, "epochs cannot be opened");
        }
        place = place_of(request.uri().path(), &views.epochs);
    }
    let (shown, path) = match place {
        Ok(place) => place,
        Err(refusal) => return refusal.into_response(),
    };
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let Ok(path_and_query) = format!("{path}{query}").parse::<PathAndQuery>() else {
        return RefusalAnswer::not_found("this is no address of the mint").into_response();
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(path_and_query);
    if let Some(shown) = shown {
        request.extensions_mut().insert(shown);
    }
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    let response = match views.mint.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    match (path.as_str(), shown) {
        ("/v1/keysets" | "/v1/keys" | "/v1/info", shown) => filtered(response, &path, shown).await,
        _ => response,
    }
}

/// What an address shows, and the mint's own path behind it.
fn place_of(path: &str, epochs: &Epochs) -> Result<(Option<Shown>, String), RefusalAnswer> {
    let newest = epochs.newest();
    let Some(rest) = path.strip_prefix("/e/") else {
        let root = newest.map(|last| Shown { first: Epoch((last.get() + 1).saturating_sub(AT_ROOT)), last });
        return Ok((root, path.to_owned()));
    };
    let (number, path) = rest.split_once('/').unwrap_or((rest, ""));
    let unit = format!("ehash-{number}").parse::<EpochUnit>().ok().filter(|unit| epochs.is_open(*unit));
    let Some(EpochUnit(epoch)) = unit else {
        let newest =
            newest.map_or_else(|| "none is open yet".into(), |newest| format!("the newest is {newest}"));
        return Err(RefusalAnswer::not_found(format!("there is no epoch `{number}` at this mint: {newest}")));
    };
    Ok((Some(Shown { first: epoch, last: epoch }), format!("/{path}")))
}

/// The same answer with what the address shows.
async fn filtered(response: Response, path: &str, shown: Option<Shown>) -> Response {
    if !response.status().is_success() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let read = Limited::new(body, MOST_BYTES).collect().await;
    let value = read.ok().and_then(|read| serde_json::from_slice::<Value>(&read.to_bytes()).ok());
    let Some(mut value) = value else {
        return RefusalAnswer::in_words("the mint's list of keysets is too long").into_response();
    };
    filter(&mut value, path, shown);
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_TYPE);
    let mut response = Json(value).into_response();
    response.headers_mut().extend(parts.headers);
    response
}

fn filter(value: &mut Value, path: &str, shown: Option<Shown>) {
    let shows = |entry: &Value| {
        let unit = entry["unit"].as_str();
        unit.is_some_and(|unit| shown.is_some_and(|shown| shown.unit(unit)))
    };
    if path != "/v1/info" {
        if let Some(keysets) = value["keysets"].as_array_mut() {
            keysets.retain(shows);
        }
        return;
    }
    // The stored list holds no epoch: it is read at every quote, and would grow with the years.
    let claimable = shown
        .iter()
        .flat_map(Shown::units)
        .map(|unit| json!({ "method": METHOD, "unit": unit.to_string(), "min_amount": 1 }));
    value["nuts"]["4"]["methods"] = claimable.collect();
    if let Some(methods) = value["nuts"]["5"]["methods"].as_array_mut() {
        methods.retain(shows);
    }
}

/// The mint's addresses as one service.
pub(crate) fn router(views: Views) -> Router {
    Router::new().fallback(serve).with_state::<()>(views)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(value: &Value) -> Vec<&str> {
        let entries = value.as_array().unwrap();
        entries.iter().map(|entry| entry["unit"].as_str().unwrap()).collect()
    }

    #[test]
    fn an_address_shows_its_epochs_alone() {
        let keysets =
            json!({ "keysets": [{ "unit": "ehash-1" }, { "unit": "ehash-12" }, { "unit": "sat" }, {}] });
        let info = json!({ "nuts": {
            "4": { "methods": [], "disabled": false },
            "5": { "methods": [{ "unit": "ehash-1" }, { "unit": "ehash-2" }], "disabled": false }
        } });
        let shown = |first, last| Some(Shown { first: Epoch(first), last: Epoch(last) });
        let case = |shown, expected: &[&str], redeemable: &[&str], claimable: &[&str]| {
            let mut value = keysets.clone();
            filter(&mut value, "/v1/keysets", shown);
            assert_eq!(listed(&value["keysets"]), expected);
            let mut value = info.clone();
            filter(&mut value, "/v1/info", shown);
            assert_eq!(listed(&value["nuts"]["5"]["methods"]), redeemable);
            assert_eq!(listed(&value["nuts"]["4"]["methods"]), claimable);
        };
        case(None, &[], &[], &[]);
        case(shown(1, 1), &["ehash-1"], &["ehash-1"], &["ehash-1"]);
        case(shown(1, 2), &["ehash-1"], &["ehash-1", "ehash-2"], &["ehash-2", "ehash-1"]);
        case(shown(12, 12), &["ehash-12"], &[], &["ehash-12"]);
    }
}
