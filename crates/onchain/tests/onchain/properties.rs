//! Whatever happens in whatever order: no satoshi appears or vanishes, and each payout is paid at most once.

use {
    crate::rig::{MATURITY, Rig, id, recipient},
    bitcoin::{Amount, FeeRate},
    onchain::{OnchainError, PayoutStatus},
    proptest::prelude::*,
};

#[derive(Clone, Debug)]
enum Step {
    Mine,
    MineOther,
    /// Not as deep as maturity: what is deeper takes coins away that are spent.
    Reorganise(u32),
    Request {
        sats: u64,
        max_fee: u64,
    },
    Withdraw(u8),
    Build(u64),
    Send,
    Follow,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Mine),
        2 => Just(Step::MineOther),
        2 => (1..MATURITY).prop_map(Step::Reorganise),
        4 => (330..60_000_000_u64, 0..20_000_u64).prop_map(|(sats, max_fee)| Step::Request { sats, max_fee }),
        1 => (1..20_u8).prop_map(Step::Withdraw),
        3 => (250..5_000_u64).prop_map(Step::Build),
        3 => Just(Step::Send),
        3 => Just(Step::Follow),
        1 => Just(Step::Kill),
    ]
}

/// A rig and the payouts that were asked for, each to an address of its own.
struct World {
    rig: Rig,
    requested: Vec<Amount>,
}

impl World {
    fn take(&mut self, step: &Step) {
        let rig = &mut self.rig;
        match step {
            Step::Mine => drop(rig.chain.mine_block(rig.wallet.payout_script().into()).unwrap()),
            Step::MineOther => drop(rig.chain.mine_block(recipient(0)).unwrap()),
            Step::Reorganise(depth) => rig.reorganise((*depth).min(rig.height())),
            Step::Request { sats, max_fee } => {
                let number = u8::try_from(self.requested.len() + 1).unwrap();
                let (amount, max_fee) = (Amount::from_sat(*sats), Amount::from_sat(*max_fee));
                rig.wallet.request(&name(number), &recipient(number), amount, max_fee).unwrap();
                self.requested.push(amount);
            }
            Step::Withdraw(number) => match rig.wallet.withdraw(&name(*number)) {
                Ok(_) | Err(OnchainError::UnknownPayout { .. }) => {}
                Err(error) => panic!("{error}"),
            },
            Step::Build(rate) => {
                rig.catch_up();
                match rig.wallet.build_batch(FeeRate::from_sat_per_kwu(*rate)) {
                    Ok(_) | Err(OnchainError::TooManyPending { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            // What the node refuses now it takes later.
            Step::Send => drop(rig.wallet.broadcast_pending().unwrap()),
            Step::Follow => drop(rig.catch_up()),
            Step::Kill => rig.kill(),
        }
    }

    /// The wallet's sums against the chain's, when the wallet knows all of it.
    fn check(&self) {
        let rig = &self.rig;
        rig.catch_up();
        let (mut left, mut under_way, mut requested) = (rig.rewards(), Amount::ZERO, Amount::ZERO);
        for (number, amount) in (1..).zip(&self.requested) {
            let payout = rig.wallet.payout(&name(number)).unwrap().unwrap();
            let received = rig.received(&recipient(number));
            match payout.status {
                PayoutStatus::Confirmed { fee_paid, .. } => {
                    assert_eq!(received, [*amount]);
                    assert!(fee_paid <= payout.max_fee);
                    left -= *amount + fee_paid;
                }
                PayoutStatus::Signed { fee_paid, .. } => {
                    assert!(received.is_empty());
                    assert!(fee_paid <= payout.max_fee);
                    under_way += *amount + fee_paid;
                }
                PayoutStatus::Requested => {
                    assert!(received.is_empty());
                    requested += *amount + payout.max_fee;
                }
                PayoutStatus::Withdrawn => assert!(received.is_empty()),
            }
        }
        let reserves = rig.wallet.reserves().unwrap();
        assert_eq!(reserves.total() + under_way, left);
        assert_eq!((reserves.under_way, reserves.requested), (under_way, requested));
    }

    /// Everything that was signed gets onto the chain.
    fn finish(&self) {
        self.rig.catch_up();
        self.rig.send();
        self.rig.mine_others(1);
        self.check();
        assert_eq!(self.rig.wallet.reserves().unwrap().under_way, Amount::ZERO);
    }
}

fn name(number: u8) -> onchain::PayoutId {
    id(&format!("payout {number}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn satoshi_are_conserved(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World { rig: Rig::with_coins(3), requested: Vec::new() };
        for (number, step) in steps.iter().enumerate() {
            world.take(step);
            if number % 4 == 0 {
                world.check();
            }
        }
        world.finish();
    }
}
