//! Texts that people type: payout keys, user names, authority keys and secrets, pool addresses. What is read is
//! shown in one form, and that form is read as the same.

use std::str::FromStr;
use sv2::Endpoint;
use sv2::noise::{AuthorityKey, AuthoritySecret};
use work::{PayoutKey, UserIdentity};

/// The same text as each of them.
pub fn names(data: &[u8]) {
    user_identity(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert_eq!(
        PayoutKey::from_str(text).is_ok_and(|key| key == same(&key)),
        PayoutKey::from_str(text).is_ok()
    );
    if let Ok(key) = AuthorityKey::from_str(text) {
        assert_eq!(AuthorityKey::from_str(&key.to_string()), Ok(key));
        assert_eq!(AuthorityKey::from_bytes(key.to_bytes()), Ok(key));
    }
    if let Ok(secret) = AuthoritySecret::from_str(text) {
        let again = AuthoritySecret::from_str(&secret.to_text()).expect("its own text");
        assert_eq!(again.to_bytes(), secret.to_bytes());
        assert!(!format!("{secret:?}").contains(text.trim()), "a secret was shown");
    }
    match Endpoint::from_str(text) {
        Ok(endpoint) => {
            assert!(!endpoint.host.is_empty() && endpoint.port != 0);
            assert_eq!(Endpoint::from_str(&endpoint.to_string()), Ok(endpoint));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The key as its own text says it.
fn same(key: &PayoutKey) -> PayoutKey {
    let text = key.to_string();
    assert!(text.len() == 51 && text.starts_with('7') && text.is_ascii());
    let hex = hex::DisplayHex::to_lower_hex_string(key.as_bytes());
    assert_eq!(PayoutKey::from_str(&hex).as_ref(), Ok(key));
    assert_eq!(PayoutKey::from(key.to_x_only()), *key);
    text.parse().expect("its own text")
}

fn user_identity(bytes: &[u8]) {
    match UserIdentity::from_bytes(bytes) {
        Ok(identity) => {
            let text = identity.to_string();
            assert_eq!(UserIdentity::from_bytes(text.as_bytes()).as_ref(), Ok(&identity));
            assert!(!text.chars().any(char::is_control), "a name that disturbs logs: {text:?}");
            same(&identity.key);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && text.is_ascii(), "the text is sent as an error code");
            assert_eq!(error.code(), "invalid-user-identity");
        }
    }
}

/// One of each, and near misses.
pub fn seeds() -> Vec<Vec<u8>> {
    let key = super::journal::key(1);
    let hex = hex::DisplayHex::to_lower_hex_string(key.as_bytes());
    let secret = AuthoritySecret::from_bytes(&[7; 32]).expect("a number below the curve's order");
    let authority = secret.public();
    [
        key.to_string(),
        format!("{key}.rig-1"),
        format!("{key}.rig é \u{202e}\n"),
        format!("{key}."),
        hex.clone(),
        format!("02{hex}.a.b"),
        format!("04{hex}"),
        key.to_string().replace('7', "8"),
        authority.to_string(),
        secret.to_text().to_string(),
        format!("stratum2+tcp://pool.example:34254/{authority}"),
        format!(" stratum2+tcp://[::1]:1/{authority}\n"),
        "stratum2+tcp://[a:b:65535".to_owned(),
        "stratum2+tcp://h:0/".to_owned(),
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4".to_owned(),
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa".to_owned(),
        "5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ".to_owned(),
        String::new(),
    ]
    .map(String::into_bytes)
    .into()
}
