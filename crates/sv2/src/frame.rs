//! Frames: a header of six bytes and a payload (specification §3.2).

use {
    crate::{codec::U24, message::Message},
    thiserror::Error,
};

/// Length of a header in bytes (FR-01).
pub const HEADER_LEN: usize = 6;

/// Greatest payload in bytes, 2^24 − 1 (FR-12, LIM-01).
pub const MAX_PAYLOAD_LEN: u32 = U24::MAX.get();

/// `channel_msg` is the top bit of the extension word, which travels in its second byte (FR-06).
const CHANNEL_BIT: u16 = 0x8000;

/// Length of the channel id that opens the payload of a channel message.
const CHANNEL_ID_LEN: usize = 4;

/// What stands before every payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The extension that defined the message, without the channel bit (FR-07); 0 for core messages.
    pub extension_type: u16,
    /// Whether the payload opens with the id of the channel that the message is for (FR-08).
    pub channel_msg: bool,
    /// The message within its extension.
    pub msg_type: u8,
    /// Length of the plaintext payload in bytes (FR-02).
    pub length: u32,
}

impl Header {
    /// Reads a header. A channel message must have room for its channel id (FR-08).
    pub fn from_bytes(bytes: [u8; HEADER_LEN]) -> Result<Self, FrameError> {
        let [ext_low, ext_high, msg_type, length @ ..] = bytes;
        let word = u16::from_le_bytes([ext_low, ext_high]);
        let header = Self {
            extension_type: word & !CHANNEL_BIT,
            channel_msg: word & CHANNEL_BIT != 0,
            msg_type,
            length: U24::from_le_bytes(length).get(),
        };
        if header.channel_msg && header.payload_len() < CHANNEL_ID_LEN {
            return Err(FrameError::NoChannelId(header.length));
        }
        Ok(header)
    }

    /// Writes a header. Refuses what the wire cannot carry instead of truncating it (FR-12).
    pub fn to_bytes(&self) -> Result<[u8; HEADER_LEN], EncodeError> {
        let too_long = EncodeError::PayloadTooLong { len: self.payload_len() };
        let [len_0, len_1, len_2] = U24::new(self.length).ok_or(too_long)?.to_le_bytes();
        if self.extension_type & CHANNEL_BIT != 0 {
            return Err(EncodeError::ExtensionId(self.extension_type));
        }
        let channel_bit = if self.channel_msg { CHANNEL_BIT } else { 0 };
        let [ext_low, ext_high] = (self.extension_type | channel_bit).to_le_bytes();
        Ok([ext_low, ext_high, self.msg_type, len_0, len_1, len_2])
    }

    /// `length` as a `usize`.
    pub fn payload_len(&self) -> usize {
        usize::try_from(self.length).expect("24 bits fit a usize")
    }

    pub(crate) fn check_limit(&self, payload_limit: u32) -> Result<(), FrameError> {
        if self.length > payload_limit {
            return Err(FrameError::OverLimit { len: self.length, limit: payload_limit });
        }
        Ok(())
    }
}

/// One frame in plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub header: Header,
    /// As many bytes as the header says.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes the first frame from `bytes`, which may hold less than one, or several (FR-21).
    ///
    /// For plaintext links; [`crate::noise::Opener`] does the same for encrypted ones.
    pub fn first(bytes: &'a [u8], payload_limit: u32) -> Result<FirstFrame<'a>, FrameError> {
        let Some(header) = bytes.first_chunk() else {
            return Ok(FirstFrame::NeedMore(HEADER_LEN));
        };
        let header = Header::from_bytes(*header)?;
        header.check_limit(payload_limit)?;
        let len = HEADER_LEN + header.payload_len();
        let Some(payload) = bytes.get(HEADER_LEN..len) else {
            return Ok(FirstFrame::NeedMore(len));
        };
        Ok(FirstFrame::Frame { frame: Self { header, payload }, consumed: len })
    }

    /// The channel that a channel message is for.
    pub fn channel_id(&self) -> Option<u32> {
        let id = self.payload.first_chunk::<CHANNEL_ID_LEN>()?;
        self.header.channel_msg.then(|| u32::from_le_bytes(*id))
    }

    /// Appends the frame to `out`, unchanged but for the channel id, as a proxy passes on a channel
    /// message of an extension that it does not know (FR-13, FR-14).
    ///
    /// Refuses a frame without a channel id: it was for this hop, and is not to be passed on.
    pub fn forward(&self, channel_id: u32, out: &mut Vec<u8>) -> Result<(), ForwardError> {
        let rest = self.behind_channel_id().ok_or(ForwardError::NotForAChannel)?;
        let header = self.header.to_bytes()?;
        out.extend_from_slice(&header);
        out.extend_from_slice(&channel_id.to_le_bytes());
        out.extend_from_slice(rest);
        Ok(())
    }

    /// The payload behind the channel id.
    pub(crate) fn behind_channel_id(&self) -> Option<&'a [u8]> {
        self.channel_id().map(|_| &self.payload[CHANNEL_ID_LEN..])
    }
}

/// What [`Frame::first`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstFrame<'a> {
    /// Not all of the frame is there: come back with at least this many bytes, counted from the
    /// frame's start.
    NeedMore(usize),
    /// A whole frame, and how many bytes it took.
    Frame {
        /// The frame.
        frame: Frame<'a>,
        /// Its length on the wire.
        consumed: usize,
    },
}

/// Appends `message` to `out` as one plaintext frame. On an error `out` is left as it was.
pub fn encode_frame<'m>(message: &impl Message<'m>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_LEN]);
    message.encode_payload(out);
    match header_of(message, out.len() - start - HEADER_LEN).and_then(|header| header.to_bytes()) {
        Ok(header) => {
            out[start..start + HEADER_LEN].copy_from_slice(&header);
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// The header of `message`, whose payload has `payload_len` bytes.
pub(crate) fn header_of<'m, M: Message<'m>>(_: &M, payload_len: usize) -> Result<Header, EncodeError> {
    match u32::try_from(payload_len) {
        Ok(length) if length <= MAX_PAYLOAD_LEN => Ok(Header {
            extension_type: M::EXTENSION,
            channel_msg: M::CHANNEL_BIT,
            msg_type: M::TYPE,
            length,
        }),
        _ => Err(EncodeError::PayloadTooLong { len: payload_len }),
    }
}

/// A frame that no peer may send. The connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A channel message without room for a channel id (FR-08).
    #[error("a channel message of {0} bytes cannot hold its channel id; the peer must send at least 4")]
    NoChannelId(u32),
    /// More than this connection accepts.
    #[error("a frame of {len} bytes is over this connection's limit of {limit}")]
    OverLimit {
        /// Length that the header declares.
        len: u32,
        /// Greatest length accepted here.
        limit: u32,
    },
}

/// A frame that cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The payload does not fit a frame (FR-12).
    #[error(
        "a payload of {len} bytes does not fit a frame, which holds {MAX_PAYLOAD_LEN}; send less at once"
    )]
    PayloadTooLong {
        /// Length in bytes.
        len: usize,
    },
    /// The extension id would be taken for the channel bit.
    #[error("extension {0:#06x} has the channel bit set; extension ids go up to 0x7fff")]
    ExtensionId(u16),
    /// Bytes that were handed over as one frame are not one.
    #[error("{len} bytes are not one whole frame")]
    NotAFrame {
        /// Length in bytes.
        len: usize,
    },
}

/// A frame that cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ForwardError {
    /// Only channel messages belong to somebody else (FR-13, FR-15).
    #[error("the frame is not for a channel, so it ends here; discard it")]
    NotForAChannel,
    /// The frame cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
