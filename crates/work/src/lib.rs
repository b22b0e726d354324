//! Mining work without sockets, clocks or tasks: targets and credits in exact integers, extranonce
//! space, jobs, channels, share validation, duplicate filter and vardiff.
//!
//! Time is passed in: Unix seconds where the protocol speaks of `ntime`, monotonic milliseconds for
//! vardiff. Everything can therefore be driven by a test, a simulation or a fuzzer.

pub mod ack;
pub mod channel;
pub mod client;
mod duplicates;
pub mod extranonce;
pub mod group;
pub mod identity;
pub mod job;
mod memory;
mod rate;
mod sha256;
pub mod share;
mod store;
pub mod target;
pub mod units;
mod vardiff;

pub use ack::Ack;
pub use channel::{Channel, Kind, Policy, Request, RequestError, StoreError};
pub use client::{Assignment, ClientChannel, ClientError};
pub use extranonce::{Extranonce, FULL_LEN, Lease, PrefixSpace, ServerId, UNIQUE_LEN, UniquePrefix};
pub use group::{ChannelIds, GroupError, Groups};
pub use identity::{IdentityError, KeyMap, PayoutKey, UserIdentity, WorkerName};
pub use job::{Job, JobError, JobIds, JobParts, Tip, VERSION_ROLLING_MASK};
pub use memory::ShareMemory;
pub use rate::{Bucket, Rate};
pub use share::{Accepted, ExtendedShare, FoundBlock, Now, Rejection, StandardShare};
pub use target::{CompactError, Difficulty, FeeWeight, Target};
pub use units::{Ehash, HashRate, HashRateError};
