//! CDK's mint, opened in the same way for eHash and for satoshi.

use crate::{Database, MintConfig, MintError, MintSeed, database};
use cdk::{
    Mint,
    cdk_payment::MintPayment,
    nuts::{MintInfo, MintVersion, Nuts},
    types::{PaymentProcessorKey, QuoteTTL},
};
use cdk_signatory::db_signatory::DbSignatory;
use std::{collections::HashMap, sync::Arc};

/// Most inputs, and outputs, of a request: a SQLite transaction with more would keep others waiting.
const MOST_TOKENS: usize = 256;

/// Whom CDK asks about payments of which unit.
pub(crate) type Backends =
    HashMap<PaymentProcessorKey, Arc<dyn MintPayment<Err = cdk::cdk_payment::Error> + Send + Sync>>;

/// Opens the mint in `database`, or creates it there, and has it say `info`. It is not started yet. Where the mint `has_run`, a
/// database that knows nothing of it is refused.
pub(crate) async fn open(
    database: &Database,
    seed: &MintSeed,
    keysets: &[u8; 32],
    has_run: bool,
    info: MintInfo,
    backends: Backends,
) -> Result<Arc<Mint>, MintError> {
    let (database, keys) = database.open().await?;
    database::claim(&database, seed, has_run).await?;
    let signatory = DbSignatory::new(keys, keysets, HashMap::new(), HashMap::new()).await?;
    let signatory = Arc::new(signatory);
    let mint = Mint::new(info.clone(), signatory, database, backends, MOST_TOKENS, MOST_TOKENS).await?;
    tell(&mint, info).await?;
    mint.set_quote_ttl(QuoteTTL::default()).await?;
    Ok(Arc::new(mint))
}

/// Has the mint say `info` of itself. CDK keeps what it was told first, except when told again, and then it forgets its own key.
pub(crate) async fn tell(mint: &Mint, info: MintInfo) -> Result<(), MintError> {
    let pubkey = mint.mint_info().await?.pubkey;
    Ok(mint.set_mint_info(MintInfo { pubkey, ..info }).await?)
}

/// What both mints say of themselves.
pub(crate) fn about(config: &MintConfig) -> MintInfo {
    let nuts = Nuts::new()
        .nut07(true)
        .nut08(true)
        .nut09(true)
        .nut10(true)
        .nut11(true)
        .nut12(true)
        .nut14(true)
        .nut20(true);
    MintInfo::new()
        .name(&config.name)
        .description(&config.description)
        .version(MintVersion::new("assay".to_owned(), env!("CARGO_PKG_VERSION").to_owned()))
        .nuts(nuts)
        .max_array_length(MOST_TOKENS as u64)
}
