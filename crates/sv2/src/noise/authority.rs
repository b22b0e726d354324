use {
    secp256k1::{Keypair, SECP256K1, SecretKey, XOnlyPublicKey, schnorr::Signature},
    std::{fmt, str::FromStr},
    thiserror::Error,
    zeroize::Zeroizing,
};

/// Stands before the 32 bytes of a key in its text form: key version 1 as a little-endian U16 (NS-23).
const KEY_VERSION: [u8; 2] = [1, 0];

/// The public key of a pool's authority, by which clients know its servers. Written in base58check.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuthorityKey(XOnlyPublicKey);

/// A text or bytes that are no authority key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AuthorityKeyError {
    /// Not base58, or mistyped.
    #[error("not base58check, or mistyped: the checksum does not match; copy the key again")]
    Base58,
    /// Of another length.
    #[error("{0} bytes are not the {1} of such a key; copy the whole key")]
    Length(usize, usize),
    /// A text of something else.
    #[error("a key of another kind: an authority key begins with the bytes 01 00")]
    Version,
    /// Not on the curve.
    #[error("not a valid secp256k1 key")]
    Curve,
}

impl AuthorityKey {
    /// From the x coordinate.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, AuthorityKeyError> {
        XOnlyPublicKey::from_slice(&bytes).map(Self).map_err(|_| AuthorityKeyError::Curve)
    }

    /// The x coordinate.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0.serialize()
    }

    pub(super) fn verifies(&self, digest: [u8; 32], signature: &[u8; 64]) -> bool {
        let message = secp256k1::Message::from_digest(digest);
        let signature = Signature::from_slice(signature);
        signature.is_ok_and(|signature| SECP256K1.verify_schnorr(&signature, &message, &self.0).is_ok())
    }
}

impl fmt::Display for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 34];
        bytes[..2].copy_from_slice(&KEY_VERSION);
        bytes[2..].copy_from_slice(&self.to_bytes());
        f.write_str(&base58ck::encode_check(&bytes))
    }
}

impl fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AuthorityKey {
    type Err = AuthorityKeyError;

    fn from_str(text: &str) -> Result<Self, AuthorityKeyError> {
        let bytes = base58ck::decode_check(text).map_err(|_| AuthorityKeyError::Base58)?;
        let bytes: [u8; 34] =
            bytes.try_into().map_err(|bytes: Vec<u8>| AuthorityKeyError::Length(bytes.len(), 34))?;
        let [version_low, version_high, key @ ..] = bytes;
        if [version_low, version_high] != KEY_VERSION {
            return Err(AuthorityKeyError::Version);
        }
        Self::from_bytes(key)
    }
}

/// The secret key of a pool's authority. It signs certificates and nothing else.
///
/// Its text form is base58check of the 32 bytes, as other implementations write it.
pub struct AuthoritySecret(Keypair);

impl AuthoritySecret {
    /// A new key.
    pub fn generate(rng: &mut (impl rand::Rng + rand::CryptoRng)) -> Self {
        Self(Keypair::new(SECP256K1, rng))
    }

    /// From its 32 bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, AuthorityKeyError> {
        let mut secret = SecretKey::from_slice(bytes).map_err(|_| AuthorityKeyError::Curve)?;
        let keypair = Keypair::from_secret_key(SECP256K1, &secret);
        secret.non_secure_erase();
        Ok(Self(keypair))
    }

    /// The 32 bytes, to be stored where nobody else reads.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.secret_bytes())
    }

    /// The text form, to be stored where nobody else reads.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base58ck::encode_check(self.to_bytes().as_slice()))
    }

    /// The key that clients know.
    pub fn public(&self) -> AuthorityKey {
        AuthorityKey(self.0.x_only_public_key().0)
    }

    pub(super) fn sign(&self, digest: [u8; 32]) -> [u8; 64] {
        let message = secp256k1::Message::from_digest(digest);
        // Without auxiliary randomness, so that renewing a certificate needs none; BIP340 is as safe so.
        SECP256K1.sign_schnorr_no_aux_rand(&message, &self.0).serialize()
    }
}

impl FromStr for AuthoritySecret {
    type Err = AuthorityKeyError;

    fn from_str(text: &str) -> Result<Self, AuthorityKeyError> {
        let bytes = Zeroizing::new(base58ck::decode_check(text).map_err(|_| AuthorityKeyError::Base58)?);
        let bytes: &[u8; 32] =
            bytes.as_slice().try_into().map_err(|_| AuthorityKeyError::Length(bytes.len(), 32))?;
        Self::from_bytes(bytes)
    }
}

impl fmt::Debug for AuthoritySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret of {}", self.public())
    }
}

impl Drop for AuthoritySecret {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}
