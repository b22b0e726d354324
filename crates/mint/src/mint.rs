//! The mint put together.

use crate::{
    Books, EpochUnit, MintError, MintSeed,
    layer::{Front, front},
    opening::Epochs,
    processor::{METHOD, ShareProcessor},
    quotes::Quotes,
    views::{self, Views},
};
use axum::{Router, middleware};
use cdk::{
    Mint,
    cdk_payment::MintPayment,
    nuts::{MintInfo, MintVersion, Nuts, PaymentMethod, nut04, nut05},
    types::{PaymentProcessorKey, QuoteTTL},
};
use cdk_signatory::db_signatory::DbSignatory;
use cdk_sqlite::MintSqliteDatabase;
use ledger::Epoch;
use std::{collections::HashMap, path::PathBuf, sync::Arc, thread, time::Duration};

/// Epochs ahead of the open one whose units CDK is told of when it starts: it takes none later. At one a day more than
/// fifty years, and every start begins anew.
const UNITS_AHEAD: u32 = 20_000;
/// Most inputs, and outputs, of a request: a SQLite transaction with more would keep others waiting.
const MOST_TOKENS: usize = 256;
/// How often the mint looks whether the pool has opened an epoch. Whoever asks for one is not kept waiting for that.
const LOOK: Duration = Duration::from_secs(1);

/// What an operator chooses.
#[derive(Clone, Debug)]
pub struct MintConfig {
    /// The mint's SQLite file.
    pub database: PathBuf,
    /// What wallets show.
    pub name: String,
    /// The same, in a sentence.
    pub description: String,
}

/// A running mint of eHash.
pub struct EhashMint {
    mint: Arc<Mint>,
    epochs: Arc<Epochs>,
    quotes: Arc<Quotes>,
    router: Router,
}

impl EhashMint {
    /// Opens the mint's database, or creates it, and a keyset for every epoch that the pool has opened.
    ///
    /// # Errors
    /// When the database or the books cannot be used.
    pub async fn open(
        config: &MintConfig,
        seed: &MintSeed,
        books: Arc<dyn Books>,
    ) -> Result<Self, MintError> {
        let database = Arc::new(MintSqliteDatabase::new(config.database.clone()).await?);
        let signatory =
            DbSignatory::new(database.clone(), &seed.keysets(), HashMap::new(), HashMap::new()).await?;
        let open = books.open_epoch()?;
        let mint = Mint::new(
            info(config),
            Arc::new(signatory),
            database,
            processors(open),
            MOST_TOKENS,
            MOST_TOKENS,
        )
        .await?;
        // CDK keeps what it was told first, except when told again, and then it forgets its own key.
        let pubkey = mint.mint_info().await?.pubkey;
        mint.set_mint_info(MintInfo { pubkey, ..info(config) }).await?;
        mint.set_quote_ttl(QuoteTTL::default()).await?;
        mint.start().await?;
        let mint = Arc::new(mint);
        let epochs = Arc::new(Epochs::new(Arc::clone(&mint), Arc::clone(&books)));
        epochs.catch_up().await?;
        let quotes = Arc::new(Quotes::new(Arc::clone(&mint), books, seed.clone()));
        let router = router(&mint, &quotes, &epochs).await?;
        Ok(Self { mint, epochs, quotes, router })
    }

    /// All addresses of the mint: at the root the newest epochs, below `/e/<n>/` one.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The epochs that have keysets.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// What can be claimed.
    pub fn quotes(&self) -> &Quotes {
        &self.quotes
    }

    /// CDK's part.
    pub fn cashu(&self) -> &Mint {
        &self.mint
    }

    /// Opens epochs as the pool does, until dropped.
    pub async fn follow(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.epochs.catch_up().await {
                tracing::warn!(%error, "epochs cannot be opened; trying again");
            }
        }
    }

    /// Ends what CDK does in the background.
    ///
    /// # Errors
    /// As CDK has it.
    pub async fn stop(&self) -> Result<(), MintError> {
        Ok(self.mint.stop().await?)
    }
}

async fn router(mint: &Arc<Mint>, quotes: &Arc<Quotes>, epochs: &Arc<Epochs>) -> Result<Router, MintError> {
    let cores = thread::available_parallelism().map_or(1, Into::into);
    let front_state = Front::new(Arc::clone(quotes), Arc::clone(epochs), cores);
    let cashu = cdk_axum::create_mint_router(Arc::clone(mint), vec![METHOD.to_owned()])
        .await
        .map_err(|error| MintError::Routes(error.to_string()))?;
    let mint = cashu.layer(middleware::from_fn_with_state(front_state, front));
    Ok(views::router(Views { mint, epochs: Arc::clone(epochs) }))
}

/// One backend under the name of every epoch that there is or will soon be.
fn processors(
    open: Epoch,
) -> HashMap<PaymentProcessorKey, Arc<dyn MintPayment<Err = cdk::cdk_payment::Error> + Send + Sync>> {
    let processor = Arc::new(ShareProcessor::default());
    let method = PaymentMethod::Custom(METHOD.to_owned());
    (0..=open.saturating_add(UNITS_AHEAD).get())
        .map(|number| {
            let key = PaymentProcessorKey::new(EpochUnit(Epoch(number)).to_cashu(), method.clone());
            let processor: Arc<dyn MintPayment<Err = cdk::cdk_payment::Error> + Send + Sync> =
                processor.clone();
            (key, processor)
        })
        .collect()
}

fn info(config: &MintConfig) -> MintInfo {
    let nuts = Nuts::new()
        .nut04(nut04::Settings::new(Vec::new(), false))
        .nut05(nut05::Settings::new(Vec::new(), false))
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
