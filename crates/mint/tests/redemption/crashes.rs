//! The plug is pulled at every step of a redemption: nothing is paid twice, and nothing is lost.

use crate::{
    pool::{Pool, address, bolt11, paid},
    rig::Miner,
};
use assay_mint::redemption::Steps;
use cdk::{Amount, Wallet, amount::SplitTarget};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, mpsc},
};
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{Duration, Instant},
};

/// What a redemption passes at most.
const MOST_STEPS: usize = 12;

/// Pulls the plug: whoever comes to the step stands still, and what is on the disk then is all that is left.
struct Plug {
    steps: Steps,
    pulled: mpsc::Receiver<(&'static str, TempDir)>,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Plug {
    /// At the `at`th step that is passed.
    fn new(at: usize, dir: PathBuf) -> Self {
        let (tell, pulled) = mpsc::channel();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let (count, closed) = (Mutex::new(0), Arc::clone(&gate));
        let steps: Steps = Arc::new(move |name| {
            let mut count = count.lock().unwrap();
            *count += 1;
            if *count == at + 1 {
                let _ = tell.send((name, Pool::disk(&dir)));
            }
            if *count <= at {
                return;
            }
            drop(count);
            // Until the test is over; then the thread must end, and do no more.
            let (open, opened) = &*closed;
            let open = opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap();
            drop(open);
            panic!("killed");
        });
        Self { steps, pulled, gate }
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}

/// Starts a pool whose first epoch is mature, and whose process is killed at a step.
async fn pool_with_plug(at: usize, miner: &Miner) -> (Pool, Wallet, Plug) {
    let mut pool = Pool::start().await;
    pool.mature_first_epoch(&[(miner.key, 1 << 33)]).await;
    let wallet = pool.claim(miner, 0).await;
    let disk = Pool::disk(pool.dir.path());
    let plug = Plug::new(at, disk.path().into());
    pool.restart_from(disk, Some(Arc::clone(&plug.steps))).await;
    (pool, wallet, plug)
}

/// Waits until the plug is pulled, or all is done without.
async fn wait_for(plug: &Plug, done: &JoinHandle<()>) -> Option<(&'static str, TempDir)> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match plug.pulled.try_recv() {
            Ok(pulled) => return Some(pulled),
            Err(_) if done.is_finished() => return plug.pulled.try_recv().ok(),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
        assert!(Instant::now() < deadline, "neither killed nor done after 20 s");
    }
}

/// Waits until the plug is pulled, and has another process and the wallet go on from what is left then. None when all is done
/// without.
async fn killed(
    plug: &Plug,
    melting: JoinHandle<()>,
    pool: &mut Pool,
    wallet: &Wallet,
) -> Option<&'static str> {
    let (step, disk) = wait_for(plug, &melting).await?;
    melting.abort();
    pool.restart_from(disk, None).await;
    wallet.recover_incomplete_sagas().await.unwrap();
    wallet.finalize_pending_melts().await.unwrap();
    Some(step)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn killed_at_any_step_an_invoice_is_paid_once() {
    let mut seen = Vec::new();
    for at in 0..MOST_STEPS {
        let alice = Miner::new(1);
        let (mut pool, wallet, plug) = pool_with_plug(at, &alice).await;
        let sat = pool.sat_wallet(&alice).await;
        let invoice = sat.mint_quote(bolt11(), Some(Amount::from(10_000)), None, None).await.unwrap();
        let quote = wallet.melt_quote(bolt11(), invoice.request.clone(), None, None).await.unwrap();
        let before = wallet.total_balance().await.unwrap();
        let melting = {
            let (wallet, id) = (wallet.clone(), quote.id.clone());
            tokio::spawn(async move {
                let melt = wallet.prepare_melt(&id, HashMap::new()).await.unwrap();
                // Killed in the middle, it fails; what became of it is told later.
                let _ = melt.confirm().await;
            })
        };
        let Some(step) = killed(&plug, melting, &mut pool, &wallet).await else { break };
        seen.push(step);
        let left = wallet.total_balance().await.unwrap();
        if left == before {
            // Given back: then it can be done again.
            let again = wallet.melt_quote(bolt11(), invoice.request.clone(), None, None).await.unwrap();
            wallet.prepare_melt(&again.id, HashMap::new()).await.unwrap().confirm().await.unwrap();
        }
        let cost = u64::from(before) - u64::from(wallet.total_balance().await.unwrap());
        assert_eq!(cost, u64::from(quote.amount), "{step}: paid once");
        sat.mint(&invoice.id, SplitTarget::default(), None).await.unwrap();
        assert_eq!(sat.total_balance().await.unwrap(), Amount::from(10_000), "{step}");
        assert!(sat.mint(&invoice.id, SplitTarget::default(), None).await.is_err(), "{step}");
        pool.assert_balanced(0).await;
    }
    let all = [
        "before a redemption is begun",
        "after a redemption is begun",
        "before an invoice is paid",
        "after an invoice is paid",
        "after an invoice is settled",
        "before CDK hears of a redemption",
    ];
    assert_eq!(seen, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn killed_at_any_step_an_address_is_paid_once() {
    let mut seen = Vec::new();
    for at in 0..MOST_STEPS {
        let alice = Miner::new(1);
        let (mut pool, wallet, plug) = pool_with_plug(at, &alice).await;
        let target = address(3);
        let options = wallet
            .quote_onchain_melt_options(&target.to_string(), Amount::from(1 << 30), None)
            .await
            .unwrap();
        let quote = wallet.select_onchain_melt_quote(options[0].clone()).await.unwrap();
        let before = wallet.total_balance().await.unwrap();
        let melting = {
            let (wallet, id) = (wallet.clone(), quote.id.clone());
            tokio::spawn(async move {
                let melt = wallet.prepare_melt(&id, HashMap::new()).await.unwrap();
                if melt.confirm().await.is_ok() {
                    paid(&wallet, &id).await;
                }
            })
        };
        let Some(step) = killed(&plug, melting, &mut pool, &wallet).await else { break };
        seen.push(step);
        if wallet.total_balance().await.unwrap() == before {
            let again = wallet.select_onchain_melt_quote(
                wallet
                    .quote_onchain_melt_options(&target.to_string(), Amount::from(1 << 30), None)
                    .await
                    .unwrap()[0]
                    .clone(),
            );
            let again = again.await.unwrap();
            wallet.prepare_melt(&again.id, HashMap::new()).await.unwrap().confirm().await.unwrap();
            paid(&wallet, &again.id).await;
        } else {
            paid(&wallet, &quote.id).await;
        }
        // Whatever was sent, is in this block.
        pool.others_mine(2).await;
        let worth = pool.worth(0, 1 << 30);
        assert_eq!(pool.received(&target), worth, "{step}: paid once");
        wallet.finalize_pending_melts().await.unwrap();
        let cost = u64::from(before) - u64::from(wallet.total_balance().await.unwrap());
        assert!(cost > 1 << 30 && cost <= (1 << 30) + u64::from(quote.fee_reserve), "{step}: {cost}");
        pool.assert_balanced(0).await;
    }
    assert!(seen.len() >= 8, "{seen:?}");
    for step in [
        "after a payout is requested",
        "before payouts are signed",
        "after payouts are signed",
        "after a payout is settled",
    ] {
        assert!(seen.contains(&step), "{seen:?}");
    }
}
