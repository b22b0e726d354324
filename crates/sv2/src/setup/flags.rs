use std::fmt;

/// Declares a set of flags as a type of its own. The same bit means different things in
/// `SetupConnection` and in its reply, and in each protocol (FL-09): types keep them apart.
macro_rules! flags {
    ($(
        $(#[doc = $doc:literal])*
        pub struct $name:ident { $( $(#[doc = $flag_doc:literal])* $flag:ident = $bit:literal, )* }
    )+) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name(u32);

        impl $name {
            $( $(#[doc = $flag_doc])* pub const $flag: Self = Self(1 << $bit); )*

            const NAMES: &[(Self, &str)] = &[$( (Self::$flag, stringify!($flag)), )*];

            /// No flag.
            pub const NONE: Self = Self(0);

            /// Every flag that the specification defines.
            pub const ALL: Self = Self(0 $(| 1 << $bit)*);

            /// From the wire. Bits without a meaning are kept.
            pub const fn from_bits(bits: u32) -> Self {
                Self(bits)
            }

            /// For the wire.
            pub const fn bits(self) -> u32 {
                self.0
            }

            /// Whether each of `flags` is set.
            pub const fn contains(self, flags: Self) -> bool {
                self.0 & flags.0 == flags.0
            }

            /// Whether no flag is set.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// The flags of either.
            #[must_use]
            pub const fn with(self, flags: Self) -> Self {
                Self(self.0 | flags.0)
            }

            /// The flags that are not in `flags`.
            #[must_use]
            pub const fn without(self, flags: Self) -> Self {
                Self(self.0 & !flags.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut list = f.debug_set();
                for (_, name) in Self::NAMES.iter().filter(|(flag, _)| self.contains(*flag)) {
                    list.entry(&format_args!("{name}"));
                }
                let unknown = self.without(Self::ALL);
                if !unknown.is_empty() {
                    list.entry(&format_args!("{:#x}", unknown.0));
                }
                list.finish()
            }
        }
    )+};
}

flags! {
    /// What a mining client needs: `SetupConnection.flags` on a mining connection.
    pub struct MiningSetupFlags {
        /// The client cannot process extended jobs: each of its channels gets standard jobs of its own
        /// (FL-01).
        REQUIRES_STANDARD_JOBS = 0,
        /// The client will send `SetCustomMiningJob` (FL-02).
        REQUIRES_WORK_SELECTION = 1,
        /// Every job must permit version rolling (FL-03).
        REQUIRES_VERSION_ROLLING = 2,
    }

    /// What a mining server requires: `SetupConnection.Success.flags` on a mining connection.
    pub struct MiningSuccessFlags {
        /// The version of the header must not be changed (FL-04).
        REQUIRES_FIXED_VERSION = 0,
        /// No standard channels (FL-05).
        REQUIRES_EXTENDED_CHANNELS = 1,
    }

    /// What a job declarator client offers: `SetupConnection.flags` on a job declaration connection.
    pub struct JobDeclarationSetupFlags {
        /// The client is willing to disclose its transactions, as full-template mode needs (FL-06).
        DECLARE_TX_DATA = 0,
    }

    /// What a job declarator server requires: nothing can be (FL-07).
    pub struct JobDeclarationSuccessFlags {}

    /// Template distribution has no flags in either direction (FL-08).
    pub struct TemplateDistributionFlags {}
}

/// A subprotocol, as `SetupConnection.protocol` names it. A connection carries one (CM-20).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Mining.
    Mining,
    /// Job Declaration.
    JobDeclaration,
    /// Template Distribution.
    TemplateDistribution,
}

impl Protocol {
    /// `None` for a number that no subprotocol has (CM-08).
    pub const fn from_wire(protocol: u8) -> Option<Self> {
        match protocol {
            0 => Some(Self::Mining),
            1 => Some(Self::JobDeclaration),
            2 => Some(Self::TemplateDistribution),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u8 {
        match self {
            Self::Mining => 0,
            Self::JobDeclaration => 1,
            Self::TemplateDistribution => 2,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mining => "mining protocol",
            Self::JobDeclaration => "job declaration protocol",
            Self::TemplateDistribution => "template distribution protocol",
        })
    }
}
