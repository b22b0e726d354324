//! What can only be seen from inside: constants of the handshake, nonces, the end of a key's life.

use {
    super::{
        cipher::{Cipher, CipherError},
        keypair::Keypair,
        symmetric::{PROTOCOL_NAME, SymmetricState},
        *,
    },
    crate::mining::SubmitSharesStandard,
    hex::{DisplayHex, FromHex},
    ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    zeroize::Zeroizing,
};

const KEY: [u8; 32] = [7; 32];
const SHARE: SubmitSharesStandard =
    SubmitSharesStandard { channel_id: 1, sequence_number: 2, job_id: 3, nonce: 4, ntime: 5, version: 6 };

// proves: TV-02 TV-03 NS-03
#[test]
fn the_handshake_begins_with_the_hashed_name() {
    assert_eq!(PROTOCOL_NAME, b"Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256");
    let (chaining_key, hash) = SymmetricState::new().parts();
    assert_eq!(
        chaining_key.to_lower_hex_string(),
        "2eb47881208e9eee1f669f67c66ee70ea9ea88090d503fe830dc4bc83e29bf10"
    );
    assert_eq!(
        hash.to_lower_hex_string(),
        "922fa32e4f487c0d59caa3bed7899ce3d98db7e13dbd3b7cf2d23dd433dc6104"
    );
}

// proves: NS-11
#[test]
fn keys_are_derived_as_hkdf_does() {
    // RFC 5869 with SHA-256, as ring has it, is the reference.
    struct Len(usize);
    impl ring::hkdf::KeyType for Len {
        fn len(&self) -> usize {
            self.0
        }
    }
    let (chaining_key, _) = SymmetricState::new().parts();
    let mut expected = [0; 64];
    ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, &chaining_key)
        .extract(&KEY)
        .expand(&[], Len(64))
        .unwrap()
        .fill(&mut expected)
        .unwrap();
    let mut state = SymmetricState::new();
    state.mix_key(&KEY);
    assert_eq!(state.parts().0, expected[..32]);
    let (_, hash) = state.parts();
    let mut sealed = *b"text";
    let tag = state.encrypt_and_hash(&mut sealed).unwrap();
    let mut cipher = Cipher::new(Zeroizing::new(expected[32..].try_into().unwrap()));
    let mut same = *b"text";
    assert_eq!((cipher.seal(&hash, &mut same).unwrap(), same), (tag, sealed), "the second output is the key");
}

// proves: NS-12
#[test]
fn a_nonce_is_four_zero_bytes_and_the_counter() {
    let counter = 0x0807_0605_0403_0201;
    let mut ours = *b"payload";
    let tag = Cipher::with_counter(KEY, counter).seal(b"ad", &mut ours).unwrap();
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &KEY).unwrap());
    let nonce = Nonce::assume_unique_for_key([0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let mut expected = *b"payload";
    let expected_tag = key.seal_in_place_separate_tag(nonce, Aad::from(b"ad"), &mut expected).unwrap();
    assert_eq!((&ours, &tag[..]), (&expected, expected_tag.as_ref()));
}

#[test]
fn the_cipher_is_that_of_rfc_8439() {
    // A known answer: nothing sealed under a zero key with a zero nonce.
    let tag = Cipher::with_counter([0; 32], 0).seal(&[], &mut []).unwrap();
    assert_eq!(tag, <[u8; 16]>::from_hex("4eb972c9a8fb3a1b382bb4d36f5ffad1").unwrap());
}

// proves: NS-09
#[test]
fn each_new_key_of_the_handshake_starts_with_nonce_0() {
    let mut state = SymmetricState::new();
    state.mix_key(&KEY);
    state.encrypt_and_hash(&mut [0; 8]).unwrap();
    state.mix_key(&KEY);
    let (chaining_key, hash) = state.parts();
    let mut sealed = [0; 8];
    let tag = state.encrypt_and_hash(&mut sealed).unwrap();
    // The same state, built anew: whatever was sealed under the first key has no influence on the nonce.
    let mut fresh = SymmetricState::new();
    fresh.mix_key(&KEY);
    fresh.mix_key(&KEY);
    assert_eq!(fresh.parts().0, chaining_key);
    let mut opened = [sealed.as_slice(), &tag].concat();
    let key = hkdf_second_key();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).unwrap());
    assert_eq!(key.open_in_place(nonce, Aad::from(&hash), &mut opened).unwrap(), [0; 8]);
}

/// The key after mixing [`KEY`] in twice, by ring's HKDF.
fn hkdf_second_key() -> [u8; 32] {
    struct Len;
    impl ring::hkdf::KeyType for Len {
        fn len(&self) -> usize {
            64
        }
    }
    let mut chaining_key = SymmetricState::new().parts().0;
    let mut key = [0; 32];
    for _ in 0..2 {
        let mut out = [0; 64];
        let salt = ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, &chaining_key);
        salt.extract(&KEY).expand(&[], Len).unwrap().fill(&mut out).unwrap();
        chaining_key.copy_from_slice(&out[..32]);
        key.copy_from_slice(&out[32..]);
    }
    key
}

/// Gives out what it was given, in order.
struct Scripted(Vec<[u8; 32]>);

impl rand::RngCore for Scripted {
    fn next_u32(&mut self) -> u32 {
        unreachable!("keys are drawn as bytes")
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("keys are drawn as bytes")
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.copy_from_slice(&self.0.remove(0));
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl rand::CryptoRng for Scripted {}

// proves: NS-15
#[test]
fn secret_keys_are_drawn_again_when_out_of_range() {
    let order = secp256k1::constants::CURVE_ORDER;
    let mut one = [0; 32];
    one[31] = 1;
    let mut greatest = order;
    greatest[31] -= 1;
    let x_only = |secret| {
        // Zero, the order, and what is above it are no keys; reducing them would favour some keys.
        let mut rng = Scripted(vec![[0; 32], order, [0xff; 32], secret, [5; 32]]);
        let keypair = Keypair::generate(&mut rng);
        assert!(rng.0.is_empty(), "each value was looked at once, the last for the encoding");
        keypair.x_only()
    };
    assert_eq!(x_only(one), secp256k1::constants::GENERATOR_X);
    // The negative of 1 has the same x coordinate: keys are not chosen by parity.
    assert_eq!(x_only(greatest), secp256k1::constants::GENERATOR_X);
}

// proves: NS-14
#[test]
fn a_failed_opening_does_not_advance_the_counter() {
    let mut sealed = [1; 8].to_vec();
    let tag = Cipher::with_counter(KEY, 0).seal(&[], &mut sealed).unwrap();
    sealed.extend_from_slice(&tag);
    let mut cipher = Cipher::with_counter(KEY, 0);
    assert_eq!(cipher.open(&[], &mut [0; 24]), Err(CipherError::Authentication));
    assert_eq!(cipher.open(&[], &mut [0; 3]), Err(CipherError::Authentication));
    assert_eq!(cipher.open(&[], &mut sealed), Ok(()));
    assert_eq!(sealed[..8], [1; 8]);
}

// proves: NS-29
#[test]
fn the_counter_never_wraps() {
    // A frame takes two nonces; the last value of the counter is never used.
    let mut sealer = Sealer::with_counter(KEY, u64::MAX - 2);
    let mut opener = Opener::with_counter(KEY, u64::MAX - 2);
    let mut out = Vec::new();
    sealer.seal_message(&SHARE, &mut out).unwrap();
    let sealed = out.clone();
    assert_eq!(sealer.seal_message(&SHARE, &mut out), Err(SealError::Exhausted));
    assert_eq!(out, sealed, "nothing was appended");
    assert!(matches!(opener.next_frame(&mut out, 100), Ok(Opened::Frame { .. })));
    assert_eq!(opener.next_frame(&mut [0; 22], 100), Err(NoiseError::Exhausted));

    // Not half a frame either.
    let mut sealer = Sealer::with_counter(KEY, u64::MAX - 1);
    assert_eq!(sealer.seal_message(&SHARE, &mut Vec::new()), Err(SealError::Exhausted));
    assert_eq!(
        sealer.seal_frame(&[0x02, 0x40, 0x01, 0, 0, 0], None, &mut Vec::new()),
        Ok(()),
        "one was left"
    );
    assert_eq!(Cipher::with_counter(KEY, u64::MAX).seal(&[], &mut []), Err(CipherError::Exhausted));
}

// proves: NS-25 NS-10
#[test]
fn header_and_payload_are_sealed_one_after_the_other_without_associated_data() {
    let mut out = Vec::new();
    Sealer::with_counter(KEY, 40).seal_message(&SHARE, &mut out).unwrap();
    assert_eq!(out.len(), 22 + 24 + 16);
    let mut cipher = Cipher::with_counter(KEY, 40);
    let (header, payload) = out.split_at_mut(22);
    cipher.open(&[], header).unwrap();
    assert_eq!(header[..6], [0x00, 0x80, 0x1a, 24, 0, 0]);
    cipher.open(&[], payload).unwrap();
    assert_eq!(payload[..4], [1, 0, 0, 0]);
}

// proves: NS-34
#[test]
fn keys_are_wiped_and_a_nonce_is_never_used_twice() {
    fn is_wiped_on_drop(_: &impl zeroize::ZeroizeOnDrop) {}
    is_wiped_on_drop(Cipher::with_counter(KEY, 0).secret());

    // A write that was given up half way leaves a gap that the other side notices; what is sealed next
    // does not take the lost frame's nonces again.
    let mut sealer = Sealer::with_counter(KEY, 0);
    let (mut lost, mut next) = (Vec::new(), Vec::new());
    sealer.seal_message(&SHARE, &mut lost).unwrap();
    sealer.seal_message(&SHARE, &mut next).unwrap();
    assert_ne!(lost, next);
    let error = Opener::with_counter(KEY, 0).next_frame(&mut next.clone(), 100).unwrap_err();
    assert_eq!(error, NoiseError::Authentication);
    assert!(Opener::with_counter(KEY, 2).next_frame(&mut next, 100).is_ok());
}

#[test]
fn halves_of_a_connection_are_small_and_say_nothing_about_their_keys() {
    assert!(size_of::<Sealer>() <= 48 && size_of::<Opener>() <= 64);
    let sealer = Sealer::with_counter(KEY, 0);
    let opener = Opener::with_counter(KEY, 0);
    assert!(!format!("{sealer:?}{opener:?}").contains('7'));
}
