use {
    super::*,
    crate::{
        channel::tests::{EXTRANONCE, MIN_NTIME, VERSION, job, tip, unique},
        job::tests::parts,
    },
};

const EASY: Target = Target::MAX;
const HARD: Target = Target::DIFFICULTY_1;

fn standard() -> ClientChannel {
    ClientChannel::new(Kind::Standard, &unique(0).standard(), EASY).unwrap()
}

fn extended() -> ClientChannel {
    let (prefix, rollable) = unique(1).extended(8).unwrap();
    ClientChannel::new(Kind::Extended { rollable }, &prefix, EASY).unwrap()
}

fn started() -> [ClientChannel; 2] {
    [standard(), extended()].map(|mut channel| {
        channel.extended_job(&job(1), None, 0).unwrap();
        channel.set_new_prev_hash(1, &tip(1), 0).unwrap();
        channel
    })
}

fn active(channel: &ClientChannel) -> Option<u32> {
    channel.active().map(Assignment::job_id)
}

// proves: SM-12 SM-13 SM-14 SM-15 MP-49 MP-80 MP-81 MP-82 MP-83 MP-98 MP-99
#[test]
fn jobs_are_mined_when_they_should_be() {
    for mut channel in [standard(), extended()] {
        assert_eq!(active(&channel), None);
        assert_eq!(channel.extended_job(&job(1), Some(MIN_NTIME), 0), Err(ClientError::NoTip(1)));
        channel.extended_job(&job(1), None, 0).unwrap();
        assert_eq!(active(&channel), None);
        channel.set_new_prev_hash(1, &tip(1), 0).unwrap();
        assert_eq!(active(&channel), Some(1));
        channel.extended_job(&job(2), Some(MIN_NTIME + 9), 0).unwrap();
        assert_eq!(active(&channel), Some(2));
        assert_eq!(channel.active().unwrap().tip().prev_hash(), tip(1).prev_hash());
        assert!(channel.job(1).is_some());
        channel.extended_job(&job(3), None, 0).unwrap();
        channel.extended_job(&job(4), None, 0).unwrap();
        channel.set_new_prev_hash(3, &tip(2), 0).unwrap();
        assert_eq!(active(&channel), Some(3));
        assert_eq!([1, 2, 4].map(|id| channel.job(id).is_some()), [false; 3]);
        assert_eq!(channel.active().unwrap().tip().prev_hash(), tip(2).prev_hash());
    }
}

// proves: SM-16 MP-101
#[test]
fn a_tip_for_an_unknown_job_stops_mining_until_the_next_pair() {
    for mut channel in started() {
        channel.extended_job(&job(2), None, 0).unwrap();
        assert_eq!(channel.set_new_prev_hash(9, &tip(2), 0), Err(ClientError::NotFuture(9)));
        assert_eq!(active(&channel), None);
        assert!(channel.job(1).is_none());
        // The old tip is not mined on, the new one not adopted silently.
        assert_eq!(channel.extended_job(&job(3), Some(MIN_NTIME), 0), Err(ClientError::NoTip(3)));
        channel.set_new_prev_hash(2, &tip(3), 0).unwrap();
        assert_eq!(active(&channel), Some(2));
    }
}

// proves: SM-17 MP-141 MP-142 MP-143 AM-19
#[test]
fn set_target_is_for_jobs_to_come_and_future_ones() {
    for mut channel in started() {
        channel.extended_job(&job(2), None, 0).unwrap();
        channel.set_target(HARD);
        assert_eq!(channel.active().unwrap().target(), EASY);
        channel.extended_job(&job(3), Some(MIN_NTIME), 0).unwrap();
        assert_eq!(channel.active().unwrap().target(), HARD);
        assert_eq!(channel.job(1).unwrap().target(), EASY);
        channel.set_new_prev_hash(2, &tip(2), 0).unwrap();
        assert_eq!(channel.active().unwrap().target(), HARD);
    }
}

// proves: SM-18 MP-70 AM-43
#[test]
fn a_new_prefix_is_for_jobs_to_come() {
    for mut channel in started() {
        channel.extended_job(&job(2), None, 0).unwrap();
        let old = channel.prefix().to_vec();
        let new = vec![7; old.len()];
        channel.set_prefix(&new).unwrap();
        let rolled: &[u8] = if channel.kind() == Kind::Standard { &[] } else { &EXTRANONCE };
        let root = |id, prefix: &[u8]| job(id).merkle_root(&[prefix, rolled].concat());
        assert_eq!(channel.job(1).unwrap().merkle_root(rolled), root(1, &old));
        channel.extended_job(&job(3), Some(MIN_NTIME), 0).unwrap();
        assert_eq!(channel.active().unwrap().merkle_root(rolled), root(3, &new));
        channel.set_new_prev_hash(2, &tip(2), 0).unwrap();
        assert_eq!(channel.active().unwrap().merkle_root(rolled), root(2, &old));
    }
}

// proves: MP-113 AM-16 MP-105 CW-39
#[test]
fn ntime_rolls_with_the_time_since_the_message() {
    for mut channel in started() {
        channel.set_target(HARD);
        let ntimes = |channel: &ClientChannel, id, now| channel.job(id).unwrap().ntimes(now);
        assert_eq!(ntimes(&channel, 1, 0), MIN_NTIME..=MIN_NTIME);
        assert_eq!(ntimes(&channel, 1, 999), MIN_NTIME..=MIN_NTIME);
        assert_eq!(ntimes(&channel, 1, 60_000), MIN_NTIME..=MIN_NTIME + 60);
        channel.extended_job(&job(2), Some(MIN_NTIME + 25), 30_000).unwrap();
        assert_eq!(ntimes(&channel, 2, 31_000), MIN_NTIME + 25..=MIN_NTIME + 26);
        assert_eq!(ntimes(&channel, 1, 31_000), MIN_NTIME..=MIN_NTIME + 31);
        assert_eq!(ntimes(&channel, 2, 0), MIN_NTIME + 25..=MIN_NTIME + 25);
        // A job that waited counts from its SetNewPrevHash.
        channel.extended_job(&job(3), None, 40_000).unwrap();
        channel.set_new_prev_hash(3, &tip(2), 50_000).unwrap();
        assert_eq!(ntimes(&channel, 3, 51_000), MIN_NTIME..=MIN_NTIME + 1);
        assert_eq!(ntimes(&channel, 3, u64::MAX), MIN_NTIME..=u32::MAX);
    }
}

// proves: MP-09 MP-91
#[test]
fn a_standard_channel_understands_jobs_of_its_group() {
    let mut channel = standard();
    channel.extended_job(&job(1), None, 0).unwrap();
    channel.set_new_prev_hash(1, &tip(1), 0).unwrap();
    let root = job(1).merkle_root(channel.prefix());
    let group_job = channel.active().unwrap().clone();
    channel.standard_job(2, VERSION, true, root, Some(MIN_NTIME), 0).unwrap();
    let own_job = channel.active().unwrap();
    assert_eq!(group_job.merkle_root(&[]), own_job.merkle_root(&[]));
    let header = |job: &Assignment| job.header(job.version(), &job.merkle_root(&[]), MIN_NTIME, 5);
    assert_eq!(header(&group_job), header(own_job));
    assert!(own_job.version_rolling_allowed());
    channel.standard_job(3, VERSION, false, root, Some(MIN_NTIME), 0).unwrap();
    assert!(!channel.active().unwrap().version_rolling_allowed());
}

#[test]
fn what_does_not_fit_is_refused() {
    let [mut standard, mut extended] = started();
    assert_eq!(extended.standard_job(2, VERSION, true, [0; 32], None, 0), Err(ClientError::StandardJob));
    let short = Arc::new(Job::new(parts(2, 20, 0, 20)).unwrap());
    for channel in [&mut standard, &mut extended] {
        assert_eq!(
            channel.extended_job(&short, None, 0),
            Err(ClientError::ExtranonceLength { have: 24, got: 20 })
        );
        assert_eq!(channel.extended_job(&job(1), None, 0), Err(ClientError::IdInUse(1)));
        assert!(channel.set_prefix(&[0; 33]).is_err());
    }
    assert!(extended.set_prefix(&[0; 25]).is_err());
    assert!(ClientChannel::new(Kind::Extended { rollable: 255 }, &[0; 24], EASY).is_err());
}

// proves: MP-107
#[test]
fn a_server_that_never_stops_sending_jobs_fills_nothing() {
    for mut channel in started() {
        for id in 2..2000u32 {
            let min_ntime = id.is_multiple_of(2).then_some(MIN_NTIME);
            channel.extended_job(&job(id), min_ntime, 0).unwrap();
        }
        assert!(channel.jobs.iter().count() <= 33);
        assert_eq!(active(&channel), Some(1998));
    }
}

#[test]
fn client_and_server_compute_the_same_header() {
    use crate::channel::tests::{NOW, REQUEST, policy, share};
    let (prefix, rollable) = unique(1).extended(8).unwrap();
    let mut server = crate::Channel::extended(1, (prefix, rollable), REQUEST, &tip(1), &policy(), 0).unwrap();
    let mut client = ClientChannel::new(server.kind(), server.prefix(), server.target()).unwrap();
    server.add_future(&job(1)).unwrap();
    client.extended_job(&job(1), None, 0).unwrap();
    server.activate(1, &tip(1)).unwrap();
    client.set_new_prev_hash(1, &tip(1), 0).unwrap();
    let assignment = client.active().unwrap();
    let root = assignment.merkle_root(&EXTRANONCE);
    let mut accepted = 0;
    for nonce in 0..300 {
        let header = assignment.header(VERSION, &root, MIN_NTIME, nonce);
        let good = assignment.target().is_met_by(&job::header_hash(&header));
        let share = crate::ExtendedShare { share: share(1, nonce), extranonce: &EXTRANONCE };
        let result = server.submit_extended(&share, NOW);
        assert_eq!(result.is_ok(), good);
        if let Ok(share) = result {
            assert_eq!(share.credit, assignment.credit());
            accepted += 1;
        }
    }
    assert!(accepted > 3);
}
