//! Bytes to messages and back: opening, parsing, acknowledging, and the handshake before all that.

use assay_benches::{SHARES, frames};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use sv2::mining::{MiningFromClient, SubmitSharesSuccess};
use sv2::noise::{Initiator, Opened, Opener, Responder, Sealer, Trust};
use sv2::{Frame, HEADER_LEN, Header, Message, encode_frame};

fn main() {
    divan::main();
}

/// Opens what stands in `wire`, header and payload of each frame, and hands it to `take`.
fn open_all(opener: &mut Opener, mut wire: &mut [u8], mut take: impl FnMut(Frame<'_>)) {
    while !wire.is_empty() {
        match opener.next_frame(wire, 1 << 17).expect("frames in their order") {
            Opened::Frame { frame, consumed } => {
                take(frame);
                wire = &mut wire[consumed..];
            }
            Opened::NeedMore(_) => panic!("frames are whole"),
        }
    }
}

fn decrypt<'m, M: Message<'m>>(bencher: Bencher<'_, '_>, message: fn(u32) -> M) {
    let identity = frames::identity();
    bencher
        .counter(ItemsCount::new(SHARES))
        .with_inputs(|| frames::sealed(&identity, message))
        .bench_local_refs(|(opener, wire)| {
            open_all(opener, wire, |frame| {
                black_box(frame);
            })
        });
}

#[divan::bench]
fn decrypt_standard(bencher: Bencher<'_, '_>) {
    decrypt(bencher, frames::standard);
}

#[divan::bench]
fn decrypt_extended(bencher: Bencher<'_, '_>) {
    decrypt(bencher, frames::extended);
}

fn parse<'m, M: Message<'m>>(bencher: Bencher<'_, '_>, message: &M) {
    let mut bytes = Vec::new();
    encode_frame(message, &mut bytes).expect("a short message");
    let (header, payload) = bytes.split_at(HEADER_LEN);
    let header = Header::from_bytes(header.try_into().expect("as long as a header")).expect("a header");
    bencher.counter(ItemsCount::new(SHARES)).bench_local(|| {
        for _ in 0..SHARES {
            let frame = Frame { header, payload: black_box(payload) };
            black_box(MiningFromClient::decode(frame).expect("a share"));
        }
    });
}

#[divan::bench]
fn parse_standard(bencher: Bencher<'_, '_>) {
    parse(bencher, &frames::standard(1));
}

#[divan::bench]
fn parse_extended(bencher: Bencher<'_, '_>) {
    parse(bencher, &frames::extended(1));
}

/// Encodes and seals SubmitShares.Success: once a channel and batch, not once a share.
#[divan::bench]
fn acknowledge(bencher: Bencher<'_, '_>) {
    let identity = frames::identity();
    let (mut sealer, _): (Sealer, _) = frames::connection(&identity);
    let mut out = Vec::with_capacity(100 * SHARES as usize);
    bencher.counter(ItemsCount::new(SHARES)).bench_local(|| {
        out.clear();
        for last_sequence_number in 0..SHARES {
            let success = SubmitSharesSuccess {
                channel_id: 1,
                last_sequence_number,
                new_submits_accepted_count: 1,
                new_shares_sum: 1,
            };
            sealer.seal_message(&success, &mut out).expect("a key that lasts");
        }
    });
}

/// The server's part of one handshake.
#[divan::bench]
fn handshake(bencher: Bencher<'_, '_>) {
    let identity = frames::identity();
    let act_1 = Initiator::new(Trust::AnyServer, &mut rand::thread_rng()).act_1();
    bencher.bench_local(|| {
        Responder::new(&identity)
            .step(black_box(&act_1), frames::UNIX_NOW, &mut rand::thread_rng())
            .expect("any bytes are a key")
    });
}
