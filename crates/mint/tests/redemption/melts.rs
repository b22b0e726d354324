//! What melts do.

use crate::{
    pool::{EPOCH, MATURITY, Pool, address, bolt11, paid},
    rig::Miner,
};
use bitcoin::Amount as Sats;
use cdk::{Amount, amount::SplitTarget};
use std::collections::HashMap;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_becomes_satoshi_ecash_and_bitcoin() {
    let mut pool = Pool::start().await;
    let alice = Miner::new(1);
    pool.credit(&[(alice.key, EPOCH / 2)]);
    let wallet = pool.claim(&alice, 0).await;
    let sat = pool.sat_wallet(&alice).await;
    let invoice = sat.mint_quote(bolt11(), Some(Amount::from(10_000)), None, None).await.unwrap();

    // Before maturity: no, and when.
    let early =
        wallet.melt_quote(bolt11(), invoice.request.clone(), None, None).await.unwrap_err().to_string();
    assert!(early.contains("epoch 0 is open and not redeemable yet"), "{early}");

    let somebody = Miner::new(9);
    pool.credit(&[(somebody.key, EPOCH / 2)]);
    pool.find_block().await;
    pool.credit(&[(somebody.key, EPOCH)]);
    pool.others_mine(1).await;
    let early =
        wallet.melt_quote(bolt11(), invoice.request.clone(), None, None).await.unwrap_err().to_string();
    assert!(early.contains("epoch 0 is settling") && early.contains("final in 2 blocks"), "{early}");
    pool.others_mine(MATURITY).await;

    // To ecash.
    let quote = wallet.melt_quote(bolt11(), invoice.request.clone(), None, None).await.unwrap();
    let quote_to_ecash = quote.amount;
    let melt = wallet.prepare_melt(&quote.id, HashMap::new()).await.unwrap();
    melt.confirm().await.unwrap();
    sat.mint(&invoice.id, SplitTarget::default(), None).await.unwrap();
    assert_eq!(sat.total_balance().await.unwrap(), Amount::from(10_000));
    pool.assert_balanced(0).await;
    // Paid once, also for another.
    let again = wallet.melt_quote(bolt11(), invoice.request, None, None).await.unwrap_err().to_string();
    assert!(again.contains("paid already") || again.contains("already paid"), "{again}");

    // To an address.
    let target = address(3);
    let options =
        wallet.quote_onchain_melt_options(&target.to_string(), Amount::from(EPOCH / 4), None).await.unwrap();
    let quote = wallet.select_onchain_melt_quote(options[0].clone()).await.unwrap();
    let before = u64::from(wallet.total_balance().await.unwrap());
    let melt = wallet.prepare_melt(&quote.id, HashMap::new()).await.unwrap();
    melt.confirm().await.unwrap();
    paid(&wallet, &quote.id).await;
    pool.others_mine(1).await;
    let worth = Sats::from_sat(12_375_000);
    assert_eq!(pool.received(&target), worth);
    let spent = before - u64::from(wallet.total_balance().await.unwrap());
    assert!(
        spent > EPOCH / 4 && spent < EPOCH / 4 + EPOCH / 100,
        "{spent}: the fee is small, and its rest came back"
    );
    pool.assert_balanced(0).await;

    // The pages tell the same, to the last millisatoshi.
    let page = pool.page("/v1/ehash/epochs/0").await;
    assert_eq!(page["state"], "redeemable");
    assert_eq!(page["redeemed"]["ehash"].as_u64(), Some(spent + u64::from(quote_to_ecash)));
    let part = |name: &str| page["redeemed"][name].as_u64().unwrap();
    let parts = ["paid_msat", "under_way_msat", "redeemable_msat", "dust_msat"].map(part);
    assert_eq!(page["pot"].as_u64(), Some(parts.iter().sum()));
    let reserves = pool.page("/v1/ehash/reserves").await;
    assert_eq!(reserves["liabilities"]["sat_ecash_msat"], 10_000_000);
    let (owned, owed) = (&reserves["reserves_msat"], &reserves["liabilities_msat"]);
    assert_eq!(owned, owed, "nothing is missing and nothing is hidden: {reserves}");

    // And from satoshi ecash to an address.
    let target = address(4);
    let options =
        sat.quote_onchain_melt_options(&target.to_string(), Amount::from(4_000), None).await.unwrap();
    let quote = sat.select_onchain_melt_quote(options[0].clone()).await.unwrap();
    sat.prepare_melt(&quote.id, HashMap::new()).await.unwrap().confirm().await.unwrap();
    paid(&sat, &quote.id).await;
    pool.others_mine(1).await;
    assert_eq!(pool.received(&target), Sats::from_sat(4_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_redeemed_is_refused_in_words() {
    let mut pool = Pool::start().await;
    let alice = Miner::new(1);
    pool.mature_first_epoch(&[(alice.key, 1 << 30)]).await;
    let wallet = pool.claim(&alice, 0).await;
    let melt =
        async |request: &str| wallet.melt_quote(bolt11(), request, None, None).await.unwrap_err().to_string();
    // Somebody else's invoice, as the specification of BOLT 11 has one.
    let foreign = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";
    assert!(melt(foreign).await.contains("none of this mint's"));
    let onchain = async |address: &str, amount: u64| {
        let options = wallet.quote_onchain_melt_options(address, Amount::from(amount), None).await;
        options.unwrap_err().to_string()
    };
    assert!(
        onchain("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 1 << 29).await.contains("no Bitcoin address")
    );
    assert!(onchain(&address(3).to_string(), 1_000).await.contains("too little"));
    // An epoch that nobody found a block for.
    let somebody = Miner::new(99);
    pool.credit(&[(somebody.key, 2 * EPOCH)]);
    pool.others_mine(MATURITY).await;
    let worthless = pool.claim(&somebody, 1).await;
    let options =
        worthless.quote_onchain_melt_options(&address(3).to_string(), Amount::from(EPOCH), None).await;
    assert!(options.unwrap_err().to_string().contains("worth nothing"));
}
