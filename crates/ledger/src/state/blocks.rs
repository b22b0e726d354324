//! Rewards into pots, and out again when a block is orphaned. The rules for the latter are argued in
//! `docs/decisions/0003-orphan-reversal.md`.

use super::{Applied, State};
use crate::{Block, BlockHash, BlockStatus, ChainBlock, Epoch, FoundBlock, Msats, Outcome, Payment, Refusal};

impl State {
    /// Fixes the epochs that a block pays, before anybody knows whether the chain takes it.
    pub(super) fn block_found(&mut self, found: &FoundBlock, applied: &mut Applied) -> Result<(), Refusal> {
        self.check_reward(found.hash, found.reward)?;
        let epoch = self.open.epoch;
        let FoundBlock { hash, prev_hash, height, reward } = *found;
        if let Some(block) = self.blocks.get_mut(&hash) {
            // The chain watch was faster, and fixed the epoch.
            if block.prev_hash.is_some() {
                applied.unchanged(Outcome::Unchanged);
            } else {
                block.prev_hash = Some(prev_hash);
                applied.blocks.insert(hash);
                applied.tell(Outcome::BlockNoted { hash, epoch: block.epoch });
            }
            return Ok(());
        }
        let prev_hash = Some(prev_hash);
        let block =
            Block { hash, prev_hash, height, reward, epoch, status: BlockStatus::Found, payment: None };
        self.blocks.insert(hash, block);
        self.unsettled.insert((epoch, hash));
        applied.blocks.insert(hash);
        applied.tell(Outcome::BlockNoted { hash, epoch });
        self.settle(applied);
        Ok(())
    }

    /// Divides the reward of a block that joined the chain.
    pub(super) fn block_connected(&mut self, new: &ChainBlock, applied: &mut Applied) -> Result<(), Refusal> {
        self.check_reward(new.hash, new.reward)?;
        match self.blocks.get_mut(&new.hash).map(|block| (block.status, block)) {
            Some((BlockStatus::Connected | BlockStatus::Final, _)) => {
                applied.unchanged(Outcome::Unchanged);
                return Ok(());
            }
            Some((BlockStatus::Lost, block)) => {
                // Its lines were never reversed.
                block.status = BlockStatus::Final;
                applied.blocks.insert(new.hash);
                applied.tell(Outcome::BlockFinal(new.hash));
                return Ok(());
            }
            Some((BlockStatus::Found | BlockStatus::Disconnected | BlockStatus::Stale, _)) | None => {}
        }
        // One chain has one block at a height, and nothing above it yet.
        self.reverse_from(new.height, applied);
        let open = self.open.epoch;
        let block = self.blocks.entry(new.hash).or_insert_with(|| Block {
            hash: new.hash,
            prev_hash: None,
            height: new.height,
            reward: new.reward,
            epoch: open,
            status: BlockStatus::Found,
            payment: None,
        });
        block.height = new.height;
        block.reward = new.reward;
        self.unsettled.insert((block.epoch, new.hash));
        self.pay(new.hash, applied);
        self.settle(applied);
        Ok(())
    }

    /// Takes a block out of the pots, and first those that build on it.
    pub(super) fn block_disconnected(&mut self, hash: BlockHash, applied: &mut Applied) {
        let Some(block) = self.blocks.get_mut(&hash) else {
            return applied.unchanged(Outcome::BlockUnknown(hash));
        };
        let height = block.height;
        match block.status {
            BlockStatus::Connected => self.reverse_from(height, applied),
            BlockStatus::Final => {
                block.status = BlockStatus::Lost;
                applied.blocks.insert(hash);
                applied.tell(Outcome::BlockLost(hash));
                self.reverse_from(height, applied);
            }
            BlockStatus::Found | BlockStatus::Disconnected | BlockStatus::Stale | BlockStatus::Lost => {
                return applied.unchanged(Outcome::Unchanged);
            }
        }
        self.settle(applied);
    }

    pub(super) fn tip_moved(&mut self, height: u32, applied: &mut Applied) {
        if self.tip == Some(height) {
            return applied.unchanged(Outcome::Unchanged);
        }
        self.tip = Some(height);
        applied.tell(Outcome::TipMoved { height });
        self.settle(applied);
    }

    /// Draws every conclusion from the chain's height: final blocks, stale blocks, redeemable epochs.
    pub(super) fn settle(&mut self, applied: &mut Applied) {
        // From the bottom of the chain only: a block is not final before those that it builds on.
        while let Some(hash) = self.chain.front().copied().filter(|hash| self.is_buried(hash)) {
            self.chain.pop_front();
            self.end_wait(hash, BlockStatus::Final, applied);
            applied.tell(Outcome::BlockFinal(hash));
        }
        let stale: Vec<BlockHash> = self
            .unsettled_blocks()
            .filter(|block| block.status != BlockStatus::Connected && self.is_buried(&block.hash))
            .map(|block| block.hash)
            .collect();
        for hash in stale {
            self.end_wait(hash, BlockStatus::Stale, applied);
            applied.tell(Outcome::BlockStale(hash));
        }
        self.mature_epochs(applied);
    }

    fn end_wait(&mut self, hash: BlockHash, status: BlockStatus, applied: &mut Applied) {
        let block = self.blocks.get_mut(&hash).expect("blocks are never forgotten");
        assert!(block.status.is_unsettled());
        block.status = status;
        let waited = self.unsettled.remove(&(block.epoch, hash));
        assert!(waited, "block {hash} was settled twice");
        applied.blocks.insert(hash);
    }

    /// Whether a chain of the present height buries the block's height by `maturity` confirmations.
    fn is_buried(&self, hash: &BlockHash) -> bool {
        let block = &self.blocks[hash];
        let maturity = self.params_of(block.epoch).maturity;
        let confirmations =
            self.tip.map_or(0, |tip| (u64::from(tip) + 1).saturating_sub(u64::from(block.height)));
        confirmations >= u64::from(maturity)
    }

    /// A reward is at most all bitcoin, and so is the sum of all rewards that are in the books and this one.
    fn check_reward(&self, hash: BlockHash, reward: Msats) -> Result<(), Refusal> {
        let sum = self.totals.rewards.checked_add(reward);
        // The store counts in 63 bits; blocks of test chains may sum to more than all bitcoin.
        let fits = sum.is_some_and(|sum| i64::try_from(sum.get()).is_ok());
        if reward > Msats::MAX_MONEY || !fits {
            return Err(Refusal::RewardTooLarge { hash, reward });
        }
        Ok(())
    }

    /// The epochs that a block found while `open` was open pays: those in whose window that is, and whose pots are
    /// not fixed yet. Ascending.
    fn payees(&self, open: Epoch) -> Vec<Epoch> {
        let widest = self.params.values().map(|params| u32::from(params.window)).max().unwrap_or(0);
        (open.get().saturating_sub(widest)..open.get())
            .map(Epoch)
            .filter(|epoch| self.params_of(*epoch).collects_until(*epoch) >= open)
            .filter(|epoch| self.closed[epoch.index()].state.is_provisional())
            .collect()
    }

    /// `net = reward − fee + carry`; each payee gets `⌊net/n⌋`, the rest is carry.
    fn pay(&mut self, hash: BlockHash, applied: &mut Applied) {
        let block = &self.blocks[&hash];
        let (reward, found_in) = (block.reward, block.epoch);
        assert!(block.payment.is_none() && !block.status.is_paid(), "block {hash} is paid already");
        let fee = self.params_of(found_in).fee(reward);
        let epochs = self.payees(found_in);
        let carry_in = self.totals.carry;
        let net = reward.checked_sub(fee).expect("a fee is part of its reward");
        let net = net.checked_add(carry_in).expect("carry is part of all rewards, which fit");
        let (per_epoch, carry_out) = match u64::try_from(epochs.len()).expect("a window is at most 1024") {
            0 => (Msats::ZERO, net),
            n => (Msats::new(net.get() / n), Msats::new(net.get() % n)),
        };
        let payment = Payment { fee, per_epoch, carry_in, carry_out, epochs };
        assert_eq!(
            payment.to_pots().checked_add(carry_out),
            Some(net),
            "block {hash} is not divided exactly"
        );

        for epoch in &payment.epochs {
            let pot = &mut self.closed[epoch.index()].pot;
            *pot = pot.checked_add(per_epoch).expect("a pot is part of all rewards, which fit");
            applied.epochs.insert(*epoch);
        }
        let totals = &mut self.totals;
        let fits = "parts of all rewards, which fit";
        totals.rewards = totals.rewards.checked_add(reward).expect(fits);
        totals.fees = totals.fees.checked_add(fee).expect(fits);
        totals.pots = totals.pots.checked_add(payment.to_pots()).expect(fits);
        totals.carry = carry_out;
        assert!(totals.balance());

        let count = u32::try_from(payment.epochs.len()).expect("a window is at most 1024");
        let block = self.blocks.get_mut(&hash).expect("it was there above");
        block.payment = Some(payment);
        block.status = BlockStatus::Connected;
        self.chain.push_back(hash);
        applied.blocks.insert(hash);
        applied.tell(Outcome::BlockPaid { hash, reward, fee, per_epoch, epochs: count, carry: carry_out });
    }

    /// Reverses the connected blocks at `height` and above, the last first.
    fn reverse_from(&mut self, height: u32, applied: &mut Applied) {
        while let Some(hash) = self.chain.back().copied().filter(|hash| self.blocks[hash].height >= height) {
            self.chain.pop_back();
            self.reverse(hash, applied);
        }
    }

    /// Undoes [`State::pay`] of the last block of the chain. What was swept into the carry since then stays there.
    fn reverse(&mut self, hash: BlockHash, applied: &mut Applied) {
        let block = self.blocks.get_mut(&hash).expect("blocks are never forgotten");
        assert_eq!(block.status, BlockStatus::Connected);
        block.status = BlockStatus::Disconnected;
        let payment = block.payment.take().expect("a connected block is paid");
        for epoch in &payment.epochs {
            let closed = &mut self.closed[epoch.index()];
            assert!(closed.state.is_provisional(), "block {hash} leaves epoch {epoch}, whose pot is fixed");
            closed.pot = closed.pot.checked_sub(payment.per_epoch).expect("the line is in the pot");
            applied.epochs.insert(*epoch);
        }
        let totals = &mut self.totals;
        let held = "what the block put there is still there: later blocks are reversed first";
        totals.rewards = totals.rewards.checked_sub(block.reward).expect(held);
        totals.fees = totals.fees.checked_sub(payment.fee).expect(held);
        totals.pots = totals.pots.checked_sub(payment.to_pots()).expect(held);
        let carry = totals.carry.checked_sub(payment.carry_out).expect(held);
        totals.carry = carry.checked_add(payment.carry_in).expect("parts of all rewards, which fit");
        assert!(totals.balance());
        applied.blocks.insert(hash);
        applied.tell(Outcome::BlockReversed(hash));
    }
}
