//! What the whole-system tests start and talk to: a real `bitcoin-node` on a signet of its own, the
//! `assay` binary, the reference implementation's translator, wallets of others, and mining devices that tell the
//! tests exactly what they were promised.
//!
//! The programs come from `cargo xtask test`, see [`binaries`]. Everything listens on 127.0.0.1, lives in a
//! temporary directory and ends with the value that stands for it.

pub mod assay;
pub mod assay_mint;
pub mod binaries;
pub mod books;
pub mod clock;
pub mod disk;
pub mod filled_ledger;
pub mod http;
pub mod plug;
pub mod process;
pub mod proof_of_work;
pub mod real_node;
pub mod recording_device;
pub mod signet;
pub mod sv1_miner;
pub mod translator;
pub mod waiting;
pub mod wallets;
