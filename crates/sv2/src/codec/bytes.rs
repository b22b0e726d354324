use {
    super::{Field, FieldError, Reader},
    hex::DisplayHex,
    std::{borrow::Cow, fmt, ops::Deref, str::Utf8Error},
    thiserror::Error,
};

/// Bytes behind a little-endian length of `PREFIX` bytes, at most `MAX` of them (ENC-08, ENC-09).
///
/// Borrowed when read from a payload. A value longer than `MAX` cannot be made, so writing cannot fail.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Bytes<'a, const PREFIX: usize, const MAX: usize>(Cow<'a, [u8]>);

/// Up to 32 bytes: extranonces and their prefixes.
pub type B0_32<'a> = Bytes<'a, 1, 32>;
/// Up to 255 bytes.
pub type B0_255<'a> = Bytes<'a, 1, 255>;
/// Up to 65,535 bytes.
pub type B0_64K<'a> = Bytes<'a, 2, 65_535>;
/// Up to 2^24 − 1 bytes.
pub type B0_16M<'a> = Bytes<'a, 3, 16_777_215>;

/// A value that its wire type cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{len} is too long for this field, which holds at most {max}; shorten the value")]
pub struct TooLong {
    /// Length of the value, in bytes or elements.
    pub len: usize,
    /// Greatest length of the type.
    pub max: usize,
}

impl<'a, const PREFIX: usize, const MAX: usize> Bytes<'a, PREFIX, MAX> {
    /// No bytes.
    pub const EMPTY: Self = Self(Cow::Borrowed(&[]));

    /// Holds `bytes`, borrowed or owned.
    pub fn new(bytes: impl Into<Cow<'a, [u8]>>) -> Result<Self, TooLong> {
        let bytes = bytes.into();
        if bytes.len() > MAX {
            return Err(TooLong { len: bytes.len(), max: MAX });
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The same bytes, borrowed from this value.
    pub fn borrow(&self) -> Bytes<'_, PREFIX, MAX> {
        Bytes(Cow::Borrowed(&self.0))
    }

    /// Detaches the bytes from the buffer they were read from.
    pub fn into_owned(self) -> Bytes<'static, PREFIX, MAX> {
        Bytes(Cow::Owned(self.0.into_owned()))
    }
}

impl<const PREFIX: usize, const MAX: usize> Deref for Bytes<'_, PREFIX, MAX> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const PREFIX: usize, const MAX: usize> AsRef<[u8]> for Bytes<'_, PREFIX, MAX> {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl<const PREFIX: usize, const MAX: usize> Default for Bytes<'_, PREFIX, MAX> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a, const PREFIX: usize, const MAX: usize> TryFrom<&'a [u8]> for Bytes<'a, PREFIX, MAX> {
    type Error = TooLong;

    fn try_from(bytes: &'a [u8]) -> Result<Self, TooLong> {
        Self::new(bytes)
    }
}

impl<const PREFIX: usize, const MAX: usize> TryFrom<Vec<u8>> for Bytes<'_, PREFIX, MAX> {
    type Error = TooLong;

    fn try_from(bytes: Vec<u8>) -> Result<Self, TooLong> {
        Self::new(bytes)
    }
}

impl<const PREFIX: usize, const MAX: usize> fmt::Debug for Bytes<'_, PREFIX, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_hex())
    }
}

impl<'a, const PREFIX: usize, const MAX: usize> Field<'a> for Bytes<'a, PREFIX, MAX> {
    type Owned = Bytes<'static, PREFIX, MAX>;

    fn read(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
        let len = reader.length::<PREFIX>()?;
        if len > MAX {
            return Err(FieldError::TooLong { len, max: MAX });
        }
        reader.take(len).map(|bytes| Self(Cow::Borrowed(bytes)))
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_length::<PREFIX>(self.0.len(), out);
        out.extend_from_slice(&self.0);
    }

    fn into_owned(self) -> Self::Owned {
        self.into_owned()
    }
}

/// Appends a little-endian length or count of `PREFIX` bytes.
pub(super) fn write_length<const PREFIX: usize>(len: usize, out: &mut Vec<u8>) {
    let bytes = len.to_le_bytes();
    assert!(bytes[PREFIX..].iter().all(|&byte| byte == 0), "constructors bound the length");
    out.extend_from_slice(&bytes[..PREFIX]);
}

/// The longest start of `text` that has at most `max_len` bytes and ends between characters (ENC-07).
pub(crate) fn cut(text: &str, max_len: usize) -> &str {
    let mut end = text.len().min(max_len);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Text of up to 255 bytes (ENC-07).
///
/// The wire carries bytes without a promise of UTF-8 (AM-35), so a value that was received may hold
/// anything: [`Str0_255::to_str`] checks, and displaying escapes what could disturb a log (ER-09).
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Str0_255<'a>(Bytes<'a, 1, 255>);

impl<'a> Str0_255<'a> {
    /// Greatest length in bytes.
    pub const MAX_LEN: usize = 255;

    /// The empty text.
    pub const EMPTY: Self = Self(Bytes::EMPTY);

    /// Holds `text`, borrowed or owned. Refuses text of more than 255 bytes and never cuts it.
    pub fn new(text: impl Into<Cow<'a, str>>) -> Result<Self, TooLong> {
        match text.into() {
            Cow::Borrowed(text) => Bytes::new(text.as_bytes()).map(Self),
            Cow::Owned(text) => Bytes::new(text.into_bytes()).map(Self),
        }
    }

    /// A constant; a text that is too long does not compile when used in a `const`.
    pub const fn from_static(text: &'static str) -> Self {
        assert!(text.len() <= Self::MAX_LEN, "text of more than 255 bytes");
        Self(Bytes(Cow::Borrowed(text.as_bytes())))
    }

    /// Holds as much of `text` as fits, cut between characters (ENC-07).
    pub fn truncated(text: &'a str) -> Self {
        Self(Bytes(Cow::Borrowed(cut(text, Self::MAX_LEN).as_bytes())))
    }

    /// Holds bytes that may not be text.
    pub fn from_bytes(bytes: impl Into<Cow<'a, [u8]>>) -> Result<Self, TooLong> {
        Bytes::new(bytes).map(Self)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, where it is text.
    pub fn to_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.0)
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Detaches the text from the buffer it was read from.
    pub fn into_owned(self) -> Str0_255<'static> {
        Str0_255(self.0.into_owned())
    }
}

impl fmt::Display for Str0_255<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            write!(f, "{}", chunk.valid().escape_debug())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Str0_255<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl<'a> TryFrom<&'a str> for Str0_255<'a> {
    type Error = TooLong;

    fn try_from(text: &'a str) -> Result<Self, TooLong> {
        Self::new(text)
    }
}

impl TryFrom<String> for Str0_255<'_> {
    type Error = TooLong;

    fn try_from(text: String) -> Result<Self, TooLong> {
        Self::new(text)
    }
}

impl<'a> Field<'a> for Str0_255<'a> {
    type Owned = Str0_255<'static>;

    fn read(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
        Bytes::read(reader).map(Self)
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn into_owned(self) -> Self::Owned {
        self.into_owned()
    }
}
