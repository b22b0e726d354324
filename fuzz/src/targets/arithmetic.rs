//! The arithmetic of targets, credits and difficulties beside whole numbers of 512 bits.

use crate::input::Input;
use crate::wide::Wide;
use bitcoin::CompactTarget;
use work::{Difficulty, FeeWeight, HashRate, Target};

/// A compact target, two targets, a hash, and numbers.
pub fn arithmetic(data: &[u8]) {
    let mut input = Input::new(data);
    let nbits = input.u32();
    let (a, b) = (target(&mut input), target(&mut input));
    let hash: [u8; 32] = input.array();
    let (step, rate, per_minute) = (input.byte(), input.u64(), input.u32());
    let fees = (input.u64(), input.u64(), input.u64());

    compact(nbits);
    assert_eq!(a.is_met_by(&hash), Wide::from_le_bytes(&hash) <= Wide::of(&a));
    assert_eq!(a.cmp(&b), Wide::of(&a).cmp(&Wide::of(&b)));
    assert_eq!(Target::from_le_bytes(a.to_le_bytes()), a);
    credit(a, b);
    ladder(a, b, step);
    difficulty(a);
    let hashes = a.expected_hashes();
    assert!(hashes > 0);
    if a != Target::MAX && hashes != u128::MAX {
        // ⌊2^256 / (T + 1)⌋
        let (parts, all) = (Wide::of(&a).plus_one(), Wide::of(&Target::MAX).plus_one());
        assert!(parts.times(hashes) <= all && all < parts.times(hashes + 1));
        assert!(Target::for_expected_hashes(hashes) >= a);
    }
    let wanted = Target::for_hash_rate(HashRate::new(rate), per_minute);
    if rate > 0 && per_minute > 0 {
        let slower = Target::for_hash_rate(HashRate::new(rate / 2), per_minute);
        assert!(slower >= wanted, "a slower device gets no harder target");
    }
    let weight = FeeWeight::new(fees.0, fees.1, fees.2);
    assert!(weight <= FeeWeight::FULL);
    assert!(Target::weighted_credit(weight, step) <= Target::weighted_credit(FeeWeight::FULL, step));
}

/// Mostly zeros above or below a few arbitrary bytes, as targets are.
fn target(input: &mut Input<'_>) -> Target {
    let (at, fill) = (input.below(32), input.pick(&[0, 0xff]));
    let mut bytes = [0; 32];
    bytes[..at].fill(fill);
    let part = input.short();
    let end = 32.min(at + part.len());
    bytes[at..end].copy_from_slice(&part[..end - at]);
    Target::from_le_bytes(bytes)
}

fn compact(nbits: u32) {
    let Ok(target) = Target::from_compact(nbits) else { return };
    let theirs = bitcoin::Target::from_compact(CompactTarget::from_consensus(nbits));
    assert_eq!(target.to_le_bytes(), theirs.to_le_bytes(), "{nbits:#010x}");
    assert!(target > Target::ZERO);
}

fn credit(share: Target, network: Target) {
    let credit = Target::credit(share, network).get();
    if share <= network {
        return assert_eq!(credit, 1 << 50);
    }
    let (share, worth) = (Wide::of(&share).plus_one(), Wide::of(&network).plus_one().times(1 << 50));
    assert!(credit <= 1 << 50);
    assert!(share.times(credit.into()) <= worth && worth < share.times(u128::from(credit) + 1));
}

fn ladder(network: Target, wanted: Target, k: u8) {
    let rung = Target::ladder(network, k);
    assert!(rung >= network && Target::ladder(network, k.saturating_add(1)) >= rung);
    let step = Target::ladder_step(network, wanted);
    assert!(step <= Target::LAST_RUNG);
    let chosen = Target::ladder(network, step);
    assert!(step == 0 || chosen <= wanted, "easier than was wanted");
    assert_eq!(Target::credit(chosen, network).get(), (1 << 50) >> step, "rungs are worth powers of two");
    if step < Target::LAST_RUNG && wanted > network {
        let next = Target::ladder(network, step + 1);
        let exact = Wide::of(&network).plus_one().times(1 << (step + 1)) == Wide::of(&next).plus_one();
        assert!(!exact || next > wanted, "not the largest step");
    }
}

fn difficulty(target: Target) {
    let difficulty = target.difficulty();
    let fixed = (u128::from(difficulty.whole()) << 64) | u128::from(difficulty.fraction());
    assert_eq!(Difficulty::from_parts(difficulty.whole(), difficulty.fraction()), difficulty);
    assert!(!difficulty.to_string().is_empty());
    let (number, one) = (Wide::of(&target), Wide::of(&Target::DIFFICULTY_1).times(1 << 64));
    if fixed < u128::MAX {
        assert!(number.times(fixed) <= one && one < number.times(fixed + 1));
    }
}

/// Targets of the chain, of shares, and at the ends.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for nbits in
        [0x1d00_ffffu32, 0x207f_ffff, 0x1703_4219, 0x0100_0012, 0x2200_00ff, 0x0480_0001, 0x2100_ffff]
    {
        for (a, b) in [(26, 28), (0, 31), (31, 31), (20, 29)] {
            let mut seed = nbits.to_le_bytes().to_vec();
            seed.extend([a, 0, 2, 0xff, 0xff, b, 1, 1, 0x7f]);
            seed.extend([1; 32]);
            seed.push(a);
            seed.extend((1u64 << 46).to_le_bytes());
            seed.extend(12u32.to_le_bytes());
            seed.extend([1, 2, 3, 4, 5, 6, 7, 0].repeat(3));
            seeds.push(seed);
        }
    }
    seeds
}
