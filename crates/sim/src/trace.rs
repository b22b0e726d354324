//! What happened in a run, as one hash: two runs of a seed are the same run if it is the same.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hasher},
};

/// The running hash of a run's events, and how many faults of each kind it held.
pub struct Trace {
    hasher: DefaultHasher,
    echo: bool,
    /// Virtual milliseconds.
    pub now: u64,
    faults: BTreeMap<&'static str, u64>,
}

impl Trace {
    /// Nothing yet. With `echo`, events are printed.
    pub fn new(echo: bool) -> Self {
        Self { hasher: DefaultHasher::new(), echo, now: 0, faults: BTreeMap::new() }
    }

    /// Something happened.
    pub fn note(&mut self, what: fmt::Arguments<'_>) {
        let line = format!("{:>7} {what}", self.now);
        if self.echo {
            println!("{line}");
        }
        self.hasher.write(line.as_bytes());
    }

    /// A fault was injected.
    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
        self.note(format_args!("fault: {kind}"));
    }

    /// The hash and the faults by kind.
    pub fn finish(self) -> (u64, BTreeMap<&'static str, u64>) {
        (self.hasher.finish(), self.faults)
    }
}
