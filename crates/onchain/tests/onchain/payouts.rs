//! What is asked of the wallet, and what it pays.

use {
    crate::rig::{MATURITY, RATE, Rig, SUBSIDY, id, nobody, recipient},
    bitcoin::{Amount, FeeRate, ScriptBuf},
    node::Node,
    onchain::{LeftOut, MAX_FEE_RATE, OnchainError, PayoutId, PayoutStatus},
};

fn sats(sats: u64) -> Amount {
    Amount::from_sat(sats)
}

#[test]
fn two_payouts_share_a_transaction() {
    let rig = Rig::with_coins(2);
    // Together they need both coins.
    let (first, second) = (30_000_000, 40_000_000);
    rig.request("first", 1, first);
    let requested = rig.request("second", 2, second);
    assert_eq!(requested.status, PayoutStatus::Requested);
    let reserves = rig.wallet.reserves().unwrap();
    let most: Amount = ["first", "second"]
        .map(|name| rig.wallet.payout(&id(name)).unwrap().unwrap().max_fee)
        .iter()
        .copied()
        .sum();
    assert_eq!(reserves.requested, sats(first + second) + most);
    assert_eq!(reserves.available(), SUBSIDY * 2 - reserves.requested);

    let batch = rig.wallet.build_batch(RATE).unwrap();
    assert_eq!(batch.signed, [id("first"), id("second")]);
    assert!(batch.left_out.is_empty());
    assert!(rig.chain.mempool().is_empty(), "building sends nothing");
    rig.send();
    assert_eq!(rig.chain.mempool(), [batch.txid.unwrap()]);

    let reserves = rig.wallet.reserves().unwrap();
    assert_eq!(reserves.mature, Amount::ZERO);
    assert_eq!(reserves.under_way, sats(first + second) + batch.fee);
    assert_eq!(reserves.change, SUBSIDY * 2 - reserves.under_way);
    assert_eq!(reserves.requested, Amount::ZERO);

    rig.mine_others(1);
    let transaction = rig.transaction(batch.txid.unwrap());
    assert_eq!((transaction.input.len(), transaction.output.len()), (2, 3));
    let paid_in: Amount = transaction.input.iter().map(|input| rig.value(input.previous_output)).sum();
    let paid_out: Amount = transaction.output.iter().map(|output| output.value).sum();
    assert_eq!(paid_in, paid_out + batch.fee);
    assert!(batch.fee >= RATE * transaction.weight(), "{} for {}", batch.fee, transaction.weight());
    assert!(
        batch.fee <= RATE * transaction.weight() + sats(10),
        "{} for {}",
        batch.fee,
        transaction.weight()
    );
    let mut fees = Amount::ZERO;
    for (name, number, amount) in [("first", 1, first), ("second", 2, second)] {
        assert_eq!(rig.received(&recipient(number)), [sats(amount)]);
        let PayoutStatus::Confirmed { outpoint, height, fee_paid } = rig.status(name) else { panic!() };
        assert_eq!((outpoint.txid, height), (batch.txid.unwrap(), rig.height()));
        assert_eq!(transaction.output[outpoint.vout as usize].script_pubkey, recipient(number));
        assert!(fee_paid <= rig.wallet.payout(&id(name)).unwrap().unwrap().max_fee);
        fees += fee_paid;
    }
    assert_eq!(fees, batch.fee);
    let reserves = rig.wallet.reserves().unwrap();
    assert_eq!((reserves.under_way, reserves.change), (Amount::ZERO, Amount::ZERO));
    assert_eq!(reserves.mature, SUBSIDY * 2 - sats(first + second) - batch.fee);
}

#[test]
fn a_confirmed_payout_leaves_the_chain_and_comes_back() {
    let rig = Rig::with_coins(1);
    rig.request("one", 1, 25_000);
    rig.wallet.build_batch(RATE).unwrap();
    rig.send();
    rig.mine_others(1);
    let confirmed = rig.status("one");
    let after = rig.wallet.reserves().unwrap();

    rig.reorganise(1);
    rig.catch_up();
    let PayoutStatus::Signed { outpoint, .. } = rig.status("one") else { panic!() };
    assert_eq!(rig.wallet.reserves().unwrap().total(), after.total());
    // It goes out again, the same, and no other for it.
    let again = rig.wallet.build_batch(RATE).unwrap();
    assert_eq!(again.txid, None);
    rig.send();
    assert_eq!(rig.chain.mempool(), [outpoint.txid]);
    rig.mine_others(1);
    let PayoutStatus::Confirmed { outpoint: same, height, .. } = rig.status("one") else { panic!() };
    let PayoutStatus::Confirmed { height: before, .. } = confirmed else { panic!() };
    assert_eq!((same, height), (outpoint, before + 2));
    assert_eq!(rig.received(&recipient(1)), [sats(25_000)]);
}

#[test]
fn change_is_spent_before_a_block_holds_it() {
    let rig = Rig::with_coins(1);
    for (name, number) in [("a", 1), ("b", 2), ("c", 3)] {
        rig.request(name, number, 30_000);
        assert!(rig.wallet.build_batch(RATE).unwrap().txid.is_some());
    }
    rig.send();
    assert_eq!(rig.chain.mempool().len(), 3);
    rig.mine_others(1);
    for (name, number) in [("a", 1), ("b", 2), ("c", 3)] {
        assert!(matches!(rig.status(name), PayoutStatus::Confirmed { .. }));
        assert_eq!(rig.received(&recipient(number)).len(), 1);
    }
}

#[test]
fn chains_of_change_stay_short_enough_to_be_relayed() {
    let rig = Rig::with_coins(1);
    for number in 0..20 {
        rig.request(&format!("{number}"), 1, 30_000);
        rig.wallet.build_batch(FeeRate::BROADCAST_MIN).unwrap();
    }
    rig.request("one more", 1, 30_000);
    let error = rig.wallet.build_batch(FeeRate::BROADCAST_MIN).unwrap_err();
    assert!(matches!(error, OnchainError::TooManyPending { pending: 20 }), "{error}");
    rig.send();
    rig.mine_others(1);
    assert_eq!(rig.wallet.build_batch(FeeRate::BROADCAST_MIN).unwrap().signed, [id("one more")]);
}

/// Change of a transaction whose own coins have left the chain is worth nothing, and is not spent.
#[test]
fn change_of_a_transaction_without_coins_is_left_alone() {
    let rig = Rig::new();
    rig.mine(1);
    rig.mine_others(MATURITY - 1);
    rig.request("one", 1, 30_000);
    let batch = rig.wallet.build_batch(RATE).unwrap();
    rig.send();
    assert!(rig.wallet.reserves().unwrap().change > Amount::ZERO);
    // Deeper than maturity: what no chain but a toy does.
    rig.reorganise(MATURITY);
    rig.catch_up();
    assert_eq!(rig.wallet.reserves().unwrap().total(), Amount::ZERO);
    assert!(rig.wallet.broadcast_pending().unwrap()[0].outcome.is_err());
    rig.mine(1);
    rig.mine_others(MATURITY - 1);
    rig.request("two", 2, 30_000);
    let other = rig.wallet.build_batch(RATE).unwrap();
    assert_eq!(other.signed, [id("two")]);
    let sent = rig.wallet.broadcast_pending().unwrap();
    assert_eq!(
        sent.iter().map(|sent| sent.txid).collect::<Vec<_>>(),
        [batch.txid, other.txid].map(Option::unwrap)
    );
    assert!(sent[0].outcome.is_err());
    sent[1].outcome.as_ref().unwrap();
    // The first is neither paid in another way nor forgotten.
    assert!(
        matches!(rig.status("one"), PayoutStatus::Signed { outpoint, .. } if Some(outpoint.txid) == batch.txid)
    );
}

#[test]
fn one_id_is_one_payout() {
    let rig = Rig::with_coins(1);
    let first = rig.request("one", 1, 25_000);
    // The most for the fee is what was said first.
    let again = rig.wallet.request(&id("one"), &recipient(1), sats(25_000), sats(1)).unwrap();
    assert_eq!(again, first);
    for (number, amount) in [(1, 25_001), (2, 25_000)] {
        let max_fee = sats(10_000);
        let error = rig.wallet.request(&id("one"), &recipient(number), sats(amount), max_fee).unwrap_err();
        assert!(matches!(&error, OnchainError::Conflict { id } if id.as_str() == "one"), "{error}");
    }
    assert_eq!(rig.wallet.build_batch(RATE).unwrap().signed, [id("one")]);
    // Asked again at any later time it is not paid again.
    for _ in 0..2 {
        let now = rig.wallet.request(&id("one"), &recipient(1), sats(25_000), first.max_fee).unwrap();
        assert_ne!(now.status, PayoutStatus::Requested);
        assert_eq!(rig.wallet.build_batch(RATE).unwrap().txid, None);
        rig.send();
        rig.mine_others(1);
    }
    assert_eq!(rig.received(&recipient(1)), [sats(25_000)]);
    for len in [0, 129] {
        assert!(matches!(PayoutId::new("x".repeat(len)), Err(OnchainError::BadId { .. })));
    }
}

/// Threads that ask for the same payouts, build and send, beside one that follows the chain.
#[test]
fn threads_do_not_pay_twice() {
    let rig = Rig::with_coins(6);
    let names = ["a", "b", "c", "d", "e"];
    let max_fee = rig.wallet.estimate(&recipient(1), sats(30_000_000), RATE).unwrap() * 2;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (number, name) in (1..).zip(names) {
                    rig.wallet.request(&id(name), &recipient(number), sats(30_000_000), max_fee).unwrap();
                    match rig.wallet.build_batch(RATE) {
                        Ok(_) | Err(OnchainError::Behind { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                    rig.wallet.broadcast_pending().unwrap();
                }
            });
        }
        for _ in 0..10 {
            rig.mine_others(1);
        }
    });
    rig.wallet.build_batch(RATE).unwrap();
    rig.send();
    rig.mine_others(1);
    for (number, name) in (1..).zip(names) {
        assert!(matches!(rig.status(name), PayoutStatus::Confirmed { .. }), "{name}");
        assert_eq!(rig.received(&recipient(number)), [sats(30_000_000)], "{name}");
    }
    assert_eq!(rig.wallet.reserves().unwrap().under_way, Amount::ZERO);
}

#[test]
fn what_cannot_be_paid_is_refused_at_once() {
    let rig = Rig::with_coins(1);
    let request = |script: &ScriptBuf, amount| rig.wallet.request(&id("one"), script, amount, sats(10_000));
    for (number, limit) in [(1, 294), (2, 330)] {
        let error = request(&recipient(number), sats(limit - 1)).unwrap_err();
        assert!(matches!(error, OnchainError::Dust { limit: least, .. } if least == sats(limit)), "{error}");
        assert!(error.to_string().contains(&sats(limit).to_string()), "{error}");
        assert!(matches!(
            rig.wallet.estimate(&recipient(number), sats(limit - 1), RATE),
            Err(OnchainError::Dust { .. })
        ));
    }
    assert!(matches!(request(&nobody(), sats(25_000)), Err(OnchainError::NoAddress)));
    let data = ScriptBuf::new_op_return([1, 2, 3]);
    assert!(matches!(request(&data, sats(25_000)), Err(OnchainError::NoAddress)));
    let too_much = Amount::MAX_MONEY + Amount::ONE_SAT;
    assert!(matches!(request(&recipient(1), too_much), Err(OnchainError::TooMuch { .. })));
    for rate in [FeeRate::ZERO, FeeRate::from_sat_per_kwu(MAX_FEE_RATE.to_sat_per_kwu() + 1), FeeRate::MAX] {
        assert!(matches!(rig.wallet.build_batch(rate), Err(OnchainError::FeeRate { .. })));
        assert!(matches!(
            rig.wallet.estimate(&recipient(1), sats(25_000), rate),
            Err(OnchainError::FeeRate { .. })
        ));
    }
    // Exactly the limit is paid.
    rig.request("least", 2, 330);
    rig.wallet.build_batch(MAX_FEE_RATE).unwrap();
    rig.wallet.build_batch(RATE).unwrap();
    rig.send();
    rig.mine_others(1);
    assert_eq!(rig.received(&recipient(2)), [sats(330)]);
}

#[test]
fn nobody_pays_more_than_their_most() {
    let rig = Rig::with_coins(2);
    let mean = rig.wallet.request(&id("mean"), &recipient(1), sats(25_000), sats(10)).unwrap();
    rig.request("fair", 2, 25_000);
    let batch = rig.wallet.build_batch(RATE).unwrap();
    assert_eq!(batch.signed, [id("fair")]);
    assert_eq!(batch.left_out, [(mean.id.clone(), LeftOut::Fee)]);
    assert_eq!(rig.status("mean"), PayoutStatus::Requested);
    // Larger than all coins.
    rig.wallet.request(&id("huge"), &recipient(3), SUBSIDY * 3, SUBSIDY).unwrap();
    let batch = rig.wallet.build_batch(RATE).unwrap();
    assert_eq!(batch.txid, None);
    assert_eq!(batch.left_out, [(id("mean"), LeftOut::Fee), (id("huge"), LeftOut::Funds)]);
}

#[test]
fn the_most_for_a_fee_is_exact() {
    let fee_of = |max_fee: Amount| {
        let rig = Rig::with_coins(1);
        rig.wallet.request(&id("one"), &recipient(1), sats(25_000), max_fee).unwrap();
        let batch = rig.wallet.build_batch(RATE).unwrap();
        batch.txid.map(|_| batch.fee)
    };
    let fee = fee_of(SUBSIDY).unwrap();
    assert_eq!(fee_of(fee), Some(fee));
    assert_eq!(fee_of(fee - Amount::ONE_SAT), None);
}

/// What is signed is good on every branch that has its coins.
#[test]
fn a_payout_can_be_sent_on_a_shorter_chain() {
    let rig = Rig::with_coins(1);
    rig.mine_others(1);
    rig.request("one", 1, 25_000);
    rig.wallet.build_batch(RATE).unwrap();
    rig.chain.invalidate(&rig.chain.tip().unwrap().hash).unwrap();
    rig.catch_up();
    rig.send();
    assert_eq!(rig.chain.mempool().len(), 1);
}

/// All together need more coins than there are: they are paid as coins mature, oldest first, each for what was set aside.
#[test]
fn an_estimate_is_enough_whoever_else_is_paid() {
    let rig = Rig::with_coins(4);
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    for (number, name) in (1..).zip(names) {
        rig.request(name, number, 41_000_000);
    }
    let mut batches = 0;
    while names.iter().any(|name| rig.status(name) == PayoutStatus::Requested) {
        let batch = rig.wallet.build_batch(RATE).unwrap();
        if batches == 0 {
            assert_eq!(batch.signed, ["a", "b", "c", "d"].map(id));
        }
        assert!(batch.left_out.iter().all(|(_, why)| *why != LeftOut::Fee), "{batch:?}");
        batches += 1;
        rig.send();
        rig.mine(1);
        assert!(batches < 10);
    }
    rig.mine_others(1);
    for (number, name) in (1..).zip(names) {
        assert_eq!(rig.received(&recipient(number)), [sats(41_000_000)], "{name}");
    }
}

#[test]
fn a_payout_is_taken_back_in_time_or_not_at_all() {
    let rig = Rig::with_coins(1);
    rig.request("early", 1, 25_000);
    rig.request("late", 2, 25_000);
    assert_eq!(rig.wallet.withdraw(&id("early")).unwrap().status, PayoutStatus::Withdrawn);
    assert_eq!(rig.wallet.withdraw(&id("early")).unwrap().status, PayoutStatus::Withdrawn);
    assert_eq!(rig.wallet.build_batch(RATE).unwrap().signed, [id("late")]);
    assert!(matches!(rig.wallet.withdraw(&id("late")).unwrap().status, PayoutStatus::Signed { .. }));
    assert_eq!(rig.request("early", 1, 25_000).status, PayoutStatus::Withdrawn, "taken back is for ever");
    assert!(matches!(rig.wallet.withdraw(&id("never")), Err(OnchainError::UnknownPayout { .. })));
    rig.send();
    rig.mine_others(1);
    assert_eq!(rig.wallet.build_batch(RATE).unwrap().txid, None);
    assert!(rig.received(&recipient(1)).is_empty());
}

#[test]
fn nothing_is_paid_before_the_chain_is_known() {
    let rig = Rig::with_coins(1);
    rig.request("one", 1, 25_000);
    rig.chain.mine_block(nobody()).unwrap();
    let error = rig.wallet.build_batch(RATE).unwrap_err();
    assert!(matches!(error, OnchainError::Behind { tip, .. } if tip == rig.chain.tip().unwrap()), "{error}");
    rig.catch_up();
    assert!(rig.wallet.build_batch(RATE).unwrap().txid.is_some());
}
