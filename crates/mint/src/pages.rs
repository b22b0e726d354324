//! What the mint publishes of its epochs: parameters, state, what was credited, issued and redeemed, pots, and when they can be
//! redeemed; and what stands behind it all. Under `/v1/ehash/`, as JSON; [`openapi`] describes it.

use crate::{
    Books, BooksError, EpochUnit,
    redemption::{Redeemed, RedemptionBook},
    refusal::RefusalAnswer,
};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    routing::get,
};
use cdk::{Mint, nuts::CurrencyUnit};
use ledger::{Epoch, EpochInfo, EpochState, Msats, Outlook};
use onchain::OnchainWallet;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use work::Ehash;

/// Most epochs of one page.
const PAGE: u32 = 1000;

/// What the pages read.
#[derive(Clone)]
pub(crate) struct Pages {
    pub mint: Arc<Mint>,
    pub books: Arc<dyn Books>,
    /// None when the pool's rewards go elsewhere.
    pub redemption: Option<RedemptionPages>,
}

/// What the pages read where epochs are redeemed.
#[derive(Clone)]
pub(crate) struct RedemptionPages {
    pub book: Arc<RedemptionBook>,
    pub sat: Arc<Mint>,
    pub wallet: OnchainWallet,
}

/// At most `limit` epochs, beginning with `from`.
#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    from: u32,
    limit: Option<u32>,
}

/// The pages' addresses.
pub(crate) fn router(pages: Pages) -> Router {
    Router::new()
        .route("/v1/ehash/epochs", get(epochs))
        .route("/v1/ehash/epochs/{epoch}", get(epoch))
        .route("/v1/ehash/reserves", get(reserves))
        .route("/v1/ehash/openapi.json", get(openapi))
        .with_state(pages)
}

impl Pages {
    /// Asks books and files off the threads that serve requests.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Pages) -> Result<T, RefusalAnswer> + Send + 'static,
    ) -> Result<T, RefusalAnswer> {
        let pages = self.clone();
        let answer = tokio::task::spawn_blocking(move || question(&pages)).await;
        answer.unwrap_or_else(|_| Err(RefusalAnswer::stopping()))
    }

    fn redeemed(&self, epoch: Epoch) -> Result<Option<Redeemed>, RefusalAnswer> {
        let book = self.redemption.as_ref().map(|redemption| &redemption.book);
        let redeemed = book.map(|book| book.redeemed(EpochUnit(epoch))).transpose();
        redeemed.map_err(|error| unavailable("the book of redemptions", &error))
    }

    /// What was issued of a unit and not taken back; none where there is no keyset.
    async fn outstanding(mint: &Mint, unit: &CurrencyUnit) -> Result<Option<u64>, RefusalAnswer> {
        let Some(keyset) = mint.get_active_keysets().get(unit).copied() else { return Ok(None) };
        let failed = |error| unavailable("the mint's database", &error);
        let (issued, redeemed) =
            (mint.total_issued().await.map_err(failed)?, mint.total_redeemed().await.map_err(failed)?);
        let sum = |sums: &std::collections::HashMap<_, cdk::Amount>| {
            sums.get(&keyset).map_or(0, |sum| u64::from(*sum))
        };
        Ok(sum(&issued).checked_sub(sum(&redeemed)))
    }
}

async fn epochs(
    State(pages): State<Pages>,
    Query(range): Query<Range>,
) -> Result<Json<Value>, RefusalAnswer> {
    let limit = range.limit.unwrap_or(PAGE).min(PAGE);
    let epochs = pages.ask(move |pages| Ok(pages.books.epochs(Epoch(range.from), limit)?)).await?;
    Ok(Json(json!({ "epochs": epochs })))
}

async fn epoch(State(pages): State<Pages>, Path(number): Path<u32>) -> Result<Json<Value>, RefusalAnswer> {
    let epoch = Epoch(number);
    let (outlook, redeemed) =
        pages.ask(move |pages| Ok((pages.books.outlook(epoch)?, pages.redeemed(epoch)?))).await?;
    let Some(outlook) = outlook else {
        return Err(RefusalAnswer::not_found(format!("epoch {epoch} is not open yet")));
    };
    let unit = EpochUnit(epoch);
    let outstanding = Pages::outstanding(&pages.mint, &unit.to_cashu()).await?;
    let mut page = json!(outlook);
    page["unit"] = unit.to_string().into();
    page["outstanding"] = outstanding.into();
    page["blocks_to_go"] = outlook.blocks_to_go().into();
    page["redeemed"] = redeemed.map_or(Value::Null, |redeemed| account(&outlook, &redeemed));
    Ok(Json(page))
}

/// An epoch's pot, to the last millisatoshi: what was paid out of it, what still may be, and the dust that is left of rounding.
fn account(outlook: &Outlook, redeemed: &Redeemed) -> Value {
    let EpochInfo { size, pot, swept, state, .. } = outlook.info;
    let paid = (redeemed.sats + redeemed.fees).to_sat().saturating_mul(1000);
    let under_way = redeemed.under_way_sats.to_sat().saturating_mul(1000);
    let left = size.get().saturating_sub(redeemed.spent).saturating_sub(redeemed.under_way);
    let redeemable = match state {
        EpochState::Retired => Msats::ZERO,
        _ => outlook.info.value_of(Ehash::new(left)).unwrap_or(Msats::ZERO),
    };
    let dust = pot.get().saturating_sub(paid).saturating_sub(under_way).saturating_sub(redeemable.get());
    json!({
        "ehash": redeemed.spent,
        "ehash_under_way": redeemed.under_way,
        "paid_msat": paid,
        "of_that_transaction_fees_msat": redeemed.fees.to_sat().saturating_mul(1000),
        "under_way_msat": under_way,
        "redeemable_msat": redeemable,
        "dust_msat": dust,
        "swept_msat": swept,
    })
}

/// What the mint owns, beside what it owes.
async fn reserves(State(pages): State<Pages>) -> Result<Json<Value>, RefusalAnswer> {
    let Some(redemption) = pages.redemption.clone() else {
        return Err(RefusalAnswer::not_found(
            "the pool's rewards go to an address of its operator's own, and the mint redeems nothing",
        ));
    };
    let sat_ecash = Pages::outstanding(&redemption.sat, &CurrencyUnit::Sat).await?.unwrap_or(0);
    pages
        .ask(move |pages| {
            let owned = redemption.wallet.reserves();
            let owned = owned.map_err(|error| unavailable("the on-chain wallet", &error))?;
            let totals = pages.books.totals()?;
            let redeemed = redemption.book.redeemed_epochs();
            let redeemed = redeemed.map_err(|error| unavailable("the book of redemptions", &error))?;
            let paid = (redeemed.sats + redeemed.fees).to_sat() * 1000;
            let under_way = redeemed.under_way_sats.to_sat() * 1000;
            let pots = totals.pots.get().saturating_sub(paid);
            let owed = pots + totals.carry.get() + totals.fees.get() + sat_ecash * 1000;
            Ok(Json(json!({
                "reserves": owned,
                "reserves_msat": owned.total().to_sat() * 1000,
                "liabilities": {
                    "pots_msat": pots,
                    "of_that_under_way_msat": under_way,
                    "carry_msat": totals.carry,
                    "fees_msat": totals.fees,
                    "sat_ecash_msat": sat_ecash * 1000,
                },
                "liabilities_msat": owed,
                "rewards_msat": totals.rewards,
                "redeemed_msat": paid,
            })))
        })
        .await
}

/// A description of these pages for programs.
async fn openapi() -> Json<Value> {
    Json(serde_json::from_str(include_str!("pages/openapi.json")).unwrap_or(Value::Null))
}

fn unavailable(what: &str, error: &dyn std::fmt::Display) -> RefusalAnswer {
    tracing::warn!(%error, "{what} cannot be read");
    RefusalAnswer::unavailable(format!("{what} cannot be read at present; try again later"))
}

impl From<BooksError> for RefusalAnswer {
    fn from(error: BooksError) -> Self {
        unavailable("the pool's books", &error)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_description_names_every_page() {
        let described: serde_json::Value = serde_json::from_str(include_str!("pages/openapi.json")).unwrap();
        let paths = described["paths"].as_object().unwrap();
        for line in include_str!("pages.rs").lines().filter_map(|line| line.trim().strip_prefix(".route(\""))
        {
            let path = line.split('"').next().unwrap();
            assert!(path.ends_with("openapi.json") || paths.contains_key(path), "{path}");
        }
    }
}
