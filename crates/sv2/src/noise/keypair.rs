use {
    rand::{CryptoRng, Rng},
    secp256k1::{SECP256K1, SecretKey, ellswift::ElligatorSwift},
};

/// A secret key and its public key in the 64-byte form that looks like noise.
///
/// Serves as a server's static key and as either side's ephemeral key.
pub(super) struct Keypair {
    secret: SecretKey,
    public: ElligatorSwift,
}

impl Keypair {
    /// A new key, uniform among all there are (NS-15).
    pub(super) fn generate(rng: &mut (impl Rng + CryptoRng)) -> Self {
        let secret = SecretKey::new(rng);
        let mut randomness = [0; 32];
        rng.fill_bytes(&mut randomness);
        Self { secret, public: ElligatorSwift::from_seckey(SECP256K1, secret, Some(randomness)) }
    }

    pub(super) fn secret(&self) -> SecretKey {
        self.secret
    }

    pub(super) fn public(&self) -> ElligatorSwift {
        self.public
    }

    /// The x coordinate, which certificates are about.
    pub(super) fn x_only(&self) -> [u8; 32] {
        self.secret.x_only_public_key(SECP256K1).0.serialize()
    }
}

impl Drop for Keypair {
    fn drop(&mut self) {
        self.secret.non_secure_erase();
    }
}
