use {
    super::authority::{AuthorityKey, AuthoritySecret},
    bitcoin_hashes::{Hash, HashEngine, sha256},
    thiserror::Error,
};

/// Length of a certificate on the wire: version, two times, signature (NS-06).
pub const CERTIFICATE_LEN: usize = 2 + 4 + 4 + 64;

/// How far a client's clock may be off, in seconds (NS-18, AM-44).
pub const CLOCK_LEEWAY_SECS: u64 = 10;

/// The only version there is (NS-21, UP-01).
const VERSION: u16 = 0;

/// The authority's word that a static key belongs to one of its servers, for a time (NS-16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    /// Always 0.
    pub version: u16,
    /// Start of its validity in seconds since 1970.
    pub valid_from: u32,
    /// End of its validity in seconds since 1970.
    pub not_valid_after: u32,
    /// Schnorr signature of the authority (NS-17).
    pub signature: [u8; 64],
}

/// A certificate that proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// From a time that this version does not know.
    #[error("the server's certificate has version {0}; only version 0 is known")]
    Version(u16),
    /// Signed by somebody else, or for another server.
    #[error(
        "the server's certificate is not signed with authority key {0}; check the key, and that this is \
         the pool's address"
    )]
    Signature(AuthorityKey),
    /// Not valid yet.
    #[error(
        "the server's certificate is valid from {valid_from}, but it is {now}; check this machine's clock"
    )]
    NotYetValid {
        /// Start of validity in seconds since 1970.
        valid_from: u32,
        /// Time of the check in seconds since 1970.
        now: u64,
    },
    /// Not valid any more.
    #[error(
        "the server's certificate was valid until {not_valid_after}, but it is {now}; check this machine's \
         clock, or tell the pool's operator"
    )]
    Expired {
        /// End of validity in seconds since 1970.
        not_valid_after: u32,
        /// Time of the check in seconds since 1970.
        now: u64,
    },
}

impl Certificate {
    /// Signs for the server whose static key has the x coordinate `server_key`.
    pub fn sign(
        authority: &AuthoritySecret,
        server_key: &[u8; 32],
        valid_from: u32,
        not_valid_after: u32,
    ) -> Self {
        let mut certificate = Self { version: VERSION, valid_from, not_valid_after, signature: [0; 64] };
        certificate.signature = authority.sign(certificate.digest(server_key));
        certificate
    }

    /// Checks the signature, and the time where it is known.
    pub fn verify(
        &self,
        authority: &AuthorityKey,
        server_key: &[u8; 32],
        unix_now: Option<u64>,
    ) -> Result<(), CertificateError> {
        if self.version != VERSION {
            return Err(CertificateError::Version(self.version));
        }
        if !authority.verifies(self.digest(server_key), &self.signature) {
            return Err(CertificateError::Signature(*authority));
        }
        let Some(now) = unix_now else {
            return Ok(());
        };
        if now.saturating_add(CLOCK_LEEWAY_SECS) < u64::from(self.valid_from) {
            return Err(CertificateError::NotYetValid { valid_from: self.valid_from, now });
        }
        if now > u64::from(self.not_valid_after).saturating_add(CLOCK_LEEWAY_SECS) {
            return Err(CertificateError::Expired { not_valid_after: self.not_valid_after, now });
        }
        Ok(())
    }

    /// What is signed: the certificate without its signature, then the server's key as 32 bytes, not as
    /// the 64 in which it travels (NS-17).
    fn digest(&self, server_key: &[u8; 32]) -> [u8; 32] {
        let mut engine = sha256::Hash::engine();
        engine.input(&self.to_bytes()[..CERTIFICATE_LEN - 64]);
        engine.input(server_key);
        sha256::Hash::from_engine(engine).to_byte_array()
    }

    /// As it travels.
    pub fn to_bytes(&self) -> [u8; CERTIFICATE_LEN] {
        let mut bytes = [0; CERTIFICATE_LEN];
        bytes[..2].copy_from_slice(&self.version.to_le_bytes());
        bytes[2..6].copy_from_slice(&self.valid_from.to_le_bytes());
        bytes[6..10].copy_from_slice(&self.not_valid_after.to_le_bytes());
        bytes[10..].copy_from_slice(&self.signature);
        bytes
    }

    /// As it travelled. Nothing is checked before [`Certificate::verify`].
    pub fn from_bytes(bytes: &[u8; CERTIFICATE_LEN]) -> Self {
        let [v0, v1, f0, f1, f2, f3, u0, u1, u2, u3, signature @ ..] = *bytes;
        Self {
            version: u16::from_le_bytes([v0, v1]),
            valid_from: u32::from_le_bytes([f0, f1, f2, f3]),
            not_valid_after: u32::from_le_bytes([u0, u1, u2, u3]),
            signature,
        }
    }
}
