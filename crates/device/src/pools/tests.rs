use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn pools(count: u16) -> (Pools, Timing, Instant, StdRng) {
    let timing = Timing::default();
    let addresses: Vec<_> =
        (0..count).map(|pool| PoolAddress::unverified(format!("pool{pool}"), 1000 + pool)).collect();
    (Pools::new(&addresses, timing), timing, Instant::now(), StdRng::seed_from_u64(1))
}

fn lost() -> End {
    End::ConnectionLost("reset".to_owned())
}

// proves: MD-09
#[test]
fn delays_double_up_to_a_limit_and_differ_between_devices() {
    let (mut pools, timing, now, mut rng) = pools(1);
    let mut seen = Vec::new();
    for attempt in 0..12u32 {
        let delay = pools.unreachable(now, &mut rng);
        let full = timing.retry_first.saturating_mul(1 << attempt).min(timing.retry_most);
        assert!(delay >= full / 2 && delay <= full, "attempt {attempt}: {delay:?} of {full:?}");
        seen.push(delay);
    }
    let (mut others, _, _, mut rng) = (self::pools(1).0, (), (), StdRng::seed_from_u64(2));
    assert!(seen.iter().any(|delay| others.unreachable(now, &mut rng) != *delay), "without jitter");
}

// proves: MD-09
#[test]
fn a_pool_that_ends_every_session_at_once_is_not_stormed() {
    let (mut pools, timing, now, mut rng) = pools(1);
    for _ in 0..10 {
        pools.ended(&lost(), Duration::from_millis(100), now, &mut rng);
    }
    assert!(pools.ended(&lost(), Duration::ZERO, now, &mut rng) >= timing.retry_most / 2);
    // One that worked for a while is tried again soon.
    assert!(pools.ended(&lost(), timing.healthy_after, now, &mut rng) <= timing.retry_first);
}

#[test]
fn the_next_pool_has_its_turn_and_the_first_one_again() {
    let (mut pools, timing, now, mut rng) = pools(2);
    pools.unreachable(now, &mut rng);
    assert_eq!(pools.destination().index, 0, "once is no reason to leave");
    pools.unreachable(now, &mut rng);
    assert_eq!(pools.destination().index, 1);
    assert!(!pools.return_due(now + timing.return_after / 2));
    let later = now + timing.return_after;
    assert!(pools.return_due(later));
    pools.return_failed(later);
    assert!(!pools.return_due(later));
    assert!(pools.return_due(later + timing.return_after));
    pools.returned();
    assert_eq!(pools.destination().index, 0);
    assert!(!pools.return_due(later + 2 * timing.return_after), "the first one is where it should be");
}

#[test]
fn all_pools_are_tried_in_a_ring() {
    let (mut pools, _, now, mut rng) = pools(3);
    let visited: Vec<_> = (0..12)
        .map(|_| {
            pools.unreachable(now, &mut rng);
            pools.destination().index
        })
        .collect();
    // Once every pool has failed twice, one more failure is enough to move on.
    assert_eq!(visited[..6], [0, 1, 1, 2, 2, 0]);
    assert!(visited[6..].windows(2).all(|pair| pair[1] == (pair[0] + 1) % 3), "{visited:?}");
}

// proves: RC-01 RC-04
#[test]
fn a_redirect_changes_host_and_port_and_never_the_key() {
    let key = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh".parse().unwrap();
    let address = PoolAddress::verified("pool", 1000, key);
    let now = Instant::now();
    let mut rng = StdRng::seed_from_u64(1);
    for (host, port, expected) in [
        ("", 0, ("pool", 1000)),
        ("other", 0, ("other", 1000)),
        ("", 7, ("pool", 7)),
        ("other", 7, ("other", 7)),
    ] {
        let mut pools = Pools::new(std::slice::from_ref(&address), Timing::default());
        let delay =
            pools.ended(&End::Reconnect { host: host.to_owned(), port }, Duration::ZERO, now, &mut rng);
        assert!(delay < Timing::default().retry_first);
        let destination = pools.destination();
        assert_eq!((destination.address.host.as_str(), destination.address.port), expected);
        assert!(destination.address.trust == address.trust);
    }
}

// proves: RC-08
#[test]
fn redirects_in_a_circle_end() {
    let (mut pools, timing, now, mut rng) = pools(1);
    for hop in 0..REDIRECTS_FOLLOWED {
        let end = End::Reconnect { host: ["a", "b"][hop % 2].to_owned(), port: 5 };
        pools.ended(&end, Duration::ZERO, now, &mut rng);
        assert_eq!(pools.destination().address.host, ["a", "b"][hop % 2]);
    }
    let end = End::Reconnect { host: "a".to_owned(), port: 5 };
    pools.ended(&end, Duration::ZERO, now, &mut rng);
    assert_eq!(pools.destination().address.host, "pool0", "back at the pool's own address");
    for _ in 0..8 {
        pools.ended(&end, Duration::ZERO, now, &mut rng);
    }
    assert!(pools.ended(&end, Duration::ZERO, now, &mut rng) >= timing.retry_most / 2, "and ever slower");
    // A minute later a redirect is believed again.
    let later = now + REDIRECT_WINDOW + Duration::from_secs(1);
    pools.ended(&end, timing.healthy_after, later, &mut rng);
    assert_eq!(pools.destination().address.host, "a");
}

#[test]
fn a_dead_end_leads_back_to_the_pool_itself() {
    let (mut pools, _, now, mut rng) = pools(2);
    pools.ended(&End::Reconnect { host: "gone".to_owned(), port: 5 }, Duration::ZERO, now, &mut rng);
    pools.unreachable(now, &mut rng);
    assert_eq!(pools.destination().address.host, "pool0");
}

// proves: SM-05
#[test]
fn what_a_session_learned_is_known_to_the_next_one() {
    let (mut pools, timing, now, mut rng) = pools(1);
    let lessons = Lessons { refused_flags: 4, ..Lessons::default() };
    let end = End::Retry { lessons, why: "flags".to_owned() };
    assert!(pools.ended(&end, Duration::ZERO, now, &mut rng) < timing.retry_first, "it knows better now");
    assert_eq!(pools.destination().lessons, lessons);
    // The same lesson again is no news: it counts as a failure.
    let mut longest = Duration::ZERO;
    for _ in 0..12 {
        longest = longest.max(pools.ended(&end, Duration::ZERO, now, &mut rng));
    }
    assert!(longest >= timing.retry_most / 2);
}
