//! Setting up a connection: the messages that all subprotocols share (specification §3.6), their flags,
//! and what server and client make of them.

mod flags;
mod negotiate;
#[cfg(test)]
mod tests;

pub use {
    flags::{
        JobDeclarationSetupFlags, JobDeclarationSuccessFlags, MiningSetupFlags, MiningSuccessFlags, Protocol,
        TemplateDistributionFlags,
    },
    negotiate::{Established, ReplyError, Served, check_reply, negotiate},
};

use crate::{
    codec::Str0_255,
    error_code::ErrorCode,
    frame::Frame,
    message::{CORE, Message, ProtocolError},
};

/// Codes of [`SetupConnectionError`] that are in use.
pub mod code {
    use crate::ErrorCode;

    /// A requested flag is not supported; the reply's flags name all that are not (EC-01).
    pub const UNSUPPORTED_FEATURE_FLAGS: ErrorCode<'static> =
        ErrorCode::from_static("unsupported-feature-flags");
    /// The subprotocol is not served here (EC-02).
    pub const UNSUPPORTED_PROTOCOL: ErrorCode<'static> = ErrorCode::from_static("unsupported-protocol");
    /// No version in common (EC-03).
    pub const PROTOCOL_VERSION_MISMATCH: ErrorCode<'static> =
        ErrorCode::from_static("protocol-version-mismatch");
    /// The job declarator server takes full-template clients only (EC-04).
    pub const MISSING_DECLARE_TX_DATA_FLAG: ErrorCode<'static> =
        ErrorCode::from_static("missing-declare-tx-data-flag");
}

message! {
    /// Opens every connection: what the client is and what it needs (MSG-01, CM-01).
    #[wire(CORE, 0x00, "SetupConnection", Client, false)]
    pub struct SetupConnection<'a> {
        /// The subprotocol, see [`Protocol`].
        pub protocol: u8,
        /// Lowest version that the client speaks.
        pub min_version: u16,
        /// Highest version that the client speaks.
        pub max_version: u16,
        /// What the client needs; the meaning depends on the protocol, see [`MiningSetupFlags`] and
        /// [`JobDeclarationSetupFlags`].
        pub flags: u32,
        /// Host that the client dialled (CM-09).
        pub endpoint_host: Str0_255<'a>,
        /// Port that the client dialled.
        pub endpoint_port: u16,
        /// Maker of the device or software, and its version; never empty (CM-03).
        pub vendor: Str0_255<'a>,
        /// Hardware, or the package that the software is part of (CM-04).
        pub hardware_version: Str0_255<'a>,
        /// Firmware or software on it.
        pub firmware: Str0_255<'a>,
        /// Empty unless the owner asked for telemetry (CM-05).
        pub device_id: Str0_255<'a>,
    }
}

message! {
    /// The connection is set up (MSG-02).
    #[wire(CORE, 0x01, "SetupConnection.Success", Server, false)]
    pub struct SetupConnectionSuccess {
        /// The version that holds for the connection's life (CM-07).
        pub used_version: u16,
        /// What the server requires; the meaning depends on the protocol, see [`MiningSuccessFlags`].
        pub flags: u32,
    }
}

message! {
    /// The connection cannot be set up; the server closes it (MSG-03, CM-16).
    #[wire(CORE, 0x02, "SetupConnection.Error", Server, false)]
    pub struct SetupConnectionError<'a> {
        /// Every flag that the server does not support; 0 if something else was wrong (CM-11, CM-13).
        pub flags: u32,
        /// Why.
        pub error_code: ErrorCode<'a>,
    }
}

message! {
    /// Somebody else is now at the far end of a channel: its extension state is void (MSG-04, CEP-02).
    #[wire(CORE, 0x03, "ChannelEndpointChanged", Server, true)]
    pub struct ChannelEndpointChanged {
        /// The channel.
        pub channel_id: u32,
    }
}

message! {
    /// Asks the client to connect elsewhere (MSG-05).
    #[wire(CORE, 0x04, "Reconnect", Server, false)]
    pub struct Reconnect<'a> {
        /// The new host; empty for the present one (RC-01).
        pub new_host: Str0_255<'a>,
        /// The new port; 0 for the present one (RC-01).
        pub new_port: u16,
    }
}

impl<'a> SetupConnection<'a> {
    /// Decodes the first frame that a server receives, which can be nothing else (CM-01, CM-17).
    pub fn first(frame: Frame<'a>) -> Result<Self, ProtocolError> {
        if is::<Self>(&frame) {
            return Ok(Self::decode(frame.payload)?);
        }
        Err(unexpected(&frame, Self::NAME))
    }
}

/// The reply to [`SetupConnection`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupReply<'a> {
    /// The connection is set up.
    Success(SetupConnectionSuccess),
    /// It is not.
    Error(SetupConnectionError<'a>),
}

impl<'a> SetupReply<'a> {
    /// Decodes the first frame that a client receives; the server sends nothing before it (CM-18).
    pub fn first(frame: Frame<'a>) -> Result<Self, ProtocolError> {
        if is::<SetupConnectionSuccess>(&frame) {
            return Ok(Self::Success(SetupConnectionSuccess::decode(frame.payload)?));
        }
        if is::<SetupConnectionError>(&frame) {
            return Ok(Self::Error(SetupConnectionError::decode(frame.payload)?));
        }
        Err(unexpected(&frame, "a reply to SetupConnection"))
    }
}

fn is<'a, M: Message<'a>>(frame: &Frame<'_>) -> bool {
    (frame.header.extension_type, frame.header.msg_type) == (M::EXTENSION, M::TYPE)
}

fn unexpected(frame: &Frame<'_>, expected: &'static str) -> ProtocolError {
    let (extension_type, msg_type) = (frame.header.extension_type, frame.header.msg_type);
    match crate::catalogue::find(extension_type, msg_type) {
        Some(entry) => ProtocolError::Unexpected { message: entry.name, expected },
        None => ProtocolError::Unknown { extension_type, msg_type, expected },
    }
}

impl Reconnect<'_> {
    /// Where to go, given the host and port in use (RC-01). `None` if the new host is not UTF-8.
    pub fn destination<'h>(&'h self, host: &'h str, port: u16) -> Option<(&'h str, u16)> {
        let new_host = self.new_host.to_str().ok()?;
        let host = if new_host.is_empty() { host } else { new_host };
        let port = if self.new_port == 0 { port } else { self.new_port };
        Some((host, port))
    }
}
