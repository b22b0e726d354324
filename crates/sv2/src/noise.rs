//! The secure layer (specification §4): a handshake in which the server proves itself with a
//! certificate, and transport ciphers that seal and open frames in place.
//!
//! `Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256`, the same in all three protocols (NS-32).
//!
//! Traffic is not padded: who watches a link can count frames and see when they pass (NS-33).

mod authority;
mod certificate;
mod cipher;
mod handshake;
mod identity;
mod keypair;
mod symmetric;
#[cfg(test)]
mod tests;
mod transport;

pub use {
    authority::{AuthorityKey, AuthorityKeyError, AuthoritySecret},
    certificate::{CERTIFICATE_LEN, CLOCK_LEEWAY_SECS, Certificate, CertificateError},
    handshake::{ACT_1_LEN, ACT_2_LEN, HandshakeError, Initiator, Responder, Trust},
    identity::{Identity, Validity},
    transport::{
        MAX_CHUNK_LEN, NoiseError, Opened, Opener, SEALED_HEADER_LEN, SealError, Sealer, TAG_LEN, Transport,
        sealed_frame_len, sealed_payload_len,
    },
};
