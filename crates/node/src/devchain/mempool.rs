//! Transactions that wait for a block.

use {
    super::checks::Reason,
    crate::{BlockReserve, TemplateTx},
    bitcoin::{OutPoint, Transaction, TxOut, Txid},
    std::collections::{HashMap, HashSet},
};

/// A transaction that was checked against coins and mempool.
#[derive(Clone)]
pub(super) struct Waiting {
    pub transaction: Transaction,
    pub template: TemplateTx,
}

/// In the order of arrival, so that parents come before their children.
pub(super) struct Mempool {
    waiting: Vec<Waiting>,
    /// Which transaction spends an outpoint.
    spenders: HashMap<OutPoint, Txid>,
    /// Position of each transaction.
    index: HashMap<Txid, usize>,
    bytes: usize,
    max_bytes: usize,
    /// Counts changes, for template ids.
    pub version: u64,
}

impl Mempool {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            waiting: Vec::new(),
            spenders: HashMap::new(),
            index: HashMap::new(),
            bytes: 0,
            max_bytes,
            version: 0,
        }
    }

    pub(super) fn txids(&self) -> impl Iterator<Item = Txid> {
        self.waiting.iter().map(|waiting| waiting.template.txid)
    }

    pub(super) fn contains(&self, txid: &Txid) -> bool {
        self.index.contains_key(txid)
    }

    pub(super) fn spends(&self, outpoint: &OutPoint) -> bool {
        self.spenders.contains_key(outpoint)
    }

    /// An output of a waiting transaction, whether spent or not.
    pub(super) fn output(&self, outpoint: &OutPoint) -> Option<&TxOut> {
        let position = *self.index.get(&outpoint.txid)?;
        self.waiting[position].transaction.output.get(outpoint.vout as usize)
    }

    /// Takes in a checked transaction whose inputs nobody else here spends.
    pub(super) fn insert(&mut self, waiting: Waiting) -> Result<(), Reason> {
        let len = waiting.template.raw.len();
        if self.bytes + len > self.max_bytes {
            return Err("mempool full");
        }
        let txid = waiting.template.txid;
        for input in &waiting.transaction.input {
            let before = self.spenders.insert(input.previous_output, txid);
            assert_eq!(before, None, "the caller looked for conflicts");
        }
        self.bytes += len;
        self.index.insert(txid, self.waiting.len());
        self.waiting.push(waiting);
        self.version += 1;
        debug_assert_eq!(self.index.len(), self.waiting.len());
        Ok(())
    }

    /// Empties it, to be filled again under a new tip.
    pub(super) fn take(&mut self) -> Vec<Waiting> {
        self.spenders.clear();
        self.index.clear();
        self.bytes = 0;
        self.version += 1;
        std::mem::take(&mut self.waiting)
    }

    /// The transactions for a template, in order of arrival, as many as fit beside `reserve`.
    pub(super) fn select(&self, reserve: &BlockReserve, max_weight: u64, max_sigops: u64) -> Vec<TemplateTx> {
        let mut weight = reserve.weight;
        let mut sigops = reserve.sigops;
        let mut left_out = HashSet::new();
        let mut selected = Vec::new();
        for Waiting { transaction, template } in &self.waiting {
            let orphaned =
                transaction.input.iter().any(|input| left_out.contains(&input.previous_output.txid));
            let fits = weight.saturating_add(template.weight) <= max_weight
                && sigops.saturating_add(template.sigops_cost) <= max_sigops;
            if orphaned || !fits {
                left_out.insert(template.txid);
                continue;
            }
            weight += template.weight;
            sigops += template.sigops_cost;
            selected.push(template.clone());
        }
        selected
    }
}
