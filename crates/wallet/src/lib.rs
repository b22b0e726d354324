//! The wallet: payout keys to mine with, and the eHash that comes of it.
//!
//! One seed phrase is behind everything. From it follow the payout keys ([`SeedPhrase`]), so that each epoch can have one of
//! its own that nobody can link to another, and the secrets of all tokens, so that a mint gives them out again to whoever
//! has the words ([`EhashWallet::restore`]). The wallet is CDK's, one for each epoch, on one SQLite store; what is ours is
//! that it knows an epoch's address and unit, asks for the quotes of its own keys, and remembers what is done with.
//!
//! Nothing is logged here, and no error holds words, secrets or tokens.

mod address;
mod balance;
mod claim;
mod error;
mod holding;
mod records;
mod redeem;
mod restore;
mod seed;
mod tokens;
mod wallet;

pub use address::{MintAddress, page};
pub use balance::{Balance, EpochBalance, PoolEpoch};
pub use claim::{Claimed, EpochClaim, EpochRefusal};
pub use error::WalletError;
pub use holding::Holding;
pub use redeem::{RedeemTo, Redeemed};
pub use restore::{EpochRestored, Restored};
pub use seed::{KeyOf, SeedPhrase};
pub use tokens::{HistoryLine, Received, Sent, Way};
pub use wallet::{EhashWallet, Places};
