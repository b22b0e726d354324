//! Codes and reasons that are in use in the mining protocol. The specification defines none: they are
//! sent because peers know them, and never decided upon (ER-02, ER-03, ER-04).

use crate::ErrorCode;

type Code = ErrorCode<'static>;

// Codes of OpenMiningChannelError.

/// The identity is not accepted (EC-05).
pub const UNKNOWN_USER: Code = ErrorCode::from_static("unknown-user");

/// `max_target` cannot be honoured; also of [`super::UpdateChannelError`] (EC-06, EC-16).
pub const MAX_TARGET_OUT_OF_RANGE: Code = ErrorCode::from_static("max-target-out-of-range");

/// The identity cannot be read (EC-07).
pub const INVALID_USER_IDENTITY: Code = ErrorCode::from_static("invalid-user-identity");

/// The hash rate is no number that one can have; also of [`super::UpdateChannelError`] (EC-08, EC-17).
pub const INVALID_NOMINAL_HASHRATE: Code = ErrorCode::from_static("invalid-nominal-hashrate");

/// So many bytes of extranonce cannot be granted (EC-09).
pub const MIN_EXTRANONCE_SIZE_TOO_LARGE: Code = ErrorCode::from_static("min-extranonce-size-too-large");

/// The same, as a matter of policy (EC-10).
pub const UNSUPPORTED_MIN_EXTRANONCE_SIZE: Code = ErrorCode::from_static("unsupported-min-extranonce-size");

/// No ids or extranonce prefixes are left (EC-11).
pub const CHANNEL_CAPACITY_EXHAUSTED: Code = ErrorCode::from_static("channel-capacity-exhausted");

/// A standard channel on a connection with work selection (EC-12).
pub const STANDARD_CHANNELS_NOT_SUPPORTED_FOR_CUSTOM_WORK: Code =
    ErrorCode::from_static("standard-channels-not-supported-for-custom-work");

/// An extended channel on a connection that requires standard jobs (EC-13).
pub const EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS: Code =
    ErrorCode::from_static("extended-channels-not-supported-for-standard-jobs");

/// The server requires extended channels (EC-14).
pub const STANDARD_CHANNELS_NOT_SUPPORTED: Code = ErrorCode::from_static("standard-channels-not-supported");

// Codes of UpdateChannelError, SubmitSharesError and SetCustomMiningJobError.

/// No such channel, or one of the wrong kind (EC-15, EC-18, EC-27).
pub const INVALID_CHANNEL_ID: Code = ErrorCode::from_static("invalid-channel-id");

// Codes of SubmitSharesError.

/// The job ended with a new block (EC-19).
pub const STALE_SHARE: Code = ErrorCode::from_static("stale-share");

/// The hash is above the job's target (EC-20).
pub const DIFFICULTY_TOO_LOW: Code = ErrorCode::from_static("difficulty-too-low");

/// The job is unknown, or still in the future (EC-21).
pub const INVALID_JOB_ID: Code = ErrorCode::from_static("invalid-job-id");

/// The same header was credited before (EC-22).
pub const DUPLICATE_SHARE: Code = ErrorCode::from_static("duplicate-share");

/// The extranonce is longer or shorter than granted (EC-23).
pub const BAD_EXTRANONCE_SIZE: Code = ErrorCode::from_static("bad-extranonce-size");

/// The version was changed although the job forbids it (EC-24).
pub const VERSION_ROLLING_NOT_ALLOWED: Code = ErrorCode::from_static("version-rolling-not-allowed");

/// A bit of the version outside the mask was changed (EC-25).
pub const INVALID_NON_ROLLABLE_VERSION_BIT: Code = ErrorCode::from_static("invalid-non-rollable-version-bit");

/// Anything else, such as a time out of range (EC-26).
pub const INVALID_SHARE: Code = ErrorCode::from_static("invalid-share");

// Codes of SetCustomMiningJobError.

/// The token is unknown, expired, or of another user (EC-28).
pub const INVALID_MINING_JOB_TOKEN: Code = ErrorCode::from_static("invalid-mining-job-token");

/// There is no work selection here (EC-30).
pub const JD_NOT_SUPPORTED: Code = ErrorCode::from_static("jd-not-supported");

/// The job declarator server has not finished (EC-31).
pub const JOB_NOT_YET_VALIDATED: Code = ErrorCode::from_static("job-not-yet-validated");

/// `prev_hash` is not the tip (EC-32).
pub const STALE_CHAIN_TIP: Code = ErrorCode::from_static("stale-chain-tip");

/// `min_ntime` is wrong (EC-33).
pub const INVALID_MIN_NTIME: Code = ErrorCode::from_static("invalid-min-ntime");

/// `nbits` is wrong (EC-33).
pub const INVALID_NBITS: Code = ErrorCode::from_static("invalid-nbits");

/// `version` is wrong (EC-33).
pub const INVALID_VERSION: Code = ErrorCode::from_static("invalid-version");

/// The coinbase transaction as a whole is wrong (EC-34).
pub const INVALID_COINBASE_TX: Code = ErrorCode::from_static("invalid-coinbase-tx");

/// `coinbase_tx_version` is wrong (EC-34).
pub const INVALID_COINBASE_TX_VERSION: Code = ErrorCode::from_static("invalid-coinbase-tx-version");

/// `coinbase_prefix` is wrong (EC-34).
pub const INVALID_COINBASE_PREFIX: Code = ErrorCode::from_static("invalid-coinbase-prefix");

/// `coinbase_tx_input_n_sequence` is wrong (EC-34).
pub const INVALID_COINBASE_TX_INPUT_N_SEQUENCE: Code =
    ErrorCode::from_static("invalid-coinbase-tx-input-n-sequence");

/// `coinbase_tx_outputs` is wrong (EC-34).
pub const INVALID_COINBASE_TX_OUTPUTS: Code = ErrorCode::from_static("invalid-coinbase-tx-outputs");

/// `coinbase_tx_locktime` is wrong (EC-34).
pub const INVALID_COINBASE_TX_LOCKTIME: Code = ErrorCode::from_static("invalid-coinbase-tx-locktime");

/// `merkle_path` differs from the declaration (EC-35).
pub const INVALID_MERKLE_PATH: Code = ErrorCode::from_static("invalid-merkle-path");

// Reasons of CloseChannel (EC-45).

/// The device behind the channel is gone.
pub const DOWNSTREAM_DISCONNECTED: Code = ErrorCode::from_static("downstream-disconnected");

/// The server is about to stop.
pub const MAINTENANCE: Code = ErrorCode::from_static("maintenance");

/// The channel sent more shares than it may.
pub const SHARE_FLOOD: Code = ErrorCode::from_static("share-flood");
