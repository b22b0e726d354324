//! Opening channels: what is granted, what is refused, and the first work.

use std::collections::HashSet;

use sv2::mining::{
    NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
    OpenStandardMiningChannelSuccess, SetNewPrevHash,
};
use work::{HashRate, Target};

use crate::support::{Miner, Open, Raw, Rig, Want, eventually, key, until_work_on};

// proves: MP-45 MP-46 MP-47 MP-48 MP-103 MP-06 MP-17 MP-18 PO-01 SM-12 CW-03 FL-01
#[test]
fn a_channel_starts_with_success_a_future_job_and_its_activation() {
    let rig = Rig::start();
    for (mut miner, open) in [
        (rig.miner(), Open::standard(&key())),
        (rig.miner(), Open::extended(&key())),
        (rig.simple_miner(), Open::standard(&key())),
    ] {
        miner.open(&open);
        let [opened, job, activation] = &miner.log[..] else { panic!("{:?}", miner.log) };
        let (channel, group, job_id) = if open.extended.is_some() {
            let opened: OpenExtendedMiningChannelSuccess<'_> = opened.get().unwrap();
            let job: NewExtendedMiningJob<'_> = job.get().unwrap();
            assert_eq!((job.channel_id, job.min_ntime), (opened.channel_id, None));
            (opened.channel_id, opened.group_channel_id, job.job_id)
        } else {
            let opened: OpenStandardMiningChannelSuccess<'_> = opened.get().unwrap();
            let job: NewMiningJob = job.get().unwrap();
            assert_eq!((job.channel_id, job.min_ntime), (opened.channel_id, None));
            (opened.channel_id, opened.group_channel_id, job.job_id)
        };
        let activation: SetNewPrevHash = activation.get().unwrap();
        assert_eq!((activation.channel_id, activation.job_id), (channel, job_id));
        assert_ne!(channel, group);
        miner.earn(channel);
    }
}

// proves: MP-13 MP-14 MP-21 MP-22 MP-23 MP-24 MP-37 CH-12
#[test]
fn many_channels_of_both_kinds_share_a_connection() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    // All requests leave before a reply is read; the miner pairs them by request_id and checks ids, prefixes and
    // lengths.
    for n in 0..40 {
        let extended = (n % 3 != 0).then_some(n % 17);
        miner.ask(&Open { extended, ..Open::standard(&key()) });
    }
    while miner.channels.len() < 40 {
        miner.receive();
    }
    miner.barrier();
    let groups: HashSet<u32> = miner.channels.values().map(|channel| channel.group).collect();
    assert_eq!(groups.len(), 1, "channels of one length need one group");
    let ids: Vec<u32> = miner.channels.keys().copied().collect();
    for id in ids.into_iter().step_by(7) {
        miner.earn(id);
    }
}

// proves: MP-15 AM-45 MP-16
#[test]
fn ids_of_ended_channels_do_not_come_back() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let mut other = rig.miner();
    for _ in 0..5 {
        // The miner fails when it sees an id again.
        let channel = miner.open(&Open::standard(&key()));
        miner.close(channel);
    }
    // Ids belong to a connection.
    assert!(miner.closed.contains(&other.open(&Open::standard(&key()))));
}

// proves: MP-02 PO-04 LIM-06 MP-43
#[test]
fn no_extranonce_prefix_is_given_twice_not_even_after_restarts() {
    let mut rig = Rig::with(|plan| plan.shards = 2);
    let mut seen = HashSet::new();
    for _ in 0..3 {
        let mut miners: Vec<Miner> = (0..4).map(|_| rig.miner()).collect();
        for miner in &mut miners {
            for n in 0..20 {
                let extended = (n % 2 == 0).then_some(n % 17);
                let id = miner.open(&Open { extended, ..Open::standard(&key()) });
                let channel = &miner.channels[&id];
                assert_eq!(channel.model.full_extranonce_len(), 24);
                assert!(seen.insert(channel.prefix[..8].to_vec()));
                assert_eq!(channel.prefix[..2], 7_u16.to_be_bytes(), "the server's id comes first");
            }
        }
        rig.restart();
    }
    assert_eq!(seen.len(), 3 * 4 * 20);
}

// proves: MP-42 EC-09 UP-05
#[test]
fn enough_extranonce_is_granted_or_the_channel_refused() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    for wanted in 0..=16 {
        let id = miner.open(&Open { extended: Some(wanted), ..Open::standard(&key()) });
        miner.earn(id);
    }
    for wanted in [17, 24, 32, 33, u16::MAX] {
        let open = Open { extended: Some(wanted), ..Open::standard(&key()) };
        assert_eq!(miner.open_refused(&open), "min-extranonce-size-too-large");
    }
    miner.open(&Open::extended(&key()));
}

// proves: MP-39 MP-41 EC-08 CW-37 ENC-12 UP-04 AM-03
#[test]
fn a_hash_rate_that_is_none_is_refused_and_zero_gets_the_easiest_work() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    for rate in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, -f32::MIN_POSITIVE] {
        for open in [Open::standard(&key()), Open::extended(&key())] {
            assert_eq!(miner.open_refused(&Open { rate, ..open }), "invalid-nominal-hashrate", "{rate}");
        }
    }
    let easiest = miner.open(&Open { rate: 0.0, ..Open::standard(&key()) });
    assert_eq!(miner.active(easiest).target(), Target::ladder(network(&miner, easiest), 8));
}

// proves: MP-40 MP-145 MP-148 MP-149 EC-06 CW-38 PO-07
#[test]
fn max_target_is_honoured_or_refused() {
    let rig = Rig::with(|plan| plan.shares_per_minute = 12);
    let mut miner = rig.miner();
    let first = miner.open(&Open::standard(&key()));
    let network = network(&miner, first);
    for steps in 0..=12 {
        for rate in [0.0, 1.0, 1e6, 1e30] {
            let max_target = Target::ladder(network, steps).to_le_bytes();
            // The miner fails when the target is above its maximum.
            let id = miner.open(&Open { rate, max_target, ..Open::extended(&key()) });
            let target = miner.active(id).target();
            assert!(target >= network && target <= Target::ladder(network, 8), "every block is a share");
            if rate > 1e29 {
                assert_eq!(target, network);
            }
        }
    }
    let mut harder = network.to_le_bytes();
    harder[31 - harder.iter().rev().take_while(|byte| **byte == 0).count()] -= 1;
    for max_target in [harder, [0; 32]] {
        let open = Open { max_target, ..Open::standard(&key()) };
        assert_eq!(miner.open_refused(&open), "max-target-out-of-range");
    }
}

// proves: PO-07
#[test]
fn the_first_target_fits_the_nominal_hash_rate() {
    let rig = Rig::with(|plan| plan.shares_per_minute = 60);
    let mut miner = rig.miner();
    for rate in [16_u16, 50, 100, 1000, 4000] {
        let id = miner.open(&Open { rate: f32::from(rate), ..Open::standard(&key()) });
        let wanted = Target::for_hash_rate(HashRate::new(rate.into()), 60).expected_hashes();
        let got = miner.active(id).target().expected_hashes();
        assert!(got * 71 <= wanted * 100 && got * 100 >= wanted * 71, "{rate} H/s: {got} for {wanted}");
    }
}

// proves: EC-07 MP-38 ER-05 ER-06 ER-08 AM-35
#[test]
fn a_user_name_without_a_key_is_told_what_to_do() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let good = key();
    let hex: String = good.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    for user in
        [good.to_string(), format!("{good}.rig-1"), hex.clone(), format!("02{hex}"), format!("{hex}.w")]
    {
        miner.open(&Open { user: user.into_bytes(), ..Open::standard(&good) });
    }
    for user in [
        Vec::new(),
        b"satoshi.worker1".to_vec(),
        b".worker".to_vec(),
        vec![b'x'; 255],
        vec![0xff; 255],
        vec![0; 51],
        misspelt(&good.to_string()),
        b"bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq".to_vec(),
        b"\"; DROP TABLE credits; --\r\n".to_vec(),
    ] {
        let text = miner.open_refused(&Open { user: user.clone(), ..Open::standard(&good) });
        assert!(text.starts_with("invalid-user-identity"), "{text}");
        assert!(text.contains("payout key"), "the remedy is missing: {text}");
        let raw = miner.log.last().unwrap();
        let error: OpenMiningChannelError<'_> = raw.get().unwrap();
        assert!(error.error_code.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte)));
    }
    miner.open(&Open::extended(&good));
}

fn misspelt(key: &str) -> Vec<u8> {
    let mut text = key.as_bytes().to_vec();
    text[30] = if text[30] == b'A' { b'B' } else { b'A' };
    text
}

#[test]
fn a_default_key_takes_who_has_none_but_not_who_mistyped_one() {
    let house = key();
    let rig = Rig::with(|plan| plan.default_payout_key = Some(house));
    let mut miner = rig.miner();
    let own = key();
    let mine = miner.open(&Open::standard(&own));
    let nobodys = miner.open(&Open { user: b"satoshi.worker1".to_vec(), ..Open::standard(&own) });
    let odd = miner.open(&Open { user: vec![0xff; 255], ..Open::standard(&own) });
    for channel in [mine, nobodys, odd] {
        miner.earn(channel);
    }
    let credit = miner.active(mine).credit().get();
    assert_eq!((rig.credit(&own), rig.credit(&house)), (credit, 2 * credit));
    // Its owner means another key than the operator's.
    let text = miner.open_refused(&Open { user: misspelt(&own.to_string()), ..Open::standard(&own) });
    assert!(text.starts_with("invalid-user-identity"), "{text}");
}

// proves: MP-52 EC-11
#[test]
fn channels_of_a_connection_are_limited() {
    let rig = Rig::with(|plan| plan.limits.channels_per_connection = 3);
    let mut miner = rig.miner();
    let ids: Vec<u32> = (0..3).map(|_| miner.open(&Open::standard(&key()))).collect();
    for open in [Open::standard(&key()), Open::extended(&key())] {
        assert_eq!(miner.open_refused(&open), "channel-capacity-exhausted");
    }
    miner.earn(ids[1]);
    let mut other = rig.miner();
    other.open(&Open::standard(&key()));
    miner.close(ids[0]);
    miner.open(&Open::extended(&key()));
    assert_eq!(rig.pool().stats().totals().channels, 4);
}

#[test]
fn channels_of_all_connections_together_are_limited() {
    let rig = Rig::with(|plan| {
        plan.shards = 2;
        plan.limits.channels = 4;
    });
    let mut miners = [rig.miner(), rig.miner()];
    for n in 0..4 {
        miners[n % 2].open(&Open::standard(&key()));
    }
    for miner in &mut miners {
        assert_eq!(miner.open_refused(&Open::extended(&key())), "channel-capacity-exhausted");
    }
    let [first, mut second] = miners;
    drop(first);
    eventually("its channels are free", || rig.pool().stats().totals().channels == 2);
    second.open(&Open::extended(&key()));
}

// proves: MP-05 EC-14 LIM-16
#[test]
fn a_hash_rate_that_no_standard_job_can_feed_needs_an_extended_channel() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let limit = 2_f32.powi(56);
    for (rate, fits) in [(limit, true), (limit * 1.001, false), (f32::MAX, false)] {
        let open = Open { rate, ..Open::standard(&key()) };
        if fits {
            miner.open(&open);
        } else {
            let code = miner.open_refused(&open);
            assert!(code.starts_with("standard-channels-not-supported"), "{code}");
        }
        miner.open(&Open { extended: Some(8), ..open });
    }
}

// proves: MP-25 EC-13
#[test]
fn an_extended_channel_is_not_for_devices_that_need_standard_jobs() {
    let rig = Rig::start();
    let mut miner = rig.simple_miner();
    let code = miner.open_refused(&Open::extended(&key()));
    assert_eq!(code, "extended-channels-not-supported-for-standard-jobs");
    let channel = miner.open(&Open::standard(&key()));
    miner.earn(channel);
}

// proves: AM-50
#[test]
fn a_request_id_is_echoed_whatever_it_was_used_for() {
    let rig = Rig::start();
    let mut wire = rig.wire();
    wire.set_up(0);
    let open = |request_id| sv2::mining::OpenStandardMiningChannel {
        request_id,
        user_identity: sv2::codec::Str0_255::from_bytes(key().to_string().into_bytes()).unwrap(),
        nominal_hash_rate: sv2::codec::F32::new(0.0),
        max_target: [0xff; 32],
    };
    let mut channels = HashSet::new();
    for request_id in [5, 5, 0, u32::MAX] {
        wire.send(&open(request_id));
        let reply: Raw = wire.receive();
        let success: OpenStandardMiningChannelSuccess<'_> = reply.get().unwrap();
        assert_eq!(success.request_id, request_id);
        assert!(channels.insert(success.channel_id));
        wire.receive();
        wire.receive();
    }
}

fn network(miner: &Miner, channel: u32) -> Target {
    miner.active(channel).tip().network_target()
}

// proves: MP-110 AM-17
#[test]
fn a_channel_that_comes_late_gets_the_newest_work_of_its_own() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let early = miner.open(&Open::extended(&key()));
    for _ in 0..3 {
        rig.new_transaction();
        let before = miner.active(early).job_id();
        while miner.active(early).job_id() == before {
            miner.receive();
        }
    }
    let late = miner.open(&Open::extended(&key()));
    assert_eq!(miner.active(late).job_id(), miner.active(early).job_id());
    for channel in [early, late] {
        let share = miner.find(channel, Want::Share);
        miner.accept(channel, &share);
    }
    // From now on both follow the group.
    let tip = rig.foreign_block();
    for channel in [early, late] {
        until_work_on(&mut miner, channel, tip.hash);
        miner.earn(channel);
    }
}
