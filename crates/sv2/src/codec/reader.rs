use thiserror::Error;

/// A cursor over the bytes of one payload.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes the next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], FieldError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(FieldError::Short { needed: len, left: self.rest.len() })?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes the next `N` bytes by value.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FieldError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(FieldError::Short { needed: N, left: self.rest.len() })?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes a little-endian length or count of `PREFIX` bytes (1 to 3).
    pub fn length<const PREFIX: usize>(&mut self) -> Result<usize, FieldError> {
        const { assert!(PREFIX >= 1 && PREFIX <= 3) };
        let mut wide = [0; 8];
        wide[..PREFIX].copy_from_slice(self.take(PREFIX)?);
        Ok(usize::try_from(u64::from_le_bytes(wide)).expect("24 bits fit a usize"))
    }
}

/// Why one field could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FieldError {
    /// The payload ends inside the field.
    #[error("payload ends early: {needed} bytes needed, {left} left")]
    Short {
        /// Bytes the field needs next.
        needed: usize,
        /// Bytes the payload still has.
        left: usize,
    },
    /// The declared length is beyond what the type allows (ENC-08).
    #[error("declares {len} bytes, but its type allows at most {max}")]
    TooLong {
        /// Declared length in bytes.
        len: usize,
        /// Greatest length of the type in bytes.
        max: usize,
    },
    /// The count byte of an OPTION is neither 0 nor 1 (ENC-10).
    #[error("an optional value declares {0} elements, but only 0 or 1 are possible")]
    OptionCount(u8),
}

/// Why a message could not be read: which message, which field, what was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{message}.{field}: {error}")]
pub struct DecodeError {
    /// Name of the message in the specification.
    pub message: &'static str,
    /// Name of the field in the specification.
    pub field: &'static str,
    /// What was wrong with it.
    pub error: FieldError,
}
