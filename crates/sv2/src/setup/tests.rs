use {super::*, crate::Message};

const V: MiningSetupFlags = MiningSetupFlags::REQUIRES_VERSION_ROLLING;
const W: MiningSetupFlags = MiningSetupFlags::REQUIRES_WORK_SELECTION;
const S: MiningSetupFlags = MiningSetupFlags::REQUIRES_STANDARD_JOBS;

fn request(protocol: u8, min_version: u16, max_version: u16, flags: u32) -> SetupConnection<'static> {
    SetupConnection {
        protocol,
        min_version,
        max_version,
        flags,
        endpoint_host: Str0_255::from_static("pool.example"),
        endpoint_port: 34_254,
        vendor: Str0_255::from_static("assay 0.1"),
        hardware_version: Str0_255::EMPTY,
        firmware: Str0_255::EMPTY,
        device_id: Str0_255::EMPTY,
    }
}

fn mining(flags: u32) -> SetupConnection<'static> {
    request(0, 2, 2, flags)
}

fn pool() -> [Served; 1] {
    [Served::mining(MiningSetupFlags::ALL, MiningSuccessFlags::NONE)]
}

fn all() -> [Served; 3] {
    let [pool] = pool();
    [pool, Served::job_declaration(true, false), Served::template_distribution()]
}

#[track_caller]
fn refused(request: &SetupConnection<'_>, served: &[Served], flags: u32, error_code: ErrorCode<'static>) {
    assert_eq!(negotiate(request, served), Err(SetupConnectionError { flags, error_code }));
}

#[track_caller]
fn accepted(request: &SetupConnection<'_>, served: &[Served], flags: u32) {
    assert_eq!(negotiate(request, served), Ok(SetupConnectionSuccess { used_version: 2, flags }));
}

// proves: FL-01 FL-02 FL-03 FL-04 FL-05 FL-06 FL-07 FL-08
#[test]
fn flags_have_the_bits_of_the_specification() {
    assert_eq!((S.bits(), W.bits(), V.bits(), MiningSetupFlags::ALL.bits()), (1, 2, 4, 7));
    assert_eq!(MiningSuccessFlags::REQUIRES_FIXED_VERSION.bits(), 1);
    assert_eq!(MiningSuccessFlags::REQUIRES_EXTENDED_CHANNELS.bits(), 2);
    assert_eq!(JobDeclarationSetupFlags::DECLARE_TX_DATA.bits(), 1);
    assert_eq!(JobDeclarationSuccessFlags::ALL.bits(), 0);
    assert_eq!(TemplateDistributionFlags::ALL.bits(), 0);
    accepted(&request(1, 2, 2, 1), &all(), 0);
    accepted(&request(2, 2, 2, 0), &all(), 0);
    refused(&request(2, 2, 2, 1), &all(), 1, code::UNSUPPORTED_FEATURE_FLAGS);
}

#[test]
fn flags_name_themselves_in_the_log() {
    assert_eq!(format!("{:?}", S.with(V)), "{REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING}");
    assert_eq!(format!("{:?}", MiningSuccessFlags::from_bits(0x12)), "{REQUIRES_EXTENDED_CHANNELS, 0x10}");
    assert_eq!(format!("{:?}", TemplateDistributionFlags::NONE), "{}");
}

// proves: CM-06
#[test]
fn the_highest_common_version_is_used() {
    for (min, max) in [(2, 2), (0, 2), (2, 9), (0, u16::MAX)] {
        accepted(&request(0, min, max, 0), &pool(), 0);
    }
    for (min, max) in [(0, 1), (3, 3), (3, 2), (2, 1), (u16::MAX, 0)] {
        refused(&request(0, min, max, 0), &pool(), 0, code::PROTOCOL_VERSION_MISMATCH);
    }
}

// proves: CM-08
#[test]
fn a_protocol_that_is_not_served_is_refused_without_flags() {
    for protocol in 0..=255 {
        let request = request(protocol, 2, 2, 0xffff_ffff);
        if protocol > 0 {
            refused(&request, &pool(), 0, code::UNSUPPORTED_PROTOCOL);
        }
        if protocol > 2 {
            refused(&request, &all(), 0, code::UNSUPPORTED_PROTOCOL);
        }
        refused(&request, &[], 0, code::UNSUPPORTED_PROTOCOL);
    }
}

// proves: CM-11 CM-15 CM-13 CW-10
#[test]
fn an_error_lists_every_unsupported_flag() {
    for requested in [0xffff_ffff, 0xffff_fff8, 8, 0x8000_0000, 0x18] {
        refused(&mining(requested), &pool(), requested & !7, code::UNSUPPORTED_FEATURE_FLAGS);
    }
    let plain = [Served::mining(V, MiningSuccessFlags::NONE)];
    refused(&mining(0xffff_ffff), &plain, 0xffff_fffb, code::UNSUPPORTED_FEATURE_FLAGS);
    refused(&mining(3), &plain, 3, code::UNSUPPORTED_FEATURE_FLAGS);
    accepted(&mining(4), &plain, 0);
    // Also where the version is wrong as well.
    refused(&request(0, 3, 3, 0x18), &pool(), 0x18, code::PROTOCOL_VERSION_MISMATCH);
}

// proves: CM-14
#[test]
fn a_client_learns_what_is_supported_by_asking_for_everything() {
    let request = mining(0xffff_ffff);
    let error = negotiate(&request, &pool()).unwrap_err();
    let Err(ReplyError::Refused { flags, .. }) = check_reply(&request, &SetupReply::Error(error)) else {
        panic!("refused");
    };
    assert_eq!(!flags, MiningSetupFlags::ALL.bits(), "the supported flags");
}

// proves: CM-21 AM-12
#[test]
fn standard_jobs_and_work_selection_contradict_each_other() {
    let both = S.with(W);
    refused(&mining(both.bits()), &pool(), both.bits(), code::UNSUPPORTED_FEATURE_FLAGS);
    refused(&mining(7), &pool(), both.bits(), code::UNSUPPORTED_FEATURE_FLAGS);
    for flags in [S, W, V, S.with(V), W.with(V)] {
        accepted(&mining(flags.bits()), &pool(), 0);
    }
}

// proves: FL-04 FL-05 MP-27
#[test]
fn what_the_server_requires_takes_precedence() {
    let fixed = [Served::mining(MiningSetupFlags::ALL, MiningSuccessFlags::REQUIRES_FIXED_VERSION)];
    accepted(&mining(0), &fixed, 1);
    refused(&mining(V.bits()), &fixed, V.bits(), code::UNSUPPORTED_FEATURE_FLAGS);
    let extended = [Served::mining(MiningSetupFlags::ALL, MiningSuccessFlags::REQUIRES_EXTENDED_CHANNELS)];
    accepted(&mining(V.bits()), &extended, 2);
    refused(&mining(S.bits()), &extended, S.bits(), code::UNSUPPORTED_FEATURE_FLAGS);
}

// proves: FL-06 EC-04
#[test]
fn a_job_declarator_server_takes_both_kinds_of_client_or_one() {
    for (full, only, flags, expected) in [
        (true, false, 0, Ok(())),
        (true, false, 1, Ok(())),
        (true, true, 1, Ok(())),
        (true, true, 0, Err((0, code::MISSING_DECLARE_TX_DATA_FLAG))),
        (false, false, 0, Ok(())),
        (false, false, 1, Err((1, code::UNSUPPORTED_FEATURE_FLAGS))),
    ] {
        let reply = negotiate(&request(1, 2, 2, flags), &[Served::job_declaration(full, only)]);
        let reply = reply.map(|success| assert_eq!(success.flags, 0));
        assert_eq!(reply.map_err(|error| (error.flags, error.error_code)), expected);
    }
}

// proves: CM-07
#[test]
fn a_client_checks_the_version_in_the_reply() {
    let reply = |used_version| SetupReply::Success(SetupConnectionSuccess { used_version, flags: 0 });
    assert_eq!(check_reply(&request(0, 2, 3, 0), &reply(3)).unwrap().version, 3);
    for used in [0, 1, 4, u16::MAX] {
        let error = check_reply(&request(0, 2, 3, 0), &reply(used)).unwrap_err();
        assert_eq!(error, ReplyError::Version { used, min: 2, max: 3 });
    }
}

// proves: CM-10 FL-09
#[test]
fn a_client_reads_the_flags_of_the_reply() {
    let reply = |flags| SetupReply::Success(SetupConnectionSuccess { used_version: 2, flags });
    // Bit 2 asked for version rolling, but means nothing in a reply.
    let established = check_reply(&mining(4), &reply(0x16)).unwrap();
    assert_eq!(established.mining, MiningSuccessFlags::REQUIRES_EXTENDED_CHANNELS);
    assert_eq!(established.unknown_flags, 0x14);
    assert_eq!(
        check_reply(&mining(4), &reply(1)),
        Err(ReplyError::Contradiction { requires: MiningSuccessFlags::REQUIRES_FIXED_VERSION, needs: V })
    );
    assert_eq!(
        check_reply(&mining(1), &reply(2)),
        Err(ReplyError::Contradiction { requires: MiningSuccessFlags::REQUIRES_EXTENDED_CHANNELS, needs: S })
    );
    // In the other protocols the same bits mean nothing.
    let established = check_reply(&request(1, 2, 2, 1), &reply(3)).unwrap();
    assert_eq!((established.mining, established.unknown_flags), (MiningSuccessFlags::NONE, 3));
}

#[test]
fn the_code_of_an_error_decides_nothing() {
    let outcome = |error_code| {
        let reply = SetupReply::Error(SetupConnectionError { flags: 2, error_code });
        match check_reply(&mining(6), &reply) {
            Err(ReplyError::Refused { flags, .. }) => flags,
            other => panic!("{other:?}"),
        }
    };
    for code in [code::UNSUPPORTED_FEATURE_FLAGS, code::UNSUPPORTED_PROTOCOL, ErrorCode::from_static("?!")] {
        assert_eq!(outcome(code), 2);
    }
}

// proves: RC-01
#[test]
fn reconnect_replaces_host_and_port_where_given() {
    for (new_host, new_port, host, port) in [
        ("", 0, "a.example", 1),
        ("b.example", 0, "b.example", 1),
        ("", 2, "a.example", 2),
        ("b.example", 2, "b.example", 2),
    ] {
        let reconnect = Reconnect { new_host: Str0_255::from_static(new_host), new_port };
        assert_eq!(reconnect.destination("a.example", 1), Some((host, port)));
    }
    let reconnect = Reconnect { new_host: Str0_255::from_bytes(&[0xff][..]).unwrap(), new_port: 0 };
    assert_eq!(reconnect.destination("a.example", 1), None);
}

#[test]
fn protocols_have_their_numbers() {
    for number in 0..=255 {
        let protocol = Protocol::from_wire(number);
        assert_eq!(protocol.is_some(), number < 3);
        assert!(protocol.is_none_or(|protocol| protocol.to_wire() == number));
    }
}

// proves: CM-02
#[test]
fn every_request_has_one_reply() {
    for protocol in 0..5 {
        for flags in (0..16).chain([u32::MAX]) {
            for (min, max) in [(0, 1), (0, 2), (2, 2), (3, 1)] {
                let reply = match negotiate(&request(protocol, min, max, flags), &all()) {
                    Ok(success) => SetupReply::Success(success),
                    Err(error) => SetupReply::Error(error),
                };
                let mut bytes = Vec::new();
                match &reply {
                    SetupReply::Success(success) => crate::encode_frame(success, &mut bytes).unwrap(),
                    SetupReply::Error(error) => crate::encode_frame(error, &mut bytes).unwrap(),
                }
                assert!(matches!(bytes[2], SetupConnectionSuccess::TYPE | SetupConnectionError::TYPE));
            }
        }
    }
}
