//! Sockets for Stratum V2: shards, timers, limits, slow readers.
//!
//! An [`Engine`] listens, and serves its connections on a few threads, the *shards*. A connection
//! belongs to one shard for its whole life, and so does what a [`Handler`] keeps about it: there is no
//! lock, no task and no queue on the path of a frame. The engine does the Noise handshake, decrypts in
//! place, hands each frame to the handler, and writes what the handler sent for one pass at once.
//!
//! Memory is bounded whatever peers do: an idle connection owns no buffer; a peer that does not read,
//! does not finish what it began, or is silent for too long, is dropped. See [`Limits`] and
//! [`Timeouts`]. Where a frame starts is the only thing that the engine understands of the protocol:
//! setup, channels and extensions are the handler's.
//!
//! [`client`] has the other end: a blocking connection for devices and tools.

mod accept;
mod backlog;
pub mod client;
mod close;
mod config;
mod connection;
mod engine;
mod handle;
mod limits;
mod link;
mod shard;
mod slab;
mod sniff;
mod stats;
mod table;
pub mod timer;

pub use {
    close::Close,
    config::{EngineConfig, Timeouts},
    engine::{Engine, Handler, StartError},
    handle::{ShardHandle, Stopped, TrySendError},
    limits::{Limits, Refusal},
    link::Link,
    slab::ConnId,
    stats::{Stats, StatsReader},
    table::Connections,
};
