//! Metrics that are not the pool's own: connections, the node, the ledger. Set when they are asked for.

use anyhow::Result;
use engine::{Close, Refusal};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use std::sync::LazyLock;

use crate::http::Sources;

fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::new(name, help).expect("the metric's name is a valid literal")
}

macro_rules! gauges {
    ($($field:ident: $name:literal, $help:literal;)+) => {
        struct Gauges { $($field: IntGauge,)+ }

        static GAUGES: LazyLock<Gauges> = LazyLock::new(|| Gauges { $($field: gauge($name, $help),)+ });

        fn all() -> Vec<IntGauge> {
            vec![$(GAUGES.$field.clone(),)+]
        }
    };
}

gauges! {
    connections: "assay_connections_open", "Connections whose handshake is done";
    node_ready: "assay_node_ready", "1 if the node gives templates, 0 if not";
    tip_height: "assay_tip_height", "Height of the best block";
    epoch: "assay_ledger_epoch", "The open epoch";
    epoch_filled: "assay_ledger_epoch_filled", "eHash in the open epoch";
    epoch_size: "assay_ledger_epoch_size", "eHash that fills an epoch";
    pots_msat: "assay_ledger_pots_msat", "Sum of all pots in millisatoshi";
    carry_msat: "assay_ledger_carry_msat", "Carried to the next block, in millisatoshi";
    journal_rows: "assay_ledger_journal_rows", "Rows of the journal";
    connection_buffers: "assay_connection_buffers_bytes", "Kept for peers: parts of frames, and output that was not read";
    disk_failing: "assay_ledger_disk_failing", "1 while the disk takes no credits";
}

/// The engine's counters: it counts for itself, and they are set to that.
struct Counters {
    refused: IntCounterVec,
    closed: IntCounterVec,
    plain: [IntCounter; 7],
}

static COUNTERS: LazyLock<Counters> = LazyLock::new(|| {
    let by_reason = |name: &str, help: &str| {
        IntCounterVec::new(Opts::new(name, help), &["reason"]).expect("the metric's name is a valid literal")
    };
    let plain =
        |name: &str, help: &str| IntCounter::new(name, help).expect("the metric's name is a valid literal");
    Counters {
        refused: by_reason("assay_connections_refused_total", "Connections not let in, by reason"),
        closed: by_reason("assay_connections_closed_total", "Connections that ended, by reason"),
        plain: [
            plain("assay_connections_accepted_total", "Connections let in"),
            plain("assay_handshakes_total", "Handshakes that succeeded"),
            plain("assay_handshakes_failed_total", "Connections that ended before their handshake was done"),
            plain("assay_frames_in_total", "Frames received"),
            plain("assay_frames_out_total", "Frames sent"),
            plain("assay_bytes_in_total", "Bytes received"),
            plain("assay_bytes_out_total", "Bytes sent"),
        ],
    }
});

fn set_counter(counter: &IntCounter, value: u64) {
    counter.inc_by(value.saturating_sub(counter.get()));
}

impl Counters {
    fn update(&self, stats: &engine::Stats) {
        for refusal in Refusal::ALL {
            let counter = self.refused.with_label_values(&[refusal.label()]);
            set_counter(&counter, stats.refused_for(refusal));
        }
        for (label, count) in Close::LABELS.iter().zip(stats.closed) {
            set_counter(&self.closed.with_label_values(&[*label]), count);
        }
        let engine::Stats { accepted, handshakes, handshakes_failed, frames_in, frames_out, .. } = *stats;
        let values =
            [accepted, handshakes, handshakes_failed, frames_in, frames_out, stats.bytes_in, stats.bytes_out];
        for (counter, value) in self.plain.iter().zip(values) {
            set_counter(counter, value);
        }
    }
}

/// A registry with these metrics and the pool's.
pub fn registry(sources: &Sources) -> Result<Registry> {
    let registry = Registry::new();
    sources.pool.register(&registry)?;
    for gauge in all() {
        registry.register(Box::new(gauge))?;
    }
    registry.register(Box::new(COUNTERS.refused.clone()))?;
    registry.register(Box::new(COUNTERS.closed.clone()))?;
    for counter in &COUNTERS.plain {
        registry.register(Box::new(counter.clone()))?;
    }
    Ok(registry)
}

/// Reads the sources.
pub fn update(sources: &Sources) {
    let node = sources.node.status();
    let ledger = sources.ledger.summary();
    let set = |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    let connections = sources.connections.read();
    set(&GAUGES.connections, connections.open);
    set(&GAUGES.connection_buffers, connections.buffered);
    COUNTERS.update(&connections);
    GAUGES.node_ready.set(i64::from(matches!(node.state, node::NodeState::Ready)));
    set(&GAUGES.tip_height, node.tip.map_or(0, |tip| u64::from(tip.height)));
    set(&GAUGES.epoch, u64::from(ledger.open_epoch.get()));
    set(&GAUGES.epoch_filled, ledger.filled.get());
    set(&GAUGES.epoch_size, ledger.epoch_size.get());
    set(&GAUGES.pots_msat, ledger.pots.get());
    set(&GAUGES.carry_msat, ledger.carry.get());
    set(&GAUGES.journal_rows, ledger.journal_rows);
    GAUGES.disk_failing.set(i64::from(ledger.disk_error.is_some()));
}
