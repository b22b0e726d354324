use {
    super::{
        JobDeclarationSetupFlags, JobDeclarationSuccessFlags, MiningSetupFlags, MiningSuccessFlags, Protocol,
        SetupConnection, SetupConnectionError, SetupConnectionSuccess, SetupReply, TemplateDistributionFlags,
        code,
    },
    crate::ErrorCode,
    std::ops::RangeInclusive,
    thiserror::Error,
};

/// The versions that exist (CM-06).
const VERSIONS: RangeInclusive<u16> = 2..=2;

/// One subprotocol as a server serves it. Every server behind one address serves the same (CM-12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    protocol: Protocol,
    versions: RangeInclusive<u16>,
    /// Flags that clients may set.
    supported: u32,
    /// Flags that clients must set, and the code that tells one that did not.
    demanded: Option<(u32, ErrorCode<'static>)>,
    /// Flags of the reply.
    requires: u32,
}

impl Served {
    /// The mining protocol, with the client flags that are supported and what clients must put up with.
    ///
    /// What the server requires takes precedence: a server with fixed versions does not support clients
    /// that need version rolling (FL-04), one without standard channels none that cannot process
    /// extended jobs.
    pub fn mining(supported: MiningSetupFlags, requires: MiningSuccessFlags) -> Self {
        let mut supported = supported;
        if requires.contains(MiningSuccessFlags::REQUIRES_FIXED_VERSION) {
            supported = supported.without(MiningSetupFlags::REQUIRES_VERSION_ROLLING);
        }
        if requires.contains(MiningSuccessFlags::REQUIRES_EXTENDED_CHANNELS) {
            supported = supported.without(MiningSetupFlags::REQUIRES_STANDARD_JOBS);
        }
        Self {
            protocol: Protocol::Mining,
            versions: VERSIONS,
            supported: supported.bits(),
            demanded: None,
            requires: requires.bits(),
        }
    }

    /// The job declaration protocol: whether full-template clients are served, and whether only they are.
    pub fn job_declaration(full_template: bool, full_template_only: bool) -> Self {
        assert!(full_template || !full_template_only, "a server must serve some kind of client");
        let flag = JobDeclarationSetupFlags::DECLARE_TX_DATA.bits();
        Self {
            protocol: Protocol::JobDeclaration,
            versions: VERSIONS,
            supported: if full_template { flag } else { 0 },
            demanded: full_template_only.then_some((flag, code::MISSING_DECLARE_TX_DATA_FLAG)),
            requires: JobDeclarationSuccessFlags::NONE.bits(),
        }
    }

    /// The template distribution protocol.
    pub fn template_distribution() -> Self {
        Self {
            protocol: Protocol::TemplateDistribution,
            versions: VERSIONS,
            supported: TemplateDistributionFlags::NONE.bits(),
            demanded: None,
            requires: TemplateDistributionFlags::NONE.bits(),
        }
    }

    fn common_version(&self, request: &SetupConnection<'_>) -> Option<u16> {
        let lowest = request.min_version.max(*self.versions.start());
        let highest = request.max_version.min(*self.versions.end());
        (request.min_version <= request.max_version && lowest <= highest).then_some(highest)
    }

    /// Flags that stand in the way of `request`: all that are unsupported, or else two that contradict
    /// each other.
    fn offending_flags(&self, request: &SetupConnection<'_>) -> u32 {
        let unsupported = request.flags & !self.supported;
        if unsupported != 0 {
            return unsupported;
        }
        // AM-12: a custom job is an extended job, which this client says it cannot process.
        let contradiction =
            MiningSetupFlags::REQUIRES_STANDARD_JOBS.with(MiningSetupFlags::REQUIRES_WORK_SELECTION);
        let flags = MiningSetupFlags::from_bits(request.flags);
        let contradicts = self.protocol == Protocol::Mining && flags.contains(contradiction);
        if contradicts { contradiction.bits() } else { 0 }
    }
}

/// Decides the one reply to a client's [`SetupConnection`] (CM-02). After an error is flushed, the
/// server closes the connection (CM-16).
pub fn negotiate(
    request: &SetupConnection<'_>,
    served: &[Served],
) -> Result<SetupConnectionSuccess, SetupConnectionError<'static>> {
    let refused = |flags, error_code| Err(SetupConnectionError { flags, error_code });

    let protocol = Protocol::from_wire(request.protocol);
    let Some(served) = served.iter().find(|served| Some(served.protocol) == protocol) else {
        // CM-08: without a protocol the flags have no meaning.
        return refused(0, code::UNSUPPORTED_PROTOCOL);
    };
    let offending = served.offending_flags(request);
    let Some(used_version) = served.common_version(request) else {
        return refused(offending, code::PROTOCOL_VERSION_MISMATCH);
    };
    if offending != 0 {
        return refused(offending, code::UNSUPPORTED_FEATURE_FLAGS);
    }
    match &served.demanded {
        Some((flags, missing)) if request.flags & flags != *flags => refused(0, missing.clone()),
        _ => Ok(SetupConnectionSuccess { used_version, flags: served.requires }),
    }
}

/// What a client and a server have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Established {
    /// The version in use.
    pub version: u16,
    /// What the server requires of a mining client; none in the other protocols (CM-10).
    pub mining: MiningSuccessFlags,
    /// Bits of the reply that have no meaning here, for the log.
    pub unknown_flags: u32,
}

/// Why a client cannot go on after the reply.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// The server refused. Try without the flags that it names, or another server.
    #[error("the server refused the connection: {error_code} (unsupported flags {flags:#x})")]
    Refused {
        /// Flags that the server does not support; 0 if something else was wrong (CM-13).
        flags: u32,
        /// The server's code, for the log only (ER-02).
        error_code: ErrorCode<'static>,
    },
    /// A version outside of what was offered (CM-07).
    #[error("the server chose version {used}, but {min} to {max} were offered")]
    Version {
        /// The server's choice.
        used: u16,
        /// Lowest version offered.
        min: u16,
        /// Highest version offered.
        max: u16,
    },
    /// The server accepted a flag and requires its opposite.
    #[error("the server requires {requires:?}, which contradicts this client's {needs:?}")]
    Contradiction {
        /// The server's requirement.
        requires: MiningSuccessFlags,
        /// The client's.
        needs: MiningSetupFlags,
    },
}

/// Checks a server's reply against what was asked (CM-07, CM-10).
pub fn check_reply(request: &SetupConnection<'_>, reply: &SetupReply<'_>) -> Result<Established, ReplyError> {
    let success = match reply {
        SetupReply::Success(success) => success,
        SetupReply::Error(error) => {
            let error_code = error.error_code.clone().into_owned();
            return Err(ReplyError::Refused { flags: error.flags, error_code });
        }
    };
    let (used, min, max) = (success.used_version, request.min_version, request.max_version);
    if !(min..=max).contains(&used) {
        return Err(ReplyError::Version { used, min, max });
    }
    if Protocol::from_wire(request.protocol) != Some(Protocol::Mining) {
        return Ok(Established {
            version: used,
            mining: MiningSuccessFlags::NONE,
            unknown_flags: success.flags,
        });
    }
    let needed = MiningSetupFlags::from_bits(request.flags);
    let required = MiningSuccessFlags::from_bits(success.flags);
    for (requires, needs) in [
        (MiningSuccessFlags::REQUIRES_FIXED_VERSION, MiningSetupFlags::REQUIRES_VERSION_ROLLING),
        (MiningSuccessFlags::REQUIRES_EXTENDED_CHANNELS, MiningSetupFlags::REQUIRES_STANDARD_JOBS),
    ] {
        if required.contains(requires) && needed.contains(needs) {
            return Err(ReplyError::Contradiction { requires, needs });
        }
    }
    let unknown = required.without(MiningSuccessFlags::ALL);
    Ok(Established { version: used, mining: required.without(unknown), unknown_flags: unknown.bits() })
}
