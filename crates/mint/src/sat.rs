//! The sat mint: what eHash is redeemed for when it stays ecash. Under `/sat`, for wallets that know nothing but satoshi.

use crate::{
    Database, MintConfig, MintError, MintSeed, cashu, gate, processor::Backend, redemption::Redeemer,
    refusal::RefusalAnswer,
};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::Method,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use cdk::{
    Mint,
    cdk_payment::MintPayment,
    nuts::{
        CurrencyUnit, MeltMethodSettings, MintInfo, MintMethodSettings, PaymentMethod, nut00::KnownMethod,
        nut04, nut05,
    },
    types::PaymentProcessorKey,
};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::Semaphore;

/// Amounts of tokens: powers of two up to more than there are satoshi.
const LARGEST_LOG2: u32 = 50;
/// How ecash is redeemed: by an invoice of the sat mint's own, or to an address.
pub(crate) const METHODS: [KnownMethod; 2] = [KnownMethod::Bolt11, KnownMethod::Onchain];

/// Opens the sat mint, which redemptions are then paid into.
pub(crate) async fn open(
    config: &MintConfig,
    database: &Database,
    has_run: bool,
    seed: &MintSeed,
    redeemer: &Arc<Redeemer>,
) -> Result<Arc<Mint>, MintError> {
    let backend: Arc<dyn MintPayment<Err = cdk::cdk_payment::Error> + Send + Sync> =
        Arc::new(Backend::of_sat(Arc::clone(redeemer)));
    let backends = METHODS
        .map(|method| PaymentProcessorKey::new(CurrencyUnit::Sat, PaymentMethod::Known(method)))
        .map(|key| (key, Arc::clone(&backend)));
    let keysets = seed.sat_keysets();
    let backends = HashMap::from(backends);
    let mint = cashu::open(database, seed, &keysets, has_run, info(config), backends).await?;
    // A second keyset would end the first: whoever makes one looks before.
    if !mint.get_active_keysets().contains_key(&CurrencyUnit::Sat) {
        let amounts = (0..=LARGEST_LOG2).map(|power| 1 << power).collect();
        mint.rotate_keyset(CurrencyUnit::Sat, amounts, 0, true, None).await?;
    }
    Ok(mint)
}

fn info(config: &MintConfig) -> MintInfo {
    let unit = CurrencyUnit::Sat;
    let mut info = cashu::about(config);
    info.nuts.nut04 = nut04::Settings::new(
        vec![MintMethodSettings {
            method: PaymentMethod::Known(KnownMethod::Bolt11),
            unit: unit.clone(),
            method_name: None,
            min_amount: Some(1.into()),
            max_amount: None,
            options: None,
        }],
        false,
    );
    info.nuts.nut05 = nut05::Settings::new(melts(&unit).into(), false);
    info
}

/// The ways in which a unit is redeemed, as NUT-05 lists them.
pub(crate) fn melts(unit: &CurrencyUnit) -> [MeltMethodSettings; 2] {
    METHODS.map(|method| MeltMethodSettings {
        method: PaymentMethod::Known(method),
        unit: unit.clone(),
        method_name: None,
        min_amount: None,
        max_amount: None,
        options: None,
    })
}

/// What stands in front of its routes.
#[derive(Clone)]
struct Front {
    redeemer: Arc<Redeemer>,
    permits: Arc<Semaphore>,
}

/// Its routes, with a permit for each request that changes its database.
pub(crate) async fn router(
    mint: Arc<Mint>,
    redeemer: Arc<Redeemer>,
    permits: Arc<Semaphore>,
) -> Result<Router, MintError> {
    let routes = cdk_axum::create_mint_router(mint, METHODS.map(|method| method.to_string()).into());
    let routes = routes.await.map_err(|error| MintError::Routes(error.to_string()))?;
    Ok(routes.layer(middleware::from_fn_with_state(Front { redeemer, permits }, front)))
}

async fn front(State(front): State<Front>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let method = parts.uri.path().strip_prefix("/v1/melt/quote/").map(str::to_owned);
    let body = match method {
        None => body,
        Some(method) => match checked(&front.redeemer, &method, body).await {
            Ok(body) => body,
            Err(refusal) => return refusal.into_response(),
        },
    };
    let Ok(_permit) = front.permits.acquire().await else { return RefusalAnswer::stopping().into_response() };
    next.run(Request::from_parts(parts, body)).await
}

async fn checked(redeemer: &Redeemer, method: &str, body: Body) -> Result<Body, RefusalAnswer> {
    let body = crate::layer::read(body).await?;
    gate::melt_quote(Some(redeemer), method, &body).await?;
    Ok(Body::from(body))
}
