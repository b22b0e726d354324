//! Redemption: eHash of an epoch whose blocks are final becomes bitcoin, by a standard Cashu melt.
//!
//! A melt pays an invoice of the mint's own, and so becomes satoshi ecash; or an address on the chain. What a unit is worth
//! is fixed when its epoch becomes redeemable ([`Rate`]); what is asked is checked and priced in [`terms`]; every conversion
//! is in the [`book`] before money moves, and [`redeemer`] moves it, as often as it is asked, once.
//!
//! # What is left after a crash
//!
//! CDK notes that it will pay, asks the redeemer to, and notes that it has. Killed in between, it asks at its next start what
//! became of the payment. The book knows: a redemption that is in it is carried to its end then; one that is not is refused
//! for ever, and CDK gives the tokens back.

mod book;
mod redeemer;
mod terms;

mod rate;
pub use book::{BookError, Progress, Redeemed, Redemption, RedemptionBook, Way};
pub use rate::Rate;
pub(crate) use redeemer::{CONFIRM_WITHIN, Redeemer, Settled};
pub use redeemer::{RedemptionError, Steps};
pub use terms::NoTerms;
pub(crate) use terms::{Asked, Terms};
