//! Frames that are unknown, misplaced or malformed.

use sv2::codec::{B0_64K, B0_255, Seq0_255};
use sv2::mining::{
    NewMiningJob, SetCustomMiningJob, SetCustomMiningJobError, SetTarget, SubmitSharesSuccess,
    UpdateChannelError,
};
use sv2::{Message, codec::Str0_255, setup::Reconnect};

use crate::support::{Open, Rig, Want, key};

// proves: FR-15 MSG-20 CW-23 AM-02
#[test]
fn unknown_extensions_and_types_are_ignored() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::extended(&key()));
    let id = channel.to_le_bytes();
    for (extension, channel_msg, msg_type, payload) in [
        (0x4abc, false, 0x10, &[1, 2, 3][..]),
        (0x4abc, true, 0x1b, &id[..]),
        (0x0002, false, 0x00, &[]),
        (0x0000, true, 0x1e, &id[..]),
        (0x0000, false, 0x7f, &[0; 900]),
        (0x0000, false, 0xff, &[]),
        (0x0001, false, 0x7f, &[0; 5]),
    ] {
        miner.wire.send_frame(extension, channel_msg, msg_type, payload);
    }
    assert!(miner.barrier().is_empty());
    miner.earn(channel);
}

// proves: FR-20 SM-11
#[test]
fn a_message_that_a_miner_may_not_send_ends_the_connection() {
    let rig = Rig::start();
    let mut spoilt: Vec<(u16, bool, u8, Vec<u8>)> = [
        (0x50, 12), // AllocateMiningJobToken
        (0x57, 64), // DeclareMiningJob
        (0x60, 64), // PushSolution
        (0x70, 6),  // CoinbaseOutputConstraints
        (0x76, 24), // SubmitSolution
    ]
    .map(|(msg_type, length)| (0, false, msg_type, vec![0; length]))
    .into();
    let mut add = |extension, channel_msg, msg_type, payload| {
        spoilt.push((extension, channel_msg, msg_type, payload));
    };
    let job = NewMiningJob { channel_id: 2, job_id: 1, min_ntime: None, version: 2, merkle_root: [0; 32] };
    add(0, true, NewMiningJob::TYPE, payload(&job));
    add(0, true, SetTarget::TYPE, payload(&SetTarget { channel_id: 2, maximum_target: [0; 32] }));
    let success = SubmitSharesSuccess {
        channel_id: 2,
        last_sequence_number: 1,
        new_submits_accepted_count: 1,
        new_shares_sum: 1,
    };
    add(0, true, SubmitSharesSuccess::TYPE, payload(&success));
    let elsewhere = Reconnect { new_host: Str0_255::from_static("a"), new_port: 1 };
    add(0, false, Reconnect::TYPE, payload(&elsewhere));
    add(1, false, 0x01, vec![0; 4]); // RequestExtensions.Success

    for (extension, channel_msg, msg_type, payload) in spoilt {
        let mut miner = rig.miner();
        let channel = miner.open(&Open::standard(&key()));
        miner.earn(channel);
        miner.wire.send_frame(extension, channel_msg, msg_type, &payload);
        assert_eq!(miner.wire.rest().len(), 0, "{extension:#06x} {msg_type:#04x}");
    }
    rig.miner().open(&Open::standard(&key()));
}

// proves: ENC-14 ENC-08 SM-11
#[test]
fn a_payload_that_is_cut_off_ends_the_connection() {
    let rig = Rig::start();
    for (channel_msg, msg_type, payload) in [
        (false, 0x10, &[0; 3][..]),
        (true, 0x1a, &[0; 23]),
        // An extranonce that says it has 33 bytes.
        (true, 0x1b, &[&[0; 24][..], &[33], &[0; 33]].concat()),
        (true, 0x16, &[0; 39]),
    ] {
        let mut miner = rig.miner();
        miner.wire.send_frame(0, channel_msg, msg_type, payload);
        assert_eq!(miner.wire.rest().len(), 0, "{msg_type:#04x} of {} bytes", payload.len());
    }
}

// proves: FR-18
#[test]
fn a_wrong_channel_bit_is_tolerated_and_never_produced() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::extended(&key()));
    let update = sv2::mining::UpdateChannel {
        channel_id: 0xdead,
        nominal_hash_rate: sv2::codec::F32::new(1.0),
        maximum_target: [0xff; 32],
    };
    miner.wire.send_frame(0, false, 0x16, &payload(&update));
    // Decoding checks the bit of every message that the pool sends.
    miner.until(|raw| raw.get::<UpdateChannelError<'_>>().is_some_and(|error| error.channel_id == 0xdead));
    miner.earn(channel);
    assert!(miner.log.iter().all(|raw| raw.header.extension_type == 0));
}

// proves: ENC-15 CW-24 TLV-09
#[test]
fn bytes_behind_the_last_field_are_no_error() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let owner = key();
    let channel = miner.open(&Open::standard(&owner));
    let share = miner.find(channel, Want::Share);
    let message = sv2::mining::SubmitSharesStandard {
        channel_id: channel,
        sequence_number: 1,
        job_id: share.job_id,
        nonce: share.nonce,
        ntime: share.ntime,
        version: share.version,
    };
    let bytes = [payload(&message), vec![0xbc, 0x4a, 1, 2, 0, 7, 7], vec![9]].concat();
    miner.channels.get_mut(&channel).unwrap().sent += 1;
    miner.wire.send_frame(0, true, 0x1a, &bytes);
    miner.until_answered(channel, 1).unwrap();
    assert!(rig.credit(&owner) > 0);
}

// proves: MP-33 MP-165 EC-30
#[test]
fn a_custom_job_is_refused_and_the_connection_goes_on() {
    let rig = Rig::start();
    let mut miner = rig.miner();
    let channel = miner.open(&Open::extended(&key()));
    miner.wire.send(&SetCustomMiningJob {
        channel_id: channel,
        request_id: 77,
        mining_job_token: B0_255::new(&[1, 2][..]).unwrap(),
        version: 0x2000_0000,
        prev_hash: [0; 32],
        min_ntime: 0,
        nbits: 0x207f_ffff,
        coinbase_tx_version: 2,
        coinbase_prefix: B0_255::EMPTY,
        coinbase_tx_input_n_sequence: 0,
        coinbase_tx_outputs: B0_64K::EMPTY,
        coinbase_tx_locktime: 0,
        merkle_path: Seq0_255::EMPTY,
    });
    let raw = miner.until(|raw| raw.is::<SetCustomMiningJobError<'_>>());
    let error: SetCustomMiningJobError<'_> = raw.get().unwrap();
    assert_eq!((error.channel_id, error.request_id), (channel, 77));
    assert_eq!(error.error_code.to_string(), "jd-not-supported");
    miner.earn(channel);
}

fn payload<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode_payload(&mut bytes);
    bytes
}
