use super::*;

const PHRASE: &str =
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

/// The first addresses of BIP 86.
#[test]
fn keys_follow_from_the_phrase() {
    let descriptors = Descriptors::of(&PHRASE.parse().unwrap(), NetworkKind::Main).unwrap();
    let script = |descriptor: &ExtendedDescriptor| descriptor.at_derivation_index(0).unwrap().script_pubkey();
    let address = |descriptor| {
        bitcoin::Address::from_script(&script(descriptor), bitcoin::Network::Bitcoin).unwrap().to_string()
    };
    let receive = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr";
    assert_eq!(address(&descriptors.receive), receive);
    let change = "bc1p3qkhfews2uk44qtvauqyr2ttdsw7svhkl9nkm9s9c3x4ax5h60wqwruhk7";
    assert_eq!(address(&descriptors.change), change);
    assert!(!descriptors.receive.to_string().contains("prv"));
}

#[test]
fn phrases_are_random_and_checked() {
    let (one, other) = (SeedPhrase::generate().unwrap(), SeedPhrase::generate().unwrap());
    assert_ne!(*one.words(), *other.words());
    assert_eq!(one.words().parse::<SeedPhrase>().unwrap(), one);
    let swapped = PHRASE.replace("about", "abandon");
    assert!(matches!(swapped.parse::<SeedPhrase>(), Err(OnchainError::Phrase(_))));
    assert!(format!("  {} ", PHRASE.replace(' ', "  ")).parse::<SeedPhrase>().is_ok());
}

#[test]
fn a_half_written_phrase_is_not_found() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("onchain.new"), "abandon abandon").unwrap();
    let ring = Keyring::open(Keys::Kept, directory.path(), NetworkKind::Test, false).unwrap();
    assert!(ring.is_new);
    let again = Keyring::open(Keys::Kept, directory.path(), NetworkKind::Test, true).unwrap();
    assert!(!again.is_new && again.phrase == ring.phrase);
}
