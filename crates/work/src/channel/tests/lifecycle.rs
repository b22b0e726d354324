use super::*;

fn both() -> [Channel; 2] {
    [standard(), extended()]
}

fn network() -> Target {
    tip(1).network_target()
}

fn open(request: Request, policy: Policy) -> Result<Channel, RequestError> {
    Channel::standard(1, unique(0).standard(), request, &tip(1), &Arc::new(policy), 0)
}

// proves: MP-40 MP-145 EC-06 CW-38
#[test]
fn the_first_target_honours_the_client() {
    let open = |max_target| open(Request { max_target, ..REQUEST }, Policy::default());
    for k in 0..8 {
        let max_target = Target::ladder(network(), k);
        assert_eq!(open(max_target).unwrap().target(), max_target.min(Target::ladder(network(), 4)));
    }
    let mut bytes = Target::ladder(network(), 3).to_le_bytes();
    bytes[0] -= 1;
    assert_eq!(open(Target::from_le_bytes(bytes)).unwrap().target(), Target::ladder(network(), 2));
    let error = open(Target::ZERO).unwrap_err();
    assert_eq!((error, error.code()), (RequestError::MaxTargetOutOfRange, "max-target-out-of-range"));
}

// proves: MP-39 MP-148 PO-07 CW-37
#[test]
fn an_unknown_rate_gets_the_easiest_sensible_target() {
    let unknown = Request { rate: HashRate::ZERO, ..REQUEST };
    assert_eq!(open(unknown, Policy::default()).unwrap().target(), Target::ladder(network(), 8));
    let easiest_target = Target::ladder(network(), 3);
    let policy = Policy { easiest_target, ..Policy::default() };
    assert_eq!(open(unknown, policy).unwrap().target(), easiest_target);
    let hardest = Request { rate: HashRate::new(u64::MAX), ..REQUEST };
    assert_eq!(open(hardest, Policy::default()).unwrap().target(), network());
}

// proves: MP-43 LIM-06
#[test]
fn a_full_extranonce_fits_the_protocol() {
    let prefix = Extranonce::new(&[1; 24]).unwrap();
    let error = Channel::extended(1, (prefix, 9), REQUEST, &tip(1), &policy(), 0).unwrap_err();
    assert_eq!(error, RequestError::ExtranonceTooLong(33));
    assert_eq!(error.code(), "min-extranonce-size-too-large");
}

// proves: SM-12 SM-14
#[test]
fn the_first_job_must_be_a_future_one() {
    for mut channel in [standard_with(Policy::default()), extended_with(Policy::default())] {
        assert_eq!(channel.active_job(), None);
        assert_eq!(channel.add_active(&job(1), MIN_NTIME), Err(StoreError::NoTip));
        assert_eq!(channel.activate(1, &tip(1)), Err(StoreError::NotFuture(1)));
        channel.add_future(&job(1)).unwrap();
        assert_eq!(channel.active_job(), None);
        channel.activate(1, &tip(1)).unwrap();
        assert_eq!(channel.active_job(), Some(1));
        channel.add_active(&job(2), MIN_NTIME).unwrap();
        assert_eq!(channel.active_job(), Some(2));
    }
}

// proves: SM-15 SM-16 MP-99 MP-100 MP-106 MP-108 CW-04
#[test]
fn set_new_prev_hash_names_a_future_job_and_kills_the_others() {
    for mut channel in both() {
        for id in 2..5 {
            channel.add_future(&job(id)).unwrap();
        }
        for id in [0, 1, 9] {
            assert_eq!(channel.activate(id, &tip(2)), Err(StoreError::NotFuture(id)));
            assert_eq!((channel.active_job(), channel.tip.prev_hash()), (Some(1), tip(1).prev_hash()));
        }
        channel.activate(3, &tip(2)).unwrap();
        assert_eq!((channel.active_job(), channel.tip.prev_hash()), (Some(3), tip(2).prev_hash()));
        for id in [1, 2, 4] {
            assert_eq!(submit(&mut channel, share(id, 0)).unwrap_err(), Rejection::Stale(id));
            assert_eq!(channel.activate(id, &tip(3)), Err(StoreError::NotFuture(id)));
        }
        // A reorganisation may lead back to where the chain was.
        channel.add_future(&job(5)).unwrap();
        channel.activate(5, &tip(1)).unwrap();
        let good = find_share(&channel, 5, &tip(1), 0);
        submit(&mut channel, good).unwrap();
    }
}

// proves: MP-84 MP-85 MP-86 MP-88
#[test]
fn a_valid_id_is_not_given_twice() {
    for mut channel in both() {
        channel.add_future(&job(2)).unwrap();
        assert_eq!(channel.add_active(&job(1), MIN_NTIME), Err(StoreError::IdInUse(1)));
        assert_eq!(channel.add_future(&job(2)), Err(StoreError::IdInUse(2)));
        assert_eq!(channel.active_job(), Some(1));
        channel.activate(2, &tip(2)).unwrap();
        // Recycled with other contents: what was computed for the old one is not used.
        let recycled = job_with(1, |parts| parts.coinbase_suffix[6] ^= 1);
        channel.add_active(&recycled, MIN_NTIME).unwrap();
        let target = channel.target();
        let good = find(&channel, &recycled, &tip(2), 0, |hash| target.is_met_by(hash));
        submit(&mut channel, good).unwrap();
    }
}

// proves: MP-109
#[test]
fn the_same_prev_hash_with_other_bounds_is_a_new_tip() {
    for mut channel in both() {
        let later = Arc::new(Tip::new([1; 32], NBITS, MIN_NTIME + 40).unwrap());
        channel.add_future(&job(2)).unwrap();
        channel.activate(2, &later).unwrap();
        assert_eq!(submit(&mut channel, share(1, 0)).unwrap_err(), Rejection::Stale(1));
        let early = Rejection::TooEarly { ntime: MIN_NTIME, min: MIN_NTIME + 40 };
        assert_eq!(submit(&mut channel, share(2, 0)).unwrap_err(), early);
    }
}

// proves: SM-17 MP-128 MP-141 MP-142 MP-143 AM-19 CW-05 CW-06
#[test]
fn set_target_is_for_jobs_to_come_and_future_ones() {
    for mut channel in both() {
        let easy = channel.target();
        channel.add_future(&job(2)).unwrap();
        let faster = Request { rate: HashRate::new(48), ..REQUEST };
        let hard = channel.update(faster, 0).unwrap().unwrap();
        assert!(hard < easy && hard == channel.target());
        let between = |hash: &[u8; 32]| easy.is_met_by(hash) && !hard.is_met_by(hash);
        // The job that was active keeps the target that it had, also when it is superseded.
        let good = find(&channel, &job(1), &tip(1), 0, between);
        assert_eq!(submit(&mut channel, good).unwrap().difficulty, easy.difficulty());
        channel.add_active(&job(3), MIN_NTIME).unwrap();
        let good = find(&channel, &job(1), &tip(1), good.nonce + 1, between);
        assert_eq!(submit(&mut channel, good).unwrap().difficulty, easy.difficulty());
        // A job that came later has the new one.
        let low = find(&channel, &job(3), &tip(1), good.nonce + 1, between);
        assert_eq!(submit(&mut channel, low).unwrap_err(), Rejection::AboveTarget);
        // So has one that was waiting when the target changed.
        channel.activate(2, &tip(2)).unwrap();
        let low = find(&channel, &job(2), &tip(2), 0, between);
        assert_eq!(submit(&mut channel, low).unwrap_err(), Rejection::AboveTarget);
        let good = find(&channel, &job(2), &tip(2), 0, |hash| hard.is_met_by(hash));
        assert_eq!(submit(&mut channel, good).unwrap().difficulty, hard.difficulty());
    }
}

// proves: SM-18 MP-70 MP-71 AM-43 CW-07
#[test]
fn a_new_prefix_is_for_jobs_to_come() {
    /// Whether a share of the job counts that was found with this prefix.
    fn counts(channel: &mut Channel, id: u32, prefix: Extranonce, tip: &Tip) -> bool {
        // `find` computes with the prefix in force: lend it the one that is expected.
        let in_force = channel.prefix;
        let at = channel.prefixes.iter().position(|known| *known == prefix).unwrap();
        channel.prefix = u8::try_from(at).unwrap();
        let hardest = Target::ladder(tip.network_target(), 2);
        let good = find(channel, &job(id), tip, 10_000 * id, |hash| hardest.is_met_by(hash));
        channel.prefix = in_force;
        submit(channel, good).is_ok()
    }
    for (mut channel, new) in
        [(standard(), unique(9).standard()), (extended(), unique(9).extended(8).unwrap().0)]
    {
        channel.add_future(&job(2)).unwrap();
        let old = Extranonce::new(channel.prefix()).unwrap();
        channel.set_prefix(new).unwrap();
        assert_eq!(channel.prefix(), &new[..]);
        assert!(counts(&mut channel, 1, old, &tip(1)));
        channel.add_active(&job(3), MIN_NTIME).unwrap();
        assert!(counts(&mut channel, 3, new, &tip(1)));
        // The future job was sent before, so it keeps the old prefix although it is activated later.
        channel.activate(2, &tip(2)).unwrap();
        assert!(counts(&mut channel, 2, old, &tip(2)));
        if channel.kind() != Kind::Standard {
            channel.add_custom(&job(4), &tip(2)).unwrap();
            assert!(counts(&mut channel, 4, new, &tip(2)));
        }
    }
}

// proves: MP-21 MP-73
#[test]
fn a_new_prefix_keeps_the_length() {
    for mut channel in both() {
        let shorter = Extranonce::new(&channel.prefix()[1..]).unwrap();
        let error = StoreError::ExtranonceLength { have: FULL_LEN, got: FULL_LEN - 1 };
        assert_eq!(channel.set_prefix(shorter), Err(error));
        let other = Arc::new(Job::new(parts(2, 20, 0, 20)).unwrap());
        let error = StoreError::ExtranonceLength { have: FULL_LEN, got: 20 };
        assert_eq!(channel.add_future(&other), Err(error));
        // However often it changes, no more are kept than there are jobs.
        for n in 0..100 {
            let prefix = Extranonce::new(&vec![n; channel.prefix().len()]).unwrap();
            channel.set_prefix(prefix).unwrap();
        }
        assert!(channel.prefixes.len() <= 2);
    }
}

// proves: MP-28
#[test]
fn with_a_fixed_version_no_job_may_allow_rolling() {
    let policy = Policy { fixed_version: true, ..Policy::default() };
    for mut channel in [standard_with(policy.clone()), extended_with(policy)] {
        assert_eq!(channel.add_future(&job(1)), Err(StoreError::VersionRolling));
    }
}

// proves: SM-20 MP-162 MP-170 MP-171 MP-172 AM-21
#[test]
fn custom_jobs_are_born_active_on_their_own_tip() {
    assert_eq!(standard().add_custom(&job(2), &tip(1)), Err(StoreError::StandardChannel));
    let mut channel = extended_with(Policy::default());
    assert_eq!(channel.add_custom(&job(1), &tip(1)), Ok(None));
    assert_eq!(channel.active_job(), Some(1));
    assert_eq!(channel.add_custom(&job(1), &tip(1)), Err(StoreError::IdInUse(1)));
    channel.add_custom(&job(2), &tip(1)).unwrap();
    for id in [1, 2] {
        let good = find_share(&channel, id, &tip(1), 1000 * id);
        submit(&mut channel, good).unwrap();
    }
    channel.add_custom(&job(3), &tip(2)).unwrap();
    for id in [1, 2] {
        assert_eq!(submit(&mut channel, share(id, 0)).unwrap_err(), Rejection::Stale(id));
    }
    let good = find_share(&channel, 3, &tip(2), 0);
    let accepted = submit(&mut channel, good).unwrap();
    assert_eq!(accepted.difficulty, channel.target().difficulty());
}

// proves: MP-55 MP-56 MP-145
#[test]
fn update_channel_is_complied_with() {
    for mut channel in both() {
        let target = channel.target();
        let update = |channel: &mut Channel, max_target| channel.update(Request { max_target, ..REQUEST }, 0);
        let harder = Target::ladder(network(), 2);
        assert_eq!(update(&mut channel, harder), Ok(Some(harder)));
        assert_eq!(channel.target(), harder);
        // A wish for easier shares is vardiff's to fulfil.
        assert_eq!(update(&mut channel, Target::MAX), Ok(None));
        // Nor does repeating the same nominal rate change anything.
        assert_eq!(update(&mut channel, Target::MAX), Ok(None));
        assert!(channel.target() < target);
    }
}

// proves: MP-57 EC-16
#[test]
fn an_impossible_update_changes_nothing() {
    for mut channel in both() {
        let before = (channel.target(), channel.max_target, channel.nominal);
        let impossible = Request { rate: HashRate::new(1), max_target: Target::ZERO };
        let error = channel.update(impossible, 0).unwrap_err();
        assert_eq!(error.code(), "max-target-out-of-range");
        assert_eq!((channel.target(), channel.max_target, channel.nominal), before);
        let good = find_share(&channel, 1, &tip(1), 0);
        submit(&mut channel, good).unwrap();
    }
}

// proves: MP-39 PO-07
#[test]
fn a_new_nominal_rate_moves_the_target_by_as_much() {
    let mut channel = standard();
    let mut update = |rate| channel.update(Request { rate: HashRate::new(rate), ..REQUEST }, 0);
    assert_eq!(update(12), Ok(Some(Target::ladder(network(), 2))));
    assert_eq!(update(3), Ok(Some(Target::ladder(network(), 4))));
    assert_eq!(update(0), Ok(Some(Target::ladder(network(), 8))));
    assert_eq!(update(3), Ok(Some(Target::ladder(network(), 4))));
    assert_eq!(update(u64::MAX), Ok(Some(network())));
}

// proves: MP-149
#[test]
fn another_network_target_moves_the_ladder() {
    for mut channel in both() {
        // The network became 4 times harder: the absolute target stays about where it was.
        let before = channel.target();
        let harder = Arc::new(Tip::new([2; 32], 0x1f40_0000, MIN_NTIME).unwrap());
        channel.add_future(&job(2)).unwrap();
        let moved = channel.activate(2, &harder).unwrap().unwrap();
        assert_eq!(moved, Target::ladder(harder.network_target(), 6));
        assert_eq!(moved, channel.target());
        assert!(moved.expected_hashes().abs_diff(before.expected_hashes()) <= 1);
        // It became easier than the channel's target: every block is a share all the same.
        let trivial = Arc::new(Tip::new([3; 32], 0x207f_ffff, MIN_NTIME).unwrap());
        channel.add_future(&job(3)).unwrap();
        assert_eq!(channel.activate(3, &trivial), Ok(Some(trivial.network_target())));
        let network = trivial.network_target();
        let block = find(&channel, &job(3), &trivial, 0, |hash| network.is_met_by(hash));
        assert!(submit(&mut channel, block).unwrap().block.is_some());
    }
}

// proves: MP-145 MP-149
#[test]
fn the_clients_limit_outlives_an_easier_network() {
    let max_target = network();
    let mut channel = open(Request { max_target, ..REQUEST }, Policy::default()).unwrap();
    channel.add_future(&job(1)).unwrap();
    let trivial = Arc::new(Tip::new([3; 32], 0x207f_ffff, MIN_NTIME).unwrap());
    // It is not told more than it allows, yet what it sends is a block by the network's target.
    assert_eq!(channel.activate(1, &trivial), Ok(None));
    assert_eq!(channel.target(), max_target);
    let network = trivial.network_target();
    let easy_block = |hash: &[u8; 32]| network.is_met_by(hash) && !max_target.is_met_by(hash);
    let block = find(&channel, &job(1), &trivial, 0, easy_block);
    assert!(submit(&mut channel, block).unwrap().block.is_some());
}

// proves: PO-07
#[test]
fn vardiff_answers_a_flood_and_silence() {
    for mut channel in both() {
        let before = channel.target();
        let mut nonce = 0;
        // 200 shares a second where 12 a minute are wished for.
        let answered = (0..200).map(|n| n * 5).any(|millis| {
            let share = find_share(&channel, 1, &tip(1), nonce);
            nonce = share.nonce + 1;
            let now = Now { millis, ..NOW };
            match channel.kind() {
                Kind::Standard => channel.submit_standard(&share, now),
                Kind::Extended { .. } => {
                    channel.submit_extended(&ExtendedShare { share, extranonce: &EXTRANONCE }, now)
                }
            }
            .unwrap();
            channel.adjust(millis).is_some()
        });
        assert!(answered && channel.target() < before);
        for second in 2..600 {
            channel.adjust(second * 1000);
        }
        assert_eq!(channel.target(), Target::ladder(network(), 8));
    }
}

#[test]
fn the_root_is_the_same_whether_it_was_kept_or_not() {
    let mut channel = standard();
    channel.add_active(&job(2), MIN_NTIME).unwrap();
    channel.add_future(&job(3)).unwrap();
    for id in 1..4 {
        assert_eq!(channel.merkle_root(id), Some(job(id).merkle_root(channel.prefix())));
    }
    assert_eq!(channel.merkle_root(4), None);
    assert_eq!(extended().merkle_root(1), None);
    // The newest job's is kept, and that of the last other job that a share came for.
    let kept = |channel: &Channel| [1, 2, 3].map(|id| channel.known_root(id).is_some());
    assert_eq!(kept(&channel), [false, false, true]);
    for (id, now_kept) in [(2, [false, true, true]), (1, [true, false, true])] {
        let good = find_share(&channel, id, &tip(1), id * 1000);
        submit(&mut channel, good).unwrap();
        assert_eq!(kept(&channel), now_kept);
        assert_eq!(channel.merkle_root(id), Some(job(id).merkle_root(channel.prefix())));
    }
    channel.activate(3, &tip(2)).unwrap();
    assert_eq!(kept(&channel), [false, false, true]);
}
