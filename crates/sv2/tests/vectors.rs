//! Test vectors: bytes that were computed apart from any implementation (checklist section 18).

use {
    assay_sv2::{
        Frame, MAX_PAYLOAD_LEN, Message,
        codec::{B0_32, Seq0_64K, Str0_255},
        encode_frame,
        extensions::{RequestExtensions, TlvArea, WithTlvs, WorkerIdentity},
        frame::FirstFrame,
        job_declaration::{AllocateMiningJobToken, PushSolution},
        mining::{
            MiningFromClient, OpenExtendedMiningChannelSuccess, SetGroupChannel, SetTarget,
            SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess,
        },
        noise::{AuthorityKey, sealed_payload_len},
        setup::{MiningSetupFlags, SetupConnection, SetupConnectionError, SetupConnectionSuccess, code},
        template_distribution::CoinbaseOutputConstraints,
    },
    hex::FromHex,
};

/// Encodes to the vector, and decodes from it.
macro_rules! vector {
    ($ty:ty: $message:expr, $hex:expr) => {{
        let expected = Vec::<u8>::from_hex(AsRef::<str>::as_ref(&$hex)).unwrap();
        let message: $ty = $message;
        let mut bytes = Vec::new();
        encode_frame(&message, &mut bytes).unwrap();
        assert_eq!(bytes, expected);
        let Ok(FirstFrame::Frame { frame, consumed }) = Frame::first(&expected, MAX_PAYLOAD_LEN) else {
            panic!("the vector is a frame");
        };
        assert_eq!(consumed, expected.len());
        assert_eq!(<$ty>::decode(frame.payload).unwrap(), message);
    }};
}

const AUTHORITY_KEY: [u8; 32] = [
    118, 99, 112, 0, 151, 156, 28, 17, 175, 12, 48, 11, 205, 140, 127, 228, 134, 16, 252, 233, 185, 193, 30,
    61, 174, 227, 90, 224, 176, 138, 116, 85,
];

// proves: TV-01 NS-23
#[test]
fn authority_key() {
    let text = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
    let key = AuthorityKey::from_bytes(AUTHORITY_KEY).unwrap();
    assert_eq!(key.to_string(), text);
    assert_eq!(text.parse::<AuthorityKey>(), Ok(key));
    assert_eq!(key.to_bytes(), AUTHORITY_KEY);
}

// proves: TV-04 NS-27 LIM-02 LIM-03 CW-20 AM-07
#[test]
fn ciphertext_lengths() {
    for (plain, sealed) in [
        (0, 0),
        (1, 17),
        (6, 22),
        (65_518, 65_534),
        (65_519, 65_535),
        (65_520, 65_552),
        (131_038, 131_070),
        (131_039, 131_087),
        (16_777_215, 16_781_327),
    ] {
        assert_eq!(sealed_payload_len(plain), sealed, "{plain}");
    }
}

// proves: TV-05
#[test]
fn setup_connection() {
    vector!(
        SetupConnection<'_>: SetupConnection {
            protocol: 0,
            min_version: 2,
            max_version: 2,
            flags: MiningSetupFlags::REQUIRES_VERSION_ROLLING.bits(),
            endpoint_host: Str0_255::from_static("pool.example"),
            endpoint_port: 34_254,
            vendor: Str0_255::from_static("acme"),
            hardware_version: Str0_255::from_static("hw1"),
            firmware: Str0_255::from_static("fw1"),
            device_id: Str0_255::EMPTY,
        },
        "0000002600000002000200040000000c706f6f6c2e6578616d706c65ce850461636d65036877310366773100"
    );
}

// proves: TV-06
#[test]
fn setup_connection_success() {
    vector!(
        SetupConnectionSuccess: SetupConnectionSuccess { used_version: 2, flags: 0 },
        "000001060000020000000000"
    );
}

// proves: TV-07
#[test]
fn setup_connection_error() {
    vector!(
        SetupConnectionError<'_>: SetupConnectionError { flags: 3, error_code: code::UNSUPPORTED_FEATURE_FLAGS },
        "0000021e00000300000019756e737570706f727465642d666561747572652d666c616773"
    );
}

// proves: TV-08
#[test]
fn submit_shares_standard() {
    vector!(
        SubmitSharesStandard: SubmitSharesStandard {
            channel_id: 1,
            sequence_number: 7,
            job_id: 42,
            nonce: 0xdead_beef,
            ntime: 0x6600_0000,
            version: 0x2000_0000,
        },
        "00801a18000001000000070000002a000000efbeadde0000006600000020"
    );
}

fn share(extranonce: &[u8]) -> SubmitSharesExtended<'_> {
    SubmitSharesExtended {
        channel_id: 1,
        sequence_number: 7,
        job_id: 42,
        nonce: 0xdead_beef,
        ntime: 0x6600_0000,
        version: 0x2000_0000,
        extranonce: B0_32::new(extranonce).unwrap(),
    }
}

// proves: TV-09
#[test]
fn submit_shares_extended() {
    vector!(
        SubmitSharesExtended<'_>: share(&[1, 2, 3, 4, 5, 6, 7, 8]),
        "00801b21000001000000070000002a000000efbeadde0000006600000020080102030405060708"
    );
}

// proves: TV-10 TLV-02 TLV-10 WH-05
#[test]
fn submit_shares_extended_of_a_worker() {
    let extranonce = [1, 2, 3, 4, 5, 6, 7, 8];
    let bytes = "00801b30000001000000070000002a000000efbeadde00000066000000200801020304050607080200010a00576f726b65725f303031";
    let tlvs = TlvArea::new(&[WorkerIdentity::from_name("Worker_001").to_tlv()]).unwrap();
    vector!(WithTlvs<'_, SubmitSharesExtended<'_>>: WithTlvs { message: share(&extranonce), tlvs }, bytes);

    let bytes = Vec::<u8>::from_hex(bytes).unwrap();
    let Ok(FirstFrame::Frame { frame, .. }) = Frame::first(&bytes, 100) else { panic!("a frame") };
    let (message, tlvs) = MiningFromClient::decode_with_tlvs(frame).unwrap();
    assert_eq!(message, MiningFromClient::SubmitSharesExtended(share(&extranonce)));
    let worker = WorkerIdentity::find(&tlvs).unwrap().unwrap();
    assert_eq!(worker.to_str(), Some("Worker_001"));
}

// proves: TV-11 EX-17
#[test]
fn request_extensions() {
    vector!(
        RequestExtensions<'_>:
            RequestExtensions { request_id: 1, requested_extensions: Seq0_64K::<u16>::new([2]).unwrap() },
        "010000060000010001000200"
    );
}

// proves: TV-12
#[test]
fn submit_shares_success() {
    vector!(
        SubmitSharesSuccess: SubmitSharesSuccess {
            channel_id: 1,
            last_sequence_number: 10,
            new_submits_accepted_count: 10,
            new_shares_sum: 1_000,
        },
        "00801c140000010000000a0000000a000000e803000000000000"
    );
}

// proves: TV-13 ENC-06
#[test]
fn set_target() {
    let mut difficulty_1 = [0; 32];
    difficulty_1[26..28].copy_from_slice(&[0xff, 0xff]);
    vector!(
        SetTarget: SetTarget { channel_id: 1, maximum_target: difficulty_1 },
        "008021240000010000000000000000000000000000000000000000000000000000000000ffff00000000"
    );
}

// proves: TV-14
#[test]
fn set_group_channel() {
    vector!(
        SetGroupChannel<'_>:
            SetGroupChannel { group_channel_id: 9, channel_ids: Seq0_64K::<u32>::new([1, 2]).unwrap() },
        "0000250e00000900000002000100000002000000"
    );
}

// proves: TV-15
#[test]
fn coinbase_output_constraints() {
    vector!(
        CoinbaseOutputConstraints: CoinbaseOutputConstraints {
            coinbase_output_max_additional_size: 43,
            coinbase_output_max_additional_sigops: 0,
        },
        "0000700600002b0000000000"
    );
}

// proves: ENC-17
#[test]
fn fields_whose_order_is_easily_mistaken() {
    vector!(
        AllocateMiningJobToken<'_>:
            AllocateMiningJobToken { user_identifier: Str0_255::from_static("ab"), request_id: 0x0403_0201 },
        ["000050070000", "026162", "01020304"].concat()
    );
    vector!(
        PushSolution<'_>: PushSolution {
            extranonce: B0_32::new(&[0xaa, 0xbb][..]).unwrap(),
            prev_hash: [0xcc; 32],
            nonce: 1,
            ntime: 2,
            nbits: 3,
            version: 4,
        },
        ["000060330000", "02aabb", &"cc".repeat(32), "01000000", "02000000", "03000000", "04000000"].concat()
    );
    vector!(
        OpenExtendedMiningChannelSuccess<'_>: OpenExtendedMiningChannelSuccess {
            request_id: 1,
            channel_id: 2,
            target: [0xee; 32],
            extranonce_size: 8,
            extranonce_prefix: B0_32::new(&[0xaa][..]).unwrap(),
            group_channel_id: 3,
        },
        ["000014300000", "01000000", "02000000", &"ee".repeat(32), "0800", "01aa", "03000000"].concat()
    );
}
