use {super::*, crate::target::Difficulty, crate::units::Ehash};

fn both() -> [Channel; 2] {
    [standard(), extended()]
}

// proves: MP-123 MP-128 MP-131 MP-140 PO-11 EC-20
#[test]
fn a_share_meets_its_target_and_earns_what_the_target_says() {
    for mut channel in both() {
        assert_eq!(channel.target(), Target::ladder(tip(1).network_target(), 4));
        let mut accepted = 0;
        for nonce in 0..2000 {
            let share = share(1, nonce);
            let (_, hash) = header_of(&channel, &job(1), &tip(1), &share);
            match submit(&mut channel, share) {
                Ok(Accepted { credit, difficulty, block }) => {
                    assert!(channel.target().is_met_by(&hash));
                    assert_eq!(credit, Ehash::new(Ehash::ONE_BLOCK.get() >> 4));
                    assert_eq!(difficulty, channel.target().difficulty());
                    assert_eq!(block.is_some(), tip(1).network_target().is_met_by(&hash));
                    accepted += 1;
                }
                Err(rejection) => {
                    assert_eq!(rejection, Rejection::AboveTarget);
                    assert_eq!(rejection.code(), "difficulty-too-low");
                    assert!(!channel.target().is_met_by(&hash));
                }
            }
        }
        assert!((80..180).contains(&accepted), "{accepted}");
    }
}

// proves: MP-123 MP-149
#[test]
fn a_block_comes_with_all_that_it_takes_to_submit_it() {
    for mut channel in both() {
        let network = tip(1).network_target();
        let share = find(&channel, &job(1), &tip(1), 0, |hash| network.is_met_by(hash));
        let (header, hash) = header_of(&channel, &job(1), &tip(1), &share);
        let block = submit(&mut channel, share).unwrap().block.unwrap();
        assert_eq!((block.header, block.hash), (header, hash));
        assert_eq!((block.job.id(), block.tip.prev_hash()), (1, tip(1).prev_hash()));
        assert_eq!(block.full_extranonce.len(), FULL_LEN);
        assert!(block.full_extranonce.starts_with(channel.prefix()));
        assert_eq!(block.job.merkle_root(&block.full_extranonce), block.header[36..68]);
        // The second time it is no block, but a duplicate.
        assert_eq!(submit(&mut channel, share).unwrap_err(), Rejection::Duplicate);
    }
}

// proves: MP-122 EC-18
#[test]
fn the_kinds_do_not_mix() {
    let [mut standard, mut extended] = both();
    let extended_share = ExtendedShare { share: share(1, 0), extranonce: &EXTRANONCE };
    assert_eq!(standard.submit_extended(&extended_share, NOW).unwrap_err(), Rejection::WrongKind);
    assert_eq!(extended.submit_standard(&share(1, 0), NOW).unwrap_err(), Rejection::WrongKind);
    assert_eq!(Rejection::WrongKind.code(), "invalid-channel-id");
}

// proves: MP-121 EC-23 CW-30
#[test]
fn the_extranonce_has_exactly_the_granted_length() {
    let mut channel = extended();
    for len in (0..40).filter(|&len| len != 8) {
        let extranonce = vec![1; len];
        let share = ExtendedShare { share: share(1, 0), extranonce: &extranonce };
        let rejection = channel.submit_extended(&share, NOW).unwrap_err();
        assert_eq!(rejection, Rejection::ExtranonceSize { granted: 8, got: len });
        assert_eq!(rejection.code(), "bad-extranonce-size");
    }
}

// proves: MP-04 MP-119 LIM-15 EC-25 CW-01
#[test]
fn only_the_bits_of_bip323_may_be_rolled() {
    for mut channel in both() {
        for bit in 0..32 {
            let rolled = StandardShare { version: VERSION ^ (1 << bit), ..share(1, 0) };
            let allowed = (5..=28).contains(&bit);
            match submit(&mut channel, rolled) {
                Err(rejection @ Rejection::VersionBits(version)) => {
                    assert!(!allowed && version == rolled.version);
                    assert_eq!(rejection.code(), "invalid-non-rollable-version-bit");
                }
                Ok(_) | Err(Rejection::AboveTarget) => assert!(allowed),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

// proves: MP-29 MP-91 MP-119 AM-15 EC-24
#[test]
fn a_fixed_version_is_fixed() {
    let policy = Policy { fixed_version: true, ..Policy::default() };
    for mut channel in [started(standard_with(policy.clone())), started(extended_with(policy))] {
        let rolled = StandardShare { version: VERSION ^ (1 << 13), ..share(1, 0) };
        let rejection = submit(&mut channel, rolled).unwrap_err();
        assert_eq!(rejection, Rejection::VersionRolled(rolled.version));
        assert_eq!(rejection.code(), "version-rolling-not-allowed");
    }
    // A single extended job can say the same; a standard job cannot say anything.
    for mut channel in both() {
        channel.add_active(&job_with(2, |parts| parts.version_rolling_allowed = false), MIN_NTIME).unwrap();
        let rolled = StandardShare { version: VERSION ^ (1 << 13), ..share(2, 0) };
        let refused = matches!(submit(&mut channel, rolled), Err(Rejection::VersionRolled(_)));
        assert_eq!(refused, channel.kind() != Kind::Standard);
    }
}

// proves: MP-105 MP-114 MP-115 AM-16 LIM-19 EC-26
#[test]
fn ntime_is_bounded_by_the_job_and_the_clock() {
    #[track_caller]
    fn case(channel: &mut Channel, job_id: u32, ntime: u32, expected: Option<Rejection>) {
        match submit(channel, StandardShare { ntime, ..share(job_id, 0) }) {
            Ok(_) | Err(Rejection::AboveTarget) => assert_eq!(expected, None),
            Err(rejection) => {
                assert_eq!(Some(rejection), expected);
                assert_eq!(rejection.code(), "invalid-share");
            }
        }
    }
    let early = |ntime, min| Some(Rejection::TooEarly { ntime, min });
    let late = |ntime, max| Some(Rejection::TooLate { ntime, max });
    let latest = NOW.unix + 7200;
    for mut channel in both() {
        channel.add_active(&job(2), MIN_NTIME + 30).unwrap();
        case(&mut channel, 1, MIN_NTIME, None);
        case(&mut channel, 1, MIN_NTIME - 1, early(MIN_NTIME - 1, MIN_NTIME));
        // A later job has its own least time; the earlier keeps its own.
        case(&mut channel, 2, MIN_NTIME + 29, early(MIN_NTIME + 29, MIN_NTIME + 30));
        case(&mut channel, 2, MIN_NTIME + 30, None);
        case(&mut channel, 1, latest, None);
        case(&mut channel, 1, latest + 1, late(latest + 1, latest));
        case(&mut channel, 1, u32::MAX, late(u32::MAX, latest));
    }
}

#[test]
fn a_wrong_clock_refuses_nothing_that_the_node_would_take() {
    let mut channel = standard();
    let share = StandardShare { ntime: MIN_NTIME + 7200, ..share(1, 0) };
    for unix in [0, u32::MAX] {
        let result = channel.submit_standard(&share, Now { unix, millis: 0 });
        assert!(!matches!(result, Err(Rejection::TooLate { .. } | Rejection::TooEarly { .. })));
    }
}

// proves: MP-124 SM-23 EC-22 CW-31
#[test]
fn the_same_header_counts_once_whatever_the_job_id() {
    for mut channel in both() {
        let good = find_share(&channel, 1, &tip(1), 0);
        submit(&mut channel, good).unwrap();
        let again = |job_id| StandardShare { sequence_number: 77, job_id, ..good };
        assert_eq!(submit(&mut channel, again(1)).unwrap_err(), Rejection::Duplicate);
        // The same work as another job, as an active one …
        channel.add_active(&job(2), MIN_NTIME).unwrap();
        assert_eq!(submit(&mut channel, again(2)).unwrap_err(), Rejection::Duplicate);
        // … and as one that another SetNewPrevHash activates on the same prev_hash.
        channel.add_future(&job(3)).unwrap();
        channel.activate(3, &tip(1)).unwrap();
        assert_eq!(submit(&mut channel, again(3)).unwrap_err(), Rejection::Duplicate);
        // Another tip makes other headers.
        channel.add_future(&job(4)).unwrap();
        channel.activate(4, &tip(2)).unwrap();
        assert_eq!(channel.seen.heap_bytes(), 0);
        let other = find_share(&channel, 4, &tip(2), 0);
        submit(&mut channel, other).unwrap();
    }
}

// proves: MP-107 MP-123
#[test]
fn a_full_filter_closes_the_channel_but_loses_no_block() {
    let policy = Policy { shares_per_tip: 3, ..Policy::default() };
    for mut channel in [started(standard_with(policy.clone())), started(extended_with(policy))] {
        let mut nonce = 0;
        let mut next = |channel: &Channel| {
            let share = find_share(channel, 1, &tip(1), nonce);
            nonce = share.nonce + 1;
            share
        };
        let shares: Vec<_> = (0..4).map(|_| next(&channel)).collect();
        for share in &shares[..3] {
            submit(&mut channel, *share).unwrap();
        }
        let rejection = submit(&mut channel, shares[3]).unwrap_err();
        assert_eq!((rejection, rejection.code()), (Rejection::ShareBudget, "invalid-share"));
        assert!(rejection.closes_channel() && !Rejection::Duplicate.closes_channel());
        assert_eq!(submit(&mut channel, shares[0]).unwrap_err(), Rejection::Duplicate);
        let network = tip(1).network_target();
        let block = find(&channel, &job(1), &tip(1), 0, |hash| network.is_met_by(hash));
        assert!(submit(&mut channel, block).unwrap().block.is_some());
        assert_eq!(submit(&mut channel, block).unwrap_err(), Rejection::Duplicate);
    }
}

// proves: MP-129 MP-130 MP-131 MP-134
#[test]
fn acknowledgements_cover_what_was_accepted_and_nothing_else() {
    for mut channel in both() {
        assert_eq!(channel.take_ack(), None);
        let mut last = 0;
        let mut sum = Difficulty::ZERO;
        for _ in 0..5 {
            let good = find_share(&channel, 1, &tip(1), last + 1);
            last = good.nonce;
            sum = sum + submit(&mut channel, good).unwrap().difficulty;
            // A rejected share does not touch the batch.
            assert!(submit(&mut channel, StandardShare { job_id: 9, ..share(1, u32::MAX) }).is_err());
        }
        let ack = channel.take_ack().unwrap();
        assert_eq!((ack.last_sequence_number, ack.new_submits_accepted_count), (last, 5));
        assert_eq!(ack.new_shares_sum, sum.whole());
        assert_eq!(channel.take_ack(), None);
    }
}

// proves: MP-125 MP-126 MP-127 SM-22 EC-19 EC-21
#[test]
fn what_a_job_id_stands_for() {
    #[track_caller]
    fn case(channel: &mut Channel, id: u32, expected: Rejection, code: &str) {
        let rejection = submit(channel, share(id, 0)).unwrap_err();
        assert_eq!((rejection, rejection.code()), (expected, code));
    }
    for mut channel in both() {
        channel.add_active(&job(2), MIN_NTIME).unwrap();
        channel.add_future(&job(3)).unwrap();
        // Superseded on the same tip: fine.
        let past = find_share(&channel, 1, &tip(1), 0);
        submit(&mut channel, past).unwrap();
        let active = find_share(&channel, 2, &tip(1), past.nonce + 1);
        submit(&mut channel, active).unwrap();
        case(&mut channel, 3, Rejection::FutureJob(3), "invalid-job-id");
        case(&mut channel, 4, Rejection::UnknownJob(4), "invalid-job-id");
        channel.activate(3, &tip(2)).unwrap();
        case(&mut channel, 1, Rejection::Stale(1), "stale-share");
        case(&mut channel, 2, Rejection::Stale(2), "stale-share");
        let active = find_share(&channel, 3, &tip(2), 0);
        submit(&mut channel, active).unwrap();
    }
}

/// A superseded job's root is kept, but never another job's that had the same id.
// proves: MP-88 MP-125
#[test]
fn shares_on_any_valid_job_have_that_jobs_root() {
    let mut channel = standard_with(Policy { past_jobs: 2, ..Policy::default() });
    let levels = |id, levels: u8| {
        job_with(id, |parts| parts.merkle_path = (0..levels).map(|level| [level; 32]).collect())
    };
    channel.add_future(&levels(1, 1)).unwrap();
    channel.activate(1, &tip(1)).unwrap();
    let target = channel.target();
    let mut nonce = 0;
    let mut accepted = |channel: &mut Channel, job: &Job| {
        let good = find(channel, job, &tip(1), nonce, |hash| target.is_met_by(hash));
        nonce = good.nonce + 1;
        submit(channel, good).unwrap();
        assert_eq!(channel.merkle_root(job.id()), Some(job.merkle_root(channel.prefix())));
    };
    accepted(&mut channel, &levels(1, 1));
    for id in 2..=3 {
        channel.add_active(&levels(id, 2), MIN_NTIME).unwrap();
        for _ in 0..2 {
            accepted(&mut channel, &levels(1, 1));
            accepted(&mut channel, &levels(id, 2));
        }
    }
    // Two more, and job 1 is forgotten; then its id comes back, and is superseded again.
    channel.add_active(&levels(4, 2), MIN_NTIME).unwrap();
    channel.add_active(&levels(1, 5), MIN_NTIME).unwrap();
    channel.add_active(&levels(5, 2), MIN_NTIME).unwrap();
    accepted(&mut channel, &levels(1, 5));
    accepted(&mut channel, &levels(5, 2));
}
