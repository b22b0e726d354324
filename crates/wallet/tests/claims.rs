//! From credited work to tokens in the wallet, and back from the words.

#[allow(dead_code)]
#[path = "../../mint/tests/rig/mod.rs"]
mod rig;

use ledger::Epoch;
use rig::{EPOCH, Rig};
use std::{
    fs,
    future::{Future, poll_fn},
    path::Path,
    pin::pin,
    task::Poll,
};
use tempfile::TempDir;
use wallet::{EhashWallet, Holding, KeyOf, MintAddress, Places, SeedPhrase, WalletError};
use work::{Ehash, PayoutKey};

const EPOCH_0: Holding = Holding::Epoch(Epoch(0));

/// A wallet's directory, and its words.
struct Owner {
    dir: TempDir,
    phrase: SeedPhrase,
}

fn address(rig: &Rig) -> MintAddress {
    format!("http://{}", rig.address).parse().unwrap()
}

fn places(rig: &Rig) -> Places {
    Places { mint: Some(address(rig)), pages: None }
}

impl Owner {
    async fn new(rig: &Rig) -> Self {
        let dir = TempDir::new().unwrap();
        let phrase = EhashWallet::init(dir.path(), &places(rig)).await.unwrap();
        Self { dir, phrase }
    }

    fn key(&self, of: KeyOf) -> PayoutKey {
        self.phrase.payout_key(of).unwrap()
    }

    async fn open(&self) -> EhashWallet {
        open(self.dir.path()).await
    }
}

async fn open(dir: &Path) -> EhashWallet {
    EhashWallet::open(dir, None).await.unwrap()
}

/// Work that the pool credited, and the mint has opened epochs for.
async fn credit(rig: &mut Rig, credits: &[(PayoutKey, u64)]) {
    rig.credit(credits);
    rig.mint.epochs().catch_up().await.unwrap();
}

/// What a wallet holds by epoch, and what is due, as the mint says.
async fn holdings(wallet: &EhashWallet) -> Vec<(u32, u64, u64)> {
    let balance = wallet.balance(true, None).await.unwrap();
    assert_eq!(balance.notes, Vec::<String>::new());
    let lines = balance.epochs.iter().rev();
    lines.map(|line| (line.epoch.get(), line.held.get(), line.unclaimed.map_or(0, Ehash::get))).collect()
}

/// Works until it has been woken so many times, and is dropped then.
async fn until_woken<T>(times: usize, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut left) = (pin!(work), times);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_epochs_are_claimed_with_both_keys() {
    let mut rig = Rig::start().await;
    let owner = Owner::new(&rig).await;
    let wallet = owner.open().await;
    let device = owner.key(KeyOf::Device);
    let own = |epoch| owner.key(KeyOf::Epoch(Epoch(epoch)));
    assert_eq!(wallet.claim().await.unwrap().total().get(), 0);

    // Epoch 0 by the device; 1 by its own key; in 2 the miner still had the key of 1 for a while.
    credit(&mut rig, &[(device, EPOCH)]).await;
    credit(&mut rig, &[(own(1), EPOCH + 30)]).await;
    credit(&mut rig, &[(own(2), 400), (device, 7)]).await;
    assert_eq!(holdings(&wallet).await, [(0, 0, EPOCH), (1, 0, EPOCH), (2, 0, 437)]);
    let claimed = wallet.claim().await.unwrap();
    let amounts: Vec<_> = claimed.epochs.iter().map(|line| (line.epoch.get(), line.claimed.get())).collect();
    assert_eq!(amounts, [(0, EPOCH), (1, EPOCH), (2, 437)]);
    assert_eq!((claimed.newest, claimed.asked, claimed.refused.len()), (Some(Epoch(2)), 3, 0));

    // Again: nothing comes twice, and what is closed is not asked for.
    let again = wallet.claim().await.unwrap();
    assert_eq!((again.total().get(), again.asked), (0, 1));
    credit(&mut rig, &[(own(2), 5), (device, EPOCH)]).await;
    let grown = wallet.claim().await.unwrap();
    assert_eq!((grown.total().get(), grown.newest), (EPOCH + 5, Some(Epoch(3))));
    assert_eq!(holdings(&wallet).await, [(0, EPOCH, 0), (1, EPOCH, 0), (2, EPOCH, 0), (3, 442, 0)]);
    for epoch in 0..4 {
        let held = holdings(&wallet).await[usize::try_from(epoch).unwrap()].1;
        assert_eq!(rig.issued(epoch).await, held);
    }
    let history = wallet.history().await.unwrap();
    assert_eq!(history.iter().map(|line| line.amount).sum::<u64>(), 3 * EPOCH + 442);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_claim_is_taken_up_again() {
    let mut rig = Rig::start().await;
    let owner = Owner::new(&rig).await;
    let device = owner.key(KeyOf::Device);
    let (mut credited, mut interrupted) = (0, 0);
    // A claim is woken about ten times, by an answer of the mint each.
    for times in (0..16).cycle().take(64) {
        credit(&mut rig, &[(device, 1000)]).await;
        credited += 1000;
        let wallet = owner.open().await;
        if until_woken(times, wallet.claim()).await.is_none() {
            interrupted += 1;
        }
    }
    assert!(interrupted > 16, "{interrupted}");
    let wallet = owner.open().await;
    wallet.claim().await.unwrap();
    assert_eq!(holdings(&wallet).await, [(0, credited, 0)]);
    assert_eq!(rig.issued(0).await, credited);
    let history = wallet.history().await.unwrap();
    assert_eq!(history.iter().map(|line| line.amount).sum::<u64>(), credited);
    // Whatever an interruption left behind, no token of it is spent or unknown to the mint.
    let sent = wallet.send(EPOCH_0, credited).await.unwrap();
    let other = Owner::new(&rig).await;
    assert_eq!(other.open().await.receive(&sent.token).await.unwrap().amount, credited);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_go_from_wallet_to_wallet() {
    let mut rig = Rig::start().await;
    let (alice, bob) = (Owner::new(&rig).await, Owner::new(&rig).await);
    credit(&mut rig, &[(alice.key(KeyOf::Device), 1000)]).await;
    let (from, to) = (alice.open().await, bob.open().await);
    from.claim().await.unwrap();
    let short = from.send(EPOCH_0, 1001).await.map(|_| ()).unwrap_err();
    assert!(matches!(short, WalletError::TooLittle { .. }), "{short}");

    let sent = from.send(EPOCH_0, 300).await.unwrap();
    let received = to.receive(&sent.token).await.unwrap();
    assert_eq!((received.of, received.amount), (EPOCH_0, 300));
    assert!(to.receive(&sent.token).await.is_err(), "a token is received once");
    assert!(from.receive(&sent.token).await.is_err(), "and not taken back after that");
    assert_eq!(holdings(&from).await, [(0, 700, 0)]);
    assert_eq!(holdings(&to).await, [(0, 300, 0)]);
    let history = from.history().await.unwrap();
    let ways: Vec<_> =
        history.iter().map(|line| format!("{:?} {} {}", line.way, line.amount, line.status)).collect();
    assert_eq!(ways, ["Claimed 1000 completed", "Sent 300 completed"]);

    // What nobody receives can be taken back, once, and what somebody has received cannot.
    let lost = from.send(EPOCH_0, 200).await.unwrap();
    assert_eq!(holdings(&from).await, [(0, 500, 0)]);
    assert_eq!(from.take_back(EPOCH_0).await.unwrap().amount, 200);
    assert_eq!(from.take_back(EPOCH_0).await.unwrap().amount, 0);
    assert!(to.receive(&lost.token).await.is_err());
    assert_eq!(holdings(&from).await, [(0, 700, 0)]);

    let elsewhere = Rig::start().await;
    let carol = Owner::new(&elsewhere).await;
    let foreign = carol.open().await.receive(&sent.token).await.unwrap_err().to_string();
    assert!(foreign.contains(&format!("--mint {}", address(&rig))), "{foreign}");
    assert!(matches!(to.receive("cashuBrubbish").await, Err(WalletError::NoToken)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_tokens_are_not_lost() {
    let mut rig = Rig::start().await;
    let (alice, bob) = (Owner::new(&rig).await, Owner::new(&rig).await);
    credit(&mut rig, &[(alice.key(KeyOf::Device), 1000)]).await;
    alice.open().await.claim().await.unwrap();
    let (mut received, mut interrupted) = (0, 0);
    for times in (0..8).cycle().take(24) {
        let sent = until_woken(times, alice.open().await.send(EPOCH_0, 33)).await;
        let Some(Ok(sent)) = sent else {
            interrupted += 1;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            // Whether or not there was a token, nobody has it.
            alice.open().await.take_back(EPOCH_0).await.unwrap();
            assert_eq!(holdings(&alice.open().await).await, [(0, 1000 - received, 0)]);
            continue;
        };
        if until_woken(times / 2, bob.open().await.receive(&sent.token)).await.is_none() {
            interrupted += 1;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            // What was begun is ended by the next; what was not can still be received.
            let receiver = bob.open().await;
            receiver.claim().await.unwrap();
            let _ = receiver.receive(&sent.token).await;
        }
        received += 33;
        assert_eq!(holdings(&bob.open().await).await, [(0, received, 0)]);
        assert_eq!(holdings(&alice.open().await).await, [(0, 1000 - received, 0)]);
    }
    assert!(interrupted > 8 && received > 0, "{interrupted}, {received}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_words_bring_everything_back() {
    let mut rig = Rig::start().await;
    let (alice, bob) = (Owner::new(&rig).await, Owner::new(&rig).await);
    credit(&mut rig, &[(alice.key(KeyOf::Device), EPOCH + 100)]).await;
    credit(&mut rig, &[(alice.key(KeyOf::Epoch(Epoch(1))), 900)]).await;
    let wallet = alice.open().await;
    wallet.claim().await.unwrap();
    let sent = wallet.send(EPOCH_0, 12_345).await.unwrap();
    let other = bob.open().await;
    other.receive(&sent.token).await.unwrap();
    let back = other.send(EPOCH_0, 45).await.unwrap();
    wallet.receive(&back.token).await.unwrap();
    credit(&mut rig, &[(alice.key(KeyOf::Epoch(Epoch(1))), 11)]).await;
    let expected = holdings(&wallet).await;
    assert_eq!(expected, [(0, EPOCH - 12_300, 0), (1, 1000, 11)]);
    let words = alice.phrase.words();
    drop((wallet, alice));

    let dir = TempDir::new().unwrap();
    let phrase: SeedPhrase = words.parse().unwrap();
    let nowhere = Places::default();
    let restore = |dir, phrase| EhashWallet::restore(dir, phrase, &nowhere);
    // Interrupted, it is not taken for a whole wallet.
    let places = places(&rig);
    let cut = until_woken(6, EhashWallet::restore(dir.path(), Some(phrase.clone()), &places)).await;
    assert!(cut.is_none());
    let unfinished = EhashWallet::open(dir.path(), None).await.map(|_| ()).unwrap_err();
    assert!(matches!(unfinished, WalletError::RestoreUnfinished(_)), "{unfinished}");
    let (restored, report) = restore(dir.path(), None).await.unwrap();
    let found: Vec<_> =
        report.epochs.iter().map(|line| (line.epoch.get(), line.held.get(), line.unclaimed.get())).collect();
    assert_eq!(found, expected);
    assert_eq!(holdings(&restored).await, expected);

    // New secrets do not meet the old ones.
    assert_eq!(restored.claim().await.unwrap().total().get(), 11);
    restored.send(Holding::Epoch(Epoch(1)), 1011).await.unwrap();
    restored.send(EPOCH_0, EPOCH - 12_300).await.unwrap();
    drop(restored);

    // The store alone is lost.
    fs::remove_file(dir.path().join("wallet.sqlite")).unwrap();
    let missing = EhashWallet::open(dir.path(), None).await.map(|_| ()).unwrap_err();
    assert!(matches!(missing, WalletError::StoreMissing(_)), "{missing}");
    let other_words = SeedPhrase::generate().unwrap();
    let refused = restore(dir.path(), Some(other_words)).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, WalletError::OtherWords(_)), "{refused}");
    let (restored, _) = EhashWallet::restore(dir.path(), None, &places).await.unwrap();
    // Nobody has received what was sent.
    assert_eq!(holdings(&restored).await, [(0, EPOCH - 12_300, 0), (1, 1011, 0)]);
    drop(restored);

    // The words alone are lost, from the disk.
    fs::remove_file(dir.path().join("wallet.seed")).unwrap();
    let (restored, _) = EhashWallet::restore(dir.path(), Some(phrase.clone()), &places).await.unwrap();
    assert_eq!(SeedPhrase::read(dir.path()).unwrap(), phrase);
    assert_eq!(holdings(&restored).await, [(0, EPOCH - 12_300, 0), (1, 1011, 0)]);
}

#[tokio::test]
async fn a_wallet_is_made_once_and_keeps_its_seed() {
    let dir = TempDir::new().unwrap();
    let inside = dir.path().join("wallet");
    let none = EhashWallet::open(&inside, None).await.map(|_| ()).unwrap_err();
    assert!(matches!(none, WalletError::NoWallet(_)), "{none}");
    let phrase = EhashWallet::init(&inside, &Places::default()).await.unwrap();
    let again = EhashWallet::init(&inside, &Places::default()).await.unwrap_err();
    assert!(matches!(again, WalletError::Exists(_)), "{again}");
    assert_eq!(SeedPhrase::read(&inside).unwrap(), phrase);
    use std::os::unix::fs::PermissionsExt;
    for (name, mode) in [("", 0o700), ("wallet.seed", 0o600), ("wallet.sqlite", 0o600)] {
        let permissions = fs::metadata(inside.join(name)).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, mode, "{name}");
    }

    let wallet = open(&inside).await;
    assert!(matches!(wallet.claim().await, Err(WalletError::NoMint)));
    let busy = EhashWallet::open(&inside, None).await.map(|_| ()).unwrap_err();
    assert!(matches!(busy, WalletError::Busy(_)), "{busy}");
    drop(wallet);

    let other = SeedPhrase::generate().unwrap();
    let store = fs::read(inside.join("wallet.sqlite")).unwrap();
    fs::write(inside.join("wallet.sqlite"), "").unwrap();
    let emptied = EhashWallet::open(&inside, None).await.map(|_| ()).unwrap_err();
    assert!(matches!(emptied, WalletError::StoreMissing(_)), "{emptied}");
    fs::write(inside.join("wallet.sqlite"), store).unwrap();
    fs::write(inside.join("wallet.seed"), other.words().as_bytes()).unwrap();
    let wrong = EhashWallet::open(&inside, None).await.map(|_| ()).unwrap_err();
    assert!(matches!(wrong, WalletError::OtherSeed { .. }), "{wrong}");
    fs::remove_file(inside.join("wallet.seed")).unwrap();
    for refused in [
        EhashWallet::open(&inside, None).await.map(|_| ()),
        EhashWallet::init(&inside, &Places::default()).await.map(|_| ()),
    ] {
        assert!(matches!(refused, Err(WalletError::SeedMissing(_))), "{refused:?}");
    }
}
