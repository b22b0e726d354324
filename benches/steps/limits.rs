//! What no share can do without: the limits that `docs/performance.md` compares with.

use assay_benches::SHARES;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sha2::digest::generic_array::GenericArray;

fn main() {
    divan::main();
}

/// One compression of SHA-256 after the other, each on the result of the one before.
#[divan::bench]
fn sha256_compression(bencher: Bencher<'_, '_>) {
    let (mut state, block) = ([1; 8], GenericArray::from([7; 64]));
    bencher.counter(ItemsCount::new(SHARES)).bench_local(|| {
        for _ in 0..SHARES {
            sha2::compress256(&mut state, std::slice::from_ref(black_box(&block)));
        }
    });
}

/// Seals so many bytes: a header, the payloads of a standard and of an extended share.
#[divan::bench(args = [6, 24, 41])]
fn chacha20_poly1305(bencher: Bencher<'_, '_>, len: usize) {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &[9; 32]).expect("a key of 32 bytes");
    let key = LessSafeKey::new(key);
    let mut bytes = vec![0; len];
    bencher.counter(ItemsCount::new(SHARES)).bench_local(|| {
        for _ in 0..SHARES {
            // The same nonce again and again: these bytes go nowhere.
            let nonce = Nonce::assume_unique_for_key([0; 12]);
            let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), black_box(&mut bytes));
            let _ = black_box(tag.expect("short enough"));
        }
    });
}
