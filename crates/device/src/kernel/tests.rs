use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    assert_eq!(hex.len(), 2 * N);
    std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
}

fn sha256d(header: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(header)).into()
}

/// Real headers of the chain with the hash as explorers print it (big-endian).
const HEADERS: [(&str, &str); 3] = [
    (
        "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f61\
         7fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c",
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    ),
    (
        "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744bbbe680e1fee1467\
         7ba1a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299",
        "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048",
    ),
    (
        "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a308000000000000e320b6c2fffc8d750423db8b1eb942ae\
         710e951ed797f7affc8892b0f1fc122bc7f5d74df2b9441a42a14695",
        "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d",
    ),
];

fn header_of(entry: usize) -> [u8; HEADER_LEN] {
    bytes(&HEADERS[entry].0.replace(char::is_whitespace, ""))
}

#[test]
fn finds_the_nonce_of_real_headers_and_no_other() {
    for (entry, (_, hash)) in HEADERS.iter().enumerate() {
        let header = header_of(entry);
        let nonce = u32::from_le_bytes(header[76..].try_into().unwrap());
        let nbits = u32::from_le_bytes(header[72..76].try_into().unwrap());
        let target = Target::from_compact(nbits).unwrap();
        let mut without_nonce = header;
        without_nonce[76..].fill(0);
        let mut hits = Vec::new();
        let hashed = HeaderSearch::new(&without_nonce, target)
            .run(nonce - 1000, 2000, |nonce, hash| hits.push((nonce, hash)));
        let mut expected = bytes::<32>(hash);
        expected.reverse();
        assert_eq!(hits, [(nonce, expected)]);
        assert_eq!(hashed, 2000);
    }
}

#[test]
fn a_hash_equal_to_the_target_meets_it_and_one_above_does_not() {
    let header = header_of(0);
    let hash = sha256d(&header);
    let nonce = u32::from_le_bytes(header[76..].try_into().unwrap());
    let found = |target: [u8; 32]| {
        let mut hits = 0;
        HeaderSearch::new(&header, Target::from_le_bytes(target)).run(nonce, 1, |_, _| hits += 1);
        hits
    };
    assert_eq!(found(hash), 1);
    let mut below = hash;
    below[0] -= 1;
    assert_eq!(found(below), 0);
}

#[test]
fn stops_at_the_last_nonce() {
    let mut last = None;
    let mut search = HeaderSearch::new(&[0; HEADER_LEN], Target::MAX);
    let hashed = search.run(u32::MAX - 2, 100, |nonce, _| last = Some(nonce));
    assert_eq!((hashed, last), (3, Some(u32::MAX)));
    assert_eq!(search.run(5, 0, |_, _| unreachable!("no nonce was asked for")), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn agrees_with_plain_double_sha256(
        header in proptest::collection::vec(any::<u8>(), HEADER_LEN),
        first in any::<u32>(),
        count in 0u32..64,
        target in any::<[u8; 32]>(),
    ) {
        let header: [u8; HEADER_LEN] = header.try_into().unwrap();
        let target = Target::from_le_bytes(target);
        let mut hits = Vec::new();
        HeaderSearch::new(&header, target).run(first, count, |nonce, hash| hits.push((nonce, hash)));
        let expected: Vec<_> = (first..=first.saturating_add(count.saturating_sub(1)))
            .take(count as usize)
            .map(|nonce| {
                let mut header = header;
                header[76..].copy_from_slice(&nonce.to_le_bytes());
                (nonce, sha256d(&header))
            })
            .filter(|(_, hash)| target.is_met_by(hash))
            .collect();
        prop_assert_eq!(hits, expected);
    }
}

#[test]
fn measures_something() {
    let rate = measure(NonZeroUsize::MIN, Duration::from_millis(5));
    assert!(rate.get() > 0);
}
