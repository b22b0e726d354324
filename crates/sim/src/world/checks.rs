//! What must hold in every run: at every step, and when it has come to rest.

use super::{Report, World, server::TAG};
use crate::{books::Model, device::Device};
use bitcoin::{BlockHash, hashes::Hash};
use ledger::Event;
use node::Node;
use std::collections::BTreeMap;

/// Whether an event is about a block.
fn mentions(event: &Event, hash: &ledger::BlockHash) -> bool {
    match event {
        Event::BlockFound(found) => found.hash == *hash,
        Event::BlockConnected(block) => block.hash == *hash,
        Event::BlockDisconnected(other) => other == hash,
        _ => false,
    }
}

impl World {
    /// Per key: acknowledged ≤ durable ≤ sent and not refused. Nothing is lost, nothing is counted twice.
    pub(super) fn check_accounts(&mut self) {
        for (key, account) in self.accounts.all() {
            let durable = self.disk.credited(key);
            let sent = account.acknowledged + account.open;
            assert!(
                account.acknowledged <= durable,
                "of {key} {} eHash are acknowledged, but only {durable} durable",
                account.acknowledged
            );
            assert!(durable <= sent, "of {key} {durable} eHash are durable, but only {sent} were ever sent");
        }
        self.check_pots();
        let Some(server) = &mut self.server else { return };
        for shard in 0..server.pool.shards() {
            let open = server.pool.connections(shard).open;
            let limit = open * (1 << 21);
            let held = server.pool.bytes_held(shard) as u64;
            assert!(held <= limit, "{open} connections hold {held} bytes");
        }
    }

    /// As soon as the chain was followed to its tip, every block that is in the pots is on it.
    fn check_pots(&self) {
        let Some(server) = &self.server else { return };
        let chain = self.node.chain();
        if !server.pool.has_followed(&chain.tip().expect("a devchain answers")) {
            return;
        }
        server.ledger.books(|state| {
            for block in state.blocks().filter(|block| block.status.is_paid()) {
                let info = chain.block_info(&BlockHash::from_byte_array(block.hash.to_bytes()));
                let info = info.expect("a devchain answers");
                assert!(
                    info.is_some_and(|info| info.confirmations.is_some()),
                    "block {} is in the pots, but not on the chain",
                    block.hash
                );
            }
        });
    }

    /// Whether nothing is left to do.
    pub(super) fn is_at_rest(&mut self) -> bool {
        let tip = self.node.chain().tip().expect("a devchain answers").height;
        let answered = self.devices.iter().all(|device| device.unanswered() == 0 && device.asked() == 0);
        let Some(server) = &self.server else { return false };
        let followed = server.ledger.books(|state| state.tip()) == Some(Some(tip));
        answered && followed && server.ledger.next_turn().is_none() && server.pool.blocks_waiting() == 0
    }

    /// For a failure's text.
    pub(super) fn state(&self) -> String {
        let devices: Vec<String> = self
            .devices
            .iter()
            .map(|device| {
                format!(
                    "device {}: connected {}, mining {}, {} shares and {} requests without an answer",
                    device.name,
                    device.is_connected(),
                    device.is_mining(),
                    device.unanswered(),
                    device.asked()
                )
            })
            .collect();
        let tip = self.node.chain().tip().map(|tip| tip.height);
        let ledger = self.server.as_ref().map(|server| server.ledger.books(|state| state.tip()));
        let totals = self.server.as_ref().map(|server| server.pool.stats().totals());
        format!("chain {tip:?}, ledger {ledger:?}, {devices:?}, {totals:?}")
    }

    /// The checks at the end, and what the run came to.
    pub(super) fn finish(mut self, seed: u64) -> Report {
        self.check_accounts();
        let events = self.disk.events();
        let model = Model::replay(&events);
        let server = self.server.as_ref().expect("the pool runs when it is at rest");
        let compared = server.ledger.books(|state| {
            model.compare(state);
            state.check().expect("the books' own invariants");
            u64::from(state.open_epoch().get())
        });
        let epochs = compared.expect("the books are in memory when the ledger is at rest");

        let on_chain = self.blocks_on_chain();
        let paid = model.paid();
        let mut hashes = paid.keys().chain(on_chain.keys());
        if let Some(hash) = hashes.find(|hash| paid.get(hash) != on_chain.get(hash)) {
            let info = self.node.chain().block_info(&BlockHash::from_byte_array(hash.to_bytes()));
            let history: Vec<_> = events.iter().filter(|event| mentions(event, hash)).collect();
            let (books, chain) = (paid.get(hash), on_chain.get(hash));
            panic!("block {hash}: the books have {books:?}, the chain {chain:?}; {info:?}, {history:?}");
        }
        let missing = self
            .accounts
            .blocks()
            .iter()
            .filter(|hash| self.node.chain().block_info(hash).expect("a devchain answers").is_none());
        let missing = missing.count();
        assert!(missing <= self.blocks_lost, "{missing} blocks never reached the node");

        let held = self.devices.iter().filter(|device| Device::is_held(device)).count() as u64;
        let open: u64 = (0..server.pool.shards()).map(|shard| server.pool.connections(shard).open).sum();
        assert_eq!(open, held, "connections of the pool, and of its devices");

        for (key, account) in self.accounts.all() {
            self.trace.note(format_args!("{key}: {account:?}, durable {}", self.disk.credited(key)));
        }
        let blocks = on_chain.len() as u64;
        let (hash, faults) = self.trace.finish();
        Report {
            seed,
            hash,
            faults,
            acknowledged: self.accounts.acknowledged,
            refused: self.accounts.refused,
            blocks,
            epochs,
            seconds: self.now / 1000,
        }
    }

    /// The pool's blocks on the best chain, and what they pay it in millisatoshi.
    fn blocks_on_chain(&self) -> BTreeMap<ledger::BlockHash, u64> {
        let chain = self.node.chain();
        let script = &self.settings.pool.payout_script;
        let mut blocks = BTreeMap::new();
        for height in 0..=chain.tip().expect("a devchain answers").height {
            let hash = chain.block_hash(height).expect("a devchain answers").expect("below the tip");
            let block = chain.block(&hash).expect("a devchain answers");
            let coinbase = &block.txdata[0];
            let tag = coinbase.input[0].script_sig.as_bytes();
            if !tag.windows(TAG.len()).any(|part| part == TAG) {
                continue;
            }
            let paid = coinbase.output.iter().filter(|output| output.script_pubkey == *script);
            let sats: u64 = paid.map(|output| output.value.to_sat()).sum();
            blocks.insert(ledger::BlockHash::from_bytes(hash.to_byte_array()), sats * 1000);
        }
        blocks
    }
}
