//! The mint as it is served: on threads of its own, reading the ledger beside its writer, in the pool's process or another.
//! Whatever becomes of it, mining goes on.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail, ensure};
use hex::{DisplayHex, FromHex};
use mint::redemption::RedemptionBook;
use mint::{Database, EhashMint, LedgerBooks, MintConfig, MintSeed, Postgres, RedemptionConfig};
use onchain::OnchainWallet;
use rand::RngCore;
use rand::rngs::OsRng;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::config::{MintSection, RedemptionPlan};
use crate::keys;
use crate::rewards::Rewards;

/// Names in the data directory.
const SEED_FILE: &str = "mint.seed";
const DATABASE_FILE: &str = "mint.db";
const SAT_DATABASE_FILE: &str = "sat.db";
const BOOK_FILE: &str = "redemptions.db";
/// Left behind by the first start of the mint, and of redemptions: from then on their databases are missed when they are gone.
const RAN_FILE: &str = "mint.ran";
const REDEEMED_FILE: &str = "redemptions.ran";
/// Held by whoever runs the mint of a data directory, or changes what it relies on.
const LOCK_FILE: &str = "mint.lock";
/// Names in a PostgreSQL database.
const SCHEMA: &str = "assay_mint";
const SAT_SCHEMA: &str = "assay_sat";

/// How far the mint's threads stand back behind those that serve miners, as `nice` counts.
const BEHIND_MINING: i32 = 10;

/// Whose process the mint runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The pool's: then miners come first.
    Pool,
    /// Its own.
    Itself,
}

/// What the mint redeems from, and how.
pub struct Redemption {
    wallet: OnchainWallet,
    plan: RedemptionPlan,
}

impl Redemption {
    /// From the wallet that the rewards go to.
    pub fn new(rewards: &Rewards, plan: &RedemptionPlan) -> Self {
        Self { wallet: rewards.wallet().clone(), plan: plan.clone() }
    }
}

/// A running mint; dropped, it stops.
pub struct MintServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _lock: File,
}

impl MintServer {
    /// Opens the mint beside the ledger at `ledger`, which must exist, and serves it.
    pub fn start(
        host: Host,
        section: &MintSection,
        data_dir: &Path,
        ledger: &Path,
        redemption: Option<Redemption>,
    ) -> Result<Self> {
        let lock = lock(data_dir)?;
        let (ran, redeemed) = (data_dir.join(RAN_FILE), data_dir.join(REDEEMED_FILE));
        let seed = seed(data_dir, ran.exists())?;
        let books = Arc::new(LedgerBooks::open(ledger)?);
        let config = MintConfig {
            database: database(section, data_dir, DATABASE_FILE, SCHEMA),
            has_run: ran.exists(),
            name: section.name.clone(),
            description: section.description.clone(),
        };
        let redeems = redemption.is_some();
        let redemption = redemption.map(|Redemption { wallet, plan }| RedemptionConfig {
            wallet,
            network: plan.network,
            book: data_dir.join(BOOK_FILE),
            sat_database: database(section, data_dir, SAT_DATABASE_FILE, SAT_SCHEMA),
            has_run: redeemed.exists(),
            fallback_fee_rate: plan.fallback_fee_rate,
            gather: plan.gather,
            steps: None,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("mint")
            .on_thread_start(move || {
                if host == Host::Pool {
                    // Where it may not be, they share the processor as equals.
                    let _ = rustix::process::nice(BEHIND_MINING);
                }
            })
            .enable_all()
            .build()
            .context("the mint's threads cannot be started")?;
        let listen = section.listen;
        let entered = runtime.enter();
        let listener = mint::listen(listen)
            .with_context(|| format!("mint.listen {listen} cannot be served; is the port in use?"))?;
        drop(entered);
        let address = listener.local_addr()?;
        let mint = runtime.block_on(EhashMint::open(&config, &seed, books, redemption))?;
        remember(&ran)?;
        if redeems {
            remember(&redeemed)?;
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("mint-main".to_owned()).spawn(move || {
            runtime.block_on(serve(&mint, listener, stopped));
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread), _lock: lock })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Whether it is still served.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for MintServer {
    fn drop(&mut self) {
        // The thread may have ended by itself.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn serve(mint: &EhashMint, listener: TcpListener, stopped: oneshot::Receiver<()>) {
    tokio::select! {
        result = axum::serve(listener, mint.router()) => {
            if let Err(error) = result {
                tracing::error!(%error, "the mint is not served any more; mining goes on");
            }
        }
        () = mint.follow() => {}
        // Requests under way are ended by their database transactions, wholly or not at all.
        _ = stopped => {}
    }
    if let Err(error) = mint.stop().await {
        tracing::warn!(%error, "the mint did not stop in good order");
    }
}

/// Takes the place of the mint of a data directory. Two at a time would open every epoch twice.
pub fn lock(data_dir: &Path) -> Result<File> {
    let path = data_dir.join(LOCK_FILE);
    let file = File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("the mint of {} runs already; stop it first", data_dir.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", path.display()))
        }
    }
}

/// The book of redemptions, if anything was ever redeemed here.
pub fn redemptions(data_dir: &Path) -> Result<Option<RedemptionBook>> {
    let path = data_dir.join(BOOK_FILE);
    if path.exists() {
        return Ok(Some(RedemptionBook::open(&path)?));
    }
    ensure!(
        !data_dir.join(REDEEMED_FILE).exists(),
        "{} is missing, although eHash was redeemed here: restore it from a backup",
        path.display()
    );
    Ok(None)
}

/// Where a mint keeps its tokens.
fn database(section: &MintSection, data_dir: &Path, file: &str, schema: &'static str) -> Database {
    match &section.postgres {
        None => Database::File(data_dir.join(file)),
        Some(access) => Database::Postgres(Postgres { access: access.0.clone(), schema }),
    }
}

/// Notes that something has run.
fn remember(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    File::create(path)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("{} cannot be written", path.display()))
}

/// The mint's secret, made at its first start. A mint that has run does not get another one: no token that it has issued
/// could be redeemed.
fn seed(data_dir: &Path, has_run: bool) -> Result<MintSeed> {
    let path = data_dir.join(SEED_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let bytes = <[u8; 32]>::from_hex(text.trim()).ok();
            let bytes = bytes
                .with_context(|| format!("{} holds no seed; restore it from a backup", path.display()))?;
            Ok(MintSeed::from_bytes(bytes))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            ensure!(
                !has_run,
                "{} is missing, although the mint has run here: restore it from a backup; without it, no eHash that was \
                 claimed can be redeemed",
                path.display()
            );
            let mut bytes = [0; 32];
            OsRng.fill_bytes(&mut bytes);
            keys::store(&path, &bytes.to_lower_hex_string())
                .with_context(|| format!("{} cannot be written", path.display()))?;
            Ok(MintSeed::from_bytes(bytes))
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_made_once_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(SEED_FILE);
        seed(dir.path(), false).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        seed(dir.path(), true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        fs::write(&path, "rubbish").unwrap();
        let error = seed(dir.path(), true).unwrap_err().to_string();
        assert!(error.contains("restore it from a backup"), "{error}");
        fs::remove_file(&path).unwrap();
        let error = seed(dir.path(), true).unwrap_err().to_string();
        assert!(error.contains("although the mint has run here"), "{error}");
    }
}
