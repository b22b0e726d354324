//! Stratum V2 without I/O: data types, frames, the messages of every subprotocol, extensions, and the
//! Noise layer beneath them.
//!
//! Nothing here opens a socket, reads a clock or starts a task. Bytes go in, values come out, and the
//! reverse; time and randomness are arguments. Rules are cited by their row in the conformance
//! checklist (`ENC-08`, `NS-17`) so that each can be traced to the specification.
//!
//! A connection goes through these types in order:
//!
//! 1. [`noise::Initiator`] or [`noise::Responder`] make a [`noise::Transport`], which splits into a
//!    [`noise::Sealer`] and a [`noise::Opener`].
//! 2. The client sends [`setup::SetupConnection`]; the server answers with what [`setup::negotiate`]
//!    decided.
//! 3. Where extensions are wanted, [`extensions::ClientNegotiation`] and
//!    [`extensions::ServerNegotiation`] agree on them.
//! 4. From then on each frame is decoded by the enum of its protocol and sender, for example
//!    [`mining::MiningFromClient`].

#[macro_use]
mod declare;

pub mod catalogue;
pub mod codec;
mod endpoint;
mod error_code;
pub mod extensions;
pub mod frame;
pub mod job_declaration;
mod message;
pub mod mining;
pub mod noise;
pub mod setup;
pub mod template_distribution;

pub use {
    codec::DecodeError,
    endpoint::{Endpoint, EndpointError},
    error_code::{ErrorCode, ErrorCodeError},
    frame::{EncodeError, Frame, FrameError, HEADER_LEN, Header, MAX_PAYLOAD_LEN},
    message::{Message, ProtocolError, Sender, encode_frame},
};
