use {
    crate::codec::{Field, FieldError, Reader, Str0_255},
    std::{borrow::Cow, fmt},
    thiserror::Error,
};

/// A code that says why something was refused: up to 255 printable ASCII characters (ER-05, ER-08).
///
/// What is made here obeys the rules. What was received may not: a peer's code is kept as it came, is
/// only ever logged (ER-02), and is escaped when displayed (ER-09). Recovery is decided from protocol
/// state, never from the text (ER-03).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ErrorCode<'a>(Str0_255<'a>);

/// A text that cannot be an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ErrorCodeError {
    /// More than 255 bytes (ER-08).
    #[error("an error code of {0} bytes is too long; at most 255 fit")]
    TooLong(usize),
    /// A control character, or one outside ASCII (ER-05, ER-06).
    #[error("an error code must be printable ASCII, but byte {position} is {byte:#04x}")]
    NotPrintable {
        /// Where the byte stands.
        position: usize,
        /// The byte.
        byte: u8,
    },
}

impl<'a> ErrorCode<'a> {
    /// Checks characters and length.
    pub fn new(code: impl Into<Cow<'a, str>>) -> Result<Self, ErrorCodeError> {
        let code = code.into();
        if let Some(position) = code.bytes().position(|byte| !is_printable(byte)) {
            return Err(ErrorCodeError::NotPrintable { position, byte: code.as_bytes()[position] });
        }
        Str0_255::new(code).map(Self).map_err(|error| ErrorCodeError::TooLong(error.len))
    }

    /// For constants; a code that breaks the rules does not compile when used in a `const`.
    pub const fn from_static(code: &'static str) -> ErrorCode<'static> {
        let mut position = 0;
        while position < code.len() {
            assert!(is_printable(code.as_bytes()[position]), "error codes are printable ASCII");
            position += 1;
        }
        ErrorCode(Str0_255::from_static(code))
    }

    /// The code as it can be sent on: characters that no code may have become `?` (ER-06).
    ///
    /// For proxies, which pass on codes that others wrote.
    pub fn printable(&self) -> ErrorCode<'static> {
        let code =
            self.as_bytes().iter().map(|&byte| if is_printable(byte) { char::from(byte) } else { '?' });
        ErrorCode::new(code.collect::<String>()).expect("as many ASCII characters as there were bytes")
    }

    /// The code as it stands on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Detaches the code from the buffer it was read from.
    pub fn into_owned(self) -> ErrorCode<'static> {
        ErrorCode(self.0.into_owned())
    }
}

const fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

impl fmt::Display for ErrorCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ErrorCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'a> Field<'a> for ErrorCode<'a> {
    type Owned = ErrorCode<'static>;

    fn read(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
        Str0_255::read(reader).map(Self)
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn into_owned(self) -> Self::Owned {
        self.into_owned()
    }
}
