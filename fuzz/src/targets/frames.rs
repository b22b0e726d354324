//! Frames in a byte stream: found whole or piece by piece, they are the same, and they are what an
//! independent reading of the specification finds.

use crate::input::Input;
use sv2::frame::{FirstFrame, FrameError};
use sv2::{Frame, HEADER_LEN, Header, MAX_PAYLOAD_LEN};

/// How a stream goes on behind its last whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NeedMore(usize),
    Error(FrameError),
}

/// A limit, the sizes of up to eight pieces, then the stream.
pub fn frames(data: &[u8]) {
    let mut input = Input::new(data);
    let own_limit = u32::from(input.u16());
    let limit = input.pick(&[own_limit, 2048, 1 << 17, MAX_PAYLOAD_LEN]);
    let pieces = input.array::<8>();
    let stream = input.rest();
    let (expected, end) = read_by_hand(stream, limit);

    let (mut found, mut rest) = (Vec::new(), stream);
    let last = loop {
        match first(rest, limit) {
            Ok((frame, consumed)) => {
                found.push(frame);
                rest = &rest[consumed..];
            }
            Err(end) => break end,
        }
    };
    assert_eq!((&found, last), (&expected, end));
    for frame in &found {
        check_forwarding(frame);
    }

    let (mut arrived, mut sizes) = (0, pieces.iter().cycle());
    let (mut start, mut count, mut last) = (0, 0, End::NeedMore(HEADER_LEN));
    while arrived < stream.len() && !matches!(last, End::Error(_)) {
        let size = usize::from(*sizes.next().expect("a cycle has no end")).max(1);
        arrived = stream.len().min(arrived + size);
        last = loop {
            match first(&stream[start..arrived], limit) {
                Ok((frame, consumed)) => {
                    assert_eq!(frame, expected[count]);
                    count += 1;
                    start += consumed;
                }
                Err(end) => break end,
            }
        };
    }
    // A header that is wrong is an error as soon as it is there; what follows does not matter.
    assert_eq!((count, last), (expected.len(), end));
}

fn first(bytes: &[u8], limit: u32) -> Result<(Frame<'_>, usize), End> {
    match Frame::first(bytes, limit) {
        Ok(FirstFrame::Frame { frame, consumed }) => {
            assert!(consumed >= HEADER_LEN && consumed <= bytes.len());
            Ok((frame, consumed))
        }
        Ok(FirstFrame::NeedMore(needed)) => {
            assert!(needed > bytes.len(), "more was asked for than is there");
            assert!(needed <= HEADER_LEN + limit as usize, "the limit bounds what is waited for");
            Err(End::NeedMore(needed))
        }
        Err(error) => Err(End::Error(error)),
    }
}

/// The same without the code under test, from the specification's table.
fn read_by_hand(mut stream: &[u8], limit: u32) -> (Vec<Frame<'_>>, End) {
    let mut frames = Vec::new();
    loop {
        if stream.len() < 6 {
            return (frames, End::NeedMore(6));
        }
        let word = u16::from(stream[0]) + 256 * u16::from(stream[1]);
        let length = u32::from(stream[3]) + (u32::from(stream[4]) << 8) + (u32::from(stream[5]) << 16);
        let header = Header {
            extension_type: word & 0x7fff,
            channel_msg: stream[1] >= 0x80,
            msg_type: stream[2],
            length,
        };
        if header.channel_msg && length < 4 {
            return (frames, End::Error(FrameError::NoChannelId(length)));
        }
        if length > limit {
            return (frames, End::Error(FrameError::OverLimit { len: length, limit }));
        }
        let end = 6 + length as usize;
        if stream.len() < end {
            return (frames, End::NeedMore(end));
        }
        frames.push(Frame { header, payload: &stream[6..end] });
        stream = &stream[end..];
    }
}

fn check_forwarding(frame: &Frame<'_>) {
    let header = frame.header.to_bytes().expect("what was read can be written");
    assert_eq!(Header::from_bytes(header), Ok(frame.header));
    let mut forwarded = vec![7];
    let sent = frame.forward(0x0102_0304, &mut forwarded);
    assert_eq!(sent.is_ok(), frame.header.channel_msg);
    assert_eq!(frame.channel_id().is_some(), frame.header.channel_msg);
    if sent.is_err() {
        return assert_eq!(forwarded, [7], "a refused frame leaves nothing behind");
    }
    let (other, _) = first(&forwarded[1..], MAX_PAYLOAD_LEN).expect("a whole frame was written");
    assert_eq!((other.header, other.channel_id()), (frame.header, Some(0x0102_0304)));
    assert_eq!(other.payload[4..], frame.payload[4..]);
}

/// Streams of one and of several frames, and of what is none.
pub fn seeds() -> Vec<Vec<u8>> {
    let prefix = |limit: u16, choice: u8, piece: u8| {
        let mut seed = limit.to_le_bytes().to_vec();
        seed.push(choice);
        seed.extend([piece; 8]);
        seed
    };
    let messages = crate::samples::frames();
    let mut seeds: Vec<Vec<u8>> =
        messages.chunks(6).map(|frames| [prefix(500, 2, 7), frames.concat()].concat()).collect();
    seeds.push([prefix(3, 0, 1), messages[0].clone()].concat());
    // A channel message without room for its channel id.
    seeds.push([prefix(0, 3, 255), vec![0, 0x80, 0x1a, 3, 0, 0, 1, 2, 3]].concat());
    seeds
}
