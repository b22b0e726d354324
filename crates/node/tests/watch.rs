//! Chain events on a devchain, whatever happens to it.

use {
    assay_node::{
        BlockInfo, Chain, ChainEvent, Devchain, DevchainConfig, Node, NodeError, NodeStatus, Stop, Submitted,
        Template, TemplateId, Tip, Watch, WatchError,
        bitcoin::{Block, BlockHash, ScriptBuf, Transaction, Txid, consensus},
    },
    proptest::prelude::*,
    std::{
        sync::{Arc, Mutex},
        time::{Duration, Instant},
    },
};

fn op_true() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

fn chain() -> Devchain {
    Devchain::new(DevchainConfig::default(), Arc::new(|| 1_750_000_000)).unwrap()
}

fn watch(chain: &Devchain, start: Tip) -> Watch {
    Watch::from(Arc::new(chain.clone()), start, 10)
}

/// All events there are.
fn drain(watch: &mut Watch) -> Result<Vec<ChainEvent>, WatchError> {
    let mut events = Vec::new();
    while let Some(event) = watch.next(&Stop::new(), Some(Instant::now()))? {
        events.push(event);
    }
    Ok(events)
}

fn connected(tip: Tip) -> ChainEvent {
    ChainEvent::Connected { height: tip.height, hash: tip.hash }
}

fn disconnected(tip: Tip) -> ChainEvent {
    ChainEvent::Disconnected { height: tip.height, hash: tip.hash }
}

#[test]
fn a_reorg_is_told_block_by_block() {
    let chain = chain();
    let genesis = chain.tip().unwrap();
    let mut watch = watch(&chain, genesis);
    assert_eq!(drain(&mut watch).unwrap(), []);
    let a: Vec<Tip> = (0..3).map(|_| chain.mine_block(op_true()).unwrap()).collect();
    assert_eq!(drain(&mut watch).unwrap(), [connected(a[0]), connected(a[1]), connected(a[2])]);

    let b = chain.mine_fork(&a[0].hash, 3).unwrap();
    assert_eq!(
        drain(&mut watch).unwrap(),
        [disconnected(a[2]), disconnected(a[1]), connected(b[0]), connected(b[1]), connected(b[2])]
    );
    assert_eq!(watch.known(), chain.tip().unwrap());
    chain.invalidate(&b[0].hash).unwrap();
    let told = drain(&mut watch).unwrap();
    assert_eq!(told[..3], [disconnected(b[2]), disconnected(b[1]), disconnected(b[0])]);
    assert_eq!(told[3..], [connected(a[1]), connected(a[2])]);
}

#[test]
fn it_waits_for_a_block() {
    let chain = chain();
    let mut watch = watch(&chain, chain.tip().unwrap());
    let thread = std::thread::spawn(move || watch.next(&Stop::new(), None));
    let tip = chain.mine_block(op_true()).unwrap();
    assert_eq!(thread.join().unwrap().unwrap(), Some(connected(tip)));
}

#[test]
fn a_stop_ends_the_wait() {
    let chain = chain();
    let (stop, mut watch) = (Stop::new(), watch(&chain, chain.tip().unwrap()));
    let stopped = stop.clone();
    let thread =
        std::thread::spawn(move || watch.next(&stopped, Some(Instant::now() + Duration::from_secs(600))));
    stop.stop();
    assert_eq!(thread.join().unwrap().unwrap(), None);
}

#[test]
fn a_reorg_deeper_than_the_look_back_is_an_error() {
    let chain = chain();
    let genesis = chain.tip().unwrap();
    for _ in 0..11 {
        chain.mine_block(op_true()).unwrap();
    }
    let mut watch = watch(&chain, chain.tip().unwrap());
    chain.mine_fork(&genesis.hash, 12).unwrap();
    let error = drain(&mut watch).unwrap_err();
    assert!(matches!(error, WatchError::TooDeep { look_back: 10, known: Tip { height: 1, .. } }), "{error}");
}

#[test]
fn a_start_on_another_chain_is_an_error() {
    let chain = chain();
    let tip = chain.mine_block(op_true()).unwrap();
    let foreign = Tip { height: 1, hash: "22".repeat(32).parse().unwrap() };
    for start in [foreign, Tip { height: 5, ..tip }, Tip { height: 0, ..foreign }] {
        let error = drain(&mut watch(&chain, start)).unwrap_err();
        assert!(matches!(error, WatchError::UnknownStart { known } if known == start), "{error}");
    }
}

/// A node that can be replaced by another one, as by a crash.
struct Replaceable(Mutex<Devchain>);

impl Replaceable {
    fn now(&self) -> Devchain {
        self.0.lock().unwrap().clone()
    }
}

impl Node for Replaceable {
    fn chain(&self) -> Chain {
        self.now().chain()
    }

    fn next_template(
        &self,
        known: Option<&TemplateId>,
        stop: &Stop,
        deadline: Option<Instant>,
    ) -> Result<Template, NodeError> {
        self.now().next_template(known, stop, deadline)
    }

    fn submit_block(&self, block: &[u8]) -> Result<Submitted, NodeError> {
        self.now().submit_block(block)
    }

    fn tip(&self) -> Result<Tip, NodeError> {
        self.now().tip()
    }

    fn wait_tip(&self, known: &BlockHash, stop: &Stop, deadline: Instant) -> Result<Tip, NodeError> {
        self.now().wait_tip(known, stop, deadline)
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError> {
        self.now().block_hash(height)
    }

    fn block_info(&self, hash: &BlockHash) -> Result<Option<BlockInfo>, NodeError> {
        self.now().block_info(hash)
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError> {
        self.now().block(hash)
    }

    fn broadcast(&self, transaction: &Transaction) -> Result<Txid, NodeError> {
        self.now().broadcast(transaction)
    }

    fn status(&self) -> NodeStatus {
        self.now().status()
    }
}

#[test]
fn a_node_that_forgot_its_newest_blocks_is_followed_back_and_forth() {
    let (before, after) = (chain(), chain());
    let start = before.tip().unwrap();
    let tips: Vec<Tip> = (0..5).map(|_| before.mine_block(op_true()).unwrap()).collect();
    let copy = |tip: &Tip| {
        let block = consensus::serialize(&before.block(&tip.hash).unwrap());
        assert_eq!(after.submit_block(&block).unwrap(), Submitted::Accepted);
    };
    let node = Arc::new(Replaceable(Mutex::new(before.clone())));
    let mut watch = Watch::from(Arc::clone(&node) as Arc<dyn Node>, start, 10);
    assert_eq!(drain(&mut watch).unwrap().len(), 5);

    tips[..3].iter().for_each(copy);
    *node.0.lock().unwrap() = after.clone();
    assert_eq!(drain(&mut watch).unwrap(), [disconnected(tips[4]), disconnected(tips[3])]);
    tips[3..].iter().for_each(copy);
    assert_eq!(drain(&mut watch).unwrap(), [connected(tips[3]), connected(tips[4])]);
}

#[derive(Clone, Debug)]
enum Action {
    Mine,
    Fork { back: u32, blocks: u32 },
    Invalidate { back: u32 },
    Look { events: usize },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => Just(Action::Mine),
        2 => (0u32..6, 1u32..7).prop_map(|(back, blocks)| Action::Fork { back, blocks }),
        1 => (0u32..4).prop_map(|back| Action::Invalidate { back }),
        2 => (0usize..5).prop_map(|events| Action::Look { events }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn events_replay_to_the_best_chain(actions in prop::collection::vec(action(), 1..30)) {
        let chain = chain();
        let mut replayed = vec![chain.tip().unwrap()];
        // Deep enough for any of these reorgs.
        let mut watch = Watch::from(Arc::new(chain.clone()), replayed[0], 200);
        let mut follow = |watch: &mut Watch, limit: usize| {
            for _ in 0..limit {
                let Some(event) = watch.next(&Stop::new(), Some(Instant::now())).unwrap() else { break };
                match event {
                    ChainEvent::Connected { height, hash } => {
                        assert_eq!(height, replayed.last().unwrap().height + 1);
                        replayed.push(Tip { height, hash });
                    }
                    ChainEvent::Disconnected { height, hash } => {
                        assert_eq!(replayed.pop(), Some(Tip { height, hash }));
                    }
                }
            }
            replayed.clone()
        };
        for action in actions {
            let height = chain.tip().unwrap().height;
            let hash = |back: u32| chain.block_hash(height.saturating_sub(back)).unwrap().unwrap();
            match action {
                Action::Mine => drop(chain.mine_block(op_true()).unwrap()),
                Action::Fork { back, blocks } => drop(chain.mine_fork(&hash(back), blocks).unwrap()),
                Action::Invalidate { back } if height > back => chain.invalidate(&hash(back)).unwrap(),
                Action::Invalidate { .. } => {}
                Action::Look { events } => drop(follow(&mut watch, events)),
            }
        }
        let replayed = follow(&mut watch, usize::MAX);
        let height = chain.tip().unwrap().height;
        let best: Vec<Tip> = (0..=height)
            .map(|height| Tip { height, hash: chain.block_hash(height).unwrap().unwrap() })
            .collect();
        prop_assert_eq!(replayed, best);
    }
}
