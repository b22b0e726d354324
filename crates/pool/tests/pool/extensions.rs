//! Extension negotiation (0x0001) as the pool answers it.

use sv2::codec::Seq0_64K;
use sv2::extensions::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess};

use crate::support::{Miner, Open, Raw, Rig, key};

fn ask(miner: &mut Miner, request_id: u16, extensions: &[u16]) -> Raw {
    miner.wire.send(&RequestExtensions {
        request_id,
        requested_extensions: Seq0_64K::<u16>::new(extensions.iter().copied()).unwrap(),
    });
    miner.until(|raw| raw.is::<RequestExtensionsSuccess<'_>>() || raw.is::<RequestExtensionsError<'_>>())
}

// proves: EX-12 EX-16 EX-17 EX-18 FR-04 AM-10
#[test]
fn what_is_supported_is_confirmed_once_and_under_the_requests_id() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    for (request_id, asked, confirmed) in [
        (7, &[2][..], &[2][..]),
        (0, &[2, 2, 2], &[2]),
        (u16::MAX, &[0x4001, 2, 3], &[2]),
        (8, &[1, 2], &[2]),
        (9, &[], &[]),
        (9, &[1], &[]),
    ] {
        let reply = ask(&mut miner, request_id, asked);
        assert_eq!((reply.header.extension_type, reply.header.channel_msg), (1, false));
        let success: RequestExtensionsSuccess<'_> = reply.get().expect("a success");
        assert_eq!(success.request_id, request_id);
        assert_eq!(success.supported_extensions.iter().collect::<Vec<_>>(), confirmed, "{asked:?}");
    }
}

// proves: EX-09 EX-17
#[test]
fn when_nothing_is_supported_the_error_says_what_and_mining_goes_on_without() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    for asked in [&[0x4001][..], &[3, 0x7fff]] {
        let reply = ask(&mut miner, 99, asked);
        let error: RequestExtensionsError<'_> = reply.get().expect("an error");
        assert_eq!(error.request_id, 99);
        assert_eq!(error.unsupported_extensions.iter().collect::<Vec<_>>(), asked);
        assert!(error.required_extensions.is_empty());
    }
    let channel = miner.open(&Open::extended(&key()));
    miner.earn(channel);
}

// proves: EX-19
#[test]
fn a_client_may_ask_when_it_mines_already() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::extended(&key()));
    miner.earn(channel);
    assert!(ask(&mut miner, 1, &[2]).is::<RequestExtensionsSuccess<'_>>());
    miner.earn(channel);
}
