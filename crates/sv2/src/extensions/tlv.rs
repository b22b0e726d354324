use {
    crate::{
        codec::{DecodeError, Reader},
        message::{Message, Sender},
    },
    hex::DisplayHex,
    std::{borrow::Cow, fmt},
    thiserror::Error,
};

/// Extension id, field type, length.
const HEADER_LEN: usize = 5;

/// The bytes behind a message's last field: fields of extensions, each an extension id, a type, a
/// length and a value (TLV-01, TLV-02). All integers are little-endian, as everywhere (TLV-10, AM-04).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct TlvArea<'a>(Cow<'a, [u8]>);

/// One field of an extension.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TlvField<'a> {
    /// The extension that defined the field.
    pub extension: u16,
    /// The field within its extension.
    pub field_type: u8,
    /// The value.
    pub value: &'a [u8],
}

/// A field for which the whole message is to be rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TlvError {
    /// Longer than the extension allows (TLV-06), or than 16 bits can say (TLV-13).
    #[error(
        "field {field_type:#04x} of extension {extension:#06x} has {len} bytes; at most {max} may be sent"
    )]
    TooLong {
        /// The extension.
        extension: u16,
        /// The field within it.
        field_type: u8,
        /// Length in bytes.
        len: usize,
        /// Greatest length in bytes.
        max: usize,
    },
    /// The message ends inside the field (TLV-11).
    #[error("the message ends inside a field of extension {extension:#06x}")]
    Truncated {
        /// The extension.
        extension: u16,
    },
}

impl<'a> TlvArea<'a> {
    /// No fields.
    pub const EMPTY: Self = Self(Cow::Borrowed(&[]));

    /// Encodes `fields` in ascending order of their extensions; the fields of one extension stay in the
    /// order given, which is for its document to say (TLV-03, TLV-04).
    pub fn new(fields: &[TlvField<'_>]) -> Result<TlvArea<'static>, TlvError> {
        let mut sorted = fields.to_vec();
        sorted.sort_by_key(|field| field.extension);
        let mut encoded = Vec::with_capacity(sorted.iter().map(|field| HEADER_LEN + field.value.len()).sum());
        for TlvField { extension, field_type, value } in sorted {
            let len = u16::try_from(value.len()).map_err(|_| TlvError::TooLong {
                extension,
                field_type,
                len: value.len(),
                max: usize::from(u16::MAX),
            })?;
            encoded.extend_from_slice(&extension.to_le_bytes());
            encoded.push(field_type);
            encoded.extend_from_slice(&len.to_le_bytes());
            encoded.extend_from_slice(value);
        }
        Ok(TlvArea(Cow::Owned(encoded)))
    }

    /// The value of a field of a negotiated extension, wherever it stands (TLV-05, TLV-08).
    ///
    /// Fields of other extensions are stepped over, whatever they look like (TLV-09). Of several fields
    /// with the same type the first counts (TLV-14). An error rejects the message: the field is longer
    /// than `max_len` (TLV-06), or cut off (TLV-11).
    pub fn find(&self, extension: u16, field_type: u8, max_len: usize) -> Result<Option<&[u8]>, TlvError> {
        for field in self.iter() {
            match field {
                Ok(field) if (field.extension, field.field_type) == (extension, field_type) => {
                    let len = field.value.len();
                    if len > max_len {
                        return Err(TlvError::TooLong { extension, field_type, len, max: max_len });
                    }
                    return Ok(Some(field.value));
                }
                Err(TlvError::Truncated { extension: cut }) if cut == extension => {
                    return Err(TlvError::Truncated { extension });
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The fields as they stand. Where the area ends inside a field, the last item is an error; less than
    /// an extension id at the end is no field and nobody's.
    pub fn iter(&self) -> impl Iterator<Item = Result<TlvField<'_>, TlvError>> {
        let mut reader = Reader::new(&self.0);
        std::iter::from_fn(move || {
            let extension = u16::from_le_bytes(reader.array().ok()?);
            let field = read_field(extension, &mut reader).ok_or(TlvError::Truncated { extension });
            if field.is_err() {
                reader = Reader::new(&[]);
            }
            Some(field)
        })
    }

    /// The fields of the extensions that are negotiated on the next hop, in their order (TLV-12).
    pub fn retain(&self, negotiated: impl Fn(u16) -> bool) -> TlvArea<'static> {
        let fields: Vec<_> = self.iter().flatten().filter(|field| negotiated(field.extension)).collect();
        TlvArea::new(&fields).expect("values that were read have lengths of 16 bits")
    }

    /// Whether the first field looks as if its sender wrote a header of `extension` in big-endian order,
    /// like the specification's examples: worth a line in the log, never a guess (AM-04).
    pub fn looks_big_endian(&self, extension: u16) -> bool {
        match self.0.first_chunk::<HEADER_LEN>() {
            Some([high, low, _, len @ ..]) => {
                u16::from_be_bytes([*high, *low]) == extension
                    && usize::from(u16::from_be_bytes(*len)) == self.0.len() - HEADER_LEN
            }
            None => false,
        }
    }

    /// Whether there is not a single byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The encoded fields.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Detaches the fields from the buffer they were read from.
    pub fn into_owned(self) -> TlvArea<'static> {
        TlvArea(Cow::Owned(self.0.into_owned()))
    }
}

fn read_field<'a>(extension: u16, reader: &mut Reader<'a>) -> Option<TlvField<'a>> {
    let [field_type] = reader.array().ok()?;
    let len = reader.length::<2>().ok()?;
    let value = reader.take(len).ok()?;
    Some(TlvField { extension, field_type, value })
}

impl<'a> From<&'a [u8]> for TlvArea<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl fmt::Debug for TlvArea<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for TlvField<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}/{:#04x}={}", self.extension, self.field_type, self.value.as_hex())
    }
}

/// A message with fields of extensions behind it. The frame stays the message's own (FR-05).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithTlvs<'t, M> {
    /// The message.
    pub message: M,
    /// What stands behind its last field.
    pub tlvs: TlvArea<'t>,
}

impl<'a, M: Message<'a>> Message<'a> for WithTlvs<'a, M> {
    const EXTENSION: u16 = M::EXTENSION;
    const TYPE: u8 = M::TYPE;
    const CHANNEL_BIT: bool = M::CHANNEL_BIT;
    const SENDER: Sender = M::SENDER;
    const NAME: &'static str = M::NAME;

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let message = M::read(reader)?;
        let tlvs = reader.take(reader.rest().len()).unwrap_or_default().into();
        Ok(Self { message, tlvs })
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        self.message.encode_payload(out);
        out.extend_from_slice(&self.tlvs.0);
    }
}
