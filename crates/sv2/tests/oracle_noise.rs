//! Handshakes and transport against the reference implementation, in both roles.

use {
    assay_sv2::{
        Frame, MAX_PAYLOAD_LEN, Message,
        codec::{B0_64K, Seq0_64K, Transaction},
        encode_frame,
        mining::SubmitSharesStandard,
        noise::*,
        template_distribution::RequestTransactionDataSuccess,
    },
    noise_sv2::NoiseEngine,
    rand::{SeedableRng, rngs::StdRng},
    std::time::Duration,
};

const NOW: u64 = 1_790_000_000;
const NOW_32: u32 = 1_790_000_000;
const SHARE: SubmitSharesStandard =
    SubmitSharesStandard { channel_id: 1, sequence_number: 2, job_id: 3, nonce: 4, ntime: 5, version: 6 };

fn authority(rng: &mut StdRng) -> AuthoritySecret {
    AuthoritySecret::generate(rng)
}

/// Our client and their server.
fn our_client(seed: u64) -> (Transport, NoiseEngine) {
    let mut rng = StdRng::seed_from_u64(seed);
    let secret = authority(&mut rng);
    let initiator = Initiator::new(Trust::Authority(secret.public()), &mut rng);
    let mut responder = noise_sv2::Responder::from_authority_kp(
        &secret.public().to_bytes(),
        &secret.to_bytes(),
        Duration::from_secs(3_600),
    )
    .unwrap();
    let (act_2, theirs) = responder.step_1_with_now_rng(initiator.act_1(), NOW_32, &mut rng).unwrap();
    (initiator.finish(&act_2, NOW).unwrap(), theirs)
}

/// Our server and their client.
fn our_server(seed: u64) -> (Transport, NoiseEngine) {
    let mut rng = StdRng::seed_from_u64(seed);
    let identity = Identity::new(authority(&mut rng), Validity::default(), NOW, &mut rng);
    let mut initiator = noise_sv2::Initiator::from_raw_k(identity.authority().to_bytes()).unwrap();
    let act_1 = initiator.step_0().unwrap();
    let (act_2, ours) = Responder::new(&identity).step(&act_1, NOW, &mut rng).unwrap();
    (ours, initiator.step_2_with_now(act_2, NOW_32).unwrap())
}

/// Seals a frame as the specification says: the header, then the payload in chunks.
fn their_seal(engine: &mut NoiseEngine, plain: &[u8]) -> Vec<u8> {
    let (header, payload) = plain.split_at(6);
    let mut out = Vec::new();
    for part in std::iter::once(header).chain(payload.chunks(65_519)) {
        let mut part = part.to_vec();
        engine.encrypt(&mut part).unwrap();
        out.extend(part);
    }
    out
}

fn their_open(engine: &mut NoiseEngine, sealed: &[u8]) -> Vec<u8> {
    let (header, payload) = sealed.split_at(22);
    let mut out = Vec::new();
    for part in std::iter::once(header).chain(payload.chunks(65_535)) {
        let mut part = part.to_vec();
        engine.decrypt(&mut part).unwrap();
        out.extend(part);
    }
    out
}

fn long_message(len: usize) -> RequestTransactionDataSuccess<'static> {
    let transaction: Vec<u8> = (0..=250).cycle().take(len).collect();
    RequestTransactionDataSuccess {
        template_id: 7,
        excess_data: B0_64K::EMPTY,
        transaction_list: Seq0_64K::<Transaction>::new([transaction.as_slice()]).unwrap(),
    }
}

/// Exchanges messages of many lengths in both directions.
fn talk((ours, mut theirs): (Transport, NoiseEngine)) {
    let (mut sealer, mut opener) = ours.split();
    for len in [1, 100, 65_503, 65_504, 65_505, 131_022, 131_023, 131_024, 131_025, 300_000] {
        exchange(&long_message(len), &mut sealer, &mut opener, &mut theirs);
        exchange(&SHARE, &mut sealer, &mut opener, &mut theirs);
    }
}

fn exchange<'m>(
    message: &impl Message<'m>,
    sealer: &mut Sealer,
    opener: &mut Opener,
    theirs: &mut NoiseEngine,
) {
    let mut plain = Vec::new();
    encode_frame(message, &mut plain).unwrap();

    let mut sealed = Vec::new();
    sealer.seal_message(message, &mut sealed).unwrap();
    assert_eq!(their_open(theirs, &sealed), plain);

    let mut sealed = their_seal(theirs, &plain);
    let Opened::Frame { frame, consumed } = opener.next_frame(&mut sealed, MAX_PAYLOAD_LEN).unwrap() else {
        panic!("a whole frame");
    };
    let Frame { header, payload } = frame;
    assert_eq!([&header.to_bytes().unwrap()[..], payload].concat(), plain);
    assert_eq!(consumed, sealed_frame_len(payload.len()));
}

// proves: NS-03 NS-04 NS-06 NS-07 NS-08 NS-09 NS-10 NS-11 NS-12 NS-13 NS-16 NS-17 NS-18 NS-25 NS-26 CW-20 CW-21
#[test]
fn our_client_talks_with_their_server() {
    for seed in 0..4 {
        talk(our_client(seed));
    }
}

// proves: NS-03 NS-05 NS-06 NS-07 NS-08 NS-09 NS-10 NS-11 NS-12 NS-13 NS-16 NS-17 NS-21 NS-25 NS-26 CW-20 CW-21
#[test]
fn our_server_talks_with_their_client() {
    for seed in 0..4 {
        talk(our_server(seed));
    }
}

// proves: NS-18 NS-22
#[test]
fn their_client_accepts_our_certificate_for_its_time_only() {
    let mut rng = StdRng::seed_from_u64(7);
    let identity = Identity::new(authority(&mut rng), Validity::default(), NOW, &mut rng);
    for (now, accepted) in
        [(NOW_32, true), (NOW_32 - 3_000, true), (NOW_32 + 86_000, true), (NOW_32 + 90_000, false)]
    {
        let mut initiator = noise_sv2::Initiator::from_raw_k(identity.authority().to_bytes()).unwrap();
        let act_1 = initiator.step_0().unwrap();
        let (act_2, _) = Responder::new(&identity).step(&act_1, NOW, &mut rng).unwrap();
        assert_eq!(initiator.step_2_with_now(act_2, now).is_ok(), accepted, "{now}");
    }
}

// proves: NS-18 CW-22
#[test]
fn our_client_refuses_their_server_when_the_authority_is_another_or_the_time_is_over() {
    let mut rng = StdRng::seed_from_u64(8);
    let (secret, other) = (authority(&mut rng), authority(&mut rng));
    for (trusted, now, accepted) in [
        (secret.public(), NOW, true),
        (other.public(), NOW, false),
        (secret.public(), NOW + 3_600 + 11, false),
    ] {
        let initiator = Initiator::new(Trust::Authority(trusted), &mut rng);
        let mut responder = noise_sv2::Responder::from_authority_kp(
            &secret.public().to_bytes(),
            &secret.to_bytes(),
            Duration::from_secs(3_600),
        )
        .unwrap();
        let (act_2, _) = responder.step_1_with_now_rng(initiator.act_1(), NOW_32, &mut rng).unwrap();
        assert_eq!(initiator.finish(&act_2, now).is_ok(), accepted, "{now}");
    }
}
