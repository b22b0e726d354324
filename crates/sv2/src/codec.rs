//! The data types of the wire (specification §3.1): reading, writing, and the owned or borrowed
//! values in between.
//!
//! Every integer is little-endian, length prefixes included (ENC-01). Decoding borrows: a field that
//! has a length points into the payload, and [`Field::into_owned`] detaches it. Nothing is allocated
//! for a declared length or count; the bytes must be there first (ENC-14).

mod bytes;
mod reader;
mod scalar;
mod sequence;
#[cfg(test)]
mod tests;

pub(crate) use bytes::cut;
pub use {
    bytes::{B0_16M, B0_32, B0_64K, B0_255, Bytes, Str0_255, TooLong},
    reader::{DecodeError, FieldError, Reader},
    scalar::{F32, InvalidF32, U24, U256},
    sequence::{Element, FixedElement, Iter, Seq, Seq0_64K, Seq0_255, Transaction},
};

/// A type that can stand as a field of a message.
pub trait Field<'a>: Sized {
    /// The same value, detached from the buffer it was read from.
    type Owned: Field<'static>;

    /// Takes the value from the front of `reader`.
    fn read(reader: &mut Reader<'a>) -> Result<Self, FieldError>;

    /// Appends the value to `out`.
    fn write(&self, out: &mut Vec<u8>);

    /// Detaches the value from the buffer it was read from.
    fn into_owned(self) -> Self::Owned;
}
