//! Bitcoin Core takes the wallet's transactions, and the wallet takes its blocks.

use {
    crate::{
        real_node::{RealNode, patience},
        rig::{catch_up, id, recipient},
    },
    bitcoin::{Amount, FeeRate, ScriptBuf, consensus},
    node::{Chain, Node, Stop, Submitted, devchain},
    onchain::{Keys, OnchainConfig, OnchainWallet, PayoutStatus},
    std::sync::Arc,
};

fn mine(node: &dyn Node, script: ScriptBuf) {
    let template = node.next_template(None, &Stop::new(), patience()).unwrap();
    let parts = template.coinbase(8, b"test", &template.pay_all(script)).unwrap();
    let root = template.merkle_root(parts.txid(&[1; 8]));
    let unsolved = template.header(template.version, root, template.cur_time, 0);
    let mut header = consensus::deserialize(&unsolved).unwrap();
    assert!(devchain::solve(&mut header));
    let solved = template.header(template.version, root, template.cur_time, header.nonce);
    let block = template.assemble(&parts, &solved, &[1; 8]).unwrap();
    assert_eq!(node.submit_block(&block).unwrap(), Submitted::Accepted);
}

#[test]
fn payouts_on_a_real_node() {
    let real = RealNode::start(Chain::Regtest);
    let node: Arc<dyn Node> = Arc::new(real.connect());
    let directory = tempfile::tempdir().unwrap();
    // Waits until it has started.
    let _ = node.next_template(None, &Stop::new(), patience()).unwrap();
    let config = OnchainConfig { birthday: node.tip().unwrap(), maturity: 100 };
    let wallet = OnchainWallet::open(directory.path(), Arc::clone(&node), Keys::Kept, config).unwrap().wallet;
    for _ in 0..101 {
        mine(&*node, wallet.payout_script().into());
    }
    catch_up(&node, &wallet);
    let reserves = wallet.reserves().unwrap();
    assert_eq!((reserves.mature, reserves.maturing.len()), (Amount::from_int_btc(100), 99));

    let rate = FeeRate::from_sat_per_vb(3).unwrap();
    // All coins that may be spent, and the change of the first batch in the second.
    let payouts = [("a", 1, 9_900_000_000), ("b", 2, 50_000), ("c", 3, 60_000)];
    for batch in payouts.chunks(2) {
        for (name, number, sats) in batch {
            let (script, amount) = (recipient(*number), Amount::from_sat(*sats));
            let max_fee = wallet.estimate(&script, amount, rate).unwrap();
            wallet.request(&id(name), &script, amount, max_fee).unwrap();
        }
        assert_eq!(wallet.build_batch(rate).unwrap().signed.len(), batch.len());
    }
    for _ in 0..2 {
        for sent in wallet.broadcast_pending().unwrap() {
            sent.outcome.unwrap();
        }
    }
    mine(&*node, ScriptBuf::new_op_return([]));
    catch_up(&node, &wallet);
    let block = node.block(&node.tip().unwrap().hash).unwrap();
    assert_eq!(block.txdata.len(), 3);
    for (name, number, sats) in payouts {
        let PayoutStatus::Confirmed { outpoint, height: 102, .. } =
            wallet.payout(&id(name)).unwrap().unwrap().status
        else {
            panic!("{name}");
        };
        let transaction = block.txdata.iter().find(|tx| tx.compute_txid() == outpoint.txid).unwrap();
        let output = &transaction.output[outpoint.vout as usize];
        assert_eq!((output.value, &output.script_pubkey), (Amount::from_sat(sats), &recipient(number)));
    }
    // Sent again it is no error: the chain has it.
    assert!(wallet.broadcast_pending().unwrap().is_empty());

    // The block leaves the chain and comes back.
    let hash = node.tip().unwrap().hash.to_string();
    real.call("invalidateblock", &serde_json::json!([hash]));
    catch_up(&node, &wallet);
    assert!(matches!(wallet.payout(&id("a")).unwrap().unwrap().status, PayoutStatus::Signed { .. }));
    real.call("reconsiderblock", &serde_json::json!([hash]));
    catch_up(&node, &wallet);
    assert!(matches!(wallet.payout(&id("a")).unwrap().unwrap().status, PayoutStatus::Confirmed { .. }));
}
