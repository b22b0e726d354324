use {
    super::{
        authority::{AuthorityKey, AuthoritySecret},
        certificate::Certificate,
        keypair::Keypair,
    },
    rand::{CryptoRng, Rng},
    std::{
        fmt,
        sync::{Mutex, PoisonError},
    },
};

/// For how long certificates are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From the making to the end, in seconds. A certificate is replaced when half of it is over.
    pub lifetime_secs: u32,
    /// By how much the start lies before the making, in seconds, for clients whose clock is behind.
    pub back_dated_secs: u32,
}

impl Default for Validity {
    /// A day, from an hour ago.
    fn default() -> Self {
        Self { lifetime_secs: 24 * 60 * 60, back_dated_secs: 60 * 60 }
    }
}

/// Who a server is: its static key, and a certificate for it that is renewed in time.
///
/// Made once and shared by all connections: a handshake needs no signature of its own.
pub struct Identity {
    keypair: Keypair,
    authority: AuthoritySecret,
    validity: Validity,
    certificate: Mutex<Certificate>,
}

impl Identity {
    /// Makes a static key and has the authority sign for it.
    pub fn new(
        authority: AuthoritySecret,
        validity: Validity,
        unix_now: u64,
        rng: &mut (impl Rng + CryptoRng),
    ) -> Self {
        let keypair = Keypair::generate(rng);
        let certificate = Mutex::new(certify(&keypair, &authority, validity, unix_now));
        Self { keypair, authority, validity, certificate }
    }

    /// The key that clients know this server by.
    pub fn authority(&self) -> AuthorityKey {
        self.authority.public()
    }

    /// A certificate that is valid, and will be for half of its lifetime at least (NS-22).
    pub fn certificate(&self, unix_now: u64) -> Certificate {
        // A certificate is replaced as a whole, so one that a panicking thread left behind is good.
        let mut certificate = self.certificate.lock().unwrap_or_else(PoisonError::into_inner);
        let renewal = u64::from(certificate.not_valid_after) - u64::from(self.validity.lifetime_secs / 2);
        if unix_now < u64::from(certificate.valid_from) || unix_now >= renewal {
            *certificate = certify(&self.keypair, &self.authority, self.validity, unix_now);
        }
        *certificate
    }

    pub(super) fn keypair(&self) -> &Keypair {
        &self.keypair
    }
}

fn certify(keypair: &Keypair, authority: &AuthoritySecret, validity: Validity, unix_now: u64) -> Certificate {
    let now = u32::try_from(unix_now).unwrap_or(u32::MAX);
    let valid_from = now.saturating_sub(validity.back_dated_secs);
    let not_valid_after = now.saturating_add(validity.lifetime_secs);
    Certificate::sign(authority, &keypair.x_only(), valid_from, not_valid_after)
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "identity under {}", self.authority())
    }
}
