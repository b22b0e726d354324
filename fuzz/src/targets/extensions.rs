//! Extension negotiation between a server and any client, between our client and any server, and the fields
//! behind messages, each beside a plain model.

use crate::input::Input;
use std::collections::BTreeSet;
use sv2::Message;
use sv2::extensions::{
    Answer, ClientNegotiation, Next, Policy, RequestExtensions, RequestExtensionsError,
    RequestExtensionsSuccess, ServerNegotiation, TlvArea, TlvError, TlvField, WorkerIdentity,
};

type Ids = BTreeSet<u16>;

/// What to do, then its material.
pub fn extensions(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(4) {
        0 => serve_anybody(input),
        1 => ask_anybody(input),
        2 => agree(input),
        _ => fields(input.rest()),
    }
}

/// Small ids mostly, so that they meet.
fn ids(input: &mut Input<'_>) -> Ids {
    let count = input.below(12);
    (0..count)
        .map(|_| match input.byte() {
            255 => input.u16(),
            small => u16::from(small % 12),
        })
        .collect()
}

fn policy(input: &mut Input<'_>) -> Option<(Policy, Ids, Ids)> {
    let (supported, required) = (ids(input), ids(input));
    match Policy::new(supported.iter().copied(), required.iter().copied()) {
        Ok(policy) => Some((policy, supported, required)),
        Err(error) => {
            let negotiable = supported.iter().all(|id| (2..=0x7fff).contains(id));
            assert!(!negotiable || !required.is_subset(&supported), "{error}");
            None
        }
    }
}

fn serve_anybody(mut input: Input<'_>) {
    let Some((policy, supported, required)) = policy(&mut input) else { return };
    let mut server = ServerNegotiation::default();
    let (mut warned, mut confirmed) = (false, Ids::new());
    for _ in 0..8 {
        assert_eq!(server.check_required(&policy).is_ok(), required.is_subset(&confirmed));
        for id in (0..12).chain([0x7fff, 0x8000, u16::MAX]) {
            assert_eq!(server.is_confirmed(&policy, id), confirmed.contains(&id));
        }
        if input.is_empty() {
            return;
        }
        let Ok(request) = RequestExtensions::decode(input.short()) else { continue };
        let wanted: Ids = request.requested_extensions.iter().collect();
        let unsupported: Ids = wanted.difference(&supported).copied().filter(|&id| id != 1).collect();
        let missing: Ids = required.difference(&wanted).copied().collect();
        let common: Ids = wanted.intersection(&supported).copied().collect();
        match server.answer(&policy, &request) {
            Answer::Success(success) => {
                assert!(missing.is_empty() && (!common.is_empty() || unsupported.is_empty()));
                assert_eq!(success.request_id, request.request_id);
                assert_eq!(success.supported_extensions.iter().collect::<Ids>(), common);
                confirmed = common;
            }
            Answer::Error(error) => {
                assert!(!warned || missing.is_empty());
                check_refusal(&error, &request, &unsupported, &missing);
                confirmed.clear();
                warned |= !missing.is_empty();
            }
            Answer::ErrorAndClose(error) => {
                assert!(warned && !missing.is_empty());
                check_refusal(&error, &request, &unsupported, &missing);
                confirmed.clear();
            }
        }
    }
}

fn check_refusal(
    error: &RequestExtensionsError<'_>,
    request: &RequestExtensions<'_>,
    unsupported: &Ids,
    missing: &Ids,
) {
    assert_eq!(error.request_id, request.request_id);
    assert_eq!(&error.unsupported_extensions.iter().collect::<Ids>(), unsupported);
    assert_eq!(&error.required_extensions.iter().collect::<Ids>(), missing);
    assert!(!(unsupported.is_empty() && missing.is_empty()), "a refusal says why");
}

/// A client asks at most twice, and uses nothing that it did not ask for.
fn ask_anybody(mut input: Input<'_>) {
    let (wanted, able) = (ids(&mut input), ids(&mut input));
    let mut client = ClientNegotiation::new(wanted.iter().copied(), able.iter().copied());
    let mut asked: Ids = wanted.iter().copied().filter(|id| (2..=0x7fff).contains(id)).collect();
    let mut retries = 0;
    for _ in 0..8 {
        let waited = client.is_waiting();
        assert_eq!(client.request().is_some(), waited);
        for id in 0..12 {
            assert!(!client.is_confirmed(id) || asked.contains(&id));
        }
        if input.is_empty() {
            return;
        }
        let next = match input.below(3) {
            0 => match RequestExtensionsSuccess::decode(input.short()) {
                Ok(success) => client.success(&success),
                Err(_) => continue,
            },
            1 => match RequestExtensionsError::decode(input.short()) {
                Ok(error) => client.error(&error),
                Err(_) => continue,
            },
            _ => {
                client.abandon();
                continue;
            }
        };
        assert!(waited || next == Next::Ignore, "an answer that nobody asked for");
        match next {
            Next::Retry(request) => {
                retries += 1;
                asked.extend(request.requested_extensions.iter());
                assert!(client.is_waiting() && client.request().as_ref() == Some(&request));
            }
            Next::Ignore => assert_eq!(client.is_waiting(), waited),
            Next::Proceed | Next::GiveUp { .. } => assert!(!client.is_waiting()),
        }
        assert!(retries <= 1);
    }
}

/// Our client and our server come to an end, and to the same one.
fn agree(mut input: Input<'_>) {
    let Some((policy, supported, required)) = policy(&mut input) else { return };
    let (wanted, able) = (ids(&mut input), ids(&mut input));
    let mut client = ClientNegotiation::new(wanted.iter().copied(), able.iter().copied());
    let mut server = ServerNegotiation::default();
    let mut request = client.request();
    let mut gave_up = false;
    for round in 0.. {
        let Some(asked) = request.take() else { break };
        assert!(round < 2, "a client that asks a third time");
        match server.answer(&policy, &asked) {
            Answer::Success(success) => assert_eq!(client.success(&success), Next::Proceed),
            Answer::Error(error) | Answer::ErrorAndClose(error) => match client.error(&error) {
                Next::Retry(again) => request = Some(again),
                Next::GiveUp { .. } => gave_up = true,
                Next::Proceed => {}
                Next::Ignore => panic!("our own answer was ignored"),
            },
        }
    }
    for id in supported {
        assert_eq!(client.is_confirmed(id), server.is_confirmed(&policy, id));
    }
    let able_to: Ids = wanted.union(&able).copied().collect();
    if !gave_up && wanted.iter().any(|id| (2..=0x7fff).contains(id)) && required.is_subset(&able_to) {
        assert_eq!(server.check_required(&policy), Ok(()));
    }
}

fn fields(bytes: &[u8]) {
    let area = TlvArea::from(bytes);
    assert_eq!((area.as_bytes(), area.is_empty()), (bytes, bytes.is_empty()));
    let (by_hand, cut) = fields_by_hand(bytes);
    let read: Vec<_> = area.iter().collect();
    let whole: Vec<TlvField<'_>> = read.iter().flatten().copied().collect();
    assert_eq!(whole, by_hand);
    assert_eq!(
        read.last().and_then(|last| last.err()),
        cut.map(|extension| TlvError::Truncated { extension })
    );

    for wanted in [1, 2, 0x8001] {
        for max in [0, 32, 70_000] {
            let expected = by_hand.iter().find(|field| (field.extension, field.field_type) == (wanted, 1));
            let expected = match expected {
                Some(field) if field.value.len() > max => Err(()),
                Some(field) => Ok(Some(field.value)),
                None if cut == Some(wanted) => Err(()),
                None => Ok(None),
            };
            assert_eq!(area.find(wanted, 1, max).map_err(drop), expected);
        }
    }
    if let Ok(Some(worker)) = WorkerIdentity::find(&area) {
        assert!(worker.as_bytes().len() <= WorkerIdentity::MAX_LEN);
        let again = TlvArea::new(&[worker.to_tlv()]).expect("32 bytes fit");
        assert_eq!(WorkerIdentity::find(&again), Ok(Some(worker)));
    }
    area.looks_big_endian(2);

    let kept = area.retain(|extension| extension == 2);
    assert_eq!(kept.iter().flatten().count(), by_hand.iter().filter(|field| field.extension == 2).count());
    let sorted = TlvArea::new(&whole).expect("values that were read have lengths of 16 bits");
    assert_eq!(sorted.iter().flatten().count(), whole.len());
    assert!(sorted.iter().all(|field| field.is_ok()));
    assert_eq!(sorted.clone().into_owned(), sorted);
}

fn fields_by_hand(mut bytes: &[u8]) -> (Vec<TlvField<'_>>, Option<u16>) {
    let mut fields = Vec::new();
    while bytes.len() >= 2 {
        let extension = u16::from_le_bytes([bytes[0], bytes[1]]);
        if bytes.len() < 5 {
            return (fields, Some(extension));
        }
        let end = 5 + usize::from(u16::from_le_bytes([bytes[3], bytes[4]]));
        if bytes.len() < end {
            return (fields, Some(extension));
        }
        fields.push(TlvField { extension, field_type: bytes[2], value: &bytes[5..end] });
        bytes = &bytes[end..];
    }
    (fields, None)
}

/// Requests that are granted, refused and refused again; replies; agreements; fields.
pub fn seeds() -> Vec<Vec<u8>> {
    let worker = |len: u8| [vec![3, 2, 0, 1, len, 0], vec![b'w'; len.into()]].concat();
    vec![
        worker(31),
        worker(32),
        worker(33),
        vec![0, 2, 2, 3, 0, 6, 7, 0, 1, 0, 2, 0],
        vec![0, 2, 2, 3, 1, 2, 6, 7, 0, 1, 0, 3, 0, 6, 8, 0, 1, 0, 3, 0, 6, 9, 0, 1, 0, 2, 0],
        vec![0, 1, 2, 0, 8, 7, 0, 2, 0, 9, 0, 1, 0],
        vec![0, 2, 0, 1, 0],
        vec![0, 1, 2, 1, 3],
        vec![1, 2, 2, 3, 0, 0, 6, 1, 0, 1, 0, 2, 0],
        vec![1, 1, 2, 1, 3, 1, 8, 1, 0, 0, 0, 1, 0, 3, 0, 0, 6, 2, 0, 1, 0, 3, 0],
        vec![1, 1, 2, 0, 1, 8, 1, 0, 0, 0, 1, 0, 9, 0],
        vec![1, 1, 2, 0, 2],
        vec![2, 2, 2, 3, 1, 3, 1, 2, 1, 3],
        vec![2, 1, 2, 1, 2, 1, 5, 1, 2],
        vec![2, 1, 2, 1, 2, 1, 5, 0],
        vec![3, 2, 0, 1, 3, 0, b'r', b'i', b'g', 5, 0, 1, 0, 0],
        vec![3, 2, 0, 1, 33, 0],
        vec![3, 9, 0, 7, 1, 0, 1, 2, 0, 1, 2, 0, b'a', b'b', 2],
        vec![3, 0, 2, 1, 0, 1, b'x'],
    ]
}
