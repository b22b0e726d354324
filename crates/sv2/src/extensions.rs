//! Extensions: their negotiation (0x0001), the fields that they add behind messages (TLV), and worker
//! identities (0x0002).

mod negotiation;
mod tlv;
mod worker;

pub use {
    negotiation::{Answer, ClientNegotiation, Next, Policy, PolicyError, ServerNegotiation, Unnegotiated},
    tlv::{TlvArea, TlvError, TlvField, WithTlvs},
    worker::{WorkerIdentity, WorkerIdentityError},
};

use crate::codec::Seq0_64K;

/// Extension negotiation itself. Any other extension presupposes it (EX-03).
pub const EXTENSION_NEGOTIATION: u16 = 0x0001;
/// Worker-specific hash rate tracking.
pub const WORKER_HASHRATE: u16 = 0x0002;

message! {
    /// Asks for extensions, right after the connection is set up (MSG-43, EX-05).
    #[wire(EXTENSION_NEGOTIATION, 0x00, "RequestExtensions", Client, false)]
    pub struct RequestExtensions<'a> {
        /// Chosen by the client, echoed in the reply.
        pub request_id: u16,
        /// Extensions that the client wants to use.
        pub requested_extensions: Seq0_64K<'a, u16>,
    }
}

message! {
    /// The extensions that may be used (MSG-44).
    #[wire(EXTENSION_NEGOTIATION, 0x01, "RequestExtensions.Success", Server, false)]
    pub struct RequestExtensionsSuccess<'a> {
        /// Of the request.
        pub request_id: u16,
        /// Those of the requested extensions that the server supports.
        pub supported_extensions: Seq0_64K<'a, u16>,
    }
}

message! {
    /// No extension may be used (MSG-45).
    #[wire(EXTENSION_NEGOTIATION, 0x02, "RequestExtensions.Error", Server, false)]
    pub struct RequestExtensionsError<'a> {
        /// Of the request.
        pub request_id: u16,
        /// Those of the requested extensions that the server does not support.
        pub unsupported_extensions: Seq0_64K<'a, u16>,
        /// Extensions that the server requires and the client did not request.
        pub required_extensions: Seq0_64K<'a, u16>,
    }
}
