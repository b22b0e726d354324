//! The words that everything follows from, the file they are kept in, and the payout keys.
//!
//! Payout keys are NUT-20's keys for locking quotes, at `m/129373'/20'/0'/0'/<index>`: a stock Cashu wallet that is given
//! the words claims with them as well. Index 0 is the fixed key, for a device that can be configured once only; epoch `n`
//! has index `n + 1`. Who sees two of these keys cannot tell that they are one wallet's.

use crate::WalletError;
use bip39::Mnemonic;
use cdk::nuts::{SecretKey, nut20};
use ledger::Epoch;
use rand::{RngCore, rngs::OsRng};
use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    str::FromStr,
};
use work::PayoutKey;
use zeroize::Zeroizing;

/// Name of the words' file in the wallet's directory.
pub(crate) const FILE: &str = "wallet.seed";
/// 128 bits make twelve words.
const ENTROPY_LEN: usize = 16;
/// The index of the fixed key.
const FIXED: u32 = 0;

/// Which payout key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyOf {
    /// The one for a device that can be configured once only.
    Device,
    /// An epoch's own.
    Epoch(Epoch),
}

/// Twelve words. Whoever has them has the eHash. Gone from memory with their owner.
#[derive(Clone, PartialEq, Eq)]
pub struct SeedPhrase(Mnemonic);

impl SeedPhrase {
    /// New ones, from the system's randomness.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn generate() -> Result<Self, WalletError> {
        let mut entropy = Zeroizing::new([0; ENTROPY_LEN]);
        OsRng.try_fill_bytes(&mut *entropy).map_err(|error| WalletError::Randomness(error.to_string()))?;
        Ok(Self(Mnemonic::from_entropy(&*entropy).expect("16 bytes make twelve words")))
    }

    /// The words, for whoever writes them down.
    pub fn words(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_string())
    }

    /// What CDK derives secrets from.
    pub(crate) fn bytes(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.0.to_seed_normalized(""))
    }

    /// A payout key: what the miner is given.
    ///
    /// # Errors
    /// For an epoch beyond the last index that there is.
    pub fn payout_key(&self, of: KeyOf) -> Result<PayoutKey, WalletError> {
        let x_only = self.secret_key(of)?.public_key().x_only_public_key();
        Ok(PayoutKey::from_bytes(x_only.serialize()).expect("a public key is a point of the curve"))
    }

    /// What claims are signed with.
    pub(crate) fn secret_key(&self, of: KeyOf) -> Result<SecretKey, WalletError> {
        let index = match of {
            KeyOf::Device => Some(FIXED),
            KeyOf::Epoch(epoch) => epoch.next().map(Epoch::get),
        };
        let key = index.and_then(|index| nut20::derive_quote_locking_key(&self.bytes(), index).ok());
        key.ok_or(WalletError::NoSuchKey(of))
    }

    /// The words kept in `directory`.
    ///
    /// # Errors
    /// When there are none, or not readable.
    pub fn read(directory: &Path) -> Result<Self, WalletError> {
        Self::find(directory)?.ok_or_else(|| WalletError::NoWallet(directory.into()))
    }

    /// The same, or `None` when there is no file.
    pub(crate) fn find(directory: &Path) -> Result<Option<Self>, WalletError> {
        let path = directory.join(FILE);
        match fs::read_to_string(&path).map(Zeroizing::new) {
            // What the parser complains of could name a word.
            Ok(text) => match Mnemonic::parse(text.trim()) {
                Ok(phrase) => Ok(Some(Self(phrase))),
                Err(_) => Err(WalletError::SeedDamaged(path)),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(WalletError::Files { path, source }),
        }
    }

    /// Written aside, synced and renamed, so that no half-written words are ever found. The caller has seen that there are
    /// none, or the same, under the directory's lock.
    pub(crate) fn store(&self, directory: &Path) -> Result<(), WalletError> {
        let path = directory.join(FILE);
        let write = || -> io::Result<()> {
            let aside = path.with_extension("new");
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            file.write_all(self.words().as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&aside, &path)?;
            File::open(directory)?.sync_all()
        };
        write().map_err(|source| WalletError::Files { path: path.clone(), source })
    }
}

impl FromStr for SeedPhrase {
    type Err = WalletError;

    fn from_str(words: &str) -> Result<Self, WalletError> {
        let words = Zeroizing::new(words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase());
        Mnemonic::parse(words.as_str()).map(Self).map_err(|_| WalletError::Words)
    }
}

impl fmt::Debug for SeedPhrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeedPhrase(secret)")
    }
}

impl fmt::Display for KeyOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device => f.write_str("the device"),
            Self::Epoch(epoch) => write!(f, "epoch {epoch}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str =
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

    #[test]
    fn keys_are_stable_and_share_nothing() {
        let phrase: SeedPhrase = WORDS.parse().unwrap();
        let keys: Vec<_> = [KeyOf::Device, KeyOf::Epoch(Epoch(0)), KeyOf::Epoch(Epoch(1))]
            .map(|of| phrase.payout_key(of).unwrap().to_string())
            .into();
        let again: SeedPhrase = WORDS.to_uppercase().parse().unwrap();
        assert_eq!(again.payout_key(KeyOf::Epoch(Epoch(1))).unwrap().to_string(), keys[2]);
        assert_ne!(keys[0], keys[1]);
        assert_ne!(keys[1], keys[2]);
        // Index n + 1 is epoch n's, and stock wallets derive the same.
        let stock = nut20::derive_quote_locking_key(&phrase.bytes(), 2).unwrap().public_key();
        let stock = PayoutKey::from_bytes(stock.x_only_public_key().serialize()).unwrap();
        assert_eq!(stock.to_string(), keys[2]);
        // Not hardened, so there are 2^31.
        assert!(phrase.payout_key(KeyOf::Epoch(Epoch((1 << 31) - 2))).is_ok());
        for none in [(1 << 31) - 1, u32::MAX] {
            assert!(matches!(phrase.payout_key(KeyOf::Epoch(Epoch(none))), Err(WalletError::NoSuchKey(_))));
        }
    }

    #[test]
    fn nothing_tells_the_words() {
        let phrase: SeedPhrase = WORDS.parse().unwrap();
        assert_eq!(format!("{phrase:?}"), "SeedPhrase(secret)");
        let error = format!("{:?}", WORDS.replace("about", "aboot").parse::<SeedPhrase>().unwrap_err());
        assert!(!error.contains("abandon") && !error.contains("aboot"), "{error}");
    }

    #[test]
    fn words_are_kept_and_damage_is_named() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(SeedPhrase::read(directory.path()), Err(WalletError::NoWallet(_))));
        let phrase = SeedPhrase::generate().unwrap();
        phrase.store(directory.path()).unwrap();
        assert_eq!(SeedPhrase::read(directory.path()).unwrap(), phrase);
        use std::os::unix::fs::PermissionsExt;
        let path = directory.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "rubbish").unwrap();
        assert!(matches!(SeedPhrase::read(directory.path()), Err(WalletError::SeedDamaged(_))));
    }
}
