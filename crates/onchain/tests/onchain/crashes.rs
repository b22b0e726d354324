//! The process is killed: at every step, with what is in the files and no more.

use {
    crate::rig::{RATE, Rig, SUBSIDY, id, open, recipient},
    bitcoin::Amount,
    onchain::{Keys, OnchainError, PayoutStatus},
};

type Step = fn(&Rig);

/// What a caller does for two payouts, one more, and a reorganisation. Every step may be done twice.
const STEPS: [(&str, Step); 11] = [
    ("request", |rig| drop(rig.request("a", 1, 20_000))),
    ("request another", |rig| drop(rig.request("b", 2, 30_000))),
    ("build", build),
    ("send", Rig::send),
    ("confirm", |rig| {
        if rig.received(&recipient(1)).is_empty() {
            rig.mine_others(1);
        }
        rig.catch_up();
    }),
    ("a third", |rig| drop(rig.request("c", 3, 40_000))),
    ("build for it", build),
    ("take the first back", |rig| {
        if !rig.received(&recipient(1)).is_empty() {
            rig.reorganise(1);
        }
    }),
    ("follow", |rig| drop(rig.catch_up())),
    ("send all", Rig::send),
    ("confirm all", |rig| rig.mine_others(1)),
];

fn build(rig: &Rig) {
    rig.wallet.build_batch(RATE).unwrap();
}

#[track_caller]
fn assert_paid_once(rig: &Rig, killed: &str) {
    let mut spent = Amount::ZERO;
    for (name, number, sats) in [("a", 1, 20_000), ("b", 2, 30_000), ("c", 3, 40_000)] {
        assert_eq!(rig.received(&recipient(number)), [Amount::from_sat(sats)], "{name}, killed at {killed}");
        let PayoutStatus::Confirmed { fee_paid, .. } = rig.status(name) else { panic!("{name}, {killed}") };
        spent += Amount::from_sat(sats) + fee_paid;
    }
    let reserves = rig.wallet.reserves().unwrap();
    assert_eq!(reserves.total(), SUBSIDY * 2 - spent, "killed at {killed}");
    assert_eq!((reserves.requested, reserves.under_way), (Amount::ZERO, Amount::ZERO));
}

/// Killed after each step, before anybody was told that it is done: so the caller does it again.
#[test]
fn killed_at_every_step_everything_is_paid_once() {
    for (at, (killed, _)) in STEPS.iter().enumerate() {
        let mut rig = Rig::with_coins(2);
        for (number, (_, step)) in STEPS.iter().enumerate() {
            step(&rig);
            if number == at {
                rig.kill();
                step(&rig);
            }
        }
        assert_paid_once(&rig, killed);
    }
    let mut rig = Rig::with_coins(2);
    for (_, step) in STEPS {
        step(&rig);
        rig.kill();
        step(&rig);
        rig.kill();
    }
    assert_paid_once(&rig, "every step");
}

#[test]
fn a_restart_sends_what_was_signed() {
    let mut rig = Rig::with_coins(1);
    rig.request("one", 1, 25_000);
    let batch = rig.wallet.build_batch(RATE).unwrap();
    rig.kill();
    assert!(
        matches!(rig.status("one"), PayoutStatus::Signed { outpoint, .. } if Some(outpoint.txid) == batch.txid)
    );
    assert_eq!(rig.wallet.build_batch(RATE).unwrap().txid, None);
    rig.send();
    rig.send();
    assert_eq!(rig.chain.mempool(), [batch.txid.unwrap()]);
    // Coins and change are as before, so that another payout does not fight with the first.
    rig.request("two", 2, 25_000);
    rig.wallet.build_batch(RATE).unwrap();
    rig.send();
    rig.mine_others(1);
    assert_eq!(rig.received(&recipient(1)).len() + rig.received(&recipient(2)).len(), 2);
}

/// A backup from before a payout knows nothing of it. As soon as a block shows it, nothing more is paid.
#[test]
fn a_backup_does_not_pay_again() {
    let mut rig = Rig::with_coins(2);
    rig.request("one", 1, 25_000);
    let backup = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(rig.directory.path()).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), backup.path().join(file.file_name())).unwrap();
    }
    let txid = rig.wallet.build_batch(RATE).unwrap().txid.unwrap();
    rig.send();
    rig.mine_others(1);

    rig.wallet = open(&rig.chain, backup.path(), Keys::Kept).unwrap().wallet;
    rig.directory = backup;
    rig.catch_up();
    assert_eq!(rig.status("one"), PayoutStatus::Requested, "as it was");
    let error = rig.wallet.build_batch(RATE).unwrap_err();
    assert!(matches!(error, OnchainError::ForeignSpend { txid: found, .. } if found == txid), "{error}");
    // The block goes and comes back: it is still not forgotten, until somebody has dealt with it.
    rig.reorganise(1);
    rig.catch_up();
    rig.mine_others(1);
    assert!(matches!(rig.wallet.build_batch(RATE), Err(OnchainError::ForeignSpend { .. })));
    rig.wallet.withdraw(&id("one")).unwrap();
    assert_eq!(rig.wallet.accept_foreign_spends().unwrap(), 1);
    rig.reorganise(1);
    rig.catch_up();
    rig.mine_others(1);
    rig.request("two", 2, 25_000);
    assert_eq!(rig.wallet.build_batch(RATE).unwrap().signed, [id("two")]);
    assert_eq!(rig.received(&recipient(1)), [Amount::from_sat(25_000)]);
}
