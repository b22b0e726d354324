//! The state that a handshake mixes keys and messages into.

use {
    super::cipher::{Cipher, CipherError, TAG_LEN},
    bitcoin_hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256},
    zeroize::Zeroizing,
};

pub(super) const PROTOCOL_NAME: &[u8] = b"Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256";

pub(super) struct SymmetricState {
    chaining_key: Zeroizing<[u8; 32]>,
    hash: [u8; 32],
    cipher: Option<Cipher>,
}

impl SymmetricState {
    /// `ck = SHA256(name)`, `h = SHA256(ck)`, which takes in the empty prologue (NS-03).
    pub(super) fn new() -> Self {
        let chaining_key = sha256::Hash::hash(PROTOCOL_NAME).to_byte_array();
        let hash = sha256::Hash::hash(&chaining_key).to_byte_array();
        Self { chaining_key: Zeroizing::new(chaining_key), hash, cipher: None }
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> ([u8; 32], [u8; 32]) {
        (*self.chaining_key, self.hash)
    }

    pub(super) fn mix_hash(&mut self, data: &[u8]) {
        let mut engine = sha256::Hash::engine();
        engine.input(&self.hash);
        engine.input(data);
        self.hash = sha256::Hash::from_engine(engine).to_byte_array();
    }

    /// The new key's counter starts at 0 (NS-09).
    pub(super) fn mix_key(&mut self, input: &[u8; 32]) {
        let (chaining_key, key) = hkdf(&self.chaining_key, input);
        self.chaining_key = chaining_key;
        self.cipher = Some(Cipher::new(key));
    }

    /// Encrypts in place with the hash so far as associated data (NS-10), and takes in the ciphertext.
    pub(super) fn encrypt_and_hash(&mut self, plain: &mut [u8]) -> Result<[u8; TAG_LEN], CipherError> {
        let hash = self.hash;
        let cipher = self.cipher.as_mut().ok_or(CipherError::Authentication)?;
        let tag = cipher.seal(&hash, plain)?;
        let mut engine = sha256::Hash::engine();
        engine.input(&self.hash);
        engine.input(plain);
        engine.input(&tag);
        self.hash = sha256::Hash::from_engine(engine).to_byte_array();
        Ok(tag)
    }

    /// Takes in the ciphertext and decrypts it in place.
    pub(super) fn decrypt_and_hash(&mut self, sealed: &mut [u8]) -> Result<(), CipherError> {
        let hash = self.hash;
        self.mix_hash(sealed);
        self.cipher.as_mut().ok_or(CipherError::Authentication)?.open(&hash, sealed)
    }

    /// The keys from initiator to responder and back (NS-13).
    pub(super) fn split(self) -> (Cipher, Cipher) {
        let (to_responder, to_initiator) = hkdf(&self.chaining_key, &[]);
        (Cipher::new(to_responder), Cipher::new(to_initiator))
    }
}

/// HKDF of RFC 5869 with two outputs and no info (NS-11).
fn hkdf(salt: &[u8; 32], input: &[u8]) -> (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>) {
    let secret = hmac(salt, &[input]);
    let first = hmac(&secret, &[&[1]]);
    let second = hmac(&secret, &[first.as_slice(), &[2]]);
    (first, second)
}

fn hmac(key: &[u8; 32], data: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut engine = HmacEngine::<sha256::Hash>::new(key);
    data.iter().for_each(|part| engine.input(part));
    Zeroizing::new(Hmac::from_engine(engine).to_byte_array())
}
