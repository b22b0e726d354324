//! Following the best chain: a step for each event, and the thread that takes the steps.

use {
    crate::{OnchainError, OnchainWallet, StoreError, payouts, wallet::Books},
    bdk_wallet::{
        ChangeSet, Wallet as Bdk,
        chain::local_chain::{self, CheckPoint},
    },
    bitcoin::{Block, BlockHash, Transaction},
    node::{ChainEvent, Node, NodeError, Polled, Stop, Tip, Watch, WatchError},
    rusqlite::Connection,
    std::{
        sync::Arc,
        thread::JoinHandle,
        time::{Duration, Instant},
    },
    thiserror::Error,
    tracing::{debug, info, warn},
};

/// Deepest reorganisation that is followed. Deeper ones touch mature coins, and need a person.
const LOOK_BACK: u32 = 200;
/// Pause after something failed, before it is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How often payouts are sent again while no block comes: nodes forget what waits for too long.
const SEND_AGAIN: Duration = Duration::from_secs(600);

impl OnchainWallet {
    /// Takes in one change of the best chain. An event that is known already changes nothing.
    ///
    /// # Errors
    /// [`OnchainError::Gap`] for an event that does not continue what the wallet knows; others when node or file fail. Then
    /// nothing has changed, and the same event may come again.
    pub fn follow(&self, event: ChainEvent) -> Result<(), OnchainError> {
        match event {
            ChainEvent::Connected { height, hash } => self.connect(Tip { height, hash }),
            ChainEvent::Disconnected { height, hash } => self.disconnect(Tip { height, hash }),
        }
    }

    fn connect(&self, event: Tip) -> Result<(), OnchainError> {
        if knows(&self.books()?.bdk, event) {
            return Ok(());
        }
        // The node is asked without holding anybody up.
        let block = self.0.node.block(&event.hash)?;
        let mut books = self.books()?;
        if knows(&books.bdk, event) {
            return Ok(());
        }
        let followed = books.tip();
        if block.header.prev_blockhash != followed.hash || event.height != followed.height + 1 {
            return Err(OnchainError::Gap { event, followed });
        }
        let pays = self.0.phrase.is_some();
        books.change("storing a block", |bdk, db| {
            bdk.apply_block(&block, event.height).map_err(|_| OnchainError::Gap { event, followed })?;
            note_transactions(bdk, db, event.height, &block, pays)
                .map_err(StoreError::sqlite("storing a block"))?;
            Ok(())
        })
    }

    fn disconnect(&self, event: Tip) -> Result<(), OnchainError> {
        let mut books = self.books()?;
        let followed = books.tip();
        if followed != event {
            let gone = event.height > 0 && !knows(&books.bdk, event);
            return if gone { Ok(()) } else { Err(OnchainError::Gap { event, followed }) };
        }
        let changes = without_tip(&books, &*self.0.node)?;
        let doing = "taking a block back";
        let failed = StoreError::sqlite(doing);
        books.rewrite(doing, |db| {
            changes.persist_to_sqlite(db).map_err(&failed)?;
            payouts::disconnect(db, &event.hash).map_err(&failed)?;
            Ok(())
        })?;
        info!(height = event.height, block = %event.hash, "block left the chain");
        Ok(())
    }
}

fn knows(bdk: &Bdk, block: Tip) -> bool {
    bdk.local_chain().get(block.height).is_some_and(|known| known.hash() == block.hash)
}

/// BDK can replace the last block, not only drop it; so the change is made in its file.
fn without_tip(books: &Books, node: &dyn Node) -> Result<ChangeSet, OnchainError> {
    let tip = books.tip();
    let below = tip.height.checked_sub(1).ok_or_else(|| {
        OnchainError::Config(format!("{tip} is the first block, and cannot leave its chain"))
    })?;
    let mut changes = local_chain::ChangeSet { blocks: [(tip.height, None)].into() };
    let parent = books.bdk.latest_checkpoint().prev();
    if parent.as_ref().is_none_or(|parent: &CheckPoint| parent.height() != below) {
        // The wallet's birthday leaves the chain.
        let info = node.block_info(&tip.hash)?.ok_or(NodeError::UnknownBlock { hash: tip.hash })?;
        changes.blocks.insert(below, Some(info.prev_hash));
    }
    Ok(ChangeSet::from(changes))
}

/// Notes which payouts a block confirms, and what else spends the wallet's coins.
fn note_transactions(
    bdk: &Bdk,
    db: &Connection,
    height: u32,
    block: &Block,
    pays: bool,
) -> rusqlite::Result<()> {
    let hash: BlockHash = block.block_hash();
    for transaction in block.txdata.iter().filter(|transaction| spends_ours(bdk, transaction)) {
        let txid = transaction.compute_txid();
        if payouts::confirm(db, &txid, height, &hash)? {
            info!(height, %txid, "payouts confirmed");
        } else if pays {
            warn!(height, %txid, "a transaction spends the wallet's coins, and is none of its payouts");
            payouts::note_foreign(db, &txid, height, block)?;
        }
    }
    Ok(())
}

fn spends_ours(bdk: &Bdk, transaction: &Transaction) -> bool {
    transaction.input.iter().any(|input| bdk.spk_index().txout(input.previous_output).is_some())
}

#[derive(Debug, Error)]
enum FollowError {
    #[error("the chain cannot be followed: {0}")]
    Watch(#[from] WatchError),
    #[error(transparent)]
    Wallet(#[from] OnchainError),
}

/// The thread that follows the chain from the wallet's last block, and sends payouts that wait for one.
pub struct Follower {
    wallet: OnchainWallet,
    stop: Stop,
}

impl Follower {
    /// For `wallet`, until `stop` is raised.
    pub fn new(wallet: OnchainWallet, stop: Stop) -> Follower {
        Follower { wallet, stop }
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(self) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("onchain".to_owned()).spawn(move || self.run())
    }

    fn run(&self) {
        let mut told = String::new();
        while !self.stop.is_stopped() {
            // The wallet knows how far it is, so a fresh start after an error repeats nothing.
            if let Err(error) = self.follow(&mut told) {
                tell(&mut told, &error.to_string());
                self.stop.wait(RETRY_PAUSE);
            }
        }
    }

    fn follow(&self, told: &mut String) -> Result<(), FollowError> {
        let node = &self.wallet.0.node;
        let start = self.wallet.followed()?;
        node.ensure_blocks_from(start.height.saturating_add(1)).map_err(OnchainError::from)?;
        let mut watch = Watch::from(Arc::clone(node), start, LOOK_BACK);
        while !self.stop.is_stopped() {
            match watch.poll()? {
                Polled::Event(event) => self.wallet.follow(event)?,
                Polled::Away(error) => return Err(OnchainError::from(error).into()),
                Polled::AtTip => {
                    told.clear();
                    self.send()?;
                    let until = Instant::now() + SEND_AGAIN;
                    let known = watch.known();
                    node.wait_tip(&known.hash, &self.stop, until).map_err(OnchainError::from)?;
                }
            }
        }
        Ok(())
    }

    fn send(&self) -> Result<(), OnchainError> {
        for sent in self.wallet.broadcast_pending()? {
            match sent.outcome {
                Ok(()) => debug!(txid = %sent.txid, "payouts sent"),
                Err(error) => warn!(%error, "payouts wait: the node does not take their transaction"),
            }
        }
        Ok(())
    }
}

/// Logs what is wrong, once.
fn tell(told: &mut String, error: &str) {
    if told != error {
        warn!(error, "the on-chain wallet cannot follow the chain; trying again");
        *told = error.to_owned();
    }
}
