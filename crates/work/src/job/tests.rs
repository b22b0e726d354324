use {
    super::*,
    crate::extranonce::FULL_LEN,
    bitcoin_hashes::{Hash, sha256d},
    proptest::prelude::*,
};

/// Parts of a plausible job: `tag` bytes before the extranonce, `levels` siblings.
pub(crate) fn parts(id: u32, tag: usize, levels: u8, extranonce_len: usize) -> JobParts {
    let mut coinbase_prefix = vec![2, 0, 0, 0, 1];
    coinbase_prefix.extend([0; 32]);
    coinbase_prefix.extend([0xff; 4]);
    coinbase_prefix.push(u8::try_from(tag + extranonce_len).unwrap());
    coinbase_prefix.extend(vec![0x51; tag]);
    let mut coinbase_suffix = vec![0xff; 4];
    coinbase_suffix.extend([1, 0, 0xf2, 5, 0x2a, 1, 0, 0, 0, 1, 0x51, 0, 0, 0, 0]);
    JobParts {
        id,
        version: 0x2000_0000,
        version_rolling_allowed: true,
        coinbase_prefix,
        coinbase_suffix,
        merkle_path: (0..levels).map(|level| [level; 32]).collect(),
        extranonce_len,
    }
}

fn sha256d(bytes: &[u8]) -> [u8; 32] {
    sha256d::Hash::hash(bytes).to_byte_array()
}

// proves: TV-18 MP-94
#[test]
fn the_fold_gives_the_roots_of_small_blocks() {
    let [coinbase, tx1, tx2] = [[1; 32], [2; 32], [3; 32]];
    let pair = |left: [u8; 32], right: [u8; 32]| sha256d(&[left, right].concat());
    assert_eq!(merkle_root(coinbase, &[]), coinbase);
    assert_eq!(merkle_root(coinbase, &[tx1]), pair(coinbase, tx1));
    let three = pair(pair(coinbase, tx1), pair(tx2, tx2));
    assert_eq!(merkle_root(coinbase, &[tx1, pair(tx2, tx2)]), three);
}

// proves: MP-94 ENC-05 CW-19
#[test]
fn the_genesis_block_hashes_to_its_hash() {
    let unhex = |text: &str| <Vec<u8> as hex::FromHex>::from_hex(text).unwrap();
    // Its coinbase, split inside of the script as if the last 9 bytes of it were the extranonce.
    let coinbase = unhex(concat!(
        "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d",
        "0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66",
        "207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe55",
        "48271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba",
        "0b8d578a4c702b6bf11d5fac00000000"
    ));
    let script_end = SCRIPT_LEN_AT + 1 + 0x4d;
    let job = Job::new(JobParts {
        coinbase_prefix: coinbase[..script_end - 9].to_vec(),
        coinbase_suffix: coinbase[script_end..].to_vec(),
        merkle_path: vec![],
        ..parts(1, 0, 0, 9)
    })
    .unwrap();
    let root = job.merkle_root(&coinbase[script_end - 9..script_end]);
    let header = header(1, &[0; 32], &root, 1_231_006_505, 0x1d00_ffff, 2_083_236_893);
    let mut hash = header_hash(&header);
    assert!(Target::from_compact(0x1d00_ffff).unwrap().is_met_by(&hash));
    hash.reverse();
    assert_eq!(hash[..], unhex("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"));
}

// proves: MP-44 MP-92 CW-12 CW-32 LIM-06 LIM-07 LIM-09 LIM-10
#[test]
fn parts_that_make_no_job_are_refused() {
    #[track_caller]
    fn case(change: impl FnOnce(&mut JobParts), error: JobError) {
        let mut parts = parts(1, 20, 3, FULL_LEN);
        assert!(Job::new(parts.clone()).is_ok());
        change(&mut parts);
        assert_eq!(Job::new(parts).unwrap_err(), error);
    }
    case(|parts| parts.coinbase_prefix.splice(4..4, [0, 1]).for_each(drop), JobError::NotStripped);
    case(|parts| parts.coinbase_prefix[9] = 1, JobError::NotStripped);
    case(|parts| parts.coinbase_prefix.truncate(41), JobError::NotStripped);
    case(|parts| parts.coinbase_prefix.clear(), JobError::NotStripped);
    case(|parts| parts.coinbase_prefix[41] = 101, JobError::ScriptLength(101));
    case(|parts| parts.coinbase_prefix[41] = 1, JobError::ScriptLength(1));
    case(|parts| parts.coinbase_prefix[41] -= 1, JobError::ScriptTooShort { said: 43, needed: 44 });
    case(|parts| parts.coinbase_suffix = vec![0; 65_536], JobError::CoinbaseTooLong(65_536));
    case(|parts| parts.coinbase_prefix = vec![0; 65_536], JobError::CoinbaseTooLong(65_536));
    case(|parts| parts.merkle_path = vec![[0; 32]; 33], JobError::MerklePathTooLong(33));
    case(|parts| parts.extranonce_len = 33, JobError::ExtranonceTooLong(33));
}

// proves: MP-86 MP-87 CW-02
#[test]
fn job_ids_skip_zero_and_what_is_in_use() {
    let mut ids = JobIds::starting_at(u32::MAX);
    let given: Vec<u32> = (0..3).map(|_| ids.next(|id| id == 1)).collect();
    assert_eq!(given, [u32::MAX, 2, 3]);
}

// proves: MP-04 LIM-15 TV-16
#[test]
fn the_mask_is_that_of_bip323() {
    assert_eq!(VERSION_ROLLING_MASK, (5..=28).map(|bit| 1u32 << bit).sum::<u32>());
    assert_eq!(VERSION_ROLLING_MASK.count_ones(), 24);
}

#[test]
fn a_tip_knows_the_whole_ladder() {
    let tip = Tip::new([7; 32], 0x1702_1369, 5).unwrap();
    assert_eq!(tip.rungs.len(), 51);
    for (k, rung) in tip.rungs.iter().enumerate() {
        assert_eq!(rung.credit.get(), Ehash::ONE_BLOCK.get() >> k);
        assert_eq!(rung.difficulty, rung.target.difficulty());
    }
    assert_eq!(tip.rung(255), tip.rung(50));
    assert!(Tip::new([7; 32], 0, 5).is_err());
}

proptest! {
    /// Whatever of it was hashed ahead, the root is that of the whole coinbase.
    #[test]
    fn midstates_change_nothing(
        tag in 0usize..76,
        suffix_len in 4usize..200,
        levels in 0u8..4,
        prefix_len in 0usize..=FULL_LEN,
        extranonce: [u8; FULL_LEN],
    ) {
        let mut parts = parts(1, tag, levels, FULL_LEN);
        parts.coinbase_suffix.resize(suffix_len, 0x77);
        let job = Job::new(parts.clone()).unwrap();
        prop_assert_eq!(job.coinbase_prefix(), parts.coinbase_prefix);
        prop_assert_eq!(job.coinbase_suffix(), parts.coinbase_suffix);
        let coinbase = [job.coinbase_prefix(), &extranonce, job.coinbase_suffix()].concat();
        let expected = merkle_root(sha256d(&coinbase), job.merkle_path());
        prop_assert_eq!(job.merkle_root(&extranonce), expected);
        let (prefix, rolled) = extranonce.split_at(prefix_len);
        let midstate = job.channel_midstate(prefix);
        prop_assert_eq!(midstate.is_some(), (42 + tag + prefix_len) / 64 > (42 + tag) / 64);
        prop_assert_eq!(job.merkle_root_of(midstate.as_ref(), prefix, rolled), expected);
        prop_assert_eq!(job.merkle_root_of(None, prefix, rolled), expected);
    }
}
