//! Branches, mempool and templates of a devchain.

use {
    assay_node::{
        BlockReserve, Devchain, DevchainConfig, Node, NodeError, Stop, Submitted, Template,
        bitcoin::{
            Amount, Block, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness,
            absolute::LockTime, block::Header, consensus, transaction,
        },
        devchain,
    },
    std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        time::{Duration, Instant},
    },
};

const NOW: u32 = 1_750_000_000;

fn op_true() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

fn config() -> DevchainConfig {
    DevchainConfig { maturity: 1, fee_refresh: Duration::ZERO, ..DevchainConfig::default() }
}

fn chain_of(config: DevchainConfig, blocks: u32) -> Devchain {
    let chain = Devchain::new(config, Arc::new(|| NOW)).unwrap();
    for _ in 0..blocks {
        chain.mine_block(op_true()).unwrap();
    }
    chain
}

fn template(chain: &Devchain) -> Template {
    chain.next_template(None, &Stop::new(), None).unwrap()
}

fn spend(outpoint: OutPoint, value: Amount, witness: Witness) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness,
        }],
        output: vec![TxOut { value, script_pubkey: op_true() }],
    }
}

/// Spends the chain's `n`th coin and leaves a fee.
fn pay_fee(chain: &Devchain, n: usize, fee: u64) -> Transaction {
    let coin = &chain.coins(&op_true())[n];
    spend(coin.outpoint, coin.output.value - Amount::from_sat(fee), Witness::new())
}

fn refused(chain: &Devchain, tx: &Transaction) -> String {
    match chain.broadcast(tx) {
        Err(NodeError::TransactionRefused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Solves a block for the template whose outputs are `outputs`.
fn solved(template: &Template, tag: &[u8], outputs: &[TxOut]) -> Vec<u8> {
    let parts = template.coinbase(32, tag, outputs).unwrap();
    let root = template.merkle_root(parts.txid(&[7; 32]));
    let bytes = template.header(template.version, root, template.cur_time, 0);
    let mut header: Header = consensus::deserialize(&bytes).unwrap();
    assert!(devchain::solve(&mut header));
    let bytes = template.header(template.version, root, template.cur_time, header.nonce);
    template.assemble(&parts, &bytes, &[7; 32]).unwrap()
}

// proves: TP-03 MP-104
#[test]
fn templates_carry_the_mempool_and_its_fees() {
    let chain = chain_of(config(), 4);
    let before = template(&chain);
    assert_eq!(before.height, 5);
    assert_eq!(before.prev_hash, chain.tip().unwrap().hash);
    assert_eq!((before.coinbase_locktime, before.coinbase_sequence), (4, 0xffff_fffe));
    assert!(before.transactions.is_empty());

    let parent = pay_fee(&chain, 0, 1_000);
    let paid = parent.output[0].value - Amount::from_sat(300);
    let child = spend(OutPoint { txid: parent.compute_txid(), vout: 0 }, paid, Witness::new());
    chain.broadcast(&parent).unwrap();
    chain.broadcast(&child).unwrap();
    assert_eq!(chain.broadcast(&parent).unwrap(), parent.compute_txid(), "twice is no error");

    let after = chain.next_template(Some(&before.id), &Stop::new(), None).unwrap();
    assert_eq!(after.coinbase_value, before.coinbase_value + Amount::from_sat(1_300));
    let txids: Vec<_> = after.transactions.iter().map(|tx| tx.txid).collect();
    assert_eq!(txids, [parent.compute_txid(), child.compute_txid()]);
    assert_eq!(chain.mempool(), txids);

    let block = solved(&after, b"", &after.pay_all(op_true()));
    assert_eq!(chain.submit_block(&block).unwrap(), Submitted::Accepted);
    assert!(chain.mempool().is_empty());
    let block: Block = consensus::deserialize(&block).unwrap();
    assert_eq!(chain.block(&block.block_hash()).unwrap(), block);
}

#[test]
fn the_mempool_refuses_what_no_block_may_hold() {
    let chain = chain_of(DevchainConfig { maturity: 3, ..config() }, 4);
    let first = pay_fee(&chain, 0, 1_000);
    chain.broadcast(&first).unwrap();
    let again = spend(first.input[0].previous_output, Amount::ONE_SAT, Witness::new());
    assert_eq!(refused(&chain, &again), "txn-mempool-conflict");

    let coins = chain.coins(&op_true());
    assert!(coins.iter().all(|coin| coin.outpoint != first.input[0].previous_output));
    let young = spend(coins.last().unwrap().outpoint, Amount::ONE_SAT, Witness::new());
    assert_eq!(refused(&chain, &young), "bad-txns-premature-spend-of-coinbase");
    let nowhere = spend(OutPoint { vout: 7, ..coins[0].outpoint }, Amount::ONE_SAT, Witness::new());
    assert_eq!(refused(&chain, &nowhere), "bad-txns-inputs-missingorspent");
    let rich = spend(coins[0].outpoint, coins[0].output.value + Amount::ONE_SAT, Witness::new());
    assert_eq!(refused(&chain, &rich), "bad-txns-in-belowout");
    let mut late = spend(coins[0].outpoint, Amount::ONE_SAT, Witness::new());
    late.input[0].sequence = Sequence::ENABLE_LOCKTIME_NO_RBF;
    late.lock_time = LockTime::from_consensus(5);
    assert_eq!(refused(&chain, &late), "non-final");
    late.lock_time = LockTime::from_consensus(template(&chain).min_time - 1);
    assert_eq!(refused(&chain, &late), "non-final");
    late.lock_time = LockTime::ZERO;
    late.input[0].sequence = Sequence::from_height(1);
    assert_eq!(refused(&chain, &late), "non-BIP68-final");
    let coinbase = &chain.block(&chain.tip().unwrap().hash).unwrap().txdata[0];
    assert_eq!(refused(&chain, coinbase), "coinbase");
    let mut heavy = spend(coins[0].outpoint, Amount::ONE_SAT, Witness::new());
    heavy.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x51; 100_000]);
    assert_eq!(refused(&chain, &heavy), "tx-size");
    assert_eq!(chain.mempool(), [first.compute_txid()]);
}

#[test]
fn the_mempool_is_bounded() {
    let chain = chain_of(DevchainConfig { max_mempool_bytes: 100, ..config() }, 4);
    chain.broadcast(&pay_fee(&chain, 0, 1)).unwrap();
    assert_eq!(refused(&chain, &pay_fee(&chain, 0, 1)), "mempool full");
}

#[test]
fn the_branch_with_most_work_wins_and_the_first_among_equals() {
    let chain = chain_of(config(), 3);
    let fork = chain.block_hash(1).unwrap().unwrap();
    let old = chain.tip().unwrap();
    let branch = chain.mine_fork(&fork, 2).unwrap();
    assert_eq!(chain.tip().unwrap(), old, "equal work changes nothing");
    assert_eq!(chain.block_info(&branch[1].hash).unwrap().unwrap().confirmations, None);

    let longer = chain.mine_fork(&branch[1].hash, 1).unwrap();
    assert_eq!(chain.tip().unwrap(), longer[0]);
    assert_eq!(chain.block_hash(2).unwrap(), Some(branch[0].hash));
    let info = chain.block_info(&old.hash).unwrap().unwrap();
    assert_eq!((info.height, info.confirmations), (3, None));
    assert_eq!(chain.block_info(&fork).unwrap().unwrap().confirmations, Some(4));

    chain.invalidate(&branch[0].hash).unwrap();
    assert_eq!(chain.tip().unwrap(), old);
    assert!(chain.mine_fork(&longer[0].hash, 1).is_err(), "nothing builds on an invalid block");
    chain.reconsider(&branch[1].hash).unwrap();
    assert_eq!(chain.tip().unwrap(), longer[0]);

    let genesis = chain.block_hash(0).unwrap().unwrap();
    assert!(chain.invalidate(&genesis).is_err());
    let unknown: BlockHash = "11".repeat(32).parse().unwrap();
    assert!(matches!(chain.invalidate(&unknown), Err(NodeError::UnknownBlock { .. })));
    assert!(matches!(chain.block(&unknown), Err(NodeError::UnknownBlock { .. })));
    assert_eq!(chain.block_info(&unknown).unwrap(), None);
}

#[test]
fn a_reorg_moves_coins_and_transactions() {
    let chain = chain_of(config(), 3);
    let fork = chain.tip().unwrap();
    let coins = chain.coins(&op_true());
    let kept = pay_fee(&chain, 0, 10);
    chain.broadcast(&kept).unwrap();
    let lost_block = chain.mine_block(op_true()).unwrap();
    // Depends on the block about to be lost.
    let lost = pay_fee(&chain, 3, 10);
    chain.broadcast(&lost).unwrap();
    assert_eq!(
        lost.input[0].previous_output.txid,
        chain.block(&lost_block.hash).unwrap().txdata[1].compute_txid()
    );

    chain.mine_fork(&fork.hash, 2).unwrap();
    assert_eq!(chain.mempool(), [kept.compute_txid(), lost.compute_txid()], "both can be mined again");
    chain.invalidate(&chain.block_hash(4).unwrap().unwrap()).unwrap();
    assert_eq!(chain.tip().unwrap(), lost_block);
    chain.invalidate(&lost_block.hash).unwrap();
    assert_eq!(chain.tip().unwrap(), fork);
    let waiting = chain.mempool();
    assert_eq!(waiting, [kept.compute_txid(), lost.compute_txid()]);
    chain.mine_block(op_true()).unwrap();
    assert!(chain.mempool().is_empty());
    assert!(!chain.coins(&op_true()).contains(&coins[0]), "spent again on the new branch");
}

#[test]
fn a_branch_with_a_bad_block_is_left_for_the_next_best() {
    let chain = chain_of(config(), 3);
    let fork = chain.block_hash(2).unwrap().unwrap();
    let best = chain.tip().unwrap();
    // On a branch the inputs are not looked at before it becomes the best.
    let side = chain.mine_fork(&fork, 1).unwrap()[0];
    chain.invalidate(&best.hash).unwrap();
    let bad_template = template(&chain);
    assert_eq!(bad_template.prev_hash, side.hash);
    let bad = {
        let outputs = bad_template.pay_all(op_true());
        let mut block: Block = consensus::deserialize(&solved(&bad_template, b"", &outputs)).unwrap();
        block.txdata[0].output[0].value += Amount::ONE_SAT;
        block.header.merkle_root = block.compute_merkle_root().unwrap();
        assert!(devchain::solve(&mut block.header));
        block
    };
    chain.reconsider(&best.hash).unwrap();
    assert_eq!(chain.tip().unwrap(), best, "first among equals again");
    let coins = chain.coins(&op_true());
    let answer = chain.submit_block(&consensus::serialize(&bad)).unwrap();
    assert_eq!(answer, Submitted::Rejected("bad-cb-amount".into()));
    assert_eq!(chain.tip().unwrap(), best);
    assert_eq!(chain.coins(&op_true()), coins);
}

#[test]
fn time_is_passed_in_and_moves_the_median() {
    let now = Arc::new(AtomicU32::new(NOW));
    let clock = Arc::clone(&now);
    let chain = Devchain::new(config(), Arc::new(move || clock.load(Ordering::Relaxed))).unwrap();
    for _ in 0..11 {
        chain.mine_block(op_true()).unwrap();
    }
    let time = |height| chain.block_info(&chain.block_hash(height).unwrap().unwrap()).unwrap().unwrap().time;
    let mut times: Vec<u32> = (1..=11).map(time).collect();
    times.sort_unstable();
    assert_eq!(template(&chain).min_time, times[5] + 1);
    assert!(times[5] >= NOW);
    now.store(NOW - 1_000, Ordering::Relaxed);
    let behind = template(&chain);
    assert_eq!(behind.cur_time, behind.min_time, "a clock behind the median gives way");
    chain.mine_block(op_true()).unwrap();
}

#[test]
fn waits_end_with_news_stop_or_deadline() {
    let chain = chain_of(config(), 1);
    let known = template(&chain);
    let soon = || Some(Instant::now() + Duration::from_millis(20));
    let waited = chain.next_template(Some(&known.id), &Stop::new(), soon());
    assert!(matches!(waited, Err(NodeError::Deadline)));

    let (stop, waiter, id) = (Stop::new(), chain.clone(), known.id.clone());
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || waiter.next_template(Some(&id), &stopped, None));
    stop.stop();
    assert!(matches!(thread.join().unwrap(), Err(NodeError::Stopped)));

    let (waiter, id) = (chain.clone(), known.id.clone());
    let thread = std::thread::spawn(move || waiter.next_template(Some(&id), &Stop::new(), None));
    let tip = chain.mine_block(op_true()).unwrap();
    assert_eq!(thread.join().unwrap().unwrap().prev_hash, tip.hash);

    let known = chain.wait_tip(&tip.hash, &Stop::new(), soon().unwrap()).unwrap();
    assert_eq!(known, tip);
    assert_eq!(chain.status().tip, Some(tip));
    assert_eq!(chain.status().templates, 2);
}

/// More transactions than a block can hold, with and without witness.
fn overfull(reserve: BlockReserve) -> Devchain {
    let chain = chain_of(DevchainConfig { reserve, max_mempool_bytes: 20_000_000, ..config() }, 60);
    for n in 0..58 {
        let mut tx = pay_fee(&chain, 0, 1_000);
        tx.output.push(TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::from_bytes(vec![0x51; 20_000 + n]),
        });
        chain.broadcast(&tx).unwrap();
    }
    chain
}

// proves: TD-10 TD-11 TD-12 TD-13 TD-14 TD-15 TD-16 TD-18 LIM-20 MP-44
#[test]
fn the_full_allowance_always_fits() {
    for (size, sigops) in [(9, 0), (300, 4), (10_000, 400), (100_000, 2_000)] {
        let reserve = BlockReserve::segwit(size, sigops);
        let chain = overfull(reserve);
        let template = template(&chain);
        assert!(template.transactions.len() < chain.mempool().len(), "the block is full");

        // The last output takes all of the allowance: 8 bytes of amount, the script's length and the script.
        let len_bytes = if size < 9 + 0xfd {
            1
        } else if size < 0x1_0000 + 11 {
            3
        } else {
            5
        };
        let script_len = size as usize - 8 - len_bytes;
        let mut script = vec![0xac; usize::from(sigops) / 4];
        script.resize(script_len, 0x51);
        let outputs = template.pay_all(ScriptBuf::from_bytes(script));
        assert_eq!(outputs.iter().map(TxOut::size).sum::<usize>(), size as usize);

        let block = solved(&template, &[0xac; 60], &outputs);
        let decoded: Block = consensus::deserialize(&block).unwrap();
        // The tag leaves room for higher heights than this one; the allowance holds for a scriptSig of 100 bytes.
        let to_the_limit = 4 * (100 - decoded.txdata[0].input[0].script_sig.len() as u64);
        assert!(decoded.weight().to_wu() + to_the_limit <= 4_000_000);
        assert_eq!(chain.submit_block(&block).unwrap(), Submitted::Accepted);
    }
}

// proves: TD-13 TD-18
#[test]
fn a_template_can_be_cut_to_a_larger_allowance() {
    let chain = overfull(BlockReserve::segwit(0, 0));
    let full = template(&chain);
    let big = full.pay_all(ScriptBuf::from_bytes(vec![0x51; 200_000]));
    assert!(full.coinbase(32, b"", &big).is_err());
    let cut = full.with_reserve(&BlockReserve::segwit(200_020, 0));
    let outputs = cut.pay_all(big[0].script_pubkey.clone());
    let block = solved(&cut, &[1; 60], &outputs);
    assert_eq!(chain.submit_block(&block).unwrap(), Submitted::Accepted);
}
