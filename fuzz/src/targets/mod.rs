//! The bodies of the fuzz targets, one a module: each takes any bytes and panics if a rule does not hold.

mod arithmetic;
mod books;
mod config;
mod device;
mod extensions;
mod frames;
mod handshake;
mod journal;
mod messages;
mod names;
mod session;
mod setup;
mod shares;
mod template;
mod transport;

pub use {
    arithmetic::arithmetic, books::books, config::config, device::device, extensions::extensions,
    frames::frames, handshake::handshake, journal::journal, messages::messages, names::names,
    session::session, setup::setup, shares::shares, template::template, transport::transport,
};

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name of the program in `fuzz_targets`, and of the directory with its kept inputs.
    pub name: &'static str,
    /// Takes any bytes; panics if a rule does not hold.
    pub body: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many mutated inputs the test tries: about a second's worth.
    pub runs: usize,
}

macro_rules! targets {
    ($($name:ident $runs:literal,)+) => {
        /// All targets.
        pub const TARGETS: &[Target] = &[
            $( Target { name: stringify!($name), body: $name::$name, seeds: $name::seeds, runs: $runs }, )+
        ];
    };
}

targets! {
    arithmetic 10_000,
    books 2_000,
    config 3_000,
    device 4_000,
    extensions 40_000,
    frames 40_000,
    handshake 1_000,
    journal 10_000,
    messages 40_000,
    names 20_000,
    session 1_500,
    setup 40_000,
    shares 4_000,
    template 5_000,
    transport 1_000,
}
