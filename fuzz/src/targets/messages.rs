//! Every message of every protocol, from both sides: what is decoded can be encoded, is then the same, and
//! takes exactly the bytes that it was read from.

use crate::input::Input;
use crate::{for_every_message, samples};
use std::fmt::Write;
use sv2::catalogue::{CATALOGUE, Entry, find};
use sv2::codec::Reader;
use sv2::extensions::TlvArea;
use sv2::frame::FirstFrame;
use sv2::job_declaration::{JobDeclarationFromClient, JobDeclarationFromServer};
use sv2::mining::{MiningFromClient, MiningFromServer};
use sv2::setup::{Protocol, SetupConnection, SetupReply};
use sv2::template_distribution::{TemplateDistributionFromClient, TemplateDistributionFromServer};
use sv2::{Frame, Header, MAX_PAYLOAD_LEN, Message, ProtocolError, Sender, encode_frame};

/// Debug output is made of messages up to this length; of longer ones it is only slow.
const SHOWN: usize = 600;

/// How to take the next two numbers, then extension and type of the message, then its payload.
pub fn messages(data: &[u8]) {
    let mut input = Input::new(data);
    let (how, low, high) = (input.byte(), input.byte(), input.byte());
    let (extension_type, msg_type) = if how & 1 == 0 {
        let entry = &CATALOGUE[usize::from(low) % CATALOGUE.len()];
        (entry.extension, entry.msg_type)
    } else {
        ((u16::from(how >> 1) << 8) | u16::from(high), low)
    };
    let payload = input.rest();
    let Ok(length) = u32::try_from(payload.len()) else { return };
    let header =
        Header { extension_type, channel_msg: payload.len() >= 4 && how & 0x80 != 0, msg_type, length };
    let frame = Frame { header, payload };
    let decodes = decode_alone(&frame);
    assert_eq!(decodes.is_some(), find(extension_type, msg_type).is_some());
    decode_in_each_role(frame, decodes.unwrap_or(false));
}

/// Decodes the frame as the message that it says it is: whether that can be done; `None` if there is no
/// such message.
fn decode_alone(frame: &Frame<'_>) -> Option<bool> {
    let key = (frame.header.extension_type, frame.header.msg_type);
    let payload = frame.payload;
    macro_rules! decode {
        ($($message:path,)+) => {$({
            use $message as M;
            if key == (M::EXTENSION, M::TYPE) {
                let mut reader = Reader::new(payload);
                let message = match M::read(&mut reader) {
                    Ok(message) => message,
                    Err(error) => {
                        assert_eq!(error.message, M::NAME);
                        assert!(!error.to_string().is_empty());
                        return Some(false);
                    }
                };
                let read = payload.len() - reader.rest().len();
                assert_eq!(M::decode(payload).as_ref(), Ok(&message), "what follows is no part of it");
                let mut encoded = Vec::new();
                message.encode_payload(&mut encoded);
                assert_eq!(encoded.len(), read, "as long as it came");
                let again = M::decode(&encoded).expect("what was encoded can be decoded");
                assert_eq!(again, message);
                let mut twice = Vec::new();
                again.encode_payload(&mut twice);
                assert_eq!(twice, encoded, "encoding is canonical");
                check_frame(&message, &encoded);
                if payload.len() < SHOWN {
                    let mut shown = String::new();
                    write!(shown, "{message:?}").expect("a string takes any text");
                }
                let owned = message.clone().into_owned();
                assert_eq!(owned, message);
                return Some(true);
            }
        })+};
    }
    for_every_message!(decode []);
    None
}

fn check_frame<'m>(message: &impl Message<'m>, payload: &[u8]) {
    fn of<'m, M: Message<'m>>(_: &M) -> (u16, u8, bool) {
        (M::EXTENSION, M::TYPE, M::CHANNEL_BIT)
    }
    let mut frame = Vec::new();
    encode_frame(message, &mut frame).expect("a message that was read fits a frame");
    let Ok(FirstFrame::Frame { frame: read, consumed }) = Frame::first(&frame, MAX_PAYLOAD_LEN) else {
        panic!("an encoded frame is one");
    };
    assert_eq!((consumed, read.payload), (frame.len(), payload));
    let header = read.header;
    assert_eq!((header.extension_type, header.msg_type, header.channel_msg), of(message));
}

/// What each side of each protocol makes of the frame.
fn decode_in_each_role(frame: Frame<'_>, decodes: bool) {
    macro_rules! role {
        ($received:ident, $protocol:ident, $sender:ident) => {{
            let belongs = find(frame.header.extension_type, frame.header.msg_type)
                .map(|entry| belongs(entry, Protocol::$protocol, Sender::$sender));
            match ($received::decode_with_tlvs(frame), belongs) {
                (Ok(($received::Unknown(unknown), tlvs)), None) => {
                    assert!(unknown == frame && tlvs == TlvArea::EMPTY);
                }
                (Ok((message, tlvs)), Some(true)) => {
                    assert!(decodes && !matches!(message, $received::Unknown(_)));
                    assert!(frame.payload.ends_with(tlvs.as_bytes()));
                    assert_eq!($received::decode(frame), Ok(message));
                }
                (Err(ProtocolError::Decode(_)), Some(true)) => assert!(!decodes),
                (Err(ProtocolError::Unexpected { .. }), Some(false)) => {}
                (result, belongs) => panic!("{result:?} where belongs is {belongs:?}"),
            }
        }};
    }
    role!(MiningFromClient, Mining, Client);
    role!(MiningFromServer, Mining, Server);
    role!(JobDeclarationFromClient, JobDeclaration, Client);
    role!(JobDeclarationFromServer, JobDeclaration, Server);
    role!(TemplateDistributionFromClient, TemplateDistribution, Client);
    role!(TemplateDistributionFromServer, TemplateDistribution, Server);
    let core = frame.header.extension_type == 0;
    let first = SetupConnection::first(frame);
    assert_eq!(first.is_ok(), decodes && core && frame.header.msg_type == 0);
    let reply = SetupReply::first(frame);
    assert_eq!(reply.is_ok(), decodes && core && matches!(frame.header.msg_type, 1 | 2));
}

/// Whether `sender` may send the message once a connection of `protocol` is set up.
fn belongs(entry: &Entry, protocol: Protocol, sender: Sender) -> bool {
    let sets_up = entry.extension == 0 && entry.msg_type <= 2;
    !sets_up
        && entry.protocol.is_none_or(|of| of == protocol)
        && (entry.sender == Sender::Both || entry.sender == sender)
}

/// Every message, alone and with something behind it, and one that nobody knows.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![1, 0x1e, 0, 5, 6, 7], vec![3, 9, 9]];
    for frame in samples::frames() {
        let extension = u16::from_le_bytes([frame[0], frame[1] & 0x7f]);
        let Some(index) =
            CATALOGUE.iter().position(|entry| (entry.extension, entry.msg_type) == (extension, frame[2]))
        else {
            continue;
        };
        let index = u8::try_from(index).expect("there are 44 messages");
        let channel = frame[1] & 0x80;
        let mut seed = vec![channel, index, 0];
        seed.extend_from_slice(samples::payload(&frame));
        seeds.push(seed.clone());
        // Worker "r1" behind it.
        seed.extend([2, 0, 1, 2, 0, b'r', b'1']);
        seeds.push(seed);
    }
    seeds
}
