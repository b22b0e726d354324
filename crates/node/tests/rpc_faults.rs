//! What a node may answer, and what is made of it.

mod fake_http;

use {
    assay_node::{
        Chain, Devchain, DevchainConfig, Node, NodeError, NodeState, RpcAuth, RpcConfig, RpcNode, Stop,
        Submitted, Tip,
        bitcoin::{BlockHash, ScriptBuf, Transaction, absolute::LockTime, consensus, transaction},
    },
    fake_http::{Call, FakeNode, Reply, error, result},
    serde_json::{Value, json},
    std::{
        sync::{
            Arc, Mutex, OnceLock,
            atomic::{AtomicU32, Ordering},
        },
        time::{Duration, Instant},
    },
};

const TIP: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const NEXT_TIP: &str = "2222222222222222222222222222222222222222222222222222222222222222";

fn chain_info(chain: &str, ibd: bool) -> Value {
    json!({ "chain": chain, "blocks": 4, "headers": 9, "bestblockhash": TIP, "initialblockdownload": ibd })
}

fn block_template(tip: &str, long_poll_id: &str) -> Value {
    json!({ "version": 0x2000_0000, "previousblockhash": tip, "coinbasevalue": 5_000_000_000u64,
        "transactions": [], "longpollid": long_poll_id, "mintime": 1_000, "curtime": 2_000, "bits": "1e0377ae",
        "height": 5, "sigoplimit": 80_000, "weightlimit": 4_000_000 })
}

fn config(fake: &FakeNode) -> RpcConfig {
    let auth = RpcAuth::UserPassword { user: "alice".into(), password: "hunter2".into() };
    let (timeout, submit_patience) = (Duration::from_millis(500), Duration::ZERO);
    RpcConfig { timeout, submit_patience, ..RpcConfig::new(fake.url(), auth, Chain::Main) }
}

fn rpc(fake: &FakeNode) -> RpcNode {
    RpcNode::new(config(fake)).unwrap()
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(50))
}

/// Waits for something that happens in another thread.
#[track_caller]
fn eventually(what: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !what() {
        assert!(Instant::now() < deadline, "it never happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_failure_has_its_own_words() {
    #[track_caller]
    fn case(reply: fn() -> Reply, expected: &str) {
        let fake = FakeNode::start(move |_| reply());
        let node = rpc(&fake);
        let text = node.tip().unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        let waited = node.next_template(None, &Stop::new(), soon()).unwrap_err().to_string();
        assert!(waited.contains(expected), "{waited}");
        assert!(matches!(node.status().state, NodeState::Down { error, .. } if error.to_string() == waited));
    }
    case(|| Reply::Text(401, ""), "user `alice` or its password is wrong");
    case(|| Reply::Text(403, ""), "rpcallowip");
    case(|| Reply::Text(503, "Work queue depth exceeded"), "overloaded (Work queue depth exceeded)");
    case(|| Reply::Text(200, "<html>hello</html>"), "is `url` a Bitcoin node's RPC port?");
    case(|| Reply::Text(404, "not here"), "HTTP status 404");
    case(|| Reply::Json(200, json!({ "result": null, "error": null })), "result is null");
    case(|| Reply::Json(200, json!({ "result": { "chain": 3 }, "error": null })), "cannot be understood");
    case(|| Reply::Raw(b""), "node");
    case(|| Reply::Raw(b"SSH-2.0-OpenSSH_9.9\r\n"), "cannot be understood");
    case(|| Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"result\":"), "node");
    case(|| Reply::Silence, "no answer within");
    case(|| error(-28, "Verifying blocks…"), "starting up (Verifying blocks…)");
    case(|| error(-32601, "Method not found"), "error -32601: Method not found");
}

#[test]
fn a_node_that_is_not_there() {
    let gone = FakeNode::start(|_| Reply::Silence);
    let node = rpc(&gone);
    drop(gone);
    eventually(
        || matches!(node.tip(), Err(NodeError::Unreachable { reason, .. }) if reason.contains("refused")),
    );
}

#[test]
fn a_node_that_is_not_ready() {
    let case = |info: Value, expected: &str| {
        let fake = FakeNode::start(move |_| result(info.clone()));
        let node = rpc(&fake);
        assert!(node.check().unwrap_err().to_string().contains(expected));
        let waited = node.next_template(None, &Stop::new(), soon()).unwrap_err().to_string();
        assert!(waited.contains(expected), "{waited}");
        assert_eq!(fake.count("getblocktemplate"), 0);
    };
    case(chain_info("signet", false), "on chain `signet`, configured is `main`");
    case(chain_info("main", true), "initial block download (4 of 9 blocks)");
}

#[test]
fn initial_download_matters_on_main_alone() {
    let fake = FakeNode::start(|_| result(chain_info("signet", true)));
    let node = RpcNode::new(RpcConfig { chain: Chain::Signet, ..config(&fake) }).unwrap();
    let info = node.check().unwrap();
    assert_eq!(info.tip, Tip { height: 4, hash: TIP.parse().unwrap() });
    assert!(info.initial_block_download);
}

#[test]
fn a_node_that_refuses_templates() {
    let case = |code: i64, message: &'static str, expected: &str| {
        let fake = FakeNode::start(move |call| match call.method.as_str() {
            "getblocktemplate" => error(code, message),
            _ => result(chain_info("main", false)),
        });
        let text = rpc(&fake).next_template(None, &Stop::new(), soon()).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    };
    case(-9, "Bitcoin Core is not connected!", "it needs a peer");
    case(-10, "is in initial sync and waiting for blocks...", "initial block download (4 of 9 blocks)");
}

#[test]
fn pruned_blocks() {
    let fake = FakeNode::start(|call| match call.method.as_str() {
        "getblock" => error(-1, "Block not available (pruned data)"),
        _ => {
            let mut info = chain_info("main", false);
            info["pruneheight"] = json!(3);
            result(info)
        }
    });
    assert_eq!(rpc(&fake).check().unwrap().prune_height, Some(3));
    // As the pool has it, which does not know the backend.
    let node: Arc<dyn Node> = Arc::new(rpc(&fake));
    assert!(matches!(node.block(&TIP.parse().unwrap()), Err(NodeError::Pruned { .. })));
    assert!(node.ensure_blocks_from(3).is_ok());
    let text = node.ensure_blocks_from(2).unwrap_err().to_string();
    assert!(text.contains("has pruned blocks below 3, needed are those from 2 on"), "{text}");
    let devchain = Devchain::new(DevchainConfig::default(), Arc::new(|| 1_750_000_000)).unwrap();
    let node: Arc<dyn Node> = Arc::new(devchain);
    assert!(node.ensure_blocks_from(0).is_ok());
}

#[test]
fn a_cookie_that_changed_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".cookie");
    std::fs::write(&path, "__cookie__:old").unwrap();
    let valid = Arc::new(Mutex::new("Basic X19jb29raWVfXzpvbGQ=".to_owned()));
    let accepted = Arc::clone(&valid);
    let fake = FakeNode::start(move |call| {
        let known = call.authorization == *accepted.lock().unwrap();
        if known { result(chain_info("main", false)) } else { Reply::Text(401, "") }
    });
    let node = RpcNode::new(RpcConfig { auth: RpcAuth::Cookie(path.clone()), ..config(&fake) }).unwrap();
    node.tip().unwrap();

    *valid.lock().unwrap() = "Basic X19jb29raWVfXzpuZXc=".into();
    let text = node.tip().unwrap_err().to_string();
    assert!(text.contains("another node's"), "{text}");
    std::fs::write(&path, "__cookie__:new").unwrap();
    node.tip().unwrap();
    std::fs::remove_file(&path).unwrap();
    node.tip().unwrap();
    *valid.lock().unwrap() = "Basic other".into();
    let text = node.tip().unwrap_err().to_string();
    assert!(text.contains("cannot be read") && text.contains("start the node"), "{text}");
}

#[test]
fn configurations_that_cannot_work() {
    let case = |url: &str, expected: &str| {
        let config = RpcConfig::new(url, RpcAuth::Cookie("/nowhere".into()), Chain::Main);
        let text = RpcNode::new(config).err().unwrap().to_string();
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    };
    case("https://node:8332", "must begin with http://");
    case("127.0.0.1:8332", "must begin with http://");
    case("http://alice:hunter2@node:8332", "must not hold credentials");
    case("http://", "is none");
    case("http://a b", "is none");
}

#[test]
fn answers_to_a_block() {
    #[track_caller]
    fn case(reply: fn() -> Reply, expected: Submitted) {
        let fake = FakeNode::start(move |_| reply());
        assert_eq!(rpc(&fake).submit_block(&[1, 2, 3]).unwrap(), expected);
        assert_eq!(fake.calls()[0].params, json!(["010203"]));
    }
    case(|| result(Value::Null), Submitted::Accepted);
    case(|| result(json!("duplicate")), Submitted::Duplicate);
    case(|| result(json!("inconclusive")), Submitted::Inconclusive);
    case(|| result(json!("duplicate-inconclusive")), Submitted::Inconclusive);
    case(|| result(json!("duplicate-invalid")), Submitted::Rejected("duplicate-invalid".into()));
    case(|| result(json!("high-hash")), Submitted::Rejected("high-hash".into()));
    case(|| error(-22, "Block decode failed"), Submitted::Rejected("Block decode failed".into()));
    let fake = FakeNode::start(|_| error(-1, "oh"));
    assert!(matches!(rpc(&fake).submit_block(&[1]), Err(NodeError::Rpc { code: -1, .. })));
}

#[test]
fn a_block_is_offered_again_to_a_node_that_was_away() {
    let devchain = Devchain::new(DevchainConfig::default(), Arc::new(|| 1_750_000_000)).unwrap();
    let tip = devchain.mine_block(ScriptBuf::from_bytes(vec![0x51])).unwrap();
    let block = consensus::serialize(&devchain.block(&tip.hash).unwrap());
    let tries = AtomicU32::new(0);
    // It took the block, but the answer was lost.
    let fake =
        FakeNode::start(move |call| match (call.method.as_str(), tries.fetch_add(1, Ordering::Relaxed)) {
            ("submitblock", 0) => Reply::Raw(b""),
            ("submitblock", 1) => error(-28, "Loading block index…"),
            ("submitblock", _) => result(json!("duplicate")),
            _ => result(json!({ "height": 1, "confirmations": 1, "time": 7, "previousblockhash": TIP })),
        });
    let node = RpcNode::new(RpcConfig { submit_patience: Duration::from_secs(20), ..config(&fake) }).unwrap();
    assert_eq!(node.submit_block(&block).unwrap(), Submitted::Accepted);
    assert_eq!(fake.count("submitblock"), 3);
}

#[test]
fn questions_about_the_chain() {
    let fake = FakeNode::start(|call| match (call.method.as_str(), &call.params[0]) {
        ("getblockhash", height) if *height == json!(4) => result(json!(TIP)),
        ("getblockhash", _) => error(-8, "Block height out of range"),
        ("getblockheader", hash) if *hash == json!(TIP) => {
            result(json!({ "height": 4, "confirmations": -1, "time": 7, "previousblockhash": NEXT_TIP }))
        }
        ("getblockheader" | "getblock", _) => error(-5, "Block not found"),
        ("sendrawtransaction", _) => error(-26, "min relay fee not met"),
        other => panic!("{other:?}"),
    });
    let node = rpc(&fake);
    let (tip, next): (BlockHash, BlockHash) = (TIP.parse().unwrap(), NEXT_TIP.parse().unwrap());
    assert_eq!(node.block_hash(4).unwrap(), Some(tip));
    assert_eq!(node.block_hash(5).unwrap(), None);
    let info = node.block_info(&tip).unwrap().unwrap();
    assert_eq!((info.height, info.prev_hash, info.confirmations), (4, next, None));
    assert_eq!(node.block_info(&next).unwrap(), None);
    assert!(matches!(node.block(&next), Err(NodeError::UnknownBlock { hash }) if hash == next));
    let version = transaction::Version::TWO;
    let tx = Transaction { version, lock_time: LockTime::ZERO, input: vec![], output: vec![] };
    let text = node.broadcast(&tx).unwrap_err().to_string();
    assert!(text.ends_with("min relay fee not met"), "{text}");
}

/// Template calls are answered at once, long polls by `long_poll`.
fn polled(long_poll: impl Fn() -> Reply + Send + Sync + 'static, tip: Arc<Mutex<&'static str>>) -> FakeNode {
    FakeNode::start(move |Call { method, params, .. }| match method.as_str() {
        "getblocktemplate" if params[0]["longpollid"].is_string() => long_poll(),
        "getblocktemplate" => result(block_template(*tip.lock().unwrap(), "a")),
        "getbestblockhash" => result(json!(*tip.lock().unwrap())),
        "waitfornewblock" => error(-1, "waitfornewblock (timeout)"),
        _ => result(chain_info("main", false)),
    })
}

type Says = fn() -> Reply;

/// As [`polled`], of a node that can wait for its tip; `next` is what it says of the block after that.
fn waited_for(next: Says, tip: Arc<Mutex<&'static str>>) -> FakeNode {
    FakeNode::start(move |Call { method, params, .. }| match method.as_str() {
        "getblocktemplate" => result(block_template(*tip.lock().unwrap(), "a")),
        "getbestblockhash" => result(json!(TIP)),
        "waitfornewblock" => {
            assert_eq!(params[1], json!(TIP));
            *tip.lock().unwrap() = NEXT_TIP;
            result(json!({ "hash": NEXT_TIP, "height": 5 }))
        }
        "getblockheader" => {
            assert_eq!(params[0], json!(NEXT_TIP));
            result(json!({ "height": 5, "time": 3_000, "mediantime": 2_500, "confirmations": 1 }))
        }
        "getmininginfo" => next(),
        _ => result(chain_info("main", false)),
    })
}

#[test]
fn a_new_tip_is_worked_on_at_once() {
    let next = || result(json!({ "next": { "height": 6, "bits": "1d00ffff" } }));
    let fake = waited_for(next, Arc::new(Mutex::new(TIP)));
    let node = rpc(&fake);
    let first = node.next_template(None, &Stop::new(), None).unwrap();
    let second = node.next_template(Some(&first.id), &Stop::new(), None).unwrap();
    assert_eq!((second.height, second.prev_hash.to_string()), (6, NEXT_TIP.to_owned()));
    assert_eq!((second.nbits.to_consensus(), second.version), (0x1d00_ffff, first.version));
    assert_eq!((second.min_time, second.cur_time), (2_501, 2_501));
    assert_eq!((fake.count("getblocktemplate"), node.status().templates), (1, 1));
    let third = node.next_template(Some(&second.id), &Stop::new(), None).unwrap();
    assert_eq!(third.prev_hash.to_string(), NEXT_TIP);
    assert_ne!(third.id, second.id);
    assert_eq!((fake.count("getblocktemplate"), node.status().templates), (2, 2));
}

#[test]
fn without_what_follows_from_the_tip_the_template_is_waited_for() {
    #[track_caller]
    fn case(next: Says) {
        let fake = waited_for(next, Arc::new(Mutex::new(TIP)));
        let node = rpc(&fake);
        let first = node.next_template(None, &Stop::new(), None).unwrap();
        let second = node.next_template(Some(&first.id), &Stop::new(), None).unwrap();
        assert_eq!(second.prev_hash.to_string(), NEXT_TIP);
        assert_eq!((fake.count("getblocktemplate"), node.status().templates), (2, 2));
    }
    case(|| result(json!({ "blocks": 5 })));
    case(|| result(json!({ "next": { "height": 7, "bits": "1d00ffff" } })));
    case(|| result(json!({ "next": { "height": 6, "bits": "easy" } })));
    case(|| error(-32601, "Method not found"));
    case(|| Reply::Text(403, ""));
}

#[test]
fn a_node_that_forbids_to_wait_is_polled() {
    for forbidden in [|| Reply::Text(403, ""), || error(-32601, "Method not found")] {
        let fake = FakeNode::start(move |Call { method, .. }| match method.as_str() {
            "getblocktemplate" => result(block_template(TIP, "a")),
            "getbestblockhash" => result(json!(TIP)),
            "waitfornewblock" => forbidden(),
            _ => result(chain_info("main", false)),
        });
        let node = rpc(&fake);
        let first = node.next_template(None, &Stop::new(), None).unwrap();
        let waited =
            node.next_template(Some(&first.id), &Stop::new(), Some(Instant::now() + Duration::from_secs(1)));
        assert!(matches!(waited, Err(NodeError::Deadline)), "{waited:?}");
        assert_eq!(fake.count("waitfornewblock"), 1);
        assert!(fake.count("getblocktemplate") > 1);
    }
}

#[test]
fn a_long_poll_brings_the_next_template() {
    let fake = polled(|| result(block_template(TIP, "b")), Arc::new(Mutex::new(TIP)));
    let node = rpc(&fake);
    let first = node.next_template(None, &Stop::new(), None).unwrap();
    let second = node.next_template(Some(&first.id), &Stop::new(), None).unwrap();
    assert_ne!(second.id, first.id);
    assert_eq!(node.status().templates, 2);
    assert!(matches!(node.status().state, NodeState::Ready));
    let polls: Vec<Call> =
        fake.calls().into_iter().filter(|call| call.params[0]["longpollid"] == json!("a")).collect();
    assert_eq!(polls.len(), 1);
    assert_eq!(polls[0].params[0]["rules"], json!(["segwit", "signet"]));
}

#[test]
fn a_block_does_not_wait_behind_a_long_poll_and_a_stop_ends_it() {
    let fake = polled(|| Reply::Silence, Arc::new(Mutex::new(TIP)));
    let node = Arc::new(rpc(&fake));
    let first = node.next_template(None, &Stop::new(), None).unwrap();
    let (stop, waiter, id) = (Stop::new(), Arc::clone(&node), first.id.clone());
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || waiter.next_template(Some(&id), &stopped, None));
    eventually(|| fake.count("getblocktemplate") == 2);
    assert!(node.submit_block(&[1]).is_err(), "answered, if with nonsense");
    assert!(!thread.is_finished());
    stop.stop();
    let asked = Instant::now();
    assert!(matches!(thread.join().unwrap(), Err(NodeError::Stopped)));
    assert!(asked.elapsed() < Duration::from_secs(10), "it did not wait for the long poll's own end");

    // The next caller takes the long poll under way up again.
    assert!(matches!(node.next_template(Some(&first.id), &Stop::new(), soon()), Err(NodeError::Deadline)));
    assert_eq!(fake.count("getblocktemplate"), 2);
}

#[test]
fn the_heartbeat_sees_a_new_tip_that_a_silent_long_poll_hides() {
    let tip = Arc::new(Mutex::new(TIP));
    let fake = polled(|| Reply::Silence, Arc::clone(&tip));
    let node = rpc(&fake);
    let first = node.next_template(None, &Stop::new(), None).unwrap();
    *tip.lock().unwrap() = NEXT_TIP;
    let second = node.next_template(Some(&first.id), &Stop::new(), None).unwrap();
    assert_eq!(second.prev_hash.to_string(), NEXT_TIP);
    // An id that another node gave is not waited for.
    let devchain = Devchain::new(DevchainConfig::default(), Arc::new(|| 1_750_000_000)).unwrap();
    let foreign = devchain.next_template(None, &Stop::new(), None).unwrap();
    node.next_template(Some(&foreign.id), &Stop::new(), None).unwrap();
}

#[test]
fn a_node_that_comes_back_is_taken_up_again() {
    let down = Arc::new(Mutex::new(true));
    let is_down = Arc::clone(&down);
    let fake = FakeNode::start(move |call| match call.method.as_str() {
        _ if *is_down.lock().unwrap() => Reply::Raw(b""),
        "getblocktemplate" => result(block_template(TIP, "a")),
        _ => result(chain_info("main", false)),
    });
    let node = Arc::new(rpc(&fake));
    let waiter = Arc::clone(&node);
    let thread = std::thread::spawn(move || waiter.next_template(None, &Stop::new(), None));
    eventually(|| matches!(node.status().state, NodeState::Down { .. }));
    *down.lock().unwrap() = false;
    thread.join().unwrap().unwrap();
    assert!(matches!(node.status().state, NodeState::Ready));
    assert_eq!(node.status().tip.unwrap().hash.to_string(), TIP);
}

#[test]
fn a_node_without_templates_stays_down_whatever_else_it_answers() {
    #[track_caller]
    fn case(no_template: fn() -> Reply) {
        let asked: Arc<OnceLock<Arc<RpcNode>>> = Arc::default();
        let (node, states) = (Arc::clone(&asked), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&states);
        let fake = FakeNode::start(move |call| match call.method.as_str() {
            // By then the node has said that it is ready.
            "getblocktemplate" => {
                let mut seen = seen.lock().unwrap();
                seen.push(node.get().unwrap().status().state);
                if seen.len() <= 3 { no_template() } else { result(block_template(TIP, "a")) }
            }
            _ => result(chain_info("main", false)),
        });
        let node = asked.get_or_init(|| Arc::new(rpc(&fake)));
        node.next_template(None, &Stop::new(), None).unwrap();
        assert!(matches!(node.status().state, NodeState::Ready));
        let since = |state: &NodeState| match state {
            NodeState::Down { since, .. } => Some(*since),
            NodeState::Starting | NodeState::Ready => None,
        };
        let since: Vec<_> = states.lock().unwrap().iter().map(since).collect();
        assert!(since[1].is_some() && since[1..].iter().all(|other| *other == since[1]), "{since:?}");
    }
    case(|| Reply::Raw(b""));
    case(|| Reply::Silence);
    case(|| Reply::Text(503, "Work queue depth exceeded"));
    case(|| error(-9, "Bitcoin Core is not connected!"));
}
