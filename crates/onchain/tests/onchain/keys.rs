//! Keys: kept, watched, and those of somebody else.

use {
    crate::rig::{Rig, SUBSIDY, catch_up, devchain, id, open, recipient},
    bitcoin::Amount,
    node::{Chain, Node, Tip},
    onchain::{Keys, OnchainConfig, OnchainError, OnchainWallet, SeedPhrase, StoreError},
    std::{fs, os::unix::fs::PermissionsExt, sync::Arc},
};

/// Account 0 of the phrase `abandon … about`, from BIP 86 and for a test network.
const RECEIVE: &str = "tr([73c5da0a/86'/1'/0']tpubDDfvzhdVV4unsoKt5aE6dcsNsfeWbTgmLZPi8LQDYU2xixrYemMfWJ3BaVneH3u7DBQePdTwhpybaKRU95pi6PMUtLPBJLVQRpzEnjfjZzX/0/*)";
const CHANGE: &str = "tr([73c5da0a/86'/1'/0']tpubDDfvzhdVV4unsoKt5aE6dcsNsfeWbTgmLZPi8LQDYU2xixrYemMfWJ3BaVneH3u7DBQePdTwhpybaKRU95pi6PMUtLPBJLVQRpzEnjfjZzX/1/*)";
const PHRASE: &str =
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

fn watch_only(receive: &str, change: &str) -> Keys {
    Keys::WatchOnly { receive: receive.into(), change: change.into() }
}

#[test]
fn the_phrase_is_made_once_and_shown_once() {
    let (chain, directory) = (devchain(), tempfile::tempdir().unwrap());
    let opened = open(&chain, directory.path(), Keys::Kept).unwrap();
    let words = opened.new_phrase.unwrap().words().to_string();
    assert_eq!(words.split(' ').count(), 12);
    let file = directory.path().join("onchain.seed");
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), words);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let script = opened.wallet.payout_script().to_owned();
    drop(opened.wallet);
    let opened = open(&chain, directory.path(), Keys::Kept).unwrap();
    assert!(opened.new_phrase.is_none());
    assert_eq!(opened.wallet.payout_script(), script.as_script());
    drop(opened.wallet);
    // The same phrase, given by hand, is the same wallet.
    let phrase: SeedPhrase = words.parse().unwrap();
    open(&chain, directory.path(), Keys::Restored(phrase)).unwrap();
    assert!(
        !format!("{:?}", words.parse::<SeedPhrase>().unwrap()).contains(words.split(' ').next().unwrap())
    );
}

/// A first start that died after the phrase was stored has shown it to nobody.
#[test]
fn a_phrase_without_a_wallet_is_shown() {
    let (chain, directory) = (devchain(), tempfile::tempdir().unwrap());
    fs::write(directory.path().join("onchain.seed"), PHRASE).unwrap();
    let opened = open(&chain, directory.path(), Keys::Kept).unwrap();
    assert_eq!(opened.new_phrase.unwrap().words().as_str(), PHRASE);
}

#[test]
fn a_wallet_that_watches_receives_and_does_not_pay() {
    let (chain, directory) = (devchain(), tempfile::tempdir().unwrap());
    let opened = open(&chain, directory.path(), watch_only(RECEIVE, CHANGE)).unwrap();
    assert!(opened.new_phrase.is_none() && opened.wallet.is_watch_only());
    assert!(!directory.path().join("onchain.seed").exists());
    let watching = opened.wallet;
    chain.mine_block(watching.payout_script().into()).unwrap();
    let node: Arc<dyn Node> = Arc::new(chain.clone());
    catch_up(&node, &watching);
    assert_eq!(watching.reserves().unwrap().total(), SUBSIDY);

    let error = watching
        .request(&id("one"), &recipient(1), Amount::from_sat(1_000), Amount::from_sat(1_000))
        .unwrap_err();
    assert!(matches!(error, OnchainError::WatchOnly), "{error}");
    assert!(error.to_string().contains("Pay from the wallet that has the keys"), "{error}");
    assert!(matches!(watching.build_batch(crate::rig::RATE), Err(OnchainError::WatchOnly)));
    assert!(watching.broadcast_pending().unwrap().is_empty());

    // The one that has the keys is the same wallet.
    let keys = tempfile::tempdir().unwrap();
    let paying = open(&chain, keys.path(), Keys::Restored(PHRASE.parse().unwrap())).unwrap().wallet;
    assert_eq!(paying.payout_script(), watching.payout_script());
    for _ in 0..crate::rig::MATURITY {
        chain.mine_block(recipient(9)).unwrap();
    }
    catch_up(&node, &paying);
    let amount = Amount::from_sat(1_000_000);
    paying.request(&id("one"), &recipient(1), amount, amount).unwrap();
    let fee = paying.build_batch(crate::rig::RATE).unwrap().fee;
    paying.broadcast_pending().unwrap()[0].outcome.as_ref().unwrap();
    chain.mine_block(recipient(9)).unwrap();
    catch_up(&node, &watching);
    assert_eq!(watching.reserves().unwrap().total(), SUBSIDY - amount - fee);
}

#[test]
fn descriptors_are_looked_at() {
    let (chain, directory) = (devchain(), tempfile::tempdir().unwrap());
    #[track_caller]
    fn case(chain: &node::Devchain, directory: &std::path::Path, receive: &str, change: &str, want: &str) {
        let error = open(chain, directory, watch_only(receive, change)).err().expect("it is refused");
        assert!(error.to_string().contains(want), "{error}");
    }
    let case = |receive, change, want| case(&chain, directory.path(), receive, change, want);
    case("rubbish", CHANGE, "the receive descriptor cannot be used");
    case(RECEIVE, "tr()", "the change descriptor cannot be used");
    let private = "tr([73c5da0a/86'/0'/0']tprv8fMn4hSKPRC1oaCPqxDb1JWtgkpeiQvZhsr8W2xuy3GEMkzoArcAWTfJxYb6Wj8XNNDWEjfYKK4wGQXh3ZUXhDF2NcnsALpWTeSwarJt7Vc/0/*)";
    case(private, CHANGE, "it holds a private key");
    let single = RECEIVE.replace("/0/*", "/0/1");
    case(&single, CHANGE, "it stands for one address");
    case(RECEIVE, RECEIVE, "on-chain wallet: ");
    let main = "tr(xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ/0/*)";
    case(main, CHANGE, "the receive descriptor cannot be used");
    open(&chain, directory.path(), watch_only(RECEIVE, CHANGE)).unwrap();
}

#[test]
fn other_keys_do_not_open_a_wallet() {
    let rig = Rig::new();
    let (chain, directory) = (rig.chain.clone(), rig.directory);
    drop(rig.wallet);
    let path = directory.path();
    let other = || Keys::Restored(PHRASE.parse().unwrap());
    let error = open(&chain, path, other()).err().unwrap();
    assert!(matches!(error, OnchainError::OtherKeys { .. }), "{error}");
    let error = open(&chain, path, watch_only(RECEIVE, CHANGE)).err().unwrap();
    assert!(matches!(error, OnchainError::OtherKeys { .. }), "{error}");

    let seed = path.join("onchain.seed");
    let kept = fs::read_to_string(&seed).unwrap();
    fs::remove_file(&seed).unwrap();
    let error = open(&chain, path, Keys::Kept).err().unwrap();
    assert!(matches!(error, OnchainError::SeedMissing { .. }), "{error}");
    fs::write(&seed, "twelve words they are not").unwrap();
    let error = open(&chain, path, Keys::Kept).err().unwrap();
    assert!(matches!(error, OnchainError::SeedDamaged { .. }), "{error}");
    fs::remove_file(&seed).unwrap();
    // Another phrase for the same file is not put in the place of the first.
    let error = open(&chain, path, other()).err().unwrap();
    assert!(matches!(error, OnchainError::OtherKeys { .. }), "{error}");
    fs::write(&seed, kept).unwrap();
    open(&chain, path, Keys::Kept).unwrap();
}

#[test]
fn a_wallet_has_one_writer_and_is_missed() {
    let rig = Rig::new();
    let error = open(&rig.chain, rig.directory.path(), Keys::Kept).err().unwrap();
    assert!(matches!(error, OnchainError::Store(StoreError::InUse { .. })), "{error}");
    let (chain, directory) = (rig.chain.clone(), rig.directory);
    drop(rig.wallet);
    for file in ["onchain.sqlite", "onchain.sqlite-wal", "onchain.sqlite-shm"] {
        let _ = fs::remove_file(directory.path().join(file));
    }
    // Made anew it would pay again what this one has paid.
    let error = open(&chain, directory.path(), Keys::Kept).err().unwrap();
    assert!(matches!(error, OnchainError::Store(StoreError::Gone { .. })), "{error}");
    fs::remove_file(directory.path().join("onchain.sqlite.lock")).unwrap();
    open(&chain, directory.path(), Keys::Kept).unwrap();
}

#[test]
fn maturity_is_not_shortened_on_real_chains() {
    let rig = Rig::new();
    assert_eq!(rig.chain.chain(), Chain::Devchain);
    let birthday = Tip { height: 0, hash: rig.chain.block_hash(0).unwrap().unwrap() };
    let directory = tempfile::tempdir().unwrap();
    let config = OnchainConfig { birthday, maturity: 0 };
    let error = OnchainWallet::open(directory.path(), rig.node(), Keys::Kept, config).err().unwrap();
    assert!(matches!(error, OnchainError::Config(_)), "{error}");
}
