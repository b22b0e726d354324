//! Setting up a connection: any request at any server, and any reply to any request.

use crate::input::Input;
use sv2::frame::FirstFrame;
use sv2::setup::{
    MiningSetupFlags, MiningSuccessFlags, Protocol, ReplyError, Served, SetupConnection, SetupReply,
    check_reply, code, negotiate,
};
use sv2::{Frame, HEADER_LEN, Message, encode_frame};

/// What is served, the request's payload behind its length, then a reply's frame.
pub fn setup(data: &[u8]) {
    let mut input = Input::new(data);
    let what = input.byte();
    let (supported, requires) = (input.u32(), input.u32());
    let mut served = Vec::new();
    if what & 1 != 0 {
        let supported = MiningSetupFlags::from_bits(supported);
        served.push(Served::mining(supported, MiningSuccessFlags::from_bits(requires)));
    }
    if what & 2 != 0 {
        let full = what & 8 != 0;
        served.push(Served::job_declaration(full, full && what & 16 != 0));
    }
    if what & 4 != 0 {
        served.push(Served::template_distribution());
    }
    let len = usize::from(input.u16());
    let Ok(request) = SetupConnection::decode(input.bytes(len)) else { return };
    let protocol = Protocol::from_wire(request.protocol);
    let is_served = match protocol {
        Some(Protocol::Mining) => what & 1 != 0,
        Some(Protocol::JobDeclaration) => what & 2 != 0,
        Some(Protocol::TemplateDistribution) => what & 4 != 0,
        None => false,
    };
    match negotiate(&request, &served) {
        Ok(success) => {
            assert!(is_served && success.used_version == 2);
            assert!(request.min_version <= 2 && request.max_version >= 2);
            if protocol == Some(Protocol::Mining) {
                assert_eq!(request.flags & !supported, 0, "an unsupported flag was accepted");
                assert_eq!(success.flags, requires);
            } else {
                assert_eq!(success.flags, 0);
            }
            let reply = SetupReply::Success(success);
            read_reply(&success, &reply);
            let established = check_reply(&request, &reply).expect("our client takes our server's word");
            assert_eq!(established.version, 2);
        }
        Err(error) => {
            if !is_served {
                assert_eq!((error.flags, &error.error_code), (0, &code::UNSUPPORTED_PROTOCOL));
            }
            // Nobody is told of flags that were not sent.
            assert_eq!(error.flags & !request.flags, 0);
            let reply = SetupReply::Error(error.clone());
            read_reply(&error, &reply);
            assert!(matches!(check_reply(&request, &reply), Err(ReplyError::Refused { .. })));
        }
    }
    check_any_reply(&request, input.rest());
}

fn read_reply<'m>(message: &impl Message<'m>, reply: &SetupReply<'_>) {
    let mut frame = Vec::new();
    encode_frame(message, &mut frame).expect("a reply fits a frame");
    let Ok(FirstFrame::Frame { frame, .. }) = Frame::first(&frame, 300) else {
        panic!("an encoded reply is a frame");
    };
    assert_eq!(SetupReply::first(frame).as_ref(), Ok(reply));
}

fn check_any_reply(request: &SetupConnection<'_>, bytes: &[u8]) {
    let Ok(FirstFrame::Frame { frame, .. }) = Frame::first(bytes, 1 << 16) else { return };
    let Ok(reply) = SetupReply::first(frame) else { return };
    match check_reply(request, &reply) {
        Ok(established) => {
            assert!((request.min_version..=request.max_version).contains(&established.version));
            if request.protocol == 0 {
                let needs = MiningSetupFlags::from_bits(request.flags);
                let fixed = established.mining.contains(MiningSuccessFlags::REQUIRES_FIXED_VERSION);
                assert!(!(fixed && needs.contains(MiningSetupFlags::REQUIRES_VERSION_ROLLING)));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Requests for each protocol, with flags that are and are not supported, and versions that do not exist.
pub fn seeds() -> Vec<Vec<u8>> {
    let text = sv2::codec::Str0_255::from_static("pool.example");
    let mut seeds = Vec::new();
    for (protocol, flags, min_version, max_version) in [
        (0, 0, 2, 2),
        (0, 1, 2, 2),
        (0, 3, 2, 9),
        (0, 1 << 31, 1, 2),
        (1, 1, 2, 2),
        (2, 0, 2, 2),
        (3, 0, 2, 2),
        (0, 0, 3, 4),
        (0, 4, 2, 2),
    ] {
        let request = SetupConnection {
            protocol,
            min_version,
            max_version,
            flags,
            endpoint_host: text.clone(),
            endpoint_port: 34254,
            vendor: text.clone(),
            hardware_version: text.clone(),
            firmware: text.clone(),
            device_id: sv2::codec::Str0_255::EMPTY,
        };
        let mut frame = Vec::new();
        encode_frame(&request, &mut frame).expect("a request fits a frame");
        let payload = &frame[HEADER_LEN..];
        let len = u16::try_from(payload.len()).expect("a request is short").to_le_bytes();
        for (what, requires) in [(1u8, 0u8), (31, 0), (15, 1), (0, 0)] {
            let mut seed = vec![what, 5, 0, 0, 0, requires, 0, 0, 0];
            seed.extend(len);
            seed.extend(payload);
            // SetupConnection.Success of version 2.
            seed.extend([0, 0, 1, 6, 0, 0, 2, 0, requires, 0, 0, 0]);
            seeds.push(seed);
        }
    }
    seeds
}
