//! Shares as they arrive, and what becomes of them.

use {
    crate::{
        extranonce::Extranonce,
        job::{Job, Tip},
        target::Difficulty,
        units::Ehash,
    },
    std::{
        fmt::{self, Debug, Formatter},
        sync::Arc,
    },
    thiserror::Error,
};

/// How far ahead of the clock consensus lets a header's time be, in seconds (LIM-19, MP-115).
pub const MAX_FUTURE_NTIME: u32 = 7200;

/// The time, as two clocks tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Unix seconds: bounds `ntime`.
    pub unix: u32,
    /// Milliseconds of a clock that never jumps: drives vardiff.
    pub millis: u64,
}

/// `SubmitSharesStandard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandardShare {
    /// Names the share in its answer.
    pub sequence_number: u32,
    /// The job it was found on.
    pub job_id: u32,
    /// Header field.
    pub nonce: u32,
    /// Header field, Unix seconds.
    pub ntime: u32,
    /// Header field, complete (MP-118).
    pub version: u32,
}

/// `SubmitSharesExtended`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtendedShare<'a> {
    /// What it has in common with a standard share.
    pub share: StandardShare,
    /// What the miner rolled: exactly as many bytes as the channel was granted (MP-120).
    pub extranonce: &'a [u8],
}

/// A share that counts.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// What it earns.
    pub credit: Ehash,
    /// The difficulty of its job's target, not of its hash (MP-131, PO-11).
    pub difficulty: Difficulty,
    /// It is a block: submit it before anything else (MP-136).
    pub block: Option<Box<FoundBlock>>,
}

/// All that is needed to build and submit the block that a share found.
#[derive(Clone)]
pub struct FoundBlock {
    /// The header.
    pub header: [u8; 80],
    /// Its hash in internal byte order.
    pub hash: [u8; 32],
    /// What stands between the coinbase's two parts.
    pub full_extranonce: Extranonce,
    /// The job it was found on.
    pub job: Arc<Job>,
    /// The tip it extends.
    pub tip: Arc<Tip>,
}

impl Debug for FoundBlock {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "FoundBlock {{ hash: ")?;
        self.hash.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ", job: {} }}", self.job.id())
    }
}

/// Why a share does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Rejection {
    /// A standard message on an extended channel, or the reverse (MP-122).
    #[error("this message is not for channels of this kind")]
    WrongKind,
    /// MP-126 is not the case: the id was never seen.
    #[error("job {0} was never sent on this channel")]
    UnknownJob(u32),
    /// MP-127.
    #[error("job {0} is a future job that no SetNewPrevHash has named yet")]
    FutureJob(u32),
    /// MP-126.
    #[error("job {0} is no longer valid")]
    Stale(u32),
    /// MP-121.
    #[error("extranonce of {got} bytes where {granted} were granted")]
    ExtranonceSize {
        /// By the server, at opening.
        granted: u8,
        /// In the share.
        got: usize,
    },
    /// MP-29, MP-119.
    #[error("version {0:#010x} differs from the job's, which must not be rolled")]
    VersionRolled(u32),
    /// MP-119.
    #[error(
        "version {0:#010x} differs from the job's outside of the bits that may be rolled (BIP323, 0x1fffffe0)"
    )]
    VersionBits(u32),
    /// MP-113.
    #[error("ntime {ntime} is before {min}, the least of this job")]
    TooEarly {
        /// In the share.
        ntime: u32,
        /// Of the job.
        min: u32,
    },
    /// MP-115.
    #[error("ntime {ntime} is after {max}, the latest that consensus allows now")]
    TooLate {
        /// In the share.
        ntime: u32,
        /// By the server's clock.
        max: u32,
    },
    /// MP-140.
    #[error("the hash does not meet the target of its job")]
    AboveTarget,
    /// MP-124.
    #[error("this header was already credited")]
    Duplicate,
    /// The channel has had more shares on one tip than its duplicate filter may hold. Forgetting any
    /// would let them be credited again, so the channel must be closed.
    #[error("too many shares on one block; the channel is closed, open a new one with a harder target")]
    ShareBudget,
}

impl Rejection {
    /// The `error_code` of `SubmitShares.Error` (EC-18 to EC-26).
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WrongKind => "invalid-channel-id",
            Self::UnknownJob(_) | Self::FutureJob(_) => "invalid-job-id",
            Self::Stale(_) => "stale-share",
            Self::ExtranonceSize { .. } => "bad-extranonce-size",
            Self::VersionRolled(_) => "version-rolling-not-allowed",
            Self::VersionBits(_) => "invalid-non-rollable-version-bit",
            Self::TooEarly { .. } | Self::TooLate { .. } | Self::ShareBudget => "invalid-share",
            Self::AboveTarget => "difficulty-too-low",
            Self::Duplicate => "duplicate-share",
        }
    }

    /// Whether the channel must be closed.
    pub const fn closes_channel(&self) -> bool {
        matches!(self, Self::ShareBudget)
    }
}
