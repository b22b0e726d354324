//! Everything that is asked of a node, asked of Bitcoin Core.

mod real_node;

use {
    assay_node::{
        BlockReserve, Chain, ChainEvent, Node, NodeError, NodeState, RpcConfig, RpcNode, Stop, Submitted,
        Template, Tip, Watch,
        bitcoin::{
            Amount, Block, BlockHash, OutPoint, ScriptBuf, Sequence, Target, Transaction, TxIn, TxOut,
            Witness, absolute::LockTime, consensus, hashes::Hash, transaction,
        },
    },
    real_node::{RealNode, patience},
    sha2::{compress256, digest::generic_array::GenericArray},
    std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        thread,
        time::Duration,
    },
};

const SHA256_START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const THREADS: u8 = 2;

fn op_true() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

/// The hash of a header from the state after its first 64 bytes: two compressions for each nonce.
fn hash_tail(midstate: [u32; 8], tail: &[u8; 64]) -> [u8; 32] {
    let mut state = midstate;
    compress256(&mut state, &[*GenericArray::from_slice(tail)]);
    let mut second = [0; 64];
    for (bytes, word) in second.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    second[32] = 0x80;
    second[62] = 1;
    state = SHA256_START;
    compress256(&mut state, &[*GenericArray::from_slice(&second)]);
    let mut hash = [0; 32];
    for (bytes, word) in hash.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    hash
}

/// A nonce that solves the header, searched on two threads: about four million hashes.
fn solve(header: &[u8; 80], target: Target) -> u32 {
    let mut midstate = SHA256_START;
    compress256(&mut midstate, &[*GenericArray::from_slice(&header[..64])]);
    let mut tail = [0; 64];
    tail[..16].copy_from_slice(&header[64..]);
    tail[16] = 0x80;
    tail[62..].copy_from_slice(&640u16.to_be_bytes());
    let found = AtomicU64::new(u64::MAX);
    thread::scope(|scope| {
        for first in 0..THREADS {
            let (mut tail, found) = (tail, &found);
            scope.spawn(move || {
                for nonce in (u32::from(first)..=u32::MAX).step_by(THREADS.into()) {
                    if nonce % 4_096 == u32::from(first) && found.load(Ordering::Relaxed) != u64::MAX {
                        return;
                    }
                    tail[12..16].copy_from_slice(&nonce.to_le_bytes());
                    let hash = BlockHash::from_byte_array(hash_tail(midstate, &tail));
                    if target.is_met_by(hash) {
                        found.store(nonce.into(), Ordering::Relaxed);
                        return;
                    }
                }
            });
        }
    });
    u32::try_from(found.into_inner()).expect("four billion nonces hold a solution")
}

/// A solved block for the template, with the extranonce that tells it from others.
fn mine(template: &Template, extranonce: u8) -> (Tip, Vec<u8>) {
    let parts = template.coinbase(24, b"/assay/", &template.pay_all(op_true())).unwrap();
    let extranonce = [extranonce; 24];
    let root = template.merkle_root(parts.txid(&extranonce));
    let unsolved = template.header(template.version, root, template.cur_time, 0);
    let nonce = solve(&unsolved, template.nbits.into());
    let header = template.header(template.version, root, template.cur_time, nonce);
    let block = template.assemble(&parts, &header, &extranonce).unwrap();
    let hash = consensus::deserialize::<Block>(&block).unwrap().block_hash();
    (Tip { height: template.height, hash }, block)
}

fn next_template(node: &RpcNode) -> Template {
    node.next_template(None, &Stop::new(), patience()).unwrap()
}

fn next_event(watch: &mut Watch) -> ChainEvent {
    watch.next(&Stop::new(), patience()).unwrap().expect("an event before the deadline")
}

fn connected(tip: Tip) -> ChainEvent {
    ChainEvent::Connected { height: tip.height, hash: tip.hash }
}

fn disconnected(tip: Tip) -> ChainEvent {
    ChainEvent::Disconnected { height: tip.height, hash: tip.hash }
}

// proves: TP-03 MP-44 MP-104 BW-02 BW-04 BW-09 LIM-07
#[test]
fn blocks_and_branches() {
    let real = RealNode::start(Chain::Signet);
    let node = Arc::new(real.connect());
    assert!(matches!(node.status().state, NodeState::Starting));
    let first = next_template(&node);
    assert_eq!(first.height, 1);
    assert_eq!(first.nbits.to_consensus(), 0x1e03_77ae);
    assert!(first.min_time <= first.cur_time);
    assert!(matches!(node.status().state, NodeState::Ready));
    let genesis = node.tip().unwrap();
    assert_eq!(genesis.hash, first.prev_hash);
    let mut watch = Watch::from(Arc::clone(&node) as Arc<dyn Node>, genesis, 6);

    // A block that lacks nothing but work is told from one that is good.
    let (a1, block) = mine(&first, 1);
    let mut unsolved = block.clone();
    unsolved[76..80].copy_from_slice(&[0; 4]);
    assert_eq!(node.submit_block(&unsolved).unwrap(), Submitted::Rejected("high-hash".into()));
    assert_eq!(node.submit_block(&block[..100]).unwrap(), Submitted::Rejected("Block decode failed".into()));

    // The long poll sees the block as it comes.
    let (waiter, id) = (Arc::clone(&node), first.id.clone());
    let waiting = thread::spawn(move || waiter.next_template(Some(&id), &Stop::new(), patience()));
    assert_eq!(node.submit_block(&block).unwrap(), Submitted::Accepted);
    assert_eq!(node.submit_block(&block).unwrap(), Submitted::Duplicate);
    let second = waiting.join().unwrap().unwrap();
    assert_eq!((second.height, second.prev_hash), (2, a1.hash));
    assert_eq!(next_event(&mut watch), connected(a1));
    assert_eq!(node.block_hash(1).unwrap(), Some(a1.hash));
    assert_eq!(node.block_hash(2).unwrap(), None);
    assert_eq!(consensus::serialize(&node.block(&a1.hash).unwrap()), block);
    assert_eq!(node.block_info(&a1.hash).unwrap().unwrap().prev_hash, genesis.hash);

    // Another branch, shorter at first, becomes the best.
    let (b1, sibling) = mine(&first, 2);
    assert_eq!(node.submit_block(&sibling).unwrap(), Submitted::Inconclusive);
    assert_eq!(node.block_info(&b1.hash).unwrap().unwrap().confirmations, None);
    real.call("invalidateblock", &serde_json::json!([a1.hash]));
    assert_eq!(next_event(&mut watch), disconnected(a1));
    assert_eq!(next_event(&mut watch), connected(b1));
    let (b2, block) = mine(&next_template(&node), 3);
    assert_eq!(node.submit_block(&block).unwrap(), Submitted::Accepted);
    assert_eq!(next_event(&mut watch), connected(b2));
    assert_eq!(watch.known(), node.tip().unwrap());
}

/// A crash is shown, and the next start picked up without anybody doing anything.
#[test]
fn a_crash() {
    let mut real = RealNode::start(Chain::Signet);
    let node = Arc::new(real.connect());
    let first = next_template(&node);
    let genesis = node.tip().unwrap();
    let mut watch = Watch::from(Arc::clone(&node) as Arc<dyn Node>, genesis, 6);
    let (a1, block) = mine(&first, 1);
    assert_eq!(node.submit_block(&block).unwrap(), Submitted::Accepted);
    assert_eq!(next_event(&mut watch), connected(a1));

    let known = next_template(&node);
    real.kill();
    let (waiter, id) = (Arc::clone(&node), known.id.clone());
    let waiting = thread::spawn(move || waiter.next_template(Some(&id), &Stop::new(), patience()));
    let deadline = patience().unwrap();
    while !matches!(node.status().state, NodeState::Down { error: NodeError::Unreachable { .. }, .. }) {
        assert!(std::time::Instant::now() < deadline, "{}", node.status().state);
        thread::sleep(Duration::from_millis(10));
    }
    real.launch();
    let back = waiting.join().unwrap().unwrap();
    assert!(matches!(node.status().state, NodeState::Ready));
    // What had not reached the node's disk was handed in again.
    assert_eq!((back.height, back.prev_hash), (2, a1.hash));
    let (a2, block) = mine(&back, 2);
    assert_eq!(node.submit_block(&block).unwrap(), Submitted::Accepted);
    assert_eq!(next_event(&mut watch), connected(a2));
}

/// A block found on one that the crash made the node forget, handed in before anybody noticed.
#[test]
fn a_block_on_a_forgotten_one() {
    let mut real = RealNode::start(Chain::Signet);
    let node = real.connect();
    let (a1, block) = mine(&next_template(&node), 1);
    assert_eq!(node.submit_block(&block).unwrap(), Submitted::Accepted);
    let (a2, block) = mine(&next_template(&node), 2);
    real.kill();
    real.launch();
    assert_eq!(node.submit_block(&block).unwrap(), Submitted::Accepted);
    assert_eq!(node.block_hash(1).unwrap(), Some(a1.hash));
    assert_eq!(node.tip().unwrap(), a2);
}

fn spend(outpoint: OutPoint, value: Amount) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0x51]]),
        }],
        output: vec![TxOut { value, script_pubkey: op_true().to_p2wsh() }],
    }
}

/// Mines the template with its outputs to P2WSH, and gives the coinbase's first output.
fn mine_on(node: &RpcNode, template: &Template) -> OutPoint {
    let parts = template.coinbase(24, b"/assay/", &template.pay_all(op_true().to_p2wsh())).unwrap();
    let root = template.merkle_root(parts.txid(&[0; 24]));
    let unsolved = template.header(template.version, root, template.cur_time, 0);
    let nonce = solve(&unsolved, template.nbits.into());
    let header = template.header(template.version, root, template.cur_time, nonce);
    let block = template.assemble(&parts, &header, &[0; 24]).unwrap();
    assert_eq!(node.submit_block(&block).unwrap(), Submitted::Accepted);
    OutPoint { txid: Hash::from_byte_array(parts.txid(&[0; 24])), vout: 0 }
}

// proves: TP-03 TP-04 BW-01 BW-04 BW-09 MP-94 TD-30 TD-32
#[test]
fn blocks_with_transactions() {
    let real = RealNode::start(Chain::Regtest);
    let node = real.connect();
    let mut coins: Vec<OutPoint> = (0..115).map(|_| mine_on(&node, &next_template(&node))).collect();
    let reward = Amount::from_int_btc(50);
    for count in [1, 2, 3, 5] {
        let txids: Vec<_> = coins
            .drain(..count)
            .map(|coin| node.broadcast(&spend(coin, reward - Amount::from_sat(10_000))).unwrap())
            .collect();
        let template = next_template(&node);
        assert_eq!(template.transactions.len(), count);
        assert!(txids.iter().all(|txid| template.transactions.iter().any(|tx| tx.txid == *txid)));
        assert_eq!(template.coinbase_value, reward + Amount::from_sat(10_000 * count as u64));
        let before = node.tip().unwrap();
        // A part of the template is as good a block as all of it.
        let part = template.with_reserve(&BlockReserve {
            weight: template.weight_limit
                - template.transactions[..count / 2].iter().map(|tx| tx.weight).sum::<u64>(),
            sigops: 0,
        });
        assert_eq!(part.transactions.len(), count / 2);
        mine_on(&node, &part);
        assert_eq!(node.tip().unwrap().height, before.height + 1);
        let rest = next_template(&node);
        assert_eq!(rest.transactions.len(), count - count / 2);
        mine_on(&node, &rest);
        // The node would keep an empty template for some seconds, so none is asked for before the next transactions.
    }
    let parent = spend(coins[0], reward - Amount::from_sat(10_000));
    let child = spend(
        OutPoint { txid: node.broadcast(&parent).unwrap(), vout: 0 },
        reward - Amount::from_sat(20_000),
    );
    assert_eq!(node.broadcast(&child).unwrap(), child.compute_txid());
    assert_eq!(node.broadcast(&child).unwrap(), child.compute_txid(), "twice is no error");
    mine_on(&node, &next_template(&node));
    let tip = node.tip().unwrap();
    let block = node.block(&tip.hash).unwrap();
    assert_eq!(block.txdata[1..], [parent, child.clone()]);
    assert_eq!(node.broadcast(&child).unwrap(), child.compute_txid(), "nor is one that is confirmed");
}

/// What the node itself makes of a tip is what was worked on before, and the transactions.
#[test]
fn a_new_tip_is_worked_on_before_its_template_is_made() {
    let real = RealNode::start(Chain::Regtest);
    let node = real.connect();
    let mut coins = Vec::new();
    let mut known = next_template(&node);
    // Over the first halving.
    while known.height < 152 {
        coins.push(mine_on(&node, &known));
        let provisional = node.next_template(Some(&known.id), &Stop::new(), patience()).unwrap();
        let template = node.next_template(Some(&provisional.id), &Stop::new(), patience()).unwrap();
        assert_ne!(provisional.id, template.id);
        assert_on_one_tip(&provisional, &template);
        assert_eq!(provisional.coinbase_value, template.coinbase_value);
        assert_eq!(provisional.witness_commitment, template.witness_commitment);
        known = template;
    }
    let fee = Amount::from_sat(10_000);
    let transaction = spend(coins[0], Amount::from_int_btc(50) - fee);
    node.broadcast(&transaction).unwrap();
    // The template of before, which has no transactions.
    mine_on(&node, &known);
    let provisional = node.next_template(Some(&known.id), &Stop::new(), patience()).unwrap();
    let template = node.next_template(Some(&provisional.id), &Stop::new(), patience()).unwrap();
    assert_on_one_tip(&provisional, &template);
    assert_eq!(template.coinbase_value, provisional.coinbase_value + fee);
    assert_eq!((provisional.transactions.len(), template.transactions.len()), (0, 1));
    let height = node.tip().unwrap().height;
    mine_on(&node, &provisional);
    assert_eq!(node.tip().unwrap().height, height + 1);
}

fn assert_on_one_tip(provisional: &Template, template: &Template) {
    assert_eq!(provisional.height, template.height);
    assert_eq!(provisional.prev_hash, template.prev_hash);
    // What the node signals changes with a period alone, which on regtest is of 144 blocks.
    assert!(provisional.version == template.version || template.height.is_multiple_of(144));
    assert_eq!(provisional.nbits, template.nbits);
    assert_eq!(provisional.min_time, template.min_time);
    assert!(provisional.cur_time.abs_diff(template.cur_time) < 60);
    assert_eq!(provisional.coinbase_locktime, template.coinbase_locktime);
    assert_eq!(provisional.weight_limit, template.weight_limit);
    assert_eq!(provisional.sigops_limit, template.sigops_limit);
}

#[test]
fn refusals() {
    let real = RealNode::start(Chain::Signet);
    let node = real.connect();
    next_template(&node);
    let wrong = RpcNode::new(RpcConfig { chain: Chain::Main, ..real.config() }).unwrap();
    let text = wrong.check().unwrap_err().to_string();
    assert!(text.contains("on chain `signet`, configured is `main`"), "{text}");
    let auth = assay_node::RpcAuth::UserPassword { user: "alice".into(), password: "hunter2".into() };
    let stranger = RpcNode::new(RpcConfig { auth, ..real.config() }).unwrap();
    assert!(matches!(stranger.check(), Err(NodeError::Unauthorised { .. })));

    let unknown = BlockHash::from_byte_array([3; 32]);
    assert!(matches!(node.block(&unknown), Err(NodeError::UnknownBlock { .. })));
    assert_eq!(node.block_info(&unknown).unwrap(), None);
    let nowhere = OutPoint { txid: Hash::from_byte_array([3; 32]), vout: 0 };
    let orphan = spend(nowhere, Amount::from_sat(1_000));
    let refused = node.broadcast(&orphan);
    assert!(matches!(refused, Err(NodeError::TransactionRefused { .. })), "{refused:?}");
}
