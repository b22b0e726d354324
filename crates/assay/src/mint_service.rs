//! The mint in the pool's process: on threads of its own, reading the ledger beside its writer. Whatever becomes of it,
//! mining goes on.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use hex::{DisplayHex, FromHex};
use mint::{EhashMint, LedgerBooks, MintConfig, MintSeed, RedemptionConfig};
use onchain::OnchainWallet;
use rand::RngCore;
use rand::rngs::OsRng;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::config::{MintSection, RedemptionPlan};
use crate::keys;

/// Names in the data directory.
const SEED_FILE: &str = "mint.seed";
const DATABASE_FILE: &str = "mint.db";
const SAT_DATABASE_FILE: &str = "sat.db";
const BOOK_FILE: &str = "redemptions.db";

/// What the mint redeems from, and how.
pub struct Redemption {
    pub wallet: OnchainWallet,
    pub plan: RedemptionPlan,
}

/// A running mint; dropped, it stops.
pub struct MintServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MintServer {
    /// Opens the mint beside the ledger at `ledger`, which must exist, and serves it.
    pub fn start(
        section: &MintSection,
        data_dir: &Path,
        ledger: &Path,
        redemption: Option<Redemption>,
    ) -> Result<Self> {
        let database = data_dir.join(DATABASE_FILE);
        let seed = seed(data_dir, &database)?;
        let books = Arc::new(LedgerBooks::open(ledger)?);
        let config =
            MintConfig { database, name: section.name.clone(), description: section.description.clone() };
        let redemption = redemption.map(|Redemption { wallet, plan }| RedemptionConfig {
            wallet,
            network: plan.network,
            book: data_dir.join(BOOK_FILE),
            sat_database: data_dir.join(SAT_DATABASE_FILE),
            fallback_fee_rate: plan.fallback_fee_rate,
            gather: plan.gather,
            steps: None,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("mint")
            .enable_all()
            .build()
            .context("the mint's threads cannot be started")?;
        let listen = section.listen;
        let listener = runtime
            .block_on(TcpListener::bind(listen))
            .with_context(|| format!("mint.listen {listen} cannot be served; is the port in use?"))?;
        let address = listener.local_addr()?;
        let mint = runtime.block_on(EhashMint::open(&config, &seed, books, redemption))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("mint-main".to_owned()).spawn(move || {
            runtime.block_on(serve(&mint, listener, stopped));
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
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

/// The mint's secret, made at its first start. A mint that has run does not get another one: no token that it has issued
/// could be redeemed.
fn seed(data_dir: &Path, database: &Path) -> Result<MintSeed> {
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
                !database.exists(),
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
        let (path, database) = (dir.path().join(SEED_FILE), dir.path().join(DATABASE_FILE));
        seed(dir.path(), &database).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        seed(dir.path(), &database).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        fs::write(&path, "rubbish").unwrap();
        let error = seed(dir.path(), &database).unwrap_err().to_string();
        assert!(error.contains("restore it from a backup"), "{error}");
        fs::remove_file(&path).unwrap();
        fs::write(&database, "").unwrap();
        let error = seed(dir.path(), &database).unwrap_err().to_string();
        assert!(error.contains("although the mint has run here"), "{error}");
    }
}
