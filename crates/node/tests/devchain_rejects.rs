//! Every reason for which a devchain refuses a block, provoked.

use {
    assay_node::{
        Devchain, DevchainConfig, Node, Stop, Submitted, Template,
        bitcoin::{
            Amount, Block, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness,
            absolute::LockTime, block::Version, consensus, opcodes::all::OP_CHECKMULTISIG, transaction,
        },
        devchain,
    },
    std::sync::Arc,
};

const NOW: u32 = 1_750_000_000;
const MATURITY: u32 = 3;

fn op_true() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

fn chain() -> Devchain {
    let config = DevchainConfig { maturity: MATURITY, ..DevchainConfig::default() };
    let chain = Devchain::new(config, Arc::new(|| NOW)).unwrap();
    for _ in 0..5 {
        chain.mine_block(op_true()).unwrap();
    }
    chain
}

fn template(chain: &Devchain) -> Template {
    chain.next_template(None, &Stop::new(), None).unwrap()
}

/// A block that the chain would take, not yet solved.
fn good_block(chain: &Devchain) -> Block {
    let template = template(chain);
    let parts = template.coinbase(24, b"test", &template.pay_all(op_true())).unwrap();
    let root = template.merkle_root(parts.txid(&[0; 24]));
    let header = template.header(template.version, root, template.cur_time, 0);
    consensus::deserialize(&template.assemble(&parts, &header, &[0; 24]).unwrap()).unwrap()
}

/// Corrects what depends on the transactions: commitment, merkle root, nonce.
fn seal(block: &mut Block) {
    let witness_root = block.witness_root().unwrap();
    let commitment = Block::compute_witness_commitment(&witness_root, &[0; 32]);
    if let Some(output) =
        block.txdata[0].output.iter_mut().rfind(|output| output.script_pubkey.is_op_return())
    {
        let script = [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed], &commitment.to_raw_hash()[..]].concat();
        output.script_pubkey = ScriptBuf::from_bytes(script);
    }
    resolve(block);
}

/// Corrects merkle root and nonce only.
fn resolve(block: &mut Block) {
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    assert!(devchain::solve(&mut block.header));
}

fn submit(chain: &Devchain, block: &Block) -> Submitted {
    chain.submit_block(&consensus::serialize(block)).unwrap()
}

/// A block changed by `change` is refused for `reason`, and the chain goes on.
#[track_caller]
fn case(change: impl FnOnce(&Devchain, &mut Block), reason: &str) {
    let chain = chain();
    let mut block = good_block(&chain);
    let tip = chain.tip().unwrap();
    change(&chain, &mut block);
    assert_eq!(submit(&chain, &block), Submitted::Rejected(reason.into()));
    assert_eq!(chain.tip().unwrap(), tip);
    let mut good = good_block(&chain);
    seal(&mut good);
    assert_eq!(submit(&chain, &good), Submitted::Accepted);
}

fn spend(outpoints: &[OutPoint], value: Amount) -> Transaction {
    let input = |outpoint: &OutPoint| TxIn {
        previous_output: *outpoint,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::new(),
    };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: outpoints.iter().map(input).collect(),
        output: vec![TxOut { value, script_pubkey: op_true() }],
    }
}

/// Spends the chain's oldest coin.
fn good_spend(chain: &Devchain) -> Transaction {
    let coin = &chain.coins(&op_true())[0];
    spend(&[coin.outpoint], coin.output.value)
}

#[test]
fn a_good_block_is_taken_once() {
    let chain = chain();
    let mut block = good_block(&chain);
    block.txdata.push(good_spend(&chain));
    seal(&mut block);
    assert_eq!(submit(&chain, &block), Submitted::Accepted);
    assert_eq!(chain.tip().unwrap().hash, block.block_hash());
    assert_eq!(submit(&chain, &block), Submitted::Duplicate);
    chain.invalidate(&block.block_hash()).unwrap();
    assert_eq!(submit(&chain, &block), Submitted::Rejected("duplicate-invalid".into()));
}

#[test]
fn blocks_that_cannot_be_decoded() {
    let chain = chain();
    let mut block = good_block(&chain);
    seal(&mut block);
    let bytes = consensus::serialize(&block);
    for len in [0, 79, 80, 81, bytes.len() - 1] {
        let answer = chain.submit_block(&bytes[..len]).unwrap();
        assert_eq!(answer, Submitted::Rejected("Block decode failed".into()), "{len}");
    }
}

// proves: MP-104
#[test]
fn headers() {
    let set_time = |time: u32| {
        move |_: &Devchain, block: &mut Block| {
            block.header.time = time;
            seal(block);
        }
    };
    let min_time = template(&chain()).min_time;
    case(set_time(min_time - 1), "time-too-old");
    case(set_time(NOW + 7_201), "time-too-new");
    for time in [min_time, NOW + 7_200] {
        let chain = chain();
        let mut block = good_block(&chain);
        set_time(time)(&chain, &mut block);
        assert_eq!(submit(&chain, &block), Submitted::Accepted);
    }
    case(
        |_, block| {
            while block.header.target().is_met_by(block.block_hash()) {
                block.header.nonce += 1;
            }
        },
        "high-hash",
    );
    case(|_, block| block.header.bits = CompactTarget::from_consensus(0xff7f_ffff), "high-hash");
    case(|_, block| block.header.bits = CompactTarget::from_consensus(0), "high-hash");
    case(
        |_, block| {
            block.header.bits = CompactTarget::from_consensus(0x207f_fffe);
            seal(block);
        },
        "bad-diffbits",
    );
    case(
        |_, block| {
            block.header.version = Version::from_consensus(3);
            seal(block);
        },
        "bad-version",
    );
    case(
        |_, block| {
            block.header.prev_blockhash = block.block_hash();
            seal(block);
        },
        "prev-blk-not-found",
    );
    case(
        |chain, block| {
            let bad = chain.mine_block(op_true()).unwrap();
            chain.invalidate(&bad.hash).unwrap();
            block.header.prev_blockhash = bad.hash;
            seal(block);
        },
        "bad-prevblk",
    );
}

#[test]
fn merkle_roots_and_witnesses() {
    case(
        |chain, block| {
            block.txdata.push(good_spend(chain));
            assert!(devchain::solve(&mut block.header));
        },
        "bad-txnmrklroot",
    );
    case(
        |chain, block| {
            // An odd level repeats its last hash, so that the root stays as it is.
            let coin = &chain.coins(&op_true())[0];
            let parent = spend(&[coin.outpoint], coin.output.value);
            let child = spend(&[OutPoint { txid: parent.compute_txid(), vout: 0 }], coin.output.value);
            block.txdata.extend([parent, child.clone()]);
            seal(block);
            let root = block.header.merkle_root;
            block.txdata.push(child);
            assert_eq!(block.compute_merkle_root(), Some(root));
        },
        "bad-txns-duplicate",
    );
    case(
        |chain, block| {
            block.txdata.push(good_spend(chain));
            resolve(block);
        },
        "bad-witness-merkle-match",
    );
    case(
        |_, block| {
            block.txdata[0].input[0].witness = Witness::new();
            resolve(block);
        },
        "bad-witness-nonce-size",
    );
    case(
        |_, block| {
            block.txdata[0].output.pop();
            resolve(block);
        },
        "unexpected-witness",
    );
}

// proves: LIM-07 MP-44
#[test]
fn coinbases() {
    let set_script = |script: Vec<u8>| {
        move |_: &Devchain, block: &mut Block| {
            block.txdata[0].input[0].script_sig = ScriptBuf::from_bytes(script);
            seal(block);
        }
    };
    case(set_script(vec![0x56]), "bad-cb-length");
    case(set_script([&[0x56][..], &[0; 100]].concat()), "bad-cb-length");
    case(set_script(vec![0x57, 0]), "bad-cb-height");
    case(set_script(vec![0x01, 0x06]), "bad-cb-height");
    for script in [vec![0x56, 0], [&[0x56][..], &[0; 99]].concat()] {
        let chain = chain();
        let mut block = good_block(&chain);
        set_script(script)(&chain, &mut block);
        assert_eq!(submit(&chain, &block), Submitted::Accepted);
    }
    case(
        |_, block| {
            block.txdata[0].output[0].value += Amount::ONE_SAT;
            seal(block);
        },
        "bad-cb-amount",
    );
    case(
        |chain, block| {
            block.txdata[0] = good_spend(chain);
            resolve(block);
        },
        "bad-cb-missing",
    );
    case(
        |_, block| {
            let mut second = block.txdata[0].clone();
            second.output.pop();
            block.txdata.push(second);
            seal(block);
        },
        "bad-cb-multiple",
    );
    case(
        |_, block| {
            resolve(block);
            block.txdata.clear();
        },
        "bad-blk-length",
    );
}

/// A block with the transaction that `make` makes is refused.
#[track_caller]
fn with_transaction(make: impl FnOnce(&Devchain) -> Transaction, reason: &str) {
    case(
        |chain, block| {
            block.txdata.push(make(chain));
            seal(block);
        },
        reason,
    );
}

#[test]
fn spends() {
    let nowhere = OutPoint { txid: good_spend(&chain()).compute_txid(), vout: 9 };
    with_transaction(|_| spend(&[nowhere], Amount::ZERO), "bad-txns-inputs-missingorspent");
    with_transaction(
        |chain| {
            let coins = chain.coins(&op_true());
            spend(&[coins.last().unwrap().outpoint], Amount::ZERO)
        },
        "bad-txns-premature-spend-of-coinbase",
    );
    with_transaction(
        |chain| {
            let coin = &chain.coins(&op_true())[0];
            spend(&[coin.outpoint], coin.output.value + Amount::ONE_SAT)
        },
        "bad-txns-in-belowout",
    );
    with_transaction(
        |chain| {
            let mut spend = good_spend(chain);
            spend.input[0].script_sig = op_true();
            spend
        },
        "mandatory-script-verify-flag-failed (devchain does not know this script)",
    );
    with_transaction(
        |chain| {
            let mut spend = good_spend(chain);
            spend.lock_time = LockTime::from_consensus(6);
            spend.input[0].sequence = Sequence::ENABLE_LOCKTIME_NO_RBF;
            spend
        },
        "bad-txns-nonfinal",
    );
    with_transaction(
        |chain| {
            let mut spend = good_spend(chain);
            spend.input[0].sequence = Sequence::from_height(1);
            spend
        },
        "bad-txns-nonfinal",
    );
}

#[test]
fn a_transaction_cannot_be_confirmed_twice_and_keeps_its_outputs() {
    let chain = chain();
    let spent = good_spend(&chain);
    chain.broadcast(&spent).unwrap();
    chain.mine_block(op_true()).unwrap();
    let mut block = good_block(&chain);
    block.txdata.push(spent.clone());
    seal(&mut block);
    let coins = chain.coins(&op_true());
    assert_eq!(submit(&chain, &block), Submitted::Rejected("bad-txns-inputs-missingorspent".into()));
    assert_eq!(chain.coins(&op_true()), coins);
    assert!(coins.iter().any(|coin| coin.outpoint.txid == spent.compute_txid()));
}

#[test]
fn malformed_transactions() {
    let change = |change: fn(&mut Transaction)| {
        move |chain: &Devchain| {
            let mut spend = good_spend(chain);
            change(&mut spend);
            spend
        }
    };
    with_transaction(change(|tx| tx.output.clear()), "bad-txns-vout-empty");
    with_transaction(
        change(|tx| tx.output[0].value = Amount::MAX_MONEY + Amount::ONE_SAT),
        "bad-txns-vout-toolarge",
    );
    with_transaction(
        change(|tx| tx.output = vec![TxOut { value: Amount::MAX_MONEY, script_pubkey: op_true() }; 2]),
        "bad-txns-txouttotal-toolarge",
    );
    with_transaction(change(|tx| tx.input = vec![tx.input[0].clone(); 2]), "bad-txns-inputs-duplicate");
    with_transaction(
        change(|tx| {
            tx.input.push(TxIn::default());
            tx.input[1].previous_output = OutPoint::null();
        }),
        "bad-txns-prevout-null",
    );
}

#[test]
fn weight_and_signature_operations() {
    let many_sigops = |chain: &Devchain, count: usize| {
        let mut spend = good_spend(chain);
        let script = ScriptBuf::from_bytes(vec![OP_CHECKMULTISIG.to_u8(); count]);
        spend.output.push(TxOut { value: Amount::ZERO, script_pubkey: script });
        spend
    };
    // Twenty operations each, at a cost of four.
    with_transaction(|chain| many_sigops(chain, 1_001), "bad-blk-sigops");
    let chain = chain();
    let mut block = good_block(&chain);
    block.txdata.push(many_sigops(&chain, 1_000));
    seal(&mut block);
    assert_eq!(submit(&chain, &block), Submitted::Accepted);

    with_transaction(
        |chain| {
            let mut spend = good_spend(chain);
            spend.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0; 1_000_000]);
            spend
        },
        "bad-blk-length",
    );
    with_transaction(
        |chain| {
            let mut spend = good_spend(chain);
            spend.input[0].witness = Witness::from_slice(&[vec![0; 3_999_900]]);
            spend
        },
        "bad-blk-weight",
    );
}

#[test]
fn a_full_chain_says_so() {
    let config = DevchainConfig { max_blocks: 3, ..DevchainConfig::default() };
    let chain = Devchain::new(config, Arc::new(|| NOW)).unwrap();
    chain.mine_block(op_true()).unwrap();
    chain.mine_block(op_true()).unwrap();
    let error = chain.mine_block(op_true()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "devchain holds its maximum of 3 blocks: start a new one or raise `max_blocks`"
    );
}

#[test]
fn impossible_rules_are_refused() {
    let with_bits =
        |bits| DevchainConfig { bits: CompactTarget::from_consensus(bits), ..DevchainConfig::default() };
    for bits in [0, 0x2080_0000, 0x1e80_0001, 0xff7f_ffff] {
        assert!(Devchain::new(with_bits(bits), Arc::new(|| NOW)).is_err(), "{bits:08x}");
    }
    let subsidy = DevchainConfig { subsidy: Amount::from_int_btc(500), ..DevchainConfig::default() };
    assert!(Devchain::new(subsidy, Arc::new(|| NOW)).is_err());
}
