//! Random play with reorgs. Against the reference, which knows none: there the chain of the moment is played anew.

use super::{SMALL, SOURCE, reference::Pool, test_hash, test_key};
use crate::{
    Batch, ChainBlock, Epoch, EpochState, Event, FoundBlock, Msats, Params, State,
    journal::{Decoder, Head, Row},
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use work::Ehash;

#[derive(Clone, Debug)]
enum Step {
    Shares(Vec<(u8, u64)>),
    Found {
        height: u32,
        reward: u64,
    },
    /// Of the blocks found or seen so far, one joins the chain; or a new one does.
    Connect {
        which: usize,
        reward: u64,
    },
    /// So many leave the chain, last first.
    Reorg(usize),
    /// One leaves of which nobody said that those above it do.
    Cut(usize),
    Tip(u32),
    Freeze(u32),
    Retire(u32, u64),
    Params(Params),
    Lease,
}

const Q: u64 = 1 << 47;

fn shares() -> impl Strategy<Value = Step> {
    let amount = prop_oneof![1..Q / 4, (30u32..48).prop_map(|bits| 1 << bits), Just(Q), Just(5 * Q / 2)];
    prop::collection::vec((0u8..6, amount), 0..6).prop_map(Step::Shares)
}

fn reward() -> impl Strategy<Value = u64> {
    prop_oneof![0..10u64, 0..1_000_000u64, 300_000_000_000..330_000_000_000u64]
}

fn chain_steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => shares(),
        1 => (1..60u32, reward()).prop_map(|(height, reward)| Step::Found { height, reward }),
        3 => (any::<usize>(), reward()).prop_map(|(which, reward)| Step::Connect { which, reward }),
        1 => (1..5usize).prop_map(Step::Reorg),
        1 => any::<usize>().prop_map(Step::Cut),
    ]
}

fn all_steps() -> impl Strategy<Value = Step> {
    let params = (2u8..5, 1u16..6, 0u32..200_000, 1u32..5, 0u32..20).prop_map(
        |(q, window, fee_ppm, maturity, redeem_blocks)| Params {
            q,
            window,
            fee_ppm,
            maturity,
            redeem_blocks,
        },
    );
    prop_oneof![
        8 => chain_steps(),
        3 => (1..80u32).prop_map(Step::Tip),
        1 => (0..12u32).prop_map(Step::Freeze),
        1 => (0..12u32, 0..1000u64).prop_map(|(epoch, part)| Step::Retire(epoch, part)),
        1 => params.prop_map(Step::Params),
        1 => Just(Step::Lease),
    ]
}

/// What a step means for a state. The chain is taken from the state itself: what is connected, by height.
struct Driver {
    sequence: u64,
    blocks: u32,
}

impl Driver {
    fn chain(state: &State) -> Vec<(u32, u32, u64, Epoch)> {
        let mut chain: Vec<_> = state
            .blocks()
            .filter(|block| block.status == crate::BlockStatus::Connected)
            .map(|block| (block.height, number(block.hash), block.reward.get(), block.epoch))
            .collect();
        chain.sort_unstable();
        chain
    }

    fn events(&mut self, state: &State, step: &Step) -> Vec<Event> {
        let chain = Driver::chain(state);
        match step {
            Step::Shares(rows) => {
                self.sequence += 1;
                let credits =
                    rows.iter().map(|(who, amount)| (test_key(*who), Ehash::new(*amount))).collect();
                vec![Event::Credits(Batch { source: SOURCE, sequence: self.sequence, credits })]
            }
            Step::Found { height, reward } => {
                self.blocks += 1;
                let (hash, prev_hash) = (test_hash(self.blocks), test_hash(0));
                vec![Event::BlockFound(FoundBlock {
                    hash,
                    prev_hash,
                    height: *height,
                    reward: Msats::new(*reward),
                })]
            }
            Step::Connect { which, reward } => {
                vec![Event::BlockConnected(self.connect(state, *which, *reward))]
            }
            Step::Reorg(depth) => {
                let leave = chain.iter().rev().take(*depth);
                leave.map(|(_, number, ..)| Event::BlockDisconnected(test_hash(*number))).collect()
            }
            Step::Cut(which) if !chain.is_empty() => {
                vec![Event::BlockDisconnected(test_hash(chain[which % chain.len()].1))]
            }
            Step::Cut(_) => Vec::new(),
            Step::Tip(height) => vec![Event::Tip { height: *height }],
            Step::Freeze(epoch) => vec![Event::EpochFrozen(Epoch(*epoch))],
            Step::Retire(epoch, part) => {
                let pot = state.epoch(Epoch(*epoch)).map_or(0, |info| info.pot.get());
                vec![Event::EpochRetired { epoch: Epoch(*epoch), swept: Msats::new(pot.min(*part)) }]
            }
            Step::Params(params) => {
                let first_epoch = state.open_epoch().saturating_add(1);
                vec![Event::ParamsChanged { first_epoch, params: *params }]
            }
            Step::Lease => vec![Event::LeaseTaken],
        }
    }

    fn connect(&mut self, state: &State, which: usize, reward: u64) -> ChainBlock {
        let top = Driver::chain(state).last().map_or(0, |block| block.0);
        let waiting: Vec<_> = state.blocks().filter(|block| !block.status.is_paid()).collect();
        match waiting.get(which % (waiting.len() + 1)) {
            Some(block) => {
                ChainBlock { hash: block.hash, height: block.height.max(top + 1), reward: block.reward }
            }
            None => {
                self.blocks += 1;
                let hash = test_hash(self.blocks);
                ChainBlock { hash, height: top + 1, reward: Msats::new(reward) }
            }
        }
    }
}

fn number(hash: crate::BlockHash) -> u32 {
    let bytes = hash.to_bytes();
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Nothing matures here: the pots are the reference's, for the chain of each moment.
    #[test]
    fn reorgs_leave_what_the_reference_makes_of_the_chain(
        steps in prop::collection::vec(chain_steps(), 1..60),
        fee_ppm in 0u32..100_000,
    ) {
        let params = Params { fee_ppm, ..SMALL };
        let mut state = State::create(params).unwrap();
        let mut work = Pool::new(3, 4, u64::from(fee_ppm));
        let mut held: BTreeMap<(u8, u32), u64> = BTreeMap::new();
        let mut driver = Driver { sequence: 0, blocks: 0 };
        for step in &steps {
            for event in driver.events(&state, step) {
                for part in state.apply(&event).unwrap().assignments {
                    let who = (0..6).find(|who| test_key(*who) == part.key).unwrap();
                    *held.entry((who, part.epoch.get())).or_default() += part.amount.get();
                }
            }
            if let Step::Shares(rows) = step {
                rows.iter().for_each(|(who, amount)| work.share(*who, *amount));
            }
            prop_assert_eq!(&held, &work.held);
            prop_assert_eq!((state.open_epoch().get(), state.filled().get()), (work.open, work.fill));

            let mut chain = work.clone();
            for (_, _, reward, found_in) in Driver::chain(&state) {
                chain.open = found_in.get();
                chain.block(reward);
            }
            let totals = state.totals();
            prop_assert_eq!(
                (totals.rewards.get(), totals.fees.get(), totals.carry.get()),
                (chain.rewards, chain.fees, chain.carry)
            );
            for epoch in 0..work.open {
                let pot = state.epoch(Epoch(epoch)).unwrap().pot.get();
                prop_assert_eq!(pot, chain.pot.get(&epoch).copied().unwrap_or(0), "epoch {}", epoch);
                if state.open_epoch().get() > epoch {
                    prop_assert_eq!(state.epoch(Epoch(epoch)).unwrap().value_of(Ehash::new(Q / 3)).unwrap().get(),
                        chain.redeem(Q / 3, epoch));
                }
            }
            state.check().unwrap();
        }
    }

    /// All that can happen, in any order: refused events change nothing, invariants hold, what is redeemable keeps its
    /// pot, the state laid flat and the journal each make the same state again.
    #[test]
    fn whatever_happens_the_books_hold(
        steps in prop::collection::vec(all_steps(), 1..80),
        redeem_blocks in prop_oneof![Just(0), 1u32..20],
    ) {
        let first = Params { redeem_blocks, ..SMALL };
        let mut state = State::create(first).unwrap();
        let mut driver = Driver { sequence: 0, blocks: 0 };
        let (mut head, mut journal) = (Head::default(), Vec::new());
        let mut fixed: BTreeMap<Epoch, u64> = BTreeMap::new();
        for step in &steps {
            for event in driver.events(&state, step) {
                let before = state.tables();
                let result = state.apply(&event);
                if let (Event::EpochRetired { epoch, .. }, Ok(_)) = (&event, &result) {
                    let until = state.epoch(*epoch).unwrap().redeemable_until;
                    prop_assert!(until.is_none_or(|until| before.tip.unwrap() >= until), "a promise was broken");
                }
                match result {
                    Ok(applied) if applied.changed => journal.push(Row::append(&mut head, &event)),
                    Ok(_) | Err(_) => prop_assert_eq!(&state.tables(), &before),
                }
                let again = state.apply(&event);
                let idempotent = !matches!(event, Event::LeaseTaken | Event::EpochRetired { .. });
                prop_assert!(!idempotent || again.is_err() || !again.unwrap().changed, "{:?}", event);
                if matches!(event, Event::LeaseTaken) {
                    journal.push(Row::append(&mut head, &event));
                }
                state.check().unwrap();
            }
            for epoch in (0..state.open_epoch().get()).map(Epoch) {
                let info = state.epoch(epoch).unwrap();
                if matches!(info.state, EpochState::Redeemable | EpochState::Frozen | EpochState::Retired) {
                    let whole = info.pot.get() + info.swept.get();
                    prop_assert_eq!(*fixed.entry(epoch).or_insert(whole), whole, "epoch {} moved", epoch);
                }
            }
        }
        let tables = state.tables();
        prop_assert_eq!(&State::restore(tables.clone()).unwrap().tables(), &tables);

        let (mut replayed, mut check) = (State::create(first).unwrap(), Head::default());
        for row in &journal {
            row.follow(&mut check).unwrap();
            let event = Decoder::new().decode(row.kind, &row.payload).unwrap();
            prop_assert!(replayed.apply(&event).unwrap().changed);
        }
        prop_assert_eq!(replayed.tables(), tables);
    }
}
