//! What the miners do with their eHash: claim it, give some away, and redeem it when an epoch is mature. It runs beside the
//! mining, with wallets as everybody has them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bitcoin::secp256k1::{Keypair, SECP256K1};
use bitcoin::{Address, Network};
use crossbeam_channel::{Receiver, Sender, unbounded};
use ledger::{Epoch, EpochState, LedgerHandle};
use node::Stop;
use node::devchain::Devchain;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use wallet::{EhashWallet, Holding, KeyOf, MintAddress, Places, RedeemTo};
use work::{Ehash, PayoutKey};

use crate::amount;

/// How often the story looks whether it can go on.
const LOOK: Duration = Duration::from_millis(300);
/// How long the books may take to agree after the last share: the on-chain wallet follows the chain by itself.
const AGREE_WITHIN: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub claimed: Ehash,
    pub redeemed: Ehash,
    pub sats_ecash: u64,
    pub sats_onchain: u64,
    /// What the mint owns is what it owes, to the last millisatoshi.
    pub books_balanced: bool,
    /// All of the story was told.
    pub complete: bool,
    /// What went wrong.
    pub fault: Option<String>,
}

/// The miners' wallets, before there is a mint.
pub struct Wallets {
    runtime: Runtime,
    pub ada: PayoutKey,
    pub grace: PayoutKey,
    places: [std::path::PathBuf; 2],
}

impl Wallets {
    /// Makes two wallets below `dir`, with a key for each miner.
    pub fn make(dir: &Path) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let places = ["ada", "grace"].map(|name| dir.join(name));
        let key = |place: &Path| -> Result<PayoutKey> {
            let phrase = runtime.block_on(EhashWallet::init(place, &Places::default()))?;
            Ok(phrase.payout_key(KeyOf::Device)?)
        };
        let (ada, grace) = (key(&places[0])?, key(&places[1])?);
        Ok(Self { runtime, ada, grace, places })
    }
}

/// The story, on a thread of its own.
pub struct Story {
    pub news: Receiver<String>,
    outcome: Arc<Mutex<Outcome>>,
    stop: Stop,
    thread: JoinHandle<Teller>,
}

/// Who tells it.
struct Teller {
    wallets: Wallets,
    mint: MintAddress,
    address: SocketAddr,
    ledger: LedgerHandle,
    chain: Devchain,
    tell: Sender<String>,
    outcome: Arc<Mutex<Outcome>>,
    stop: Stop,
}

impl Story {
    /// Begins it: it goes on by itself when an epoch is mature.
    pub fn begin(wallets: Wallets, mint: SocketAddr, ledger: LedgerHandle, chain: Devchain) -> Result<Self> {
        let (tell, news) = unbounded();
        let (outcome, stop) = (Arc::default(), Stop::new());
        let teller = Teller {
            wallets,
            mint: format!("http://{mint}").parse()?,
            address: mint,
            ledger,
            chain,
            tell,
            outcome: Arc::clone(&outcome),
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new().name("story".to_owned()).spawn(move || {
            if let Err(error) = teller.redeem_an_epoch() {
                teller.note(|outcome| outcome.fault = Some(format!("{error:#}")));
            }
            teller
        })?;
        Ok(Self { news, outcome, stop, thread })
    }

    /// Whether there is nothing left to wait for.
    pub fn is_over(&self) -> bool {
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.complete || outcome.fault.is_some()
    }

    /// Ends it, when no more is mined: the rest is claimed, and the mint's books are compared.
    pub fn end(self) -> Result<Outcome> {
        self.stop.stop();
        let teller = self.thread.join().ok().context("the story's thread died")?;
        if teller.outcome().fault.is_none()
            && let Err(error) = teller.settle()
        {
            teller.note(|outcome| outcome.fault = Some(format!("{error:#}")));
        }
        Ok(teller.outcome())
    }
}

impl Teller {
    fn outcome(&self) -> Outcome {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, change: impl FnOnce(&mut Outcome)) {
        change(&mut self.outcome.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn say(&self, line: String) {
        // At the end nobody listens.
        let _ = self.tell.send(line);
    }

    fn open(&self, whose: usize) -> Result<EhashWallet> {
        let wallet = EhashWallet::open(&self.wallets.places[whose], Some(self.mint.clone()));
        Ok(self.wallets.runtime.block_on(wallet)?)
    }

    fn claim(&self, wallet: &EhashWallet) -> Result<Ehash> {
        let claimed = self.wallets.runtime.block_on(wallet.claim())?;
        if let Some(refused) = claimed.refused.first() {
            anyhow::bail!("epoch {} was not claimed: {}", refused.epoch, refused.reason);
        }
        self.note(|outcome| outcome.claimed = outcome.claimed.saturating_add(claimed.total()));
        Ok(claimed.total())
    }

    /// Waits for an epoch that both have earned in, and whose blocks are final.
    fn mature_epoch(&self) -> Result<Option<Epoch>> {
        while !self.stop.wait(LOOK) {
            let mut reader = self.ledger.reader()?;
            for info in reader.epochs(Epoch::ZERO, u32::MAX)? {
                let mature = info.state == EpochState::Redeemable && info.pot > ledger::Msats::ZERO;
                if mature
                    && !reader.credit(info.epoch, &self.wallets.ada)?.is_zero()
                    && !reader.credit(info.epoch, &self.wallets.grace)?.is_zero()
                {
                    return Ok(Some(info.epoch));
                }
            }
        }
        Ok(None)
    }

    fn redeem_an_epoch(&self) -> Result<()> {
        let Some(epoch) = self.mature_epoch()? else { return Ok(()) };
        let runtime = &self.wallets.runtime;
        let (ada, grace) = (self.open(0)?, self.open(1)?);
        for (name, wallet) in [("Ada", &ada), ("Grace", &grace)] {
            self.say(format!("{name}: claimed {} eHash", amount::ehash(self.claim(wallet)?)));
        }
        let credit = self.ledger.reader()?.credit(epoch, &self.wallets.ada)?;
        let of = Holding::Epoch(epoch);
        let sent = runtime.block_on(ada.send(of, (credit.get() / 2).max(1)))?;
        runtime.block_on(grace.receive(&sent.token))?;
        self.say(format!(
            "Ada: gave {} eHash of epoch {epoch} to Grace, as a token",
            amount::ehash(Ehash::new(sent.amount))
        ));
        let redeemed = runtime.block_on(ada.redeem(of, &RedeemTo::Ecash, None))?;
        self.say(format!(
            "Ada: redeemed epoch {epoch} for {} sat of ecash",
            amount::grouped(redeemed.sats.into())
        ));
        self.note(|outcome| {
            outcome.redeemed = outcome.redeemed.saturating_add(Ehash::new(redeemed.spent));
            outcome.sats_ecash = redeemed.sats;
        });

        let key = Keypair::new(SECP256K1, &mut rand::rngs::OsRng).x_only_public_key().0;
        let address = Address::p2tr(SECP256K1, key, None, Network::Regtest);
        let to = RedeemTo::Address(address.to_string());
        let redeemed = runtime.block_on(grace.redeem(of, &to, None))?;
        let sats = amount::grouped(redeemed.sats.into());
        self.say(format!("Grace: redeemed epoch {epoch} for {sats} sat, to {address}"));
        self.note(|outcome| outcome.redeemed = outcome.redeemed.saturating_add(Ehash::new(redeemed.spent)));
        while !self.stop.wait(LOOK) {
            let coins = self.chain.coins(&address.script_pubkey());
            if let Some(coin) = coins.first() {
                let sats = coin.output.value.to_sat();
                ensure!(sats == redeemed.sats, "{sats} sat arrived, and {} were promised", redeemed.sats);
                self.say(format!("chain: block {} pays Grace", coin.height));
                self.note(|outcome| (outcome.sats_onchain, outcome.complete) = (sats, true));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Claims the rest, and waits until the mint's books agree.
    fn settle(&self) -> Result<()> {
        for whose in [0, 1] {
            self.claim(&self.open(whose)?)?;
        }
        let url = format!("http://{}/v1/ehash/reserves", self.address);
        let deadline = Instant::now() + AGREE_WITHIN;
        loop {
            let page = wallet::page(&url);
            let page: Value = self.wallets.runtime.block_on(page)?;
            let (owned, owed) = (page["reserves_msat"].as_u64(), page["liabilities_msat"].as_u64());
            if owned.is_some() && owned == owed {
                self.note(|outcome| outcome.books_balanced = true);
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the mint owns {owned:?} msat and owes {owed:?}");
            std::thread::sleep(LOOK);
        }
    }
}
