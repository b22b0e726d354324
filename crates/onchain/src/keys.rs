//! Seed phrases, the file that one is kept in, and descriptors.

use {
    crate::{OnchainError, StoreError},
    bdk_wallet::{
        KeychainKind,
        descriptor::{ExtendedDescriptor, IntoWalletDescriptor},
        template::{Bip86, DescriptorTemplate},
    },
    bip39::Mnemonic,
    bitcoin::{NetworkKind, bip32::Xpriv, key::Secp256k1},
    rand::{RngCore, rngs::OsRng},
    std::{
        fmt,
        fs::{self, File, OpenOptions},
        io::{ErrorKind, Write},
        os::unix::fs::OpenOptionsExt,
        path::{Path, PathBuf},
        str::FromStr,
    },
    zeroize::Zeroizing,
};

/// Name of the phrase's file in the data directory.
const FILE: &str = "onchain.seed";
/// 128 bits make twelve words.
const ENTROPY_LEN: usize = 16;

/// Where the wallet's keys come from.
pub enum Keys {
    /// A seed phrase in the data directory, made at the first start.
    Kept,
    /// A seed phrase that the operator has from before. It is put into the data directory.
    Restored(SeedPhrase),
    /// An operator's public descriptors: the wallet receives and reports, and cannot pay.
    WatchOnly {
        /// For the coinbase.
        receive: String,
        /// For change.
        change: String,
    },
}

/// Twelve words (or up to 24) from which all keys follow (BIP 39). Gone from memory with their owner.
#[derive(Clone, PartialEq, Eq)]
pub struct SeedPhrase(Mnemonic);

impl SeedPhrase {
    /// A new one, from the system's randomness.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn generate() -> Result<SeedPhrase, OnchainError> {
        let mut entropy = Zeroizing::new([0; ENTROPY_LEN]);
        let no_randomness = |error| OnchainError::Config(format!("the system gives no randomness: {error}"));
        OsRng.try_fill_bytes(&mut *entropy).map_err(no_randomness)?;
        Ok(SeedPhrase(Mnemonic::from_entropy(&*entropy).expect("16 bytes make twelve words")))
    }

    /// The words, for whoever writes them down.
    pub fn words(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_string())
    }

    /// The key that all others are derived from.
    pub(crate) fn master(&self, kind: NetworkKind) -> Xpriv {
        let seed = Zeroizing::new(self.0.to_seed_normalized(""));
        Xpriv::new_master(kind, &*seed).expect("no seed is known that makes no key (BIP 32)")
    }
}

impl FromStr for SeedPhrase {
    type Err = OnchainError;

    fn from_str(words: &str) -> Result<SeedPhrase, OnchainError> {
        Mnemonic::parse(words).map(SeedPhrase).map_err(|error| OnchainError::Phrase(error.to_string()))
    }
}

impl fmt::Debug for SeedPhrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeedPhrase(..)")
    }
}

/// What the wallet was opened with.
pub(crate) struct Keyring {
    pub phrase: Option<SeedPhrase>,
    /// Whether the operator has not seen the phrase yet.
    pub is_new: bool,
    pub descriptors: Descriptors,
}

/// Public descriptors, without any secret.
#[derive(Clone)]
pub(crate) struct Descriptors {
    pub receive: ExtendedDescriptor,
    pub change: ExtendedDescriptor,
}

impl Keyring {
    /// Looks up, makes or stores the keys. `created` says whether there is a wallet that they must fit.
    pub(crate) fn open(
        keys: Keys,
        directory: &Path,
        kind: NetworkKind,
        created: bool,
    ) -> Result<Keyring, OnchainError> {
        let path = directory.join(FILE);
        let (phrase, is_new) = match keys {
            Keys::WatchOnly { receive, change } => {
                let receive = public_descriptor("receive", &receive, kind)?;
                let change = public_descriptor("change", &change, kind)?;
                let descriptors = Descriptors { receive, change };
                return Ok(Keyring { phrase: None, is_new: false, descriptors });
            }
            Keys::Kept => match read(&path)? {
                // A first start that died before the wallet was there has shown the phrase to nobody.
                Some(phrase) => (phrase, !created),
                None if created => return Err(OnchainError::SeedMissing { path }),
                None => (SeedPhrase::generate()?, true),
            },
            Keys::Restored(phrase) => (phrase, false),
        };
        match read(&path)? {
            Some(kept) if kept == phrase => {}
            Some(_) => {
                let reason = format!("{} holds another seed phrase", path.display());
                return Err(OnchainError::OtherKeys { path: directory.into(), reason });
            }
            None => store(&path, &phrase).map_err(|source| StoreError::Open { path, source })?,
        }
        let descriptors = Descriptors::of(&phrase, kind)?;
        Ok(Keyring { phrase: Some(phrase), is_new, descriptors })
    }
}

impl Descriptors {
    /// BIP 86: one taproot key a coin, spent by its key path.
    fn of(phrase: &SeedPhrase, kind: NetworkKind) -> Result<Descriptors, OnchainError> {
        let master = phrase.master(kind);
        let public = |which, keychain| {
            let (descriptor, _secrets, _networks) = Bip86(master, keychain)
                .build(kind)
                .map_err(|error| OnchainError::Descriptor { which, reason: error.to_string() })?;
            Ok::<_, OnchainError>(descriptor)
        };
        Ok(Descriptors {
            receive: public("receive", KeychainKind::External)?,
            change: public("change", KeychainKind::Internal)?,
        })
    }
}

fn public_descriptor(
    which: &'static str,
    text: &str,
    kind: NetworkKind,
) -> Result<ExtendedDescriptor, OnchainError> {
    let unusable = |reason: String| OnchainError::Descriptor { which, reason };
    let (descriptor, secrets) =
        text.into_wallet_descriptor(&Secp256k1::new(), kind).map_err(|error| unusable(error.to_string()))?;
    if !secrets.is_empty() {
        let reason =
            "it holds a private key, and a wallet that watches should have none: give the public form";
        return Err(unusable(reason.into()));
    }
    if !descriptor.has_wildcard() {
        return Err(unusable("it stands for one address: end its key with /*".into()));
    }
    Ok(descriptor)
}

fn read(path: &Path) -> Result<Option<SeedPhrase>, OnchainError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Open { path: path.into(), source }.into()),
    };
    let phrase = Mnemonic::parse(text.trim());
    let damaged =
        |error: bip39::Error| OnchainError::SeedDamaged { path: path.into(), reason: error.to_string() };
    phrase.map(|phrase| Some(SeedPhrase(phrase))).map_err(damaged)
}

/// Written aside and renamed, so that no half-written phrase is ever found; and on the disk before any coin is paid to it.
fn store(path: &Path, phrase: &SeedPhrase) -> std::io::Result<()> {
    let aside: PathBuf = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(phrase.words().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests;
