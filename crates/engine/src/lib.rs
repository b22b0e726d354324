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
//! ```
//! use engine::{Close, ConnId, Connections, Engine, EngineConfig, Handler, Link, ShardHandle};
//! use engine::client::{Client, ClientConfig, Trust};
//! use sv2::noise::{AuthoritySecret, Identity, Validity};
//! use sv2::setup::ChannelEndpointChanged;
//!
//! /// Answers every frame with a message of its own.
//! struct Answer;
//!
//! impl Handler for Answer {
//!     type Conn = u32; // frames so far
//!     type Command = ();
//!
//!     fn opened(&mut self, _: &mut Link<'_>) -> u32 {
//!         0
//!     }
//!
//!     fn frame(&mut self, frames: &mut u32, link: &mut Link<'_>, _: sv2::Frame<'_>) -> Result<(), Close> {
//!         *frames += 1;
//!         link.send(&ChannelEndpointChanged { channel_id: *frames });
//!         Ok(())
//!     }
//!
//!     fn command(&mut self, (): (), _: &mut Connections<'_, Self>) {}
//!
//!     fn closed(&mut self, _: u32, _: ConnId, _: &Close) {}
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut rng = rand::rngs::OsRng;
//! # let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
//! let authority = AuthoritySecret::generate(&mut rng);
//! let trust = Trust::Authority(authority.public());
//! let identity = Identity::new(authority, Validity::default(), now, &mut rng);
//! let config = EngineConfig::new("127.0.0.1:0".parse()?, identity.into());
//! let engine = Engine::start(config, |_shard, _handle: ShardHandle<()>| Answer)?;
//!
//! let mut client = Client::connect(&[engine.local_addr()], &ClientConfig::new(trust))?;
//! client.send(&ChannelEndpointChanged { channel_id: 0 })?;
//! assert_eq!(client.recv(None)?.payload, 1u32.to_le_bytes());
//! engine.stop();
//! # Ok(())
//! # }
//! ```
//!
//! [`client`] has the other end: a blocking connection for devices and tools.

mod accept;
mod admission;
mod backlog;
mod buffer;
pub mod client;
mod close;
mod config;
mod connection;
mod engine;
mod handle;
mod inbox;
mod limits;
mod link;
mod pace;
mod shard;
#[cfg(feature = "simulation")]
pub mod simulation;
mod slab;
mod sniff;
mod socket;
mod stats;
mod table;
pub mod timer;

pub use {
    close::Close,
    config::{EngineConfig, Timeouts},
    engine::{Engine, Handler, StartError},
    handle::{ShardHandle, Stopped, TrySendError},
    limits::{Limits, Rate, Refusal},
    link::Link,
    slab::ConnId,
    stats::{Stats, StatsReader},
    table::Connections,
};
