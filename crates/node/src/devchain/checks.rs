//! The rules of blocks and transactions that can be checked without the coins they spend.
//!
//! The reasons are Bitcoin Core's words, and mostly in its order.

use {
    crate::template::{COMMITMENT_PREFIX, MAX_BLOCK_SIGOPS_COST, MAX_BLOCK_WEIGHT},
    bitcoin::{Amount, Block, CompactTarget, Transaction, block::Header, script::Builder},
    std::collections::HashSet,
};

/// Why a block or transaction is refused, as BIP 22 has it.
pub(super) type Reason = &'static str;

/// How far a block's time may be ahead of the clock, seconds.
const MAX_FUTURE: u32 = 7_200;
/// Since BIP 65 no lower version is valid.
const MIN_VERSION: i32 = 4;

/// Where a block would stand.
pub(super) struct Context {
    pub height: u32,
    pub bits: CompactTarget,
    pub median_time_past: u32,
    pub now: u32,
}

/// What needs only the block itself.
pub(super) fn check_block(block: &Block) -> Result<(), Reason> {
    // An exponent above 32 means a target beyond 256 bits.
    let overflows = block.header.bits.to_consensus() >> 24 > 32;
    if overflows || !block.header.target().is_met_by(block.block_hash()) {
        return Err("high-hash");
    }
    if block.txdata.is_empty() {
        return Err("bad-blk-length");
    }
    if !block.check_merkle_root() {
        return Err("bad-txnmrklroot");
    }
    // The merkle tree repeats the last hash of an odd level: a block with repeated transactions may have the same root,
    // and so the same hash, as a good one (CVE-2012-2459).
    let mut seen = HashSet::new();
    if !block.txdata.iter().all(|tx| seen.insert(tx.compute_txid())) {
        return Err("bad-txns-duplicate");
    }
    let stripped: usize = block.txdata.iter().map(Transaction::base_size).sum();
    if 4 * stripped as u64 > MAX_BLOCK_WEIGHT {
        return Err("bad-blk-length");
    }
    if !block.txdata[0].is_coinbase() {
        return Err("bad-cb-missing");
    }
    if block.txdata[1..].iter().any(Transaction::is_coinbase) {
        return Err("bad-cb-multiple");
    }
    block.txdata.iter().try_for_each(check_transaction)?;
    // Without the coins only what stands in the transactions themselves is counted.
    let sigops: usize = block.txdata.iter().map(|tx| tx.total_sigop_cost(|_| None)).sum();
    if sigops as u64 > MAX_BLOCK_SIGOPS_COST {
        return Err("bad-blk-sigops");
    }
    Ok(())
}

/// What needs only the transaction itself.
pub(super) fn check_transaction(transaction: &Transaction) -> Result<(), Reason> {
    if transaction.input.is_empty() {
        return Err("bad-txns-vin-empty");
    }
    if transaction.output.is_empty() {
        return Err("bad-txns-vout-empty");
    }
    let mut total = Amount::ZERO;
    for output in &transaction.output {
        if output.value > Amount::MAX_MONEY {
            return Err("bad-txns-vout-toolarge");
        }
        total = total.checked_add(output.value).ok_or("bad-txns-txouttotal-toolarge")?;
        if total > Amount::MAX_MONEY {
            return Err("bad-txns-txouttotal-toolarge");
        }
    }
    let mut spent = HashSet::new();
    if !transaction.input.iter().all(|input| spent.insert(input.previous_output)) {
        return Err("bad-txns-inputs-duplicate");
    }
    if transaction.is_coinbase() {
        // LIM-07
        if !(2..=100).contains(&transaction.input[0].script_sig.len()) {
            return Err("bad-cb-length");
        }
    } else if transaction.input.iter().any(|input| input.previous_output.is_null()) {
        return Err("bad-txns-prevout-null");
    }
    Ok(())
}

/// What the block's place in the chain asks of its header.
pub(super) fn check_header_in(context: &Context, header: &Header) -> Result<(), Reason> {
    if header.bits != context.bits {
        return Err("bad-diffbits");
    }
    if header.time <= context.median_time_past {
        return Err("time-too-old");
    }
    if header.time > context.now.saturating_add(MAX_FUTURE) {
        return Err("time-too-new");
    }
    if header.version.to_consensus() < MIN_VERSION {
        return Err("bad-version");
    }
    Ok(())
}

/// What the block's place in the chain asks of its transactions.
pub(super) fn check_block_in(context: &Context, block: &Block) -> Result<(), Reason> {
    let is_final = |tx: &Transaction| is_final(tx, context.height, context.median_time_past);
    if !block.txdata.iter().all(is_final) {
        return Err("bad-txns-nonfinal");
    }
    let height_push = Builder::new().push_int(context.height.into());
    let script_sig = block.txdata[0].input[0].script_sig.as_bytes();
    if !script_sig.starts_with(height_push.as_bytes()) {
        return Err("bad-cb-height");
    }
    check_witnesses(block)?;
    if block.weight().to_wu() > MAX_BLOCK_WEIGHT {
        return Err("bad-blk-weight");
    }
    Ok(())
}

fn check_witnesses(block: &Block) -> Result<(), Reason> {
    let coinbase = &block.txdata[0];
    let is_commitment = |script: &[u8]| script.len() >= 38 && script.starts_with(&COMMITMENT_PREFIX);
    let committed = coinbase.output.iter().any(|output| is_commitment(output.script_pubkey.as_bytes()));
    if !committed {
        let has_witness = |tx: &Transaction| tx.input.iter().any(|input| !input.witness.is_empty());
        return if block.txdata.iter().any(has_witness) { Err("unexpected-witness") } else { Ok(()) };
    }
    let reserved = &coinbase.input[0].witness;
    if reserved.len() != 1 || reserved.nth(0).is_none_or(|value| value.len() != 32) {
        return Err("bad-witness-nonce-size");
    }
    if block.check_witness_commitment() { Ok(()) } else { Err("bad-witness-merkle-match") }
}

/// Whether a transaction's lock time allows it in a block at this height (BIP 113).
pub(super) fn is_final(transaction: &Transaction, height: u32, median_time_past: u32) -> bool {
    let lock_time = transaction.lock_time;
    let reached = if lock_time.is_block_height() { height } else { median_time_past };
    lock_time.to_consensus_u32() < reached || !transaction.is_lock_time_enabled()
}

/// Whether an input waits for the age of what it spends (BIP 68).
pub(super) fn has_relative_lock(transaction: &Transaction) -> bool {
    let version = transaction.version.0.cast_unsigned();
    version >= 2 && transaction.input.iter().any(|input| input.sequence.is_relative_lock_time())
}
