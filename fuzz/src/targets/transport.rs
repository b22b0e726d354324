//! Sealed frames that are cut, repeated, reordered, damaged and mixed with rubbish, in pieces of any size:
//! what comes out is a beginning of what was sealed, and after the first wrong byte nothing.

use super::handshake::{NOW, SERVER, rng};
use crate::input::Input;
use std::sync::LazyLock;
use sv2::frame::{Frame, HEADER_LEN};
use sv2::noise::{
    ACT_1_LEN, Initiator, MAX_CHUNK_LEN, NoiseError, Opened, Opener, Responder, SEALED_HEADER_LEN, TAG_LEN,
    Trust, sealed_frame_len,
};

/// What a client sealed, once and for all, and what makes the server's keys for it.
struct Conversation {
    act_1: [u8; ACT_1_LEN],
    plain: Vec<Vec<u8>>,
    sealed: Vec<Vec<u8>>,
}

static CONVERSATION: LazyLock<Conversation> = LazyLock::new(|| {
    let client = Initiator::new(Trust::Authority(SERVER.authority()), &mut rng(4));
    let act_1 = client.act_1();
    let (act_2, _) = Responder::new(&SERVER).step(&act_1, NOW, &mut rng(5)).expect("any 64 bytes are a key");
    let (mut sealer, _) = client.finish(&act_2, NOW).expect("nobody interfered").split();
    let mut plain: Vec<Vec<u8>> = crate::samples::frames().into_iter().step_by(9).take(9).collect();
    for len in [0, 1, MAX_CHUNK_LEN, MAX_CHUNK_LEN + 1, 2 * MAX_CHUNK_LEN + 7] {
        let [low, middle, high, _] = u32::try_from(len).expect("less than a frame's limit").to_le_bytes();
        let mut frame = vec![0xff, 0x7f, 9, low, middle, high];
        frame.extend((0..len).map(|at| at.to_le_bytes()[0]));
        plain.push(frame);
    }
    let sealed = plain
        .iter()
        .map(|frame| {
            let mut sealed = Vec::new();
            sealer.seal_frame(frame, None, &mut sealed).expect("a whole frame can be sealed");
            assert_eq!(sealed.len(), sealed_frame_len(frame.len() - HEADER_LEN));
            sealed
        })
        .collect();
    Conversation { act_1, plain, sealed }
});

/// The payload limit, the sizes of up to eight pieces, then what becomes of the frames.
pub fn transport(data: &[u8]) {
    let Conversation { act_1, plain, sealed } = &*CONVERSATION;
    let mut input = Input::new(data);
    let own_limit = u32::from(input.u16());
    let limit = input.pick(&[1 << 24, 1 << 16, 2048, own_limit]);
    let pieces = input.array::<8>();
    let stream = Stream::tampered(sealed, input);

    let whole = |limit: u32| plain.iter().take_while(move |frame| frame.len() - HEADER_LEN <= limit as usize);
    let expected = whole(limit).count().min(stream.intact);
    let (_, transport) =
        Responder::new(&SERVER).step(act_1, NOW, &mut rng(5)).expect("any 64 bytes are a key");
    let (_, mut opener) = transport.split();
    let (count, error) = open(&mut opener, &stream.bytes, limit, pieces, plain);
    assert_eq!(count, expected, "{error:?}");
    match error {
        Some(NoiseError::Frame(_)) => assert!(plain[count].len() - HEADER_LEN > limit as usize),
        Some(error) => {
            assert_eq!(error, NoiseError::Authentication);
            assert!(stream.bytes.len() > stream.intact_bytes, "nothing was wrong");
        }
        None => {}
    }
    if error.is_some() {
        let mut good = sealed[0].clone();
        assert_eq!(opener.next_frame(&mut good, limit), Err(NoiseError::Ended));
    }
}

/// Opens the stream piece by piece, as a server does: how many frames came, and what ended it.
fn open(
    opener: &mut Opener,
    stream: &[u8],
    limit: u32,
    pieces: [u8; 8],
    plain: &[Vec<u8>],
) -> (usize, Option<NoiseError>) {
    let mut buffer: Vec<u8> = Vec::new();
    let (mut arrived, mut count, mut needed) = (0, 0, 0);
    for size in pieces.into_iter().cycle() {
        // Small pieces for what is small, and yet an end to what is large.
        let size = usize::from(size).max(1 + stream.len() / 64);
        let piece = &stream[arrived..stream.len().min(arrived + size)];
        arrived += piece.len();
        buffer.extend_from_slice(piece);
        while !buffer.is_empty() {
            match opener.next_frame(&mut buffer, limit) {
                Ok(Opened::Frame { frame: Frame { header, payload }, consumed }) => {
                    assert!(consumed >= needed, "it was not there yet");
                    assert_eq!(header.to_bytes().expect("it was read")[..], plain[count][..HEADER_LEN]);
                    assert_eq!(payload, &plain[count][HEADER_LEN..]);
                    buffer.drain(..consumed);
                    (count, needed) = (count + 1, 0);
                }
                Ok(Opened::NeedMore(more)) => {
                    assert!(more > buffer.len(), "more was asked for than is there");
                    assert!(more <= buffer.len().max(SEALED_HEADER_LEN) + MAX_CHUNK_LEN + TAG_LEN);
                    needed = more;
                    break;
                }
                Err(error) => return (count, Some(error)),
            }
        }
        if arrived == stream.len() {
            return (count, None);
        }
    }
    unreachable!("a cycle has no end");
}

/// A stream made of the sealed frames.
struct Stream {
    bytes: Vec<u8>,
    /// How many frames at its front are as they were sealed, and how long they are.
    intact: usize,
    intact_bytes: usize,
}

impl Stream {
    fn tampered(sealed: &[Vec<u8>], mut input: Input<'_>) -> Self {
        let mut bytes = Vec::new();
        let mut next = 0;
        for _ in 0..24 {
            if input.is_empty() {
                break;
            }
            let (what, which) = (input.below(6), input.below(sealed.len()));
            let frame = if what == 1 { &sealed[which] } else { &sealed[next % sealed.len()] };
            match what {
                0 => bytes.extend_from_slice(frame),
                1 => bytes.extend_from_slice(frame),
                2 => bytes.extend_from_slice(input.short()),
                3 => {
                    let from = bytes.len();
                    bytes.extend_from_slice(frame);
                    let at = from + input.u32() as usize % frame.len();
                    bytes[at] ^= input.byte();
                }
                4 => bytes.extend_from_slice(&frame[..input.u32() as usize % frame.len()]),
                // The next one is lost.
                _ => {}
            }
            next += usize::from(what != 1 && what != 2);
        }
        let mut intact_bytes = 0;
        let mut intact = 0;
        for frame in sealed {
            if !bytes[intact_bytes..].starts_with(frame) {
                break;
            }
            intact_bytes += frame.len();
            intact += 1;
        }
        Self { bytes, intact, intact_bytes }
    }
}

/// All frames as they were sealed, then each kind of tampering.
pub fn seeds() -> Vec<Vec<u8>> {
    let prefix = |limit: u8, piece: u8| [vec![40, 0, limit], vec![piece; 8]].concat();
    let order = [0, 0].repeat(14);
    let mut seeds = vec![
        [prefix(0, 255), order.clone()].concat(),
        [prefix(0, 1), order[..10].to_vec()].concat(),
        [prefix(1, 50), order.clone()].concat(),
        [prefix(2, 200), order.clone()].concat(),
        [prefix(3, 9), order].concat(),
    ];
    for tampering in [
        vec![0, 0, 1, 3, 0, 0],
        vec![0, 0, 2, 0, 5, 1, 2, 3, 4, 5],
        vec![0, 0, 3, 0, 7, 0, 0, 0, 1],
        vec![0, 0, 4, 0, 23, 0, 0, 0, 0, 0],
        vec![0, 0, 5, 0, 0, 0],
        vec![0, 0, 1, 0],
    ] {
        seeds.push([prefix(0, 16), tampering].concat());
    }
    seeds
}
