use {super::*, crate::limits::Rate, proptest::prelude::*};

const SECOND: Nanos = 1_000_000_000;

fn admission(adjust: impl FnOnce(&mut Limits)) -> Arc<Admission> {
    let mut limits = Limits { connection_rate: Rate::UNLIMITED, ..Limits::default() };
    adjust(&mut limits);
    Admission::new(&limits, usize::MAX)
}

impl Admission {
    /// Lets somebody in who does not have to wait.
    fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Refusal> {
        self.admit(address, 0).map(|(permit, wait)| {
            assert_eq!(wait, None);
            permit
        })
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn an_ipv6_customer_is_one_address() {
    #[track_caller]
    fn case(a: &str, b: &str, same: bool) {
        assert_eq!(AddressKey::from(address(a)) == AddressKey::from(address(b)), same, "{a} {b}");
    }
    case("192.0.2.1", "192.0.2.1", true);
    case("192.0.2.1", "192.0.2.2", false);
    case("192.0.2.1", "::ffff:192.0.2.1", true);
    case("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true);
    case("2001:db8:0:1::1", "2001:db8:0:2::1", false);
}

#[test]
fn counts_connections_in_all_and_per_address() {
    let admission = admission(|limits| (limits.connections, limits.connections_per_address) = (3, 2));
    let (a, b) = (address("192.0.2.1"), address("192.0.2.2"));
    let first = admission.enter(a).ok().unwrap();
    let _second = admission.enter(a).ok().unwrap();
    assert_eq!(admission.enter(a).err(), Some(Refusal::ConnectionsPerAddress));
    let _third = admission.enter(b).ok().unwrap();
    assert_eq!(admission.enter(b).err(), Some(Refusal::Connections));
    drop(first);
    let _again = admission.enter(a).ok().unwrap();
}

#[test]
fn some_descriptors_are_left_for_others() {
    let limits = Limits { spare_descriptors: 10, ..Limits::default() };
    let admission = Admission::new(&limits, 12);
    let _taken = [1, 2].map(|_| admission.enter(address("192.0.2.1")).ok().unwrap());
    assert_eq!(admission.enter(address("192.0.2.1")).err(), Some(Refusal::Descriptors));
}

// proves: NS-30
#[test]
fn counts_handshakes_under_way() {
    let admission = admission(|limits| (limits.half_open, limits.half_open_per_address) = (3, 2));
    let (a, b) = (address("192.0.2.1"), address("192.0.2.2"));
    let mut first = admission.enter(a).ok().unwrap();
    let second = admission.enter(a).ok().unwrap();
    let (mut third, wait) = admission.admit(a, 0).ok().unwrap();
    assert_eq!(wait, Some(0), "as soon as one of the two is done");
    assert!(!third.begin());
    assert!(admission.has_room());
    let fourth = admission.enter(b).ok().unwrap();
    assert!(!admission.has_room(), "the listener waits");
    first.established();
    assert!(admission.has_room());
    assert!(third.begin());
    assert!(third.begin(), "it has begun already");
    drop((first, second, third, fourth));
    let counts = admission.counts();
    assert_eq!((counts.open, counts.half_open, counts.waiting), (0, 0, 0));
}

#[test]
fn whoever_has_no_patience_refuses() {
    let admission = admission(|limits| {
        limits.half_open_per_address = 1;
        limits.connection_rate = Rate { per_second: 1, burst: 3 };
        limits.patience = Duration::ZERO;
    });
    let a = address("192.0.2.1");
    let _first = admission.enter(a).ok().unwrap();
    assert_eq!(admission.enter(a).err(), Some(Refusal::HalfOpenPerAddress));
    drop(_first);
    let _second = admission.enter(a).ok().unwrap();
    assert_eq!(admission.enter(a).err(), Some(Refusal::ConnectionRate));
    let _other = admission.enter(address("192.0.2.2")).ok().unwrap();
}

/// A farm of 4,096 devices behind one address comes back at once.
#[test]
fn a_farm_is_served_late_and_not_refused() {
    let limits = Limits { half_open_per_address: usize::MAX, ..Limits::default() };
    let admission = Admission::new(&limits, usize::MAX);
    let mut latest = 0;
    let permits: Vec<_> = (0..4096)
        .map(|_| {
            let (permit, wait) = admission.admit(address("192.0.2.1"), SECOND).expect("nobody is refused");
            latest = latest.max(wait.unwrap_or(0));
            permit
        })
        .collect();
    assert!(latest > 5 * SECOND && latest < 7 * SECOND, "{latest}");
    let waits = admission.admit(address("2001:db8::1"), SECOND).ok().unwrap().1;
    assert_eq!(waits, None, "nobody else waits for them");
    drop(permits);
    assert_eq!(admission.counts().waiting, 0);
}

#[test]
fn the_room_to_wait_in_is_bounded() {
    let admission = admission(|limits| {
        limits.connection_rate = Rate { per_second: 1, burst: 1 };
        limits.waiting = 2;
    });
    let a = address("192.0.2.1");
    let _held: Vec<_> = (0..3).map(|_| admission.admit(a, 0).ok().unwrap()).collect();
    assert_eq!(admission.admit(a, 0).err(), Some(Refusal::ConnectionRate));
    let refused = (0..5).all(|_| admission.admit(a, 0).is_err());
    assert!(refused, "asking in vain takes nothing");
    assert_eq!(admission.admit(a, 3 * SECOND).ok().unwrap().1, None);
}

#[test]
fn failures_cost_their_address_and_nobody_else() {
    let admission = admission(|limits| {
        limits.connection_rate = Rate { per_second: 100, burst: 100 };
        limits.failure_cost = 7;
    });
    let (bad, good) = (address("192.0.2.1"), address("192.0.2.2"));
    let mut honest = Vec::new();
    for at in 0..12 {
        admission.admit(bad, at).ok().unwrap().0.failed();
        honest.push(admission.enter(good).ok().unwrap());
    }
    assert!(admission.admit(bad, 12).ok().unwrap().1.is_none(), "12 × 8 of 100 tokens are gone");
    (0..4).for_each(|_| drop(admission.admit(bad, 12)));
    assert!(admission.admit(bad, 12).ok().unwrap().1.is_some(), "the debt outlives the connections");
    honest.push(admission.enter(good).ok().unwrap());
    assert!(admission.admit(bad, 2 * SECOND).ok().unwrap().1.is_none(), "and is paid off by time");
}

#[test]
fn forgets_addresses_that_owe_nothing() {
    let admission = admission(|limits| {
        limits.connection_rate = Rate { per_second: 10, burst: 10 };
        limits.addresses = 100;
    });
    let v6 = |index: u64| IpAddr::from(std::net::Ipv6Addr::from(u128::from(index) << 64));
    // One who stays, among many who come once.
    let stays = admission.enter(v6(u64::MAX)).ok().unwrap();
    for index in 0..10_000 {
        drop(admission.admit(v6(index), 0));
        let counts = admission.counts();
        assert!(counts.by_address.len() <= 103 && counts.resting.len() <= 102);
    }
    for index in 0..1000 {
        drop(admission.admit(v6(index), SECOND * (2 + index)));
    }
    assert!(admission.counts().by_address.len() <= 3, "all buckets are full again");
    assert!(admission.counts().by_address.contains_key(&AddressKey::from(v6(u64::MAX))));
    drop(stays);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever comes, begins, succeeds, fails and goes, in whatever order: the limits hold at every
    /// step, and in the end every count is zero.
    #[test]
    fn counts_stay_true(
        steps in prop::collection::vec((0u8..6, 0u8..4, any::<prop::sample::Index>()), 1..300)
    ) {
        let admission = admission(|limits| {
            limits.connections = 12;
            limits.connections_per_address = 6;
            limits.half_open_per_address = 2;
            limits.waiting = 5;
            limits.connection_rate = Rate { per_second: 50, burst: 4 };
            limits.addresses = 2;
        });
        let (mut permits, mut now): (Vec<Permit>, _) = (Vec::new(), 0);
        for (step, who, which) in steps {
            now += SECOND / 100;
            match step {
                0 | 1 => {
                    let host = IpAddr::from([192, 0, 2, who]);
                    if let Ok((permit, _)) = admission.admit(host, now) {
                        permits.push(permit);
                    }
                }
                _ if permits.is_empty() => {}
                2 => drop(permits.swap_remove(which.index(permits.len()))),
                step => {
                    let index = which.index(permits.len());
                    let permit = &mut permits[index];
                    match (step, permit.stage) {
                        (3, Stage::Waiting) => drop(permit.begin()),
                        (4, Stage::HalfOpen) => permit.established(),
                        (5, _) => permit.failed(),
                        _ => {}
                    }
                }
            }
            let counts = admission.counts();
            let stage = |stage| permits.iter().filter(|permit| permit.stage == stage).count();
            prop_assert_eq!((counts.open, counts.half_open, counts.waiting),
                (permits.len(), stage(Stage::HalfOpen), stage(Stage::Waiting)));
            prop_assert!(counts.open <= 12 && counts.waiting <= 5);
            for own in counts.by_address.values() {
                prop_assert!(own.open <= 6 && own.half_open <= 2);
                prop_assert!(own.open > 0 || own.resting);
            }
        }
        permits.clear();
        let counts = admission.counts();
        prop_assert_eq!((counts.open, counts.half_open, counts.waiting), (0, 0, 0));
        prop_assert!(counts.by_address.len() <= counts.resting.len());
    }
}
