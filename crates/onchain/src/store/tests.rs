//! The file by itself: creation, refusal, writes that fail.

use crate::{Keys, OnchainConfig, OnchainError, OnchainWallet, PayoutId, PayoutStatus, StoreError};
use bitcoin::{Amount, FeeRate, ScriptBuf, hashes::Hash};
use node::{ChainEvent, Devchain, DevchainConfig, Node, Tip};
use rusqlite::Connection;
use std::{path::Path, sync::Arc};

fn chain() -> Devchain {
    let config = DevchainConfig { maturity: 1, ..DevchainConfig::default() };
    Devchain::new(config, Arc::new(|| 1_750_000_000)).unwrap()
}

fn open(chain: &Devchain, directory: &Path) -> Result<OnchainWallet, OnchainError> {
    let birthday = Tip { height: 0, hash: chain.block_hash(0).unwrap().unwrap() };
    let config = OnchainConfig { birthday, maturity: 1 };
    let opened = OnchainWallet::open(directory, Arc::new(chain.clone()), Keys::Kept, config)?;
    Ok(opened.wallet)
}

fn refused(chain: &Devchain, directory: &Path) -> StoreError {
    match open(chain, directory) {
        Err(OnchainError::Store(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is opened"),
    }
}

#[test]
fn files_that_are_no_wallet_are_left_alone() {
    let (chain, directory) = (chain(), tempfile::tempdir().unwrap());
    let path = directory.path().join(super::FILE);
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(refused(&chain, directory.path()), StoreError::NotAWallet { .. }));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    std::fs::write(&path, "no database at all ".repeat(100)).unwrap();
    assert!(matches!(refused(&chain, directory.path()), StoreError::NotAWallet { .. }));
}

#[test]
fn a_newer_schema_is_refused() {
    let (chain, directory) = (chain(), tempfile::tempdir().unwrap());
    drop(open(&chain, directory.path()).unwrap());
    let db = Connection::open(directory.path().join(super::FILE)).unwrap();
    db.pragma_update(None, "user_version", 2).unwrap();
    drop(db);
    let error = refused(&chain, directory.path());
    assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn a_confirmation_without_its_block_is_damage() {
    let (chain, directory) = (chain(), tempfile::tempdir().unwrap());
    drop(open(&chain, directory.path()).unwrap());
    let db = Connection::open(directory.path().join(super::FILE)).unwrap();
    let insert = "INSERT INTO transactions (txid, raw, fee, height, block)
                  VALUES (zeroblob(32), x'', 1, 7, zeroblob(32))";
    db.execute_batch(insert).unwrap();
    drop(db);
    let error = refused(&chain, directory.path());
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
}

/// What the code never does the file does not allow either.
#[test]
fn the_file_guards_what_was_signed() {
    let (chain, directory) = (chain(), tempfile::tempdir().unwrap());
    drop(open(&chain, directory.path()).unwrap());
    let db = Connection::open(directory.path().join(super::FILE)).unwrap();
    db.execute_batch(
        "INSERT INTO transactions (txid, raw, fee) VALUES (zeroblob(32), x'', 1);
         INSERT INTO payouts (id, script, amount, max_fee, txid, vout, fee)
         VALUES ('one', x'51', 1000, 10, zeroblob(32), 0, 1)",
    )
    .unwrap();
    for sql in [
        "UPDATE payouts SET txid = NULL, vout = NULL, fee = NULL",
        "UPDATE payouts SET withdrawn = 1",
        "DELETE FROM payouts",
        "DELETE FROM transactions",
        "INSERT INTO payouts (id, script, amount, max_fee, txid, vout, fee)
         VALUES ('two', x'51', 1000, 10, zeroblob(32), 1, 11)",
    ] {
        assert!(db.execute(sql, []).is_err(), "{sql}");
    }
}

/// A write that fails at any place leaves neither file nor memory changed, and nothing has been sent.
#[test]
fn a_write_that_fails_changes_nothing() {
    let (chain, directory) = (chain(), tempfile::tempdir().unwrap());
    let wallet = open(&chain, directory.path()).unwrap();
    let follow = |tip: Tip| wallet.follow(ChainEvent::Connected { height: tip.height, hash: tip.hash });
    let ours: ScriptBuf = wallet.payout_script().into();
    follow(chain.mine_block(ours.clone()).unwrap()).unwrap();
    let script = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::all_zeros());
    let id = PayoutId::new("one").unwrap();
    let fee = Amount::from_sat(10_000);
    wallet.request(&id, &script, Amount::from_sat(5_000), fee).unwrap();
    // On this connection alone, so that it heals when the wallet opens the file anew.
    let break_at = |place: &str| {
        let sql =
            format!("CREATE TEMP TRIGGER broken BEFORE {place} BEGIN SELECT RAISE(ABORT, 'broken'); END");
        wallet.books().unwrap().store.db().execute_batch(&sql).unwrap();
    };

    let before = wallet.reserves().unwrap();
    for place in ["INSERT ON transactions", "UPDATE ON payouts", "INSERT ON bdk_txs"] {
        break_at(place);
        let error = wallet.build_batch(FeeRate::BROADCAST_MIN).unwrap_err();
        assert!(matches!(error, OnchainError::Store(StoreError::Sqlite { .. })), "{error}");
        assert_eq!(wallet.reserves().unwrap(), before, "{place}");
        assert_eq!(wallet.payout(&id).unwrap().unwrap().status, PayoutStatus::Requested);
        assert!(wallet.broadcast_pending().unwrap().is_empty());
    }
    let batch = wallet.build_batch(FeeRate::BROADCAST_MIN).unwrap();
    assert_eq!(batch.signed, std::slice::from_ref(&id));
    wallet.broadcast_pending().unwrap()[0].outcome.as_ref().unwrap();
    assert_eq!(chain.mempool(), [batch.txid.unwrap()]);

    let before = wallet.reserves().unwrap();
    let tip = chain.mine_block(ours).unwrap();
    for place in ["INSERT ON bdk_blocks", "UPDATE ON transactions", "INSERT ON bdk_anchors"] {
        break_at(place);
        follow(tip).unwrap_err();
        assert_eq!(wallet.reserves().unwrap(), before, "{place}");
    }
    follow(tip).unwrap();
    assert!(matches!(wallet.payout(&id).unwrap().unwrap().status, PayoutStatus::Confirmed { .. }));
    let after = wallet.reserves().unwrap();
    chain.invalidate(&tip.hash).unwrap();
    let gone = ChainEvent::Disconnected { height: tip.height, hash: tip.hash };
    for place in ["DELETE ON bdk_blocks", "UPDATE ON transactions"] {
        break_at(place);
        wallet.follow(gone).unwrap_err();
        assert_eq!(wallet.reserves().unwrap(), after, "{place}");
    }
    wallet.follow(gone).unwrap();
    assert!(matches!(wallet.payout(&id).unwrap().unwrap().status, PayoutStatus::Signed { .. }));
    assert_eq!(wallet.reserves().unwrap(), before);
}
