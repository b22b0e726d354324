//! Handshake, certificate, and transport, through the public interface.

use {
    assay_sv2::{
        Endpoint, EndpointError, Frame, FrameError, MAX_PAYLOAD_LEN, Message,
        codec::{B0_64K, Seq0_64K, Str0_255, Transaction},
        encode_frame,
        mining::{NewMiningJob, SubmitSharesStandard},
        noise::*,
        setup::{
            MiningSetupFlags, MiningSuccessFlags, Protocol, Served, SetupConnection, SetupReply, check_reply,
            negotiate,
        },
        template_distribution::RequestTransactionDataSuccess,
    },
    proptest::prelude::*,
    rand::{RngCore, SeedableRng, rngs::StdRng},
};

const NOW: u64 = 1_790_000_000;
const SHARE: SubmitSharesStandard =
    SubmitSharesStandard { channel_id: 1, sequence_number: 2, job_id: 3, nonce: 4, ntime: 5, version: 6 };

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn identity() -> Identity {
    let mut rng = rng();
    Identity::new(AuthoritySecret::generate(&mut rng), Validity::default(), NOW, &mut rng)
}

/// Both ends of a connection: the client's, then the server's.
fn connected() -> ((Sealer, Opener), (Sealer, Opener)) {
    let (identity, mut rng) = (identity(), rng());
    let initiator = Initiator::new(Trust::Authority(identity.authority()), &mut rng);
    let (act_2, server) = Responder::new(&identity).step(&initiator.act_1(), NOW, &mut rng).unwrap();
    let client = initiator.finish(&act_2, NOW).unwrap();
    (client.split(), server.split())
}

fn sealed<'m>(sealer: &mut Sealer, message: &impl Message<'m>) -> Vec<u8> {
    let mut out = Vec::new();
    sealer.seal_message(message, &mut out).unwrap();
    out
}

fn whole<'b>(opener: &mut Opener, buf: &'b mut [u8]) -> (Frame<'b>, usize) {
    match opener.next_frame(buf, MAX_PAYLOAD_LEN).unwrap() {
        Opened::Frame { frame, consumed } => (frame, consumed),
        Opened::NeedMore(needed) => panic!("{needed} bytes needed"),
    }
}

/// A message whose payload has `len` bytes, 18 or more.
fn long_message(len: usize) -> RequestTransactionDataSuccess<'static> {
    let mut transaction = vec![0; len - 15];
    rng().fill_bytes(&mut transaction);
    let message = RequestTransactionDataSuccess {
        template_id: 7,
        excess_data: B0_64K::EMPTY,
        transaction_list: Seq0_64K::<Transaction>::new([transaction.as_slice()]).unwrap(),
    };
    let mut payload = Vec::new();
    message.encode_payload(&mut payload);
    assert_eq!(payload.len(), len);
    message
}

// proves: NS-04 NS-06 NS-13 ENC-13 SM-01 SM-02
#[test]
fn a_handshake_connects_both_directions() {
    assert_eq!((ACT_1_LEN, ACT_2_LEN), (64, 234));
    assert_eq!((TAG_LEN, CERTIFICATE_LEN - 10), (16, 64), "MAC and signature");
    let ((mut client_out, mut client_in), (mut server_out, mut server_in)) = connected();
    let mut up = sealed(&mut client_out, &SHARE);
    let mut down = sealed(&mut server_out, &SHARE);
    assert_ne!(up, down, "each direction has its own key");
    assert_eq!(whole(&mut server_in, &mut up).0.payload, whole(&mut client_in, &mut down).0.payload);
}

// proves: NS-18 NS-19 CW-22
#[test]
fn a_server_of_another_authority_is_refused() {
    let (identity, mut rng) = (identity(), StdRng::seed_from_u64(2));
    let other = AuthoritySecret::generate(&mut rng).public();
    let initiator = Initiator::new(Trust::Authority(other), &mut rng);
    let (act_2, _) = Responder::new(&identity).step(&initiator.act_1(), NOW, &mut rng).unwrap();
    // Without a transport there is nothing to send SetupConnection with.
    let error = initiator.finish(&act_2, NOW).unwrap_err();
    assert_eq!(error, HandshakeError::Certificate(CertificateError::Signature(other)));
}

// proves: NS-32
#[test]
fn every_protocol_is_set_up_over_the_same_handshake() {
    let served = [
        Served::mining(MiningSetupFlags::ALL, MiningSuccessFlags::NONE),
        Served::job_declaration(true, false),
        Served::template_distribution(),
    ];
    for protocol in [Protocol::Mining, Protocol::JobDeclaration, Protocol::TemplateDistribution] {
        let ((mut out, mut client_in), (mut server_out, mut server_in)) = connected();
        let request = SetupConnection {
            protocol: protocol.to_wire(),
            min_version: 2,
            max_version: 2,
            flags: 0,
            endpoint_host: Str0_255::from_static("pool.example"),
            endpoint_port: 34_254,
            vendor: Str0_255::from_static("assay"),
            hardware_version: Str0_255::EMPTY,
            firmware: Str0_255::EMPTY,
            device_id: Str0_255::EMPTY,
        };
        let mut up = sealed(&mut out, &request);
        let received = SetupConnection::first(whole(&mut server_in, &mut up).0).unwrap();
        let mut down = sealed(&mut server_out, &negotiate(&received, &served).unwrap());
        let reply = SetupReply::first(whole(&mut client_in, &mut down).0).unwrap();
        assert_eq!(check_reply(&request, &reply).unwrap().version, 2);
    }
}

// proves: NS-18 NS-22 CW-22 AM-44
#[test]
fn certificates_are_for_a_time_with_ten_seconds_of_leeway() {
    let secret = AuthoritySecret::generate(&mut rng());
    let key = [3; 32];
    let certificate = Certificate::sign(&secret, &key, 1_000, 2_000);
    let check = |now| certificate.verify(&secret.public(), &key, Some(now));
    assert_eq!(check(989), Err(CertificateError::NotYetValid { valid_from: 1_000, now: 989 }));
    for now in [990, 1_000, 1_500, 2_000, 2_010] {
        assert_eq!(check(now), Ok(()));
    }
    assert_eq!(check(2_011), Err(CertificateError::Expired { not_valid_after: 2_000, now: 2_011 }));
    assert_eq!(check(u64::MAX), Err(CertificateError::Expired { not_valid_after: 2_000, now: u64::MAX }));
    // Without a clock, the signature alone counts.
    assert_eq!(certificate.verify(&secret.public(), &key, None), Ok(()));
    assert!(certificate.verify(&secret.public(), &[4; 32], None).is_err());
}

// proves: NS-16 NS-17 NS-21 UP-01
#[test]
fn a_certificate_is_signed_as_a_whole() {
    let secret = AuthoritySecret::generate(&mut rng());
    let key = [3; 32];
    let certificate = Certificate::sign(&secret, &key, 0x0403_0201, 0x0807_0605);
    let bytes = certificate.to_bytes();
    assert_eq!(bytes[..10], [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(Certificate::from_bytes(&bytes), certificate);
    let foreign = CertificateError::Signature(secret.public());
    for position in 2..CERTIFICATE_LEN {
        let mut bytes = bytes;
        bytes[position] ^= 1;
        let changed = Certificate::from_bytes(&bytes);
        assert_eq!(changed.verify(&secret.public(), &key, None), Err(foreign), "byte {position}");
    }
    let newer = Certificate { version: 1, ..certificate };
    assert_eq!(newer.verify(&secret.public(), &key, None), Err(CertificateError::Version(1)));
}

// proves: NS-22
#[test]
fn a_certificate_is_renewed_before_it_ends_and_after_the_clock_was_set_back() {
    let identity = identity();
    let validity = Validity::default();
    let first = identity.certificate(NOW);
    assert_eq!(u64::from(first.valid_from), NOW - 3_600, "back-dated for clients that are behind");
    assert_eq!(u64::from(first.not_valid_after), NOW + 86_400);
    assert_eq!(identity.certificate(NOW + 43_199), first, "made once");
    let second = identity.certificate(NOW + 43_200);
    assert_eq!(u64::from(second.not_valid_after), NOW + 43_200 + u64::from(validity.lifetime_secs));
    let back = identity.certificate(NOW - 100_000);
    assert!(u64::from(back.valid_from) < NOW - 100_000);
    // A client connects whatever the time is.
    for now in [NOW, NOW + 86_400 * 400, NOW - 86_400 * 400] {
        let mut rng = rng();
        let initiator = Initiator::new(Trust::Authority(identity.authority()), &mut rng);
        let (act_2, _) = Responder::new(&identity).step(&initiator.act_1(), now, &mut rng).unwrap();
        assert!(initiator.finish(&act_2, now).is_ok());
    }
}

// proves: NS-20
#[test]
fn trust_is_always_spelled_out() {
    let identity = identity();
    let outcome = |trust, now| {
        let mut rng = rng();
        let initiator = Initiator::new(trust, &mut rng);
        let (act_2, _) = Responder::new(&identity).step(&initiator.act_1(), NOW, &mut rng).unwrap();
        initiator.finish(&act_2, now).map(drop)
    };
    let key = identity.authority();
    let long_after = NOW + 10_000_000;
    assert_eq!(outcome(Trust::Authority(key), NOW), Ok(()));
    assert!(outcome(Trust::Authority(key), long_after).is_err());
    assert_eq!(outcome(Trust::AuthorityAtAnyTime(key), long_after), Ok(()));
    assert_eq!(outcome(Trust::AnyServer, long_after), Ok(()));
    let other = AuthoritySecret::generate(&mut StdRng::seed_from_u64(9)).public();
    assert!(outcome(Trust::AuthorityAtAnyTime(other), NOW).is_err());
}

// proves: NS-14
#[test]
fn a_changed_answer_fails_the_handshake() {
    let identity = identity();
    for position in 0..ACT_2_LEN {
        let mut rng = rng();
        let initiator = Initiator::new(Trust::Authority(identity.authority()), &mut rng);
        let (mut act_2, _) = Responder::new(&identity).step(&initiator.act_1(), NOW, &mut rng).unwrap();
        act_2[position] ^= 1;
        let error = initiator.finish(&act_2, NOW).unwrap_err();
        assert_eq!(error, HandshakeError::Authentication, "byte {position}");
    }
}

// proves: NS-14
#[test]
fn a_forged_message_ends_the_session() {
    let ((mut out, _), (_, mut opener)) = connected();
    let good = sealed(&mut out, &SHARE);
    for position in [0, 21, 22, good.len() - 1] {
        let ((mut out, _), (_, mut opener)) = connected();
        let mut forged = sealed(&mut out, &SHARE);
        forged[position] ^= 1;
        assert_eq!(opener.next_frame(&mut forged, 100), Err(NoiseError::Authentication));
        let mut next = sealed(&mut out, &SHARE);
        assert_eq!(opener.next_frame(&mut next, 100), Err(NoiseError::Ended));
    }
    // Neither can a message be left out.
    let mut second = sealed(&mut out, &SHARE);
    assert_eq!(opener.next_frame(&mut second, 100), Err(NoiseError::Authentication));
}

// proves: FR-21 NS-28
#[test]
fn frames_arrive_byte_by_byte() {
    let ((mut out, _), (_, mut opener)) = connected();
    let job = NewMiningJob { channel_id: 1, job_id: 2, min_ntime: None, version: 3, merkle_root: [4; 32] };
    let mut stream = sealed(&mut out, &SHARE);
    let first_len = stream.len();
    stream.extend(sealed(&mut out, &job));
    let mut buf = Vec::new();
    let mut seen = Vec::new();
    for byte in stream {
        buf.push(byte);
        let needed = match opener.next_frame(&mut buf, 100).unwrap() {
            Opened::NeedMore(needed) => {
                assert!(needed > buf.len());
                continue;
            }
            Opened::Frame { frame, consumed } => {
                seen.push(frame.header.msg_type);
                consumed
            }
        };
        assert_eq!(needed, buf.len());
        buf.clear();
    }
    assert_eq!(seen, [0x1a, 0x15]);
    assert_eq!(first_len, sealed_frame_len(24));
}

// proves: FR-21
#[test]
fn several_frames_lie_in_one_buffer() {
    let ((mut out, _), (_, mut opener)) = connected();
    let mut buf = Vec::new();
    for _ in 0..5 {
        out.seal_message(&SHARE, &mut buf).unwrap();
    }
    let mut at = 0;
    for _ in 0..5 {
        let (frame, consumed) = whole(&mut opener, &mut buf[at..]);
        assert_eq!(SubmitSharesStandard::decode(frame.payload), Ok(SHARE));
        at += consumed;
    }
    assert_eq!(at, buf.len());
}

// proves: NS-26 NS-27 CW-20 FR-02 LIM-02
#[test]
fn long_payloads_are_sealed_in_chunks_and_opened_in_place() {
    let ((mut out, _), (_, mut opener)) = connected();
    for len in [65_518, 65_519, 65_520, 131_037, 131_038, 131_039, 1_000_000] {
        let message = long_message(len);
        let mut plain = Vec::new();
        encode_frame(&message, &mut plain).unwrap();
        let mut buf = vec![0xaa; 3];
        out.seal_message(&message, &mut buf).unwrap();
        assert_eq!(buf.len(), 3 + sealed_frame_len(len));
        let (frame, consumed) = whole(&mut opener, &mut buf[3..]);
        assert_eq!(consumed, sealed_frame_len(len));
        assert_eq!(frame.header.payload_len(), len, "the plaintext's length");
        assert_eq!(frame.payload, &plain[6..]);
    }
}

// proves: NS-28
#[test]
fn a_long_frame_is_opened_chunk_by_chunk() {
    let ((mut out, _), (_, mut opener)) = connected();
    let message = long_message(200_000);
    let stream = sealed(&mut out, &message);
    let mut buf = Vec::new();
    let mut asked = Vec::new();
    loop {
        match opener.next_frame(&mut buf, MAX_PAYLOAD_LEN).unwrap() {
            Opened::NeedMore(needed) => {
                assert!(
                    needed - buf.len() <= 65_535,
                    "never more than a chunk ahead of what was authenticated"
                );
                asked.push(needed);
                buf.extend_from_slice(&stream[buf.len()..needed]);
            }
            Opened::Frame { frame, consumed } => {
                assert_eq!(consumed, stream.len());
                assert_eq!(RequestTransactionDataSuccess::decode(frame.payload), Ok(message));
                break;
            }
        }
    }
    assert_eq!(asked, [22, 22 + 65_535, 22 + 2 * 65_535, 22 + 3 * 65_535, stream.len()]);
}

// proves: NS-27 AM-07
#[test]
fn an_empty_payload_has_no_chunk_and_takes_no_nonce() {
    let ((mut out, _), (_, mut opener)) = connected();
    let empty = [0x02, 0x40, 0x01, 0, 0, 0];
    let mut buf = Vec::new();
    out.seal_frame(&empty, None, &mut buf).unwrap();
    assert_eq!(buf.len(), 22);
    out.seal_message(&SHARE, &mut buf).unwrap();
    let (frame, consumed) = whole(&mut opener, &mut buf);
    assert_eq!((frame.header.extension_type, frame.payload, consumed), (0x4002, &[][..], 22));
    assert_eq!(whole(&mut opener, &mut buf[22..]).0.header.msg_type, 0x1a);
}

#[test]
fn a_frame_over_the_limit_ends_the_session_with_its_header() {
    let ((mut out, _), (_, mut opener)) = connected();
    let mut buf = sealed(&mut out, &SHARE);
    let error = FrameError::OverLimit { len: 24, limit: 23 };
    assert_eq!(opener.next_frame(&mut buf[..22], 23), Err(NoiseError::Frame(error)));
    assert_eq!(opener.next_frame(&mut buf, 24), Err(NoiseError::Ended));
}

// proves: FR-13 FR-14
#[test]
fn a_frame_is_sealed_for_another_channel_with_nothing_else_changed() {
    let ((mut out, _), (_, mut opener)) = connected();
    let unknown = [0xbc, 0xca, 0x77, 6, 0, 0, 1, 0, 0, 0, 0xde, 0xad];
    let mut plain = Vec::new();
    encode_frame(&SHARE, &mut plain).unwrap();
    for original in [&unknown[..], &plain] {
        let mut buf = Vec::new();
        out.seal_frame(original, Some(0x0403_0201), &mut buf).unwrap();
        let (frame, _) = whole(&mut opener, &mut buf);
        assert_eq!(frame.header.to_bytes().unwrap(), original[..6]);
        assert_eq!(frame.payload[..4], [1, 2, 3, 4]);
        assert_eq!(frame.payload[4..], original[10..]);
        let mut buf = Vec::new();
        out.seal_frame(original, None, &mut buf).unwrap();
        assert_eq!(whole(&mut opener, &mut buf).0.payload, &original[6..]);
    }
}

#[test]
fn bytes_that_are_not_one_frame_are_not_sealed() {
    let ((mut out, _), (_, mut opener)) = connected();
    let mut plain = Vec::new();
    encode_frame(&SHARE, &mut plain).unwrap();
    let mut buf = vec![1];
    for wrong in [&plain[..5], &plain[..29], &[&plain[..], &[0]].concat(), &[0, 0x80, 1, 2, 0, 0, 1, 1]] {
        assert!(out.seal_frame(wrong, None, &mut buf).is_err());
    }
    assert_eq!(buf, [1]);
    // No nonce was spent.
    out.seal_frame(&plain, None, &mut buf).unwrap();
    whole(&mut opener, &mut buf[1..]);
}

// proves: NS-23
#[test]
fn authority_keys_are_read_strictly() {
    let key = AuthoritySecret::generate(&mut rng()).public();
    let text = key.to_string();
    assert_eq!(text.parse(), Ok(key));
    let bytes = key.to_bytes();
    let parse = |bytes: &[u8]| base58ck::encode_check(bytes).parse::<AuthorityKey>();
    assert_eq!(parse(&[&[1, 0][..], &bytes].concat()), Ok(key));
    assert_eq!(parse(&[&[0, 1][..], &bytes].concat()), Err(AuthorityKeyError::Version));
    assert_eq!(parse(&[&[2, 0][..], &bytes].concat()), Err(AuthorityKeyError::Version));
    assert_eq!(parse(&bytes), Err(AuthorityKeyError::Length(32, 34)));
    assert_eq!(parse(&[&[1, 0][..], &bytes, &[0]].concat()), Err(AuthorityKeyError::Length(35, 34)));
    assert_eq!(parse(&[&[1, 0][..], &[0xff; 32]].concat()), Err(AuthorityKeyError::Curve));
    let mut mistyped = text.into_bytes();
    mistyped[20] = if mistyped[20] == b'x' { b'y' } else { b'x' };
    let mistyped = String::from_utf8(mistyped).unwrap();
    assert_eq!(mistyped.parse::<AuthorityKey>(), Err(AuthorityKeyError::Base58));
    for text in ["", "0", "l", "µ"] {
        assert!(text.parse::<AuthorityKey>().is_err());
    }
}

#[test]
fn authority_secrets_are_stored_as_text_and_not_printed() {
    let secret = AuthoritySecret::generate(&mut rng());
    let again: AuthoritySecret = secret.to_text().parse().unwrap();
    assert_eq!(again.public(), secret.public());
    assert!(!format!("{secret:?}").contains(secret.to_text().as_str()));
    assert_eq!(AuthoritySecret::from_bytes(&[0; 32]).unwrap_err(), AuthorityKeyError::Curve);
    assert_eq!("".parse::<AuthoritySecret>().unwrap_err(), AuthorityKeyError::Base58);
    let key = secret.public().to_string();
    assert_eq!(key.parse::<AuthoritySecret>().unwrap_err(), AuthorityKeyError::Length(34, 32));
}

// proves: NS-24
#[test]
fn endpoints_are_parsed_and_printed() {
    let key = AuthoritySecret::generate(&mut rng()).public();
    for (host, printed) in [("pool.example", "pool.example"), ("10.0.0.1", "10.0.0.1"), ("::1", "[::1]")] {
        let endpoint = Endpoint { host: host.to_owned(), port: 34_254, authority: Some(key) };
        let url = format!("stratum2+tcp://{printed}:34254/{key}");
        assert_eq!(endpoint.to_string(), url);
        assert_eq!(url.parse(), Ok(endpoint.clone()));
        let url = format!("stratum2+tcp://{printed}:34254");
        let endpoint = Endpoint { authority: None, ..endpoint };
        assert_eq!(endpoint.to_string(), url);
        assert_eq!(url.parse(), Ok(endpoint.clone()));
        assert_eq!(format!("{url}/").parse(), Ok(endpoint));
    }
    for (url, error) in [
        ("stratum+tcp://pool.example:3333", EndpointError::Scheme),
        ("pool.example:34254", EndpointError::Scheme),
        ("stratum2+tcp://:34254", EndpointError::Host),
        ("stratum2+tcp://pool.example", EndpointError::Port),
        ("stratum2+tcp://pool.example:0", EndpointError::Port),
        ("stratum2+tcp://pool.example:70000", EndpointError::Port),
        ("stratum2+tcp://::1:34254", EndpointError::Port),
        ("stratum2+tcp://pool.example:1/x", EndpointError::Authority(AuthorityKeyError::Base58)),
    ] {
        assert_eq!(url.parse::<Endpoint>(), Err(error), "{url}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    // proves: NS-05
    #[test]
    fn any_first_message_is_answered(act_1 in proptest::collection::vec(any::<u8>(), 64)) {
        let identity = identity();
        let act_1 = act_1.try_into().unwrap();
        prop_assert!(Responder::new(&identity).step(&act_1, NOW, &mut rng()).is_ok());
    }

    // proves: NS-14
    #[test]
    fn no_arbitrary_answer_is_accepted(act_2 in proptest::collection::vec(any::<u8>(), 234)) {
        let initiator = Initiator::new(Trust::AnyServer, &mut rng());
        let act_2 = act_2.try_into().unwrap();
        prop_assert_eq!(initiator.finish(&act_2, NOW).map(drop), Err(HandshakeError::Authentication));
    }

    #[test]
    fn no_arbitrary_bytes_are_opened(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        limit in 0_u32..300,
    ) {
        let (_, (_, mut opener)) = connected();
        match opener.next_frame(&mut bytes, limit) {
            Ok(Opened::NeedMore(needed)) => prop_assert!(bytes.len() < 22 && needed == 22),
            Ok(Opened::Frame { .. }) => prop_assert!(false, "forged"),
            Err(error) => prop_assert_eq!(error, NoiseError::Authentication),
        }
    }

    // proves: FR-21
    #[test]
    fn a_stream_in_any_pieces_gives_the_same_frames(
        lens in proptest::collection::vec(prop_oneof![18_usize..200, 65_500_usize..65_540, 131_030_usize..131_050], 1..6),
        cuts in proptest::collection::vec(1_usize..70_000, 1..20),
    ) {
        let ((mut out, _), (_, mut opener)) = connected();
        let messages: Vec<_> = lens.iter().map(|&len| long_message(len)).collect();
        let mut stream = Vec::new();
        for message in &messages {
            out.seal_message(message, &mut stream).unwrap();
        }
        let (mut buf, mut rest, mut cuts) = (Vec::new(), stream.as_slice(), cuts.iter().cycle());
        let mut opened = Vec::new();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            buf.extend_from_slice(piece);
            rest = after;
            while let Opened::Frame { frame, consumed } = opener.next_frame(&mut buf, MAX_PAYLOAD_LEN).unwrap() {
                opened.push(RequestTransactionDataSuccess::decode(frame.payload).unwrap().into_owned());
                buf.drain(..consumed);
            }
        }
        prop_assert!(buf.is_empty());
        prop_assert_eq!(opened, messages);
    }
}
