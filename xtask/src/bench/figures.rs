//! What is read from the reports of `assay swarm`, in integers of a named unit, and how such numbers are written.

use super::rows::Load;
use serde_json::Value;

/// A number that a measurement gives.
#[derive(Debug)]
pub struct Figure {
    /// For goals.
    pub key: &'static str,
    /// For people.
    pub what: &'static str,
    pub unit: Unit,
    pub better: Better,
    /// One number of each run, or of each block.
    pub read: fn(&Value) -> Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Nanoseconds,
    Microseconds,
    Bytes,
    PerSecond,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Less,
    More,
}

/// In the figure's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    AtMost(u64),
    AtLeast(u64),
}

use Better::{Less, More};
use Unit::{Bytes, Microseconds, Nanoseconds, PerSecond};

const PIPELINED: &[Figure] = &[
    Figure {
        key: "share_cpu",
        what: "server CPU a share",
        unit: Nanoseconds,
        better: Less,
        read: |report| one(report, "/server/cpu_ns_each"),
    },
    Figure {
        key: "share_rate",
        what: "shares answered, beside the client on the same cores",
        unit: PerSecond,
        better: More,
        read: |report| one(report, "/shares_per_second"),
    },
];

const PACED: &[Figure] = &[
    Figure {
        key: "share_cpu",
        what: "server CPU a share",
        unit: Nanoseconds,
        better: Less,
        read: |report| one(report, "/server/cpu_ns_each"),
    },
    Figure {
        key: "ack_p50",
        what: "acknowledged, p50",
        unit: Microseconds,
        better: Less,
        read: |report| one(report, "/ack_p50_us"),
    },
    Figure {
        key: "ack_p99",
        what: "acknowledged, p99",
        unit: Microseconds,
        better: Less,
        read: |report| one(report, "/ack_p99_us"),
    },
    Figure {
        key: "share_rate",
        what: "shares answered",
        unit: PerSecond,
        better: More,
        read: |report| one(report, "/shares_per_second"),
    },
];

const IDLE: &[Figure] = &[
    Figure {
        key: "connection_bytes",
        what: "resident memory a connection with one channel",
        unit: Bytes,
        better: Less,
        read: |report| one(report, "/waves/0/resident_per_connection_bytes"),
    },
    Figure {
        key: "channel_bytes",
        what: "… a further channel",
        unit: Bytes,
        better: Less,
        read: |report| one(report, "/waves/0/resident_per_further_channel_bytes"),
    },
    Figure {
        key: "set_up_rate",
        what: "connections set up",
        unit: PerSecond,
        better: More,
        read: |report| one(report, "/waves/0/set_up/connections_per_second"),
    },
    Figure {
        key: "set_up_cpu",
        what: "server CPU a set-up",
        unit: Nanoseconds,
        better: Less,
        read: |report| one(report, "/waves/0/server/cpu_ns_each"),
    },
];

const WAVES: &[Figure] = &[
    Figure {
        key: "first_wave_bytes",
        what: "resident memory a connection, first wave",
        unit: Bytes,
        better: Less,
        read: |report| one(report, "/waves/0/resident_per_connection_bytes"),
    },
    Figure {
        key: "last_wave_bytes",
        what: "… last wave",
        unit: Bytes,
        better: Less,
        read: |report| {
            let mut waves = each(report, "/waves", "/resident_per_connection_bytes");
            waves.split_off(waves.len().saturating_sub(1))
        },
    },
];

const FANOUT: &[Figure] = &[
    Figure {
        key: "first",
        what: "first client",
        unit: Microseconds,
        better: Less,
        read: |report| each(report, "/blocks", "/first_us"),
    },
    Figure {
        key: "median",
        what: "median",
        unit: Microseconds,
        better: Less,
        read: |report| each(report, "/blocks", "/median_us"),
    },
    Figure {
        key: "p99",
        what: "99 %",
        unit: Microseconds,
        better: Less,
        read: |report| each(report, "/blocks", "/p99_us"),
    },
    Figure {
        key: "last",
        what: "last client",
        unit: Microseconds,
        better: Less,
        read: |report| each(report, "/blocks", "/last_us"),
    },
    Figure {
        key: "spread",
        what: "from the first client to the last",
        unit: Microseconds,
        better: Less,
        read: |report| each(report, "/blocks", "/spread_us"),
    },
    Figure {
        key: "block_cpu",
        what: "server CPU a block",
        unit: Microseconds,
        better: Less,
        read: |report| each(report, "/blocks", "/server/cpu_us"),
    },
];

/// What a load measures.
pub fn of(load: &Load) -> &'static [Figure] {
    match load {
        Load::Pipelined { .. } => PIPELINED,
        Load::Paced { .. } => PACED,
        Load::Idle { .. } => IDLE,
        Load::Waves { .. } => WAVES,
        Load::Fanout { .. } => FANOUT,
    }
}

/// What in a report casts doubt on its figures.
pub fn remarks(report: &Value) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut count = |pointer: &str, what: &str| {
        let count = number(report, pointer).unwrap_or(0);
        if count > 0 {
            remarks.push(format!("{} {what}", grouped(count)));
        }
    };
    count("/rejected", "shares rejected");
    count("/unanswered", "shares unanswered");
    count("/cut_by_new_tip", "shares cut off by a new tip");
    count("/set_up/failed", "connections failed");
    for wave in list(report, "/waves") {
        let lost = number(wave, "/lost").unwrap_or(0) + number(wave, "/set_up/failed").unwrap_or(0);
        if lost > 0 {
            remarks.push(format!("{} connections failed or lost in a wave", grouped(lost)));
        }
    }
    for block in list(report, "/blocks") {
        let expected = number(block, "/expected").unwrap_or(0);
        let missing = expected.saturating_sub(number(block, "/heard").unwrap_or(0));
        if missing > 0 {
            remarks.push(format!("{} clients did not hear of a block", grouped(missing)));
        }
        if block["since"] != "trigger-output" {
            remarks.push("times do not count from the block's submission".to_owned());
        }
    }
    if let Some(ended) = report["ended"].as_str()
        && !["time", "shares-used-up"].contains(&ended)
    {
        remarks.push(format!("ended: {ended}"));
    }
    if let Some(troubles) = report["troubles"].as_object() {
        remarks.extend(troubles.iter().map(|(trouble, count)| format!("{count} × {trouble}")));
    }
    remarks.extend(list(report, "/notes").iter().filter_map(|note| note.as_str().map(str::to_owned)));
    remarks
}

fn number(report: &Value, pointer: &str) -> Option<u64> {
    report.pointer(pointer)?.as_u64()
}

fn one(report: &Value, pointer: &str) -> Vec<u64> {
    number(report, pointer).into_iter().collect()
}

fn list<'a>(report: &'a Value, pointer: &str) -> &'a [Value] {
    report.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn each(report: &Value, pointer: &str, inner: &str) -> Vec<u64> {
    list(report, pointer).iter().filter_map(|item| number(item, inner)).collect()
}

impl Goal {
    /// Whether a figure reaches it.
    pub fn is_reached(self, value: u64) -> bool {
        match self {
            Goal::AtMost(most) => value <= most,
            Goal::AtLeast(least) => value >= least,
        }
    }

    /// `≤ 2.50 µs`
    pub fn shown(self, unit: Unit) -> String {
        match self {
            Goal::AtMost(most) => format!("≤ {}", unit.shown(most)),
            Goal::AtLeast(least) => format!("≥ {}", unit.shown(least)),
        }
    }
}

impl Unit {
    /// `9.30 µs`, `12.4 ms`, `91.5 KB`, `4,000/s`
    pub fn shown(self, value: u64) -> String {
        match self {
            Nanoseconds if value < 1_000_000 => decimal(value, 1000, "µs"),
            Nanoseconds => Microseconds.shown(value / 1000),
            Microseconds if value < 1_000_000 => decimal(value, 1000, "ms"),
            Microseconds => decimal(value, 1_000_000, "s"),
            Bytes if value < 1000 => format!("{value} B"),
            Bytes if value < 1_000_000 => decimal(value, 1000, "KB"),
            Bytes => decimal(value, 1_000_000, "MB"),
            PerSecond => format!("{}/s", grouped(value)),
        }
    }
}

/// Three digits, or more before the point.
fn decimal(value: u64, unit: u64, name: &str) -> String {
    match value / unit {
        0..10 => {
            let hundredths = (value * 100 + unit / 2) / unit;
            format!("{}.{:02} {name}", hundredths / 100, hundredths % 100)
        }
        10..100 => {
            let tenths = (value * 10 + unit / 2) / unit;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        _ => format!("{} {name}", grouped((value + unit / 2) / unit)),
    }
}

/// `15,000`
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_read_well() {
        for (unit, value, text) in [
            (Nanoseconds, 996, "1.00 µs"),
            (Nanoseconds, 9304, "9.30 µs"),
            (Nanoseconds, 1_811_000, "1.81 ms"),
            (Microseconds, 350, "0.35 ms"),
            (Microseconds, 26_040, "26.0 ms"),
            (Microseconds, 812_000, "812 ms"),
            (Microseconds, 1_204_000, "1.20 s"),
            (Bytes, 916, "916 B"),
            (Bytes, 91_540, "91.5 KB"),
            (Bytes, 1_310_720, "1.31 MB"),
            (PerSecond, 1_234_567, "1,234,567/s"),
            (PerSecond, 552, "552/s"),
        ] {
            assert_eq!(unit.shown(value), text);
        }
    }

    #[test]
    fn goals_are_judged_in_the_figures_unit() {
        assert!(Goal::AtMost(10).is_reached(10) && !Goal::AtMost(10).is_reached(11));
        assert!(Goal::AtLeast(10).is_reached(10) && !Goal::AtLeast(10).is_reached(9));
        assert_eq!(Goal::AtMost(2500).shown(Nanoseconds), "≤ 2.50 µs");
        assert_eq!(Goal::AtLeast(4000).shown(PerSecond), "≥ 4,000/s");
    }

    #[test]
    fn figures_are_found_where_the_load_tool_writes_them() {
        let waves = json!({"waves": [
            {"resident_per_connection_bytes": 1}, {"resident_per_connection_bytes": 2}]});
        let blocks = json!({"blocks": [{"first_us": 7}, {"first_us": 8}]});
        let share = json!({"server": {"cpu_ns_each": 9}});
        let read = |figures: &[Figure], key: &str, report: &Value| {
            let figure = figures.iter().find(|figure| figure.key == key).unwrap();
            (figure.read)(report)
        };
        assert_eq!(read(WAVES, "first_wave_bytes", &waves), [1]);
        assert_eq!(read(WAVES, "last_wave_bytes", &waves), [2]);
        assert_eq!(read(FANOUT, "first", &blocks), [7, 8]);
        assert_eq!(read(PIPELINED, "share_cpu", &share), [9]);
        assert!(read(PACED, "ack_p99", &share).is_empty());
        assert!(read(WAVES, "last_wave_bytes", &share).is_empty());
    }

    #[test]
    fn doubtful_reports_are_remarked_upon() {
        let good = json!({"ended": "time", "rejected": 0, "troubles": {}, "notes": [],
            "blocks": [{"expected": 5, "heard": 5, "since": "trigger-output"}]});
        assert_eq!(remarks(&good), Vec::<String>::new());
        let bad = json!({"ended": "stalled", "rejected": 1200, "troubles": {"reset": 3}, "notes": ["slow"],
            "waves": [{"lost": 1, "set_up": {"failed": 1}}],
            "blocks": [{"expected": 5, "heard": 4, "since": "first-client"}]});
        assert_eq!(
            remarks(&bad),
            [
                "1,200 shares rejected",
                "2 connections failed or lost in a wave",
                "1 clients did not hear of a block",
                "times do not count from the block's submission",
                "ended: stalled",
                "3 × reset",
                "slow",
            ]
        );
    }
}
