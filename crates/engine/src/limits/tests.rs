use super::*;

fn admission(
    connections: usize,
    per_address: usize,
    half_open: usize,
    half_open_per_address: usize,
) -> Arc<Admission> {
    Admission::new(&Limits {
        connections,
        connections_per_address: per_address,
        half_open,
        half_open_per_address,
        ..Limits::default()
    })
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
    let admission = admission(3, 2, 100, 100);
    let (a, b) = (address("192.0.2.1"), address("192.0.2.2"));
    let first = admission.admit(a).ok().unwrap();
    let _second = admission.admit(a).ok().unwrap();
    assert_eq!(admission.admit(a).err(), Some(Refusal::ConnectionsPerAddress));
    let _third = admission.admit(b).ok().unwrap();
    assert_eq!(admission.admit(b).err(), Some(Refusal::Connections));
    drop(first);
    let _again = admission.admit(a).ok().unwrap();
}

// proves: NS-30
#[test]
fn counts_handshakes_under_way() {
    let admission = admission(100, 100, 3, 2);
    let (a, b) = (address("192.0.2.1"), address("192.0.2.2"));
    let mut first = admission.admit(a).ok().unwrap();
    let second = admission.admit(a).ok().unwrap();
    assert_eq!(admission.admit(a).err(), Some(Refusal::HalfOpenPerAddress));
    assert!(admission.has_room());
    let third = admission.admit(b).ok().unwrap();
    assert!(!admission.has_room(), "the listener waits");
    first.established();
    first.established();
    assert!(admission.has_room());
    let fourth = admission.admit(a).ok().unwrap();
    drop((first, second, third, fourth));
    let counts = admission.counts();
    assert_eq!((counts.all.open, counts.all.half_open, counts.by_address.len()), (0, 0, 0));
}
