use {
    super::{TlvArea, TlvError, TlvField, WORKER_HASHRATE},
    crate::codec::cut,
    std::{fmt, str},
    thiserror::Error,
};

/// Which worker behind an aggregated channel found a share: the one field of extension 0x0002, sent
/// behind `SubmitSharesExtended` (WH-01).
///
/// Up to 32 bytes, without padding (WH-04, WH-05). The extension wants UTF-8. What is not is kept, as
/// bytes: the share counts, and who groups shares by name puts it under no name (WH-13).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkerIdentity<'a>(&'a [u8]);

/// An identity that cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a worker identity of {0} bytes is too long; at most 32 may be sent")]
pub struct WorkerIdentityError(usize);

impl<'a> WorkerIdentity<'a> {
    /// Greatest length in bytes (LIM-14).
    pub const MAX_LEN: usize = 32;

    /// The field within extension 0x0002.
    pub const FIELD_TYPE: u8 = 0x01;

    /// Refuses more than 32 bytes.
    pub fn new(identity: &'a [u8]) -> Result<Self, WorkerIdentityError> {
        if identity.len() > Self::MAX_LEN {
            return Err(WorkerIdentityError(identity.len()));
        }
        Ok(Self(identity))
    }

    /// As much of a worker's name as fits, cut between characters (WH-11).
    pub fn from_name(name: &'a str) -> Self {
        Self(cut(name, Self::MAX_LEN).as_bytes())
    }

    /// The identity behind a message, on a connection that negotiated the extension. An error rejects the
    /// share (WH-04).
    pub fn find(tlvs: &'a TlvArea<'_>) -> Result<Option<Self>, TlvError> {
        Ok(tlvs.find(WORKER_HASHRATE, Self::FIELD_TYPE, Self::MAX_LEN)?.map(Self))
    }

    /// The field to send.
    pub const fn to_tlv(self) -> TlvField<'a> {
        TlvField { extension: WORKER_HASHRATE, field_type: Self::FIELD_TYPE, value: self.0 }
    }

    /// The bytes.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The name; `None` if it is not UTF-8.
    pub fn to_str(self) -> Option<&'a str> {
        str::from_utf8(self.0).ok()
    }
}

impl fmt::Debug for WorkerIdentity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}
