//! The Noise handshake against a peer that sends anything: with keys and random numbers fixed, a handshake
//! succeeds exactly if both messages arrive as they were sent and the certificate is good.

use crate::input::Input;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::LazyLock;
use sv2::frame::{Frame, HEADER_LEN};
use sv2::noise::{
    ACT_1_LEN, ACT_2_LEN, AuthoritySecret, Identity, Initiator, Opened, Responder, Transport, Trust, Validity,
};

/// When the server's certificate was made, in Unix seconds.
pub const NOW: u64 = 1_790_000_000;
/// By how much clocks may differ before a certificate counts as not yet or no longer valid.
const LEEWAY: u64 = 10;

/// The server of every fuzzed handshake; its certificate is never renewed, as the time stands still.
pub static SERVER: LazyLock<Identity> = LazyLock::new(|| {
    let authority = AuthoritySecret::from_bytes(&[7; 32]).expect("a number below the curve's order");
    Identity::new(authority, Validity::default(), NOW, &mut rng(1))
});

/// Random numbers that are the same in every run.
pub fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Whom the client trusts, when it is, then patches of the first and of the second message.
pub fn handshake(data: &[u8]) {
    let mut input = Input::new(data);
    let own = SERVER.authority();
    let stranger = AuthoritySecret::from_bytes(&[8; 32]).expect("a number below the curve's order").public();
    let trust = input.pick(&[
        Trust::Authority(own),
        Trust::AuthorityAtAnyTime(own),
        Trust::AnyServer,
        Trust::Authority(stranger),
        Trust::AuthorityAtAnyTime(stranger),
    ]);
    let own_time = u64::from(input.u32());
    let lifetime = u64::from(Validity::default().lifetime_secs);
    let back = u64::from(Validity::default().back_dated_secs);
    let time = input.pick(&[
        NOW,
        NOW - back - LEEWAY,
        NOW - back - LEEWAY - 1,
        NOW + lifetime + LEEWAY,
        NOW + lifetime + LEEWAY + 1,
        own_time,
        0,
        u64::MAX,
    ]);

    let client = Initiator::new(trust, &mut rng(2));
    let act_1 = patched(client.act_1(), &mut input);
    let (act_2, server) =
        Responder::new(&SERVER).step(&act_1, NOW, &mut rng(3)).expect("any 64 bytes are a key");
    let sent = act_2;
    let act_2: [u8; ACT_2_LEN] = patched(act_2, &mut input);

    let untouched = act_1 == client.act_1() && act_2 == sent;
    let valid = (NOW - back - LEEWAY..=NOW + lifetime + LEEWAY).contains(&time);
    let trusted = match trust {
        Trust::Authority(key) => key == own && valid,
        Trust::AuthorityAtAnyTime(key) => key == own,
        Trust::AnyServer => true,
    };
    match client.finish(&act_2, time) {
        Ok(client) => {
            assert!(untouched && trusted, "a handshake that was tampered with, or with a stranger");
            check_both_directions(client, server);
        }
        Err(error) => {
            assert!(!(untouched && trusted), "{error}");
            assert!(!error.to_string().is_empty());
        }
    }
}

/// All bytes replaced, or a few changed, or none.
fn patched<const N: usize>(mut bytes: [u8; N], input: &mut Input<'_>) -> [u8; N] {
    match input.byte() {
        0 => {}
        255 => bytes = input.array(),
        patches => {
            for _ in 0..patches.min(8) {
                let at = usize::from(input.u16()) % N;
                bytes[at] ^= input.byte();
            }
        }
    }
    bytes
}

fn check_both_directions(client: Transport, server: Transport) {
    let ((mut client_seals, mut client_opens), (mut server_seals, mut server_opens)) =
        (client.split(), server.split());
    let frame = &crate::samples::frames()[0];
    for (sealer, opener) in [(&mut client_seals, &mut server_opens), (&mut server_seals, &mut client_opens)] {
        let mut sealed = Vec::new();
        sealer.seal_frame(frame, None, &mut sealed).expect("a whole frame can be sealed");
        let len = sealed.len();
        match opener.next_frame(&mut sealed, 1 << 16) {
            Ok(Opened::Frame { frame: Frame { payload, .. }, consumed }) => {
                assert_eq!((payload, consumed), (&frame[HEADER_LEN..], len));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// An honest handshake with each trust, at each time, and with each kind of tampering.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for trust in 0..5 {
        for time in 0..8 {
            seeds.push(vec![trust, 0, 0, 0, 0, time, 0, 0]);
        }
    }
    seeds.push(vec![2, 0, 0, 0, 0, 0, 1, 5, 0, 1]);
    seeds.push(vec![2, 0, 0, 0, 0, 0, 0, 1, 200, 0, 0x80]);
    seeds.push([&[2, 0, 0, 0, 0, 0, 255][..], &[9; ACT_1_LEN], &[0]].concat());
    seeds.push([&[2, 0, 0, 0, 0, 0, 0, 255][..], &[9; ACT_2_LEN]].concat());
    seeds
}
