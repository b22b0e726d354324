//! Metrics that are not the pool's own: connections, the node, the ledger. Set when they are asked for.

use anyhow::Result;
use prometheus::{IntGauge, Registry};
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
    disk_failing: "assay_ledger_disk_failing", "1 while the disk takes no credits";
}

/// A registry with these metrics and the pool's.
pub fn registry(sources: &Sources) -> Result<Registry> {
    let registry = Registry::new();
    sources.pool.register(&registry)?;
    for gauge in all() {
        registry.register(Box::new(gauge))?;
    }
    Ok(registry)
}

/// Reads the sources.
pub fn update(sources: &Sources) {
    let node = sources.node.status();
    let ledger = sources.ledger.summary();
    let set = |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    set(&GAUGES.connections, sources.connections.read().open);
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
