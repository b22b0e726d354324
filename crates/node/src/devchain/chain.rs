//! The blocks of a devchain, which of them are best, and the coins they leave.

use {
    super::{
        Coin, DevchainConfig,
        checks::{
            Context, Reason, check_block, check_block_in, check_header_in, check_transaction,
            has_relative_lock, is_final,
        },
        mempool::{Mempool, Waiting},
        scripts,
    },
    crate::{
        BlockInfo, NodeError, Submitted, Template, TemplateId, TemplateTx, Tip,
        template::{
            COINBASE_SEQUENCE, COINBASE_VERSION, MAX_BLOCK_SIGOPS_COST, MAX_BLOCK_WEIGHT, witness_commitment,
        },
    },
    bitcoin::{
        Amount, Block, BlockHash, OutPoint, Script, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode,
        TxOut, Witness, Work,
        absolute::LockTime,
        block::{Header, Version},
        consensus,
        hashes::Hash,
        key::Secp256k1,
        secp256k1::VerifyOnly,
        transaction,
    },
    std::{
        collections::{HashMap, HashSet},
        sync::Arc,
    },
};

/// Blocks whose times make the median (BIP 113).
const MEDIAN_TIME_SPAN: usize = 11;
/// The first version with all of a header's version bits free for signals.
const BLOCK_VERSION: i32 = 0x2000_0000;
/// Heaviest transaction that the mempool takes; a block may hold heavier ones.
const MAX_WAITING_WEIGHT: u64 = 400_000;

/// What is known about a block beyond that its header and form are good.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Validity {
    /// It was never on the best chain, so its inputs were never looked at.
    Unconnected,
    /// It is or was on the best chain.
    Connected,
    /// It spends what it may not, was declared invalid, or builds on such a block.
    Invalid(Reason),
}

struct Entry {
    block: Arc<Block>,
    height: u32,
    /// Of the chain that ends here.
    work: Work,
    /// Order of arrival: among equals the first is best.
    arrival: u64,
    validity: Validity,
    /// What it did to the coins, while it is on the best chain.
    delta: Delta,
}

/// What a block, or the beginning of one, did to the coins.
#[derive(Default)]
struct Delta {
    /// The coins spent, in order.
    spent: Vec<Coin>,
    /// How many of its transactions had their outputs added.
    added: usize,
}

pub(super) struct State {
    config: DevchainConfig,
    entries: HashMap<BlockHash, Entry>,
    /// The best chain, by height.
    best: Vec<BlockHash>,
    coins: HashMap<OutPoint, Coin>,
    pub(super) mempool: Mempool,
    extranonces: u64,
    secp: Secp256k1<VerifyOnly>,
}

impl State {
    pub(super) fn new(config: DevchainConfig) -> Self {
        let block = genesis(&config);
        let hash = block.block_hash();
        let entry = Entry {
            work: block.header.work(),
            block: Arc::new(block),
            height: 0,
            arrival: 0,
            validity: Validity::Connected,
            delta: Delta::default(),
        };
        Self {
            mempool: Mempool::new(config.max_mempool_bytes),
            config,
            entries: HashMap::from([(hash, entry)]),
            best: vec![hash],
            coins: HashMap::new(),
            extranonces: 0,
            secp: Secp256k1::verification_only(),
        }
    }

    pub(super) fn tip(&self) -> Tip {
        let height = u32::try_from(self.best.len() - 1).expect("max_blocks blocks at most");
        Tip { height, hash: self.best[self.best.len() - 1] }
    }

    pub(super) fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.best.get(height as usize).copied()
    }

    pub(super) fn block(&self, hash: &BlockHash) -> Option<Block> {
        self.entries.get(hash).map(|entry| Block::clone(&entry.block))
    }

    pub(super) fn info(&self, hash: &BlockHash) -> Option<BlockInfo> {
        let entry = self.entries.get(hash)?;
        let header = &entry.block.header;
        let confirmations = self.is_best(hash, entry.height).then(|| self.tip().height - entry.height + 1);
        let (height, prev_hash, time) = (entry.height, header.prev_blockhash, header.time);
        Some(BlockInfo { height, hash: *hash, prev_hash, time, confirmations })
    }

    pub(super) fn coins_of(&self, script: &Script) -> Vec<Coin> {
        let free = |coin: &&Coin| {
            coin.output.script_pubkey.as_script() == script && !self.mempool.spends(&coin.outpoint)
        };
        let mut coins: Vec<Coin> = self.coins.values().filter(free).cloned().collect();
        coins.sort_by_key(|coin| (coin.height, coin.outpoint));
        coins
    }

    pub(super) fn next_extranonce(&mut self) -> u64 {
        self.extranonces += 1;
        self.extranonces
    }

    pub(super) fn template_id(&self) -> TemplateId {
        TemplateId(format!("{} {}", self.tip().hash, self.mempool.version).into())
    }

    /// Whether the id was given for the tip.
    pub(super) fn is_tip_of(&self, id: &TemplateId) -> bool {
        id.0.split_once(' ').is_some_and(|(tip, _)| tip == self.tip().hash.to_string())
    }

    /// A template on the tip, with transactions; or on any other block, without.
    pub(super) fn template(&self, parent: Option<&BlockHash>, now: u32) -> Result<Template, NodeError> {
        let prev_hash = parent.copied().unwrap_or(self.tip().hash);
        let parent_entry = self.entries.get(&prev_hash).ok_or(NodeError::UnknownBlock { hash: prev_hash })?;
        let height = parent_entry.height + 1;
        let min_time = self.median_time_past(&prev_hash).saturating_add(1);
        let transactions = match parent {
            None => self.mempool.select(&self.config.reserve, MAX_BLOCK_WEIGHT, MAX_BLOCK_SIGOPS_COST),
            Some(_) => Vec::new(),
        };
        let fees: Amount = transactions.iter().map(|tx| tx.fee).sum();
        let template = Template {
            id: self.template_id(),
            height,
            version: BLOCK_VERSION,
            prev_hash,
            nbits: self.config.bits_at(height),
            min_time,
            cur_time: now.max(min_time),
            coinbase_value: self.config.subsidy + fees,
            coinbase_version: COINBASE_VERSION,
            coinbase_sequence: COINBASE_SEQUENCE,
            coinbase_locktime: height - 1,
            witness_commitment: Some(witness_commitment(&transactions)),
            transactions: transactions.into(),
            merkle_path: Box::default(),
            weight_limit: MAX_BLOCK_WEIGHT,
            sigops_limit: MAX_BLOCK_SIGOPS_COST,
        };
        Ok(template.complete()?)
    }

    /// Takes in a block, and makes its branch the best chain if it has most work.
    pub(super) fn accept(&mut self, block: Block, now: u32) -> Result<Submitted, NodeError> {
        let hash = block.block_hash();
        if let Some(entry) = self.entries.get(&hash) {
            return Ok(match entry.validity {
                Validity::Connected => Submitted::Duplicate,
                Validity::Unconnected => Submitted::Inconclusive,
                Validity::Invalid(_) => Submitted::Rejected("duplicate-invalid".into()),
            });
        }
        // What fails here is not remembered: another block with the same hash may be good, as the hash does not cover
        // witnesses and repeated transactions.
        let (height, work) = match self.check(&block, now) {
            Ok(place) => place,
            Err(reason) => return Ok(Submitted::Rejected(reason.into())),
        };
        let max_blocks = self.config.max_blocks;
        if self.entries.len() >= max_blocks {
            return Err(NodeError::Full { max_blocks });
        }
        let arrival = self.entries.len() as u64;
        let (block, validity, delta) = (Arc::new(block), Validity::Unconnected, Delta::default());
        self.entries.insert(hash, Entry { block, height, work, arrival, validity, delta });
        if work > self.entries[&self.tip().hash].work {
            self.activate_best();
        }
        Ok(match self.entries[&hash].validity {
            Validity::Invalid(reason) => Submitted::Rejected(reason.into()),
            Validity::Connected | Validity::Unconnected if self.is_best(&hash, height) => Submitted::Accepted,
            Validity::Connected | Validity::Unconnected => Submitted::Inconclusive,
        })
    }

    /// All that can be checked without coins. Gives the block's height and its chain's work.
    fn check(&self, block: &Block, now: u32) -> Result<(u32, Work), Reason> {
        check_block(block)?;
        let parent_hash = block.header.prev_blockhash;
        let parent = self.entries.get(&parent_hash).ok_or("prev-blk-not-found")?;
        if matches!(parent.validity, Validity::Invalid(_)) {
            return Err("bad-prevblk");
        }
        let context = Context {
            height: parent.height + 1,
            bits: self.config.bits_at(parent.height + 1),
            median_time_past: self.median_time_past(&parent_hash),
            now,
        };
        check_header_in(&context, &block.header)?;
        check_block_in(&context, block)?;
        Ok((context.height, parent.work + block.header.work()))
    }

    pub(super) fn invalidate(&mut self, hash: &BlockHash) -> Result<(), NodeError> {
        let entry = self.entries.get(hash).ok_or(NodeError::UnknownBlock { hash: *hash })?;
        if entry.height == 0 {
            return Err(NodeError::Config("the first block cannot be declared invalid".into()));
        }
        self.mark_invalid(hash, "declared invalid");
        self.activate_best();
        Ok(())
    }

    pub(super) fn reconsider(&mut self, hash: &BlockHash) -> Result<(), NodeError> {
        if !self.entries.contains_key(hash) {
            return Err(NodeError::UnknownBlock { hash: *hash });
        }
        let mut related = self.descendants(hash);
        let mut ancestor = *hash;
        while let Some(entry) = self.entries.get(&ancestor) {
            related.push(ancestor);
            ancestor = entry.block.header.prev_blockhash;
        }
        for hash in related {
            if let Some(entry) = self.entries.get_mut(&hash)
                && matches!(entry.validity, Validity::Invalid(_))
            {
                entry.validity = Validity::Unconnected;
            }
        }
        self.activate_best();
        Ok(())
    }

    /// Moves to the valid branch with most work. A branch that turns out bad on the way is left for the next best.
    fn activate_best(&mut self) {
        let before = self.tip();
        let mut returned = Vec::new();
        loop {
            let goal = self.most_work();
            let mut path = Vec::new();
            let mut cursor = goal;
            while !self.is_best(&cursor, self.entries[&cursor].height) {
                path.push(cursor);
                cursor = self.entries[&cursor].block.header.prev_blockhash;
            }
            let fork = self.entries[&cursor].height;
            while self.tip().height > fork {
                returned.push(self.disconnect_tip());
            }
            let failed = path.iter().rev().find_map(|hash| self.connect(hash).err().map(|why| (*hash, why)));
            match failed {
                Some((hash, reason)) => self.mark_invalid(&hash, reason),
                None => break,
            }
        }
        if self.tip() != before {
            self.refill_mempool(&returned);
        }
    }

    fn most_work(&self) -> BlockHash {
        let valid = self.entries.iter().filter(|(_, entry)| !matches!(entry.validity, Validity::Invalid(_)));
        // Blocks get their parent's verdict with it, so that every valid block has valid ancestors only.
        let best = valid.max_by_key(|(_, entry)| (entry.work, std::cmp::Reverse(entry.arrival)));
        *best.expect("the first block stays valid").0
    }

    fn mark_invalid(&mut self, hash: &BlockHash, reason: Reason) {
        for descendant in self.descendants(hash) {
            if let Some(entry) = self.entries.get_mut(&descendant) {
                entry.validity = Validity::Invalid("bad-prevblk");
            }
        }
        if let Some(entry) = self.entries.get_mut(hash) {
            entry.validity = Validity::Invalid(reason);
        }
    }

    fn descendants(&self, hash: &BlockHash) -> Vec<BlockHash> {
        let mut by_height: Vec<_> = self.entries.iter().map(|(hash, entry)| (entry.height, *hash)).collect();
        by_height.sort_unstable_by_key(|(height, _)| *height);
        let mut family = HashSet::from([*hash]);
        for (_, candidate) in by_height {
            if family.contains(&self.entries[&candidate].block.header.prev_blockhash) {
                family.insert(candidate);
            }
        }
        family.remove(hash);
        family.into_iter().collect()
    }

    /// Puts a block that builds on the tip onto the best chain, or changes nothing.
    fn connect(&mut self, hash: &BlockHash) -> Result<(), Reason> {
        let entry = &self.entries[hash];
        let (block, height) = (Arc::clone(&entry.block), entry.height);
        assert_eq!(block.header.prev_blockhash, self.tip().hash, "blocks connect to the tip");
        let mut delta = Delta::default();
        if let Err(reason) = self.connect_transactions(&block, height, &mut delta) {
            self.undo(&block, delta);
            return Err(reason);
        }
        assert_eq!(delta.added, block.txdata.len(), "the whole block is connected");
        self.best.push(*hash);
        let entry = self.entries.get_mut(hash).expect("it was just read");
        entry.delta = delta;
        entry.validity = Validity::Connected;
        Ok(())
    }

    fn connect_transactions(&mut self, block: &Block, height: u32, delta: &mut Delta) -> Result<(), Reason> {
        let mut fees = Amount::ZERO;
        let mut sigops = 0;
        for transaction in &block.txdata {
            let first = delta.spent.len();
            if !transaction.is_coinbase() {
                for input in &transaction.input {
                    delta.spent.push(self.spend(&input.previous_output, height)?);
                }
                let prevouts: Vec<TxOut> =
                    delta.spent[first..].iter().map(|coin| coin.output.clone()).collect();
                let fee = self.check_spends(transaction, &prevouts)?;
                fees = fees.checked_add(fee).ok_or("bad-txns-accumulated-fee-outofrange")?;
            }
            sigops += sigops_cost(transaction, &delta.spent[first..]);
            if sigops > MAX_BLOCK_SIGOPS_COST {
                return Err("bad-blk-sigops");
            }
            self.add_outputs(transaction, height);
            delta.added += 1;
        }
        let paid: Amount = block.txdata[0].output.iter().map(|output| output.value).sum();
        if paid > self.config.subsidy + fees { Err("bad-cb-amount") } else { Ok(()) }
    }

    fn spend(&mut self, outpoint: &OutPoint, height: u32) -> Result<Coin, Reason> {
        let coin = self.coins.get(outpoint).ok_or("bad-txns-inputs-missingorspent")?;
        if self.is_immature(coin, height) {
            return Err("bad-txns-premature-spend-of-coinbase");
        }
        self.coins.remove(outpoint).ok_or("bad-txns-inputs-missingorspent")
    }

    fn is_immature(&self, coin: &Coin, height: u32) -> bool {
        coin.coinbase && height - coin.height < self.config.maturity
    }

    /// Amounts, scripts and relative locks. Gives the fee.
    fn check_spends(&self, transaction: &Transaction, prevouts: &[TxOut]) -> Result<Amount, Reason> {
        let sum = |outputs: &[TxOut]| outputs.iter().map(|output| output.value).sum::<Amount>();
        let fee = sum(prevouts).checked_sub(sum(&transaction.output)).ok_or("bad-txns-in-belowout")?;
        if has_relative_lock(transaction) {
            return Err("bad-txns-nonfinal");
        }
        scripts::check(&self.secp, transaction, prevouts)?;
        Ok(fee)
    }

    fn add_outputs(&mut self, transaction: &Transaction, height: u32) {
        let (txid, coinbase) = (transaction.compute_txid(), transaction.is_coinbase());
        for (vout, output) in (0..).zip(&transaction.output) {
            if output.script_pubkey.is_op_return() {
                continue;
            }
            let outpoint = OutPoint { txid, vout };
            let before =
                self.coins.insert(outpoint, Coin { outpoint, output: output.clone(), height, coinbase });
            // The height in each coinbase makes its id new (BIP 34), and with it those of all that spend it.
            assert!(before.is_none(), "no two transactions have the same id");
        }
    }

    /// Takes outputs back that a block, or a part of it, has added, and returns what it spent.
    fn undo(&mut self, block: &Block, delta: Delta) {
        // First the coins that came from elsewhere; those that the block itself made go with its outputs.
        for coin in delta.spent {
            self.coins.insert(coin.outpoint, coin);
        }
        for transaction in &block.txdata[..delta.added] {
            let txid = transaction.compute_txid();
            for (vout, _) in (0..).zip(&transaction.output) {
                self.coins.remove(&OutPoint { txid, vout });
            }
        }
    }

    fn disconnect_tip(&mut self) -> Arc<Block> {
        let hash = self.best.pop().expect("the first block is never disconnected");
        assert!(!self.best.is_empty(), "the first block is never disconnected");
        let entry = self.entries.get_mut(&hash).expect("the best chain is known");
        let (block, delta) = (Arc::clone(&entry.block), std::mem::take(&mut entry.delta));
        self.undo(&block, delta);
        block
    }

    /// Drops what is confirmed or cannot be any more, and takes back what disconnected blocks held.
    ///
    /// `returned` holds the disconnected blocks, highest first.
    fn refill_mempool(&mut self, returned: &[Arc<Block>]) {
        let waiting = self.mempool.take();
        for block in returned.iter().rev() {
            for transaction in &block.txdata[1..] {
                // What the new chain holds, or conflicts with it, is refused.
                let _ = self.broadcast(transaction);
            }
        }
        for Waiting { transaction, .. } in waiting {
            let _ = self.broadcast(&transaction);
        }
    }

    /// Takes a transaction into the mempool.
    pub(super) fn broadcast(&mut self, transaction: &Transaction) -> Result<(), Reason> {
        let txid = transaction.compute_txid();
        if self.mempool.contains(&txid) {
            return Ok(());
        }
        if transaction.is_coinbase() {
            return Err("coinbase");
        }
        check_transaction(transaction)?;
        let weight = transaction.weight().to_wu();
        if weight > MAX_WAITING_WEIGHT {
            return Err("tx-size");
        }
        let tip = self.tip();
        if !is_final(transaction, tip.height + 1, self.median_time_past(&tip.hash)) {
            return Err("non-final");
        }
        if has_relative_lock(transaction) {
            return Err("non-BIP68-final");
        }
        let mut spent = Vec::new();
        for input in &transaction.input {
            spent.push(self.available(&input.previous_output, tip.height + 1)?);
        }
        let prevouts: Vec<TxOut> = spent.iter().map(|coin| coin.output.clone()).collect();
        let fee = self.check_spends(transaction, &prevouts)?;
        let template = TemplateTx {
            raw: consensus::serialize(transaction).into(),
            txid,
            wtxid: transaction.compute_wtxid(),
            weight,
            sigops_cost: sigops_cost(transaction, &spent),
            fee,
        };
        self.mempool.insert(Waiting { transaction: transaction.clone(), template })
    }

    /// What a waiting transaction may spend: a ripe coin, or an output of another one.
    fn available(&self, outpoint: &OutPoint, height: u32) -> Result<Coin, Reason> {
        if self.mempool.spends(outpoint) {
            return Err("txn-mempool-conflict");
        }
        if let Some(coin) = self.coins.get(outpoint) {
            let immature = self.is_immature(coin, height);
            return if immature { Err("bad-txns-premature-spend-of-coinbase") } else { Ok(coin.clone()) };
        }
        let output = self.mempool.output(outpoint).ok_or("bad-txns-inputs-missingorspent")?.clone();
        Ok(Coin { outpoint: *outpoint, output, height, coinbase: false })
    }

    fn is_best(&self, hash: &BlockHash, height: u32) -> bool {
        self.hash_at(height) == Some(*hash)
    }

    fn median_time_past(&self, hash: &BlockHash) -> u32 {
        let mut times = Vec::with_capacity(MEDIAN_TIME_SPAN);
        let mut cursor = *hash;
        while times.len() < MEDIAN_TIME_SPAN
            && let Some(entry) = self.entries.get(&cursor)
        {
            times.push(entry.block.header.time);
            cursor = entry.block.header.prev_blockhash;
        }
        times.sort_unstable();
        times[times.len() / 2]
    }
}

fn sigops_cost(transaction: &Transaction, spent: &[Coin]) -> u64 {
    let output = |outpoint: &OutPoint| {
        spent.iter().find(|coin| coin.outpoint == *outpoint).map(|coin| coin.output.clone())
    };
    transaction.total_sigop_cost(output) as u64
}

/// The first block. It is given, so it needs no proof of work, and nobody can spend its coinbase.
fn genesis(config: &DevchainConfig) -> Block {
    let coinbase = Transaction {
        version: transaction::Version::ONE,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::from_bytes(b"\x00\x0eassay devchain".to_vec()),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new_op_return([]) }],
    };
    let header = Header {
        version: Version::from_consensus(BLOCK_VERSION),
        prev_blockhash: BlockHash::all_zeros(),
        merkle_root: TxMerkleNode::from_byte_array(coinbase.compute_txid().to_byte_array()),
        time: config.genesis_time,
        bits: config.bits_at(0),
        nonce: 0,
    };
    Block { header, txdata: vec![coinbase] }
}
