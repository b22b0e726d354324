//! Mining work without sockets, clocks or tasks: targets and credits in exact integers, extranonce
//! space, jobs, channels, share validation, duplicate filter and vardiff.
//!
//! Time is passed in: Unix seconds where the protocol speaks of `ntime`, monotonic milliseconds for
//! vardiff. Everything can therefore be driven by a test, a simulation or a fuzzer.

pub mod extranonce;
pub mod identity;
pub mod target;
pub mod units;

pub use extranonce::{Extranonce, FULL_LEN, Lease, PrefixSpace, ServerId, UNIQUE_LEN, UniquePrefix};
pub use identity::{IdentityError, PayoutKey, UserIdentity, WorkerName};
pub use target::{CompactError, Difficulty, FeeWeight, Target};
pub use units::{Ehash, HashRate, HashRateError};
