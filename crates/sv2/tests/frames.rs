//! Frames: headers, limits, dispatch by extension, direction and protocol, forwarding.

use {
    assay_sv2::{
        EncodeError, Frame, FrameError, Header, MAX_PAYLOAD_LEN, Message, ProtocolError,
        codec::{B0_16M, B0_32, B0_64K, Seq0_64K, Transaction},
        encode_frame,
        extensions::{RequestExtensions, TlvField, WithTlvs, WorkerIdentity},
        frame::{FirstFrame, ForwardError},
        job_declaration::{JobDeclarationFromClient, JobDeclarationFromServer},
        mining::{
            MiningFromClient, MiningFromServer, NewMiningJob, SetGroupChannel, SubmitSharesExtended,
            SubmitSharesStandard,
        },
        setup::{ChannelEndpointChanged, Reconnect, SetupConnection, SetupConnectionSuccess, SetupReply},
        template_distribution::{
            RequestTransactionDataSuccess, TemplateDistributionFromClient, TemplateDistributionFromServer,
        },
    },
    proptest::prelude::*,
};

const SHARE: SubmitSharesStandard =
    SubmitSharesStandard { channel_id: 1, sequence_number: 2, job_id: 3, nonce: 4, ntime: 5, version: 6 };

fn framed<'m>(message: &impl Message<'m>) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(message, &mut out).unwrap();
    out
}

fn first(bytes: &[u8]) -> Frame<'_> {
    match Frame::first(bytes, MAX_PAYLOAD_LEN).unwrap() {
        FirstFrame::Frame { frame, .. } => frame,
        FirstFrame::NeedMore(needed) => panic!("{needed} bytes needed"),
    }
}

fn raw(extension_word: u16, msg_type: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = extension_word.to_le_bytes().to_vec();
    out.push(msg_type);
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes()[..3]);
    out.extend_from_slice(payload);
    out
}

// proves: FR-01 FR-06 FR-07 AM-01
#[test]
fn the_channel_bit_is_the_top_bit_of_the_second_byte() {
    let bytes = [0x02, 0x80, 0x1b, 0x04, 0x03, 0x02];
    let header = Header::from_bytes(bytes).unwrap();
    let expected = Header { extension_type: 0x0002, channel_msg: true, msg_type: 0x1b, length: 0x02_0304 };
    assert_eq!(header, expected);
    assert_eq!(header.to_bytes(), Ok(bytes));
    let header = Header::from_bytes([0x01, 0x7f, 0, 0, 0, 0]).unwrap();
    assert_eq!((header.extension_type, header.channel_msg), (0x7f01, false));
}

// proves: FR-03 FR-05 CW-25 WH-01 CH-13
#[test]
fn fields_of_extensions_do_not_change_the_frame() {
    let share = SubmitSharesExtended {
        channel_id: 1,
        sequence_number: 2,
        job_id: 3,
        nonce: 4,
        ntime: 5,
        version: 6,
        extranonce: B0_32::new(&[1, 2][..]).unwrap(),
    };
    let plain = framed(&share);
    let worker = WorkerIdentity::from_name("rig-7").to_tlv();
    let tlvs = assay_sv2::extensions::TlvArea::new(&[worker]).unwrap();
    let tagged = framed(&WithTlvs { message: share, tlvs });
    assert_eq!(plain[..3], [0x00, 0x80, 0x1b]);
    assert_eq!(plain[..3], tagged[..3]);
    assert_eq!(tagged.len(), plain.len() + 5 + 5);
    assert_eq!(usize::from(tagged[3]), tagged.len() - 6);
}

// proves: FR-08
#[test]
fn a_channel_message_without_a_channel_id_is_an_error() {
    for length in 0..4 {
        let error = Header::from_bytes([0, 0x80, 0x1a, length, 0, 0]).unwrap_err();
        assert_eq!(error, FrameError::NoChannelId(length.into()));
        assert!(Header::from_bytes([0, 0, 0x1a, length, 0, 0]).is_ok());
    }
    let bytes = framed(&SHARE);
    assert_eq!(first(&bytes).channel_id(), Some(1));
    assert_eq!(first(&bytes).header.payload_len(), 24, "the channel id counts");
    let group = SetGroupChannel { group_channel_id: 9, channel_ids: Seq0_64K::EMPTY };
    assert_eq!(first(&framed(&group)).channel_id(), None);
}

// proves: FR-11 EX-16
#[test]
fn the_extension_is_part_of_what_a_frame_is() {
    let request =
        RequestExtensions { request_id: 1, requested_extensions: Seq0_64K::<u16>::new([2]).unwrap() };
    let bytes = framed(&request);
    assert_eq!(bytes[..3], [0x01, 0x00, 0x00]);
    assert!(matches!(MiningFromClient::decode(first(&bytes)), Ok(MiningFromClient::RequestExtensions(_))));
    let core = raw(0, 0, first(&bytes).payload);
    assert!(matches!(
        MiningFromClient::decode(first(&core)),
        Err(ProtocolError::Unexpected { message: "SetupConnection", .. })
    ));
}

// proves: EX-03 EX-19
#[test]
fn extensions_can_be_negotiated_in_every_protocol() {
    let bytes = framed(&RequestExtensions { request_id: 1, requested_extensions: Seq0_64K::EMPTY });
    let frame = first(&bytes);
    assert!(matches!(MiningFromClient::decode(frame), Ok(MiningFromClient::RequestExtensions(_))));
    assert!(matches!(
        JobDeclarationFromClient::decode(frame),
        Ok(JobDeclarationFromClient::RequestExtensions(_))
    ));
    assert!(matches!(
        TemplateDistributionFromClient::decode(frame),
        Ok(TemplateDistributionFromClient::RequestExtensions(_))
    ));
    // Only clients ask.
    assert!(MiningFromServer::decode(frame).is_err());
}

// proves: FR-12 LIM-01 LIM-13
#[test]
fn a_payload_that_is_too_long_is_an_error_and_leaves_nothing_behind() {
    let longest = vec![0; (1 << 24) - 1 - 15];
    let message = |transaction: &[u8]| RequestTransactionDataSuccess {
        template_id: 1,
        excess_data: B0_64K::EMPTY,
        transaction_list: Seq0_64K::<Transaction>::new([transaction]).unwrap(),
    };
    let mut out = vec![7];
    encode_frame(&message(&longest), &mut out).unwrap();
    assert_eq!(out.len(), 1 + 6 + (1 << 24) - 1);
    assert_eq!(out[1..7], [0, 0, 0x74, 0xff, 0xff, 0xff]);

    let mut too_long = longest;
    too_long.push(0);
    let mut out = vec![7];
    let error = encode_frame(&message(&too_long), &mut out).unwrap_err();
    assert_eq!(error, EncodeError::PayloadTooLong { len: 1 << 24 });
    assert_eq!(out, [7]);
    let header = Header { extension_type: 0, channel_msg: false, msg_type: 0, length: 1 << 24 };
    assert!(header.to_bytes().is_err());
    let header = Header { extension_type: 0x8000, channel_msg: false, msg_type: 0, length: 0 };
    assert_eq!(header.to_bytes(), Err(EncodeError::ExtensionId(0x8000)));
}

// proves: TLV-13
#[test]
fn fields_of_extensions_cannot_make_a_frame_too_long() {
    let value = vec![0; 65_535];
    let field = TlvField { extension: 2, field_type: 1, value: &value };
    let tlvs = assay_sv2::extensions::TlvArea::new(&vec![field; 257]).unwrap();
    let error = encode_frame(&WithTlvs { message: SHARE, tlvs }, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, EncodeError::PayloadTooLong { .. }));
}

// proves: LIM-12
#[test]
fn the_longest_list_of_transaction_ids_fits_a_frame() {
    let ids = vec![[1; 32]; 65_535];
    let job = assay_sv2::job_declaration::DeclareMiningJob {
        request_id: 1,
        mining_job_token: Default::default(),
        version: 0x2000_0000,
        coinbase_tx_prefix: B0_64K::EMPTY,
        coinbase_tx_suffix: B0_64K::EMPTY,
        wtxid_list: Seq0_64K::<[u8; 32]>::from_slice(&ids).unwrap(),
        excess_data: B0_64K::EMPTY,
    };
    let bytes = framed(&job);
    let decoded = JobDeclarationFromClient::decode(first(&bytes)).unwrap();
    assert_eq!(decoded, JobDeclarationFromClient::DeclareMiningJob(job));
}

// proves: FR-13 FR-14
#[test]
fn a_channel_message_of_an_unknown_extension_is_forwarded_with_its_channel_id_changed_alone() {
    let bytes = raw(0x8000 | 0x4abc, 0x77, &[1, 0, 0, 0, 0xde, 0xad]);
    let MiningFromClient::Unknown(frame) = MiningFromClient::decode(first(&bytes)).unwrap() else {
        panic!("nobody knows this extension");
    };
    assert_eq!(frame.channel_id(), Some(1));
    let mut out = vec![9];
    frame.forward(0x0403_0201, &mut out).unwrap();
    let mut expected = bytes.clone();
    expected[6..10].copy_from_slice(&[1, 2, 3, 4]);
    assert_eq!(out[1..], expected);
}

// proves: FR-15 CW-23
#[test]
fn a_message_of_an_unknown_extension_is_a_value_and_is_not_forwarded() {
    let bytes = raw(0x4abc, 0x00, &[]);
    let frame = first(&bytes);
    assert_eq!(MiningFromClient::decode(frame), Ok(MiningFromClient::Unknown(frame)));
    assert_eq!(MiningFromServer::decode(frame), Ok(MiningFromServer::Unknown(frame)));
    assert_eq!(JobDeclarationFromServer::decode(frame), Ok(JobDeclarationFromServer::Unknown(frame)));
    let mut out = Vec::new();
    assert_eq!(frame.forward(1, &mut out), Err(ForwardError::NotForAChannel));
    assert!(out.is_empty());
}

// proves: FR-18
#[test]
fn a_wrong_channel_bit_is_tolerated() {
    let mut bytes = framed(&SHARE);
    bytes[1] &= 0x7f;
    assert_eq!(MiningFromClient::decode(first(&bytes)), Ok(MiningFromClient::SubmitSharesStandard(SHARE)));
    let job = NewMiningJob { channel_id: 1, job_id: 2, min_ntime: None, version: 3, merkle_root: [4; 32] };
    let mut bytes = framed(&job);
    assert_eq!(bytes[1], 0x80, "never produced");
    bytes[1] = 0;
    assert_eq!(MiningFromServer::decode(first(&bytes)), Ok(MiningFromServer::NewMiningJob(job)));
}

// proves: FR-19 AM-02 MSG-20
#[test]
fn an_unknown_core_message_is_a_value() {
    for msg_type in [0x05, 0x0f, 0x1e, 0x26, 0x52, 0x54, 0x5a, 0x77, 0xff] {
        let bytes = raw(0x8000, msg_type, &[1, 0, 0, 0]);
        let frame = first(&bytes);
        assert_eq!(MiningFromClient::decode(frame), Ok(MiningFromClient::Unknown(frame)), "{msg_type:#x}");
        assert_eq!(MiningFromServer::decode(frame), Ok(MiningFromServer::Unknown(frame)), "{msg_type:#x}");
    }
}

// proves: FR-20 CM-20
#[test]
fn a_message_of_another_protocol_or_direction_is_an_error() {
    let share = framed(&SHARE);
    let share = first(&share);
    assert!(MiningFromClient::decode(share).is_ok());
    let refused = |error: ProtocolError| {
        assert!(
            matches!(error, ProtocolError::Unexpected { message: "SubmitSharesStandard", .. }),
            "{error}"
        );
    };
    refused(MiningFromServer::decode(share).unwrap_err());
    refused(JobDeclarationFromClient::decode(share).unwrap_err());
    refused(JobDeclarationFromServer::decode(share).unwrap_err());
    refused(TemplateDistributionFromClient::decode(share).unwrap_err());
    refused(TemplateDistributionFromServer::decode(share).unwrap_err());
}

// proves: CM-01 CM-17 CM-18
#[test]
fn setup_connection_comes_first_and_once() {
    let setup = SetupConnection {
        protocol: 0,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: "pool.example".try_into().unwrap(),
        endpoint_port: 34_254,
        vendor: "acme".try_into().unwrap(),
        hardware_version: "hw1".try_into().unwrap(),
        firmware: "fw1".try_into().unwrap(),
        device_id: "".try_into().unwrap(),
    };
    let bytes = framed(&setup);
    assert_eq!(SetupConnection::first(first(&bytes)), Ok(setup));
    // A second one.
    for error in [
        MiningFromClient::decode(first(&bytes)).unwrap_err(),
        JobDeclarationFromClient::decode(first(&bytes)).unwrap_err(),
        TemplateDistributionFromClient::decode(first(&bytes)).unwrap_err(),
    ] {
        assert!(matches!(error, ProtocolError::Unexpected { message: "SetupConnection", .. }));
    }
    // Anything before it, known or not.
    assert!(SetupConnection::first(first(&framed(&SHARE))).is_err());
    assert!(SetupConnection::first(first(&raw(0x0001, 0x00, &[1, 0, 0, 0]))).is_err());
    assert!(SetupConnection::first(first(&raw(0x4000, 0x00, &[]))).is_err());
    // And the same on the other side.
    let success = SetupConnectionSuccess { used_version: 2, flags: 0 };
    assert_eq!(SetupReply::first(first(&framed(&success))), Ok(SetupReply::Success(success)));
    assert!(MiningFromServer::decode(first(&framed(&success))).is_err());
    assert!(SetupReply::first(first(&framed(&SHARE))).is_err());
}

// proves: RC-09 CEP-03
#[test]
fn reconnect_and_channel_endpoint_changed_are_understood_everywhere() {
    let reconnect = Reconnect { new_host: "b.example".try_into().unwrap(), new_port: 0 };
    let bytes = framed(&reconnect);
    let frame = first(&bytes);
    assert!(matches!(MiningFromServer::decode(frame), Ok(MiningFromServer::Reconnect(_))));
    assert!(matches!(JobDeclarationFromServer::decode(frame), Ok(JobDeclarationFromServer::Reconnect(_))));
    assert!(matches!(
        TemplateDistributionFromServer::decode(frame),
        Ok(TemplateDistributionFromServer::Reconnect(_))
    ));
    let bytes = framed(&ChannelEndpointChanged { channel_id: 5 });
    let frame = first(&bytes);
    assert_eq!(frame.channel_id(), Some(5));
    let mut translated = Vec::new();
    frame.forward(9, &mut translated).unwrap();
    assert_eq!(translated, framed(&ChannelEndpointChanged { channel_id: 9 }));
    assert!(matches!(MiningFromServer::decode(frame), Ok(MiningFromServer::ChannelEndpointChanged(_))));
    assert!(JobDeclarationFromServer::decode(frame).is_ok());
    assert!(TemplateDistributionFromServer::decode(frame).is_ok());
}

// proves: FR-21
#[test]
fn frames_are_found_in_pieces_and_in_heaps() {
    let mut bytes = framed(&SHARE);
    let one = bytes.len();
    bytes.extend(framed(&ChannelEndpointChanged { channel_id: 5 }));
    for len in 0..one {
        let needed = if len < 6 { 6 } else { one };
        assert_eq!(Frame::first(&bytes[..len], MAX_PAYLOAD_LEN), Ok(FirstFrame::NeedMore(needed)));
    }
    for len in one..bytes.len() {
        let Ok(FirstFrame::Frame { frame, consumed }) = Frame::first(&bytes[..len], MAX_PAYLOAD_LEN) else {
            panic!("a whole frame");
        };
        assert_eq!((frame.header.msg_type, consumed), (0x1a, one));
    }
    assert_eq!(first(&bytes[one..]).channel_id(), Some(5));
}

#[test]
fn frames_over_the_limit_are_an_error_before_they_arrive() {
    let bytes = framed(&SHARE);
    assert_eq!(Frame::first(&bytes[..6], 23), Err(FrameError::OverLimit { len: 24, limit: 23 }));
    assert_eq!(Frame::first(&bytes[..6], 24), Ok(FirstFrame::NeedMore(30)));
}

#[test]
fn the_longest_transaction_has_a_u24_length() {
    assert!(B0_16M::new(vec![0; (1 << 24) - 1]).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn headers_survive_the_wire(bytes in any::<[u8; 6]>()) {
        if let Ok(header) = Header::from_bytes(bytes) {
            prop_assert_eq!(header.to_bytes(), Ok(bytes));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), limit in 0_u32..100) {
        if let Ok(FirstFrame::Frame { frame, consumed }) = Frame::first(&bytes, limit) {
            prop_assert!(consumed <= bytes.len());
            prop_assert!(frame.payload.len() <= limit as usize);
        }
    }
}
