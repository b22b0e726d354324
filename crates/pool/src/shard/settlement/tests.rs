//! A settlement whose ledger answers when and how the test wants.

use engine::simulation::{Moment, VirtualShard};
use engine::{Close, Connections, EngineConfig, Handler, Link};
use ledger::{Ledger, Params, Refusal, StoreError};
use std::sync::Arc;
use sv2::noise::{AuthoritySecret, Identity, Validity};

use super::*;

/// Serves nobody: only its handle is needed.
struct Nobody;

impl Handler for Nobody {
    type Conn = ();
    type Command = Command;

    fn opened(&mut self, _: &mut Link<'_>) {}

    fn frame(&mut self, (): &mut (), _: &mut Link<'_>, _: sv2::Frame<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn closed(&mut self, (): (), _: ConnId, _: &Close) {}

    fn command(&mut self, _: Command, _: &mut Connections<'_, Self>) {}
}

const SLOW: Duration = Duration::from_secs(5);

struct Rig {
    settlement: Settlement,
    stats: PoolStats,
    shard: VirtualShard<Nobody>,
    start: Instant,
    _books: Ledger,
    _dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (books, ledger) = Ledger::open(dir.path().join("ledger.db"), Params::default()).unwrap();
        let secret = AuthoritySecret::generate(&mut rand::rngs::OsRng);
        let identity = Arc::new(Identity::new(secret, Validity::default(), 1, &mut rand::rngs::OsRng));
        let config = EngineConfig::new(([127, 0, 0, 1], 0).into(), identity);
        let start = Instant::now();
        let shard = VirtualShard::new(&config, 0, 1, Moment { instant: start, unix: 1 }, |_| Nobody).unwrap();
        let stats = PoolStats::new();
        let source = Source { front: 1, shard: 0 };
        let settlement = Settlement::new(ledger, stats.clone(), source, 0, SLOW);
        Self { settlement, stats, shard, start, _books: books, _dir: dir }
    }

    fn send_at(&mut self, seconds: u64) {
        let now = self.at(seconds);
        self.settlement.send(now, &self.shard.handle());
    }

    fn answer_at(&mut self, seconds: u64, result: Result<(), LedgerError>) {
        let now = self.at(seconds);
        self.settlement.committed(result.map(|()| Duration::ZERO), now);
    }

    fn stuck_for(&self, seconds: u64) -> Option<u64> {
        self.settlement.stuck_for(self.at(seconds)).map(|time| time.as_secs())
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn credit(&mut self, key: PayoutKey) {
        self.settlement.credit(None, key, Ehash::new(1));
    }
}

fn disk() -> LedgerError {
    LedgerError::Disk(Arc::new(StoreError::Missing { path: "the disk".into() }))
}

/// Every other number is a key's x coordinate, about.
fn keys() -> impl Iterator<Item = PayoutKey> {
    (1u64..).filter_map(|number| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        PayoutKey::from_bytes(bytes).ok()
    })
}

#[test]
fn a_disk_that_takes_nothing_does_not_make_the_credits_grow_without_end() {
    let mut rig = Rig::new();
    let mut keys = keys();
    let known = keys.next().unwrap();
    rig.credit(known);
    rig.send_at(0);
    // In the batch that is on its way, and again in those that wait for it.
    for key in std::iter::once(known).chain(keys.by_ref()).take(MOST_KEYS) {
        assert!(rig.settlement.has_room_for(&key));
        rig.credit(key);
    }
    let new = keys.next().unwrap();
    assert!(!rig.settlement.has_room_for(&new) && rig.settlement.has_room_for(&known));
    for second in 1..100 {
        rig.answer_at(second, Err(disk()));
        rig.credit(known);
        rig.send_at(second + 2);
    }
    assert!(!rig.settlement.has_room_for(&new));
    rig.answer_at(200, Ok(()));
    rig.send_at(200);
    assert!(rig.settlement.has_room_for(&new), "what waited is on its way");
}

#[test]
fn a_slow_disk_is_noticed_and_a_failing_one_at_once_until_it_takes_something() {
    let mut rig = Rig::new();
    assert_eq!(rig.stuck_for(1000), None, "nothing to do is no trouble");
    let key = keys().next().unwrap();
    rig.credit(key);
    rig.send_at(10);
    assert_eq!((rig.stuck_for(14), rig.stuck_for(15)), (None, Some(5)));
    rig.answer_at(20, Err(disk()));
    assert_eq!(rig.stuck_for(20), Some(10));
    rig.send_at(22);
    assert_eq!(rig.stuck_for(70), Some(60), "counted from the first");
    rig.answer_at(70, Ok(()));
    assert_eq!(rig.stuck_for(70), None);
}

#[test]
fn what_the_ledger_refuses_for_good_ends_the_process() {
    let mut rig = Rig::new();
    rig.credit(keys().next().unwrap());
    rig.send_at(0);
    assert!(!rig.stats.has_failed());
    rig.answer_at(1, Err(LedgerError::Refused(Refusal::EpochsExhausted)));
    assert!(rig.stats.has_failed());
    assert!(!rig.settlement.is_idle(), "nothing is acknowledged");
}

/// A batch that the ledger cannot commit yet would only make wait what comes after it.
#[test]
fn credits_gather_until_the_ledger_can_commit_again() {
    let mut rig = Rig::new();
    let key = keys().next().unwrap();
    let sent = |rig: &Rig| matches!(rig.settlement.in_flight, InFlight::Sent(..));
    rig.credit(key);
    rig.send_at(0);
    assert!(sent(&rig), "an idle ledger takes it at once");
    let pause = Duration::from_secs(10);
    rig.settlement.committed(Ok(pause + AHEAD), rig.at(1));
    assert_eq!(rig.settlement.send_at(), None, "there is nothing to send");
    rig.credit(key);
    rig.send_at(10);
    assert!(!sent(&rig) && !rig.settlement.is_idle());
    assert_eq!(rig.settlement.send_at(), Some(rig.at(11)));
    rig.send_at(11);
    assert!(sent(&rig));
    assert_eq!(rig.settlement.send_at(), None);
    // Less than a turn before the next commit there is no time to lose.
    rig.settlement.committed(Ok(AHEAD / 2), rig.at(12));
    rig.credit(key);
    rig.send_at(12);
    assert!(sent(&rig));
}
