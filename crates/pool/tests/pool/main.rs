//! The pool from outside: real connections with real encryption, on a chain and a ledger of its own for every test.

mod support;

mod books;
mod closing;
mod extensions;
mod fleet;
mod frames;
mod jobs;
mod limits;
mod opening;
mod setup;
mod shares;
mod targets;
mod workers;
