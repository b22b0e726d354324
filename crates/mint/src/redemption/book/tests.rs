use super::*;
use ledger::{Epoch, Msats};
use work::Ehash;

const RATE: Rate = Rate::Epoch { pot: Msats::new(1_000_000), size: Ehash::new(1_000_000) };

fn book() -> (tempfile::TempDir, RedemptionBook) {
    let dir = tempfile::tempdir().unwrap();
    let book = RedemptionBook::open(&dir.path().join("redemptions.db")).unwrap();
    (dir, book)
}

fn redemption(quote: &str, way: Way, target: &str, sats: u64) -> Redemption {
    Redemption {
        quote: quote.into(),
        unit: EpochUnit(Epoch(3)).to_cashu(),
        way,
        target: target.into(),
        amount: sats * 1000,
        reserve: 5_000,
        sats: Amount::from_sat(sats),
        fee: Amount::from_sat(5),
    }
}

#[test]
fn a_redemption_is_begun_once_and_settled_once() {
    let (dir, book) = book();
    let first = redemption("a", Way::Onchain, "bc1", 100);
    assert_eq!(book.begin(&first, RATE).unwrap(), Progress::Begun);
    assert_eq!(book.begin(&first, RATE).unwrap(), Progress::Begun);
    let other = redemption("a", Way::Onchain, "bc1", 101);
    assert!(matches!(book.begin(&other, RATE), Err(BookError::Conflict { .. })));
    assert_eq!(book.decide("a").unwrap(), (Some(first.clone()), Progress::Begun));
    assert_eq!(book.under_way(Way::Onchain, 10).unwrap(), vec![first.clone()]);
    let sums = book.redeemed(EpochUnit(Epoch(3))).unwrap();
    assert_eq!((sums.under_way, sums.under_way_sats), (105_000, Amount::from_sat(105)));

    book.settle("a", 102_000, Amount::from_sat(2)).unwrap();
    book.settle("a", 102_000, Amount::from_sat(2)).unwrap();
    assert!(matches!(book.settle("a", 103_000, Amount::from_sat(3)), Err(BookError::Conflict { .. })));
    // As another process finds it.
    drop(book);
    let book = RedemptionBook::open(&dir.path().join("redemptions.db")).unwrap();
    let paid = Progress::Paid { spent: 102_000, fee: Amount::from_sat(2) };
    assert_eq!(book.redemption("a").unwrap(), Some((first, paid)));
    let sums = book.redeemed(EpochUnit(Epoch(3))).unwrap();
    let expected = Redeemed {
        spent: 102_000,
        sats: Amount::from_sat(100),
        fees: Amount::from_sat(2),
        ..Redeemed::default()
    };
    assert_eq!(sums, expected);
    assert_eq!(book.redeemed(EpochUnit(Epoch(4))).unwrap(), Redeemed::default());
    assert_eq!(book.redeemed_epochs().unwrap(), expected);
    assert_eq!(book.redeemed_sat().unwrap(), Redeemed::default());
}

#[test]
fn what_was_not_begun_when_somebody_asked_never_is() {
    let (_dir, book) = book();
    assert_eq!(book.decide("a").unwrap(), (None, Progress::Refused));
    let late = redemption("a", Way::Onchain, "bc1", 100);
    assert_eq!(book.begin(&late, RATE).unwrap(), Progress::Refused);
    assert_eq!(book.decide("a").unwrap().1, Progress::Refused);
    assert!(matches!(book.settle("a", 100_000, Amount::ZERO), Err(BookError::Conflict { .. })));
    assert!(matches!(book.settle("b", 100_000, Amount::ZERO), Err(BookError::Conflict { .. })));
}

#[test]
fn an_invoice_has_one_payer() {
    let (_dir, book) = book();
    book.begin(&redemption("a", Way::Ecash, "00ff", 100), RATE).unwrap();
    let second = book.begin(&redemption("b", Way::Ecash, "00ff", 100), RATE);
    assert!(matches!(second, Err(BookError::Conflict { .. })));
    // An address is paid as often as anybody likes.
    book.begin(&redemption("c", Way::Onchain, "bc1", 100), RATE).unwrap();
    book.begin(&redemption("d", Way::Onchain, "bc1", 100), RATE).unwrap();
}

#[test]
fn no_epoch_pays_more_than_its_pot() {
    let (_dir, book) = book();
    book.begin(&redemption("a", Way::Onchain, "bc1", 900), RATE).unwrap();
    let over = book.begin(&redemption("b", Way::Onchain, "bc1", 100), RATE).unwrap_err().to_string();
    assert!(over.contains("ehash-3") && over.contains("left"), "{over}");
    book.settle("a", 900_000, Amount::ZERO).unwrap();
    assert_eq!(book.begin(&redemption("b", Way::Onchain, "bc1", 95), RATE).unwrap(), Progress::Begun);
}

#[test]
fn nothing_is_begun_of_an_epoch_that_has_ended() {
    let (dir, book) = book();
    let first = redemption("a", Way::Onchain, "bc1", 100);
    book.begin(&first, RATE).unwrap();
    let sums = book.end(EpochUnit(Epoch(3))).unwrap();
    assert_eq!((sums.under_way_sats, sums.sats), (Amount::from_sat(105), Amount::ZERO));
    // What was begun is paid.
    assert_eq!(book.begin(&first, RATE).unwrap(), Progress::Begun);
    assert_eq!(book.begin(&redemption("b", Way::Ecash, "00ff", 100), RATE).unwrap(), Progress::Refused);
    assert_eq!(book.decide("b").unwrap().1, Progress::Refused);
    book.settle("a", 102_000, Amount::from_sat(2)).unwrap();
    // So it stays, for every process; other epochs go on.
    drop(book);
    let book = RedemptionBook::open(&dir.path().join("redemptions.db")).unwrap();
    assert_eq!(book.begin(&redemption("c", Way::Onchain, "bc1", 1), RATE).unwrap(), Progress::Refused);
    let other =
        Redemption { unit: EpochUnit(Epoch(4)).to_cashu(), ..redemption("d", Way::Onchain, "bc1", 1) };
    assert_eq!(book.begin(&other, RATE).unwrap(), Progress::Begun);
    let sums = book.end(EpochUnit(Epoch(3))).unwrap();
    assert_eq!((sums.under_way, sums.sats, sums.fees), (0, Amount::from_sat(100), Amount::from_sat(2)));
}

#[test]
fn a_book_of_before_ends_is_brought_up() {
    let (dir, book) = book();
    book.begin(&redemption("a", Way::Onchain, "bc1", 100), RATE).unwrap();
    book.lock().execute_batch("DROP TABLE ended; PRAGMA user_version = 2").unwrap();
    drop(book);
    for _ in 0..2 {
        let book = RedemptionBook::open(&dir.path().join("redemptions.db")).unwrap();
        assert_eq!(book.end(EpochUnit(Epoch(3))).unwrap().under_way, 105_000);
    }
}

#[test]
fn other_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("redemptions.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA user_version = 7; CREATE TABLE precious (thing TEXT)").unwrap();
    drop(db);
    assert!(matches!(RedemptionBook::open(&path), Err(BookError::Foreign(_))));
}

#[test]
fn sums_that_are_not_those_of_the_rows_are_noticed() {
    for damage in ["UPDATE sums SET spent = spent + 1", "DELETE FROM sums", "DELETE FROM redemptions"] {
        let (dir, book) = book();
        book.begin(&redemption("a", Way::Onchain, "bc1", 900), RATE).unwrap();
        book.settle("a", 900_000, Amount::ZERO).unwrap();
        book.lock().execute_batch(damage).unwrap();
        drop(book);
        let reopened = RedemptionBook::open(&dir.path().join("redemptions.db"));
        assert!(matches!(reopened, Err(BookError::Damaged(_))), "{damage}");
    }
}
