//! Why a melt is refused, in words.
//!
//! CDK tells wallets nothing of what a payment backend says ("Payment backend error"). So the terms of a melt are asked for
//! before CDK asks for them, and whoever gets none is told why, and when to come again.

use crate::{
    redemption::{Asked, NoTerms, Redeemer},
    refusal::RefusalAnswer,
};
use axum::http::StatusCode;
use cdk::{error::ErrorCode, nuts::CurrencyUnit};
use serde::Deserialize;

/// What all melt quotes' requests have.
#[derive(Deserialize)]
struct MeltQuoteRequest {
    unit: CurrencyUnit,
    request: String,
    amount: Option<u64>,
}

/// Lets a request for a melt quote pass if there are terms for it: then it gives the unit.
pub(crate) async fn melt_quote(
    redeemer: Option<&Redeemer>,
    method: &str,
    body: &[u8],
) -> Result<Option<CurrencyUnit>, RefusalAnswer> {
    let request: MeltQuoteRequest =
        serde_json::from_slice(body).map_err(|error| RefusalAnswer::in_words(error.to_string()))?;
    let redeemer = redeemer.ok_or(NoTerms::Nowhere)?;
    let asked = match (method, request.amount) {
        ("bolt11", _) => Asked::Invoice(request.request.parse().map_err(|_| NoTerms::Foreign)?),
        ("onchain", Some(amount)) => Asked::Address { address: request.request, amount },
        ("onchain", None) => {
            return Err(RefusalAnswer::in_words("`amount` is missing: how much of the unit to redeem"));
        }
        // CDK has the words for methods that there are not.
        _ => return Ok(None),
    };
    let terms = redeemer.terms(&request.unit, &asked).await?;
    redeemer.reserve(&request.unit, &terms).await?;
    Ok(Some(request.unit))
}

impl From<NoTerms> for RefusalAnswer {
    fn from(error: NoTerms) -> Self {
        let detail = error.to_string();
        match error {
            NoTerms::Unit(_) => Self::new(StatusCode::BAD_REQUEST, ErrorCode::UnsupportedUnit, detail),
            NoTerms::InvoicePaid => Self::new(StatusCode::BAD_REQUEST, ErrorCode::InvoiceAlreadyPaid, detail),
            NoTerms::Books(_) | NoTerms::Database(_) => {
                tracing::warn!(%error, "terms of a redemption cannot be told");
                Self::unavailable(detail)
            }
            _ => Self::in_words(detail),
        }
    }
}
