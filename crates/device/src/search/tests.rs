use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use work::{ClientChannel, Job, JobParts, Tip};

use super::*;

/// Compact target that half of all hashes meet.
const HALF: u32 = 0x207f_ffff;

fn small_space() -> impl Strategy<Value = Space> {
    (0u32..3, 0u32..3, 1u64..5, 0u32..4, 0u32..4).prop_map(|(low, high, extranonces, nonce, block)| Space {
        version_low_bits: low,
        version_high_bits: high,
        extranonces,
        nonce_bits: nonce.max(block),
        block_bits: block,
    })
}

/// A coinbase without witness, up to an extranonce of `len` bytes.
fn coinbase_prefix(len: u8) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 1];
    bytes.extend_from_slice(&[0; 32]);
    bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 4 + len, 3, 1, 2, 3]);
    bytes
}

const COINBASE_SUFFIX: [u8; 36] = [9; 36];
const MERKLE_PATH: [[u8; 32]; 2] = [[1; 32], [2; 32]];

/// Work as a session makes it, for job 7; the share target is the network target.
pub(crate) fn work(kind: Kind, version_rolling: bool, nbits: u32) -> Work {
    versioned(0x2000_0000, kind, version_rolling, nbits)
}

fn versioned(version: u32, kind: Kind, version_rolling: bool, nbits: u32) -> Work {
    let tip = Arc::new(Tip::new([3; 32], nbits, 1_700_000_000).unwrap());
    let mut channel = ClientChannel::new(kind, &[7; 4], tip.network_target()).unwrap();
    match kind {
        Kind::Standard => channel.standard_job(7, version, version_rolling, [0xaa; 32], None, 0).unwrap(),
        Kind::Extended { rollable } => {
            let job = Job::new(JobParts {
                id: 7,
                version,
                version_rolling_allowed: version_rolling,
                coinbase_prefix: coinbase_prefix(4 + rollable),
                coinbase_suffix: COINBASE_SUFFIX.to_vec(),
                merkle_path: MERKLE_PATH.to_vec(),
                extranonce_len: usize::from(rollable) + 4,
            });
            channel.extended_job(&Arc::new(job.unwrap()), None, 0).unwrap();
        }
    }
    channel.set_new_prev_hash(7, &tip, 0).unwrap();
    Work { tip: 1, assignment: channel.active().unwrap().clone(), kind, clock: Instant::now() }
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
        let mut walk = work(Kind::Standard, true, HALF).walk(0, 1);
        let mut elapsed = 0;
        let mut last = 0;
        for step in steps {
            elapsed += step;
            let Step::Search(part) = walk.next(elapsed) else { panic!("2^36 parts are not used up") };
            prop_assert_eq!(part.ntime, 1_700_000_000 + elapsed);
            prop_assert!(part.ntime >= last);
            last = part.ntime;
        }
    }

    // proves: MP-04 MP-89 MP-118
    #[test]
    fn only_bip323_bits_of_the_version_change(version in any::<u32>(), bits in 0u32..1 << 24) {
        let work = versioned(version, Kind::Standard, true, HALF);
        let part = Part { extranonce: 0, version_bits: bits, ntime: 0, first_nonce: 0, nonces: 1 };
        let rolled = work.rolled_version(&part);
        prop_assert_eq!((rolled ^ version) & !0x1fff_ffe0, 0);
        prop_assert_eq!((rolled ^ version) >> 5, bits);
        prop_assert_eq!(&work.header(&part).0[..4], &rolled.to_le_bytes());
    }
}

#[test]
fn the_mask_is_bip323() {
    assert_eq!((VERSION_SHIFT, VERSION_BITS), (5, 24));
    assert_eq!(VERSION_ROLLING_MASK, ((1 << VERSION_BITS) - 1) << VERSION_SHIFT);
}

// proves: MP-90
#[test]
fn a_fixed_version_is_used_verbatim() {
    let work = work(Kind::Extended { rollable: 2 }, false, HALF);
    let mut walk = work.walk(0, 1);
    for _ in 0..10_000 {
        let Step::Search(part) = walk.next(0) else { panic!("2^28 parts are not used up") };
        assert_eq!(work.header(&part).0[..4], 0x2000_0000_u32.to_le_bytes());
    }
}

// proves: MP-120 MD-10
#[test]
fn extranonces_have_the_granted_length_and_differ() {
    for size in 0..=32 {
        let mut seen = HashSet::new();
        for counter in 0..extranonces(size).min(1000) {
            let extranonce = extranonce(counter, size);
            assert_eq!(extranonce.len(), size);
            assert!(seen.insert(extranonce), "{size} bytes, counter {counter}");
        }
    }
    assert_eq!((extranonces(0), extranonces(2), extranonces(8)), (1, 65_536, u64::MAX));
    assert_eq!(extranonce(0x0102_0304, 4), [1, 2, 3, 4]);
    assert_eq!(extranonce(5, 10), [0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
}

#[test]
fn every_dimension_is_used_soon() {
    let work = work(Kind::Extended { rollable: 4 }, true, HALF);
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

// proves: MP-94 MP-08
#[test]
fn the_root_is_that_of_the_coinbase_with_prefix_and_extranonce() {
    use sha2::{Digest, Sha256};
    let twice = |bytes: Vec<u8>| -> [u8; 32] { Sha256::digest(Sha256::digest(bytes)).into() };
    let work = work(Kind::Extended { rollable: 3 }, true, HALF);
    let part = Part { extranonce: 0x0a_0b0c, version_bits: 0, ntime: 0, first_nonce: 0, nonces: 1 };
    let (header, extranonce) = work.header(&part);
    assert_eq!(extranonce, [10, 11, 12]);
    let txid = twice([&coinbase_prefix(7)[..], &[7; 4], &[10, 11, 12], &COINBASE_SUFFIX].concat());
    let folded = MERKLE_PATH.iter().fold(txid, |root, sibling| twice([root, *sibling].concat()));
    assert_eq!(header[36..68], folded);
}

#[test]
fn headers_are_laid_out_as_consensus_has_them() {
    let work = work(Kind::Standard, true, HALF);
    let part =
        Part { extranonce: 0, version_bits: 1, ntime: 0x0403_0201, first_nonce: 0x0807_0605, nonces: 1 };
    let (header, extranonce) = work.header(&part);
    assert!(extranonce.is_empty());
    assert_eq!(header[..4], 0x2000_0020_u32.to_le_bytes());
    assert_eq!(header[4..36], [3; 32]);
    assert_eq!(header[36..68], [0xaa; 32]);
    assert_eq!(header[68..72], [1, 2, 3, 4]);
    assert_eq!(header[72..76], HALF.to_le_bytes());
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
    let work = work(Kind::Standard, true, HALF);
    assert_eq!(work.elapsed(work.clock + Duration::from_millis(2999)), 2);
    assert_eq!(work.elapsed(work.clock + Duration::from_secs(1_000_000)), 7200);
}
