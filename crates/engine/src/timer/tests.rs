use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn fired(wheel: &mut Wheel, to: u64) -> Vec<u32> {
    let mut keys = Vec::new();
    wheel.advance(to, &mut keys);
    keys.sort_unstable();
    keys
}

#[test]
fn fires_at_its_tick_and_once() {
    #[track_caller]
    fn case(start: u64, at: u64) {
        let mut wheel = Wheel::new();
        assert_eq!(fired(&mut wheel, start), []);
        wheel.schedule(3, at);
        assert_eq!(wheel.scheduled(3), Some(at));
        assert_eq!(fired(&mut wheel, at - 1), [], "early: {start} -> {at}");
        assert_eq!(fired(&mut wheel, at), [3], "late: {start} -> {at}");
        assert_eq!(wheel.scheduled(3), None);
        assert_eq!(fired(&mut wheel, at + (1 << 31)), []);
    }
    for start in [0, 1, 62, 63, 64, 4095, 4096, (1 << 24) - 1, (1 << 30) - 1, 1 << 30, (1 << 36) + 12345] {
        for after in [
            1,
            2,
            63,
            64,
            65,
            4095,
            4096,
            4097,
            1 << 18,
            (1 << 24) + 1,
            (1 << 30) - 1,
            1 << 30,
            (1 << 33) + 7,
        ] {
            case(start, start + after);
        }
    }
}

#[test]
fn a_deadline_of_the_past_fires_at_the_next_tick() {
    let mut wheel = Wheel::new();
    assert_eq!(fired(&mut wheel, 1000), []);
    wheel.schedule(0, 5);
    assert_eq!(wheel.next(), Some(1001));
    assert_eq!(fired(&mut wheel, 1001), [0]);
}

#[test]
fn rescheduling_replaces_and_cancelling_forgets() {
    let mut wheel = Wheel::new();
    wheel.schedule(1, 10);
    wheel.schedule(2, 10);
    wheel.schedule(3, 10);
    wheel.schedule(2, 500);
    wheel.cancel(1);
    wheel.cancel(1);
    wheel.cancel(77);
    assert_eq!(fired(&mut wheel, 499), [3]);
    assert_eq!(fired(&mut wheel, 500), [2]);
    assert_eq!(wheel.next(), None);
}

#[derive(Clone, Debug)]
enum Step {
    Schedule(u32, u64),
    Cancel(u32),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let span = prop_oneof![0u64..70, 0u64..5000, 0u64..(1 << 20), 0u64..(1 << 34)];
    prop_oneof![
        4 => (0u32..24, span.clone()).prop_map(|(key, after)| Step::Schedule(key, after)),
        1 => (0u32..24).prop_map(Step::Cancel),
        2 => span.prop_map(Step::Advance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The wheel agrees with a sorted map at every step, and never promises to sleep past a deadline.
    #[test]
    fn behaves_like_a_sorted_map(steps in prop::collection::vec(step(), 1..120)) {
        let mut wheel = Wheel::new();
        let mut model = BTreeMap::<u32, u64>::new();
        for step in steps {
            match step {
                Step::Schedule(key, after) => {
                    let at = wheel.now() + after;
                    wheel.schedule(key, at);
                    model.insert(key, at.max(wheel.now() + 1));
                }
                Step::Cancel(key) => {
                    wheel.cancel(key);
                    model.remove(&key);
                }
                Step::Advance(by) => {
                    let to = wheel.now() + by;
                    let due: Vec<u32> = model.iter().filter(|(_, at)| **at <= to).map(|(key, _)| *key).collect();
                    model.retain(|_, at| *at > to);
                    prop_assert_eq!(fired(&mut wheel, to), due);
                    prop_assert_eq!(wheel.now(), to);
                }
            }
            for key in 0..24 {
                prop_assert_eq!(wheel.scheduled(key), model.get(&key).copied());
            }
            let earliest = model.values().min().copied();
            prop_assert_eq!(wheel.next().is_some(), earliest.is_some());
            if let (Some(next), Some(earliest)) = (wheel.next(), earliest) {
                prop_assert!(next <= earliest && next > wheel.now());
            }
        }
    }
}
