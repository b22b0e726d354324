use {
    super::{Field, FieldError, Reader},
    std::fmt,
    thiserror::Error,
};

/// 32 bytes: a hash in internal byte order, or a target as a little-endian integer (ENC-05, ENC-06).
pub type U256 = [u8; 32];

macro_rules! integer_fields {
    ($($int:ty),*) => {$(
        impl<'a> Field<'a> for $int {
            type Owned = Self;

            #[inline]
            fn read(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
                reader.array().map(Self::from_le_bytes)
            }

            #[inline]
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn into_owned(self) -> Self {
                self
            }
        }
    )*};
}

integer_fields!(u8, u16, u32, u64);

impl<'a> Field<'a> for U256 {
    type Owned = Self;

    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
        reader.array()
    }

    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn into_owned(self) -> Self {
        self
    }
}

/// BOOL: a reader looks at bit 0 alone (ENC-02), a writer leaves the other bits clear (ENC-03).
impl<'a> Field<'a> for bool {
    type Owned = Self;

    fn read(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
        Ok(u8::read(reader)? & 1 == 1)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn into_owned(self) -> Self {
        self
    }
}

/// OPTION\[T\]: a count of 0 or 1, then the value (ENC-10).
impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    type Owned = Option<T::Owned>;

    fn read(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
        match u8::read(reader)? {
            0 => Ok(None),
            1 => T::read(reader).map(Some),
            count => Err(FieldError::OptionCount(count)),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn into_owned(self) -> Self::Owned {
        self.map(T::into_owned)
    }
}

/// A 24-bit unsigned integer. It cannot hold more, so a writer cannot truncate (ENC-04, FR-12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct U24(u32);

impl U24 {
    /// 2^24 − 1.
    pub const MAX: Self = Self((1 << 24) - 1);

    /// `None` from 2^24 on.
    pub const fn new(value: u32) -> Option<Self> {
        if value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The value.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The three bytes of the wire.
    pub const fn to_le_bytes(self) -> [u8; 3] {
        let [a, b, c, _] = self.0.to_le_bytes();
        [a, b, c]
    }

    /// From the three bytes of the wire.
    pub const fn from_le_bytes([a, b, c]: [u8; 3]) -> Self {
        Self(u32::from_le_bytes([a, b, c, 0]))
    }
}

impl<'a> Field<'a> for U24 {
    type Owned = Self;

    fn read(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
        reader.array().map(Self::from_le_bytes)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn into_owned(self) -> Self {
        self
    }
}

/// A nominal hash rate as it travels: an IEEE-754 single, little-endian (ENC-12, UP-04).
///
/// Kept as bits, so that whatever arrives can be compared, stored and passed on unchanged; the number
/// is only handed out when it is one that a hash rate can be.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct F32(u32);

impl F32 {
    /// Of any number. A peer refuses what [`F32::get`] refuses.
    pub const fn new(value: f32) -> Self {
        Self(value.to_bits())
    }

    /// From the bits of an IEEE-754 single.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits of the IEEE-754 single.
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The number; refuses NaN, infinities and negative numbers.
    pub fn get(self) -> Result<f32, InvalidF32> {
        let value = f32::from_bits(self.0);
        if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(InvalidF32(self)) }
    }
}

impl From<f32> for F32 {
    fn from(value: f32) -> Self {
        Self::new(value)
    }
}

impl fmt::Debug for F32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f32::from_bits(self.0).fmt(f)
    }
}

/// A hash rate that is not a finite, non-negative number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0:?} is no hash rate; it must be a finite number of hashes per second, zero or more")]
pub struct InvalidF32(pub F32);

impl<'a> Field<'a> for F32 {
    type Owned = Self;

    fn read(reader: &mut Reader<'a>) -> Result<Self, FieldError> {
        u32::read(reader).map(Self)
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn into_owned(self) -> Self {
        self
    }
}
