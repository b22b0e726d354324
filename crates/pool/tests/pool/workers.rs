//! Worker fields in extended shares (0x0002): who is credited, and what is refused.

use sv2::Message;
use sv2::codec::{B0_32, Seq0_64K};
use sv2::extensions::{RequestExtensions, RequestExtensionsSuccess, TlvField};
use sv2::mining::SubmitSharesExtended;
use work::PayoutKey;

use crate::support::{Miner, Open, Rig, Want, key};

fn tracked_miner(rig: &Rig) -> Miner {
    let mut miner = rig.miner();
    let requested_extensions = Seq0_64K::<u16>::new([2]).unwrap();
    miner.wire.send(&RequestExtensions { request_id: 1, requested_extensions });
    miner.until(|raw| raw.is::<RequestExtensionsSuccess<'_>>());
    miner
}

/// A key whose bytes are no text, as nearly all are.
fn worker_key() -> PayoutKey {
    std::iter::repeat_with(key).find(|key| std::str::from_utf8(key.as_bytes()).is_err()).unwrap()
}

// proves: WH-01 WH-08 TLV-01 TLV-08 TLV-10 PO-08
#[test]
fn a_key_in_the_worker_field_is_credited_and_a_name_is_not() {
    let rig = Rig::start();
    let mut miner = tracked_miner(&rig);
    let (owner, worker) = (key(), worker_key());
    let channel = miner.open(&Open::extended(&owner));
    let credit = miner.active(channel).credit().get();

    let as_worker = miner.find(channel, Want::Share);
    let sequence = miner.submit_as(channel, &as_worker, worker.as_bytes());
    miner.until_answered(channel, sequence).unwrap();
    assert_eq!((rig.credit(&worker), rig.credit(&owner)), (credit, 0));

    // Names, nothing, and 32 bytes of text that might be taken for a key.
    for name in [&b"Worker_001"[..], b"", b"abcdefghijklmnopqrstuvwxyz012345", "Grüße".as_bytes()] {
        let share = miner.find(channel, Want::Share);
        let sequence = miner.submit_as(channel, &share, name);
        miner.until_answered(channel, sequence).unwrap();
    }
    // And no field at all.
    miner.earn(channel);
    assert_eq!((rig.credit(&worker), rig.credit(&owner)), (credit, 5 * credit));
}

// proves: WH-04 WH-13 TLV-06 LIM-14 EC-26
#[test]
fn a_field_that_breaks_its_rules_costs_its_own_share_only() {
    let rig = Rig::start();
    let mut miner = tracked_miner(&rig);
    let owner = key();
    let channel = miner.open(&Open::extended(&owner));
    let not_on_the_curve = [0xff; 32];
    for field in [&[b'x'; 33][..], &[0xff; 255], &not_on_the_curve, &[0xff], &[0xc3; 31]] {
        let share = miner.find(channel, Want::Share);
        let sequence = miner.submit_as(channel, &share, field);
        assert_eq!(miner.until_answered(channel, sequence).unwrap_err(), "invalid-share", "{field:?}");
        // The same work without the field was not used up.
        miner.accept(channel, &share);
    }
    assert_eq!(rig.credit(&owner), 5 * miner.active(channel).credit().get());
}

// proves: TLV-05 TLV-09 WH-07
#[test]
fn fields_of_other_extensions_are_stepped_over() {
    let rig = Rig::start();
    let mut miner = tracked_miner(&rig);
    let (owner, worker) = (key(), worker_key());
    let channel = miner.open(&Open::extended(&owner));
    let share = miner.find(channel, Want::Share);
    let fields = [
        TlvField { extension: 1, field_type: 9, value: &[1; 40] },
        TlvField { extension: 2, field_type: 1, value: worker.as_bytes() },
        TlvField { extension: 0x4001, field_type: 1, value: &[0xff; 99] },
    ];
    let sequence = miner.queue_share(channel, &share, &fields);
    miner.wire.flush();
    miner.until_answered(channel, sequence).unwrap();
    assert!(rig.credit(&worker) > 0 && rig.credit(&owner) == 0);
}

// proves: WH-07 TLV-09 EX-04 EX-19
#[test]
fn without_negotiation_on_this_connection_the_field_is_ignored() {
    let rig = Rig::start();
    let _negotiated_elsewhere = tracked_miner(&rig);
    let mut miner = rig.miner();
    let (owner, worker) = (key(), worker_key());
    let channel = miner.open(&Open::extended(&owner));
    for field in [worker.as_bytes().as_slice(), &[0xff; 200]] {
        let share = miner.find(channel, Want::Share);
        let sequence = miner.submit_as(channel, &share, field);
        miner.until_answered(channel, sequence).unwrap();
    }
    assert_eq!(rig.credit(&worker), 0);
    assert_eq!(rig.credit(&owner), 2 * miner.active(channel).credit().get());
}

// proves: TLV-11 TLV-14
#[test]
fn a_field_that_is_cut_off_refuses_its_share_and_of_two_the_first_counts() {
    let rig = Rig::start();
    let mut miner = tracked_miner(&rig);
    let (owner, worker) = (key(), worker_key());
    let channel = miner.open(&Open::extended(&owner));
    let whole = [&[2, 0, 1, 32, 0][..], worker.as_bytes()].concat();
    for length in [2, 3, 5, 36] {
        let share = miner.find(channel, Want::Share);
        let sequence_number = 100 + u32::try_from(length).unwrap();
        let mut payload = Vec::new();
        SubmitSharesExtended {
            channel_id: channel,
            sequence_number,
            job_id: share.job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            extranonce: B0_32::new(share.extranonce.as_slice()).unwrap(),
        }
        .encode_payload(&mut payload);
        payload.extend_from_slice(&whole[..length]);
        miner.channels.get_mut(&channel).unwrap().sent += 1;
        miner.wire.send_frame(0, true, SubmitSharesExtended::TYPE, &payload);
        assert_eq!(miner.until_answered(channel, sequence_number).unwrap_err(), "invalid-share");
    }
    let share = miner.find(channel, Want::Share);
    let field = |value| TlvField { extension: 2, field_type: 1, value };
    let sequence = miner.queue_share(channel, &share, &[field(b"a name"), field(worker.as_bytes())]);
    miner.wire.flush();
    miner.until_answered(channel, sequence).unwrap();
    assert_eq!((rig.credit(&worker), rig.credit(&owner)), (0, miner.active(channel).credit().get()));
}

fn submit_for(miner: &mut Miner, channel: u32, worker: &PayoutKey) -> Result<(), String> {
    let share = miner.find(channel, Want::Share);
    let sequence = miner.submit_as(channel, &share, worker.as_bytes());
    miner.until_answered(channel, sequence).map(drop)
}

#[test]
fn workers_of_a_connection_name_only_so_many_keys() {
    let rig = Rig::with(|plan| plan.limits.worker_keys = 3);
    let mut miner = tracked_miner(&rig);
    let channel = miner.open(&Open::extended(&key()));
    let workers: Vec<PayoutKey> = (0..4).map(|_| worker_key()).collect();
    for worker in &workers[..3] {
        submit_for(&mut miner, channel, worker).unwrap();
    }
    assert_eq!(submit_for(&mut miner, channel, &workers[3]).unwrap_err(), "too-many-worker-keys");
    submit_for(&mut miner, channel, &workers[0]).unwrap();
    miner.earn(channel);
    let mut other = tracked_miner(&rig);
    let elsewhere = other.open(&Open::extended(&key()));
    submit_for(&mut other, elsewhere, &workers[3]).unwrap();
}

#[test]
fn an_epoch_full_of_keys_takes_no_new_ones_but_goes_on_with_those_it_has() {
    let rig = Rig::with(|plan| {
        // Large enough that no epoch closes meanwhile.
        plan.params.q = 0;
        plan.limits.keys_per_epoch = 4;
    });
    let mut miner = tracked_miner(&rig);
    let channel = miner.open(&Open::extended(&key()));
    let known = worker_key();
    submit_for(&mut miner, channel, &known).unwrap();
    crate::support::eventually("the epoch has its fill of keys", || {
        submit_for(&mut miner, channel, &worker_key()) == Err("too-many-worker-keys".to_owned())
    });
    submit_for(&mut miner, channel, &known).unwrap();
    miner.earn(channel);
    // Channels may still be opened, until there are twice as many.
    let mut refused = None;
    crate::support::eventually("no channel for a new key", || {
        let request = miner.ask(&Open::extended(&key()));
        let raw = miner.until(|raw| {
            raw.is::<sv2::mining::OpenMiningChannelError<'_>>()
                || raw.is::<sv2::mining::OpenExtendedMiningChannelSuccess<'_>>()
        });
        refused =
            raw.get::<sv2::mining::OpenMiningChannelError<'_>>().map(|error| error.error_code.to_string());
        if refused.is_none() {
            let opened: sv2::mining::OpenExtendedMiningChannelSuccess<'_> = raw.get().unwrap();
            assert_eq!(opened.request_id, request);
            let id = opened.channel_id;
            while miner.channels[&id].model.active().is_none() {
                miner.receive();
            }
            miner.earn(id);
        }
        refused.is_some()
    });
    assert_eq!(refused.as_deref(), Some("channel-capacity-exhausted"));
    miner.earn(channel);
}
