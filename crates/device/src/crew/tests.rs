use std::collections::HashSet;

use crossbeam_channel::bounded;
use work::Kind;

use super::*;
use crate::kernel::HEADER_LEN;
use crate::search::tests::work;

const PATIENCE: Duration = Duration::from_secs(20);

/// Compact target that one hash in 65,536 meets.
const RARE: u32 = 0x1f00_ffff;
/// Compact target that half of all hashes meet.
const HALF: u32 = 0x207f_ffff;

fn numbered(tip: u64, nbits: u32) -> Work {
    Work { tip, ..work(Kind::Standard, true, nbits) }
}

// proves: MP-98 MD-06
#[test]
fn new_work_takes_over_and_no_work_stops_the_search() {
    let (sender, found) = bounded::<Found>(16);
    let crew = Crew::start(2, None, &sender).unwrap();
    crew.board().post(Some(numbered(1, RARE)));
    assert_eq!(found.recv_timeout(PATIENCE).unwrap().tip, 1);
    crew.board().post(Some(numbered(2, RARE)));
    // What was in the queue and in the threads' hands may still come; then only the new work's results.
    let late = (0..64).take_while(|_| found.recv_timeout(PATIENCE).unwrap().tip == 1).count();
    assert!(late < 64);
    crew.board().post(None);
    let mut quiet = crew.hashes();
    let deadline = Instant::now() + PATIENCE;
    loop {
        std::thread::sleep(Duration::from_millis(20));
        let now = crew.hashes();
        if now == quiet {
            break;
        }
        quiet = now;
        assert!(Instant::now() < deadline, "the threads keep hashing without work");
    }
}

#[test]
fn what_is_found_is_true_and_found_once() {
    let (sender, found) = bounded::<Found>(16);
    let crew = Crew::start(2, None, &sender).unwrap();
    let work = numbered(9, RARE);
    crew.board().post(Some(work.clone()));
    let mut seen = HashSet::new();
    for _ in 0..32 {
        let found: Found = found.recv_timeout(PATIENCE).unwrap();
        let job = &work.assignment;
        let root = job.merkle_root(&found.extranonce);
        let header: [u8; HEADER_LEN] = job.header(found.version, &root, found.ntime, 0);
        let mut hash = None;
        HeaderSearch::new(&header, work.target()).run(found.nonce, 1, |_, found| hash = Some(found));
        assert_eq!(hash, Some(found.hash));
        assert!(seen.insert(found.hash), "searched twice");
    }
}

#[test]
fn a_full_queue_delays_the_threads_but_does_not_hold_them() {
    let (sender, found) = bounded::<Found>(1);
    let crew = Crew::start(2, None, &sender).unwrap();
    crew.board().post(Some(numbered(1, HALF)));
    found.recv_timeout(PATIENCE).unwrap();
    drop(crew); // returns only if the threads end although nobody empties the queue
}

#[test]
fn a_throttle_is_kept() {
    let mut pace = Pace::new(Some(1000), Instant::now());
    assert_eq!(pace.step, 20);
    let start = pace.started;
    // A second's worth of hashes in no time: wait that second.
    assert_eq!(pace.pause(1000, start), Some(Duration::from_secs(1)));
    assert_eq!(pace.pause(1000, start + Duration::from_secs(2)), None);
    // Fallen behind by far: the lost time is not made up for.
    let late = start + Duration::from_secs(60);
    assert_eq!(pace.pause(20, late), None);
    assert_eq!(pace.pause(20, late), Some(Duration::from_millis(20)));
    assert_eq!(Pace::new(None, start).pause(u32::MAX, start), None);
}

#[test]
fn the_rate_covers_the_window_only() {
    let mut window = RateWindow::new(Duration::from_secs(10));
    let start = Instant::now();
    assert_eq!(window.rate(), None);
    // A hundred a second at first, a thousand later.
    let mut hashes = 0;
    for second in 0..100u64 {
        window.sample(start + Duration::from_secs(second), hashes);
        hashes += if second < 50 { 100 } else { 1000 };
    }
    assert_eq!(window.rate().map(|rate| rate.get()), Some(1000));
    assert_eq!(window.covered(), Duration::from_secs(10));
    window.clear();
    assert_eq!((window.rate(), window.covered()), (None, Duration::ZERO));
}
