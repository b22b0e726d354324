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
//!
//! ```
//! use assay_sv2::{
//!     mining::{MiningFromClient, SubmitSharesStandard},
//!     noise::{AuthoritySecret, Identity, Initiator, Opened, Responder, Trust, Validity},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (now, mut rng) = (1_790_000_000, rand::thread_rng());
//! let identity = Identity::new(AuthoritySecret::generate(&mut rng), Validity::default(), now, &mut rng);
//!
//! // The handshake, one message each way.
//! let client = Initiator::new(Trust::Authority(identity.authority()), &mut rng);
//! let (act_2, server) = Responder::new(&identity).step(&client.act_1(), now, &mut rng)?;
//! let (mut sealer, _) = client.finish(&act_2, now)?.split();
//! let (_, mut opener) = server.split();
//!
//! // A share, sealed into what is about to be sent, and opened where it was received.
//! let share = SubmitSharesStandard {
//!     channel_id: 1, sequence_number: 0, job_id: 7, nonce: 42, ntime: 1_790_000_000, version: 0x2000_0000,
//! };
//! let mut wire = Vec::new();
//! sealer.seal_message(&share, &mut wire)?;
//! match opener.next_frame(&mut wire, 1_000)? {
//!     Opened::Frame { frame, .. } => {
//!         assert_eq!(MiningFromClient::decode(frame)?, MiningFromClient::SubmitSharesStandard(share));
//!     }
//!     Opened::NeedMore(bytes) => panic!("{bytes} bytes are needed"),
//! }
//! # Ok(())
//! # }
//! ```

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
