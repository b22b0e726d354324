use {
    crate::{
        codec::{DecodeError, Reader},
        frame::FrameError,
    },
    thiserror::Error,
};

pub use crate::frame::encode_frame;

/// The extension id of core messages (FR-03).
pub const CORE: u16 = 0x0000;

/// A message of the specification.
///
/// One type serves as view and as owned value: decoded it borrows from the payload, and `into_owned`
/// detaches it.
pub trait Message<'a>: Sized {
    /// The extension that defined the message (FR-04).
    const EXTENSION: u16;
    /// `msg_type` within the extension.
    const TYPE: u8;
    /// Whether the frame carries the channel bit (FR-09).
    const CHANNEL_BIT: bool;
    /// Who may send it.
    const SENDER: Sender;
    /// Name in the specification.
    const NAME: &'static str;

    /// Takes the fields from the front of `reader` and leaves what follows them.
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError>;

    /// Appends the fields to `out`.
    fn encode_payload(&self, out: &mut Vec<u8>);

    /// Reads a payload. What follows the last field is the TLV area and is no error (ENC-15).
    fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(payload))
    }
}

/// Who may send a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The side that opened the connection.
    Client,
    /// The side that accepted it.
    Server,
    /// Either.
    Both,
}

/// What a peer must not do. The connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// The payload is not what the message type promises.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The frame itself is wrong.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A message of another protocol, of the other side, or at the wrong time (FR-20, CM-17).
    #[error("{message} must not be sent here; {expected} is expected")]
    Unexpected {
        /// Name of the message.
        message: &'static str,
        /// What would have been right.
        expected: &'static str,
    },
    /// A message nobody knows where exactly one is possible.
    #[error(
        "message type {msg_type:#04x} of extension {extension_type:#06x} must not be sent here; \
         {expected} is expected"
    )]
    Unknown {
        /// Extension of the frame.
        extension_type: u16,
        /// Type of the frame.
        msg_type: u8,
        /// What would have been right.
        expected: &'static str,
    },
}
