use {super::*, proptest::prelude::*, ruint::Uint};

/// Wider than any product in the tests below.
type Wide = Uint<1024, 16>;

fn target(bytes_be: &[u8]) -> Target {
    Target(U256::from_be_slice(bytes_be))
}

fn mainnet() -> Target {
    Target::from_compact(0x1702_1369).unwrap()
}

/// The formula itself, in an integer that holds everything.
fn reference_credit(share: Target, network: Target) -> u64 {
    let parts = |target: Target| Wide::from(target.0) + Wide::ONE;
    let credit: Wide = (parts(network) << 50) / parts(share);
    credit.min(Wide::from(Ehash::ONE_BLOCK.get())).to()
}

fn any_target() -> impl Strategy<Value = Target> {
    // Targets of every size, not only the huge ones that random bytes give.
    (any::<[u8; 32]>(), 0usize..256).prop_map(|(bytes, shift)| Target(U256::from_le_bytes(bytes) >> shift))
}

// proves: ENC-06 CW-19
#[test]
fn byte_31_is_the_most_significant() {
    let mut hash = [0; 32];
    hash[31] = 1;
    assert!(!Target::DIFFICULTY_1.is_met_by(&hash));
    let mut hash = [0; 32];
    hash[0] = 0xff;
    assert!(Target::DIFFICULTY_1.is_met_by(&hash));
    assert!(Target::DIFFICULTY_1.is_met_by(&Target::DIFFICULTY_1.to_le_bytes()));
    let mut above = Target::DIFFICULTY_1.to_le_bytes();
    above[0] = 1;
    assert!(!Target::DIFFICULTY_1.is_met_by(&above));
    let wire = Target::DIFFICULTY_1.to_le_bytes();
    assert_eq!((wire[31], wire[28], wire[27], wire[26], wire[25]), (0, 0, 0xff, 0xff, 0));
}

// proves: TV-13
#[test]
fn difficulty_one_on_the_wire() {
    let mut wire = [0; 32];
    wire[26] = 0xff;
    wire[27] = 0xff;
    assert_eq!(Target::DIFFICULTY_1.to_le_bytes(), wire);
    assert_eq!(Target::from_le_bytes(wire), Target::DIFFICULTY_1);
    assert_eq!(Target::from_compact(0x1d00_ffff), Ok(Target::DIFFICULTY_1));
}

#[test]
fn compact_targets_are_read_as_bitcoin_core_reads_them() {
    #[track_caller]
    fn case(nbits: u32, expected: Result<Target, CompactError>) {
        assert_eq!(Target::from_compact(nbits), expected);
        let core = bitcoin::Target::from_compact(bitcoin::CompactTarget::from_consensus(nbits));
        if let Ok(ours) = expected {
            assert_eq!(ours.to_le_bytes(), core.to_le_bytes());
        }
    }
    case(0x207f_ffff, Ok(Target(U256::from(0x7f_ffff) << 232)));
    case(0x1e03_77ae, Ok(Target(U256::from(0x03_77ae) << 216)));
    case(0x0112_3456, Ok(target(&[0x12])));
    case(0x0200_8000, Ok(target(&[0x80])));
    case(0x0500_9234, Ok(target(&[0x92, 0x34, 0, 0])));
    case(0x2200_00ff, Ok(Target(U256::from(0xff) << 248)));
    for nbits in [0, 0x0012_3456, 0x0100_3456, 0x0080_0000, 0x0180_0000, 0x0400_0000, 0xff00_0000] {
        case(nbits, Err(CompactError::Zero(nbits)));
    }
    for nbits in [0x0492_3456, 0x01fe_dcba, 0x1d80_ffff] {
        case(nbits, Err(CompactError::Negative(nbits)));
    }
    for nbits in [0xff12_3456, 0x2300_0001, 0x2200_0100, 0x2101_0000] {
        case(nbits, Err(CompactError::Overflow(nbits)));
    }
}

#[test]
fn a_share_on_the_ladder_earns_a_power_of_two() {
    for k in 0..=50 {
        let rung = Target::ladder(mainnet(), k);
        assert_eq!(Target::credit(rung, mainnet()), Ehash::new(Ehash::ONE_BLOCK.get() >> k));
        assert_eq!(Target::ladder_step(mainnet(), rung), k);
    }
}

// proves: MP-149
#[test]
fn harder_than_a_block_is_a_block() {
    assert_eq!(Target::credit(Target::ZERO, mainnet()), Ehash::ONE_BLOCK);
    assert_eq!(Target::ladder_step(mainnet(), Target::ZERO), 0);
    assert_eq!(Target::ladder(mainnet(), 0), mainnet());
}

#[test]
fn the_ladder_ends_where_targets_end() {
    let regtest = Target::from_compact(0x207f_ffff).unwrap();
    assert_eq!(Target::ladder_step(regtest, Target::MAX), 1);
    assert_eq!(Target::ladder(regtest, 2), Target::MAX);
    assert_eq!(Target::ladder(Target::MAX, 0), Target::MAX);
    assert_eq!(Target::ladder_step(Target::MAX, Target::MAX), 0);
    // 2^255 parts: the next rung is the whole space, exactly.
    let half = Target((U256::ONE << 255) - U256::ONE);
    assert_eq!(Target::ladder_step(half, Target::MAX), 1);
    assert_eq!(Target::credit(Target::MAX, half).get(), 1 << 49);
    assert_eq!(Target::ladder_step(Target::ZERO, Target::MAX), Target::LAST_RUNG);
}

// proves: AM-18 MP-132
#[test]
fn difficulties_keep_their_fractions() {
    assert_eq!(Target::DIFFICULTY_1.difficulty(), Difficulty::ONE);
    assert_eq!(Target::DIFFICULTY_1.difficulty().to_string(), "1.00");
    let eighth = Target(Target::DIFFICULTY_1.0 << 3);
    assert_eq!(eighth.difficulty(), Difficulty::from_parts(0, 1 << 61));
    assert_eq!(eighth.difficulty().to_string(), "0.125");
    assert!(Target::MAX.difficulty() > Difficulty::ZERO);
    assert_eq!(Target::ZERO.difficulty(), Difficulty(u128::MAX));
    assert_eq!(Target(Target::DIFFICULTY_1.0 / U256::from(83_124)).difficulty().whole(), 83_124);
    assert_eq!(Difficulty::ZERO.to_string(), "0.000");
}

// proves: MP-39 CW-37
#[test]
fn a_rate_gives_its_target() {
    assert_eq!(Target::for_hash_rate(HashRate::ZERO, 12), Target::MAX);
    assert_eq!(Target::for_hash_rate(HashRate::new(1), 0).expected_hashes(), 60);
    // 5 seconds of 1 TH/s a share.
    assert_eq!(
        Target::for_hash_rate(HashRate::new(1_000_000_000_000), 12).expected_hashes(),
        5_000_000_000_000
    );
    assert!(Target::for_hash_rate(HashRate::new(u64::MAX), 1) > Target::ZERO);
    assert_eq!(Target::MAX.expected_hashes(), 1);
    assert_eq!(Target::ZERO.expected_hashes(), u128::MAX);
}

#[test]
fn fee_weights() {
    let subsidy = 312_500_000;
    assert_eq!(FeeWeight::new(subsidy, 0, 0), FeeWeight::FULL);
    assert_eq!(FeeWeight::new(subsidy, 9, 5), FeeWeight::FULL);
    assert_eq!(FeeWeight::new(subsidy, 0, subsidy).get(), 1 << 15);
    assert_eq!(FeeWeight::new(0, u64::MAX, 0), FeeWeight::FULL);
    assert_eq!(FeeWeight::new(0, 0, 0).get(), 0);
    // A value of the reference model: (65011 << 50) >> (13 + 16).
    assert_eq!(Target::weighted_credit(FeeWeight(65_011), 13).get(), (65_011u64 << 21));
    assert_eq!(Target::weighted_credit(FeeWeight::FULL, 255), Ehash::ZERO);
}

proptest! {
  #[test]
  fn credit_is_the_formula(share in any_target(), network in any_target()) {
    prop_assert_eq!(Target::credit(share, network).get(), reference_credit(share, network));
  }

  #[test]
  fn credit_never_exceeds_a_block_and_falls_with_ease(a in any_target(), b in any_target(), network in any_target()) {
    prop_assert!(Target::credit(a, network) <= Ehash::ONE_BLOCK);
    prop_assert!(Target::credit(a.min(b), network) >= Target::credit(a.max(b), network));
  }

  /// A miner gains nothing by choosing another difficulty: 2^d shares, d rungs easier, earn the same.
  #[test]
  fn credit_is_additive_on_the_ladder(network in any_target(), k in 0u8..=50, d in 0u8..=10) {
    if k + d <= 50 && Target::is_rung(network, k + d) {
      let hard = Target::credit(Target::ladder(network, k), network).get();
      let easy = Target::credit(Target::ladder(network, k + d), network).get();
      prop_assert_eq!(easy << d, hard);
      prop_assert_eq!(easy, Ehash::ONE_BLOCK.get() >> (k + d));
      prop_assert_eq!(Target::weighted_credit(FeeWeight::FULL, k + d).get(), easy);
    }
  }

  /// Rounding never pays more than the work was worth: credit · (Ts + 1) ≤ 2^50 · (Tn + 1).
  #[test]
  fn credit_never_overpays(share in any_target(), network in any_target()) {
    let credit = Wide::from(Target::credit(share, network).get());
    if share > network {
      prop_assert!(credit * (Wide::from(share.0) + Wide::ONE) <= (Wide::from(network.0) + Wide::ONE) << 50);
    }
  }

  #[test]
  fn the_ladder_is_monotone(network in any_target(), k in 0u8..255) {
    let (lower, upper) = (Target::ladder(network, k), Target::ladder(network, k + 1));
    prop_assert!(lower <= upper);
    prop_assert!(lower < upper || upper == Target::MAX);
    prop_assert!(network <= lower);
  }

  #[test]
  fn the_step_is_the_largest_that_fits(network in any_target(), wanted in any_target()) {
    let step = Target::ladder_step(network, wanted);
    prop_assert!(step <= Target::LAST_RUNG && Target::is_rung(network, step));
    if wanted >= network {
      prop_assert!(Target::ladder(network, step) <= wanted);
    }
    if step < Target::LAST_RUNG && Target::is_rung(network, step + 1) {
      prop_assert!(Target::ladder(network, step + 1) > wanted);
    }
  }

  #[test]
  fn half_a_rung_is_half_a_rung(wanted in any_target()) {
    let twice = Wide::from(wanted.eased_by_half_a_rung().eased_by_half_a_rung().0) + Wide::ONE;
    let once = Wide::from(wanted.0) + Wide::ONE;
    if once.bit_len() > 32 && once.bit_len() < 255 {
      prop_assert!(twice <= once << 1 && twice * Wide::from(1000) >= once * Wide::from(1990));
    }
  }

  #[test]
  fn compact_agrees_with_rust_bitcoin(nbits: u32) {
    if let Ok(target) = Target::from_compact(nbits) {
      let core = bitcoin::Target::from_compact(bitcoin::CompactTarget::from_consensus(nbits));
      prop_assert_eq!(target.to_le_bytes(), core.to_le_bytes());
    }
  }

  #[test]
  fn difficulty_is_the_formula(target in any_target()) {
    if !target.0.is_zero() {
      let fixed: Wide = (Wide::from(Target::DIFFICULTY_1.0) << 64) / Wide::from(target.0);
      let expected = fixed.min(Wide::from(u128::MAX)).to::<u128>();
      prop_assert_eq!(target.difficulty(), Difficulty(expected));
    }
  }

  #[test]
  fn bytes_round_trip(bytes: [u8; 32]) {
    prop_assert_eq!(Target::from_le_bytes(bytes).to_le_bytes(), bytes);
  }
}
