use {
    super::{
        authority::AuthorityKey,
        certificate::{CERTIFICATE_LEN, Certificate, CertificateError},
        cipher::{CipherError, TAG_LEN},
        identity::Identity,
        keypair::Keypair,
        symmetric::SymmetricState,
        transport::Transport,
    },
    rand::{CryptoRng, Rng},
    secp256k1::{
        PublicKey, SecretKey,
        ellswift::{ElligatorSwift, ElligatorSwiftParty},
    },
    thiserror::Error,
    zeroize::Zeroizing,
};

/// Length of a public key in its ElligatorSwift form (ENC-13).
const KEY_LEN: usize = 64;

/// Length of the initiator's message: its ephemeral key (NS-04).
pub const ACT_1_LEN: usize = KEY_LEN;

/// Length of the responder's message: ephemeral key, sealed static key, sealed certificate (NS-06).
pub const ACT_2_LEN: usize = KEY_LEN + KEY_LEN + TAG_LEN + CERTIFICATE_LEN + TAG_LEN;

/// Whom a client takes for its server. There is no default: a missing key has to be decided about (NS-20).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// A server with a certificate of this authority that is valid now.
    Authority(AuthorityKey),
    /// A server with a certificate of this authority, expired or not: for devices without a clock (NS-18).
    AuthorityAtAnyTime(AuthorityKey),
    /// Whoever answers. The link is encrypted, but who is at its end is not known: somebody in between
    /// can take all of the work.
    AnyServer,
}

/// Why a handshake failed. The connection ends (NS-14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// The answer is not one to this handshake.
    #[error("the server's answer cannot be decrypted; is this a Stratum V2 port?")]
    Authentication,
    /// The server did not prove who it is.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl From<CipherError> for HandshakeError {
    fn from(_: CipherError) -> Self {
        Self::Authentication
    }
}

/// The side that opened the connection.
///
/// Send [`Initiator::act_1`], read [`ACT_2_LEN`] bytes, and give them to [`Initiator::finish`]. Nothing
/// else is sent before it accepts them (NS-02, NS-19).
pub struct Initiator {
    trust: Trust,
    ephemeral: Keypair,
    state: SymmetricState,
}

impl Initiator {
    /// Begins a handshake.
    pub fn new(trust: Trust, rng: &mut (impl Rng + CryptoRng)) -> Self {
        let ephemeral = Keypair::generate(rng);
        let mut state = SymmetricState::new();
        mix_act_1(&mut state, &ephemeral.public().to_array());
        Self { trust, ephemeral, state }
    }

    /// What to send.
    pub fn act_1(&self) -> [u8; ACT_1_LEN] {
        self.ephemeral.public().to_array()
    }

    /// Takes the server's answer and decides whether it is the right one. `unix_now` is in seconds since
    /// 1970.
    pub fn finish(mut self, act_2: &[u8; ACT_2_LEN], unix_now: u64) -> Result<Transport, HandshakeError> {
        let mut act_2 = *act_2;
        let (server_ephemeral, rest) = act_2.split_at_mut(KEY_LEN);
        let (sealed_key, sealed_certificate) = rest.split_at_mut(KEY_LEN + TAG_LEN);

        self.state.mix_hash(server_ephemeral);
        let server_ephemeral = key_of(server_ephemeral)?;
        self.mix_shared_secret(server_ephemeral);

        self.state.decrypt_and_hash(sealed_key)?;
        let server_static = key_of(&sealed_key[..KEY_LEN])?;
        self.mix_shared_secret(server_static);

        self.state.decrypt_and_hash(sealed_certificate)?;
        let certificate = sealed_certificate.first_chunk().ok_or(HandshakeError::Authentication)?;
        self.accept(&Certificate::from_bytes(certificate), server_static, unix_now)?;

        let (to_responder, to_initiator) = self.state.split();
        Ok(Transport::new(to_responder, to_initiator))
    }

    fn mix_shared_secret(&mut self, theirs: ElligatorSwift) {
        let ours = self.ephemeral.public();
        let secret = shared_secret(ours, theirs, self.ephemeral.secret(), ElligatorSwiftParty::A);
        self.state.mix_key(&secret);
    }

    fn accept(
        &self,
        certificate: &Certificate,
        server_static: ElligatorSwift,
        unix_now: u64,
    ) -> Result<(), CertificateError> {
        let server_key = PublicKey::from_ellswift(server_static).x_only_public_key().0.serialize();
        match self.trust {
            Trust::Authority(key) => certificate.verify(&key, &server_key, Some(unix_now)),
            Trust::AuthorityAtAnyTime(key) => certificate.verify(&key, &server_key, None),
            Trust::AnyServer => Ok(()),
        }
    }
}

/// The side that accepted the connection.
#[derive(Debug, Clone, Copy)]
pub struct Responder<'i> {
    identity: &'i Identity,
}

impl<'i> Responder<'i> {
    /// Answers as `identity`.
    pub const fn new(identity: &'i Identity) -> Self {
        Self { identity }
    }

    /// Answers the first [`ACT_1_LEN`] bytes of a client. Any bytes are a key, so a stranger to the
    /// protocol is only found out by what comes next. `unix_now` is in seconds since 1970.
    pub fn step(
        &self,
        act_1: &[u8; ACT_1_LEN],
        unix_now: u64,
        rng: &mut (impl Rng + CryptoRng),
    ) -> Result<([u8; ACT_2_LEN], Transport), HandshakeError> {
        let mut state = SymmetricState::new();
        mix_act_1(&mut state, act_1);
        let theirs = ElligatorSwift::from_array(*act_1);
        let ephemeral = Keypair::generate(rng);
        let identity = self.identity.keypair();

        let mut act_2 = [0; ACT_2_LEN];
        let (key, rest) = act_2.split_at_mut(KEY_LEN);
        let (sealed_key, sealed_certificate) = rest.split_at_mut(KEY_LEN + TAG_LEN);

        key.copy_from_slice(&ephemeral.public().to_array());
        state.mix_hash(key);
        let ephemeral_public = ephemeral.public();
        state.mix_key(&shared_secret(theirs, ephemeral_public, ephemeral.secret(), ElligatorSwiftParty::B));
        seal_into(&mut state, &identity.public().to_array(), sealed_key)?;
        // The pair is the initiator's ephemeral and the responder's static key (NS-08).
        state.mix_key(&shared_secret(theirs, identity.public(), identity.secret(), ElligatorSwiftParty::B));
        let certificate = self.identity.certificate(unix_now).to_bytes();
        seal_into(&mut state, &certificate, sealed_certificate)?;

        let (to_responder, to_initiator) = state.split();
        Ok((act_2, Transport::new(to_initiator, to_responder)))
    }
}

/// The first message holds a key and an empty payload (NS-04, NS-05).
fn mix_act_1(state: &mut SymmetricState, act_1: &[u8; ACT_1_LEN]) {
    state.mix_hash(act_1);
    state.mix_hash(&[]);
}

/// Encrypts `plain` into `out`, which has room for it and its MAC.
fn seal_into(state: &mut SymmetricState, plain: &[u8], out: &mut [u8]) -> Result<(), CipherError> {
    let (body, tag) = out.split_at_mut(plain.len());
    body.copy_from_slice(plain);
    tag.copy_from_slice(&state.encrypt_and_hash(body)?);
    Ok(())
}

fn key_of(bytes: &[u8]) -> Result<ElligatorSwift, HandshakeError> {
    let bytes: &[u8; KEY_LEN] = bytes.try_into().map_err(|_| HandshakeError::Authentication)?;
    Ok(ElligatorSwift::from_array(*bytes))
}

/// BIP324's: a tagged hash over both encodings, the initiator's first, and the x coordinate (NS-08).
fn shared_secret(
    initiator: ElligatorSwift,
    responder: ElligatorSwift,
    mut secret: SecretKey,
    party: ElligatorSwiftParty,
) -> Zeroizing<[u8; 32]> {
    let shared = ElligatorSwift::shared_secret(initiator, responder, secret, party, None);
    secret.non_secure_erase();
    Zeroizing::new(shared.to_secret_bytes())
}
