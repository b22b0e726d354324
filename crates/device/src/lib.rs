//! A CPU mining device that speaks Stratum V2: for tests, demonstrations and learning.
//!
//! From the inside out: [`kernel`] hashes headers, [`search`] says which headers a thread tries,
//! [`crew`] runs the threads, [`session`] is the protocol of one connection without I/O, [`pools`]
//! decides where to connect and when, and [`device`] ties them to sockets and a clock.

pub mod config;
pub mod crew;
pub mod device;
pub mod event;
pub mod kernel;
mod link;
pub mod pools;
pub mod search;
pub mod session;
pub mod tally;

pub use config::{ChannelKind, ConfigError, DeviceConfig, PoolAddress, PoolAddressError, Timing};
pub use device::{Device, DeviceHandle};
pub use event::{DeviceEvent, DeviceState, DeviceStats};
