//! Chain events on a devchain, whatever happens to it.

use {
    assay_node::{
        ChainEvent, Devchain, DevchainConfig, Node, Stop, Tip, Watch, WatchError, bitcoin::ScriptBuf,
    },
    proptest::prelude::*,
    std::{
        sync::Arc,
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
