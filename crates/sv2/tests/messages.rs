//! Every message against the catalogue: numbers, sizes, round trips, and input that is cut, extended or
//! arbitrary.

#[macro_use]
mod rows;

use {
    assay_sv2::{
        Frame, Message, Sender, catalogue,
        catalogue::CATALOGUE,
        encode_frame, extensions,
        frame::FirstFrame,
        job_declaration, mining,
        setup::{self, Protocol},
        template_distribution,
    },
    proptest::prelude::*,
    rows::{Sample, for_each},
};

fn payload<'m>(message: &impl Message<'m>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode_payload(&mut out);
    out
}

// proves: MSG-01 MSG-02 MSG-03 MSG-04 MSG-05 MSG-06 MSG-07 MSG-08 MSG-09 MSG-10 MSG-11 MSG-12 MSG-13 MSG-14
// proves: MSG-15 MSG-16 MSG-17 MSG-18 MSG-19 MSG-21 MSG-22 MSG-23 MSG-24 MSG-25 MSG-26 MSG-27 MSG-28 MSG-29
// proves: MSG-30 MSG-31 MSG-32 MSG-33 MSG-34 MSG-35 MSG-36 MSG-37 MSG-38 MSG-39 MSG-40 MSG-41 MSG-42 MSG-43
// proves: MSG-44 MSG-45 FR-03 FR-04 FR-09 FR-10 EX-16 EC-46 MP-154 CH-06
#[test]
fn types_bits_senders_and_sizes_are_those_of_the_catalogue() {
    use Protocol::*;
    let mut rows = 0;
    macro_rules! row {
        (
            $extension:literal $ty:literal $bit:literal $sender:ident $protocol:expr,
            $module:ident::$name:ident = $($sri:ident)::+ { $($field:ident),+ } $fixed:literal [$($variable:ident),*]
        ) => {
            let name = stringify!($name);
            assert_eq!($module::$name::EXTENSION, $extension, "{name}");
            assert_eq!($module::$name::TYPE, $ty, "{name}");
            assert_eq!($module::$name::CHANNEL_BIT, $bit, "{name}");
            assert_eq!($module::$name::SENDER, Sender::$sender, "{name}");
            let entry = catalogue::find($extension, $ty).unwrap();
            assert_eq!(entry.name, $module::$name::NAME);
            assert_eq!((entry.sender, entry.channel_bit, entry.protocol), (Sender::$sender, $bit, $protocol));
            assert!(!$bit || matches!(entry.protocol, None | Some(Mining)), "{name}");
            for_each(messages_of!($module::$name { $($field),+ }), |message| {
                let variable: usize = [$(message.$variable.variable_len()),*].iter().sum();
                assert_eq!(payload(&message).len(), $fixed + variable, "{name}");
            });
            rows += 1;
        };
    }
    every_message!(row);
    assert_eq!(CATALOGUE.len(), rows);
}

// proves: MSG-20
#[test]
fn reserved_and_removed_types_are_not_in_the_catalogue() {
    for msg_type in [0x1e, 0x52, 0x53, 0x54].into_iter().chain(0x5a..=0x5f) {
        assert_eq!(catalogue::find(0, msg_type), None, "{msg_type:#x}");
    }
}

// proves: ENC-16 FR-01 FR-02
#[test]
fn every_message_survives_the_wire() {
    macro_rules! row {
        (
            $extension:literal $ty:literal $bit:literal $sender:ident $protocol:expr,
            $module:ident::$name:ident = $($sri:ident)::+ { $($field:ident),+ } $fixed:literal [$($variable:ident),*]
        ) => {
            for_each(messages_of!($module::$name { $($field),+ }), |message| {
                let mut bytes = Vec::new();
                encode_frame(&message, &mut bytes).unwrap();
                let FirstFrame::Frame { frame, consumed } = Frame::first(&bytes, u32::MAX).unwrap() else {
                    panic!("not a whole frame");
                };
                assert_eq!(consumed, bytes.len());
                assert_eq!(frame.header.payload_len(), bytes.len() - 6);
                assert_eq!(frame.header.extension_type, $extension);
                assert_eq!((frame.header.msg_type, frame.header.channel_msg), ($ty, $bit));
                let decoded = $module::$name::decode(frame.payload).unwrap();
                assert_eq!(decoded, message);
                assert_eq!(decoded.into_owned(), message);
            });
        };
    }
    every_message!(row);
}

// proves: ENC-14
#[test]
fn every_message_refuses_a_payload_that_is_cut() {
    macro_rules! row {
        (
            $extension:literal $ty:literal $bit:literal $sender:ident $protocol:expr,
            $module:ident::$name:ident = $($sri:ident)::+ { $($field:ident),+ } $fixed:literal [$($variable:ident),*]
        ) => {
            for_each(messages_of!($module::$name { $($field),+ }), |message| {
                let whole = payload(&message);
                for len in (0..whole.len()).rev().take(80).chain(0..whole.len().min(80)) {
                    let error = $module::$name::decode(&whole[..len]).unwrap_err();
                    assert_eq!(error.message, $module::$name::NAME);
                    assert!([$(stringify!($field)),+].contains(&error.field), "{error}");
                }
            });
        };
    }
    every_message!(row);
}

// proves: ENC-15 CW-24 TLV-01
#[test]
fn every_message_tolerates_bytes_behind_its_last_field() {
    macro_rules! row {
        (
            $extension:literal $ty:literal $bit:literal $sender:ident $protocol:expr,
            $module:ident::$name:ident = $($sri:ident)::+ { $($field:ident),+ } $fixed:literal [$($variable:ident),*]
        ) => {
            for_each(messages_of!($module::$name { $($field),+ }), |message| {
                let mut longer = payload(&message);
                longer.extend_from_slice(&[0x02, 0x00, 0x01, 0xff]);
                assert_eq!($module::$name::decode(&longer).unwrap(), message);
            });
        };
    }
    every_message!(row);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    // proves: ENC-14 ENC-16
    #[test]
    fn arbitrary_payloads_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        macro_rules! row {
            (
                $extension:literal $ty:literal $bit:literal $sender:ident $protocol:expr,
                $module:ident::$name:ident = $($sri:ident)::+ { $($field:ident),+ } $fixed:literal [$($variable:ident),*]
            ) => {
                if let Ok(message) = $module::$name::decode(&bytes) {
                    let again = payload(&message);
                    prop_assert!(again.len() <= bytes.len());
                    prop_assert_eq!($module::$name::decode(&again).unwrap(), message);
                }
            };
        }
        every_message!(row);
    }

    // proves: FR-19
    #[test]
    fn arbitrary_frames_never_panic(
        extension in 0_u16..4,
        msg_type in any::<u8>(),
        bit in any::<bool>(),
        payload in proptest::collection::vec(any::<u8>(), 4..120),
    ) {
        let length = u32::try_from(payload.len()).unwrap();
        let header = assay_sv2::Header { extension_type: extension, channel_msg: bit, msg_type, length };
        let frame = Frame { header, payload: &payload };
        let known = catalogue::find(extension, msg_type).is_some();
        macro_rules! decodes {
            ($($received:ty),+) => {$(
                match <$received>::decode_with_tlvs(frame) {
                    Ok((message, tlvs)) => {
                        prop_assert_eq!(!known, message.name() == "unknown message");
                        prop_assert!(tlvs.as_bytes().len() <= payload.len());
                    }
                    Err(_) => prop_assert!(known),
                }
            )+};
        }
        decodes!(
            mining::MiningFromClient<'_>, mining::MiningFromServer<'_>,
            job_declaration::JobDeclarationFromClient<'_>, job_declaration::JobDeclarationFromServer<'_>,
            template_distribution::TemplateDistributionFromClient<'_>,
            template_distribution::TemplateDistributionFromServer<'_>
        );
        let _ = setup::SetupConnection::first(frame);
        let _ = setup::SetupReply::first(frame);
    }
}
