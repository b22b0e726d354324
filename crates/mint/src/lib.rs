//! The mint: eHash of every epoch as Cashu ecash.
//!
//! It is built on CDK, which knows blind signatures, swaps and everything else that wallets expect. What is ours stands
//! around it: each epoch is a unit with a keyset of its own ([`unit`]), opened as the pool opens the epoch ([`opening`]);
//! what the pool credited is claimed through one growing quote per epoch and payout key ([`quotes`]), paid from the ledger
//! when somebody looks and never before; and a layer in front of CDK's routes carries what CDK has no hook for
//! ([`layer`], [`views`]).
//!
//! An epoch whose blocks are final is redeemed ([`redemption`]) for bitcoin on the chain, or for satoshi ecash of a second
//! mint (`sat`), which the pool's rewards in the on-chain wallet stand behind.
//!
//! The mint reads the ledger's books and never writes them: while it is down, credit gathers, and nothing is lost.

pub mod books;
mod cashu;
mod database;
mod error;
mod gate;
mod invoice;
pub mod layer;
mod listen;
mod lookup;
mod maturity;
mod mint;
pub mod opening;
mod pages;
mod processor;
pub mod quotes;
pub mod redemption;
mod refusal;
mod sat;
mod seed;
pub mod unit;
pub mod views;

pub use books::{Books, BooksError, LedgerBooks};
pub use database::{Database, Postgres};
pub use error::MintError;
pub use listen::listen;
pub use mint::{EhashMint, MintConfig, RedemptionConfig};
pub use seed::MintSeed;
pub use unit::EpochUnit;
