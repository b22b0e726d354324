//! The wallet's handle: opening, its script, its sums, and what is asked of it.

use {
    crate::{
        Keys, OnchainError, Payout, PayoutId, PayoutStatus, Reserves, SeedPhrase, StoreError,
        coins::Coins,
        keys::{Descriptors, Keyring},
        payouts::{self, Pending},
        store::{self, Store},
    },
    bdk_wallet::{
        ChangeSet, KeychainKind, Update, Wallet as Bdk,
        chain::{
            BlockId,
            local_chain::{self, CheckPoint},
        },
    },
    bitcoin::{Address, Amount, Network, Script, ScriptBuf},
    node::{Chain, Node, Tip},
    rusqlite::Transaction,
    std::{
        collections::HashSet,
        fs,
        path::Path,
        sync::{Arc, Mutex, MutexGuard, PoisonError},
    },
};

/// Blocks from a coinbase to the first that may spend it, everywhere but on a devchain.
const MATURITY: u32 = 100;
/// Last blocks that are kept though they say nothing: more than ever leave the chain by themselves. BDK walks through all
/// that are kept for each of its transactions.
const KEPT_BLOCKS: u32 = 250;
/// Blocks after which the others are dropped.
const TIDY_EVERY: u32 = 144;

/// What a wallet has to be told.
#[derive(Clone, Copy, Debug)]
pub struct OnchainConfig {
    /// A block below the first that can pay the wallet. Matters when the wallet is made; afterwards it goes on from the
    /// last block it has stored.
    pub birthday: Tip,
    /// Blocks from a coinbase to the first that may spend it: 100, unless a devchain has another rule.
    pub maturity: u32,
}

/// What [`OnchainWallet::open`] gives.
pub struct Opened {
    /// The wallet.
    pub wallet: OnchainWallet,
    /// A seed phrase that was made just now: to be shown to the operator once, who writes it down.
    pub new_phrase: Option<SeedPhrase>,
}

/// The mint's on-chain wallet. Clones are handles to the same one.
#[derive(Clone)]
pub struct OnchainWallet(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub node: Arc<dyn Node>,
    pub phrase: Option<SeedPhrase>,
    pub network: Network,
    pub maturity: u32,
    descriptors: Descriptors,
    payout_script: ScriptBuf,
    books: Mutex<Books>,
}

/// The file, and in memory what it says.
pub(crate) struct Books {
    pub store: Store,
    pub bdk: Bdk,
    /// The transactions that no block holds, parents before their children.
    pub pending: Vec<Pending>,
    /// As they are since the last change, once somebody has asked.
    coins: Option<Coins>,
    /// The tip when everything was read from the file.
    read_at: u32,
    /// What is in memory may differ from what is in the file.
    stale: bool,
}

impl OnchainWallet {
    /// Opens the wallet in `directory`, for this process alone, or makes one there.
    ///
    /// # Errors
    /// When another process has it, when its file or its phrase is gone or not what was left there, or when it was made with
    /// other keys.
    pub fn open(
        directory: &Path,
        node: Arc<dyn Node>,
        keys: Keys,
        config: OnchainConfig,
    ) -> Result<Opened, OnchainError> {
        let OnchainConfig { birthday, maturity } = config;
        let chain = node.chain();
        if maturity == 0 || (maturity < MATURITY && chain != Chain::Devchain) {
            let text =
                format!("a maturity of {maturity} blocks is too short on {chain}: coinbases need {MATURITY}");
            return Err(OnchainError::Config(text));
        }
        fs::create_dir_all(directory)
            .map_err(|source| StoreError::Open { path: directory.into(), source })?;
        let mut store = Store::open(&directory.join(store::FILE))?;
        let network = chain.network();
        let Keyring { phrase, is_new, descriptors } =
            Keyring::open(keys, directory, network.into(), store.is_created())?;
        if !store.is_created() {
            create(&mut store, &*node, &descriptors, birthday)?;
        }
        let (bdk, pending) = load(&mut store, network, &descriptors)?;
        let payout_script = bdk.peek_address(KeychainKind::External, 0).script_pubkey();
        let new_phrase = phrase.clone().filter(|_| is_new);
        let read_at = bdk.latest_checkpoint().height();
        let books = Mutex::new(Books { store, bdk, pending, coins: None, read_at, stale: false });
        let shared = Shared { node, phrase, network, maturity, descriptors, payout_script, books };
        Ok(Opened { wallet: OnchainWallet(Arc::new(shared)), new_phrase })
    }

    /// Where the pool's coinbases go: one script for the wallet's whole life.
    pub fn payout_script(&self) -> &Script {
        &self.0.payout_script
    }

    /// Whether the wallet cannot pay.
    pub fn is_watch_only(&self) -> bool {
        self.0.phrase.is_none()
    }

    /// The last block that the wallet has followed.
    ///
    /// # Errors
    /// When the file cannot be read after it failed.
    pub fn followed(&self) -> Result<Tip, OnchainError> {
        Ok(self.books()?.tip())
    }

    /// What the wallet holds after that block.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn reserves(&self) -> Result<Reserves, OnchainError> {
        let mut books = self.books()?;
        let failed = StoreError::sqlite("adding up payouts");
        let requested = payouts::wanted_sum(books.store.db()).map_err(&failed)?;
        let under_way = payouts::signed_sum(books.store.db()).map_err(&failed)?;
        let as_of = books.tip();
        Ok(Reserves::new(as_of, books.coins(self.0.maturity), requested, under_way))
    }

    /// Notes a payout of `amount` to `script`, for a fee of at most `max_fee` on top. When this returns it is noted for good,
    /// and [`OnchainWallet::build_batch`] will pay it once. The same id again gives what is noted.
    ///
    /// # Errors
    /// [`OnchainError::Conflict`] when the id names another payout; others for what cannot be paid at all.
    pub fn request(
        &self,
        id: &PayoutId,
        script: &Script,
        amount: Amount,
        max_fee: Amount,
    ) -> Result<Payout, OnchainError> {
        self.signer()?;
        self.check_output(script, amount)?;
        if max_fee > Amount::MAX_MONEY {
            return Err(OnchainError::TooMuch { amount: max_fee });
        }
        let doing = "noting a payout";
        let failed = StoreError::sqlite(doing);
        self.books()?.store.write(doing, |db| {
            if let Some(known) = payouts::find(db, id).map_err(&failed)? {
                let same = known.script.as_script() == script && known.amount == amount;
                return if same { Ok(known) } else { Err(OnchainError::Conflict { id: id.clone() }) };
            }
            let status = PayoutStatus::Requested;
            let payout = Payout { id: id.clone(), script: script.into(), amount, max_fee, status };
            payouts::insert(db, &payout).map_err(&failed)?;
            Ok(payout)
        })
    }

    /// Takes a payout back, unless a transaction pays it already: look at the status that is returned.
    ///
    /// # Errors
    /// [`OnchainError::UnknownPayout`]; others when the file cannot be written.
    pub fn withdraw(&self, id: &PayoutId) -> Result<Payout, OnchainError> {
        let doing = "taking a payout back";
        let failed = StoreError::sqlite(doing);
        self.books()?.store.write(doing, |db| {
            let unknown = || OnchainError::UnknownPayout { id: id.clone() };
            let mut payout = payouts::find(db, id).map_err(&failed)?.ok_or_else(unknown)?;
            if payout.status == PayoutStatus::Requested {
                payouts::withdraw(db, id).map_err(&failed)?;
                payout.status = PayoutStatus::Withdrawn;
            }
            Ok(payout)
        })
    }

    /// A payout and what has become of it; none that was never requested.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn payout(&self, id: &PayoutId) -> Result<Option<Payout>, OnchainError> {
        let books = self.books()?;
        Ok(payouts::find(books.store.db(), id).map_err(StoreError::sqlite("reading a payout"))?)
    }

    /// Lets payouts go on after [`OnchainError::ForeignSpend`]. Returns how many transactions were accepted.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn accept_foreign_spends(&self) -> Result<usize, OnchainError> {
        let doing = "accepting transactions";
        let mut books = self.books()?;
        books.store.write(doing, |db| Ok(payouts::accept_foreign(db).map_err(StoreError::sqlite(doing))?))
    }

    /// The phrase to sign with.
    pub(crate) fn signer(&self) -> Result<&SeedPhrase, OnchainError> {
        self.0.phrase.as_ref().ok_or(OnchainError::WatchOnly)
    }

    /// Whether nodes would relay such an output.
    pub(crate) fn check_output(&self, script: &Script, amount: Amount) -> Result<(), OnchainError> {
        Address::from_script(script, self.0.network).map_err(|_| OnchainError::NoAddress)?;
        let limit = script.minimal_non_dust();
        if amount < limit {
            return Err(OnchainError::Dust { amount, limit });
        }
        if amount > Amount::MAX_MONEY {
            return Err(OnchainError::TooMuch { amount });
        }
        Ok(())
    }

    /// The books, as they are in the file.
    pub(crate) fn books(&self) -> Result<MutexGuard<'_, Books>, OnchainError> {
        // Whoever panicked in the middle of a change has left them stale.
        let mut books = self.0.books.lock().unwrap_or_else(PoisonError::into_inner);
        if books.stale {
            books.store.reconnect()?;
            (books.bdk, books.pending) = load(&mut books.store, self.0.network, &self.0.descriptors)?;
            (books.coins, books.read_at) = (None, books.tip().height);
            books.stale = false;
        }
        Ok(books)
    }
}

impl Books {
    pub(crate) fn tip(&self) -> Tip {
        let BlockId { height, hash } = self.bdk.latest_checkpoint().block_id();
        Tip { height, hash }
    }

    /// The coins, as of the last block.
    pub(crate) fn coins(&mut self, maturity: u32) -> &Coins {
        self.coins.get_or_insert_with(|| Coins::of(&self.bdk, &self.pending, maturity))
    }

    /// Changes what BDK knows and the tables beside it, in one transaction. When it fails nothing has changed.
    pub(crate) fn change<T>(
        &mut self,
        doing: &'static str,
        change: impl FnOnce(&mut Bdk, &Transaction<'_>) -> Result<T, OnchainError>,
    ) -> Result<T, OnchainError> {
        let failed = StoreError::sqlite(doing);
        (self.stale, self.coins) = (true, None);
        let Books { store, bdk, .. } = self;
        let value = store.write(doing, |transaction| {
            let value = change(bdk, transaction)?;
            if let Some(changes) = bdk.take_staged() {
                changes.persist_to_sqlite(transaction).map_err(&failed)?;
            }
            Ok(value)
        })?;
        self.pending = payouts::pending(self.store.db()).map_err(&failed)?;
        // From time to time all is read anew, which drops the blocks that are not needed.
        self.stale = self.tip().height.saturating_sub(self.read_at) >= TIDY_EVERY;
        Ok(value)
    }

    /// Changes the file, from which everything is read again at the next call.
    pub(crate) fn rewrite(
        &mut self,
        doing: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> Result<(), OnchainError>,
    ) -> Result<(), OnchainError> {
        self.stale = true;
        self.store.write(doing, change)
    }
}

/// Lays out a new wallet that knows the chain's first block, its birthday and its first address.
fn create(
    store: &mut Store,
    node: &dyn Node,
    descriptors: &Descriptors,
    birthday: Tip,
) -> Result<(), OnchainError> {
    let Some(genesis) = node.block_hash(0)? else {
        return Err(OnchainError::Config("the node does not know the chain's first block".into()));
    };
    let mut bdk = Bdk::create(descriptors.receive.clone(), descriptors.change.clone())
        .network(node.chain().network())
        .genesis_hash(genesis)
        .create_wallet_no_persist()
        .map_err(|error| OnchainError::Config(error.to_string()))?;
    if birthday.height > 0 {
        let first = BlockId { height: 0, hash: genesis };
        let start = BlockId { height: birthday.height, hash: birthday.hash };
        let chain = CheckPoint::from_block_ids([first, start]).ok();
        bdk.apply_update(Update { chain, ..Update::default() })
            .map_err(|error| OnchainError::Config(format!("birthday {birthday}: {error}")))?;
    }
    let _ = bdk.reveal_addresses_to(KeychainKind::External, 0).count();
    let first = bdk.take_staged().expect("a new wallet has something to store");
    store.create(&first)
}

/// Reads everything from the file, and checks that its two halves agree.
fn load(
    store: &mut Store,
    network: Network,
    descriptors: &Descriptors,
) -> Result<(Bdk, Vec<Pending>), OnchainError> {
    let mut changes = store.change_set()?;
    tidy(store, &mut changes)?;
    let failed = StoreError::sqlite("reading payouts");
    for (height, block) in payouts::confirming_blocks(store.db()).map_err(&failed)? {
        if changes.local_chain.blocks.get(&height) != Some(&Some(block)) {
            let text =
                format!("a payout is confirmed by block {block}, which is not in the chain that it has");
            return Err(StoreError::Damaged(text).into());
        }
    }
    let pending = payouts::pending(store.db()).map_err(&failed)?;
    let bdk = Bdk::load()
        .descriptor(KeychainKind::External, Some(descriptors.receive.clone()))
        .descriptor(KeychainKind::Internal, Some(descriptors.change.clone()))
        .check_network(network)
        .load_wallet_no_persist(changes);
    let bdk = bdk
        .map_err(|error| OnchainError::OtherKeys { path: store.path().into(), reason: error.to_string() })?;
    let bdk = bdk.ok_or_else(|| StoreError::Damaged("it holds no wallet".into()))?;
    Ok((bdk, pending))
}

/// Drops the blocks that hold nothing of the wallet's and are too deep to leave the chain.
fn tidy(store: &mut Store, changes: &mut ChangeSet) -> Result<(), OnchainError> {
    let blocks = &mut changes.local_chain.blocks;
    let Some(deep) = blocks.keys().next_back().and_then(|tip| tip.checked_sub(KEPT_BLOCKS)) else {
        return Ok(());
    };
    let anchors = changes.tx_graph.anchors.iter();
    // BDK wants the first block of every chain.
    let needed: HashSet<u32> = anchors.map(|(anchor, _)| anchor.block_id.height).chain([0]).collect();
    let idle: Vec<u32> =
        blocks.range(..deep).map(|(height, _)| *height).filter(|height| !needed.contains(height)).collect();
    if idle.is_empty() {
        return Ok(());
    }
    let doing = "dropping blocks that are not needed";
    let gone = local_chain::ChangeSet { blocks: idle.iter().map(|height| (*height, None)).collect() };
    store.write(doing, |db| {
        Ok(ChangeSet::from(gone).persist_to_sqlite(db).map_err(StoreError::sqlite(doing))?)
    })?;
    blocks.retain(|height, _| *height >= deep || needed.contains(height));
    Ok(())
}
