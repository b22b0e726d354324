use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn small_space() -> impl Strategy<Value = Space> {
    (0u32..3, 0u32..3, 1u64..5, 0u32..4, 0u32..4).prop_map(|(low, high, extranonces, nonce, block)| Space {
        version_low_bits: low,
        version_high_bits: high,
        extranonces,
        nonce_bits: nonce.max(block),
        block_bits: block,
    })
}

fn work(root: Root, version_rolling: bool) -> Work {
    Work {
        id: 7,
        version: 0x2000_0000,
        version_rolling,
        prev_hash: [3; 32],
        nbits: 0x207f_ffff,
        min_ntime: 1_700_000_000,
        received: Instant::now(),
        target: Target::MAX,
        root,
    }
}

fn coinbase(extranonce_size: usize) -> Coinbase {
    Coinbase {
        prefix: (0..64).collect(),
        extranonce_size,
        suffix: (64..100).collect(),
        merkle_path: Box::new([[1; 32], [2; 32]]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// All threads together search each header of a second exactly once, whatever may be rolled, and
    /// none twice over several rounds of `ntime`.
    // proves: MD-05 MP-117
    #[test]
    fn no_header_is_searched_twice_and_none_is_left_out(
        space in small_space(),
        threads in 1usize..5,
        clock in proptest::collection::vec(0u32..2, 1..40),
    ) {
        let mut seen = HashSet::new();
        let mut first_round = 0u128;
        for thread in 0..threads {
            let mut walk = Walk::new(space, 100, thread, threads);
            let mut elapsed = 0;
            let mut ticks = clock.iter();
            loop {
                match walk.next(elapsed) {
                    Step::Search(part) => {
                        prop_assert!(part.ntime <= 100 + elapsed, "ntime runs at most with the clock");
                        if seen.len() > 20_000 { break; }
                        for nonce in 0..part.nonces {
                            let header =
                                (part.extranonce, part.version_bits, part.ntime, part.first_nonce + nonce);
                            prop_assert!(seen.insert(header), "searched twice: {:?}", header);
                        }
                        if elapsed == 0 { first_round += 1; }
                    }
                    // A second passes, or none does: asking again must not help.
                    Step::Wait => match ticks.next() {
                        Some(tick) => elapsed += tick,
                        None => break,
                    },
                    Step::Exhausted => break,
                }
            }
        }
        prop_assert_eq!(first_round, space.len(), "the first second is searched completely");
        let nonces = 1u128 << space.nonce_bits;
        let headers = seen.iter().filter(|(.., ntime, _)| *ntime == 100).count() as u128;
        let versions = 1u128 << (space.version_low_bits + space.version_high_bits);
        prop_assert_eq!(headers, nonces * versions * u128::from(space.extranonces));
    }

    // proves: MP-113 MP-80
    #[test]
    fn ntime_follows_the_clock_and_never_runs_ahead(
        steps in proptest::collection::vec(0u32..30, 1..50),
    ) {
        let mut walk = work(Root::Fixed([0; 32]), true).walk(0, 1);
        let mut elapsed = 0;
        let mut last = 0;
        for step in steps {
            elapsed += step;
            let Step::Search(part) = walk.next(elapsed) else { panic!("2^36 assignments are not used up") };
            prop_assert_eq!(part.ntime, 1_700_000_000 + elapsed);
            prop_assert!(part.ntime >= last);
            last = part.ntime;
        }
    }

    // proves: MP-04 MP-89 MP-118
    #[test]
    fn only_bip323_bits_of_the_version_change(version in any::<u32>(), bits in 0u32..1 << 24) {
        let mut work = work(Root::Fixed([0; 32]), true);
        work.version = version;
        let part = Assignment { extranonce: 0, version_bits: bits, ntime: 0, first_nonce: 0, nonces: 1 };
        let rolled = work.rolled_version(&part);
        prop_assert_eq!((rolled ^ version) & !VERSION_MASK, 0);
        prop_assert_eq!((rolled ^ version) >> 5, bits);
        prop_assert_eq!(&work.header(&part).0[..4], &rolled.to_le_bytes());
    }
}

#[test]
fn the_mask_is_bip323() {
    assert_eq!(VERSION_MASK, 0x1fff_ffe0);
    assert_eq!(VERSION_MASK, ((1 << VERSION_BITS) - 1) << VERSION_SHIFT);
}

// proves: MP-90
#[test]
fn a_fixed_version_is_used_verbatim() {
    let work = work(Root::Rolled(coinbase(2)), false);
    let mut walk = work.walk(0, 1);
    for _ in 0..10_000 {
        let Step::Search(part) = walk.next(0) else { panic!("2^28 assignments are not used up") };
        assert_eq!(work.header(&part).0[..4], work.version.to_le_bytes());
    }
}

// proves: MP-120 MD-10
#[test]
fn extranonces_have_the_granted_length_and_differ() {
    for size in 0..=32 {
        let coinbase = coinbase(size);
        let mut seen = HashSet::new();
        for counter in 0..coinbase.extranonces().min(1000) {
            let extranonce = coinbase.extranonce(counter);
            assert_eq!(extranonce.len(), size);
            assert!(seen.insert(extranonce), "{size} bytes, counter {counter}");
        }
    }
    assert_eq!(coinbase(2).extranonces(), 65_536);
    assert_eq!(coinbase(8).extranonces(), u64::MAX);
    assert_eq!(coinbase(4).extranonce(0x0102_0304), [1, 2, 3, 4]);
    assert_eq!(coinbase(10).extranonce(5), [0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
}

#[test]
fn every_dimension_is_used_soon() {
    let work = work(Root::Rolled(coinbase(4)), true);
    let mut walk = work.walk(0, 1);
    let parts: Vec<_> = (0..64)
        .map(|_| match walk.next(0) {
            Step::Search(part) => part,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(parts.iter().map(|part| part.version_bits).collect::<HashSet<_>>().len(), 16);
    assert_eq!(parts.iter().map(|part| part.extranonce).collect::<HashSet<_>>().len(), 4);
}

// proves: MP-94
#[test]
fn merkle_roots_fold_from_the_coinbase_up() {
    use sha2::{Digest, Sha256};
    let twice = |bytes: &[u8]| -> [u8; 32] { Sha256::digest(Sha256::digest(bytes)).into() };
    let mut coinbase = coinbase(3);
    let transaction = [&coinbase.prefix[..], &[9, 8, 7], &coinbase.suffix[..]].concat();
    let txid = twice(&transaction);
    let first = twice(&[txid, [1; 32]].concat());
    assert_eq!(coinbase.merkle_root(&[9, 8, 7]), twice(&[first, [2; 32]].concat()));
    coinbase.merkle_path = Box::new([]);
    assert_eq!(coinbase.merkle_root(&[9, 8, 7]), txid, "an empty path leaves the coinbase's txid");
}

#[test]
fn headers_are_laid_out_as_consensus_has_them() {
    let work = work(Root::Fixed([0xaa; 32]), true);
    let part = Assignment {
        extranonce: 0,
        version_bits: 1,
        ntime: 0x0403_0201,
        first_nonce: 0x0807_0605,
        nonces: 1,
    };
    let (header, extranonce) = work.header(&part);
    assert!(extranonce.is_empty());
    assert_eq!(header[..4], 0x2000_0020_u32.to_le_bytes());
    assert_eq!(header[4..36], [3; 32]);
    assert_eq!(header[36..68], [0xaa; 32]);
    assert_eq!(header[68..72], [1, 2, 3, 4]);
    assert_eq!(header[72..76], 0x207f_ffff_u32.to_le_bytes());
    assert_eq!(header[76..], [5, 6, 7, 8]);
}

#[test]
fn a_thread_without_a_share_of_a_small_space_rests() {
    let space =
        Space { version_low_bits: 0, version_high_bits: 0, extranonces: 1, nonce_bits: 4, block_bits: 4 };
    assert_eq!(Walk::new(space, 5, 1, 2).next(0), Step::Exhausted);
    let mut last = Walk::new(space, u32::MAX, 0, 1);
    assert!(matches!(last.next(0), Step::Search(_)));
    assert_eq!(last.next(100), Step::Exhausted, "no later ntime exists");
}

#[test]
fn ntime_does_not_follow_an_old_job_for_ever() {
    let work = work(Root::Fixed([0; 32]), true);
    assert_eq!(work.elapsed(work.received + Duration::from_millis(2999)), 2);
    assert_eq!(work.elapsed(work.received + Duration::from_secs(1_000_000)), 7200);
    assert_eq!(work.next_second(work.received + Duration::from_millis(2999)), Duration::from_millis(1));
}
