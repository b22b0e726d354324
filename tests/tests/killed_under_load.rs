//! `kill -9` under full load: some hundred thousand shares a second are in every stage between a socket and the disk
//! when the pool dies, again and again.
//!
//! `ASSAY_KILL_ROUNDS` says how often; the result is printed, so `--nocapture` shows the figures.

use std::collections::HashSet;
use std::sync::Barrier;
use std::time::Duration;

use rand::Rng;

use assay_system_tests::assay::{AssayPool, PoolSettings, number};
use assay_system_tests::books::assert_nothing_lost_nor_twice;
use assay_system_tests::process;
use assay_system_tests::real_node::RealNode;
use assay_system_tests::recording_device::{Burst, Fired, Kind, Record};

/// Unless the environment asks for more.
const ROUNDS: u32 = 4;

/// Channels of each of the two devices, each with a payout key of its own in every round.
const CHANNELS: u32 = 64;

/// Shares that each device has ready in a round, a third of a second's worth; twice as many where there is time.
const SHARES: usize = 30_000;

/// Rounds with one tip. Each start leaves a long poll behind, which takes one of the node's few threads until its tip
/// changes.
const NEW_TIP: u32 = 4;

/// When in the life of a pool it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// So long after the first shares leave.
    UnderLoad(Duration),
    /// When all is answered, around the time at which the writer brings its tables up to date.
    Folding(Duration),
    /// So long after it was asked to stop, under load.
    Stopping(Duration),
}

impl Moment {
    fn choose(round: u32) -> Moment {
        let random = |range: std::ops::Range<u64>| {
            Duration::from_micros(rand::thread_rng().gen_range(range.start * 1000..range.end * 1000))
        };
        match round % 4 {
            2 => Moment::Folding(random(150..300)),
            3 => Moment::Stopping(random(0..60)),
            _ => Moment::UnderLoad(random(1..500)),
        }
    }
}

/// What all rounds came to.
#[derive(Debug, Default)]
struct Total {
    kills: u32,
    killed_starting: u32,
    sent: u64,
    acknowledged: u64,
    /// Shares that were on the disk although their device did not learn of it.
    credited_unheard: u64,
    /// eHash of all keys.
    credit: u64,
    rates: Vec<u64>,
}

// proves: PO-04 PO-06 MP-129
#[test]
fn acknowledged_shares_survive_kills_under_full_load() {
    let _processor = process::processor();
    let rounds =
        std::env::var("ASSAY_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    let node = RealNode::start();
    let settings =
        PoolSettings { shares_per_minute: 600, min_share_hashes: 256, q: 1, ..PoolSettings::default() };
    let mut pool = AssayPool::start(&node, &settings);
    let mut total = Total::default();
    let mut extranonces = HashSet::new();
    for round in 0..rounds {
        let moment = Moment::choose(round);
        let fired = fire_and_kill(&mut pool, moment, if rounds > ROUNDS { 2 * SHARES } else { SHARES });
        total.kills += 1;
        pool.verify_ledger();
        if round % NEW_TIP == NEW_TIP - 1 {
            node.mine(1, b"tip");
        }
        if rand::thread_rng().gen_bool(0.5) {
            pool.kill_while_starting(Duration::from_millis(rand::thread_rng().gen_range(0..120)));
            total.killed_starting += 1;
        }
        pool.restart();
        for Fired { record, sent, took } in &fired {
            assert_round(record, &pool, moment, &mut total);
            total.sent += sent;
            let rate = u128::from(record.acknowledged_shares()) * 1000 / took.as_millis().max(1);
            total.rates.push(u64::try_from(rate).expect("a rate"));
            for extranonce in &record.extranonces {
                assert!(extranonces.insert(extranonce.clone()), "an extranonce was given to two channels");
            }
        }
    }
    // Nobody else was credited, and nobody twice.
    let report = pool.verify_ledger();
    assert_eq!(number(&report["credited"]), total.credit, "{report}");
    report_figures(&mut total, number(&report["journal_rows"]));
}

/// One round: two devices at full speed, and the pool killed at `moment`.
fn fire_and_kill(pool: &mut AssayPool, moment: Moment, shares: usize) -> [Fired; 2] {
    let addresses = pool.addresses().clone();
    let (ready, done) = (Barrier::new(3), Barrier::new(3));
    std::thread::scope(|scope| {
        let devices = [Kind::Standard, Kind::Extended].map(|kind| {
            let burst = Burst::new(&addresses, kind, CHANNELS, shares);
            let (ready, done) = (&ready, &done);
            scope.spawn(move || {
                let fired = burst.fire(|| {
                    ready.wait();
                });
                if matches!(moment, Moment::Folding(_)) {
                    done.wait();
                }
                fired
            })
        });
        ready.wait();
        match moment {
            Moment::UnderLoad(after) => std::thread::sleep(after),
            Moment::Folding(after) => {
                done.wait();
                std::thread::sleep(after);
            }
            Moment::Stopping(after) => {
                std::thread::sleep(Duration::from_millis(100));
                pool.signal("TERM");
                std::thread::sleep(after);
            }
        }
        pool.kill();
        devices.map(|device| device.join().expect("no device panics"))
    })
}

fn assert_round(record: &Record, pool: &AssayPool, moment: Moment, total: &mut Total) {
    assert_eq!(record.faults, Vec::<String>::new(), "{moment:?}");
    assert!(record.refused.is_empty(), "{moment:?}: {:?}", record.refused);
    assert_nothing_lost_nor_twice(record, pool);
    for (key, account) in &record.accounts {
        let credited = pool.total_credit(key);
        let worth = account.acknowledged.checked_div(account.acknowledged_shares).unwrap_or(0);
        total.credited_unheard += (credited - account.acknowledged).checked_div(worth).unwrap_or(0);
        total.credit += credited;
    }
    total.acknowledged += record.acknowledged_shares();
}

fn report_figures(total: &mut Total, journal_rows: u64) {
    let Total { kills, killed_starting, sent, acknowledged, credited_unheard, rates, .. } = total;
    rates.sort_unstable();
    println!(
        "{kills} kills, {killed_starting} more while starting; {sent} shares sent, {acknowledged} acknowledged, \
         {credited_unheard} credited whose acknowledgement was under way; 0 lost, 0 counted twice; \
         shares acknowledged per second and device: least {}, median {}, most {}; {journal_rows} journal rows",
        rates.first().expect("a round"),
        rates[rates.len() / 2],
        rates.last().expect("a round"),
    );
}
