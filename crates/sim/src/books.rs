//! The ledger's rules once more, as simply as they can be said, to compare its books with.

use ledger::{BlockHash, Epoch, EpochState, Event, Params, State};
use std::collections::{BTreeMap, BTreeSet};
use work::PayoutKey;

struct Block {
    height: u32,
    reward: u64,
    epoch: usize,
    on_chain: bool,
}

/// What the books must hold after these events.
pub struct Model {
    params: Params,
    /// Credits of each epoch by key, the open one last.
    epochs: Vec<BTreeMap<PayoutKey, u64>>,
    blocks: BTreeMap<BlockHash, Block>,
    leases: u32,
}

impl Model {
    /// Replays a journal.
    pub fn replay(events: &[Event]) -> Self {
        let Some(Event::Created(params)) = events.first() else {
            panic!("a journal begins with its creation")
        };
        let mut model =
            Self { params: *params, epochs: vec![BTreeMap::new()], blocks: BTreeMap::new(), leases: 0 };
        let mut batches = BTreeSet::new();
        for event in &events[1..] {
            match event {
                Event::Credits(batch) => {
                    assert!(batches.insert((batch.source, batch.sequence)), "a batch is journalled twice");
                    for (key, amount) in &batch.credits {
                        model.credit(*key, amount.get());
                    }
                }
                Event::BlockFound(found) => {
                    model.block(found.hash, found.height, found.reward.get());
                }
                Event::BlockConnected(block) => {
                    model.leave_from(block.height);
                    let (height, reward) = (block.height, block.reward.get());
                    let known = model.block(block.hash, height, reward);
                    (known.height, known.reward, known.on_chain) = (height, reward, true);
                }
                Event::BlockDisconnected(hash) => {
                    if let Some(height) =
                        model.blocks.get(hash).filter(|block| block.on_chain).map(|b| b.height)
                    {
                        model.leave_from(height);
                    }
                }
                Event::LeaseTaken => model.leases += 1,
                Event::Tip { .. } => {}
                other => panic!("no pool journals {other:?}"),
            }
        }
        model
    }

    fn size(&self) -> u64 {
        self.params.epoch_size().get()
    }

    fn credit(&mut self, key: PayoutKey, amount: u64) {
        let mut rest = amount;
        while rest > 0 {
            let open = self.epochs.last_mut().expect("one is always open");
            let room = self.params.epoch_size().get() - open.values().sum::<u64>();
            let part = rest.min(room);
            *open.entry(key).or_default() += part;
            rest -= part;
            if part == room {
                self.epochs.push(BTreeMap::new());
            }
        }
    }

    fn block(&mut self, hash: BlockHash, height: u32, reward: u64) -> &mut Block {
        let epoch = self.epochs.len() - 1;
        self.blocks.entry(hash).or_insert(Block { height, reward, epoch, on_chain: false })
    }

    fn leave_from(&mut self, height: u32) {
        for block in self.blocks.values_mut().filter(|block| block.height >= height) {
            block.on_chain = false;
        }
    }

    /// Blocks that are on the chain, with what they pay.
    pub fn paid(&self) -> BTreeMap<BlockHash, u64> {
        let paid = self.blocks.iter().filter(|(_, block)| block.on_chain);
        paid.map(|(hash, block)| (*hash, block.reward)).collect()
    }

    /// Compares with the books.
    pub fn compare(&self, state: &State) {
        assert_eq!(state.open_epoch().get() as usize, self.epochs.len() - 1, "epochs");
        let open: BTreeMap<_, _> =
            state.open_credits().iter().map(|(key, amount)| (*key, amount.get())).collect();
        assert_eq!(Some(&open), self.epochs.last(), "credits of the open epoch");
        for closed in &self.epochs[..self.epochs.len() - 1] {
            assert_eq!(closed.values().sum::<u64>(), self.size(), "a closed epoch holds Q");
        }
        assert_eq!(state.leases_taken(), self.leases, "leases");
        let (pots, fees, carry) = self.pots();
        for (number, pot) in pots.iter().enumerate() {
            let epoch = Epoch(u32::try_from(number).expect("few"));
            let info = state.epoch(epoch).expect("it is closed");
            assert_eq!(info.pot.get(), *pot, "pot of epoch {number}");
            assert_ne!(info.state, EpochState::Open);
        }
        let totals = state.totals();
        let rewards: u64 = self.paid().values().sum();
        assert_eq!(totals.pots.get(), pots.iter().sum::<u64>(), "pots");
        assert_eq!((totals.rewards.get(), totals.fees.get(), totals.carry.get()), (rewards, fees, carry));
    }

    /// Pots of the closed epochs, fees and carry, from nothing: a reversal must leave no trace.
    fn pots(&self) -> (Vec<u64>, u64, u64) {
        let mut pots = vec![0; self.epochs.len() - 1];
        let (mut fees, mut carry) = (0, 0);
        let mut blocks: Vec<&Block> = self.blocks.values().filter(|block| block.on_chain).collect();
        blocks.sort_by_key(|block| block.height);
        for block in blocks {
            let fee = u64::try_from(u128::from(block.reward) * u128::from(self.params.fee_ppm) / 1_000_000);
            let fee = fee.expect("a part of the reward");
            let payees = block.epoch.saturating_sub(usize::from(self.params.window))..block.epoch;
            let net = block.reward - fee + carry;
            let count = payees.len() as u64;
            let each = net.checked_div(count).unwrap_or(0);
            for epoch in payees {
                pots[epoch] += each;
            }
            fees += fee;
            carry = net - each * count;
        }
        (pots, fees, carry)
    }
}
