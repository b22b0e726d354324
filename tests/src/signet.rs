//! A signet of our own: the challenge is OP_TRUE, so that anybody may sign, and the difficulty is the network's
//! minimum, about five million hashes a block: real work, yet a second of a processor.
//!
//! Its first blocks are always the same. They are made here from heights and from nonces that were searched
//! once, so that a test has matured coins to spend without mining a hundred blocks first.

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::blockdata::constants::genesis_block;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::opcodes::OP_TRUE;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::transaction::Version as TxVersion;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn,
    TxMerkleNode, TxOut, Witness,
};

use crate::proof_of_work::solve;

/// The signet's challenge script in hex: OP_TRUE.
pub const CHALLENGE: &str = "51";

/// Height of the chain that every test starts with.
pub const PREPARED_HEIGHT: u32 = 110;

/// Outputs of each of the first coinbases: as many coins mature together.
const COINS_PER_BLOCK: u32 = 20;

/// Blocks whose coins may be spent in the first block after the prepared ones: a coinbase needs 100 confirmations.
const MATURE_BLOCKS: u32 = PREPARED_HEIGHT + 1 - 100;

/// Subsidy before the first halving.
pub const SUBSIDY: Amount = Amount::from_sat(50 * 100_000_000);

/// Nonces of the blocks 1 to [`PREPARED_HEIGHT`], one a line, as [`search_nonces`] found them.
const NONCES: &str = include_str!("signet_nonces.txt");

/// What pools and tests pay to: P2WSH of OP_TRUE. Anybody may spend it, and it is standard.
pub fn payout_script() -> ScriptBuf {
    open_witness_script().to_p2wsh()
}

fn open_witness_script() -> ScriptBuf {
    Builder::new().push_opcode(OP_TRUE).into_script()
}

/// The blocks 1 to [`PREPARED_HEIGHT`].
pub fn prepared_blocks() -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for (height, nonce) in (1..=PREPARED_HEIGHT).zip(NONCES.lines()) {
        let mut block = prepared_candidate(height, blocks.last());
        block.header.nonce = nonce.parse().expect("signet_nonces.txt has one number a line");
        let searched = block.header.validate_pow(block.header.target()).is_ok();
        assert!(searched, "block {height} is not that of signet_nonces.txt: search the nonces again");
        blocks.push(block);
    }
    assert_eq!(blocks.len(), PREPARED_HEIGHT as usize, "signet_nonces.txt is too short");
    blocks
}

/// Searches the nonces of the prepared chain anew, half a billion hashes: for when its blocks have to change. The
/// example `search_nonces` does it.
///
/// # Panics
/// When a block has no nonce, which its coinbase's note can change.
pub fn search_nonces() -> Vec<u32> {
    let mut nonces = Vec::new();
    let mut parent: Option<Block> = None;
    for height in 1..=PREPARED_HEIGHT {
        let mut block = prepared_candidate(height, parent.as_ref());
        assert!(solve(&mut block.header), "no nonce at height {height}: give its coinbase another note");
        nonces.push(block.header.nonce);
        parent = Some(block);
    }
    nonces
}

/// Block `height` of the prepared chain without its nonce.
fn prepared_candidate(height: u32, parent: Option<&Block>) -> Block {
    let genesis = genesis_block(Network::Signet).header;
    let coins = if height <= MATURE_BLOCKS { COINS_PER_BLOCK } else { 1 };
    candidate(&Candidate {
        height,
        parent: parent.map_or(genesis.block_hash(), Block::block_hash),
        time: genesis.time + 600 * height,
        bits: genesis.bits,
        coins,
        note: b"prepared",
    })
}

/// What distinguishes one empty block from another.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// Height of the block.
    pub height: u32,
    /// The block before it.
    pub parent: BlockHash,
    /// Seconds of the Unix epoch.
    pub time: u32,
    /// Its target.
    pub bits: CompactTarget,
    /// Equal outputs that the subsidy is divided into.
    pub coins: u32,
    /// At least two bytes in the coinbase that keep forks of the same height apart.
    pub note: &'a [u8],
}

/// A block with nothing but a coinbase that pays to [`payout_script`]; only the nonce is missing.
pub fn candidate(candidate: &Candidate<'_>) -> Block {
    let coin = TxOut { value: SUBSIDY / u64::from(candidate.coins), script_pubkey: payout_script() };
    let mut output = vec![coin; candidate.coins as usize];
    output.push(TxOut { value: Amount::ZERO, script_pubkey: empty_block_commitment() });
    let note = PushBytesBuf::try_from(candidate.note.to_vec()).expect("a short note");
    let input = TxIn {
        previous_output: OutPoint::null(),
        script_sig: Builder::new().push_int(i64::from(candidate.height)).push_slice(note).into_script(),
        sequence: Sequence::MAX,
        witness: Witness::from_slice(&[[0; 32]]),
    };
    let coinbase =
        Transaction { version: TxVersion::TWO, lock_time: LockTime::ZERO, input: vec![input], output };
    let merkle_root = TxMerkleNode::from_raw_hash(coinbase.compute_txid().to_raw_hash());
    let header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: candidate.parent,
        merkle_root,
        time: candidate.time,
        bits: candidate.bits,
        nonce: 0,
    };
    Block { header, txdata: vec![coinbase] }
}

/// Puts `transactions` into a block without any.
pub fn include(block: &mut Block, transactions: &[Transaction]) {
    if transactions.is_empty() {
        return;
    }
    block.txdata.extend_from_slice(transactions);
    let root = block.witness_root().expect("a block has a coinbase");
    let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
    let output = block.txdata[0].output.last_mut().expect("the commitment is the last");
    output.script_pubkey = commitment_script(commitment.as_byte_array());
    block.header.merkle_root = block.compute_merkle_root().expect("a block has a coinbase");
}

/// BIP141's commitment for a block without other transactions. A signet wants one in every block.
fn empty_block_commitment() -> ScriptBuf {
    // The coinbase's own witness id is zero, and so is its witness reserved value.
    commitment_script(sha256d::Hash::hash(&[0; 64]).as_byte_array())
}

fn commitment_script(commitment: &[u8; 32]) -> ScriptBuf {
    let mut script = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    script.extend_from_slice(commitment);
    ScriptBuf::from_bytes(script)
}

/// `count` transactions that each spend one matured coin of the prepared chain, the first paying `first_fee`
/// satoshis and each one more than the one before. Every tenth spends the output of its predecessor instead, so
/// that a template has an order to keep.
///
/// # Panics
/// When more coins are asked for than have matured.
pub fn spends(count: u32, first_fee: u64) -> Vec<Transaction> {
    let mut coins = mature_coins().into_iter();
    let mut spends: Vec<Transaction> = Vec::new();
    for index in 0..count {
        let parent = spends.last().filter(|_| index % 10 == 9);
        let (coin, value) = match parent {
            Some(parent) => (OutPoint { txid: parent.compute_txid(), vout: 0 }, parent.output[0].value),
            None => coins.next().expect("enough coins have matured"),
        };
        let fee = Amount::from_sat(first_fee + u64::from(index));
        let witness = Witness::from_slice(&[open_witness_script().as_bytes()]);
        spends.push(Transaction {
            version: TxVersion::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: coin,
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness,
            }],
            output: vec![TxOut { value: value - fee, script_pubkey: payout_script() }],
        });
    }
    spends
}

/// Transactions for templates as long as those of a busy network, from as few coins as have matured: each coin is
/// divided among `children`, and each part is spent again.
pub fn families(children: u32) -> Vec<Transaction> {
    let spend = |coin: OutPoint, value: Amount, parts: u32| {
        // Above the node's minimum, whatever the number of outputs.
        let fee = Amount::from_sat(1000 * u64::from(parts));
        let part = TxOut { value: (value - fee) / u64::from(parts), script_pubkey: payout_script() };
        Transaction {
            version: TxVersion::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: coin,
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&[open_witness_script().as_bytes()]),
            }],
            output: vec![part; parts as usize],
        }
    };
    let mut transactions = Vec::new();
    for (coin, value) in mature_coins() {
        let parent = spend(coin, value, children);
        let txid = parent.compute_txid();
        let value = parent.output[0].value;
        transactions.push(parent);
        transactions.extend((0..children).map(|vout| spend(OutPoint { txid, vout }, value, 1)));
    }
    transactions
}

/// The coins that may be spent in the first block after the prepared ones.
fn mature_coins() -> Vec<(OutPoint, Amount)> {
    let blocks = prepared_blocks();
    let mature = blocks[..MATURE_BLOCKS as usize].iter().flat_map(|block| {
        let coinbase = &block.txdata[0];
        let txid = coinbase.compute_txid();
        (0..COINS_PER_BLOCK).map(move |vout| (OutPoint { txid, vout }, coinbase.output[vout as usize].value))
    });
    mature.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_a_parent_and_its_children() {
        let transactions = families(10);
        assert_eq!(transactions.len(), (MATURE_BLOCKS * COINS_PER_BLOCK * 11) as usize);
        let (parent, child) = (&transactions[0], &transactions[10]);
        assert_eq!(child.input[0].previous_output, OutPoint { txid: parent.compute_txid(), vout: 9 });
    }

    #[test]
    fn spends_pay_rising_fees() {
        let spends = spends(100, 500);
        assert_eq!(spends.len(), 100);
        assert!(spends.iter().all(|spend| spend.output[0].value > Amount::from_sat(200_000_000)));
    }
}
