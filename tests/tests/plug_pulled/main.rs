//! The plug is pulled before and after every single write that the mint makes while it opens epochs, claims, swaps and
//! redeems. What wallets get after its next start is exact each time.

mod bench;
mod payouts;

use bench::{Bench, Earned};
use cdk::Wallet;
use cdk::amount::SplitTarget;
use cdk::nuts::{PaymentMethod, nut00::KnownMethod};
use cdk::wallet::{ReceiveOptions, SendOptions};
use serde_json::Value;

use assay_system_tests::filled_ledger::{EPOCH, FilledLedger, PARAMS};
use assay_system_tests::http;
use assay_system_tests::wallets::Holder;

/// What the first wallet has earned in the first epoch.
const EARNED: u64 = 1000;
/// All points.
const EVERYWHERE: (u32, usize) = (1, 1);

/// Claims whatever there is.
pub async fn claim(wallet: &Wallet) -> Result<(), cdk::Error> {
    let quote = wallet.mint_quote(PaymentMethod::Custom("ehash".into()), Some(1.into()), None, None).await?;
    if quote.amount_mintable() > 0.into() {
        wallet.mint(&quote.id, SplitTarget::default(), None).await?;
    }
    Ok(())
}

/// What a wallet has that is brought back from its seed.
pub async fn restored(wallet: Wallet) -> u64 {
    wallet.restore().await.expect("the mint answers");
    wallet.total_balance().await.expect("a balance").into()
}

#[test]
fn epochs_are_opened_once() {
    let mut bench = Bench::new(&Earned::Open(EARNED));
    // Two more epochs, which the next start of the mint opens.
    let ledger = FilledLedger::open(&bench.pool.ledger_path(), PARAMS);
    ledger.credit(&[(Holder::new(1).key, 2 * EPOCH)]);
    ledger.close();
    bench.keep();
    let points = bench.at_each_point(EVERYWHERE, |bench, point| {
        let survived = bench.pull_at_start(point);
        bench.mint.restart_with(&[]);
        let mint = bench.mint.url();
        for epoch in 0..=2 {
            let shown = http::get(&format!("{mint}/e/{epoch}/v1/keysets")).expect("the mint answers");
            let shown: Value = serde_json::from_str(&shown.body).expect("JSON");
            assert_eq!(shown["keysets"].as_array().map(Vec::len), Some(1), "point {point}: {shown}");
        }
        bench.runtime.block_on(async {
            let wallet = Holder::new(1).of_epoch(&mint, 1).await;
            claim(&wallet).await.expect("a claim");
            assert_eq!(wallet.total_balance().await.expect("a balance"), EPOCH.into(), "point {point}");
        });
        bench.mint.stop();
        survived
    });
    println!("{points} points while epochs are opened");
    assert!(points > 10, "the plug was never in");
}

#[test]
fn claims_are_given_once() {
    let mut bench = Bench::new(&Earned::Open(EARNED));
    let points = bench.pull_everywhere(
        EVERYWHERE,
        async |_| (),
        async |mint, ()| claim(&Holder::new(1).of_epoch(mint, 0).await).await,
        async |mint, ()| {
            // With its seed alone: what was signed before, and then the rest.
            let wallet = Holder::new(1).of_epoch(mint, 0).await;
            wallet.restore().await.expect("the mint answers");
            claim(&wallet).await.expect("a claim");
            assert_eq!(restored(Holder::new(1).of_epoch(mint, 0).await).await, EARNED);
            claim(&wallet).await.expect("nothing more to claim");
            assert_eq!(wallet.total_balance().await.expect("a balance"), EARNED.into());
        },
    );
    println!("{points} points in a claim");
    assert!(points > 10, "the plug was never in");
}

#[test]
fn swaps_lose_and_double_nothing() {
    let mut bench = Bench::new(&Earned::Open(EARNED));
    let claimed = async |mint: &str| {
        let wallet = Holder::new(1).of_epoch(mint, 0).await;
        claim(&wallet).await.expect("a claim");
        wallet
    };
    let points = bench.pull_everywhere(
        EVERYWHERE,
        claimed,
        async |mint, wallet| {
            let send = wallet.prepare_send(300.into(), SendOptions::default()).await?;
            let token = send.confirm(None).await?.to_string();
            Holder::new(2).of_epoch(mint, 0).await.receive(&token, ReceiveOptions::default()).await?;
            Ok(())
        },
        async |mint, _| {
            let first = restored(Holder::new(1).of_epoch(mint, 0).await).await;
            let second = restored(Holder::new(2).of_epoch(mint, 0).await).await;
            assert_eq!(first + second, EARNED, "{first} and {second}");
        },
    );
    println!("{points} points in a swap to send and one to receive");
    assert!(points > 10, "the plug was never in");
}

#[test]
fn redemptions_are_paid_once_or_given_back() {
    // They have twice as many points as the rest.
    let halves = [(1, 2), (2, 2)].map(|which| std::thread::spawn(move || redeem_and_pull(which)));
    let points = halves.map(|half| half.join().expect("no panic")).into_iter().max();
    println!("{points:?} points in a redemption to ecash");
    assert!(points > Some(20), "the plug was never in");
}

fn redeem_and_pull(which: (u32, usize)) -> u32 {
    const SATS: u64 = 600;
    let bolt11 = || PaymentMethod::Known(KnownMethod::Bolt11);
    let mut bench = Bench::new(&Earned::Mature(EARNED));
    let prepare = async |mint: &str| {
        let wallet = Holder::new(1).of_epoch(mint, 0).await;
        claim(&wallet).await.expect("a claim");
        let sat = Holder::new(1).of_sat(mint).await;
        let invoice = sat.mint_quote(bolt11(), Some(SATS.into()), None, None).await.expect("an invoice");
        (wallet, sat, invoice)
    };
    bench.pull_everywhere(
        which,
        prepare,
        async |_, (wallet, sat, invoice)| {
            let quote = wallet.melt_quote(bolt11(), invoice.request.clone(), None, None).await?;
            wallet.prepare_melt(&quote.id, Default::default()).await?.confirm().await?;
            sat.mint(&invoice.id, SplitTarget::default(), None).await?;
            Ok(())
        },
        async |mint, (_, sat, invoice)| {
            let paid = sat.check_mint_quote(&invoice.id).await.expect("the mint answers").amount_paid;
            let left = restored(Holder::new(1).of_epoch(mint, 0).await).await;
            // A satoshi for each eHash.
            assert!([0, SATS].contains(&paid.into()), "paid in parts: {paid}");
            assert_eq!(left + u64::from(paid), EARNED, "{left} left, {paid} paid");
            let again = Holder::new(1).of_sat(mint).await;
            again.restore().await.expect("the mint answers");
            if again.total_balance().await.expect("a balance") < paid {
                sat.mint(&invoice.id, SplitTarget::default(), None).await.expect("what was paid for");
            }
            assert_eq!(restored(Holder::new(1).of_sat(mint).await).await, u64::from(paid));
        },
    )
}
