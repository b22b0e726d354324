//! The two macros by which messages, and the sets of messages that a peer may send, are declared.

/// Declares a message: its fields in wire order, and the line of the catalogue that describes it.
///
/// `#[wire(extension, msg_type, name, sender, channel bit)]`
macro_rules! message {
    (
        $(#[doc = $doc:literal])*
        #[wire($extension:expr, $msg_type:literal, $message:literal, $sender:ident, $bit:literal)]
        pub struct $name:ident<$a:lifetime> {
            $( $(#[doc = $field_doc:literal])* pub $field:ident: $ty:ty, )+
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name<$a> {
            $( $(#[doc = $field_doc])* pub $field: $ty, )+
        }

        impl $name<'_> {
            /// Detaches the message from the buffer it was read from.
            pub fn into_owned(self) -> $name<'static> {
                $name { $( $field: $crate::codec::Field::into_owned(self.$field), )+ }
            }
        }

        message!(@impl [$a] [$name<$a>] $extension, $msg_type, $message, $sender, $bit { $($field: $ty,)+ });
    };
    (
        $(#[doc = $doc:literal])*
        #[wire($extension:expr, $msg_type:literal, $message:literal, $sender:ident, $bit:literal)]
        pub struct $name:ident {
            $( $(#[doc = $field_doc:literal])* pub $field:ident: $ty:ty, )+
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name {
            $( $(#[doc = $field_doc])* pub $field: $ty, )+
        }

        impl $name {
            /// The message itself: it has no field that borrows.
            pub fn into_owned(self) -> Self {
                self
            }
        }

        message!(@impl ['a] [$name] $extension, $msg_type, $message, $sender, $bit { $($field: $ty,)+ });
    };
    (
        @impl [$a:lifetime] [$name:ty]
        $extension:expr, $msg_type:literal, $message:literal, $sender:ident, $bit:literal
        { $($field:ident: $ty:ty,)+ }
    ) => {
        impl<$a> $crate::Message<$a> for $name {
            const EXTENSION: u16 = $extension;
            const TYPE: u8 = $msg_type;
            const CHANNEL_BIT: bool = $bit;
            const SENDER: $crate::Sender = $crate::Sender::$sender;
            const NAME: &'static str = $message;

            #[inline]
            fn read(reader: &mut $crate::codec::Reader<$a>) -> Result<Self, $crate::DecodeError> {
                Ok(Self {
                    $( $field: <$ty as $crate::codec::Field<$a>>::read(reader).map_err(|error| {
                        $crate::DecodeError { message: $message, field: stringify!($field), error }
                    })?, )+
                })
            }

            #[inline]
            fn encode_payload(&self, out: &mut Vec<u8>) {
                $( $crate::codec::Field::write(&self.$field, out); )+
            }
        }
    };
}

/// Declares what one side may send on a connection of one protocol once the connection is set up.
///
/// Decoding dispatches on extension and type (FR-11). Messages that no document known here defines are
/// the variant `Unknown`, never an error (FR-15, FR-19); known messages that do not belong here are an
/// error (FR-20). A channel bit that differs from the catalogue is tolerated (FR-18).
macro_rules! received {
    (
        $(#[doc = $doc:literal])*
        pub enum $name:ident<$a:lifetime>, $expected:literal {
            $( $variant:ident($message:ty), )+
        }
    ) => {
        $(#[doc = $doc])*
        // A message is decoded onto the stack and handled at once; boxing the long ones would cost
        // an allocation each and save nothing.
        #[allow(clippy::large_enum_variant)]
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name<$a> {
            $(
                #[doc = concat!("[`", stringify!($variant), "`]")]
                $variant($message),
            )+
            /// A message of an unknown extension or type. Forward it where it is for a channel of
            /// somebody else, otherwise ignore it (FR-13, FR-15, FR-19).
            Unknown($crate::Frame<$a>),
        }

        impl<$a> $name<$a> {
            /// Decodes a frame. See [`Self::decode_with_tlvs`] for what may follow the fields.
            pub fn decode(frame: $crate::Frame<$a>) -> Result<Self, $crate::ProtocolError> {
                Self::decode_with_tlvs(frame).map(|(message, _)| message)
            }

            /// Decodes a frame into its message and the TLV area behind the message's last field.
            pub fn decode_with_tlvs(
                frame: $crate::Frame<$a>,
            ) -> Result<(Self, $crate::extensions::TlvArea<$a>), $crate::ProtocolError> {
                let key = (frame.header.extension_type, frame.header.msg_type);
                let mut reader = $crate::codec::Reader::new(frame.payload);
                $(
                    if key == (
                        <$message as $crate::Message<$a>>::EXTENSION,
                        <$message as $crate::Message<$a>>::TYPE,
                    ) {
                        let message = <$message as $crate::Message<$a>>::read(&mut reader)?;
                        return Ok((Self::$variant(message), reader.rest().into()));
                    }
                )+
                match $crate::catalogue::find(key.0, key.1) {
                    Some(entry) => Err($crate::ProtocolError::Unexpected {
                        message: entry.name,
                        expected: $expected,
                    }),
                    None => Ok((Self::Unknown(frame), $crate::extensions::TlvArea::EMPTY)),
                }
            }

            /// Name of the message in the specification.
            pub fn name(&self) -> &'static str {
                match self {
                    $( Self::$variant(_) => <$message as $crate::Message<'_>>::NAME, )+
                    Self::Unknown(_) => "unknown message",
                }
            }
        }

        $(
            impl<$a> From<$message> for $name<$a> {
                fn from(message: $message) -> Self {
                    Self::$variant(message)
                }
            }
        )+
    };
}
