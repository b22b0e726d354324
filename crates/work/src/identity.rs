//! Who is paid: the payout key and worker name in a channel's user name (`<payout key>[.worker]`).

use {
    secp256k1::XOnlyPublicKey,
    serde::{Deserialize, Deserializer, Serialize, Serializer, de},
    std::{
        collections::HashMap,
        fmt::{self, Debug, Display, Formatter},
        str::FromStr,
    },
    thiserror::Error,
};

/// Characters of a payout key in its own form.
pub const KEY_TEXT_LEN: usize = 51;
/// First character of every payout key in its own form. Not `5` or `9`, with which private keys and
/// the authority keys of Stratum V2 begin.
pub const KEY_FIRST_CHARACTER: char = '7';
/// With it, and no other choice of length, 32 bytes always give 51 characters and a leading `7`.
const VERSION: u8 = 192;

/// An x-only secp256k1 key to which shares are credited.
///
/// Its text is base58check, so that a worker name still fits into the 63 characters at which some
/// firmware cuts the user name, and a typing error is caught.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayoutKey([u8; 32]);

/// Why a user name was refused, in words for the miner who typed it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// Nothing before the first dot.
    #[error(
        "the user name is empty; set it to your payout key: 51 characters that begin with 7, or 64 hex digits"
    )]
    Empty,
    /// Not text at all.
    #[error(
        "the payout key in the user name is not text; it is 51 characters that begin with 7, or 64 hex digits"
    )]
    NotText,
    /// A name, a number, a key of the wrong length.
    #[error(
        "the user name does not begin with a payout key; a payout key is 51 characters that begin with 7, or 64 hex \
     digits, and a dot may follow with a worker name"
    )]
    NotAKey,
    /// An address of the Bitcoin network.
    #[error(
        "the user name is a Bitcoin address; this pool pays in eHash to a payout key: 51 characters that begin with 7, \
     which your eHash wallet shows"
    )]
    BitcoinAddress,
    /// A private key in the usual export format. Never repeated in a message.
    #[error(
        "the user name looks like a PRIVATE key: do not send it to anybody; use the payout key of your wallet"
    )]
    PrivateKey,
    /// One character is wrong, or the text was cut.
    #[error("the payout key has a typing error (its checksum does not match); copy it again")]
    Checksum,
    /// Hex digits with a prefix that no compressed public key has.
    #[error(
        "66 hex digits are a public key only if they begin with 02 or 03; use 64 hex digits or the 51 characters"
    )]
    HexPrefix,
    /// 32 bytes that are no x coordinate of the curve.
    #[error("the payout key is not a point of secp256k1; copy it again from your wallet")]
    NotOnCurve,
}

/// A map by payout key. Whoever mines chooses the keys, so their hashes are keyed, with other secrets in each map; it
/// takes a third of the time of the standard library's.
pub type KeyMap<V> = HashMap<PayoutKey, V, ahash::RandomState>;

impl IdentityError {
    /// Whether the name says who is to be paid, but not in a way that this pool can: a key with a typing error, a
    /// secret in its place, an address. Such a miner must not be taken for one who left the choice open.
    pub const fn names_somebody(&self) -> bool {
        match self {
            Self::PrivateKey | Self::Checksum | Self::HexPrefix | Self::NotOnCurve | Self::BitcoinAddress => {
                true
            }
            Self::Empty | Self::NotText | Self::NotAKey => false,
        }
    }

    /// The `error_code` of `OpenMiningChannel.Error` (EC-07).
    pub const fn code(&self) -> &'static str {
        "invalid-user-identity"
    }
}

impl PayoutKey {
    /// The key with these 32 bytes, if they are an x coordinate of the curve.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, IdentityError> {
        XOnlyPublicKey::from_slice(&bytes).map(|_| Self(bytes)).map_err(|_| IdentityError::NotOnCurve)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// For verifying what its holder signs.
    pub fn to_x_only(&self) -> XOnlyPublicKey {
        XOnlyPublicKey::from_slice(&self.0).expect("checked when the key was made")
    }

    fn from_hex(text: &str) -> Result<Self, IdentityError> {
        let text = match text.len() {
            66 if text.starts_with("02") || text.starts_with("03") => &text[2..],
            66 => return Err(IdentityError::HexPrefix),
            _ => text,
        };
        let bytes = <[u8; 32] as hex::FromHex>::from_hex(text).map_err(|_| IdentityError::NotAKey)?;
        Self::from_bytes(bytes)
    }

    fn from_base58(text: &str) -> Result<Self, IdentityError> {
        let data = base58ck::decode_check(text).map_err(|error| match error {
            base58ck::Error::IncorrectChecksum(_) => IdentityError::Checksum,
            _ => IdentityError::NotAKey,
        })?;
        match data.split_first() {
            Some((&VERSION, key)) => Self::from_bytes(key.try_into().map_err(|_| IdentityError::NotAKey)?),
            _ => Err(IdentityError::NotAKey),
        }
    }
}

impl From<XOnlyPublicKey> for PayoutKey {
    fn from(key: XOnlyPublicKey) -> Self {
        Self(key.serialize())
    }
}

impl FromStr for PayoutKey {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if text.is_empty() {
            return Err(IdentityError::Empty);
        }
        if matches!(text.len(), 64 | 66) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Self::from_hex(text);
        }
        if text.len() == KEY_TEXT_LEN && text.starts_with(KEY_FIRST_CHARACTER) {
            return Self::from_base58(text);
        }
        Err(if is_private_key(text) {
            IdentityError::PrivateKey
        } else if is_bitcoin_address(text) {
            IdentityError::BitcoinAddress
        } else {
            IdentityError::NotAKey
        })
    }
}

fn is_private_key(text: &str) -> bool {
    matches!(text.len(), 51 | 52)
        && base58ck::decode_check(text).is_ok_and(|data| matches!(data[0], 0x80 | 0xef))
}

fn is_bitcoin_address(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ["bc1", "tb1", "bcrt1"].iter().any(|prefix| lower.starts_with(prefix))
        || matches!(text.len(), 26..=35) && base58ck::decode_check(text).is_ok_and(|data| data.len() == 21)
}

impl Display for PayoutKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut data = [VERSION; 33];
        data[1..].copy_from_slice(&self.0);
        f.pad(&base58ck::encode_check(&data))
    }
}

impl Debug for PayoutKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Serialize for PayoutKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PayoutKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What follows the dot: tells the devices of one miner apart, for display only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct WorkerName(Box<str>);

impl WorkerName {
    /// The most bytes kept; what fits into a user name of 255 bytes is never cut.
    pub const MAX_LEN: usize = 255 - KEY_TEXT_LEN - 1;

    /// From bytes that need not be UTF-8 (MP-38, AM-35). What is not text, and control characters,
    /// which could forge a line of a log or a terminal, become U+FFFD. `None` if empty.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let mut name = String::with_capacity(bytes.len().min(Self::MAX_LEN));
        for character in String::from_utf8_lossy(bytes).chars() {
            let character = if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
            if name.len() + character.len_utf8() > Self::MAX_LEN {
                break;
            }
            name.push(character);
        }
        Some(Self(name.into_boxed_str()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for WorkerName {
    fn from(name: String) -> Self {
        Self::from_bytes(name.as_bytes()).unwrap_or(Self("".into()))
    }
}

impl Display for WorkerName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The user name of a channel: `<payout key>[.worker]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserIdentity {
    /// To whom shares are credited.
    pub key: PayoutKey,
    /// Which of their devices it is.
    pub worker: Option<WorkerName>,
}

impl UserIdentity {
    /// Reads `user_identity` as the protocol carries it: bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        let dot = bytes.iter().position(|&byte| byte == b'.');
        let (key, worker) = match dot {
            Some(dot) => (&bytes[..dot], WorkerName::from_bytes(&bytes[dot + 1..])),
            None => (bytes, None),
        };
        let key = str::from_utf8(key).map_err(|_| IdentityError::NotText)?.parse()?;
        Ok(Self { key, worker })
    }
}

impl FromStr for UserIdentity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        Self::from_bytes(text.as_bytes())
    }
}

impl Display for UserIdentity {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        match &self.worker {
            Some(worker) => write!(f, ".{worker}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
