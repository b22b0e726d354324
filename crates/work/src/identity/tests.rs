use {super::*, proptest::prelude::*};

/// The generator's x coordinate.
const G: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

fn g() -> PayoutKey {
    G.parse().unwrap()
}

#[test]
fn text_has_one_length_and_one_first_character_for_all_keys() {
    for bytes in [[0; 32], [0xff; 32], *g().as_bytes()] {
        let text = PayoutKey(bytes).to_string();
        assert_eq!(text.len(), KEY_TEXT_LEN);
        assert!(text.starts_with(KEY_FIRST_CHARACTER));
    }
}

#[test]
fn all_three_forms_are_read() {
    assert_eq!(g().to_string().parse(), Ok(g()));
    assert_eq!(G.to_uppercase().parse(), Ok(g()));
    assert_eq!(format!("02{G}").parse(), Ok(g()));
    assert_eq!(format!("03{G}").parse(), Ok(g()));
    assert_eq!(PayoutKey::from(g().to_x_only()), g());
}

// proves: EC-07
#[test]
fn mistakes_are_named() {
    assert_eq!(IdentityError::NotAKey.code(), "invalid-user-identity");
    #[track_caller]
    fn case(text: &str, error: IdentityError) {
        assert_eq!(UserIdentity::from_bytes(text.as_bytes()), Err(error));
    }
    case("", IdentityError::Empty);
    case(".worker", IdentityError::Empty);
    case("bob", IdentityError::NotAKey);
    case(&G[1..], IdentityError::NotAKey);
    case(&format!("04{G}"), IdentityError::HexPrefix);
    case(&"ff".repeat(32), IdentityError::NotOnCurve);
    case("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig", IdentityError::BitcoinAddress);
    case("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", IdentityError::BitcoinAddress);
    case("5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ", IdentityError::PrivateKey);
    let key = g().to_string();
    let typo = format!("{}{}", &key[..50], if key.ends_with('x') { 'y' } else { 'x' });
    case(&typo, IdentityError::Checksum);
    case(&key[..50], IdentityError::NotAKey);
    case(&key[..50].replace('7', "0"), IdentityError::NotAKey);
}

#[test]
fn a_private_key_is_never_repeated() {
    let wif = "5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ";
    let error = wif.parse::<PayoutKey>().unwrap_err();
    assert!(!format!("{error} {error:?}").contains(wif));
}

// proves: MP-38 AM-35
#[test]
fn the_worker_name_is_bytes_shown_as_text() {
    let identity = |worker: &[u8]| {
        let mut bytes = g().to_string().into_bytes();
        bytes.push(b'.');
        bytes.extend_from_slice(worker);
        UserIdentity::from_bytes(&bytes).unwrap()
    };
    assert_eq!(identity(b"").worker, None);
    assert_eq!(identity(b"rig.7").worker.unwrap().as_str(), "rig.7");
    assert_eq!(identity(b"\xff\nrig").worker.unwrap().as_str(), "\u{fffd}\u{fffd}rig");
    let long = identity(&[0xff; 203]).worker.unwrap();
    assert!(long.as_str().len() <= WorkerName::MAX_LEN);
    assert_eq!(identity(&[b'a'; 203]).worker.unwrap().as_str().len(), 203);
    assert_eq!(identity(b"rig").to_string(), format!("{}.rig", g()));
}

proptest! {
  #[test]
  fn text_round_trips(bytes: [u8; 32]) {
    if let Ok(key) = PayoutKey::from_bytes(bytes) {
      let text = key.to_string();
      prop_assert_eq!(text.len(), KEY_TEXT_LEN);
      prop_assert!(text.starts_with(KEY_FIRST_CHARACTER));
      prop_assert_eq!(text.parse::<PayoutKey>(), Ok(key));
    }
  }

  // proves: MP-38
  #[test]
  fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
    let _ = UserIdentity::from_bytes(&bytes);
  }
}
