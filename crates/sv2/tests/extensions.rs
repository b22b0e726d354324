//! Negotiation of extensions, the fields they add, worker identities.

use {
    assay_sv2::{
        codec::Seq0_64K,
        extensions::{
            Answer, ClientNegotiation, EXTENSION_NEGOTIATION, Next, Policy, PolicyError, RequestExtensions,
            RequestExtensionsError, RequestExtensionsSuccess, ServerNegotiation, TlvArea, TlvError, TlvField,
            Unnegotiated, WORKER_HASHRATE, WorkerIdentity,
        },
    },
    proptest::prelude::*,
};

fn ids(ids: &[u16]) -> Seq0_64K<'static, u16> {
    Seq0_64K::<u16>::new(ids.iter().copied()).unwrap()
}

fn request(request_id: u16, requested: &[u16]) -> RequestExtensions<'static> {
    RequestExtensions { request_id, requested_extensions: ids(requested) }
}

fn success(request_id: u16, supported: &[u16]) -> RequestExtensionsSuccess<'static> {
    RequestExtensionsSuccess { request_id, supported_extensions: ids(supported) }
}

fn error(request_id: u16, unsupported: &[u16], required: &[u16]) -> RequestExtensionsError<'static> {
    RequestExtensionsError {
        request_id,
        unsupported_extensions: ids(unsupported),
        required_extensions: ids(required),
    }
}

fn policy(supported: &[u16], required: &[u16]) -> Policy {
    Policy::new(supported.iter().copied(), required.iter().copied()).unwrap()
}

// proves: EX-09 EX-12 EX-17 EX-18 EX-10 AM-10 AM-09
#[test]
fn a_server_answers_with_the_intersection_or_an_error() {
    let nothing_required = policy(&[2, 3], &[]);
    let required = policy(&[2, 3], &[3]);
    for (policy, requested, expected) in [
        (&nothing_required, &[2][..], Answer::Success(success(7, &[2]))),
        (&nothing_required, &[2, 0x4000], Answer::Success(success(7, &[2]))),
        (&nothing_required, &[3, 2, 3, 2], Answer::Success(success(7, &[2, 3]))),
        (&nothing_required, &[], Answer::Success(success(7, &[]))),
        (&nothing_required, &[1], Answer::Success(success(7, &[]))),
        (&nothing_required, &[0x4000, 9, 9], Answer::Error(error(7, &[9, 0x4000], &[]))),
        (&required, &[3], Answer::Success(success(7, &[3]))),
        (&required, &[2, 3, 9], Answer::Success(success(7, &[2, 3]))),
        (&required, &[2], Answer::Error(error(7, &[], &[3]))),
        (&required, &[2, 9], Answer::Error(error(7, &[9], &[3]))),
        (&required, &[], Answer::Error(error(7, &[], &[3]))),
    ] {
        let answer = ServerNegotiation::default().answer(policy, &request(7, requested));
        assert_eq!(answer, expected, "{requested:?}");
    }
}

// proves: EX-11 CW-26
#[test]
fn a_client_has_one_retry_before_it_is_disconnected() {
    let policy = policy(&[2, 3], &[3]);
    let mut server = ServerNegotiation::default();
    assert_eq!(server.answer(&policy, &request(1, &[2])), Answer::Error(error(1, &[], &[3])));
    let mut stubborn = server;
    assert_eq!(stubborn.answer(&policy, &request(2, &[2])), Answer::ErrorAndClose(error(2, &[], &[3])));
    assert_eq!(server.answer(&policy, &request(2, &[2, 3])), Answer::Success(success(2, &[2, 3])));
    assert_eq!(server.check_required(&policy), Ok(()));
}

// proves: EX-04 EX-11
#[test]
fn nothing_may_be_used_or_sent_before_it_is_negotiated() {
    let policy = policy(&[2, 3], &[3]);
    let mut server = ServerNegotiation::default();
    assert_eq!(server.check_required(&policy), Err(Unnegotiated { missing: 3 }));
    assert!(!server.is_confirmed(&policy, 2) && !server.is_confirmed(&policy, 3));
    server.answer(&policy, &request(1, &[2]));
    assert!(!server.is_confirmed(&policy, 2), "an error confirms nothing");
    assert_eq!(server.check_required(&policy), Err(Unnegotiated { missing: 3 }));
    server.answer(&policy, &request(2, &[3]));
    assert!(!server.is_confirmed(&policy, 2) && server.is_confirmed(&policy, 3));
    assert!(!server.is_confirmed(&policy, 0x4000));
}

// proves: EX-19
#[test]
fn asking_again_replaces_what_was_confirmed() {
    let policy = policy(&[2, 3], &[]);
    let mut server = ServerNegotiation::default();
    server.answer(&policy, &request(1, &[2, 3]));
    server.answer(&policy, &request(2, &[3]));
    assert!(!server.is_confirmed(&policy, 2) && server.is_confirmed(&policy, 3));
    assert_eq!(server.answer(&policy, &request(3, &[9])), Answer::Error(error(3, &[9], &[])));
    assert!(!server.is_confirmed(&policy, 3), "an error takes back what was confirmed");
    // Every connection starts from nothing.
    assert!(!ServerNegotiation::default().is_confirmed(&policy, 3));
}

// proves: EX-01
#[test]
fn a_policy_is_checked() {
    assert_eq!(Policy::new([0], []), Err(PolicyError::NotNegotiable(0)));
    assert_eq!(Policy::new([EXTENSION_NEGOTIATION], []), Err(PolicyError::NotNegotiable(1)));
    assert_eq!(Policy::new([0x8000], []), Err(PolicyError::NotNegotiable(0x8000)));
    assert_eq!(Policy::new([2], [3]), Err(PolicyError::RequiredButUnsupported(3)));
    assert_eq!(Policy::new(2..67, []), Err(PolicyError::TooMany(65)));
    assert!(Policy::new(2..66, 2..66).is_ok());
    assert!(Policy::new([2, 2, 0x7fff], [2]).is_ok());
    assert!(size_of::<ServerNegotiation>() <= 16);
}

// proves: EX-08 EX-18 EX-21
#[test]
fn a_client_waits_and_uses_only_what_was_confirmed() {
    let mut client = ClientNegotiation::new([2, 3], []);
    assert_eq!(client.request(), Some(request(1, &[2, 3])));
    assert!(client.is_waiting() && !client.is_confirmed(2));
    assert_eq!(client.success(&success(1, &[2, 0x4000])), Next::Proceed);
    assert!(!client.is_waiting() && client.is_confirmed(2));
    assert!(!client.is_confirmed(3), "not in the list");
    assert!(!client.is_confirmed(0x4000), "not requested");
    assert_eq!(client.request(), None);

    let nothing_wanted = ClientNegotiation::new([], [2]);
    assert_eq!((nothing_wanted.request(), nothing_wanted.is_waiting()), (None, false));
    assert_eq!(ClientNegotiation::new([EXTENSION_NEGOTIATION], []).request(), None);
}

// proves: EX-11 CW-26
#[test]
fn a_client_retries_once_with_what_is_required() {
    let mut client = ClientNegotiation::new([2, 9], [3]);
    let retry = request(2, &[2, 3]);
    assert_eq!(client.error(&error(1, &[9], &[3])), Next::Retry(retry.clone()));
    assert_eq!((client.request(), client.is_waiting()), (Some(retry), true));
    let mut refused = client.clone();
    assert_eq!(refused.error(&error(2, &[], &[3])), Next::GiveUp { required: [3].into() });
    assert_eq!(client.success(&success(2, &[2, 3])), Next::Proceed);
    assert!(client.is_confirmed(3));

    let mut client = ClientNegotiation::new([2], []);
    assert_eq!(client.error(&error(1, &[], &[3])), Next::GiveUp { required: [3].into() });
}

// proves: EX-13
#[test]
fn a_client_goes_on_without_extensions() {
    let mut client = ClientNegotiation::new([2], []);
    assert_eq!(client.error(&error(1, &[2], &[])), Next::Proceed);
    assert!(!client.is_waiting() && !client.is_confirmed(2));

    let mut client = ClientNegotiation::new([2], []);
    client.abandon();
    assert!(!client.is_waiting() && !client.is_confirmed(2));
    assert_eq!(client.success(&success(1, &[2])), Next::Ignore, "too late");
    assert!(!client.is_confirmed(2));
}

// proves: EX-17
#[test]
fn a_reply_to_another_request_is_ignored() {
    let mut client = ClientNegotiation::new([2], [3]);
    assert_eq!(client.success(&success(9, &[2])), Next::Ignore);
    assert_eq!(client.error(&error(9, &[2], &[3])), Next::Ignore);
    assert!(client.is_waiting() && !client.is_confirmed(2));
    assert_eq!(client.success(&success(1, &[2])), Next::Proceed);
    assert_eq!(client.success(&success(1, &[])), Next::Ignore, "answered already");
    assert!(client.is_confirmed(2));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // proves: EX-18
    #[test]
    fn client_and_server_come_to_the_same_result(
        wanted in proptest::collection::vec(1_u16..12, 0..6),
        able in proptest::collection::vec(1_u16..12, 0..6),
        supported in proptest::collection::btree_set(2_u16..12, 0..6),
        required in any::<u8>(),
    ) {
        let required: Vec<u16> =
            supported.iter().copied().filter(|id| required >> (id % 8) & 1 == 1).collect();
        let policy = Policy::new(supported.clone(), required).unwrap();
        let mut server = ServerNegotiation::default();
        let mut client = ClientNegotiation::new(wanted, able);
        let mut rounds = 0;
        let mut given_up = false;
        while let Some(request) = client.request() {
            rounds += 1;
            let next = match server.answer(&policy, &request) {
                Answer::Success(reply) => client.success(&reply),
                Answer::Error(reply) => client.error(&reply),
                Answer::ErrorAndClose(_) => return Err(TestCaseError::fail("a client that retries is let in")),
            };
            match next {
                Next::Proceed | Next::Retry(_) => {}
                Next::GiveUp { .. } => given_up = true,
                Next::Ignore => return Err(TestCaseError::fail("the reply is to this request")),
            }
        }
        prop_assert!(rounds <= 2);
        for id in 0..16 {
            prop_assert_eq!(client.is_confirmed(id), server.is_confirmed(&policy, id));
        }
        if rounds > 0 && !given_up {
            prop_assert_eq!(server.check_required(&policy), Ok(()));
        }
    }
}

const A: TlvField<'static> = TlvField { extension: 2, field_type: 1, value: b"a" };
const B: TlvField<'static> = TlvField { extension: 0x4001, field_type: 2, value: b"" };
const C: TlvField<'static> = TlvField { extension: 0x4001, field_type: 1, value: b"ccc" };

// proves: TLV-02 TLV-03 TLV-04 TLV-07 TLV-10 AM-04 AM-11
#[test]
fn fields_are_written_in_order() {
    let area = TlvArea::new(&[B, C, A]).unwrap();
    assert_eq!(
        area.as_bytes(),
        [&[2, 0, 1, 1, 0][..], b"a", &[0x01, 0x40, 2, 0, 0], &[0x01, 0x40, 1, 3, 0], b"ccc"].concat()
    );
    let fields: Result<Vec<_>, _> = area.iter().collect();
    assert_eq!(fields.unwrap(), [A, B, C]);
}

// proves: TLV-05 TLV-08 TLV-07 AM-11
#[test]
fn fields_are_found_wherever_they_stand() {
    let ordered = TlvArea::new(&[A, B, C]).unwrap();
    let bytes = ordered.as_bytes();
    let (first, rest) = bytes.split_at(6);
    let disordered = [rest, first].concat();
    for area in [ordered.clone(), TlvArea::from(disordered.as_slice())] {
        assert_eq!(area.find(2, 1, 32), Ok(Some(&b"a"[..])));
        assert_eq!(area.find(0x4001, 1, 32), Ok(Some(&b"ccc"[..])));
        assert_eq!(area.find(0x4001, 2, 32), Ok(Some(&b""[..])));
        assert_eq!(area.find(2, 2, 32), Ok(None));
        assert_eq!(area.find(3, 1, 32), Ok(None));
    }
}

// proves: TLV-06 TLV-09 TLV-11 TLV-14
#[test]
fn a_bad_field_rejects_the_message_only_if_its_extension_was_negotiated() {
    let area = TlvArea::new(&[C]).unwrap();
    assert_eq!(
        area.find(0x4001, 1, 2),
        Err(TlvError::TooLong { extension: 0x4001, field_type: 1, len: 3, max: 2 })
    );
    assert_eq!(area.find(0x4001, 1, 3), Ok(Some(&b"ccc"[..])));
    assert_eq!(area.find(2, 1, 2), Ok(None));

    let whole = TlvArea::new(&[A, C]).unwrap();
    for len in 0..whole.as_bytes().len() {
        let area = TlvArea::from(&whole.as_bytes()[..len]);
        let cut = match len {
            0 | 1 | 6 | 7 => None,
            2..=5 => Some(2),
            _ => Some(0x4001),
        };
        for extension in [2, 0x4001, 9] {
            let found = area.find(extension, 1, 32);
            if cut == Some(extension) {
                assert_eq!(found, Err(TlvError::Truncated { extension }), "{len}");
            } else {
                assert!(found.is_ok(), "{len}");
            }
        }
    }

    let second = TlvField { value: b"other", ..A };
    assert_eq!(TlvArea::new(&[A, second]).unwrap().find(2, 1, 32), Ok(Some(&b"a"[..])));
}

// proves: TLV-13
#[test]
fn a_value_has_at_most_65535_bytes() {
    let value = vec![0; 65_536];
    let field = |value| TlvField { extension: 2, field_type: 1, value };
    let error = TlvError::TooLong { extension: 2, field_type: 1, len: 65_536, max: 65_535 };
    assert_eq!(TlvArea::new(&[field(&value)]), Err(error));
    assert!(TlvArea::new(&[field(&value[1..])]).is_ok());
}

// proves: TLV-12
#[test]
fn fields_are_dropped_for_hops_that_did_not_negotiate_them() {
    let area = TlvArea::new(&[A, B, C]).unwrap();
    assert_eq!(area.retain(|extension| extension == 0x4001), TlvArea::new(&[B, C]).unwrap());
    assert!(area.retain(|_| false).is_empty());
    let mut cut = area.as_bytes().to_vec();
    cut.pop();
    assert_eq!(TlvArea::from(cut.as_slice()).retain(|_| true), TlvArea::new(&[A, B]).unwrap());
}

// proves: AM-04
#[test]
fn a_big_endian_header_is_noticed_and_not_guessed_at() {
    let bytes = [&[0, 2, 1, 0, 10][..], b"Worker_001"].concat();
    let area = TlvArea::from(bytes.as_slice());
    assert!(area.looks_big_endian(WORKER_HASHRATE));
    assert_eq!(WorkerIdentity::find(&area), Ok(None));
    let ours = TlvArea::new(&[WorkerIdentity::from_name("Worker_001").to_tlv()]).unwrap();
    assert!(!ours.looks_big_endian(WORKER_HASHRATE));
    assert!(!TlvArea::EMPTY.looks_big_endian(WORKER_HASHRATE));
}

// proves: WH-04 WH-05 LIM-14
#[test]
fn a_worker_identity_has_at_most_32_bytes() {
    let bytes = [b'x'; 33];
    assert!(WorkerIdentity::new(&bytes).is_err());
    assert_eq!(WorkerIdentity::new(&bytes[1..]).unwrap().as_bytes().len(), 32);
    assert_eq!(WorkerIdentity::new(b"").unwrap().to_tlv().value, b"");
    let field = TlvField { extension: 2, field_type: 1, value: &bytes };
    let area = TlvArea::new(&[field]).unwrap();
    assert!(matches!(WorkerIdentity::find(&area), Err(TlvError::TooLong { len: 33, max: 32, .. })));
    let area = TlvArea::new(&[TlvField { value: &bytes[1..], ..field }]).unwrap();
    assert_eq!(WorkerIdentity::find(&area).unwrap().unwrap().as_bytes(), &bytes[1..], "without padding");
}

// proves: WH-11
#[test]
fn a_long_worker_name_is_cut_between_characters() {
    let name = "x".to_owned() + &"µ".repeat(20);
    let cut = WorkerIdentity::from_name(&name);
    assert_eq!(cut.to_str(), Some(&name[..31]));
    assert_eq!(WorkerIdentity::from_name("rig-7").to_str(), Some("rig-7"));
}

// proves: WH-13
#[test]
fn a_worker_identity_that_is_not_text_is_kept_as_bytes() {
    let field = TlvField { extension: 2, field_type: 1, value: &[0xff, 0x00] };
    let area = TlvArea::new(&[field]).unwrap();
    let identity = WorkerIdentity::find(&area).unwrap().unwrap();
    assert_eq!((identity.to_str(), identity.as_bytes()), (None, &[0xff, 0x00][..]));
    assert_eq!(format!("{identity:?}"), r#""\xff\x00""#);
}

#[test]
fn the_worker_field_is_that_of_the_reference_implementation() {
    assert_eq!(WORKER_HASHRATE, extensions_sv2::EXTENSION_TYPE_WORKER_HASHRATE_TRACKING);
    assert_eq!(WorkerIdentity::FIELD_TYPE, extensions_sv2::TLV_FIELD_TYPE_USER_IDENTITY);
    assert_eq!(WorkerIdentity::MAX_LEN, extensions_sv2::MAX_USER_IDENTITY_LENGTH);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // proves: TLV-11
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), extension in 0_u16..4) {
        let area = TlvArea::from(bytes.as_slice());
        let read: usize = area.iter().flatten().map(|field| 5 + field.value.len()).sum();
        prop_assert!(read <= bytes.len());
        let _ = area.find(extension, 1, 32);
        prop_assert!(area.retain(|_| true).as_bytes().len() == read);
    }
}
