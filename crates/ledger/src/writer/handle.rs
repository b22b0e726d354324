//! What everybody but the writer has in hand.

use super::{LedgerError, Running, Summary};
use crate::{
    Batch, Block, BlockHash, ChainBlock, Event, FoundBlock, Outcome, Reader, Source, State, StoreError,
};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::{fmt, path::PathBuf, time::Duration};
use work::{Ehash, Lease};

/// That an event is durable, and what it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// In the order in which it happened.
    pub outcomes: Vec<Outcome>,
    /// For how long the tick holds back the next commit: who has more to come may as well gather it meanwhile.
    pub pause: Duration,
}

impl Receipt {
    /// Whether this was a batch that had been counted before.
    pub fn repeated(&self) -> bool {
        self.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Repeated { .. }))
    }

    /// The lease that was taken.
    pub fn lease(&self) -> Option<Lease> {
        self.outcomes.iter().find_map(|outcome| match outcome {
            Outcome::LeaseTaken(lease) => Some(*lease),
            _ => None,
        })
    }
}

type Told = dyn FnOnce(Result<Receipt, LedgerError>) + Send;
pub(super) type Question = Box<dyn FnOnce(Result<&State, LedgerError>) + Send>;

/// What can wait in the queue.
pub(super) enum Request {
    Event { event: Event, done: Completion },
    Ask(Question),
    Stop,
}

impl Request {
    pub(super) fn fail(self, error: LedgerError) {
        match self {
            Request::Event { done, .. } => done.tell(Err(error)),
            Request::Ask(question) => question(Err(error)),
            Request::Stop => {}
        }
    }
}

/// Whom to tell, exactly once: a completion that is dropped, because the writer stopped, tells that.
pub(super) struct Completion(Option<Box<Told>>);

impl Completion {
    fn new(done: impl FnOnce(Result<Receipt, LedgerError>) + Send + 'static) -> Completion {
        Completion(Some(Box::new(done)))
    }

    pub(super) fn tell(mut self, result: Result<Receipt, LedgerError>) {
        if let Some(done) = self.0.take() {
            done(result);
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(LedgerError::Stopped));
        }
    }
}

/// What a request comes to if its group becomes durable.
pub(super) enum Answer {
    Tell(Completion, Result<Receipt, LedgerError>),
    Ask(Question),
}

impl Answer {
    /// The group is durable, this is the state after it, and the next can be in so long.
    pub(super) fn give(self, state: &State, pause: Duration) {
        match self {
            Answer::Tell(done, result) => done.tell(result.map(|receipt| Receipt { pause, ..receipt })),
            Answer::Ask(question) => question(Ok(state)),
        }
    }

    /// The group is not durable, so nothing that was answered from it holds.
    pub(super) fn fail(self, error: LedgerError) {
        match self {
            Answer::Tell(done, _) => done.tell(Err(error)),
            Answer::Ask(question) => question(Err(error)),
        }
    }
}

/// Hands events to the ledger's writer, from any thread.
#[derive(Clone)]
pub struct LedgerHandle {
    requests: Sender<Request>,
    running: Running,
    path: PathBuf,
    /// Makes the writer work while somebody waits for it on the only thread there is.
    #[cfg(feature = "simulation")]
    pub(super) inline: Option<std::sync::Arc<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for LedgerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerHandle").field("path", &self.path).finish_non_exhaustive()
    }
}

impl LedgerHandle {
    pub(super) fn new(requests: Sender<Request>, running: Running, path: PathBuf) -> LedgerHandle {
        LedgerHandle {
            requests,
            running,
            path,
            #[cfg(feature = "simulation")]
            inline: None,
        }
    }

    /// Whether the writer is there: [`super::Ledger::is_running`].
    pub fn is_running(&self) -> bool {
        self.running.is_running()
    }

    /// Hands over an event. `done` is called once, on the writer's thread, when the event is durable or has failed;
    /// it must be short, must not wait for the ledger, and must not panic, which would end the writer. Blocks only
    /// while [`super::Options::queue`] requests wait.
    pub fn submit(&self, event: Event, done: impl FnOnce(Result<Receipt, LedgerError>) + Send + 'static) {
        let done = Completion::new(done);
        // A request that cannot be sent is dropped, and tells so itself.
        let _ = self.requests.send(Request::Event { event, done });
    }

    /// Hands over a batch of credits: acknowledged by `done` after the fsync of the group it was in. A shard may
    /// have several on their way. After [`LedgerError::Disk`] all that were on their way fail, the later ones also
    /// with [`crate::Refusal::Gap`]: send them again, in order, with their numbers.
    pub fn commit(&self, batch: Batch, done: impl FnOnce(Result<Receipt, LedgerError>) + Send + 'static) {
        self.submit(Event::Credits(batch), done);
    }

    /// The most eHash that one batch may hold; more is refused as [`crate::Refusal::BatchTooLarge`], which says how
    /// much it may hold then: [`Batch::take_credits`] splits it. Lower only after a change to smaller epochs was scheduled.
    pub fn max_batch_credit(&self) -> Ehash {
        self.running.max_batch_credit()
    }

    /// Reports a block that the pool found. The epoch that is open when this is journalled is the block's, and decides
    /// which epochs it pays; the credit of its own share may come before or after. A block that was never reported gets
    /// the epoch that is open when the chain connects it.
    pub fn block_found(
        &self,
        found: FoundBlock,
        done: impl FnOnce(Result<Receipt, LedgerError>) + Send + 'static,
    ) {
        self.submit(Event::BlockFound(found), done);
    }

    /// Hands over an event and waits until it is durable. Not for shards, and never from a completion.
    ///
    /// # Errors
    /// When it was refused, or the disk failed, or the ledger is closed.
    pub fn apply(&self, event: Event) -> Result<Receipt, LedgerError> {
        let (sender, receiver) = bounded(1);
        // The receiver waits below, so this cannot fail.
        self.submit(event, move |result| drop(sender.send(result)));
        self.wait(&receiver)
    }

    fn wait<T>(&self, answer: &Receiver<Result<T, LedgerError>>) -> Result<T, LedgerError> {
        #[cfg(feature = "simulation")]
        if let Some(inline) = &self.inline {
            inline();
        }
        answer.recv().unwrap_or(Err(LedgerError::Stopped))
    }

    /// Reports, and waits, that a block which pays the pool joined the chain.
    ///
    /// # Errors
    /// As [`LedgerHandle::apply`].
    pub fn block_connected(&self, block: ChainBlock) -> Result<Receipt, LedgerError> {
        self.apply(Event::BlockConnected(block))
    }

    /// Reports, and waits, that a block left the chain. Blocks that are none of ours are ignored.
    ///
    /// # Errors
    /// As [`LedgerHandle::apply`].
    pub fn block_disconnected(&self, hash: BlockHash) -> Result<Receipt, LedgerError> {
        self.apply(Event::BlockDisconnected(hash))
    }

    /// Reports, and waits, the chain's height. Report blocks before the height that includes them.
    ///
    /// # Errors
    /// As [`LedgerHandle::apply`].
    pub fn tip(&self, height: u32) -> Result<Receipt, LedgerError> {
        self.apply(Event::Tip { height })
    }

    /// Takes a part of the extranonce space that nobody else ever gets, and waits until that is durable (MP-02).
    ///
    /// # Errors
    /// As [`LedgerHandle::apply`].
    pub fn lease(&self) -> Result<Lease, LedgerError> {
        let receipt = self.apply(Event::LeaseTaken)?;
        Ok(receipt.lease().expect("taking a lease tells which"))
    }

    /// The number of a source's last batch that is durable; 0 before its first. A shard goes on with the next.
    ///
    /// # Errors
    /// When the disk failed, or the ledger is closed.
    pub fn last_sequence(&self, source: Source) -> Result<u64, LedgerError> {
        self.ask(move |state| state.last_sequence(source))
    }

    /// Blocks that the chain has not decided about, by height: what to compare with the node after a restart.
    ///
    /// # Errors
    /// When the disk failed, or the ledger is closed.
    pub fn unsettled_blocks(&self) -> Result<Vec<Block>, LedgerError> {
        let mut blocks: Vec<Block> = self.ask(|state| state.unsettled_blocks().cloned().collect())?;
        blocks.sort_by_key(|block| (block.height, block.hash));
        Ok(blocks)
    }

    /// What to compare with the chain after a restart: all blocks that it has not decided about, and those of the
    /// `recent` highest that are in the pots, the highest first. Final ones are among them, as a deep reorganisation
    /// must not pass unnoticed.
    ///
    /// # Errors
    /// When the disk failed, or the ledger is closed.
    pub fn blocks_to_check(&self, recent: usize) -> Result<Vec<Block>, LedgerError> {
        self.ask(move |state| {
            let mut blocks: Vec<&Block> = state.blocks().collect();
            blocks.sort_by_key(|block| std::cmp::Reverse((block.height, block.hash)));
            let wanted = blocks.into_iter().enumerate().filter(|(place, block)| {
                block.status.is_unsettled() || (*place < recent && block.status.is_paid())
            });
            wanted.map(|(_, block)| block.clone()).collect()
        })
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (sender, receiver) = bounded(1);
        let ask = Box::new(move |state: Result<&State, LedgerError>| drop(sender.send(state.map(question))));
        // A request that cannot be sent is dropped, which the receiver notices.
        let _ = self.requests.send(Request::Ask(ask));
        self.wait(&receiver)
    }

    /// The books' sums after the last commit, from memory.
    pub fn summary(&self) -> Summary {
        self.running.summary()
    }

    /// A connection of its own for reading what is committed.
    ///
    /// # Errors
    /// When the ledger cannot be opened once more.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        Reader::open(&self.path)
    }
}
