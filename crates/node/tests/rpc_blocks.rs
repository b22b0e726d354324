//! Blocks handed in to a node that is away, confused, or has forgotten their parents.

#[allow(dead_code, reason = "other tests use the rest")]
mod fake_http;

use {
    assay_node::{
        Chain, Devchain, DevchainConfig, Node, NodeError, RpcAuth, RpcConfig, RpcNode, Stop, Submitted,
        bitcoin::{Block, BlockHash, ScriptBuf, consensus},
    },
    fake_http::{Call, FakeNode, Reply, error, result},
    serde_json::{Value, json},
    std::{
        collections::BTreeSet,
        sync::{Arc, Mutex},
        time::{Duration, Instant},
    },
};

/// What a fake node has in its head.
struct Mind {
    known: BTreeSet<BlockHash>,
    /// What comes instead of an answer to the next calls that hand in a block.
    trouble: Vec<fn() -> Reply>,
    /// What comes instead of any answer.
    outage: Option<fn() -> Reply>,
}

struct Fake {
    http: FakeNode,
    mind: Arc<Mutex<Mind>>,
    /// Solved blocks, each on the one before.
    blocks: Vec<Block>,
}

/// A node that knows the parent of the first of some blocks, and answers as Bitcoin Core does.
fn fake(blocks: usize) -> Fake {
    let devchain = Devchain::new(DevchainConfig::default(), Arc::new(|| 1_750_000_000)).unwrap();
    let script = || ScriptBuf::from_bytes(vec![0x51]);
    let mine = |_| devchain.block(&devchain.mine_block(script()).unwrap().hash).unwrap();
    let blocks: Vec<Block> = (0..blocks).map(mine).collect();
    let known = BTreeSet::from([blocks[0].header.prev_blockhash]);
    let mind = Arc::new(Mutex::new(Mind { known, trouble: vec![], outage: None }));
    let asked = Arc::clone(&mind);
    let http = FakeNode::start(move |call| asked.lock().unwrap().answer(call));
    Fake { http, mind, blocks }
}

impl Mind {
    fn answer(&mut self, Call { method, params, .. }: &Call) -> Reply {
        let tip = "1111111111111111111111111111111111111111111111111111111111111111";
        match method.as_str() {
            _ if self.outage.is_some() => self.outage.unwrap()(),
            "submitblock" if !self.trouble.is_empty() => self.trouble.remove(0)(),
            "submitblock" => {
                let block: Block = consensus::encode::deserialize_hex(params[0].as_str().unwrap()).unwrap();
                if !self.known.contains(&block.header.prev_blockhash) {
                    return result(json!("prev-blk-not-found"));
                }
                let is_new = self.known.insert(block.block_hash());
                result(if is_new { Value::Null } else { json!("duplicate") })
            }
            "getblockheader" => {
                if !self.known.contains(&params[0].as_str().unwrap().parse::<BlockHash>().unwrap()) {
                    return error(-5, "Block not found");
                }
                result(json!({ "height": 1, "confirmations": 1, "time": 7, "previousblockhash": tip }))
            }
            "getblocktemplate" if params[0]["longpollid"].is_string() => Reply::Silence,
            "getblocktemplate" => result(json!({ "version": 0x2000_0000, "previousblockhash": tip,
                "coinbasevalue": 5_000_000_000u64, "transactions": [], "longpollid": "a", "mintime": 1_000,
                "curtime": 2_000, "bits": "1e0377ae", "height": 5, "sigoplimit": 80_000,
                "weightlimit": 4_000_000 })),
            "getbestblockhash" => result(json!(tip)),
            _ => result(json!({ "chain": "main", "blocks": 4, "headers": 4, "bestblockhash": tip,
                "initialblockdownload": false })),
        }
    }
}

impl Fake {
    fn connect(&self, submit_patience: Duration) -> RpcNode {
        let auth = RpcAuth::UserPassword { user: "alice".into(), password: "hunter2".into() };
        let timeout = Duration::from_secs(10);
        let config = RpcConfig::new(self.http.url(), auth, Chain::Main);
        RpcNode::new(RpcConfig { timeout, submit_patience, ..config }).unwrap()
    }

    fn raw(&self, which: usize) -> Vec<u8> {
        consensus::serialize(&self.blocks[which])
    }

    fn knows(&self, which: usize) -> bool {
        self.mind.lock().unwrap().known.contains(&self.blocks[which].block_hash())
    }

    fn forget(&self) {
        let first = self.blocks[0].header.prev_blockhash;
        self.mind.lock().unwrap().known.retain(|hash| *hash == first);
    }

    fn suffer(&self, outage: Option<fn() -> Reply>) {
        self.mind.lock().unwrap().outage = outage;
    }

    fn expect(&self, trouble: &[fn() -> Reply]) {
        self.mind.lock().unwrap().trouble = trouble.to_vec();
    }
}

const IMPATIENT: Duration = Duration::ZERO;
const PATIENT: Duration = Duration::from_secs(60);

#[track_caller]
fn undelivered(result: Result<Submitted, NodeError>, block: &Block) {
    let error = result.unwrap_err();
    assert!(matches!(&error, NodeError::Undelivered { hash, .. } if *hash == block.block_hash()));
    let text = error.to_string();
    assert!(text.contains(&block.block_hash().to_string()) && text.contains("kept in memory"), "{text}");
}

fn template(node: &RpcNode) -> assay_node::Template {
    node.next_template(None, &Stop::new(), Some(Instant::now() + PATIENT)).unwrap()
}

#[test]
fn blocks_found_during_an_outage_are_handed_in_when_it_ends() {
    let fake = fake(3);
    let node = fake.connect(IMPATIENT);
    fake.suffer(Some(|| Reply::Raw(b"")));
    // In whatever order they came: a child is worth nothing before its parent.
    for which in [2, 0, 1] {
        undelivered(node.submit_block(&fake.raw(which)), &fake.blocks[which]);
    }
    fake.suffer(None);
    template(&node);
    assert!((0..3).all(|which| fake.knows(which)), "handed in before the first template");
}

#[test]
fn a_parent_that_the_node_forgot_comes_before_its_child() {
    let fake = fake(3);
    let node = fake.connect(IMPATIENT);
    for which in 0..2 {
        assert_eq!(node.submit_block(&fake.raw(which)).unwrap(), Submitted::Accepted);
    }
    fake.forget();
    assert_eq!(node.submit_block(&fake.raw(2)).unwrap(), Submitted::Accepted);
    assert!((0..3).all(|which| fake.knows(which)));
}

#[test]
fn a_block_waits_for_a_parent_of_somebody_else() {
    let fake = fake(3);
    let node = fake.connect(IMPATIENT);
    undelivered(node.submit_block(&fake.raw(1)), &fake.blocks[1]);
    let first = template(&node);
    assert!(!fake.knows(1));
    // Its peers give the node what it lacked. Nothing fails, and no template changes.
    fake.mind.lock().unwrap().known.insert(fake.blocks[0].block_hash());
    let (stop, deadline) = (Stop::new(), Instant::now() + PATIENT);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| node.next_template(Some(&first.id), &stop, None));
        while !fake.knows(1) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.stop();
        assert!(matches!(waiter.join().unwrap(), Err(NodeError::Stopped)));
    });
    assert!(fake.knows(1));
}

#[test]
fn a_parent_that_comes_in_time() {
    let fake = fake(2);
    let node = fake.connect(PATIENT);
    fake.expect(&[|| result(json!("inconclusive-not-best-prevblk")), || result(json!("prev-blk-not-found"))]);
    assert_eq!(node.submit_block(&fake.raw(0)).unwrap(), Submitted::Accepted);
    assert_eq!(fake.http.count("submitblock"), 3);
}

#[test]
fn a_parent_that_is_invalid_is_not_waited_for() {
    let fake = fake(2);
    let node = fake.connect(PATIENT);
    fake.expect(&[|| result(json!("bad-prevblk"))]);
    assert_eq!(node.submit_block(&fake.raw(0)).unwrap(), Submitted::Rejected("bad-prevblk".into()));
    // The same word for a parent that the node does not have.
    let impatient = fake.connect(IMPATIENT);
    fake.expect(&[|| result(json!("bad-prevblk"))]);
    undelivered(impatient.submit_block(&fake.raw(1)), &fake.blocks[1]);
}

#[test]
fn a_node_in_trouble_is_asked_again() {
    let fake = fake(1);
    let node = fake.connect(PATIENT);
    fake.expect(&[|| error(-25, "System error while saving block"), || Reply::Text(503, "Work queue depth")]);
    assert_eq!(node.submit_block(&fake.raw(0)).unwrap(), Submitted::Accepted);
    assert_eq!(fake.http.count("submitblock"), 3);
}

#[test]
fn a_call_that_hangs_leaves_time_for_another() {
    let fake = fake(1);
    let node = fake.connect(Duration::from_secs(4));
    fake.expect(&[|| Reply::Silence]);
    assert_eq!(node.submit_block(&fake.raw(0)).unwrap(), Submitted::Accepted);
}

#[test]
fn a_block_that_breaks_a_rule_is_forgotten() {
    let fake = fake(1);
    let node = fake.connect(PATIENT);
    fake.expect(&[|| result(json!("bad-txnmrklroot"))]);
    assert_eq!(node.submit_block(&fake.raw(0)).unwrap(), Submitted::Rejected("bad-txnmrklroot".into()));
    template(&node);
    assert!(!fake.knows(0));
    assert_eq!(fake.http.count("submitblock"), 1);
}
