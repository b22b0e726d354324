//! The mint put together.

use crate::{
    Books, Database, EpochUnit, MintError, MintSeed,
    cashu::{self, Backends},
    invoice::Invoices,
    layer::{Front, MOST_QUOTES, front},
    maturity::Maturity,
    opening::Epochs,
    pages::{self, Pages, RedemptionPages},
    processor::{Backend, METHOD},
    quotes::Quotes,
    redemption::{Redeemer, RedemptionBook, RedemptionError, Steps},
    refusal::in_nut_form,
    sat,
    views::{self, Views},
};
use axum::{Router, middleware};
use bitcoin::{FeeRate, Network};
use cdk::{
    Mint,
    cdk_payment::MintPayment,
    nuts::{MintInfo, PaymentMethod, nut04, nut05, nut29},
    types::PaymentProcessorKey,
};
use ledger::Epoch;
use onchain::{OnchainError, OnchainWallet};
use std::{path::PathBuf, sync::Arc, thread, time::Duration};
use tokio::sync::Semaphore;

/// Epochs ahead of the open one whose units CDK is told of when it starts: it takes none later. At one a day more than
/// fifty years, and every start begins anew.
const UNITS_AHEAD: u32 = 20_000;
/// How often the mint looks whether the pool has opened an epoch. Whoever asks for one is not kept waiting for that.
const LOOK: Duration = Duration::from_secs(1);

/// What an operator chooses.
#[derive(Clone, Debug)]
pub struct MintConfig {
    /// Where the mint keeps its tokens.
    pub database: Database,
    /// Whether it has run before: then its database is there, or missed.
    pub has_run: bool,
    /// What wallets show.
    pub name: String,
    /// The same, in a sentence.
    pub description: String,
}

/// What redemptions take.
pub struct RedemptionConfig {
    /// Where the pool's rewards go, and redemptions are paid from.
    pub wallet: OnchainWallet,
    /// The chain's.
    pub network: Network,
    /// The file of the book of redemptions.
    pub book: PathBuf,
    /// Where the sat mint keeps its tokens.
    pub sat_database: Database,
    /// Whether there were redemptions here before: then book and database are there, or missed.
    pub has_run: bool,
    /// What transactions pay where the node cannot tell.
    pub fallback_fee_rate: FeeRate,
    /// How long payouts are gathered for one transaction.
    pub gather: Duration,
    /// None but in tests.
    pub steps: Option<Steps>,
}

/// A running mint of eHash.
pub struct EhashMint {
    mint: Arc<Mint>,
    epochs: Arc<Epochs>,
    quotes: Arc<Quotes>,
    maturity: Arc<Maturity>,
    redemption: Option<Redemption>,
    router: Router,
}

/// What is there when epochs are redeemed.
struct Redemption {
    redeemer: Arc<Redeemer>,
    book: Arc<RedemptionBook>,
    sat: Arc<Mint>,
    wallet: OnchainWallet,
    gather: Duration,
}

impl EhashMint {
    /// Opens the mint's database, or creates it, and a keyset for every epoch that the pool has opened. Without a
    /// `redemption` eHash is claimed, and not redeemed.
    ///
    /// # Errors
    /// When the database or the books cannot be used.
    pub async fn open(
        config: &MintConfig,
        seed: &MintSeed,
        books: Arc<dyn Books>,
        redemption: Option<RedemptionConfig>,
    ) -> Result<Self, MintError> {
        let open = books.open_epoch()?;
        let redemption = match redemption {
            Some(redemption) => Some(Redemption::open(config, seed, &books, redemption).await?),
            None => None,
        };
        let redeemer = redemption.as_ref().map(|redemption| Arc::clone(&redemption.redeemer));
        let (keysets, backends) = (seed.keysets(), backends(open, redeemer));
        let MintConfig { database, has_run, .. } = config;
        let mint = cashu::open(database, seed, &keysets, *has_run, info(config), backends).await?;
        let epochs = Arc::new(Epochs::new(Arc::clone(&mint), Arc::clone(&books)));
        epochs.catch_up().await?;
        let maturity = Arc::new(Maturity::new(Arc::clone(&mint), Arc::clone(&books), info(config)));
        if redemption.is_some() {
            maturity.catch_up().await?;
        }
        // Only now, as it carries on with the redemptions that a crash interrupted.
        mint.start().await?;
        let cores = thread::available_parallelism().map_or(1, Into::into);
        let permits = Arc::new(Semaphore::new(database.writers(cores)));
        let quotes = Quotes::new(Arc::clone(&mint), Arc::clone(&books), seed.clone(), Arc::clone(&permits));
        let quotes = Arc::new(quotes);
        let of_redemption = redemption.as_ref().map(Redemption::pages);
        let pages = Pages { mint: Arc::clone(&mint), books, redemption: of_redemption };
        let router = router(&mint, &quotes, &epochs, &maturity, redemption.as_ref(), pages, permits).await?;
        Ok(Self { mint, epochs, quotes, maturity, redemption, router })
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

    /// What was redeemed, if epochs are redeemed here.
    pub fn redemptions(&self) -> Option<&RedemptionBook> {
        self.redemption.as_ref().map(|redemption| &*redemption.book)
    }

    /// Opens epochs as the pool does, lists those that can be redeemed, and pays what is redeemed on the chain, until dropped.
    pub async fn follow(&self) {
        tokio::join!(self.follow_epochs(), async {
            if let Some(redemption) = &self.redemption {
                redemption.pay_out().await;
            }
        });
    }

    async fn follow_epochs(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "epochs cannot be followed; trying again");
            }
        }
    }

    /// Takes in at once what the pool has done.
    ///
    /// # Errors
    /// When the books cannot be read, or the mint's database not be written.
    pub async fn look(&self) -> Result<(), MintError> {
        self.epochs.catch_up().await?;
        if self.redemption.is_some() {
            self.maturity.catch_up().await?;
        }
        Ok(())
    }

    /// Ends what CDK does in the background.
    ///
    /// # Errors
    /// As CDK has it.
    pub async fn stop(&self) -> Result<(), MintError> {
        if let Some(redemption) = &self.redemption {
            redemption.sat.stop().await?;
        }
        Ok(self.mint.stop().await?)
    }
}

impl Redemption {
    async fn open(
        config: &MintConfig,
        seed: &MintSeed,
        books: &Arc<dyn Books>,
        redemption: RedemptionConfig,
    ) -> Result<Self, MintError> {
        let RedemptionConfig {
            wallet,
            network,
            book,
            sat_database,
            has_run,
            fallback_fee_rate,
            gather,
            steps,
        } = redemption;
        if has_run && !book.exists() {
            return Err(MintError::Forgotten);
        }
        let book = Arc::new(RedemptionBook::open(&book)?);
        let redeemer = Arc::new(Redeemer::new(
            Arc::clone(books),
            Arc::clone(&book),
            wallet.clone(),
            network,
            fallback_fee_rate,
            Invoices::new(seed.clone(), network),
            steps,
        ));
        let sat = sat::open(config, &sat_database, has_run, seed, &redeemer).await?;
        redeemer.serve(Arc::clone(&sat));
        sat.start().await?;
        Ok(Self { redeemer, book, sat, wallet, gather })
    }

    fn pages(&self) -> RedemptionPages {
        let (book, sat) = (Arc::clone(&self.book), Arc::clone(&self.sat));
        RedemptionPages { book, sat, wallet: self.wallet.clone() }
    }

    /// Makes payouts when there are some, and looks again whenever something went wrong.
    async fn pay_out(&self) {
        let mut told = String::new();
        loop {
            let redeemer = Arc::clone(&self.redeemer);
            let paid = tokio::task::spawn_blocking(move || redeemer.pay_out()).await;
            match paid.unwrap_or(Err(RedemptionError::Stopped)) {
                Ok(()) => told.clear(),
                // A block has just come, which the wallet does not know yet.
                Err(RedemptionError::Onchain(OnchainError::Behind { .. })) => {}
                Err(error) if error.to_string() != told => {
                    told = error.to_string();
                    tracing::warn!(%error, "payouts wait; trying again");
                }
                Err(_) => {}
            }
            let again = tokio::time::sleep(LOOK.max(self.gather));
            tokio::select! {
                () = again => {}
                () = self.redeemer.asked() => tokio::time::sleep(self.gather).await,
            }
        }
    }
}

async fn router(
    mint: &Arc<Mint>,
    quotes: &Arc<Quotes>,
    epochs: &Arc<Epochs>,
    maturity: &Arc<Maturity>,
    redemption: Option<&Redemption>,
    pages: Pages,
    permits: Arc<Semaphore>,
) -> Result<Router, MintError> {
    let redeemer = redemption.map(|redemption| (Arc::clone(&redemption.redeemer), Arc::clone(maturity)));
    let front_state = Front::new(Arc::clone(quotes), Arc::clone(epochs), redeemer, Arc::clone(&permits));
    let redeeming = sat::METHODS.map(|method| method.to_string());
    let methods = redeeming.into_iter().chain([METHOD.to_owned()]).collect();
    let cashu = cdk_axum::create_mint_router(Arc::clone(mint), methods)
        .await
        .map_err(|error| MintError::Routes(error.to_string()))?;
    let mint = cashu.layer(middleware::from_fn_with_state(front_state, front));
    let views = views::router(Views { mint, epochs: Arc::clone(epochs) }).merge(pages::router(pages));
    let all = match redemption {
        None => views,
        Some(Redemption { sat, redeemer, .. }) => {
            views.nest("/sat", sat::router(Arc::clone(sat), Arc::clone(redeemer), permits).await?)
        }
    };
    Ok(all.layer(middleware::map_response(in_nut_form)))
}

/// One backend under the name of every epoch that there is or will soon be.
fn backends(open: Epoch, redeemer: Option<Arc<Redeemer>>) -> Backends {
    let backend: Arc<dyn MintPayment<Err = cdk::cdk_payment::Error> + Send + Sync> =
        Arc::new(Backend::of_epochs(redeemer));
    let [invoices, addresses] = sat::METHODS.map(PaymentMethod::Known);
    let methods = [PaymentMethod::Custom(METHOD.to_owned()), invoices, addresses];
    (0..=open.saturating_add(UNITS_AHEAD).get())
        .map(|number| EpochUnit(Epoch(number)).to_cashu())
        .flat_map(|unit| methods.clone().map(|method| PaymentProcessorKey::new(unit.clone(), method)))
        .map(|key| (key, Arc::clone(&backend)))
        .collect()
}

fn info(config: &MintConfig) -> MintInfo {
    let mut info = cashu::about(config);
    info.nuts.nut04 = nut04::Settings::new(Vec::new(), false);
    info.nuts.nut05 = nut05::Settings::new(Vec::new(), false);
    info.nuts.nut29 = nut29::Settings::new(Some(MOST_QUOTES as u64), Some(vec![METHOD.to_owned()]));
    info
}
