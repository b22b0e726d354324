//! What is measured: one [`Row`] a measurement. To change, add or drop one, change it here and nowhere else.

use super::figures::Goal::{self, AtLeast, AtMost};

/// A measurement, done on each pool in turn.
#[derive(Debug)]
pub struct Row {
    /// For `--only`.
    pub name: &'static str,
    /// For people.
    pub what: &'static str,
    pub load: Load,
    /// Repetitions, each on a freshly started pool.
    pub runs: u32,
    /// Figures (by their key in [`super::figures`]) that have a goal, in the figure's unit.
    pub goals: &'static [(&'static str, Goal)],
}

/// What `assay swarm` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Valid shares as fast as the pool answers.
    Pipelined { kind: Kind, connections: u32, channels: u32, shares: u32 },
    /// So many shares a second, each in a packet of its own.
    Paced { kind: Kind, connections: u32, rate: u32, seconds: u32 },
    /// Connections that do nothing, first with one channel each and then with all.
    Idle { connections: u32, channels: u32 },
    /// Connections with one channel that all leave and come again, so often. SRI's pool keeps more than a megabyte of
    /// each connection after the third wave, and that is known after four.
    Waves { connections: u32, assay: u32, sri: u32 },
    /// Waits for new blocks.
    Fanout { kind: Kind, connections: u32, blocks: u32 },
}

/// Of the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Standard,
    Extended,
}

use Kind::{Extended, Standard};
use Load::{Fanout, Idle, Paced, Pipelined, Waves};

/// A multiple of SRI's ten shares an acknowledgement on each channel of each row, and far below the 2^20 shares of a
/// channel on one tip after which it closes the connection.
const SHARES: u32 = 400_000;

const fn row(name: &'static str, what: &'static str, load: Load, runs: u32) -> Row {
    Row { name, what, load, runs, goals: &[] }
}

const fn pipelined(kind: Kind, connections: u32, channels: u32) -> Load {
    Pipelined { kind, connections, channels, shares: SHARES }
}

/// The whole comparison, about 15 minutes.
pub const FULL: &[Row] = &[
    row("standard-1", "standard shares, 1 connection", pipelined(Standard, 1, 1), 3),
    row("standard-10", "standard shares, 10 connections", pipelined(Standard, 10, 1), 3),
    Row {
        goals: &[("share_cpu", AtMost(2_500))],
        ..row("standard-100", "standard shares, 100 connections", pipelined(Standard, 100, 1), 3)
    },
    row("standard-1000", "standard shares, 1,000 connections", pipelined(Standard, 1000, 1), 3),
    Row {
        goals: &[("share_cpu", AtMost(2_500))],
        ..row(
            "standard-1x1000",
            "standard shares, 1 connection with 1,000 channels",
            pipelined(Standard, 1, 1000),
            3,
        )
    },
    row("extended-1", "extended shares, 1 connection", pipelined(Extended, 1, 1), 3),
    row("extended-10", "extended shares, 10 connections", pipelined(Extended, 10, 1), 3),
    Row {
        goals: &[("share_cpu", AtMost(5_000))],
        ..row("extended-100", "extended shares, 100 connections", pipelined(Extended, 100, 1), 3)
    },
    row("extended-1000", "extended shares, 1,000 connections", pipelined(Extended, 1000, 1), 3),
    Row {
        goals: &[("share_cpu", AtMost(15_000)), ("ack_p99", AtMost(10_000))],
        ..row(
            "paced",
            "10,000 standard shares a second over 1,000 connections, one a packet",
            Paced { kind: Standard, connections: 1000, rate: 10_000, seconds: 10 },
            3,
        )
    },
    row("idle-1000", "1,000 idle connections", Idle { connections: 1000, channels: 4 }, 3),
    row("idle-5000", "5,000 idle connections", Idle { connections: 5000, channels: 4 }, 3),
    Row {
        goals: &[
            ("connection_bytes", AtMost(4_000)),
            ("channel_bytes", AtMost(600)),
            ("set_up_rate", AtLeast(4_000)),
        ],
        ..row("idle-15000", "15,000 idle connections", Idle { connections: 15_000, channels: 4 }, 3)
    },
    Row {
        goals: &[("last_wave_bytes", AtMost(4_000))],
        ..row("waves", "1,000 connections that reconnect", Waves { connections: 1000, assay: 10, sri: 4 }, 1)
    },
    Row {
        goals: &[("first", AtMost(5_000)), ("median", AtMost(80_000)), ("last", AtMost(150_000))],
        ..row(
            "block-standard",
            "new block to 15,000 standard channels",
            Fanout { kind: Standard, connections: 15_000, blocks: 3 },
            1,
        )
    },
    Row {
        goals: &[("first", AtMost(5_000)), ("median", AtMost(80_000)), ("last", AtMost(150_000))],
        ..row(
            "block-extended",
            "new block to 15,000 extended channels",
            Fanout { kind: Extended, connections: 15_000, blocks: 3 },
            1,
        )
    },
];

/// About a minute: shows that everything works, not how fast.
pub const QUICK: &[Row] = &[
    row(
        "standard-10",
        "standard shares, 10 connections",
        Pipelined { kind: Standard, connections: 10, channels: 1, shares: 50_000 },
        1,
    ),
    row(
        "extended-10",
        "extended shares, 10 connections",
        Pipelined { kind: Extended, connections: 10, channels: 1, shares: 50_000 },
        1,
    ),
    row(
        "paced",
        "1,000 standard shares a second over 100 connections, one a packet",
        Paced { kind: Standard, connections: 100, rate: 1000, seconds: 2 },
        1,
    ),
    row("idle-200", "200 idle connections", Idle { connections: 200, channels: 2 }, 1),
    row("waves", "100 connections that reconnect", Waves { connections: 100, assay: 3, sri: 3 }, 1),
    row(
        "block-standard",
        "new block to 200 standard channels",
        Fanout { kind: Standard, connections: 200, blocks: 1 },
        1,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures;
    use std::collections::HashSet;

    #[test]
    fn rows_have_names_of_their_own_and_goals_for_what_they_measure() {
        for rows in [FULL, QUICK] {
            let names: HashSet<&str> = rows.iter().map(|row| row.name).collect();
            assert_eq!(names.len(), rows.len());
            for row in rows {
                let keys: Vec<&str> = figures::of(&row.load).iter().map(|figure| figure.key).collect();
                assert!(row.goals.iter().all(|(key, _)| keys.contains(key)), "{}: {keys:?}", row.name);
                assert!(row.runs > 0, "{}", row.name);
            }
        }
    }

    #[test]
    fn no_share_is_left_in_a_batch_that_sri_does_not_acknowledge() {
        for row in FULL.iter().chain(QUICK) {
            if let Pipelined { connections, channels, shares, .. } = row.load {
                assert_eq!(
                    shares % (connections * channels * super::super::pools::SRI_BATCH),
                    0,
                    "{}",
                    row.name
                );
            }
        }
    }
}
