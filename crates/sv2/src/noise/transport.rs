use {
    super::cipher::{Cipher, CipherError},
    crate::{
        frame::{EncodeError, Frame, FrameError, HEADER_LEN, Header, header_of},
        message::Message,
    },
    std::fmt,
    thiserror::Error,
};

pub use super::cipher::TAG_LEN;

/// Greatest plaintext of one seal in bytes (NS-26, LIM-02).
pub const MAX_CHUNK_LEN: usize = 65_535 - TAG_LEN;

/// Length of a sealed header in bytes (NS-25, LIM-03).
pub const SEALED_HEADER_LEN: usize = HEADER_LEN + TAG_LEN;

/// Length of a sealed payload, given that of its plaintext, both in bytes (NS-27). Nothing stays nothing.
pub const fn sealed_payload_len(payload_len: usize) -> usize {
    payload_len + TAG_LEN * payload_len.div_ceil(MAX_CHUNK_LEN)
}

/// Length of a sealed frame, given that of its plaintext payload, both in bytes.
pub const fn sealed_frame_len(payload_len: usize) -> usize {
    SEALED_HEADER_LEN + sealed_payload_len(payload_len)
}

/// What a handshake leaves: a key for each direction.
pub struct Transport {
    outgoing: Cipher,
    incoming: Cipher,
}

impl Transport {
    pub(super) fn new(outgoing: Cipher, incoming: Cipher) -> Self {
        Self { outgoing, incoming }
    }

    /// The two directions, each on its own.
    pub fn split(self) -> (Sealer, Opener) {
        (Sealer(self.outgoing), Opener { cipher: self.incoming, state: State::Header })
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

/// Seals outgoing frames.
///
/// What was sealed must be sent, in order and whole: after a write that was given up half way, drop the
/// connection (NS-34).
pub struct Sealer(Cipher);

/// A frame that was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// The frame itself cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The key has sealed all that it may (NS-29).
    #[error("this connection has sent as many messages as its key may protect; reconnect")]
    Exhausted,
}

impl From<CipherError> for SealError {
    fn from(_: CipherError) -> Self {
        Self::Exhausted
    }
}

impl Sealer {
    #[cfg(test)]
    pub(super) fn with_counter(key: [u8; 32], counter: u64) -> Self {
        Self(Cipher::with_counter(key, counter))
    }

    /// Appends `message` to `out` as one sealed frame. On an error `out` is left as it was, and the key
    /// is not used.
    ///
    /// The message is encoded at its final place and sealed there.
    pub fn seal_message<'m>(
        &mut self,
        message: &impl Message<'m>,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let start = out.len();
        out.extend_from_slice(&[0; SEALED_HEADER_LEN]);
        message.encode_payload(out);
        let sealed = header_of(message, out.len() - start - SEALED_HEADER_LEN)
            .map_err(SealError::from)
            .and_then(|header| self.seal_appended(&header, start, out));
        if sealed.is_err() {
            out.truncate(start);
        }
        sealed
    }

    /// Appends a plaintext frame that was encoded before, such as a job that many connections get. With
    /// `channel_id`, that channel is addressed instead of the one in the frame.
    pub fn seal_frame(
        &mut self,
        plain_frame: &[u8],
        channel_id: Option<u32>,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let not_a_frame = EncodeError::NotAFrame { len: plain_frame.len() };
        let (header, payload) = plain_frame.split_first_chunk().ok_or(not_a_frame)?;
        let header = Header::from_bytes(*header).map_err(|_| not_a_frame)?;
        if header.payload_len() != payload.len() {
            return Err(not_a_frame.into());
        }
        self.seal(Frame { header, payload }, channel_id, out)
    }

    /// Appends `frame`. With `channel_id`, that channel is addressed instead of the one in the frame; a
    /// frame that is for no channel stays as it is. Nothing else changes (FR-14).
    pub fn seal(
        &mut self,
        frame: Frame<'_>,
        channel_id: Option<u32>,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        if frame.header.payload_len() != frame.payload.len() {
            return Err(EncodeError::NotAFrame { len: HEADER_LEN + frame.payload.len() }.into());
        }
        let start = out.len();
        out.extend_from_slice(&[0; SEALED_HEADER_LEN]);
        match (channel_id, frame.behind_channel_id()) {
            (Some(channel_id), Some(rest)) => {
                out.extend_from_slice(&channel_id.to_le_bytes());
                out.extend_from_slice(rest);
            }
            _ => out.extend_from_slice(frame.payload),
        }
        let sealed = self.seal_appended(&frame.header, start, out);
        if sealed.is_err() {
            out.truncate(start);
        }
        sealed
    }

    /// Seals what stands in `out` from `start` on: room for the sealed header, then the payload.
    fn seal_appended(&mut self, header: &Header, start: usize, out: &mut Vec<u8>) -> Result<(), SealError> {
        let payload_len = header.payload_len();
        let header = header.to_bytes()?;
        let chunks = payload_len.div_ceil(MAX_CHUNK_LEN);
        // All seals of a frame or none: half a frame would end the connection anyway.
        if self.0.left() < 1 + chunks as u64 {
            return Err(SealError::Exhausted);
        }
        assert_eq!(out.len(), start + SEALED_HEADER_LEN + payload_len, "the payload was appended");

        out.resize(start + sealed_frame_len(payload_len), 0);
        let (sealed_header, payload) = out[start..].split_at_mut(SEALED_HEADER_LEN);
        spread_chunks(payload, payload_len);

        self.seal_slot(sealed_header, Some(&header))?;
        for chunk in payload.chunks_mut(MAX_CHUNK_LEN + TAG_LEN) {
            self.seal_slot(chunk, None)?;
        }
        Ok(())
    }

    /// Seals a plaintext that is followed by room for its MAC.
    fn seal_slot(&mut self, slot: &mut [u8], plain: Option<&[u8]>) -> Result<(), CipherError> {
        let (body, tag) = slot.split_at_mut(slot.len() - TAG_LEN);
        if let Some(plain) = plain {
            body.copy_from_slice(plain);
        }
        tag.copy_from_slice(&self.0.seal(&[], body)?);
        Ok(())
    }
}

/// Moves the chunks of a payload apart, to make room for a MAC behind each. From the back, so that no
/// chunk runs over another. A payload of one chunk stays where it is.
fn spread_chunks(payload: &mut [u8], payload_len: usize) {
    for index in (1..payload_len.div_ceil(MAX_CHUNK_LEN)).rev() {
        let from = index * MAX_CHUNK_LEN;
        let until = payload_len.min(from + MAX_CHUNK_LEN);
        payload.copy_within(from..until, from + index * TAG_LEN);
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

/// Opens incoming frames.
///
/// It has no buffer. The caller keeps the bytes from the start of a frame until the frame is whole, and
/// the opener remembers how far it has come in them, so that nothing is opened twice.
pub struct Opener {
    cipher: Cipher,
    state: State,
}

/// How far the frame at the front of the caller's buffer was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing yet.
    Header,
    /// The header, and as many bytes of the payload, which stand behind the sealed header.
    Payload { header: Header, opened: usize },
    /// An error ended the session (NS-14).
    Failed,
}

/// What [`Opener::next_frame`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened<'b> {
    /// Come back when the buffer holds this many bytes, counted from the frame's start, with the bytes
    /// that are there now left as they are. Never more than a chunk beyond what was authenticated, so a
    /// header that promises 16 MB reserves nothing (NS-28).
    NeedMore(usize),
    /// A frame, and how many bytes of the buffer it took.
    Frame {
        /// The frame. Its payload is contiguous, also where it was sealed in chunks.
        frame: Frame<'b>,
        /// Length of the sealed frame.
        consumed: usize,
    },
}

/// Incoming bytes that end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoiseError {
    /// Forged, damaged, or out of order.
    #[error("a received message failed authentication; the connection was tampered with or is out of step")]
    Authentication,
    /// The peer has sealed all that its key may protect (NS-29).
    #[error("this connection has received as many messages as its key may protect; reconnect")]
    Exhausted,
    /// The frame is not acceptable.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// An earlier error ended the session.
    #[error("the session ended with an earlier error; reconnect")]
    Ended,
}

impl From<CipherError> for NoiseError {
    fn from(error: CipherError) -> Self {
        match error {
            CipherError::Exhausted => Self::Exhausted,
            CipherError::Authentication => Self::Authentication,
        }
    }
}

impl Opener {
    #[cfg(test)]
    pub(super) fn with_counter(key: [u8; 32], counter: u64) -> Self {
        Self { cipher: Cipher::with_counter(key, counter), state: State::Header }
    }

    /// Opens the frame at the front of `buf`, in place. Frames with a payload of more than
    /// `payload_limit` bytes are an error as soon as their header is there.
    ///
    /// After an error every further call fails (NS-14).
    pub fn next_frame<'b>(
        &mut self,
        buf: &'b mut [u8],
        payload_limit: u32,
    ) -> Result<Opened<'b>, NoiseError> {
        match self.advance(buf, payload_limit) {
            Ok(Progress::NeedMore(needed)) => Ok(Opened::NeedMore(needed)),
            Ok(Progress::Whole(header)) => {
                let payload = &buf[SEALED_HEADER_LEN..SEALED_HEADER_LEN + header.payload_len()];
                let consumed = sealed_frame_len(header.payload_len());
                Ok(Opened::Frame { frame: Frame { header, payload }, consumed })
            }
            Err(error) => {
                self.state = State::Failed;
                Err(error)
            }
        }
    }

    fn advance(&mut self, buf: &mut [u8], payload_limit: u32) -> Result<Progress, NoiseError> {
        let (header, mut opened) = match self.state {
            State::Failed => return Err(NoiseError::Ended),
            State::Payload { header, opened } => (header, opened),
            State::Header => match self.open_header(buf, payload_limit)? {
                Some(header) => (header, 0),
                None => return Ok(Progress::NeedMore(SEALED_HEADER_LEN)),
            },
        };
        let payload_len = header.payload_len();
        while opened < payload_len {
            let from = sealed_frame_len(opened);
            let chunk_len = MAX_CHUNK_LEN.min(payload_len - opened);
            let until = from + chunk_len + TAG_LEN;
            let Some(chunk) = buf.get_mut(from..until) else {
                self.state = State::Payload { header, opened };
                return Ok(Progress::NeedMore(until));
            };
            self.cipher.open(&[], chunk)?;
            // Closes the gap that the MACs before this chunk left.
            if opened > 0 {
                buf.copy_within(from..from + chunk_len, SEALED_HEADER_LEN + opened);
            }
            opened += chunk_len;
        }
        self.state = State::Header;
        Ok(Progress::Whole(header))
    }

    fn open_header(&mut self, buf: &mut [u8], payload_limit: u32) -> Result<Option<Header>, NoiseError> {
        let Some(sealed) = buf.first_chunk_mut::<SEALED_HEADER_LEN>() else {
            return Ok(None);
        };
        self.cipher.open(&[], sealed)?;
        let [a, b, c, d, e, f, ..] = *sealed;
        let header = Header::from_bytes([a, b, c, d, e, f])?;
        header.check_limit(payload_limit)?;
        Ok(Some(header))
    }
}

enum Progress {
    NeedMore(usize),
    Whole(Header),
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("state", &self.state).finish_non_exhaustive()
    }
}
