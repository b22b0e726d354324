//! Bitcoin nodes behind one trait.
//!
//! [`Node`] gives block templates, takes blocks, and tells about the chain. Two backends implement it: [`rpc::RpcNode`]
//! talks JSON-RPC to any bitcoind, and [`devchain::Devchain`] is a chain of its own inside this process, for the demo
//! and for fast tests. Whatever the backend, a [`Template`] is the same: the coinbase is built, and the block put
//! together, by one piece of code. [`Watch`] turns either backend into a stream of blocks connected and disconnected.
//!
//! Everything blocks: whoever calls owns the thread. Waits end early when their [`Stop`] is raised.

mod backend;
mod chain;
mod coinbase;
pub mod devchain;
mod error;
mod merkle;
mod reserve;
pub mod rpc;
mod stop;
mod template;
mod watch;

pub use {
    backend::{Node, NodeState, NodeStatus, Submitted},
    bitcoin,
    chain::{BlockInfo, Chain, Tip, UnknownChain},
    coinbase::{AssembleError, CoinbaseError, CoinbaseParts, MAX_EXTRANONCE_LEN, max_tag_len},
    devchain::{Coin, Devchain, DevchainConfig},
    error::NodeError,
    merkle::{fold_merkle_path, merkle_path},
    reserve::{BlockReserve, output_sigops_cost},
    rpc::{RpcAuth, RpcConfig, RpcNode},
    stop::Stop,
    template::{Template, TemplateError, TemplateId, TemplateTx},
    watch::{ChainEvent, Polled, Watch, WatchError},
};
